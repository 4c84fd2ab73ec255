//! How things stand at one moment: the status of the whole, with its reasons.

use std::collections::BTreeMap;

use super::{
    destination::Standing,
    report::{DestinationReport, ErrorPattern, SourceStatus, Status, StoreState},
    state::HealthState,
};
use crate::{
    model::{ErrorKind, Moment},
    store::StoreStatus,
};

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

impl HealthState {
    pub(super) fn judge(&self, now: Moment, store: &StoreStatus) -> Judged {
        let patterns = self.patterns(now);
        let mut verdict = Verdict { status: Status::Ok, reasons: Vec::new() };
        self.judge_store(store, &mut verdict);
        self.faults.iter().for_each(|fault| verdict.degraded(fault.clone()));
        let outage = self.outage.is_ongoing();
        if outage {
            verdict.down("network: outage, every source fails; one is tried every 30 s".into());
        }
        if let Some(reason) = self.limits.reason(now.steady) {
            verdict.degraded(format!("limits: {reason}"));
        }
        self.judge_sources(now, &mut verdict);
        let destinations = self.judge_destinations(now, &mut verdict);
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

    fn judge_sources(&self, now: Moment, verdict: &mut Verdict) {
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

    fn judge_destinations(&self, now: Moment, verdict: &mut Verdict) -> BTreeMap<String, DestinationReport> {
        let mut reports = BTreeMap::new();
        let mut able = 0;
        let mut unable = 0;
        for (name, known) in &self.destinations {
            let Some(known) = known else {
                // it has yet to load what was kept of it
                able += 1;
                reports.insert(name.to_string(), DestinationReport::unknown());
                continue;
            };
            let standing = known.standing(self.started, now);
            match standing {
                Standing::Gone | Standing::Refusing(_) => unable += 1,
                Standing::Paused => {}
                _ => able += 1,
            }
            let stuck = known.stuck(self.started, now);
            if let Some(reason) = known.reason(stuck.map_or(standing, Standing::Stuck)) {
                let reason = format!("destination {name}: {reason}");
                if stuck.is_some() { verdict.down(reason) } else { verdict.degraded(reason) }
            }
            reports.insert(name.to_string(), known.report(standing, now));
        }
        if able == 0 && unable > 0 {
            verdict.down("no destination can deliver".to_owned());
        }
        reports
    }

    fn patterns(&self, now: Moment) -> Vec<ErrorPattern> {
        let mut by_kind: BTreeMap<ErrorKind, ErrorPattern> = BTreeMap::new();
        for (name, source) in &self.sources {
            for seen in source.counters.patterns(now.wall) {
                let pattern = by_kind.entry(seen.kind).or_insert_with(|| ErrorPattern {
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
