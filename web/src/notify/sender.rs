//! Sends what is due, to every endpoint by itself: one that is slow or gone holds no other one up.
//!
//! A message is taken for longer than a try can last; a sender that dies in between leaves it due again, so it
//! arrives at least once, each time under the same id.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use cathedral_engine::outgoing::{Answer, Verdict, retry_after, verdict};
use cathedral_model::notice::PING;
use cathedral_model::ports::outgoing::{EndpointStanding, GONE, Outgoing};
use cathedral_model::ports::{Env, OutgoingStore, PortError};
use cathedral_model::time::Timestamp;
use futures_util::future::join_all;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::post::{Limits, post};
use super::{Ready, Setup};

/// Longer than a try may take; after it, what was taken by a sender that died is due again.
pub const TAKEN_MS: u64 = 30_000;
/// So many messages are on their way to one endpoint at the same time.
const AT_ONCE: u32 = 4;
/// How often to look although nothing rang: clocks jump, and other nodes file.
const SAFETY: Duration = Duration::from_secs(10);
/// A burst of commits is one look.
const BURST: Duration = Duration::from_millis(50);
/// What became of one try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    pub verdict: Verdict,
    /// In words, for lists.
    pub last: String,
}

/// Sends messages.
pub struct Sender {
    pub outgoing: Arc<dyn OutgoingStore>,
    pub env: Arc<dyn Env>,
    pub limits: Limits,
}

impl Sender {
    /// Works until told to stop, then ends the tries under way. `wake` is rung by commits; `told` is called
    /// with how the endpoints stand whenever that may have changed.
    pub async fn run(
        self: Arc<Self>,
        mut setup: watch::Receiver<Arc<Setup>>,
        wake: Arc<Notify>,
        told: impl Fn(Vec<EndpointStanding>) + Send + Sync + 'static,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut work: JoinSet<String> = JoinSet::new();
        let mut busy: HashSet<String> = HashSet::new();
        loop {
            let now_in_force = Arc::clone(&setup.borrow_and_update());
            let pause = match self.begin(&now_in_force, &mut work, &mut busy, &stop).await {
                Ok(pause) => pause.min(SAFETY),
                Err(error) => {
                    tracing::error!(%error, "messages to be sent could not be looked up; trying again");
                    SAFETY
                }
            };
            tokio::select! {
                () = wake.notified() => tokio::time::sleep(BURST).await,
                () = tokio::time::sleep(pause) => {}
                Some(ended) = work.join_next() => {
                    // A name that is lost with a panic would never be sent to again: all are looked at anew.
                    match ended {
                        Ok(name) => drop(busy.remove(&name)),
                        Err(_) => busy.clear(),
                    }
                    self.tell(&told).await;
                }
                changed = setup.changed() => if changed.is_err() { break },
                _ = stop.changed() => break,
            }
        }
        while work.join_next().await.is_some() {}
    }

    /// Says how the endpoints stand.
    async fn tell(&self, told: &impl Fn(Vec<EndpointStanding>)) {
        match self.outgoing.standings().await {
            Ok(standings) => told(standings),
            Err(error) => tracing::warn!(%error, "how endpoints stand could not be looked up"),
        }
    }

