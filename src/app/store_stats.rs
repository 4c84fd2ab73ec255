//! `store stats`: what the state directory holds.

use std::process::ExitCode;

use crate::{
    config::Config,
    store::{self, Store},
};

/// Prints the figures of the configured state directory. Exit status 1 if it cannot be opened, as while a
/// daemon uses it.
pub fn run(config: &Config, json: bool, log: slog::Logger) -> ExitCode {
    if !config.state_dir.exists() {
        anstream::eprintln!("error: there is no state directory {} yet", config.state_dir.display());
        return ExitCode::FAILURE;
    }
    let runtime = actix::System::new();
    let stats = runtime.block_on(async {
        let options = store::Options {
            sources: config.sources.iter().map(|source| source.name.clone()).collect(),
            ..store::Options::new(config.state_dir.clone(), log)
        };
        let store = Store::open(options).map_err(|error| error.to_string())?;
        let stats = store.stats().await.map_err(|error| error.to_string());
        store.close().await.map_err(|error| error.to_string())?;
        stats
    });
    let stats = match stats {
        Ok(stats) => stats,
        Err(error) => {
            anstream::eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    if json {
        anstream::println!("{}", serde_json::to_string(&stats).unwrap_or_default());
        return ExitCode::SUCCESS;
    }
    let row = |name: &str, value: String| anstream::println!("{name:<22}{value}");
    row("state directory", config.state_dir.display().to_string());
    row("sources", stats.sources.to_string());
    row("items remembered", stats.items_seen.to_string());
    row("items waiting", stats.outbox.to_string());
    row("dead letters", stats.dead_letters.to_string());
    row("commits", stats.commits.to_string());
    if stats.reseeding > 0 {
        row("sources reseeding", stats.reseeding.to_string());
    }
    row("on disk", indicatif::HumanBytes(stats.bytes).to_string());
    for name in &stats.set_aside {
        row("set aside as damaged", name.clone());
    }
    ExitCode::SUCCESS
}
