//! Telling the outside.

use async_trait::async_trait;

use super::PortError;
use crate::event::Message;

/// Delivers a message. The same key may arrive twice; the receiver sees it once or can tell.
#[async_trait]
pub trait Notifier: Send + Sync {
    async fn deliver(&self, message: &Message) -> Result<(), PortError>;
}
