//! A pair of databases, a syncer, and a memory for what the engine would keep.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use cathedral_model::conflict::value::Value;
use cathedral_model::ecosystem::{ConflictPolicy, DataSync, DatabaseSpoke, RowMerge, Spoke, SpokeDetail, SpokeKind};
use cathedral_model::ids::{Digest, Fence, RunId, SpokeName};
use cathedral_model::observation::{Observation, SideState};
use cathedral_model::plan::{Answer, Applied, Directive, PlanContext, SpokePlan};
use cathedral_model::ports::vault::{DatabaseSchema, EntryVisitor, GitRef, GitRefs, Stamp, TableInfo, TreeEntry};
use cathedral_model::ports::{Content, PortError, Sink, Source, Syncer};
use cathedral_model::snapshot::PartInfo;
use cathedral_syncers::sql::SqliteSyncer;
use rusqlite::Connection;
use tempfile::TempDir;

/// Content in memory.
#[derive(Default)]
pub struct Kept(Mutex<BTreeMap<Digest, Vec<u8>>>);

impl Content for Kept {
    fn put(&self, bytes: &[u8]) -> Result<Digest, PortError> {
        let id = Digest::of(bytes);
        self.0.lock().unwrap().insert(id, bytes.to_vec());
        Ok(id)
    }

    fn put_from(&self, from: &mut dyn Read) -> Result<(Digest, u64), PortError> {
        let mut all = Vec::new();
        from.read_to_end(&mut all).unwrap();
        Ok((self.put(&all)?, all.len() as u64))
    }

    fn get(&self, id: &Digest) -> Result<Vec<u8>, PortError> {
        let found = self.0.lock().unwrap().get(id).cloned();
        found.ok_or_else(|| PortError::permanent(format!("content {id} is missing")))
    }

    fn open(&self, id: &Digest) -> Result<Box<dyn Read + Send>, PortError> {
        Ok(Box::new(std::io::Cursor::new(self.get(id)?)))
    }

    fn has(&self, id: &Digest) -> Result<bool, PortError> {
        Ok(self.0.lock().unwrap().contains_key(id))
    }
}

pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// A folder in memory where there is one: these tests sync to disk thousands of times.
pub fn folder() -> TempDir {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() { tempfile::tempdir_in(shm).unwrap() } else { tempfile::tempdir().unwrap() }
}

pub struct Pair {
    pub dir: TempDir,
    pub content: Arc<Kept>,
    pub syncer: SqliteSyncer,
    pub spoke: Spoke,
    pub base: Option<Digest>,
    pub run: i64,
    pub fence: i64,
}

impl Pair {
    pub fn new() -> Self {
        let dir = folder();
        let content = Arc::new(Kept::default());
        let detail = DatabaseSpoke {
            hub: dir.path().join("hub.db"),
            spoke: dir.path().join("spoke.db"),
            include: vec![],
            exclude: vec!["_*".into()],
            merge: RowMerge::Cell,
        };
        let spoke = Spoke {
            name: SpokeName::new("shop").unwrap(),
            role: String::new(),
            data_sync: DataSync::Bidirectional,
            wave: 1,
            after: vec![],
            chain: vec![],
            policy: ConflictPolicy::Queue,
            detail: SpokeDetail::Database(detail),
        };
        let syncer = SqliteSyncer::new(dir.path().join("state"), content.clone());
        Self { dir, content, syncer, spoke, base: None, run: 0, fence: 1 }
    }

    /// A pair whose two files hold the same, already agreed on.
    pub fn agreed(sql: &str) -> Self {
        let mut pair = Self::new();
        pair.hub().execute_batch(sql).unwrap();
        pair.sync();
        pair
    }

    pub fn detail(&mut self) -> &mut DatabaseSpoke {
        match &mut self.spoke.detail {
            SpokeDetail::Database(detail) => detail,
            _ => unreachable!(),
        }
    }

    pub fn path(&self, side: &str) -> PathBuf {
        self.dir.path().join(format!("{side}.db"))
    }

    pub fn hub(&self) -> Connection {
        application(&self.path("hub"))
    }

    pub fn far(&self) -> Connection {
        application(&self.path("spoke"))
    }

