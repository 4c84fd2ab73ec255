//! What is known of one source: its counters, its breaker, its schedule, and how it stands.

use std::time::Duration;

use super::{
    counters::SourceCounters,
    report::{SourceReport, SourceStatus},
};
use crate::{
    model::{ErrorKind, Moment},
    resilience::breaker::Phase,
    store::Held,
};

/// A poll that is overdue by its interval and this long is stalled.
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// One source.
#[derive(Debug, Clone)]
pub(super) struct SourceHealth {
    pub(super) host: String,
    pub(super) interval: Duration,
    pub(super) counters: SourceCounters,
    pub(super) breaker: Phase,
    /// When its next poll is due, on the steady clock: one that does not come is late whatever the system's
    /// clock says.
    pub(super) due: Option<Duration>,
    pub(super) gone: bool,
    /// New items of the last document that were too many.
    pub(super) held: Option<Held>,
    pub(super) unsaved: bool,
    /// Counters of earlier runs are in it.
    pub(super) restored: bool,
}

impl SourceHealth {
    /// One that was not polled yet.
    pub(super) fn new(host: String, interval: Duration) -> Self {
        Self {
            host,
            interval,
            counters: SourceCounters::default(),
            breaker: Phase::Closed,
            due: None,
            gone: false,
            held: None,
            unsaved: false,
            restored: false,
        }
    }

    pub(super) fn phase(&self, now: Moment) -> Phase {
        // an open breaker turns half-open by time alone, and nobody sends word of it
        match self.breaker {
            Phase::Open if self.due.is_some_and(|due| due <= now.steady) => Phase::HalfOpen,
            phase => phase,
        }
    }

    fn overdue(&self, now: Moment) -> Option<Duration> {
        let late = now.steady.checked_sub(self.due?)?;
        (late > self.interval.saturating_add(STALLED_AFTER)).then_some(late)
    }

    pub(super) fn status(&self, now: Moment) -> SourceStatus {
        if self.gone {
            SourceStatus::Gone
        } else if self.phase(now) != Phase::Closed {
            SourceStatus::Down
        } else if self.counters.consecutive_failures > 0 || self.overdue(now).is_some() || self.held.is_some() {
            SourceStatus::Degraded
        } else if self.counters.polls() == 0 {
            SourceStatus::Pending
        } else {
            SourceStatus::Ok
        }
    }

    pub(super) fn report(&self, now: Moment) -> SourceReport {
        let counters = &self.counters;
        SourceReport {
            status: self.status(now),
            breaker: self.phase(now),
            attempts: counters.attempts,
            polls: counters.polls(),
            successes: counters.successes,
            failures: counters.failures,
            success_rate: counters.success_rate(),
            success_rate_24h: counters.success_rate_24h(now.wall),
            consecutive_failures: counters.consecutive_failures,
            items: counters.items,
            last_attempt: counters.last_attempt,
            last_success: counters.last_success,
            next_poll: self.due.map(|due| now.wall_at(due)),
            last_error: counters.last_error.clone(),
        }
    }

    pub(super) fn reason(&self, now: Moment) -> Option<String> {
        let failed = || {
            let kind = self.counters.last_error.as_ref().map(|error| match error.kind {
                // it is for the operator to mend, who needs to know what no longer fits
                ErrorKind::Selector => format!(" ({}: {})", error.kind, error.message),
                kind => format!(" ({kind})"),
            });
            let count = self.counters.consecutive_failures;
            format!("{count} failure{}{}", if count == 1 { "" } else { "s" }, kind.unwrap_or_default())
        };
        match self.status(now) {
            SourceStatus::Gone => Some("gone (HTTP 410), not asked again until its configuration changes".into()),
            SourceStatus::Down => {
                let phase = if self.phase(now) == Phase::Open { "open" } else { "half-open" };
                Some(format!("breaker {phase} after {}", failed()))
            }
            SourceStatus::Degraded => Some(match self.overdue(now) {
                Some(late) => format!("stalled, its poll is overdue by {} s", late.as_secs()),
                None => self.held.filter(|_| self.counters.consecutive_failures == 0).map_or_else(failed, flooded),
            }),
            SourceStatus::Ok | SourceStatus::Pending | SourceStatus::Paused => None,
        }
    }
}

/// Why a source is degraded that had too many new items at once.
fn flooded(Held { held, of }: Held) -> String {
    let kept = of.saturating_sub(held);
    let (held, of) = (thousands(held), thousands(of));
    format!("held back {held} of {of} new items of one poll (hold_above = {kept})")
}

/// With a comma at every third digit.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_with_its_figures() {
        let told = "held back 1,234 of 1,284 new items of one poll (hold_above = 50)";
        assert_eq!(flooded(Held { held: 1234, of: 1284 }), told);
        assert_eq!([7, 999, 1000, 1_234_567].map(thousands), ["7", "999", "1,000", "1,234,567"]);
    }
}
