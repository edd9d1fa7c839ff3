//! What is remembered of each spoke between runs.

use std::collections::BTreeMap;

use cathedral_model::ids::{Digest, SpokeName};
use cathedral_model::observation::{Digests, SpokeMemory};
use cathedral_model::ports::PortError;
use cathedral_model::time::Timestamp;

use crate::conn::{Conn, Row, values};
use crate::statement::statements;

statements! {
    SELECT_MEMORY = "
        select base, settled_hub, settled_spoke, complete, hub_position, spoke_position
        from memory
        where spoke = $1";
    SELECT_MEMORIES = "
        select base, settled_hub, settled_spoke, complete, hub_position, spoke_position, spoke
        from memory";
    UPSERT_MEMORY = "
        insert into memory
            (spoke, base, settled_hub, settled_spoke, complete, hub_position, spoke_position, changed_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8)
        on conflict (spoke) do update
        set base = excluded.base,
            settled_hub = excluded.settled_hub,
            settled_spoke = excluded.settled_spoke,
            complete = excluded.complete,
            hub_position = excluded.hub_position,
            spoke_position = excluded.spoke_position,
            changed_at = excluded.changed_at";
}

pub(crate) async fn recall(conn: &mut Conn, spoke: &SpokeName) -> Result<SpokeMemory, PortError> {
    let Some(row) = conn.first(SELECT_MEMORY, values![spoke.as_str()]).await? else {
        return Ok(SpokeMemory::default());
    };
    read(&row)
}

/// Returns what is remembered of all spokes.
pub(crate) async fn recall_all(conn: &mut Conn) -> Result<BTreeMap<SpokeName, SpokeMemory>, PortError> {
    let mut out = BTreeMap::new();
    for row in conn.all(SELECT_MEMORIES, values![]).await? {
        let spoke = SpokeName::new(&row.text(6)?).map_err(|e| row.damaged(&e.to_string()))?;
        out.insert(spoke, read(&row)?);
    }
    Ok(out)
}

fn read(row: &Row) -> Result<SpokeMemory, PortError> {
    let settled = match (row.maybe_digest(1)?, row.maybe_digest(2)?) {
        (Some(hub), Some(spoke)) => Some(Digests { hub, spoke }),
        _ => None,
    };
    Ok(SpokeMemory {
        base: row.maybe_digest(0)?,
        settled,
        complete: row.int(3)? != 0,
        hub_position: row.text(4)?,
        spoke_position: row.text(5)?,
    })
}

pub(crate) async fn remember(
    conn: &mut Conn,
    spoke: &SpokeName,
    memory: &SpokeMemory,
    now: Timestamp,
) -> Result<(), PortError> {
    let values = values![
        spoke.as_str(),
        memory.base,
        memory.settled.map(|s| s.hub),
        memory.settled.map(|s| s.spoke),
        i64::from(memory.complete),
        memory.hub_position.as_str(),
        memory.spoke_position.as_str(),
        now,
    ];
    conn.run(UPSERT_MEMORY, values).await.map(|_| ())
}

/// Forgets what was agreed on, if that is `base`.
pub(crate) async fn forget(
    conn: &mut Conn,
    spoke: &SpokeName,
    base: &Digest,
    now: Timestamp,
) -> Result<bool, PortError> {
    if recall(conn, spoke).await?.base != Some(*base) {
        return Ok(false);
    }
    remember(conn, spoke, &SpokeMemory::default(), now).await.map(|()| true)
}
