//! One destination's deliveries: what to do next, and what follows from an answer.
//!
//! One request is in flight at a time, which keeps the order and lets every answer be obeyed before the
//! next request. The courier knows no clock, no network and no store: it is asked with the time, and fed
//! with what was answered.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use rand::Rng;

use super::{
    governor::{self, DISCORD, Governor},
    rate_limit::{Bucket, Pace, SLACK},
    response::{Answer, Limit, Problem, Verdict},
    wait::Wait,
};
use crate::{
    config::{DestinationKind, DiscordLimits},
    health::event::DestinationState,
    model::{DeliveryError, ErrorKind},
    resilience::backoff::Backoff,
    store::DestinationRecord,
};

/// First wait after a failed request; doubled each time…
const MIN_BACKOFF: Duration = Duration::from_secs(1);
/// …up to this.
const MAX_BACKOFF: Duration = Duration::from_secs(5 * 60);
/// Standard output is on this machine: whoever makes room for it should not wait for long.
const MAX_BACKOFF_STDOUT: Duration = Duration::from_secs(10);
/// A destination that is gone is probed after this time, for it may be mended soon; doubled each time…
const FIRST_PROBE: Duration = Duration::from_secs(60);
/// …up to this. One that is set up wrongly is tried so often.
const HOURLY: Duration = Duration::from_secs(3600);
/// A wait of this length or more is worth telling; shorter ones are everyday pacing.
const WORTH_TELLING: Duration = Duration::from_secs(60);
/// A request that is answered later than this makes the destination `degraded`.
const SLOW: Duration = Duration::from_secs(3);
/// Characters of the last error that are kept in the record, which is written with each item.
const LAST_ERROR: usize = 500;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Send the oldest item.
    Send,
    /// Ask whether the destination is there again.
    Probe,
    /// Nothing before this time.
    Wait(Instant),
    /// Nothing until something is queued.
    Idle,
}

/// How a request ended for its item.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// Acknowledged.
    Delivered,
    /// To the dead letters, with these words.
    Refused(DeliveryError),
    /// It stays where it is. Says what happened, and when the next request may go out.
    Kept(DeliveryError, Instant),
}

/// See the module.
#[derive(Debug)]
pub struct Courier {
    /// What is kept across restarts.
    pub record: DestinationRecord,
    discord: bool,
    max_backoff: Duration,
    bucket: Bucket,
    pace: Pace,
    /// What it asked for; kept across restarts.
    asked: Option<Wait>,
    /// Our own: backoff, or an hour for what is set up wrongly.
    backoff_until: Option<Instant>,
    misconfigured: bool,
    probe_at: Instant,
    probes: u32,
    /// It asked us to wait, and for long.
    holding: bool,
    /// When the request in flight went out.
    asked_at: Option<Instant>,
}

impl Courier {
    /// For a destination, from what was kept of it. One that was gone is probed at once.
    pub fn new(
        kind: &DestinationKind,
        limits: DiscordLimits,
        mut record: DestinationRecord,
        now: Instant,
        wall: Timestamp,
    ) -> Self {
        let discord = matches!(kind, DestinationKind::Discord { .. });
        // on Discord's own hosts the limit is kept before it is exceeded
        let in_advance = governor::host(kind).is_some_and(|host| host == DISCORD);
        let asked = record.not_before.and_then(|stored| Wait::resume(stored, now, wall));
        record.not_before = asked.map(|wait| wait.stored);
        Self {
            discord,
            max_backoff: if matches!(kind, DestinationKind::Stdout) { MAX_BACKOFF_STDOUT } else { MAX_BACKOFF },
            bucket: Bucket::default(),
            pace: Pace::new(if discord { limits.channel_per_minute } else { 0 }, in_advance),
            backoff_until: None,
            misconfigured: false,
            probe_at: now,
            probes: 0,
            holding: asked.is_some_and(|wait| wait.left(now) >= WORTH_TELLING),
            asked,
            asked_at: None,
            record,
        }
    }

    /// The limits were changed.
    pub fn configure(&mut self, limits: DiscordLimits) {
        if self.discord {
            self.pace.configure(limits.channel_per_minute);
        }
    }

