//! Reading frames out of a pack at a destination, by ranges.

use age::x25519;
use cathedral_model::ports::Destination;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use crate::frame;
use crate::index::{Header, Record, object};
use crate::pack::table::{self, TRAILER};
use crate::seal;

const FIRST_WINDOW: u64 = 128 * 1024;
const LARGEST_WINDOW: u64 = 1024 * 1024;

/// An opened pack.
pub struct PackReader {
    plain: age::stream::StreamReader<Ranges>,
    /// Length of the plain bytes, authenticated by the last piece of the stream.
    len: u64,
}

impl PackReader {
    /// Opens a pack at one destination after comparing its length with the index record: range reads
    /// never see the end of the stream, so a truncated object must be told by its length.
    pub fn open(destination: &Arc<dyn Destination>, pack: &Header, keys: &[x25519::Identity]) -> Result<Self, String> {
        let object = object(&pack.id);
        match destination.size(&object).map_err(|e| e.to_string())? {
            None => Err("missing".into()),
            Some(len) if len == pack.len => Self::open_len(destination, object, len, keys),
            Some(len) => Err(format!("wrong length: {len} bytes where {} were written", pack.len)),
        }
    }

    /// Opens a pack of which only the length is known.
    pub fn open_len(
        destination: &Arc<dyn Destination>,
        object: String,
        len: u64,
        keys: &[x25519::Identity],
    ) -> Result<Self, String> {
        let ranges = Ranges {
            destination: Arc::clone(destination),
            object,
            len,
            position: 0,
            window: Vec::new(),
            window_start: 0,
            ask: FIRST_WINDOW,
        };
        let mut plain = seal::open(keys, ranges).map_err(|e| e.to_string())?;
        let len = plain.seek(SeekFrom::End(0)).map_err(|e| e.to_string())?;
        Ok(Self { plain, len })
    }

    /// Reads and decodes one chunk; its id is not checked here.
    pub fn chunk(&mut self, record: &Record) -> Result<Vec<u8>, String> {
        let frame = self.bytes(record.offset, record.frame)?;
        frame::decode(&frame, record.plain).map_err(|e| e.to_string())
    }

    /// Reads the pack's own table; returns it with the length of the plain bytes.
    pub fn table(&mut self) -> Result<(Vec<Record>, u64), String> {
        let plain = self.len;
        let start = plain.checked_sub(TRAILER as u64).ok_or("pack has no table")?;
        let trailer = self.bytes(start, TRAILER as u64)?;
        let frame_len = table::frame_len(&trailer)?;
        let start = plain.checked_sub(frame_len).ok_or("pack's table has a wrong length")?;
        let frame = self.bytes(start, frame_len)?;
        Ok((table::read(&frame, plain)?, plain))
    }

    fn bytes(&mut self, offset: u64, len: u64) -> Result<Vec<u8>, String> {
        // The stream must not be asked for a place behind its end.
        if offset.checked_add(len).is_none_or(|end| end > self.len) {
            return Err("chunk lies outside its pack".into());
        }
        self.plain.seek(SeekFrom::Start(offset)).map_err(|e| e.to_string())?;
        let mut out = Vec::with_capacity(usize::try_from(len.min(1 << 26)).unwrap_or(0));
        (&mut self.plain).take(len).read_to_end(&mut out).map_err(|e| e.to_string())?;
        if out.len() as u64 == len { Ok(out) } else { Err("pack ends too early".into()) }
    }
}

/// An object at a destination as a file: asks for more at a time while it is read on.
struct Ranges {
    destination: Arc<dyn Destination>,
    object: String,
    len: u64,
    position: u64,
    window: Vec<u8>,
    window_start: u64,
    ask: u64,
}

impl Read for Ranges {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let window_end = self.window_start + self.window.len() as u64;
        if self.position < self.window_start || self.position >= window_end {
            if self.position >= self.len || buf.is_empty() {
                return Ok(0);
            }
            let reads_on = self.position == window_end;
            self.ask = if reads_on { (self.ask * 2).min(LARGEST_WINDOW) } else { FIRST_WINDOW };
            let want = self.ask.min(self.len - self.position);
            self.window = self
                .destination
                .get_range(&self.object, self.position, want)
                .map_err(|e| io::Error::other(e.to_string()))?;
            self.window_start = self.position;
            if self.window.is_empty() {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "object is shorter than its size"));
            }
        }
        let from = &self.window[(self.position - self.window_start) as usize..];
        let n = from.len().min(buf.len());
        buf[..n].copy_from_slice(&from[..n]);
        self.position += n as u64;
        Ok(n)
    }
}

impl Seek for Ranges {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(n) => Some(n),
            SeekFrom::Current(n) => self.position.checked_add_signed(n),
            SeekFrom::End(n) => self.len.checked_add_signed(n),
        };
        self.position = target.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "seek before the start"))?;
        Ok(self.position)
    }
}
