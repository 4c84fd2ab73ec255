//! Pages that items link to, fetched for all sources of the arbiter: each once, and three of a host at a time.

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::{Rc, Weak as WeakRc},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use url::Url;

use crate::{
    actors::limits::{Limits, Place},
    fetch::{Document, Fetcher},
    memory::Room,
    model::{ErrorKind, Failure},
    poll::recent::Recent,
};

/// Visits of one host at a time. Where a redirect leads is not counted.
pub const PER_HOST: usize = 3;
/// Pages kept: some dozens.
const PAGES: usize = 4 << 20;
/// Media types of images kept: some thousands.
const IMAGES: usize = 1 << 20;
/// A page may change, and an address may come to mean something else.
const LONGEST: Duration = Duration::from_secs(3600);
/// How soon a request that our own limits prevented is made again.
const LIMITS_AGAIN: Duration = Duration::from_millis(500);

/// A page as it came.
#[derive(Debug, Clone)]
pub struct Page {
    /// Its bytes.
    pub body: Bytes,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// Where it was found.
    pub url: Url,
    /// What it takes of the memory for visits.
    pub room: Room,
}

impl Page {
    /// The page as it is kept for later: within bounds of its own.
    fn kept(&self) -> Self {
        Self { room: Room::unlimited(), ..self.clone() }
    }
}

/// Shared by the sources of one arbiter.
pub struct Articles {
    pages: Once<Page>,
    images: Once<Rc<str>>,
    hosts: RefCell<HashMap<String, Weak<Semaphore>>>,
}

impl Default for Articles {
    fn default() -> Self {
        Self { pages: Once::new(PAGES, Page::kept), images: Once::new(IMAGES, Rc::clone), hosts: RefCell::default() }
    }
}

impl Articles {
    /// The page at `url`, as the source of `fetcher` gets it. Its answer may take `patience`, waiting for a
    /// place not counted.
    ///
    /// # Errors
    /// Those of [`Fetcher::visit`], and `timeout` when it took longer.
    pub async fn page(
        &self,
        url: &Url,
        fetcher: &Fetcher,
        limits: &Limits,
        patience: Duration,
    ) -> Result<Page, Failure> {
        let fetch = async || {
            let room = &limits.visiting_room();
            let document = loop {
                room.wait().await;
                let fetch = async || fetcher.visit_within(url, room).await;
                if let Some(document) = self.visit(url, fetcher, limits, patience, fetch).await? {
                    break document;
                }
            };
            let Document { body, content_type, final_url, .. } = document;
            let bytes = body.len();
            Ok((Page { body, content_type, url: final_url, room: room.clone() }, bytes))
        };
        self.pages.get(fetcher.mark(url), fetch).await
    }

    /// Asks whether there is an image at `url`, within `patience` likewise.
    ///
    /// # Errors
    /// Those of [`Fetcher::media_type`], and `timeout`; `malformed` if it is something else.
    pub async fn image(
        &self,
        url: &Url,
        fetcher: &Fetcher,
        limits: &Limits,
        patience: Duration,
    ) -> Result<(), Failure> {
        let fetch = async || {
            let visit = self.visit(url, fetcher, limits, patience, async || fetcher.media_type(url).await);
            let media_type: Rc<str> = visit.await?.into();
            let bytes = media_type.len();
            Ok((media_type, bytes))
        };
        let media_type = self.images.get(fetcher.mark(url), fetch).await?;
        match media_type.starts_with("image/") {
            true => Ok(()),
            false => Err(Failure::fatal(ErrorKind::Malformed, format!("{media_type:?} is no image"))),
        }
    }

    /// One request, its name looked up before it takes a place. Our own limits are no answer: it is made again.
    async fn visit<T>(
        &self,
        url: &Url,
        fetcher: &Fetcher,
        limits: &Limits,
        patience: Duration,
        request: impl AsyncFn() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let looking_up = Instant::now();
        within(patience, patiently(async || fetcher.resolve(Some(url)).await)).await?;
        let left = patience.saturating_sub(looking_up.elapsed());
        let _place = self.place(url, limits).await;
        within(left, patiently(request)).await
    }

    /// Waits for a place at the host, then for one among all attempts.
    async fn place(&self, url: &Url, limits: &Limits) -> (Option<OwnedSemaphorePermit>, Place) {
        let host = url.host_str().unwrap_or_default();
        let turn = self.host(host).acquire_owned().await.ok();
        (turn, limits.place(host).await)
    }

    /// A host's places are known for as long as one is taken or waited for.
    fn host(&self, host: &str) -> Arc<Semaphore> {
        let mut hosts = self.hosts.borrow_mut();
        if let Some(semaphore) = hosts.get(host).and_then(Weak::upgrade) {
            return semaphore;
        }
        hosts.retain(|_, semaphore| semaphore.strong_count() > 0);
        let semaphore = Arc::new(Semaphore::new(PER_HOST));
        hosts.insert(host.to_owned(), Arc::downgrade(&semaphore));
        semaphore
    }
}

