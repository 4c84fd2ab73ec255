//! Who is wired to whom: builds the daemon, runs it, reloads it, and ends it in order.

pub mod ask;
pub mod check;
mod clean_output;
mod http;
pub mod new;
pub mod notify;
pub mod preview;
pub mod send_test;
pub mod signals;
pub mod store_stats;
pub mod table;
pub mod telemetry;

use std::{process::ExitCode, rc::Rc, sync::Arc, time::Duration};

use actix::{Actor, Addr, AsyncContext, Context};
use slog::{Logger, crit, error, info, o, warn};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use http::Http;
use signals::Asked;

use crate::{
    actors::{
        health::{self, HealthActor},
        messages::{DaemonReported, Stop},
        supervisor::{self, Reload, Shutdown, Supervisor},
    },
    config::Config,
    fetch::{Tls, descriptors},
    memory::{Marks, Suspects},
    poll::document,
    store::{self, Store},
    web,
};

/// Everything has ended this long after SIGTERM, or is left as it is.
const END_WITHIN: Duration = Duration::from_secs(4);

/// Threads for what would hold the actors up: bodies taken apart, files read.
const BLOCKING: usize = 16;

/// Reads the configuration again, for SIGHUP. `Err` holds the faults, ready to be shown.
pub type ReadConfig = Arc<dyn Fn() -> Result<Config, String> + Send + Sync>;

