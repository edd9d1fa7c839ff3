//! The same behaviour over a path, HTTP and SSH, with real servers.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod git_support;

use cathedral_model::ecosystem::{MirrorMode, Spoke};
use cathedral_model::ids::{Fence, RunId};
use cathedral_model::ports::{Cause, PortError, Syncer};
use git_support::servers::{Http, Ssh};
use git_support::{Repo, World, mirror, mirrors_to, now, sharing, submodule};
use std::os::unix::fs::PermissionsExt as _;

/// How a repository of the world is reached.
enum Transport {
    Local,
    Http(Http),
    Ssh(Ssh),
}

impl Transport {
    fn url(&self, repo: &Repo) -> String {
        let name = repo.0.file_name().unwrap().to_str().unwrap();
        match self {
            Self::Local => repo.0.display().to_string(),
            Self::Http(server) => server.url("pub", name),
            Self::Ssh(server) => server.url(name),
        }
    }
}

fn trust(world: &World, server: &Ssh) {
    std::fs::write(&world.options.known_hosts, &server.known_hosts).unwrap();
    std::fs::copy(&server.key, &world.options.identity_file).unwrap();
    std::fs::set_permissions(&world.options.identity_file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn each_transport(check: fn(World, Repo, &Transport)) {
    for kind in 0..3 {
        let mut world = World::new();
        let transport = match kind {
            0 => Transport::Local,
            1 => Transport::Http(Http::start(world.dir.path())),
            _ => {
                let server = Ssh::start(world.dir.path());
                trust(&world, &server);
                Transport::Ssh(server)
            }
        };
        world.hub_url = transport.url(&world.hub);
        let lib = Repo::bare(world.path("lib.git"));
        lib.put("main", "a.txt", "one\n");
        check(world, lib, &transport);
    }
}

#[test]
fn a_submodule_is_pinned_bumped_and_forwarded() {
    each_transport(|mut world, lib, transport| {
        let spoke = submodule(&transport.url(&lib));
        world.sync(&spoke);
        assert_eq!(world.hub.link("main", "libs/lib"), Some(lib.tip("main")));
        world.is_quiet(&spoke);
        let new = lib.put("main", "b.txt", "b\n");
        let (_, applied) = world.sync(&spoke);
        assert_eq!((applied.changes_in, applied.changes_out, applied.skipped.len()), (1, 0, 0));
        assert_eq!(world.hub.link("main", "libs/lib"), Some(new));
        let ahead = lib.commit("next", Some("main"), &[("c.txt", Some("c\n"))]);
        world.hub.put_link("main", "libs/lib", &ahead);
        world.sync(&spoke);
        assert_eq!(lib.tip("main"), ahead);
        world.is_quiet(&spoke);
    });
}

#[test]
fn a_mirror_merges_parks_and_reads_back() {
    each_transport(|mut world, lib, transport| {
        let spoke = mirror(&transport.url(&lib));
        lib.git(&["tag", "-a", "-m", "one", "v1", "main"]);
        world.sync(&spoke);
        let store = world.store("lib");
        assert_eq!(store.heads(), lib.heads());
        store.put("main", "hub.txt", "h\n");
        lib.put("main", "spoke.txt", "s\n");
        store.git(&["branch", "from-hub", "main"]);
        let (_, applied) = world.sync(&spoke);
        assert_eq!(applied.skipped, vec![]);
        assert_eq!(store.heads(), lib.heads());
        world.is_quiet(&spoke);
        let mine = store.put("main", "a.txt", "HUB\n");
        let theirs = lib.put("main", "a.txt", "SPOKE\n");
        let (plan, _) = world.sync(&spoke);
        assert_eq!(plan.conflicts.len(), 1);
        assert_eq!((store.tip("main"), lib.tip("main")), (mine, theirs));
    });
}

/// A branch that is named like another one's full name. Over HTTP git cannot push to that other one.
#[test]
fn a_name_that_git_takes_for_another_is_pushed_or_told() {
    each_transport(|mut world, lib, transport| {
        let spoke = mirror(&transport.url(&lib));
        lib.git(&["update-ref", "refs/heads/refs/heads/main", "refs/heads/main"]);
        let twin = lib.tip("refs/heads/main");
        world.sync(&spoke);
        let store = world.store("lib");
        let (new, also) = (store.put("main", "hub.txt", "h\n"), store.put("dev", "hub.txt", "h\n"));
        store.git(&["update-ref", "refs/heads/refs/heads/dev", &also]);
        let (_, applied) = world.sync(&spoke);
        assert_eq!((lib.tip("dev"), lib.tip("refs/heads/main")), (also, twin), "the others go on");
        if matches!(transport, Transport::Http(_)) {
            let told: Vec<&str> = applied.skipped.iter().map(|s| s.target.as_str()).collect();
            assert_eq!(told, ["refs/heads/main", "refs/heads/refs/heads/dev"]);
            assert!(applied.skipped.iter().all(|s| s.why.contains("over http") && s.why.contains("ssh address")));
            assert_eq!(lib.get("refs/heads/refs/heads/dev"), None);
            // As it is told.
            lib.git(&["update-ref", "-d", "refs/heads/refs/heads/main"]);
            store.git(&["update-ref", "-d", "refs/heads/refs/heads/main"]);
            store.git(&["update-ref", "-d", "refs/heads/refs/heads/dev"]);
            let (_, applied) = world.sync(&spoke);
            assert_eq!(applied.skipped, vec![]);
        } else {
            assert_eq!(applied.skipped, vec![]);
        }
        assert_eq!(lib.tip("main"), new);
        assert_eq!(store.heads(), lib.heads());
        world.is_quiet(&spoke);
    });
}

#[test]
fn shared_paths_travel_both_ways() {
    each_transport(|mut world, lib, transport| {
        world.hub.commit("main", Some("main"), &[("docs/guide.md", Some("guide\n")), ("docs/b.md", Some("b\n"))]);
        let spoke = sharing(&transport.url(&lib), &[("docs", "hub-docs")]);
        world.sync(&spoke);
        assert_eq!(lib.text("main", "hub-docs/guide.md"), "guide");
        world.is_quiet(&spoke);
        lib.put("main", "hub-docs/guide.md", "guide of the spoke\n");
        world.hub.put("main", "docs/b.md", "b of the hub\n");
        let (plan, applied) = world.sync(&spoke);
        assert_eq!((plan.conflicts.len(), applied.skipped.len()), (0, 0), "{plan:?} {applied:?}");
        for (repo, folder) in [(&world.hub, "docs"), (&lib, "hub-docs")] {
            assert_eq!(repo.text("main", &format!("{folder}/guide.md")), "guide of the spoke");
            assert_eq!(repo.text("main", &format!("{folder}/b.md")), "b of the hub");
        }
        assert_eq!(lib.text("main", "a.txt"), "one", "everything else is as it was");
        world.is_quiet(&spoke);
    });
}

fn failure(world: &World, spoke: &Spoke) -> PortError {
    now(world.syncer().observe(spoke)).unwrap_err()
}

#[test]
fn what_http_answers_is_told_apart() {
    let world = World::new();
    let http = Http::start(world.dir.path());
    let lib = Repo::bare(world.path("lib.git"));
    lib.put("main", "a.txt", "one\n");
    for (place, cause) in [
        ("denied", Cause::Denied),
        ("forbidden", Cause::Denied),
        ("gone", Cause::NotFound),
        ("broken", Cause::Unreachable),
    ] {
        let error = failure(&world, &mirror(&http.url(place, "lib.git")));
        assert_eq!(error.cause(), cause, "{place}: {error}");
    }
    let missing = failure(&world, &mirror(&http.url("pub", "no-such.git")));
    assert_eq!(missing.cause(), Cause::NotFound, "{missing}");
    // A redirect is not followed, so that no credential goes elsewhere.
    assert!(now(world.syncer().observe(&mirror(&http.url("moved", "lib.git")))).is_err());
    let nobody = failure(&world, &mirror("http://127.0.0.1:1/x.git"));
    assert_eq!(nobody.cause(), Cause::Unreachable, "{nobody}");
}

#[test]
fn a_push_that_http_forbids_is_skipped_with_its_words_and_nothing_is_lost() {
    let mut world = World::new();
    let http = Http::start(world.dir.path());
    let lib = Repo::bare(world.path("lib.git"));
    lib.put("main", "a.txt", "one\n");
    let spoke = mirror(&http.url("ro", "lib.git"));
    world.sync(&spoke);
    let mine = world.store("lib").put("main", "b.txt", "b\n");
    let (_, applied) = world.sync(&spoke);
    assert_eq!(applied.skipped.len(), 1);
    assert!(applied.skipped[0].why.contains("403"), "{:?}", applied.skipped);
    assert_eq!(world.store("lib").tip("main"), mine);
}

#[test]
fn unknown_hosts_and_unknown_keys_are_refused() {
    let world = World::new();
    let ssh = Ssh::start(world.dir.path());
    let lib = Repo::bare(world.path("lib.git"));
    lib.put("main", "a.txt", "one\n");
    let spoke = mirror(&ssh.url("lib.git"));
    trust(&world, &ssh);
    std::fs::remove_file(&world.options.known_hosts).unwrap();
    assert_eq!(failure(&world, &spoke).cause(), Cause::Denied, "no known host");
    std::fs::write(&world.options.known_hosts, ssh.wrong_hosts()).unwrap();
    assert_eq!(failure(&world, &spoke).cause(), Cause::Denied, "another host key");
    trust(&world, &ssh);
    now(world.syncer().observe(&spoke)).unwrap();
    std::fs::copy(ssh.stranger(), &world.options.identity_file).unwrap();
    assert_eq!(failure(&world, &spoke).cause(), Cause::Denied, "another key");
    trust(&world, &ssh);
    let gone = failure(&world, &mirror(&ssh.url("no-such.git")));
    assert_eq!(gone.cause(), Cause::NotFound, "{gone}");
}

#[test]
fn one_run_brings_mirrors_on_every_transport_to_rest() {
    let mut world = World::new();
    let (http, ssh) = (Http::start(world.dir.path()), Ssh::start(world.dir.path()));
    trust(&world, &ssh);
    let repos: Vec<Repo> = ["lib.git", "b.git", "c.git"].iter().map(|n| Repo::bare(world.path(n))).collect();
    repos[0].put("main", "a.txt", "one\n");
    let spoke = mirrors_to(
        &repos[0].0.display().to_string(),
        &[("b", &http.url("pub", "b.git"), MirrorMode::Both), ("c", &ssh.url("c.git"), MirrorMode::Push)],
    );
    world.sync(&spoke);
    for repo in &repos {
        assert_eq!(repo.heads(), world.store("lib").heads());
    }
    world.is_quiet(&spoke);
    repos[0].put("main", "from-a", "a\n");
    repos[1].put("main", "from-b", "b\n");
    let (plan, applied) = world.sync(&spoke);
    assert_eq!((plan.conflicts.len(), applied.skipped.len()), (0, 0));
    for repo in &repos {
        assert_eq!(repo.heads(), world.store("lib").heads());
    }
    world.is_quiet(&spoke);
    // A mirror that only receives is not listened to.
    let drift = repos[2].put("main", "drift", "d\n");
    let (plan, _) = world.sync(&spoke);
    assert_eq!((plan.conflicts.len(), plan.conflicts[0].conflict_kind.as_str()), (1, "drift"));
    assert_eq!(repos[2].tip("main"), drift);
}

#[test]
fn a_mirror_that_is_down_does_not_stop_the_spoke() {
    let mut world = World::new();
    let lib = Repo::bare(world.path("lib.git"));
    lib.put("main", "a.txt", "one\n");
    let spoke = mirrors_to(&lib.0.display().to_string(), &[("b", "http://127.0.0.1:1/b.git", MirrorMode::Both)]);
    let (_, applied) = world.sync(&spoke);
    assert_eq!(applied.changes_in, 1);
    let observed = world.observe(&spoke);
    assert!(observed.warnings.iter().any(|w| w.contains("mirror b")), "{:?}", observed.warnings);
}

#[test]
fn an_older_fence_is_refused_before_anything_is_written() {
    let mut world = World::new();
    let lib = Repo::bare(world.path("lib.git"));
    lib.put("main", "a.txt", "one\n");
    let spoke = mirror(&lib.0.display().to_string());
    world.run = 5;
    world.sync(&spoke);
    lib.put("main", "b.txt", "b\n");
    let plan = world.plan(&spoke, vec![]);
    let error = now(world.syncer().apply(&spoke, &plan, RunId(7), Fence(3))).unwrap_err();
    assert!(matches!(error, PortError::Fenced(_)), "{error}");
    assert_ne!(world.store("lib").tip("main"), lib.tip("main"));
}

/// Prints how long looking at an unchanged spoke takes.
#[test]
fn an_unchanged_local_spoke_is_read_without_a_child_process() {
    each_transport(|mut world, lib, transport| {
        for spoke in [mirror(&transport.url(&lib)), submodule(&transport.url(&lib))] {
            world.base = None;
            world.sync(&spoke);
            let calls = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
            let counter = calls.clone();
            let before = world.options.interrupt.replace(std::sync::Arc::new(move |moment, _| {
                if moment == cathedral_syncers::git::Moment::Before {
                    counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                }
                true
            }));
            let syncer = world.syncer();
            let rounds = if matches!(transport, Transport::Local) { 20 } else { 4 };
            let start = std::time::Instant::now();
            for _ in 0..rounds {
                now(syncer.observe(&spoke)).unwrap();
            }
            let each = start.elapsed() / rounds;
            let children = calls.load(std::sync::atomic::Ordering::SeqCst);
            println!("{}: {each:?}, {} children each", transport.url(&lib), children / rounds as usize);
            if matches!(transport, Transport::Local) {
                assert_eq!(children, 0);
            }
            world.options.interrupt = before;
        }
    });
}
