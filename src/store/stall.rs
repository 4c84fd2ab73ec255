//! Notices a store thread that does not come back from the disk, or from sled.
//!
//! A slow disk is no reason to end the process: the store is `failing` while it hangs, and works again afterwards.
//! Only a call into sled that never returns is, because sled 0.34 can wait for itself and nothing outside frees
//! it. Time is counted in ticks of a thread of our own, so that a process that was stopped or a machine that
//! slept counts as no time at all.

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::sync::watch;

const TICK: Duration = Duration::from_millis(500);
/// A call into sled is helped after this many ticks, and again after as many.
const POKE_EVERY: u32 = 2;
/// Opening reads the whole database, so it may take so many times longer than any other call.
const OPENING: u32 = 10;

/// What the store thread is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It waits for commands.
    Idle,
    /// It is inside sled.
    Database,
    /// It waits for the disk in a call of our own.
    Sync,
    /// It reads and opens the database.
    Opening,
}

impl Phase {
    const ALL: [Self; 4] = [Self::Idle, Self::Database, Self::Sync, Self::Opening];

    fn of(progress: u64) -> Self {
        Self::ALL[(progress % 4) as usize]
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Idle => "it is idle",
            Self::Database => "the database does not return from a call, the disk may be slow",
            Self::Sync => "the disk does not finish a write",
            Self::Opening => "it takes long to open",
        }
    }
}

/// How the store thread is, as seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    /// It returns in time.
    Well,
    /// It has not returned for a while from this.
    Stalled(Phase),
    /// It will not return any more.
    Hung,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Well => "it works",
            Self::Stalled(phase) => phase.reason(),
            Self::Hung => "the database hangs for good",
        })
    }
}

/// When a call counts as slow, and when as lost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    stalled: u32,
    hung: u32,
}

impl Limits {
    pub(super) fn new(stalled: Duration, hung: Duration) -> Self {
        let ticks = |time: Duration| u32::try_from(time.as_millis() / TICK.as_millis()).unwrap_or(u32::MAX).max(1);
        Self { stalled: ticks(stalled), hung: ticks(hung) }
    }
}

/// What a tick calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    condition: Condition,
    poke: bool,
}

/// Counts ticks in which the store thread did not move. Pure.
#[derive(Debug)]
struct Observer {
    limits: Limits,
    last: u64,
    ticks: u32,
}

impl Observer {
    fn new(limits: Limits) -> Self {
        Self { limits, last: 0, ticks: 0 }
    }

    fn tick(&mut self, progress: u64) -> Seen {
        self.ticks = if progress == self.last { self.ticks.saturating_add(1) } else { 0 };
        self.last = progress;
        let phase = Phase::of(progress);
        let limit = match phase {
            Phase::Idle | Phase::Sync => u32::MAX,
            Phase::Database => self.limits.hung,
            Phase::Opening => self.limits.hung.saturating_mul(OPENING),
        };
        let condition = if phase == Phase::Idle {
            Condition::Well
        } else if self.ticks >= limit {
            Condition::Hung
        } else if self.ticks >= self.limits.stalled {
            Condition::Stalled(phase)
        } else {
            Condition::Well
        };
        let inside = matches!(phase, Phase::Database | Phase::Opening);
        Seen { condition, poke: inside && self.ticks > 0 && self.ticks.is_multiple_of(POKE_EVERY) }
    }
}

/// What the store thread tells of itself while it works.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Counts up with each step; the lowest two bits are the phase.
    step: AtomicU64,
    /// The thread has panicked.
    lost: AtomicBool,
    /// The open database, to be helped.
    database: Mutex<Option<sled::Db>>,
}

impl Progress {
    /// The thread begins something. Only that thread may call this.
    pub(super) fn enter(&self, phase: Phase) {
        let step = self.step.load(Ordering::Relaxed) / 4 + 1;
        self.step.store(step * 4 + phase as u64, Ordering::Release);
    }

    /// The thread has panicked, and nothing will come of it any more.
    pub(super) fn is_lost(self: Arc<Self>) {
        self.lost.store(true, Ordering::Release);
        // the thread that watches must go on seeing it
        std::mem::forget(self);
    }

    /// The database that is open now.
    pub(super) fn uses(&self, database: Option<sled::Db>) {
        // the old one is dropped outside the lock, since that may write
        let before = std::mem::replace(&mut *self.database.lock().unwrap_or_else(PoisonError::into_inner), database);
        drop(before);
    }
}

