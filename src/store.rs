//! What is kept across restarts: seen items, outbox, dead letters, validators, breaker states, counters.
//!
//! [`Store`] is the only way in. A thread of its own owns the database (sled, in `engine`), takes
//! commands from a channel, and commits what is waiting in one go (group commit); an answer
//! means *durable*. Callers never block: every call is a future. A disk that is slow makes the store `failing`; a
//! database that hangs for good is reported by [`Store::hung`], and the app decides.

mod commits;
mod database;
mod directory;
mod disk;
mod ended;
mod engine;
mod fate;
mod fault;
mod fence;
mod group_commit;
mod ingest;
mod journal;
pub mod known_sources;
mod meta;
mod opening;
mod outbox;
mod pack;
mod parcel;
mod queue;
mod records;
pub mod saved_page;
mod source_record;
mod spare;
mod stall;
mod turns;

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use jiff::{Timestamp, fmt::serde::timestamp};
use serde::{Deserialize, Serialize};
use slog::Logger;
use tokio::sync::{oneshot, watch};

use crate::{
    config,
    identity::Keys,
    model::{DeliveryError, Item, Matched, Name},
    resilience::breaker::Breaker,
};
use directory::StateDir;
use engine::{Command, Engine, Reply, Shared};
pub use fate::Outline;
pub use fence::Fence;
pub use ingest::bound;
pub use records::{Former, Renamed};
pub use source_record::Held;
use stall::{Condition, Limits, Progress};

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The state directory; made if it is not there.
    pub dir: PathBuf,
    /// The configured sources: after a loss, these reseed.
    pub sources: Vec<Name>,
    /// Sources that had another name before, the former name first: they take its state over.
    pub renames: Vec<(Name, Name)>,
    /// A call into the disk or the database that takes longer makes the store `failing` until it returns.
    pub patience: Duration,
    /// A call into the database that takes longer hangs for good; opening may take ten times as long.
    pub deadline: Duration,
    /// How often a store that fails is opened again.
    pub retry: Duration,
    /// The clock.
    pub now: fn() -> Timestamp,
    /// The log.
    pub log: Logger,
}

impl Options {
    /// The daemon's own.
    pub fn new(dir: PathBuf, log: Logger) -> Self {
        Self {
            dir,
            sources: Vec::new(),
            renames: Vec::new(),
            patience: Duration::from_secs(3),
            deadline: Duration::from_secs(60),
            retry: Duration::from_secs(10),
            now: Timestamp::now,
            log,
        }
    }
}

/// Why there is no store at all.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A second daemon.
    #[error("another kawaraban uses the state directory {}: stop it, or give this one a state_dir of its own", .0.display())]
    Locked(PathBuf),
    /// The directory cannot be used.
    #[error("the state directory {} cannot be used: {error}", .dir.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// How well it is, `store.status` of `/health`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreState {
    /// Open and writing.
    Ok,
    /// It cannot be opened or written; retried.
    Failing,
    /// A new one was begun after damage; sources mark what they show as seen.
    Reseeding,
}

/// The store as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreStatus {
    /// `ok`, `failing` or `reseeding`.
    pub state: StoreState,
    /// Why it is not well; each begins with `store:`.
    pub reasons: Vec<String>,
    /// Items remembered.
    pub items_seen: u64,
    /// Items waiting, over all destinations.
    pub outbox: u64,
    /// Items refused for good, over all destinations.
    pub dead_letters: u64,
}

/// What a state directory holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Sources with a record.
    pub sources: u64,
    /// Items remembered.
    pub items_seen: u64,
    /// Items waiting.
    pub outbox: u64,
    /// Items refused for good.
    pub dead_letters: u64,
    /// Commits since it was begun.
    pub commits: u64,
    /// Sources that have yet to mark what they show as seen, after a loss.
    pub reseeding: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Damaged databases that were set aside.
    pub set_aside: Vec<String>,
}

/// The way in. Cheap to clone; the thread ends when it is closed or the last clone is dropped.
#[derive(Clone)]
pub struct Store {
    // unbounded, and yet bounded: every caller waits for its answer before it asks again
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
    condition: watch::Receiver<Condition>,
}

