//! Builds a small ecosystem with real histories: a hub repository, four git spokes, a pair of SQLite
//! databases and a pair of file trees.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::git::{Commit, Git, import};
use crate::cli::Failure;

/// Where everything stands.
pub struct Scene {
    pub root: PathBuf,
    pub hub: PathBuf,
    pub spokes: PathBuf,
    pub apps: PathBuf,
}

/// The spokes of the vision.
pub const SOUL: &str = "circuitum99";
pub const NERVES: &str = "tesseract-bridge";
pub const BODY: &str = "stone-grimoire";
pub const MIND: &str = "cosmogenesis-learning-engine";
pub const LEDGER: &str = "ledger";
pub const CODEX: &str = "codex";

/// How many rows the ledger begins with.
pub const ROWS: i64 = 3_000;

impl Scene {
    /// Makes the folders.
    pub fn new(root: &Path) -> Result<Self, Failure> {
        let scene = Self {
            root: root.to_path_buf(),
            hub: root.join("cathedral"),
            spokes: root.join("spokes"),
            apps: root.join("apps"),
        };
        for folder in [&scene.hub, &scene.spokes, &scene.apps] {
            fs::create_dir_all(folder).map_err(|e| Failure::io(&folder.display().to_string(), &e))?;
        }
        Ok(scene)
    }

    /// The bare repository of a spoke.
    pub fn spoke(&self, name: &str) -> PathBuf {
        self.spokes.join(format!("{name}.git"))
    }

    /// The hub's copy of the ledger.
    pub fn ledger_hub(&self) -> PathBuf {
        self.hub.join("data/ledger.db")
    }

    /// The application's copy of the ledger.
    pub fn ledger_app(&self) -> PathBuf {
        self.apps.join("ledger.db")
    }

    pub fn codex_hub(&self) -> PathBuf {
        self.hub.join("data/codex")
    }

    pub fn codex_app(&self) -> PathBuf {
        self.apps.join("codex")
    }

    /// Builds everything.
    pub fn build(&self) -> Result<(), Failure> {
        let chapters = ["origin", "silence", "threshold", "mirror", "return"];
        history(&self.spoke(SOUL), "wisdom", &chapters, 40)?;
        history(&self.spoke(NERVES), "channels", &["north", "south", "relay"], 24)?;
        history(&self.spoke(BODY), "stones", &["granite", "obsidian", "marble"], 30)?;
        history(&self.spoke(MIND), "lessons", &["counting", "naming", "asking", "doubting"], 36)?;
        self.branches()?;
        self.hub_repository()?;
        ledger(&self.ledger_hub())?;
        fs::copy(self.ledger_hub(), self.ledger_app()).map_err(|e| Failure::io("the ledger's copy", &e))?;
        codex(&self.codex_hub())?;
        self.configure()
    }

    /// A branch and tags beside `main`, so that more than one ref travels.
    fn branches(&self) -> Result<(), Failure> {
        let git = Git::at(&self.spoke(MIND));
        let main = git.line(&["rev-parse", "refs/heads/main"])?;
        let early = git.line(&["rev-parse", "refs/heads/main~12"])?;
        git.run(&["update-ref", "refs/heads/experiments", &early])?;
        git.run(&["tag", "v1.0", &early])?;
        git.run(&["tag", "-a", "-m", "first lessons", "v1.1", &main])?;
        let git = Git::at(&self.spoke(NERVES));
        let tip = git.line(&["rev-parse", "refs/heads/main"])?;
        let earlier = git.line(&["rev-parse", "refs/heads/main~6"])?;
        // The hub distributes what it has pinned: `next` holds what is not released yet.
        git.run(&["update-ref", "refs/heads/next", &tip])?;
        git.run(&["update-ref", "refs/heads/main", &earlier])
    }

