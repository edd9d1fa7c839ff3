//! From two databases and the agreed state to a plan. Nothing is written but to the content store.

use std::collections::{BTreeMap, BTreeSet};

use cathedral_model::conflict::rows::{self, Direction, Mode, Policy, Prefer, RowPlan, Shape, TableDiff, TableRows};
use cathedral_model::conflict::value::Row;
use cathedral_model::ecosystem::{ConflictPolicy, DataSync, DatabaseSpoke, RowMerge, Side, Spoke};
use cathedral_model::ids::Digest;
use cathedral_model::observation::Digests;
use cathedral_model::plan::{Action, ConflictDraft, Directive, Guard, PlanContext, SideValue, SpokePlan};
use cathedral_model::ports::{Cause, Content, PortError};

use super::base::{BaseReader, BaseTable};
use super::catalog::{Catalog, Table};
use super::decide::reopen;
use super::draft::{self, target};
use super::drift;
use super::form::{Cells, plain, shown_row};
use super::name::is_included;
use super::open::{Reading, reading};
use super::payload::{RowWrite, Step, port_side, store};
use super::scan::{DatabaseDigest, missing};

/// One side, open at one moment.
pub(super) struct Open {
    pub reading: Reading,
    pub catalog: Catalog,
}

/// Opens a side; none when its file is missing.
pub(super) fn open(path: &std::path::Path) -> Result<Option<Open>, PortError> {
    let Some(reading) = reading(path)? else { return Ok(None) };
    let catalog = reading.catalog()?;
    Ok(Some(Open { reading, catalog }))
}

/// Returns the shape by which rows of a pair are identified.
pub(super) fn paired(hub: &Table, spoke: &Table) -> Shape {
    let mut shape = hub.shape.clone();
    // A parent that one side has dropped is known on the other only.
    if spoke.shape.foreign.len() > shape.foreign.len() {
        shape.foreign.clone_from(&spoke.shape.foreign);
    }
    if hub.shape.key != spoke.shape.key {
        shape.key.clear();
    }
    shape
}

/// A plan in the making.
pub(super) struct Planner<'a> {
    detail: &'a DatabaseSpoke,
    pub(super) content: &'a dyn Content,
    pub(super) policy: Policy,
    pub(super) steps: Vec<Step>,
    pub(super) actions: Vec<Action>,
    pub(super) conflicts: Vec<ConflictDraft>,
    pub(super) diffs: Vec<TableDiff>,
    /// Definitions of the tables whose rows may be written, by name and side.
    pub(super) tables: BTreeMap<String, [Option<Table>; 2]>,
}

/// Plans one spoke.
pub(super) fn plan(
    spoke: &Spoke,
    detail: &DatabaseSpoke,
    context: &PlanContext,
    content: &dyn Content,
) -> Result<SpokePlan, PortError> {
    let (hub, far) = (open(&detail.hub)?, open(&detail.spoke)?);
    plan_of(spoke, detail, context, content, hub.as_ref(), far.as_ref())
}

/// Plans one spoke from two sides that are open already.
pub(super) fn plan_of(
    spoke: &Spoke,
    detail: &DatabaseSpoke,
    context: &PlanContext,
    content: &dyn Content,
    hub: Option<&Open>,
    far: Option<&Open>,
) -> Result<SpokePlan, PortError> {
    let agreed = match &context.base {
        Some(id) => BaseReader::open(content, id).and_then(BaseReader::all).map(|(base, s)| (Some(base), s))?,
        None => (None, None),
    };
    let policy = policy(spoke, detail, context);
    let has_rows = agreed.0.as_ref().is_some_and(|b| !b.is_empty());
    let lost = if has_rows { lost_sides(detail, hub, far) } else { vec![] };
    // Going on, where somebody confirms it, compares both sides as if for the first time, which deletes nothing.
    let (base, schema) = if lost.is_empty() { agreed } else { (None, None) };
    let steps = vec![Step::Past { base: context.base.filter(|_| lost.is_empty()) }];
    let mut planner = Planner {
        detail,
        content,
        policy,
        steps,
        actions: vec![],
        conflicts: vec![],
        diffs: vec![],
        tables: BTreeMap::new(),
    };
    let mut out = SpokePlan {
        spoke: spoke.name.clone(),
        expected: Digests { hub: missing().digest, spoke: missing().digest },
        actions: vec![],
        conflicts: vec![],
        settles: vec![],
        guards: vec![],
        payload: Digest::of(b""),
        restricted: false,
    };
    let alone = match (hub, far) {
        (None, None) => {
            let (h, s) = (detail.hub.display(), detail.spoke.display());
            return Err(PortError::failed(Cause::NotFound, format!("neither {h} nor {s} is there")));
        }
        (Some(one), None) => Some((one, Side::Spoke)),
        (None, Some(one)) => Some((one, Side::Hub)),
        (Some(_), Some(_)) => None,
    };
    let guards: Vec<Guard> = lost.into_iter().map(|why| Guard { name: "root_missing".into(), why }).collect();
    if policy.direction == Direction::Neither || alone.is_some() {
        let digest = |o: Option<&Open>| o.map_or_else(|| Ok(missing()), |o| o.reading.digest(&o.catalog));
        out.expected = Digests { hub: digest(hub)?.digest, spoke: digest(far)?.digest };
        if policy.direction == Direction::Neither {
        } else if let Some((source, side)) = alone
            && (guards.is_empty() || planner.may_write(side))
        {
            planner.create_file(source, side)?;
        }
    } else if let (Some(hub), Some(far)) = (hub, far) {
        let none = BTreeMap::new();
        out.expected = planner.compare(hub, far, base.as_ref().unwrap_or(&none), &context.directives)?;
        planner.objects(hub, far, schema.as_ref());
        let (settles, exceeded) = planner.decide(&context.directives, &context.waiting, hub, far)?;
        out.settles = settles;
        out.guards = exceeded;
        planner.sequences(hub, far);
    }
    if policy.direction != Direction::Neither {
        out.guards.splice(0..0, guards);
    }
    out.payload = store(content, &planner.steps)?;
    out.actions = planner.actions;
    out.conflicts = planner.conflicts;
    Ok(out)
}

