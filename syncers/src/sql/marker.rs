//! The one guest in other people's databases: a table that says which plan of which run was applied last for each
//! pair, and under which fence.
//!
//! It is told from the user's tables by its whole definition and by what stands in it, never by its name alone: a
//! user's table that is called as ours would be is the user's, and ours takes the next free name.

use cathedral_model::ids::Fence;
use rusqlite::{Connection, OptionalExtension, params};

use super::apply::Token;

/// Its name, unless something of the user's is called so.
const NAME: &str = "cathedral_sync";
/// The stem of its other names: alone, then with `_2`, `_3` and so on.
const OTHER: &str = "cathedral_sync_marker";

/// What makes a row one of ours: a run, a plan's digest, and a time.
const OUR_ROW: &str = "typeof(fence) = 'integer' and length(sync_id) > 65 \
     and substr(sync_id, -65, 1) = ':' and substr(sync_id, -64) not glob '*[^0-9a-f]*' \
     and substr(sync_id, 1, length(sync_id) - 65) not glob '*[^-0-9]*' \
     and applied_at glob '????-??-??T??:??:??.???Z'";

fn definition(name: &str) -> String {
    format!(
        "CREATE TABLE {name} (pair text primary key not null, sync_id text not null, \
         fence integer not null, applied_at text not null) without rowid"
    )
}

/// Says whether a table is defined as ours is.
pub(super) fn is_definition(name: &str, sql: &str) -> bool {
    (name == NAME || name.starts_with(OTHER)) && sql == definition(name)
}

/// Returns the names of our tables; there is one at most, unless somebody copied it.
pub(super) fn find(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut found = conn.prepare_cached(
        "select name, sql from main.sqlite_schema where type = 'table' and name glob 'cathedral_sync*' order by name",
    )?;
    let mut rows = found.query([])?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        let (name, sql): (String, String) = (row.get(0)?, row.get(1)?);
        if is_definition(&name, &sql) && holds_ours_alone(conn, &name)? {
            out.push(name);
        }
    }
    Ok(out)
}

fn holds_ours_alone(conn: &Connection, name: &str) -> rusqlite::Result<bool> {
    let sql = format!("select not exists (select 1 from main.{name} where not ({OUR_ROW}))");
    conn.query_row(&sql, [], |r| r.get(0))
}

/// Returns where the last plan of the pair is noted, which it was, and its fence.
pub(super) fn read(conn: &Connection, pair: &str) -> rusqlite::Result<Option<(String, String, Fence)>> {
    let mut last: Option<(String, String, Fence)> = None;
    for name in find(conn)? {
        let sql = format!("select sync_id, fence from main.{name} where pair = ?1");
        let row = conn.query_row(&sql, [pair], |r| Ok((name.clone(), r.get(0)?, Fence(r.get(1)?)))).optional()?;
        if let Some(row) = row
            && last.as_ref().is_none_or(|l| l.2 < row.2)
        {
            last = Some(row);
        }
    }
    Ok(last)
}

/// Notes the plan in the database that it changed.
pub(super) fn write(conn: &Connection, token: &Token) -> rusqlite::Result<()> {
    let name = match find(conn)?.into_iter().next() {
        Some(name) => name,
        None => create(conn, &[])?,
    };
    conn.execute(
        &format!(
            "insert into main.{name} (pair, sync_id, fence, applied_at) \
             values (?1, ?2, ?3, strftime('%Y-%m-%dT%H:%M:%fZ')) \
             on conflict (pair) do update set sync_id = excluded.sync_id, fence = excluded.fence, \
             applied_at = excluded.applied_at"
        ),
        params![token.pair, token.sync, token.fence.0],
    )
    .map(|_| ())
}

/// Moves ours to another name where one of the statements may need the name it has.
pub(super) fn make_room(conn: &Connection, statements: &[String]) -> rusqlite::Result<()> {
    for name in find(conn)? {
        if !statements.iter().any(|sql| sql.to_ascii_lowercase().contains(&name)) {
            continue;
        }
        let other = create(conn, statements)?;
        conn.execute_batch(&format!("insert into main.{other} select * from main.{name}; drop table main.{name};"))?;
    }
    Ok(())
}

/// Makes it under the first name that is free and in none of the statements.
fn create(conn: &Connection, statements: &[String]) -> rusqlite::Result<String> {
    let others = std::iter::once(OTHER.to_owned()).chain((2u64..).map(|n| format!("{OTHER}_{n}")));
    for name in std::iter::once(NAME.to_owned()).chain(others) {
        let sql = "select exists(select 1 from main.sqlite_schema where lower(name) = ?1)";
        let taken: bool = conn.query_row(sql, [&name], |r| r.get(0))?;
        if !taken && !statements.iter().any(|sql| sql.to_ascii_lowercase().contains(&name)) {
            conn.execute(&definition(&name), [])?;
            return Ok(name);
        }
    }
    Err(rusqlite::Error::InvalidQuery)
}