    /// What to do at `now`, given whether there is something to send.
    pub fn next(&self, has_items: bool, governor: &Governor, now: Instant) -> Step {
        if self.record.paused || (!has_items && !self.record.gone) {
            return Step::Idle;
        }
        let until = self.waits_until().max(self.bucket.not_before(now)).max(self.pace.not_before(now));
        let mut until = until.max(governor.not_before(now));
        if self.record.gone {
            until = until.max(Some(self.probe_at));
        }
        match until.filter(|until| *until > now) {
            Some(until) => Step::Wait(until),
            None if self.record.gone => Step::Probe,
            None => Step::Send,
        }
    }

    fn waits_until(&self) -> Option<Instant> {
        self.asked.map(|wait| wait.until).max(self.backoff_until)
    }

    /// A request goes out.
    pub fn sending(&mut self, governor: &mut Governor, now: Instant) {
        self.asked_at = Some(now);
        self.pace.sent(now);
        governor.sent(now);
    }

    /// A batch of lines goes out.
    pub fn writing(&mut self, now: Instant) {
        self.asked_at = Some(now);
    }

    /// The request for the oldest item was answered.
    pub fn answered(
        &mut self,
        answer: Answer,
        governor: &mut Governor,
        now: Instant,
        wall: Timestamp,
        rng: &mut impl Rng,
    ) -> Ended {
        self.heard(&answer, governor, now, wall);
        match answer.verdict {
            Verdict::Delivered => {
                self.delivered(1, wall);
                Ended::Delivered
            }
            Verdict::Refused(problem) => {
                self.recovered();
                Ended::Refused(self.refused(problem, wall))
            }
            Verdict::Limited(limit, problem) => {
                self.limited(limit, &problem, governor, now, wall);
                self.kept(problem, wall, now)
            }
            Verdict::Gone(problem) => {
                self.record.gone = true;
                self.backoff_until = None;
                self.probe_later(now);
                let error = self.noted(problem, wall);
                Ended::Kept(error, self.probe_at)
            }
            Verdict::Misconfigured(problem) => {
                self.record.failures = self.record.failures.saturating_add(1);
                self.misconfigured = true;
                self.backoff_until = Some(now + HOURLY);
                self.kept(problem, wall, now)
            }
            Verdict::Retry(problem, named) => {
                self.failed(now, rng);
                if let Some(wait) = named {
                    self.wait(wait, now, wall);
                }
                self.kept(problem, wall, now)
            }
        }
    }

    /// The probe was answered. True if the destination is there again.
    pub fn probed(&mut self, answer: Answer, governor: &mut Governor, now: Instant, wall: Timestamp) -> bool {
        self.heard(&answer, governor, now, wall);
        let there = match answer.verdict {
            Verdict::Delivered => true,
            // any other endpoint need not know GET: whatever it says but "gone" is an answer; silence is none
            Verdict::Retry(Problem { kind, .. }, _) | Verdict::Refused(Problem { kind, .. }) => {
                !self.discord && matches!(kind, ErrorKind::Http(_))
            }
            Verdict::Limited(limit, problem) => {
                self.limited(limit, &problem, governor, now, wall);
                return false;
            }
            Verdict::Gone(_) | Verdict::Misconfigured(_) => false,
        };
        if there {
            self.recovered();
        } else {
            self.probe_later(now);
        }
        there
    }

    fn probe_later(&mut self, now: Instant) {
        self.probe_at = now + FIRST_PROBE.saturating_mul(1 << self.probes.min(6)).min(HOURLY);
        self.probes = self.probes.saturating_add(1);
    }

    /// Probe at once where the destination is gone, and try again where it was set up wrongly.
    pub fn probe_now(&mut self, now: Instant) {
        self.probe_at = now;
        if std::mem::take(&mut self.misconfigured) {
            self.backoff_until = None;
        }
    }

    /// So many lines of a batch were written.
    pub fn wrote(&mut self, lines: u64, wall: Timestamp) {
        self.asked_at = None;
        if lines > 0 {
            self.delivered(lines, wall);
        }
    }

