//! The contract of `.cathedral/integration-config.yaml`, as a caller meets it.

#![allow(clippy::unwrap_used)]

use cathedral_model::config::{self, Capabilities, Config, Lookup, Problem, Severity};

const SHORT: &str = include_str!("config/short.yaml");
const FULL: &str = include_str!("config/full.yaml");
const OWN: &str = include_str!("../../../.cathedral/integration-config.yaml");

/// An outside with two variables, one file and one unknown time zone.
struct Outside;

impl Lookup for Outside {
    fn env(&self, name: &str) -> Result<String, String> {
        match name {
            "HOME" => Ok("/home/user".to_owned()),
            "TOKEN_URL" => Ok("https://user:hunter2@forge.example/a.git".to_owned()),
            _ => Err("it is not set".to_owned()),
        }
    }

    fn file(&self, path: &str) -> Result<String, String> {
        match path {
            "keys/url" => Ok("../elsewhere\n".to_owned()),
            _ => Err("no such file".to_owned()),
        }
    }

    fn knows_time_zone(&self, name: &str) -> Option<bool> {
        Some(!name.contains("Atlantis"))
    }
}

fn check(text: &str) -> Vec<Problem> {
    config::validate(text, "integration-config.yaml", &Outside, &Capabilities::default())
}

fn of(problems: &[Problem], severity: Severity) -> Vec<&Problem> {
    problems.iter().filter(|problem| problem.severity == severity).collect()
}

fn parse(text: &str) -> Config {
    config::parse(text, "integration-config.yaml", &Outside, &Capabilities::default()).unwrap_or_else(|problems| {
        panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    })
}

#[test]
fn the_short_form_loads_unchanged_with_warnings_only() {
    let config = parse(SHORT);
    let ecosystem = &config.cathedral_ecosystem;
    assert_eq!(ecosystem.name().as_str(), "cathedral");
    assert_eq!(ecosystem.connected_repositories.len(), 2);
    assert_eq!(ecosystem.connected_repositories[1].data_sync.as_str(), "hub_distribution");
    assert_eq!(ecosystem.merge_protection.require_pr_reviews, Some(2));
    assert_eq!(ecosystem.merge_protection.automatic_security_scanning, Some(true));
    let problems = check(SHORT);
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(problems.iter().all(|problem| problem.severity == Severity::Warning && problem.line > 1));
    assert_eq!(parse(OWN), config, "the repository's own file is the short form");
    assert_eq!(OWN, SHORT);
}

#[test]
fn the_full_form_is_read_completely_and_says_what_is_not_built() {
    let (config, problems) = config::parse_full(FULL, "full.yaml", &Outside, &Capabilities::default())
        .unwrap_or_else(|problems| panic!("{problems:#?}"));
    let ecosystem = &config.cathedral_ecosystem;
    assert_eq!(ecosystem.name().as_str(), "atlas");
    assert_eq!(ecosystem.integrity.anchors.len(), 3);
    assert_eq!(ecosystem.notifications.len(), 3);
    assert_eq!(ecosystem.self_healing_systems.healing_frequency.weekly.len(), 2);
    assert_eq!(ecosystem.auth.oidc.as_ref().unwrap().client_secret.as_ref().unwrap().shown(), "${file:...}");
    assert!(of(&problems, Severity::Error).is_empty());
    let later: Vec<&str> =
        of(&problems, Severity::NotAvailableYet).iter().map(|problem| problem.path.as_str()).collect();
    for key in [
        "connected_repositories[0].lfs",
        "connected_repositories[0].metadata",
        "connected_repositories[0].forge",
        "connected_databases[0].url",
        "connected_databases[0].filters",
        "connected_databases[0].masks",
        "connected_files[0].paths[1]",
        "connected_files[0].preserve[3]",
        "conflicts.chain[4]",
        "conflicts.learn",
        "backup.destinations[1].url",
        "backup.recipients[0]",
        "integrity.anchors",
        "self_healing_systems",
        "incoming_webhooks",
        "notifications",
        "web",
        "auth",
    ] {
        assert!(later.contains(&key), "{key} is missing in {later:#?}");
    }
    // Without the refusals it is a configuration like any other.
    let everything = Capabilities::everything();
    let problems = config::validate(FULL, "full.yaml", &Outside, &everything);
    assert!(of(&problems, Severity::NotAvailableYet).is_empty(), "{problems:#?}");
    assert!(config::parse(FULL, "full.yaml", &Outside, &Capabilities::default()).is_err());
}
