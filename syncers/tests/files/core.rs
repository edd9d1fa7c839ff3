//! What a sync does to ordinary trees.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use cathedral_model::ecosystem::{ConflictPolicy, DataSync, Side};
use cathedral_model::plan::{Answer, Choice};
use cathedral_model::ports::{Content, Syncer};

use crate::common::*;

#[test]
fn a_first_sync_unites_and_a_second_one_writes_nothing() {
    let mut pair = Pair::new();
    write(&pair.hub, "a/one.txt", "one\n");
    write(&pair.hub, "same.txt", "same\n");
    write(&pair.spoke, "same.txt", "same\n");
    write(&pair.spoke, "b/two.bin", "two\0");
    write(&pair.spoke, "b/empty", "");
    fs::create_dir(pair.hub.join("hollow")).unwrap();
    chmod(&pair.hub, "a/one.txt", 0o755);
    chmod(&pair.hub, "hollow", 0o700);
    symlink("../elsewhere", pair.spoke.join("b/link")).unwrap();
    let plan = pair.agree();
    assert_eq!(plan.changes(), (4, 3));
    assert_eq!(
        fs::metadata(pair.hub.join("b/two.bin")).unwrap().mtime_nsec(),
        fs::metadata(pair.spoke.join("b/two.bin")).unwrap().mtime_nsec(),
        "times are carried along"
    );
    assert!(!pair.hub.join(".cathedral-stage").exists());
    let before = (traces(&pair.hub), traces(&pair.spoke));
    let base = pair.base;
    let plan = pair.agree();
    assert_eq!(plan.actions, []);
    assert_eq!((traces(&pair.hub), traces(&pair.spoke)), before, "a second sync writes nothing");
    assert_eq!(pair.base, base);
    let seen = wait(pair.syncer.observe(&pair.declared)).unwrap();
    assert_eq!(seen.hub.digest, seen.spoke.digest);
    assert_eq!((seen.digests(), seen.warnings), (plan.expected, vec![]));
}

#[test]
fn changes_travel_both_ways_and_what_they_replace_is_kept() {
    let mut pair = Pair::on_disk();
    for name in ["edit", "gone", "mode", "kind", "dir/in"] {
        write(&pair.hub, name, &format!("old {name}\n"));
    }
    pair.agree();
    write(&pair.hub, "edit", "new\n");
    fs::remove_file(pair.spoke.join("gone")).unwrap();
    chmod(&pair.spoke, "mode", 0o700);
    fs::remove_file(pair.hub.join("kind")).unwrap();
    write(&pair.hub, "kind/now/a/dir", "x");
    fs::remove_dir_all(pair.spoke.join("dir")).unwrap();
    symlink("edit", pair.spoke.join("dir")).unwrap();
    pair.agree();
    assert_eq!((read(&pair.spoke, "edit"), read(&pair.spoke, "kind/now/a/dir")), ("new\n".into(), "x".into()));
    assert!(!pair.hub.join("gone").exists());
    assert_eq!(fs::read_link(pair.hub.join("dir")).unwrap().to_str(), Some("edit"));
    let mut kept = pair.versions();
    kept.sort();
    assert_eq!(kept, ["old dir/in\n", "old edit\n", "old gone\n", "old kind\n"]);
    assert_eq!(pair.agree().actions, []);
}

#[test]
fn edits_of_different_lines_and_keys_merge_on_both_sides() {
    let mut pair = Pair::new();
    let text = |a: &str, z: &str| format!("{a}\n2\n3\n4\n5\n6\n7\n{z}\n");
    write(&pair.hub, "text.md", &text("1", "8"));
    write(&pair.hub, "conf.json", "{\n  \"a\": 1, \n  \"b\": 2\n}\n");
    pair.agree();
    write(&pair.hub, "text.md", &text("one", "8"));
    write(&pair.spoke, "text.md", &text("1", "eight"));
    write(&pair.hub, "conf.json", "{\n  \"a\": 10, \n  \"b\": 2\n}\n");
    write(&pair.spoke, "conf.json", "{\n  \"a\": 1, \n  \"b\": 20\n}\n");
    let plan = pair.agree();
    assert_eq!(read(&pair.hub, "text.md"), text("one", "eight"));
    assert_eq!(read(&pair.hub, "conf.json"), "{\n  \"a\": 10, \n  \"b\": 20\n}\n");
    assert!(plan.actions[0].reason.starts_with("merged"), "{:?}", plan.actions[0]);
    assert_eq!(pair.versions().len(), 4);
}

