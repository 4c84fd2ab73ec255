//! `store stats`: the figures of the state directory, read from it or asked of the daemon that uses it.

use std::process::ExitCode;

use serde::Serialize;

use super::{Global, settings, status};
use crate::{
    app::{
        store_stats::{StatsError, read},
        telemetry,
    },
    config::{diagnostic::Diagnostics, load::Needed},
    health::report::HealthReport,
    store::Stats,
};

/// `store stats --json`: what only a directory at rest can tell is null while a daemon uses it.
#[derive(Debug, Serialize)]
struct Figures {
    sources: u64,
    items_seen: u64,
    outbox: u64,
    dead_letters: u64,
    commits: Option<u64>,
    reseeding: Option<u64>,
    bytes: Option<u64>,
    set_aside: Option<Vec<String>>,
}

/// Exit status 1 if there are no figures.
pub(super) fn run(global: &Global, json: bool) -> Result<ExitCode, Diagnostics> {
    let config = settings::load_beside_unit(global, Needed::None)?;
    // what opening the store has to say goes to the log
    let (log, _flush) = telemetry::init(config.log);
    let figures = match read(&config, log) {
        Ok(stats) => Ok(Figures::from(stats)),
        Err(StatsError::InUse(_)) => status::report_of(&config).map(|report| Figures::from(&report)),
        Err(error) => Err(error.to_string()),
    };
    match figures {
        Ok(figures) if json => {
            // serializing our own plain struct cannot fail
            anstream::println!("{}", serde_json::to_string(&figures).unwrap_or_default());
            Ok(ExitCode::SUCCESS)
        }
        Ok(figures) => {
            anstream::print!("{}", figures.rows(&config.state_dir.display().to_string()));
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            anstream::eprintln!("error: {error}");
            Ok(ExitCode::FAILURE)
        }
    }
}

impl From<Stats> for Figures {
    fn from(stats: Stats) -> Self {
        Self {
            sources: stats.sources,
            items_seen: stats.items_seen,
            outbox: stats.outbox,
            dead_letters: stats.dead_letters,
            commits: Some(stats.commits),
            reseeding: Some(stats.reseeding),
            bytes: Some(stats.bytes),
            set_aside: Some(stats.set_aside),
        }
    }
}

impl From<&HealthReport> for Figures {
    fn from(report: &HealthReport) -> Self {
        Self {
            sources: report.sources.len() as u64,
            items_seen: report.store.items_seen,
            outbox: report.store.outbox,
            dead_letters: report.store.dead_letters,
            commits: None,
            reseeding: None,
            bytes: None,
            set_aside: None,
        }
    }
}

impl Figures {
    fn rows(&self, directory: &str) -> String {
        let mut rows = vec![
            ("state directory", directory.to_owned()),
            ("sources", self.sources.to_string()),
            ("items remembered", self.items_seen.to_string()),
            ("items waiting", self.outbox.to_string()),
            ("dead letters", self.dead_letters.to_string()),
        ];
        rows.extend(self.commits.map(|commits| ("commits", commits.to_string())));
        rows.extend(self.reseeding.filter(|count| *count > 0).map(|count| ("sources reseeding", count.to_string())));
        rows.extend(self.bytes.map(|bytes| ("on disk", indicatif::HumanBytes(bytes).to_string())));
        rows.extend(self.set_aside.iter().flatten().map(|name| ("set aside as damaged", name.clone())));
        let mut text: String = rows.iter().map(|(name, value)| format!("{name:<22}{value}\n")).collect();
        if self.commits.is_none() {
            text += "a running daemon uses the directory: these are its figures, stop it for the rest\n";
        }
        text
    }
}
