//! The one place that starts `git`: a cleared environment, no configuration but ours, no prompts, a
//! deadline without progress, and the whole process group ended when it passes or when the hub is gone.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use super::failure::{GitError, printable};
use super::keeper::{Keepers, Kept};
use super::locks;
use super::url::Remote;

/// The oldest git that can do what is asked of it.
const OLDEST: (u32, u32) = (2, 38);
const STDERR_CAP: usize = 64 * 1024;
const STDOUT_CAP: usize = 256 * 1024 * 1024;

/// Where a test may stop the process around a call of git.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Before,
    After,
}

/// Asked around every call; `false` stops as a crash would.
pub type Interrupt = Arc<dyn Fn(Moment, &[OsString]) -> bool + Send + Sync>;

/// How git is run and as whom.
#[derive(Clone)]
pub struct Options {
    /// Where `git` and `ssh` are looked for.
    pub path: OsString,
    /// Known hosts of SSH remotes; none else are trusted.
    pub known_hosts: PathBuf,
    /// The private key for SSH remotes, if the file exists.
    pub identity_file: PathBuf,
    /// The socket of an SSH agent, where one may be used.
    pub ssh_agent: Option<PathBuf>,
    /// Name and address in commits that the hub makes.
    pub author: (String, String),
    /// How long git may be silent before it is killed.
    pub deadline: Duration,
    /// The program that ends git when the hub is gone: run with [`KEEPER`](super::KEEPER) as its one argument,
    /// it calls [`keep`](super::keep). Without one, git may outlive the hub.
    pub keeper: Option<PathBuf>,
    /// For tests that stop the process in the middle.
    pub interrupt: Option<Interrupt>,
}

impl Options {
    /// The options for a state folder.
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self {
            path: "/usr/local/bin:/usr/bin:/bin".into(),
            known_hosts: state_dir.join("keys/known_hosts"),
            identity_file: state_dir.join("keys/ssh"),
            ssh_agent: None,
            author: ("Cathedral".into(), "cathedral@localhost".into()),
            deadline: Duration::from_secs(120),
            keeper: None,
            interrupt: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("author", &self.author)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// Runs git.
#[derive(Clone, Debug)]
pub struct Git {
    options: Arc<Options>,
    keepers: Arc<Keepers>,
    /// Why it cannot be used, found out once.
    unfit: Arc<OnceLock<Option<String>>>,
}

/// What a finished call left.
#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Output {
    /// Returns standard output as a line of text.
    #[must_use]
    pub fn line(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim().to_owned()
    }
}

/// One call of git, being built.
#[derive(Clone)]
pub struct Call<'a> {
    git: &'a Git,
    /// The folder is a store of the hub's own, in which nobody else runs git.
    own: bool,
    dir: Option<PathBuf>,
    args: Vec<OsString>,
    env: Vec<(&'static str, OsString)>,
    config: Vec<String>,
    input: Option<Arc<Vec<u8>>>,
    remote: Option<&'a Remote>,
    what: String,
}

/// A child whose output is read while it runs.
pub struct Streaming {
    child: Child,
    kept: Kept,
    stderr: JoinHandle<Vec<u8>>,
    what: String,
}

impl Git {
    /// Makes a runner.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let keepers = Arc::new(Keepers::new(options.keeper.clone()));
        Self { options: Arc::new(options), keepers, unfit: Arc::default() }
    }

    /// Returns the options.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Begins a call in a repository. `what` names it in errors.
    pub fn at<'a>(&'a self, dir: &Path, what: impl Into<String>) -> Call<'a> {
        Call { dir: Some(dir.to_owned()), ..self.anywhere(what) }
    }

    /// Begins a call outside of any repository.
    pub fn anywhere<'a>(&'a self, what: impl Into<String>) -> Call<'a> {
        Call {
            git: self,
            own: false,
            dir: None,
            args: Vec::new(),
            env: Vec::new(),
            config: Vec::new(),
            input: None,
            remote: None,
            what: what.into(),
        }
    }

    /// Refuses a git that is too old before it is asked for what it cannot do.
    fn is_fit(&self) -> Result<(), GitError> {
        let unfit = self.unfit.get_or_init(|| {
            let mut command = Command::new("git");
            let command = command.arg("version").env_clear().env("PATH", &self.options.path).stdin(Stdio::null());
            // One that is not there is told where it is started for work.
            too_old(&String::from_utf8_lossy(&command.output().ok()?.stdout))
        });
        unfit.clone().map_or(Ok(()), |why| Err(GitError::Invalid(why)))
    }

    fn interrupted(&self, moment: Moment, args: &[OsString]) -> Result<(), GitError> {
        match &self.options.interrupt {
            Some(go_on) if !go_on(moment, args) => Err(GitError::Stopped),
            _ => Ok(()),
        }
    }
}

