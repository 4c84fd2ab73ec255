//! The circuit breaker of one source.
//!
//! | state | meaning | leaves it |
//! | --- | --- | --- |
//! | closed | polls go out | `failures` failed polls in a row open it |
//! | open | no request is sent | the cooldown's end makes it half-open |
//! | half-open | one trial: one attempt, no retries | success closes it, failure opens it for twice as long |
//!
//! A poll counts once, after its retries. The state is wall-clock time, since it survives restarts. Whoever
//! notices that the clock was set moves it along ([`Breaker::shift`]), and what was stored is checked when it
//! is loaded ([`Breaker::limit`]).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{config::Breaker as Settings, model::moment::shifted};

/// Whether polls go out, as `/health` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Polls go out.
    Closed,
    /// No request is sent.
    Open,
    /// One trial attempt is due or under way.
    HalfOpen,
}

/// What a poll may do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// A poll with all its attempts.
    Poll,
    /// One attempt, no retries.
    Trial,
    /// Nothing before the time has passed.
    Wait(Duration),
}

/// A source's breaker, as it is kept in the store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breaker {
    /// Failed polls in a row.
    pub failures: u32,
    /// Set while open or half-open.
    opened: Option<Opened>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Opened {
    until: Timestamp,
    cooldown: Duration,
}

impl Breaker {
    /// Closed, and without a failure.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The phase at `now`.
    pub fn phase(&self, now: Timestamp) -> Phase {
        match self.admit(now) {
            Admission::Poll => Phase::Closed,
            Admission::Trial => Phase::HalfOpen,
            Admission::Wait(_) => Phase::Open,
        }
    }

    /// What may be sent at `now`.
    pub fn admit(&self, now: Timestamp) -> Admission {
        let Some(opened) = &self.opened else { return Admission::Poll };
        let left = Duration::try_from(opened.until.duration_since(now)).unwrap_or(Duration::ZERO);
        match left {
            Duration::ZERO => Admission::Trial,
            left => Admission::Wait(left),
        }
    }

    /// The clock was set by so much: an open breaker stays open for as long as before.
    pub fn shift(&mut self, by: SignedDuration) {
        if let Some(opened) = &mut self.opened {
            opened.until = shifted(opened.until, by);
        }
    }

    /// Cuts an opening that no clock can have meant: it ends one cooldown after `now` at the latest.
    pub fn limit(&mut self, settings: &Settings, now: Timestamp) {
        if let Some(opened) = &mut self.opened {
            opened.cooldown = opened.cooldown.min(settings.max_cooldown);
            opened.until = opened.until.min(now.checked_add(opened.cooldown).unwrap_or(Timestamp::MAX));
        }
    }

    /// A poll succeeded: closes, and forgets the grown cooldown.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// A poll failed. True if this opened the breaker, or opened it again.
    pub fn failed(&mut self, settings: &Settings, now: Timestamp) -> bool {
        self.failures = self.failures.saturating_add(1);
        let cooldown = match &self.opened {
            Some(opened) => opened.cooldown.saturating_mul(2).min(settings.max_cooldown),
            None if self.failures >= settings.failures => settings.cooldown,
            None => return false,
        };
        let until = now.checked_add(cooldown).unwrap_or(Timestamp::MAX);
        self.opened = Some(Opened { until, cooldown });
        true
    }

