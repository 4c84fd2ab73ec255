//! `store stats`: what the state directory holds.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, lchown},
    path::Path,
};

use slog::Logger;

use crate::{
    config::Config,
    store::{self, StartError, Stats, Store},
};

/// Why the state directory cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum StatsError {
    /// A daemon uses it, and knows the figures.
    #[error("a running daemon uses the state directory {0}")]
    InUse(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// Opens the configured state directory and counts what it holds.
///
/// # Errors
/// There is none, a daemon uses it, or it cannot be read.
pub fn read(config: &Config, log: Logger) -> Result<Stats, StatsError> {
    if !config.state_dir.exists() {
        return Err(StatsError::Failed(format!("there is no state directory {} yet", config.state_dir.display())));
    }
    actix::System::new().block_on(async {
        let options = store::Options {
            sources: config.sources.iter().map(|source| source.name.clone()).collect(),
            renames: config.renames(),
            ..store::Options::new(config.state_dir.clone(), log)
        };
        let store = Store::open(options).map_err(|error| match error {
            StartError::Locked(dir) => StatsError::InUse(dir.display().to_string()),
            error => StatsError::Failed(error.to_string()),
        })?;
        let stats = store.stats().await;
        let closed = store.close().await;
        give_back(&config.state_dir).map_err(|error| StatsError::Failed(error.to_string()))?;
        let stats = stats.map_err(|error| StatsError::Failed(error.to_string()))?;
        closed.map_err(|error| StatsError::Failed(error.to_string()))?;
        Ok(stats)
    })
}

/// Opening the store may make files, which root would own: the daemon, a user of its own, could not write to them.
/// They get the owner that the directory has.
fn give_back(dir: &Path) -> io::Result<()> {
    let owner = dir.metadata()?;
    if !rustix::process::geteuid().is_root() || owner.uid() == 0 {
        return Ok(());
    }
    give(dir, owner.uid(), owner.gid())
}

fn give(dir: &Path, uid: u32, gid: u32) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.uid() != uid {
            lchown(entry.path(), Some(uid), Some(gid))?;
        }
        if metadata.is_dir() {
            give(&entry.path(), uid, gid)?;
        }
    }
    Ok(())
}
