//! The store's thread: takes commands, groups what they change, commits, answers.
//!
//! What waits while a commit is under way goes into the next one; under load a commit serves many polls.
//! An answer to a change is sent after its commit is on disk, so that an answer means durable.

use std::{
    collections::VecDeque,
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use slog::{Logger, crit, error, info, warn};
use tokio::sync::oneshot;

use super::{
    Backlog, DestinationRecord, Fence, HostRecord, Ingest, Ingested, Options, Prospect, Queued, Settled, SourceRecord,
    StartError, Stats, StoreError, StoreStatus,
    commits::{Commits, Committed},
    database::{Database, Fault, Group},
    ingest, outbox,
    records::{self, Loss},
    saved_page::SavedPages,
};
use crate::{model::Name, store::StoreState};

/// How long a change waits for others to share its commit…
const WINDOW: Duration = Duration::from_millis(2);
/// …and how long while many come: a flush wakes every thread of sled's pool, however little it writes.
const BUSY_WINDOW: Duration = Duration::from_millis(20);
/// So many commands in one group make the next window the long one.
const BUSY: usize = 3;
/// A group is not made larger than this: sled does not like bursts.
const GROUP_BYTES: usize = 256 * 1024;
const GROUP_COMMANDS: usize = 512;
/// Deaths while opening, one after the other, that count as damage. Many, for the killer may be somebody
/// who knows nothing of the file: being killed is no damage, and setting a sound database aside is a loss.
const FATAL_OPENS: u32 = 40;

pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the handle asks of the thread.
pub(super) enum Command {
    Source(Name, Reply<SourceRecord>),
    Destination(Name, Reply<(DestinationRecord, Backlog)>),
    Ingest(Box<(Ingest, Fence)>, Reply<Ingested>),
    WouldAccept(Box<Prospect>, Reply<Vec<bool>>),
    SaveSources(Vec<(Name, SourceRecord)>, Reply<()>),
    Lease { destination: Name, max: usize, reply: Reply<Vec<Queued>> },
    Settle { destination: Name, settled: Vec<Settled>, record: DestinationRecord, reply: Reply<Backlog> },
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

/// The thread's own.
pub(super) struct Engine {
    options: Options,
    state: State,
    status: Arc<Mutex<StoreStatus>>,
    /// The sources as they are configured now.
    configured: Arc<Mutex<Vec<Name>>>,
    _lock: fs::File,
    log: Logger,
    /// Changes in the last group.
    last_group: usize,
}

/// What waits for the thread. Destinations go first: where more comes than can be served, what is queued must
/// still go out, or the outbox would grow without end. Nothing else may change places.
struct Waiting<'c> {
    commands: &'c Receiver<Command>,
    first: VecDeque<Command>,
    then: VecDeque<Command>,
}

impl Waiting<'_> {
    fn next(&mut self) -> Option<Command> {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Lease { .. } | Command::Settle { .. } => self.first.push_back(command),
                command => self.then.push_back(command),
            }
        }
        self.first.pop_front().or_else(|| self.then.pop_front())
    }
}

/// Answers that wait for the commit.
type Answer = Box<dyn FnOnce(Result<(), StoreError>)>;

