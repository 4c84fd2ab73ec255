//! Counters of one source, kept across restarts.
//!
//! Totals are for ever; what `/health` says of the last 24 h comes from buckets of an hour each, which
//! fall out as they age.

use jiff::{SignedDuration, Timestamp, fmt::serde::timestamp};
use serde::{Deserialize, Serialize};

use super::report::ErrorReport;
use crate::model::{ErrorKind, Failure, moment::shifted};

/// Hours that count.
const WINDOW_HOURS: i64 = 24;

/// Everything counted of one source.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceCounters {
    /// Requests sent, redirects not counted.
    pub attempts: u64,
    /// Polls that succeeded.
    pub successes: u64,
    /// Polls that failed.
    pub failures: u64,
    /// Failed polls in a row.
    pub consecutive_failures: u64,
    /// Items accepted.
    pub items: u64,
    /// When the last poll began.
    #[serde(with = "timestamp::millisecond::optional", skip_serializing_if = "Option::is_none")]
    pub last_attempt: Option<Timestamp>,
    /// When the last successful poll ended.
    #[serde(with = "timestamp::millisecond::optional", skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Timestamp>,
    /// The last error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<ErrorReport>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hours: Vec<Hour>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Errors>,
}

/// Polls of one hour.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Hour {
    #[serde(rename = "h")]
    hour: i64,
    #[serde(rename = "s")]
    successes: u32,
    #[serde(rename = "f")]
    failures: u32,
}

/// Errors of one kind in one hour.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Errors {
    hour: i64,
    kind: ErrorKind,
    count: u32,
    first: Timestamp,
    last: Timestamp,
}

/// Errors of one kind in the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pattern {
    /// The kind.
    pub kind: ErrorKind,
    /// How often.
    pub count: u64,
    /// The first in the window.
    pub first: Timestamp,
    /// The last.
    pub last: Timestamp,
}

impl SourceCounters {
    /// A poll succeeded.
    pub fn succeeded(&mut self, at: Timestamp, accepted: u64) {
        self.successes += 1;
        self.items += accepted;
        self.consecutive_failures = 0;
        self.last_success = Some(at);
        self.hour(at).successes += 1;
    }

    /// A poll failed.
    pub fn failed(&mut self, at: Timestamp, failure: &Failure) {
        self.failures += 1;
        self.consecutive_failures += 1;
        self.last_error = Some(ErrorReport { kind: failure.kind, message: failure.message.clone(), at });
        self.hour(at).failures += 1;
        self.saw(failure.kind, at);
    }

    /// Something of this kind was seen; not by itself a failure.
    pub fn saw(&mut self, kind: ErrorKind, at: Timestamp) {
        let hour = hour_of(at);
        self.errors.retain(|errors| hour - errors.hour <= WINDOW_HOURS);
        match self.errors.iter_mut().find(|errors| errors.hour == hour && errors.kind == kind) {
            Some(errors) => {
                errors.count += 1;
                errors.last = at;
            }
            None => self.errors.push(Errors { hour, kind, count: 1, first: at, last: at }),
        }
    }

    /// Polls ended.
    pub fn polls(&self) -> u64 {
        self.successes + self.failures
    }

    /// Successes in percent of polls, one decimal; none before the first.
    pub fn success_rate(&self) -> Option<f64> {
        percent(self.successes, self.failures)
    }

    /// The same over the last 24 h.
    pub fn success_rate_24h(&self, now: Timestamp) -> Option<f64> {
        let hours = self.hours.iter().filter(|hour| hour_of(now) - hour.hour < WINDOW_HOURS);
        let (successes, failures) = hours.fold((0, 0), |(successes, failures), hour| {
            (successes + u64::from(hour.successes), failures + u64::from(hour.failures))
        });
        percent(successes, failures)
    }

    /// Errors of the last 24 h by kind.
    pub fn patterns(&self, now: Timestamp) -> Vec<Pattern> {
        let mut patterns: Vec<Pattern> = Vec::new();
        for errors in self.errors.iter().filter(|errors| hour_of(now) - errors.hour < WINDOW_HOURS) {
            let Errors { kind, count, first, last, .. } = *errors;
            match patterns.iter_mut().find(|pattern| pattern.kind == kind) {
                Some(pattern) => {
                    pattern.count += u64::from(count);
                    pattern.first = pattern.first.min(first);
                    pattern.last = pattern.last.max(last);
                }
                None => patterns.push(Pattern { kind, count: u64::from(count), first, last }),
            }
        }
        patterns
    }

    /// Goes on from what an earlier run counted; what was counted meanwhile is newer.
    pub fn continue_from(&mut self, earlier: Self) {
        let now = std::mem::replace(self, earlier);
        self.attempts += now.attempts;
        self.items += now.items;
        self.consecutive_failures = if now.successes > 0 {
            now.consecutive_failures
        } else {
            self.consecutive_failures + now.consecutive_failures
        };
        self.successes += now.successes;
        self.failures += now.failures;
        self.last_attempt = now.last_attempt.or(self.last_attempt);
        self.last_success = now.last_success.or(self.last_success);
        self.last_error = now.last_error.or(self.last_error.take());
        for hour in now.hours {
            match self.hours.iter_mut().find(|known| known.hour == hour.hour) {
                Some(known) => {
                    known.successes += hour.successes;
                    known.failures += hour.failures;
                }
                None => self.hours.push(hour),
            }
        }
        for errors in now.errors {
            match self.errors.iter_mut().find(|known| (known.hour, known.kind) == (errors.hour, errors.kind)) {
                Some(known) => {
                    known.count += errors.count;
                    known.last = errors.last;
                }
                None => self.errors.push(errors),
            }
        }
    }

