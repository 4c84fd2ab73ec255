//! The JSON of `/health` (contract, section 7).

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use crate::store::StoreState;
use crate::{
    model::{ErrorKind, Line},
    resilience::breaker::Phase,
};

/// `GET /health`. Read, its sources are a map; written, they are the book's own pages.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HealthReport<S = BTreeMap<String, SourceReport>> {
    /// The whole's status.
    pub status: Status,
    /// Our version.
    pub version: String,
    /// When the daemon started.
    #[serde(with = "crate::model::millis")]
    pub started_at: Timestamp,
    /// Seconds since.
    pub uptime_s: u64,
    /// When this was made.
    #[serde(with = "crate::model::millis")]
    pub time: Timestamp,
    /// Why it is not `ok`.
    pub reasons: Vec<String>,
    /// `ok` or `outage`.
    pub network: Network,
    /// The store.
    pub store: StoreReport,
    /// Every enabled source.
    pub sources: S,
    /// Every destination.
    pub destinations: BTreeMap<String, DestinationReport>,
    /// The last 24 h, one entry a kind.
    pub error_patterns: Vec<ErrorPattern>,
}

/// The whole in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthSummary {
    /// The whole's status.
    pub status: Status,
    /// Why it is not `ok`.
    pub reasons: Vec<String>,
    /// Enabled sources.
    pub sources: usize,
    /// Those that are `ok` or `pending`.
    pub sources_well: usize,
    /// Items waiting, over all destinations.
    pub queued: u64,
}

/// `status`
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// All well.
    Ok,
    /// Something is not.
    Degraded,
    /// The daemon does not do its job.
    Down,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Down => "down",
        })
    }
}

/// `network`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Nothing speaks for a fault of our own.
    Ok,
    /// Too many sources on too many hosts fail at once.
    Outage,
}

/// `store`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreReport {
    /// `ok`, `failing` or `reseeding`.
    pub status: StoreState,
    /// Items remembered.
    pub items_seen: u64,
    /// Items waiting, over all destinations.
    pub outbox: u64,
    /// Items refused for good, over all destinations.
    pub dead_letters: u64,
}

/// One source.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SourceReport {
    /// Its status.
    pub status: SourceStatus,
    /// Its breaker.
    pub breaker: Phase,
    /// Requests sent, redirects not counted.
    pub attempts: u64,
    /// Polls ended.
    pub polls: u64,
    /// Polls that succeeded.
    pub successes: u64,
    /// Polls that failed.
    pub failures: u64,
    /// Percent of polls, one decimal; null before the first.
    pub success_rate: Option<f64>,
    /// The same over the last 24 h.
    pub success_rate_24h: Option<f64>,
    /// Failed polls in a row.
    pub consecutive_failures: u64,
    /// Items accepted ever.
    pub items: u64,
    /// When the last poll began.
    #[serde(with = "crate::model::millis::optional")]
    pub last_attempt: Option<Timestamp>,
    /// When the last successful poll ended.
    #[serde(with = "crate::model::millis::optional")]
    pub last_success: Option<Timestamp>,
    /// When the next is due.
    #[serde(with = "crate::model::millis::optional")]
    pub next_poll: Option<Timestamp>,
    /// The last error; it stays after recovery.
    pub last_error: Option<ErrorReport>,
}

/// `sources.NAME.status`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceStatus {
    /// All well.
    Ok,
    /// The last poll failed, or the next is overdue.
    Degraded,
    /// Its breaker is open or half-open.
    Down,
    /// By the operator.
    Paused,
    /// It answered 410.
    Gone,
    /// Its first poll has not ended.
    Pending,
}

/// `last_error`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReport {
    /// Its kind.
    pub kind: ErrorKind,
    /// What happened.
    pub message: Line,
    /// When.
    #[serde(with = "crate::model::millis")]
    pub at: Timestamp,
}

/// One destination.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DestinationReport {
    /// Its status.
    pub status: DestinationStatus,
    /// Items waiting.
    pub queued: u64,
    /// Items acknowledged ever.
    pub delivered: u64,
    /// Items refused for good.
    pub dead_letters: u64,
    /// Seconds that the oldest waiting item waits.
    pub oldest_queued_s: u64,
    /// The last error; it stays after recovery.
    pub last_error: Option<ErrorReport>,
}

impl DestinationReport {
    /// One that has not reported yet.
    pub(super) fn unknown() -> Self {
        Self {
            status: DestinationStatus::Ok,
            queued: 0,
            delivered: 0,
            dead_letters: 0,
            oldest_queued_s: 0,
            last_error: None,
        }
    }
}

/// `destinations.NAME.status`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DestinationStatus {
    /// All well.
    Ok,
    /// Failing and retried, blocked for more than a minute, or with a dead letter of the last 24 h.
    Degraded,
    /// Items older than an hour and none acknowledged in 15 minutes, or its last three items refused.
    Down,
    /// The webhook is gone.
    Gone,
    /// By the operator.
    Paused,
}

/// One kind of error over the last 24 h.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorPattern {
    /// The kind.
    pub kind: ErrorKind,
    /// How often.
    pub count: u64,
    /// Which sources.
    pub sources: Vec<String>,
    /// The first in the window.
    #[serde(with = "crate::model::millis")]
    pub first: Timestamp,
    /// The last.
    #[serde(with = "crate::model::millis")]
    pub last: Timestamp,
}