impl Engine {
    /// Takes the directory's lock and opens the database.
    pub(super) fn start(
        options: Options,
        status: Arc<Mutex<StoreStatus>>,
        configured: Arc<Mutex<Vec<Name>>>,
    ) -> Result<Self, StartError> {
        let dir = options.dir.clone();
        let io = |error: io::Error| StartError::Io { dir: dir.clone(), error };
        fs::create_dir_all(&options.dir).map_err(io)?;
        let lock = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(options.dir.join("lock"))
            .map_err(io)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            rustix::io::Errno::WOULDBLOCK => StartError::Locked(options.dir.clone()),
            error => io(error.into()),
        })?;
        let log = options.log.clone();
        let state = State::Failing { reason: "not open yet".to_owned(), retry_at: Instant::now() };
        let mut engine = Self { options, state, status, configured, _lock: lock, log, last_group: 0 };
        engine.open();
        Ok(engine)
    }

    /// Serves until it is closed or every handle is dropped.
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        let mut waiting = Waiting { commands, first: VecDeque::new(), then: VecDeque::new() };
        loop {
            let command = match (waiting.next(), self.patience()) {
                (Some(command), _) => Ok(command),
                (None, Some(patience)) => commands.recv_timeout(patience),
                (None, None) => commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match command {
                Ok(Command::Close(reply)) => {
                    // the handle may be gone; the database is closed all the same
                    drop(self);
                    let _ = reply.send(Ok(()));
                    return;
                }
                Ok(command) => {
                    if let Some(Command::Close(reply)) = self.serve(command, &mut waiting) {
                        drop(self);
                        let _ = reply.send(Ok(()));
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.open(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// While failing, how long until the next try to open.
    fn patience(&self) -> Option<Duration> {
        match &self.state {
            State::Open(..) => None,
            State::Failing { retry_at, .. } => Some(retry_at.saturating_duration_since(Instant::now())),
        }
    }

    /// Serves one command and those that come soon enough to share its commit. Gives a `Close` back.
    fn serve(&mut self, first: Command, waiting: &mut Waiting<'_>) -> Option<Command> {
        let State::Open(database, commits) = &mut self.state else {
            if self.patience().is_some_and(|patience| patience.is_zero()) {
                self.open();
            }
            return self.refuse(first);
        };
        // sled may panic over what it finds on disk; that ends this database, not the daemon
        let window = if self.last_group >= BUSY { BUSY_WINDOW } else { WINDOW };
        let serve = || serve_group(database, commits, first, waiting, window, &self.options);
        let served = catch_unwind(AssertUnwindSafe(serve));
        let (close, fault) = match served {
            Ok((close, changes, result)) => {
                self.last_group = changes;
                (close, result.err())
            }
            Err(_) => (None, Some(Fault::Damaged("using it panicked".to_owned()))),
        };
        match fault {
            None => self.tell_status(),
            Some(fault) => self.fail(&fault.to_string()),
        }
        close
    }

    fn fail(&mut self, reason: &str) {
        error!(self.log, "the store fails, and is opened again every {} s until it works: {reason}", self.options.retry.as_secs();
            "kind" => "store");
        self.state = State::Failing { reason: reason.to_owned(), retry_at: Instant::now() + self.options.retry };
        self.tell_status();
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

    // === opening ===

    fn open(&mut self) {
        match self.try_open() {
            Ok((database, commits)) => {
                if matches!(&self.state, State::Failing { reason, .. } if reason != "not open yet") {
                    info!(self.log, "the store works again");
                }
                self.state = State::Open(Box::new(database), commits);
                self.tell_status();
            }
            Err(reason) => self.fail(&reason),
        }
    }

    fn try_open(&self) -> Result<(Database, Commits), String> {
        let dir = &self.options.dir;
        if let Some(loss) = Loss::noted(dir) {
            return self.begin_anew(&loss);
        }
        let (commits, known) = Commits::open(&dir.join("commits")).map_err(|error| error.to_string())?;
        match self.open_database(known) {
            Ok(database) => Ok((database, commits)),
            Err(Fault::Io(reason)) => Err(reason),
            Err(Fault::Damaged(reason)) => {
                drop(commits);
                self.lose(&reason, known).map_err(|error| format!("damaged ({reason}), and {error}"))
            }
        }
    }

    fn open_database(&self, known: Option<Committed>) -> Result<Database, Fault> {
        let dir = self.options.dir.join("db");
        if !dir.join("db").exists() && known.is_some_and(|known| known.commit > 0) {
            return Err(Fault::Damaged("its file is missing".to_owned()));
        }
        let marker = OpenMarker::begin(&self.options.dir);
        if marker.deaths >= FATAL_OPENS {
            return Err(Fault::Damaged(format!("the daemon died {} times in a row while opening it", marker.deaths)));
        }
        let mut database = Database::open(&dir, known)?;
        let now = (self.options.now)();
        let mut group = database.group();
        let forgotten = records::purge(&database, &mut group, &self.configured(), now)?;
        database.commit(group)?;
        let pages = SavedPages::new(&self.options.dir);
        for name in forgotten {
            if let Err(error) = pages.remove(&name) {
                warn!(self.log, "the page kept of a source that is no more could not be removed: {error}"; "source" => name);
            }
        }
        marker.end();
        Ok(database)
    }

    /// Takes note that the database is damaged, before anything is moved: the note is what makes the next
    /// one reseed, also if this process ends or the disk is full before there is a next one.
    fn lose(&self, reason: &str, known: Option<Committed>) -> Result<(Database, Commits), String> {
        let at = (self.options.now)();
        let loss = Loss {
            at,
            reason: reason.to_owned(),
            aside: unused(&self.options.dir, &format!("damaged-{}", at.strftime("%Y%m%dT%H%M%SZ"))),
            undelivered: known.unwrap_or_default().outbox,
            acknowledged: false,
        };
        loss.note(&self.options.dir).map_err(|error| error.to_string())?;
        crit!(self.log, "the store is damaged: {reason}; it is set aside, sources mark what they show as seen and deliver only what is new after that";
            "kind" => "store", "aside" => &loss.aside, "undelivered_lost" => loss.undelivered);
        self.begin_anew(&loss)
    }

    /// Sets a damaged database aside and begins a new one, in which every configured source reseeds. May
    /// be done again from the start until it is done.
    fn begin_anew(&self, loss: &Loss) -> Result<(Database, Commits), String> {
        let dir = &self.options.dir;
        set_aside(dir, &dir.join(&loss.aside)).map_err(|error| format!("it cannot be set aside: {error}"))?;
        let (commits, _) = Commits::open(&dir.join("commits")).map_err(|error| error.to_string())?;
        let mut database = Database::open(&dir.join("db"), None).map_err(|fault| fault.to_string())?;
        let mut group = database.group();
        records::begin_reseeding(&mut group, loss, &self.configured())
            .and_then(|()| commit(&mut database, &commits, group))
            .map_err(|fault| fault.to_string())?;
        Loss::forget_note(dir).map_err(|error| error.to_string())?;
        Ok((database, commits))
    }

    fn configured(&self) -> Vec<Name> {
        self.configured.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    // === status ===

    fn tell_status(&self) {
        let status = match &self.state {
            State::Failing { reason, .. } => {
                let old = self.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
                StoreStatus { state: StoreState::Failing, reasons: vec![format!("store: failing: {reason}")], ..old }
            }
            State::Open(database, _) => status_of(database, (self.options.now)()),
        };
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }
}

/// A name in `dir` that nothing has yet.
fn unused(dir: &Path, name: &str) -> String {
    let numbered = (2_u32..).map(|number| format!("{name}-{number}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    names.find(|name| dir.join(name).symlink_metadata().is_err()).unwrap_or_default()
}

/// Moves what is damaged. What is found where something was moved from before is a new database that was
/// not finished, and holds nothing.
fn set_aside(dir: &Path, aside: &Path) -> io::Result<()> {
    fs::create_dir_all(aside)?;
    let moved = aside.join("db").exists();
    for name in ["commits", OpenMarker::NAME, "db"] {
        let from = dir.join(name);
        let done = match name {
            "db" if moved => fs::remove_dir_all(from),
            _ if moved => fs::remove_file(from),
            _ => fs::rename(from, aside.join(name)),
        };
        match done {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::File::open(dir)?.sync_all()
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

/// Serves one group. Gives back a `Close`, how many changes it had, and how the commit went.
fn serve_group(
    database: &mut Database,
    commits: &Commits,
    first: Command,
    waiting: &mut Waiting<'_>,
    window: Duration,
    options: &Options,
) -> (Option<Command>, usize, Result<(), Fault>) {
    let mut group = database.group();
    let mut answers: Vec<Answer> = Vec::new();
    let mut close = None;
    let mut next = Some(first);
    let mut waited = false;
    let mut fault = None;
    while let Some(command) = next.take() {
        if matches!(command, Command::Close(_)) {
            close = Some(command);
            break;
        }
        match apply(database, &mut group, commits, &mut answers, command, options) {
            Ok(()) => {}
            Err(error) => {
                fault = Some(error);
                break;
            }
        }
        if answers.is_empty() || group.bytes() >= GROUP_BYTES || answers.len() >= GROUP_COMMANDS {
            break;
        }
        next = waiting.next();
        if next.is_none() && !waited {
            // asleep rather than waiting on the channel: one wake for the group, not one for each command
            std::thread::sleep(window);
            waited = true;
            next = waiting.next();
        }
    }
    let changes = answers.len();
    let result = match fault {
        Some(fault) => Err(fault),
        None => commit(database, commits, group),
    };
    let told = result.as_ref().copied().map_err(|fault| StoreError::Failing(fault.to_string()));
    for answer in answers {
        answer(told.clone());
    }
    (close, changes, result)
}

fn commit(database: &mut Database, commits: &Commits, group: Group) -> Result<(), Fault> {
    let before = database.meta().committed.commit;
    database.commit(group)?;
    let committed = database.meta().committed;
    if committed.commit != before {
        commits.write(committed).map_err(|error| Fault::Io(error.to_string()))?;
    }
    Ok(())
}

/// Adds what a command changes to the group, and its answer to the answers. Reads are answered at once;
/// those that must see every earlier change commit it first.
fn apply(
    database: &mut Database,
    group: &mut Group,
    commits: &Commits,
    answers: &mut Vec<Answer>,
    command: Command,
    options: &Options,
) -> Result<(), Fault> {
    macro_rules! commit_first {
        () => {
            let earlier = std::mem::replace(group, database.group());
            let result = commit(database, commits, earlier);
            let told = result.as_ref().copied().map_err(|fault| StoreError::Failing(fault.to_string()));
            answers.drain(..).for_each(|answer| answer(told.clone()));
            result?;
            *group = database.group();
        };
    }
    match command {
        Command::Source(name, reply) => {
            commit_first!();
            answer_read(reply, records::source(database, group, &name))
        }
        Command::Destination(name, reply) => {
            commit_first!();
            let read = records::destination(database, &name)
                .and_then(|record| Ok((record, outbox::backlog(database, group, &name)?)));
            answer_read(reply, read)
        }
        Command::LoadHealth(reply) => {
            commit_first!();
            answer_read(reply, records::load_health(database))
        }
        Command::Stats(reply) => {
            commit_first!();
            answer_read(reply, records::stats(database, &options.dir))
        }
        Command::Lease { destination, max, reply } => {
            answer_read(reply, outbox::lease(database, group, &destination, max))
        }
        Command::Ping(reply) => answer_read(reply, Ok(())),
        Command::Ingest(fenced, reply) => {
            let (ingest, fence) = *fenced;
            if fence.is_closed() {
                // its source has left or was reconfigured, and waits for no answer
                let _ = reply.send(Err(StoreError::Closed));
                return Ok(());
            }
            if group.touches(&records::source_key(ingest.source.name.as_str())) {
                commit_first!();
            }
            let ingested = ingest::ingest(database, group, ingest);
            answer_later(answers, reply, ingested)
        }
        Command::WouldAccept(prospect, reply) => {
            if group.touches(&records::source_key(prospect.source.name.as_str())) {
                commit_first!();
            }
            answer_read(reply, ingest::would_accept(database, group, &prospect))
        }
        Command::SaveSources(records, reply) => {
            let saved = records
                .into_iter()
                .try_for_each(|(name, record)| records::save_source(database, group, &name, &record));
            answer_later(answers, reply, saved)
        }
        Command::Settle { destination, settled, record, reply } => {
            let backlog = outbox::settle(database, group, &destination, settled, &record);
            answer_later(answers, reply, backlog)
        }
        Command::Host(host, reply) => answer_read(reply, records::host(database, group, &host)),
        Command::SaveHost(host, record, reply) => {
            let saved = records::put_host(group, &host, &record);
            answer_later(answers, reply, saved)
        }
        Command::SaveHealth(records, reply) => {
            for (name, bytes) in records {
                group.put(records::health_key(&name), bytes);
            }
            answer_later(answers, reply, Ok(()))
        }
        Command::Acknowledge(reply) => {
            let acknowledged = records::acknowledge(database, group);
            answer_later(answers, reply, acknowledged)
        }
        // taken out by the caller
        Command::Close(_) => Ok(()),
    }
}

fn answer_read<T>(reply: Reply<T>, read: Result<T, Fault>) -> Result<(), Fault> {
    match read {
        Ok(value) => {
            // whoever does not wait any longer needs no answer
            let _ = reply.send(Ok(value));
            Ok(())
        }
        Err(fault) => {
            let _ = reply.send(Err(StoreError::Failing(fault.to_string())));
            Err(fault)
        }
    }
}

fn answer_later<T: 'static>(answers: &mut Vec<Answer>, reply: Reply<T>, done: Result<T, Fault>) -> Result<(), Fault> {
    match done {
        Ok(value) => {
            answers.push(Box::new(move |committed| drop(reply.send(committed.map(|()| value)))));
            Ok(())
        }
        Err(fault) => {
            let _ = reply.send(Err(StoreError::Failing(fault.to_string())));
            Err(fault)
        }
    }
}

/// Counts opens that were not survived: a damaged file may end the process by asking for more memory
/// than there is, which no `catch_unwind` sees.
struct OpenMarker {
    path: PathBuf,
    deaths: u32,
}

impl OpenMarker {
    const NAME: &str = "opening";

    fn begin(dir: &Path) -> Self {
        let path = dir.join(Self::NAME);
        let deaths = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        // on a full disk it cannot be written, and then it does not count
        let _ = fs::write(&path, format!("{}\n", deaths + 1));
        Self { path, deaths }
    }

    fn end(self) {
        let _ = fs::remove_file(self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn destinations_go_first_and_all_else_keeps_its_order() {
        let (send, commands) = mpsc::channel();
        let destination = Name::new("news").unwrap();
        let record = DestinationRecord::default();
        send.send(Command::Ping(oneshot::channel().0)).unwrap();
        let lease = |max| Command::Lease { destination: destination.clone(), max, reply: oneshot::channel().0 };
        send.send(lease(1)).unwrap();
        send.send(Command::LoadHealth(oneshot::channel().0)).unwrap();
        let (destination, settled, reply) = (destination.clone(), Vec::new(), oneshot::channel().0);
        send.send(Command::Settle { destination, settled, record, reply }).unwrap();
        send.send(Command::Close(oneshot::channel().0)).unwrap();
        let mut waiting = Waiting { commands: &commands, first: VecDeque::new(), then: VecDeque::new() };
        assert!(matches!(waiting.next(), Some(Command::Lease { .. })));
        assert!(matches!(waiting.next(), Some(Command::Settle { .. })));
        assert!(matches!(waiting.next(), Some(Command::Ping(_))));
        send.send(lease(2)).unwrap();
        assert!(matches!(waiting.next(), Some(Command::Lease { max: 2, .. })));
        assert!(matches!(waiting.next(), Some(Command::LoadHealth(_))));
        assert!(matches!(waiting.next(), Some(Command::Close(_))));
        assert!(waiting.next().is_none());
    }
}
