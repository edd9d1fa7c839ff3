//! Killed with -9 at every place a run passes, and at places in between: the same command again ends
//! where a run that nobody disturbed ends, and nothing is ever lost.
//!
//! Needs the feature `failpoints`.

#![allow(clippy::unwrap_used)]

mod kill_support;
mod support;

use kill_support::{Kind, Trial};

/// Every place of a sync with changes, conflicts and deletions on both sides of everything.
#[test]
fn sync_killed_at_every_point_ends_as_if_undisturbed() {
    let trial = Trial::new(Kind::Sync);
    trial.every_point(20);
}

/// The first sync of all, which also makes keys, state, log and vault.
#[test]
fn first_sync_killed_at_every_point_ends_as_if_undisturbed() {
    let trial = Trial::new(Kind::First);
    trial.every_point(15);
}

/// Moments between the places: after a share of what a whole run reads and writes.
#[test]
fn sync_killed_between_the_points_ends_as_if_undisturbed() {
    Trial::new(Kind::Sync).between_points(20);
}

#[test]
fn first_sync_killed_between_the_points_ends_as_if_undisturbed() {
    Trial::new(Kind::First).between_points(20);
}

#[test]
fn restore_in_place_killed_between_the_points_ends_as_if_undisturbed() {
    Trial::new(Kind::RestoreInPlace).between_points(14);
}

/// A restore into a new folder.
#[test]
fn restore_to_a_folder_killed_at_every_point_goes_on() {
    let trial = Trial::new(Kind::RestoreTo);
    trial.every_point(15);
}

/// A restore over what is there, which is kept.
#[test]
fn restore_in_place_killed_at_every_point_goes_on() {
    let trial = Trial::new(Kind::RestoreInPlace);
    trial.every_point(15);
}

#[test]
fn snapshot_create_killed_at_every_point_goes_on() {
    let trial = Trial::new(Kind::Snapshot);
    trial.every_point(8);
}

/// What a restore needs that was killed is not let go, and what it held is free once it can never go on.
#[test]
fn the_snapshot_of_a_killed_restore_stays_and_a_restore_that_cannot_go_on_blocks_nobody() {
    let trial = Trial::new(Kind::RestoreInPlace);
    let world = trial.killed_at("restored:");
    let list = world.cathedral(&["snapshot", "list", "--json"]).expect(0).json();
    let id = list["data"]["snapshots"][0]["id"].as_str().unwrap().to_owned();
    let refused = world.cathedral(&["snapshot", "forget", &id, "--yes", "small"]).expect(7);
    assert!(refused.err.contains("is not done"), "{refused:?}");

    for vault in [world.vault(), world.vault_copy()] {
        let manifests: Vec<_> =
            std::fs::read_dir(vault.join("snapshots")).unwrap().map(|e| e.unwrap().path()).collect();
        for path in manifests.iter().filter(|p| p.to_string_lossy().contains(&id)) {
            std::fs::remove_file(path).unwrap();
        }
    }
    for _ in 0..2 {
        let ran = world.cathedral(&["sync"]);
        assert!(!ran.err.contains("being changed by another run"), "{ran:?}");
        assert!(!ran.out.contains("being changed by another run"), "{ran:?}");
    }
}

/// While one command works, another one on the same folder is told to come again, and looking is possible.
#[test]
fn a_second_command_meanwhile_is_told_to_come_again() {
    let trial = Trial::new(Kind::Sync);
    trial.meanwhile(&["status"], 0);
    for args in [&["sync"][..], &["snapshot", "create"], &["plan"], &["restore", "latest", "--to", "../x"]] {
        trial.meanwhile(args, 75);
    }
}