#[test]
fn what_nobody_can_decide_waits_with_both_sides_kept_while_the_rest_goes_on() {
    let mut pair = Pair::new();
    for name in ["bin", "del", "rest"] {
        write(&pair.hub, name, &format!("base {name}\0"));
    }
    pair.agree();
    write(&pair.hub, "bin", "hub\0");
    write(&pair.spoke, "bin", "spoke\0");
    fs::remove_file(pair.hub.join("del")).unwrap();
    write(&pair.spoke, "del", "edited\0");
    write(&pair.spoke, "rest", "goes on\0");
    let (plan, applied) = pair.sync();
    let kinds: Vec<_> = plan.conflicts.iter().map(|c| (c.item.as_str(), c.conflict_kind.as_str())).collect();
    assert_eq!(kinds, [("bin", "update/update"), ("del", "delete/update")]);
    assert_eq!(applied.skipped, []);
    assert_eq!((read(&pair.hub, "bin"), read(&pair.spoke, "bin")), ("hub\0".into(), "spoke\0".into()));
    assert!(!pair.hub.join("del").exists());
    assert_eq!(read(&pair.hub, "rest"), "goes on\0");
    for value in [&plan.conflicts[0].hub, &plan.conflicts[0].spoke, &plan.conflicts[1].spoke] {
        assert!(pair.content.has(&value.as_ref().unwrap().content.unwrap()).unwrap(), "both sides are pinned");
    }
    // Nothing changes until somebody answers, and nothing is written.
    let before = (traces(&pair.hub), traces(&pair.spoke));
    let (again, _) = pair.sync();
    assert_eq!((again.conflicts, again.actions), (plan.conflicts.clone(), vec![]));
    assert_eq!((traces(&pair.hub), traces(&pair.spoke)), before);
    pair.answer(&plan.conflicts[0], Answer::Take(Choice::Spoke));
    pair.answer(&plan.conflicts[1], Answer::Take(Choice::Hub));
    let plan = pair.agree();
    assert_eq!(plan.settles.len(), 2);
    assert_eq!(read(&pair.hub, "bin"), "spoke\0");
    assert!(!pair.spoke.join("del").exists());
    assert!(pair.versions().contains(&"hub\0".to_owned()) && pair.versions().contains(&"edited\0".to_owned()));
}

#[test]
fn answers_may_be_new_content_or_fields_are_checked_and_can_be_taken_back() {
    let mut pair = Pair::new();
    write(&pair.hub, "c.json", "{\"a\": 1, \"b\": 1}\n");
    pair.agree();
    write(&pair.hub, "c.json", "{\"a\": 2, \"b\": 1}\n");
    write(&pair.spoke, "c.json", "{\"a\": 3, \"b\": 1}\n");
    let (plan, _) = pair.sync();
    let draft = plan.conflicts[0].clone();
    assert_eq!(draft.fields.len(), 1, "{draft:?}");
    // An answer to what is no longer there is not carried out.
    write(&pair.spoke, "c.json", "{\"a\": 4, \"b\": 1}\n");
    pair.answer(&draft, Answer::Take(Choice::Hub));
    let (plan, _) = pair.sync();
    assert!(plan.settles.is_empty() && plan.conflicts[0].because.contains("answer again"), "{plan:?}");
    let draft = plan.conflicts[0].clone();
    pair.answer(&draft, Answer::Fields([("/a".to_owned(), "5".to_owned())].into()));
    let plan = pair.agree();
    assert_eq!(plan.settles.len(), 1);
    assert_eq!(read(&pair.hub, "c.json"), "{\"a\": 5, \"b\": 1}\n");
    pair.answer(&draft, Answer::Undo);
    let (plan, _) = pair.sync();
    assert_eq!((plan.settles.len(), plan.conflicts.len()), (1, 1));
    assert_eq!(read(&pair.hub, "c.json"), "{\"a\": 2, \"b\": 1}\n");
    assert_eq!(read(&pair.spoke, "c.json"), "{\"a\": 4, \"b\": 1}\n");
    let (plan, _) = pair.sync();
    assert_eq!(plan.conflicts[0].conflict_kind, "update/update", "and it is in dispute again");
    let typed = pair.content.put(b"typed by a person\n").unwrap();
    pair.answer(&plan.conflicts[0].clone(), Answer::Content(typed));
    pair.agree();
    assert_eq!(read(&pair.spoke, "c.json"), "typed by a person\n");
}

