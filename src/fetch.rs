//! One HTTP attempt, from resolving to the last byte.
//!
//! | step | where |
//! | --- | --- |
//! | resolve, vet the address, connect, proxy, TLS | `resolve`, `connect`, `guard`, `proxy`, `tls` |
//! | share out the process's descriptors | [`descriptors`] |
//! | write the request, read the answer's head | `exchange`, over awc; `headers` |
//! | read the body by its own framing, whole or not at all | `wire`, `framing`, `transport` |
//! | take the content coding off, bounded | `body` |
//! | follow redirects, each hop as strictly as the first | `redirect` |
//! | say what went wrong and whether to try again | `classify`, [`retry_after`] |
//!
//! Decided here, where the contract leaves it open:
//! - 200 and 203 are documents. Any other 2xx is the error `http_<status>`: 206 is a part, 204 and 205 are
//!   nothing, 202 is a promise (and what some bot walls answer). So is a 304 that was not asked for, and a
//!   redirect without `Location`.
//! - A body that ends with the connection is whole, also where a TLS connection ends without its
//!   `close_notify`, as with many servers; [`Document::certain`] tells, for there an attacker could have
//!   cut it.
//! - On a kept connection that the server has just closed, the request is sent once more, on a fresh one;
//!   one with a body too, for what a source posts is a question and changes nothing.
//! - What was posted is asked anew each time: no validators go with it.

use std::{cell::RefCell, pin::pin, sync::Arc, time::Duration};

use awc::http::{
    Method,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use bytes::Bytes;
use futures_util::FutureExt;
use jiff::Timestamp;
use rustls::ClientConfig;
use tokio::{sync::Semaphore, time::Instant};
use url::Url;
use xxhash_rust::xxh3::Xxh3Default;

use crate::{
    config::RequestSettings,
    memory::Room,
    model::{ErrorKind, Failure},
};

mod body;
mod classify;
mod connect;
pub mod descriptors;
mod exchange;
mod framing;
mod guard;
mod headers;
mod proxy;
mod redirect;
mod resolve;
pub mod retry_after;
mod send;
mod spare;
mod tls;
mod transport;
mod wire;

pub use send::{Outgoing, Reply, SendFailure, get_local, send};
pub use spare::give as reuse;
pub use tls::Tls;

use classify::Fault;
use connect::{Asker, Dialer};
use descriptors::Idle;
use exchange::{Head, Request, exchange};
use framing::Framing;
use redirect::Path;
use wire::{Handle, Space};

/// How often an attempt is looked at while it lasts.
const LOOK: Duration = Duration::from_secs(3);
/// To keep its connection, a redirect's body is read if it is no longer than this.
const DRAINED: u64 = 16 * 1024;

/// Lookups of one source at a time: it may visit pages of many hosts.
const LOOKUPS: usize = 4;

/// What to ask for: the document unless it is still this one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Validators<'a> {
    /// `ETag` of the last document, byte for byte.
    pub etag: Option<&'a str>,
    /// `Last-Modified` of the last document, byte for byte.
    pub last_modified: Option<&'a str>,
}

impl Validators<'_> {
    fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }
}

/// What is hoped for at a URL: the server is told, and may choose by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Document,
    Page,
    Image,
}

/// A successful attempt.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one for each attempt in flight, and it is moved twice")]
pub enum Answer {
    /// 304: the document is still the one of the validators.
    NotModified(NotModified),
    /// A whole document.
    Document(Document),
    /// 410: it is gone for good.
    Gone,
}

/// What came with a 304.
#[derive(Debug, Default)]
pub struct NotModified {
    /// Where the configured URL has moved to for good.
    pub permanent_redirect: Option<Url>,
    /// Redirects followed.
    pub hops: u32,
}

