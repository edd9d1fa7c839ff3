//! `--hub URL`: a hub elsewhere carries out what is typed here, with the rights of a token.

#![allow(clippy::unwrap_used)]

mod serve_support;
mod support;

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use serve_support::{Served, awaited};
use support::world::{World, write};
use support::{Ran, plain, scratch};

/// Another machine, as far as one machine can be: a folder without a hub, a token and an address.
struct Elsewhere<'a> {
    folder: &'a Path,
    url: String,
    token: String,
}

impl Elsewhere<'_> {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cathedral"));
        command.args(args).current_dir(self.folder).stdin(Stdio::null());
        plain(&mut command);
        command.env("CATHEDRAL_HUB", &self.url).env("CATHEDRAL_TOKEN", &self.token);
        command
    }

    fn cathedral(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }
}

fn token(world: &World, scope: &str) -> String {
    let made = world.cathedral(&["token", "new", "--scope", scope, "--json"]).expect(0);
    made.json()["data"]["token"].as_str().unwrap().to_owned()
}

/// What two answers must have alike: everything but when they were made.
fn data(ran: &Ran) -> Value {
    let mut document = ran.json();
    document.as_object_mut().unwrap().remove("generated_at");
    document
}

#[test]
fn what_is_asked_elsewhere_is_answered_as_on_the_hubs_machine() {
    let place = scratch();
    let world = World::build(&place.path().join("world"));
    world.cathedral(&["sync"]).expect(0);
    world.change();
    world.cathedral(&["sync"]).expect(11);
    let served = Served::start(&world.hub());
    let folder = place.path().join("elsewhere");
    std::fs::create_dir(&folder).unwrap();
    let url = format!("http://{}", served.address);
    let viewer = Elsewhere { folder: &folder, url: url.clone(), token: token(&world, "viewer") };

    for args in [
        &["conflicts", "--json"][..],
        &["snapshot", "list", "--json"],
        &["snapshot", "show", "latest", "--json"],
        &["log", "show", "--json"],
        &["schedule", "list", "--json"],
        &["conflicts", "show", "1"],
        &["snapshot", "ls", "latest"],
        &["snapshot", "show", "nothing"],
        &["runs", "--plain"],
    ] {
        let (here, there) = (viewer.cathedral(args), world.cathedral(args));
        assert_eq!((here.code, &here.err), (there.code, &there.err), "{args:?}");
        if args.contains(&"--json") {
            assert_eq!(data(&here), data(&there), "{args:?}");
        } else {
            assert_eq!(here.out, there.out, "{args:?}");
        }
    }

    // A proof is a file on this side, and is checked here without any hub.
    viewer.cathedral(&["proof", "snapshot", "latest", "--out", "latest.proof"]).expect(0);
    assert!(folder.join("latest.proof").is_file());
    let vkey = world.cathedral(&["log", "head", "--json"]).json()["data"]["vkey"].as_str().unwrap().to_owned();
    viewer.cathedral(&["proof", "--verify", "latest.proof", "--vkey", &vkey]).expect(0);
    viewer.cathedral(&["proof", "snapshot", "latest", "--out", "latest.proof"]).expect(7);

    // Through the socket, by the owner of the folder, without a token.
    let owner = Elsewhere {
        folder: &folder,
        url: format!("unix:{}", world.state().join("hub.sock").display()),
        token: String::new(),
    };
    assert_eq!(data(&owner.cathedral(&["conflicts", "--json"])), data(&world.cathedral(&["conflicts", "--json"])));
}

