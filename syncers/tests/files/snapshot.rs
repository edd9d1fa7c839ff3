//! Copying trees out and in.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use cathedral_model::conflict::value::Value;
use cathedral_model::ecosystem::{Side, SpokeKind};
use cathedral_model::ids::{Digest, Fence, RunId, SpokeName};
use cathedral_model::observation::SideState;
use cathedral_model::ports::syncer::{Imported, Place, Syncer};
use cathedral_model::ports::vault::{
    DatabaseSchema, EntryKind, EntryVisitor, GitRefs, Sink, Source, Stamp, TableInfo, TreeEntry,
};
use cathedral_model::ports::{Cause, PortError};
use cathedral_model::snapshot::{PartInfo, PartKey};
use cathedral_syncers::files::{FilesSyncer, Hook};

use crate::common::*;

/// A sink and source in memory.
#[derive(Clone, Default)]
pub struct Recorded {
    pub entries: Vec<(TreeEntry, Option<Vec<u8>>)>,
    pub skipped: Vec<String>,
    /// Stamps of the last time.
    pub known: BTreeMap<Vec<u8>, (Stamp, Vec<u8>)>,
    pub reads: usize,
    /// Fails at the end of this file's content.
    pub broken: Option<Vec<u8>>,
}

fn other<T>() -> Result<T, PortError> {
    Err(PortError::permanent("not a file part"))
}

impl Sink for Recorded {
    fn unchanged(&mut self, entry: &TreeEntry, stamp: &Stamp) -> Result<bool, PortError> {
        let known = self.known.get(&entry.path).filter(|(known, _)| known == stamp).map(|(_, bytes)| bytes.clone());
        let is_known = known.is_some();
        if let Some(bytes) = known {
            self.entries.push((entry.clone(), Some(bytes)));
        }
        Ok(is_known)
    }

    fn entry(
        &mut self,
        entry: &TreeEntry,
        stamp: Option<&Stamp>,
        content: Option<&mut dyn Read>,
    ) -> Result<(), PortError> {
        let mut bytes = None;
        if let Some(content) = content {
            let mut all = vec![];
            content.read_to_end(&mut all).map_err(|e| PortError::io("content", &e))?;
            assert_eq!(entry.kind, EntryKind::File { size: all.len() as u64 });
            self.reads += 1;
            self.known.insert(entry.path.clone(), (*stamp.unwrap(), all.clone()));
            bytes = Some(all);
        }
        self.entries.push((entry.clone(), bytes));
        Ok(())
    }

    fn skipped(&mut self, item: &str, why: &str) {
        self.skipped.push(format!("{item}: {why}"));
    }

    fn git_held(&mut self) -> Result<Vec<String>, PortError> {
        other()
    }
    fn git_pack(&mut self, _: &[String], _: &mut dyn Read) -> Result<(), PortError> {
        other()
    }
    fn git_refs(&mut self, _: &GitRefs) -> Result<(), PortError> {
        other()
    }
    fn schema(&mut self, _: &DatabaseSchema) -> Result<(), PortError> {
        other()
    }
    fn table(&mut self, _: &TableInfo) -> Result<(), PortError> {
        other()
    }
    fn row(&mut self, _: &[u8], _: &[Value]) -> Result<(), PortError> {
        other()
    }
    fn finish(&mut self, _: &SideState, _: &str) -> Result<PartInfo, PortError> {
        other()
    }
}

/// Gives recorded entries back.
pub struct Given(pub Recorded, PartInfo);

impl Given {
    pub fn new(recorded: &Recorded) -> Self {
        let info = PartInfo {
            key: PartKey { spoke: SpokeName::new("media").unwrap(), side: Side::Hub },
            kind: SpokeKind::Files,
            root: Digest([0; 32]),
            observed: Digest([0; 32]),
            position: String::new(),
            items: 0,
            bytes: 0,
            consistency: String::new(),
            skipped: vec![],
            carried: None,
        };
        Self(recorded.clone(), info)
    }

    pub fn info_mut(&mut self) -> &mut PartInfo {
        &mut self.1
    }

