//! One destination's deliveries: what to do next, and what follows from an answer.
//!
//! One request is in flight at a time, which keeps the order and lets every answer be obeyed before the
//! next request. The courier knows no clock, no network and no store: it is asked with the time, and fed
//! with what was answered.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use rand::Rng;

use super::{
    rate_limit::{Bucket, Governor, Pace, SLACK},
    response::{Answer, Limit, Problem, Verdict},
};
use crate::{
    config::{DestinationKind, DiscordLimits},
    health::event::DestinationState,
    model::DeliveryError,
    resilience::backoff::Backoff,
    store::DestinationRecord,
};

/// First wait after a failed request; doubled each time…
const MIN_BACKOFF: Duration = Duration::from_secs(1);
/// …up to this.
const MAX_BACKOFF: Duration = Duration::from_secs(5 * 60);
/// A destination that is gone is probed, and one set up wrongly tried, so often.
const HOURLY: Duration = Duration::from_secs(3600);
/// A wait of this length or more is worth telling; shorter ones are everyday pacing.
const WORTH_TELLING: Duration = Duration::from_secs(60);
/// Longest wait taken over from an earlier run.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

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
    /// Discord's own hosts: limits are kept before they are overstepped.
    in_advance: bool,
    bucket: Bucket,
    pace: Pace,
    wait_until: Option<Instant>,
    probe_at: Instant,
    /// It asked us to wait, and for long.
    holding: bool,
}

impl Courier {
    /// For a destination, from what was kept of it. One that was gone is probed at once.
    pub fn new(
        kind: &DestinationKind,
        limits: DiscordLimits,
        record: DestinationRecord,
        now: Instant,
        wall: Timestamp,
    ) -> Self {
        let (discord, in_advance) = match kind {
            DestinationKind::Discord { url } => (true, url.expose().host_str().is_some_and(is_discords)),
            DestinationKind::Webhook { .. } | DestinationKind::Stdout => (false, false),
        };
        // wall-clock time, since it outlives the process; a clock set back must not stop us for ever
        let left = record.not_before.and_then(|until| Duration::try_from(until.duration_since(wall)).ok());
        let wait_until = left.map(|left| now + left.min(LONGEST));
        let holding = left.is_some_and(|left| left >= WORTH_TELLING);
        let pace = Pace::new(if discord { limits.channel_per_minute } else { 0 }, in_advance);
        Self { record, discord, in_advance, bucket: Bucket::default(), pace, wait_until, probe_at: now, holding }
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
        let mut until = self.wait_until.max(self.bucket.not_before(now)).max(self.pace.not_before(now));
        if self.discord {
            until = until.max(governor.not_before(self.in_advance, now));
        }
        if self.record.gone {
            until = until.max(Some(self.probe_at));
        }
        match until.filter(|until| *until > now) {
            Some(until) => Step::Wait(until),
            None if self.record.gone => Step::Probe,
            None => Step::Send,
        }
    }

