//! Everything that Health knows, and the report it makes of it.
//!
//! Sources tell of their polls, deliveries of their state; the book counts, detects outages, and says for
//! any moment how things stand. It knows no clock: times come with the events and with the question.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::{
    event::{Configured, DeliveryReported, DestinationState, PollOutcome, SourcePolled, SourceScheduled},
    ledger::Ledger,
    outage::{Change, Outage},
    report::{
        DestinationReport, DestinationStatus, ErrorPattern, ErrorReport, HealthReport, HealthSummary, Network,
        SourceReport, SourceStatus, Status, StoreReport, StoreState,
    },
};
use crate::{
    model::{ErrorKind, Name},
    resilience::breaker::Phase,
    store::StoreStatus,
};

/// A poll that is overdue by its interval and this long is stalled.
const STALLED_AFTER: Duration = Duration::from_secs(60);
/// A destination is down if its oldest item waits for longer…
const QUEUED_TOO_LONG: Duration = Duration::from_secs(3600);
/// …and none was acknowledged within this time.
const IDLE_TOO_LONG: Duration = Duration::from_secs(15 * 60);
/// So many sources hit by one kind of error make it a pattern worth naming.
const WIDESPREAD: usize = 3;

/// See the module.
#[derive(Debug)]
pub struct Book {
    started: Timestamp,
    sources: BTreeMap<Name, Page>,
    destinations: BTreeMap<Name, Option<DeliveryReported>>,
    outage: Outage,
}

/// One source's page.
#[derive(Debug)]
struct Page {
    host: String,
    interval: Duration,
    ledger: Ledger,
    breaker: Phase,
    next_poll: Option<Timestamp>,
    gone: bool,
    unsaved: bool,
    /// Counters of earlier runs are in it.
    restored: bool,
}

impl Page {
    fn phase(&self, now: Timestamp) -> Phase {
        // an open breaker turns half-open by time alone, and nobody sends word of it
        match self.breaker {
            Phase::Open if self.next_poll.is_some_and(|next| next <= now) => Phase::HalfOpen,
            phase => phase,
        }
    }

    fn overdue(&self, now: Timestamp) -> Option<Duration> {
        let late = Duration::try_from(now.duration_since(self.next_poll?)).ok()?;
        (late > self.interval.saturating_add(STALLED_AFTER)).then_some(late)
    }

    fn status(&self, now: Timestamp) -> SourceStatus {
        if self.gone {
            SourceStatus::Gone
        } else if self.phase(now) != Phase::Closed {
            SourceStatus::Down
        } else if self.ledger.consecutive_failures > 0 || self.overdue(now).is_some() {
            SourceStatus::Degraded
        } else if self.ledger.polls() == 0 {
            SourceStatus::Pending
        } else {
            SourceStatus::Ok
        }
    }

    fn report(&self, now: Timestamp) -> SourceReport {
        let ledger = &self.ledger;
        SourceReport {
            status: self.status(now),
            breaker: self.phase(now),
            attempts: ledger.attempts,
            polls: ledger.polls(),
            successes: ledger.successes,
            failures: ledger.failures,
            success_rate: ledger.success_rate(),
            success_rate_24h: ledger.success_rate_24h(now),
            consecutive_failures: ledger.consecutive_failures,
            items: ledger.items,
            last_attempt: ledger.last_attempt,
            last_success: ledger.last_success,
            next_poll: self.next_poll,
            last_error: ledger.last_error.clone(),
        }
    }

    fn reason(&self, now: Timestamp) -> Option<String> {
        let failed = || {
            let kind = self.ledger.last_error.as_ref().map(|error| match error.kind {
                // it is for the operator to mend, who needs to know what no longer fits
                ErrorKind::Selector => format!(" ({}: {})", error.kind, error.message),
                kind => format!(" ({kind})"),
            });
            let count = self.ledger.consecutive_failures;
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
                None => failed(),
            }),
            SourceStatus::Ok | SourceStatus::Pending | SourceStatus::Paused => None,
        }
    }
}

impl Book {
    /// An empty one, begun at `started`.
    pub fn new(started: Timestamp) -> Self {
        Self { started, sources: BTreeMap::new(), destinations: BTreeMap::new(), outage: Outage::default() }
    }

    /// These exist now. What is known of the rest is dropped.
    pub fn configured(&mut self, configured: Configured) {
        let mut old = std::mem::take(&mut self.sources);
        for source in configured.sources {
            let page = match old.remove(&source.name) {
                Some(page) => Page { host: source.host, interval: source.interval, ..page },
                None => Page {
                    host: source.host,
                    interval: source.interval,
                    ledger: Ledger::default(),
                    breaker: Phase::Closed,
                    next_poll: None,
                    gone: false,
                    unsaved: false,
                    restored: false,
                },
            };
            self.sources.insert(source.name, page);
        }
        let mut old = std::mem::take(&mut self.destinations);
        self.destinations =
            configured.destinations.into_iter().map(|name| (name.clone(), old.remove(&name).flatten())).collect();
    }

