//! Waits that a destination asked for. They hold over restarts, whatever happens to the clocks.
//!
//! While the process runs, the monotonic clock decides. What is stored is on the wall clock, which may be set at any
//! time: [`Wait::correct`] brings it up to date, and a stored wait is never resumed for longer than its length.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::store::StoredWait;

/// How far the stored end may be off: clocks are also slewed.
const TOLERANCE: Duration = Duration::from_secs(1);

/// A wait on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// When it ends.
    pub until: Instant,
    /// As it is stored.
    pub stored: StoredWait,
}

impl Wait {
    /// Begins at `now`.
    pub fn new(length: Duration, now: Instant, wall: Timestamp) -> Self {
        Self { until: now + length, stored: stored(length, wall) }
    }

    /// What is left of the wait of an earlier run, if anything is.
    pub fn resume(stored: StoredWait, now: Instant, wall: Timestamp) -> Option<Self> {
        let left = Duration::try_from(stored.until.duration_since(wall)).ok().filter(|left| !left.is_zero())?;
        Some(Self { until: now + left.min(Duration::from_millis(stored.length_ms)), stored })
    }

    /// What is left of it.
    pub fn left(&self, now: Instant) -> Duration {
        self.until.saturating_duration_since(now)
    }

    /// Corrects what is stored if the wall clock was set. True if it has to be stored again.
    pub fn correct(&mut self, now: Instant, wall: Timestamp) -> bool {
        let left = self.left(now);
        let right = stored(left, wall);
        let off = right.until.duration_since(self.stored.until).unsigned_abs();
        let wrong = !left.is_zero() && off > TOLERANCE;
        if wrong {
            self.stored = right;
        }
        wrong
    }
}

fn stored(length: Duration, wall: Timestamp) -> StoredWait {
    let length_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    // rounded up, for earlier would be too early
    let length = Duration::from_millis(length_ms.saturating_add(1));
    StoredWait { until: wall.checked_add(length).unwrap_or(Timestamp::MAX), length_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn wall(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn a_clock_that_is_set_neither_extends_nor_shortens_a_wait_while_the_process_runs() {
        let now = Instant::now();
        for jump in [-86_400, -3600, 3600, 86_400] {
            let mut wait = Wait::new(MINUTE, now, wall(0));
            let now = now + Duration::from_secs(20);
            assert!(!wait.correct(now, wall(20)), "the clock was not set");
            assert!(wait.correct(now, wall(20 + jump)));
            assert!(!wait.correct(now, wall(20 + jump)), "it is corrected once");
            assert_eq!(wait.left(now), Duration::from_secs(40));
            // and the process that follows resumes it as it is
            let later = now + Duration::from_secs(10);
            let resumed = Wait::resume(wait.stored, later, wall(30 + jump)).unwrap();
            let left = resumed.left(later);
            assert!(left >= Duration::from_secs(30) && left < Duration::from_millis(30_010), "{jump}: {left:?}");
        }
    }

    #[test]
    fn a_stored_wait_is_never_longer_than_it_was() {
        let now = Instant::now();
        let stored = Wait::new(MINUTE, now, wall(0)).stored;
        let mut resumed = Wait::resume(stored, now, wall(-86_400)).unwrap();
        assert_eq!(resumed.left(now), MINUTE);
        assert!(resumed.correct(now, wall(-86_400)), "else each restart would begin it again");
        assert!(Wait::resume(resumed.stored, now, wall(-86_400 + 61)).is_none());
        assert!(Wait::resume(stored, now, wall(61)).is_none());
    }

    #[test]
    fn a_wait_of_an_earlier_version_is_read() {
        let stored: StoredWait = serde_json::from_str("\"2027-01-15T08:01:00Z\"").unwrap();
        let now = Instant::now();
        assert_eq!(Wait::resume(stored, now, wall(0)).unwrap().left(now), MINUTE);
        assert_eq!(Wait::resume(stored, now, wall(-900_000)).unwrap().left(now), MINUTE * 60 * 24);
        let again: StoredWait = serde_json::from_str(&serde_json::to_string(&stored).unwrap()).unwrap();
        assert_eq!(again, stored);
    }
}
