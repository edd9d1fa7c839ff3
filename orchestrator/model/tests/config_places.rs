//! Where things stand: nothing twice, nothing inside what it is copied into, nothing in the hub's own state.

#![allow(clippy::unwrap_used)]

use cathedral_model::config::{self, Capabilities, Lookup, NoLookup, Problem, Severity};

/// The ecosystem's folder is `/srv/eco`, `link` in it leads to `data/media`, and `keys` into the state.
struct Disk;

impl Lookup for Disk {
    fn env(&self, _: &str) -> Result<String, String> {
        Err("it is not set".to_owned())
    }

    fn file(&self, _: &str) -> Result<String, String> {
        Err("no such file".to_owned())
    }

    fn place(&self, path: &str) -> Option<String> {
        let whole = if path.starts_with('/') { path.to_owned() } else { format!("/srv/eco/{path}") };
        Some(whole.replace("/srv/eco/link", "/srv/eco/data/media").replace("/srv/eco/keys", "/srv/eco/.cathedral/keys"))
    }
}

fn problems(env: &dyn Lookup, body: &str) -> Vec<Problem> {
    let text = format!("cathedral_ecosystem:\n  master_repository: cathedral\n{body}");
    let found = config::validate(&text, "c.yaml", env, &Capabilities::default());
    found.into_iter().filter(|p| p.severity == Severity::Error).collect()
}

/// The only problem has this code, stands at this key, and says these words.
#[track_caller]
fn refused(env: &dyn Lookup, body: &str, code: &str, path: &str, words: &[&str]) {
    let found = problems(env, body);
    let [problem] = &found[..] else { panic!("not one problem but {}: {found:#?}", found.len()) };
    assert_eq!((problem.code, problem.path.as_str()), (code, path), "{problem}");
    let shown = problem.to_string();
    for word in words {
        assert!(shown.contains(word), "{word:?} is not in:\n{shown}");
    }
    for part in ["\n  why: ", "\n  try: "] {
        assert!(shown.contains(part), "no {part:?} in:\n{shown}");
    }
    assert!(problem.line > 2 && problem.column > 1, "{shown}");
}

#[track_caller]
fn accepted(env: &dyn Lookup, body: &str) {
    let found = problems(env, body);
    assert!(found.is_empty(), "{found:#?}");
}

fn repositories(lines: &[&str]) -> String {
    lines.iter().fold("  connected_repositories:\n".to_owned(), |text, line| format!("{text}    - {{ {line} }}\n"))
}

fn files(lines: &[&str]) -> String {
    lines.iter().fold("  connected_files:\n".to_owned(), |text, line| format!("{text}    - {{ {line} }}\n"))
}

#[test]
fn a_repository_is_declared_once() {
    let pairs = [
        ("../docs", "../other/../docs"),
        ("../docs", "file:///srv/docs"),
        ("../docs", "../docs/.git"),
        ("https://forge.example/a.git", "https://Forge.example:443/a/"),
        ("ssh://git@forge.example/~/a.git", "git@forge.example:a"),
        ("ssh://git@forge.example/x/a.git", "git@forge.example:/x/a.git"),
    ];
    for (one, two) in pairs {
        let body = repositories(&[&format!("name: one, url: \"{one}\""), &format!("name: two, url: \"{two}\"")]);
        let words = ["connected_repositories[0].url (line 4)", "same branches"];
        refused(&Disk, &body, "same_repository", "connected_repositories[1].url", &words);
    }
    let mirror =
        "name: two, url: ../two, integration_type: git_mirror, mirrors: [{ name: m, url: ../one, mode: push }]";
    let body = repositories(&["name: one, url: ../one", mirror]);
    let path = "connected_repositories[1].mirrors[0].url";
    refused(&Disk, &body, "same_repository", path, &["connected_repositories[0].url (line 4)"]);
    let own =
        "name: one, url: ../one, integration_type: git_mirror, mirrors: [{ name: m, url: ./../one/, mode: push }]";
    let path = "connected_repositories[0].mirrors[0].url";
    refused(&Disk, &repositories(&[own]), "mirror_of_itself", path, &[]);
    accepted(
        &Disk,
        &repositories(&[
            "name: a, url: \"https://forge.example/a\"",
            "name: b, url: \"https://forge.example:8443/a\"",
            "name: c, url: \"alice@forge.example:a\"",
            "name: d, url: \"bob@forge.example:a\"",
            "name: e, url: ../e",
            "name: f, url: ../e/f",
        ]),
    );
}

