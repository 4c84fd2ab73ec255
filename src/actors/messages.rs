//! What the actors say to each other. Imperatives ask, past participles tell.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use actix::Message;

pub use crate::health::event::{
    Configured, ConfiguredSource, DaemonReported, DeliveryReported, DestinationState, LimitReached, PollOutcome,
    SourcePolled, SourceScheduled,
};
use crate::{
    config::DiscordLimits,
    health::{
        report::{HealthSummary, SourceReport},
        state::Snapshot,
    },
    model::Name,
    store::{Fence, Ingest, Ingested, Prospect, SourceRecord, StoreError},
};

// What Health is told are values of its own; here they become messages:
// App → Health: `DaemonReported`; Supervisor → Health: `SourcePolled`, `Configured`; Source → Health: `SourceScheduled`;
// Source → Health: `LimitReached`, at most once a second;
// Delivery → Health: `DeliveryReported`, after each change of what `/health` shows of it.
macro_rules! told {
    ($($event:ty),*) => {$(impl Message for $event { type Result = (); })*};
}
told!(SourcePolled, SourceScheduled, Configured, DeliveryReported, DaemonReported, LimitReached);

/// Supervisor → Delivery: something was queued for it.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct OutboxReady;

/// Supervisor → Delivery: the configuration was reloaded; ask at once whether a destination that is gone
/// is there again.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct ProbeNow;

/// Supervisor → Delivery: colours or limits changed, and nothing else of it.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct ApplySettings {
    /// The colours of sources.
    pub colors: Arc<BTreeMap<Name, u32>>,
    /// Limits that Discord does not announce.
    pub limits: DiscordLimits,
}

/// Supervisor → Delivery, → itself: are you there? Any reply is a good one.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Ping;

/// Supervisor → any child: finish what is in flight, then stop.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Stop;

/// Web → Health: how things stand, to be made into a report.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Snapshot")]
pub struct GetSnapshot;

/// App → Health: the report in short, for systemd.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "HealthSummary")]
pub struct GetHealthSummary;

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
pub struct StoreDocument {
    /// The document.
    pub ingest: Ingest,
    /// Closed once the source's life is to end: then the document is stored no more, and the next life polls it
    /// again under its own configuration.
    pub fence: Fence,
}

/// Source → Supervisor: which entries of a document would be queued if it were stored now?
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<bool>, StoreError>")]
pub struct AppraiseDocument(pub Prospect);

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
