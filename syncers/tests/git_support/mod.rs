//! Real repositories, real servers and the syncer under test.

#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod part;
pub mod servers;

use cathedral_model::ecosystem::{
    ConflictPolicy, DataSync, GitIntegration, GitMerge, GitSpoke, Hub, Mirror, MirrorMode, RefRules, SharedPath, Spoke,
    SpokeDetail,
};
use cathedral_model::ids::{ConflictId, Digest, Fence, RunId, SpokeName};
use cathedral_model::observation::Observation;
use cathedral_model::plan::{Answer, Applied, ConflictDraft, Directive, PlanContext, SpokePlan};
use cathedral_model::ports::{Content, PortError, Syncer};
use cathedral_syncers::git::{GitSyncer, Options};
use std::collections::BTreeMap;
use std::future::Future;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll, Waker};

/// Runs a future that never waits.
pub fn now<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a syncer blocks and never waits"),
    }
}

/// Contents in memory.
#[derive(Default)]
pub struct Memory(Mutex<BTreeMap<Digest, Vec<u8>>>);

impl Content for Memory {
    fn put(&self, bytes: &[u8]) -> Result<Digest, PortError> {
        let id = Digest::of(bytes);
        self.0.lock().unwrap().insert(id, bytes.to_vec());
        Ok(id)
    }
    fn put_from(&self, from: &mut dyn Read) -> Result<(Digest, u64), PortError> {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).map_err(|e| PortError::io("content", &e))?;
        Ok((self.put(&bytes)?, bytes.len() as u64))
    }
    fn get(&self, id: &Digest) -> Result<Vec<u8>, PortError> {
        self.0.lock().unwrap().get(id).cloned().ok_or_else(|| PortError::Corrupt(format!("no content {id}")))
    }
    fn open(&self, id: &Digest) -> Result<Box<dyn Read + Send>, PortError> {
        Ok(Box::new(std::io::Cursor::new(self.get(id)?)))
    }
    fn has(&self, id: &Digest) -> Result<bool, PortError> {
        Ok(self.0.lock().unwrap().contains_key(id))
    }
}

/// A repository made by a person with stock git.
#[derive(Clone, Debug)]
pub struct Repo(pub PathBuf);

impl Repo {
    pub fn bare(path: impl Into<PathBuf>) -> Self {
        let repo = Self(path.into());
        run(Command::new("git").args(["init", "-q", "--bare", "-b", "main"]).arg(&repo.0));
        repo.git(&["config", "http.receivepack", "true"]);
        repo
    }

    pub fn with_worktree(path: impl Into<PathBuf>) -> Self {
        let repo = Self(path.into());
        run(Command::new("git").args(["init", "-q", "-b", "main"]).arg(&repo.0));
        repo
    }

    pub fn clone_of(from: &Path, to: impl Into<PathBuf>) -> Self {
        let repo = Self(to.into());
        run(Command::new("git").args(["clone", "-q"]).arg(from).arg(&repo.0));
        repo
    }

    pub fn git(&self, args: &[&str]) -> String {
        run(Command::new("git").arg("-C").arg(&self.0).args(["-c", "protocol.file.allow=always"]).args(args))
    }

    pub fn try_git(&self, args: &[&str]) -> bool {
        let mut command = Command::new("git");
        plain(command.arg("-C").arg(&self.0).args(args)).stderr(Stdio::null()).output().unwrap().status.success()
    }