    /// The rest of a batch could not be written.
    pub fn not_written(&mut self, problem: Problem, now: Instant, wall: Timestamp, rng: &mut impl Rng) -> Ended {
        self.asked_at = None;
        self.failed(now, rng);
        self.kept(problem, wall, now)
    }

    /// An item that cannot be sent at all goes to the dead letters.
    pub fn refused(&mut self, problem: Problem, wall: Timestamp) -> DeliveryError {
        self.record.refused_in_a_row = self.record.refused_in_a_row.saturating_add(1);
        self.record.last_refused = Some(wall);
        self.noted(problem, wall)
    }

    /// Corrects what is stored if the wall clock was set. True if the record has to be written.
    pub fn correct(&mut self, now: Instant, wall: Timestamp) -> bool {
        let wrong = self.asked.as_mut().is_some_and(|wait| wait.correct(now, wall));
        self.record.not_before = self.asked.map(|wait| wait.stored);
        wrong
    }

    /// As `/health` has it.
    pub fn state(&self, governor: &Governor, now: Instant) -> DestinationState {
        let host_stopped = governor.blocked_since().is_some() && governor.stopped_until(now).is_some();
        if self.record.paused {
            DestinationState::Paused
        } else if self.record.gone {
            DestinationState::Gone
        } else if host_stopped || (self.holding && self.asked.is_some_and(|wait| wait.until > now)) {
            DestinationState::Holding
        } else if self.record.failures > 0 || self.hangs(now).is_some() {
            DestinationState::Degraded
        } else {
            DestinationState::Ok
        }
    }

    /// Why it is not `ok`, where that is not the last error.
    pub fn reason(&self, governor: &Governor, now: Instant) -> Option<String> {
        if self.record.gone {
            return None;
        }
        let hangs = || self.hangs(now).map(|since| format!("no answer for {} s", since.as_secs()));
        governor.reason(now).or_else(hangs)
    }

    /// Since when it or its host answers nothing but that we must wait.
    pub fn blocked_since(&self, governor: &Governor) -> Option<Timestamp> {
        [self.record.blocked_since, governor.blocked_since()].into_iter().flatten().min()
    }

    /// For how long the request in flight has not been answered, if that is long.
    fn hangs(&self, now: Instant) -> Option<Duration> {
        self.asked_at.map(|at| now.saturating_duration_since(at)).filter(|since| *since >= SLOW)
    }

    fn heard(&mut self, answer: &Answer, governor: &mut Governor, now: Instant, wall: Timestamp) {
        let asked = self.asked_at.take().unwrap_or(now);
        self.misconfigured = false;
        self.record.blocked_since = match answer.verdict {
            Verdict::Limited(..) => self.record.blocked_since.or(Some(wall)),
            _ => None,
        };
        if let Some((remaining, reset_after)) = answer.bucket {
            self.bucket.announced(remaining, reset_after, now);
        }
        let blocked = matches!(answer.verdict, Verdict::Limited(Limit::Block(_), _));
        if self.discord && answer.genuine && !blocked {
            governor.answered(asked);
        }
    }

    fn limited(&mut self, limit: Limit, problem: &Problem, governor: &mut Governor, now: Instant, wall: Timestamp) {
        let wait = match limit {
            Limit::Announced(wait) => wait,
            Limit::Hidden(wait) => {
                self.pace.overstepped(wait, now);
                wait
            }
            Limit::Global(wait) => {
                governor.limited(wait, &problem.message, now, wall);
                wait
            }
            Limit::Block(named) => {
                let block = governor.blocked(named, &problem.message, now, wall);
                // the host is tried again after an hour, but never by whom a 429 told to wait for longer
                named.filter(|_| problem.kind == ErrorKind::RateLimited).unwrap_or(block)
            }
        };
        self.wait(wait, now, wall);
        self.holding |= matches!(limit, Limit::Global(_) | Limit::Block(_));
    }

    fn wait(&mut self, wait: Duration, now: Instant, wall: Timestamp) {
        let asked = Wait::new(wait + SLACK, now, wall);
        self.holding = wait >= WORTH_TELLING;
        self.record.not_before = Some(asked.stored);
        self.asked = Some(asked);
    }

