//! Line merges against other implementations.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]
#![allow(clippy::disallowed_methods, reason = "the oracle is another program")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use cathedral_conflict::text::{TextMerge, merge};
use cathedral_conflict::{Conflict, Kind};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Lines, some of them repeated, and per side a list of (place, lines removed, lines added).
type Script = Vec<(usize, usize, usize)>;

fn script() -> impl Strategy<Value = Script> {
    prop::collection::vec((0usize..40, 0usize..3, 0usize..3), 0..4)
}

fn apply(base: &[String], script: &Script, side: &str) -> Vec<String> {
    let mut lines = base.to_vec();
    for (index, (place, removed, added)) in script.iter().enumerate() {
        let at = (*place).min(lines.len());
        let end = (at + removed).min(lines.len());
        // The last edit of both sides writes the same lines: agreement must be found, too.
        let new = (0..*added).map(|n| if index == 3 { format!("same {n}") } else { format!("{side} {index} {n}") });
        lines.splice(at..end, new);
    }
    lines
}

fn git(dir: &Path, args: &[&str], input: &str) -> Output {
    let mut child = Command::new("git")
        .args(["-c", "core.fsync=none"])
        .args(args)
        .current_dir(dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("HOME", dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("git is installed");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// What git's merge makes of three versions of a file. Not by `merge-file`: only git 2.44 and newer lets it
/// compare lines as a merge does.
fn git_merge(dir: &Path, [base, hub, spoke]: [&str; 3]) -> Option<Vec<u8>> {
    let commit = |name: &str, from: &str, text: &str| {
        let who = "committer t <t@example.org> 0 +0000\ndata 0\n";
        let mark = if name == "base" { "mark :1\n" } else { "" };
        format!("commit refs/heads/{name}\n{mark}{who}{from}M 100644 inline x.txt\ndata {}\n{text}\n", text.len())
    };
    let [base, hub, spoke] =
        [commit("base", "", base), commit("hub", "from :1\n", hub), commit("spoke", "from :1\n", spoke)];
    let stored = git(dir, &["fast-import", "--quiet", "--force"], &format!("{base}{hub}{spoke}"));
    assert!(stored.status.success(), "{stored:?}");
    let merged = git(dir, &["merge-tree", "--write-tree", "hub", "spoke"], "");
    let tree = String::from_utf8(merged.stdout).unwrap();
    match merged.status.code() {
        Some(0) => Some(git(dir, &["cat-file", "blob", &format!("{}:x.txt", tree.trim())], "").stdout),
        Some(1) => None,
        _ => panic!("git merge-tree: {}", String::from_utf8_lossy(&merged.stderr)),
    }
}

#[test]
fn what_git_merges_cleanly_we_merge_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    assert!(git(dir.path(), &["init", "-q", "--bare"], "").status.success());
    let strategy = (prop::collection::vec(0usize..60, 0..40), script(), script());
    let mut runner = TestRunner::new(Config::with_cases(200));
    let clean = std::cell::Cell::new(0);
    runner
        .run(&strategy, |(lines, hub, spoke)| {
            let base: Vec<String> = lines.iter().map(|n| format!("line {n}")).collect();
            let text = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
            let (hub, spoke) = (text(&apply(&base, &hub, "hub")), text(&apply(&base, &spoke, "spoke")));
            let base = text(&base);
            let conflict = Conflict::new("x.txt", Some(base.as_bytes()), hub.as_bytes(), spoke.as_bytes());
            let ours = merge(&conflict).unwrap();
            match (git_merge(dir.path(), [&base, &hub, &spoke]), ours) {
                (Some(git), TextMerge::Clean(ours, _)) => {
                    clean.set(clean.get() + 1);
                    prop_assert_eq!(String::from_utf8(ours).unwrap(), String::from_utf8(git).unwrap());
                }
                (Some(_), open) => prop_assert!(false, "git merges this: {base:?} {hub:?} {spoke:?}: {open:?}"),
                (None, TextMerge::Clean(..)) => prop_assert!(false, "git does not: {base:?} {hub:?} {spoke:?}"),
                (None, TextMerge::Open { .. }) => {}
            }
            Ok(())
        })
        .unwrap();
    assert!(clean.get() > 50, "the cases are no test: {} merged", clean.get());
}

proptest! {
    #[test]
    fn with_lines_that_occur_once_diffy_agrees(hub in script(), spoke in script()) {
        let base: Vec<String> = (0..30).map(|n| format!("line {n}")).collect();
        let text = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        let (hub, spoke) = (text(&apply(&base, &hub, "hub")), text(&apply(&base, &spoke, "spoke")));
        let base = text(&base);
        let conflict = Conflict::new("x.txt", Some(base.as_bytes()), hub.as_bytes(), spoke.as_bytes());
        prop_assert_eq!(conflict.kind, Kind::Text);
        if let (Ok(diffy), TextMerge::Clean(ours, _)) = (diffy::merge(&base, &hub, &spoke), merge(&conflict).unwrap()) {
            prop_assert_eq!(String::from_utf8(ours).unwrap(), diffy);
        }
    }
}
