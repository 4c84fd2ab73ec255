//! The HTTP server over reloads: what is listened on stays bound, and an address that cannot be had is tried
//! again while the old ones are served.

use std::time::Duration;

use futures_util::FutureExt;
use slog::{Logger, error, info, o};

use crate::{
    config,
    web::{self, ListenError, Listeners},
};

/// How often an address that could not be listened on is tried again.
pub(super) const TRY_AGAIN: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Http {
    handles: web::Handles,
    log: Logger,
    serving: config::Http,
    listeners: Listeners,
    server: Option<actix_web::dev::ServerHandle>,
    /// What could not be taken over yet, and why.
    wanted: Option<(config::Http, Option<ListenError>)>,
}

impl Http {
    /// Listens and serves.
    pub(super) fn start(config: &config::Http, handles: web::Handles, log: &Logger) -> Result<Self, ListenError> {
        let listeners = Listeners::bind(&config.listen, &Listeners::default())?;
        let mut http =
            Self { handles, log: log.new(o!()), serving: config.clone(), listeners, server: None, wanted: None };
        http.server = http.serve(config)?;
        Ok(http)
    }

    fn serve(&self, config: &config::Http) -> Result<Option<actix_web::dev::ServerHandle>, ListenError> {
        if config.listen.is_empty() {
            return Ok(None);
        }
        let (server, handle) = web::serve(config.clone(), &self.listeners, self.handles.clone(), self.log.clone())?;
        actix::spawn(server.map(drop));
        Ok(Some(handle))
    }

    /// Takes a configuration over, as [`Http::try_wanted`] does.
    pub(super) async fn configure(&mut self, config: &config::Http) {
        self.wanted = (self.serving != *config).then(|| (config.clone(), None));
        self.try_wanted().await;
    }

    /// Why the configuration is not taken over yet.
    pub(super) fn fault(&self) -> Option<&ListenError> {
        self.wanted.as_ref()?.1.as_ref()
    }

    /// Tries once more to take over what is wanted. Where that fails, the former addresses are served as before.
    pub(super) async fn try_wanted(&mut self) {
        let Some((wanted, before)) = self.wanted.take() else { return };
        match self.replace(&wanted).await {
            Ok(()) => {
                if before.is_some() {
                    info!(self.log, "the HTTP server serves as configured");
                }
                self.serving = wanted;
            }
            Err(error) => {
                if before.is_none() {
                    error!(
                        self.log,
                        "{error}: the HTTP server goes on as before, and this is tried again every {} s",
                        TRY_AGAIN.as_secs()
                    );
                }
                self.wanted = Some((wanted, Some(error)));
            }
        }
    }

    async fn replace(&mut self, config: &config::Http) -> Result<(), ListenError> {
        let former = self.server.take();
        let listeners = match Listeners::bind(&config.listen, &self.listeners) {
            Err(_) if self.listeners.share_a_port_with(&config.listen) => return self.swap(config, former).await,
            bound => bound.inspect_err(|_| self.server.clone_from(&former))?,
        };
        self.listeners = listeners;
        self.server = self.serve(config)?;
        stop(former).await;
        Ok(())
    }

    /// An address that leaves has a new one's port: it must be given up first.
    async fn swap(
        &mut self,
        config: &config::Http,
        former: Option<actix_web::dev::ServerHandle>,
    ) -> Result<(), ListenError> {
        stop(former).await;
        self.listeners.retain(&config.listen);
        match Listeners::bind(&config.listen, &self.listeners) {
            Ok(listeners) => {
                self.listeners = listeners;
                self.server = self.serve(config)?;
                Ok(())
            }
            Err(error) => {
                self.listeners = Listeners::bind(&self.serving.listen, &self.listeners)?;
                self.server = self.serve(&self.serving)?;
                Err(error)
            }
        }
    }

    /// Takes no more requests.
    pub(super) async fn stop(self) {
        if let Some(server) = self.server {
            server.stop(false).await;
        }
    }
}

async fn stop(server: Option<actix_web::dev::ServerHandle>) {
    if let Some(server) = server {
        server.stop(true).await;
    }
}
