//! What every failing command owes: the documented code, three parts on stderr, one document with `--json`.

use std::process::Command;

use super::{Ran, cathedral, command};
use crate::support::world::World;

/// The published schema of one output.
#[track_caller]
pub fn schema(name: &str) -> jsonschema::Validator {
    let text = Command::new(env!("CARGO_BIN_EXE_cathedral")).args(["schema", name]).output().unwrap();
    assert!(text.status.success(), "no schema {name}");
    jsonschema::validator_for(&serde_json::from_slice(&text.stdout).unwrap()).unwrap()
}

/// Checks a document against the schema its `schema` member names.
#[track_caller]
pub fn validate(name: &str, document: &serde_json::Value) {
    assert_eq!(document["schema"], format!("cathedral.{name}/v1"), "{document:#}");
    let problems: Vec<String> =
        schema(name).iter_errors(document).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(problems.is_empty(), "{name}: {problems:#?}\n{document:#}");
    let at = document["generated_at"].as_str().unwrap();
    assert!(at.len() >= 20 && at.ends_with('Z'), "{at}");
}

/// Nothing a terminal would act on.
#[track_caller]
pub fn assert_plain(ran: &Ran) {
    for (name, text) in [("stdout", &ran.out), ("stderr", &ran.err)] {
        let wild = text.chars().find(|c| c.is_control() && *c != '\n' && *c != '\t');
        assert_eq!(wild, None, "{name} holds a control character: {text:?}");
    }
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
}

/// Checks a failure that was run without and with `--json`; gives the first one back.
#[track_caller]
pub fn check_failure(told: Ran, document: &Ran, code: i32) -> Ran {
    assert_plain(&told);
    assert_plain(document);
    assert_eq!(told.code, code, "stdout:\n{}\nstderr:\n{}", told.out, told.err);
    assert_eq!(document.code, code, "with --json: {document:?}");
    assert!(told.err.contains("error: "), "no error: {}", told.err);
    assert!(told.err.contains("\n  why: "), "no reason: {}", told.err);
    assert!(told.err.contains("\n  try: "), "no next step: {}", told.err);
    let json = document.json();
    validate("error", &json);
    assert_eq!(json["error"]["status"], code, "{json:#}");
    told
}

/// Runs a command that must fail with this code, as a person and as a script.
#[track_caller]
pub fn refused(world: &World, args: &[&str], code: i32) -> Ran {
    let told = world.cathedral(args);
    let with_json: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
    check_failure(told, &world.cathedral(&with_json), code)
}

/// Runs a command with `--json` and checks the document.
#[track_caller]
pub fn json(world: &World, name: &str, args: &[&str], code: i32) -> serde_json::Value {
    let with_json: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
    let ran = cathedral(&world.hub(), &with_json).expect(code);
    assert_plain(&ran);
    let document = ran.json();
    validate(name, &document);
    document
}

/// Runs the binary as it is with other surroundings.
pub fn ran_with(world: &World, args: &[&str], change: impl FnOnce(&mut Command)) -> Ran {
    let mut command = command(&world.hub(), args);
    change(&mut command);
    Ran::of(command.output().unwrap())
}

/// Checks what a run that could not do everything says; gives it back.
#[track_caller]
pub fn troubled(ran: Ran, code: i32) -> Ran {
    assert_plain(&ran);
    assert_eq!(ran.code, code, "stdout:\n{}\nstderr:\n{}", ran.out, ran.err);
    for part in ["error: ", "\n  why: ", "\n  try: "] {
        assert!(ran.err.contains(part), "no {part:?} in {ran:?}");
    }
    ran
}
