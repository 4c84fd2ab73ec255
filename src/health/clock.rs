//! Ages of what was written down with a clock that was set since.

use jiff::{SignedDuration, Timestamp};

use crate::model::{Moment, moment::shifted};

/// Older ones are forgotten.
const MAX_JUMPS: usize = 32;

/// Where the system's clock was set while we ran.
#[derive(Debug, Clone, Default)]
pub(super) struct Jumps(Vec<Jump>);

#[derive(Debug, Clone, Copy)]
struct Jump {
    /// What the clock would show if it had not been set.
    before: Timestamp,
    by: SignedDuration,
}

impl Jumps {
    /// The clock shows `now`, and was set by so much.
    pub(super) fn noticed(&mut self, now: Timestamp, by: SignedDuration) {
        if self.0.len() == MAX_JUMPS {
            self.0.remove(0);
        }
        self.0.push(Jump { before: shifted(now, -by), by });
    }

    /// Takes down when something happened, by what the clock showed then.
    pub(super) fn dated(&self, at: Timestamp, now: Moment) -> Dated {
        let ends = self.0.iter().skip(1).map(|next| next.before).chain([now.wall]);
        let moved = self.0.iter().zip(ends).fold(at, |at, (jump, end)| {
            // what the clock showed after the jump too is taken for later
            let after = shifted(jump.before, jump.by)..=end;
            if after.contains(&at) { at } else { shifted(at, jump.by) }
        });
        let age = now.wall.duration_since(moved).max(SignedDuration::ZERO);
        Dated { at, steady: steady(now) - age }
    }
}

/// When something happened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dated {
    /// As it was reported.
    pub(super) at: Timestamp,
    /// On the steady clock, before whose beginning it may lie.
    steady: SignedDuration,
}

impl Dated {
    /// Time that really passed since.
    pub(super) fn age(self, now: Moment) -> std::time::Duration {
        (steady(now) - self.steady).try_into().unwrap_or_default()
    }
}

fn steady(now: Moment) -> SignedDuration {
    SignedDuration::try_from(now.steady).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn wall(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn ages_are_of_time_that_passed() {
        let mut jumps = Jumps::default();
        let age = |jumps: &Jumps, at, now, steady| {
            let now = Moment { wall: wall(now), steady: Duration::from_secs(steady) };
            jumps.dated(wall(at), now).age(now).as_secs()
        };
        assert_eq!(age(&jumps, -5000, 100, 100), 5100, "of an earlier run");
        assert_eq!(age(&jumps, 200, 100, 100), 0, "of a future that was set back");
        jumps.noticed(wall(7200 + 100), SignedDuration::from_hours(2));
        assert_eq!(age(&jumps, 40, 7200 + 110, 110), 70, "from before the jump");
        assert_eq!(age(&jumps, 7200 + 105, 7200 + 110, 110), 5);
        jumps.noticed(wall(200), SignedDuration::from_hours(-2));
        assert_eq!(age(&jumps, 40, 300, 300), 260, "there and back");
    }
}