/// A part of a snapshot is found by its spoke's name: the hub's own must not be displaced by another.
#[test]
fn no_spoke_is_named_like_the_hub() {
    for name in ["cathedral", "Cathedral"] {
        let body = format!("  connected_files:\n    - {{ name: {name}, hub: data/m, paths: [\"../media\"] }}\n");
        refused(&NoLookup, &body, "duplicate_name", "connected_files[0].name", &["master_repository", "-2"]);
    }
}

#[test]
fn a_spoke_is_not_the_hub() {
    for url in [".", "../eco", "/srv/eco/", "file:///srv/eco/.git", "../x/../eco"] {
        let body = repositories(&[&format!("name: one, url: \"{url}\"")]);
        refused(&Disk, &body, "hub_as_spoke", "connected_repositories[0].url", &["hub.url (by default)"]);
    }
    let body = format!("  hub: {{ url: ../cathedral }}\n{}", repositories(&["name: one, url: ../cathedral/"]));
    refused(&NoLookup, &body, "hub_as_spoke", "connected_repositories[0].url", &["hub.url (line 3)"]);
}

#[test]
fn folders_stand_apart() {
    let cases = [
        ("data/a", "../a", "data/a/b", "../b", "connected_files[1].hub", "inside the folder of connected_files[0].hub"),
        (
            "data/a",
            "../a",
            "data/b",
            "../a",
            "connected_files[1].paths[0]",
            "is the folder of connected_files[0].paths[0]",
        ),
        ("data/a/b", "../a", "data/a", "../b", "connected_files[0].hub", "inside the folder of connected_files[1].hub"),
        ("data/a", "../a", "data/b", "/srv/a/b", "connected_files[1].paths[0]", "(line 4)"),
        ("data/media", "../a", "data/b", "link/x", "connected_files[1].paths[0]", "connected_files[0].hub (line 4)"),
    ];
    for (hub, path, hub2, path2, at, words) in cases {
        let lines =
            [format!("name: a, hub: {hub}, paths: [{path}]"), format!("name: b, hub: {hub2}, paths: [{path2}]")];
        refused(&Disk, &files(&[&lines[0], &lines[1]]), "overlap", at, &[words]);
    }
    let itself = files(&["name: a, hub: data/media, paths: [link]"]);
    refused(&Disk, &itself, "overlap", "connected_files[0].paths[0]", &["its own counterpart"]);
    accepted(&Disk, &files(&["name: a, hub: data/a, paths: [../a]", "name: b, hub: data/ab, paths: [../a-b]"]));
}

#[test]
fn nothing_is_synced_in_the_state_of_a_hub_or_of_git() {
    for path in
        [".cathedral/media", ".cathedral", "./x/../.cathedral/keys", "/srv/eco/.cathedral/vault", "../b/.cathedral"]
    {
        let body = files(&[&format!("name: a, hub: data/a, paths: [{path}]")]);
        let found = problems(&Disk, &body);
        assert!(
            found.iter().any(|p| p.what.contains(".cathedral") && p.path == "connected_files[0].paths[0]"),
            "{found:#?}"
        );
        assert!(problems(&NoLookup, &body).iter().any(|p| p.path == "connected_files[0].paths[0]"), "{path}");
    }
    let hub = files(&["name: a, hub: .cathedral/a, paths: [../a]"]);
    refused(&Disk, &hub, "bad_path", "connected_files[0].hub", &["data/"]);
    let database =
        "  connected_databases:\n    - { name: a, hub: \"sqlite:data/a.db\", url: \"sqlite:.cathedral/hub.db\" }\n";
    refused(&Disk, database, "inside_state", "connected_databases[0].url", &["keys, log and snapshots"]);
    let repository = repositories(&["name: a, url: .cathedral/git/a.git"]);
    refused(&Disk, &repository, "inside_state", "connected_repositories[0].url", &[]);
    let git = files(&["name: a, hub: data/a, paths: [../docs/.git/hooks]"]);
    refused(&Disk, &git, "inside_git", "connected_files[0].paths[0]", &["run as a program"]);
    for path in [".", "..", "/srv", "/srv/eco"] {
        let body = files(&[&format!("name: a, hub: data/a, paths: [\"{path}\"]")]);
        let found = problems(&Disk, &body);
        assert!(found.iter().any(|p| p.code == "holds_hub"), "{path}: {found:#?}");
    }
}