impl<'a> Call<'a> {
    /// Adds arguments.
    #[must_use]
    pub fn args<I, S>(mut self, args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.args.extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Sets a variable of the child.
    #[must_use]
    pub fn env(mut self, key: &'static str, value: impl Into<OsString>) -> Self {
        self.env.push((key, value.into()));
        self
    }

    /// Sets one more configuration value.
    #[must_use]
    pub fn config(mut self, setting: impl Into<String>) -> Self {
        self.config.push(setting.into());
        self
    }

    /// Gives the child its standard input.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(Arc::new(bytes.into()));
        self
    }

    /// Lets the call talk to this remote, and to no other protocol than its own.
    #[must_use]
    pub fn remote(mut self, remote: &'a Remote) -> Self {
        self.remote = Some(remote);
        self
    }

    /// Says that the folder is a store of the hub's own: a lock that a killed git left there is removed.
    #[must_use]
    pub fn own(mut self) -> Self {
        self.own = true;
        self
    }

    /// Runs to the end; anything but success is a classified error.
    pub fn run(self) -> Result<Output, GitError> {
        let again = self.dir.clone().filter(|_| self.own).map(|dir| (dir, self.clone()));
        match (self.run_once(), again) {
            (Err(GitError::Busy(_)), Some((dir, again))) if locks::remove_stale(&dir) => again.run_once(),
            (other, _) => other,
        }
    }

    fn run_once(self) -> Result<Output, GitError> {
        let what = self.what.clone();
        let output = self.run_any()?;
        if output.code == 0 { Ok(output) } else { Err(GitError::classify(&what, &output.stderr)) }
    }

    /// Runs to the end and returns whatever came of it; only a child that cannot be run is an error.
    pub fn run_any(mut self) -> Result<Output, GitError> {
        self.git.interrupted(Moment::Before, &self.args)?;
        let input = self.input.take();
        let (mut child, kept) = self.spawn(if input.is_some() { Stdio::piped() } else { Stdio::null() })?;
        let (tx, rx) = channel();
        let out = pump(child.stdout.take(), STDOUT_CAP, Keep::First, tx.clone());
        let err = pump(child.stderr.take(), STDERR_CAP, Keep::Last, tx);
        let feeder = input.zip(child.stdin.take()).map(|(bytes, mut pipe)| {
            // A child that does not read to the end says why on standard error.
            std::thread::spawn(move || drop(pipe.write_all(&bytes)))
        });
        let silent = wait_for_ends(&rx, self.git.options.deadline);
        let kept = if silent {
            kept.end(&child);
            None
        } else {
            Some(kept)
        };
        let status = child.wait().map_err(|e| GitError::io(&self.what, &e))?;
        if let Some(kept) = kept {
            kept.ended();
        }
        let (stdout, overflow) = out.join().unwrap_or_default();
        let (stderr, _) = err.join().unwrap_or_default();
        if let Some(feeder) = feeder {
            drop(feeder.join());
        }
        if silent {
            let seconds = self.git.options.deadline.as_secs();
            return Err(GitError::Unreachable(format!("{}: no progress for {seconds} s, given up", self.what)));
        }
        if overflow {
            return Err(GitError::Failed(format!("{}: git wrote more than {STDOUT_CAP} bytes", self.what)));
        }
        self.git.interrupted(Moment::After, &self.args)?;
        Ok(Output { code: status.code().unwrap_or(-1), stdout, stderr: printable(&stderr) })
    }

    /// Starts the child and leaves its standard output to the caller.
    pub fn reading(mut self) -> Result<(Streaming, ChildStdout), GitError> {
        self.git.interrupted(Moment::Before, &self.args)?;
        let input = self.input.take();
        let (mut child, kept) = self.spawn(if input.is_some() { Stdio::piped() } else { Stdio::null() })?;
        if let Some((bytes, mut pipe)) = input.zip(child.stdin.take()) {
            std::thread::spawn(move || drop(pipe.write_all(&bytes)));
        }
        let stdout = child.stdout.take().ok_or_else(|| GitError::Failed(format!("{}: no output pipe", self.what)))?;
        Ok((self.streaming(child, kept), stdout))
    }

