//! Our own look at new trees, on top of git's strict checks: names that would break out of a checkout
//! and submodule declarations that would run or write something.

use std::collections::{BTreeMap, BTreeSet};

use super::failure::GitError;
use super::object::{Entry, Oid};
use super::store::Store;

/// Looks at everything that `tips` bring beyond `known`; returns what is wrong, by ref.
pub fn findings(
    store: &Store,
    tips: &BTreeMap<String, Oid>,
    known: &BTreeSet<Oid>,
    allow: &[String],
) -> Result<BTreeMap<String, String>, GitError> {
    let all: BTreeSet<&Oid> = tips.values().collect();
    if scan(store, &all, known, allow)?.is_none() {
        return Ok(BTreeMap::new());
    }
    // Something is wrong somewhere: find out which refs reach it.
    let mut by_tip: BTreeMap<&Oid, Option<String>> = BTreeMap::new();
    for tip in all {
        by_tip.insert(tip, scan(store, &BTreeSet::from([tip]), known, allow)?);
    }
    let wrong = |oid: &Oid| by_tip.get(oid).cloned().flatten();
    Ok(tips.iter().filter_map(|(name, oid)| wrong(oid).map(|why| (name.clone(), why))).collect())
}

fn scan(
    store: &Store,
    tips: &BTreeSet<&Oid>,
    known: &BTreeSet<Oid>,
    allow: &[String],
) -> Result<Option<String>, GitError> {
    let mut input = String::new();
    for tip in tips {
        input.push_str(tip);
        input.push('\n');
    }
    for oid in known.iter().filter(|o| store.has(o)) {
        input.push_str(&format!("^{oid}\n"));
    }
    let out = store
        .call("look for new trees")
        .args([
            "rev-list",
            "--objects",
            "--no-object-names",
            "--filter=object:type=tree",
            "--filter-provided-objects",
            "--stdin",
        ])
        .input(input)
        .run()?;
    for oid in String::from_utf8_lossy(&out.stdout).lines() {
        let (kind, data) = store.object(oid)?;
        if kind != gix::objs::Kind::Tree {
            continue;
        }
        for entry in super::object::entries(&data)? {
            if let Some((id, why)) = entry_finding(&entry)
                && !allow.iter().any(|a| a.eq_ignore_ascii_case(id))
            {
                return Ok(Some(format!(
                    "tree {} holds {:?}: {why} ({id})",
                    short(oid),
                    super::failure::printable(&entry.name)
                )));
            }
            if entry.name.eq_ignore_ascii_case(b".gitmodules") && !entry.is_tree() && !entry.is_gitlink() {
                let (_, text) = store.object(&entry.oid)?;
                if let Some((id, why)) = gitmodules_finding(&text)
                    && !allow.iter().any(|a| a.eq_ignore_ascii_case(id))
                {
                    return Ok(Some(format!(".gitmodules in tree {}: {why} ({id})", short(oid))));
                }
            }
        }
    }
    Ok(None)
}

fn short(oid: &str) -> &str {
    oid.get(..10).unwrap_or(oid)
}

/// Returns the message id git uses for this fault, and what is wrong with the entry.
fn entry_finding(entry: &Entry) -> Option<(&'static str, &'static str)> {
    let name = entry.name.as_slice();
    if name.is_empty() {
        return Some(("emptyName", "an empty name"));
    }
    if name == b"." {
        return Some(("hasDot", "a name for the folder itself"));
    }
    if name == b".." {
        return Some(("hasDotdot", "a name for the folder above"));
    }
    if name.contains(&b'/') {
        return Some(("fullPathname", "a name with a slash"));
    }
    if reads_as(name, ".git", "git~1") {
        return Some(("hasDotgit", "a name that some file systems take for .git"));
    }
    if entry.mode == "120000" && reads_as(name, ".gitmodules", "gitmod~1") {
        return Some(("gitmodulesSymlink", "a symbolic link in place of .gitmodules"));
    }
    None
}

