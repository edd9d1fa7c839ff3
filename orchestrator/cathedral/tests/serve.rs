//! The hub serves: what changes is synced, what is due runs, what is asked beside it is done by it.

#![allow(clippy::unwrap_used)]

mod serve_support;
mod support;

use std::fs;

use serve_support::{Served, awaited};
use support::scratch;
use support::world::{World, commit, git, sql, write};

/// A small ecosystem, synced once, and the hub that serves it.
fn served(place: &std::path::Path) -> (World, Served) {
    let world = World::build(&place.join("world"));
    world.cathedral(&["sync"]).expect(0);
    let served = Served::start(&world.hub());
    (world, served)
}

fn token(world: &World, scope: &str) -> String {
    let made = world.cathedral(&["token", "new", "--scope", scope, "--label", "test", "--json"]).expect(0);
    made.json()["data"]["token"].as_str().unwrap().to_owned()
}

#[test]
fn a_change_on_either_side_of_every_kind_is_synced_by_itself() {
    let place = scratch();
    let (world, mut served) = served(place.path());
    write(&world.app_files().join("new.txt"), "from the application\n");
    write(&world.hub_files().join("hub.txt"), "from the hub\n");
    sql(&world.app_db(), "create table if not exists later (id integer primary key, v text)");
    let tip = commit(&world.mind(), "main", "by itself", &[("by-itself.txt", "1\n")]);
    awaited("the application's file at the hub", || {
        fs::read_to_string(world.hub_files().join("new.txt")).map_err(|e| e.to_string())
    });
    awaited("the hub's file at the application", || {
        fs::read_to_string(world.app_files().join("hub.txt")).map_err(|e| e.to_string())
    });
    awaited("the application's commit at the hub", || {
        let there = git(&world.kept_mind(), &["for-each-ref", "--format=%(objectname)"]);
        if there.contains(&tip) { Ok(()) } else { Err(there) }
    });
    assert_eq!(served.end(), 0);
    // What was synced by itself is what a sync by hand finds in order.
    let after = world.cathedral(&["sync", "--json"]);
    let result = after.json()["data"]["result"].as_str().unwrap().to_owned();
    assert!(["nothing_to_do", "succeeded"].contains(&result.as_str()), "{after:?}");
}