/// A document, read to its end and decoded.
#[derive(Debug)]
pub struct Document {
    /// Its bytes, the content coding taken off.
    pub body: Bytes,
    /// `Content-Type`, if it is text.
    pub content_type: Option<String>,
    /// `ETag`, if it is text.
    pub etag: Option<String>,
    /// `Last-Modified`, if it is text.
    pub last_modified: Option<String>,
    /// `Cache-Control`, if it is text: advice for the interval.
    pub cache_control: Option<String>,
    /// Where it was found; the base of its relative links.
    pub final_url: Url,
    /// Where the configured URL has moved to for good.
    pub permanent_redirect: Option<Url>,
    /// Bytes of the body as they came, the content coding on.
    pub wire_bytes: u64,
    /// Redirects followed.
    pub hops: u32,
    /// Whether the end of the body was announced or signed, as it is in all but one case: a body of
    /// unknown length over a TLS connection that ended without `close_notify`.
    pub certain: bool,
}

/// Fetches one source, and what its items link to. It belongs to one thread, and makes one attempt at the
/// source itself at a time.
pub struct Fetcher {
    url: Url,
    settings: Arc<RequestSettings>,
    /// The body to POST to the URL.
    post: Option<Bytes>,
    dialer: Dialer,
    /// With `keep_alive`: the last connection and the origin it leads to.
    idle: RefCell<Option<Kept>>,
    /// Turns for lookups.
    lookups: Semaphore,
}

/// A connection that is kept for the next request.
struct Kept {
    origin: url::Origin,
    handle: Handle,
    _room: Idle,
}

impl Fetcher {
    /// For one URL. `tls` is [`Tls::with_roots`] of the settings' roots.
    pub fn new(mut url: Url, mut settings: Arc<RequestSettings>, tls: Arc<ClientConfig>) -> Self {
        let dialer = Dialer {
            tls,
            proxy: settings.proxy.as_ref().map(|proxy| Box::new(proxy::Proxy::new(proxy.expose().clone()))),
            connect_timeout: settings.connect_timeout,
            guarded: !settings.allow_private_addresses,
            asker: Asker::Source,
        };
        if let Some(login) = headers::login(&url).filter(|_| settings.basic_auth.is_none()) {
            Arc::make_mut(&mut settings).basic_auth = Some(login);
        }
        // the credentials are in the settings now, and nothing else should have them
        let _ = url.set_username("");
        let _ = url.set_password(None);
        let post = settings.post.as_ref().map(|body| Bytes::copy_from_slice(body.expose().as_bytes()));
        Self { url, settings, post, dialer, idle: RefCell::new(None), lookups: Semaphore::new(LOOKUPS) }
    }

    /// Looks up the name that a request for the source begins with, or for `page` of it. That is done before a
    /// place is taken, so that names that hang take none: the answer is at hand when the request is made.
    ///
    /// # Errors
    /// `dns` and `proxy`, `blocked_address` for a name that no proxy may be asked for, `limits`.
    pub async fn resolve(&self, page: Option<&Url>) -> Result<(), Failure> {
        let url = page.unwrap_or(&self.url);
        // an open connection needs none
        if page.is_none() && self.idle.borrow().is_some() {
            return Ok(());
        }
        let _turn = self.lookups.acquire().await;
        match tokio::time::timeout(self.settings.timeout, self.dialer.resolve(url)).await {
            Ok(outcome) => outcome.map_err(|fault| fault.failure(&peer(url))),
            Err(_) => Err(too_late(self.settings.timeout, url)),
        }
    }

    /// One attempt, within the settings' `timeout`.
    ///
    /// # Errors
    /// Every way of failing, with its kind and whether to try again.
    pub async fn get(&self, validators: Validators<'_>) -> Result<Answer, Failure> {
        let answer = self.get_within(validators, Duration::ZERO, &Room::unlimited()).await?;
        answer.ok_or_else(|| Fault::NoRoom.failure(&peer(&self.url)))
    }

