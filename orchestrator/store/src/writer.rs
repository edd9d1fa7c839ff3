//! The one writer of a store: group commit.
//!
//! Calls queue up while a commit is under way; the next transaction carries all of them out, each
//! in a savepoint, and one flush to disk serves them all. A call that fails is rolled back by itself.
//! Nobody is answered, not even with an error, before the commit: an answer may depend on a call
//! before it in the same transaction.

use std::future::Future;
use std::pin::Pin;

use async_trait::async_trait;
use cathedral_model::ports::PortError;
use tokio::sync::{mpsc, oneshot};

use crate::conn::{Conn, Place, Pool};
use crate::error::again;

/// At most so many calls share one commit, so that the first of them does not wait for ever.
const BATCH: usize = 256;
/// So many calls wait before further ones are held back.
const QUEUE: usize = 1024;

/// The work of one call within a transaction.
pub(crate) type Work<'c, T> = Pin<Box<dyn Future<Output = Result<T, PortError>> + Send + 'c>>;

/// One call, whatever it returns.
#[async_trait]
trait Job: Send {
    /// Carries the call out; false when it failed and must be rolled back.
    async fn run(&mut self, conn: &mut Conn) -> bool;
    /// Returns why it failed.
    fn failure(&self) -> Option<PortError>;
    /// Hands the caller its result, or the error of the commit.
    fn answer(self: Box<Self>, commit: Result<(), &PortError>);
}

struct Call<T, F> {
    work: Option<F>,
    result: Option<Result<T, PortError>>,
    caller: oneshot::Sender<Result<T, PortError>>,
}

#[async_trait]
impl<T, F> Job for Call<T, F>
where
    T: Send,
    F: for<'c> FnOnce(&'c mut Conn) -> Work<'c, T> + Send,
{
    async fn run(&mut self, conn: &mut Conn) -> bool {
        if let Some(work) = self.work.take() {
            self.result = Some(work(conn).await);
        }
        matches!(self.result, Some(Ok(_)))
    }

    fn failure(&self) -> Option<PortError> {
        self.result.as_ref().and_then(|r| r.as_ref().err()).map(again)
    }

    fn answer(self: Box<Self>, commit: Result<(), &PortError>) {
        let result = match (commit, self.result) {
            (Err(error), _) => Err(again(error)),
            (Ok(()), Some(result)) => result,
            (Ok(()), None) => Err(PortError::permanent("the call was not carried out")),
        };
        // A caller that has gone away needs no answer.
        let _ = self.caller.send(result);
    }
}

enum Order {
    Do(Box<dyn Job>),
    Close(oneshot::Sender<()>),
}

/// The entrance to the writer.
pub(crate) struct Writer {
    orders: mpsc::Sender<Order>,
    place: Place,
    told: Told,
}

/// Who is told of commits.
type Told = std::sync::Arc<std::sync::OnceLock<Box<dyn Fn() + Send + Sync>>>;

impl Writer {
    /// Starts the writer. `keep` is dropped when it has ended and its connections are closed.
    pub(crate) fn start(
        pool: Pool,
        readers: Option<std::sync::Arc<Pool>>,
        place: Place,
        keep: impl Send + 'static,
    ) -> Self {
        let (orders, queue) = mpsc::channel(QUEUE);
        let told = Told::default();
        let writer = Self { orders, place: place.clone(), told: told.clone() };
        tokio::spawn(async move {
            let closing = serve(&pool, &place, queue, &told).await;
            // Readers first: the last connection to close tidies the file.
            if let Some(readers) = readers {
                readers.close().await;
            }
            pool.close().await;
            drop(keep);
            if let Some(caller) = closing {
                let _ = caller.send(());
            }
        });
        writer
    }

    /// Carries `work` out in a transaction and returns when it is committed. When the caller is dropped
    /// meanwhile, the work is still carried out completely or not at all.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&'c mut Conn) -> Work<'c, T> + Send + 'static,
    ) -> Result<T, PortError> {
        let (caller, answer) = oneshot::channel();
        let gone = || PortError::permanent(format!("state database {}: the store has been closed", self.place));
        let job = Box::new(Call { work: Some(work), result: None, caller });
        self.orders.send(Order::Do(job)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Calls `tell` after every commit from now on; the first one set stays.
    pub(crate) fn on_commit(&self, tell: Box<dyn Fn() + Send + Sync>) {
        // A second one would have to know of the first: there is one listener a process.
        let _ = self.told.set(tell);
    }

    /// Finishes what is queued and closes every connection.
    pub(crate) async fn close(&self) {
        let (caller, closed) = oneshot::channel();
        if self.orders.send(Order::Close(caller)).await.is_ok() {
            let _ = closed.await;
        }
    }
}

/// Works until the store is dropped or closed; returns who waits for the end.
async fn serve(
    pool: &Pool,
    place: &Place,
    mut queue: mpsc::Receiver<Order>,
    told: &Told,
) -> Option<oneshot::Sender<()>> {
    let mut held: Option<Conn> = None;
    let mut closing = None;
    while closing.is_none() {
        let mut batch = Vec::new();
        match queue.recv().await? {
            Order::Do(job) => batch.push(job),
            Order::Close(caller) => return Some(caller),
        }
        while batch.len() < BATCH {
            match queue.try_recv() {
                Ok(Order::Do(job)) => batch.push(job),
                Ok(Order::Close(caller)) => {
                    closing = Some(caller);
                    break;
                }
                Err(_) => break,
            }
        }
        let conn = match held.take() {
            Some(conn) => Ok(conn),
            None => pool.acquire(place).await,
        };
        let outcome = match conn {
            Ok(mut conn) => {
                let outcome = transaction(&mut conn, &mut batch).await;
                if let Err(error) = &outcome {
                    tracing::warn!(store = %place, calls = batch.len(), %error, "a transaction has failed");
                }
                if outcome.is_ok() || end(&mut conn).await {
                    held = Some(conn);
                } else {
                    conn.discard();
                }
                outcome
            }
            Err(error) => Err(error),
        };
        for job in batch {
            job.answer(outcome.as_ref().copied());
        }
        if let (Ok(()), Some(tell)) = (&outcome, told.get()) {
            tell();
        }
    }
    closing
}

/// Carries a batch out in one transaction.
async fn transaction(conn: &mut Conn, batch: &mut [Box<dyn Job>]) -> Result<(), PortError> {
    conn.begin().await?;
    if let [only] = batch {
        let end = if only.run(conn).await { "commit" } else { "rollback" };
        let ended = conn.script(end, end).await;
        // As below: the engine may have ended it already.
        return if end == "rollback" && conn.is_sqlite() { Ok(()) } else { ended };
    }
    conn.script("savepoint call", "savepoint call").await?;
    for job in batch {
        if job.run(conn).await {
            // In one message: with a server each one is a way there and back.
            let next = "release savepoint call; savepoint call";
            conn.script(next, next).await?;
        } else {
            let undone = conn.script("rollback to savepoint call", "rollback to savepoint call").await;
            // The engine has ended the whole transaction, as it does when the disk is full: nobody's
            // call is there, and what the call met tells more than the missing savepoint.
            undone.map_err(|error| job.failure().unwrap_or(error))?;
        }
    }
    conn.script("commit", "commit").await
}

/// Ends a failed transaction; false when the connection cannot be used again.
async fn end(conn: &mut Conn) -> bool {
    match conn.script("rollback", "rollback").await {
        Ok(()) => true,
        // The engine had already ended it, as it does when the disk is full.
        Err(error) => conn.is_sqlite() && error.to_string().contains("no transaction is active"),
    }
}