    /// A poll ended. Says whether an outage began or ended with it.
    pub fn polled(&mut self, polled: &SourcePolled) -> Change {
        let Some(page) = self.sources.get_mut(&polled.source) else { return Change::None };
        let ledger = &mut page.ledger;
        ledger.attempts += u64::from(polled.attempts);
        ledger.last_attempt = Some(polled.started);
        page.breaker = polled.breaker;
        page.next_poll = polled.next_poll;
        page.unsaved = true;
        match &polled.outcome {
            PollOutcome::Unchanged => ledger.succeeded(polled.ended, 0),
            PollOutcome::Changed { accepted, emptied } => {
                ledger.succeeded(polled.ended, *accepted);
                if *emptied {
                    ledger.saw(ErrorKind::Empty, polled.ended);
                }
            }
            PollOutcome::Failed(failure) => {
                ledger.failed(polled.ended, failure);
                // a fault of our own says nothing about any network
                return match failure.kind {
                    ErrorKind::Store | ErrorKind::Panic => Change::None,
                    kind => {
                        let network = kind.is_network();
                        self.outage.failed(&polled.source, &page.host, page.interval, network, polled.ended)
                    }
                };
            }
            PollOutcome::Gone => {
                page.gone = true;
                let message = "gone for good (HTTP 410)".to_owned();
                ledger.failed(polled.ended, &crate::model::Failure::fatal(ErrorKind::Http(410), message));
                return self.outage.failed(&polled.source, &page.host, page.interval, false, polled.ended);
            }
        }
        page.gone = false;
        self.outage.succeeded(page.interval, polled.ended)
    }

    /// A source's schedule changed.
    pub fn scheduled(&mut self, scheduled: &SourceScheduled) {
        if let Some(page) = self.sources.get_mut(&scheduled.source) {
            page.breaker = scheduled.breaker;
            page.next_poll = scheduled.next_poll;
            page.gone = scheduled.gone;
        }
    }

    /// A destination's state changed.
    pub fn delivery(&mut self, report: DeliveryReported) {
        if let Some(known) = self.destinations.get_mut(&report.destination) {
            *known = Some(report);
        }
    }

    /// What earlier runs counted of a source; taken once.
    pub fn restore(&mut self, source: &Name, earlier: Ledger) {
        if let Some(page) = self.sources.get_mut(source).filter(|page| !page.restored) {
            page.ledger.continue_from(earlier);
            page.restored = true;
        }
    }

    /// All there is of earlier runs is restored: sources without any begin at zero.
    pub fn restored(&mut self) {
        self.sources.values_mut().for_each(|page| page.restored = true);
    }

    /// Ledgers that changed since they were last taken, with their sources.
    pub fn take_unsaved(&mut self) -> Vec<(Name, Ledger)> {
        let changed = self.sources.iter_mut().filter(|(_, page)| page.unsaved);
        let taken = changed.map(|(name, page)| {
            page.unsaved = false;
            (name.clone(), page.ledger.clone())
        });
        taken.collect()
    }