    fn failed(&mut self, now: Instant, rng: &mut impl Rng) {
        self.record.failures = self.record.failures.saturating_add(1);
        let wait = Backoff::new(MIN_BACKOFF, self.max_backoff).wait(self.record.failures, rng);
        self.backoff_until = Some(now + wait);
    }

    fn delivered(&mut self, items: u64, wall: Timestamp) {
        self.recovered();
        self.record.delivered += items;
        self.record.last_delivered = Some(wall);
        self.record.refused_in_a_row = 0;
    }

    fn recovered(&mut self) {
        self.record.failures = 0;
        self.record.not_before = None;
        self.record.gone = false;
        self.asked = None;
        self.backoff_until = None;
        self.probes = 0;
        self.holding = false;
    }

    fn noted(&mut self, problem: Problem, at: Timestamp) -> DeliveryError {
        let short = match problem.message.char_indices().nth(LAST_ERROR) {
            Some((end, _)) => format!("{}…", &problem.message[..end]).into(),
            None => problem.message.clone(),
        };
        self.record.last_error = Some(DeliveryError { kind: problem.kind, message: short, at });
        DeliveryError { kind: problem.kind, message: problem.message, at }
    }

    fn kept(&mut self, problem: Problem, wall: Timestamp, now: Instant) -> Ended {
        let error = self.noted(problem, wall);
        Ended::Kept(error, self.waits_until().unwrap_or(now))
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};
    use url::Url;

    use super::*;
    use crate::model::{ErrorKind, Secret};

    const WALL: Timestamp = Timestamp::UNIX_EPOCH;
    const LIMITS: DiscordLimits = DiscordLimits { requests_per_second: 40, channel_per_minute: 28 };

    struct Desk {
        courier: Courier,
        governor: Governor,
        rng: StdRng,
        now: Instant,
    }

    fn desk(url: &str, record: DestinationRecord) -> Desk {
        let now = Instant::now();
        let kind = DestinationKind::Discord { url: Secret::new(Url::parse(url).unwrap()) };
        let courier = Courier::new(&kind, LIMITS, record, now, WALL);
        Desk { courier, governor: Governor::new(governor::host(&kind), LIMITS), rng: StdRng::seed_from_u64(1), now }
    }

    fn local() -> Desk {
        desk("http://127.0.0.1/api/v10/webhooks/1/t", DestinationRecord::default())
    }

    impl Desk {
        fn next(&self) -> Step {
            self.courier.next(true, &self.governor, self.now)
        }

        fn answer(&mut self, verdict: Verdict) -> Ended {
            self.courier.sending(&mut self.governor, self.now);
            let answer = Answer { verdict, bucket: None, genuine: true, message_id: None };
            self.courier.answered(answer, &mut self.governor, self.now, WALL, &mut self.rng)
        }

        fn state(&self) -> DestinationState {
            self.courier.state(&self.governor, self.now)
        }

        fn waits(&self) -> Duration {
            match self.next() {
                Step::Wait(until) => until - self.now,
                step => panic!("{step:?}"),
            }
        }
    }

    fn problem() -> Problem {
        Problem { kind: ErrorKind::Http(500), message: "HTTP 500".into() }
    }

    #[test]
    fn an_empty_bucket_is_waited_for_before_it_is_overstepped() {
        let mut desk = local();
        assert_eq!(desk.courier.next(false, &desk.governor, desk.now), Step::Idle);
        assert_eq!(desk.next(), Step::Send);
        let answer = Answer {
            verdict: Verdict::Delivered,
            bucket: Some((0, Duration::from_secs(2))),
            genuine: true,
            message_id: None,
        };
        let ended = desk.courier.answered(answer, &mut desk.governor, desk.now, WALL, &mut desk.rng);
        assert_eq!(ended, Ended::Delivered);
        assert_eq!(desk.waits(), Duration::from_secs(2) + SLACK);
        assert_eq!(desk.state(), DestinationState::Ok);
        assert_eq!(desk.courier.record.delivered, 1);
    }

