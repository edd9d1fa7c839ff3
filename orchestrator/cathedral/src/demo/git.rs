//! The demo's own git: the command line, as a person would use it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::cli::Failure;

/// A repository.
pub struct Git {
    folder: PathBuf,
}

/// A commit to be made: the files it writes.
pub struct Commit {
    pub message: String,
    pub files: Vec<(String, String)>,
}

impl Git {
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf() }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("git");
        command
            .arg("-C")
            .arg(&self.folder)
            .args(args)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .envs([("GIT_AUTHOR_NAME", "Ada"), ("GIT_AUTHOR_EMAIL", "ada@demo.example")])
            .envs([("GIT_COMMITTER_NAME", "Ada"), ("GIT_COMMITTER_EMAIL", "ada@demo.example")])
            .stdin(Stdio::null());
        command
    }

    fn output(&self, args: &[&str]) -> Result<Output, Failure> {
        let output =
            self.command(args).output().map_err(|e| Failure::io("git", &e).next("install git 2.38 or newer"))?;
        if output.status.success() {
            return Ok(output);
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Failure::new(1, "C1002", format!("git {} in {}: {said}", args.join(" "), self.folder.display())))
    }

    pub fn run(&self, args: &[&str]) -> Result<(), Failure> {
        self.output(args).map(|_| ())
    }

    /// The output without the line end.
    pub fn line(&self, args: &[&str]) -> Result<String, Failure> {
        Ok(String::from_utf8_lossy(&self.output(args)?.stdout).trim_end().to_owned())
    }

    /// Adds commits on top of a branch (or begins it).
    pub fn commit(&self, branch: &str, commits: &[Commit], at: i64) -> Result<(), Failure> {
        let from = self.line(&["rev-parse", "--verify", "--quiet", &format!("refs/heads/{branch}")]).ok();
        let mut stream = String::new();
        for (n, commit) in commits.iter().enumerate() {
            let when = at + 3_600 * i64::try_from(n).unwrap_or(0);
            let _ = writeln!(
                stream,
                "commit refs/heads/{branch}\nauthor Ada <ada@demo.example> {when} +0000\ncommitter Ada <ada@demo.example> {when} +0000"
            );
            let _ = writeln!(stream, "data {}\n{}", commit.message.len(), commit.message);
            if n == 0
                && let Some(from) = &from
            {
                let _ = writeln!(stream, "from {from}");
            }
            for (path, text) in &commit.files {
                let _ = writeln!(stream, "M 100644 inline {path}\ndata {}\n{text}", text.len());
            }
        }
        let mut child = self
            .command(&["fast-import", "--quiet", "--force"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| Failure::io("git fast-import", &e))?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(stream.as_bytes()).map_err(|e| Failure::io("git fast-import", &e))?;
        }
        let output = child.wait_with_output().map_err(|e| Failure::io("git fast-import", &e))?;
        if output.status.success() {
            return Ok(());
        }
        Err(Failure::new(1, "C1002", format!("git fast-import: {}", String::from_utf8_lossy(&output.stderr).trim())))
    }
}

/// The first commit of the demo's histories: 2026-01-05 09:00 UTC.
pub const BEGAN: i64 = 1_767_603_600;

/// Makes a bare repository whose `main` holds these commits.
pub fn import(repository: &Path, commits: &[Commit]) -> Result<(), Failure> {
    std::fs::create_dir_all(repository).map_err(|e| Failure::io(&repository.display().to_string(), &e))?;
    let git = Git::at(repository);
    git.run(&["init", "-q", "--bare", "-b", "main", "."])?;
    git.commit("main", commits, BEGAN)
}