    /// These could not be written: they stay to be.
    pub fn put_back(&mut self, names: impl IntoIterator<Item = Name>) {
        for name in names {
            if let Some(page) = self.sources.get_mut(&name) {
                page.unsaved = true;
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
        let well = |page: &&Page| matches!(page.status(now), SourceStatus::Ok | SourceStatus::Pending);
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
            sources: Sources { pages: &self.sources, now, brief },
            destinations,
            error_patterns: patterns,
        }
    }

    fn judge(&self, now: Timestamp, store: &StoreStatus) -> Judged {
        let patterns = self.patterns(now);
        let mut verdict = Verdict { status: Status::Ok, reasons: Vec::new() };
        self.judge_store(store, &mut verdict);
        let outage = self.outage.is_ongoing();
        if outage {
            verdict.down("network: outage, every source fails; one is tried every 30 s".into());
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
        for (name, page) in &self.sources {
            if matches!(page.status(now), SourceStatus::Down | SourceStatus::Gone) {
                lost += 1;
            }
            if let Some(reason) = page.reason(now) {
                verdict.degraded(format!("source {name}: {reason}"));
            }
        }
        if lost * 2 > self.sources.len() {
            verdict.down(format!("{lost} of {} sources are down or gone", self.sources.len()));
        }
    }

    fn patterns(&self, now: Timestamp) -> Vec<ErrorPattern> {
        let mut by_kind: BTreeMap<String, ErrorPattern> = BTreeMap::new();
        for (name, page) in &self.sources {
            for seen in page.ledger.patterns(now) {
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

/// The sources of a report, each made as it is written.
pub struct Sources<'b> {
    pages: &'b BTreeMap<Name, Page>,
    now: Timestamp,
    brief: bool,
}

impl Serialize for Sources<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let reports = self.pages.iter().map(|(name, page)| (name.as_str(), page.report(self.now)));
        serializer.collect_map(reports.filter(|(_, report)| !self.brief || report.status != SourceStatus::Ok))
    }
}

struct Verdict {
    status: Status,
    reasons: Vec<String>,
}

/// A report but for its sources.
struct Judged {
    status: Status,
    reasons: Vec<String>,
    outage: bool,
    destinations: BTreeMap<String, DestinationReport>,
    patterns: Vec<ErrorPattern>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        health::event::ConfiguredSource,
        model::{DeliveryError, Failure},
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// The report as a reader has it.
    fn told(book: &Book, now: Timestamp, store: &StoreStatus) -> HealthReport {
        let json = serde_json::to_value(book.report(now, store, false)).unwrap();
        serde_json::from_value(json).unwrap()
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn book(sources: &[(&str, &str)]) -> Book {
        let mut book = Book::new(at(0));
        let sources = sources.iter().map(|(source, host)| ConfiguredSource {
            name: name(source),
            host: (*host).to_owned(),
            interval: Duration::from_secs(60),
        });
        book.configured(Configured { sources: sources.collect(), destinations: vec![name("news")] });
        book
    }

    fn poll(source: &str, second: i64, outcome: PollOutcome, breaker: Phase) -> SourcePolled {
        SourcePolled {
            source: name(source),
            started: at(second),
            ended: at(second),
            attempts: 1,
            outcome,
            breaker,
            next_poll: Some(at(second + 60)),
        }
    }

    fn failed(kind: ErrorKind) -> PollOutcome {
        PollOutcome::Failed(Failure::transient(kind, "it failed"))
    }

    fn healthy() -> StoreStatus {
        StoreStatus { state: StoreState::Ok, reasons: Vec::new(), items_seen: 0, outbox: 0, dead_letters: 0 }
    }

    fn delivery(state: DestinationState, oldest: i64, delivered: Option<i64>) -> DeliveryReported {
        DeliveryReported {
            destination: name("news"),
            state,
            queued: 2,
            delivered: 0,
            dead_letters: 0,
            oldest_queued: Some(at(oldest)),
            last_delivered: delivered.map(at),
            last_error: Some(DeliveryError { kind: ErrorKind::Http(500), message: "500".into(), at: at(oldest) }),
            refused_in_a_row: 0,
            last_refused: None,
            blocked_since: None,
            reason: None,
        }
    }

    #[test]
    fn what_has_not_been_polled_is_pending_and_no_fault() {
        let report = told(&book(&[("a", "x")]), at(1), &healthy());
        assert_eq!((report.status, report.sources["a"].status), (Status::Ok, SourceStatus::Pending));
        assert!(report.reasons.is_empty());
    }

    #[test]
    fn one_source_of_three_with_an_open_breaker_degrades_two_take_all_down() {
        let mut book = book(&[("a", "x"), ("b", "x"), ("c", "x")]);
        book.polled(&poll("c", 0, PollOutcome::Unchanged, Phase::Closed));
        book.polled(&poll("a", 1, failed(ErrorKind::ConnectionReset), Phase::Open));
        let report = told(&book, at(2), &healthy());
        assert_eq!((report.status, report.sources["a"].status), (Status::Degraded, SourceStatus::Down));
        assert_eq!(report.reasons, ["source a: breaker open after 1 failure (connection_reset)"]);
        assert_eq!(book.source("a", at(62)).unwrap().breaker, Phase::HalfOpen, "its cooldown is over");
        book.polled(&poll("b", 3, failed(ErrorKind::Dns), Phase::Open));
        let report = told(&book, at(4), &healthy());
        assert_eq!(report.status, Status::Down);
        assert!(report.reasons.contains(&"2 of 3 sources are down or gone".to_owned()), "{:?}", report.reasons);
    }

    #[test]
    fn selectors_that_no_longer_fit_are_told_in_full() {
        let mut book = book(&[("a", "x")]);
        let drift = Failure::fatal(ErrorKind::Selector, "source[a].html.items matched 0 elements, 25 before");
        book.polled(&poll("a", 1, PollOutcome::Failed(drift), Phase::Closed));
        let report = told(&book, at(2), &healthy());
        let told = "source a: 1 failure (selector: source[a].html.items matched 0 elements, 25 before)";
        assert_eq!((report.status, report.reasons), (Status::Degraded, vec![told.to_owned()]));
    }

    #[test]
    fn a_poll_that_does_not_come_is_stalled() {
        let mut book = book(&[("a", "x")]);
        book.polled(&poll("a", 0, PollOutcome::Unchanged, Phase::Closed));
        assert_eq!(told(&book, at(60 + 120), &healthy()).status, Status::Ok);
        let report = told(&book, at(60 + 121), &healthy());
        assert_eq!((report.status, report.sources["a"].status), (Status::Degraded, SourceStatus::Degraded));
        assert_eq!(report.reasons, ["source a: stalled, its poll is overdue by 121 s"]);
    }

    #[test]
    fn a_kind_that_hits_three_sources_is_named_even_after_recovery() {
        let mut book = book(&[("a", "x"), ("b", "x"), ("c", "x")]);
        for source in ["a", "b", "c"] {
            book.polled(&poll(source, 1, failed(ErrorKind::Timeout), Phase::Closed));
            book.polled(&poll(source, 2, PollOutcome::Changed { accepted: 1, emptied: false }, Phase::Closed));
        }
        let report = told(&book, at(3), &healthy());
        assert_eq!(report.status, Status::Ok);
        assert_eq!(report.reasons, ["errors: timeout hit 3 sources 3 times in 24 h"]);
        assert_eq!((report.error_patterns[0].count, report.error_patterns[0].sources.len()), (3, 3));
        assert!(report.sources["a"].last_error.is_some());
    }

    #[test]
    fn an_outage_is_down_until_the_first_success() {
        let mut book = book(&[("a", "x"), ("b", "y"), ("c", "z")]);
        book.polled(&poll("a", 1, failed(ErrorKind::Timeout), Phase::Closed));
        book.polled(&poll("b", 1, failed(ErrorKind::Dns), Phase::Closed));
        let Change::Began(failures) = book.polled(&poll("c", 1, failed(ErrorKind::Dns), Phase::Closed)) else {
            panic!("no outage")
        };
        assert_eq!(failures.len(), 3);
        let report = told(&book, at(2), &healthy());
        assert_eq!((report.status, report.network), (Status::Down, Network::Outage));
        assert_eq!(book.polled(&poll("a", 3, PollOutcome::Unchanged, Phase::Closed)), Change::Ended);
        assert_eq!(told(&book, at(4), &healthy()).network, Network::Ok);
    }

    #[test]
    fn the_store_speaks_for_itself() {
        let mut store = healthy();
        store.reasons.push("store: damaged on Monday".into());
        let report = told(&book(&[]), at(1), &store);
        assert_eq!((report.status, report.reasons), (Status::Degraded, vec!["store: damaged on Monday".to_owned()]));
        store.state = StoreState::Failing;
        assert_eq!(told(&book(&[]), at(1), &store).status, Status::Down);
    }

    #[test]
    fn a_destination_is_down_after_an_hour_of_nothing_unless_it_holds_on_purpose() {
        use DestinationState as State;
        let cases = [
            (State::Degraded, 3500, None, Status::Degraded, DestinationStatus::Degraded),
            (State::Degraded, 3700, None, Status::Down, DestinationStatus::Down),
            (State::Degraded, 3700, Some(3600), Status::Degraded, DestinationStatus::Degraded),
            (State::Gone, 3700, None, Status::Down, DestinationStatus::Gone),
            (State::Holding, 3700, None, Status::Degraded, DestinationStatus::Degraded),
            (State::Paused, 3700, None, Status::Ok, DestinationStatus::Paused),
            (State::Ok, 10, None, Status::Ok, DestinationStatus::Ok),
        ];
        for (state, now, delivered, status, destination) in cases {
            let mut book = book(&[]);
            book.delivery(delivery(state, 0, delivered));
            let report = told(&book, at(now), &healthy());
            assert_eq!(
                (report.status, report.destinations["news"].status),
                (status, destination),
                "{state:?} at {now}"
            );
        }
    }

    #[test]
    fn counters_go_on_where_an_earlier_run_ended() {
        let mut first = book(&[("a", "x")]);
        first.polled(&poll("a", 0, PollOutcome::Changed { accepted: 4, emptied: true }, Phase::Closed));
        let unsaved = first.take_unsaved();
        assert!(first.take_unsaved().is_empty());
        let mut second = book(&[("a", "x")]);
        second.polled(&poll("a", 5, failed(ErrorKind::Tls), Phase::Closed));
        for (source, ledger) in unsaved {
            second.restore(&source, ledger.clone());
            second.restore(&source, ledger);
        }
        let source = second.source("a", at(6)).unwrap();
        assert_eq!((source.polls, source.items, source.consecutive_failures), (2, 4, 1));
        assert_eq!(source.last_success, Some(at(0)));
        assert_eq!(told(&second, at(6), &healthy()).error_patterns.len(), 2, "empty, and tls");
    }
}
