//! One source's polling as a pure state machine: whether to ask now, whether to try again, when next.
//!
//! The next request of a source waits for the latest of three: its schedule, what `Retry-After` asked
//! for, and its breaker. All three are part of its [`SourceRecord`] and survive restarts.
//!
//! They are kept as wall-clock times, for people and for the next run, and hold as long as was meant: what was
//! stored is checked when it is loaded ([`correct`]), and when the clock is set they move with it.

pub mod article;
pub mod document;
pub mod drift;
pub mod filter;
pub mod recent;
pub mod window;

use std::time::Duration;

use jiff::Timestamp;
use rand::Rng;

use crate::{
    config::{Breaker, Retry, Schedule},
    model::{
        Failure, Moment,
        moment::{ClockWatch, shifted},
    },
    resilience::{
        backoff::{Backoff, jittered},
        breaker::{self, Admission, Phase},
    },
    store::SourceRecord,
};

/// `Retry-After` is obeyed for so long at most.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// What a source may do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Poll, with so many attempts at most.
    Poll {
        /// 1 for a half-open breaker's trial.
        attempts: u32,
    },
    /// Look again after this time.
    Wait(Duration),
    /// Not before something from outside changes it: paused, gone, or an outage of our own network.
    Never,
}

/// After a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Try again after this time.
    Retry(Duration),
    /// The poll ends, failed.
    End,
}

/// How a poll ended, as far as the schedule and the breaker care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End<'a> {
    /// A document, new or not.
    Success,
    /// It failed, after its retries.
    Failed(&'a Failure),
    /// HTTP 410.
    Gone,
}

/// The state of one source's polling.
#[derive(Debug, Clone)]
pub struct Poller {
    schedule: Schedule,
    retry: Retry,
    breaker: Breaker,
    /// What is kept of the source across restarts.
    pub record: SourceRecord,
    held: bool,
    clock: ClockWatch,
}

impl Poller {
    /// A source as configured, with what was kept of it. `record` must be of the same fingerprint, see
    /// [`adopt`], and its times possible, see [`correct`].
    pub fn new(schedule: Schedule, retry: Retry, breaker: Breaker, record: SourceRecord, now: Moment) -> Self {
        Self { schedule, retry, breaker, record, held: false, clock: ClockWatch::new(now) }
    }

    /// Moves the times along if the clock was set since the last look; says whether it was.
    pub fn look(&mut self, now: Moment) -> bool {
        let Some(by) = self.clock.moved(now) else { return false };
        let record = &mut self.record;
        record.next_poll = record.next_poll.map(|at| shifted(at, by));
        record.not_before = record.not_before.map(|at| shifted(at, by));
        record.breaker.shift(by);
        true
    }

    /// Whether to poll at `now`.
    pub fn due(&mut self, now: Moment) -> Due {
        self.look(now);
        let now = now.wall;
        if self.held {
            return Due::Never;
        }
        match self.wait(now) {
            Some(Duration::ZERO) => Due::Poll { attempts: self.attempts(now) },
            Some(wait) => Due::Wait(wait),
            None => Due::Never,
        }
    }

    /// Whether an asked-for poll may go out at `now`: it passes over schedule, breaker and hold, never
    /// over `Retry-After`.
    pub fn due_when_asked(&mut self, now: Moment) -> Due {
        self.look(now);
        let now = now.wall;
        match until(self.record.not_before, now) {
            Duration::ZERO => Due::Poll { attempts: self.attempts(now) },
            wait => Due::Wait(wait),
        }
    }

    /// The time of the next poll, for people.
    pub fn next_poll(&self, now: Timestamp) -> Option<Timestamp> {
        self.wait(now).and_then(|wait| now.checked_add(wait).ok())
    }

    fn wait(&self, now: Timestamp) -> Option<Duration> {
        let record = &self.record;
        if record.paused || record.gone == Some(record.fingerprint) {
            return None;
        }
        let scheduled = until(record.next_poll, now);
        let asked = until(record.not_before, now);
        let breaker = match record.breaker.admit(now) {
            Admission::Wait(wait) => wait,
            Admission::Poll | Admission::Trial => Duration::ZERO,
        };
        Some(scheduled.max(asked).max(breaker))
    }

