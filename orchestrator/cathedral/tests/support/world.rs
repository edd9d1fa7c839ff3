//! A small ecosystem of every kind, and a week of work on both sides of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{cathedral, plain, run};

/// Where everything stands. All paths in the configuration are relative: a copy works by itself.
#[derive(Clone)]
pub struct World {
    pub root: PathBuf,
}

const CONFIG: &str = r#"cathedral_ecosystem:
  name: small
  master_repository: hub
  connected_repositories:
    - name: soul
      role: "SOUL"
      path: modules/soul
      integration_type: git_submodule
      data_sync: bidirectional
      merge: merge
      shared_paths:
        - { hub: shared/one/, spoke: one/ }
        - { hub: shared/two/, spoke: two/ }
    - name: mind
      role: "MIND"
      url: ../spokes/mind.git
      integration_type: git_mirror
      data_sync: bidirectional
      merge: merge
      refs: { prune: true }
  connected_databases:
    - name: ledger
      role: "Accounts"
      hub: sqlite:data/ledger.db
      url: sqlite:../apps/ledger.db
  connected_files:
    - name: codex
      role: "Texts"
      hub: data/codex
      paths: [../apps/codex]
  backup:
    destinations:
      - { name: here, url: "file:.cathedral/vault" }
      - { name: other, url: "file:../vault-copy" }
    quorum: 2
"#;

/// Runs git in a folder and gives its output without the line end.
#[track_caller]
pub fn git(folder: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    plain(&mut command);
    command.arg("-C").arg(folder).args(args);
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Ada").env(format!("GIT_{who}_EMAIL"), "ada@small.example");
        command.env(format!("GIT_{who}_DATE"), "2026-03-01T12:00:00Z");
    }
    run(&mut command).trim_end().to_owned()
}

/// Adds a commit to a branch of a repository with or without a worktree, and never touches the worktree.
#[track_caller]
pub fn commit(repository: &Path, branch: &str, message: &str, files: &[(&str, &str)]) -> String {
    let aside = tempfile::tempdir().unwrap();
    let index = aside.path().join("index");
    let name = format!("refs/heads/{branch}");
    let plumb = |args: &[&str], input: Option<&str>| {
        let mut command = Command::new("sh");
        plain(&mut command);
        command.arg("-c").arg(r#"printf %s "$INPUT" | git "$@""#).arg("sh").args(args);
        command.current_dir(repository).env("GIT_INDEX_FILE", &index).env("INPUT", input.unwrap_or_default());
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "Ada").env(format!("GIT_{who}_EMAIL"), "ada@small.example");
            command.env(format!("GIT_{who}_DATE"), "2026-03-01T12:00:00Z");
        }
        run(&mut command).trim_end().to_owned()
    };
    let tip = git(repository, &["for-each-ref", "--format=%(objectname)", &name]);
    if !tip.is_empty() {
        plumb(&["read-tree", &tip], None);
    }
    for (path, text) in files {
        let blob = plumb(&["hash-object", "-w", "--stdin"], Some(text));
        plumb(&["update-index", "--add", "--cacheinfo", &format!("100644,{blob},{path}")], None);
    }
    let tree = plumb(&["write-tree"], None);
    let mut args = vec!["commit-tree", &tree, "-m", message];
    if !tip.is_empty() {
        args.extend(["-p", &tip]);
    }
    let made = plumb(&args, None);
    git(repository, &["update-ref", &name, &made]);
    made
}

pub fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[track_caller]
pub fn sql(path: &Path, statements: &str) {
    let db = rusqlite::Connection::open(path).unwrap();
    db.execute_batch(statements).unwrap();
}

impl World {
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    pub fn hub(&self) -> PathBuf {
        self.root.join("hub")
    }

    pub fn state(&self) -> PathBuf {
        self.root.join("hub/.cathedral")
    }

    pub fn soul(&self) -> PathBuf {
        self.root.join("spokes/soul.git")
    }

    pub fn mind(&self) -> PathBuf {
        self.root.join("spokes/mind.git")
    }