    pub fn context(&self, directives: Vec<Directive>) -> PlanContext {
        PlanContext {
            run: RunId(self.run),
            base: self.base,
            directives,
            waiting: vec![],
            policy: None,
            held: Default::default(),
        }
    }

    pub fn observe(&self) -> Observation {
        wait(self.syncer.observe(&self.spoke)).unwrap()
    }

    pub fn plan(&self) -> SpokePlan {
        self.try_plan(vec![]).unwrap()
    }

    pub fn try_plan(&self, directives: Vec<Directive>) -> Result<SpokePlan, PortError> {
        wait(self.syncer.plan(&self.spoke, &self.context(directives)))
    }

    pub fn apply(&mut self, plan: &SpokePlan) -> Result<Applied, PortError> {
        let (run, fence) = (RunId(self.run), Fence(self.fence));
        wait(self.syncer.pin(&self.spoke, plan, run))?;
        let applied = wait(self.syncer.apply(&self.spoke, plan, run, fence))?;
        self.base = Some(applied.base);
        Ok(applied)
    }

    pub fn sync(&mut self) -> (SpokePlan, Applied) {
        self.sync_with(vec![])
    }

    pub fn sync_with(&mut self, directives: Vec<Directive>) -> (SpokePlan, Applied) {
        self.run += 1;
        let plan = self.try_plan(directives).unwrap();
        let seen = self.observe();
        assert_eq!(plan.expected, seen.digests(), "a plan is for what was observed");
        let applied = self.apply(&plan).unwrap();
        let after = self.observe();
        assert_eq!((&applied.hub, &applied.spoke), (&after.hub, &after.spoke), "what was read back is what is seen");
        (plan, applied)
    }

    /// Answers the first conflict of a plan.
    pub fn answer(&mut self, plan: &SpokePlan, at: usize, answer: Answer) -> (SpokePlan, Applied) {
        let draft = plan.conflicts[at].clone();
        let directive = Directive { conflict: cathedral_model::ids::ConflictId(7), draft, answer, undoes: None };
        self.sync_with(vec![directive])
    }

    /// Syncs again and sees that neither file is touched.
    pub fn quiet(&mut self) {
        let stamp = |side: &str| {
            let path = self.path(side);
            (std::fs::read(&path).unwrap(), std::fs::metadata(&path).unwrap().modified().unwrap())
        };
        let before = (stamp("hub"), stamp("spoke"));
        let base = self.base;
        let names = |dir: &Path| -> Vec<_> {
            let mut all: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect();
            all.sort();
            all
        };
        let files = names(self.dir.path());
        let (plan, applied) = self.sync();
        assert_eq!(plan.actions, vec![]);
        assert_eq!((applied.changes_in, applied.changes_out), (0, 0));
        assert_eq!(applied.base, base.unwrap());
        let stamp = |side: &str| {
            let path = self.path(side);
            (std::fs::read(&path).unwrap(), std::fs::metadata(&path).unwrap().modified().unwrap())
        };
        assert!(before == (stamp("hub"), stamp("spoke")), "a file was written without need");
        assert_eq!(files, names(self.dir.path()));
    }

    /// Rows of a query on each side, as text.
    pub fn rows(&self, sql: &str) -> (Vec<String>, Vec<String>) {
        (rows(&self.hub(), sql), rows(&self.far(), sql))
    }

    /// Asserts that both sides give the same for a query, and returns it.
    pub fn same(&self, sql: &str) -> Vec<String> {
        let (hub, far) = self.rows(sql);
        assert_eq!(hub, far, "{sql}");
        hub
    }
}

/// The application's own connection.
pub fn application(path: &Path) -> Connection {
    let conn = Connection::open(path).unwrap();
    conn.execute_batch("pragma foreign_keys = on; pragma synchronous = off;").unwrap();
    conn
}

pub fn rows(conn: &Connection, sql: &str) -> Vec<String> {
    let mut found = conn.prepare(sql).unwrap();
    let n = found.column_count();
    let mut rows = found.query([]).unwrap();
    let mut out = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let cells: Vec<String> = (0..n).map(|i| format!("{:?}", row.get_ref(i).unwrap())).collect();
        out.push(cells.join("|").replace("Text([])", "''"));
    }
    out
}

