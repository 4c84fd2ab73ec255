//! The HTTP routes, on a thread of their own: what monitors probe.
//!
//! Every request passes [`guard`] first. Nothing here knows how things stand; the actors are asked, and
//! one that does not reply is itself an answer. Strangers may do what they want: connections are bounded
//! (`connections`), heads are read within 16 kB and 5 s (`head`), and who does not read an answer is hung up
//! on ([`serve`]). What is expensive to answer is made once for all who ask (`latest`).

mod connections;
pub mod guard;
mod head;
mod health;
mod latest;
mod listen;
mod serve;
mod wire;

use std::{io, sync::Arc, time::Duration};

use actix::{Addr, Recipient};
use actix_http::HttpService;
use actix_service::map_config;
use actix_web::{
    App, HttpResponse, HttpResponseBuilder,
    body::SizedStream,
    dev::{AppConfig, Server, ServerHandle},
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
};
use connections::Connections;
use guard::Guard;
use latest::{Latest, Report, Reports};
pub use listen::Listeners;
use listen::Socket;
use serve::HEAD_WITHIN;

/// Who does not reply within this time is taken for dead.
const REPLY: Duration = Duration::from_secs(5);
/// Connections at a time, and the part of all file descriptors that they may take.
const MAX_CONNECTIONS: u64 = 512;
const SHARE_OF_DESCRIPTORS: u64 = 4;
/// Of an answer, so much is held for each client.
const WRITE_BUFFER: usize = 16 * 1024;
/// Whoever was answered must have hung up within this time.
const HANG_UP_WITHIN: Duration = Duration::from_secs(1);

/// Who is asked.
#[derive(Clone)]
pub struct Handles {
    reports: Arc<Reports>,
    source: Recipient<GetSourceHealth>,
    live: Recipient<GetLiveness>,
    ready: Recipient<GetReadiness>,
    last_live: Arc<Latest<Result<(), String>>>,
    last_ready: Arc<Latest<Result<(), String>>>,
}

impl Handles {
    /// Health, and the Supervisor.
    pub fn new<H, S>(health: &Addr<H>, supervisor: &Addr<S>) -> Self
    where
        H: actix::Actor<Context = actix::Context<H>> + actix::Handler<GetSnapshot> + actix::Handler<GetSourceHealth>,
        S: actix::Actor<Context = actix::Context<S>> + actix::Handler<GetLiveness> + actix::Handler<GetReadiness>,
    {
        Self {
            reports: Arc::new(Reports::new(health.clone().recipient())),
            source: health.clone().recipient(),
            live: supervisor.clone().recipient(),
            ready: supervisor.clone().recipient(),
            last_live: Arc::new(Latest::none()),
            last_ready: Arc::new(Latest::none()),
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
    let handles = web::Data::new(handles);
    let app = move || {
        let guard = guard.clone();
        App::new()
            .app_data(handles.clone())
            .app_data(web::QueryConfig::default().error_handler(|error, _| {
                InternalError::from_response(error, refuse(400, "the query cannot be read")).into()
            }))
            .wrap(from_fn(move |request, next| guard::check(guard.clone(), request, next)))
            .service(read_only("/health", health::whole))
            .service(read_only("/health/live", health::live))
            .service(read_only("/health/ready", health::ready))
            .service(read_only("/health/source/{name}", health::source))
            .default_service(web::to(async || refuse(404, "there is nothing here")))
    };
    let connections = Connections::new(most_connections());
    // the same for streams of both kinds
    macro_rules! conversation {
        () => {{
            let (app, connections) = (app.clone(), connections.clone());
            move || {
                let http = HttpService::build()
                    .client_request_timeout(HEAD_WITHIN)
                    .client_disconnect_timeout(HANG_UP_WITHIN)
                    .h1_write_buffer_size(WRITE_BUFFER)
                    // the deadline of a head is kept for a connection's first request only: a second could drip for ever
                    .keep_alive(KeepAlive::Disabled)
                    .h1(map_config(app(), |_| AppConfig::default()));
                serve::connections(http, connections.clone())
            }
        }};
    }
    let mut server = Server::build().workers(1).disable_signals().shutdown_timeout(1);
    for (address, socket) in listeners.sockets() {
        let failed = |error| ListenError { address: listen::show(address), error };
        server = match socket.map_err(failed)? {
            Socket::Tcp(socket) => server.listen("http", socket, conversation!()),
            Socket::Unix(socket) => server.listen_uds("http", socket, conversation!()),
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

/// A bound that leaves descriptors for everything else.
fn most_connections() -> usize {
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let share = descriptors.map_or(MAX_CONNECTIONS, |descriptors| descriptors / SHARE_OF_DESCRIPTORS);
    usize::try_from(share.clamp(8, MAX_CONNECTIONS)).unwrap_or(8)
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

/// One of a report that is written already.
fn json_report(status: u16, report: Arc<Report>) -> HttpResponse {
    let length = report.length as u64;
    answer(status).insert_header(ContentType::json()).body(SizedStream::new(length, report.chunks()))
}

/// An error as JSON.
fn refuse(status: u16, message: &str) -> HttpResponse {
    #[derive(Serialize)]
    struct Refused<'a> {
        error: &'a str,
    }
    json(status, &Refused { error: message })
}
