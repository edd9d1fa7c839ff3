//! Accepted configurations.

use async_trait::async_trait;
use cathedral_model::event::NewEvent;
use cathedral_model::ids::Digest;
use cathedral_model::ports::PortError;
use cathedral_model::ports::versions::{ConfigVersion, ConfigVersions};
use cathedral_model::time::Timestamp;

use crate::conn::{Conn, Row, values};
use crate::event;
use crate::queue::next_number;
use crate::statement::statements;
use crate::store::SqlStore;

statements! {
    SELECT_VERSIONS = "
        select number, digest, body, accepted_at, cause
        from config_version
        order by number desc
        limit $1";
    INSERT_VERSION = "
        insert into config_version (number, digest, body, accepted_at, cause)
        values ($1, $2, $3, $4, $5)";
}

async fn accept(conn: &mut Conn, text: String, cause: String, now: Timestamp) -> Result<ConfigVersion, PortError> {
    let newest = list(conn, 1).await?.into_iter().next();
    if let Some(newest) = newest.filter(|newest| newest.text == text) {
        return Ok(newest);
    }
    let number = next_number(conn, "config_version").await?;
    let version = ConfigVersion { number, digest: Digest::of(text.as_bytes()), text, accepted_at: now, cause };
    let values = values![number, version.digest, version.text.as_str(), now, version.cause.as_str()];
    conn.run(INSERT_VERSION, values).await?;
    let data = serde_json::json!({ "version": number, "digest": version.digest, "cause": version.cause });
    let told = NewEvent { kind: "config.accepted".to_owned(), run: None, spoke: None, data };
    event::publish(conn, &[told], now).await?;
    Ok(version)
}

async fn list(conn: &mut Conn, limit: u32) -> Result<Vec<ConfigVersion>, PortError> {
    conn.all(SELECT_VERSIONS, values![limit]).await?.iter().map(version).collect()
}

fn version(row: &Row) -> Result<ConfigVersion, PortError> {
    Ok(ConfigVersion {
        number: row.int(0)?,
        digest: row.digest(1)?,
        text: row.text(2)?,
        accepted_at: row.time(3)?,
        cause: row.text(4)?,
    })
}

#[async_trait]
impl<E: Send + Sync + 'static> ConfigVersions for SqlStore<E> {
    async fn accept_config(&self, text: &str, cause: &str, now: Timestamp) -> Result<ConfigVersion, PortError> {
        let (text, cause) = (text.to_owned(), cause.to_owned());
        self.write(move |conn| Box::pin(accept(conn, text, cause, now))).await
    }

    async fn config_versions(&self, limit: u32) -> Result<Vec<ConfigVersion>, PortError> {
        self.read(move |conn| Box::pin(list(conn, limit))).await
    }
}
