//! How things stand at one moment: the status of the whole, with its reasons.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::{
    event::{DeliveryReported, DestinationState},
    report::{DestinationReport, DestinationStatus, ErrorPattern, ErrorReport, SourceStatus, Status, StoreState},
    state::HealthState,
};
use crate::{model::Name, store::StoreStatus};

/// A destination is down if its oldest item waits for longer…
const QUEUED_TOO_LONG: Duration = Duration::from_secs(3600);
/// …and none was acknowledged within this time.
const IDLE_TOO_LONG: Duration = Duration::from_secs(15 * 60);
/// So many sources hit by one kind of error make it a pattern worth naming.
const WIDESPREAD: usize = 3;

pub(super) struct Verdict {
    status: Status,
    reasons: Vec<String>,
}

/// A report but for its sources.
pub(super) struct Judged {
    pub(super) status: Status,
    pub(super) reasons: Vec<String>,
    pub(super) outage: bool,
    pub(super) destinations: BTreeMap<String, DestinationReport>,
    pub(super) patterns: Vec<ErrorPattern>,
}

impl Verdict {
    fn degraded(&mut self, reason: String) {
        self.status = self.status.max(Status::Degraded);
        self.reasons.push(reason);
    }

    fn down(&mut self, reason: String) {
        self.status = Status::Down;
        self.reasons.push(reason);
    }
}

fn judge_destination(
    name: &Name,
    known: Option<&DeliveryReported>,
    started: Timestamp,
    now: Timestamp,
    verdict: &mut Verdict,
) -> DestinationReport {
    let Some(known) = known else {
        return DestinationReport {
            status: DestinationStatus::Ok,
            queued: 0,
            delivered: 0,
            dead_letters: 0,
            oldest_queued_s: 0,
            last_error: None,
        };
    };
    let since = |then: Timestamp| Duration::try_from(now.duration_since(then)).unwrap_or_default();
    let waits = known.oldest_queued.map(since).unwrap_or_default();
    let idle = since(known.last_delivered.unwrap_or(started));
    let on_purpose = matches!(known.state, DestinationState::Holding | DestinationState::Paused);
    let why = known.reason.as_ref().or(known.last_error.as_ref().map(|error| &error.message));
    let error = why.map(|why| format!(" ({why})")).unwrap_or_default();
    let status = match known.state {
        _ if waits > QUEUED_TOO_LONG && idle > IDLE_TOO_LONG && !on_purpose => {
            let (queued, minutes) = (known.queued, idle.as_secs() / 60);
            verdict.down(format!(
                "destination {name}: {queued} items wait, none acknowledged for {minutes} minutes{error}"
            ));
            if known.state == DestinationState::Gone { DestinationStatus::Gone } else { DestinationStatus::Down }
        }
        DestinationState::Gone => {
            verdict.degraded(format!("destination {name}: gone{error}"));
            DestinationStatus::Gone
        }
        DestinationState::Degraded => {
            verdict.degraded(format!("destination {name}: failing{error}"));
            DestinationStatus::Degraded
        }
        DestinationState::Holding => {
            verdict.degraded(format!("destination {name}: asked us to wait{error}"));
            DestinationStatus::Degraded
        }
        DestinationState::Paused => DestinationStatus::Paused,
        DestinationState::Ok => DestinationStatus::Ok,
    };
    DestinationReport {
        status,
        queued: known.queued,
        delivered: known.delivered,
        dead_letters: known.dead_letters,
        oldest_queued_s: waits.as_secs(),
        last_error: known.last_error.as_ref().map(|error| ErrorReport {
            kind: error.kind,
            message: error.message.clone(),
            at: error.at,
        }),
    }
}

impl HealthState {
    pub(super) fn judge(&self, now: Timestamp, store: &StoreStatus) -> Judged {
        let patterns = self.patterns(now);
        let mut verdict = Verdict { status: Status::Ok, reasons: Vec::new() };
        self.judge_store(store, &mut verdict);
        self.faults.iter().for_each(|fault| verdict.degraded(fault.clone()));
        let outage = self.outage.is_ongoing();
        if outage {
            verdict.down("network: outage, every source fails; one is tried every 30 s".into());
        }
        if let Some(reason) = self.limits.reason(now) {
            verdict.degraded(format!("limits: {reason}"));
        }
        self.judge_sources(now, &mut verdict);
        let mut destinations = BTreeMap::new();
        for (name, known) in &self.destinations {
            destinations
                .insert(name.to_string(), judge_destination(name, known.as_ref(), self.started, now, &mut verdict));
        }
        for pattern in patterns.iter().filter(|pattern| pattern.sources.len() >= WIDESPREAD) {
            let ErrorPattern { kind, count, sources, .. } = pattern;
            verdict.reasons.push(format!("errors: {kind} hit {} sources {count} times in 24 h", sources.len()));
        }
        let Verdict { status, reasons } = verdict;
        Judged { status, reasons, outage, destinations, patterns }
    }

    fn judge_store(&self, store: &StoreStatus, verdict: &mut Verdict) {
        if store.state == StoreState::Failing {
            verdict.status = Status::Down;
        }
        match store.reasons.is_empty() {
            true if store.state == StoreState::Failing => verdict.reasons.push("store: failing".into()),
            _ => store.reasons.iter().for_each(|reason| verdict.degraded(reason.clone())),
        }
    }

    fn judge_sources(&self, now: Timestamp, verdict: &mut Verdict) {
        let mut lost = 0;
        for (name, source) in &self.sources {
            if matches!(source.status(now), SourceStatus::Down | SourceStatus::Gone) {
                lost += 1;
            }
            if let Some(reason) = source.reason(now) {
                verdict.degraded(format!("source {name}: {reason}"));
            }
        }
        if lost * 2 > self.sources.len() {
            verdict.down(format!("{lost} of {} sources are down or gone", self.sources.len()));
        }
    }

    fn patterns(&self, now: Timestamp) -> Vec<ErrorPattern> {
        let mut by_kind: BTreeMap<String, ErrorPattern> = BTreeMap::new();
        for (name, source) in &self.sources {
            for seen in source.counters.patterns(now) {
                let pattern = by_kind.entry(seen.kind.to_string()).or_insert_with(|| ErrorPattern {
                    kind: seen.kind,
                    count: 0,
                    sources: Vec::new(),
                    first: seen.first,
                    last: seen.last,
                });
                pattern.count += seen.count;
                pattern.sources.push(name.to_string());
                pattern.first = pattern.first.min(seen.first);
                pattern.last = pattern.last.max(seen.last);
            }
        }
        let mut patterns: Vec<_> = by_kind.into_values().collect();
        patterns.sort_by_key(|pattern| std::cmp::Reverse(pattern.count));
        patterns
    }
}
