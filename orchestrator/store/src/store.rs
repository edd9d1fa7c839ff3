//! The port over the operations: each method one transaction, whatever the engine.

use std::collections::BTreeMap;

use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use cathedral_model::event::{Event, EventFilter, Message, NewEvent};
use cathedral_model::ids::{ConflictId, Cursor, Digest, Fence, NodeId, RunId, SpokeName};
use cathedral_model::inbox::{ConflictRecord, ConflictState};
use cathedral_model::journal::Journaled;
use cathedral_model::observation::SpokeMemory;
use cathedral_model::plan::Answer;
use cathedral_model::ports::PortError;
use cathedral_model::ports::store::{Claim, Enqueued, Record, RunRow, Store};
use cathedral_model::run::Request;
use cathedral_model::time::Timestamp;

use crate::conn::{Conn, Place, Pool};
use crate::writer::{Work, Writer};
use crate::{event, inbox, lease, memory, plan, queue, record, statement};

/// The state store on an SQL database; `E` names the engine.
pub struct SqlStore<E> {
    writer: Writer,
    /// None: reads go through the writer, because nobody else can see the database.
    readers: Option<Arc<Pool>>,
    place: Place,
    engine: PhantomData<fn() -> E>,
}

impl<E> SqlStore<E> {
    /// Starts the writer over a migrated database.
    pub(crate) fn start(writer: Pool, readers: Option<Pool>, place: Place, keep: impl Send + 'static) -> Self {
        let readers = readers.map(Arc::new);
        let writer = Writer::start(writer, readers.clone(), place.clone(), keep);
        Self { writer, readers, place, engine: PhantomData }
    }

    /// Calls `tell` after every commit of this process. It must be quick and must not call the store.
    pub fn on_commit(&self, tell: Box<dyn Fn() + Send + Sync>) {
        self.writer.on_commit(tell);
    }

    /// Finishes what is under way and closes the database in order. A store that is only dropped loses
    /// nothing either, but its next opening checks the file as after a crash.
    pub async fn close(&self) {
        self.writer.close().await;
    }

