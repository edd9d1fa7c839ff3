//! Where announcements go in an embedded hub: a line in a file that tools can follow.

use async_trait::async_trait;
use std::io::Write;
use std::path::PathBuf;

use cathedral_model::event::Message;
use cathedral_model::ports::{Notifier, PortError};

/// Appends each message as one JSON line to `.cathedral/notices.jsonl`.
pub struct NoticeFile {
    pub path: PathBuf,
}

#[async_trait]
impl Notifier for NoticeFile {
    async fn deliver(&self, message: &Message) -> Result<(), PortError> {
        let line = serde_json::to_string(message).map_err(|e| PortError::permanent(e.to_string()))?;
        let write = || {
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&self.path)?;
            // One write call, so that two hubs never mix their lines.
            file.write_all(format!("{line}\n").as_bytes())
        };
        write().map_err(|e| PortError::io(self.path.display(), &e))
    }
}
