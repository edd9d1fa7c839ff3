//! Files that are missing, damaged, locked, or not databases.

use cathedral_model::ports::{Cause, PortError};

use super::shop::shop;
use super::support::*;

fn observe(pair: &Pair) -> PortError {
    wait(pair.syncer.observe(&pair.spoke)).unwrap_err()
}

use cathedral_model::ports::Syncer;

#[test]
fn a_pair_without_any_file_or_with_one_file_twice_is_refused() {
    let mut pair = Pair::new();
    assert_eq!(observe(&pair).cause(), Cause::NotFound);
    assert_eq!(pair.try_plan(vec![]).unwrap_err().cause(), Cause::NotFound);
    pair.hub().execute_batch("create table t (id integer primary key)").unwrap();
    pair.detail().spoke = pair.path("hub");
    assert_eq!(observe(&pair).cause(), Cause::Invalid);
    pair.detail().spoke = pair.dir.path().to_owned();
    assert_eq!(observe(&pair).cause(), Cause::Invalid);
}

#[test]
fn what_is_no_database_is_said_to_be_none_and_damage_is_named() {
    let mut pair = shop();
    std::fs::write(
        pair.path("spoke"),
        "plain text, long enough to have a header of a hundred bytes or more, and then some words",
    )
    .unwrap();
    let error = observe(&pair);
    assert_eq!(error.cause(), Cause::Invalid);
    assert!(error.to_string().contains("spoke.db is not a SQLite database"), "{error}");

    pair = shop();
    let path = pair.path("hub");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[4096 * 3..middle].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    let error = observe(&pair);
    assert!(matches!(error, PortError::Corrupt(_)), "{error:?}");
    assert!(error.to_string().contains("hub.db"));
}

#[test]
fn a_side_that_vanished_or_was_emptied_stops_and_asks() {
    let mut pair = shop();
    std::fs::remove_file(pair.path("spoke")).unwrap();
    assert_eq!(pair.observe().spoke.position, "missing");
    let plan = pair.plan();
    assert_eq!(plan.guards.iter().map(|g| g.name.as_str()).collect::<Vec<_>>(), ["root_missing"]);
    // Where somebody confirms it, the other side's rows are all that is there.
    pair.apply(&plan).unwrap();
    pair.same("select * from track order by id");
    pair.quiet();
    std::fs::write(pair.path("spoke"), "").unwrap();
    let plan = pair.plan();
    assert_eq!(plan.guards.iter().map(|g| g.name.as_str()).collect::<Vec<_>>(), ["root_missing"]);
    pair.apply(&plan).unwrap();
    pair.same("select * from track order by id");
    pair.quiet();
    std::fs::write(pair.path("spoke"), "").unwrap();
    // Without an agreed state the same file is only new.
    pair.base = None;
    let (plan, _) = pair.sync();
    assert!(plan.guards.is_empty());
    pair.same("select * from track order by id");
}

#[test]
fn an_emptied_table_and_many_deletions_stop_and_ask() {
    let pair = shop();
    pair.far().execute_batch("delete from log; delete from line where invoice < 200").unwrap();
    let names: Vec<String> = pair.plan().guards.into_iter().map(|g| g.name).collect();
    assert_eq!(names, ["mass_deletion", "table_emptied"]);
}

#[test]
fn a_locked_file_is_busy_and_nothing_is_half_done() {
    let mut pair = shop();
    pair.hub().execute("update track set name = 'a' where id = 1", []).unwrap();
    pair.far().execute("update track set name = 'b' where id = 2", []).unwrap();
    let plan = pair.plan();
    let holder = pair.far();
    holder.execute_batch("begin immediate; update track set name = 'c' where id = 3").unwrap();
    let error = pair.apply(&plan).unwrap_err();
    assert!(matches!(error, PortError::Transient { cause: Cause::Busy, .. }), "{error:?}");
    holder.execute_batch("commit").unwrap();
    pair.apply(&plan).unwrap();
    pair.sync();
    pair.same("select * from track order by id");
}

#[test]
fn what_a_crashed_writer_left_is_rolled_back_before_it_is_read() {
    let mut pair = shop();
    let before = pair.observe().hub;
    // A hot journal: the copy of a file in the middle of a transaction.
    let app = pair.hub();
    app.execute_batch("pragma cache_size = 1; pragma cache_spill = 1; begin; update track set name = 'half done';")
        .unwrap();
    let (db, journal) =
        (std::fs::read(pair.path("hub")).unwrap(), std::fs::read(pair.dir.path().join("hub.db-journal")).unwrap());
    app.execute_batch("rollback").unwrap();
    drop(app);
    std::fs::write(pair.path("hub"), db).unwrap();
    std::fs::write(pair.dir.path().join("hub.db-journal"), journal).unwrap();
    assert_eq!(pair.observe().hub, before);
    pair.sync();
}

#[test]
fn a_lost_or_damaged_agreed_state_is_an_error_and_not_a_first_sync() {
    let mut pair = shop();
    pair.base = Some(cathedral_model::ids::Digest::of(b"gone"));
    assert!(pair.try_plan(vec![]).is_err());
    let id = cathedral_model::ports::Content::put(
        pair.content.as_ref(),
        b"{\"format\":\"cathedral sqlite base v1\"}\n{\"table\":\"t\"",
    )
    .unwrap();
    pair.base = Some(id);
    assert!(matches!(pair.try_plan(vec![]), Err(PortError::Corrupt(_))));
}

/// Fails instead of waiting for ever.
fn in_time<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    let (tx, rx) = std::sync::mpsc::channel();
    std::thread::spawn(move || drop(tx.send(what())));
    rx.recv_timeout(std::time::Duration::from_secs(30)).expect("it waits for ever")
}

#[test]
fn what_is_no_file_is_named_and_never_opened() {
    for (suffix, what) in [
        ("", "a named pipe"),
        ("", "a socket"),
        ("", "a folder"),
        ("", "a device"),
        ("", "a link to nothing"),
        ("-wal", "a named pipe"),
        ("-shm", "a named pipe"),
        ("-journal", "a named pipe"),
    ] {
        let pair = shop();
        let path = pair.dir.path().join(format!("spoke.db{suffix}"));
        let _ = std::fs::remove_file(&path);
        if suffix == "-shm" {
            std::fs::write(pair.dir.path().join("spoke.db-wal"), "a log that makes one look into its index").unwrap();
        }
        match what {
            "a named pipe" => assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success()),
            "a socket" => drop(std::os::unix::net::UnixListener::bind(&path).unwrap()),
            "a folder" => std::fs::create_dir(&path).unwrap(),
            "a device" => std::os::unix::fs::symlink("/dev/tty", &path).unwrap(),
            _ => std::os::unix::fs::symlink("nowhere", &path).unwrap(),
        }
        let errors = in_time(move || [observe(&pair), pair.try_plan(vec![]).unwrap_err()]);
        for error in errors {
            assert_eq!(error.cause(), Cause::Invalid, "{error}");
            assert!(error.to_string().contains(&format!("spoke.db{suffix} is {what}")), "{error}");
        }
    }
}
