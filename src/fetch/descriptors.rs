//! The process's file descriptors, and how they are shared out.
//!
//! Every attempt, lookup and idle connection is a descriptor or several. Where the limit is low they must not
//! starve each other, nor the store, the HTTP server and the deliveries, which take theirs from what is reserved.

use std::{
    io,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::sync::{Semaphore, SemaphorePermit};

/// What the store, the runtime, the log and the HTTP server have open while little happens (measured: 19), and some
/// deliveries.
const RESERVED: usize = 32;
/// The reserve grows with the limit, as far as this.
const MAX_RESERVED: usize = 512;
/// Without a limit, as many as if it were this.
const UNLIMITED: usize = 1 << 20;

/// How many descriptors may be used for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shares {
    places: usize,
    lookups: usize,
    idle: usize,
}

/// Half of what is not reserved is for attempts, and a quarter each for lookups and idle connections.
fn shares(limit: usize) -> Shares {
    let free = limit.saturating_sub(RESERVED + (limit / 8).min(MAX_RESERVED));
    Shares { places: (free / 2).max(1), lookups: (free / 4).max(1), idle: free / 4 }
}

/// Raises the soft limit of open files to the hard one: each attempt in flight is a socket.
///
/// # Errors
/// When the system refuses; the limit is then what it was.
pub fn raise() -> io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}

/// The limit of open files, as it was when first asked for.
pub fn limit() -> usize {
    static LIMIT: OnceLock<usize> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        let limit = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
        limit.map_or(UNLIMITED, |limit| limit.min(UNLIMITED))
    })
}

/// Attempts that may be in flight at a time, whatever is configured.
pub fn places() -> usize {
    shares(limit()).places
}

/// Waits for descriptors for a lookup that takes up to `count`.
pub(super) async fn for_lookup(count: usize) -> Option<SemaphorePermit<'static>> {
    static LOOKUPS: OnceLock<(usize, Semaphore)> = OnceLock::new();
    let (all, semaphore) = LOOKUPS.get_or_init(|| {
        let all = shares(limit()).lookups;
        (all, Semaphore::new(all))
    });
    // one lookup is always possible, however little there is
    semaphore.acquire_many(u32::try_from(count.min(*all)).unwrap_or(u32::MAX)).await.ok()
}

/// Room for one idle connection, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Idle(());

static IDLE: AtomicUsize = AtomicUsize::new(0);

impl Idle {
    /// None where as many are kept as there is room for.
    pub(super) fn take() -> Option<Self> {
        let most = shares(limit()).idle;
        let taken = IDLE.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |kept| (kept < most).then(|| kept + 1));
        // not made where it was not taken: its end gives it back
        taken.is_ok().then(|| Self(()))
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        IDLE.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_idle_connections_are_kept_than_there_is_room_for() {
        let kept: Vec<_> = std::iter::from_fn(Idle::take).take(shares(limit()).idle + 1).collect();
        assert!(Idle::take().is_none() && Idle::take().is_none());
        drop(kept);
        assert!(Idle::take().is_some());
    }

    #[test]
    fn the_shares_leave_room_for_the_rest_of_the_process() {
        for limit in [64, 100, 256, 1024, 4096, 20_000, 65_536, UNLIMITED] {
            let Shares { places, lookups, idle } = shares(limit);
            assert!(places + lookups + idle + RESERVED <= limit, "{limit}");
            assert!(places >= 8, "{limit}: {places}");
        }
        // what is configured by default is possible with the limit that most systems have
        assert!(shares(4096).places >= 512);
        assert_eq!(shares(0), Shares { places: 1, lookups: 1, idle: 0 });
    }
}
