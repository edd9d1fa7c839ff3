//! The files of a merge that only a person can decide, and what each side did to them.

use cathedral_model::plan::{ConflictDraft, FieldDispute};

use super::object::{Entry, short};

/// So many files of a conflict are listed; of the rest there is the count.
const LISTED: usize = 100;

/// One file on the three sides of a merge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disputed {
    /// The path in the merged tree, fit to be shown.
    pub path: String,
    pub base: Option<Entry>,
    pub hub: Option<Entry>,
    pub spoke: Option<Entry>,
}

/// Describes files for a conflict; [`disputed_files`] reads it again.
#[must_use]
pub fn described(files: &[Disputed]) -> Vec<FieldDispute> {
    let mut out: Vec<FieldDispute> = files.iter().take(LISTED).map(Disputed::described).collect();
    if let Some(more) = files.len().checked_sub(LISTED).filter(|more| *more > 0) {
        // No file has no name, so this is none.
        let [field, base, spoke] = Default::default();
        out.push(FieldDispute { field, base, hub: more.to_string(), spoke });
    }
    out
}

/// Names at most three files in dispute.
pub fn few_of(files: &[Disputed]) -> String {
    few(&files.iter().map(|f| f.path.clone()).collect::<Vec<_>>())
}

/// Names at most three files.
pub fn few(files: &[String]) -> String {
    let shown = files.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    match files.len().saturating_sub(3) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// The files that a conflict of a git spoke is about, with what the sides did to them, and how many there are
/// besides.
#[must_use]
pub fn disputed_files(draft: &ConflictDraft) -> (&[FieldDispute], usize) {
    match draft.fields.split_last() {
        Some((last, files)) if last.field.is_empty() => (files, last.hub.parse().unwrap_or_default()),
        _ => (&draft.fields, 0),
    }
}

impl Disputed {
    fn described(&self) -> FieldDispute {
        let base = self.base.as_ref().map_or_else(|| "not there".to_owned(), |b| with_id(kind(&b.mode), b));
        let (hub, spoke) = (self.did(self.hub.as_ref()), self.did(self.spoke.as_ref()));
        FieldDispute { field: self.path.clone(), base, hub, spoke }
    }

    /// What a side did.
    fn did(&self, now: Option<&Entry>) -> String {
        match (&self.base, now) {
            (None, None) => "not there".to_owned(),
            (Some(_), None) => "deleted".to_owned(),
            (None, Some(now)) if now.mode == "100644" => with_id("added", now),
            (None, Some(now)) => with_id(&format!("added as {}", kind(&now.mode)), now),
            (Some(base), Some(now)) => match (base.oid == now.oid, base.mode == now.mode) {
                (true, true) => "unchanged".to_owned(),
                (false, true) => with_id("edited", now),
                (true, false) => format!("made {}", kind(&now.mode)),
                (false, false) => with_id(&format!("edited, made {}", kind(&now.mode)), now),
            },
        }
    }
}

fn kind(mode: &str) -> &'static str {
    match mode {
        "100644" => "a plain file",
        "100755" => "executable",
        "120000" => "a link",
        "160000" => "a submodule",
        _ => "a folder",
    }
}

fn with_id(words: &str, entry: &Entry) -> String {
    format!("{words} ({})", short(Some(&entry.oid)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(mode: &str, digit: &str) -> Option<Entry> {
        Some(Entry { mode: mode.into(), name: Vec::new(), oid: digit.repeat(40) })
    }

    fn told(base: Option<Entry>, hub: Option<Entry>, spoke: Option<Entry>) -> [String; 3] {
        let told = Disputed { path: "a".into(), base, hub, spoke }.described();
        [told.base, told.hub, told.spoke]
    }

    #[test]
    fn what_each_side_did_is_told_in_words() {
        let (one, two, three) = (entry("100644", "1"), entry("100644", "2"), entry("100755", "3"));
        assert_eq!(
            told(one.clone(), two.clone(), None),
            ["a plain file (1111111111)", "edited (2222222222)", "deleted"]
        );
        assert_eq!(
            told(one.clone(), entry("100755", "1"), three.clone())[1..],
            ["made executable", "edited, made executable (3333333333)"]
        );
        assert_eq!(
            told(None, two, entry("120000", "4")),
            ["not there", "added (2222222222)", "added as a link (4444444444)"]
        );
        assert_eq!(told(one.clone(), one, three)[1], "unchanged");
    }

    #[test]
    fn a_long_list_is_cut_and_says_how_much_is_missing() {
        let files: Vec<Disputed> = (0..130).map(|n| Disputed { path: format!("{n}"), ..Disputed::default() }).collect();
        let draft = |files: &[Disputed]| ConflictDraft {
            item: String::new(),
            place: String::new(),
            conflict_kind: String::new(),
            because: String::new(),
            base: None,
            hub: None,
            spoke: None,
            suggested: None,
            table: None,
            pk: vec![],
            fields: described(files),
            group: vec![],
        };
        let (cut, whole, none) = (draft(&files), draft(&files[..100]), draft(&[]));
        assert_eq!((disputed_files(&cut).0.len(), disputed_files(&cut).1), (100, 30));
        assert_eq!((disputed_files(&whole).0.len(), disputed_files(&whole).1), (100, 0));
        assert_eq!(disputed_files(&none), (&[][..], 0));
    }
}
