//! What the log says of a destination's deliveries: a line a message; in a backlog a line a minute instead; and of
//! failures that repeat only the first.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::model::ErrorKind;

/// With more items than this left, the log has a line a minute instead of a line a message.
const BACKLOG: u64 = 20;
const MINUTE: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug, Default)]
pub struct Progress {
    in_backlog: bool,
    /// When the last line of a backlog was written, and how many messages went out since.
    line: Option<Instant>,
    since: u64,
    /// What the log has said is wrong.
    failing: Option<ErrorKind>,
}

/// How a delivered message is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// A line of its own.
    Message,
    /// It is one of many.
    OneOfMany,
}

/// A line of a backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Items left.
    pub left: u64,
    /// When the last of them will be out, at the pace of the last minute; none where none is known yet.
    pub until: Option<Timestamp>,
}

impl Progress {
    /// A message was delivered, and so many items are left.
    pub fn delivered(&mut self, left: u64) -> Told {
        self.since += 1;
        self.in_backlog = left > BACKLOG;
        if self.in_backlog { Told::OneOfMany } else { Told::Message }
    }

    /// The line that is due, with so many items left.
    pub fn line(&mut self, left: u64, now: Instant, wall: Timestamp) -> Option<Backlog> {
        let past = self.line.map(|line| now.saturating_duration_since(line));
        let due = self.in_backlog && left > 0 && self.since > 0 && past.is_none_or(|past| past >= MINUTE);
        if !due {
            return None;
        }
        // what went out before the first line, or long ago, is no pace
        let pace = past.filter(|past| *past < MINUTE * 2).map(|past| past.as_secs_f64() / self.since as f64);
        let rest = pace.and_then(|pace| Duration::try_from_secs_f64(pace * left as f64).ok());
        self.line = Some(now);
        self.since = 0;
        Some(Backlog { left, until: rest.and_then(|rest| wall.checked_add(rest).ok()) })
    }

    /// A request failed. True if the log has not said so since the last success.
    pub fn failed(&mut self, kind: ErrorKind) -> bool {
        self.failing.replace(kind) != Some(kind)
    }

    /// A request succeeded. True if the log said before that it fails.
    pub fn recovered(&mut self) -> bool {
        self.failing.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_has_a_line_a_minute_with_its_end() {
        let (start, wall) = (Instant::now(), Timestamp::UNIX_EPOCH);
        let mut progress = Progress::default();
        assert_eq!((progress.delivered(20), progress.line(20, start, wall)), (Told::Message, None));
        assert_eq!(progress.delivered(100), Told::OneOfMany);
        assert_eq!(progress.line(100, start, wall), Some(Backlog { left: 100, until: None }));
        let mut lines = Vec::new();
        for second in 1..=180 {
            let (left, now) = (100 - second / 2, start + Duration::from_secs(second));
            if second % 2 == 0 {
                assert_eq!(progress.delivered(left) == Told::Message, left <= 20);
            }
            lines.extend(
                progress.line(left, now, wall).map(|line| (second, line.left, line.until.unwrap().as_second())),
            );
        }
        assert_eq!(lines, [(60, 70, 140), (120, 40, 80)]);
    }

    #[test]
    fn nothing_is_said_while_nothing_goes_out() {
        let (start, wall) = (Instant::now(), Timestamp::UNIX_EPOCH);
        let mut progress = Progress::default();
        progress.delivered(50);
        assert!(progress.line(50, start, wall).is_some());
        assert_eq!(progress.line(50, start + MINUTE * 10, wall), None);
        progress.delivered(49);
        assert_eq!(progress.line(49, start + MINUTE * 10, wall), Some(Backlog { left: 49, until: None }));
    }

    #[test]
    fn a_failure_is_said_once_until_it_changes() {
        let mut progress = Progress::default();
        assert!(!progress.recovered());
        assert!(progress.failed(ErrorKind::Timeout));
        assert!(!progress.failed(ErrorKind::Timeout));
        assert!(progress.failed(ErrorKind::Http(500)));
        assert!(progress.recovered() && !progress.recovered());
        assert!(progress.failed(ErrorKind::Http(500)));
    }
}