/// Starts the thread that watches. It ends when the store's thread is gone.
pub(super) fn start(progress: &Arc<Progress>, limits: Limits) -> io::Result<watch::Receiver<Condition>> {
    let (tell, told) = watch::channel(Condition::Well);
    let progress = Arc::downgrade(progress);
    thread::Builder::new().name("store-watch".into()).spawn(move || observe(&progress, limits, &tell))?;
    Ok(told)
}

fn observe(progress: &Weak<Progress>, limits: Limits, tell: &watch::Sender<Condition>) {
    let mut observer = Observer::new(limits);
    let poking = Arc::new(AtomicBool::new(false));
    loop {
        thread::sleep(TICK);
        let Some(progress) = progress.upgrade() else { return };
        let Seen { mut condition, poke } = observer.tick(progress.step.load(Ordering::Acquire));
        let lost = progress.lost.load(Ordering::Acquire);
        if lost {
            condition = Condition::Hung;
        }
        if poke {
            self::poke(&progress, &poking);
        }
        tell.send_if_modified(|known| {
            let changed = *known != condition && *known != Condition::Hung;
            if changed {
                *known = condition;
            }
            changed
        });
    }
}

/// sled wakes nobody when a write fails at certain moments. Another flush sees the error and wakes those who wait.
fn poke(progress: &Progress, poking: &Arc<AtomicBool>) {
    let Ok(database) = progress.database.try_lock() else { return };
    let Some(database) = database.clone() else { return };
    if poking.swap(true, Ordering::AcqRel) {
        return;
    }
    let done = poking.clone();
    let flush = move || {
        // its own result does not matter, and neither does a panic over it
        let flush = std::panic::AssertUnwindSafe(|| drop(database.flush()));
        drop(std::panic::catch_unwind(flush));
        done.store(false, Ordering::Release);
    };
    if thread::Builder::new().name("store-poke".into()).spawn(flush).is_err() {
        poking.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(step: u64, phase: Phase) -> u64 {
        step * 4 + phase as u64
    }

    fn observer() -> Observer {
        Observer::new(Limits::new(Duration::from_secs(3), Duration::from_secs(60)))
    }

    /// Ticks until something other than `Well` is seen.
    fn conditions(phase: Phase, ticks: usize) -> Vec<Condition> {
        let mut observer = observer();
        (0..ticks).map(|_| observer.tick(at(1, phase)).condition).collect()
    }

    #[test]
    fn an_idle_thread_is_well_however_long() {
        assert!(conditions(Phase::Idle, 10_000).iter().all(|condition| *condition == Condition::Well));
    }

    #[test]
    fn a_sync_stalls_after_three_seconds_and_never_hangs() {
        let seen = conditions(Phase::Sync, 10_000);
        assert!(seen[..6].iter().all(|condition| *condition == Condition::Well));
        assert!(seen[6..].iter().all(|condition| matches!(condition, Condition::Stalled(_))));
    }

    #[test]
    fn a_call_into_the_database_hangs_after_a_minute_and_an_open_after_ten() {
        for (phase, limit) in [(Phase::Database, 120), (Phase::Opening, 1200)] {
            let seen = conditions(phase, limit + 2);
            assert!(matches!(seen[limit - 1], Condition::Stalled(_)), "{phase:?}");
            assert_eq!(seen[limit], Condition::Hung, "{phase:?}");
        }
    }

    #[test]
    fn a_thread_that_moves_is_well_and_is_not_poked() {
        let mut observer = observer();
        for step in 1..500 {
            let seen = observer.tick(at(step, Phase::Database));
            assert_eq!(seen, Seen { condition: Condition::Well, poke: false });
        }
    }

    #[test]
    fn only_a_call_into_the_database_is_poked_each_second() {
        let pokes = |phase| {
            let mut observer = observer();
            (0..9).filter(|_| observer.tick(at(1, phase)).poke).count()
        };
        assert_eq!((pokes(Phase::Database), pokes(Phase::Sync), pokes(Phase::Idle)), (4, 0, 0));
    }

    #[test]
    fn a_thread_that_comes_back_is_well() {
        let mut observer = observer();
        for _ in 0..20 {
            observer.tick(at(1, Phase::Sync));
        }
        assert_eq!(observer.tick(at(2, Phase::Idle)).condition, Condition::Well);
    }
}
