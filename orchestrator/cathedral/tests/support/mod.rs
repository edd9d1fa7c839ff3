//! What the tests of the binary share: a small ecosystem, the binary itself, and eyes of their own.
//!
//! Nothing here uses the project's code to look: git, SQL and plain reads only.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod eyes;
pub mod outputs;
pub mod world;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A folder in memory where there is one: what is killed here loses no page cache anyway.
pub fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    builder.prefix("cathedral-test-");
    if memory.is_dir() { builder.tempdir_in(memory) } else { builder.tempdir() }.unwrap()
}

/// Copies a tree with its times.
pub fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success(), "cp {} {}", from.display(), to.display());
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The one document on stdout.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("not one JSON document ({e}): {self:?}"))
    }

    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }
}

/// The binary, told where to work, with nothing of the tester's own settings.
pub fn command(hub: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cathedral"));
    command.arg("-C").arg(hub).args(args).stdin(Stdio::null());
    plain(&mut command);
    command
}

/// Takes the tester's own settings away.
pub fn plain(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CATHEDRAL_") || name.starts_with("GIT_") {
            command.env_remove(name);
        }
    }
    command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC").env("GIT_CONFIG_GLOBAL", "/dev/null");
    command.env("GIT_CONFIG_NOSYSTEM", "1").env_remove("CLICOLOR_FORCE").env_remove("NO_COLOR");
}

/// Runs the binary in a hub's folder.
pub fn cathedral(hub: &Path, args: &[&str]) -> Ran {
    Ran::of(command(hub, args).output().unwrap())
}

/// Runs any program and gives its output; fails when it fails.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e} (install it; see README)"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// The files that belong to a program this test started, for messages.
pub fn below(root: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(root).unwrap_or(path).to_path_buf()
}
