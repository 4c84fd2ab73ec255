//! Places for attempts: so many over all sources, and so many for one host. Turns for taking pages apart.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    config::Concurrency,
    fetch::descriptors,
    memory::{Budget, Marks, Room},
    model::Name,
};

/// Pages taken apart at a time, whichever source they are of: each may take sixty megabytes, and commonly takes
/// milliseconds.
const PARSERS: usize = 1;
/// While our own limits hold attempts back, it is said so often.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Shared by the sources of one arbiter.
#[derive(Debug)]
pub struct Limits {
    places: RefCell<Places>,
    parsers: Arc<Semaphore>,
    told_exhausted: Cell<Option<Instant>>,
    budget: RefCell<Arc<Budget>>,
    memory: Cell<u64>,
    marks: Option<Marks>,
}

#[derive(Debug)]
struct Places {
    total: Arc<Semaphore>,
    per_host: Option<PerHost>,
}

#[derive(Debug)]
struct PerHost {
    limit: usize,
    hosts: HashMap<String, Arc<Semaphore>>,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    _total: Option<OwnedSemaphorePermit>,
    _host: Option<OwnedSemaphorePermit>,
}

impl Limits {
    /// As `[fetch]` has them, and no more than the limit of open files allows. Dangerous documents are noted in
    /// `marks`.
    pub fn new(concurrency: Concurrency, marks: Option<Marks>) -> Self {
        Self {
            places: RefCell::new(Places::new(concurrency)),
            parsers: Arc::new(Semaphore::new(PARSERS)),
            told_exhausted: Cell::default(),
            budget: RefCell::new(Budget::new(concurrency.memory, marks.clone())),
            memory: Cell::new(concurrency.memory),
            marks,
        }
    }

    /// As `[fetch]` has them now. Attempts in flight keep the places and the memory that they have.
    pub fn configure(&self, concurrency: Concurrency) {
        *self.places.borrow_mut() = Places::new(concurrency);
        if self.memory.replace(concurrency.memory) != concurrency.memory {
            *self.budget.borrow_mut() = Budget::new(concurrency.memory, self.marks.clone());
        }
    }

    /// Room in memory for a poll: none yet.
    pub fn room(&self, source: &Name) -> Room {
        self.budget.borrow().poll(source)
    }

    /// Room in memory for a page that is visited: none yet.
    pub fn visiting_room(&self) -> Room {
        self.budget.borrow().visit()
    }

    /// Notes that our own limits kept an attempt from being made. True: it is time to say so.
    pub fn exhausted(&self) -> bool {
        let due = self.told_exhausted.get().is_none_or(|told| told.elapsed() >= TELL_EVERY);
        if due {
            self.told_exhausted.set(Some(Instant::now()));
        }
        due
    }

    /// Waits for the turn to take a page apart.
    pub async fn parser(&self) -> Option<OwnedSemaphorePermit> {
        // a semaphore that is never closed always gives
        self.parsers.clone().acquire_owned().await.ok()
    }

    /// Waits for a place for an attempt at `host`. The host's comes first, so that a crowd waiting for one host
    /// takes no places from the others.
    pub async fn place(&self, host: &str) -> Place {
        let (host, total) = self.places.borrow_mut().semaphores(host);
        let host = match host {
            Some(host) => host.acquire_owned().await.ok(),
            None => None,
        };
        // a semaphore that is never closed always gives
        Place { _host: host, _total: total.acquire_owned().await.ok() }
    }
}

impl Places {
    fn new(concurrency: Concurrency) -> Self {
        let per_host =
            (concurrency.per_host > 0).then(|| PerHost { limit: concurrency.per_host, hosts: HashMap::new() });
        let total = concurrency.total.min(descriptors::places()).clamp(1, Semaphore::MAX_PERMITS);
        Self { total: Arc::new(Semaphore::new(total)), per_host }
    }

    fn semaphores(&mut self, host: &str) -> (Option<Arc<Semaphore>>, Arc<Semaphore>) {
        (self.per_host.as_mut().map(|limit| limit.semaphore(host)), self.total.clone())
    }
}

impl PerHost {
    fn semaphore(&mut self, host: &str) -> Arc<Semaphore> {
        if let Some(semaphore) = self.hosts.get(host) {
            return semaphore.clone();
        }
        let semaphore = Arc::new(Semaphore::new(self.limit));
        self.hosts.insert(host.to_owned(), semaphore.clone());
        semaphore
    }
}