#[test]
fn a_token_does_what_its_scope_allows_and_is_named_in_what_it_did() {
    let place = scratch();
    let world = World::build(&place.path().join("world"));
    let config = std::fs::read_to_string(world.config()).unwrap();
    write(
        &world.config(),
        &config.replace("refs: { prune: true }", "refs: { prune: true }\n      update_frequency: \"@daily\""),
    );
    world.cathedral(&["sync"]).expect(0);
    world.change();
    world.cathedral(&["sync"]).expect(11);
    let served = Served::start(&world.hub());
    let url = format!("http://{}", served.address);
    let with = |token: String| Elsewhere { folder: place.path(), url: url.clone(), token };

    let viewer = with(token(&world, "viewer"));
    let refused = viewer.cathedral(&["sync"]).expect(5);
    assert!(refused.err.contains("operator") && refused.err.contains("viewer"), "{refused:?}");
    let operator = with(token(&world, "operator"));
    for args in [
        &["restore", "latest", "--in-place", "--yes", "world"][..],
        &["token", "list"],
        &["snapshot", "forget", "latest"],
    ] {
        let refused = operator.cathedral(args).expect(5);
        assert!(refused.err.contains("admin"), "{args:?}: {refused:?}");
    }

    let answered = operator.cathedral(&["conflicts", "resolve", "1", "--take", "hub", "--json"]);
    assert!([0, 11].contains(&answered.code), "{answered:?}");
    let leaves = world.cathedral(&["log", "show", "--json"]).json();
    assert!(leaves.to_string().contains("\"token "), "{leaves}");
    let schedules = world.cathedral(&["schedule", "list", "--json"]).json();
    let schedule = schedules["data"]["schedules"][0]["name"].as_str().unwrap_or("none is there").to_owned();
    operator.cathedral(&["schedule", "pause", &schedule, "--reason", "from afar"]).expect(0);
    let paused = world.cathedral(&["schedule", "list", "--json"]).json();
    let actor = paused["data"]["schedules"].as_array().unwrap().iter().find_map(|s| s["pause"]["actor"].as_str());
    assert!(actor.is_some_and(|actor| actor.starts_with("token ")), "{paused}");

    // An admin's restore writes on the hub's machine, where a whole path is named.
    let admin = with(token(&world, "admin"));
    let back = place.path().join("back");
    admin.cathedral(&["restore", "latest", "--to", "back"]).expect(2);
    admin.cathedral(&["restore", "latest", "--to", back.to_str().unwrap()]).expect(0);
    assert!(std::fs::read_dir(&back).unwrap().count() > 0);

    let stranger = with("cth_nobody_0000000000000000000000000000000000".into());
    let refused = stranger.cathedral(&["status"]).expect(5);
    assert!(refused.err.contains("CATHEDRAL_TOKEN") && !refused.err.contains("cth_"), "{refused:?}");
    with(String::new()).cathedral(&["status"]).expect(5);
}

#[test]
fn what_cannot_be_done_elsewhere_is_told_with_a_way_out() {
    let place = scratch();
    let world = World::build(&place.path().join("world"));
    let mut served = Served::start(&world.hub());
    let url = format!("http://{}", served.address);
    let admin = Elsewhere { folder: place.path(), url, token: token(&world, "admin") };
    for args in [
        &["plan", "--out", "plan.json"][..],
        &["conflicts", "resolve", "1", "--file", "/etc/hostname"],
        &["restore", "latest", "--from", "file:///nowhere", "--to", "/nowhere"],
        &["-C", "/", "status"],
        &["--config", "x.yaml", "status"],
        &["init"],
        &["up"],
        &["demo"],
        &["restore", "latest", "--offline", "--from", "file:///nowhere", "--key-file", "k", "--to", "back"],
    ] {
        let refused = admin.cathedral(args).expect(2);
        assert!(refused.err.contains("try:"), "{args:?}: {refused:?}");
    }
    assert!(!place.path().join(".cathedral").exists());
    // What needs no hub works here as ever.
    admin.cathedral(&["schema", "status"]).expect(0);
    admin.cathedral(&["help", "codes"]).expect(0);
    for url in ["ftp://127.0.0.1", "http://127.0.0.1:1/path", "nonsense", "http://user@127.0.0.1"] {
        let refused =
            Elsewhere { url: url.into(), token: admin.token.clone(), ..admin }.cathedral(&["status"]).expect(2);
        assert!(refused.err.contains("--hub"), "{url}: {refused:?}");
    }
    assert_eq!(served.end(), 0);
    let gone = admin.cathedral(&["status", "--json"]).expect(6);
    assert_eq!(gone.json()["error"]["code"], "C1601", "{gone:?}");
}

#[test]
fn a_command_that_nobody_listens_to_any_more_is_stopped() {
    let place = scratch();
    let world = World::build(&place.path().join("world"));
    // A spoke that never answers holds the command at its first step.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/repo.git", silent.local_addr().unwrap());
    let config = std::fs::read_to_string(world.config()).unwrap();
    let pointed = config.replace("url: ../spokes/mind.git", &format!("url: {url}"));
    assert_ne!(config, pointed, "the world names its spoke otherwise");
    write(&world.config(), &pointed);
    let served = Served::start(&world.hub());
    let address = format!("http://{}", served.address);
    let operator = Elsewhere { folder: place.path(), url: address, token: token(&world, "operator") };
    let mut asking = operator.command(&["plan"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let carried = || begun_by(served.child.id(), "plan");
    awaited("the command's process", || carried().ok_or_else(|| "none".to_owned()));
    asking.kill().unwrap();
    asking.wait().unwrap();
    awaited("its end", || carried().map_or(Ok(()), |pid| Err(pid.to_string())));
}

/// The living process with this word in its command line that a process has begun.
fn begun_by(parent: u32, word: &str) -> Option<u32> {
    std::fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let words = std::fs::read(entry.path().join("cmdline")).ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let is_zombie = fields.next()? == "Z";
        let is_child = fields.next()?.parse() == Ok(parent);
        let is_meant = words.split(|b| *b == 0).any(|typed| typed == word.as_bytes());
        (is_child && is_meant && !is_zombie).then_some(pid)
    })
}
