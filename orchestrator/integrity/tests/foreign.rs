//! Logs and packs checked by programs that are not ours: Python's hashlib, OpenSSL, tar.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use cathedral_integrity::pack::VERIFY_MD;
use common::Home;

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?} is needed for this test: {e}"));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {errors}");
    output
}

fn python(script: &Path) -> Command {
    let mut command = Command::new("python3");
    command.arg(script);
    command
}

#[test]
fn a_log_of_each_shape_is_accepted_by_foreign_code() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/check_log.py");
    let home = Home::new();
    let mut from = 0;
    for to in [1, 2, 255, 256, 257, 600] {
        home.fill_fast(from, to);
        from = to;
        let log = home.open().unwrap();
        let head = log.signed_head();
        let output = run(python(&script).arg(home.log()).arg(log.verifier_key().to_string()));
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said.trim_end(), format!("{to} leaves, root {}", head.root));
    }
    let path = home.log().join("tile/0/001");
    let mut bytes = fs::read(&path).unwrap();
    bytes[5000] ^= 1;
    fs::write(&path, bytes).unwrap();
    let key = cathedral_integrity::key::verifier_key(&home.keys()).unwrap();
    let output = python(&script).arg(home.log()).arg(key.to_string()).output().unwrap();
    assert!(!output.status.success(), "the foreign check does look");
}

/// The commands in VERIFY.md are run as they stand there.
#[test]
fn a_pack_is_accepted_by_the_commands_it_carries() {
    let home = Home::new();
    home.fill_fast(0, 40);
    let log = home.open().unwrap();
    let key = log.verifier_key().to_string();
    let script = VERIFY_MD.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    for index in [0, 17, 39] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x.cathedral-proof"), log.prove(index).unwrap().to_bytes().unwrap()).unwrap();
        run(Command::new("tar").args(["-xf", "x.cathedral-proof"]).current_dir(dir.path()));
        let path = dir.path().join("check.py");
        fs::write(&path, script).unwrap();
        let output = run(python(&path).arg(&key).current_dir(dir.path()));
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains(&format!("leaf {index} of 40 in {}", common::ORIGIN)), "{said}");

        let mut statement = fs::read(dir.path().join("statement.json")).unwrap();
        statement[20] ^= 1;
        fs::write(dir.path().join("statement.json"), statement).unwrap();
        let output = python(&path).arg(&key).current_dir(dir.path()).output().unwrap();
        assert!(!output.status.success(), "the foreign check does look");
    }
}
