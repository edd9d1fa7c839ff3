//! Reading files that others may be writing.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::Duration;

use super::handle::{self, Facts, Kind};

const BUFFER_BYTES: usize = 128 << 10;
const TRIES: u32 = 4;

/// Why a file could not be read as one moment's content.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It changed while it was read, again and again.
    #[error("it changes while it is read")]
    Unstable,
    /// It is no longer a file.
    #[error("it is no file any more")]
    Replaced,
}

/// Reads a file to its end through `each`, and gives its digest and what it was: before and after reading the file
/// has the same size, times and number. `begin` is called before each try.
pub fn read_stable(
    dir: impl AsFd,
    name: &[u8],
    mut begin: impl FnMut() -> io::Result<()>,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<([u8; 32], Facts), ReadError> {
    for attempt in 0..TRIES {
        if attempt > 0 {
            std::thread::sleep(Duration::from_millis(2 << (2 * attempt)));
        }
        let mut file = handle::open_file(dir.as_fd(), name)?;
        let before = handle::facts(&file)?;
        if before.kind != Kind::File {
            return Err(ReadError::Replaced);
        }
        begin()?;
        let b3 = pass(&mut file, &mut each)?;
        // The name must still lead to it, else an old content would be taken for the present one.
        let now = handle::stat(dir.as_fd(), name)?;
        if handle::facts(&file)?.stamp == before.stamp && now.is_some_and(|now| now.stamp == before.stamp) {
            return Ok((b3, before));
        }
    }
    Err(ReadError::Unstable)
}

/// Hashes a file.
pub fn hash(dir: impl AsFd, name: &[u8]) -> Result<([u8; 32], Facts), ReadError> {
    read_stable(dir, name, || Ok(()), |_| Ok(()))
}

/// Reads a whole file of limited size.
pub fn read(dir: impl AsFd, name: &[u8], limit: u64) -> Result<(Vec<u8>, [u8; 32], Facts), ReadError> {
    let bytes = std::cell::RefCell::new(vec![]);
    let (b3, facts) = read_stable(
        dir,
        name,
        || {
            bytes.borrow_mut().clear();
            Ok(())
        },
        |part| {
            let mut bytes = bytes.borrow_mut();
            if bytes.len() as u64 + part.len() as u64 > limit {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is too large"));
            }
            bytes.extend_from_slice(part);
            Ok(())
        },
    )?;
    Ok((bytes.into_inner(), b3, facts))
}

fn pass(file: &mut File, each: &mut impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<[u8; 32]> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = [0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(*hasher.finalize().as_bytes()),
            Ok(n) => {
                hasher.update(&buffer[..n]);
                each(&buffer[..n])?;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}
