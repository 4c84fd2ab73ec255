//! What the report says in each case.

use std::time::Duration;

use super::*;
use crate::{
    health::{
        event::{ConfiguredSource, DestinationState},
        report::{Status, StoreState},
    },
    model::{DeliveryError, Failure},
    resilience::breaker::Phase,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// The report as a reader has it.
fn told(state: &HealthState, now: Timestamp, store: &StoreStatus) -> HealthReport {
    let json = serde_json::to_value(state.report(now, store, false)).unwrap();
    serde_json::from_value(json).unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn state(sources: &[(&str, &str)]) -> HealthState {
    let mut state = HealthState::new(at(0));
    let sources = sources.iter().map(|(source, host)| ConfiguredSource {
        name: name(source),
        host: (*host).to_owned(),
        interval: Duration::from_secs(60),
    });
    state.configured(Configured { sources: sources.collect(), destinations: vec![name("news")] });
    state
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
    let report = told(&state(&[("a", "x")]), at(1), &healthy());
    assert_eq!((report.status, report.sources["a"].status), (Status::Ok, SourceStatus::Pending));
    assert!(report.reasons.is_empty());
}

#[test]
fn one_source_of_three_with_an_open_breaker_degrades_two_take_all_down() {
    let mut state = state(&[("a", "x"), ("b", "x"), ("c", "x")]);
    state.polled(&poll("c", 0, PollOutcome::Unchanged, Phase::Closed));
    state.polled(&poll("a", 1, failed(ErrorKind::ConnectionReset), Phase::Open));
    let report = told(&state, at(2), &healthy());
    assert_eq!((report.status, report.sources["a"].status), (Status::Degraded, SourceStatus::Down));
    assert_eq!(report.reasons, ["source a: breaker open after 1 failure (connection_reset)"]);
    assert_eq!(state.source("a", at(62)).unwrap().breaker, Phase::HalfOpen, "its cooldown is over");
    state.polled(&poll("b", 3, failed(ErrorKind::Dns), Phase::Open));
    let report = told(&state, at(4), &healthy());
    assert_eq!(report.status, Status::Down);
    assert!(report.reasons.contains(&"2 of 3 sources are down or gone".to_owned()), "{:?}", report.reasons);
}

#[test]
fn selectors_that_no_longer_fit_are_told_in_full() {
    let mut state = state(&[("a", "x")]);
    let drift = Failure::fatal(ErrorKind::Selector, "source[a].html.items matched 0 elements, 25 before");
    state.polled(&poll("a", 1, PollOutcome::Failed(drift), Phase::Closed));
    let report = told(&state, at(2), &healthy());
    let told = "source a: 1 failure (selector: source[a].html.items matched 0 elements, 25 before)";
    assert_eq!((report.status, report.reasons), (Status::Degraded, vec![told.to_owned()]));
}

#[test]
fn a_poll_that_does_not_come_is_stalled() {
    let mut state = state(&[("a", "x")]);
    state.polled(&poll("a", 0, PollOutcome::Unchanged, Phase::Closed));
    assert_eq!(told(&state, at(60 + 120), &healthy()).status, Status::Ok);
    let report = told(&state, at(60 + 121), &healthy());
    assert_eq!((report.status, report.sources["a"].status), (Status::Degraded, SourceStatus::Degraded));
    assert_eq!(report.reasons, ["source a: stalled, its poll is overdue by 121 s"]);
}

#[test]
fn a_kind_that_hits_three_sources_is_named_even_after_recovery() {
    let mut state = state(&[("a", "x"), ("b", "x"), ("c", "x")]);
    for source in ["a", "b", "c"] {
        state.polled(&poll(source, 1, failed(ErrorKind::Timeout), Phase::Closed));
        state.polled(&poll(source, 2, PollOutcome::Changed { accepted: 1, emptied: false }, Phase::Closed));
    }
    let report = told(&state, at(3), &healthy());
    assert_eq!(report.status, Status::Ok);
    assert_eq!(report.reasons, ["errors: timeout hit 3 sources 3 times in 24 h"]);
    assert_eq!((report.error_patterns[0].count, report.error_patterns[0].sources.len()), (3, 3));
    assert!(report.sources["a"].last_error.is_some());
}

#[test]
fn an_outage_is_down_until_the_first_success() {
    let mut state = state(&[("a", "x"), ("b", "y"), ("c", "z")]);
    state.polled(&poll("a", 1, failed(ErrorKind::Timeout), Phase::Closed));
    state.polled(&poll("b", 1, failed(ErrorKind::Dns), Phase::Closed));
    let Change::Began(failures) = state.polled(&poll("c", 1, failed(ErrorKind::Dns), Phase::Closed)) else {
        panic!("no outage")
    };
    assert_eq!(failures.len(), 3);
    let report = told(&state, at(2), &healthy());
    assert_eq!((report.status, report.network), (Status::Down, Network::Outage));
    assert_eq!(state.polled(&poll("a", 3, PollOutcome::Unchanged, Phase::Closed)), Change::Ended);
    assert_eq!(told(&state, at(4), &healthy()).network, Network::Ok);
}

#[test]
fn the_store_speaks_for_itself() {
    let mut store = healthy();
    store.reasons.push("store: damaged on Monday".into());
    let report = told(&state(&[]), at(1), &store);
    assert_eq!((report.status, report.reasons), (Status::Degraded, vec!["store: damaged on Monday".to_owned()]));
    store.state = StoreState::Failing;
    assert_eq!(told(&state(&[]), at(1), &store).status, Status::Down);
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
    for (is, now, delivered, status, destination) in cases {
        let mut state = state(&[]);
        state.delivery(delivery(is, 0, delivered));
        let report = told(&state, at(now), &healthy());
        assert_eq!((report.status, report.destinations["news"].status), (status, destination), "{is:?} at {now}");
    }
}

#[test]
fn counters_go_on_where_an_earlier_run_ended() {
    let mut first = state(&[("a", "x")]);
    first.polled(&poll("a", 0, PollOutcome::Changed { accepted: 4, emptied: true }, Phase::Closed));
    let unsaved = first.take_unsaved();
    assert!(first.take_unsaved().is_empty());
    let mut second = state(&[("a", "x")]);
    second.polled(&poll("a", 5, failed(ErrorKind::Tls), Phase::Closed));
    for (source, counters) in unsaved {
        second.restore(&source, counters.clone());
        second.restore(&source, counters);
    }
    let source = second.source("a", at(6)).unwrap();
    assert_eq!((source.polls, source.items, source.consecutive_failures), (2, 4, 1));
    assert_eq!(source.last_success, Some(at(0)));
    assert_eq!(told(&second, at(6), &healthy()).error_patterns.len(), 2, "empty, and tls");
}
