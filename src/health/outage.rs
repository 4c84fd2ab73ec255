//! An outage of our own network, told apart from sources that fail by themselves.
//!
//! If at least 3 sources on at least 2 hosts had polls that ended within the window, each failed in a way
//! that a dead network explains, and no source had a success, then the fault is here, not there. Times are of
//! the steady clock: a system clock that is set makes no outage and hides none.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use crate::model::Name;

/// Polls that ended longer ago do not count; one interval, if that is longer.
const WINDOW: Duration = Duration::from_secs(300);
const SOURCES: usize = 3;
const HOSTS: usize = 2;

/// What follows from a poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// It began; each source's failures since its first are to be taken back.
    Began(BTreeMap<Name, u32>),
    /// It ended.
    Ended,
}

/// Detects outages.
#[derive(Debug, Clone, Default)]
pub struct Outage {
    /// What failed since any source last had an answer.
    failing: BTreeMap<Name, Failing>,
    /// Until then, an answer that came speaks against an outage.
    answered_until: Option<Duration>,
    ongoing: bool,
}

#[derive(Debug, Clone)]
struct Failing {
    host: String,
    polls: u32,
    /// Until then, its last failure counts.
    until: Duration,
}

impl Outage {
    /// Whether one is going on.
    pub fn is_ongoing(&self) -> bool {
        self.ongoing
    }

    /// A source succeeded at `at`: the network is there.
    pub fn succeeded(&mut self, interval: Duration, at: Duration) -> Change {
        self.answered(interval, at);
        if std::mem::take(&mut self.ongoing) { Change::Ended } else { Change::None }
    }

    /// A poll failed at `at`; `network` says whether a dead network explains it.
    pub fn failed(&mut self, source: &Name, host: &str, interval: Duration, network: bool, at: Duration) -> Change {
        if self.ongoing {
            return Change::None;
        }
        if !network {
            // an answer came from somewhere
            self.answered(interval, at);
            return Change::None;
        }
        let until = end_of(interval, at);
        match self.failing.get_mut(source) {
            Some(failing) => {
                failing.polls += 1;
                failing.until = until;
            }
            None => {
                self.failing.insert(source.clone(), Failing { host: host.to_owned(), polls: 1, until });
            }
        }
        if self.answered_until.is_some_and(|until| until >= at) {
            return Change::None;
        }
        let recent = || self.failing.values().filter(|failing| failing.until >= at);
        let hosts: HashSet<_> = recent().map(|failing| &failing.host).collect();
        if recent().count() < SOURCES || hosts.len() < HOSTS {
            return Change::None;
        }
        self.ongoing = true;
        let failing = std::mem::take(&mut self.failing).into_iter();
        Change::Began(
            failing.filter(|(_, failing)| failing.until >= at).map(|(name, failing)| (name, failing.polls)).collect(),
        )
    }

    fn answered(&mut self, interval: Duration, at: Duration) {
        self.failing.clear();
        self.answered_until = self.answered_until.max(Some(end_of(interval, at)));
    }
}

/// When a poll that ended at `at` no longer counts.
fn end_of(interval: Duration, at: Duration) -> Duration {
    at.saturating_add(WINDOW.max(interval))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    fn fail(outage: &mut Outage, source: &str, host: &str, second: u64) -> Change {
        outage.failed(&Name::new(source).unwrap(), host, MINUTE, true, at(second))
    }

    #[test]
    fn three_sources_on_two_hosts_make_an_outage() {
        let mut outage = Outage::default();
        assert_eq!(fail(&mut outage, "a", "x", 0), Change::None);
        assert_eq!(fail(&mut outage, "a", "x", 60), Change::None);
        assert_eq!(fail(&mut outage, "b", "x", 61), Change::None);
        let Change::Began(failures) = fail(&mut outage, "c", "y", 62) else { panic!("no outage") };
        assert_eq!(failures[&Name::new("a").unwrap()], 2);
        assert_eq!(fail(&mut outage, "d", "z", 63), Change::None);
        assert_eq!(outage.succeeded(MINUTE, at(64)), Change::Ended);
        assert_eq!(outage.succeeded(MINUTE, at(65)), Change::None);
    }

    #[test]
    fn one_host_alone_or_old_failures_make_none() {
        let mut outage = Outage::default();
        for source in ["a", "b", "c", "d"] {
            assert_eq!(fail(&mut outage, source, "x", 0), Change::None);
        }
        assert_eq!(fail(&mut outage, "e", "y", 301), Change::None);
        assert_eq!(fail(&mut outage, "f", "y", 302), Change::None);
        assert!(matches!(fail(&mut outage, "g", "z", 303), Change::Began(_)));
    }

    #[test]
    fn an_answer_of_any_kind_speaks_against_it_for_as_long_as_a_poll_counts() {
        for network in [None, Some(false)] {
            let mut outage = Outage::default();
            match network {
                None => outage.succeeded(MINUTE, at(0)),
                Some(network) => outage.failed(&Name::new("n").unwrap(), "n", MINUTE, network, at(0)),
            };
            for (source, second) in [("a", 1), ("b", 2), ("c", 299)] {
                assert_eq!(fail(&mut outage, source, source, second), Change::None, "{network:?}");
            }
            assert!(matches!(fail(&mut outage, "a", "a", 301), Change::Began(failures) if failures.len() == 3));
        }
    }
}
