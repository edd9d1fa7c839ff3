//! How problems read: one snapshot for each bad file, so that messages are looked at.

#![allow(clippy::unwrap_used)]

use cathedral_model::config::{self, Capabilities, Lookup};

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
}

fn rendered(text: &str, width: usize, color: bool) -> String {
    let problems = config::validate(text, ".cathedral/integration-config.yaml", &Outside, &Capabilities::default());
    problems.iter().map(|problem| problem.render(width, color)).collect::<Vec<_>>().join("\n")
}

macro_rules! bad_files {
    ($($name:ident),+ $(,)?) => { $(
        #[test]
        fn $name() {
            let mut settings = insta::Settings::clone_current();
            settings.set_snapshot_path("config/snapshots");
            settings.set_prepend_module_to_snapshot(false);
            settings.set_omit_expression(true);
            let text = include_str!(concat!("config/bad/", stringify!($name), ".yaml"));
            let shown = rendered(text, 100, false);
            assert!(!shown.contains('\u{1b}') && !shown.contains("hunter2"), "{shown}");
            settings.bind(|| insta::assert_snapshot!(stringify!($name), shown));
        }
    )+ };
}

bad_files!(typos, types, names, addresses, secrets, combinations, order, times, not_yet, tab, syntax, yaml_tricks,);

#[test]
fn colour_is_only_added_when_asked_for_and_long_lines_keep_the_caret_in_view() {
    let text = format!(
        "cathedral_ecosystem: {{ master_repository: cathedral, connected_repositories: [{{ name: docs, role: \"{}\", data_sync: both, role2: x }}] }}\n",
        "long ".repeat(40)
    );
    let plain = rendered(&text, 80, false);
    assert!(plain.lines().all(|line| line.chars().count() <= 80), "{plain}");
    assert!(plain.contains("data_sync: both"), "{plain}");
    let caret = plain.lines().position(|line| line.contains("^^^^")).unwrap();
    let (source, caret) = (plain.lines().nth(caret - 1).unwrap(), plain.lines().nth(caret).unwrap());
    let start = caret.chars().position(|c| c == '^').unwrap();
    assert_eq!(source.chars().skip(start).take(4).collect::<String>(), "both", "{plain}");
    let painted = rendered(&text, 80, true);
    assert!(painted.contains("\u{1b}[1;31merror\u{1b}[0m"), "{painted}");
}

#[test]
fn a_problem_carries_its_parts_for_scripts() {
    let text = include_str!("config/bad/typos.yaml");
    let problems = config::validate(text, "c.yaml", &Outside, &Capabilities::default());
    let problem = problems.iter().find(|p| p.path == "connected_repositories[0].data_sync").unwrap();
    assert_eq!((problem.line, problem.column), (6, 18));
    assert_eq!(problem.found, "bidirectonal");
    assert_eq!(problem.nearest.as_deref(), Some("bidirectional"));
    assert_eq!(problem.allowed, ["bidirectional", "hub_distribution", "collect", "snapshot_only"]);
    assert_eq!(problem.excerpt, "      data_sync: bidirectonal\n                 ^^^^^^^^^^^^");
    assert_eq!(problem.code, "unknown_value");
    let json = serde_json::to_value(problem).unwrap();
    assert_eq!(json["severity"], "error");
}