#[test]
fn servers_that_never_answer_hold_up_no_page() {
    let place = scratch();
    let world = World::build(&place.path().join("world"));
    // More of them than the hub has threads, wherever the cores are few.
    let many = (std::thread::available_parallelism().unwrap().get() + 2).min(12);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let (came, held) = std::sync::mpsc::channel();
    std::thread::spawn(move || silent.incoming().flatten().try_for_each(|stream| came.send(stream)));
    let spokes: String = (0..many)
        .map(|n| {
            format!(
                "    - {{ name: silent{n}, url: \"http://127.0.0.1:{port}/{n}.git\", update_frequency: real_time }}\n"
            )
        })
        .collect();
    write(
        &world.config(),
        &format!("cathedral_ecosystem:\n  master_repository: hub\n  connected_repositories:\n{spokes}"),
    );
    let served = Served::start(&world.hub());
    let mut waiting: Vec<_> =
        (0..many).map(|_| held.recv_timeout(std::time::Duration::from_secs(60)).unwrap()).collect();
    assert_eq!(served.get("/healthz", None).status, 200);
    for stream in &mut waiting {
        // It still waits: what was sent was no answer to a request that had been given up.
        stream.set_nonblocking(true).unwrap();
        let error = std::io::copy(stream, &mut std::io::sink()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }
}

#[test]
fn logs_for_machines_are_one_object_a_line() {
    let place = scratch();
    let world = World::build(&place.path().join("world"));
    let log = place.path().join("up.log");
    let file = fs::File::create(&log).unwrap();
    let mut served = Served::start_with(&world.hub(), &["--log-format", "json"], file.into());
    let token = token(&world, "operator");
    let synced = world.cathedral(&["sync", "--json"]);
    assert!(synced.code == 0 || synced.code == 10, "{synced:?}");
    assert_eq!(served.get("/api/v1/status", Some(&token)).status, 200);
    assert_eq!(served.end(), 0);

    let text = fs::read_to_string(&log).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect();
    for line in &lines {
        let is_text = |name: &str| line[name].as_str().is_some_and(|text| !text.is_empty());
        assert!(["ts", "level", "msg", "target"].iter().all(|name| is_text(name)), "{line}");
    }
    let with = |msg: &str| lines.iter().find(|l| l["msg"] == msg).unwrap_or_else(|| panic!("{msg}: {text}"));
    assert_eq!(with("the hub is served")["address"], *served.address);
    assert!(with("run ended")["run"].as_u64().is_some_and(|run| run > 0), "{text}");
    with("ending after the step under way");
    assert!(!text.contains(&token), "a token is in the log");

    // What it cannot start with is told in the same form.
    let failed = world.cathedral(&["up", "--once", "--log-format", "json", "--listen", "nonsense", "--config", "gone"]);
    let line: serde_json::Value = serde_json::from_str(failed.err.trim()).unwrap_or_else(|e| panic!("{e}: {failed:?}"));
    assert_eq!((line["level"].as_str(), line["exit"].as_u64()), (Some("error"), Some(u64::from(failed.code as u8))));
    assert!(
        ["code", "msg", "why", "next"].iter().all(|name| line[name].as_str().is_some_and(|t| !t.is_empty())),
        "{line}"
    );
}

#[test]
fn commands_beside_the_hub_are_done_by_the_hub() {
    let place = scratch();
    let (world, served) = served(place.path());
    write(&world.app_files().join("asked.txt"), "asked for\n");
    let synced = world.cathedral(&["sync", "codex", "--json"]);
    assert!([0, 11].contains(&synced.code), "{synced:?}");
    assert_eq!(fs::read_to_string(world.hub_files().join("asked.txt")).unwrap(), "asked for\n");
    let taken = world.cathedral(&["snapshot", "create", "--json"]).expect(0);
    assert_eq!(taken.json()["data"]["snapshot"]["destinations"][0]["state"], "held", "{taken:?}");
    // A second hub on the folder is refused, and says why.
    let second = world.cathedral(&["up", "--listen", "127.0.0.1:0"]).expect(75);
    let process = format!("process {} (cathedral up), since ", served.child.id());
    assert!(second.err.contains("a hub runs in"), "{second:?}");
    assert!(second.err.contains(&process), "{process}: {second:?}");
    drop(served);
}

#[test]
fn a_new_configuration_is_in_force_at_once_and_a_wrong_one_changes_nothing() {
    let place = scratch();
    let (world, mut served) = served(place.path());
    let viewer = token(&world, "viewer");
    let good = fs::read_to_string(world.config()).unwrap();
    let with = good.replace("    quorum: 2\n", "    quorum: 2\n    schedule: 1s\n");
    fs::write(world.config(), &with).unwrap();
    // Commands need a configuration that loads; the hub goes on with the one before.
    let scheduled = || {
        let runs = served.get("/api/v1/runs?limit=200", Some(&viewer)).json();
        let runs = runs["data"]["runs"].as_array().unwrap().clone();
        runs.iter().filter(|r| r["cause"] == "schedule snapshot").count()
    };
    awaited("a scheduled snapshot", || match scheduled() {
        0 => Err("none".into()),
        n => Ok(n),
    });
    fs::write(world.config(), format!("{with}  bogus: 1\n")).unwrap();
    let before = scheduled();
    awaited("a scheduled snapshot under the configuration before", || match scheduled() {
        n if n > before => Ok(n),
        n => Err(n.to_string()),
    });
    assert_eq!(served.end(), 0);
}

#[test]
fn killed_and_started_again_it_goes_on() {
    let place = scratch();
    let (world, mut served) = served(place.path());
    served.kill();
    write(&world.app_files().join("while-away.txt"), "written while no hub was there\n");
    let mut served = Served::start(&world.hub());
    awaited("what was written while the hub was away", || {
        fs::read_to_string(world.hub_files().join("while-away.txt")).map_err(|e| e.to_string())
    });
    assert_eq!(served.end(), 0);
    assert!(!world.state().join("hub.sock").exists(), "the socket goes with the hub");
}

#[test]
fn strangers_see_health_and_the_door_and_nothing_else() {
    let place = scratch();
    let (world, served) = served(place.path());
    assert_eq!(served.get("/healthz", None).status, 200);
    awaited("readiness", || match served.get("/readyz", None).status {
        200 => Ok(()),
        other => Err(other.to_string()),
    });
    for path in ["/", "/api/v1/status", "/api/v1/runs", "/metrics", "/events/stream"] {
        let reply = served.get(path, None);
        assert!([303, 401].contains(&reply.status), "{path}: {reply:?}");
        assert!(reply.head.to_lowercase().contains("content-security-policy: default-src 'none'"), "{path}");
    }
    let forged = served.get("/api/v1/status", Some("cth_viewer_0000000000000000000000000000000000000000000000000"));
    assert_eq!(forged.status, 401, "{forged:?}");
    let viewer = token(&world, "viewer");
    let status = served.get("/api/v1/status", Some(&viewer));
    assert_eq!(status.status, 200, "{status:?}");
    assert!(status.body.contains("Everything"), "{status:?}");
    let refused = served.request(
        "POST",
        "/api/v1/runs",
        &[("authorization", &format!("Bearer {viewer}")), ("content-type", "application/json")],
        b"{}",
    );
    assert_eq!(refused.status, 403, "a viewer changes nothing: {refused:?}");
    assert!(served.welcome.as_deref().is_some_and(|link| link.contains("/welcome/")));
}

#[test]
fn it_does_not_listen_to_the_world_without_protection() {
    let place = scratch();
    let world = World::build(&place.path().join("world"));
    let refused = world.cathedral(&["up", "--listen", "0.0.0.0:0"]).expect(7);
    assert!(refused.err.contains("nothing protects it"), "{refused:?}");
    let wrong = world.cathedral(&["up", "--listen", "here"]).expect(2);
    assert!(wrong.err.contains("127.0.0.1:7420"), "{wrong:?}");
}

#[test]
fn a_command_right_after_the_hub_was_killed_does_the_work_itself() {
    let place = scratch();
    let (world, served) = served(place.path());
    drop(served);
    for round in 0..4 {
        let mut served = Served::start(&world.hub());
        write(&world.app_files().join("round.txt"), &format!("{round}\n"));
        // Not waited for: for a moment its lock is held and its socket takes connections.
        served.child.kill().unwrap();
        let ran = world.cathedral(&["sync", "--timeout", "50s"]);
        assert!([0, 11].contains(&ran.code), "round {round}: {ran:?}");
        served.child.wait().unwrap();
        assert_eq!(fs::read_to_string(world.hub_files().join("round.txt")).unwrap(), format!("{round}\n"));
    }
}
