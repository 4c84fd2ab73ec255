//! The HTTP routes, on a thread of their own: what monitors probe.
//!
//! Every request passes [`guard`] first. Nothing here knows how things stand; the actors are asked, and
//! one that does not reply is itself an answer.

pub mod guard;
mod health;
mod listen;

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use actix::{Addr, Recipient};
use actix_web::{
    App, HttpResponse, HttpResponseBuilder, HttpServer,
    body::SizedStream,
    dev::{Server, ServerHandle},
    error::InternalError,
    guard as method,
    http::{
        KeepAlive, StatusCode,
        header::{self, ContentType},
    },
    middleware::from_fn,
    web,
};
use serde::Serialize;
use slog::{Logger, info, warn};

use crate::{
    actors::messages::{GetLiveness, GetReadiness, GetSnapshot, GetSourceHealth},
    config::Http,
    health::body::Body,
};
use guard::Guard;
pub use listen::Listeners;
use listen::Socket;

/// A request's head must have arrived within this time.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// Who does not reply within this time is taken for dead.
const REPLY: Duration = Duration::from_secs(5);

/// Who is asked.
#[derive(Clone)]
pub struct Handles {
    health: Recipient<GetSnapshot>,
    source: Recipient<GetSourceHealth>,
    live: Recipient<GetLiveness>,
    ready: Recipient<GetReadiness>,
}

impl Handles {
    /// Health, and the Supervisor.
    pub fn new<H, S>(health: &Addr<H>, supervisor: &Addr<S>) -> Self
    where
        H: actix::Actor<Context = actix::Context<H>> + actix::Handler<GetSnapshot> + actix::Handler<GetSourceHealth>,
        S: actix::Actor<Context = actix::Context<S>> + actix::Handler<GetLiveness> + actix::Handler<GetReadiness>,
    {
        Self {
            health: health.clone().recipient(),
            source: health.clone().recipient(),
            live: supervisor.clone().recipient(),
            ready: supervisor.clone().recipient(),
        }
    }
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}")]
pub struct ListenError {
    /// As configured.
    pub address: String,
    /// Why.
    pub error: io::Error,
}

/// Serves the listeners with one worker.
///
/// # Errors
/// The first address that cannot be served.
pub fn serve(
    http: Http,
    listeners: &Listeners,
    handles: Handles,
    log: Logger,
) -> Result<(Server, ServerHandle), ListenError> {
    let guard = Arc::new(Guard::new(&http));
    let server = HttpServer::new(move || {
        let guard = guard.clone();
        App::new()
            .app_data(web::Data::new(handles.clone()))
            .app_data(web::QueryConfig::default().error_handler(|error, _| {
                InternalError::from_response(error, refuse(400, "the query cannot be read")).into()
            }))
            .wrap(from_fn(move |request, next| guard::check(guard.clone(), request, next)))
            .service(read_only("/health", health::whole))
            .service(read_only("/health/live", health::live))
            .service(read_only("/health/ready", health::ready))
            .service(read_only("/health/source/{name}", health::source))
            .default_service(web::to(async || refuse(404, "there is nothing here")))
    });
    let mut server = server
        .workers(1)
        .disable_signals()
        .shutdown_timeout(1)
        .client_request_timeout(HEAD_WITHIN)
        // the deadline above is kept for a connection's first request only: a second one could drip for ever
        .keep_alive(KeepAlive::Disabled);
    for (address, socket) in listeners.sockets() {
        let failed = |error| ListenError { address: listen::show(address), error };
        server = match socket.map_err(failed)? {
            Socket::Tcp(socket) => server.listen(socket),
            Socket::Unix(socket) => server.listen_uds(socket),
        }
        .map_err(failed)?;
        info!(log, "listening"; "address" => listen::show(address));
        if listen::is_public(address) && http.admin_token.is_none() {
            warn!(log, "listening beyond loopback without an admin_token: whoever reaches this address reads the health report";
                "address" => listen::show(address));
        }
    }
    let server = server.run();
    let handle = server.handle();
    Ok((server, handle))
}

/// GET and HEAD; everything else is 405.
fn read_only<F, Args>(path: &str, handler: F) -> actix_web::Resource
where
    F: actix_web::Handler<Args>,
    Args: actix_web::FromRequest + 'static,
    F::Output: actix_web::Responder + 'static,
{
    let route = web::route().guard(method::Any(method::Get()).or(method::Head()));
    web::resource(path).route(route.to(handler)).default_service(web::to(async || {
        let mut answer = refuse(405, "only GET and HEAD");
        answer.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
        answer
    }))
}

/// An answer that no cache keeps.
fn answer(status: u16) -> HttpResponseBuilder {
    let mut answer = HttpResponse::build(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    answer.insert_header((header::CACHE_CONTROL, "no-store"));
    answer
}

/// One of JSON.
fn json(status: u16, body: &impl Serialize) -> HttpResponse {
    answer(status).json(body)
}

/// One of JSON that is written already.
fn json_pieces(status: u16, body: Body) -> HttpResponse {
    let length = body.len() as u64;
    let pieces = futures_util::stream::iter(body.into_pieces().map(Ok::<_, Infallible>));
    answer(status).insert_header(ContentType::json()).body(SizedStream::new(length, pieces))
}

/// An error as JSON.
fn refuse(status: u16, message: &str) -> HttpResponse {
    #[derive(Serialize)]
    struct Refused<'a> {
        error: &'a str,
    }
    json(status, &Refused { error: message })
}
