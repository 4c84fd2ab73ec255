//! The farm: feeds on loopback, over http and https, that are well or play one fault each.
//!
//! ```no_run
//! let farm = Farm::start();
//! let feed = farm.feed("ann");           // http://127.0.0.1:PORT/ann
//! feed.publish(20);                       // twenty items
//! feed.set_fault(Fault::CutBetweenChunks);
//! feed.set_fault(None);                   // well again
//! assert_eq!(feed.requests().len(), 0);
//! ```
//!
//! It has a thread and a runtime of its own, so that it serves whatever the caller's runtime is doing,
//! and ends when it is dropped. Faults are played on the bare socket: no HTTP library is in between that
//! could make them better than they are. Every request is recorded.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustls_pki_types::CertificateDer;
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::oneshot,
};

pub mod document;
mod play;
pub mod proxy;
mod serve;
mod tls;

pub use document::Entry;

/// How a feed misbehaves, or behaves in an unusual way that is still right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    // ——— connections that break
    /// RST after the request, before any byte of an answer.
    ResetBefore,
    /// RST in the middle of the body.
    ResetWithin,
    /// FIN after the request, before any byte of an answer.
    ClosedBefore,
    /// FIN within the answer's head.
    CutHead,
    /// FIN in the middle of a body with a `Content-Length`.
    CutLength,
    /// FIN in the middle of a chunk.
    CutInChunk,
    /// FIN after a whole chunk that is not the last.
    CutBetweenChunks,
    /// FIN in the middle of a gzip body that ends with the connection.
    CutGzip,
    // ——— connections that do not end
    /// The request is taken and never answered.
    Hang,
    /// Half of the body, then nothing.
    HangWithin,
    /// One byte at a time, so often.
    Drip(Duration),
    /// Chunks for ever.
    EndlessChunks,
    /// A head that does not end.
    EndlessHead,
    // ——— bodies that are not what they should be
    /// A gzip body of 300 MB.
    GzipBomb,
    /// A gzip body with a wrong byte.
    CorruptGzip,
    /// A content encoding that nobody asked for.
    UnknownEncoding,
    /// Bytes that are no HTTP.
    Garbage,
    /// Chunked, with a size that is no number.
    BadChunk,
    /// A page in place of the feed.
    Html,
    /// 200, and no byte of body.
    EmptyBody,
    /// A feed without items.
    NoItems,
    // ——— answers that are no document
    /// This status, with a short body.
    Status(u16),
    /// This status and `Retry-After`.
    RetryAfter(u16, String),
    /// This status and `Location`.
    Redirect(u16, String),
    /// A redirect to itself with a number that grows: no URL twice, and no end.
    EndlessRedirects,
    /// Two URLs that point to each other.
    RedirectLoop,
    /// 304 that announces the length of what it does not send.
    NotModifiedWithLength,
    // ——— right, and often got wrong
    /// The whole feed, chunked.
    Chunked,
    /// The whole feed, gzip.
    Gzip,
    /// The whole feed, of a length that only the connection's end tells.
    EndsWithConnection,
    /// The same, and over TLS without `close_notify`.
    EndsAbruptly,
    /// 103 before the answer.
    EarlyHints,
    /// The answer after this time.
    Slow(Duration),
    /// What the other one plays, after this time.
    After(Duration, Box<Fault>),
    /// These bytes as the whole answer, head and all; then FIN.
    Raw(Vec<u8>),
    /// The whole feed with these header lines too (each without its line end).
    Headers(Vec<String>),
    /// This document in place of the feed, with its media type.
    Document(Vec<u8>, String),
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// When its head was there.
    pub at: Instant,
    /// Number of its connection, from 0, over the whole farm.
    pub connection: u64,
    /// Whether it came over TLS.
    pub tls: bool,
    /// `GET`
    pub method: String,
    /// With the query.
    pub path: String,
    /// In order, as sent.
    pub headers: Vec<(String, String)>,
    /// What came after the head.
    pub body: Vec<u8>,
}

