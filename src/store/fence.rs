//! Keeps out what an earlier life has on its way to the store.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Open until it is closed, for good and in every clone.
#[derive(Debug, Clone, Default)]
pub struct Fence(Arc<AtomicBool>);

impl Fence {
    /// What has not been stored yet is not stored any more.
    pub fn close(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
