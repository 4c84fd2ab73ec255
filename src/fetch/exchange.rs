//! One request and the head of its answer, over an open connection.
//!
//! The HTTP client (awc) gets a connector that hands out this one connection and dials nothing. It lives
//! for one exchange: that costs half a microsecond, and leaves no pool, no idle socket and no timer behind.

use std::{cell::RefCell, rc::Rc};

use actix_service::Service;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use awc::{
    Client, ClientRequest, Connector,
    error::SendRequestError,
    http::{
        Method, Uri,
        header::{self, HeaderName, HeaderValue},
    },
};
use bytes::Bytes;
use futures_util::future::{Ready, ready};
use url::Url;

use super::{classify::Fault, wire::Handle};

/// What is asked of one server, made ready once for many attempts.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    uri: Uri,
    host: HeaderValue,
}

impl Request {
    /// Neither userinfo nor fragment of the URL is ever sent.
    pub(super) fn new(method: Method, url: &Url) -> Result<Self, Fault> {
        // the client takes path and query from this; where it goes is not its business
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let uri = format!("http://host{}{query}", url.path()).parse();
        let uri = uri.map_err(|error| Fault::NotHttp(format!("the URL cannot be requested: {error}")))?;
        let host = match (url.host_str().unwrap_or_default(), url.port()) {
            (host, Some(port)) => format!("{host}:{port}"),
            (host, None) => host.to_owned(),
        };
        let host = HeaderValue::from_str(&host)
            .map_err(|_| Fault::NotHttp("the URL's host cannot be sent as a header".into()))?;
        Ok(Self { method, uri, host })
    }
}

/// The head of an answer. Its own payload is never read: the body waits on the connection.
pub(super) type Head = awc::ClientResponse;

/// Sends the request and reads the head of its answer. `Host` is sent unless `headers` hold one.
pub(super) async fn exchange<'a>(
    handle: &Handle,
    request: &Request,
    headers: impl Iterator<Item = &'a (HeaderName, HeaderValue)>,
    body: Option<Bytes>,
    keep_alive: bool,
) -> Result<Head, Fault> {
    handle.begin(request.method == Method::HEAD);
    let connector = Once(Rc::new(RefCell::new(Some(handle.clone()))));
    let client = Client::builder()
        .no_default_headers()
        .disable_timeout()
        .disable_redirects()
        .connector(Connector::new().connector(connector).limit(1))
        .finish();
    let mut outgoing: ClientRequest = client.request(request.method.clone(), request.uri.clone());
    let map = outgoing.headers_mut();
    map.insert(header::HOST, request.host.clone());
    for (name, value) in headers {
        if *name == header::HOST {
            map.insert(name.clone(), value.clone());
        } else {
            map.append(name.clone(), value.clone());
        }
    }
    if !keep_alive {
        outgoing = outgoing.force_close();
    }
    let sending = match body {
        Some(body) => outgoing.send_body(body),
        // not send(), which announces a body of no bytes
        None => outgoing.send_body(awc::body::None::new()),
    };
    sending.await.map_err(|error| handle.take_fault().unwrap_or_else(|| fault(&error)))
}

/// What the client itself objects to. Whatever the connection did is known to the wire.
fn fault(error: &SendRequestError) -> Fault {
    Fault::NotHttp(match error {
        SendRequestError::Response(error) => format!("bad answer: {error}"),
        error => format!("the request could not be sent: {error}"),
    })
}

/// A connector for one connection.
#[derive(Clone)]
struct Once(Rc<RefCell<Option<Handle>>>);

impl Service<ConnectInfo<Uri>> for Once {
    type Response = Connection<Uri, Handle>;
    type Error = ConnectError;
    type Future = Ready<Result<Self::Response, ConnectError>>;

    actix_service::always_ready!();

    fn call(&self, info: ConnectInfo<Uri>) -> Self::Future {
        let handle = self.0.borrow_mut().take();
        // not InvalidInput, on which the client panics
        ready(handle.map(|handle| Connection::new(info.request().clone(), handle)).ok_or(ConnectError::Unresolved))
    }
}
