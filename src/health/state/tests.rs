//! What the report says in each case.

use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::{
    health::{
        event::{ConfiguredSource, DestinationState},
        report::{Status, StoreState},
    },
    model::{DeliveryError, Failure},
    resilience::breaker::Phase,
    store::Held,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// A moment while nobody sets the clock.
fn moment(second: i64) -> Moment {
    set(0, second)
}

/// The same, on a clock that was set by so many seconds.
fn set(by: i64, second: i64) -> Moment {
    Moment { wall: at(second + by), steady: Duration::from_secs(1_000_000 + second as u64) }
}

/// A report at that moment, as a reader has it.
fn seen(state: &mut HealthState, now: Moment) -> HealthReport {
    state.look(now);
    let report = told(state, now, &healthy());
    let future = |at: Option<Timestamp>| at.is_some_and(|at| at > report.time);
    for source in report.sources.values() {
        let error = source.last_error.as_ref().map(|error| error.at);
        assert!(![source.last_attempt, source.last_success, error].into_iter().any(future), "{source:?}");
    }
    assert!(report.error_patterns.iter().all(|pattern| pattern.last <= report.time), "{report:?}");
    report
}

/// The report as a reader has it.
fn told(state: &HealthState, now: Moment, store: &StoreStatus) -> HealthReport {
    let json = serde_json::to_value(state.snapshot(now, store.clone()).report(false)).unwrap();
    serde_json::from_value(json).unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn state(sources: &[(&str, &str)]) -> HealthState {
    let mut state = HealthState::new(moment(0));
    let sources = sources.iter().map(|(source, host)| ConfiguredSource {
        name: name(source),
        was: None,
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

fn polled(state: &mut HealthState, source: &str, second: i64, outcome: PollOutcome, breaker: Phase) -> Change {
    state.polled(&poll(source, second, outcome, breaker), moment(second))
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
    let report = told(&state(&[("a", "x")]), moment(1), &healthy());
    assert_eq!((report.status, report.sources["a"].status), (Status::Ok, SourceStatus::Pending));
    assert!(report.reasons.is_empty());
}

#[test]
fn one_source_of_three_with_an_open_breaker_degrades_two_take_all_down() {
    let mut state = state(&[("a", "x"), ("b", "x"), ("c", "x")]);
    polled(&mut state, "c", 0, PollOutcome::Unchanged, Phase::Closed);
    polled(&mut state, "a", 1, failed(ErrorKind::ConnectionReset), Phase::Open);
    let report = told(&state, moment(2), &healthy());
    assert_eq!((report.status, report.sources["a"].status), (Status::Degraded, SourceStatus::Down));
    assert_eq!(report.reasons, ["source a: breaker open after 1 failure (connection_reset)"]);
    assert_eq!(state.source("a", moment(62)).unwrap().breaker, Phase::HalfOpen, "its cooldown is over");
    polled(&mut state, "b", 3, failed(ErrorKind::Dns), Phase::Open);
    let report = told(&state, moment(4), &healthy());
    assert_eq!(report.status, Status::Down);
    assert!(report.reasons.contains(&"2 of 3 sources are down or gone".to_owned()), "{:?}", report.reasons);
}

#[test]
fn selectors_that_no_longer_fit_are_told_in_full() {
    let mut state = state(&[("a", "x")]);
    let drift = Failure::fatal(ErrorKind::Selector, "source[a].html.items matched 0 elements, 25 before");
    polled(&mut state, "a", 1, PollOutcome::Failed(drift), Phase::Closed);
    let report = told(&state, moment(2), &healthy());
    let told = "source a: 1 failure (selector: source[a].html.items matched 0 elements, 25 before)";
    assert_eq!((report.status, report.reasons), (Status::Degraded, vec![told.to_owned()]));
}

#[test]
fn a_flood_degrades_its_source_until_a_document_without_one() {
    let mut state = state(&[("a", "x")]);
    let scheduled = |held| SourceScheduled {
        source: name("a"),
        breaker: Phase::Closed,
        next_poll: Some(at(60)),
        gone: false,
        held,
    };
    state.scheduled(&scheduled(Some(Held { held: 1234, of: 1284 })), moment(1));
    let reason = "source a: held back 1,234 of 1,284 new items of one poll (hold_above = 50)";
    for second in [2, 3] {
        state.polled(&poll("a", second, PollOutcome::Unchanged, Phase::Closed), moment(second));
        let report = told(&state, moment(second), &healthy());
        assert_eq!((report.status, report.sources["a"].status), (Status::Degraded, SourceStatus::Degraded));
        assert_eq!(report.reasons, [reason]);
    }
    state.scheduled(&scheduled(None), moment(4));
    assert_eq!(told(&state, moment(5), &healthy()).status, Status::Ok);
}

#[test]
fn counters_go_on_under_a_new_name() {
    let mut state = state(&[("a", "x")]);
    state.polled(&poll("a", 0, PollOutcome::Changed { accepted: 4, emptied: false }, Phase::Closed), moment(0));
    state.take_unsaved();
    let interval = Duration::from_secs(60);
    let renamed = ConfiguredSource { name: name("b"), was: Some(name("a")), host: "x".to_owned(), interval };
    for _ in 0..2 {
        state.configured(Configured { sources: vec![renamed.clone()], destinations: Vec::new() });
        assert_eq!(state.source("b", moment(1)).unwrap().items, 4);
        assert!(state.source("a", moment(1)).is_none());
    }
    let unsaved: Vec<_> = state.take_unsaved().into_iter().map(|(name, _)| name).collect();
    assert_eq!(unsaved, [name("b")]);
}

#[test]
fn a_poll_that_does_not_come_is_stalled() {
    let mut state = state(&[("a", "x")]);
    polled(&mut state, "a", 0, PollOutcome::Unchanged, Phase::Closed);
    assert_eq!(told(&state, moment(60 + 120), &healthy()).status, Status::Ok);
    let report = told(&state, moment(60 + 121), &healthy());
    assert_eq!((report.status, report.sources["a"].status), (Status::Degraded, SourceStatus::Degraded));
    assert_eq!(report.reasons, ["source a: stalled, its poll is overdue by 121 s"]);
}

#[test]
fn a_kind_that_hits_three_sources_is_named_even_after_recovery() {
    let mut state = state(&[("a", "x"), ("b", "x"), ("c", "x")]);
    for source in ["a", "b", "c"] {
        polled(&mut state, source, 1, failed(ErrorKind::Timeout), Phase::Closed);
        polled(&mut state, source, 2, PollOutcome::Changed { accepted: 1, emptied: false }, Phase::Closed);
    }
    let report = told(&state, moment(3), &healthy());
    assert_eq!(report.status, Status::Ok);
    assert_eq!(report.reasons, ["errors: timeout hit 3 sources 3 times in 24 h"]);
    assert_eq!((report.error_patterns[0].count, report.error_patterns[0].sources.len()), (3, 3));
    assert!(report.sources["a"].last_error.is_some());
}

#[test]
fn an_outage_is_down_until_the_first_success() {
    let mut state = state(&[("a", "x"), ("b", "y"), ("c", "z")]);
    polled(&mut state, "a", 1, failed(ErrorKind::Timeout), Phase::Closed);
    polled(&mut state, "b", 1, failed(ErrorKind::Dns), Phase::Closed);
    let Change::Began(failures) = polled(&mut state, "c", 1, failed(ErrorKind::Dns), Phase::Closed) else {
        panic!("no outage")
    };
    assert_eq!(failures.len(), 3);
    let report = told(&state, moment(2), &healthy());
    assert_eq!((report.status, report.network), (Status::Down, Network::Outage));
    assert_eq!(polled(&mut state, "a", 3, PollOutcome::Unchanged, Phase::Closed), Change::Ended);
    assert_eq!(told(&state, moment(4), &healthy()).network, Network::Ok);
}

#[test]
fn the_store_speaks_for_itself() {
    let mut store = healthy();
    store.reasons.push("store: damaged on Monday".into());
    let report = told(&state(&[]), moment(1), &store);
    assert_eq!((report.status, report.reasons), (Status::Degraded, vec!["store: damaged on Monday".to_owned()]));
    store.state = StoreState::Failing;
    assert_eq!(told(&state(&[]), moment(1), &store).status, Status::Down);
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
        state.delivery(delivery(is, 0, delivered), moment(now));
        let report = told(&state, moment(now), &healthy());
        assert_eq!((report.status, report.destinations["news"].status), (status, destination), "{is:?} at {now}");
    }
}

#[test]
fn counters_go_on_where_an_earlier_run_ended() {
    let mut first = state(&[("a", "x")]);
    polled(&mut first, "a", 0, PollOutcome::Changed { accepted: 4, emptied: true }, Phase::Closed);
    let unsaved = first.take_unsaved();
    assert!(first.take_unsaved().is_empty());
    let mut second = state(&[("a", "x")]);
    polled(&mut second, "a", 5, failed(ErrorKind::Tls), Phase::Closed);
    for (source, counters) in unsaved {
        second.restore(&source, counters.clone(), moment(5));
        second.restore(&source, counters, moment(5));
    }
    let source = second.source("a", moment(6)).unwrap();
    assert_eq!((source.polls, source.items, source.consecutive_failures), (2, 4, 1));
    assert_eq!(source.last_success, Some(at(0)));
    assert_eq!(told(&second, moment(6), &healthy()).error_patterns.len(), 2, "empty, and tls");
}

fn with_destinations(names: &[&str]) -> HealthState {
    let mut state = HealthState::new(moment(0));
    let destinations = names.iter().map(|destination| name(destination)).collect();
    state.configured(Configured { sources: Vec::new(), destinations });
    state
}

fn idle(destination: &str) -> DeliveryReported {
    DeliveryReported {
        destination: name(destination),
        queued: 0,
        oldest_queued: None,
        last_error: None,
        ..delivery(DestinationState::Ok, 0, Some(0))
    }
}

#[test]
fn the_whole_is_down_when_no_destination_can_deliver() {
    let gone = |name| DeliveryReported { state: DestinationState::Gone, ..idle(name) };
    let refusing = |name, items| DeliveryReported { refused_in_a_row: items, ..idle(name) };
    let paused = |name| DeliveryReported { state: DestinationState::Paused, ..idle(name) };
    let cases = [
        (vec![gone("a")], Status::Down),
        (vec![refusing("a", 3)], Status::Down),
        (vec![refusing("a", 2)], Status::Ok),
        (vec![gone("a"), refusing("b", 7)], Status::Down),
        (vec![gone("a"), idle("b")], Status::Degraded),
        (vec![gone("a"), paused("b")], Status::Down),
        (vec![paused("a"), paused("b")], Status::Ok),
    ];
    for (reports, status) in cases {
        let mut state = with_destinations(&["a", "b"][..reports.len()]);
        reports.iter().for_each(|report| state.delivery(report.clone(), moment(1)));
        let report = seen(&mut state, moment(2));
        assert_eq!(report.status, status, "{reports:?}: {:?}", report.reasons);
        let told = report.reasons.contains(&"no destination can deliver".to_owned());
        assert_eq!(told, status == Status::Down, "{:?}", report.reasons);
        assert_eq!(report.reasons.is_empty(), status == Status::Ok);
    }
    let mut state = with_destinations(&["a", "b"]);
    state.delivery(gone("a"), moment(1));
    assert_eq!(seen(&mut state, moment(2)).status, Status::Degraded, "the other has yet to load what was kept of it");
}

#[test]
fn a_dead_letter_is_told_of_for_a_day() {
    let mut state = with_destinations(&["a"]);
    let report = DeliveryReported { dead_letters: 2, last_refused: Some(at(0)), ..idle("a") };
    state.delivery(report.clone(), moment(1));
    let told = seen(&mut state, moment(600));
    assert_eq!((told.status, told.destinations["a"].status), (Status::Degraded, DestinationStatus::Degraded));
    assert_eq!(told.reasons, ["destination a: 2 dead letters, the last 10 min ago"]);
    assert_eq!(seen(&mut state, moment(86_399)).status, Status::Degraded);
    assert_eq!(seen(&mut state, moment(86_401)).status, Status::Ok);
    state.delivery(DeliveryReported { dead_letters: 0, ..report }, moment(86_402));
    assert_eq!(seen(&mut state, moment(86_403)).status, Status::Ok, "the operator dropped them");
}

#[test]
fn a_block_is_told_of_at_once() {
    let mut state = with_destinations(&["a"]);
    let blocked = DeliveryReported { state: DestinationState::Holding, blocked_since: Some(at(0)), ..idle("a") };
    state.delivery(blocked.clone(), moment(1));
    assert_eq!(seen(&mut state, moment(1)).status, Status::Degraded);
    let told = seen(&mut state, moment(61));
    assert_eq!((told.status, told.reasons), (Status::Degraded, vec!["destination a: blocked for 61 s".to_owned()]));
    for by in [-3600, 3600] {
        let mut state = with_destinations(&["a"]);
        state.delivery(blocked.clone(), moment(1));
        state.delivery(blocked.clone(), set(by, 40));
        assert_eq!(seen(&mut state, set(by, 61)).status, Status::Degraded, "{by}");
    }
}

#[test]
fn a_clock_that_is_set_makes_no_destination_stuck() {
    for by in [-86_400, -7200, 7200, 86_400] {
        let mut state = state(&[]);
        state.delivery(delivery(DestinationState::Degraded, 0, None), moment(0));
        let report = seen(&mut state, set(by, 1000));
        assert_eq!(report.status, Status::Degraded, "{by}: {:?}", report.reasons);
        assert_eq!(report.destinations["news"].oldest_queued_s, 1000, "{by}");
        // the next item in the queue was accepted before the clock was set, too
        state.delivery(delivery(DestinationState::Degraded, 10, None), set(by, 2000));
        assert_eq!(seen(&mut state, set(by, 2001)).status, Status::Degraded, "{by}");
        assert_eq!(seen(&mut state, set(by, 3605)).status, Status::Degraded, "{by}");
        assert_eq!(seen(&mut state, set(by, 3615)).status, Status::Down, "{by}: an hour has really passed");
    }
}

#[test]
fn a_poll_that_does_not_come_is_stalled_whatever_the_clock_says() {
    for by in [-86_400, -3600, 0, 3600, 86_400] {
        let mut state = state(&[("a", "x")]);
        polled(&mut state, "a", 0, PollOutcome::Unchanged, Phase::Closed);
        let report = seen(&mut state, set(by, 30));
        assert_eq!(report.status, Status::Ok, "{by}: {:?}", report.reasons);
        assert_eq!(report.sources["a"].next_poll, Some(at(60 + by)), "as the clock shows it now");
        assert_eq!(report.sources["a"].last_success, Some(at(by)));
        assert_eq!((report.started_at, report.uptime_s), (at(by), 30));
        let report = seen(&mut state, set(by, 60 + 121));
        assert_eq!((report.status, report.sources["a"].status), (Status::Degraded, SourceStatus::Degraded), "{by}");
        assert_eq!(report.reasons, ["source a: stalled, its poll is overdue by 121 s"]);
    }
}

#[test]
fn an_outage_is_found_on_any_clock() {
    for by in [-86_400, 86_400] {
        let mut state = state(&[("a", "x"), ("b", "y"), ("c", "z")]);
        polled(&mut state, "a", 0, PollOutcome::Unchanged, Phase::Closed);
        state.look(set(by, 1));
        for (source, second) in [("a", 400), ("b", 401)] {
            let poll =
                SourcePolled { ended: at(second + by), ..poll(source, second, failed(ErrorKind::Dns), Phase::Closed) };
            assert_eq!(state.polled(&poll, set(by, second)), Change::None);
        }
        let last = poll("c", 402, failed(ErrorKind::Dns), Phase::Closed);
        assert!(matches!(state.polled(&last, set(by, 402)), Change::Began(_)), "{by}");
    }
}

#[test]
fn a_snapshot_stays_as_it_was() {
    let mut state = state(&[("a", "x")]);
    let before = state.snapshot(moment(1), healthy());
    polled(&mut state, "a", 2, PollOutcome::Unchanged, Phase::Closed);
    let source =
        |snapshot: &Snapshot, brief| serde_json::to_value(snapshot.report(brief)).unwrap()["sources"]["a"].clone();
    assert_eq!(source(&before, false)["status"], "pending");
    let after = state.snapshot(moment(3), healthy());
    assert_eq!(source(&after, false)["status"], "ok");
    assert!(source(&after, true).is_null(), "what is well is not in the brief report");
}