    /// The master repository: a README, shared files, and three submodules pinned at their tips.
    fn hub_repository(&self) -> Result<(), Failure> {
        let git = Git::at(&self.hub);
        git.run(&["init", "-q", "-b", "main", "."])?;
        let mut modules = String::new();
        let mut links = vec![];
        for name in [SOUL, NERVES, BODY] {
            let _ = write!(
                modules,
                "[submodule \"{name}\"]\n\tpath = modules/{name}\n\turl = ../spokes/{name}.git\n\tbranch = main\n"
            );
            links.push((name, Git::at(&self.spoke(name)).line(&["rev-parse", "refs/heads/main"])?));
        }
        let write = |path: &str, text: &str| {
            let full = self.hub.join(path);
            fs::create_dir_all(full.parent().unwrap_or(&self.hub))
                .and_then(|()| fs::write(&full, text))
                .map_err(|e| Failure::io(path, &e))
        };
        write("README.md", "# Cathedral\n\nThe hub of a small ecosystem.\n")?;
        write(".gitmodules", &modules)?;
        write(".gitignore", "/data/\n")?;
        let stone = Git::at(&self.spoke(BODY)).line(&["show", "refs/heads/main:shared/archetypes.yaml"])?;
        write("shared/archetypes/archetypes.yaml", &format!("{stone}\n"))?;
        git.run(&["add", "README.md", ".gitmodules", ".gitignore", "shared"])?;
        for (name, oid) in links {
            git.run(&["update-index", "--add", "--cacheinfo", &format!("160000,{oid},modules/{name}")])?;
            // An empty folder is what a checkout without its submodules has: the worktree is clean.
            fs::create_dir_all(self.hub.join("modules").join(name)).map_err(|e| Failure::io(name, &e))?;
        }
        git.run(&["commit", "-q", "-m", "raise the walls"])
    }

    fn configure(&self) -> Result<(), Failure> {
        let text = format!(
            r#"# The demo's ecosystem. `cathedral config explain KEY` says what each key means.
cathedral_ecosystem:
  name: demo
  master_repository: cathedral
  connected_repositories:
    - name: {SOUL}
      role: "SOUL - Consciousness & Wisdom"
      path: modules/{SOUL}
      integration_type: git_submodule
      data_sync: bidirectional
      merge: merge
    - name: {NERVES}
      role: "NERVOUS_SYSTEM - Connections"
      path: modules/{NERVES}
      integration_type: git_submodule
      data_sync: hub_distribution
    - name: {BODY}
      role: "BODY - Material & Manifestation"
      path: modules/{BODY}
      integration_type: git_submodule
      data_sync: bidirectional
      shared_paths:
        - {{ hub: shared/archetypes/, spoke: shared/ }}
    - name: {MIND}
      role: "MIND - Learning"
      url: ../spokes/{MIND}.git
      integration_type: git_mirror
      data_sync: bidirectional
      merge: merge
  connected_databases:
    - name: {LEDGER}
      role: "Accounts"
      hub: sqlite:data/ledger.db
      url: sqlite:../apps/ledger.db
  connected_files:
    - name: {CODEX}
      role: "Texts, settings, pictures"
      hub: data/codex
      paths: [../apps/codex]
      ignore: ["*.tmp"]
  backup:
    destinations:
      - {{ name: here, url: "file:.cathedral/vault" }}
      - {{ name: other-disk, url: "file:../vault-copy" }}
    quorum: 2
"#
        );
        let folder = self.hub.join(".cathedral");
        crate::hub::prepare_state(&folder)?;
        fs::write(folder.join("integration-config.yaml"), text).map_err(|e| Failure::io("the configuration", &e))
    }
}

/// A bare repository whose `main` has `count` commits over a few files.
fn history(repository: &Path, topic: &str, files: &[&str], count: usize) -> Result<(), Failure> {
    let mut texts: Vec<Vec<String>> = files.iter().map(|f| vec![format!("# {f}"), String::new()]).collect();
    let mut commits = vec![];
    for n in 0..count {
        let which = (n * 7 + n / 3) % files.len();
        texts[which].push(format!("{}. {} {}", n + 1, PHRASES[n % PHRASES.len()], files[which]));
        let mut changed = vec![(format!("{topic}/{}.md", files[which]), texts[which].join("\n") + "\n")];
        if n == 0 {
            changed.push(("README.md".into(), format!("# {topic}\n\nOne of the spokes of the demo.\n")));
            changed.push(("shared/archetypes.yaml".into(), ARCHETYPES.to_owned()));
            changed.push((
                "settings.json".into(),
                format!("{{\n  \"topic\": \"{topic}\",\n  \"depth\": 3,\n  \"open\": true\n}}\n"),
            ));
        }
        commits.push(Commit {
            message: format!("{topic}: {} {}", PHRASES[n % PHRASES.len()], files[which]),
            files: changed,
        });
    }
    import(repository, &commits)
}

