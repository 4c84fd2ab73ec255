//! The system's own lookup (getaddrinfo), for names that DNS and `/etc/hosts` know nothing of.
//!
//! Nothing can cancel it, so it runs on a few threads of its own that no end of the process waits for. Askers of
//! one name share one lookup, and names that were slow take at most half of the threads: however many hang, others
//! find one.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    io,
    net::{IpAddr, ToSocketAddrs},
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::Trouble;

/// Threads at most.
const THREADS: usize = 8;
/// A lookup that takes longer is slow.
const SLOW: Duration = Duration::from_secs(1);
/// Names that are known to be slow, at most; then they are learnt again.
const MAX_SLOW: usize = 1000;

type Answer = Result<Vec<IpAddr>, Trouble>;

/// What is to be looked up: pure, but for the channels to those who ask.
#[derive(Default)]
struct Queue {
    asked: HashMap<String, Vec<oneshot::Sender<Answer>>>,
    quick: VecDeque<String>,
    slow: VecDeque<String>,
    known_slow: HashSet<String>,
    threads: usize,
    busy_with_slow: usize,
}

impl Queue {
    /// Notes a question. True: another thread is needed.
    fn ask(&mut self, name: &str, answer: oneshot::Sender<Answer>) -> bool {
        if let Some(askers) = self.asked.get_mut(name) {
            // a name that hangs is asked for again and again by those who gave up
            askers.retain(|asker| !asker.is_closed());
            askers.push(answer);
            return false;
        }
        self.asked.insert(name.to_owned(), vec![answer]);
        let queue = if self.known_slow.contains(name) { &mut self.slow } else { &mut self.quick };
        queue.push_back(name.to_owned());
        self.threads < THREADS
    }

    /// The next name for a thread, and whether it is slow. Names that nobody waits for are dropped.
    fn next(&mut self) -> Option<(String, bool)> {
        loop {
            let slow = self.quick.is_empty();
            let name = match self.quick.pop_front() {
                Some(name) => name,
                None if self.busy_with_slow < THREADS / 2 => self.slow.pop_front()?,
                None => return None,
            };
            if self.asked.get(&name).is_some_and(|askers| askers.iter().any(|asker| !asker.is_closed())) {
                self.busy_with_slow += usize::from(slow);
                return Some((name, slow));
            }
            self.asked.remove(&name);
        }
    }

    /// A lookup ended.
    fn done(&mut self, name: &str, slow: bool, took: Duration, answer: &Answer) {
        self.busy_with_slow -= usize::from(slow);
        if took < SLOW {
            self.known_slow.remove(name);
        } else {
            if self.known_slow.len() >= MAX_SLOW {
                self.known_slow.clear();
            }
            self.known_slow.insert(name.to_owned());
        }
        for asker in self.asked.remove(name).into_iter().flatten() {
            // who gave up does not hear it
            let _ = asker.send(answer.clone());
        }
    }
}

fn queue() -> MutexGuard<'static, Queue> {
    static QUEUE: LazyLock<Mutex<Queue>> = LazyLock::new(Mutex::default);
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The addresses of `name`.
pub(super) async fn lookup(name: &str) -> Answer {
    let (answer, answered) = oneshot::channel();
    let needs_thread = {
        let mut queue = queue();
        let needed = queue.ask(name, answer);
        queue.threads += usize::from(needed);
        needed
    };
    if needs_thread && let Err(error) = std::thread::Builder::new().name("lookup".into()).spawn(work) {
        let mut queue = queue();
        queue.threads -= 1;
        if queue.threads == 0 {
            // nobody will come to it
            queue.asked.remove(name);
            return Err(Trouble::Io(error.into()));
        }
    }
    answered.await.unwrap_or_else(|_| Err(Trouble::Io(io::Error::other("the lookup ended without an answer").into())))
}

/// Looks names up until none is left.
fn work() {
    loop {
        let next = {
            let mut queue = queue();
            let next = queue.next();
            queue.threads -= usize::from(next.is_none());
            next
        };
        let Some((name, slow)) = next else { return };
        let start = Instant::now();
        let answer = (name.as_str(), 0).to_socket_addrs();
        let answer =
            answer.map(|all| all.map(|address| address.ip()).collect()).map_err(|error| Trouble::Io(error.into()));
        queue().done(&name, slow, start.elapsed(), &answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(queue: &mut Queue, name: &str) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        queue.ask(name, answer);
        answered
    }

    #[test]
    fn who_asks_the_same_name_shares_a_lookup_and_who_gave_up_costs_none() {
        let mut queue = Queue::default();
        let (mut first, mut second) = (ask(&mut queue, "a"), ask(&mut queue, "a"));
        let given_up = ask(&mut queue, "b");
        let _c = ask(&mut queue, "c");
        drop(given_up);
        assert_eq!(queue.next(), Some(("a".into(), false)));
        assert_eq!(queue.next(), Some(("c".into(), false)), "nobody waits for b");
        assert_eq!(queue.next(), None);
        queue.done("a", false, Duration::ZERO, &Ok(Vec::new()));
        assert!(first.try_recv().is_ok() && second.try_recv().is_ok());
        let _again = ask(&mut queue, "a");
        assert_eq!(queue.next(), Some(("a".into(), false)));
    }

    #[test]
    fn names_that_were_slow_leave_half_of_the_threads_to_others() {
        let mut queue = Queue::default();
        let names: Vec<_> = (0..THREADS).map(|n| format!("slow{n}")).collect();
        let first: Vec<_> = names.iter().map(|name| ask(&mut queue, name)).collect();
        for _ in &names {
            let (name, slow) = queue.next().unwrap();
            queue.done(&name, slow, SLOW, &Ok(Vec::new()));
        }
        drop(first);
        let _again: Vec<_> = names.iter().map(|name| ask(&mut queue, name)).collect();
        for _ in 0..THREADS / 2 {
            assert!(queue.next().unwrap().1);
        }
        assert_eq!(queue.next(), None, "half of the threads is busy with slow names");
        let _quick = ask(&mut queue, "quick");
        assert_eq!(queue.next(), Some(("quick".into(), false)));
        queue.done("slow0", true, Duration::ZERO, &Ok(Vec::new()));
        assert!(queue.next().unwrap().1, "one is free again");
    }
}
