//! The sides of a conflict for people: of texts what each side has changed, of anything else what it is.

use cathedral_model::inbox::ConflictRecord;
use cathedral_model::plan::SideValue;
use cathedral_model::ports::Content as _;
use cathedral_syncers::content::LocalContent;

use super::super::super::output::{Tint, many, safe};
use super::super::Output;
use crate::hub::Site;

/// So many lines of one comparison are shown.
const LINES: usize = 60;
/// Texts of more bytes are not compared line by line.
const COMPARED: usize = 512 << 10;
/// A text that is shown whole is cut here, unless all of it is asked for.
const SHOWN: usize = 4_000;

/// One side, with its text where it is one.
struct Told<'a> {
    name: &'static str,
    side: Option<&'a SideValue>,
    text: Option<String>,
}

/// Tells what stands on each side: what it has changed, or with `full` the whole.
pub fn tell(site: &Site, record: &ConflictRecord, full: bool, output: &Output) {
    let draft = &record.draft;
    let sides = [("base", &draft.base), ("hub", &draft.hub), ("spoke", &draft.spoke), ("suggested", &draft.suggested)];
    let told = sides.map(|(name, side)| {
        let side = side.as_ref();
        Told { name, side, text: side.and_then(|side| text_of(site, side)) }
    });
    let [base, hub, spoke, suggested] = &told;
    let is_text = |told: &Told<'_>| told.text.as_ref().is_some_and(|text| text.len() <= COMPARED);
    let compared: Vec<[&Told<'_>; 2]> = match (is_text(base), is_text(hub) && is_text(spoke)) {
        _ if full => vec![],
        (true, _) => [hub, spoke, suggested].into_iter().filter(|side| is_text(side)).map(|s| [base, s]).collect(),
        (false, true) if base.side.is_none() => vec![[hub, spoke]],
        _ => vec![],
    };
    let mut is_cut = false;
    for one in &told {
        head(one, output);
        let is_compared = compared.iter().flatten().any(|told| told.name == one.name);
        if !is_compared && let Some(text) = &one.text {
            is_cut |= whole(text, full, output);
        }
    }
    for [old, new] in compared {
        is_cut |= compare(old, new, output);
    }
    if is_cut {
        let hint = format!("cut: cathedral conflicts show {} --full    shows each side whole", record.id);
        output.note(output.paint(Tint::Dim, &hint));
    }
}

fn text_of(site: &Site, side: &SideValue) -> Option<String> {
    let store = LocalContent::open(site.state.join("content")).ok()?;
    let bytes = store.get(&side.content?).ok()?;
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

fn head(told: &Told<'_>, output: &Output) {
    let name = output.paint(Tint::Bold, told.name);
    match told.side {
        Some(side) => output.say(format!("  {name}: {}", safe(&side.shown))),
        None if told.name != "suggested" => output.say(format!("  {name}: nothing there")),
        None => {}
    }
}

/// Shows a text as it is; says whether it was cut.
fn whole(text: &str, full: bool, output: &Output) -> bool {
    let cut: String = text.chars().take(if full { usize::MAX } else { SHOWN }).collect();
    for line in cut.lines() {
        output.say(format!("    {} {}", output.symbol("│", "|"), safe(line)));
    }
    cut.len() < text.len()
}

/// Shows what one side has changed of another; says whether it was cut.
fn compare(old: &Told<'_>, new: &Told<'_>, output: &Output) -> bool {
    let (Some(before), Some(after)) = (&old.text, &new.text) else { return false };
    let mut options = diffy::DiffOptions::new();
    options.set_context_len(3).set_original_filename(old.name).set_modified_filename(new.name);
    let patch = options.create_patch(before, after).to_string();
    let lines: Vec<&str> = patch.lines().collect();
    for (at, line) in lines.iter().take(LINES).enumerate() {
        let tint = match line.as_bytes().first() {
            _ if at < 2 => Some(Tint::Bold),
            Some(b'+') => Some(Tint::Good),
            Some(b'-') => Some(Tint::Bad),
            Some(b'@') => Some(Tint::Dim),
            _ => None,
        };
        let line = safe(line);
        let line = tint.map_or_else(|| line.clone(), |tint| output.paint(tint, &line));
        output.say(format!("    {line}"));
    }
    let more = lines.len().saturating_sub(LINES);
    if more > 0 {
        output.say(format!("    and {}", many(more as u64, "more line", "more lines")));
    }
    more > 0
}