    pub fn git_with(&self, args: &[&str], input: &[u8]) -> String {
        let mut command = Command::new("git");
        plain(command.arg("-C").arg(&self.0).args(args)).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input).unwrap();
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success(), "git {args:?}");
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }

    /// Commits one file on top of a branch of a bare repository, and returns the commit.
    pub fn put(&self, branch: &str, file: &str, text: &str) -> String {
        self.commit(branch, Some(branch), &[(file, Some(text))])
    }

    /// Commits files (none removes) on top of `parent`, and lets `branch` name the commit.
    pub fn commit(&self, branch: &str, parent: Option<&str>, files: &[(&str, Option<&str>)]) -> String {
        let index = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        std::fs::remove_file(&index).unwrap();
        let parent =
            parent.map(|p| format!("refs/heads/{p}")).filter(|p| self.try_git(&["rev-parse", "-q", "--verify", p]));
        let git = |args: &[&str]| {
            let mut command = Command::new("git");
            run(command.arg("-C").arg(&self.0).args(args).env("GIT_INDEX_FILE", &index))
        };
        if let Some(parent) = &parent {
            git(&["read-tree", parent]);
        }
        for (file, text) in files {
            match text {
                Some(text) => {
                    let blob = self.git_with(&["hash-object", "-w", "--stdin"], text.as_bytes());
                    git(&["update-index", "--add", "--cacheinfo", &format!("100644,{blob},{file}")]);
                }
                None => {
                    let line = format!("0 {}\t{file}\n", "0".repeat(40));
                    let mut command = Command::new("git");
                    plain(
                        command
                            .arg("-C")
                            .arg(&self.0)
                            .args(["update-index", "--index-info"])
                            .env("GIT_INDEX_FILE", &index),
                    );
                    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
                    std::io::Write::write_all(&mut child.stdin.take().unwrap(), line.as_bytes()).unwrap();
                    assert!(child.wait().unwrap().success());
                }
            }
        }
        let tree = git(&["write-tree"]);
        self.commit_tree(branch, parent.as_deref(), &tree)
    }

    pub fn commit_tree(&self, branch: &str, parent: Option<&str>, tree: &str) -> String {
        let mut args = vec!["commit-tree", tree, "-m", "by a person"];
        if let Some(parent) = parent {
            args.extend(["-p", parent]);
        }
        let commit = self.git(&args);
        self.git(&["update-ref", &format!("refs/heads/{branch}"), &commit]);
        commit
    }

    /// Commits a gitlink.
    pub fn put_link(&self, branch: &str, path: &str, oid: &str) -> String {
        let index = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        std::fs::remove_file(&index).unwrap();
        let git =
            |args: &[&str]| run(Command::new("git").arg("-C").arg(&self.0).args(args).env("GIT_INDEX_FILE", &index));
        git(&["read-tree", &format!("refs/heads/{branch}")]);
        git(&["update-index", "--add", "--cacheinfo", &format!("160000,{oid},{path}")]);
        let tree = git(&["write-tree"]);
        self.commit_tree(branch, Some(&format!("refs/heads/{branch}")), &tree)
    }

    pub fn tip(&self, branch: &str) -> String {
        self.get(&format!("refs/heads/{branch}")).unwrap_or_else(|| panic!("{} has no {branch}", self.0.display()))
    }

    pub fn get(&self, name: &str) -> Option<String> {
        self.try_git(&["rev-parse", "-q", "--verify", name]).then(|| self.git(&["rev-parse", "--verify", name]))
    }

    pub fn refs(&self) -> BTreeMap<String, String> {
        let text = self.git(&["for-each-ref", "--format=%(refname) %(objectname)"]);
        text.lines().filter_map(|l| l.split_once(' ')).map(|(n, o)| (n.to_owned(), o.to_owned())).collect()
    }

    pub fn heads(&self) -> BTreeMap<String, String> {
        self.refs().into_iter().filter(|(n, _)| n.starts_with("refs/heads/") || n.starts_with("refs/tags/")).collect()
    }

    pub fn text(&self, rev: &str, file: &str) -> String {
        self.git(&["show", &format!("{rev}:{file}")])
    }

    /// The commit pinned at a path.
    pub fn link(&self, branch: &str, path: &str) -> Option<String> {
        let line = self.git(&["ls-tree", &format!("refs/heads/{branch}"), path]);
        line.split_whitespace().nth(2).map(str::to_owned)
    }

    pub fn has(&self, oid: &str) -> bool {
        self.try_git(&["cat-file", "-e", oid])
    }

    /// Says whether some ref still reaches a commit.
    pub fn reaches(&self, oid: &str) -> bool {
        let all = self.git(&["for-each-ref", "--format=%(objectname)", "--contains", oid]);
        !all.is_empty()
    }
}

/// A stock git without anybody's configuration, and with steady dates.
fn plain(command: &mut Command) -> &mut Command {
    command
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_AUTHOR_NAME", "Person")
        .env("GIT_AUTHOR_EMAIL", "person@example.com")
        .env("GIT_COMMITTER_NAME", "Person")
        .env("GIT_COMMITTER_EMAIL", "person@example.com")
        .env("GIT_AUTHOR_DATE", "@1700000000 +0000")
        .env("GIT_COMMITTER_DATE", "@1700000000 +0000")
}

