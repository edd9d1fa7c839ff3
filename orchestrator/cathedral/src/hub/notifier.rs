//! Where announcements go: a line in a file that tools can follow, and a delivery for each endpoint that
//! listens. What is delivered is sent by the hub that serves, now or when it runs again.

use async_trait::async_trait;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use cathedral_model::event::Message;
use cathedral_model::ports::{Notifier, OutgoingStore, PortError};
use cathedral_web::notify::Setup;

use super::env::HubEnv;

/// Appends each message as one JSON line to `.cathedral/notices.jsonl`, and hands it out to endpoints.
pub struct Notices {
    pub path: PathBuf,
    /// None where there is nobody to tell.
    pub endpoints: Option<(Arc<dyn OutgoingStore>, Setup)>,
}

#[async_trait]
impl Notifier for Notices {
    async fn deliver(&self, message: &Message) -> Result<(), PortError> {
        let line = serde_json::to_string(message).map_err(|e| PortError::permanent(e.to_string()))?;
        let write = || {
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&self.path)?;
            // One write call, so that two hubs never mix their lines.
            file.write_all(format!("{line}\n").as_bytes())
        };
        write().map_err(|e| PortError::io(self.path.display(), &e))?;
        match &self.endpoints {
            // Last, since it takes the message from the outbox.
            Some((outgoing, setup)) => {
                outgoing.hand_out(&message.key, &setup.listeners(&message.topic), HubEnv::clock()).await
            }
            None => Ok(()),
        }
    }
}