#[test]
fn policies_decide_where_the_owner_said_so() {
    for (policy, edited, deleted) in
        [(ConflictPolicy::Hub, "hub\0", "(entity not found)"), (ConflictPolicy::Spoke, "spoke\0", "edited\0")]
    {
        let mut pair = Pair::new();
        write(&pair.hub, "bin", "base\0");
        write(&pair.hub, "del", "base\0");
        pair.agree();
        pair.declared.policy = policy;
        write(&pair.hub, "bin", "hub\0");
        write(&pair.spoke, "bin", "spoke\0");
        fs::remove_file(pair.hub.join("del")).unwrap();
        write(&pair.spoke, "del", "edited\0");
        pair.agree();
        assert_eq!((read(&pair.hub, "bin"), read(&pair.spoke, "del")), (edited.to_owned(), deleted.to_owned()));
    }
}

#[test]
fn drift_is_told_and_only_overwritten_by_a_change_of_the_leading_side() {
    let mut pair = Pair::new();
    write(&pair.hub, "a", "1\0");
    write(&pair.hub, "b", "1\0");
    pair.agree();
    pair.declared.data_sync = DataSync::HubDistribution;
    write(&pair.spoke, "a", "drift a\0");
    write(&pair.spoke, "b", "drift b\0");
    write(&pair.hub, "b", "2\0");
    let (plan, applied) = pair.sync();
    assert_eq!(
        plan.conflicts.iter().map(|c| (c.item.as_str(), c.conflict_kind.as_str())).collect::<Vec<_>>(),
        [("a", "drift")]
    );
    assert_eq!(applied.skipped, []);
    assert_eq!((read(&pair.spoke, "a"), read(&pair.spoke, "b")), ("drift a\0".into(), "2\0".into()));
    assert_eq!((read(&pair.hub, "a"), read(&pair.hub, "b")), ("1\0".into(), "2\0".into()));
    assert_eq!(pair.versions(), ["drift b\0"], "what was overwritten is kept");
    pair.declared.data_sync = DataSync::SnapshotOnly;
    let (plan, _) = pair.sync();
    assert_eq!((plan.actions.len(), plan.conflicts.len()), (0, 0));
}

#[test]
fn ignored_paths_are_never_touched_on_either_side() {
    let mut pair = Pair::new();
    pair.detail().ignore = vec!["*.tmp".into(), "/cache/".into()];
    write(&pair.hub, ".cathedralignore", "secret/\n");
    write(&pair.hub, "x.tmp", "hub");
    write(&pair.spoke, "x.tmp", "spoke");
    write(&pair.hub, "cache/big", "hub");
    write(&pair.spoke, "secret/key", "spoke");
    write(&pair.spoke, "d/keep.tmp", "kept");
    write(&pair.spoke, "d/file", "f");
    let (_, applied) = pair.sync();
    assert_eq!(applied.skipped, []);
    assert_eq!((read(&pair.hub, "x.tmp"), read(&pair.spoke, "x.tmp")), ("hub".into(), "spoke".into()));
    assert!(!pair.spoke.join("cache").exists() && !pair.hub.join("secret").exists());
    // A deleted directory with something ignored inside stays there, and does not come back elsewhere.
    fs::remove_dir_all(pair.hub.join("d")).unwrap();
    pair.sync();
    assert_eq!((read(&pair.spoke, "d/keep.tmp"), pair.spoke.join("d/file").exists()), ("kept".into(), false));
    let (plan, _) = pair.sync();
    assert_eq!((plan.actions.len(), pair.hub.join("d").exists()), (0, false));
    // A new pattern over synced files deletes nothing, and taking it back compares them anew.
    write(&pair.hub, "log/a", "a");
    pair.sync();
    pair.detail().ignore.push("log".into());
    fs::remove_dir_all(pair.spoke.join("log")).unwrap();
    let (plan, _) = pair.sync();
    assert_eq!((plan.actions.len(), read(&pair.hub, "log/a")), (0, "a".into()));
    pair.detail().ignore.pop();
    pair.sync();
    assert_eq!(read(&pair.spoke, "log/a"), "a");
}

