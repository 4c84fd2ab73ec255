//! Our own limits (open files, memory), while they hold attempts back: pure.

use std::time::Duration;

/// An attempt that waits is made again each second, so that silence means that the limit is no longer reached.
const LASTS: Duration = Duration::from_secs(15);

/// What was heard of them, by the steady clock.
#[derive(Debug, Clone, Default)]
pub struct OwnLimits {
    last: Option<(Duration, String)>,
}

impl OwnLimits {
    /// One was reached at `at`. True if that is news.
    pub fn reached(&mut self, message: &str, at: Duration) -> bool {
        let news = self.reason(at).is_none();
        self.last = Some((at, message.to_owned()));
        news
    }

    /// Why requests wait at `now`.
    pub fn reason(&self, now: Duration) -> Option<&str> {
        let (at, message) = self.last.as_ref()?;
        (now.saturating_sub(*at) < LASTS).then_some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_news_once_and_holds_while_it_is_reached_again() {
        let at = Duration::from_secs;
        let mut limits = OwnLimits::default();
        assert_eq!(limits.reason(at(0)), None);
        assert!(limits.reached("no file descriptors left", at(0)));
        assert!(!limits.reached("no file descriptors left", at(14)));
        assert_eq!(limits.reason(at(28)), Some("no file descriptors left"));
        assert_eq!(limits.reason(at(29)), None);
        assert!(limits.reached("no file descriptors left", at(30)));
    }
}
