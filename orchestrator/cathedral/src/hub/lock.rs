//! The lock of a state folder: one hub works in it at a time, and says who it is.

use std::fs::{self, File, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use cathedral_model::time::Timestamp;

use super::env::HubEnv;
use super::site::shown;
use crate::cli::{Failure, command_word, local};

/// Takes the lock, or says who has it.
pub fn lock(state: &Path) -> Result<File, Failure> {
    let path = state.join("hub.lock");
    let file = fs::OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(&path);
    let mut file = file.map_err(|e| Failure::io(&shown(&path), &e))?;
    match file.try_lock() {
        Ok(()) => {
            // For whoever finds it taken; the lock itself needs none of it, not even room on the disk.
            let line = format!("{} {} {}\n", std::process::id(), HubEnv::clock().0, command_word());
            let _ = file.set_len(0).and_then(|()| file.write_all(line.as_bytes()));
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => Err(taken(state, &mut file)),
        Err(TryLockError::Error(e)) => Err(Failure::io(&shown(&path), &e)),
    }
}

fn taken(state: &Path, file: &mut File) -> Failure {
    let mut text = String::new();
    let _ = file.take(200).read_to_string(&mut text);
    let why = "two at once on one folder could undo each other's work; nothing was changed";
    let Some(holder) = Holder::read(&text) else {
        return Failure::new(75, "C7501", format!("another command works in {}", shown(state)))
            .why(why)
            .next("wait until it has ended, then repeat this one")
            .next("cathedral runs    shows what it does");
    };
    let Holder { process, since, command } = holder;
    let who = format!("process {process} (cathedral {command}), since {}", local(since));
    if command == "up" {
        return Failure::new(75, "C7501", format!("a hub runs in {} already: {who}", shown(state)))
            .why(why)
            .next("leave it running: every command goes through it meanwhile")
            .next(format!("kill {process}    ends it in order, if it is not meant to run"));
    }
    Failure::new(75, "C7501", format!("another command works in {}: {who}", shown(state)))
        .why(why)
        .next("wait until it has ended, then repeat this one")
        .next("cathedral runs    shows what it does")
}

/// Who has the lock.
struct Holder {
    process: u32,
    since: Timestamp,
    command: String,
}

impl Holder {
    /// Reads the line; one that a process left that is gone says nothing about who has the lock now.
    fn read(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let process: u32 = words.next()?.parse().ok()?;
        let since = Timestamp(words.next()?.parse().ok()?);
        let command = words.next()?;
        let is_word = command.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        let id = rustix::process::Pid::from_raw(i32::try_from(process).ok()?)?;
        let is_alive = !matches!(rustix::process::test_kill_process(id), Err(rustix::io::Errno::SRCH));
        (is_word && is_alive).then(|| Self { process, since, command: command.to_owned() })
    }
}
