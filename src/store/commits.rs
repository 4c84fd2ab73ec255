//! The commit counter outside the database: how a loss inside it is noticed.
//!
//! sled opens a damaged file without an error and with part of its records missing. So each commit counts
//! one up in the database, and after it is on disk, here too. A database that is behind this file has lost
//! something. The file has two slots of fixed size that are written in turn and in place: a torn write
//! leaves the other slot, and a full disk does not keep it from being written.
//!
//! It is written at each commit and synced every few seconds, always after the database. So it is never ahead of it:
//! a power cut may leave it some seconds behind, which only means that a loss of just these seconds would not be
//! noticed. While the process lives, and after it was killed, it names every commit that was answered.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use xxhash_rust::xxh3::xxh3_64;

const SLOT: usize = 64;
const MAGIC: &[u8; 8] = b"kwrbncm1";

/// What was last known to be on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Committed {
    /// Commits since the database was begun.
    pub(super) commit: u64,
    /// Items remembered.
    pub(super) seen: u64,
    /// Items waiting.
    pub(super) outbox: u64,
    /// Items refused for good.
    pub(super) dead_letters: u64,
}

/// The file.
#[derive(Debug)]
pub(super) struct Commits {
    file: File,
    /// Something was written that may not be on disk.
    unsynced: bool,
}

impl Commits {
    /// Opens or makes it, and says what it holds; nothing if it is new or unreadable.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Option<Committed>)> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let commits = Self { file, unsynced: false };
        let slots = [commits.slot(0), commits.slot(1)];
        let newest = slots.into_iter().flatten().max_by_key(|committed| committed.commit);
        Ok((commits, newest))
    }

    /// To be called when the commit is on disk, never before.
    pub(super) fn write(&mut self, committed: Committed) -> io::Result<()> {
        let mut slot = [0; SLOT];
        let numbers = [committed.commit, committed.seen, committed.outbox, committed.dead_letters];
        slot[..8].copy_from_slice(MAGIC);
        for (into, number) in slot[8..].chunks_exact_mut(8).zip(numbers) {
            into.copy_from_slice(&number.to_le_bytes());
        }
        let sum = xxh3_64(&slot[..SLOT - 8]);
        slot[SLOT - 8..].copy_from_slice(&sum.to_le_bytes());
        self.unsynced = true;
        self.file.write_all_at(&slot, committed.commit % 2 * SLOT as u64)
    }

    /// Returns when what was written is on disk.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.unsynced) { self.file.sync_data() } else { Ok(()) }
    }

    fn slot(&self, number: u64) -> Option<Committed> {
        let mut slot = [0; SLOT];
        self.file.read_exact_at(&mut slot, number * SLOT as u64).ok()?;
        let number = |at: usize| slot.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
        let intact = slot.starts_with(MAGIC) && number(SLOT - 8) == Some(xxh3_64(&slot[..SLOT - 8]));
        intact.then_some(())?;
        Some(Committed { commit: number(8)?, seen: number(16)?, outbox: number(24)?, dead_letters: number(32)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_intact_slot_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("commits");
        let (mut commits, before) = Commits::open(&path).unwrap();
        assert_eq!(before, None);
        for commit in 1..=5 {
            commits.write(Committed { commit, outbox: 10 * commit, ..Committed::default() }).unwrap();
        }
        let newest = Commits::open(&path).unwrap().1.unwrap();
        assert_eq!((newest.commit, newest.outbox), (5, 50));
        // a torn write of the sixth
        commits.file.write_all_at(b"torn", 20).unwrap();
        assert_eq!(Commits::open(&path).unwrap().1.unwrap().commit, 5);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 128);
    }
}