    /// The clock was set by so much: what was counted since `since` keeps its age.
    pub fn shift(&mut self, by: SignedDuration, since: Timestamp) {
        let hours = (by.as_secs_f64() / 3600.0).round() as i64;
        let first = hour_of(since);
        self.times(|at| if at >= since { shifted(at, by) } else { at });
        let moved = |hour: &mut i64| *hour += if *hour >= first { hours } else { 0 };
        self.hours.iter_mut().for_each(|hour| moved(&mut hour.hour));
        self.errors.iter_mut().for_each(|errors| moved(&mut errors.hour));
    }

    /// What an earlier run counted while the clock was ahead of `now` counts as of now.
    pub fn limit(&mut self, now: Timestamp) {
        let last = hour_of(now);
        self.times(|at| at.min(now));
        self.hours.iter_mut().for_each(|hour| hour.hour = hour.hour.min(last));
        self.errors.iter_mut().for_each(|errors| errors.hour = errors.hour.min(last));
    }

    fn times(&mut self, change: impl Fn(Timestamp) -> Timestamp) {
        let Self { last_attempt, last_success, last_error, errors, .. } = self;
        let shown = last_attempt.iter_mut().chain(last_success).chain(last_error.as_mut().map(|error| &mut error.at));
        let seen = errors.iter_mut().flat_map(|errors| [&mut errors.first, &mut errors.last]);
        shown.chain(seen).for_each(|at| *at = change(*at));
    }

    fn hour(&mut self, at: Timestamp) -> &mut Hour {
        let hour = hour_of(at);
        if self.hours.last().is_none_or(|last| last.hour != hour) {
            self.hours.retain(|old| hour - old.hour < WINDOW_HOURS && old.hour != hour);
            self.hours.push(Hour { hour, successes: 0, failures: 0 });
        }
        let last = self.hours.len() - 1;
        &mut self.hours[last]
    }
}

fn hour_of(at: Timestamp) -> i64 {
    at.as_second().div_euclid(3600)
}

fn percent(successes: u64, failures: u64) -> Option<f64> {
    let polls = successes + failures;
    (polls > 0).then(|| (successes as f64 * 1000.0 / polls as f64).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + hour * 3600).unwrap()
    }

    fn reset() -> Failure {
        Failure::transient(ErrorKind::ConnectionReset, "reset")
    }

    #[test]
    fn rates_are_of_polls_with_one_decimal() {
        let mut counters = SourceCounters::default();
        assert_eq!((counters.success_rate(), counters.success_rate_24h(at(0))), (None, None));
        counters.succeeded(at(0), 2);
        counters.succeeded(at(0), 1);
        counters.failed(at(0), &reset());
        assert_eq!(counters.success_rate(), Some(66.7));
        assert_eq!((counters.polls(), counters.items, counters.consecutive_failures), (3, 3, 1));
    }

    #[test]
    fn a_day_later_only_the_totals_are_left() {
        let mut counters = SourceCounters::default();
        counters.failed(at(0), &reset());
        counters.failed(at(5), &reset());
        assert_eq!(counters.patterns(at(6))[0].count, 2);
        counters.succeeded(at(26), 0);
        assert_eq!(counters.success_rate_24h(at(26)), Some(50.0));
        assert_eq!(
            counters.patterns(at(26)),
            [Pattern { kind: ErrorKind::ConnectionReset, count: 1, first: at(5), last: at(5) }]
        );
        assert_eq!(counters.success_rate_24h(at(60)), None);
        assert!(counters.patterns(at(60)).is_empty());
        assert_eq!(counters.success_rate(), Some(33.3));
        assert!(counters.last_error.is_some(), "the last error stays after recovery");
    }

    #[test]
    fn what_was_counted_keeps_its_age_when_the_clock_is_set() {
        for hours in [-30, -1, 2, 100] {
            let mut counters = SourceCounters::default();
            counters.failed(at(-20), &reset());
            counters.succeeded(at(1), 0);
            counters.failed(at(2), &reset());
            counters.shift(SignedDuration::from_hours(hours), at(0));
            counters.limit(at(3 + hours));
            assert_eq!(counters.last_success, Some(at(1 + hours)));
            assert_eq!(counters.last_error.as_ref().unwrap().at, at(2 + hours));
            let patterns = counters.patterns(at(3 + hours));
            let newest = if hours < -22 { at(3 + hours) } else { at(2 + hours) };
            assert_eq!(patterns[0].last, newest, "{hours}");
            assert!(counters.success_rate_24h(at(3 + hours)).is_some_and(|rate| rate >= 33.0), "{hours}");
            assert_eq!(counters.success_rate_24h(at(200)), None);
        }
    }

    #[test]
    fn an_earlier_run_counted_nothing_in_the_future() {
        let mut counters = SourceCounters::default();
        counters.succeeded(at(49), 0);
        counters.failed(at(50), &reset());
        counters.limit(at(0));
        assert_eq!((counters.last_success, counters.patterns(at(0))[0].last), (Some(at(0)), at(0)));
        assert_eq!(counters.success_rate_24h(at(0)), Some(50.0));
        assert_eq!(counters.success_rate_24h(at(25)), None, "and it ages from now on");
    }

    #[test]
    fn it_survives_its_own_serialization() {
        let mut counters = SourceCounters::default();
        counters.failed(at(0), &reset());
        let bytes = serde_json::to_vec(&counters).unwrap();
        assert_eq!(serde_json::from_slice::<SourceCounters>(&bytes).unwrap(), counters);
        for hour in 0..1000 {
            counters.failed(at(hour), &reset());
        }
        assert!(serde_json::to_vec(&counters).unwrap().len() < 4096, "it grows");
    }
}
