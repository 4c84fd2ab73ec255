//! `[fetch] memory`: bytes that bodies, reading and unstored items may take together.
//!
//! The budget is divided, so that small documents never wait for large ones, and so that whoever holds one part only
//! ever waits for a part further down the table: no circle of polls can wait for each other.
//!
//! | part | of 16 | holds | held |
//! | --- | --- | --- | --- |
//! | small | 5 | documents up to [`SMALL`], and what is read from them | until stored |
//! | large | 5 | bodies of larger documents | until read |
//! | reading | 4 | what is read from larger documents | until stored |
//! | visits | 2 | pages that items link to | until read |
//!
//! The tree of a page or of JSON is not part of it: only one exists at a time, and has bounds of its own.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use super::{Marks, Room};
use crate::model::Name;

/// A document up to this size is small.
pub const SMALL: usize = 256 * 1024;

/// The default of `[fetch] memory`.
pub const DEFAULT: u64 = 64 << 20;

/// The least `[fetch] memory`: every part has room for some documents.
pub const LEAST: u64 = 4 << 20;

/// The largest document, compressed and decompressed together, that `bytes` of memory have room for.
pub fn largest_document(bytes: u64) -> u64 {
    bytes / 16 * 5
}

/// Shared by all sources.
#[derive(Debug)]
pub struct Budget {
    pub(super) small: Part,
    pub(super) large: Part,
    pub(super) visits: Part,
    pub(super) reading: Part,
    pub(super) marks: Option<Marks>,
}

impl Budget {
    /// `[fetch] memory`; large documents are noted in `marks` while they are held.
    pub fn new(bytes: u64, marks: Option<Marks>) -> Arc<Self> {
        let part = |share: u64| Part::new(usize::try_from(bytes / 16 * share).unwrap_or(usize::MAX));
        Arc::new(Self { small: part(5), large: part(5), reading: part(4), visits: part(2), marks })
    }

    /// Room for one poll of a source: none yet.
    pub fn poll(self: &Arc<Self>, source: &Name) -> Room {
        Room::of_poll(self.clone(), source.clone())
    }

    /// Room for one page that an item links to: none yet.
    pub fn visit(self: &Arc<Self>) -> Room {
        Room::of_visit(self.clone())
    }
}

/// One part of the budget.
#[derive(Debug)]
pub(super) struct Part {
    permits: Arc<Semaphore>,
    pub(super) size: usize,
    waiting: AtomicUsize,
}

impl Part {
    fn new(size: usize) -> Self {
        let size = size.min(u32::MAX as usize).min(Semaphore::MAX_PERMITS);
        Self { permits: Arc::new(Semaphore::new(size)), size, waiting: AtomicUsize::new(0) }
    }

    /// So many bytes, if they are free and nobody waits for them.
    pub(super) fn try_take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        self.permits.clone().try_acquire_many_owned(self.capped(bytes)).ok()
    }

    /// Waits for so many bytes; for all of the part where that is more. First come, first served.
    pub(super) async fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, AcquireError> {
        let _waiting = Waiting::new(&self.waiting);
        self.permits.clone().acquire_many_owned(self.capped(bytes)).await
    }

    /// Whether somebody waits.
    pub(super) fn is_contended(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    fn capped(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.min(self.size)).unwrap_or(u32::MAX)
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