/// Runs the daemon until SIGTERM or SIGINT. Exit status 0 after a clean end, 1 if it could not start or panicked.
pub fn run(config: Config, read_config: ReadConfig, asked: watch::Receiver<Asked>, log: Logger) -> ExitCode {
    if asked.borrow().end {
        return ExitCode::SUCCESS;
    }
    if let Err(error) = descriptors::raise() {
        warn!(log, "the limit of open files could not be raised: {error}");
    }
    let options = store::Options {
        sources: config.sources.iter().map(|source| source.name.clone()).collect(),
        renames: config.renames(),
        ..store::Options::new(config.state_dir.clone(), log.new(o!()))
    };
    let store = match Store::open(options) {
        Ok(store) => store,
        Err(error) => {
            crit!(log, "{error}"; "kind" => "store");
            return ExitCode::FAILURE;
        }
    };
    let suspects = Marks::open(&config.state_dir).unwrap_or_else(|error| {
        warn!(log, "a document that ends the process will not be known: {error}");
        Suspects::default()
    });
    let marks = suspects.marks.clone();
    let serving = serve(Arc::new(config), read_config, store.clone(), suspects, asked, log.clone());
    // what blocks is work of milliseconds (bodies, pages); the default of 512 threads is beyond what a unit allows
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(BLOCKING).build();
    let system = match runtime {
        Ok(runtime) => actix::System::with_tokio_rt(|| runtime),
        Err(error) => {
            crit!(log, "cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = system.block_on(async {
        tokio::select! {
            // a task among others: the future given to `block_on` would be polled whenever anything happens
            ended = actix::spawn(serving) => ended.unwrap_or_else(|panicked| Err(RunError::Panicked(panicked))),
            // what was answered is on disk, and only a new process can open it again
            () = store.hung() => Err(RunError::StoreHung),
        }
    });
    // dropping the runtime would wait for its threads, and reading a page may take seconds in one
    std::mem::forget(system);
    match ended {
        Ok(()) => {
            if let Some(Err(error)) = marks.map(|marks| marks.close()) {
                warn!(log, "that the process ended in order could not be noted: {error}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            crit!(log, "{error}");
            ExitCode::FAILURE
        }
    }
}

/// A daemon that could not be started, or ended by itself.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Listen(#[from] web::ListenError),
    #[error("the store's database hangs for good: the process ends, to be started again")]
    StoreHung,
    #[error("a fault of the program, please report it: {0}")]
    Panicked(tokio::task::JoinError),
}

/// The running daemon.
struct Daemon {
    config: Arc<Config>,
    read_config: ReadConfig,
    store: Store,
    supervisor: Addr<Supervisor>,
    health: Addr<HealthActor>,
    http: Http,
    /// Why the last reload was refused, in short.
    refused: Option<String>,
    log: Logger,
}

async fn serve(
    config: Arc<Config>,
    read_config: ReadConfig,
    store: Store,
    suspects: Suspects,
    mut asked: watch::Receiver<Asked>,
    log: Logger,
) -> Result<(), RunError> {
    let mut daemon = Daemon::start(config, read_config, store, suspects, log)?;
    let (supervisor, health) = (&daemon.supervisor, &daemon.health);
    let notifier = notify::start(
        supervisor.clone().recipient(),
        supervisor.clone().recipient(),
        health.clone().recipient(),
        &daemon.log,
    );
    let mut reloads = 0;
    loop {
        let behind = daemon.http.fault().is_some();
        let news = tokio::select! {
            news = next(&mut asked, reloads) => news,
            () = sleep(http::TRY_AGAIN), if behind => {
                daemon.listen_again().await;
                continue;
            }
        };
        if news.end {
            break;
        }
        reloads = news.reloads;
        tokio::select! {
            () = daemon.reload() => {}
            () = end(asked.clone()) => break,
        }
    }
    notifier.stopping();
    daemon.stop().await;
    Ok(())
}

/// Waits until something new is asked.
async fn next(asked: &mut watch::Receiver<Asked>, reloads: u32) -> Asked {
    match asked.wait_for(|asked| asked.end || asked.reloads != reloads).await {
        Ok(news) => *news,
        // the thread that serves the signals is gone: nothing can be asked any more
        Err(_) => std::future::pending().await,
    }
}

async fn end(mut asked: watch::Receiver<Asked>) {
    if asked.wait_for(|asked| asked.end).await.is_err() {
        std::future::pending().await
    }
}

impl Daemon {
    fn start(
        config: Arc<Config>,
        read_config: ReadConfig,
        store: Store,
        suspects: Suspects,
        log: Logger,
    ) -> Result<Self, RunError> {
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
                limits: health.clone().recipient(),
            },
            read: document::read,
            suspects,
            seed: rand::random(),
            log: log.new(o!()),
        }));
        let http = Http::start(&config.http, web::Handles::new(&health, &supervisor), &log)?;
        info!(log, "started"; "version" => env!("CARGO_PKG_VERSION"), "config" => config.path.display().to_string(),
            "state_dir" => config.state_dir.display().to_string(), "sources" => config.sources.len(), "destinations" => config.destinations.len());
        Ok(Self { config, read_config, store, supervisor, health, http, refused: None, log })
    }

    /// Reads the configuration and takes it over. A faulty one changes nothing.
    async fn reload(&mut self) {
        let read_config = self.read_config.clone();
        let read = tokio::task::spawn_blocking(move || read_config()).await;
        match read.unwrap_or_else(|panicked| Err(format!("a fault of the program, please report it: {panicked}"))) {
            Ok(new) => {
                self.refused = None;
                self.take_over(new).await;
            }
            Err(faults) => {
                error!(self.log, "the configuration is invalid and nothing was changed:\n{faults}");
                self.refused = faults.lines().next().map(str::to_owned);
            }
        }
        self.report();
    }

    /// What cannot change while running is logged, and stays as it was.
    async fn take_over(&mut self, mut new: Config) {
        let old = &self.config;
        if new.state_dir != old.state_dir || new.log != old.log {
            warn!(self.log, "state_dir and [log] take effect at the next start only");
            new.state_dir.clone_from(&old.state_dir);
            new.log = old.log;
        }
        self.config = Arc::new(new);
        if self.supervisor.send(Reload(self.config.clone())).await.is_err() {
            error!(self.log, "the supervisor does not take the new configuration");
        }
        self.http.configure(&self.config.http).await;
    }

    async fn listen_again(&mut self) {
        self.http.try_wanted().await;
        self.report();
    }

    /// Shows in `/health` what is wrong with the daemon itself.
    fn report(&self) {
        let refused = self.refused.as_ref().map(|fault| format!("reload: refused, {fault}"));
        let listen = self.http.fault().map(|fault| format!("http: {fault}"));
        self.health.do_send(DaemonReported { faults: refused.into_iter().chain(listen).collect() });
    }

    /// Ends everything in order, as far as there is time.
    async fn stop(self) {
        let Self { store, supervisor, health, http, log, .. } = self;
        info!(log, "stopping");
        let end = async {
            http.stop().await;
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
            warn!(
                log,
                "ended without waiting any longer: what was accepted is safe, a message in flight may be repeated"
            );
        }
        info!(log, "stopped");
    }
}
