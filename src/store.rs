//! What is kept across restarts: seen items, outbox, dead letters, validators, breaker states, counters.
//!
//! [`Store`] is the only way in. A thread of its own owns the database (sled, in `engine`), takes
//! commands from a bounded channel, and commits what is waiting in one go (group commit); an answer
//! means *durable*. Callers never block: every call is a future with a deadline, and a database that
//! does not answer within it ends the process, for a restart is the only cure.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    actors::messages::DeliveryError,
    config,
    identity::Keys,
    model::{Item, Name},
    resilience::breaker::Breaker,
};

/// What is kept of a source beside its seen items.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceRecord {
    /// Fingerprint of `url`, `kind`, `encoding`, `headers` and the parser's version: validators and body
    /// hash are good only for the same.
    pub fingerprint: u64,
    /// `ETag` of the last whole document, byte for byte.
    pub etag: Option<String>,
    /// `Last-Modified` of the last whole document, byte for byte.
    pub last_modified: Option<String>,
    /// Hash of the last whole document's bytes.
    pub body_hash: Option<u128>,
    /// The breaker.
    pub breaker: Breaker,
    /// When the next poll is due.
    pub next_poll: Option<Timestamp>,
    /// `Retry-After` obeyed until.
    pub not_before: Option<Timestamp>,
    /// Fingerprint of the configuration that was answered with 410.
    pub gone: Option<u64>,
    /// Paused by the operator.
    pub paused: bool,
    /// Last time that the last document was there, unchanged bodies and 304 included; none before the
    /// first successful poll.
    pub last_success: Option<Timestamp>,
    /// Whether the last document had items.
    pub had_items: bool,
}

/// What is kept of a destination beside its outbox.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DestinationRecord {
    /// Items acknowledged ever.
    pub delivered: u64,
    /// No request before this time (429), also across restarts.
    pub not_before: Option<Timestamp>,
    /// Failed requests in a row, for the backoff.
    pub failures: u32,
    /// The destination said that it no longer exists, or refuses us.
    pub gone: bool,
    /// Paused by the operator.
    pub paused: bool,
    /// The last error; it stays after recovery.
    pub last_error: Option<DeliveryError>,
}

/// A poll's new document, to be stored in one atomic step.
#[derive(Debug, Clone)]
pub struct Ingest {
    /// The source as configured: its name, `to`, `label`, `backfill`, `retention`.
    pub source: Arc<config::Source>,
    /// Keys of every entry of the document, in its order.
    pub keys: Vec<Keys>,
    /// The entries that may be new (those that the source does not know to be seen), ascending by index
    /// into `keys`.
    pub candidates: Vec<Candidate>,
    /// The source's record after this poll.
    pub record: SourceRecord,
    /// Now.
    pub at: Timestamp,
}

/// An entry that may be new.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its place in the document.
    pub index: usize,
    /// The entry itself.
    pub item: Item,
    /// Whether `include` and `exclude` let it pass; if not, it is marked seen and goes nowhere.
    pub passes: bool,
}

/// What came of an [`Ingest`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ingested {
    /// Items that were not seen before.
    pub new: u64,
    /// Those that were queued for their destinations.
    pub accepted: u64,
    /// Those marked seen only: by backfill at the first successful poll, or by reseeding.
    pub skipped: u64,
    /// Those kept out by the filters.
    pub filtered: u64,
}

/// One item in the outbox of one destination; its JSON is what `webhook` and `stdout` send.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// Stable: of the source's name and the item's strongest key, 32 hex digits.
    pub id: String,
    /// Where it came from.
    pub source: SourceRef,
    /// What it is.
    pub item: Item,
    /// When it was accepted.
    pub accepted_at: Timestamp,
}

/// The source of a [`Delivery`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceRef {
    /// Its name.
    pub name: String,
    /// Its label.
    pub label: String,
}

/// A [`Delivery`] with its place in the outbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Queued {
    /// Ascending in the order of delivery.
    pub seq: u64,
    /// The item.
    pub delivery: Arc<Delivery>,
}

/// How an outbox entry ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// Which.
    pub seq: u64,
    /// None: acknowledged. Else it goes to the dead letters with these words.
    pub refused: Option<DeliveryError>,
}

/// How full an outbox is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Items waiting.
    pub queued: u64,
    /// Items refused for good.
    pub dead_letters: u64,
    /// When the oldest waiting item was accepted.
    pub oldest: Option<Timestamp>,
}

/// Why the store did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It cannot be opened or written just now; it is retried by itself.
    #[error("store: {0}")]
    Failing(String),
    /// It was closed.
    #[error("store: closed")]
    Closed,
}