impl Store {
    /// Opens the store and starts its thread. A database that takes long to open is waited for a moment only.
    ///
    /// # Errors
    /// Only if another daemon has it, the directory cannot be made, or threads cannot be started. A damaged database
    /// is set aside, and a full disk is `failing` and tried again.
    pub fn open(options: Options) -> Result<Self, StartError> {
        let failed = |error: io::Error| StartError::Io { dir: options.dir.clone(), error };
        database::try_threads().map_err(failed)?;
        let dir = StateDir::take(&options.dir)?;
        let status =
            StoreStatus { state: StoreState::Failing, reasons: Vec::new(), items_seen: 0, outbox: 0, dead_letters: 0 };
        let shared = Arc::new(Shared {
            status: Mutex::new(status),
            configured: Mutex::new(options.sources.clone()),
            closed: AtomicBool::new(false),
        });
        let progress = Arc::new(Progress::default());
        let limits = Limits::new(options.patience, options.deadline);
        let condition = stall::start(&progress, limits).map_err(failed)?;
        let (commands, waiting) = mpsc::channel();
        let (opened, open) = mpsc::sync_channel(1);
        let (patience, state_dir) = (options.patience, options.dir.clone());
        let engine = Engine::new(options, dir, shared.clone(), progress.clone());
        let run = move || {
            // a fault of ours: without its thread the store is as good as hung
            if catch_unwind(AssertUnwindSafe(|| engine.run(&waiting, &opened))).is_err() {
                progress.is_lost();
            }
        };
        let thread = std::thread::Builder::new().name("store".into()).spawn(run);
        thread.map_err(|error| StartError::Io { dir: state_dir, error })?;
        // it goes on opening if it needs longer
        let _ = open.recv_timeout(patience);
        Ok(Self { commands, shared, condition })
    }

    /// The configuration was reloaded: from now on these are the sources that reseed after a loss, and
    /// whose state is kept.
    pub fn configured(&self, sources: Vec<Name>) {
        *self.shared.configured.lock().unwrap_or_else(PoisonError::into_inner) = sources;
    }

    /// The source's record; the default for one that is not known.
    ///
    /// # Errors
    /// Those of every call: the store fails just now, or was closed.
    pub async fn source(&self, name: &Name) -> Result<SourceRecord, StoreError> {
        self.ask(|reply| Command::Source(name.clone(), reply)).await
    }

    /// Has sources take over the state of their former names, which come first. Done again, it changes nothing.
    pub async fn rename(&self, names: Vec<(Name, Name)>) -> Result<Vec<Renamed>, StoreError> {
        self.ask(|reply| Command::Rename(names, reply)).await
    }

    /// Sources that left the configuration, and whose state is kept.
    pub async fn former(&self) -> Result<Vec<Former>, StoreError> {
        let configured = self.shared.configured.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.ask(|reply| Command::Former(configured, reply)).await
    }

    /// The destination's record, and how full its outbox is.
    pub async fn destination(&self, name: &Name) -> Result<(DestinationRecord, Backlog), StoreError> {
        self.ask(|reply| Command::Destination(name.clone(), reply)).await
    }

    /// Stores a poll's new document in one atomic step.
    pub async fn ingest(&self, ingest: Ingest) -> Result<Ingested, StoreError> {
        self.ingest_unless(ingest, Fence::default()).await
    }

    /// Stores a poll's new document in one atomic step, unless the fence is closed before its turn comes.
    pub async fn ingest_unless(&self, ingest: Ingest, fence: Fence) -> Result<Ingested, StoreError> {
        self.ask(|reply| Command::Ingest(Box::new((ingest, fence)), reply)).await
    }

    /// For each of a document's entries, whether [`Store::ingest`] would queue it. Changes nothing.
    pub async fn would_accept(&self, prospect: Prospect) -> Result<Vec<bool>, StoreError> {
        self.ask(|reply| Command::WouldAccept(Box::new(prospect), reply)).await
    }

    /// Writes records of sources.
    pub async fn save_sources(&self, records: Vec<(Name, SourceRecord)>) -> Result<(), StoreError> {
        self.ask(|reply| Command::SaveSources(records, reply)).await
    }

    /// The next items of a destination's outbox, one of each source in turn, and those of a source in their
    /// order. They are the same the next time, but for those that were settled meanwhile.
    pub async fn lease(&self, destination: &Name, max: usize) -> Result<Vec<Queued>, StoreError> {
        self.ask(|reply| Command::Lease { destination: destination.clone(), max, reply }).await
    }

    /// Records how items ended, and the destination's record with it.
    pub async fn settle(
        &self,
        destination: &Name,
        settled: Vec<Settled>,
        record: DestinationRecord,
    ) -> Result<Backlog, StoreError> {
        self.ask(|reply| Command::Settle { destination: destination.clone(), settled, record, reply }).await
    }

    /// The record of a host that destinations share; the default for one that is not known.
    pub async fn host(&self, host: &str) -> Result<HostRecord, StoreError> {
        self.ask(|reply| Command::Host(host.to_owned(), reply)).await
    }

    /// Writes the record of a host.
    pub async fn save_host(&self, host: &str, record: HostRecord) -> Result<(), StoreError> {
        self.ask(|reply| Command::SaveHost(host.to_owned(), record, reply)).await
    }

    /// Writes health counters by name; their bytes are the caller's business.
    pub async fn save_health(&self, records: Vec<(String, Vec<u8>)>) -> Result<(), StoreError> {
        self.ask(|reply| Command::SaveHealth(records, reply)).await
    }

