//! Every problem says where, what, why, and what to do next: each code is provoked.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use cathedral_model::config::{self, CODES, Capabilities, Lookup, Problem};

struct Outside;

impl Lookup for Outside {
    fn env(&self, _: &str) -> Result<String, String> {
        Err("it is not set".to_owned())
    }

    fn file(&self, _: &str) -> Result<String, String> {
        Err("no such file".to_owned())
    }

    fn knows_time_zone(&self, name: &str) -> Option<bool> {
        Some(!name.contains("Atlantis"))
    }

    fn place(&self, path: &str) -> Option<String> {
        let whole = if path.starts_with('/') { path.to_owned() } else { format!("/srv/eco/{path}") };
        Some(whole.replace("/srv/processes", "/proc/1"))
    }

    fn pseudo(&self, path: &str) -> Option<&'static str> {
        path.starts_with("/mnt/groups").then_some("cgroup2")
    }
}

fn check(text: &str) -> Vec<Problem> {
    config::validate(text, "c.yaml", &Outside, &Capabilities::default())
}

fn body(text: &str) -> String {
    format!("cathedral_ecosystem:\n  master_repository: cathedral\n{text}\n")
}

fn tree(path: &str) -> String {
    body(&format!("  connected_files: [{{ name: media, hub: data/media, paths: [{path}] }}]"))
}

fn hub(path: &str) -> String {
    body(&format!("  connected_files: [{{ name: media, hub: {path}, paths: [/srv/media] }}]"))
}

/// What provokes problems; together every code.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        include_str!("config/bad/addresses.yaml"),
        include_str!("config/bad/combinations.yaml"),
        include_str!("config/bad/names.yaml"),
        include_str!("config/bad/not_yet.yaml"),
        include_str!("config/bad/order.yaml"),
        include_str!("config/bad/secrets.yaml"),
        include_str!("config/bad/syntax.yaml"),
        include_str!("config/bad/tab.yaml"),
        include_str!("config/bad/times.yaml"),
        include_str!("config/bad/types.yaml"),
        include_str!("config/bad/typos.yaml"),
        include_str!("config/bad/yaml_tricks.yaml"),
        include_str!("config/short.yaml"),
        "",
        "%YAML 1.2\n---\na: b\n",
        "a: !!binary aGk=\n",
        "a: b\n---\nc: d\n",
        "a: *nothing\n",
        "a: &x [*x]\n",
        "a: b\nc\0d: e\n",
    ]
    .map(str::to_owned)
    .to_vec();
    texts.push("x".repeat(20 << 20));
    texts.push("[".repeat(5_000));
    let aliases: String =
        (1..12).map(|n| format!("l{n}: &l{n} [{}]\n", vec![format!("*l{}", n - 1); 10].join(", "))).collect();
    texts.push(format!("l0: &l0 [{}]\n{aliases}", ["x"; 10].join(", ")));
    texts.push(body(&format!("  connected_repositories: [{}]", "{ name: a, data_sync: x },".repeat(600))));
    for path in
        ["/proc", "/sys/kernel", "/dev", "/srv/processes/fd", "/mnt/groups/a", "/srv", "/srv/eco", "-x", "\"\"", "/"]
    {
        texts.push(tree(path));
        texts.push(hub(path));
    }
    for path in [
        ".cathedral/x",
        "\"sqlite:/srv/a.git/.git/x\"",
        "../out",
        "/srv/eco/.git/x",
        "/srv/a/.cathedral/b",
        "~/x",
        "\"a\\u200bb\"",
    ] {
        texts.push(hub(path));
    }
    texts.push(body(&format!(
        "  connected_files: [{{ name: media, hub: \"{}\", paths: [/srv/media] }}]",
        "x".repeat(2_000)
    )));
    for ignore in ["\"\"", "\"[a\"", "'a\\'"] {
        texts.push(body(&format!(
            "  connected_files: [{{ name: media, hub: data/media, paths: [/srv/media], ignore: [{ignore}] }}]"
        )));
    }
    for lines in [
        "  connected_repositories: [{ name: a, url: /srv/a }, { name: b, url: /srv/a }]",
        "  connected_repositories: [{ name: a, url: /srv/a, mirrors: [{ name: m, url: /srv/a }] }]",
        "  connected_repositories: [{ name: a, url: /srv/a, refs: { include: [main] } }]",
        "  connected_repositories: [{ name: a, url: /srv/a, refs: { include: [refs/cathedral/x] } }]",
        "  connected_repositories: [{ name: a, url: /srv/a, branch: refs/heads/x }]",
        "  connected_repositories: [{ name: a, url: /srv/a, branch: \"a b\" }]",
        "  connected_repositories: [{ name: a, url: /srv/a, fsck_allow: [\"a b\"] }]",
        "  connected_repositories: [{ name: a, url: \"${a b}\" }]",
        "  connected_repositories: [{ name: a, url: \"${a\" }]",
        "  connected_repositories: [{ name: a, url: /srv/a, time_zone: \"not a zone\" }]",
        "  connected_databases: [{ name: b, hub: \"sqlite:a.db\", url: \"sqlite:/srv/b.db\", on_conflict: { orders: hub } }]",
        "  connected_databases: [{ name: b, hub: \"sqlite:a.db\", url: \"sqlite:/proc/b.db\" }]",
        "  connected_databases: [{ name: b, hub: \"sqlite:a.db\", url: \"oracle://x\", tables: { include: [] } }]",
        "  backup: { quorum: 99999999999 }",
        "  backup: { destinations: [{ name: v, url: \"file:/dev/vault\" }] }",
        "  backup: { destinations: [] }",
        "  connected_repositories: [{ name: a, url: \"ssh:///x\" }]",
        "  connected_databases: [{ name: b, hub: \"sqlite:.cathedral/b.db\", url: \"sqlite:/srv/b.db\" }]",
    ] {
        texts.push(body(lines));
    }
    texts
}

