//! Crashes, failing calls and foreign writers, at every call.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cathedral_model::ids::{Fence, RunId};
use cathedral_model::plan::SpokePlan;
use cathedral_model::ports::{PortError, Syncer};
use cathedral_syncers::files::Hook;

use crate::common::*;

/// A pair with changes of every kind under way.
fn busy() -> (Pair, SpokePlan) {
    let mut pair = Pair::new();
    for name in ["edit", "gone", "mode", "to_dir", "to_link", "dir/in", "dir/sub/in", "merge"] {
        write(&pair.hub, name, &format!("old {name}\n2\n3\n4\n5\n"));
    }
    write(&pair.hub, "gone_dir/a", "old gone_dir\n");
    write(&pair.hub, "fight", "old fight\n");
    pair.agree();
    write(&pair.hub, "edit", "new edit\n");
    write(&pair.spoke, "new/deep/file", "new file\n");
    fs::remove_file(pair.spoke.join("gone")).unwrap();
    fs::remove_dir_all(pair.hub.join("gone_dir")).unwrap();
    chmod(&pair.hub, "mode", 0o700);
    fs::remove_file(pair.hub.join("to_dir")).unwrap();
    write(&pair.hub, "to_dir/file", "new in dir\n");
    fs::remove_file(pair.spoke.join("to_link")).unwrap();
    symlink("edit", pair.spoke.join("to_link")).unwrap();
    fs::remove_dir_all(pair.hub.join("dir")).unwrap();
    write(&pair.hub, "dir", "now a file\n");
    write(&pair.hub, "merge", "hub merge\n2\n3\n4\n5\n");
    write(&pair.spoke, "merge", "old merge\n2\n3\n4\nspoke\n");
    write(&pair.hub, "fight", "hub\0");
    write(&pair.spoke, "fight", "spoke\0");
    pair.run += 1;
    let plan = pair.plan();
    assert_eq!(plan.guards, []);
    assert_eq!(plan.conflicts.len(), 1);
    (pair, plan)
}

const OLD: [&str; 9] = [
    "old edit\n2\n3\n4\n5\n",
    "old gone\n2\n3\n4\n5\n",
    "old to_dir\n2\n3\n4\n5\n",
    "old to_link\n2\n3\n4\n5\n",
    "old dir/in\n2\n3\n4\n5\n",
    "old dir/sub/in\n2\n3\n4\n5\n",
    "old gone_dir\n",
    "hub merge\n2\n3\n4\n5\n",
    "old merge\n2\n3\n4\nspoke\n",
];

fn contents(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = listing(root).into_keys().filter(|path| root.join(path).symlink_metadata().unwrap().is_file());
    files
        .filter(|path| !path.starts_with(".cathedral-stage"))
        .map(|path| (path.clone(), fs::read(root.join(path)).unwrap()))
        .collect()
}

fn assert_done(pair: &mut Pair, at: &str) {
    assert_eq!(read(&pair.hub, "merge"), "hub merge\n2\n3\n4\nspoke\n", "{at}");
    let mut sides = [listing(&pair.hub), listing(&pair.spoke)];
    for side in &mut sides {
        assert!(side.remove(Path::new("fight")).is_some(), "{at}");
    }
    assert_eq!(sides[0], sides[1], "{at}");
    assert_eq!((read(&pair.hub, "fight"), read(&pair.spoke, "fight")), ("hub\0".into(), "spoke\0".into()), "{at}");
    assert_eq!(read(&pair.spoke, "to_dir/file"), "new in dir\n");
    let kept = pair.versions();
    for old in OLD {
        assert!(kept.iter().any(|kept| kept == old), "{at}: {old:?} is not kept");
    }
    let before = (traces(&pair.hub), traces(&pair.spoke));
    let (plan, applied) = pair.sync();
    assert_eq!((plan.actions, applied.skipped), (vec![], vec![]), "{at}");
    assert_eq!((traces(&pair.hub), traces(&pair.spoke)), before, "{at}: nothing is left to do");
}