    pub fn of(entries: &[(&[u8], EntryKind, &str)]) -> Self {
        let entries = entries.iter().map(|(path, kind, text)| {
            let content = matches!(kind, EntryKind::File { .. }).then(|| text.as_bytes().to_vec());
            (TreeEntry { path: path.to_vec(), kind: kind.clone(), mode: 0o644, mtime_ns: 5 }, content)
        });
        Self::new(&Recorded { entries: entries.collect(), ..Recorded::default() })
    }
}

struct Breaks<'a>(&'a [u8]);

impl Read for Breaks<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.0.read(into)? {
            0 => Err(io::Error::new(io::ErrorKind::InvalidData, "the content does not match")),
            n => Ok(n),
        }
    }
}

impl Source for Given {
    fn kind(&self) -> SpokeKind {
        SpokeKind::Files
    }
    fn info(&self) -> &PartInfo {
        &self.1
    }
    fn entries(&mut self, visit: &mut EntryVisitor<'_>) -> Result<(), PortError> {
        for (entry, content) in &self.0.entries {
            match content {
                Some(bytes) if self.0.broken.as_ref() == Some(&entry.path) => visit(entry, Some(&mut Breaks(bytes)))?,
                Some(bytes) => visit(entry, Some(&mut bytes.as_slice()))?,
                None => visit(entry, None)?,
            }
        }
        Ok(())
    }
    fn git_refs(&mut self) -> Result<GitRefs, PortError> {
        other()
    }
    fn git_packs(&mut self, _: &mut dyn FnMut(&mut dyn Read) -> Result<(), PortError>) -> Result<(), PortError> {
        other()
    }
    fn schema(&mut self) -> Result<(DatabaseSchema, Vec<TableInfo>), PortError> {
        other()
    }
    fn rows(&mut self, _: &str, _: &mut dyn FnMut(Vec<Value>) -> Result<(), PortError>) -> Result<(), PortError> {
        other()
    }
}

pub fn export(pair: &Pair, place: &Place, into: &mut Recorded) -> SideState {
    into.entries.clear();
    wait(pair.syncer.export(&pair.declared, place, into)).unwrap()
}

pub fn import(pair: &Pair, syncer: &FilesSyncer, place: &Place, from: &Recorded) -> Result<Imported, PortError> {
    let run = RunId(90);
    wait(syncer.import(&pair.declared, place, &mut Given::new(from), run, Fence(90)))
}

/// A tree with something of everything.
fn furnish(root: &Path) {
    write(root, "a/b/deep.txt", "deep\n");
    write(root, "a-b", "sorts between\n");
    write(root, "a/empty", "");
    write(root, "zeros", &"\0".repeat(300_000));
    write(root, "name with\nnewline", "x");
    symlink("../outside", root.join("a/link")).unwrap();
    fs::create_dir(root.join("hollow")).unwrap();
    chmod(root, "a/b/deep.txt", 0o750);
    chmod(root, "hollow", 0o711);
}

#[test]
fn what_is_copied_out_and_in_again_is_the_same_to_the_last_bit() {
    let pair = Pair::new();
    furnish(&pair.hub);
    let mut taken = Recorded::default();
    let state = export(&pair, &Place::Live(Side::Hub), &mut taken);
    let seen = wait(pair.syncer.observe(&pair.declared)).unwrap();
    assert_eq!(state, seen.hub);
    let paths: Vec<_> = taken.entries.iter().map(|(entry, _)| entry.path.escape_ascii().to_string()).collect();
    let sorted = ["a", "a/b", "a/b/deep.txt", "a/empty", "a/link", "a-b", "hollow", "name with\\nnewline", "zeros"];
    assert_eq!(paths, sorted, "directory by directory");
    let target = pair.dir.path().join("new/place");
    let place = Place::Path(target.clone());
    let imported = import(&pair, &pair.syncer, &place, &taken).unwrap();
    assert_eq!((imported.files, imported.bytes), (5, 5 + 14 + 300_000 + 1));
    assert_eq!(listing(&target), listing(&pair.hub));
    let mut again = Recorded::default();
    let there = export(&pair, &place, &mut again);
    assert_eq!((again.entries, there.digest), (taken.entries.clone(), state.digest), "times included");
    // A crash right after the last step is no error; somebody else's files are never overwritten.
    import(&pair, &pair.syncer, &place, &taken).unwrap();
    let taken_place = Place::Path(pair.hub.clone());
    assert_eq!(import(&pair, &pair.syncer, &taken_place, &taken).unwrap_err().cause(), Cause::Refused);
    // Unchanged files are not read a second time.
    let reads = taken.reads;
    write(&pair.hub, "a/empty", "not any more");
    export(&pair, &Place::Live(Side::Hub), &mut taken);
    assert_eq!(taken.reads, reads + 1);
}

