//! Whom the hub tells: what is accepted, what is refused with what to write, and that no secret is shown.

#![allow(clippy::unwrap_used)]

use cathedral_model::config::{self, Capabilities, Lookup, Problem, Severity};

const KEY: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

struct Files;

impl Lookup for Files {
    fn env(&self, name: &str) -> Result<String, String> {
        match name {
            "SHORT" => Ok("whsec_c2hvcnQ=".into()),
            "HEX" => Ok("5f5f736563726574".into()),
            "SLACK" => Ok("https://hooks.slack.com/services/T00/B00/verysecretpart".into()),
            "BAD_URL" => Ok("ftp://verysecretpart".into()),
            _ => Err("it is not set".into()),
        }
    }

    fn file(&self, path: &str) -> Result<String, String> {
        if path == "keys/ops" { Ok(KEY.into()) } else { Err("no such file".into()) }
    }
}

fn text(notifications: &str, egress: &str) -> String {
    format!(
        "cathedral_ecosystem:\n  master_repository: cathedral\n  notifications:\n{notifications}  egress: {{ allow: [{egress}] }}\n"
    )
}

fn problems(notifications: &str, egress: &str) -> Vec<Problem> {
    config::validate(&text(notifications, egress), "f.yaml", &Files, &Capabilities::default().with_tls(true))
}

#[test]
fn endpoints_are_named_and_told_what_they_listen_to() {
    let text = text(
        "    - { kind: webhook, url: \"https://ops.example/h\", secret: \"${file:keys/ops}\", events: [run.failed, conflict.*] }\n    - { kind: slack, url: \"${SLACK}\" }\n    - { kind: webhook, url: \"http://127.0.0.1:9/h\", secrets: [\"${file:keys/ops}\", \"${file:keys/ops}\"] }\n    - { name: pager, kind: webhook, url: \"https://pager.example\", secret: \"${file:keys/ops}\" }\n",
        "\"127.0.0.1:9\", 10.0.0.0/8",
    );
    let caps = Capabilities::default().with_tls(true);
    let config = config::parse(&text, "f.yaml", &Files, &caps).unwrap();
    let endpoints = config.cathedral_ecosystem.endpoints();
    let names: Vec<&str> = endpoints.iter().map(|e| e.name.as_str()).collect();
    assert_eq!(names, ["webhook", "slack", "webhook-2", "pager"]);
    assert!(endpoints[0].wants("run.failed") && endpoints[0].wants("conflict.opened"));
    assert!(!endpoints[0].wants("run.finished") && endpoints[1].wants("run.finished"));
    assert_eq!(endpoints[2].secrets.len(), 2);
    let shown = format!("{config:?}{}{}", config::show_yaml(&config), config::show_json(&config));
    assert!(!shown.contains("verysecret") && !shown.contains("whsec_"), "{shown}");
    // Without https in the program it says so, with the place.
    let found = config::validate(&text, "f.yaml", &Files, &Capabilities::default());
    let later: Vec<&str> = found.iter().map(|p| p.path.as_str()).collect();
    assert_eq!(later, ["notifications[0].url", "notifications[1].url", "notifications[3].url"]);
}

#[test]
fn what_cannot_work_is_told_with_place_reason_and_remedy() {
    let hook = |rest: &str| format!("    - {{ kind: webhook, {rest} }}\n");
    let sound = "secret: \"${file:keys/ops}\"";
    let cases = [
        (hook(sound), "missing_key", "notifications[0].url"),
        (hook("url: \"https://a.example\""), "missing_key", "notifications[0].secret"),
        (hook("url: \"https://a.example\", secret: \"${SHORT}\""), "bad_secret", "notifications[0].secret"),
        (hook("url: \"https://a.example\", secrets: [\"${HEX}\"]"), "bad_secret", "notifications[0].secrets[0]"),
        (hook("url: \"https://a.example\", secret: \"${GONE}\""), "unresolved_reference", "notifications[0].secret"),
        (
            hook("url: \"https://a.example\", secret: \"${file:gone}\""),
            "unresolved_reference",
            "notifications[0].secret",
        ),
        (hook("url: \"https://a.example\", secret: \"plain\""), "literal_secret", "notifications[0].secret"),
        (hook(&format!("url: \"${{BAD_URL}}\", {sound}")), "bad_address", "notifications[0].url"),
        (hook(&format!("url: \"https://a.example:0/\", {sound}")), "bad_address", "notifications[0].url"),
        (hook(&format!("url: \"http://192.168.1.1/\", {sound}")), "egress_denied", "notifications[0].url"),
        (hook(&format!("url: \"http://[::1]:7/\", {sound}")), "egress_denied", "notifications[0].url"),
        (
            hook(&format!("url: \"https://a.example\", {sound}, events: [run.faild]")),
            "unknown_event",
            "notifications[0].events[0]",
        ),
        (
            hook(&format!("url: \"https://a.example\", {sound}, events: [\"runs.*\"]")),
            "unknown_event",
            "notifications[0].events[0]",
        ),
        (
            "    - { kind: email, smtp: \"smtp://mail.example\", to: [a@b.example] }\n".into(),
            "not_available_yet",
            "notifications[0].kind",
        ),
        (
            format!(
                "{}{}",
                hook(&format!("name: ops, url: \"https://a.example\", {sound}")),
                hook(&format!("name: ops, url: \"https://b.example\", {sound}"))
            ),
            "duplicate_name",
            "notifications[1].name",
        ),
        (format!("    - {{ kind: slack, url: \"${{SLACK}}\", {sound} }}\n"), "no_effect", "notifications[0].secret"),
    ];
    for (notifications, code, path) in cases {
        let found = problems(&notifications, "10.0.0.0/8");
        let [only] = &found[..] else { panic!("{notifications}: {found:#?}") };
        assert_eq!((only.code, only.path.as_str()), (code, path), "{only:#?}");
        assert!(!only.hint.is_empty() || only.nearest.is_some() || !only.allowed.is_empty(), "what to do: {only:#?}");
        assert!(!only.why.is_empty() || only.severity == Severity::Warning || code == "duplicate_name", "{only:#?}");
        let shown = format!("{found:?}");
        assert!(!shown.contains("verysecret") && !shown.contains("c2hvcnQ"), "{shown}");
    }
    let typo = problems(&hook(&format!("url: \"https://a.example\", {sound}, events: [run.faild]")), "");
    assert_eq!(typo[0].nearest.as_deref(), Some("run.failed"));
}

#[test]
fn what_may_be_called_is_a_range_an_address_or_a_host() {
    for (entry, hint) in [("10.1.0.0/8", "10.0.0.0/8"), ("\"a b\"", "10.0.0.0/8, 10.1.2.3:8080")] {
        let found = problems("    []\n", entry);
        assert!(found.len() == 1 && found[0].code == "bad_range" && found[0].hint.starts_with(hint), "{found:#?}");
        assert_eq!(found[0].path, "egress.allow[0]");
    }
    assert!(problems("    []\n", "10.0.0.0/8, \"[::1]:80\", chat.internal, \"chat.internal:8443\"").is_empty());
}