    /// The same after a lookup that has taken `spent` already, for a body that finds memory in `room`; none if there
    /// was none. Waiting for it is not counted. A body that stands still while others wait for its memory is given up.
    ///
    /// # Errors
    /// As [`Fetcher::get`].
    pub async fn get_within(
        &self,
        validators: Validators<'_>,
        spent: Duration,
        room: &Room,
    ) -> Result<Option<Answer>, Failure> {
        let (start, waited) = (Instant::now(), room.waited());
        let left = self.settings.timeout.saturating_sub(spent);
        let mut attempt = pin!(self.attempt(validators, room));
        loop {
            let deadline = start + left + (room.waited() - waited);
            match tokio::time::timeout_at(deadline.min(Instant::now() + LOOK), attempt.as_mut()).await {
                Ok(outcome) => return outcome,
                Err(_) if Instant::now() >= start + left + (room.waited() - waited) => {
                    return Err(too_late(self.settings.timeout, &self.url));
                }
                Err(_) if room.holds_others_up() => return Err(stalled(&self.url)),
                Err(_) => {}
            }
        }
    }

    async fn attempt(&self, validators: Validators<'_>, room: &Room) -> Result<Option<Answer>, Failure> {
        let validators = if self.post.is_some() { Validators::default() } else { validators };
        let conditional = headers::conditional(validators);
        let mut path = self.path(&self.url);
        loop {
            let url = path.current();
            let told = |fault: Fault| fault.failure(&peer(url));
            let body = self.post.as_ref().filter(|_| path.carries_body());
            let headers = headers::configured(&self.settings, Wanted::Document, path.at_home(), body.is_some());
            let (handle, head) = self.ask(url, body, || headers.iter().chain(&conditional)).await?;
            let status = head.status().as_u16();
            match (status, head.headers().get(header::LOCATION)) {
                (200 | 203, _) => {
                    let document = match self.document(url, &handle, &head, room).await {
                        Err(Fault::NoRoom) => return Ok(None),
                        outcome => outcome.map_err(told)?,
                    };
                    self.keep(url, handle);
                    let (final_url, hops) = (url.clone(), path.hops());
                    let permanent_redirect = path.into_permanent();
                    return Ok(Some(Answer::Document(Document { final_url, hops, permanent_redirect, ..document })));
                }
                (304, _) if !validators.is_empty() => {
                    self.keep(url, handle);
                    let hops = path.hops();
                    let permanent_redirect = path.into_permanent();
                    return Ok(Some(Answer::NotModified(NotModified { permanent_redirect, hops })));
                }
                (410, _) => return Ok(Some(Answer::Gone)),
                (status, Some(location)) if redirect::is_redirect(status) => {
                    // only what is there already: a redirect's body is nothing to wait for
                    if self.settings.keep_alive && matches!(handle.body(DRAINED).now_or_never(), Some(Ok(_))) {
                        self.keep(url, handle);
                    }
                    path.follow(status, location.as_bytes())?;
                }
                _ => return Err(classify::status(status, retry_after_of(status, head.headers()), &peer(url))),
            }
        }
    }

    /// Reads a page that an item of the source links to. What was configured for the source is sent to its
    /// own origin only; address guard, redirects and limits are the same. The caller keeps the deadline.
    ///
    /// # Errors
    /// As [`Fetcher::get`]; `malformed` for what is no text.
    pub async fn visit(&self, url: &Url) -> Result<Document, Failure> {
        let document = self.visit_within(url, &Room::unlimited()).await?;
        document.ok_or_else(|| Fault::NoRoom.failure(&peer(url)))
    }

    /// The same for a page that finds memory in `room`; none if there was none.
    ///
    /// # Errors
    /// As [`Fetcher::visit`].
    pub async fn visit_within(&self, url: &Url, room: &Room) -> Result<Option<Document>, Failure> {
        let mut path = self.path(url);
        let (handle, head) = self.follow(&mut path, Wanted::Page).await?;
        let url = path.current();
        let told = |fault: Fault| fault.failure(&peer(url));
        if let Some(media_type) = media_type(head.headers()).filter(|media_type| !is_page(media_type)) {
            let message = format!("{media_type:?} is no page ({})", peer(url));
            return Err(Failure::fatal(ErrorKind::Malformed, message));
        }
        let document = match self.document(url, &handle, &head, room).await {
            Err(Fault::NoRoom) => return Ok(None),
            outcome => outcome.map_err(told)?,
        };
        Ok(Some(Document { final_url: url.clone(), hops: path.hops(), ..document }))
    }