#[test]
fn a_snapshot_over_a_live_tree_keeps_what_stood_there() {
    let pair = Pair::on_disk();
    furnish(&pair.hub);
    let mut taken = Recorded::default();
    let state = export(&pair, &Place::Live(Side::Hub), &mut taken);
    let before = listing(&pair.hub);
    write(&pair.hub, "a/b/deep.txt", "edited\n");
    write(&pair.hub, "new/file", "new\n");
    fs::remove_file(pair.hub.join("a-b")).unwrap();
    write(&pair.hub, "a-b/now/dir", "dir\n");
    fs::remove_dir(pair.hub.join("hollow")).unwrap();
    write(&pair.hub, "hollow", "now a file\n");
    chmod(&pair.hub, "zeros", 0o600);
    let untouched = fs::metadata(pair.hub.join("a/empty")).unwrap();
    let imported = import(&pair, &pair.syncer, &Place::Live(Side::Hub), &taken).unwrap();
    assert_eq!(listing(&pair.hub), before);
    let mut again = Recorded::default();
    assert_eq!(export(&pair, &Place::Live(Side::Hub), &mut again).digest, state.digest);
    assert_eq!(again.entries, taken.entries);
    assert_eq!(
        fs::metadata(pair.hub.join("a/empty")).unwrap().ctime_nsec(),
        untouched.ctime_nsec(),
        "equal: not written"
    );
    let kept = imported.kept.unwrap();
    let kept = Path::new(&kept);
    assert!(kept.starts_with(&pair.state));
    for (path, text) in
        [("a/b/deep.txt", "edited\n"), ("new/file", "new\n"), ("a-b/now/dir", "dir\n"), ("hollow", "now a file\n")]
    {
        assert_eq!(read(kept, path), text);
    }
}

#[test]
fn a_restore_stopped_anywhere_leaves_old_or_new_files_and_repeating_finishes() {
    let mut stops = 0;
    for stop in 0.. {
        let pair = Pair::new();
        furnish(&pair.hub);
        let mut taken = Recorded::default();
        export(&pair, &Place::Live(Side::Hub), &mut taken);
        let before = listing(&pair.hub);
        write(&pair.hub, "a/b/deep.txt", "edited\n");
        write(&pair.hub, "new/file", "new\n");
        fs::remove_file(pair.hub.join("a-b")).unwrap();
        write(&pair.hub, "a-b/now", "dir\n");
        let (hook, reached_end) = stop_after(stop);
        let stopped = import(&pair, &pair.hooked(hook), &Place::Live(Side::Hub), &taken);
        assert!(["edited\n", "deep\n"].contains(&read(&pair.hub, "a/b/deep.txt").as_str()), "stop {stop}");
        let imported = import(&pair, &pair.syncer, &Place::Live(Side::Hub), &taken).unwrap();
        assert_eq!(listing(&pair.hub), before, "stop {stop}");
        let kept = pair.state.join("kept/90/media/hub");
        for (path, text) in [("a/b/deep.txt", "edited\n"), ("new/file", "new\n"), ("a-b/now", "dir\n")] {
            assert_eq!(read(&kept, path), text, "stop {stop} {imported:?}");
        }
        let place = Place::Path(pair.dir.path().join("place"));
        let (hook, end_of_new) = stop_after(stop);
        let new = import(&pair, &pair.hooked(hook), &place, &taken);
        assert_eq!(new.is_ok(), pair.dir.path().join("place").exists(), "all or nothing");
        import(&pair, &pair.syncer, &place, &taken).unwrap();
        assert_eq!(listing(&pair.dir.path().join("place")), before, "stop {stop}");
        if reached_end() && end_of_new() {
            stopped.unwrap();
            stops = stop;
            break;
        }
    }
    assert!(stops > 20, "the hook sees the calls: {stops}");
}

