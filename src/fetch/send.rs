//! One request to somebody the operator chose: a destination, or our own daemon.
//!
//! No redirect is followed and no address refused. Each request has a connection of its own: on a reused
//! one, a request that fails because the server has just closed it could not be told from one that was
//! taken, and a delivery would have to be repeated.

use std::{path::PathBuf, sync::Arc, time::Duration};

use awc::http::{
    Method,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use bytes::Bytes;
use rustls::ClientConfig;
use tokio::net::UnixStream;
use url::Url;

use crate::{
    config::Listen,
    model::{ErrorKind, Failure},
};

use super::{
    classify::Fault,
    connect::{Asker, Dialer},
    exchange::{Request, exchange},
    peer,
    transport::Transport,
    wire::Handle,
};

/// A request.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// `POST`, `GET`, …
    pub method: Method,
    /// http or https. Never shown as a whole in any error.
    pub url: Url,
    /// Sent as they are, beside `Host` and `Content-Length`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body; none sends no `Content-Length` either.
    pub body: Option<Bytes>,
    /// From resolving to the answer's last byte.
    pub timeout: Duration,
    /// For resolving, and for connecting, each.
    pub connect_timeout: Duration,
    /// Bytes of the answer's body that are read; more is the error `too_large`.
    pub max_answer: u64,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Every header.
    pub headers: HeaderMap,
    /// The body, as it came.
    pub body: Bytes,
}

/// No whole answer came.
#[derive(Debug, thiserror::Error)]
#[error("{failure}")]
pub struct SendFailure {
    /// What happened.
    pub failure: Failure,
    /// What came before the answer broke off; its body is empty.
    pub begun: Option<Reply>,
}

/// Sends the request over a connection of its own.
///
/// # Errors
/// Whatever kept a whole answer from coming; a status is never an error here.
pub async fn send(request: Outgoing, tls: &Arc<ClientConfig>) -> Result<Reply, SendFailure> {
    let dialer = Dialer {
        tls: Arc::clone(tls),
        proxy: None,
        connect_timeout: request.connect_timeout,
        guarded: false,
        asker: Asker::Destination,
    };
    let dial = async { dialer.dial(&request.url).await };
    run(&request, dial).await
}

/// Asks our own daemon for `path` (with its query), at one of its addresses.
///
/// # Errors
/// As [`send`].
pub async fn get_local(listen: &Listen, path: &str, timeout: Duration) -> Result<Reply, Failure> {
    let (address, socket): (String, Option<PathBuf>) = match listen {
        Listen::Tcp(address) => (address.to_string(), None),
        Listen::Unix(path) => ("localhost".into(), Some(path.clone())),
    };
    let url = Url::parse(&format!("http://{address}"))
        .and_then(|base| base.join(path))
        .map_err(|error| Failure::fatal(ErrorKind::Protocol, format!("bad path: {error}")))?;
    let request = Outgoing {
        method: Method::GET,
        url,
        headers: Vec::new(),
        body: None,
        timeout,
        connect_timeout: timeout,
        max_answer: 64 << 20,
    };
    let dial = async {
        match &socket {
            Some(path) => Ok(Transport::Unix(UnixStream::connect(path).await.map_err(Fault::Connect)?)),
            None => {
                let address = match listen {
                    Listen::Tcp(address) => std::slice::from_ref(address),
                    Listen::Unix(_) => &[],
                };
                Ok(Transport::Plain(super::connect::connect_any(address, timeout).await?))
            }
        }
    };
    run(&request, dial).await.map_err(|failed| failed.failure)
}

async fn run(request: &Outgoing, dial: impl Future<Output = Result<Transport, Fault>>) -> Result<Reply, SendFailure> {
    let begun = std::cell::Cell::new(None);
    let whole = async {
        let prepared = Request::new(request.method.clone(), &request.url)?;
        let handle = Handle::new(dial.await?);
        let head = exchange(&handle, &prepared, request.headers.iter(), request.body.clone(), false).await?;
        let reply = |body| Reply { status: head.status().as_u16(), headers: head.headers().clone(), body };
        begun.set(Some(reply(Bytes::new())));
        let body = handle.body(request.max_answer).await?;
        Ok(reply(body.bytes))
    };
    let failure = match tokio::time::timeout(request.timeout, whole).await {
        Ok(Ok(reply)) => return Ok(reply),
        Ok(Err(fault)) => Fault::failure(&fault, &peer(&request.url)),
        Err(_) => super::too_late(request.timeout, &request.url),
    };
    Err(SendFailure { failure, begun: begun.take() })
}
