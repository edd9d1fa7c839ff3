//! Leases on resources: who may change what, until when.

use cathedral_model::ids::{Fence, NodeId};
use cathedral_model::ports::PortError;
use cathedral_model::time::Timestamp;

use crate::conn::{Conn, values};
use crate::queue::{next_number, raise};
use crate::statement::statements;

statements! {
    SELECT_LEASE = "select holder, fence, expires_at from lease where resource = $1";
    UPDATE_LEASE = "update lease set expires_at = $2 where resource = $1";
    UPSERT_LEASE = "
        insert into lease (resource, holder, fence, expires_at)
        values ($1, $2, $3, $4)
        on conflict (resource) do update
        set holder = excluded.holder, fence = excluded.fence, expires_at = excluded.expires_at";
    DELETE_LEASE = "delete from lease where resource = $1 and holder = $2";
}

pub(crate) async fn take(
    conn: &mut Conn,
    resource: &str,
    holder: &NodeId,
    now: Timestamp,
    ttl_ms: u64,
) -> Result<Option<Fence>, PortError> {
    let expires = now.plus_ms(ttl_ms);
    if let Some(row) = conn.first(SELECT_LEASE, values![resource]).await? {
        let (held_by, fence, until) = (row.text(0)?, row.int(1)?, row.time(2)?);
        if held_by == holder.as_str() {
            conn.run(UPDATE_LEASE, values![resource, expires]).await?;
            return Ok(Some(Fence(fence)));
        }
        if until > now {
            return Ok(None);
        }
    }
    // From the series of the whole store: a lease that was given back and forgotten still counts on. It never falls
    // behind the clock in milliseconds, so that a store that was put back from an older copy of itself does not hand
    // out again what spokes have seen since.
    raise(conn, "fence", now.0 / 1_000).await?;
    let fence = next_number(conn, "fence").await?;
    conn.run(UPSERT_LEASE, values![resource, holder.as_str(), fence, expires]).await?;
    Ok(Some(Fence(fence)))
}

pub(crate) async fn give_back(conn: &mut Conn, resource: &str, holder: &NodeId) -> Result<(), PortError> {
    conn.run(DELETE_LEASE, values![resource, holder.as_str()]).await.map(|_| ())
}