    /// All health counters.
    pub async fn load_health(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.ask(Command::LoadHealth).await
    }

    /// What the state directory holds.
    pub async fn stats(&self) -> Result<Stats, StoreError> {
        self.ask(Command::Stats).await
    }

    /// The operator has taken note of a loss: it is told no longer.
    pub async fn acknowledge(&self) -> Result<(), StoreError> {
        self.ask(Command::Acknowledge).await
    }

    /// Whether the store replies; that it fails is a reply too.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let mut condition = self.condition.clone();
        let stalled = async {
            match condition.wait_for(|condition| *condition != Condition::Well).await {
                Ok(condition) => Err(StoreError::Failing(condition.to_string())),
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            answer = self.ask(Command::Ping) => answer,
            answer = stalled => answer,
        }
    }

    /// The store as it was after its last commit, without asking the thread.
    pub fn status(&self) -> StoreStatus {
        let status = self.shared.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let condition = self.condition.borrow();
        if *condition == Condition::Well {
            return status;
        }
        StoreStatus { state: StoreState::Failing, reasons: vec![format!("store: failing: {}", *condition)], ..status }
    }

    /// Returns when the database hangs for good. sled can wait for itself, and nothing from outside frees it; what was
    /// answered is on disk, so the cure is a new process.
    pub async fn hung(&self) {
        let mut condition = self.condition.clone();
        if condition.wait_for(|condition| *condition == Condition::Hung).await.is_err() {
            // it was closed, and will not hang any more
            std::future::pending::<()>().await;
        }
    }

    /// Writes what waits, closes the database and gives the directory free.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.ask(Command::Close).await
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).map_err(|_| StoreError::Closed)?;
        tokio::select! {
            biased;
            answer = answer => answer.unwrap_or_else(|_| Err(self.dropped())),
            () = self.hung() => Err(StoreError::Failing(Condition::Hung.to_string())),
        }
    }

    /// A question that was dropped: the store was closed, or its database panicked over it.
    fn dropped(&self) -> StoreError {
        if self.shared.closed.load(Ordering::Acquire) {
            StoreError::Closed
        } else {
            StoreError::Failing("the database failed meanwhile".to_owned())
        }
    }
}

/// What is kept of a source beside its seen items.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceRecord {
    /// Fingerprint of `url`, `kind`, `encoding`, `headers` and the parser's version: validators and body
    /// hash are good only for the same.
    pub fingerprint: u64,
    /// `ETag` of the last whole document, byte for byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// `Last-Modified` of the last whole document, byte for byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// Hash of the last whole document's bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_hash: Option<u128>,
    /// The breaker.
    #[serde(skip_serializing_if = "Breaker::is_default")]
    pub breaker: Breaker,
    /// When the next poll is due.
    #[serde(with = "timestamp::millisecond::optional", skip_serializing_if = "Option::is_none")]
    pub next_poll: Option<Timestamp>,
    /// `Retry-After` obeyed until.
    #[serde(with = "timestamp::millisecond::optional", skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// For how many seconds `Retry-After` asked, so that a clock that is set back makes it no longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before_s: Option<u32>,
    /// Fingerprint of the configuration that was answered with 410.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gone: Option<u64>,
    /// Paused by the operator.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// Last time that the last document was there, unchanged bodies and 304 included; none before the
    /// first successful poll.
    #[serde(with = "timestamp::millisecond::optional", skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Timestamp>,
    /// Whether the last document had items.
    pub had_items: bool,
    /// How well the rules of a page or of JSON fitted the last document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matched: Option<Matched>,
    /// Fingerprint of the URL: what tells that a source has a new name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<u64>,
    /// The first half of its items' ids, where that is not of its name: it had another one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<u64>,
    /// Destinations that had something of it, or were there at its first successful poll; none before that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destinations: Option<Vec<String>>,
    /// New items of the last document that were too many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// Seconds that the record outlives its source in the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_s: Option<u64>,
}

/// What is kept of a destination beside its outbox.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DestinationRecord {
    /// Items acknowledged ever.
    pub delivered: u64,
    /// The wait that it asked for (429, Retry-After).
    pub not_before: Option<StoredWait>,
    /// Failed requests in a row, for the backoff.
    pub failures: u32,
    /// The destination said that it no longer exists, or refuses us.
    pub gone: bool,
    /// Paused by the operator.
    pub paused: bool,
    /// The last error; it stays after recovery.
    pub last_error: Option<DeliveryError>,
    /// When the last item was acknowledged.
    pub last_delivered: Option<Timestamp>,
    /// How many of the last items were refused, one after the other.
    pub refused_in_a_row: u32,
    /// When the last item was refused.
    pub last_refused: Option<Timestamp>,
    /// Since when it answers nothing but that we must wait.
    pub blocked_since: Option<Timestamp>,
}