/// Says whether a file system may take `name` for `plain`: case, ignorable code points, short names,
/// streams, trailing dots and blanks.
fn reads_as(name: &[u8], plain: &str, short_name: &str) -> bool {
    let text = String::from_utf8_lossy(name);
    let folded: String = text.chars().filter(|c| !is_ignorable(*c)).flat_map(char::to_lowercase).collect();
    // Both separators: NTFS takes a backslash for one.
    folded.split('\\').any(|part| {
        let part = part.split(':').next().unwrap_or(part).trim_end_matches(['.', ' ']);
        part == plain || part == short_name
    })
}

/// The code points that HFS+ leaves out when it compares names.
fn is_ignorable(c: char) -> bool {
    matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

fn gitmodules_finding(text: &[u8]) -> Option<(&'static str, &'static str)> {
    let text = String::from_utf8_lossy(text);
    for line in text.split('\n') {
        // A trailing carriage return inside quotes becomes part of the value; outside it is white space.
        let line = line.strip_suffix('\r').unwrap_or(line).trim();
        if let Some(section) = line.strip_prefix('[') {
            let name = section.split('"').nth(1).unwrap_or_default();
            if name.split(['/', '\\']).any(|part| part == "..") {
                return Some(("gitmodulesName", "a submodule name that leads out of its folder"));
            }
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        let value = value.trim().trim_matches('"');
        let control = value.chars().any(char::is_control) || value.contains("\\r") || value.contains("\\n");
        match key.trim().to_ascii_lowercase().as_str() {
            "url" if value.starts_with('-') || control || value.split('/').next().is_some_and(|v| v.contains("::")) => {
                return Some(("gitmodulesUrl", "a submodule url that is an option or a command"));
            }
            "path" if value.starts_with('-') || control || value.split(['/', '\\']).any(|p| p == "..") => {
                return Some(("gitmodulesPath", "a submodule path that is an option or leads out"));
            }
            "update" if value.starts_with('!') => {
                return Some(("gitmodulesUpdate", "a submodule that runs a command"));
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(mode: &str, name: &str) -> Entry {
        Entry { mode: mode.into(), name: name.as_bytes().to_vec(), oid: "0".repeat(40) }
    }

    #[test]
    fn every_spelling_of_dot_git_is_found() {
        for bad in [
            ".git",
            ".GIT",
            ".Git ",
            ".git.",
            "git~1",
            "GIT~1",
            ".g\u{200c}it",
            ".git::$INDEX_ALLOCATION",
            "..",
            ".",
            "",
            "a/b",
            "a\\.git",
        ] {
            assert!(entry_finding(&entry("40000", bad)).is_some(), "{bad:?}");
        }
        for good in [".github", ".gitignore", "git", "git~2x", "...", "a\\b"] {
            assert!(entry_finding(&entry("100644", good)).is_none(), "{good:?}");
        }
        assert!(entry_finding(&entry("120000", ".gitmodules")).is_some());
        assert!(entry_finding(&entry("100644", ".gitmodules")).is_none());
    }

    #[test]
    fn submodules_that_run_or_write_something_are_found() {
        for (text, bad) in [
            ("[submodule \"a\"]\n\tpath = a\n\turl = https://h/a\n", false),
            ("[submodule \"a\"]\r\n\tpath = a\r\n\turl = ../a\r\n", false),
            ("[submodule \"a\"]\n\turl = -u./x\n", true),
            ("[submodule \"a\"]\n\turl = ext::sh -c x\n", true),
            ("[submodule \"a\"]\n\tpath = \"a\\r\"\n", true),
            ("[submodule \"../../x\"]\n\tpath = a\n", true),
            ("[submodule \"a\"]\n\tpath = ../../x\n", true),
            ("[submodule \"a\"]\n\tpath = -x\n", true),
            ("[submodule \"a\"]\n\tupdate = !touch x\n", true),
        ] {
            assert_eq!(gitmodules_finding(text.as_bytes()).is_some(), bad, "{text:?}");
        }
    }
}
