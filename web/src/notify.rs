//! Telling the outside: signed webhooks and messages to Slack channels.
//!
//! What is to be told is filed with the change it tells of; [`sender`] takes it from there until it has
//! arrived or is given up. A receiver may get a message twice, always under the same id, and never one that
//! it cannot check. The hub calls public addresses, and others only where the configuration lists them.

pub mod post;
pub mod sender;
pub mod sign;
#[cfg(feature = "tls")]
pub mod tls;

use cathedral_model::config::notify::{Endpoint, EventPattern, Target, signing_key};
use cathedral_model::config::operation::NotificationKind;
use cathedral_model::egress::Allowed;
use cathedral_model::event::Message;
use cathedral_model::notice;
use cathedral_model::time::Timestamp;
use hyper::body::Bytes;

use crate::hub::Secret;

/// An endpoint that can be sent to.
#[derive(Clone)]
pub struct Ready {
    pub name: String,
    pub kind: NotificationKind,
    events: Vec<EventPattern>,
    /// May be a secret as a whole.
    target: Target,
    secrets: Vec<Secret>,
}

impl Ready {
    /// Takes address and secrets from the configuration.
    ///
    /// # Errors
    /// What is wrong with them; a configuration that was checked has none of it.
    pub fn of(declared: &Endpoint) -> Result<Self, &'static str> {
        let target = Target::parse(declared.url.expose().ok_or("its address is not there")?)?;
        let keys = declared.secrets.iter().map(|s| signing_key(s.expose().unwrap_or_default()).map(Secret));
        let secrets = match declared.kind {
            NotificationKind::Webhook => keys.collect::<Result<_, _>>()?,
            NotificationKind::Slack | NotificationKind::Email => vec![],
        };
        let (name, kind, events) = (declared.name.clone(), declared.kind, declared.events.clone());
        Ok(Self { name, kind, events, target, secrets })
    }

    /// Whether it is told of a kind of message.
    #[must_use]
    pub fn wants(&self, topic: &str) -> bool {
        self.events.is_empty() || self.events.iter().any(|pattern| pattern.means(topic))
    }
}

/// Whom to tell, as the configuration in force has it.
#[derive(Clone, Default)]
pub struct Setup {
    pub ecosystem: String,
    pub public_url: Option<String>,
    pub allow: Vec<Allowed>,
    pub endpoints: Vec<Ready>,
}

impl Setup {
    #[must_use]
    pub fn endpoint(&self, name: &str) -> Option<&Ready> {
        self.endpoints.iter().find(|endpoint| endpoint.name == name)
    }

    /// The names of those that are told of a kind of message.
    #[must_use]
    pub fn listeners(&self, topic: &str) -> Vec<String> {
        self.endpoints.iter().filter(|e| e.wants(topic)).map(|e| e.name.clone()).collect()
    }

    /// Headers and body of one try. The body is the same for every try; time and signature are this one's.
    fn request(&self, to: &Ready, message: &Message, filed_at: Timestamp, now: Timestamp) -> (Vec<Header>, Bytes) {
        let url = self.public_url.as_deref();
        let body = match to.kind {
            NotificationKind::Slack => notice::slack(message, &self.ecosystem, url),
            NotificationKind::Webhook | NotificationKind::Email => {
                notice::body(message, &self.ecosystem, url, filed_at)
            }
        };
        let body = Bytes::from(body.to_string());
        let mut headers = vec![
            ("content-type", "application/json".to_owned()),
            ("user-agent", concat!("cathedral/", env!("CARGO_PKG_VERSION")).to_owned()),
        ];
        if !to.secrets.is_empty() {
            let id = notice::message_id(&self.ecosystem, &message.key, filed_at);
            let seconds = now.0.div_euclid(1_000_000);
            headers.push(("webhook-signature", sign::signatures(&to.secrets, &id, seconds, &body)));
            headers.push(("webhook-timestamp", seconds.to_string()));
            headers.push(("webhook-id", id));
        }
        (headers, body)
    }
}

type Header = (&'static str, String);
