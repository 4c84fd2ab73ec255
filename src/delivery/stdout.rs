//! Lines to standard output, by one thread for the whole process.
//!
//! Whoever reads may stop reading, or the disk may be full; that must hold up nothing but the lines themselves. The
//! thread outlives the actors that hand it lines. It remembers which lines are out until they are settled, so that a
//! new life of an actor writes none of them again, and it finishes a line that was begun before it writes another.

mod pen;

use std::{
    collections::{HashMap, HashSet},
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
};

use tokio::sync::oneshot;
use xxhash_rust::xxh3::xxh3_128;

use crate::model::Name;
use pen::Pen;

/// How the writing of a batch ended.
#[derive(Debug)]
pub struct Written {
    /// So many of its first lines are out as a whole.
    pub lines: usize,
    /// Why not all of them.
    pub end: End,
}

/// Why the writing of a batch ended.
#[derive(Debug)]
pub enum End {
    /// All lines are out.
    Done,
    /// The writer of the batch took the rest back.
    Withdrawn,
    /// A closed pipe, a full disk.
    Failed(io::Error),
}

/// The writer of the process. Clones share its thread, which starts with the first batch.
#[derive(Clone, Default)]
pub struct Stdout {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// None: standard output.
    fd: Mutex<Option<OwnedFd>>,
    batches: Mutex<Option<mpsc::Sender<Batch>>>,
    out: Mutex<Out>,
}

/// Lines that are out and not settled, by destination and hash. A line holds its item's id and time, so that no two
/// items have the same.
type Out = HashMap<Name, HashSet<u128>>;

struct Batch {
    destination: Name,
    lines: Vec<String>,
    withdrawn: Arc<AtomicBool>,
    done: oneshot::Sender<Written>,
}

/// A batch that was handed over.
pub struct Writing {
    withdrawn: Arc<AtomicBool>,
    done: oneshot::Receiver<Written>,
}

impl Writing {
    /// Takes back what has not been begun, when it is called.
    pub fn withdraw(&self) -> impl Fn() + 'static {
        let withdrawn = self.withdrawn.clone();
        move || withdrawn.store(true, Ordering::Relaxed)
    }

    /// Waits until the batch ended.
    pub async fn done(self) -> Written {
        let gone = |_| Written { lines: 0, end: End::Failed(io::Error::other("the writing thread has ended")) };
        self.done.await.unwrap_or_else(gone)
    }
}

impl Stdout {
    /// Writes to a descriptor of its own.
    pub fn to(fd: OwnedFd) -> Self {
        let stdout = Self::default();
        *lock(&stdout.shared.fd) = Some(fd);
        stdout
    }

    /// Hands whole lines over, each with its line feed. They are written after those of earlier batches.
    pub fn write(&self, destination: &Name, lines: Vec<String>) -> Writing {
        let (done, result) = oneshot::channel();
        let withdrawn = Arc::<AtomicBool>::default();
        let batch = Batch { destination: destination.clone(), lines, withdrawn: withdrawn.clone(), done };
        if let Err((batch, error)) = self.hand_over(batch) {
            // whoever asked waits for it
            let _ = batch.done.send(Written { lines: 0, end: End::Failed(error) });
        }
        Writing { withdrawn, done: result }
    }

    /// These lines were acknowledged durably: nobody will ask to write them again.
    pub fn settled<'a>(&self, destination: &Name, lines: impl Iterator<Item = &'a str>) {
        let mut out = lock(&self.shared.out);
        if let Some(of) = out.get_mut(destination) {
            for line in lines {
                of.remove(&key(line.trim_end_matches('\n')));
            }
            if of.is_empty() {
                out.remove(destination);
            }
        }
    }

    fn hand_over(&self, batch: Batch) -> Result<(), (Batch, io::Error)> {
        let mut batches = lock(&self.shared.batches);
        let sender = match batches.take() {
            Some(sender) => sender,
            None => match self.start() {
                Ok(sender) => sender,
                Err(error) => return Err((batch, error)),
            },
        };
        sender.send(batch).map_err(|lost| (lost.0, io::Error::other("the writing thread has ended")))?;
        *batches = Some(sender);
        Ok(())
    }

    fn start(&self) -> io::Result<mpsc::Sender<Batch>> {
        let fd = match &*lock(&self.shared.fd) {
            Some(fd) => fd.try_clone()?,
            None => io::stdout().as_fd().try_clone_to_owned()?,
        };
        let (sender, batches) = mpsc::channel::<Batch>();
        // not the handle itself, whose end ends the thread
        let shared = Arc::downgrade(&self.shared);
        std::thread::Builder::new().name("stdout".into()).spawn(move || {
            let mut pen = Pen::new(fd);
            for batch in batches {
                let Some(shared) = shared.upgrade() else { return };
                let written = pen.write(&batch.destination, &batch.lines, &batch.withdrawn, &shared.out);
                // who asked may have gone; the lines are out all the same
                let _ = batch.done.send(written);
            }
        })?;
        Ok(sender)
    }
}

fn key(line: &str) -> u128 {
    xxh3_128(line.as_bytes())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