pub fn run(command: &mut Command) -> String {
    let out = plain(command).output().unwrap();
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

/// A world as it was.
pub struct Saved {
    copy: tempfile::TempDir,
    base: Option<Digest>,
    run: i64,
}

/// An ecosystem of one hub, with a state folder of its own.
pub struct World {
    pub dir: tempfile::TempDir,
    pub hub: Repo,
    pub hub_url: String,
    pub content: Arc<Memory>,
    pub options: Options,
    pub base: Option<Digest>,
    pub run: i64,
}

impl World {
    /// A world with a bare hub repository `hub.git` on this machine.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let hub = Repo::bare(dir.path().join("hub.git"));
        hub.put("main", "README.md", "hub\n");
        Self::around(dir, hub.clone(), hub.0.display().to_string())
    }

    pub fn around(dir: tempfile::TempDir, hub: Repo, hub_url: String) -> Self {
        std::fs::create_dir_all(dir.path().join("root/.cathedral/keys")).unwrap();
        let mut options = Options::new(&dir.path().join("root/.cathedral"));
        // The git of the tester: all of it is to be tried with every version.
        options.path = std::env::var_os("PATH").unwrap();
        Self { dir, hub, hub_url, content: Arc::default(), options, base: None, run: 0 }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn state_dir(&self) -> PathBuf {
        self.path("root/.cathedral")
    }

    /// The hub's store of a spoke.
    pub fn store(&self, name: &str) -> Repo {
        Repo(self.state_dir().join(format!("git/{name}.git")))
    }

    pub fn syncer(&self) -> GitSyncer {
        let hub = Hub { name: SpokeName::new("hub").unwrap(), url: self.hub_url.clone(), branch: "main".into() };
        GitSyncer::new(self.state_dir(), hub, self.content.clone(), self.options.clone())
    }

    pub fn observe(&self, spoke: &Spoke) -> Observation {
        now(self.syncer().observe(spoke)).unwrap()
    }

    pub fn plan(&mut self, spoke: &Spoke, directives: Vec<Directive>) -> SpokePlan {
        self.run += 1;
        let context = PlanContext {
            run: RunId(self.run),
            base: self.base,
            directives,
            waiting: vec![],
            policy: None,
            held: Default::default(),
        };
        now(self.syncer().plan(spoke, &context)).unwrap()
    }

    pub fn apply(&mut self, spoke: &Spoke, plan: &SpokePlan) -> Applied {
        let syncer = self.syncer();
        now(syncer.pin(spoke, plan, RunId(self.run))).unwrap();
        let applied = now(syncer.apply(spoke, plan, RunId(self.run), Fence(self.run))).unwrap();
        self.base = Some(applied.base);
        applied
    }

    /// One whole sync.
    pub fn sync(&mut self, spoke: &Spoke) -> (SpokePlan, Applied) {
        let plan = self.plan(spoke, vec![]);
        let applied = self.apply(spoke, &plan);
        (plan, applied)
    }

    /// One sync in which a person answers a conflict.
    pub fn answer(&mut self, spoke: &Spoke, draft: &ConflictDraft, answer: Answer) -> (SpokePlan, Applied) {
        let directive = Directive { conflict: ConflictId(1), draft: draft.clone(), answer, undoes: None };
        let plan = self.plan(spoke, vec![directive]);
        let applied = self.apply(spoke, &plan);
        (plan, applied)
    }

    /// Copies everything on disk, to come back to it.
    pub fn save(&self) -> Saved {
        let copy = tempfile::tempdir().unwrap();
        run(Command::new("cp").arg("-a").arg(self.dir.path().join(".")).arg(copy.path()));
        Saved { copy, base: self.base, run: self.run }
    }

    pub fn put_back(&mut self, saved: &Saved) {
        for entry in std::fs::read_dir(self.dir.path()).unwrap() {
            std::fs::remove_dir_all(entry.unwrap().path()).unwrap();
        }
        run(Command::new("cp").arg("-a").arg(saved.copy.path().join(".")).arg(self.dir.path()));
        (self.base, self.run) = (saved.base, saved.run);
    }

    /// A second sync must find nothing to write and nothing moved.
    pub fn is_quiet(&mut self, spoke: &Spoke) {
        let before = self.observe(spoke).digests();
        let plan = self.plan(spoke, vec![]);
        assert_eq!(plan.actions, vec![], "a second sync writes");
        assert_eq!(plan.expected, before);
    }
}

pub fn spoke(name: &str, url: &str, integration: GitIntegration) -> Spoke {
    Spoke {
        name: SpokeName::new(name).unwrap(),
        role: "test".into(),
        data_sync: DataSync::Bidirectional,
        wave: 0,
        after: vec![],
        chain: vec![],
        policy: ConflictPolicy::Queue,
        detail: SpokeDetail::Git(GitSpoke {
            url: url.into(),
            branch: "main".into(),
            integration,
            refs: RefRules::default(),
            shared_paths: vec![],
            merge: GitMerge::Merge,
            fsck_allow: vec![],
        }),
    }
}

pub fn submodule(url: &str) -> Spoke {
    spoke("lib", url, GitIntegration::Submodule { path: "libs/lib".into() })
}

pub fn mirror(url: &str) -> Spoke {
    spoke("lib", url, GitIntegration::Mirror { mirrors: vec![] })
}

pub fn mirrors_to(url: &str, others: &[(&str, &str, MirrorMode)]) -> Spoke {
    let mirrors = others
        .iter()
        .map(|(name, url, mode)| Mirror { name: SpokeName::new(name).unwrap(), url: (*url).into(), mode: *mode })
        .collect();
    spoke("lib", url, GitIntegration::Mirror { mirrors })
}

pub fn sharing(url: &str, paths: &[(&str, &str)]) -> Spoke {
    let mut spoke = spoke("lib", url, GitIntegration::SharedPaths);
    git_of(&mut spoke).shared_paths =
        paths.iter().map(|(h, s)| SharedPath { hub: (*h).into(), spoke: (*s).into() }).collect();
    spoke
}

pub fn git_of(spoke: &mut Spoke) -> &mut GitSpoke {
    match &mut spoke.detail {
        SpokeDetail::Git(detail) => detail,
        _ => panic!("a git spoke"),
    }
}
