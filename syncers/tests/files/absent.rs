//! Trees that are not there, agreed contents that were not kept, and folders that a restore removes.

use std::fs;

use cathedral_model::ecosystem::Side;
use cathedral_model::plan::{Answer, Choice};
use cathedral_model::ports::syncer::{Place, Syncer};
use cathedral_model::ports::{Cause, PortError};

use crate::common::*;
use crate::snapshot::{Given, Recorded, export, import};

#[test]
fn a_pair_of_which_neither_folder_is_there_is_refused_and_not_made() {
    let mut pair = Pair::new();
    fs::remove_dir(&pair.hub).unwrap();
    fs::remove_dir(&pair.spoke).unwrap();
    let looked = wait(pair.syncer.observe(&pair.declared)).map(|_| ());
    let planned = wait(pair.syncer.plan(&pair.declared, &pair.context())).map(|_| ());
    for error in [looked, planned].map(Result::unwrap_err) {
        assert_eq!(error.cause(), Cause::NotFound);
        let expected = format!("neither {} nor {} is there", pair.hub.display(), pair.spoke.display());
        assert_eq!(error.to_string(), expected);
    }
    assert!(!pair.hub.exists() && !pair.spoke.exists());
    // One side is enough: the other is made from it.
    write(&pair.spoke, "a/b", "c");
    pair.agree();
    assert_eq!(read(&pair.hub, "a/b"), "c");
    // A pair that was synced before asks instead.
    fs::remove_dir_all(&pair.hub).unwrap();
    fs::remove_dir_all(&pair.spoke).unwrap();
    wait(pair.syncer.observe(&pair.declared)).unwrap();
    let names: Vec<_> = pair.plan().guards.into_iter().map(|guard| guard.name).collect();
    assert_eq!(names, ["root_missing", "root_missing"]);
}

#[test]
fn the_agreed_content_of_a_binary_file_is_not_offered_and_an_answer_that_wants_it_is_told() {
    let mut pair = Pair::new();
    for name in ["bin", "del"] {
        write(&pair.hub, name, "base\0");
    }
    pair.agree();
    write(&pair.hub, "bin", "hub\0");
    write(&pair.spoke, "bin", "spoke\0");
    fs::remove_file(pair.hub.join("del")).unwrap();
    write(&pair.spoke, "del", "edited\0");
    let (plan, _) = pair.sync();
    for draft in &plan.conflicts {
        let base = draft.base.as_ref().unwrap();
        assert_eq!(base.content, None);
        assert!(base.shown.contains("not kept"), "{}", base.shown);
        let hash = blake3::hash(b"base\0").to_hex().to_string();
        assert_eq!(base.shown.matches(&hash[..12]).count(), 1, "{}", base.shown);
    }
    pair.answer(&plan.conflicts[0], Answer::Take(Choice::Base));
    let (told, _) = pair.sync();
    assert_eq!((told.settles.len(), told.conflicts.len(), told.actions.len()), (0, 2, 0));
    assert!(told.conflicts[0].because.contains("agreed content was not kept"), "{}", told.conflicts[0].because);
    assert!(told.conflicts[0].because.contains("hub") && told.conflicts[0].because.contains("spoke"));
    assert_eq!((read(&pair.hub, "bin"), read(&pair.spoke, "bin")), ("hub\0".into(), "spoke\0".into()));
    // What is shown is still enough to open an answered conflict again as it was.
    pair.answer(&plan.conflicts[1], Answer::Take(Choice::Hub));
    let (taken, _) = pair.sync();
    assert_eq!(taken.settles.len(), 1);
    pair.answer(&plan.conflicts[1], Answer::Undo);
    pair.sync();
    let (again, _) = pair.sync();
    assert_eq!(again.conflicts[1], plan.conflicts[1], "once more deleted there, edited here");
}

#[test]
fn empty_folders_that_a_restore_removes_are_kept_too() {
    let pair = Pair::on_disk();
    write(&pair.hub, "file", "x");
    fs::create_dir(pair.hub.join("stays")).unwrap();
    let mut taken = Recorded::default();
    export(&pair, &Place::Live(Side::Hub), &mut taken);
    fs::create_dir_all(pair.hub.join("new/deep/hollow")).unwrap();
    chmod(&pair.hub, "new/deep/hollow", 0o750);
    fs::remove_file(pair.hub.join("file")).unwrap();
    fs::create_dir_all(pair.hub.join("file/in")).unwrap();
    let imported = import(&pair, &pair.syncer, &Place::Live(Side::Hub), &taken).unwrap();
    assert!(!pair.hub.join("new").exists());
    assert_eq!(read(&pair.hub, "file"), "x");
    let kept = listing(std::path::Path::new(&imported.kept.expect("something was removed")));
    let kept: Vec<_> = kept.iter().map(|(path, what)| (path.to_str().unwrap(), what.as_str())).collect();
    let dirs: Vec<_> = kept.iter().map(|(path, _)| *path).collect();
    assert_eq!(dirs, ["file", "file/in", "new", "new/deep", "new/deep/hollow"]);
    assert_eq!(kept[4].1, "750 other");
    // A folder that stays, because something in it takes no part, is not kept.
    let mut pair = Pair::new();
    pair.detail().ignore = vec!["*.tmp".into()];
    let mut nothing = Recorded::default();
    export(&pair, &Place::Live(Side::Hub), &mut nothing);
    write(&pair.hub, "d/x.tmp", "local");
    import(&pair, &pair.syncer, &Place::Live(Side::Hub), &nothing).unwrap();
    assert_eq!(read(&pair.hub, "d/x.tmp"), "local");
    assert!(!pair.state.join("kept/90/media/hub/d").exists());
}

