//! What the Discord destinations of one host share: limits and blocks that concern our address.
//!
//! That is requests a second, global 429s, and blocks by what stands before Discord. Limits and blocks are kept per
//! host, so that one host that misbehaves stops no other, and outlive the process.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    rc::Rc,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    rate_limit::{SLACK, Window},
    wait::Wait,
};
use crate::{
    config::{DestinationKind, DiscordLimits},
    store::HostRecord,
};

/// The global limit's window.
const SECOND: Duration = Duration::from_secs(1);
/// First wait after a block that names no time; doubled with each that follows.
const BLOCK: Duration = Duration::from_secs(60);
/// No block lasts longer before it is tried again, whatever it names.
const LONGEST_BLOCK: Duration = Duration::from_secs(3600);

/// Discord's own host. The others that lead there count as this one.
pub const DISCORD: &str = "discord.com";

/// Whether a host is Discord's own, or a subdomain of one.
pub fn is_discords(host: &str) -> bool {
    [DISCORD, "discordapp.com"]
        .iter()
        .any(|known| host.strip_suffix(known).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

/// The host whose limits a destination shares; none where nothing is shared.
pub fn host(kind: &DestinationKind) -> Option<String> {
    let DestinationKind::Discord { url } = kind else { return None };
    let url = url.expose();
    let host = url.host_str()?;
    Some(match url.port() {
        _ if is_discords(host) => DISCORD.to_owned(),
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}

/// One governor for each host.
#[derive(Debug)]
pub struct Governors {
    limits: DiscordLimits,
    hosts: BTreeMap<String, Rc<RefCell<Governor>>>,
}

impl Governors {
    /// With the configured limits.
    pub fn new(limits: DiscordLimits) -> Self {
        Self { limits, hosts: BTreeMap::new() }
    }

    /// The governor that a destination obeys: its host's, or one of its own that limits nothing.
    pub fn of(&mut self, kind: &DestinationKind) -> Rc<RefCell<Governor>> {
        let new = |host| Rc::new(RefCell::new(Governor::new(host, self.limits)));
        match host(kind) {
            Some(host) => self.hosts.entry(host.clone()).or_insert_with(|| new(Some(host))).clone(),
            None => new(None),
        }
    }

    /// The limits were changed.
    pub fn configure(&mut self, limits: DiscordLimits) {
        self.limits = limits;
        for governor in self.hosts.values() {
            governor.borrow_mut().second.limit = limits.requests_per_second as usize;
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Governor {
    host: Option<String>,
    second: Window,
    /// Whether the host's requests a second are limited: Discord's are, another's once it said so.
    kept: bool,
    wait: Option<Wait>,
    blocked_at: Option<Instant>,
    record: HostRecord,
    loaded: bool,
    unsaved: bool,
}

impl Governor {
    /// For a host, or for nobody. Nothing is known of it yet.
    pub fn new(host: Option<String>, limits: DiscordLimits) -> Self {
        Self {
            second: Window::new(limits.requests_per_second, SECOND),
            kept: host.as_deref() == Some(DISCORD),
            loaded: host.is_none(),
            host,
            wait: None,
            blocked_at: None,
            record: HostRecord::default(),
            unsaved: false,
        }
    }

    /// The host whose record has to be loaded before anything is sent to it.
    pub fn to_load(&self) -> Option<&str> {
        self.host.as_deref().filter(|_| !self.loaded)
    }

    /// Takes over what an earlier run knew. What this run has learned meanwhile is newer.
    pub fn load(&mut self, record: HostRecord, now: Instant, wall: Timestamp) {
        if !std::mem::replace(&mut self.loaded, true) {
            self.wait = record.not_before.and_then(|stored| Wait::resume(stored, now, wall));
            self.record = record;
        }
    }

    /// The record that has to be written before anything else is sent, if it changed since it was last taken.
    pub fn take_unsaved(&mut self) -> Option<(String, HostRecord)> {
        let host = self.host.clone().filter(|_| std::mem::take(&mut self.unsaved))?;
        let not_before = self.wait.map(|wait| wait.stored);
        Some((host, HostRecord { not_before, ..self.record.clone() }))
    }

    /// The record could not be written: it still has to be.
    pub fn not_saved(&mut self) {
        self.unsaved = true;
    }

    /// A request goes out.
    pub fn sent(&mut self, now: Instant) {
        self.second.sent(now);
    }

    /// The global limit was exceeded: nobody sends for `wait`, and the limit is kept from now on.
    pub fn limited(&mut self, wait: Duration, reason: &str, now: Instant, wall: Timestamp) {
        self.kept = true;
        self.stop(wait, reason, now, wall);
    }

    /// We are blocked, for `wait` if the answer named a time. Says for how long nobody sends.
    pub fn blocked(&mut self, wait: Option<Duration>, reason: &str, now: Instant, wall: Timestamp) -> Duration {
        let unnamed = BLOCK.saturating_mul(1 << self.record.blocks.min(6));
        self.record.blocks = self.record.blocks.saturating_add(1);
        self.record.blocked_since.get_or_insert(wall);
        self.blocked_at = Some(now);
        let wait = wait.unwrap_or(unnamed).min(LONGEST_BLOCK);
        self.stop(wait, reason, now, wall);
        wait
    }

    /// Discord itself answered a request that went out at `asked`. If that was after the last block, there is none.
    pub fn answered(&mut self, asked: Instant) {
        if self.blocked_at.is_some_and(|blocked| asked <= blocked) {
            return;
        }
        if self.record.blocks > 0 || self.record.blocked_since.is_some() {
            self.record.blocks = 0;
            self.record.blocked_since = None;
            self.unsaved = true;
        }
    }

    fn stop(&mut self, wait: Duration, reason: &str, now: Instant, wall: Timestamp) {
        let wait = Wait::new(wait + SLACK, now, wall);
        if self.wait.is_none_or(|old| old.until < wait.until) {
            self.wait = Some(wait);
        }
        self.record.reason = Some(reason.to_owned());
        self.unsaved = true;
    }

    /// Corrects what is stored if the wall clock was set. True if the record has to be written.
    pub fn correct(&mut self, now: Instant, wall: Timestamp) -> bool {
        self.unsaved |= self.wait.as_mut().is_some_and(|wait| wait.correct(now, wall));
        self.unsaved
    }

    /// When the next request may go out, if not now.
    pub fn not_before(&self, now: Instant) -> Option<Instant> {
        let second = self.second.not_before(now).filter(|_| self.kept);
        self.stopped_until(now).max(second)
    }

    /// Until when nobody sends, if a limit or a block was answered.
    pub fn stopped_until(&self, now: Instant) -> Option<Instant> {
        self.wait.map(|wait| wait.until).filter(|until| *until > now)
    }

    /// Since when the host blocks us.
    pub fn blocked_since(&self) -> Option<Timestamp> {
        self.record.blocked_since
    }

    /// Why nobody sends to the host, while that is so.
    pub fn reason(&self, now: Instant) -> Option<String> {
        let until = self.wait.filter(|wait| wait.until > now)?.stored.until;
        let (host, reason) = (self.host.as_deref()?, self.record.reason.as_deref()?);
        Some(format!("nothing is sent to {host} until {until:.0}: {reason}"))
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;
    use crate::model::Secret;

    const LIMITS: DiscordLimits = DiscordLimits { requests_per_second: 40, channel_per_minute: 28 };
    const WALL: Timestamp = Timestamp::UNIX_EPOCH;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn to(url: &str) -> DestinationKind {
        DestinationKind::Discord { url: Secret::new(Url::parse(url).unwrap()) }
    }

    #[test]
    fn a_host_has_one_governor_and_discords_hosts_are_one() {
        let shared = |url: &str| host(&to(url)).unwrap();
        for url in ["https://discord.com/x", "https://ptb.discord.com/x", "https://canary.discordapp.com/x"] {
            assert_eq!(shared(url), DISCORD, "{url}");
        }
        assert_eq!(shared("https://notdiscord.com/x"), "notdiscord.com");
        assert_eq!(shared("http://127.0.0.1:99/x"), "127.0.0.1:99");
        let mut governors = Governors::new(LIMITS);
        let one = governors.of(&to("http://127.0.0.1:1/x"));
        let (same, other) = (governors.of(&to("http://127.0.0.1:1/y")), governors.of(&to("http://127.0.0.1:2/x")));
        let now = Instant::now();
        one.borrow_mut().blocked(Some(seconds(9)), "no", now, WALL);
        assert!(same.borrow().not_before(now).is_some());
        assert_eq!(other.borrow().not_before(now), None);
        assert!(governors.of(&DestinationKind::Stdout).borrow().to_load().is_none());
    }

    #[test]
    fn a_second_is_limited_in_advance_for_discord_and_elsewhere_after_a_global_429() {
        let now = Instant::now();
        let governor = |host: &str| {
            let mut governor = Governor::new(Some(host.to_owned()), LIMITS);
            (0..40).for_each(|_| governor.sent(now));
            governor
        };
        assert_eq!(governor(DISCORD).not_before(now), Some(now + SECOND + SLACK));
        let mut other = governor("other");
        assert_eq!(other.not_before(now), None);
        other.limited(seconds(5), "m", now, WALL);
        assert_eq!(other.not_before(now), Some(now + seconds(5) + SLACK));
        other.limited(seconds(1), "m", now, WALL);
        assert_eq!(other.not_before(now), Some(now + seconds(5) + SLACK), "the later one counts");
        let then = now + seconds(60);
        (0..40).for_each(|_| other.sent(then));
        assert!(other.not_before(then).is_some(), "the limit has shown itself");
    }

    #[test]
    fn a_block_lasts_an_hour_at_most_and_says_why() {
        let now = Instant::now();
        let mut governor = Governor::new(Some("h".into()), LIMITS);
        assert_eq!(governor.blocked(Some(seconds(604_800)), "HTTP 403", now, WALL), LONGEST_BLOCK);
        assert_eq!(governor.reason(now).unwrap(), "nothing is sent to h until 1970-01-01T01:00:00Z: HTTP 403");
        assert_eq!(governor.reason(now + seconds(3601)), None);
        assert_eq!(governor.blocked_since(), Some(WALL), "until an answer of Discord's own");
        governor.answered(now);
        assert_eq!(governor.blocked_since(), Some(WALL), "it went out before the block");
        governor.answered(now + seconds(1));
        assert_eq!(governor.blocked_since(), None);
        assert_eq!(governor.blocked(None, "no", now, WALL), BLOCK);
        assert_eq!(governor.blocked(None, "no", now, WALL), BLOCK * 2);
        let longest = (0..100).map(|_| governor.blocked(None, "no", now, WALL)).last();
        assert_eq!(longest, Some(LONGEST_BLOCK));
    }

    #[test]
    fn limits_of_a_host_outlive_the_process() {
        let now = Instant::now();
        let mut governor = Governor::new(Some("h".into()), LIMITS);
        assert_eq!(governor.to_load(), Some("h"));
        governor.load(HostRecord::default(), now, WALL);
        assert_eq!(governor.to_load(), None);
        assert_eq!(governor.take_unsaved(), None);
        governor.limited(seconds(60), "m", now, WALL);
        let (host, record) = governor.take_unsaved().unwrap();
        assert_eq!(host, "h");
        assert_eq!(governor.take_unsaved(), None);
        governor.not_saved();
        assert!(governor.take_unsaved().is_some());
        let mut next = Governor::new(Some("h".into()), LIMITS);
        next.load(record, now, WALL);
        let until = next.not_before(now).unwrap();
        assert!(until >= now + seconds(60) && until < now + seconds(61), "{:?}", until - now);
        assert!(!next.correct(now, WALL));
        assert!(next.correct(now, WALL - seconds(3600)), "the clock was set");
    }
}
