//! Everything that Health knows, and the report it makes of it.
//!
//! Sources tell of their polls, deliveries of their state. The state counts, detects outages, and says for
//! any moment how things stand. It knows no clock: times come with the events and with the question. How long
//! ago something was is measured on the steady clock, so that a system clock that is set changes no verdict.

use std::{collections::BTreeMap, sync::Arc};

use jiff::SignedDuration;
use serde::{Serialize, Serializer};

use super::{
    clock::Jumps,
    counters::SourceCounters,
    destination::DestinationHealth,
    event::{
        Configured, ConfiguredSource, DaemonReported, DeliveryReported, PollOutcome, SourcePolled, SourceScheduled,
    },
    limits::OwnLimits,
    outage::{Change, Outage},
    report::{DestinationStatus, HealthReport, HealthSummary, Network, SourceReport, SourceStatus, StoreReport},
    source::SourceHealth,
    verdict::Judged,
};
use crate::{
    model::{
        ErrorKind, Failure, Moment, Name,
        moment::{ClockWatch, shifted},
    },
    store::StoreStatus,
};

/// See the module.
#[derive(Debug, Clone)]
pub struct HealthState {
    pub(super) started: Moment,
    /// Shared with the snapshots that are being made into reports.
    pub(super) sources: BTreeMap<Name, Arc<SourceHealth>>,
    pub(super) destinations: BTreeMap<Name, Option<DestinationHealth>>,
    pub(super) outage: Outage,
    pub(super) limits: OwnLimits,
    /// What is wrong with the daemon itself.
    pub(super) faults: Vec<String>,
    clock: ClockWatch,
    jumps: Jumps,
}

impl HealthState {
    /// An empty one, begun at `started`.
    pub fn new(started: Moment) -> Self {
        Self {
            started,
            sources: BTreeMap::new(),
            destinations: BTreeMap::new(),
            outage: Outage::default(),
            limits: OwnLimits::default(),
            faults: Vec::new(),
            clock: ClockWatch::new(started),
            jumps: Jumps::default(),
        }
    }

    /// Our own limits held an attempt back. True if that is news.
    pub fn limited(&mut self, message: &str, now: Moment) -> bool {
        self.limits.reached(message, now.steady)
    }

    /// Looks at the clocks, before anything else that happens `now`. If the system's clock was set, what was
    /// counted in this run moves along; says by how much.
    pub fn look(&mut self, now: Moment) -> Option<SignedDuration> {
        let by = self.clock.moved(now)?;
        for source in self.sources.values_mut() {
            let counters = &mut Arc::make_mut(source).counters;
            counters.shift(by, self.started.wall);
            counters.limit(now.wall);
        }
        self.started.wall = shifted(self.started.wall, by);
        self.jumps.noticed(now.wall, by);
        Some(by)
    }

    /// These exist now. What is known of the rest is dropped.
    pub fn configured(&mut self, configured: Configured) {
        let mut old = std::mem::take(&mut self.sources);
        for ConfiguredSource { name, was, host, interval } in configured.sources {
            let renamed = |old: &mut BTreeMap<Name, Arc<SourceHealth>>| {
                let mut known = old.remove(was.as_ref()?)?;
                Arc::make_mut(&mut known).unsaved = true;
                Some(known)
            };
            let source = match old.remove(&name).or_else(|| renamed(&mut old)) {
                Some(mut known) => {
                    if (&known.host, known.interval) != (&host, interval) {
                        let known = Arc::make_mut(&mut known);
                        (known.host, known.interval) = (host, interval);
                    }
                    known
                }
                None => Arc::new(SourceHealth::new(host, interval)),
            };
            self.sources.insert(name, source);
        }
        let mut old = std::mem::take(&mut self.destinations);
        self.destinations =
            configured.destinations.into_iter().map(|name| (name.clone(), old.remove(&name).flatten())).collect();
    }

    /// What is wrong with the daemon itself.
    pub fn daemon(&mut self, report: DaemonReported) {
        self.faults = report.faults;
    }

    /// A poll ended. Says whether an outage began or ended with it.
    pub fn polled(&mut self, polled: &SourcePolled, now: Moment) -> Change {
        let Some(source) = self.sources.get_mut(&polled.source) else { return Change::None };
        let source = Arc::make_mut(source);
        let counters = &mut source.counters;
        counters.attempts += u64::from(polled.attempts);
        counters.last_attempt = Some(polled.started);
        source.breaker = polled.breaker;
        source.due = polled.next_poll.map(|next| now.steady_at(next));
        source.unsaved = true;
        match &polled.outcome {
            PollOutcome::Unchanged => counters.succeeded(polled.ended, 0),
            PollOutcome::Changed { accepted, emptied } => {
                counters.succeeded(polled.ended, *accepted);
                if *emptied {
                    counters.saw(ErrorKind::Empty, polled.ended);
                }
            }
            PollOutcome::Failed(failure) => {
                counters.failed(polled.ended, failure);
                // a fault of our own says nothing about any network
                return match failure.kind {
                    ErrorKind::Store | ErrorKind::Limits | ErrorKind::Panic => Change::None,
                    kind => {
                        let network = kind.is_network();
                        self.outage.failed(&polled.source, &source.host, source.interval, network, now.steady)
                    }
                };
            }
            PollOutcome::Gone => {
                source.gone = true;
                let gone = Failure::fatal(ErrorKind::Http(410), "gone for good (HTTP 410)");
                counters.failed(polled.ended, &gone);
                return self.outage.failed(&polled.source, &source.host, source.interval, false, now.steady);
            }
        }
        source.gone = false;
        self.outage.succeeded(source.interval, now.steady)
    }