    fn attempts(&self, now: Timestamp) -> u32 {
        match self.record.breaker.phase(now) {
            Phase::Closed => self.retry.attempts,
            Phase::Open | Phase::HalfOpen => 1,
        }
    }

    /// What follows the `attempt`-th attempt (from 1) of `allowed`, which failed. `Retry-After` within
    /// `max_backoff` replaces the backoff; beyond it the poll ends.
    pub fn after_failure(&self, attempt: u32, allowed: u32, failure: &Failure, rng: &mut impl Rng) -> Next {
        if !failure.retry || attempt >= allowed {
            return Next::End;
        }
        match failure.retry_after {
            Some(asked) if asked > self.retry.max_backoff => Next::End,
            Some(asked) => Next::Retry(asked),
            None => Next::Retry(Backoff::new(self.retry.min_backoff, self.retry.max_backoff).wait(attempt, rng)),
        }
    }

    /// A poll that began at `started` ended. True if what is kept changed in a way that a kill must not
    /// undo (breaker, `Retry-After`, gone); false if only times moved on.
    pub fn finished(&mut self, started: Moment, now: Moment, end: End<'_>, rng: &mut impl Rng) -> bool {
        self.look(now);
        let before = (self.record.breaker.clone(), self.record.not_before, self.record.gone);
        self.record.not_before = None;
        self.record.not_before_s = None;
        match end {
            End::Success => {
                self.record.breaker.succeeded();
                self.record.gone = None;
                self.record.last_success = Some(now.wall);
            }
            End::Failed(failure) => {
                // a failure of our own store, or of our own network, is no fault of the source's
                let ours = failure.kind.is_ours() || (self.held && failure.kind.is_network());
                if !ours {
                    self.record.breaker.failed(&self.breaker, now.wall);
                }
                let asked = failure.retry_after.map(|asked| asked.min(LONGEST_RETRY_AFTER));
                self.record.not_before = asked.map(|asked| now.after(asked));
                self.record.not_before_s = asked.map(whole_seconds);
            }
            End::Gone => self.record.gone = Some(self.record.fingerprint),
        }
        self.reschedule(started, now, rng);
        before != (self.record.breaker.clone(), self.record.not_before, self.record.gone)
    }

    /// What `next` became is stored, and is what holds from now on; whether polls are held is not part of it.
    pub fn stored(&mut self, next: Self) {
        *self = Self { held: self.held, ..next };
    }

    /// Sets the schedule's next poll after one that began at `started`: start to start. Polls that fell
    /// due while this one ran are skipped.
    fn reschedule(&mut self, started: Moment, now: Moment, rng: &mut impl Rng) {
        let mut wait = jittered(self.schedule.interval, self.schedule.jitter, rng);
        let took = now.since(started);
        if took > wait {
            let missed = (took - wait).as_secs_f64() / self.schedule.interval.as_secs_f64();
            wait += self.schedule.interval.mul_f64(missed.ceil());
        }
        self.record.next_poll = Some(now.after(wait.saturating_sub(took)));
    }

    /// The network is out: polls wait for [`Poller::release`], and the failures that it caused are
    /// taken back.
    pub fn hold(&mut self, failures: u32) {
        self.held = true;
        self.record.breaker.forgive(failures, &self.breaker);
    }

    /// The network is back. What fell due meanwhile is polled after `delay`.
    pub fn release(&mut self, now: Moment, delay: Duration) {
        self.look(now);
        self.held = false;
        if self.wait(now.wall) == Some(Duration::ZERO) {
            self.record.next_poll = Some(now.after(delay));
        }
    }
}

