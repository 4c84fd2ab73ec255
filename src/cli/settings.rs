//! From the command line to a configuration, and to the daemon.

use std::{io, path::Path, process::ExitCode, sync::Arc};

use slog::warn;

use super::Global;
use crate::{
    app::{self, signals::Taken},
    config::{
        Config, Source,
        diagnostic::Diagnostics,
        load::{self, LoadOptions, Loaded, Needed},
    },
};

/// What `StateDirectory=kawaraban` makes.
const OF_THE_UNIT: &str = "/var/lib/kawaraban";

/// Finds and reads the configuration; what the command line says of the log goes before it.
pub(super) fn load(global: &Global, secrets: Needed<'_>) -> Result<Loaded, Diagnostics> {
    let env = |name: &str| std::env::var_os(name);
    let path = load::find(global.config.as_deref(), &env)?;
    let mut loaded = load::load(&path, &LoadOptions { secrets, env: &env })?;
    let log = &mut loaded.config.log;
    log.level = global.log_level.map_or(log.level, Into::into);
    log.format = global.log_format.unwrap_or(log.format);
    Ok(loaded)
}

/// As [`load`], for commands that look at the state directory: where nothing names it and there is none in the
/// working directory, it is that of the systemd unit.
pub(super) fn load_beside_unit(global: &Global, secrets: Needed<'_>) -> Result<Config, Diagnostics> {
    let mut config = load(global, secrets)?.config;
    if !config.state_dir_given && !config.state_dir.exists() && Path::new(OF_THE_UNIT).exists() {
        config.state_dir = OF_THE_UNIT.into();
    }
    Ok(config)
}

/// The configuration, if there is one; the secrets in it are left alone.
pub(super) fn found(global: &Global) -> Result<Option<Loaded>, Diagnostics> {
    let env = |name: &str| std::env::var_os(name);
    match load::find(global.config.as_deref(), &env) {
        Ok(path) => load::load(&path, &LoadOptions { secrets: Needed::None, env: &env }).map(Some),
        Err(_) => Ok(None),
    }
}

/// A `[[source]]` as it would be read at the end of the configuration.
pub(super) fn draft(path: Option<&Path>, table: &str) -> Result<Arc<Source>, Diagnostics> {
    let env = |name: &str| std::env::var_os(name);
    load::draft(path, table, &LoadOptions { secrets: Needed::All, env: &env })
}

/// `run`: hands over to the daemon, with the means to read the configuration again.
pub(super) fn run(global: &Global, signals: io::Result<Taken>) -> Result<ExitCode, Diagnostics> {
    let asked = match signals.and_then(Taken::serve) {
        Ok(asked) => asked,
        Err(error) => {
            anstream::eprintln!("cannot receive signals: {error}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let loaded = load(global, Needed::All)?;
    let (log, _flush) = app::telemetry::init(loaded.config.log);
    for warning in &loaded.warnings {
        warn!(log, "{warning}");
    }
    let again = {
        let (global, log) = (global.clone(), log.clone());
        move || {
            let loaded = load(&global, Needed::All).map_err(|faults| faults.to_string())?;
            for warning in &loaded.warnings {
                warn!(log, "{warning}");
            }
            Ok(loaded.config)
        }
    };
    Ok(app::run(loaded.config, Arc::new(again), asked, log))
}
