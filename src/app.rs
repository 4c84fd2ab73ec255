//! Who is wired to whom: builds the daemon, runs it, reloads it, and ends it in order.

pub mod ask;
pub mod check;
pub mod new;
pub mod notify;
pub mod preview;
pub mod send_test;
pub mod store_stats;
pub mod telemetry;

use std::{process::ExitCode, rc::Rc, sync::Arc, time::Duration};

use actix::{Actor, Addr, AsyncContext, Context};
use futures_util::FutureExt;
use slog::{Logger, crit, error, info, o, warn};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};

use crate::{
    actors::{
        health::{self, HealthActor},
        messages::Stop,
        supervisor::{self, Reload, Shutdown, Supervisor},
    },
    config::Config,
    fetch::Tls,
    poll::document,
    store::{self, Store},
    web,
};

/// Everything must have ended this long after SIGTERM, whatever hangs.
const END_WITHIN: Duration = Duration::from_millis(4500);

/// Reads the configuration again, for SIGHUP. `Err` holds the faults, ready to be shown.
pub type ReadConfig = Box<dyn Fn() -> Result<Config, String>>;

/// Runs the daemon until SIGTERM or SIGINT. Exit status 0 after a clean end, 1 if it could not start or panicked.
pub fn run(config: Config, read_config: ReadConfig, log: Logger) -> ExitCode {
    raise_open_files(&log);
    let options = store::Options {
        sources: config.sources.iter().map(|source| source.name.clone()).collect(),
        ..store::Options::new(config.state_dir.clone(), log.new(o!()))
    };
    let store = match Store::open(options) {
        Ok(store) => store,
        Err(error) => {
            crit!(log, "{error}"; "kind" => "store");
            return ExitCode::FAILURE;
        }
    };
    let serving = serve(Arc::new(config), read_config, store, log.clone());
    // a task among others: what is run itself is looked at whenever anything happens
    let ended = actix::System::new().block_on(async { actix::spawn(serving).await });
    match ended.unwrap_or_else(|panicked| Err(RunError::Panicked(panicked))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crit!(log, "{error}");
            ExitCode::FAILURE
        }
    }
}

/// A daemon that could not be started, or ended by itself.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("cannot listen on {address}: {error}")]
    Listen { address: String, error: std::io::Error },
    #[error("cannot receive signals: {0}")]
    Signals(std::io::Error),
    #[error("a fault of the program, please report it: {0}")]
    Panicked(tokio::task::JoinError),
}

async fn serve(config: Arc<Config>, read_config: ReadConfig, store: Store, log: Logger) -> Result<(), RunError> {
    let mut signals = Signals::new().map_err(RunError::Signals)?;

    // the two know each other: the Supervisor's address exists before the Supervisor does
    let supervisor = Context::<Supervisor>::new();
    let address = supervisor.address();
    let health = HealthActor::new(health::Seat {
        store: store.clone(),
        outage_began: address.clone().recipient(),
        outage_ended: address.clone().recipient(),
        log: log.new(o!()),
    })
    .start();
    let supervisor = supervisor.run(Supervisor::new(supervisor::Seat {
        config: config.clone(),
        store: store.clone(),
        tls: Rc::new(Tls::new()),
        health: supervisor::Health {
            polled: health.clone().recipient(),
            scheduled: health.clone().recipient(),
            configured: health.clone().recipient(),
            delivery: health.clone().recipient(),
        },
        read: document::read,
        seed: rand::random(),
        log: log.new(o!()),
    }));

    let handles = || web::Handles::new(&health, &supervisor);
    let mut server = listen(&config, handles(), &log)?;
    info!(log, "started"; "version" => env!("CARGO_PKG_VERSION"), "config" => config.path.display().to_string(),
        "state_dir" => config.state_dir.display().to_string(), "sources" => config.sources.len(), "destinations" => config.destinations.len());
    let notifier =
        notify::start(supervisor.clone().recipient(), supervisor.clone().recipient(), health.clone().recipient(), &log);

    let mut config = config;
    while let Heard::Reload = signals.next().await {
        match read_config() {
            Err(faults) => {
                error!(log, "the configuration is invalid and nothing was changed:\n{faults}");
            }
            Ok(new) => config = reload(&config, new, &supervisor, &mut server, handles(), &log).await,
        }
    }

    notifier.stopping();
    info!(log, "stopping");
    let end = async {
        if let Some(server) = &server {
            server.stop(false).await;
        }
        if supervisor.send(Shutdown).await.is_err() {
            error!(log, "the supervisor ended before it was asked to");
        }
        if health.send(Stop).await.is_err() {
            error!(log, "the health actor ended before it was asked to");
        }
        if let Err(error) = store.close().await {
            crit!(log, "the store could not be closed cleanly: {error}"; "kind" => "store");
        }
    };
    if timeout(END_WITHIN, end).await.is_err() {
        warn!(log, "ended without waiting any longer: what was accepted is safe, a message in flight may be repeated");
    }
    info!(log, "stopped");
    Ok(())
}

fn listen(
    config: &Config,
    handles: web::Handles,
    log: &Logger,
) -> Result<Option<actix_web::dev::ServerHandle>, RunError> {
    if config.http.listen.is_empty() {
        return Ok(None);
    }
    let (server, handle) = web::serve(config.http.clone(), handles, log.new(o!()))
        .map_err(|error| RunError::Listen { address: error.address, error: error.error })?;
    actix::spawn(server.map(drop));
    Ok(Some(handle))
}

/// Takes a new configuration over. What cannot change while running is told, and stays as it was.
async fn reload(
    old: &Arc<Config>,
    mut new: Config,
    supervisor: &Addr<Supervisor>,
    server: &mut Option<actix_web::dev::ServerHandle>,
    handles: web::Handles,
    log: &Logger,
) -> Arc<Config> {
    if new.state_dir != old.state_dir || new.log != old.log {
        warn!(log, "state_dir and [log] take effect at the next start only");
        new.state_dir.clone_from(&old.state_dir);
        new.log = old.log;
    }
    if new.http != old.http {
        if let Some(server) = server.take() {
            server.stop(true).await;
        }
        match listen(&new, handles, log) {
            Ok(started) => *server = started,
            Err(error) => error!(log, "{error}: the HTTP server is off until the next reload"),
        }
    }
    let new = Arc::new(new);
    if supervisor.send(Reload(new.clone())).await.is_err() {
        error!(log, "the supervisor does not take the new configuration");
    }
    new
}

enum Heard {
    Reload,
    End,
}

struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> Heard {
        tokio::select! {
            _ = self.hangup.recv() => Heard::Reload,
            _ = self.interrupt.recv() => Heard::End,
            _ = self.terminate.recv() => Heard::End,
        }
    }
}

/// Raises the soft limit of open files to the hard one: each attempt in flight is a socket.
fn raise_open_files(log: &Logger) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        warn!(log, "the limit of open files could not be raised: {error}");
    }
}