/// Takes over what was kept of a source: validators, body hash and what the rules matched only if they were
/// of the same `fingerprint` (URL, kind, rules, encoding, headers, parser version), `gone`, the breaker
/// and the schedule likewise: it was something else that failed, and whoever mends a source wants to see it go.
pub fn adopt(mut record: SourceRecord, fingerprint: u64) -> SourceRecord {
    if record.fingerprint != fingerprint {
        record = SourceRecord {
            fingerprint,
            etag: None,
            last_modified: None,
            body_hash: None,
            gone: None,
            matched: None,
            breaker: breaker::Breaker::default(),
            next_poll: None,
            ..record
        };
    }
    record
}

/// Corrects stored times that lie further ahead of `now` than they can have been meant: the clock was set back
/// since, or the interval is shorter now. Without a next poll the source is due, like one at its first poll.
pub fn correct(record: &mut SourceRecord, schedule: Schedule, breaker: &Breaker, now: Timestamp) {
    let latest = |wait: Duration| now.checked_add(wait).unwrap_or(Timestamp::MAX);
    let longest_wait = schedule.interval.mul_f64(1.0 + schedule.jitter.clamp(0.0, 1.0) / 2.0);
    record.next_poll = record.next_poll.filter(|next| *next <= latest(longest_wait));
    let asked = record.not_before_s.map_or(LONGEST_RETRY_AFTER, |seconds| Duration::from_secs(seconds.into()));
    record.not_before = record.not_before.map(|until| until.min(latest(asked)));
    record.breaker.limit(breaker, now);
}

fn whole_seconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
}

/// Delays of the first polls: none for the first 20, the rest spread over the lesser of one interval and
/// 50 ms a source.
pub fn first_poll_delay(nth: usize, of: usize, interval: Duration) -> Duration {
    const AT_ONCE: usize = 20;
    let (Some(nth), Some(rest)) = (nth.checked_sub(AT_ONCE), of.checked_sub(AT_ONCE)) else { return Duration::ZERO };
    let window = interval.min(Duration::from_millis(50).saturating_mul(u32::try_from(rest).unwrap_or(u32::MAX)));
    window.mul_f64((nth + 1) as f64 / rest.max(1) as f64)
}