fn policy(spoke: &Spoke, detail: &DatabaseSpoke, context: &PlanContext) -> Policy {
    Policy {
        mode: match detail.merge {
            RowMerge::Cell => Mode::Cell,
            RowMerge::Row => Mode::Row,
            RowMerge::None => Mode::Table,
        },
        prefer: match context.policy.unwrap_or(spoke.policy) {
            ConflictPolicy::Hub => Prefer::Hub,
            ConflictPolicy::Spoke => Prefer::Spoke,
            // Newest needs a declared column, union a set: both wait for a person until they can be declared.
            ConflictPolicy::Queue | ConflictPolicy::Newest | ConflictPolicy::Union => Prefer::Queue,
        },
        direction: match spoke.data_sync {
            DataSync::Bidirectional => Direction::Both,
            DataSync::HubDistribution => Direction::ToSpoke,
            DataSync::Collect => Direction::ToHub,
            DataSync::SnapshotOnly => Direction::Neither,
        },
    }
}

/// Sides that hold nothing although rows were agreed on.
fn lost_sides(detail: &DatabaseSpoke, hub: Option<&Open>, spoke: Option<&Open>) -> Vec<String> {
    let why = |path: &std::path::Path, side: Option<&Open>| match side {
        None => Some(format!(
            "database {} is missing, and it was there at the last sync; going on makes it anew from the other side",
            path.display()
        )),
        Some(o) if o.catalog.tables.is_empty() => Some(format!(
            "database {} is empty, and it was not at the last sync; going on fills it again from the other side",
            path.display()
        )),
        Some(_) => None,
    };
    why(&detail.hub, hub).into_iter().chain(why(&detail.spoke, spoke)).collect()
}

