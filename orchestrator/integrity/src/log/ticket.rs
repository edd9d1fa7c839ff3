//! An answer that is waited for, by a thread or by a task of any runtime.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

struct Slot<T> {
    answer: Option<T>,
    /// The promise is gone, answered or not.
    closed: bool,
    waker: Option<Waker>,
}

struct Shared<T> {
    slot: Mutex<Slot<T>>,
    changed: Condvar,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Slot<T>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The side that answers; dropping it without an answer ends the wait too.
pub(crate) struct Promise<T>(Arc<Shared<T>>);

/// The side that waits. Dropping it does not undo what was asked for.
pub(crate) struct Ticket<T>(Arc<Shared<T>>);

pub(crate) fn ticket<T>() -> (Promise<T>, Ticket<T>) {
    let slot = Slot { answer: None, closed: false, waker: None };
    let shared = Arc::new(Shared { slot: Mutex::new(slot), changed: Condvar::new() });
    (Promise(shared.clone()), Ticket(shared))
}

impl<T> Promise<T> {
    pub fn answer(self, value: T) {
        self.0.lock().answer = Some(value);
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        let mut slot = self.0.lock();
        slot.closed = true;
        let waker = slot.waker.take();
        drop(slot);
        self.0.changed.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Ticket<T> {
    /// Blocks this thread until the answer is there.
    pub fn wait(self) -> Option<T> {
        let slot = self.0.lock();
        let mut slot = self.0.changed.wait_while(slot, |s| !s.closed).unwrap_or_else(PoisonError::into_inner);
        slot.answer.take()
    }
}

impl<T> Future for Ticket<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut slot = self.0.lock();
        if slot.closed {
            return Poll::Ready(slot.answer.take());
        }
        slot.waker = Some(context.waker().clone());
        Poll::Pending
    }
}