    #[test]
    fn failures_back_off_and_a_success_forgets_them() {
        let mut desk = local();
        let mut longest = Duration::ZERO;
        for _ in 0..12 {
            assert!(matches!(desk.answer(Verdict::Retry(problem(), None)), Ended::Kept(..)));
            longest = longest.max(desk.waits());
            desk.now += desk.waits();
        }
        assert!(longest > MAX_BACKOFF / 2 && longest <= MAX_BACKOFF, "{longest:?}");
        assert_eq!(desk.state(), DestinationState::Degraded);
        assert_eq!(desk.answer(Verdict::Delivered), Ended::Delivered);
        assert_eq!((desk.next(), desk.state()), (Step::Send, DestinationState::Ok));
        assert!(desk.courier.record.last_error.is_some(), "the last error stays");
    }

    #[test]
    fn a_limit_outlives_the_process() {
        let mut desk = local();
        desk.answer(Verdict::Limited(Limit::Announced(Duration::from_secs(90)), problem()));
        assert_eq!((desk.waits(), desk.state()), (Duration::from_secs(90) + SLACK, DestinationState::Holding));
        let record = desk.courier.record.clone();
        let again = self::desk("http://127.0.0.1/api/v10/webhooks/1/t", record);
        let more = again.waits() - (Duration::from_secs(90) + SLACK);
        assert!(more <= Duration::from_millis(1), "{more:?}");
        assert_eq!(again.state(), DestinationState::Holding);
    }

    #[test]
    fn a_global_limit_and_a_block_stop_every_destination_of_the_host() {
        for limit in [Limit::Global(Duration::from_secs(9)), Limit::Block(Some(Duration::from_secs(9)))] {
            let mut one = local();
            one.answer(Verdict::Limited(limit, problem()));
            let other = local();
            assert!(matches!(other.courier.next(true, &one.governor, one.now), Step::Wait(_)));
            assert_eq!(one.state(), DestinationState::Holding);
            let blocked = matches!(limit, Limit::Block(_));
            assert_eq!(other.courier.state(&one.governor, one.now) == DestinationState::Holding, blocked);
            assert_eq!(other.courier.blocked_since(&one.governor).is_some(), blocked);
            assert!(other.courier.reason(&one.governor, one.now).unwrap().ends_with("HTTP 500"));
        }
    }

    #[test]
    fn a_block_is_tried_again_after_an_hour_but_a_429_is_obeyed() {
        let week = Duration::from_secs(604_800);
        for (kind, own) in [(ErrorKind::Http(403), HOURLY), (ErrorKind::RateLimited, week)] {
            let mut desk = local();
            desk.answer(Verdict::Limited(Limit::Block(Some(week)), Problem { kind, message: "no".into() }));
            assert_eq!(desk.waits(), own + SLACK);
            let other = local();
            assert_eq!(other.courier.next(true, &desk.governor, desk.now), Step::Wait(desk.now + HOURLY + SLACK));
        }
    }

    #[test]
    fn a_fault_with_a_time_is_a_failure_and_the_time_is_kept() {
        let mut desk = local();
        desk.answer(Verdict::Retry(problem(), Some(Duration::from_secs(30))));
        assert_eq!((desk.waits(), desk.state()), (Duration::from_secs(30) + SLACK, DestinationState::Degraded));
        assert_eq!((desk.courier.record.failures, desk.courier.record.blocked_since), (1, None));
        let again = self::desk("http://127.0.0.1/api/v10/webhooks/1/t", desk.courier.record.clone());
        assert!(again.waits() >= Duration::from_secs(30));
        desk.answer(Verdict::Retry(problem(), Some(Duration::ZERO)));
        assert!(desk.waits() > Duration::from_millis(100), "the backoff is the longer one");
    }

    #[test]
    fn a_clock_that_is_set_is_corrected_in_the_record() {
        let mut desk = local();
        desk.answer(Verdict::Limited(Limit::Announced(Duration::from_secs(90)), problem()));
        assert!(!desk.courier.correct(desk.now, WALL));
        assert!(desk.courier.correct(desk.now, WALL - Duration::from_secs(3600)));
        assert!(desk.courier.record.not_before.unwrap().until < WALL);
        assert_eq!(desk.waits(), Duration::from_secs(90) + SLACK, "the clock decides nothing while it runs");
    }