impl Planner<'_> {
    pub(super) fn included(&self, table: &str) -> bool {
        is_included(table, &self.detail.include, &self.detail.exclude)
    }

    pub(super) fn may_write(&self, side: Side) -> bool {
        match self.policy.direction {
            Direction::Both => true,
            Direction::ToSpoke => side == Side::Spoke,
            Direction::ToHub => side == Side::Hub,
            Direction::Neither => false,
        }
    }

    fn create_file(&mut self, source: &Open, side: Side) -> Result<(), PortError> {
        let path = if side == Side::Hub { &self.detail.hub } else { &self.detail.spoke };
        if !self.may_write(side) {
            let text = format!("database {} is missing, and nothing travels there", path.display());
            return Err(PortError::failed(Cause::NotFound, text));
        }
        self.steps.push(Step::CreateFile { side });
        for table in source.catalog.tables.values() {
            if !self.included(table.name()) || table.of_virtual.is_some() {
                continue;
            }
            self.actions.push(Action {
                side,
                target: plain(table.name(), 120),
                action: "create".into(),
                from: String::new(),
                to: "all rows".into(),
                reason: format!("only the {} has this database", side.other().as_str()),
            });
        }
        Ok(())
    }

    /// Reads both sides once: their digests, and the rows that differ.
    fn compare(
        &mut self,
        hub: &Open,
        far: &Open,
        base: &BTreeMap<String, BaseTable>,
        directives: &[Directive],
    ) -> Result<Digests, PortError> {
        let mut digests = (DatabaseDigest::new(&hub.catalog), DatabaseDigest::new(&far.catalog));
        let names: BTreeSet<&String> = hub.catalog.tables.keys().chain(far.catalog.tables.keys()).collect();
        for key in names {
            let (h, s) = (hub.catalog.tables.get(key), far.catalog.tables.get(key));
            let shape = match (h, s) {
                (Some(h), Some(s)) => paired(h, s),
                (Some(one), None) | (None, Some(one)) => one.shape.clone(),
                (None, None) => continue,
            };
            // The shape of the hub's table does not read the spoke's when they have drifted apart.
            let drifted = match (h, s) {
                (Some(h), Some(s)) => drift::between(h, s),
                _ => None,
            };
            let load = |side: &Open, table: Option<&Table>, digest: &mut DatabaseDigest| match table {
                None => Ok::<_, PortError>(TableRows::new()),
                Some(table) => {
                    let own = if drifted.is_some() { &table.shape } else { &shape };
                    let (rows, rows_digest) = side.reading.load(&side.catalog, table, own)?;
                    digest.table(table, rows_digest);
                    Ok(rows)
                }
            };
            let hub_rows = load(hub, h, &mut digests.0)?;
            let far_rows = load(far, s, &mut digests.1)?;
            if !self.included(&shape.name) || [h, s].iter().flatten().any(|t| t.of_virtual.is_some()) {
                continue;
            }
            let known = base.get(key);
            if let Some(why) = drifted {
                self.pause(&shape, Some(&hub_rows), Some(&far_rows), why);
                continue;
            }
            if let (Some(one), side) | (side, Some(one)) = (h, s)
                && side.is_none()
            {
                let target = if h.is_none() { Side::Hub } else { Side::Spoke };
                if known.is_some() {
                    let (gone, kept) = (target.as_str(), target.other().as_str());
                    let why = format!(
                        "the {gone} has dropped this table, and a sync drops none: drop it on the {kept} as well, or \
                         put it back on the {gone} with its rows"
                    );
                    self.pause(&shape, h.map(|_| &hub_rows), s.map(|_| &far_rows), why);
                    continue;
                }
                if !self.may_write(target) {
                    continue;
                }
                let (source, into) = if h.is_none() { (far, hub) } else { (hub, far) };
                if let Some(why) = drift::obstacle(one, &source.catalog, &into.catalog, target.as_str()) {
                    self.pause(&shape, Some(&hub_rows), Some(&far_rows), why);
                    continue;
                }
                self.create_table(one, &source.catalog, target);
            }
            let fitted = known.map(|b| b.fitted(&shape, &hub_rows, &far_rows));
            let mut diff = rows::diff(shape.clone(), fitted.as_ref(), &hub_rows, &far_rows);
            reopen(&mut diff, directives, [fitted.as_ref(), Some(&hub_rows), Some(&far_rows)]);
            self.tables.insert(shape.name.clone(), [h.cloned(), s.cloned()]);
            self.diffs.push(diff);
        }
        Ok(Digests { hub: digests.0.finish().digest, spoke: digests.1.finish().digest })
    }

    fn create_table(&mut self, table: &Table, from: &Catalog, side: Side) {
        let own = |o: &&super::catalog::Object| o.kind != "view" && o.table.eq_ignore_ascii_case(table.name());
        let statements =
            [table.sql.clone()].into_iter().chain(from.objects.iter().filter(own).map(|o| o.sql.clone())).collect();
        self.steps.push(Step::CreateTable { side, table: table.name().to_owned(), statements });
        self.actions.push(Action {
            side,
            target: plain(table.name(), 120),
            action: "create".into(),
            from: String::new(),
            to: "table".into(),
            reason: format!("only the {} has this table", side.other().as_str()),
        });
    }

    /// A side that does not have the table has nothing to show.
    fn pause(&mut self, shape: &Shape, hub: Option<&TableRows>, far: Option<&TableRows>, why: String) {
        let shown = |rows: &TableRows| SideValue {
            shown: super::scan::counted(rows.values().map(|r| r.count).sum(), "row"),
            content: None,
        };
        self.conflicts.push(ConflictDraft {
            item: format!("{} (schema)", plain(&shape.name, 400)),
            place: format!("table {}", plain(&shape.name, 120)),
            conflict_kind: "schema".into(),
            because: format!("the table is paused: {why}"),
            base: None,
            hub: hub.map(shown),
            spoke: far.map(shown),
            suggested: None,
            table: Some(shape.name.clone()),
            pk: vec![],
            fields: vec![],
            group: vec![],
        });
        let mut diff = TableDiff { shape: shape.clone(), paused: Some(why), ..TableDiff::default() };
        diff.changes.clear();
        self.diffs.push(diff);
    }

    /// Turns the merge's answer into steps, actions and conflicts.
    pub(super) fn write_down(&mut self, plan: RowPlan) -> Result<(), PortError> {
        let diffs = std::mem::take(&mut self.diffs);
        let shapes: BTreeMap<&str, &TableDiff> = diffs.iter().map(|d| (d.shape.name.as_str(), d)).collect();
        let mut touched: BTreeSet<(Side, &str)> = BTreeSet::new();
        for write in plan.writes {
            let Some(diff) = shapes.get(write.table.as_str()) else { continue };
            let side = port_side(write.side);
            if touched.insert((side, &diff.shape.name)) {
                self.expect_shape(side, &diff.shape);
            }
            self.actions.push(action(side, &diff.shape, &write));
            let names = |link: &Vec<usize>| link.iter().filter_map(|i| diff.shape.columns.get(*i).cloned()).collect();
            self.steps.push(Step::Write(RowWrite {
                dangles: write.dangles.iter().map(names).collect(),
                side,
                table: write.table,
                key: hex::encode(write.key),
                before: write.before.map(Cells),
                after: write.after.map(Cells),
                counts: write.counts,
            }));
        }
        for conflict in &plan.conflicts {
            if let Some(diff) = shapes.get(conflict.table.as_str()) {
                let draft = draft::draft(self.content, &shapes, &diff.shape, conflict, &plan.conflicts)?;
                self.conflicts.push(draft);
                self.steps.push(dispute(&conflict.table, [&conflict.base, &conflict.hub, &conflict.spoke]));
            }
        }
        for ((table, key), _) in &plan.held {
            if let Some(change) = shapes.get(table.as_str()).and_then(|d| d.changes.get(key)) {
                self.steps.push(dispute(table, [&change.base, &change.hub, &change.spoke]));
            }
        }
        Ok(())
    }

    fn expect_shape(&mut self, side: Side, shape: &Shape) {
        let own = self.tables.get(&shape.name).map(|t| &t[usize::from(side == Side::Spoke)]);
        let other = self.tables.get(&shape.name).map(|t| &t[usize::from(side == Side::Hub)]);
        let table = own.and_then(Option::as_ref).or(other.and_then(Option::as_ref));
        if let Some(table) = table {
            self.steps.push(Step::Shape {
                side,
                table: shape.name.clone(),
                columns: shape.columns.clone(),
                key: shape.key.clone(),
                sql: Digest::of(table.sql.as_bytes()),
            });
        }
    }

    /// Counters of both sides go to the higher one.
    fn sequences(&mut self, hub: &Open, far: &Open) {
        for (key, h) in &hub.catalog.tables {
            let Some(s) = far.catalog.tables.get(key) else { continue };
            if !(h.autoincrement && s.autoincrement && self.included(h.name()) && drift::between(h, s).is_none()) {
                continue;
            }
            let of = |o: &Open, t: &Table| o.catalog.settings.sequences.get(t.name()).copied().unwrap_or_default();
            let (at_hub, at_spoke) = (of(hub, h), of(far, s));
            let (side, from, to) =
                if at_hub < at_spoke { (Side::Hub, at_hub, at_spoke) } else { (Side::Spoke, at_spoke, at_hub) };
            if from == to || !self.may_write(side) {
                continue;
            }
            self.steps.push(Step::Sequence { side, table: h.name().to_owned(), from, to });
            self.actions.push(Action {
                side,
                target: format!("{}[{}]", "sqlite_sequence", plain(h.name(), 120)),
                action: "update".into(),
                from: from.to_string(),
                to: to.to_string(),
                reason: "the higher counter of both sides".into(),
            });
        }
    }
}

