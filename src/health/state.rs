//! Everything that Health knows, and the report it makes of it.
//!
//! Sources tell of their polls, deliveries of their state. The state counts, detects outages, and says for
//! any moment how things stand. It knows no clock: times come with the events and with the question.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::{
    counters::SourceCounters,
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
    model::{ErrorKind, Name},
    store::StoreStatus,
};

/// See the module.
#[derive(Debug)]
pub struct HealthState {
    pub(super) started: Timestamp,
    pub(super) sources: BTreeMap<Name, SourceHealth>,
    pub(super) destinations: BTreeMap<Name, Option<DeliveryReported>>,
    pub(super) outage: Outage,
    pub(super) limits: OwnLimits,
    /// What is wrong with the daemon itself.
    pub(super) faults: Vec<String>,
}

impl HealthState {
    /// An empty one, begun at `started`.
    pub fn new(started: Timestamp) -> Self {
        Self {
            started,
            sources: BTreeMap::new(),
            destinations: BTreeMap::new(),
            outage: Outage::default(),
            limits: OwnLimits::default(),
            faults: Vec::new(),
        }
    }

    /// Our own limits held an attempt back. True if that is news.
    pub fn limited(&mut self, message: &str, at: Timestamp) -> bool {
        self.limits.reached(message, at)
    }

    /// These exist now. What is known of the rest is dropped.
    pub fn configured(&mut self, configured: Configured) {
        let mut old = std::mem::take(&mut self.sources);
        for ConfiguredSource { name, host, interval } in configured.sources {
            let known = old.remove(&name);
            let source = known.map(|source| SourceHealth { host: host.clone(), interval, ..source });
            self.sources.insert(name, source.unwrap_or_else(|| SourceHealth::new(host, interval)));
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
    pub fn polled(&mut self, polled: &SourcePolled) -> Change {
        let Some(source) = self.sources.get_mut(&polled.source) else { return Change::None };
        let counters = &mut source.counters;
        counters.attempts += u64::from(polled.attempts);
        counters.last_attempt = Some(polled.started);
        source.breaker = polled.breaker;
        source.next_poll = polled.next_poll;
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
                        self.outage.failed(&polled.source, &source.host, source.interval, network, polled.ended)
                    }
                };
            }
            PollOutcome::Gone => {
                source.gone = true;
                let message = "gone for good (HTTP 410)".to_owned();
                counters.failed(polled.ended, &crate::model::Failure::fatal(ErrorKind::Http(410), message));
                return self.outage.failed(&polled.source, &source.host, source.interval, false, polled.ended);
            }
        }
        source.gone = false;
        self.outage.succeeded(source.interval, polled.ended)
    }

    /// A source's schedule changed.
    pub fn scheduled(&mut self, scheduled: &SourceScheduled) {
        if let Some(source) = self.sources.get_mut(&scheduled.source) {
            source.breaker = scheduled.breaker;
            source.next_poll = scheduled.next_poll;
            source.gone = scheduled.gone;
        }
    }

    /// A destination's state changed.
    pub fn delivery(&mut self, report: DeliveryReported) {
        if let Some(known) = self.destinations.get_mut(&report.destination) {
            *known = Some(report);
        }
    }

    /// What earlier runs counted of a source; taken once.
    pub fn restore(&mut self, source: &Name, earlier: SourceCounters) {
        if let Some(source) = self.sources.get_mut(source).filter(|source| !source.restored) {
            source.counters.continue_from(earlier);
            source.restored = true;
        }
    }

    /// All there is of earlier runs is restored: sources without any begin at zero.
    pub fn restored(&mut self) {
        self.sources.values_mut().for_each(|source| source.restored = true);
    }

    /// Ledgers that changed since they were last taken, with their sources.
    pub fn take_unsaved(&mut self) -> Vec<(Name, SourceCounters)> {
        let changed = self.sources.iter_mut().filter(|(_, source)| source.unsaved);
        let taken = changed.map(|(name, source)| {
            source.unsaved = false;
            (name.clone(), source.counters.clone())
        });
        taken.collect()
    }

    /// These could not be written: they stay to be.
    pub fn put_back(&mut self, names: impl IntoIterator<Item = Name>) {
        for name in names {
            if let Some(source) = self.sources.get_mut(&name) {
                source.unsaved = true;
            }
        }
    }

    /// One source's object.
    pub fn source(&self, name: &str, now: Timestamp) -> Option<SourceReport> {
        Some(self.sources.get(name)?.report(now))
    }

    /// The report in short. Of thousands of sources the whole one takes megabytes, and this is asked for all the time.
    pub fn summary(&self, now: Timestamp, store: &StoreStatus) -> HealthSummary {
        let Judged { status, reasons, destinations, .. } = self.judge(now, store);
        let well = |source: &&SourceHealth| matches!(source.status(now), SourceStatus::Ok | SourceStatus::Pending);
        HealthSummary {
            status,
            reasons,
            sources: self.sources.len(),
            sources_well: self.sources.values().filter(well).count(),
            queued: destinations.values().map(|destination| destination.queued).sum(),
        }
    }

    /// The whole report, or one without the sources and destinations that are well.
    pub fn report(&self, now: Timestamp, store: &StoreStatus, brief: bool) -> HealthReport<Sources<'_>> {
        let Judged { status, reasons, outage, mut destinations, patterns } = self.judge(now, store);
        if brief {
            destinations.retain(|_, destination| destination.status != DestinationStatus::Ok);
        }
        HealthReport {
            status,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.started,
            uptime_s: u64::try_from(now.duration_since(self.started).as_secs()).unwrap_or(0),
            time: now,
            reasons,
            network: if outage { Network::Outage } else { Network::Ok },
            store: StoreReport {
                status: store.state,
                items_seen: store.items_seen,
                outbox: store.outbox,
                dead_letters: store.dead_letters,
            },
            sources: Sources { sources: &self.sources, now, brief },
            destinations,
            error_patterns: patterns,
        }
    }
}

/// The sources of a report, each made as it is written.
pub struct Sources<'b> {
    sources: &'b BTreeMap<Name, SourceHealth>,
    now: Timestamp,
    brief: bool,
}

impl Serialize for Sources<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let reports = self.sources.iter().map(|(name, source)| (name.as_str(), source.report(self.now)));
        serializer.collect_map(reports.filter(|(_, report)| !self.brief || report.status != SourceStatus::Ok))
    }
}

#[cfg(test)]
mod tests;
