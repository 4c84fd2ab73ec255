//! Exponential backoff with jitter, and the spread of schedules.

use std::time::Duration;

use rand::{Rng, RngExt};

/// Waits between attempts: `min`, doubled each time up to `max`, each drawn between half and the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    min: Duration,
    max: Duration,
}

impl Backoff {
    /// `max` is raised to `min` if it is less.
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { min, max: max.max(min) }
    }

    /// The wait after the `failures`-th failure in a row (from 1), before jitter.
    pub fn ceiling(&self, failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.min.saturating_mul(factor).min(self.max)
    }

    /// The wait after the `failures`-th failure in a row (from 1).
    pub fn wait(&self, failures: u32, rng: &mut impl Rng) -> Duration {
        let ceiling = self.ceiling(failures);
        ceiling.mul_f64(rng.random_range(0.5..=1.0))
    }
}

/// `interval × (1 ± jitter/2)`.
pub fn jittered(interval: Duration, jitter: f64, rng: &mut impl Rng) -> Duration {
    let half = jitter.clamp(0.0, 1.0) / 2.0;
    interval.mul_f64(rng.random_range(1.0 - half..=1.0 + half))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    proptest! {
        #[test]
        fn a_wait_is_between_half_and_the_whole_of_its_ceiling(
            min in 0_u64..100_000, max in 0_u64..1_000_000, failures in 0_u32..200, seed: u64,
        ) {
            let backoff = Backoff::new(Duration::from_millis(min), Duration::from_millis(max));
            let ceiling = backoff.ceiling(failures);
            let wait = backoff.wait(failures, &mut StdRng::seed_from_u64(seed));
            prop_assert!(wait <= ceiling && wait >= ceiling / 2);
            prop_assert!(ceiling <= backoff.ceiling(failures.saturating_add(1)));
            prop_assert!(ceiling <= Duration::from_millis(max.max(min)));
        }

        #[test]
        fn jitter_stays_within_its_half(jitter in 0.0_f64..=1.0, seed: u64) {
            let interval = Duration::from_secs(300);
            let wait = jittered(interval, jitter, &mut StdRng::seed_from_u64(seed)).as_secs_f64();
            prop_assert!((300.0 - wait).abs() <= 300.0 * jitter / 2.0 + 1e-6);
        }
    }
}
