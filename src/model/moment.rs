//! Time on two clocks: the system's, which people read and the operator may set, and one that only moves on.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// The same moment on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The system's clock: what is shown and stored. It may be set at any time.
    pub wall: Timestamp,
    /// Time since some fixed point: it moves on at its own pace, whatever the system's clock does.
    pub steady: Duration,
}

impl Moment {
    /// Time that really passed since `earlier`.
    pub fn since(self, earlier: Self) -> Duration {
        self.steady.saturating_sub(earlier.steady)
    }

    /// What the system's clock will show after this time, unless it is set.
    pub fn after(self, wait: Duration) -> Timestamp {
        shifted(self.wall, SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX))
    }

    /// Where `at` lies on the steady clock, if the system's clock is not set.
    pub fn steady_at(self, at: Timestamp) -> Duration {
        match Duration::try_from(at.duration_since(self.wall)) {
            Ok(ahead) => self.steady.saturating_add(ahead),
            Err(_) => self.steady.saturating_sub(at.duration_since(self.wall).unsigned_abs()),
        }
    }

    /// What the system's clock shows at a time of the steady one, if it is not set.
    pub fn wall_at(self, steady: Duration) -> Timestamp {
        match steady.checked_sub(self.steady) {
            Some(ahead) => self.after(ahead),
            None => self.wall.checked_sub(self.steady.saturating_sub(steady)).unwrap_or(Timestamp::MIN),
        }
    }
}

/// `at`, moved by as much as the clock was set.
pub fn shifted(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(if by.is_negative() { Timestamp::MIN } else { Timestamp::MAX })
}

/// Notices when the system's clock is set.
#[derive(Debug, Clone, Copy)]
pub struct ClockWatch {
    /// How far the system's clock is ahead of the steady one, in ms.
    ahead: i64,
}

/// Smaller differences are a clock that is being steered, and the time between two readings.
const TOLERANCE_MS: u64 = 100;

impl ClockWatch {
    /// Looks from now on.
    pub fn new(now: Moment) -> Self {
        Self { ahead: Self::ahead(now) }
    }

    /// By how much the clock was set since the last look; none if it was not.
    pub fn moved(&mut self, now: Moment) -> Option<SignedDuration> {
        let ahead = Self::ahead(now);
        let by = ahead.saturating_sub(self.ahead);
        if by.unsigned_abs() <= TOLERANCE_MS {
            return None;
        }
        self.ahead = ahead;
        Some(SignedDuration::from_millis(by))
    }

    fn ahead(now: Moment) -> i64 {
        now.wall.as_millisecond().saturating_sub(i64::try_from(now.steady.as_millis()).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(wall: i64, steady: u64) -> Moment {
        Moment { wall: Timestamp::from_second(wall).unwrap(), steady: Duration::from_secs(steady) }
    }

    #[test]
    fn a_clock_that_is_set_is_noticed_once() {
        let mut watch = ClockWatch::new(moment(1000, 10));
        assert_eq!(watch.moved(moment(1050, 60)), None);
        assert_eq!(watch.moved(moment(50, 60)), Some(SignedDuration::from_secs(-1000)));
        assert_eq!(watch.moved(moment(51, 61)), None);
        assert_eq!(watch.moved(moment(7252, 62)), Some(SignedDuration::from_secs(7200)));
        let mut steered = moment(7252, 62);
        steered.wall = shifted(steered.wall, SignedDuration::from_millis(90));
        assert_eq!(watch.moved(steered), None);
    }

    #[test]
    fn the_two_clocks_are_translated_into_each_other() {
        let now = moment(1000, 50);
        for (wall, steady) in [(1000, 50), (1600, 650), (960, 10)] {
            assert_eq!(now.steady_at(moment(wall, 0).wall), Duration::from_secs(steady));
            assert_eq!(now.wall_at(Duration::from_secs(steady)), moment(wall, 0).wall);
        }
        assert_eq!(now.steady_at(moment(0, 0).wall), Duration::ZERO, "the steady clock did not run then");
        assert_eq!(now.after(Duration::MAX), Timestamp::MAX);
    }
}