    /// Starts the child and leaves its standard input to the caller; its output is dropped.
    pub fn writing(self) -> Result<(Streaming, ChildStdin), GitError> {
        self.git.interrupted(Moment::Before, &self.args)?;
        let (mut child, kept) = self.spawn(Stdio::piped())?;
        if let Some(mut out) = child.stdout.take() {
            std::thread::spawn(move || drop(std::io::copy(&mut out, &mut std::io::sink())));
        }
        let stdin = child.stdin.take().ok_or_else(|| GitError::Failed(format!("{}: no input pipe", self.what)))?;
        Ok((self.streaming(child, kept), stdin))
    }

    fn streaming(self, mut child: Child, kept: Kept) -> Streaming {
        let pipe = child.stderr.take();
        let stderr = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(pipe) = pipe {
                drop(pipe.take(STDERR_CAP as u64).read_to_end(&mut bytes));
            }
            bytes
        });
        Streaming { child, kept, stderr, what: self.what }
    }

    /// Starts git in the group of a keeper.
    fn spawn(&self, stdin: Stdio) -> Result<(Child, Kept), GitError> {
        self.git.is_fit()?;
        let kept = self.git.keepers.take()?;
        let mut command = self.command();
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(kept.group());
        let child = command.spawn().map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound if self.dir.as_ref().is_none_or(|d| d.is_dir()) => {
                GitError::Invalid("git is not installed, or not on the search path".into())
            }
            _ => GitError::io(&self.what, &e),
        })?;
        Ok((child, kept))
    }

    fn command(&self) -> Command {
        let options = &self.git.options;
        let mut command = Command::new("git");
        command.env_clear();
        for (key, value) in [
            ("LC_ALL", "C"),
            ("TZ", "UTC"),
            // Neither curl's .netrc nor anything else of a person is read.
            ("HOME", "/nonexistent"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_ATTR_NOSYSTEM", "1"),
            ("GIT_NO_REPLACE_OBJECTS", "1"),
            ("GIT_NO_LAZY_FETCH", "1"),
            ("GIT_ADVICE", "0"),
            ("GIT_SSH_VARIANT", "ssh"),
        ] {
            command.env(key, value);
        }
        command.env("PATH", &options.path);
        command.env("GIT_ALLOW_PROTOCOL", self.remote.map_or("", Remote::protocol));
        if self.remote.is_some_and(|r| r.protocol() == "ssh") {
            command.env("GIT_SSH_COMMAND", ssh_command(options));
            if let Some(agent) = &options.ssh_agent {
                command.env("SSH_AUTH_SOCK", agent);
            }
        }
        for (key, value) in &self.env {
            command.env(key, value);
        }
        for setting in [
            "core.hooksPath=/dev/null",
            "core.fsmonitor=false",
            "core.fsync=committed",
            "protocol.ext.allow=never",
            "gc.auto=0",
            "maintenance.auto=false",
            "http.followRedirects=false",
            "http.lowSpeedLimit=1",
            "http.lowSpeedTime=60",
            "credential.helper=",
            "submodule.recurse=false",
            "core.quotePath=false",
            "advice.detachedHead=false",
        ] {
            command.args(["-c", setting]);
        }
        for setting in &self.config {
            command.args(["-c", setting]);
        }
        if let Some(dir) = &self.dir {
            command.arg("-C").arg(dir);
        }
        command.args(&self.args);
        command
    }
}

impl Streaming {
    /// Waits for the end; anything but success is a classified error.
    pub fn finish(mut self) -> Result<(), GitError> {
        let status = self.child.wait().map_err(|e| GitError::io(&self.what, &e))?;
        self.kept.ended();
        let stderr = self.stderr.join().unwrap_or_default();
        if status.success() { Ok(()) } else { Err(GitError::classify(&self.what, &printable(&stderr))) }
    }

    /// Kills the child and everything it started.
    pub fn abort(mut self) {
        self.kept.end(&self.child);
        drop(self.child.wait());
    }
}

/// Says what is wrong with a version of git, and what helps.
fn too_old(answer: &str) -> Option<String> {
    let version = answer.trim().strip_prefix("git version ")?.split(' ').next()?;
    let mut numbers = version.split('.').map(str::parse);
    let found: (u32, u32) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    let (major, minor) = OLDEST;
    (found < OLDEST).then(|| {
        format!(
            "git {version} is too old: it cannot merge without a working tree; \
             install git {major}.{minor} or newer, or put one first in PATH"
        )
    })
}