#[test]
fn bulk_deletions_lost_roots_and_foreign_roots_wait_for_a_person() {
    let mut pair = Pair::new();
    for i in 0..20 {
        write(&pair.hub, &format!("d/{i}"), &format!("{i}"));
    }
    pair.agree();
    let names = |pair: &Pair| pair.plan().guards.iter().map(|g| g.name.clone()).collect::<Vec<_>>();
    for i in 0..6 {
        fs::remove_file(pair.hub.join(format!("d/{i}"))).unwrap();
    }
    assert_eq!(names(&pair), ["mass_deletion"]);
    write(&pair.hub, "d/0", "0");
    assert!(names(&pair).is_empty(), "five of twenty go without asking");
    // A moved directory is no mass deletion.
    pair.agree();
    fs::rename(pair.hub.join("d"), pair.hub.join("moved")).unwrap();
    assert!(names(&pair).is_empty());
    pair.agree();
    let full = listing(&pair.hub);
    let aside = pair.dir.path().join("aside");
    fs::rename(&pair.spoke, &aside).unwrap();
    assert_eq!(names(&pair), ["root_missing"]);
    fs::create_dir(&pair.spoke).unwrap();
    assert_eq!(names(&pair), ["root_empty", "marker_missing"]);
    fs::write(pair.spoke.join(".cathedral-root"), "{\"nonce\":\"other\"}").unwrap();
    write(&pair.spoke, "other", "disk");
    let plan = pair.plan();
    assert_eq!(plan.guards[0].name, "marker_foreign");
    assert!(plan.actions.iter().all(|action| action.side == Side::Spoke || action.target == "other"));
    assert!(plan.actions.iter().all(|action| action.action != "delete"), "a plan past such a guard deletes nothing");
    // Approved: exactly that plan.
    pair.run += 1;
    pair.apply(&plan);
    assert_eq!(listing(&pair.hub).len(), full.len() + 1);
    pair.agree();
}

#[test]
fn shared_state_documents_merge_as_documents() {
    let mut pair = Pair::new();
    write(&pair.hub, "state.doc.json", "{\"list\":[\"a\"],\"n\":1}\n");
    pair.agree();
    write(&pair.hub, "state.doc.json", "{\"list\":[\"a\",\"hub\"],\"n\":1}\n");
    write(&pair.spoke, "state.doc.json", "{\"list\":[\"a\"],\"n\":2}\n");
    pair.agree();
    assert_eq!(read(&pair.hub, "state.doc.json"), "{\"list\":[\"a\",\"hub\"],\"n\":2}\n");
    // Two insertions into one list have a proposal with both, which a person can take.
    write(&pair.hub, "state.doc.json", "{\"list\":[\"a\",\"hub\",\"x\"],\"n\":2}\n");
    write(&pair.spoke, "state.doc.json", "{\"list\":[\"y\",\"a\",\"hub\"],\"n\":2}\n");
    let (plan, _) = pair.sync();
    pair.answer(&plan.conflicts[0], Answer::Take(Choice::Suggested));
    pair.agree();
    assert_eq!(read(&pair.spoke, "state.doc.json"), "{\"list\":[\"y\",\"a\",\"hub\",\"x\"],\"n\":2}\n");
}

/// The agreed state was lost, as after a restore: an answer that takes it deletes nothing.
#[test]
fn a_base_that_is_not_known_is_not_nothing() {
    let mut pair = Pair::new();
    write(&pair.hub, "bin", "base\0");
    pair.agree();
    write(&pair.hub, "bin", "hub\0");
    write(&pair.spoke, "bin", "spoke\0");
    let (plan, _) = pair.sync();
    let draft = plan.conflicts[0].clone();
    let kept = pair.base;
    let unrelated = {
        pair.base = None;
        pair.sync().0
    };
    for base in [kept, None, pair.base] {
        pair.base = base;
        pair.answer(&draft, Answer::Take(Choice::Base));
        let plan = pair.plan();
        pair.directives.clear();
        assert!(plan.settles.is_empty() && plan.actions.is_empty(), "{plan:?}");
        assert_eq!(plan.conflicts.len(), 1);
    }
    pair.base = None;
    pair.answer(&unrelated.conflicts[0], Answer::Take(Choice::Base));
    assert!(pair.plan().actions.is_empty());
}
