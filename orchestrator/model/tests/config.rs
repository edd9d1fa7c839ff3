//! The contract of `.cathedral/integration-config.yaml`, as a caller meets it.

#![allow(clippy::unwrap_used)]

use cathedral_model::config::{self, Capabilities, Config, Lookup, Problem, Severity};

const SHORT: &str = include_str!("config/short.yaml");
const FULL: &str = include_str!("config/full.yaml");
const OWN: &str = include_str!("../../../.cathedral/integration-config.yaml");

/// An outside with two variables, two files and one unknown time zone.
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
            ".cathedral/keys/webhook-github" => Ok("shared with the sender".to_owned()),
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
    assert_eq!(problems.len(), 1, "{problems:#?}");
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
        "notifications[1].kind",
        "auth",
    ] {
        assert!(later.contains(&key), "{key} is missing in {later:#?}");
    }
    // Without the refusals it is a configuration like any other.
    let problems = config::validate(FULL, "full.yaml", &Outside, &Capabilities::everything());
    let later = of(&problems, Severity::NotAvailableYet);
    assert!(later.iter().all(|problem| problem.found.contains("...")), "placeholders only: {later:#?}");
    assert!(config::parse(FULL, "full.yaml", &Outside, &Capabilities::default()).is_err());
}

#[test]
fn references_are_resolved_and_never_shown() {
    let text = r#"
cathedral_ecosystem:
  master_repository: cathedral
  connected_repositories:
    - { name: a, url: "${TOKEN_URL}" }
    - { name: b, url: "${file:keys/url}/b" }
"#;
    let config = parse(text);
    let [a, b] = &config.cathedral_ecosystem.connected_repositories[..] else { panic!() };
    assert_eq!(a.url.as_ref().unwrap().as_str(), "https://user:hunter2@forge.example/a.git");
    assert_eq!(b.url.as_ref().unwrap().as_str(), "../elsewhere/b");
    let shown = format!("{config:?}{}{}", config::show_yaml(&config), config::show_json(&config));
    assert!(!shown.contains("hunter2") && !shown.contains("elsewhere"), "{shown}");
    assert!(shown.contains("${TOKEN_URL}") && shown.contains("${file:keys/url}/b"));
    // What a wrong value stands for is not shown either.
    let problems = check(
        &text.replace("  connected_repositories", "  hub: { url: \"x::${TOKEN_URL}\" }\n  connected_repositories"),
    );
    let shown = format!("{problems:?}");
    assert!(of(&problems, Severity::Error).len() == 1 && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn what_is_shown_has_the_defaults_and_reads_back() {
    let config = parse(SHORT);
    let shown = config::show_json(&config);
    let ecosystem = &shown["cathedral_ecosystem"];
    assert_eq!(ecosystem["name"], "cathedral");
    assert_eq!(ecosystem["backup"]["destinations"][0]["url"], "file:.cathedral/vault");
    assert_eq!(ecosystem["backup"]["quorum"], 1);
    assert_eq!(ecosystem["connected_repositories"][0]["refs"]["max_vanish"], "20%");
    assert_eq!(ecosystem["state"]["store"], "sqlite:.cathedral/hub.db");
    let again = parse(&config::show_yaml(&config));
    assert_eq!(config::show_json(&again), shown);
    let typed: Config = serde_json::from_value(shown).unwrap();
    assert_eq!(typed.cathedral_ecosystem.connected_repositories, config.cathedral_ecosystem.connected_repositories);
}

#[test]
fn every_name_that_is_accepted_is_a_spoke_name() {
    for name in [
        "a",
        "_x",
        "9",
        "a.b-c_d",
        &"n".repeat(100),
        "-a",
        ".a",
        "a.",
        "a..b",
        "a.lock",
        "a/b",
        "",
        &"n".repeat(101),
        "é",
    ] {
        let is_accepted = name.parse::<config::names::Name>().is_ok();
        assert_eq!(is_accepted, cathedral_model::ids::SpokeName::new(name).is_ok(), "{name}");
    }
}

#[test]
fn postgres_is_a_matter_of_the_build() {
    let text = "cathedral_ecosystem: { master_repository: a, state: { store: \"postgres://hub@db.example/hub\" } }\n";
    assert_eq!(check(text)[0].severity, Severity::NotAvailableYet);
    let caps = Capabilities::default().with_postgres_store(true);
    assert!(config::parse(text, "c.yaml", &Outside, &caps).is_ok());
}

#[test]
fn a_default_written_out_is_no_request_for_something_new() {
    let text = "cathedral_ecosystem:\n  master_repository: a\n  integrity: { every: 10m, public: false, require: [any] }\n  connected_repositories: [{ name: b, lfs: false }]\n";
    assert!(check(text).is_empty(), "{:#?}", check(text));
}

#[test]
fn every_list_of_protections_says_the_same_as_the_map() {
    let map = "cathedral_ecosystem: { master_repository: a, merge_protection: { require_pr_reviews: 2, require_status_checks: true } }\n";
    let list = "cathedral_ecosystem: { master_repository: a, merge_protection: [{ require_pr_reviews: 2 }, { require_status_checks: true }] }\n";
    assert_eq!(parse(map), parse(list));
    let twice = list.replace("require_status_checks: true", "require_pr_reviews: 1");
    assert_eq!(of(&check(&twice), Severity::Error)[0].code, "duplicate_key");
}

mod schema {
    use super::*;

    /// The file as the JSON that an editor would check.
    fn json(text: &str) -> serde_json::Value {
        serde_saphyr::from_str(text).unwrap()
    }

    #[test]
    fn the_examples_are_valid_and_mistakes_are_not() {
        let schema = config::schema();
        let validator = jsonschema::validator_for(&schema).unwrap();
        for text in [SHORT, FULL, &config::show_yaml(&parse(SHORT))] {
            let errors: Vec<String> =
                validator.iter_errors(&json(text)).map(|e| format!("{} at {}", e, e.instance_path())).collect();
            assert!(errors.is_empty(), "{errors:#?}");
        }
        for (from, to) in [
            ("master_repository: \"cathedral\"", "master_repositori: cathedral"),
            ("\"bidirectional\"", "\"both\""),
            ("\"git_submodule\"", "12"),
            ("require_pr_reviews: 2", "require_pr_reviews: two"),
            ("name: \"circuitum99\"", "name: \"../etc\""),
            ("    - name: \"circuitum99\"\n      role", "    - role"),
            ("cathedral_ecosystem", "ecosystem"),
        ] {
            let changed = SHORT.replacen(from, to, 1);
            assert_ne!(changed, SHORT, "{from}");
            assert!(!validator.is_valid(&json(&changed)), "{to}");
            assert!(!of(&check(&changed), Severity::Error).is_empty(), "{to}");
        }
    }

    /// Every property of the schema, with its path.
    fn properties(
        root: &serde_json::Value,
        at: &serde_json::Value,
        path: &str,
        found: &mut Vec<(String, serde_json::Value)>,
    ) {
        if let Some(reference) = at["$ref"].as_str() {
            let target = root.pointer(reference.trim_start_matches('#')).unwrap();
            return properties(root, target, path, found);
        }
        for below in ["items", "additionalProperties"] {
            if at[below].is_object() {
                properties(root, &at[below], path, found);
            }
        }
        if let Some(first) = at["anyOf"].as_array().and_then(|forms| forms.first()) {
            properties(root, first, path, found);
        }
        for (name, property) in at["properties"].as_object().into_iter().flatten() {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            found.push((path.clone(), property.clone()));
            properties(root, property, &path, found);
        }
    }

    #[test]
    fn every_key_of_the_schema_is_explained_and_the_other_way_round() {
        let schema = config::schema();
        let mut found = Vec::new();
        properties(&schema, &schema, "", &mut found);
        assert!(found.len() > 150, "{}", found.len());
        for (path, property) in &found {
            let explanation = config::explain(path).unwrap_or_else(|| panic!("{path} is not explained"));
            assert_eq!(property["description"], explanation.meaning, "{path}");
            assert!(!explanation.kind.is_empty() && !explanation.example.is_empty(), "{path}");
            if property["x-available"] == false {
                assert!(!explanation.available, "{path}");
            }
        }
        let fold = |path: &str| path.replace("[]", "").replace("cathedral_ecosystem.", "");
        let paths: Vec<String> = found.iter().map(|(path, _)| fold(path)).collect();
        for key in config::keys() {
            assert!(paths.contains(&fold(&key)), "{key} is not in the schema");
        }
        assert_eq!(paths.len(), config::keys().len());
    }

    #[test]
    fn defaults_and_words_stand_in_the_schema() {
        let schema = config::schema();
        let repository = &schema["$defs"]["Repository"];
        assert_eq!(repository["required"], serde_json::json!(["name"]));
        assert_eq!(repository["properties"]["data_sync"]["default"], "bidirectional");
        assert_eq!(repository["properties"]["integration_type"]["x-not-available-yet"][0], "git_subtree");
        assert_eq!(repository["additionalProperties"], false);
        let words = schema["$defs"]["DataSync"]["oneOf"].as_array().unwrap();
        assert!(
            words.iter().any(|word| word["const"] == "collect" && word["description"] == "From the spoke to the hub.")
        );
    }
}

mod template {
    use super::*;
    use cathedral_model::config::{Found, FoundDatabase, FoundFolder, FoundRepository};

    fn hostile() -> Found {
        let repository = |name: &str, url: Option<&str>, is_submodule| FoundRepository {
            name: name.to_owned(),
            url: url.map(str::to_owned),
            path: Some(format!("modules/{}", url.map_or(0, str::len))),
            is_submodule,
        };
        Found {
            master: "My Project: \"x\"".to_owned(),
            repositories: vec![
                repository("circuitum99", Some("../circuitum99"), true),
                repository("circuitum99", Some("https://forge.example/b.git"), true),
                repository("true", Some("../a b # c"), false),
                repository("..", None, true),
                repository("ünï", Some("./-x: {y}"), false),
            ],
            databases: vec![FoundDatabase { name: "app.db".to_owned(), path: "../some app/it's \"x\".db".to_owned() }],
            folders: vec![FoundFolder { name: "media".to_owned(), path: "/srv/media: a".to_owned() }],
        }
    }

    #[test]
    fn what_init_writes_is_accepted() {
        let plain = Found { master: "cathedral".to_owned(), ..Found::default() };
        for found in [Found::default(), plain, hostile()] {
            for text in [config::template_short(&found), config::template_full(&found)] {
                assert_eq!(check(&text), [], "{text}");
                let ecosystem = parse(&text).cathedral_ecosystem;
                assert_eq!(ecosystem.connected_repositories.len(), found.repositories.len());
                assert_eq!(ecosystem.connected_databases.len(), found.databases.len());
                assert_eq!(ecosystem.connected_files.len(), found.folders.len());
            }
        }
    }

    #[test]
    fn every_commented_key_could_be_used_as_it_stands() {
        let text = config::template_full(&Found::default());
        let (_, keys) = text.split_once("---- every key").unwrap();
        let keys: Vec<&str> =
            keys.lines().filter_map(|line| line.strip_prefix("# ")).filter(|line| line.starts_with(' ')).collect();
        let text = format!("cathedral_ecosystem:\n {}\n", keys.join("\n "));
        let problems = check(&text);
        // The examples are one of each, so a few do not fit together, and files they refer to are not there.
        for problem in of(&problems, Severity::Error) {
            let is_about_the_whole =
                ["impossible_combination", "unknown_name", "unresolved_reference"].contains(&problem.code);
            assert!(is_about_the_whole, "{problem}");
        }
        assert!(of(&problems, Severity::NotAvailableYet).len() > 15);
    }

    #[test]
    fn the_full_template_names_every_key() {
        let text = config::template_full(&Found::default());
        for key in config::keys() {
            let name = key.rsplit('.').next().unwrap();
            assert!(text.contains(&format!("{name}:")), "{key}");
        }
        assert!(text.contains("(not available yet)"));
    }
}

#[test]
fn the_short_form_is_served_but_for_the_protection_of_branches() {
    let problems = check(SHORT);
    let told: Vec<_> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(told, ["merge_protection"]);
}
