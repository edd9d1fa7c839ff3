//! Packs that are gone: a new snapshot is never built on them.

use cathedral_backup::LocalVault;
use cathedral_model::ecosystem::{Side, SpokeKind};
use cathedral_model::ports::env::Silent;
use cathedral_model::ports::vault::Stamp;
use cathedral_model::ports::{Destination as _, SnapshotWriter, Vault as _};
use cathedral_model::snapshot::{CheckLevel, SnapshotInfo};
use std::fs;

use crate::samples::{database, everything, git};
use crate::support::{
    Content, Parts, World, as_read, begin, dir, file, give_back, key, meta, noise, state, take, text, wait,
};

fn packs(world: &World, name: &str) -> Vec<String> {
    world.objects(name).into_iter().filter(|o| o.starts_with("packs/")).collect()
}

fn remove(world: &World, name: &str, objects: &[String]) {
    objects.iter().for_each(|o| fs::remove_file(world.folder(name).join(o)).unwrap());
}

fn changed() -> Parts {
    let mut parts = everything();
    let only = Content::Files(vec![file("only", "two")]);
    parts.insert(("media".into(), Side::Spoke), only);
    parts
}

/// Restores a snapshot with this vault, and as one who knows nothing but the key.
fn restores(world: &World, vault: &LocalVault, info: &SnapshotInfo, parts: &Parts) {
    assert!(once(give_back(vault, info).unwrap()) == as_read(parts), "{}", info.meta.id);
    assert_eq!(vault.take_faults(), vec![], "what is gone is not even asked for");
    let cold = LocalVault::open_with_key(world.destinations(), &world.keys().join("hub.key")).unwrap();
    assert!(once(give_back(&cold, info).unwrap()) == as_read(parts), "{} with the key alone", info.meta.id);
}

/// The tests send a git pack even when all of it is held: then it stands twice in the chain.
fn once(mut parts: Parts) -> Parts {
    for content in parts.values_mut() {
        if let Content::Git { packs, .. } = content {
            packs.dedup();
        }
    }
    parts
}

/// Writes parts as a hub does: what is unchanged is taken over, or its files are. Says what was.
fn write(writer: &dyn SnapshotWriter, number: u8, parts: &[(&str, Content)]) -> (Vec<bool>, Vec<bool>) {
    let (mut reused, mut cached) = (vec![], vec![]);
    for (spoke, content) in parts {
        let key = key(spoke, Side::Hub);
        let is_reused = wait(writer.reuse(&key, content.kind(), &state(content).digest)).unwrap();
        reused.push(is_reused);
        if is_reused {
            continue;
        }
        let mut sink = writer.part(&key, content.kind()).unwrap();
        let Content::Files(entries) = content else {
            if matches!(content, Content::Git { .. }) {
                assert_eq!(sink.git_held().unwrap(), Vec::<String>::new(), "snapshot {number}");
            }
            crate::support::pour(sink.as_mut(), content).unwrap();
            continue;
        };
        for (entry, bytes) in entries {
            if !matches!(entry.kind, cathedral_model::ports::vault::EntryKind::File { .. }) {
                sink.entry(entry, None, None).unwrap();
                continue;
            }
            let old = 1_600_000_000_000_000_000;
            let stamp = Stamp { dev: 1, ino: 2, size: bytes.len() as u64, mtime_ns: old, ctime_ns: old };
            cached.push(sink.unchanged(entry, &stamp).unwrap());
            if cached.last() == Some(&false) {
                sink.entry(entry, Some(&stamp), Some(&mut bytes.as_slice())).unwrap();
            }
        }
        sink.finish(&state(content), "exact").unwrap();
    }
    (reused, cached)
}

#[test]
fn after_all_packs_are_gone_everything_is_stored_again_and_the_old_losses_are_named() {
    for is_same_process in [true, false] {
        let world = World::new(&["one"], 1);
        let mut vault = world.open();
        let first = take(&vault, &meta(1), &everything()).unwrap();
        fs::remove_dir_all(world.folder("one").join("packs")).unwrap();
        if !is_same_process {
            vault = world.open();
        }
        let second = take(&vault, &meta(2), &changed()).unwrap();
        assert!(second.bytes.new > 5_000_000, "{:?}", second.bytes);
        restores(&world, &vault, &second, &changed());
        give_back(&vault, &first).expect_err("what has changed since is lost");

        let report = wait(world.open().check(CheckLevel::Full, &[], &Silent)).unwrap();
        let affected: Vec<&String> = report.problems.iter().flat_map(|p| &p.affects).collect();
        assert!(affected.iter().any(|a| a.contains(first.meta.id.as_str())), "{report:?}");
        assert!(!affected.iter().any(|a| a.contains(second.meta.id.as_str())), "{report:?}");
        let report =
            wait(world.open().check(CheckLevel::Full, std::slice::from_ref(&second.meta.id), &Silent)).unwrap();
        assert_eq!(report.problems, vec![], "the new snapshot needs nothing that is gone");

        let third = take(&world.open(), &meta(3), &changed()).unwrap();
        assert_eq!(third.bytes.new, 0, "what was stored again is known");
        restores(&world, &world.open(), &third, &changed());
    }
}

