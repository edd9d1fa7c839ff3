//! Cutting content into chunks: FastCDC with a gear table seeded by the vault.
//!
//! The parameters are part of the format (`features` in the vault file) and frozen by vectors, since
//! releases of the crate have moved boundaries.

use fastcdc::v2020::{Error, Normalization, StreamCDC};
use std::io::{self, Read};

/// The smallest chunk but the last of a file.
pub const MIN: usize = 256 * 1024;
/// The size aimed at.
pub const AVERAGE: usize = 1024 * 1024;
/// The largest chunk.
pub const MAX: usize = 4 * 1024 * 1024;
/// Smaller files are kept together in groups.
pub const SMALL: usize = 64 * 1024;
/// The size at which a group is closed.
pub const GROUP: usize = 512 * 1024;
/// The size of the pieces of a git pack.
pub const GIT_PIECE: usize = 4 * 1024 * 1024;

/// Visits the chunks of a stream in order.
pub fn chunks<E: From<io::Error>>(
    content: impl Read,
    seed: u64,
    mut visit: impl FnMut(Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    for chunk in StreamCDC::with_level_and_seed(content, MIN, AVERAGE, MAX, Normalization::Level1, seed) {
        match chunk {
            Ok(chunk) => visit(chunk.data)?,
            Err(Error::Empty) => break,
            Err(Error::IoError(e)) => return Err(e.into()),
            Err(Error::Other(e)) => return Err(io::Error::other(e).into()),
        }
    }
    Ok(())
}

/// Reads until `limit` bytes or the end.
pub fn read_up_to(content: &mut dyn Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    content.take(limit as u64).read_to_end(&mut out)?;
    Ok(out)
}