    /// Begins the numbers of a new store above those that a lost one has left in places that remember
    /// them: fences in the spokes, runs in the log and in the folders of what was kept. Numbers that are
    /// larger already stay.
    pub async fn begin_numbers(&self, fence: Fence, run: RunId, conflict: ConflictId) -> Result<(), PortError> {
        self.write(move |conn| {
            Box::pin(async move {
                for (series, least) in [("fence", fence.0), ("run", run.0), ("conflict", conflict.0)] {
                    queue::raise(conn, series, least).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Has the engine parse every statement of the store and returns how many there are.
    pub async fn prepare_every_statement(&self) -> Result<usize, PortError> {
        self.write(|conn| {
            Box::pin(async move {
                let mut count = 0;
                for (name, what) in statement::all() {
                    conn.prepare(what).await.map_err(|e| PortError::permanent(format!("statement {name}: {e}")))?;
                    count += 1;
                }
                Ok(count)
            })
        })
        .await
    }

    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&'c mut Conn) -> Work<'c, T> + Send + 'static,
    ) -> Result<T, PortError> {
        self.writer.write(work).await
    }

    /// Every read is a single statement and so sees one state.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&'c mut Conn) -> Work<'c, T> + Send + 'static,
    ) -> Result<T, PortError> {
        match &self.readers {
            Some(pool) => work(&mut pool.acquire(&self.place).await?).await,
            None => self.writer.write(work).await,
        }
    }
}

#[async_trait]
impl<E: Send + Sync + 'static> Store for SqlStore<E> {
    async fn enqueue(&self, request: &Request, now: Timestamp) -> Result<Enqueued, PortError> {
        let request = request.clone();
        self.write(move |conn| Box::pin(async move { queue::enqueue(conn, &request, now).await })).await
    }

    async fn claim(&self, node: &NodeId, now: Timestamp, ttl_ms: u64) -> Result<Option<Claim>, PortError> {
        let node = node.clone();
        self.write(move |conn| Box::pin(async move { queue::claim(conn, &node, now, ttl_ms).await })).await
    }

    async fn renew(&self, claim: &Claim, now: Timestamp, ttl_ms: u64) -> Result<(), PortError> {
        let claim = claim.clone();
        self.write(move |conn| Box::pin(async move { queue::renew(conn, &claim, now, ttl_ms).await })).await
    }

    async fn release(&self, claim: &Claim, now: Timestamp) -> Result<(), PortError> {
        let claim = claim.clone();
        self.write(move |conn| Box::pin(async move { queue::release(conn, &claim, now).await })).await
    }

    async fn record(&self, claim: &Claim, record: &Record, now: Timestamp) -> Result<(), PortError> {
        let (claim, record) = (claim.clone(), record.clone());
        self.write(move |conn| Box::pin(async move { record::record(conn, &claim, &record, now).await })).await
    }

    async fn journal(&self, run: RunId) -> Result<Vec<Journaled>, PortError> {
        self.read(move |conn| Box::pin(record::journal(conn, run))).await
    }

    async fn run(&self, run: RunId) -> Result<Option<RunRow>, PortError> {
        self.read(move |conn| Box::pin(queue::run(conn, run))).await
    }

    async fn runs(&self, before: Option<RunId>, limit: u32) -> Result<Vec<RunRow>, PortError> {
        self.read(move |conn| Box::pin(queue::runs(conn, before, limit))).await
    }

    async fn memory(&self, spoke: &SpokeName) -> Result<SpokeMemory, PortError> {
        let spoke = spoke.clone();
        self.read(move |conn| Box::pin(async move { memory::recall(conn, &spoke).await })).await
    }

    async fn memories(&self) -> Result<BTreeMap<SpokeName, SpokeMemory>, PortError> {
        self.read(move |conn| Box::pin(async move { memory::recall_all(conn).await })).await
    }

    async fn forget_base(&self, spoke: &SpokeName, base: &Digest, now: Timestamp) -> Result<bool, PortError> {
        let (spoke, base) = (spoke.clone(), *base);
        self.write(move |conn| Box::pin(async move { memory::forget(conn, &spoke, &base, now).await })).await
    }

    async fn lease(
        &self,
        resource: &str,
        holder: &NodeId,
        now: Timestamp,
        ttl_ms: u64,
    ) -> Result<Option<Fence>, PortError> {
        let (resource, holder) = (resource.to_owned(), holder.clone());
        self.write(move |conn| Box::pin(async move { lease::take(conn, &resource, &holder, now, ttl_ms).await })).await
    }

    async fn unlease(&self, resource: &str, holder: &NodeId) -> Result<(), PortError> {
        let (resource, holder) = (resource.to_owned(), holder.clone());
        self.write(move |conn| Box::pin(async move { lease::give_back(conn, &resource, &holder).await })).await
    }

    async fn conflicts(
        &self,
        spoke: Option<&SpokeName>,
        states: &[ConflictState],
    ) -> Result<Vec<ConflictRecord>, PortError> {
        let (spoke, states) = (spoke.cloned(), states.to_vec());
        self.read(move |conn| Box::pin(async move { inbox::list(conn, spoke.as_ref(), &states).await })).await
    }

    async fn conflict(&self, id: ConflictId) -> Result<Option<ConflictRecord>, PortError> {
        self.read(move |conn| Box::pin(inbox::one(conn, id))).await
    }

    async fn answer(
        &self,
        id: ConflictId,
        answer: &Answer,
        actor: &str,
        seen: Option<&ConflictRecord>,
        now: Timestamp,
    ) -> Result<ConflictRecord, PortError> {
        let (answer, actor, seen) = (answer.clone(), actor.to_owned(), seen.cloned());
        self.write(move |conn| {
            Box::pin(async move { inbox::answer(conn, id, &answer, &actor, seen.as_ref(), now).await })
        })
        .await
    }

    async fn events(&self, after: Cursor, limit: u32) -> Result<Vec<Event>, PortError> {
        self.read(move |conn| Box::pin(event::after(conn, after, limit))).await
    }

    async fn newest_event(&self) -> Result<Cursor, PortError> {
        self.read(|conn| Box::pin(event::newest(conn))).await
    }

    async fn events_before(
        &self,
        before: Option<Cursor>,
        filter: &EventFilter,
        limit: u32,
    ) -> Result<Vec<Event>, PortError> {
        let filter = filter.clone();
        self.read(move |conn| Box::pin(async move { event::before(conn, before, &filter, limit).await })).await
    }

    async fn publish(&self, events: &[NewEvent], now: Timestamp) -> Result<(), PortError> {
        let events = events.to_vec();
        self.write(move |conn| Box::pin(async move { event::publish(conn, &events, now).await })).await
    }

    async fn undelivered(&self, limit: u32) -> Result<Vec<Message>, PortError> {
        self.read(move |conn| Box::pin(event::undelivered(conn, limit))).await
    }

    async fn delivered(&self, key: &str, now: Timestamp) -> Result<(), PortError> {
        let key = key.to_owned();
        self.write(move |conn| Box::pin(async move { event::delivered(conn, &key, now).await })).await
    }

    async fn save_plan(&self, plan: &Digest, text: &str, now: Timestamp) -> Result<(), PortError> {
        let (plan, text) = (*plan, text.to_owned());
        self.write(move |conn| Box::pin(async move { plan::save(conn, plan, text, now).await })).await
    }

    async fn plan(&self, prefix: &str) -> Result<Option<(Digest, String)>, PortError> {
        let prefix = prefix.to_owned();
        self.read(move |conn| Box::pin(async move { plan::find(conn, &prefix).await })).await
    }
}
