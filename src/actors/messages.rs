//! What the actors say to each other. Imperatives ask, past participles tell.

use std::{collections::BTreeMap, time::Duration};

use actix::Message;
use jiff::Timestamp;

pub use crate::model::DeliveryError;
use crate::{
    health::report::{HealthReport, SourceReport},
    model::{Failure, Name},
    resilience::breaker::Phase,
    store::{Ingest, Ingested, SourceRecord, StoreError},
};

/// Supervisor → Health: a poll ended. Exactly one for each poll, whatever came of it.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
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
    /// Failed polls in a row, as the breaker counts them.
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

/// Source → Health: what `/health` shows of a source changed outside a poll.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct SourceScheduled {
    /// Which source.
    pub source: Name,
    /// Its breaker.
    pub breaker: Phase,
    /// Its next poll.
    pub next_poll: Option<Timestamp>,
    /// Whether an answer of 410 keeps it off.
    pub gone: bool,
}

/// App/Supervisor → Health: the sources and destinations that exist now (start, reload).
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Configured {
    /// Enabled sources, with host and interval.
    pub sources: Vec<ConfiguredSource>,
    /// Destinations.
    pub destinations: Vec<Name>,
}

/// One enabled source, as Health needs to know it.
#[derive(Debug, Clone)]
pub struct ConfiguredSource {
    /// Its name.
    pub name: Name,
    /// Its URL's host, to tell an outage from one bad host.
    pub host: String,
    /// Its interval, to tell a stalled source.
    pub interval: Duration,
}

/// Delivery → Health: after each change of what `/health` shows of a destination.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
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
    /// When the last item was acknowledged, in this run.
    pub last_delivered: Option<Timestamp>,
    /// The last error, which stays after recovery.
    pub last_error: Option<DeliveryError>,
}

/// A destination's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DestinationState {
    /// Delivering, or with nothing to do.
    Ok,
    /// Failing and retried.
    Degraded,
    /// Holding back on purpose: a rate limit's wait.
    Holding,
    /// The webhook no longer exists or refuses us; probed hourly.
    Gone,
    /// By the operator.
    Paused,
}

/// Supervisor → Delivery: something was queued for it.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct OutboxReady;

/// Supervisor → Delivery, → itself: are you there? Any reply is a good one.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Ping;

/// Supervisor → any child: finish what is in flight, then stop.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Stop;

/// Web → Health: the whole report.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "HealthReport")]
pub struct GetHealth;

/// Web → Health: one source's object.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Option<SourceReport>")]
pub struct GetSourceHealth(pub String);

/// Web, systemd watchdog → Supervisor: do Supervisor, store and every delivery actor reply within 5 s?
/// `Err` names the one that does not.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<(), String>")]
pub struct GetLiveness;

/// Web → Supervisor: is the store open and every source scheduled? `Err` says what is missing.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<(), String>")]
pub struct GetReadiness;

/// Health → Supervisor → sources: the fault is here, not there. Failures counted since the outage's
/// first are taken back, and polls wait but for one source in turn.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct OutageBegan {
    /// For each source, its failed polls since the outage's first.
    pub failures: BTreeMap<Name, u32>,
}

/// Health → Supervisor → sources: the network is back; what is overdue is polled, spread over 60 s.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct OutageEnded;

/// One of the Supervisor's children, in one of its lives.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ChildId {
    /// What it is.
    pub role: Role,
    /// Its source's or destination's name.
    pub name: Name,
    /// Counts re-creations, so that word of an earlier life is told from that of the present one.
    pub life: u64,
}

/// What a child does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Polls a source.
    Source,
    /// Serves a destination.
    Delivery,
}

/// Source → Supervisor: a new document. It answers when "seen", "queued" and the validators are durable.
#[derive(Debug, Message)]
#[rtype(result = "Result<Ingested, StoreError>")]
pub struct StoreDocument(pub Ingest);

/// Source → Supervisor: a poll ended. Exactly one for each poll, whatever came of it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct PollFinished {
    /// What came of it.
    pub polled: SourcePolled,
    /// What is to be kept of the source; none where [`StoreDocument`] has stored it already.
    pub record: Option<SourceRecord>,
    /// Whether the record holds what a kill must not undo (breaker, `Retry-After`, gone).
    pub urgent: bool,
}

/// Supervisor → Source: poll now, past schedule, breaker and outage, but never past `Retry-After`.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct PollNow;

/// Supervisor → Source: our own network is out; polls wait.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Hold {
    /// Failed polls to be taken back.
    pub failures: u32,
}

/// Supervisor → Source: the network is back.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Release {
    /// When to poll what fell due meanwhile.
    pub delay: Duration,
}
