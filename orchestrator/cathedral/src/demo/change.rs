//! A week of work on both sides: what merges, what cannot, and a deletion against an edit.

use std::fs;
use std::path::Path;

use super::build::{BODY, MIND, NERVES, SOUL, Scene};
use super::git::{BEGAN, Commit, Git};
use crate::cli::Failure;

/// When the week began.
const WEEK: i64 = BEGAN + 200 * 86_400;

fn commit(message: &str, files: &[(&str, &str)]) -> Commit {
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    Commit { message: message.to_owned(), files }
}

impl Scene {
    /// Makes all changes.
    pub fn change(&self) -> Result<(), Failure> {
        self.change_git()?;
        change_ledger(&self.ledger_hub(), HUB_SQL)?;
        change_ledger(&self.ledger_app(), APP_SQL)?;
        self.change_codex()
    }

    fn change_git(&self) -> Result<(), Failure> {
        // The spoke moves on: the hub's pin follows.
        let soul = Git::at(&self.spoke(SOUL));
        soul.commit(
            "main",
            &[commit("wisdom: a new chapter", &[("wisdom/dawn.md", "# dawn\n\nIt begins again.\n")])],
            WEEK,
        )?;
        // The hub releases what it pins: the spoke's main follows.
        let nerves = Git::at(&self.spoke(NERVES)).line(&["rev-parse", "refs/heads/next"])?;
        let hub = Git::at(&self.hub);
        hub.run(&["update-index", "--cacheinfo", &format!("160000,{nerves},modules/{NERVES}")])?;
        hub.run(&["commit", "-q", "-m", "release the next channels"])?;
        // A new branch and a tag here, a new branch there.
        let mind = Git::at(&self.spoke(MIND));
        mind.commit("main", &[commit("lessons: waiting", &[("lessons/waiting.md", "# waiting\n")])], WEEK)?;
        mind.run(&["branch", "draft", "main~1"])?;
        mind.run(&["tag", "v1.2", "main"])?;
        let kept = Git::at(&self.hub.join(".cathedral/git").join(format!("{MIND}.git")));
        kept.run(&["update-ref", "refs/heads/reviewed", "refs/heads/main~3"])?;
        // One shared file: different keys on the two sides merge, one value changed on both cannot.
        let theirs = SHARED.replace("patience: 2", "patience: 3").replace("sign: square", "sign: cube");
        Git::at(&self.spoke(BODY)).commit(
            "main",
            &[commit("stones: the builder works in three dimensions", &[("shared/archetypes.yaml", &theirs)])],
            WEEK,
        )?;
        let ours = SHARED.replace("patience: 9", "patience: 10").replace("sign: square", "sign: rhombus");
        let path = self.hub.join("shared/archetypes/archetypes.yaml");
        fs::write(&path, ours).map_err(|e| Failure::io("the shared file", &e))?;
        hub.run(&["commit", "-q", "-a", "-m", "the builder leans"])
    }

    fn change_codex(&self) -> Result<(), Failure> {
        let (hub, app) = (self.codex_hub(), self.codex_app());
        // Different keys, lines and files: all merge.
        edit(&hub.join("settings.json"), "\"columns\": 2", "\"columns\": 3")?;
        edit(&app.join("settings.json"), "\"right\": 20", "\"right\": 24")?;
        edit(&hub.join("index.yaml"), "editor: none", "editor: Hypatia")?;
        edit(&app.join("index.yaml"), "notes: open", "notes: closed")?;
        edit(&hub.join("notes.txt"), "second", "second, seen from the hub")?;
        edit(&app.join("notes.txt"), "sixth", "sixth, seen from the app")?;
        write(&hub.join("leaves/09/leaf-061.md"), b"# Leaf 61\n\nWritten at the hub.\n")?;
        write(&app.join("pictures/spire.bin"), &(0..9_000_u32).map(|i| ((i * i) >> 5) as u8).collect::<Vec<_>>())?;
        fs::remove_file(app.join("leaves/01/leaf-001.md")).map_err(|e| Failure::io("leaf-001.md", &e))?;
        // The same line, differently.
        edit(&hub.join("motto.txt"), "given back", "given away")?;
        edit(&app.join("motto.txt"), "given back", "given again")?;
        // Removed here, edited there.
        fs::remove_file(hub.join("obsolete.txt")).map_err(|e| Failure::io("obsolete.txt", &e))?;
        edit(&app.join("obsolete.txt"), "to be removed", "not to be removed")
    }
}

const SHARED: &str = "# What hub and stone-grimoire share.\narchetypes:\n  builder:\n    sign: square\n    patience: 7\n  messenger:\n    sign: line\n    patience: 2\n  guardian:\n    sign: circle\n    patience: 9\n";

const HUB_SQL: &str = "
    update entry set note = 'audited at the hub' where id between 100 and 139;
    insert into entry select 9000 + id, account, '2026-11-02', amount, 'from the hub' from entry where id <= 25;
    update account set region = 'centre' where id = 7;
    update account set name = 'Cathedral Works' where id = 12;
    update entry set amount = 4242 where id = 2000;
    delete from entry where id = 2500;";

const APP_SQL: &str = "
    update entry set amount = amount + 1 where id between 600 and 639;
    insert into entry select 12000 + id, account, '2026-11-03', amount, 'from the app' from entry where id <= 25;
    update account set balance = 1 where id = 7;
    delete from entry where id between 700 and 704;
    update entry set amount = 1717 where id = 2000;
    update entry set note = 'still needed' where id = 2500;";

fn change_ledger(path: &Path, statements: &str) -> Result<(), Failure> {
    let run = || -> rusqlite::Result<()> {
        let db = rusqlite::Connection::open(path)?;
        db.execute_batch(&format!("begin;{statements}commit;"))
    };
    run().map_err(|e| Failure::new(1, "C1002", format!("{}: {e}", path.display())))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    fs::create_dir_all(path.parent().unwrap_or(path))
        .and_then(|()| fs::write(path, bytes))
        .map_err(|e| Failure::io(&path.display().to_string(), &e))
}

fn edit(path: &Path, from: &str, to: &str) -> Result<(), Failure> {
    let text = fs::read_to_string(path).map_err(|e| Failure::io(&path.display().to_string(), &e))?;
    write(path, text.replace(from, to).as_bytes())
}
