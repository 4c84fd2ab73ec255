//! One HTTP attempt, from resolving to the last byte.
//!
//! | step | where |
//! | --- | --- |
//! | resolve, vet the address, connect, proxy, TLS | `connect`, `guard`, `proxy` |
//! | write the request, read the answer's head | `exchange`, over awc |
//! | read the body by its own framing, whole or not at all | `wire`, `framing` |
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

use std::{
    cell::RefCell,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use awc::http::{
    Method,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use jiff::Timestamp;
use rustls::{ClientConfig, RootCertStore, client::Resumption};
use rustls_pki_types::CertificateDer;
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
mod proxy;
mod redirect;
pub mod retry_after;
mod send;
mod wire;

pub use send::{Outgoing, Reply, SendFailure, get_local, send};

use classify::Fault;
use connect::Dialer;
use exchange::{Head, Request, exchange};
use framing::Framing;
use redirect::Path;
use wire::Handle;

/// Feeds first, then anything: some servers choose by it.
const ACCEPT: &str = "application/rss+xml, application/atom+xml, application/rdf+xml;q=0.9, \
                      application/feed+json;q=0.9, application/xml;q=0.8, text/xml;q=0.8, */*;q=0.5";
/// Servers whose TLS sessions are remembered, for each set of roots.
const SESSIONS: usize = 1024;
/// A redirect's body is read to its end, to keep the connection, if it is no longer than this.
const DRAINED: u64 = 16 * 1024;

/// The TLS configurations of all sources: one for each set of extra roots, so that root stores and
/// resumable sessions are shared.
#[derive(Default)]
pub struct Tls {
    plain: std::sync::OnceLock<Arc<ClientConfig>>,
    extra: Mutex<Vec<(WeakRoots, Arc<ClientConfig>)>>,
}

type WeakRoots = Weak<Vec<CertificateDer<'static>>>;

impl Tls {
    /// Nothing is built before it is asked for.
    pub fn new() -> Self {
        Self::default()
    }

    /// The configuration that trusts the bundled roots and these. The same `Arc` gives the same one.
    pub fn with_roots(&self, extra: &Arc<Vec<CertificateDer<'static>>>) -> Arc<ClientConfig> {
        if extra.is_empty() {
            return Arc::clone(self.plain.get_or_init(|| Arc::new(client_config(&[]))));
        }
        let mut known = self.extra.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(roots, _)| roots.strong_count() > 0);
        if let Some((_, config)) = known.iter().find(|(roots, _)| std::ptr::eq(roots.as_ptr(), Arc::as_ptr(extra))) {
            return Arc::clone(config);
        }
        let config = Arc::new(client_config(extra));
        known.push((Arc::downgrade(extra), Arc::clone(&config)));
        config
    }
}

/// HTTP/1.1 only: no ALPN is offered, for HTTP/2 is not spoken here.
fn client_config(extra: &[CertificateDer<'static>]) -> ClientConfig {
    let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    // the configuration has checked that each is a certificate; one that is no anchor verifies nothing
    roots.add_parsable_certificates(extra.iter().cloned());
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider speaks TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    // a resumed handshake costs a third of a full one
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    config
}

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
    settings: RequestSettings,
    dialer: Dialer,
    /// The first hop's request; its fault, if the URL cannot be requested at all, is told at each attempt.
    first: Result<Request, Failure>,
    /// Headers while at the configured URL's origin…
    at_home: Vec<(HeaderName, HeaderValue)>,
    /// …and those for everybody.
    abroad: Vec<(HeaderName, HeaderValue)>,
    /// With `keep_alive`: the last connection and the origin it leads to.
    idle: RefCell<Option<(url::Origin, Handle)>>,
}

impl Fetcher {
    /// Makes ready what every attempt needs. `tls` is [`Tls::with_roots`] of the settings' roots.
    pub fn new(mut url: Url, settings: RequestSettings, tls: Arc<ClientConfig>) -> Self {
        let dialer = Dialer {
            tls,
            proxy: settings.proxy.as_ref().map(|proxy| proxy::Proxy::new(proxy.expose().clone())),
            connect_timeout: settings.connect_timeout,
            guarded: !settings.allow_private_addresses,
        };
        let (at_home, abroad) = request_headers(&url, &settings);
        // the credentials are in the headers now, and nothing else should have them
        let _ = url.set_username("");
        let _ = url.set_password(None);
        let first =
            Request::new(Method::GET, &url).map_err(|fault| Failure { retry: false, ..fault.failure(&peer(&url)) });
        Self { url, settings, dialer, first, at_home, abroad, idle: RefCell::new(None) }
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
        let conditional = conditional(validators);
        let mut path = Path::new(self.url.clone(), self.settings.max_redirects);
        loop {
            let url = path.current();
            let told = |fault: Fault| fault.failure(&peer(url));
            let next;
            let request = match &self.first {
                Ok(first) if path.hops() == 0 => first,
                Err(failure) if path.hops() == 0 => return Err(failure.clone()),
                _ => {
                    next = Request::new(Method::GET, url).map_err(told)?;
                    &next
                }
            };
            let headers = if path.at_home() { &self.at_home } else { &self.abroad };
            let (handle, head) = self.ask(url, request, || headers.iter().chain(&conditional)).await.map_err(told)?;
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
                    if self.settings.keep_alive && handle.body(DRAINED).await.is_ok() {
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

type Headers = Vec<(HeaderName, HeaderValue)>;

/// What is sent to the configured origin, and what to any other.
fn request_headers(url: &Url, settings: &RequestSettings) -> (Headers, Headers) {
    let mut abroad = vec![
        (header::ACCEPT, HeaderValue::from_static(ACCEPT)),
        (header::ACCEPT_ENCODING, HeaderValue::from_static("gzip")),
    ];
    abroad.extend(HeaderValue::from_str(&settings.user_agent).ok().map(|agent| (header::USER_AGENT, agent)));
    // these would contradict what the client itself writes of the connection and the body
    let managed = [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
    let configured: Headers = settings
        .headers
        .iter()
        .filter_map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            Some((name, HeaderValue::from_str(value.expose()).ok()?))
        })
        .filter(|(name, _)| !managed.contains(name))
        .collect();
    let overridden = |name: &HeaderName| configured.iter().any(|(other, _)| other == name);
    let mut at_home: Headers = abroad.iter().filter(|(name, _)| !overridden(name)).cloned().collect();
    let credentials = match &settings.basic_auth {
        Some(auth) => Some((auth.user.clone(), auth.password.expose().clone())),
        None if url.username().is_empty() && url.password().is_none() => None,
        None => Some((percent_decoded(url.username()), percent_decoded(url.password().unwrap_or_default()))),
    };
    if let Some((user, password)) = credentials.filter(|_| !overridden(&header::AUTHORIZATION)) {
        let token = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
        at_home.extend(HeaderValue::from_str(&token).ok().map(|value| (header::AUTHORIZATION, value)));
    }
    at_home.extend(configured);
    (at_home, abroad)
}

fn conditional(validators: Validators<'_>) -> Headers {
    let value = |text: Option<&str>| text.and_then(|text| HeaderValue::from_bytes(text.as_bytes()).ok());
    let etag = value(validators.etag).map(|etag| (header::IF_NONE_MATCH, etag));
    let modified = value(validators.last_modified).map(|date| (header::IF_MODIFIED_SINCE, date));
    etag.into_iter().chain(modified).collect()
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

/// Userinfo as it was meant: `%XX` is one byte.
fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match hex.filter(|_| bytes[at] == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
