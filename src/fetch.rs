//! One HTTP attempt, from resolving to the last byte.
//!
//! | step | where |
//! | --- | --- |
//! | resolve, vet the address, connect, proxy, TLS | `connect`, `guard`, `proxy`, `tls` |
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
//! - On a kept connection that the server has just closed, the request is sent once more, on a fresh one.

use std::{cell::RefCell, sync::Arc, time::Duration};

use awc::http::{
    Method,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use bytes::Bytes;
use futures_util::FutureExt;
use jiff::Timestamp;
use rustls::ClientConfig;
use url::Url;

use crate::{
    config::RequestSettings,
    model::{ErrorKind, Failure},
};

mod body;
mod classify;
mod connect;
mod exchange;
mod framing;
mod guard;
mod headers;
mod proxy;
mod redirect;
pub mod retry_after;
mod send;
mod tls;
mod transport;
mod wire;

pub use send::{Outgoing, Reply, SendFailure, get_local, send};
pub use tls::Tls;

use classify::Fault;
use connect::Dialer;
use exchange::{Head, Request, exchange};
use framing::Framing;
use redirect::Path;
use wire::Handle;

/// To keep its connection, a redirect's body is read if it is no longer than this.
const DRAINED: u64 = 16 * 1024;

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

/// Fetches one source. It belongs to one thread, and to one attempt at a time.
pub struct Fetcher {
    url: Url,
    settings: Arc<RequestSettings>,
    dialer: Dialer,
    /// With `keep_alive`: the last connection and the origin it leads to.
    idle: RefCell<Option<(url::Origin, Handle)>>,
}

impl Fetcher {
    /// For one URL. `tls` is [`Tls::with_roots`] of the settings' roots.
    pub fn new(mut url: Url, mut settings: Arc<RequestSettings>, tls: Arc<ClientConfig>) -> Self {
        let dialer = Dialer {
            tls,
            proxy: settings.proxy.as_ref().map(|proxy| proxy::Proxy::new(proxy.expose().clone())),
            connect_timeout: settings.connect_timeout,
            guarded: !settings.allow_private_addresses,
        };
        if let Some(login) = headers::login(&url).filter(|_| settings.basic_auth.is_none()) {
            Arc::make_mut(&mut settings).basic_auth = Some(login);
        }
        // the credentials are in the settings now, and nothing else should have them
        let _ = url.set_username("");
        let _ = url.set_password(None);
        Self { url, settings, dialer, idle: RefCell::new(None) }
    }

    /// One attempt, within the settings' `timeout`.
    ///
    /// # Errors
    /// Every way of failing, with its kind and whether to try again.
    pub async fn get(&self, validators: Validators<'_>) -> Result<Answer, Failure> {
        match tokio::time::timeout(self.settings.timeout, self.attempt(validators)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(too_late(self.settings.timeout, &self.url)),
        }
    }

    async fn attempt(&self, validators: Validators<'_>) -> Result<Answer, Failure> {
        let conditional = headers::conditional(validators);
        let mut path = Path::new(self.url.clone(), self.settings.max_redirects);
        loop {
            let url = path.current();
            let told = |fault: Fault| fault.failure(&peer(url));
            // made for each hop anew: cheaper than keeping them for as long as nothing is asked
            let request = Request::new(Method::GET, url)
                .map_err(|fault| Failure { retry: false, ..fault.failure(&peer(url)) })?;
            let headers = headers::configured(&self.settings, path.at_home());
            let (handle, head) = self.ask(url, &request, || headers.iter().chain(&conditional)).await.map_err(told)?;
            let status = head.status().as_u16();
            match (status, head.headers().get(header::LOCATION)) {
                (200 | 203, _) => {
                    let document = self.document(url, &handle, &head).await.map_err(told)?;
                    self.keep(url, handle);
                    let (final_url, hops) = (url.clone(), path.hops());
                    let permanent_redirect = path.into_permanent();
                    return Ok(Answer::Document(Document { final_url, hops, permanent_redirect, ..document }));
                }
                (304, _) if !validators.is_empty() => {
                    self.keep(url, handle);
                    let hops = path.hops();
                    return Ok(Answer::NotModified(NotModified { permanent_redirect: path.into_permanent(), hops }));
                }
                (410, _) => return Ok(Answer::Gone),
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

    /// Sends the request, over the idle connection if there is one that fits.
    async fn ask<'a, I>(&self, url: &Url, request: &Request, headers: impl Fn() -> I) -> Result<(Handle, Head), Fault>
    where
        I: Iterator<Item = &'a (HeaderName, HeaderValue)>,
    {
        let keep_alive = self.settings.keep_alive;
        if let Some(handle) = self.idle_for(url).await {
            match exchange(&handle, request, headers(), None, keep_alive).await {
                Ok(head) => return Ok((handle, head)),
                // closed under our hands, and not a byte of an answer: a fresh one, now
                Err(Fault::Cut(_) | Fault::Io(_)) if !handle.answered() => {}
                Err(fault) => return Err(fault),
            }
        }
        let handle = Handle::new(self.dialer.dial(url).await?);
        let head = exchange(&handle, request, headers(), None, keep_alive).await?;
        Ok((handle, head))
    }

    async fn idle_for(&self, url: &Url) -> Option<Handle> {
        let (origin, handle) = self.idle.borrow_mut().take()?;
        (origin == url.origin() && handle.reusable().await).then_some(handle)
    }

    /// Keeps the connection for the next request; whether it can be used is seen then.
    fn keep(&self, url: &Url, handle: Handle) {
        if self.settings.keep_alive {
            *self.idle.borrow_mut() = Some((url.origin(), handle));
        }
    }

    /// Reads and decodes the body.
    async fn document(&self, url: &Url, handle: &Handle, head: &Head) -> Result<Document, Fault> {
        let limit = self.settings.max_body;
        let coding = body::coding(head.headers().get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes))?;
        let received = handle.body(limit).await?;
        let wire_bytes = received.bytes.len() as u64;
        let body = body::decode(received.bytes, coding, limit, received.framing == Framing::Eof).await?;
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

fn retry_after_of(status: u16, headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER).filter(|_| matches!(status, 429 | 503))?;
    retry_after::parse(value.as_bytes(), Timestamp::now())
}

/// `host:port`, for messages.
fn peer(url: &Url) -> String {
    let host = url.host_str().unwrap_or("?");
    url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn too_late(limit: Duration, url: &Url) -> Failure {
    let message = format!("no whole answer within {} ({})", humantime::format_duration(limit), peer(url));
    Failure::transient(ErrorKind::Timeout, message)
}
