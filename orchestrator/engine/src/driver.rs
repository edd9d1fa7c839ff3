//! The one loop that drives every saga.
//!
//! It folds the journal, asks the saga what to do, carries the steps out side by side, and records each
//! result before anything follows from it. Killed at any instant, the next claim folds the same journal
//! and goes on; a step whose result was not recorded is carried out again, which is why every step is
//! idempotent.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use futures_channel::oneshot;
use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde::Deserialize as _;

use cathedral_model::event::{Message, NewEvent};
use cathedral_model::ids::{RunId, Seq};
use cathedral_model::journal::{Journaled, Next, Saga};
use cathedral_model::ports::store::{Claim, Effect, Record};
use cathedral_model::ports::{Env, PortError, Store};
use cathedral_model::run::RunSummary;

use crate::standing::Standing;
use crate::surroundings::Options;
use crate::work::EngineError;

/// What a step gives to be recorded.
pub(crate) struct Outcome<E> {
    pub event: E,
    pub effects: Vec<Effect>,
    pub events: Vec<NewEvent>,
    pub messages: Vec<Message>,
}

impl<E> Outcome<E> {
    pub fn of(event: E) -> Self {
        Self { event, effects: vec![], events: vec![], messages: vec![] }
    }

    pub fn effect(mut self, effect: Effect) -> Self {
        self.effects.push(effect);
        self
    }

    pub fn event(mut self, event: NewEvent) -> Self {
        self.events.push(event);
        self
    }

    pub fn message(mut self, message: Message) -> Self {
        self.messages.push(message);
        self
    }
}

/// Carries out the steps of one kind of saga.
#[async_trait]
pub(crate) trait Performer<S: Saga>: Send + Sync + 'static {
    /// Carries a step out. Failures that belong to the run are outcomes; an error here stops the driver.
    async fn perform(&self, state: S, step: S::Step, claim: Claim) -> Result<Vec<Outcome<S::Event>>, PortError>;

    fn summary(&self, state: &S) -> RunSummary;

    /// Where each spoke stands, for a run that cannot be recorded any further. `begun` is the state it
    /// was taken up at.
    fn standing(&self, _state: &S, _begun: &S) -> Vec<Standing> {
        vec![]
    }
}

/// Drives a claimed run to its end, or returns why it cannot go on now.
pub(crate) async fn drive<S: Saga + Default>(
    store: &Arc<dyn Store>,
    env: &Arc<dyn Env>,
    options: &Options,
    performer: &Arc<dyn Performer<S>>,
    mut claim: Claim,
) -> Result<S, EngineError> {
    let journal = store.journal(claim.run).await?;
    let mut seq = Seq(i64::try_from(journal.len()).unwrap_or(i64::MAX));
    let mut state: S = fold(claim.run, &journal)?;
    let taken_up = state.clone();
    let mut running: Running<S> = FuturesUnordered::new();
    let mut begun: BTreeSet<S::Step> = BTreeSet::new();
    let outcome = loop {
        match state.next(env.now()) {
            Next::Done if running.is_empty() => break Ok(()),
            Next::Done => {}
            Next::Parked(why) => break Err(EngineError::Parked(why)),
            Next::WaitUntil(at) => env.sleep(at.ms_since(env.now())).await,
            Next::Do(steps) => {
                for step in steps {
                    if begun.insert(step.clone()) {
                        running.push(spawn(env, performer, state.clone(), step, claim.clone()));
                    }
                }
            }
        }
        if running.is_empty() {
            continue;
        }
        // The claim is renewed while steps take their time, so that nobody takes the run over.
        let beat = env.sleep(options.lease_ttl_ms / 3);
        match select(running.next(), beat).await {
            Either::Right(((), _)) => {
                if let Err(error) = store.renew(&claim, env.now(), options.lease_ttl_ms).await {
                    if matches!(error, PortError::Fenced(_)) {
                        break Err(error.into());
                    }
                } else {
                    claim.expires = env.now().plus_ms(options.lease_ttl_ms);
                }
            }
            Either::Left((None, _)) => {}
            Either::Left((Some(Err(oneshot::Canceled)), _)) => break Err(EngineError::Panicked),
            Either::Left((Some(Ok((step, result))), _)) => {
                begun.remove(&step);
                let recorded = match result {
                    Ok(outcomes) => {
                        record_all(store, env, performer.as_ref(), &claim, &mut seq, state.clone(), outcomes).await
                    }
                    Err(error) => Err(error.into()),
                };
                match recorded {
                    Ok(next) => state = next,
                    Err(error) => break Err(error),
                }
            }
        }
    };
    // Steps that still run hold a claim that may be lost: wait for them rather than leave them behind.
    while running.next().await.is_some() {}
    match outcome {
        Ok(()) => Ok(state),
        // Somebody else goes on with it, or it goes on by itself: it has not failed.
        Err(error @ (EngineError::Port(PortError::Fenced(_)) | EngineError::Parked(_))) => Err(error),
        Err(error) => {
            let standing = performer.standing(&state, &taken_up);
            Err(EngineError::Stopped { run: Some(claim.run), standing, source: Box::new(error) })
        }
    }
}