    /// The media type of what is at the URL, such as `image/png`; empty where none is said. It is asked for
    /// one byte, and no more than comes with the head is read. Else as [`Fetcher::visit`].
    ///
    /// # Errors
    /// As [`Fetcher::get`].
    pub async fn media_type(&self, url: &Url) -> Result<String, Failure> {
        let mut path = self.path(url);
        let (_, head) = self.follow(&mut path, Wanted::Image).await?;
        Ok(media_type(head.headers()).unwrap_or_default())
    }

    /// Two visits with the same mark are the same request, sent the same way.
    pub fn mark(&self, url: &Url) -> u128 {
        let settings = &self.settings;
        let mut hasher = Xxh3Default::new();
        let mut add = |part: &[u8]| {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        };
        add(&url.as_str().as_bytes()[..url[..url::Position::AfterQuery].len()]);
        add(&[u8::from(settings.allow_private_addresses)]);
        add(&settings.max_body.to_le_bytes());
        add(&settings.max_redirects.to_le_bytes());
        for root in settings.extra_roots.iter() {
            add(root);
        }
        add(settings.proxy.as_ref().map_or("", |proxy| proxy.expose().as_str()).as_bytes());
        let at_home = url.origin() == self.url.origin();
        for (name, value) in headers::configured(settings, Wanted::Page, at_home, false) {
            add(name.as_str().as_bytes());
            add(value.as_bytes());
        }
        hasher.digest128()
    }

    fn path(&self, start: &Url) -> Path {
        Path::new(&self.url, start.clone(), self.settings.max_redirects)
    }

    /// GETs what is at the start of the path or where it leads, as far as the head of a 200, 203 or, for an
    /// image, 206.
    async fn follow(&self, path: &mut Path, wanted: Wanted) -> Result<(Handle, Head), Failure> {
        loop {
            let url = path.current();
            let mut headers = headers::configured(&self.settings, wanted, path.at_home(), false);
            if wanted == Wanted::Image {
                headers.push((header::RANGE, HeaderValue::from_static("bytes=0-0")));
            }
            let (handle, head) = self.send(url, &headers).await?;
            let status = head.status().as_u16();
            match (status, head.headers().get(header::LOCATION)) {
                (200 | 203, _) => return Ok((handle, head)),
                (206, _) if wanted == Wanted::Image => return Ok((handle, head)),
                (status, Some(location)) if redirect::is_redirect(status) => {
                    path.follow(status, location.as_bytes())?
                }
                _ => return Err(classify::status(status, None, &peer(url))),
            }
        }
    }

    /// Sends a GET over a connection of its own: visits are many at a time, and seldom to the same server.
    async fn send(&self, url: &Url, headers: &[(HeaderName, HeaderValue)]) -> Result<(Handle, Head), Failure> {
        let request = request(Method::GET, url)?;
        let told = |fault: Fault| fault.failure(&peer(url));
        let handle = Handle::new(self.dialer.dial(url).await.map_err(told)?);
        let head = exchange(&handle, &request, headers.iter(), None, false).await.map_err(told)?;
        Ok((handle, head))
    }

