//! Bytes by the BLAKE3 digest of their content, in a folder: merge bases, plans, conflict sides, versions.
//!
//! Layout: `hh/<64 hex digits>`, each file one zstd frame; `tmp/` holds what is being written. Kept
//! properties: a name is seen whole or not at all, it is durable when `put` returns, it never changes, and what
//! is read is checked against its name. Several processes may use one folder.

mod check;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cathedral_model::ids::Digest;
use cathedral_model::ports::{Cause, Content, PortError};

pub use check::{Inspected, inspect};

const LEVEL: i32 = 3;
const COPY_BYTES: usize = 128 << 10;
/// What a crash left in `tmp/` is removed when it is older than this.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// Content in a local folder.
#[derive(Debug)]
pub struct LocalContent {
    dir: PathBuf,
    counter: AtomicU64,
}

impl LocalContent {
    /// Opens the folder, which is created when it is missing, and clears what old crashes left behind.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, PortError> {
        let dir = dir.into();
        let make = |path: &Path| private_dir(path).map_err(|e| PortError::io(path.display(), &e));
        make(&dir)?;
        let tmp = dir.join("tmp");
        make(&tmp)?;
        sync_dir(&dir).map_err(|e| PortError::io(dir.display(), &e))?;
        clear_stale(&tmp);
        Ok(Self { dir, counter: AtomicU64::new(0) })
    }

    /// Returns where the bytes of a digest are or would be.
    fn path(&self, id: &Digest) -> PathBuf {
        let name = id.to_string();
        self.dir.join(&name[..2]).join(name)
    }

    fn temporary(&self) -> io::Result<Temporary> {
        loop {
            let number = self.counter.fetch_add(1, Ordering::Relaxed);
            let path = self.dir.join("tmp").join(format!("{}-{number}", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => return Ok(Temporary { path, file, placed: false }),
                // Another process of this number (other namespace, or before a reboot).
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Gives a written temporary file its name. A name that is there already keeps its bytes if they are intact.
    fn place(&self, mut from: Temporary, id: &Digest) -> io::Result<()> {
        let to = self.path(id);
        let parent = to.parent().expect("a path of two parts has a parent");
        if !parent.is_dir() {
            private_dir(parent)?;
            sync_dir(&self.dir)?;
        }
        from.file.sync_all()?;
        // Renaming over an equal file is harmless, and heals a damaged one.
        fs::rename(&from.path, &to)?;
        from.placed = true;
        sync_dir(parent)
    }

    /// Says whether intact bytes stand under this name; then makes sure that they are durable, since another
    /// writer may have placed them a moment ago.
    fn holds(&self, id: &Digest) -> io::Result<bool> {
        let path = self.path(id);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(e),
        };
        let mut reader = Verified::new(file, *id)?;
        if io::copy(&mut reader, &mut io::sink()).is_err() {
            return Ok(false);
        }
        sync_dir(path.parent().expect("a path of two parts has a parent"))?;
        Ok(true)
    }

    fn fault(&self, id: &Digest, error: &io::Error) -> PortError {
        match error.kind() {
            io::ErrorKind::NotFound => PortError::failed(Cause::NotFound, format!("content {id} is not stored")),
            // zstd reports damaged frames as `Other`, and a cut one as `UnexpectedEof`.
            io::ErrorKind::InvalidData | io::ErrorKind::Other | io::ErrorKind::UnexpectedEof => {
                PortError::Corrupt(format!("content {id} is damaged: {error}"))
            }
            _ => PortError::io(format!("content {id}"), error),
        }
    }

    fn write_fault(&self, error: &io::Error) -> PortError {
        PortError::io(format!("content store {}", self.dir.display()), error)
    }
}

impl Content for LocalContent {
    fn put(&self, bytes: &[u8]) -> Result<Digest, PortError> {
        let id = Digest::of(bytes);
        let put = || -> io::Result<()> {
            if self.holds(&id)? {
                return Ok(());
            }
            let mut tmp = self.temporary()?;
            let mut encoder = zstd::Encoder::new(&mut tmp.file, LEVEL)?;
            encoder.include_checksum(true)?;
            encoder.set_pledged_src_size(Some(bytes.len() as u64))?;
            encoder.write_all(bytes)?;
            encoder.finish()?;
            self.place(tmp, &id)
        };
        put().map(|()| id).map_err(|e| self.write_fault(&e))
    }

    fn put_from(&self, from: &mut dyn Read) -> Result<(Digest, u64), PortError> {
        let mut tmp = self.temporary().map_err(|e| self.write_fault(&e))?;
        let mut encoder = zstd::Encoder::new(&mut tmp.file, LEVEL).map_err(|e| self.write_fault(&e))?;
        encoder.include_checksum(true).map_err(|e| self.write_fault(&e))?;
        let mut hasher = blake3::Hasher::new();
        let mut size = 0;
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            let n = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(PortError::io("bytes to be stored", &e)),
            };
            hasher.update(&buffer[..n]);
            size += n as u64;
            encoder.write_all(&buffer[..n]).map_err(|e| self.write_fault(&e))?;
        }
        encoder.finish().map_err(|e| self.write_fault(&e))?;
        let id = Digest(*hasher.finalize().as_bytes());
        if !self.holds(&id).map_err(|e| self.write_fault(&e))? {
            self.place(tmp, &id).map_err(|e| self.write_fault(&e))?;
        }
        Ok((id, size))
    }

    fn get(&self, id: &Digest) -> Result<Vec<u8>, PortError> {
        let read = || -> io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            Verified::new(File::open(self.path(id))?, *id)?.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(|e| self.fault(id, &e))
    }

    fn open(&self, id: &Digest) -> Result<Box<dyn Read + Send>, PortError> {
        let open = || Verified::new(File::open(self.path(id))?, *id);
        let reader = open().map_err(|e| self.fault(id, &e))?;
        Ok(Box::new(reader))
    }

    fn has(&self, id: &Digest) -> Result<bool, PortError> {
        match fs::metadata(self.path(id)) {
            Ok(meta) => Ok(meta.is_file()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(self.fault(id, &e)),
        }
    }
}

/// A file that is removed unless it got its name.
struct Temporary {
    path: PathBuf,
    file: File,
    placed: bool,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.placed {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A reader that fails at its end when the bytes were not those of the digest.
struct Verified {
    inner: zstd::Decoder<'static, io::BufReader<File>>,
    hasher: blake3::Hasher,
    expect: Digest,
    done: bool,
}

impl Verified {
    fn new(file: File, expect: Digest) -> io::Result<Self> {
        Ok(Self { inner: zstd::Decoder::new(file)?, hasher: blake3::Hasher::new(), expect, done: false })
    }
}

impl Read for Verified {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() || self.done {
            return Ok(0);
        }
        let n = self.inner.read(buf)?;
        if n == 0 {
            if self.hasher.finalize().as_bytes() != &self.expect.0 {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not match its name"));
            }
            self.done = true;
        }
        self.hasher.update(&buf[..n]);
        Ok(n)
    }
}

fn private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn clear_stale(tmp: &Path) {
    let Ok(entries) = fs::read_dir(tmp) else { return };
    for entry in entries.flatten() {
        let age = entry.metadata().ok().and_then(|m| m.modified().ok()).and_then(|t| t.elapsed().ok());
        if age.is_some_and(|age| age > STALE) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn stored(dir: &Path) -> Vec<PathBuf> {
        let mut out = vec![];
        for sub in fs::read_dir(dir).unwrap().flatten() {
            out.extend(fs::read_dir(sub.path()).unwrap().flatten().map(|e| e.path()));
        }
        out
    }

    #[test]
    fn bytes_come_back_and_are_stored_once_and_privately() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalContent::open(dir.path()).unwrap();
        let big: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
        for bytes in [&b""[..], b"a", &big] {
            let id = store.put(bytes).unwrap();
            assert_eq!(id, Digest::of(bytes));
            assert_eq!(store.put_from(&mut &bytes[..]).unwrap(), (id, bytes.len() as u64));
            assert_eq!(store.get(&id).unwrap(), bytes);
            let mut streamed = vec![];
            store.open(&id).unwrap().read_to_end(&mut streamed).unwrap();
            assert_eq!(streamed, bytes);
            assert!(store.has(&id).unwrap());
        }
        let files = stored(dir.path());
        assert_eq!(files.len(), 3, "one file each and nothing temporary: {files:?}");
        for file in files {
            assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let missing = Digest::of(b"missing");
        assert!(!store.has(&missing).unwrap());
        assert_eq!(store.get(&missing).unwrap_err().cause(), Cause::NotFound);
    }

    #[test]
    fn damage_is_noticed_on_every_way_of_reading_and_healed_by_a_put() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalContent::open(dir.path()).unwrap();
        let id = store.put(b"the real bytes").unwrap();
        let path = store.path(&id);
        let good = fs::read(&path).unwrap();
        let mut flipped = good.clone();
        flipped[9] ^= 1;
        let other = zstd::encode_all(&b"other bytes"[..], 3).unwrap();
        for bad in [&flipped, &other, &good[..good.len() - 3].to_vec(), &vec![]] {
            fs::write(&path, bad).unwrap();
            assert!(matches!(store.get(&id), Err(PortError::Corrupt(_))), "{bad:?}");
            let mut sink = vec![];
            let streamed = store
                .open(&id)
                .and_then(|mut r| r.read_to_end(&mut sink).map_err(|e| PortError::Corrupt(e.to_string())));
            assert!(streamed.is_err(), "{bad:?}");
            store.put(b"the real bytes").unwrap();
            assert_eq!(store.get(&id).unwrap(), b"the real bytes");
        }
    }

    #[test]
    fn writers_side_by_side_leave_one_intact_copy() {
        let dir = tempfile::tempdir().unwrap();
        let stores = [LocalContent::open(dir.path()).unwrap(), LocalContent::open(dir.path()).unwrap()];
        std::thread::scope(|scope| {
            for worker in 0..8 {
                let store = &stores[worker % 2];
                scope.spawn(move || {
                    for i in 0..20 {
                        let bytes = format!("content {}", i % 5).repeat(100);
                        let id = store.put(bytes.as_bytes()).unwrap();
                        assert_eq!(store.get(&id).unwrap(), bytes.as_bytes());
                    }
                });
            }
        });
        assert_eq!(stored(dir.path()).len(), 5);
    }
}
