//! The two kinds of rate limits, pure: `now` is an argument.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// What the headers tell of a webhook: a window of fixed length that its first request opens.
#[derive(Debug, Clone)]
pub struct Window {
    limit: u32,
    length: Duration,
    used: u32,
    ends: Option<Instant>,
}

impl Window {
    pub fn new(limit: u32, length: Duration) -> Self {
        Self { limit, length, used: 0, ends: None }
    }

    /// One request. `Err`: it is one too many, and this is how long until the window ends.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.refresh(now);
        if self.used >= self.limit {
            return Err(self.reset_after(now));
        }
        self.ends.get_or_insert(now + self.length);
        self.used += 1;
        Ok(())
    }

    pub fn limit(&self) -> u32 {
        self.limit
    }

    pub fn remaining(&self) -> u32 {
        self.limit.saturating_sub(self.used)
    }

    /// Until the window ends; its whole length if none is open.
    pub fn reset_after(&self, now: Instant) -> Duration {
        self.ends.map_or(self.length, |ends| ends.saturating_duration_since(now))
    }

    /// Forgets a window that is over.
    pub fn refresh(&mut self, now: Instant) {
        if self.ends.is_some_and(|ends| now >= ends) {
            (self.used, self.ends) = (0, None);
        }
    }
}

/// What no header tells: so many within any stretch of this length.
#[derive(Debug, Clone)]
pub struct Rolling {
    limit: usize,
    length: Duration,
    hits: VecDeque<Instant>,
}

impl Rolling {
    pub fn new(limit: usize, length: Duration) -> Self {
        Self { limit, length, hits: VecDeque::new() }
    }

    /// One more. `Err`: it does not count and is one too many, and this is how long until the oldest is out.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        while self.hits.front().is_some_and(|&hit| now.saturating_duration_since(hit) >= self.length) {
            self.hits.pop_front();
        }
        if self.hits.len() < self.limit {
            self.hits.push_back(now);
            return Ok(());
        }
        // with a limit of 0 nothing is ever out
        Err(self.hits.front().map_or(self.length, |&oldest| (oldest + self.length).saturating_duration_since(now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_window_opens_with_its_first_request_and_begins_anew_at_its_end() {
        let start = Instant::now();
        let mut window = Window::new(2, 2 * SECOND);
        assert_eq!(window.take(start), Ok(()));
        assert_eq!(window.take(start + SECOND), Ok(()));
        assert_eq!((window.remaining(), window.reset_after(start + SECOND)), (0, SECOND));
        assert_eq!(window.take(start + SECOND), Err(SECOND));
        assert_eq!(window.take(start + 2 * SECOND), Ok(()));
        assert_eq!((window.remaining(), window.reset_after(start + 3 * SECOND)), (1, SECOND));
    }

    #[test]
    fn a_rolling_limit_waits_for_its_oldest_hit_and_does_not_count_what_it_refuses() {
        let start = Instant::now();
        let mut rolling = Rolling::new(2, 10 * SECOND);
        assert_eq!(rolling.take(start), Ok(()));
        assert_eq!(rolling.take(start + 4 * SECOND), Ok(()));
        assert_eq!(rolling.take(start + 5 * SECOND), Err(5 * SECOND));
        assert_eq!(rolling.take(start + 10 * SECOND), Ok(()));
        assert_eq!(rolling.take(start + 11 * SECOND), Err(3 * SECOND));
    }
}
