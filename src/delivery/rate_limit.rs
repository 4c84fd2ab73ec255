//! When a request may go out.
//!
//! Three kinds of limits, each a value fed with what was sent and answered:
//! - [`Bucket`]: announced with every answer (`X-RateLimit-*`), for one webhook;
//! - [`Pace`]: announced by nobody until it is overstepped: per channel and minute;
//! - [`Governor`]: what all Discord destinations share, for limits that concern our address: requests a
//!   second, global 429s, and blocks by Cloudflare.
//!
//! Times are monotonic and come in as arguments.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::config::DiscordLimits;

/// Added to every announced wait: clocks and timers are not exact, and early is a violation.
pub const SLACK: Duration = Duration::from_millis(60);
/// The channel limit's window.
const MINUTE: Duration = Duration::from_secs(60);
/// The global limit's window.
const SECOND: Duration = Duration::from_secs(1);
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
struct Window {
    limit: usize,
    length: Duration,
    sent: VecDeque<Instant>,
}

impl Window {
    fn new(limit: u32, length: Duration) -> Self {
        Self { limit: limit as usize, length, sent: VecDeque::new() }
    }

    fn sent(&mut self, now: Instant) {
        while self.sent.front().is_some_and(|first| now.duration_since(*first) >= self.length) {
            self.sent.pop_front();
        }
        self.sent.push_back(now);
    }

    fn not_before(&self, now: Instant) -> Option<Instant> {
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

/// What all Discord destinations share.
#[derive(Debug)]
pub struct Governor {
    second: Window,
    kept: bool,
    stopped_until: Option<Instant>,
    blocks: u32,
}

/// First wait after a block that names no time; doubled with each that follows.
const BLOCK: Duration = Duration::from_secs(60);
/// Longest wait after a block that names no time.
const LONGEST_BLOCK: Duration = Duration::from_secs(3600);

impl Governor {
    /// With the configured limits.
    pub fn new(limits: DiscordLimits) -> Self {
        let second = Window::new(limits.requests_per_second, SECOND);
        Self { second, kept: false, stopped_until: None, blocks: 0 }
    }

    /// The limits were changed.
    pub fn configure(&mut self, limits: DiscordLimits) {
        self.second.limit = limits.requests_per_second as usize;
    }

    /// A request went out.
    pub fn sent(&mut self, now: Instant) {
        self.second.sent(now);
    }

    /// The global limit was overstepped: nobody sends for `wait`, and the limit is kept from now on.
    pub fn overstepped(&mut self, wait: Duration, now: Instant) {
        self.kept = true;
        self.stop(wait, now);
    }

    /// We are blocked, for `wait` if the answer named a time. Says for how long nobody sends.
    pub fn blocked(&mut self, wait: Option<Duration>, now: Instant) -> Duration {
        let unnamed = BLOCK.saturating_mul(1 << self.blocks.min(6)).min(LONGEST_BLOCK);
        self.blocks = self.blocks.saturating_add(1);
        let wait = wait.unwrap_or(unnamed);
        self.stop(wait, now);
        wait
    }

    /// An answer of Discord's own came: no block.
    pub fn answered(&mut self) {
        self.blocks = 0;
    }

    fn stop(&mut self, wait: Duration, now: Instant) {
        self.stopped_until = self.stopped_until.max(Some(now + wait + SLACK));
    }

    /// When the next request may go out, if not now. `in_advance`: for Discord's own hosts, whose limit is
    /// kept even before it was overstepped.
    pub fn not_before(&self, in_advance: bool, now: Instant) -> Option<Instant> {
        let second = self.second.not_before(now).filter(|_| in_advance || self.kept);
        self.stopped_until.filter(|until| *until > now).max(second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: DiscordLimits = DiscordLimits { requests_per_second: 40, channel_per_minute: 28 };

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

    #[test]
    fn everybody_waits_for_a_global_limit_and_a_block() {
        let now = Instant::now();
        let mut governor = Governor::new(LIMITS);
        for _ in 0..40 {
            governor.sent(now);
        }
        assert_eq!(governor.not_before(false, now), None);
        assert_eq!(governor.not_before(true, now), Some(now + SECOND + SLACK));
        governor.overstepped(seconds(5.0), now);
        assert_eq!(governor.not_before(false, now), Some(now + seconds(5.0) + SLACK));
        governor.overstepped(seconds(1.0), now);
        assert_eq!(governor.not_before(false, now), Some(now + seconds(5.0) + SLACK), "the later one counts");

        let mut governor = Governor::new(LIMITS);
        assert_eq!(governor.blocked(Some(seconds(9.0)), now), seconds(9.0));
        governor.answered();
        assert_eq!(governor.blocked(None, now), BLOCK);
        assert_eq!(governor.blocked(None, now), BLOCK * 2);
        for _ in 0..100 {
            governor.blocked(None, now);
        }
        assert_eq!(governor.blocked(None, now), LONGEST_BLOCK);
    }
}
