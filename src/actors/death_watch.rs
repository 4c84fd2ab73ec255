//! How the Supervisor learns that an actor died.
//!
//! actix restarts no actor that panicked, and tells nobody: its mailbox just closes. But the actor's
//! fields are dropped while the panic unwinds, on its own thread, so a field whose `Drop` sends a
//! message tells of every end.

use std::cell::RefCell;

use actix::{Message, Recipient};

/// A child ended, by itself or by a panic.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct ChildTerminated<Id: Send + 'static> {
    /// Which child, and which of its lives.
    pub child: Id,
    /// The panic's message, if it was one.
    pub panic: Option<String>,
}

/// A field of every child.
pub struct DeathWatch<Id: Clone + Send + 'static> {
    child: Id,
    supervisor: Recipient<ChildTerminated<Id>>,
}

impl<Id: Clone + Send + 'static> DeathWatch<Id> {
    /// Tells `supervisor` when it is dropped.
    pub fn new(child: Id, supervisor: Recipient<ChildTerminated<Id>>) -> Self {
        Self { child, supervisor }
    }
}

impl<Id: Clone + Send + 'static> Drop for DeathWatch<Id> {
    fn drop(&mut self) {
        let panic = std::thread::panicking().then(|| LAST_PANIC.take().unwrap_or_else(|| "no message".into()));
        self.supervisor.do_send(ChildTerminated { child: self.child.clone(), panic });
    }
}

thread_local! {
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// For the panic hook: what the panic on this thread said.
pub fn note_panic(message: String) {
    LAST_PANIC.set(Some(message));
}