    /// A source's schedule changed.
    pub fn scheduled(&mut self, scheduled: &SourceScheduled, now: Moment) {
        if let Some(source) = self.sources.get_mut(&scheduled.source) {
            let source = Arc::make_mut(source);
            source.breaker = scheduled.breaker;
            source.due = scheduled.next_poll.map(|next| now.steady_at(next));
            source.gone = scheduled.gone;
            source.held = scheduled.held;
        }
    }

    /// A destination's state changed.
    pub fn delivery(&mut self, report: DeliveryReported, now: Moment) {
        if let Some(known) = self.destinations.get_mut(&report.destination) {
            *known = Some(DestinationHealth::new(known.as_ref(), report, &self.jumps, now));
        }
    }

    /// What earlier runs counted of a source; taken once.
    pub fn restore(&mut self, source: &Name, mut earlier: SourceCounters, now: Moment) {
        if let Some(source) = self.sources.get_mut(source).filter(|source| !source.restored) {
            let source = Arc::make_mut(source);
            earlier.limit(now.wall);
            source.counters.continue_from(earlier);
            source.restored = true;
        }
    }

    /// All there is of earlier runs is restored: sources without any begin at zero.
    pub fn restored(&mut self) {
        self.sources.values_mut().filter(|source| !source.restored).for_each(|source| {
            Arc::make_mut(source).restored = true;
        });
    }

    /// Counters that changed since they were last taken, with their sources.
    pub fn take_unsaved(&mut self) -> Vec<(Name, SourceCounters)> {
        let changed = self.sources.iter_mut().filter(|(_, source)| source.unsaved);
        let taken = changed.map(|(name, source)| {
            let source = Arc::make_mut(source);
            source.unsaved = false;
            (name.clone(), source.counters.clone())
        });
        taken.collect()
    }

    /// Marks counters as changed again after a failed save.
    pub fn put_back(&mut self, names: impl IntoIterator<Item = Name>) {
        for name in names {
            if let Some(source) = self.sources.get_mut(&name) {
                Arc::make_mut(source).unsaved = true;
            }
        }
    }

    /// One source's object.
    pub fn source(&self, name: &str, now: Moment) -> Option<SourceReport> {
        Some(self.sources.get(name)?.report(now))
    }

    /// The report in short. Of thousands of sources the whole one takes megabytes, and this is asked for all the time.
    pub fn summary(&self, now: Moment, store: &StoreStatus) -> HealthSummary {
        let Judged { status, reasons, .. } = self.judge(now, store);
        let well = |source: &&Arc<SourceHealth>| matches!(source.status(now), SourceStatus::Ok | SourceStatus::Pending);
        HealthSummary {
            status,
            reasons,
            sources: self.sources.len(),
            sources_well: self.sources.values().filter(well).count(),
            queued: self.destinations.values().flatten().map(DestinationHealth::queued).sum(),
        }
    }

    /// What a report needs. Taking it copies no source, so that it keeps nobody waiting.
    pub fn snapshot(&self, now: Moment, store: StoreStatus) -> Snapshot {
        Snapshot { state: self.clone(), now, store }
    }
}

/// How things stood at one moment. It is made into a report on another thread: of thousands of sources that
/// takes tens of milliseconds, in which no poll could go on.
#[derive(Debug)]
pub struct Snapshot {
    state: HealthState,
    now: Moment,
    store: StoreStatus,
}

impl Snapshot {
    /// The whole report, or one without the sources and destinations that are well.
    pub fn report(&self, brief: bool) -> HealthReport<Sources<'_>> {
        let Self { state, now, store } = self;
        let Judged { status, reasons, outage, mut destinations, patterns } = state.judge(*now, store);
        if brief {
            destinations.retain(|_, destination| destination.status != DestinationStatus::Ok);
        }
        HealthReport {
            status,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: state.started.wall,
            uptime_s: now.since(state.started).as_secs(),
            time: now.wall,
            reasons,
            network: if outage { Network::Outage } else { Network::Ok },
            store: StoreReport {
                status: store.state,
                items_seen: store.items_seen,
                outbox: store.outbox,
                dead_letters: store.dead_letters,
            },
            sources: Sources { sources: &state.sources, now: *now, brief },
            destinations,
            error_patterns: patterns,
        }
    }
}

/// The sources of a report, each made as it is written.
pub struct Sources<'s> {
    sources: &'s BTreeMap<Name, Arc<SourceHealth>>,
    now: Moment,
    brief: bool,
}

impl Serialize for Sources<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shown =
            self.sources.iter().filter(|(_, source)| !self.brief || source.status(self.now) != SourceStatus::Ok);
        serializer.collect_map(shown.map(|(name, source)| (name.as_str(), source.report(self.now))))
    }
}

#[cfg(test)]
mod tests;
