//! Ends git when the hub is gone.
//!
//! A git that outlives its hub goes on writing, outside of any lease. So every call of git runs in the process
//! group of a keeper: this program again, at the other end of a pipe that nobody writes to. The pipe closes
//! when the hub ends, however it ends, and the keeper then ends its group: git, what git started, and itself.
//!
//! Nothing slips through. A child enters the group before it becomes git, and until it has become git it holds
//! the pipe open itself. The parent-death signal of Linux would do less: it reaches neither what git has
//! started, such as the receiving end and the hooks of a repository on this machine, nor waits for the end of
//! the hub, but comes when the *thread* that started git has ended.

use rustix::process::{Pid, Signal, getpgrp, getpid, kill_process, kill_process_group};
use std::collections::BTreeSet;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::failure::GitError;

/// The argument by which a program that is a keeper is told to be one; it then calls [`keep`].
pub const KEEPER: &str = "__git-keeper";

/// So long git may take to let go of its locks.
const PATIENCE: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Returns the program that runs now, to be run again as a keeper: also when its file was replaced meanwhile.
#[must_use]
pub fn this_program() -> Option<PathBuf> {
    let link = PathBuf::from("/proc/self/exe");
    if link.exists() { Some(link) } else { std::env::current_exe().ok() }
}

/// Is the keeper: waits for the end of whoever holds the other end of standard input, then ends its own group.
#[must_use]
pub fn keep() -> ExitCode {
    let own = getpid();
    if getpgrp() != own {
        // Whoever runs this by hand must not lose what else is in his group.
        return ExitCode::FAILURE;
    }
    // Nothing ever comes. What cannot be read has ended as well.
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    ask_members_to_end(own);
    // This one too. Whoever was just about to start something more ends with it.
    let _ = kill_process_group(own, Signal::KILL);
    ExitCode::SUCCESS
}

/// Git removes its locks when it is asked to end, and nobody has to find out later whose they were.
fn ask_members_to_end(own: Pid) {
    let (begun, mut asked) = (Instant::now(), BTreeSet::new());
    while let Some(members) = members(own)
        && !members.is_empty()
        && begun.elapsed() < PATIENCE
    {
        for member in members {
            if asked.insert(member)
                && let Some(member) = Pid::from_raw(member)
            {
                let _ = kill_process(member, Signal::TERM); // It may have ended by itself.
            }
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// The living processes of the group but its leader; none where the processes cannot be listed.
fn members(own: Pid) -> Option<BTreeSet<i32>> {
    let own = own.as_raw_nonzero().get();
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let member = |process: std::fs::DirEntry| {
        let id: i32 = process.file_name().to_str()?.parse().ok()?;
        // "ID (NAME) STATE PARENT GROUP ...", where the name may be anything.
        let stat = std::fs::read(process.path().join("stat")).ok()?;
        let stat = String::from_utf8_lossy(&stat);
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let (state, group) = (fields.next()?, fields.nth(1)?);
        (id != own && state != "Z" && group.parse() == Ok(own)).then_some(id)
    };
    Some(processes.filter_map(member).collect())
}

fn kill_group(group: u32) {
    if let Some(group) = i32::try_from(group).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL); // It may have ended by itself.
    }
}

/// The keepers of a hub: as many as there are calls of git at a time, each used again and again.
#[derive(Debug)]
pub struct Keepers {
    program: Option<PathBuf>,
    idle: Mutex<Vec<Keeper>>,
}

/// A keeper that waits.
#[derive(Debug)]
struct Keeper(Child);

/// The process group of one call. When this is dropped before the call has [`ended`](Self::ended), so is the
/// group.
#[derive(Debug)]
pub struct Kept {
    keeper: Option<Keeper>,
    keepers: Arc<Keepers>,
}

impl Keepers {
    /// Makes the keepers of a hub; without a program, git is on its own.
    #[must_use]
    pub fn new(program: Option<PathBuf>) -> Self {
        Self { program, idle: Mutex::default() }
    }

    /// Begins a call: takes a keeper that waits, or starts one.
    pub fn take(self: &Arc<Self>) -> Result<Kept, GitError> {
        let keeper = match &self.program {
            None => None,
            Some(program) => {
                let waiting = || self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let mut living = std::iter::from_fn(waiting).filter_map(Keeper::living);
                Some(match living.next() {
                    Some(keeper) => keeper,
                    None => Keeper::start(program)?,
                })
            }
        };
        Ok(Kept { keeper, keepers: Arc::clone(self) })
    }
}

impl Drop for Keepers {
    fn drop(&mut self) {
        for keeper in self.idle.get_mut().unwrap_or_else(PoisonError::into_inner) {
            // No call is under way in these groups: nothing need be asked to let go first.
            kill_group(keeper.0.id());
        }
    }
}

impl Keeper {
    fn start(program: &PathBuf) -> Result<Self, GitError> {
        let mut command = Command::new(program);
        command.arg0("cathedral").arg(KEEPER).env_clear().current_dir("/").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map(Self).map_err(|e| GitError::io("start the keeper of git", &e))
    }

    fn living(mut self) -> Option<Self> {
        matches!(self.0.try_wait(), Ok(None)).then_some(self)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // The pipe closes, and the group ends; none is left unwaited for.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

impl Kept {
    /// The group that git is to be started in; zero for one of its own.
    #[must_use]
    pub fn group(&self) -> i32 {
        self.keeper.as_ref().and_then(|k| k.0.id().try_into().ok()).unwrap_or(0)
    }

    /// Ends the call's processes, whatever they do. The child must not have been waited for.
    pub fn end(mut self, child: &Child) {
        let group = self.keeper.as_ref().map_or(child.id(), |k| k.0.id());
        match self.keeper.take().and_then(Keeper::living) {
            Some(keeper) => drop(keeper),
            None => kill_group(group),
        }
    }

    /// Says that the call has ended by itself: its keeper waits for the next one.
    pub fn ended(mut self) {
        if let Some(keeper) = self.keeper.take() {
            self.keepers.idle.lock().unwrap_or_else(PoisonError::into_inner).push(keeper);
        }
    }
}
