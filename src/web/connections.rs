//! Who is connected, and who has to go: a bound on connections that lets every newcomer in.
//!
//! Where there is no room, a newcomer takes the place of whoever deserves it least: of one whose request's head
//! does not come, else of one that does not read its answer. So strangers who only hold connections open push
//! each other out, and a probe, which sends its head at once, gets through without a reserve.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

/// A head takes no longer than this from anyone who means to send one.
const PROMPT_HEAD: Duration = Duration::from_millis(250);
/// Who reads an answer takes some of it within this time.
const PROMPT_READER: Duration = Duration::from_secs(1);

/// All connections of the server.
pub(super) struct Connections {
    limit: usize,
    start: Instant,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    next: u64,
    open: BTreeMap<u64, Open>,
}

struct Open {
    activity: Arc<Activity>,
    /// Dropping it closes the connection.
    _close: oneshot::Sender<()>,
}

/// What a connection is doing.
#[derive(Debug)]
pub(super) struct Activity {
    start: Instant,
    answering: AtomicBool,
    /// When it last did something, in ms.
    last: AtomicU64,
}

/// One's place among the connections, given back when it is dropped.
pub(super) struct Connection {
    id: u64,
    all: Arc<Connections>,
    /// What it is doing.
    pub(super) activity: Arc<Activity>,
    /// Resolves when it has to go.
    pub(super) closed: oneshot::Receiver<()>,
}

/// What is judged of a connection.
#[derive(Debug, Clone, Copy)]
struct Seen {
    answering: bool,
    idle: Duration,
}

impl Connections {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, start: Instant::now(), table: Mutex::default() })
    }

    /// Lets a newcomer in; if there is no room, another has to go.
    pub(super) fn admit(self: &Arc<Self>) -> Connection {
        let (close, closed) = oneshot::channel();
        let activity =
            Arc::new(Activity { start: self.start, answering: AtomicBool::new(false), last: AtomicU64::new(0) });
        activity.touch();
        let mut table = self.table();
        while table.open.len() >= self.limit {
            let seen = table.open.iter().map(|(id, open)| (*id, open.activity.seen()));
            let Some(id) = least_deserving(seen) else { break };
            table.open.remove(&id);
        }
        let id = table.next;
        table.next += 1;
        table.open.insert(id, Open { activity: activity.clone(), _close: close });
        Connection { id, all: self.clone(), activity, closed }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.all.table().open.remove(&self.id);
    }
}

impl Activity {
    /// It did something.
    pub(super) fn touch(&self) {
        self.last.store(self.now(), Relaxed);
    }

    /// Its head is there, and an answer is under way.
    pub(super) fn answering(&self) {
        self.touch();
        self.answering.store(true, Relaxed);
    }

    /// Since it last did something.
    pub(super) fn idle(&self) -> Duration {
        Duration::from_millis(self.now().saturating_sub(self.last.load(Relaxed)))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn seen(&self) -> Seen {
        Seen { answering: self.answering.load(Relaxed), idle: self.idle() }
    }
}

/// Who has to go, the first of equals.
fn least_deserving(connections: impl Iterator<Item = (u64, Seen)>) -> Option<u64> {
    let merit = |seen: Seen| match seen {
        Seen { answering: false, idle } if idle > PROMPT_HEAD => 0,
        Seen { answering: true, idle } if idle > PROMPT_READER => 1,
        Seen { answering: false, .. } => 2,
        Seen { answering: true, .. } => 3,
    };
    connections.min_by_key(|(_, seen)| (merit(*seen), std::cmp::Reverse(seen.idle))).map(|(id, _)| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_deserves_it_least_has_to_go() {
        let head = |ms| Seen { answering: false, idle: Duration::from_millis(ms) };
        let answer = |ms| Seen { answering: true, idle: Duration::from_millis(ms) };
        let goes = |seen: &[Seen]| least_deserving((0..).zip(seen.iter().copied()));
        assert_eq!(
            goes(&[answer(9000), head(300), head(400), head(10)]),
            Some(2),
            "the oldest head that does not come"
        );
        assert_eq!(goes(&[answer(900), head(10), answer(5000), answer(2000)]), Some(2), "else who does not read");
        assert_eq!(goes(&[answer(900), head(10), head(20), answer(0)]), Some(2), "else a head that is not yet there");
        assert_eq!(goes(&[answer(1), answer(900)]), Some(1), "else whoever reads most slowly");
        assert_eq!(goes(&[head(300), head(300)]), Some(0), "and of equals who came first");
        assert_eq!(goes(&[]), None);
    }

    #[test]
    fn a_newcomer_always_gets_in_and_a_place_is_given_back() {
        let connections = Connections::new(2);
        let mut first = connections.admit();
        let second = connections.admit();
        second.activity.answering();
        assert!(first.closed.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
        let _third = connections.admit();
        assert!(first.closed.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Closed));
        drop(first);
        drop(second);
        assert_eq!(connections.table().open.len(), 1);
    }
}
