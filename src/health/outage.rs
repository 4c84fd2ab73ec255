//! An outage of our own network, told apart from sources that fail by themselves.
//!
//! If at least 3 sources on at least 2 hosts had polls that ended within the window, each failed in a way
//! that a dead network explains, and no source had a success, then the fault is here, not there.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use jiff::Timestamp;

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
#[derive(Debug, Default)]
pub struct Outage {
    /// Failures since the last success of any source.
    failures: Vec<Failed>,
    /// A failure that a dead network does not explain came: not before this one is forgotten.
    spoilt: Option<Timestamp>,
    ongoing: bool,
}

#[derive(Debug)]
struct Failed {
    source: Name,
    host: String,
    at: Timestamp,
    window: Duration,
}

impl Outage {
    /// Whether one is going on.
    pub fn is_ongoing(&self) -> bool {
        self.ongoing
    }

    /// A source succeeded: the network is there.
    pub fn succeeded(&mut self) -> Change {
        self.failures.clear();
        self.spoilt = None;
        if std::mem::take(&mut self.ongoing) { Change::Ended } else { Change::None }
    }

    /// A poll failed at `at`; `network` says whether a dead network explains it.
    pub fn failed(&mut self, source: &Name, host: &str, interval: Duration, network: bool, at: Timestamp) -> Change {
        if self.ongoing {
            return Change::None;
        }
        let window = WINDOW.max(interval);
        let recent = |then: Timestamp, window: Duration| {
            Duration::try_from(at.duration_since(then)).map_or(true, |age| age <= window)
        };
        self.failures.retain(|failed| recent(failed.at, failed.window));
        if !network {
            // an answer came from somewhere
            self.spoilt = Some(at);
            return Change::None;
        }
        self.failures.push(Failed { source: source.clone(), host: host.to_owned(), at, window });
        if self.spoilt.is_some_and(|spoilt| recent(spoilt, window)) {
            return Change::None;
        }
        let sources: HashSet<_> = self.failures.iter().map(|failed| &failed.source).collect();
        let hosts: HashSet<_> = self.failures.iter().map(|failed| &failed.host).collect();
        if sources.len() < SOURCES || hosts.len() < HOSTS {
            return Change::None;
        }
        self.ongoing = true;
        let mut taken_back = BTreeMap::new();
        for failed in self.failures.drain(..) {
            *taken_back.entry(failed.source).or_default() += 1;
        }
        Change::Began(taken_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn fail(outage: &mut Outage, source: &str, host: &str, second: i64) -> Change {
        outage.failed(&Name::new(source).unwrap(), host, Duration::from_secs(60), true, at(second))
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
        assert_eq!(outage.succeeded(), Change::Ended);
        assert_eq!(outage.succeeded(), Change::None);
    }

    #[test]
    fn one_host_alone_or_old_failures_make_none() {
        let mut outage = Outage::default();
        for source in ["a", "b", "c", "d"] {
            assert_eq!(fail(&mut outage, source, "x", 0), Change::None);
        }
        assert_eq!(fail(&mut outage, "e", "y", 301), Change::None);
    }

    #[test]
    fn a_success_or_an_answer_of_any_kind_speaks_against_it() {
        let mut outage = Outage::default();
        fail(&mut outage, "a", "x", 0);
        fail(&mut outage, "b", "y", 1);
        outage.succeeded();
        assert_eq!(fail(&mut outage, "c", "z", 2), Change::None);
        fail(&mut outage, "a", "x", 3);
        outage.failed(&Name::new("n").unwrap(), "n", Duration::from_secs(1), false, at(4));
        assert_eq!(fail(&mut outage, "b", "y", 5), Change::None);
    }
}
