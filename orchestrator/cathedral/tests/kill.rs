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

/// While one command works, another one on the same folder is told to come again, and looking is possible.
#[test]
fn a_second_command_meanwhile_is_told_to_come_again() {
    let trial = Trial::new(Kind::Sync);
    trial.meanwhile(&["status"], 0);
    for args in [&["sync"][..], &["snapshot", "create"], &["plan"], &["restore", "latest", "--to", "../x"]] {
        trial.meanwhile(args, 75);
    }
}