#[test]
fn a_sync_stopped_at_any_call_leaves_old_or_new_files_and_finishes_after_a_restart() {
    let mut last = 0;
    for stop in 0.. {
        let (mut pair, plan) = busy();
        let (before, _) = ([contents(&pair.hub), contents(&pair.spoke)], ());
        let (hook, reached_end) = stop_after(stop);
        let stopped = pair.apply_with(&pair.hooked(hook), &plan);
        // Every file is one that was there before, on either side, or the merge.
        let known = |bytes: &Vec<u8>| {
            before.iter().any(|side| side.values().any(|old| old == bytes)) || bytes == b"hub merge\n2\n3\n4\nspoke\n"
        };
        for root in [&pair.hub, &pair.spoke] {
            for (path, bytes) in contents(root) {
                assert!(known(&bytes), "stop {stop}: {} is torn", path.display());
            }
        }
        if reached_end() {
            stopped.unwrap();
            last = stop;
            assert_done(&mut pair, "without a stop");
            break;
        }
        stopped.unwrap_err();
        // A restarted hub applies the same plan again, or makes a new one.
        if stop % 2 == 0 {
            let applied = pair.apply(&plan);
            assert_eq!(applied.skipped, [], "stop {stop}");
        } else {
            let (_, applied) = pair.sync();
            assert_eq!(applied.skipped, [], "stop {stop}");
        }
        assert_done(&mut pair, &format!("stop {stop}"));
    }
    assert!(last > 40, "the hook sees the calls: {last}");
}