/// What is kept of a host that several destinations share.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostRecord {
    /// Its global limit or block.
    pub not_before: Option<StoredWait>,
    /// Blocks in a row, for the length of the next.
    pub blocks: u32,
    /// Since when it blocks us.
    pub blocked_since: Option<Timestamp>,
    /// What it said.
    pub reason: Option<String>,
}

/// A wait that outlives the process. The clock may be set meanwhile, so it is never longer than its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "AnyStoredWait")]
pub struct StoredWait {
    /// When it ends.
    pub until: Timestamp,
    /// How long it was when it was written, in milliseconds.
    pub length_ms: u64,
}

/// Earlier versions kept no length.
#[derive(Deserialize)]
#[serde(untagged)]
enum AnyStoredWait {
    Whole { until: Timestamp, length_ms: u64 },
    Until(Timestamp),
}

impl From<AnyStoredWait> for StoredWait {
    fn from(wait: AnyStoredWait) -> Self {
        match wait {
            AnyStoredWait::Whole { until, length_ms } => Self { until, length_ms },
            AnyStoredWait::Until(until) => Self { until, length_ms: 24 * 3600 * 1000 },
        }
    }
}

/// A poll's new document, to be stored in one atomic step.
#[derive(Debug, Clone)]
pub struct Ingest {
    /// The source as configured: its name, `to`, `label`, `backfill`, `retention`.
    pub source: Arc<config::Source>,
    /// Keys of every entry of the document, in its order.
    pub keys: Vec<Keys>,
    /// The entries that may be new (those that the source does not know to be seen), ascending by index
    /// into `keys`.
    pub candidates: Vec<Candidate>,
    /// The source's record after this poll.
    pub record: SourceRecord,
    /// Now.
    pub at: Timestamp,
}

/// An entry that may be new.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its place in the document.
    pub index: usize,
    /// The entry itself, with what its own page adds.
    pub item: Item,
    /// The time that the document has for it: what is newest at a first poll does not change with what the
    /// entries' pages say.
    pub listed: Option<Timestamp>,
    /// Whether `include` and `exclude` let it pass; if not, it is marked seen and goes nowhere.
    pub passes: bool,
}

/// Entries of a document that is about to be stored.
#[derive(Debug, Clone)]
pub struct Prospect {
    /// The source as configured.
    pub source: Arc<config::Source>,
    /// Of the candidates, in their order.
    pub outlines: Vec<Outline>,
    /// The source's record before the poll.
    pub record: SourceRecord,
}

/// What came of an [`Ingest`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ingested {
    /// Items that were not seen before.
    pub new: u64,
    /// Those that were queued for their destinations.
    pub accepted: u64,
    /// Those marked seen only: by backfill at the first successful poll, or by reseeding.
    pub skipped: u64,
    /// Those marked seen only, as they were too many at once.
    pub held: u64,
    /// Those kept out by the filters.
    pub filtered: u64,
    /// Items that were seen before, and queued for a destination that is new to the source.
    pub backfilled: u64,
}

/// One item in the outbox of one destination; its JSON is what `webhook` and `stdout` send.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// Stable: of the source's name and the item's strongest key, 32 hex digits.
    pub id: String,
    /// Where it came from.
    pub source: SourceRef,
    /// What it is.
    pub item: Item,
    /// When it was accepted.
    #[serde(with = "crate::model::millis")]
    pub accepted_at: Timestamp,
}

/// The source of a [`Delivery`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceRef {
    /// Its name.
    pub name: String,
    /// Its label.
    pub label: String,
}

/// A [`Delivery`] with its place in the outbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Queued {
    /// Its place: ascending in the order in which items were queued.
    pub seq: u64,
    /// The [`Delivery`] as JSON: what `stdout` writes needs no more than this.
    pub json: String,
}

impl Queued {
    /// The item.
    ///
    /// # Errors
    /// If what was stored is no delivery, which only a fault of ours can have written: checksums hold.
    pub fn delivery(&self) -> Result<Delivery, serde_json::Error> {
        serde_json::from_str(&self.json)
    }
}

/// How an outbox entry ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// Which.
    pub seq: u64,
    /// None: acknowledged. Else it goes to the dead letters with these words.
    pub refused: Option<DeliveryError>,
}

/// How full an outbox is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Items waiting.
    pub queued: u64,
    /// Items refused for good.
    pub dead_letters: u64,
    /// When the oldest waiting item was accepted.
    pub oldest: Option<Timestamp>,
}

/// Why the store did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It cannot be opened or written just now; it is retried by itself.
    #[error("store: {0}")]
    Failing(String),
    /// It was closed.
    #[error("store: closed")]
    Closed,
}