    /// The hub's own copy of the mirrored repository.
    pub fn kept_mind(&self) -> PathBuf {
        self.state().join("git/mind.git")
    }

    pub fn hub_db(&self) -> PathBuf {
        self.root.join("hub/data/ledger.db")
    }

    pub fn app_db(&self) -> PathBuf {
        self.root.join("apps/ledger.db")
    }

    pub fn hub_files(&self) -> PathBuf {
        self.root.join("hub/data/codex")
    }

    pub fn app_files(&self) -> PathBuf {
        self.root.join("apps/codex")
    }

    pub fn config(&self) -> PathBuf {
        self.state().join("integration-config.yaml")
    }

    pub fn vault(&self) -> PathBuf {
        self.state().join("vault")
    }

    pub fn vault_copy(&self) -> PathBuf {
        self.root.join("vault-copy")
    }

    pub fn cathedral(&self, args: &[&str]) -> super::Ran {
        cathedral(&self.hub(), args)
    }

    /// A copy of everything somewhere else.
    pub fn copy(&self, to: &Path) -> Self {
        super::copy(&self.root, to);
        Self::at(to)
    }

    /// Builds both sides; nothing is synced yet.
    pub fn build(root: &Path) -> Self {
        let world = Self::at(root);
        for repository in [world.soul(), world.mind()] {
            fs::create_dir_all(&repository).unwrap();
            git(&repository, &["init", "-q", "--bare", "-b", "main", "."]);
        }
        let soul = world.soul();
        commit(&soul, "main", "begin", &[("README.md", "# soul\n"), ("one/a.yaml", ONE), ("two/b.txt", "base\n")]);
        commit(&soul, "main", "go on", &[("text.md", "a line\n")]);
        let mind = world.mind();
        commit(&mind, "main", "begin", &[("lesson.md", "one\ntwo\nthree\n"), ("other.md", "other\n")]);
        for (branch, text) in [("both", "the middle\n"), ("old", "will go\n")] {
            git(&mind, &["update-ref", &format!("refs/heads/{branch}"), "refs/heads/main"]);
            commit(&mind, branch, branch, &[("branch.md", text)]);
        }
        git(&mind, &["tag", "-a", "-m", "first", "v1", "main"]);
        world.build_hub();
        write(&world.config(), CONFIG);
        fs::create_dir_all(world.root.join("apps")).unwrap();
        fs::create_dir_all(world.root.join("hub/data")).unwrap();
        sql(&world.hub_db(), LEDGER);
        fs::copy(world.hub_db(), world.app_db()).unwrap();
        for tree in [world.hub_files(), world.app_files()] {
            for n in 1..=12 {
                write(&tree.join(format!("leaves/{n:02}.md")), &format!("# leaf {n}\n\nthe text of leaf {n}\n"));
            }
            write(&tree.join("settings.json"), "{\n  \"columns\": 2,\n  \"left\": 20,\n  \"right\": 20\n}\n");
            write(&tree.join("notes.txt"), "first\nsecond\nthird\nfourth\nfifth\nsixth\nseventh\n");
            write(&tree.join("motto.txt"), "given back\n");
            write(&tree.join("obsolete.txt"), "removed here, edited there\n");
        }
        world
    }

    fn build_hub(&self) {
        let hub = self.hub();
        fs::create_dir_all(&hub).unwrap();
        git(&hub, &["init", "-q", "-b", "main", "."]);
        let modules = "[submodule \"soul\"]\n\tpath = modules/soul\n\turl = ../spokes/soul.git\n\tbranch = main\n";
        write(&hub.join(".gitmodules"), modules);
        write(&hub.join(".gitignore"), "/data/\n");
        write(&hub.join("README.md"), "# hub\n");
        write(&hub.join("shared/one/a.yaml"), ONE);
        write(&hub.join("shared/two/b.txt"), "base\n");
        git(&hub, &["add", ".gitmodules", ".gitignore", "README.md", "shared"]);
        let pin = git(&self.soul(), &["rev-parse", "refs/heads/main"]);
        git(&hub, &["update-index", "--add", "--cacheinfo", &format!("160000,{pin},modules/soul")]);
        fs::create_dir_all(hub.join("modules/soul")).unwrap();
        git(&hub, &["commit", "-q", "-m", "raise the walls"]);
    }