fn dispute(table: &str, [base, hub, spoke]: [&Option<Row>; 3]) -> Step {
    let cells = |row: &Option<Row>| row.clone().map(Cells);
    Step::Dispute { table: table.to_owned(), base: cells(base), hub: cells(hub), spoke: cells(spoke) }
}

fn action(side: Side, shape: &Shape, write: &rows::Write) -> Action {
    let columns: Vec<usize> = match (&write.before, &write.after) {
        (Some(b), Some(a)) => (0..a.len()).filter(|i| a[*i] != b[*i]).collect(),
        _ => vec![],
    };
    let copies = |n: u64| if write.counts.0.max(write.counts.1) > 1 { format!("{n} x ") } else { String::new() };
    let shown = |row: &Option<Row>, n| {
        row.as_ref().map(|r| copies(n) + &shown_row(&shape.columns, r, &columns)).unwrap_or_default()
    };
    let action = match (write.counts.0, write.counts.1) {
        (0, _) => "create",
        (_, 0) => "delete",
        _ => "update",
    };
    Action {
        side,
        target: target(shape, write.after.as_ref().or(write.before.as_ref())),
        action: action.into(),
        from: shown(&write.before, write.counts.0),
        to: shown(&write.after, write.counts.1),
        reason: write.because.into(),
    }
}