type StepResult<E> = Result<Vec<Outcome<E>>, PortError>;

/// Steps that were begun; each gives itself back with its result.
type Running<S> = FuturesUnordered<oneshot::Receiver<(<S as Saga>::Step, StepResult<<S as Saga>::Event>)>>;

fn spawn<S: Saga>(
    env: &Arc<dyn Env>,
    performer: &Arc<dyn Performer<S>>,
    state: S,
    step: S::Step,
    claim: Claim,
) -> oneshot::Receiver<(S::Step, StepResult<S::Event>)> {
    let (send, receive) = oneshot::channel();
    let performer = Arc::clone(performer);
    env.spawn(Box::pin(async move {
        let result = performer.perform(state, step.clone(), claim).await;
        // The receiver is gone only when the driver itself was dropped.
        let _ = send.send((step, result));
    }));
    receive
}

async fn record_all<S: Saga>(
    store: &Arc<dyn Store>,
    env: &Arc<dyn Env>,
    performer: &dyn Performer<S>,
    claim: &Claim,
    seq: &mut Seq,
    mut state: S,
    outcomes: Vec<Outcome<S::Event>>,
) -> Result<S, EngineError> {
    for outcome in outcomes {
        state = state.apply(&outcome.event).map_err(|e| EngineError::Illegal(e.to_string()))?;
        let event = serde_json::to_value(&outcome.event).map_err(|e| PortError::permanent(e.to_string()))?;
        let name = event.get("event").and_then(|v| v.as_str()).unwrap_or("event").to_owned();
        let record = Record {
            seq: *seq,
            event,
            summary: performer.summary(&state),
            effects: outcome.effects,
            events: outcome.events,
            messages: outcome.messages,
            finished: state.next(env.now()) == Next::Done,
        };
        record_once(store, env, claim, &record).await?;
        *seq = Seq(seq.0 + 1);
        env.reached(&format!("journal:{}:{name}", claim.run));
    }
    Ok(state)
}

/// Records exactly once although answers may be lost: after a failure in passing the journal says
/// whether the record is there.
async fn record_once(
    store: &Arc<dyn Store>,
    env: &Arc<dyn Env>,
    claim: &Claim,
    record: &Record,
) -> Result<(), EngineError> {
    let mut pause = 50;
    for _ in 0..8 {
        match store.record(claim, record, env.now()).await {
            Ok(()) => return Ok(()),
            Err(PortError::Transient { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        env.sleep(pause).await;
        pause = (pause * 2).min(2_000);
        if let Ok(journal) = store.journal(claim.run).await
            && let Some(there) = journal.iter().find(|j| j.seq == record.seq)
        {
            let same = there.event == record.event;
            let lost = || EngineError::Port(PortError::Fenced(format!("run {}", claim.run)));
            return if same { Ok(()) } else { Err(lost()) };
        }
    }
    Err(EngineError::Port(PortError::transient(
        cathedral_model::ports::Cause::Busy,
        format!("the state store did not take record {} of run {}", record.seq, claim.run),
    )))
}

/// The state that a journal tells of.
pub(crate) fn fold<S: Saga + Default>(run: RunId, journal: &[Journaled]) -> Result<S, PortError> {
    let corrupt = |seq: Seq, why: String| PortError::Corrupt(format!("journal of run {run} at {seq}: {why}"));
    journal.iter().try_fold(S::default(), |state, record| {
        let event = S::Event::deserialize(&record.event).map_err(|e| corrupt(record.seq, e.to_string()))?;
        state.apply(&event).map_err(|e| corrupt(record.seq, e.to_string()))
    })
}