    /// Sends the request, over the idle connection if there is one that fits.
    async fn ask<'a, I>(
        &self,
        url: &Url,
        body: Option<&Bytes>,
        headers: impl Fn() -> I,
    ) -> Result<(Handle, Head), Failure>
    where
        I: Iterator<Item = &'a (HeaderName, HeaderValue)>,
    {
        // made for each hop anew: cheaper than keeping them for as long as nothing is asked
        let request = request(if body.is_some() { Method::POST } else { Method::GET }, url)?;
        let told = |fault: Fault| fault.failure(&peer(url));
        let keep_alive = self.settings.keep_alive;
        if let Some(handle) = self.idle_for(url).await {
            match exchange(&handle, &request, headers(), body.cloned(), keep_alive).await {
                Ok(head) => return Ok((handle, head)),
                // closed under our hands, and not a byte of an answer: a fresh one, now
                Err(Fault::Cut(_) | Fault::Io(_)) if !handle.answered() => {}
                Err(fault) => return Err(told(fault)),
            }
        }
        let handle = Handle::new(self.dialer.dial(url).await.map_err(told)?);
        let head = exchange(&handle, &request, headers(), body.cloned(), keep_alive).await.map_err(told)?;
        Ok((handle, head))
    }

    async fn idle_for(&self, url: &Url) -> Option<Handle> {
        let Kept { origin, handle, _room } = self.idle.borrow_mut().take()?;
        (origin == url.origin() && handle.reusable().await).then_some(handle)
    }

    /// Keeps the connection for the next request; whether it can be used is seen then.
    fn keep(&self, url: &Url, handle: Handle) {
        if self.settings.keep_alive
            && let Some(_room) = Idle::take()
        {
            handle.release();
            *self.idle.borrow_mut() = Some(Kept { origin: url.origin(), handle, _room });
        }
    }

    /// Reads and decodes the body.
    async fn document(&self, url: &Url, handle: &Handle, head: &Head, room: &Room) -> Result<Document, Fault> {
        let limit = self.settings.max_body;
        let coding = body::coding(head.headers().get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes))?;
        let inflated = coding.map_or(0, |_| usize::try_from(limit).unwrap_or(usize::MAX));
        let received = handle.body_within(limit, &Space { room, inflated }).await?;
        let wire_bytes = received.bytes.len() as u64;
        let body = body::decode(received.bytes, coding, limit, received.framing == Framing::Eof, room).await?;
        room.shrink(body.len());
        let text = |name| head.headers().get(name).and_then(|value| String::from_utf8(value.as_bytes().to_vec()).ok());
        Ok(Document {
            body,
            content_type: text(header::CONTENT_TYPE),
            etag: text(header::ETAG),
            last_modified: text(header::LAST_MODIFIED),
            cache_control: text(header::CACHE_CONTROL),
            final_url: url.clone(),
            permanent_redirect: None,
            wire_bytes,
            hops: 0,
            certain: received.certain,
        })
    }
}

/// What is asked of a URL. One that cannot be sent will not be the next time either.
fn request(method: Method, url: &Url) -> Result<Request, Failure> {
    Request::new(method, url).map_err(|fault| Failure { retry: false, ..fault.failure(&peer(url)) })
}

/// `Content-Type` without its parameters, lowercased.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = std::str::from_utf8(headers.get(header::CONTENT_TYPE)?.as_bytes()).ok()?;
    let essence = value.split([';', ',']).next().unwrap_or_default().trim();
    (!essence.is_empty()).then(|| essence.chars().take(100).collect::<String>().to_ascii_lowercase())
}

/// Whether details may be looked for in it: many a server says nothing better of its pages than
/// `application/octet-stream`, and what is no page gives none.
fn is_page(media_type: &str) -> bool {
    let family = media_type.split('/').next().unwrap_or_default();
    !matches!(family, "image" | "audio" | "video" | "font")
        && !matches!(media_type, "application/pdf" | "application/zip")
}

fn retry_after_of(status: u16, headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER).filter(|_| matches!(status, 429 | 503))?;
    retry_after::parse(value.as_bytes(), Timestamp::now())
}

/// `host:port`, for messages.
fn peer(url: &Url) -> String {
    let host = url.host_str().unwrap_or("?");
    url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn stalled(url: &Url) -> Failure {
    let message = format!("the body came too slowly while others waited for memory ({})", peer(url));
    Failure::transient(ErrorKind::Timeout, message)
}

fn too_late(limit: Duration, url: &Url) -> Failure {
    let message = format!("no whole answer within {} ({})", humantime::format_duration(limit), peer(url));
    Failure::transient(ErrorKind::Timeout, message)
}