    #[test]
    fn a_request_that_hangs_is_told() {
        let mut desk = local();
        desk.courier.sending(&mut desk.governor, desk.now);
        assert_eq!(desk.state(), DestinationState::Ok);
        desk.now += SLOW;
        assert_eq!(desk.state(), DestinationState::Degraded);
        assert_eq!(desk.courier.reason(&desk.governor, desk.now).unwrap(), "no answer for 3 s");
        desk.answer(Verdict::Delivered);
        assert_eq!((desk.state(), desk.courier.reason(&desk.governor, desk.now)), (DestinationState::Ok, None));
    }

    #[test]
    fn what_is_gone_is_probed_soon_then_hourly_and_goes_on_when_it_is_back() {
        let mut desk = local();
        desk.answer(Verdict::Gone(problem()));
        assert_eq!((desk.waits(), desk.state()), (FIRST_PROBE, DestinationState::Gone));
        let answer = |verdict| Answer { verdict, bucket: None, genuine: true, message_id: None };
        let mut waits = Vec::new();
        for _ in 0..8 {
            desk.now += desk.waits();
            assert_eq!(desk.next(), Step::Probe);
            assert_eq!(desk.courier.next(false, &desk.governor, desk.now), Step::Probe, "also with nothing to send");
            assert!(!desk.courier.probed(answer(Verdict::Gone(problem())), &mut desk.governor, desk.now, WALL));
            waits.push(desk.waits().as_secs() / 60);
        }
        assert_eq!(waits, [2, 4, 8, 16, 32, 60, 60, 60]);
        desk.courier.probe_now(desk.now);
        assert_eq!(desk.next(), Step::Probe, "a reload probes at once");
        assert!(desk.courier.probed(answer(Verdict::Delivered), &mut desk.governor, desk.now, WALL));
        assert_eq!((desk.next(), desk.state()), (Step::Send, DestinationState::Ok));
        desk.answer(Verdict::Gone(problem()));
        assert_eq!(desk.waits(), FIRST_PROBE, "from the start");
    }

    #[test]
    fn a_refused_item_does_not_hold_up_the_next() {
        let mut desk = local();
        assert!(matches!(desk.answer(Verdict::Refused(problem())), Ended::Refused(_)));
        assert_eq!((desk.next(), desk.state()), (Step::Send, DestinationState::Ok));
        desk.answer(Verdict::Misconfigured(problem()));
        assert_eq!((desk.waits(), desk.state()), (HOURLY, DestinationState::Degraded));
        desk.courier.probe_now(desk.now);
        assert_eq!(desk.next(), Step::Send, "a reload tries again");
    }

    #[test]
    fn refusals_in_a_row_and_the_begin_of_a_block_are_kept() {
        let mut desk = local();
        desk.answer(Verdict::Delivered);
        for refused in 1..=3 {
            desk.answer(Verdict::Refused(problem()));
            assert_eq!(desk.courier.record.refused_in_a_row, refused);
        }
        assert_eq!(desk.courier.record.last_refused, Some(WALL));
        desk.answer(Verdict::Limited(Limit::Announced(Duration::from_secs(1)), problem()));
        assert_eq!((desk.courier.record.blocked_since, desk.courier.record.refused_in_a_row), (Some(WALL), 3));
        desk.answer(Verdict::Retry(problem(), None));
        assert_eq!(desk.courier.record.blocked_since, None);
        desk.answer(Verdict::Delivered);
        assert_eq!((desk.courier.record.refused_in_a_row, desk.courier.record.last_delivered), (0, Some(WALL)));
    }

    #[test]
    fn the_channels_minute_is_kept_in_advance_for_discord_only() {
        for (url, limited) in [
            ("https://discord.com/api/v10/webhooks/1/t", true),
            ("https://ptb.discordapp.com/api/v10/webhooks/1/t", true),
            ("https://notdiscord.com/api/v10/webhooks/1/t", false),
        ] {
            let mut desk = desk(url, DestinationRecord::default());
            for _ in 0..28 {
                desk.answer(Verdict::Delivered);
            }
            assert_eq!(matches!(desk.next(), Step::Wait(_)), limited, "{url}");
        }
    }
}