    /// What merges, what cannot, and deletions, on both sides of everything.
    pub fn change(&self) {
        self.change_git();
        sql(&self.hub_db(), HUB_SQL);
        sql(&self.app_db(), APP_SQL);
        let (hub, app) = (self.hub_files(), self.app_files());
        let edit = |path: PathBuf, from: &str, to: &str| {
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{}", path.display());
            fs::write(&path, text.replace(from, to)).unwrap();
        };
        edit(hub.join("settings.json"), "\"columns\": 2", "\"columns\": 3");
        edit(app.join("settings.json"), "\"right\": 20", "\"right\": 24");
        edit(hub.join("notes.txt"), "second", "second, at the hub");
        edit(app.join("notes.txt"), "sixth", "sixth, at the app");
        write(&hub.join("leaves/13.md"), "# leaf 13, of the hub\n");
        write(&app.join("pictures/spire.txt"), "a picture of the app\n");
        fs::remove_file(app.join("leaves/01.md")).unwrap();
        fs::remove_file(hub.join("leaves/02.md")).unwrap();
        edit(hub.join("motto.txt"), "given back", "given away");
        edit(app.join("motto.txt"), "given back", "given again");
        fs::remove_file(hub.join("obsolete.txt")).unwrap();
        edit(app.join("obsolete.txt"), "removed", "not removed");
    }

    fn change_git(&self) {
        let (soul, mind, kept) = (self.soul(), self.mind(), self.kept_mind());
        let one = ONE.replace("patience: 2", "patience: 3");
        commit(
            &soul,
            "main",
            "a new chapter",
            &[("dawn.md", "it begins\n"), ("one/a.yaml", &one), ("two/b.txt", "spoke\n")],
        );
        let hub = self.hub();
        write(&hub.join("shared/one/a.yaml"), &ONE.replace("patience: 9", "patience: 10"));
        write(&hub.join("shared/two/b.txt"), "hub\n");
        git(&hub, &["commit", "-q", "-a", "-m", "the hub's view"]);
        commit(&mind, "main", "waiting", &[("waiting.md", "waiting\n")]);
        commit(&kept, "main", "reviewed", &[("reviewed.md", "reviewed\n")]);
        commit(&mind, "both", "theirs", &[("branch.md", "the spoke's middle\n")]);
        commit(&kept, "both", "ours", &[("branch.md", "the hub's middle\n")]);
        git(&mind, &["update-ref", "-d", "refs/heads/old"]);
        git(&mind, &["tag", "v2", "main"]);
        git(&kept, &["update-ref", "refs/heads/fresh", "refs/heads/main"]);
    }
}

const ONE: &str = "builder:\n  sign: square\n  patience: 7\nmessenger:\n  sign: line\n  patience: 2\nguardian:\n  sign: circle\n  patience: 9\n";

const LEDGER: &str = "
    create table account (id integer primary key, name text not null unique, region text not null);
    create table entry (id integer primary key, account integer not null references account (id), amount integer not null, note text);
    insert into account values (1, 'north', 'n'), (2, 'south', 's'), (3, 'east', 'e');
    with recursive n(i) as (select 1 union all select i + 1 from n where i < 60)
        insert into entry select i, 1 + i % 3, i * 7, null from n;";

const HUB_SQL: &str = "
    update entry set note = 'audited' where id between 10 and 19;
    insert into entry values (900, 1, 5, 'from the hub');
    update account set region = 'centre' where id = 1;
    update entry set amount = 4242 where id = 50;
    delete from entry where id in (55, 58);";

const APP_SQL: &str = "
    update entry set amount = amount + 1 where id between 15 and 24;
    insert into entry values (901, 2, 6, 'from the app');
    update account set name = 'north works' where id = 1;
    update entry set amount = 1717 where id = 50;
    update entry set note = 'still needed' where id = 55;
    delete from entry where id = 40;";