#[test]
fn whichever_pack_is_gone_or_torn_the_next_snapshot_is_whole() {
    let count = {
        let world = World::new(&["one"], 1);
        take(&world.open(), &meta(1), &everything()).unwrap();
        packs(&world, "one").len()
    };
    for at in 0..count {
        for is_torn in [true, false] {
            let world = World::new(&["one"], 1);
            take(&world.open(), &meta(1), &everything()).unwrap();
            let Some(object) = packs(&world, "one").get(at).cloned() else { continue };
            if is_torn {
                let path = world.folder("one").join(&object);
                let bytes = fs::read(&path).unwrap();
                fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
            } else {
                remove(&world, "one", &[object]);
            }
            let vault = world.open();
            let second = take(&vault, &meta(2), &changed()).unwrap();
            restores(&world, &vault, &second, &changed());
        }
    }
}

#[test]
fn nothing_that_needs_a_gone_pack_is_taken_over_and_the_rest_still_is() {
    let media = || Content::Files(vec![file("big", noise(1, 400_000)), dir("d"), file("d/small", text(2, 900))]);
    let parts = |git_: Content| [("media", media()), ("grimoire", git_), ("billing", database())];
    let world = World::new(&["one"], 1);
    let begun = begin(&world.open(), &meta(1)).unwrap();
    assert_eq!(write(begun.as_ref(), 1, &parts(git())), (vec![false; 3], vec![false; 2]));
    wait(begun.commit()).unwrap();
    let first = packs(&world, "one");

    // Directories and lists are there: only a look at all that is needed shows the loss.
    let is_data = |object: &&String| fs::metadata(world.folder("one").join(object)).unwrap().len() > 50_000;
    let data: Vec<String> = first.iter().filter(is_data).cloned().collect();
    assert!(!data.is_empty() && data.len() < first.len(), "{first:?}");
    remove(&world, "one", &data);
    let vault = world.open();
    let begun = begin(&vault, &meta(2)).unwrap();
    let (reused, cached) = write(begun.as_ref(), 2, &parts(git()));
    assert_eq!((&reused[..2], cached[0]), (&[false, false][..], false));
    let second = wait(begun.commit()).unwrap();
    let expect: Parts = parts(git()).into_iter().map(|(s, c)| ((s.to_owned(), Side::Hub), c)).collect();
    restores(&world, &vault, &second, &expect);

    // The parts were stored again: from now on they are taken over, with and without the hub's notes.
    for number in [3, 4] {
        let vault = world.open();
        let begun = begin(&vault, &meta(number)).unwrap();
        assert_eq!(write(begun.as_ref(), number, &parts(git())).0, vec![true; 3], "snapshot {number}");
        let info = wait(begun.commit()).unwrap();
        assert_eq!(info.bytes.new, 0);
        restores(&world, &vault, &info, &expect);
        fs::remove_dir_all(world.cache()).unwrap();
    }
    // Another loss is seen although an earlier one was looked into.
    let begun = begin(&world.open(), &meta(5)).unwrap();
    write(begun.as_ref(), 5, &parts(git()));
    wait(begun.commit()).unwrap();
    fs::remove_dir_all(world.folder("one").join("packs")).unwrap();
    let begun = begin(&world.open(), &meta(6)).unwrap();
    assert_eq!(write(begun.as_ref(), 6, &parts(git())), (vec![false; 3], vec![false; 2]));
    let info = wait(begun.commit()).unwrap();
    restores(&world, &world.open(), &info, &expect);
    assert_eq!(info.parts.iter().filter(|p| p.kind == SpokeKind::Git).count(), 1);
}

#[test]
fn what_one_destination_misses_is_copied_from_another_and_stored_again_only_when_none_has_it() {
    for quorum in [1, 2] {
        let world = World::new(&["one", "two"], quorum);
        take(&world.open(), &meta(1), &everything()).unwrap();
        // Each misses what the other has; one pack is torn at the first.
        let all = packs(&world, "one");
        assert!(all.len() > 2, "{all:?}");
        remove(&world, "two", &all[..1]);
        let torn = world.folder("one").join(&all[1]);
        fs::write(&torn, &fs::read(&torn).unwrap()[1..]).unwrap();
        remove(&world, "one", &all[2..]);
        let second = take(&world.open(), &meta(2), &everything()).unwrap();
        assert_eq!(second.bytes.new, 0);
        assert!(second.destinations.iter().all(|d| d.state == "held"), "{:?}", second.destinations);
        assert_eq!(world.objects("one"), world.objects("two"));
        let report = wait(world.open().check(CheckLevel::Full, &[], &Silent)).unwrap();
        assert_eq!(report.problems, vec![]);

        // A copy with the right length and other bytes is none.
        remove(&world, "one", &all);
        for object in &all {
            let len = fs::metadata(world.folder("two").join(object)).unwrap().len();
            fs::write(world.folder("two").join(object), noise(9, usize::try_from(len).unwrap())).unwrap();
        }
        let third = take(&world.open(), &meta(3), &changed());
        if quorum == 1 {
            let third = third.unwrap();
            assert!(third.bytes.new > 5_000_000, "{:?}", third.bytes);
        }
        remove(&world, "two", &all);
        let vault = world.open();
        let fourth = take(&vault, &meta(4), &changed()).unwrap();
        assert!(fourth.destinations.iter().all(|d| d.state == "held"), "{:?}", fourth.destinations);
        restores(&world, &vault, &fourth, &changed());
        assert_eq!(packs(&world, "one"), packs(&world, "two"));
        assert!(world.local("one").list("packs/").is_ok());
    }
}
