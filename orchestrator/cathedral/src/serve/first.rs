//! The first start: somebody must be able to sign in.

use std::net::SocketAddr;

use cathedral_web::Shared;
use cathedral_web::auth::welcome::first_admin;

use crate::cli::Failure;
use crate::hub::Hub;

/// Returns the one-time link for the first administrator; none when somebody can sign in already.
pub async fn welcome(hub: &Hub, state: &Shared, address: SocketAddr) -> Result<Option<String>, Failure> {
    let path = first_admin(hub.stores.accounts.as_ref(), hub.engine.ports().env.as_ref()).await?;
    let base = state.hub.public_url().unwrap_or_else(|| format!("http://{address}"));
    Ok(path.map(|path| format!("{base}{path}")))
}
