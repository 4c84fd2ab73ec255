//! The store's thread: takes commands, has them served in groups, and opens the database again when it fails.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use slog::{Logger, debug, error, info};
use tokio::sync::oneshot;

use super::{
    Backlog, DestinationRecord, Fence, HostRecord, Ingest, Ingested, Options, Prospect, Queued, Settled, SourceRecord,
    Stats, StoreError, StoreState, StoreStatus,
    commits::{Commits, Committed},
    database::{Database, Fault},
    directory::StateDir,
    group_commit::{self, Served},
    meta::Meta,
    opening::Opening,
    queue::Waiting,
    records::{self, Former, Renamed},
    stall::{Phase, Progress},
};
use crate::model::Name;

/// How long a change waits for others to share its commit…
const WINDOW: Duration = Duration::from_millis(2);
/// …and how long while many come: a flush wakes every thread of sled's pool, however little it writes.
const BUSY_WINDOW: Duration = Duration::from_millis(20);
/// So many commands in one group make the next window the long one.
const BUSY: usize = 3;
/// How often it is looked whether the directory is still there, also while nothing happens.
const LOOK_AFTER: Duration = Duration::from_secs(2);
/// How often the counter of commits is synced.
const SYNC_COMMITS: Duration = Duration::from_secs(5);
/// The first wait after a failure; each further one is twice as long, up to the configured.
const FIRST_RETRY: Duration = Duration::from_millis(250);

pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the handle asks of the thread.
pub(super) enum Command {
    Source(Name, Reply<SourceRecord>),
    Destination(Name, Reply<(DestinationRecord, Backlog)>),
    Ingest(Box<(Ingest, Fence)>, Reply<Ingested>),
    WouldAccept(Box<Prospect>, Reply<Vec<bool>>),
    SaveSources(Vec<(Name, SourceRecord)>, Reply<()>),
    Rename(Vec<(Name, Name)>, Reply<Vec<Renamed>>),
    /// Which sources are configured.
    Former(Vec<Name>, Reply<Vec<Former>>),
    Lease {
        destination: Name,
        max: usize,
        reply: Reply<Vec<Queued>>,
    },
    Settle {
        destination: Name,
        settled: Vec<Settled>,
        record: DestinationRecord,
        reply: Reply<Backlog>,
    },
    Host(String, Reply<HostRecord>),
    SaveHost(String, HostRecord, Reply<()>),
    SaveHealth(Vec<(String, Vec<u8>)>, Reply<()>),
    LoadHealth(Reply<Vec<(String, Vec<u8>)>>),
    Stats(Reply<Stats>),
    Acknowledge(Reply<()>),
    Ping(Reply<()>),
    Close(Reply<()>),
}

enum State {
    Open(Box<Database>, Commits),
    Failing { reason: String, retry_at: Instant },
}

/// What the thread and the handles share.
pub(super) struct Shared {
    /// As it was after the last commit.
    pub(super) status: Mutex<StoreStatus>,
    /// The sources as they are configured now.
    pub(super) configured: Mutex<Vec<Name>>,
    /// The thread has ended as it was asked to.
    pub(super) closed: AtomicBool,
}

/// The thread's own.
pub(super) struct Engine {
    options: Options,
    state: State,
    shared: Arc<Shared>,
    progress: Arc<Progress>,
    dir: Option<StateDir>,
    log: Logger,
    /// Changes in the last group.
    last_group: usize,
    /// What the database said after the last commit that was answered.
    answered: Option<Meta>,
    /// The last failure was one of writing or syncing.
    doubtful: bool,
    /// Failures since the last commit.
    failures: u32,
    looked_after: Instant,
    synced_commits: Instant,
}

impl Engine {
    pub(super) fn new(options: Options, dir: StateDir, shared: Arc<Shared>, progress: Arc<Progress>) -> Self {
        let now = Instant::now();
        let log = options.log.clone();
        let state = State::Failing { reason: "not open yet".to_owned(), retry_at: now };
        Self {
            options,
            state,
            shared,
            progress,
            dir: Some(dir),
            log,
            last_group: 0,
            answered: None,
            doubtful: false,
            failures: 0,
            looked_after: now,
            synced_commits: now,
        }
    }