fn until(at: Option<Timestamp>, now: Timestamp) -> Duration {
    at.and_then(|at| Duration::try_from(at.duration_since(now)).ok()).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;
    use crate::model::ErrorKind;

    fn wall(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// A moment while nobody sets the clock.
    fn at(second: i64) -> Moment {
        Moment { wall: wall(second), steady: Duration::from_secs(1000 + second as u64) }
    }

    /// The same, seen on a clock that was set by so many seconds.
    fn set(by: i64, second: i64) -> Moment {
        Moment { wall: wall(second + by), ..at(second) }
    }

    fn rng() -> StdRng {
        StdRng::seed_from_u64(1)
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn poller() -> Poller {
        Poller::new(
            Schedule { interval: seconds(300), jitter: 0.0 },
            Retry { attempts: 3, min_backoff: seconds(2), max_backoff: seconds(10) },
            Breaker { failures: 3, cooldown: seconds(300), max_cooldown: seconds(3600) },
            SourceRecord::default(),
            at(0),
        )
    }

    fn reset_by_peer() -> Failure {
        Failure::transient(ErrorKind::ConnectionReset, "reset")
    }

    fn asking_for(wait: Duration) -> Failure {
        Failure { retry_after: Some(wait), ..Failure::transient(ErrorKind::RateLimited, "429") }
    }

    #[test]
    fn polls_go_from_start_to_start() {
        let mut poller = poller();
        assert_eq!(poller.due(at(0)), Due::Poll { attempts: 3 });
        assert!(!poller.finished(at(0), at(20), End::Success, &mut rng()));
        assert_eq!(poller.due(at(20)), Due::Wait(seconds(280)));
        assert_eq!(poller.due(at(300)), Due::Poll { attempts: 3 });
    }

    #[test]
    fn polls_that_fell_due_while_one_ran_are_skipped() {
        let mut poller = poller();
        poller.finished(at(0), at(700), End::Success, &mut rng());
        assert_eq!(poller.due(at(700)), Due::Wait(seconds(200)));
    }

    #[test]
    fn an_open_breaker_is_silent_then_admits_one_attempt() {
        let mut poller = poller();
        for start in [0, 300, 600] {
            assert!(poller.finished(at(start), at(start + 10), End::Failed(&reset_by_peer()), &mut rng()));
        }
        assert_eq!(poller.due(at(610)), Due::Wait(seconds(300)));
        assert_eq!(poller.next_poll(wall(610)), Some(wall(910)));
        assert_eq!(poller.due(at(910)), Due::Poll { attempts: 1 });
        assert!(poller.finished(at(910), at(911), End::Success, &mut rng()));
        assert_eq!(poller.due(at(1210)), Due::Poll { attempts: 3 });
    }

    #[test]
    fn retry_after_replaces_the_backoff_or_ends_the_poll() {
        let mut poller = poller();
        assert_eq!(poller.after_failure(1, 3, &asking_for(seconds(7)), &mut rng()), Next::Retry(seconds(7)));
        let long = asking_for(seconds(11));
        assert_eq!(poller.after_failure(1, 3, &long, &mut rng()), Next::End);
        poller.finished(at(0), at(0), End::Failed(&asking_for(seconds(900))), &mut rng());
        assert_eq!(poller.due(at(0)), Due::Wait(seconds(900)));
        assert_eq!(poller.due_when_asked(at(0)), Due::Wait(seconds(900)));
        assert_eq!(poller.due_when_asked(at(900)), Due::Poll { attempts: 3 });
    }

    #[test]
    fn attempts_end_when_they_are_used_up_or_pointless() {
        let poller = poller();
        let Next::Retry(wait) = poller.after_failure(1, 3, &reset_by_peer(), &mut rng()) else { panic!("no retry") };
        assert!(wait >= seconds(1) && wait <= seconds(2));
        assert_eq!(poller.after_failure(3, 3, &reset_by_peer(), &mut rng()), Next::End);
        assert_eq!(poller.after_failure(1, 1, &reset_by_peer(), &mut rng()), Next::End);
        let html = Failure::fatal(ErrorKind::NotAFeed, "an HTML page");
        assert_eq!(poller.after_failure(1, 3, &html, &mut rng()), Next::End);
    }

    #[test]
    fn our_own_faults_do_not_count_for_the_breaker() {
        let mut poller = poller();
        for _ in 0..5 {
            let disk = Failure::fatal(ErrorKind::Store, "no space");
            assert!(!poller.finished(at(0), at(0), End::Failed(&disk), &mut rng()));
        }
        poller.finished(at(0), at(0), End::Failed(&reset_by_peer()), &mut rng());
        poller.hold(1);
        poller.finished(at(0), at(0), End::Failed(&reset_by_peer()), &mut rng());
        assert_eq!(poller.record.breaker.failures, 0);
        assert_eq!(poller.due(at(9999)), Due::Never);
        poller.release(at(9999), seconds(30));
        assert_eq!(poller.due(at(9999)), Due::Wait(seconds(30)));
    }

    #[test]
    fn gone_lasts_until_the_configuration_changes() {
        let mut poller = poller();
        poller.record = adopt(SourceRecord::default(), 7);
        assert!(poller.finished(at(0), at(0), End::Gone, &mut rng()));
        assert_eq!(poller.due(at(9999)), Due::Never);
        assert_eq!(adopt(poller.record.clone(), 7).gone, Some(7));
        poller.record = adopt(poller.record.clone(), 8);
        assert!(matches!(poller.due(at(9999)), Due::Poll { .. }));
    }

    #[test]
    fn mended_rules_are_tried_at_once() {
        let mut poller = poller();
        poller.record = adopt(SourceRecord::default(), 7);
        let drifted = Failure::fatal(ErrorKind::Selector, "\"h3\" matches nothing");
        for start in [0, 300, 600] {
            poller.finished(at(start), at(start), End::Failed(&drifted), &mut rng());
        }
        poller.record = adopt(poller.record.clone(), 7);
        assert_eq!(poller.due(at(700)), Due::Wait(seconds(200)));
        poller.record = adopt(poller.record.clone(), 8);
        assert_eq!(poller.due(at(700)), Due::Poll { attempts: 3 });
    }

    #[test]
    fn stored_times_beyond_reason_are_corrected() {
        const DAY: i64 = 86_400;
        let mut poller = poller();
        for start in [0, 300, 600] {
            poller.finished(at(start), at(start), End::Failed(&asking_for(seconds(900))), &mut rng());
        }
        let Poller { record, schedule, breaker, .. } = poller;
        let correct =
            |record: &mut SourceRecord, now| correct(record, Schedule { jitter: 0.1, ..schedule }, &breaker, now);
        let mut same = record.clone();
        correct(&mut same, wall(610));
        assert_eq!(same, record, "the clock was not touched");

        let mut back = record.clone();
        correct(&mut back, wall(610 - DAY));
        assert_eq!(back.next_poll, None, "due, as if it had none");
        assert_eq!(back.not_before, Some(wall(610 - DAY + 900)), "no longer than it was asked for");
        assert_eq!(back.breaker.admit(wall(610 - DAY)), breaker::Admission::Wait(seconds(300)));

        let mut old = SourceRecord { not_before_s: None, ..record };
        correct(&mut old, wall(610 - 30 * DAY));
        assert_eq!(old.not_before, Some(wall(610 - 29 * DAY)), "of an older version: a day at most");
        let mut jittered = SourceRecord { next_poll: Some(wall(315)), ..SourceRecord::default() };
        correct(&mut jittered, wall(0));
        assert_eq!(jittered.next_poll, Some(wall(315)), "so much may the jitter be");
    }

    #[test]
    fn a_clock_that_is_set_changes_no_wait() {
        for by in [-86_400, -3600, -7, 7, 3600, 86_400] {
            let mut poller = poller();
            poller.finished(at(0), at(20), End::Success, &mut rng());
            assert_eq!(poller.due(set(by, 100)), Due::Wait(seconds(200)), "schedule, {by} s");
            assert_eq!(poller.record.next_poll, Some(wall(300 + by)), "what is stored and shown is corrected");
            assert_eq!(poller.due(set(by, 300)), Due::Poll { attempts: 3 }, "{by} s");

            let mut poller = self::poller();
            for start in [0, 300, 600] {
                poller.finished(at(start), at(start), End::Failed(&asking_for(seconds(700))), &mut rng());
            }
            assert_eq!(poller.due(set(by, 1000)), Due::Wait(seconds(300)), "Retry-After, {by} s");
            assert_eq!(poller.due_when_asked(set(by, 1299)), Due::Wait(seconds(1)));
            assert_eq!(poller.due(set(by, 1300)), Due::Poll { attempts: 1 }, "half-open, {by} s");
            poller.finished(set(by, 1300), set(by, 1301), End::Failed(&reset_by_peer()), &mut rng());
            assert_eq!(poller.due(set(2 * by, 1301)), Due::Wait(seconds(600)), "breaker, {by} s");
        }
    }

    #[test]
    fn a_poll_during_which_the_clock_is_set_took_as_long_as_it_did() {
        for by in [-3600, 3600] {
            let mut poller = poller();
            poller.finished(at(0), set(by, 20), End::Success, &mut rng());
            assert_eq!(poller.record.next_poll, Some(wall(300 + by)));
            assert_eq!(poller.due(set(by, 20)), Due::Wait(seconds(280)));
        }
    }

    #[test]
    fn first_polls_are_spread() {
        let delay = |nth| first_poll_delay(nth, 120, seconds(300));
        assert_eq!((delay(0), delay(19)), (seconds(0), seconds(0)));
        assert_eq!(delay(119), seconds(5));
        assert_eq!(first_poll_delay(119, 120, seconds(1)), seconds(1));
        assert_eq!(first_poll_delay(3, 4, seconds(300)), seconds(0));
    }
}