pub fn kinds(plan: &SpokePlan) -> Vec<&str> {
    plan.conflicts.iter().map(|c| c.conflict_kind.as_str()).collect()
}

/// A row and the key it came with.
type KeyedRow = (Vec<u8>, Vec<Value>);

/// A part of a snapshot in memory: sink and source in one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    pub schema: Option<DatabaseSchema>,
    pub tables: Vec<TableInfo>,
    pub rows: BTreeMap<String, Vec<KeyedRow>>,
    pub skipped: Vec<String>,
    pub state: Option<SideState>,
}

fn not_here<T>() -> Result<T, PortError> {
    Err(PortError::permanent("not a part of this kind"))
}

impl Sink for Part {
    fn unchanged(&mut self, _: &TreeEntry, _: &Stamp) -> Result<bool, PortError> {
        not_here()
    }
    fn entry(&mut self, _: &TreeEntry, _: Option<&Stamp>, _: Option<&mut dyn Read>) -> Result<(), PortError> {
        not_here()
    }
    fn skipped(&mut self, item: &str, why: &str) {
        self.skipped.push(format!("{item}: {why}"));
    }
    fn git_held(&mut self) -> Result<Vec<String>, PortError> {
        not_here()
    }
    fn git_pack(&mut self, _: &[String], _: &mut dyn Read) -> Result<(), PortError> {
        not_here()
    }
    fn git_refs(&mut self, _: &GitRefs) -> Result<(), PortError> {
        not_here()
    }
    fn schema(&mut self, schema: &DatabaseSchema) -> Result<(), PortError> {
        self.schema = Some(schema.clone());
        Ok(())
    }
    fn table(&mut self, table: &TableInfo) -> Result<(), PortError> {
        assert!(self.tables.last().is_none_or(|t| t.name < table.name), "tables come sorted");
        self.tables.push(table.clone());
        self.rows.insert(table.name.clone(), vec![]);
        Ok(())
    }
    fn row(&mut self, key: &[u8], cells: &[Value]) -> Result<(), PortError> {
        let table = self.tables.last_mut().unwrap();
        table.rows += 1;
        let rows = self.rows.get_mut(&table.name).unwrap();
        assert!(rows.last().is_none_or(|(k, _)| k.as_slice() < key), "rows come sorted, keys are unique");
        rows.push((key.to_vec(), cells.to_vec()));
        Ok(())
    }
    fn finish(&mut self, state: &SideState, consistency: &str) -> Result<PartInfo, PortError> {
        assert_eq!(consistency, "exact");
        self.state = Some(state.clone());
        Ok(PartInfo {
            key: cathedral_model::snapshot::PartKey {
                spoke: SpokeName::new("shop").unwrap(),
                side: cathedral_model::ecosystem::Side::Hub,
            },
            kind: SpokeKind::Database,
            root: state.digest,
            observed: state.digest,
            position: state.position.clone(),
            items: state.items,
            bytes: 0,
            consistency: consistency.into(),
            skipped: vec![],
            carried: None,
        })
    }
}

impl Source for Part {
    fn kind(&self) -> SpokeKind {
        SpokeKind::Database
    }
    fn info(&self) -> &PartInfo {
        unreachable!("not looked at")
    }
    fn entries(&mut self, _: &mut EntryVisitor<'_>) -> Result<(), PortError> {
        not_here()
    }
    fn git_refs(&mut self) -> Result<GitRefs, PortError> {
        let _: Option<GitRef> = None;
        not_here()
    }
    fn git_packs(&mut self, _: &mut dyn FnMut(&mut dyn Read) -> Result<(), PortError>) -> Result<(), PortError> {
        not_here()
    }
    fn schema(&mut self) -> Result<(DatabaseSchema, Vec<TableInfo>), PortError> {
        Ok((self.schema.clone().unwrap(), self.tables.clone()))
    }
    fn rows(
        &mut self,
        table: &str,
        visit: &mut dyn FnMut(Vec<Value>) -> Result<(), PortError>,
    ) -> Result<(), PortError> {
        self.rows[table].iter().try_for_each(|(_, row)| visit(row.clone()))
    }
}
