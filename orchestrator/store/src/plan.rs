//! Saved plans, found by the beginning of their id.

use cathedral_model::ids::Digest;
use cathedral_model::ports::{Cause, PortError};
use cathedral_model::time::Timestamp;

use crate::conn::{Conn, values};
use crate::statement::statements;

statements! {
    INSERT_PLAN = "insert into plan (id, body, saved_at) values ($1, $2, $3) on conflict (id) do nothing";
    SELECT_PLANS = "select id, body from plan where id >= $1 and id <= $2 order by id limit 2";
}

pub(crate) async fn save(conn: &mut Conn, plan: Digest, text: String, now: Timestamp) -> Result<(), PortError> {
    conn.run(INSERT_PLAN, values![plan, text, now]).await.map(|_| ())
}

pub(crate) async fn find(conn: &mut Conn, prefix: &str) -> Result<Option<(Digest, String)>, PortError> {
    let Some((first, last)) = bounds(prefix) else {
        return Ok(None);
    };
    let rows = conn.all(SELECT_PLANS, values![first, last]).await?;
    match rows.as_slice() {
        [] => Ok(None),
        [row] => Ok(Some((row.digest(0)?, row.text(1)?))),
        _ => Err(PortError::failed(Cause::Invalid, format!("several plans begin with {prefix:?}: use more digits"))),
    }
}

/// The smallest and the greatest digest that begin with these hex digits.
fn bounds(prefix: &str) -> Option<(Digest, Digest)> {
    if prefix.len() > 64 || !prefix.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let padded = |with: char| {
        let text: String = prefix.chars().chain(std::iter::repeat_n(with, 64 - prefix.len())).collect();
        Digest::parse(&text.to_ascii_lowercase()).ok()
    };
    Some((padded('0')?, padded('f')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_becomes_the_range_of_ids_that_begin_with_it() {
        let (first, last) = bounds("aB3").expect("hex digits");
        assert_eq!(first.to_string(), format!("ab3{}", "0".repeat(61)));
        assert_eq!(last.to_string(), format!("ab3{}", "f".repeat(61)));
        assert!(bounds("xyz").is_none());
        assert!(bounds(&"a".repeat(65)).is_none());
        assert!(bounds("äh").is_none());
    }
}