#[test]
fn hostile_snapshots_write_nothing_outside_and_damaged_ones_nothing_at_all() {
    let file = || EntryKind::File { size: 1 };
    let link = |target: &Path| EntryKind::Symlink { target: target.as_os_str().as_encoded_bytes().to_vec() };
    let pair = Pair::new();
    write(&pair.hub, "mine", "mine");
    let outside = pair.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let through = link(&outside);
    for hostile in [
        vec![(&b"../escaped"[..], file(), "x")],
        vec![(&b"/etc/escaped"[..], file(), "x")],
        vec![(&b"a/../../escaped"[..], file(), "x")],
        vec![(&b"nul\0"[..], file(), "x")],
        vec![(&b""[..], file(), "x")],
        vec![(&b".cathedral-stage/x"[..], file(), "x")],
        vec![(&b"door"[..], through, ""), (b"door/escaped", file(), "x")],
        vec![(&b"no/parent"[..], file(), "x")],
        vec![(&b"twice"[..], file(), "x"), (b"twice", file(), "y")],
    ] {
        let path = pair.dir.path().join("target");
        for place in [Place::Path(path.clone()), Place::Live(Side::Hub)] {
            let mut source = Given::of(&hostile);
            let failed = wait(pair.syncer.import(&pair.declared, &place, &mut source, RunId(1), Fence(1)));
            assert!(failed.is_err(), "{:?}", hostile[0].0.escape_ascii().to_string());
            assert!(!path.exists(), "nothing gets its name");
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        }
    }
    assert!(!pair.dir.path().join("escaped").exists());
    let mut taken = Recorded::default();
    furnish(&pair.spoke);
    export(&pair, &Place::Live(Side::Spoke), &mut taken);
    taken.broken = Some(b"zeros".to_vec());
    import(&pair, &pair.syncer, &Place::Path(pair.dir.path().join("target")), &taken).unwrap_err();
    assert!(!pair.dir.path().join("target").exists());
    write(&pair.spoke, "a/b/deep.txt", "edited\n");
    import(&pair, &pair.syncer, &Place::Live(Side::Spoke), &taken).unwrap_err();
    assert_eq!(read(&pair.spoke, "a/b/deep.txt"), "edited\n", "all is verified before the first change");
}

#[test]
fn what_takes_no_part_is_neither_copied_out_nor_removed_by_a_restore() {
    let mut pair = Pair::new();
    pair.detail().ignore = vec!["*.tmp".into()];
    furnish(&pair.hub);
    write(&pair.hub, "a/x.tmp", "local");
    let mut taken = Recorded::default();
    export(&pair, &Place::Live(Side::Hub), &mut taken);
    assert!(taken.entries.iter().all(|(entry, _)| !entry.path.ends_with(b".tmp")));
    write(&pair.hub, "extra/y.tmp", "local");
    write(&pair.hub, "extra/z", "goes");
    let hook = Hook::new(|call, path| match (call, path) {
        ("read", b"a/b") => Err(io::Error::from(io::ErrorKind::PermissionDenied)),
        _ => Ok(()),
    });
    let failed = import(&pair, &pair.hooked(hook), &Place::Live(Side::Hub), &taken).unwrap_err();
    assert!(failed.to_string().contains("a/b"), "what cannot be read is told: {failed}");
    import(&pair, &pair.syncer, &Place::Live(Side::Hub), &taken).unwrap();
    assert_eq!((read(&pair.hub, "a/x.tmp"), read(&pair.hub, "extra/y.tmp")), ("local".into(), "local".into()));
    assert!(!pair.hub.join("extra/z").exists());
}
