//! A pair of trees with a syncer, and small words for what tests do to them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cathedral_model::ecosystem::{ConflictPolicy, DataSync, FilesSpoke, Spoke, SpokeDetail};
use cathedral_model::ids::{ConflictId, Digest, Fence, RunId, SpokeName};
use cathedral_model::plan::{Answer, Applied, ConflictDraft, Directive, PlanContext, SpokePlan};
use cathedral_model::ports::{Content, PortError, Syncer};
use cathedral_syncers::content::LocalContent;
use cathedral_syncers::files::{FilesSyncer, Hook};

pub struct Pair {
    pub dir: tempfile::TempDir,
    pub hub: PathBuf,
    pub spoke: PathBuf,
    pub state: PathBuf,
    pub content: Arc<LocalContent>,
    pub syncer: FilesSyncer,
    pub declared: Spoke,
    pub base: Option<Digest>,
    pub directives: Vec<Directive>,
    pub run: i64,
}

pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

impl Pair {
    /// A pair in memory, where flushing costs nothing, if there is such a place.
    pub fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Self::within(dir.unwrap())
    }

    /// A pair on the disk.
    pub fn on_disk() -> Self {
        Self::within(tempfile::tempdir().unwrap())
    }

    fn within(dir: tempfile::TempDir) -> Self {
        let (hub, spoke, state) = (dir.path().join("hub"), dir.path().join("spoke"), dir.path().join("state"));
        fs::create_dir(&hub).unwrap();
        fs::create_dir(&spoke).unwrap();
        let content = Arc::new(LocalContent::open(dir.path().join("content")).unwrap());
        let detail = FilesSpoke {
            hub: hub.clone(),
            spoke: spoke.clone(),
            ignore: vec![],
            preserve_mode: true,
            preserve_mtime: true,
            preserve_symlinks: true,
            versions: 10,
            documents: vec!["*.doc.json".into()],
        };
        let declared = Spoke {
            name: SpokeName::new("media").unwrap(),
            role: "files".into(),
            data_sync: DataSync::Bidirectional,
            wave: 1,
            after: vec![],
            chain: vec![],
            policy: ConflictPolicy::Queue,
            detail: SpokeDetail::Files(detail),
        };
        let syncer = FilesSyncer::new(&state, content.clone());
        Self { dir, hub, spoke, state, content, syncer, declared, base: None, directives: vec![], run: 0 }
    }

    pub fn detail(&mut self) -> &mut FilesSpoke {
        match &mut self.declared.detail {
            SpokeDetail::Files(files) => files,
            _ => unreachable!(),
        }
    }

    /// A syncer over the same state whose calls are watched.
    pub fn hooked(&self, hook: Hook) -> FilesSyncer {
        FilesSyncer::new(&self.state, self.content.clone()).with_hook(hook)
    }

    pub fn context(&self) -> PlanContext {
        PlanContext {
            run: RunId(self.run),
            base: self.base,
            directives: self.directives.clone(),
            waiting: vec![],
            policy: None,
            held: Default::default(),
        }
    }

    pub fn plan(&self) -> SpokePlan {
        wait(self.syncer.plan(&self.declared, &self.context())).unwrap()
    }

    pub fn apply_with(&mut self, syncer: &FilesSyncer, plan: &SpokePlan) -> Result<Applied, PortError> {
        let (run, fence) = (RunId(self.run), Fence(self.run));
        wait(syncer.pin(&self.declared, plan, run))?;
        let applied = wait(syncer.apply(&self.declared, plan, run, fence))?;
        self.base = Some(applied.base);
        Ok(applied)
    }

    pub fn apply(&mut self, plan: &SpokePlan) -> Applied {
        let syncer = self.hooked(Hook::default());
        self.apply_with(&syncer, plan).unwrap()
    }

    /// A whole sync.
    pub fn sync(&mut self) -> (SpokePlan, Applied) {
        self.run += 1;
        let plan = self.plan();
        assert_eq!(plan.guards, [], "nothing stops this sync");
        let applied = self.apply(&plan);
        self.directives.clear();
        (plan, applied)
    }

    /// A sync after which both sides must be equal and nothing is in dispute.
    pub fn agree(&mut self) -> SpokePlan {
        let (plan, applied) = self.sync();
        assert_eq!(plan.conflicts, []);
        assert_eq!(applied.skipped, []);
        assert_eq!(listing(&self.hub), listing(&self.spoke));
        plan
    }

    pub fn answer(&mut self, draft: &ConflictDraft, answer: Answer) {
        self.directives.push(Directive { conflict: ConflictId(7), draft: draft.clone(), answer, undoes: None });
    }

    /// Every content that a path of a side ever lost to a sync, as text.
    pub fn versions(&self) -> Vec<String> {
        let versions = self.syncer.versions(&self.declared).unwrap();
        versions.iter().map(|v| String::from_utf8_lossy(&self.content.get(&v.b3).unwrap()).into_owned()).collect()
    }
}

pub fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

pub fn read(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_else(|e| format!("({})", e.kind()))
}

pub fn chmod(root: &Path, path: &str, mode: u32) {
    fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
}

/// What stands in a tree: kind, permissions, content; without our own marker.
pub fn listing(root: &Path) -> BTreeMap<PathBuf, String> {
    walk(root, &|path, meta| {
        let body = if meta.is_symlink() {
            format!("-> {}", fs::read_link(path).unwrap().display())
        } else if meta.is_file() {
            let bytes = fs::read(path).unwrap();
            format!("{} bytes {}", bytes.len(), blake3::hash(&bytes).to_hex())
        } else {
            "other".to_owned()
        };
        let mode = if meta.is_symlink() { 0 } else { meta.mode() & 0o777 };
        format!("{mode:o} {body}")
    })
}

/// Everything by which a write would show, marker and root included.
pub fn traces(root: &Path) -> BTreeMap<PathBuf, String> {
    let trace = |_: &Path, meta: &fs::Metadata| {
        let times = (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec());
        format!("{} {} {:o} {times:?}", meta.ino(), meta.size(), meta.mode())
    };
    let mut all = walk(root, &trace);
    all.insert("".into(), trace(root, &fs::metadata(root).unwrap()));
    all.insert("marker".into(), trace(root, &fs::metadata(root.join(".cathedral-root")).unwrap()));
    all
}

fn walk(root: &Path, show: &dyn Fn(&Path, &fs::Metadata) -> String) -> BTreeMap<PathBuf, String> {
    let mut out = BTreeMap::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(root.join(&dir)).unwrap() {
            let entry = entry.unwrap();
            let path = dir.join(entry.file_name());
            if path == Path::new(".cathedral-root") {
                continue;
            }
            let meta = fs::symlink_metadata(entry.path()).unwrap();
            if meta.is_dir() {
                pending.push(path.clone());
            }
            out.insert(path.clone(), show(&root.join(&path), &meta));
        }
    }
    out
}

/// A hook that refuses every changing call from the `n`th on, as if the process had died there; the function says
/// whether all calls were made.
pub fn stop_after(n: usize) -> (Hook, impl Fn() -> bool) {
    let seen = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = seen.clone();
    let hook = Hook::new(move |call, _| {
        if matches!(call, "read" | "stat") {
            return Ok(());
        }
        if counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst) >= n {
            return Err(std::io::Error::other("stopped"));
        }
        Ok(())
    });
    (hook, move || seen.load(std::sync::atomic::Ordering::SeqCst) <= n)
}