#[test]
fn a_side_that_was_not_there_is_a_part_that_says_so_and_gives_nothing_back() {
    let pair = Pair::new();
    fs::remove_dir(&pair.spoke).unwrap();
    write(&pair.hub, "a", "x");
    let mut taken = Recorded::default();
    let state = export(&pair, &Place::Live(Side::Spoke), &mut taken);
    assert_eq!((state.position.as_str(), state.items, taken.entries.len()), ("missing", 0, 0));
    assert_eq!(state, wait(pair.syncer.observe(&pair.declared)).unwrap().spoke);
    let part = |position: &str| {
        let mut given = Given::new(&taken);
        given.info_mut().position = position.into();
        given
    };
    let run = |place: Place| -> Result<_, PortError> {
        let (run, fence) = (cathedral_model::ids::RunId(90), cathedral_model::ids::Fence(90));
        wait(pair.syncer.import(&pair.declared, &place, &mut part(&state.position), run, fence))
    };
    let target = pair.dir.path().join("place");
    let imported = run(Place::Path(target.clone())).unwrap();
    assert_eq!((imported.files, imported.bytes, fs::read_dir(&target).unwrap().count()), (0, 0, 0));
    let before = listing(&pair.hub);
    let imported = run(Place::Live(Side::Hub)).unwrap();
    assert_eq!((imported.files, imported.kept), (0, None));
    assert_eq!(listing(&pair.hub), before, "nothing is removed");
    run(Place::Live(Side::Spoke)).unwrap();
    assert!(!pair.spoke.exists(), "nothing is made");
}

/// A pair whose spoke, or hub, was lost after it was copied out and something came since.
fn lost(side: Side, leave_folder: bool) -> (Pair, std::path::PathBuf, Recorded) {
    let mut pair = Pair::new();
    for name in ["a", "b", "c/d", "e"] {
        write(&pair.hub, name, name);
    }
    pair.agree();
    let mut taken = Recorded::default();
    export(&pair, &Place::Live(side), &mut taken);
    write(&pair.hub, "later", "later");
    pair.agree();
    let root = if side == Side::Hub { pair.hub.clone() } else { pair.spoke.clone() };
    fs::remove_dir_all(&root).unwrap();
    if leave_folder {
        fs::create_dir(&root).unwrap();
    }
    pair.run = 90;
    (pair, root, taken)
}

fn guards(pair: &Pair) -> Vec<String> {
    pair.plan().guards.into_iter().map(|guard| guard.name).collect()
}

#[test]
fn a_lost_tree_that_a_restore_has_brought_back_is_synced_again_and_loses_nothing() {
    for (side, leave_folder) in [(Side::Hub, false), (Side::Spoke, false), (Side::Hub, true), (Side::Spoke, true)] {
        // A killed restore may leave the agreed state, a whole one does not.
        for is_agreed in [true, false] {
            let (mut pair, root, taken) = lost(side, leave_folder);
            assert!(!guards(&pair).is_empty());
            import(&pair, &pair.syncer, &Place::Live(side), &taken).unwrap();
            assert!(cathedral_syncers::files::note_faults(&pair.state, &pair.declared).is_empty());
            pair.base = pair.base.filter(|_| is_agreed);
            let (plan, _) = pair.sync();
            assert!(plan.actions.iter().all(|action| action.action == "create" && action.side == side), "{plan:?}");
            assert_eq!(read(&root, "later"), "later");
            assert!(root.join(".cathedral-root").exists());
            pair.agree();
            // From here on the marker is asked for again.
            fs::remove_file(root.join(".cathedral-root")).unwrap();
            assert_eq!(guards(&pair), ["marker_missing"]);
        }
    }
}

#[test]
fn a_restore_of_a_lost_tree_that_is_stopped_anywhere_deletes_nothing_later_and_repeating_finishes() {
    for stop in 0.. {
        let (mut pair, root, taken) = lost(Side::Spoke, false);
        let (hook, reached_end) = stop_after(stop);
        let stopped = import(&pair, &pair.hooked(hook), &Place::Live(Side::Spoke), &taken);
        let plan = pair.plan();
        assert!(plan.actions.iter().all(|action| action.action != "delete"), "stop {stop}: {plan:?}");
        assert_eq!(plan.guards.is_empty(), stopped.is_ok(), "stop {stop}: a half tree is asked about");
        import(&pair, &pair.syncer, &Place::Live(Side::Spoke), &taken).unwrap();
        pair.sync();
        assert_eq!(listing(&root), listing(&pair.hub), "stop {stop}");
        pair.agree();
        if reached_end() {
            break;
        }
    }
}

#[test]
fn marks_that_do_not_fit_are_in_the_plan_without_an_agreed_state_too_and_can_be_confirmed() {
    for leave_folder in [false, true] {
        let (mut pair, root, _) = lost(Side::Spoke, leave_folder);
        pair.base = None;
        assert_eq!(guards(&pair), [if leave_folder { "marker_missing" } else { "root_missing" }]);
        let plan = pair.plan();
        pair.run += 1;
        pair.apply(&plan);
        assert_eq!((read(&root, "later"), read(&pair.hub, "a")), ("later".into(), "a".into()));
        pair.agree();
    }
}