#[test]
fn every_problem_says_where_what_why_and_what_next() {
    let mut seen = BTreeSet::new();
    for text in texts() {
        for problem in check(&text) {
            seen.insert(problem.code);
            let shown = problem.to_string();
            assert!(!problem.what.is_empty() && !problem.why.is_empty(), "{shown}");
            assert!(!problem.hint.is_empty() || problem.nearest.is_some(), "{shown}");
            assert!(problem.line >= 1 && problem.column >= 1, "{shown}");
            assert!(shown.contains(&format!("  at c.yaml:{}:{}\n", problem.line, problem.column)), "{shown}");
            assert!(shown.contains("\n  why: ") && shown.contains("\n  try: "), "{shown}");
            assert!(CODES.contains(&problem.code), "{} is not among the codes", problem.code);
        }
    }
    let missing: Vec<_> = CODES.iter().filter(|code| !seen.contains(*code)).collect();
    assert!(missing.is_empty(), "not provoked: {missing:?}");
}

#[test]
fn places_that_store_nothing_are_refused() {
    for (path, kind) in [
        ("/proc", "proc"),
        ("/proc/1/root", "proc"),
        ("/sys", "sysfs"),
        ("/dev", "devices"),
        ("/dev/shm", "devices"),
        ("/srv/processes", "proc"),
        ("/mnt/groups/x", "cgroup2"),
    ] {
        let found = check(&tree(path));
        let [problem] = &found[..] else { panic!("{path}: {found:#?}") };
        assert_eq!((problem.code, problem.path.as_str()), ("no_storage", "connected_files[0].paths[0]"), "{problem}");
        assert!(problem.what.contains(kind) && problem.hint.contains("/srv/media"), "{problem}");
    }
    for path in ["/dev/shm/media", "/process", "/devices/x", "/srv/proc"] {
        let found = check(&tree(path));
        assert!(found.is_empty(), "{path}: {found:#?}");
    }
}