    /// Starts work for every endpoint that something is due for; returns when to look again.
    async fn begin(
        self: &Arc<Self>,
        setup: &Arc<Setup>,
        work: &mut JoinSet<String>,
        busy: &mut HashSet<String>,
        stop: &watch::Receiver<bool>,
    ) -> Result<Duration, PortError> {
        let now = self.env.now();
        let mut pause = SAFETY;
        for queue in self.outgoing.queues().await? {
            if queue.next_due > now {
                pause = pause.min(Duration::from_millis(queue.next_due.ms_since(now) + 1));
                continue;
            }
            if setup.endpoint(&queue.endpoint).is_none() {
                self.nobody(&queue.endpoint, now).await?;
            } else if busy.insert(queue.endpoint.clone()) {
                let (sender, setup, stop, name) =
                    (Arc::clone(self), Arc::clone(setup), stop.clone(), queue.endpoint.clone());
                work.spawn(async move {
                    if let Err(error) = sender.drain(&setup, &name, &stop).await {
                        tracing::error!(%error, endpoint = name, "a try could not be recorded; it is made again");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                    name
                });
            }
        }
        Ok(pause)
    }

    /// Sends everything that is due now, once; for a hub that does not stay.
    ///
    /// # Errors
    /// The store's.
    pub async fn once(&self, setup: &Setup) -> Result<(), PortError> {
        let (_stop, stopped) = watch::channel(false);
        for queue in self.outgoing.queues().await? {
            if queue.next_due <= self.env.now() && setup.endpoint(&queue.endpoint).is_some() {
                self.drain(setup, &queue.endpoint, &stopped).await?;
            }
        }
        Ok(())
    }

    /// Nobody of this name is declared any more: what waits is given up, and can be sent again by hand.
    async fn nobody(&self, endpoint: &str, now: Timestamp) -> Result<(), PortError> {
        for row in self.outgoing.take(endpoint, now, now.plus_ms(TAKEN_MS), 100).await? {
            let why = "not sent: the configuration names no such endpoint";
            self.outgoing.tried(row.number, false, why, None, now).await?;
        }
        Ok(())
    }

    /// Sends what is due for one endpoint until nothing is.
    async fn drain(&self, setup: &Setup, name: &str, stop: &watch::Receiver<bool>) -> Result<(), PortError> {
        let Some(endpoint) = setup.endpoint(name) else { return Ok(()) };
        while !*stop.borrow() {
            let now = self.env.now();
            let rows = self.outgoing.take(name, now, now.plus_ms(TAKEN_MS), AT_ONCE).await?;
            if rows.is_empty() {
                break;
            }
            let is_gone = self.outgoing.standings().await?.iter().any(|s| s.endpoint == name && s.is_gone());
            for tried in join_all(rows.iter().map(|row| self.deliver(setup, endpoint, row, is_gone))).await {
                tried?;
            }
        }
        Ok(())
    }

    /// Tries once and records what came of it. What was never tried is not sent to a receiver that wants
    /// nothing any more; what a person asked for is.
    ///
    /// # Errors
    /// The store's: the try was made, and nobody knows.
    pub async fn deliver(&self, setup: &Setup, to: &Ready, row: &Outgoing, is_gone: bool) -> Result<Tried, PortError> {
        let tried = if is_gone && row.attempts == 0 && row.message.topic != PING {
            let last = format!("not sent: the endpoint has answered {GONE} before");
            Tried { verdict: Verdict::GivenUp, last }
        } else {
            self.attempt(setup, to, row).await
        };
        let (is_delivered, again) = match tried.verdict {
            Verdict::Delivered => (true, None),
            Verdict::Again(at) => (false, Some(at)),
            Verdict::GivenUp | Verdict::Gone => (false, None),
        };
        self.outgoing.tried(row.number, is_delivered, &tried.last, again, self.env.now()).await?;
        if !is_delivered {
            tracing::warn!(
                delivery = row.number,
                endpoint = to.name,
                topic = row.message.topic,
                last = tried.last,
                given_up = again.is_none(),
                "a message was not delivered"
            );
        }
        Ok(tried)
    }

    async fn attempt(&self, setup: &Setup, to: &Ready, row: &Outgoing) -> Tried {
        let (headers, body) = setup.request(to, &row.message, row.filed_at, self.env.now());
        let reply = post(&to.target, &setup.allow, &headers, body, &self.limits).await;
        let now = self.env.now();
        let (answer, last) = match reply {
            Ok(reply) => {
                let retry_after = reply.retry_after.as_deref().and_then(|text| retry_after(text, now));
                let mut last = format!("{} {}", reply.code, reply.reason).trim_end().to_owned();
                if (300..400).contains(&reply.code) {
                    last.push_str(": redirects are not followed");
                }
                (Answer::Status { code: reply.code, retry_after }, last)
            }
            Err(why) => (Answer::None, why),
        };
        let mut entropy = [0; 2];
        self.env.entropy(&mut entropy);
        Tried { verdict: verdict(&answer, row.attempts, now, u16::from_le_bytes(entropy)), last }
    }
}