    /// Takes back the last `failures` failures, which turned out to be our own network's; an opening
    /// that would not have come without them is taken back too.
    pub fn forgive(&mut self, failures: u32, settings: &Settings) {
        self.failures = self.failures.saturating_sub(failures);
        if self.failures < settings.failures {
            self.opened = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SETTINGS: Settings =
        Settings { failures: 3, cooldown: Duration::from_secs(300), max_cooldown: Duration::from_secs(1000) };

    fn at(second: i64) -> Timestamp {
        Timestamp::new(1_800_000_000 + second, 0).unwrap()
    }

    fn opened_at(second: i64) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..3 {
            breaker.failed(&SETTINGS, at(second));
        }
        breaker
    }

    #[test]
    fn opens_after_three_failures_in_a_row() {
        let mut breaker = Breaker::default();
        assert!(!breaker.failed(&SETTINGS, at(0)));
        breaker.succeeded();
        assert!(!breaker.failed(&SETTINGS, at(1)));
        assert!(!breaker.failed(&SETTINGS, at(2)));
        assert_eq!(breaker.admit(at(2)), Admission::Poll);
        assert!(breaker.failed(&SETTINGS, at(3)));
        assert_eq!(breaker.admit(at(3)), Admission::Wait(Duration::from_secs(300)));
        assert_eq!(breaker.phase(at(302)), Phase::Open);
    }

    #[test]
    fn a_failed_trial_doubles_the_cooldown_and_a_success_resets_it() {
        let mut breaker = opened_at(2);
        assert_eq!(breaker.admit(at(302)), Admission::Trial);
        for (now, cooldown) in [(302, 600), (902, 1000), (1902, 1000)] {
            assert_eq!(breaker.phase(at(now)), Phase::HalfOpen);
            breaker.failed(&SETTINGS, at(now));
            assert_eq!(breaker.admit(at(now)), Admission::Wait(Duration::from_secs(cooldown)));
        }
        breaker.succeeded();
        for second in 0..3 {
            breaker.failed(&SETTINGS, at(3000 + second));
        }
        assert_eq!(breaker.admit(at(3002)), Admission::Wait(Duration::from_secs(300)));
    }

    #[test]
    fn what_was_stored_keeps_it_open_no_longer_than_its_cooldown() {
        let mut breaker = opened_at(100_000);
        breaker.limit(&SETTINGS, at(0));
        assert_eq!(breaker.admit(at(0)), Admission::Wait(Duration::from_secs(300)));
        assert_eq!(breaker.admit(at(300)), Admission::Trial, "the end itself is corrected");
        let shorter = Settings { max_cooldown: Duration::from_secs(60), ..SETTINGS };
        breaker.limit(&shorter, at(0));
        assert_eq!(breaker.admit(at(0)), Admission::Wait(Duration::from_secs(60)));
        let mut closed = Breaker::default();
        closed.limit(&SETTINGS, at(0));
        assert!(closed.is_default());
    }

    #[test]
    fn a_clock_that_is_set_changes_nothing_of_what_is_left() {
        for by in [-3600, 7200] {
            let mut breaker = opened_at(0);
            breaker.shift(SignedDuration::from_secs(by));
            assert_eq!(breaker.admit(at(100 + by)), Admission::Wait(Duration::from_secs(200)));
            assert_eq!(breaker.admit(at(300 + by)), Admission::Trial);
        }
    }

    #[test]
    fn forgiving_an_outage_closes_what_the_outage_opened_and_nothing_else() {
        let mut breaker = opened_at(0);
        breaker.forgive(2, &SETTINGS);
        assert_eq!((breaker.failures, breaker.phase(at(0))), (1, Phase::Closed));

        let mut breaker = opened_at(0);
        breaker.failed(&SETTINGS, at(300));
        breaker.forgive(1, &SETTINGS);
        assert_eq!((breaker.failures, breaker.phase(at(300))), (3, Phase::Open));
    }

    #[test]
    fn state_survives_its_own_serialization() {
        let breaker = opened_at(5);
        let text = serde_json::to_string(&breaker).unwrap();
        assert_eq!(serde_json::from_str::<Breaker>(&text).unwrap(), breaker);
    }

    proptest! {
        #[test]
        fn a_failed_trial_is_followed_by_a_wait(waits in prop::collection::vec(0_i64..5000, 1..50)) {
            let mut breaker = Breaker::default();
            let mut now = 0;
            for wait in waits {
                now += wait;
                let admission = breaker.admit(at(now));
                if !matches!(admission, Admission::Wait(_)) {
                    breaker.failed(&SETTINGS, at(now));
                }
                if admission == Admission::Trial {
                    prop_assert!(matches!(breaker.admit(at(now)), Admission::Wait(_)));
                }
            }
        }
    }
}
