//! Reading back after an apply, and what both sides agree on now.
//!
//! A row that is equal on both sides is agreed. One that is not keeps its old agreed value, or the value this plan
//! gave to both sides when it has moved on since.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cathedral_model::conflict::rows::{Counted, Key, TableRows};
use cathedral_model::ecosystem::DatabaseSpoke;
use cathedral_model::ids::Digest;
use cathedral_model::observation::SideState;
use cathedral_model::ports::{Cause, Content, PortError};

use super::base::{BaseReader, BaseTable, BaseWriter};
use super::drift;
use super::name::is_included;
use super::objects::Agreed;
use super::plan::{Open, open, paired};
use super::scan::{DatabaseDigest, missing};

/// What an apply knows about single rows, by table in lower case.
pub(super) type Known = BTreeMap<String, BTreeMap<Key, Option<Counted>>>;

/// The two sides as read back, and the agreed state.
pub(super) struct Settled {
    pub hub: SideState,
    pub spoke: SideState,
    pub base: Digest,
}

/// Reads both sides, each in one transaction, and stores what they agree on.
pub(super) fn settle(
    detail: &DatabaseSpoke,
    past: Option<&Digest>,
    known: &Known,
    content: &dyn Content,
    scratch: &Path,
) -> Result<Settled, PortError> {
    let (mut old, old_schema) = match past {
        Some(id) => BaseReader::open(content, id)?.all()?,
        None => (BTreeMap::new(), None),
    };
    std::fs::create_dir_all(scratch).map_err(|e| PortError::io(scratch.display(), &e))?;
    let mut out = BaseWriter::new(scratch)?;
    let (hub, far) = (open(&detail.hub)?, open(&detail.spoke)?);
    let (Some(hub), Some(far)) = (&hub, &far) else {
        let state = |o: &Option<Open>| o.as_ref().map_or_else(|| Ok(missing()), |o| o.reading.digest(&o.catalog));
        let (hub, spoke) = (state(&hub)?, state(&far)?);
        let base = *past.ok_or_else(|| PortError::failed(Cause::NotFound, "a database of the pair is missing"))?;
        return Ok(Settled { hub, spoke, base });
    };
    out.schema(Agreed::now(&hub.catalog, &far.catalog, old_schema.as_ref()))?;
    let mut digests = (DatabaseDigest::new(&hub.catalog), DatabaseDigest::new(&far.catalog));
    let names: BTreeSet<String> =
        hub.catalog.tables.keys().chain(far.catalog.tables.keys()).chain(old.keys()).cloned().collect();
    for key in names {
        let (h, s) = (hub.catalog.tables.get(&key), far.catalog.tables.get(&key));
        let before = old.remove(&key);
        let shape = match (h, s) {
            (Some(h), Some(s)) if drift::between(h, s).is_none() => Some(paired(h, s)),
            _ => None,
        };
        let load = |side: &Open, table, digest: &mut DatabaseDigest| {
            let Some(table): Option<&super::catalog::Table> = table else { return Ok(TableRows::new()) };
            let (rows, rows_digest) =
                side.reading.load(&side.catalog, table, shape.as_ref().unwrap_or(&table.shape))?;
            digest.table(table, rows_digest);
            Ok::<_, PortError>(rows)
        };
        let hub_rows = load(hub, h, &mut digests.0)?;
        let far_rows = load(far, s, &mut digests.1)?;
        let name = h.or(s).map(|t| t.name().to_owned());
        let merged = [h, s].iter().flatten().all(|t| t.of_virtual.is_none());
        let included = merged && name.as_ref().is_some_and(|n| is_included(n, &detail.include, &detail.exclude));
        match (shape.filter(|_| included), before) {
            (Some(shape), before) => {
                let empty = BTreeMap::new();
                let carried = known.get(&key).unwrap_or(&empty);
                let old = before.unwrap_or_default().fitted(&shape, &hub_rows, &far_rows);
                out.table(&shape.name, &shape.columns)?;
                agreed(&hub_rows, &far_rows, &old, carried, &mut out)?;
            }
            // Paused, dropped on one side or filtered out: what was agreed stays known.
            (None, Some(before)) if h.is_some() || s.is_some() => keep(&before, &mut out)?,
            (None, _) => {}
        }
    }
    let base = out.finish(content)?;
    Ok(Settled { hub: digests.0.finish(), spoke: digests.1.finish(), base })
}

fn agreed(
    hub: &TableRows,
    far: &TableRows,
    old: &TableRows,
    carried: &BTreeMap<Key, Option<Counted>>,
    out: &mut BaseWriter,
) -> Result<(), PortError> {
    let keys: BTreeSet<&Key> = hub.keys().chain(far.keys()).chain(old.keys()).chain(carried.keys()).collect();
    for key in keys {
        let (h, s) = (hub.get(key), far.get(key));
        let row = if h == s {
            h
        } else {
            match carried.get(key) {
                Some(row) => row.as_ref(),
                None => old.get(key),
            }
        };
        if let Some(row) = row {
            out.row(&row.row, row.count)?;
        }
    }
    Ok(())
}

fn keep(table: &BaseTable, out: &mut BaseWriter) -> Result<(), PortError> {
    out.table(&table.name, &table.columns)?;
    table.rows.iter().try_for_each(|row| out.row(row, 1))
}