    /// Opens the database, and serves until it is closed or every handle is dropped.
    pub(super) fn run(mut self, commands: &Receiver<Command>, opened: &SyncSender<()>) {
        self.open();
        // nobody may be waiting for it any longer
        let _ = opened.try_send(());
        let mut waiting = Waiting::new(commands);
        let close = loop {
            self.progress.enter(Phase::Idle);
            let command = match waiting.next() {
                Some(command) => Ok(command),
                None => commands.recv_timeout(self.patience()),
            };
            self.progress.enter(Phase::Database);
            match command {
                Ok(command) => {
                    if let Some(close) = self.serve(command, &mut waiting) {
                        break Some(close);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break None,
            }
            self.look_after();
        };
        let shared = self.shared.clone();
        self.close();
        shared.closed.store(true, Ordering::Release);
        if let Some(Command::Close(reply)) = close {
            let _ = reply.send(Ok(()));
        }
    }

    /// How long nothing may happen until something is to be done all the same.
    fn patience(&self) -> Duration {
        match &self.state {
            State::Open(..) => LOOK_AFTER,
            State::Failing { retry_at, .. } => retry_at.saturating_duration_since(Instant::now()),
        }
    }

    /// What is due by time: another try to open, a look at the directory, a sync of the counter.
    fn look_after(&mut self) {
        let now = Instant::now();
        let State::Open(database, commits) = &mut self.state else {
            if self.patience().is_zero() {
                self.open();
            }
            return;
        };
        if now.duration_since(self.synced_commits) >= SYNC_COMMITS {
            self.synced_commits = now;
            if let Err(error) = commits.sync() {
                return self.fail(&error.into());
            }
        }
        if now.duration_since(self.looked_after) < LOOK_AFTER / 2 {
            return;
        }
        self.looked_after = now;
        let lost = self.dir.as_ref().and_then(StateDir::lost);
        let lost = lost.or_else(|| (!database.is_there()).then_some("the database was deleted"));
        if let Some(lost) = lost {
            self.fail(&Fault::Io(lost.to_owned()));
        }
    }

    /// Serves one command and those that come soon enough to share its commit. Gives a `Close` back.
    fn serve(&mut self, first: Command, waiting: &mut Waiting<'_>) -> Option<Command> {
        if matches!(first, Command::Close(_)) {
            return Some(first);
        }
        let State::Open(database, commits) = &mut self.state else { return self.refuse(first) };
        let window = if self.last_group >= BUSY { BUSY_WINDOW } else { WINDOW };
        // sled may panic over what it finds on disk; that ends this database, not the daemon
        let serve = || group_commit::serve(database, commits, first, waiting, window, &self.options.dir);
        let served = catch_unwind(AssertUnwindSafe(serve));
        let Served { close, changes, result } =
            served.unwrap_or_else(|panic| Served { close: None, changes: 0, result: Err(Fault::of_panic(&*panic)) });
        self.last_group = changes;
        self.answered = Some(*database.meta());
        match result {
            Ok(()) => {
                if changes > 0 {
                    self.failures = 0;
                }
                self.tell_status();
            }
            Err(fault) => self.fail(&fault),
        }
        close
    }

    fn fail(&mut self, fault: &Fault) {
        // a call that failed because the directory is gone says less
        let lost = self.dir.as_ref().and_then(StateDir::lost);
        let reason = lost.map_or_else(|| fault.to_string(), str::to_owned);
        if lost.is_some() {
            // the lock of what is there now has to be taken anew
            self.dir = None;
        }
        let wait = self.options.retry.min(FIRST_RETRY * 2_u32.pow(self.failures.min(8)));
        self.failures += 1;
        match &self.state {
            State::Failing { reason: before, .. } if *before == reason => {
                debug!(self.log, "the store still fails: {reason}"; "kind" => "store");
            }
            _ => error!(self.log, "the store fails, and is opened again until it works: {reason}"; "kind" => "store"),
        }
        self.doubtful = true;
        self.put_down(State::Failing { reason, retry_at: Instant::now() + wait });
        self.tell_status();
    }

    /// Takes a new state, and drops the old one: sled writes what is left, and panics if it cannot.
    fn put_down(&mut self, state: State) {
        let old = std::mem::replace(&mut self.state, state);
        if catch_unwind(AssertUnwindSafe(|| drop(old))).is_err() {
            debug!(self.log, "the database could not write what was left as it was closed"; "kind" => "store");
        }
    }

    fn close(mut self) {
        if let State::Open(_, commits) = &mut self.state
            && let Err(error) = commits.sync()
        {
            error!(self.log, "the counter of commits could not be synced: {error}"; "kind" => "store");
        }
        self.put_down(State::Failing { reason: "closed".to_owned(), retry_at: Instant::now() });
    }

    fn refuse(&self, command: Command) -> Option<Command> {
        let reason = match &self.state {
            State::Failing { reason, .. } => reason.clone(),
            State::Open(..) => "try again".to_owned(),
        };
        let error = StoreError::Failing(reason);
        // whoever does not wait any longer needs no answer
        match command {
            Command::Source(_, reply) => drop(reply.send(Err(error))),
            Command::Destination(_, reply) => drop(reply.send(Err(error))),
            Command::Ingest(_, reply) => drop(reply.send(Err(error))),
            Command::WouldAccept(_, reply) => drop(reply.send(Err(error))),
            Command::Lease { reply, .. } => drop(reply.send(Err(error))),
            Command::Settle { reply, .. } => drop(reply.send(Err(error))),
            Command::LoadHealth(reply) => drop(reply.send(Err(error))),
            Command::Stats(reply) => drop(reply.send(Err(error))),
            Command::Rename(_, reply) => drop(reply.send(Err(error))),
            Command::Former(_, reply) => drop(reply.send(Err(error))),
            Command::Host(_, reply) => drop(reply.send(Err(error))),
            Command::SaveSources(_, reply)
            | Command::SaveHost(_, _, reply)
            | Command::SaveHealth(_, reply)
            | Command::Acknowledge(reply)
            | Command::Ping(reply) => drop(reply.send(Err(error))),
            close @ Command::Close(_) => return Some(close),
        }
        None
    }

    fn open(&mut self) {
        self.progress.enter(Phase::Opening);
        match self.try_open() {
            Ok((database, commits)) => {
                if self.failures > 0 {
                    info!(self.log, "the store works again");
                }
                self.answered = Some(*database.meta());
                self.doubtful = false;
                self.state = State::Open(Box::new(database), commits);
                self.tell_status();
            }
            Err(fault) => self.fail(&fault),
        }
    }

    fn try_open(&mut self) -> Result<(Database, Commits), Fault> {
        let dir = match self.dir.take() {
            Some(dir) => dir,
            None => StateDir::take(&self.options.dir).map_err(|error| Fault::Io(error.to_string()))?,
        };
        let dir = self.dir.insert(dir);
        let opening = Opening {
            options: &self.options,
            configured: &self.shared.configured,
            progress: &self.progress,
            answered: self.answered,
            doubtful: self.doubtful,
        };
        let opened = opening.open()?;
        // what sled has made just now, too
        dir.tighten();
        Ok(opened)
    }

    fn tell_status(&self) {
        let mut status = self.shared.status.lock().unwrap_or_else(PoisonError::into_inner);
        match &self.state {
            State::Failing { reason, .. } => {
                status.state = StoreState::Failing;
                status.reasons = vec![format!("store: failing: {reason}")];
            }
            State::Open(database, _) => *status = status_of(database, (self.options.now)()),
        }
    }
}

fn status_of(database: &Database, now: Timestamp) -> StoreStatus {
    let Committed { seen, outbox, dead_letters, .. } = database.meta().committed;
    let loss = records::loss(database).ok().flatten();
    let told = loss.filter(|loss| !loss.acknowledged && now.duration_since(loss.at).as_hours() < 24);
    StoreStatus {
        state: if database.reseeding() { StoreState::Reseeding } else { StoreState::Ok },
        reasons: told.map(|loss| loss.to_string()).into_iter().collect(),
        items_seen: seen,
        outbox,
        dead_letters,
    }
}
