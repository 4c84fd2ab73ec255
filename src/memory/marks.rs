//! Who may be to blame when the process dies.
//!
//! A panic in a reader is caught; a process that is killed for its memory, or that aborts, tells nobody why. So
//! the name of a source stands in a file while its large document is received, and while a document is read on
//! another thread; names that are found at the next start had a poll that ended with the process. Only these polls can
//! take much memory or time. A poll that waits for the network, or reads a small feed, is not marked, and costs nothing.
//!
//! A kill by the operator may meet an innocent large document as well. The breaker opens after several such polls in a row, which
//! is not chance any more.
//!
//! Where the file is found at start at all, the process before did not end in order. Then each source's first changed document
//! is marked, in case a small one is to blame.
//!
//! Nothing is flushed: the file need only outlive the process. It is written from threads that may block.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::Suspects;
use crate::model::Name;

/// The file in the state directory.
const FILE: &str = "reading";

/// Names that fit; of more than these, the last are not marked.
const SLOTS: usize = 64;

/// A name (64 bytes at most) and a line end, so that a person can read the file.
const SLOT: usize = 65;

/// The file. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Marks(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    file: File,
    taken: Mutex<[bool; SLOTS]>,
    after_crash: bool,
}

/// A name in the file, until it is dropped.
#[derive(Debug)]
pub struct Mark {
    /// None once it is cleared.
    marks: Option<Marks>,
    slot: usize,
}

impl Marks {
    /// Opens or makes the file. Gives the names that a dead process left, each still marked: a process that dies again
    /// before they are counted must not lose them.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(state_dir: &Path) -> io::Result<Suspects> {
        let path = state_dir.join(FILE);
        let after_crash = path.try_exists()?;
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        let mut slots = [[0; SLOT]; SLOTS];
        let mut found: [Option<Name>; SLOTS] = [const { None }; SLOTS];
        for (at, (slot, name)) in slots.iter_mut().zip(&mut found).enumerate() {
            // what cannot be read is no name
            if file.read_exact_at(slot, offset(at)).is_ok() {
                *name = std::str::from_utf8(slot).ok().and_then(|text| Name::new(text.trim()).ok());
            }
            // all of the file exists from now on, so that a full disk cannot refuse a mark
            file.write_all_at(&line(name.as_ref().map_or("", Name::as_str)), offset(at))?;
        }
        let taken = Mutex::new(std::array::from_fn(|slot| found[slot].is_some()));
        let marks = Self(Arc::new(Shared { path, file, taken, after_crash }));
        let left = found
            .into_iter()
            .enumerate()
            .filter_map(|(slot, name)| Some((name?, Mark { marks: Some(marks.clone()), slot })));
        let left = left.collect();
        Ok(Suspects { marks: Some(marks), crashed: left })
    }

    /// Marks a source; none where the file is full or cannot be written. Blocks.
    pub fn set(&self, source: &Name) -> Option<Mark> {
        let slot = {
            let mut taken = self.taken();
            let slot = taken.iter().position(|taken| !taken)?;
            taken[slot] = true;
            slot
        };
        let mark = Mark { marks: Some(self.clone()), slot };
        self.write(slot, source.as_str()).ok().map(|()| mark)
    }

    /// Whether the process before this one did not end in order.
    pub fn after_crash(&self) -> bool {
        self.0.after_crash
    }

    /// The process ends in order: nobody is to blame.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn close(&self) -> io::Result<()> {
        std::fs::remove_file(&self.0.path)
    }

    fn write(&self, slot: usize, name: &str) -> io::Result<()> {
        self.0.file.write_all_at(&line(name), offset(slot))
    }

    /// A slot that cannot be cleared is not used again: its name stays.
    fn clear(&self, slot: usize) {
        if self.write(slot, "").is_ok() {
            self.taken()[slot] = false;
        }
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, [bool; SLOTS]> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mark {
    /// Clears it at once. Blocks.
    pub fn clear(mut self) {
        if let Some(marks) = self.marks.take() {
            marks.clear(self.slot);
        }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        let (Some(marks), slot) = (self.marks.take(), self.slot) else { return };
        match tokio::runtime::Handle::try_current() {
            // this may be the arbiter's thread, which must not wait for a disk
            Ok(runtime) => drop(runtime.spawn_blocking(move || marks.clear(slot))),
            Err(_) => marks.clear(slot),
        }
    }
}

fn offset(slot: usize) -> u64 {
    (slot * SLOT) as u64
}

fn line(name: &str) -> [u8; SLOT] {
    let mut line = [b' '; SLOT];
    line[..name.len()].copy_from_slice(name.as_bytes());
    line[SLOT - 1] = b'\n';
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &Path) -> (Marks, Vec<(Name, Mark)>) {
        let suspects = Marks::open(dir).unwrap();
        (suspects.marks.unwrap(), suspects.crashed)
    }

    fn names(left: &[(Name, Mark)]) -> Vec<&str> {
        left.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn marks_outlive_a_process_and_not_their_guards() {
        let dir = tempfile::tempdir().unwrap();
        let (marks, left) = open(dir.path());
        assert!(left.is_empty() && !marks.after_crash());
        let source = |name: &str| Name::new(name).unwrap();
        let held = marks.set(&source("large")).unwrap();
        drop(marks.set(&source("done")).unwrap());
        let longest = "x".repeat(64);
        let other = marks.set(&source(&longest)).unwrap();
        // as if this process had died here
        let (again, left) = open(dir.path());
        assert!(again.after_crash());
        assert_eq!(names(&left), ["large", &longest]);
        drop(left);
        assert!(open(dir.path()).1.is_empty());
        drop((held, other));
        again.close().unwrap();
        assert!(!open(dir.path()).0.after_crash());
    }

    #[test]
    fn what_is_no_name_is_no_mark() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), [&[0xff; 100][..], b"\n../x\n"].concat()).unwrap();
        let (marks, left) = open(dir.path());
        assert!(left.is_empty() && marks.after_crash());
        let held: Vec<_> = (0..SLOTS + 3).filter_map(|_| marks.set(&Name::new("a").unwrap())).collect();
        assert_eq!(held.len(), SLOTS);
    }
}