const PHRASES: [&str; 8] =
    ["listen to", "describe", "question", "redraw", "measure", "let go of", "remember", "begin again with"];

const ARCHETYPES: &str = "# What hub and stone-grimoire share.\narchetypes:\n  builder:\n    sign: square\n    patience: 7\n  messenger:\n    sign: line\n    patience: 2\n  guardian:\n    sign: circle\n    patience: 9\n";

fn sql(error: &rusqlite::Error) -> Failure {
    Failure::new(1, "C1002", format!("the demo's ledger: {error}"))
}

/// A ledger with accounts and entries that refer to them.
fn ledger(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path.parent().unwrap_or(path)).map_err(|e| Failure::io("the ledger's folder", &e))?;
    let mut db = rusqlite::Connection::open(path).map_err(|e| sql(&e))?;
    let fill = |db: &mut rusqlite::Connection| -> rusqlite::Result<()> {
        db.pragma_update(None, "journal_mode", "wal")?;
        db.execute_batch(
            "create table account (id integer primary key, name text not null unique, region text not null, balance integer not null default 0);
             create table entry (id integer primary key, account integer not null references account (id), day text not null, amount integer not null, note text);
             create index entry_by_account on entry (account);",
        )?;
        let tx = db.transaction()?;
        {
            let mut account = tx.prepare("insert into account values (?1, ?2, ?3, 0)")?;
            for id in 1..=120_i64 {
                account.execute((
                    id,
                    format!("account {id:03}"),
                    ["north", "south", "east", "west"][(id % 4) as usize],
                ))?;
            }
            let mut entry = tx.prepare("insert into entry values (?1, ?2, ?3, ?4, ?5)")?;
            for id in 1..=ROWS {
                let day = format!("2026-{:02}-{:02}", 1 + (id / 250) % 12, 1 + id % 28);
                let note = (id % 9 == 0).then(|| format!("checked, batch {}", id / 9));
                entry.execute((id, 1 + (id * 37) % 120, day, (id * 7919) % 20_000 - 8_000, note))?;
            }
        }
        tx.execute(
            "update account set balance = (select coalesce(sum(amount), 0) from entry where account = account.id)",
            [],
        )?;
        tx.commit()?;
        // A plain file copy follows: nothing may be left in the write-ahead log.
        db.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(()))?;
        Ok(())
    };
    fill(&mut db).map_err(|e| sql(&e))
}

/// Texts, settings and a picture.
fn codex(folder: &Path) -> Result<(), Failure> {
    let write = |path: String, bytes: &[u8]| {
        let full = folder.join(&path);
        fs::create_dir_all(full.parent().unwrap_or(folder))
            .and_then(|()| fs::write(&full, bytes))
            .map_err(|e| Failure::io(&path, &e))
    };
    for n in 1..=60 {
        let mut text = format!("# Leaf {n}\n\n");
        for line in 1..=(8 + n % 11) {
            let _ = writeln!(
                text,
                "Line {line} of leaf {n}: {} the {}.",
                PHRASES[(n + line) % 8],
                ["door", "well", "stair", "lamp"][line % 4]
            );
        }
        write(format!("leaves/{:02}/leaf-{n:03}.md", n % 8), text.as_bytes())?;
    }
    write("settings.json".into(), b"{\n  \"title\": \"Codex\",\n  \"language\": \"en\",\n  \"columns\": 2,\n  \"margins\": { \"left\": 20, \"right\": 20 }\n}\n")?;
    write("index.yaml".into(), b"# The order of reading.\ntitle: Codex\neditor: none\nchapters:\n  - name: door\n    leaves: 12\n  - name: well\n    leaves: 18\nnotes: open\n")?;
    write("notes.txt".into(), b"first\nsecond\nthird\nfourth\nfifth\nsixth\nseventh\n")?;
    write("motto.txt".into(), b"what is kept can be given back\n")?;
    write("obsolete.txt".into(), b"to be removed on one side and edited on the other\n")?;
    let mut picture = b"P6\n64 64\n255\n".to_vec();
    picture.extend((0..64 * 64 * 3_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8));
    write("pictures/rose-window.ppm".into(), &picture)
}