    /// A request goes out.
    pub fn sending(&mut self, governor: &mut Governor, now: Instant) {
        self.pace.sent(now);
        if self.discord {
            governor.sent(now);
        }
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
                self.record.refused_in_a_row = self.record.refused_in_a_row.saturating_add(1);
                self.record.last_refused = Some(wall);
                Ended::Refused(self.noted(problem, wall))
            }
            Verdict::Limited(limit, problem) => {
                self.limited(limit, governor, now, wall);
                self.kept(problem, wall, now)
            }
            Verdict::Gone(problem) => {
                self.record.gone = true;
                self.probe_at = now + HOURLY;
                self.wait_until = None;
                self.kept(problem, wall, self.probe_at)
            }
            Verdict::Misconfigured(problem) => {
                self.record.failures = self.record.failures.saturating_add(1);
                self.wait_until = Some(now + HOURLY);
                self.kept(problem, wall, now)
            }
            Verdict::Retry(problem) => {
                self.failed(now, rng);
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
            Verdict::Retry(ref problem) | Verdict::Refused(ref problem) => {
                !self.discord && matches!(problem.kind, crate::model::ErrorKind::Http(_))
            }
            Verdict::Limited(limit, _) => {
                self.limited(limit, governor, now, wall);
                return false;
            }
            Verdict::Gone(_) | Verdict::Misconfigured(_) => false,
        };
        self.record.gone = !there;
        self.probe_at = now + HOURLY;
        if there {
            self.recovered();
        }
        there
    }

    /// Probe at once where the destination is gone.
    pub fn probe_now(&mut self, now: Instant) {
        self.probe_at = now;
    }

    /// A batch of lines was written.
    pub fn wrote(&mut self, lines: u64, wall: Timestamp) {
        self.delivered(lines, wall);
    }

    /// A batch of lines could not be written.
    pub fn not_written(&mut self, problem: Problem, now: Instant, wall: Timestamp, rng: &mut impl Rng) -> Ended {
        self.failed(now, rng);
        self.kept(problem, wall, now)
    }

    /// As `/health` has it.
    pub fn state(&self, now: Instant) -> DestinationState {
        if self.record.paused {
            DestinationState::Paused
        } else if self.record.gone {
            DestinationState::Gone
        } else if self.holding && self.wait_until.is_some_and(|until| until > now) {
            DestinationState::Holding
        } else if self.record.failures > 0 {
            DestinationState::Degraded
        } else {
            DestinationState::Ok
        }
    }

    fn heard(&mut self, answer: &Answer, governor: &mut Governor, now: Instant, wall: Timestamp) {
        self.record.blocked_since = match answer.verdict {
            Verdict::Limited(..) => self.record.blocked_since.or(Some(wall)),
            _ => None,
        };
        if let Some((remaining, reset_after)) = answer.bucket {
            self.bucket.announced(remaining, reset_after, now);
        }
        let blocked = matches!(answer.verdict, Verdict::Limited(Limit::Block(_), _));
        if self.discord && answer.genuine && !blocked {
            governor.answered();
        }
    }

    fn limited(&mut self, limit: Limit, governor: &mut Governor, now: Instant, wall: Timestamp) {
        let wait = match limit {
            Limit::Announced(wait) => wait,
            Limit::Hidden(wait) => {
                self.pace.overstepped(wait, now);
                wait
            }
            Limit::Global(wait) => {
                governor.overstepped(wait, now);
                wait
            }
            Limit::Block(wait) => governor.blocked(wait, now),
        };
        self.wait_until = Some(now + wait + SLACK);
        self.record.not_before = wall.checked_add(wait + SLACK).ok();
        self.holding = wait >= WORTH_TELLING || matches!(limit, Limit::Global(_) | Limit::Block(_));
    }

    fn failed(&mut self, now: Instant, rng: &mut impl Rng) {
        self.record.failures = self.record.failures.saturating_add(1);
        let wait = Backoff::new(MIN_BACKOFF, MAX_BACKOFF).wait(self.record.failures, rng);
        self.wait_until = Some(now + wait);
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
        self.wait_until = None;
        self.holding = false;
    }

    fn noted(&mut self, problem: Problem, at: Timestamp) -> DeliveryError {
        let error = DeliveryError { kind: problem.kind, message: problem.message, at };
        self.record.last_error = Some(error.clone());
        error
    }

    fn kept(&mut self, problem: Problem, wall: Timestamp, now: Instant) -> Ended {
        let error = self.noted(problem, wall);
        Ended::Kept(error, self.wait_until.unwrap_or(now))
    }
}