async fn patiently<T>(request: impl AsyncFn() -> Result<T, Failure>) -> Result<T, Failure> {
    loop {
        match request().await {
            Err(failure) if failure.kind == ErrorKind::Limits => tokio::time::sleep(LIMITS_AGAIN).await,
            outcome => return outcome,
        }
    }
}

async fn within<T>(patience: Duration, answer: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(patience, answer).await.unwrap_or_else(|_| {
        let message = format!("no answer within {:.1} s", patience.as_secs_f64());
        Err(Failure::transient(ErrorKind::Timeout, message))
    })
}

/// Fetches each thing once: who asks meanwhile waits for the same answer, who asks later gets it from memory.
struct Once<V> {
    recent: RefCell<Recent<V>>,
    /// What is kept of a value.
    kept: fn(&V) -> V,
    flights: RefCell<HashMap<u128, WeakRc<Flight<V>>>>,
}

type Flight<V> = OnceCell<Result<V, Failure>>;

impl<V: Clone> Once<V> {
    fn new(bytes: usize, kept: fn(&V) -> V) -> Self {
        Self { recent: RefCell::new(Recent::new(bytes, LONGEST)), kept, flights: RefCell::default() }
    }

    /// `fetch` gives the value and its size. If who fetches gives up, the next of those who wait goes on.
    async fn get(&self, key: u128, fetch: impl AsyncFnOnce() -> Result<(V, usize), Failure>) -> Result<V, Failure> {
        if let Some(value) = self.recent.borrow_mut().get(key, Instant::now()) {
            return Ok(value);
        }
        let flight = self.flight(key);
        let outcome = flight.get_or_init(async || {
            let (value, bytes) = fetch().await?;
            self.recent.borrow_mut().put(key, (self.kept)(&value), bytes, Instant::now());
            Ok(value)
        });
        outcome.await.clone()
    }

    fn flight(&self, key: u128) -> Rc<Flight<V>> {
        let mut flights = self.flights.borrow_mut();
        if let Some(flight) = flights.get(&key).and_then(WeakRc::upgrade) {
            return flight;
        }
        flights.retain(|_, flight| flight.strong_count() > 0);
        let flight = Rc::new(OnceCell::new());
        flights.insert(key, Rc::downgrade(&flight));
        flight
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::{FutureExt, future::join_all};

    use super::*;

    #[actix_rt::test]
    async fn who_asks_at_the_same_time_or_later_gets_the_one_answer() {
        let once = Once::new(PAGES, Clone::clone);
        let fetched = Cell::new(0);
        let fetch = async || {
            fetched.set(fetched.get() + 1);
            tokio::task::yield_now().await;
            Ok(("page", 4))
        };
        let all = join_all((0..5).map(|_| once.get(1, fetch))).await;
        assert_eq!((all, fetched.get()), (vec![Ok("page"); 5], 1));
        assert_eq!((once.get(1, fetch).await, fetched.get()), (Ok("page"), 1));
        assert_eq!((once.get(2, fetch).await, fetched.get()), (Ok("page"), 2));
    }

    #[actix_rt::test]
    async fn a_failure_is_shared_by_who_waits_and_not_kept() {
        let once = Once::<&str>::new(PAGES, Clone::clone);
        let fetched = Cell::new(0);
        let fetch = async || {
            fetched.set(fetched.get() + 1);
            tokio::task::yield_now().await;
            Err(Failure::fatal(ErrorKind::Http(404), "no"))
        };
        let all = join_all((0..3).map(|_| once.get(1, fetch))).await;
        assert!(all.iter().all(Result::is_err) && fetched.get() == 1);
        assert!(once.get(1, fetch).await.is_err() && fetched.get() == 2);
    }

    #[actix_rt::test]
    async fn who_waits_goes_on_where_the_first_gives_up() {
        let once = Once::new(PAGES, Clone::clone);
        let mut first = Box::pin(once.get(1, async || std::future::pending().await));
        assert!(first.as_mut().now_or_never().is_none());
        let mut second = Box::pin(once.get(1, async || Ok(("page", 4))));
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        assert_eq!(second.await, Ok("page"));
    }

    #[test]
    fn a_host_that_nobody_waits_for_is_forgotten() {
        let articles = Articles::default();
        let busy = articles.host("busy");
        for n in 0..100 {
            assert_eq!(articles.host(&format!("h{n}")).available_permits(), PER_HOST);
        }
        assert!(Arc::ptr_eq(&busy, &articles.host("busy")));
        assert!(articles.hosts.borrow().len() <= 2);
    }
}
