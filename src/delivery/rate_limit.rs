//! When a request may go out.
//!
//! Two limits of one webhook, each a value fed with what was sent and answered:
//! - [`Bucket`]: announced with every answer (`X-RateLimit-*`);
//! - [`Pace`]: per channel and minute, which no answer announces until it is exceeded.
//!
//! What a whole host limits stands in [`super::governor`]. Times are monotonic and come in as arguments.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Added to every announced wait: clocks and timers are not exact, and early is a violation.
pub const SLACK: Duration = Duration::from_millis(60);
/// The channel limit's window.
const MINUTE: Duration = Duration::from_secs(60);
/// How far the end of a hidden limit's wait may be from a minute's window and still be taken for one.
const ABOUT: Duration = Duration::from_secs(3);

/// The limit that a webhook's answers announce.
#[derive(Debug, Clone, Default)]
pub struct Bucket {
    empty_until: Option<Instant>,
}

impl Bucket {
    /// An answer said how many requests are left, and when that begins anew.
    pub fn announced(&mut self, remaining: u64, reset_after: Duration, now: Instant) {
        self.empty_until = (remaining == 0).then(|| now + reset_after + SLACK);
    }

    /// When the next request may go out, if not now.
    pub fn not_before(&self, now: Instant) -> Option<Instant> {
        self.empty_until.filter(|until| *until > now)
    }
}

/// At most so many requests in any window.
#[derive(Debug, Clone)]
pub(super) struct Window {
    pub(super) limit: usize,
    length: Duration,
    sent: VecDeque<Instant>,
}

impl Window {
    pub(super) fn new(limit: u32, length: Duration) -> Self {
        Self { limit: limit as usize, length, sent: VecDeque::new() }
    }

    pub(super) fn sent(&mut self, now: Instant) {
        while self.sent.front().is_some_and(|first| now.duration_since(*first) >= self.length) {
            self.sent.pop_front();
        }
        self.sent.push_back(now);
    }

    pub(super) fn not_before(&self, now: Instant) -> Option<Instant> {
        if self.limit == 0 || self.sent.len() < self.limit {
            return None;
        }
        // the oldest that still counts once another is sent
        let oldest = self.sent.get(self.sent.len() - self.limit)?;
        Some(*oldest + self.length + SLACK).filter(|until| *until > now)
    }
}

/// The limit of a webhook's channel, 30 a minute, which no header announces.
#[derive(Debug, Clone)]
pub struct Pace {
    window: Window,
    kept: bool,
}

impl Pace {
    /// At most `per_minute` (0: no limit); kept in advance only for Discord itself.
    pub fn new(per_minute: u32, in_advance: bool) -> Self {
        Self { window: Window::new(per_minute, MINUTE), kept: in_advance }
    }

    /// The limit was changed; requests that went out still count.
    pub fn configure(&mut self, per_minute: u32) {
        self.window.limit = per_minute as usize;
    }

    /// A request went out.
    pub fn sent(&mut self, now: Instant) {
        self.window.sent(now);
    }

    /// A limit that was not announced was overstepped and ends after `wait`. If that is what a minute's
    /// window over our own requests looks like, the limit is kept from now on.
    pub fn overstepped(&mut self, wait: Duration, now: Instant) {
        let Some(begun) = (now + wait).checked_sub(MINUTE) else { return };
        let near = |sent: &Instant| sent.duration_since(begun).max(begun.duration_since(*sent)) <= ABOUT;
        self.kept |= self.window.sent.iter().any(near);
    }

    /// When the next request may go out, if not now.
    pub fn not_before(&self, now: Instant) -> Option<Instant> {
        self.window.not_before(now).filter(|_| self.kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn an_empty_bucket_waits_for_its_reset() {
        let now = Instant::now();
        let mut bucket = Bucket::default();
        assert_eq!(bucket.not_before(now), None);
        bucket.announced(1, seconds(2.0), now);
        assert_eq!(bucket.not_before(now), None);
        bucket.announced(0, seconds(1.5), now);
        assert_eq!(bucket.not_before(now), Some(now + seconds(1.5) + SLACK));
        assert_eq!(bucket.not_before(now + seconds(1.6)), None);
    }

    #[test]
    fn no_minute_holds_more_than_the_channels_limit() {
        let start = Instant::now();
        let mut pace = Pace::new(28, true);
        let mut now = start;
        let mut sent = Vec::new();
        for _ in 0..100 {
            now = pace.not_before(now).unwrap_or(now) + seconds(0.1);
            pace.sent(now);
            sent.push(now);
        }
        for (index, first) in sent.iter().enumerate() {
            let within = sent[index..].iter().filter(|at| at.duration_since(*first) < MINUTE).count();
            assert!(within <= 28);
        }
        assert!(now - start < seconds(4.0 * 60.0), "it is slower than it need be: {:?}", now - start);
    }

    #[test]
    fn elsewhere_the_channels_limit_is_kept_only_once_it_has_shown_itself() {
        let start = Instant::now();
        let mut pace = Pace::new(28, false);
        for nth in 0..30 {
            assert_eq!(pace.not_before(start + seconds(f64::from(nth) * 0.1)), None);
            pace.sent(start + seconds(f64::from(nth) * 0.1));
        }
        let now = start + seconds(3.0);
        let mut other = pace.clone();
        other.overstepped(seconds(7.0), now);
        assert_eq!(other.not_before(now), None, "a window of ten seconds is not the channel's");
        pace.overstepped(seconds(57.0), now);
        assert!(pace.not_before(now).is_some());
        assert_eq!(Pace::new(0, true).not_before(now), None, "0 switches it off");
    }
}