#[test]
fn one_failing_call_costs_at_most_its_own_step_and_the_next_sync_makes_up_for_it() {
    for fail in (0..200).step_by(2) {
        let (mut pair, plan) = busy();
        let seen = Arc::new(AtomicUsize::new(0));
        let counted = seen.clone();
        let hook = Hook::new(move |call, _| {
            let is_change = !matches!(call, "read" | "stat");
            if is_change && counted.fetch_add(1, Ordering::SeqCst) == fail {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            Ok(())
        });
        if let Err(e) = pair.apply_with(&pair.hooked(hook), &plan) {
            assert!(matches!(e, PortError::Permanent { .. } | PortError::Transient { .. }), "{e}");
        }
        let was_last = seen.load(Ordering::SeqCst) <= fail;
        let (_, applied) = pair.sync();
        assert_eq!(applied.skipped, [], "fail {fail}");
        assert_done(&mut pair, &format!("fail {fail}"));
        if was_last {
            assert!(fail > 40, "the hook sees the calls: {fail}");
            return;
        }
    }
    panic!("the calls end somewhere");
}

#[test]
fn a_write_at_the_last_moment_is_never_lost() {
    // (call, path as the call names it, what is written where)
    for (call, name, side, path) in [
        ("exchange", "edit", "spoke", "edit"),
        ("take", "gone", "hub", "gone"),
        ("take", "to_dir", "spoke", "to_dir"),
        ("exchange", "merge", "hub", "merge"),
        ("exchange", "to_link", "hub", "to_link"),
        ("rename", "file", "hub", "new/deep/file"),
        ("rmdir", "gone_dir", "spoke", "gone_dir/late"),
    ] {
        for in_place in [true, false] {
            let (mut pair, plan) = busy();
            let target = pair.dir.path().join(side).join(path);
            let (at, aside) = (target.clone(), pair.dir.path().join("aside"));
            let hook = Hook::new(move |seen, what| {
                if seen == call && what == name.as_bytes() && fs::read(&at).ok().as_deref() != Some(b"last moment") {
                    if in_place {
                        fs::write(&at, "last moment")?;
                    } else {
                        fs::write(&aside, "last moment")?;
                        fs::rename(&aside, &at)?;
                    }
                }
                Ok(())
            });
            let applied = pair.apply_with(&pair.hooked(hook), &plan).unwrap();
            let what = format!("{call} {name} in place {in_place}: {:?}", applied.skipped);
            assert_eq!(fs::read_to_string(&target).unwrap_or_default(), "last moment", "{what}");
            assert!(!applied.skipped.is_empty(), "{what}");
            // And the next sync carries it on or asks; it is never overwritten.
            pair.sync();
            let there = [&pair.hub, &pair.spoke].iter().any(|root| read(root, path) == "last moment");
            assert!(there, "{what}");
        }
    }
}

#[test]
fn what_changed_since_the_plan_is_skipped_and_listed() {
    let (mut pair, plan) = busy();
    write(&pair.spoke, "edit", "edited meanwhile\n");
    fs::remove_file(pair.hub.join("gone")).unwrap();
    fs::create_dir(pair.hub.join("gone")).unwrap();
    write(&pair.hub, "new", "in the way\n");
    let applied = pair.apply(&plan);
    let skipped: Vec<_> = applied.skipped.iter().map(|s| s.target.as_str()).collect();
    for path in ["edit", "gone", "new", "new/deep", "new/deep/file"] {
        assert!(skipped.contains(&path), "{path} of {skipped:?}");
    }
    assert_eq!(
        (read(&pair.spoke, "edit"), read(&pair.hub, "new")),
        ("edited meanwhile\n".into(), "in the way\n".into())
    );
    let (plan, _) = pair.sync();
    let disputed: Vec<_> = plan.conflicts.iter().map(|c| c.item.as_str()).collect();
    assert_eq!(disputed, ["edit", "fight", "new"]);
}

#[test]
fn an_edit_while_the_sync_runs_is_not_taken_for_synced() {
    let (mut pair, plan) = busy();
    let late = pair.hub.join("mode");
    let hook = Hook::new(move |call, _| if call == "record" { fs::write(&late, "late edit") } else { Ok(()) });
    let applied = pair.apply_with(&pair.hooked(hook), &plan).unwrap();
    assert_eq!(applied.skipped.iter().map(|s| s.target.as_str()).collect::<Vec<_>>(), ["mode"]);
    pair.sync();
    assert_eq!(read(&pair.spoke, "mode"), "late edit");
}

#[test]
fn links_planted_in_the_way_lead_nowhere() {
    let (mut pair, plan) = busy();
    let outside = pair.dir.path().join("outside");
    write(&outside, "deep/in", "mine");
    write(&outside, "file", "mine");
    // The directories that the plan writes into are links now.
    fs::rename(pair.spoke.join("dir"), pair.dir.path().join("moved")).unwrap();
    symlink(&outside, pair.spoke.join("dir")).unwrap();
    symlink(&outside, pair.hub.join("new")).unwrap();
    let planted = outside.clone();
    let to = pair.spoke.join("to_dir");
    let hook = Hook::new(move |call, path| {
        if call == "create" && path == b"1" && !to.is_symlink() && to.is_dir() {
            fs::remove_dir(&to)?;
            symlink(&planted, &to)?;
        }
        Ok(())
    });
    let before = listing(&outside);
    let applied = pair.apply_with(&pair.hooked(hook), &plan).unwrap();
    assert!(!applied.skipped.is_empty());
    assert_eq!(listing(&outside), before, "nothing outside is written or removed");
}

#[test]
fn an_older_fence_and_a_second_hub_are_refused() {
    let (mut pair, plan) = busy();
    pair.run = 7;
    pair.apply(&plan);
    let older = wait(pair.syncer.apply(&pair.declared, &plan, RunId(8), Fence(6)));
    assert!(matches!(older, Err(PortError::Fenced(_))), "{older:?}");
    // A newer holder that appears in the middle stops the writing.
    let (mut pair, plan) = busy();
    let fence = pair.state.join("fence/media");
    let hook = Hook::new(move |call, _| if call == "exchange" { fs::write(&fence, "99") } else { Ok(()) });
    let stopped = pair.apply_with(&pair.hooked(hook), &plan);
    assert!(matches!(stopped, Err(PortError::Fenced(_))), "{stopped:?}");
    // While one writes, another one is told to come later.
    let (pair, plan) = busy();
    let (state, content) = (pair.state.clone(), pair.content.clone());
    let (declared, other) = (pair.declared.clone(), plan.clone());
    let hook = Hook::new(move |call, _| {
        if call == "record" {
            let second = cathedral_syncers::files::FilesSyncer::new(&state, content.clone());
            let busy = std::thread::scope(|scope| {
                scope.spawn(|| wait(second.apply(&declared, &other, RunId(3), Fence(3)))).join().unwrap()
            });
            assert!(matches!(busy, Err(PortError::Transient { .. })), "{busy:?}");
        }
        Ok(())
    });
    let first = pair.hooked(hook);
    wait(first.pin(&pair.declared, &plan, RunId(2))).unwrap();
    wait(first.apply(&pair.declared, &plan, RunId(2), Fence(2))).unwrap();
}