impl Recorded {
    /// A header's value, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// A running farm.
pub struct Farm {
    address: SocketAddr,
    tls_address: SocketAddr,
    refusing: SocketAddr,
    certificate: CertificateDer<'static>,
    state: Arc<Mutex<State>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    feeds: HashMap<String, document::Feed>,
    requests: Vec<Recorded>,
    connections: u64,
    /// For each feed: answers under way now, and at most so far.
    under_way: HashMap<String, (usize, usize)>,
}

impl Farm {
    /// Starts on free ports.
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let identity = tls::Identity::new();
        let certificate = identity.certificate.clone();
        let shared = Arc::clone(&state);
        let thread = std::thread::Builder::new().name("farm".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let secure = TcpListener::bind("127.0.0.1:0").await.unwrap();
                // bound and not listening: connections are refused for as long as the farm lives
                let refusing = TcpSocket::new_v4().unwrap();
                refusing.bind("127.0.0.1:0".parse().unwrap()).unwrap();
                let addresses =
                    [plain.local_addr().unwrap(), secure.local_addr().unwrap(), refusing.local_addr().unwrap()];
                tell.send(addresses).unwrap();
                tokio::spawn(serve::accept(plain, None, Arc::clone(&shared)));
                tokio::spawn(serve::accept(secure, Some(identity.acceptor()), shared));
                let _ = stopped.await;
            });
        });
        let [address, tls_address, refusing] = told.recv().expect("the farm's thread starts");
        Self { address, tls_address, refusing, certificate, state, stop: Some(stop), thread: Some(thread.unwrap()) }
    }

    /// The feed with this name (`[a-z0-9_-]`), made at its first mention.
    pub fn feed(&self, name: &str) -> FeedHandle {
        self.state().feeds.entry(name.to_owned()).or_insert_with(|| document::Feed::new(name));
        FeedHandle {
            name: name.to_owned(),
            address: self.address,
            tls_address: self.tls_address,
            state: Arc::clone(&self.state),
        }
    }

    /// Every request, in order.
    pub fn requests(&self) -> Vec<Recorded> {
        self.state().requests.clone()
    }

    /// Connections accepted so far, with and without TLS.
    pub fn connections(&self) -> u64 {
        self.state().connections
    }

    /// Where plain connections are accepted.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where TLS is spoken.
    pub fn tls_address(&self) -> SocketAddr {
        self.tls_address
    }

    /// What verifies the farm's TLS: for `localhost` and `127.0.0.1`.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    /// The same for a `ca_file`.
    pub fn certificate_pem(&self) -> String {
        tls::pem(&self.certificate)
    }

    /// A URL at which connections are refused.
    pub fn refusing_url(&self) -> String {
        format!("http://{}/", self.refusing)
    }

    /// A URL with a name that does not resolve (RFC 6761).
    pub fn unresolvable_url(&self) -> String {
        "http://feed.invalid/".into()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// One feed of the farm.
#[derive(Clone)]
pub struct FeedHandle {
    name: String,
    address: SocketAddr,
    tls_address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl FeedHandle {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `http://127.0.0.1:PORT/NAME`
    pub fn url(&self) -> String {
        format!("http://{}/{}", self.address, self.name)
    }

    /// `https://127.0.0.1:PORT/NAME`
    pub fn tls_url(&self) -> String {
        format!("https://{}/{}", self.tls_address, self.name)
    }

    /// Appends items; the last is the newest. The validators change.
    pub fn push(&self, entries: impl IntoIterator<Item = Entry>) {
        self.with(|feed| feed.push(entries));
    }

    /// Appends so many items that count on from the last, and returns them.
    pub fn publish(&self, count: usize) -> Vec<Entry> {
        self.with(|feed| feed.publish(count))
    }

    /// Shows only the newest so many items.
    pub fn set_window(&self, items: usize) {
        self.with(|feed| feed.set_window(items));
    }

    /// From now on this fault is played; `None`: well again.
    pub fn set_fault(&self, fault: impl Into<Option<Fault>>) {
        self.with(|feed| feed.fault = fault.into());
    }

    /// The document as it is served now.
    pub fn document(&self) -> Vec<u8> {
        self.with(|feed| feed.document().to_vec())
    }

    /// Every request for this feed, in order.
    pub fn requests(&self) -> Vec<Recorded> {
        let state = lock(&self.state);
        let ours = |request: &&Recorded| serve::feed_name(&request.path) == self.name;
        state.requests.iter().filter(ours).cloned().collect()
    }

    /// Requests for this feed that were unanswered at the same time, at most.
    pub fn most_at_once(&self) -> usize {
        lock(&self.state).under_way.get(&self.name).map_or(0, |(_, most)| *most)
    }

    fn with<T>(&self, change: impl FnOnce(&mut document::Feed) -> T) -> T {
        change(lock(&self.state).feeds.get_mut(&self.name).expect("made with the handle"))
    }
}
