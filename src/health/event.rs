//! What Health is told.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    model::{DeliveryError, Failure, Name},
    resilience::breaker::Phase,
    store::Held,
};

/// A poll ended. Exactly one for each poll, whatever came of it.
#[derive(Debug, Clone)]
pub struct SourcePolled {
    /// Which source.
    pub source: Name,
    /// When its first attempt began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// Requests sent, redirects not counted.
    pub attempts: u32,
    /// What came of it.
    pub outcome: PollOutcome,
    /// The breaker after it.
    pub breaker: Phase,
    /// When the next one is due; none where it will not be asked again.
    pub next_poll: Option<Timestamp>,
}

/// What came of a poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PollOutcome {
    /// 304, or the same bytes as last time.
    Unchanged,
    /// A new document, stored.
    Changed {
        /// Items accepted (new, passed the filters, not skipped by backfill).
        accepted: u64,
        /// The feed had items and now has none: the pattern `empty`, still a success.
        emptied: bool,
    },
    /// It failed, after its retries.
    Failed(Failure),
    /// HTTP 410: it will not be asked again.
    Gone,
}

/// What `/health` shows of a source changed outside a poll.
#[derive(Debug, Clone)]
pub struct SourceScheduled {
    /// Which source.
    pub source: Name,
    /// Its breaker.
    pub breaker: Phase,
    /// Its next poll.
    pub next_poll: Option<Timestamp>,
    /// Whether an answer of 410 keeps it off.
    pub gone: bool,
    /// New items of its last document that were too many.
    pub held: Option<Held>,
}

/// Our own limits (open files, memory) kept an attempt from being made; it will be made again.
#[derive(Debug, Clone)]
pub struct LimitReached {
    /// Which, in words.
    pub message: String,
}

/// The sources and destinations that exist now (start, reload).
#[derive(Debug, Clone)]
pub struct Configured {
    /// Enabled sources.
    pub sources: Vec<ConfiguredSource>,
    /// Destinations.
    pub destinations: Vec<Name>,
}

/// What is wrong with the daemon itself, such as a reload that was refused. Replaces what was reported before.
#[derive(Debug, Clone, Default)]
pub struct DaemonReported {
    /// Each a reason, such as `reload: refused, …`; empty when all is well.
    pub faults: Vec<String>,
}

/// One enabled source, as Health needs to know it.
#[derive(Debug, Clone)]
pub struct ConfiguredSource {
    /// Its name.
    pub name: Name,
    /// The name that it had before.
    pub was: Option<Name>,
    /// Its URL's host, to tell an outage from one bad host.
    pub host: String,
    /// Its interval, to tell a stalled source.
    pub interval: Duration,
}

/// What `/health` shows of a destination changed.
#[derive(Debug, Clone, PartialEq)]
pub struct DeliveryReported {
    /// Which destination.
    pub destination: Name,
    /// Its state now.
    pub state: DestinationState,
    /// Items waiting.
    pub queued: u64,
    /// Acknowledged ever.
    pub delivered: u64,
    /// Refused for good, and kept.
    pub dead_letters: u64,
    /// When the oldest waiting item was accepted.
    pub oldest_queued: Option<Timestamp>,
    /// When the last item was acknowledged, in an earlier run too.
    pub last_delivered: Option<Timestamp>,
    /// The last error, which stays after recovery.
    pub last_error: Option<DeliveryError>,
    /// How many of the last items were refused, one after the other.
    pub refused_in_a_row: u32,
    /// When the last item was refused.
    pub last_refused: Option<Timestamp>,
    /// Since when it, or its host, answers nothing but that we must wait.
    pub blocked_since: Option<Timestamp>,
    /// Why the state is not `Ok`, where that is not the last error: "no answer for 12 s".
    pub reason: Option<String>,
}

/// A destination's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DestinationState {
    /// Delivering, pacing itself within a rate limit, or with nothing to do.
    Ok,
    /// Failing and retried.
    Degraded,
    /// Holding back because the destination asked for it: a 429, a block.
    Holding,
    /// The webhook no longer exists or refuses us; probed hourly.
    Gone,
    /// By the operator.
    Paused,
}