#[test]
fn the_hubs_own_copy_leaves_its_folder_only_where_that_is_meant() {
    for env in [&Disk as &dyn Lookup, &NoLookup] {
        for hub in ["../outside", "data/../../outside", "../../x"] {
            let body = files(&[&format!("name: a, hub: {hub}, paths: [../a]")]);
            refused(env, &body, "outside_ecosystem", "connected_files[0].hub", &["data/a", "absolute path"]);
        }
        let body = "  connected_databases:\n    - { name: a, hub: \"sqlite:../a.db\", url: \"sqlite:../b.db\" }\n";
        refused(env, body, "outside_ecosystem", "connected_databases[0].hub", &["data/a"]);
        accepted(env, &files(&["name: a, hub: /srv/hub-media, paths: [../a]"]));
        accepted(env, &files(&["name: a, hub: ./x/../data/a, paths: [../a]"]));
    }
}

#[test]
fn a_folder_does_not_hold_what_is_synced_otherwise() {
    let database =
        "  connected_databases:\n    - { name: a, hub: \"sqlite:data/a.db\", url: \"sqlite:../app/a.db\" }\n";
    let folder =
        |more: &str| format!("{database}{}", files(&[&format!("name: f, hub: data/f, paths: [../app]{more}")]));
    let at = "connected_files[0].paths[0]";
    refused(&Disk, &folder(""), "overlap", at, &["connected_databases[0].url (line 4)", "ignore"]);
    accepted(&Disk, &folder(", ignore: [\"*.db\"]"));
    accepted(&Disk, &folder(", ignore: [a.db]"));
    let both = format!("{}{}", repositories(&["name: r, url: ../r"]), files(&["name: f, hub: data/f, paths: [../r]"]));
    refused(&Disk, &both, "overlap", at, &["repository of connected_repositories[0].url (line 4)"]);
    let backup = "  backup: { destinations: [{ name: d, url: \"file:data/f/vault\" }] }\n";
    let body = format!("{}{backup}", files(&["name: f, hub: data/f, paths: [../f]"]));
    let words = ["holds the destination of backup.destinations[0].url (line 5)", "snapshots before it"];
    refused(&Disk, &body, "overlap", "connected_files[0].hub", &words);
}

#[test]
fn local_paths_can_be_kept_to_the_folder() {
    let closed = "  egress: { local_paths: false }\n";
    let body =
        format!("{closed}{}", repositories(&["name: a, url: modules/a", "name: b, url: \"https://f.example/b\""]));
    accepted(&Disk, &body);
    let body = format!("{closed}{}", repositories(&["name: a, url: ../a"]));
    let found = problems(&Disk, &body);
    assert!(
        found.iter().any(|p| p.path == "connected_repositories[0].url" && p.what.contains("local_paths")),
        "{found:#?}"
    );
    let body = format!("{closed}{}", files(&["name: a, hub: data/a, paths: [/srv/media]"]));
    let found = problems(&Disk, &body);
    assert!(found.iter().any(|p| p.path == "connected_files[0].paths[0]"), "{found:#?}");
}

#[test]
fn no_repository_is_where_credentials_are() {
    for url in [
        "http://169.254.169.254/a.git",
        "https://git@0xa9fea9fe:8443/a.git",
        "http://2852039166:/a.git",
        "ssh://git@[fe80::1]:22/a.git",
        "ssh://git@[::ffff:169.254.1.1]/a.git",
        "git@169.254.1.1:a.git",
        "https://metadata.google.internal/a.git",
    ] {
        let own = repositories(&[&format!("name: a, url: \"{url}\"")]);
        let words = ["local link", "egress: { allow:"];
        refused(&Disk, &own, "egress_denied", "connected_repositories[0].url", &words);
        let mirror = format!(
            "name: a, url: ../a, integration_type: git_mirror, mirrors: [{{ name: m, url: \"{url}\", mode: push }}]"
        );
        let path = "connected_repositories[0].mirrors[0].url";
        refused(&Disk, &repositories(&[&mirror]), "egress_denied", path, &words);
    }
    let found = problems(&Disk, "  hub: { url: \"http://169.254.1.1/a.git\" }\n");
    assert!(found.iter().any(|p| (p.code, p.path.as_str()) == ("egress_denied", "hub.url")), "{found:#?}");
    let allow = "  egress: { allow: [169.254.0.0/16] }\n";
    accepted(&Disk, &format!("{allow}{}", repositories(&["name: a, url: \"http://169.254.1.1/a.git\""])));
    // Servers of one's own are common.
    for url in ["http://127.0.0.1:3000/a.git", "git@10.0.0.1:a.git", "ssh://git@[::1]/a.git", "http://localhost/a"] {
        accepted(&Disk, &repositories(&[&format!("name: a, url: \"{url}\"")]));
    }
}
