//! Measures a first and an unchanged snapshot of a folder, and a full read back.
//!
//! `throughput FOLDER SCRATCH` prints wall time, CPU seconds and peak memory of each pass.

use cathedral_backup::{LocalDestination, LocalVault};
use cathedral_model::ecosystem::{Side, SpokeKind};
use cathedral_model::ids::{DestinationName, Digest, SnapshotId, SpokeName};
use cathedral_model::observation::SideState;
use cathedral_model::ports::env::{Silent, Task};
use cathedral_model::ports::vault::{EntryKind, Sink, Stamp, TreeEntry, Vault};
use cathedral_model::ports::{Destination, Env};
use cathedral_model::snapshot::{CheckLevel, PartKey, SnapshotMeta};
use cathedral_model::time::Timestamp;
use std::error::Error;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

struct RealEnv;

impl Env for RealEnv {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn entropy(&self, into: &mut [u8]) {
        getrandom::fill(into).expect("the system has randomness");
    }

    fn spawn(&self, _: Task) {}

    fn sleep(&self, _: u64) -> Task {
        Box::pin(async {})
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let (Some(folder), Some(scratch)) = (args.next(), args.next()) else {
        return Err("usage: throughput FOLDER SCRATCH".into());
    };
    let (folder, scratch) = (Path::new(&folder), Path::new(&scratch));
    let place = LocalDestination::new(DestinationName::new("disk")?, scratch.join("vault"));
    place.create()?;
    let places: Vec<Arc<dyn Destination>> = vec![Arc::new(place)];
    LocalVault::init(&scratch.join("keys"), &places, &[], &RealEnv)?;
    let open = || LocalVault::open(&scratch.join("keys"), places.clone(), 1, &scratch.join("cache"), Arc::new(RealEnv));
    let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
    let key = PartKey { spoke: SpokeName::new("data")?, side: Side::Hub };
    let mut last = None;
    for pass in ["first", "unchanged"] {
        let info = measured(pass, || {
            let mut entropy = [0; 10];
            RealEnv.entropy(&mut entropy);
            let at = RealEnv.now();
            let id = SnapshotId::generate(at, entropy);
            let meta = SnapshotMeta { id, ecosystem: "bench".into(), at, cause: pass.into(), tags: vec![] };
            let vault = open()?;
            let writer = runtime.block_on(vault.begin(&meta))?.map_err(|_| "id is taken")?;
            let mut sink = writer.part(&key, SpokeKind::Files)?;
            walk(folder, folder, sink.as_mut())?;
            let state = SideState { digest: Digest::of(b""), position: String::new(), items: 0 };
            sink.finish(&state, "fuzzy")?;
            Ok(runtime.block_on(writer.commit())?)
        })?;
        println!("  {:?}", info.bytes);
        last = Some(info);
    }
    let info = last.ok_or("no snapshot")?;
    measured("read back", || {
        let vault = open()?;
        let mut source = runtime.block_on(vault.open(&info.meta.id, &key))?;
        source.entries(&mut |_, content| {
            if let Some(content) = content {
                std::io::copy(content, &mut std::io::sink())
                    .map_err(|e| cathedral_model::ports::PortError::io("read", &e))?;
            }
            Ok(())
        })?;
        Ok(())
    })?;
    for level in [CheckLevel::Quick, CheckLevel::Metadata, CheckLevel::Full] {
        measured(&format!("check {level:?}"), || {
            let report = runtime.block_on(open()?.check(level, &[], &Silent))?;
            if report.problems.is_empty() { Ok(()) } else { Err(format!("{:?}", report.problems).into()) }
        })?;
    }
    Ok(())
}

fn walk(top: &Path, folder: &Path, sink: &mut dyn Sink) -> Result<(), Box<dyn Error>> {
    let mut entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for found in entries {
        let path = found.path();
        let meta = path.symlink_metadata()?;
        let kind = if meta.is_dir() {
            EntryKind::Dir
        } else if meta.is_symlink() {
            EntryKind::Symlink { target: std::fs::read_link(&path)?.as_os_str().as_bytes().to_vec() }
        } else {
            EntryKind::File { size: meta.len() }
        };
        let mtime_ns = meta.mtime() * 1_000_000_000 + meta.mtime_nsec();
        let ctime_ns = meta.ctime() * 1_000_000_000 + meta.ctime_nsec();
        let stamp = Stamp { dev: meta.dev(), ino: meta.ino(), size: meta.len(), mtime_ns, ctime_ns };
        let below = path.strip_prefix(top)?.as_os_str().as_bytes().to_vec();
        let entry = TreeEntry { path: below, kind, mode: meta.mode() & 0o7777, mtime_ns };
        match entry.kind {
            EntryKind::File { .. } if sink.unchanged(&entry, &stamp)? => {}
            EntryKind::File { .. } => sink.entry(&entry, Some(&stamp), Some(&mut std::fs::File::open(&path)?))?,
            _ => sink.entry(&entry, None, None)?,
        }
        if meta.is_dir() {
            walk(top, &path, sink)?;
        }
    }
    Ok(())
}

fn measured<T>(what: &str, work: impl FnOnce() -> Result<T, Box<dyn Error>>) -> Result<T, Box<dyn Error>> {
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let result = work()?;
    let peak = std::fs::read_to_string("/proc/self/status")?;
    let peak = peak.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default().trim().to_owned();
    println!(
        "{what}: {:.3} s wall, {:.2} s CPU, peak so far {peak}",
        start.elapsed().as_secs_f64(),
        cpu_seconds() - cpu
    );
    Ok(result)
}

/// User and system time of this process, in hundredths as the kernel counts them.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2).flat_map(str::parse).collect();
    fields.iter().sum::<f64>() / 100.0
}