fn is_discords(host: &str) -> bool {
    ["discord.com", "discordapp.com"]
        .iter()
        .any(|known| host.strip_suffix(known).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};
    use url::Url;

    use super::*;
    use crate::model::{ErrorKind, Secret};

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
        let courier = Courier::new(&kind, LIMITS, record, now, Timestamp::UNIX_EPOCH);
        Desk { courier, governor: Governor::new(LIMITS), rng: StdRng::seed_from_u64(1), now }
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
            let answer = Answer { verdict, bucket: None, genuine: true };
            self.courier.answered(answer, &mut self.governor, self.now, Timestamp::UNIX_EPOCH, &mut self.rng)
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
        let answer = Answer { verdict: Verdict::Delivered, bucket: Some((0, Duration::from_secs(2))), genuine: true };
        let ended = desk.courier.answered(answer, &mut desk.governor, desk.now, Timestamp::UNIX_EPOCH, &mut desk.rng);
        assert_eq!(ended, Ended::Delivered);
        assert_eq!(desk.waits(), Duration::from_secs(2) + SLACK);
        assert_eq!(desk.courier.state(desk.now), DestinationState::Ok);
        assert_eq!(desk.courier.record.delivered, 1);
    }

    #[test]
    fn failures_back_off_and_a_success_forgets_them() {
        let mut desk = local();
        let mut longest = Duration::ZERO;
        for _ in 0..12 {
            assert!(matches!(desk.answer(Verdict::Retry(problem())), Ended::Kept(..)));
            longest = longest.max(desk.waits());
            desk.now += desk.waits();
        }
        assert!(longest > MAX_BACKOFF / 2 && longest <= MAX_BACKOFF, "{longest:?}");
        assert_eq!(desk.courier.state(desk.now), DestinationState::Degraded);
        assert_eq!(desk.answer(Verdict::Delivered), Ended::Delivered);
        assert_eq!((desk.next(), desk.courier.state(desk.now)), (Step::Send, DestinationState::Ok));
        assert!(desk.courier.record.last_error.is_some(), "the last error stays");
    }

    #[test]
    fn a_limit_outlives_the_process() {
        let mut desk = local();
        desk.answer(Verdict::Limited(Limit::Announced(Duration::from_secs(90)), problem()));
        assert_eq!(
            (desk.waits(), desk.courier.state(desk.now)),
            (Duration::from_secs(90) + SLACK, DestinationState::Holding)
        );
        let record = desk.courier.record.clone();
        let again = self::desk("http://127.0.0.1/api/v10/webhooks/1/t", record);
        assert_eq!(again.waits(), Duration::from_secs(90) + SLACK);
        assert_eq!(again.courier.state(again.now), DestinationState::Holding);
    }

    #[test]
    fn a_global_limit_and_a_block_stop_every_discord_destination() {
        for limit in [Limit::Global(Duration::from_secs(9)), Limit::Block(Some(Duration::from_secs(9)))] {
            let mut one = local();
            one.answer(Verdict::Limited(limit, problem()));
            let other = local();
            assert!(matches!(other.courier.next(true, &one.governor, one.now), Step::Wait(_)));
        }
    }

    #[test]
    fn what_is_gone_is_probed_hourly_and_goes_on_when_it_is_back() {
        let mut desk = local();
        desk.answer(Verdict::Gone(problem()));
        assert_eq!((desk.waits(), desk.courier.state(desk.now)), (HOURLY, DestinationState::Gone));
        desk.now += HOURLY;
        assert_eq!(desk.next(), Step::Probe);
        assert_eq!(desk.courier.next(false, &desk.governor, desk.now), Step::Probe, "also with nothing to send");
        let answer = |verdict| Answer { verdict, bucket: None, genuine: true };
        assert!(!desk.courier.probed(
            answer(Verdict::Gone(problem())),
            &mut desk.governor,
            desk.now,
            Timestamp::UNIX_EPOCH
        ));
        assert_eq!(desk.waits(), HOURLY);
        desk.courier.probe_now(desk.now);
        assert_eq!(desk.next(), Step::Probe, "a reload probes at once");
        assert!(desk.courier.probed(answer(Verdict::Delivered), &mut desk.governor, desk.now, Timestamp::UNIX_EPOCH));
        assert_eq!((desk.next(), desk.courier.state(desk.now)), (Step::Send, DestinationState::Ok));
    }

    #[test]
    fn a_refused_item_does_not_hold_up_the_next() {
        let mut desk = local();
        assert!(matches!(desk.answer(Verdict::Refused(problem())), Ended::Refused(_)));
        assert_eq!((desk.next(), desk.courier.state(desk.now)), (Step::Send, DestinationState::Ok));
        desk.answer(Verdict::Misconfigured(problem()));
        assert_eq!((desk.waits(), desk.courier.state(desk.now)), (HOURLY, DestinationState::Degraded));
    }

    #[test]
    fn refusals_in_a_row_and_the_begin_of_a_block_are_kept() {
        let mut desk = local();
        desk.answer(Verdict::Delivered);
        for refused in 1..=3 {
            desk.answer(Verdict::Refused(problem()));
            assert_eq!(desk.courier.record.refused_in_a_row, refused);
        }
        assert_eq!(desk.courier.record.last_refused, Some(Timestamp::UNIX_EPOCH));
        desk.answer(Verdict::Limited(Limit::Announced(Duration::from_secs(1)), problem()));
        assert_eq!(
            (desk.courier.record.blocked_since, desk.courier.record.refused_in_a_row),
            (Some(Timestamp::UNIX_EPOCH), 3)
        );
        desk.answer(Verdict::Retry(problem()));
        assert_eq!(desk.courier.record.blocked_since, None);
        desk.answer(Verdict::Delivered);
        assert_eq!(
            (desk.courier.record.refused_in_a_row, desk.courier.record.last_delivered),
            (0, Some(Timestamp::UNIX_EPOCH))
        );
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