/// Which end of too long an output matters: an error stands last, after all the progress.
#[derive(Clone, Copy)]
enum Keep {
    First,
    Last,
}

enum Beat {
    Data,
    End,
}

/// Reads a pipe to its end, keeping at most `cap` bytes; says whether there were more.
fn pump<R>(pipe: Option<R>, cap: usize, keep: Keep, beat: Sender<Beat>) -> JoinHandle<(Vec<u8>, bool)>
where
    R: Read + Send + 'static,
{
    std::thread::spawn(move || {
        let (mut kept, mut more) = (Vec::new(), false);
        if let Some(mut pipe) = pipe {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                match pipe.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(n) => {
                        match keep {
                            Keep::First => {
                                let room = n.min(cap - kept.len());
                                kept.extend_from_slice(&buffer[..room]);
                                more |= room < n;
                            }
                            Keep::Last => {
                                kept.extend_from_slice(&buffer[..n]);
                                if kept.len() > 2 * cap {
                                    kept.drain(..kept.len() - cap);
                                }
                            }
                        }
                        drop(beat.send(Beat::Data));
                    }
                    Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
        }
        drop(beat.send(Beat::End));
        (kept, more)
    })
}

/// Waits until both pipes have ended; says whether nothing moved for too long instead.
fn wait_for_ends(beats: &Receiver<Beat>, deadline: Duration) -> bool {
    let mut open = 2;
    while open > 0 {
        match beats.recv_timeout(deadline) {
            Ok(Beat::Data) => {}
            Ok(Beat::End) => open -= 1,
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
    false
}

/// The command git starts for SSH: no configuration of a person, no passwords, no unknown hosts.
fn ssh_command(options: &Options) -> OsString {
    let quoted = |path: &Path| path.to_string_lossy().replace('\'', r"'\''");
    let mut command = format!(
        "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=yes -o GlobalKnownHostsFile=/dev/null \
         -o 'UserKnownHostsFile=\"{}\"' -o PasswordAuthentication=no -o KbdInteractiveAuthentication=no \
         -o UpdateHostKeys=no -o ConnectTimeout=20 -o ServerAliveInterval=15 -o ServerAliveCountMax=4",
        quoted(&options.known_hosts)
    );
    if options.identity_file.exists() {
        command.push_str(&format!(" -o IdentitiesOnly=yes -i '{}'", quoted(&options.identity_file)));
    } else {
        command.push_str(" -o IdentityFile=none");
    }
    command.into()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_silent_child_is_killed_with_its_group_and_reported() {
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options::new(dir.path());
        options.deadline = Duration::from_millis(200);
        let git = Git::new(options);
        let error = git.anywhere("wait").config("alias.wait=!sleep 600").args(["wait"]).run().unwrap_err();
        assert!(matches!(error, GitError::Unreachable(_)), "{error}");
    }

    #[test]
    fn a_git_that_is_too_old_is_refused_by_name() {
        for (answer, fits) in [
            ("git version 2.37.7\n", false),
            ("git version 1.9.1", false),
            ("git version 2.38.0", true),
            ("git version 2.39.5 (Apple Git-154)\n", true),
            ("git version 3.0", true),
            ("git version 2.50.1.windows.1", true),
            ("something else", true),
        ] {
            assert_eq!(too_old(answer).is_none(), fits, "{answer}");
        }
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("git");
        std::fs::write(&program, "#!/bin/sh\necho git version 2.25.1\n").unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let options = Options { path: dir.path().into(), ..Options::new(dir.path()) };
        let error = Git::new(options).anywhere("look").args(["ls-remote", "x"]).run().unwrap_err();
        let told = "git 2.25.1 is too old: it cannot merge without a working tree; install git 2.38 or newer";
        assert!(matches!(&error, GitError::Invalid(why) if why.starts_with(told)), "{error}");
    }

    #[test]
    fn nothing_of_the_callers_surroundings_reaches_git() {
        let dir = tempfile::tempdir().unwrap();
        let git = Git::new(Options::new(dir.path()));
        let seen = git.anywhere("env").config("alias.reveal=!env").args(["reveal"]).run().unwrap();
        let text = String::from_utf8_lossy(&seen.stdout).into_owned();
        assert!(text.contains("GIT_CONFIG_NOSYSTEM=1") && text.contains("HOME=/nonexistent"), "{text}");
        assert!(!text.contains("CARGO"), "{text}");
    }
}
