//! What is known of one destination, and how it stands.

use std::{fmt, time::Duration};

use jiff::Timestamp;

use super::{
    clock::{Dated, Jumps},
    event::{DeliveryReported, DestinationState},
    report::{DestinationReport, DestinationStatus, ErrorReport},
};
use crate::model::Moment;

/// A destination is stuck if its oldest item waits for longer…
const QUEUED_TOO_LONG: Duration = Duration::from_secs(3600);
/// …and none was acknowledged within this time.
const IDLE_TOO_LONG: Duration = Duration::from_secs(15 * 60);
/// A dead letter is told of for so long.
const DEAD_LETTER_TOLD: Duration = Duration::from_secs(24 * 3600);
/// A destination that refused so many of its last items takes none.
const REFUSES: u32 = 3;

/// One destination, as it last reported. Ages are measured on the steady clock.
#[derive(Debug, Clone)]
pub(super) struct DestinationHealth {
    report: DeliveryReported,
    oldest_queued: Option<Dated>,
    last_delivered: Option<Dated>,
    last_refused: Option<Dated>,
    blocked_since: Option<Dated>,
}

/// How a destination stands, with the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Delivering, or with nothing to do.
    Well,
    /// By the operator.
    Paused,
    /// The webhook no longer exists or refuses us.
    Gone,
    /// It refused so many of its last items.
    Refusing(u32),
    /// Items wait for more than an hour, and none was acknowledged for so long.
    Stuck(Duration),
    /// It has been asking us to wait, for so long if that is known.
    Blocked(Option<Duration>),
    /// Failing and retried.
    Failing,
    /// It refused an item so long ago.
    DeadLetter(Duration),
}

impl DestinationHealth {
    /// A report replaces the one before it. What it says again keeps its age.
    pub(super) fn new(before: Option<&Self>, report: DeliveryReported, jumps: &Jumps, now: Moment) -> Self {
        let dated = |at: Option<Timestamp>, known: Option<Dated>| {
            at.map(|at| known.filter(|known| known.at == at).unwrap_or_else(|| jumps.dated(at, now)))
        };
        Self {
            oldest_queued: dated(report.oldest_queued, before.and_then(|before| before.oldest_queued)),
            last_delivered: dated(report.last_delivered, before.and_then(|before| before.last_delivered)),
            last_refused: dated(report.last_refused, before.and_then(|before| before.last_refused)),
            blocked_since: dated(report.blocked_since, before.and_then(|before| before.blocked_since)),
            report,
        }
    }

    /// For how long it has acknowledged nothing, if that is too long for what waits. A daemon that was just
    /// `started` has yet to try.
    pub(super) fn stuck(&self, started: Moment, now: Moment) -> Option<Duration> {
        let on_purpose = matches!(self.report.state, DestinationState::Holding | DestinationState::Paused);
        let uptime = now.since(started);
        let idle = self.last_delivered.map_or(uptime, |last| last.age(now).min(uptime));
        let waits = self.oldest_queued.map(|oldest| oldest.age(now)).unwrap_or_default();
        (waits > QUEUED_TOO_LONG && idle > IDLE_TOO_LONG && !on_purpose).then_some(idle)
    }

    /// How it stands.
    pub(super) fn standing(&self, started: Moment, now: Moment) -> Standing {
        match self.report.state {
            DestinationState::Paused => Standing::Paused,
            DestinationState::Gone => Standing::Gone,
            _ if self.report.refused_in_a_row >= REFUSES => Standing::Refusing(self.report.refused_in_a_row),
            // a delivery says so of a block, and of a wait of a minute or more: both are known at once
            DestinationState::Holding => Standing::Blocked(self.blocked_since.map(|since| since.age(now))),
            state => match self.stuck(started, now) {
                Some(idle) => Standing::Stuck(idle),
                None if state == DestinationState::Degraded => Standing::Failing,
                None => self.dead_letter(now),
            },
        }
    }

    fn dead_letter(&self, now: Moment) -> Standing {
        match self.last_refused.map(|refused| refused.age(now)) {
            Some(ago) if ago < DEAD_LETTER_TOLD && self.report.dead_letters > 0 => Standing::DeadLetter(ago),
            _ => Standing::Well,
        }
    }

    /// Why it stands so, for people; none if it is well.
    pub(super) fn reason(&self, standing: Standing) -> Option<String> {
        let DeliveryReported { reason, last_error, queued, dead_letters, .. } = &self.report;
        let last = last_error.as_ref().map(|error| &*error.message);
        let why = reason.as_deref().or(last);
        let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
        Some(match standing {
            Standing::Well | Standing::Paused => return None,
            Standing::Gone => format!("gone{why}"),
            Standing::Refusing(items) => format!("refused its last {items} items{why}"),
            Standing::Stuck(idle) => format!("{queued} items wait, none acknowledged for {}{why}", Ago(idle)),
            Standing::Blocked(Some(since)) => format!("blocked for {}{why}", Ago(since)),
            Standing::Blocked(None) => format!("asked us to wait{why}"),
            Standing::Failing => format!("failing{why}"),
            Standing::DeadLetter(ago) => {
                let s = if *dead_letters == 1 { "" } else { "s" };
                format!("{dead_letters} dead letter{s}, the last {} ago{why}", Ago(ago))
            }
        })
    }

    pub(super) fn queued(&self) -> u64 {
        self.report.queued
    }

    pub(super) fn report(&self, standing: Standing, now: Moment) -> DestinationReport {
        DestinationReport {
            status: match standing {
                Standing::Well => DestinationStatus::Ok,
                Standing::Paused => DestinationStatus::Paused,
                Standing::Gone => DestinationStatus::Gone,
                Standing::Refusing(_) | Standing::Stuck(_) => DestinationStatus::Down,
                Standing::Blocked(_) | Standing::Failing | Standing::DeadLetter(_) => DestinationStatus::Degraded,
            },
            queued: self.report.queued,
            delivered: self.report.delivered,
            dead_letters: self.report.dead_letters,
            oldest_queued_s: self.oldest_queued.map_or(0, |oldest| oldest.age(now).as_secs()),
            last_error: self.report.last_error.as_ref().map(|error| ErrorReport {
                kind: error.kind,
                message: error.message.clone(),
                at: error.at.min(now.wall),
            }),
        }
    }
}

/// A span of time in one unit.
struct Ago(Duration);

impl fmt::Display for Ago {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            s @ 0..120 => write!(f, "{s} s"),
            s @ 120..7200 => write!(f, "{} min", s / 60),
            s => write!(f, "{} h", s / 3600),
        }
    }
}
