//! The database: records with checksums in one sled tree, groups of changes committed whole.
//!
//! | key | record |
//! | --- | --- |
//! | `m` | [`Meta`]: commit counter, counts, digest |
//! | `x` | what was lost with the database before this one |
//! | `r/SOURCE` | the source must reseed after a loss |
//! | `s/SOURCE/` | the source's record: journal of its seen items, and JSON |
//! | `s/SOURCE/` u16 | its seen items, packed: beside the record, for they are read together |
//! | `t/DESTINATION` | which items of its outbox have ended, then the destination's record, JSON |
//! | `o/DESTINATION/` u64 | outbox: a parcel of items, by the place of its first |
//! | `d/DESTINATION/` u64 | dead letter, JSON |
//! | `h/NAME` | health counters |
//! | `w/SOURCE` | how often a source of this name took another one (u32) |
//!
//! Every value begins with a checksum of key and body; `m` holds the XOR of them all. sled may lose
//! records without saying so: at opening every record is read, and checksums, counts, digest and the
//! counter of [`Commits`](super::commits) must agree, or the database counts as damaged.

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    ops::Bound,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use sled::IVec;

pub(super) use super::fault::Fault;
use super::{
    commits::Committed,
    disk::{self, Disk},
    fault::is_locked,
    meta::{META, Meta, checksum},
    stall::{Phase, Progress},
    turns::{ParcelId, SourceId, Turns},
};

/// So long a database that was just closed may still be held by threads of sled's own.
const FREED_WITHIN: Duration = Duration::from_secs(5);
/// With sled's 512 kB a burst of large values can deadlock it for good; with this it was never seen to.
const SEGMENT: usize = 4 << 20;
/// Loosely a bound, see the figures in the README.
const CACHE: u64 = 2 << 20;
/// sled's own threads, which it starts at its first write, and one to spare.
const THREADS: usize = 8;

/// Whether as many threads can be started as sled will want. It starts its own once, takes no notice of a failure, and
/// then waits for ever for what they should do.
pub(super) fn try_threads() -> io::Result<()> {
    let gate = Arc::new(Mutex::new(()));
    let closed = gate.lock().unwrap_or_else(PoisonError::into_inner);
    let wait = |gate: Arc<Mutex<()>>| move || drop(gate.lock());
    let started: io::Result<Vec<_>> =
        (0..THREADS).map(|_| thread::Builder::new().name("store-try".into()).spawn(wait(gate.clone()))).collect();
    drop(closed);
    // it only waited, there is nothing to learn from how it ended
    started?.into_iter().for_each(|thread| drop(thread.join()));
    Ok(())
}

/// sled takes a snapshot that it could not finish writing, on a full disk or as it was killed, for one that
/// is damaged, and then opens no more. The one before it is still there, or none is needed.
fn remove_unfinished(dir: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// How full one destination's outbox is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) queued: u64,
    pub(super) dead_letters: u64,
}

/// An open database.
pub(super) struct Database {
    db: sled::Db,
    disk: Disk,
    progress: Arc<Progress>,
    meta: Meta,
    counts: HashMap<String, Counts>,
    /// Of each destination with items that wait.
    turns: HashMap<String, Turns>,
    /// Sources that must reseed: mostly none, and then nobody need look.
    reseeding: usize,
}

/// A committed record.
pub(super) struct Record {
    pub(super) key: IVec,
    pub(super) body: IVec,
    /// Its checksum: what replaces it need not look it up.
    pub(super) sum: u64,
}

/// What a change takes the place of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replaced {
    /// To be looked up.
    Unknown,
    /// No record was there.
    Nothing,
    /// The record with this checksum.
    Sum(u64),
}

struct Change {
    body: Option<Vec<u8>>,
    replaced: Replaced,
}

/// What changes in the turns of one destination's sources: of each item its source and its parcel.
#[derive(Default)]
pub(super) struct TurnsTaken {
    pub(super) queued: Vec<(SourceId, ParcelId)>,
    pub(super) ended: Vec<(SourceId, ParcelId)>,
}

/// Changes that are committed together or not at all.
pub(super) struct Group {
    changes: HashMap<Vec<u8>, Change>,
    meta: Meta,
    counts: HashMap<String, Counts>,
    turns: HashMap<String, TurnsTaken>,
    /// Records that take more, by whose they are: their keys.
    open: HashMap<String, Vec<u8>>,
    bytes: usize,
}

impl Database {
    /// Opens the database in `dir`, reads all of it, and writes once, so that a disk that cannot be written is known at
    /// once and sled's threads are there before anything else can take their room.
    pub(super) fn open(dir: &Path, known: Option<Committed>, progress: &Arc<Progress>) -> Result<Self, Fault> {
        // sled panics over files that are damaged, and over some calls that fail
        let opened = catch_unwind(AssertUnwindSafe(|| Self::open_here(dir, known, progress)));
        opened.unwrap_or_else(|panic| {
            progress.uses(None);
            Err(Fault::of_panic(&*panic))
        })
    }

    fn open_here(dir: &Path, known: Option<Committed>, progress: &Arc<Progress>) -> Result<Self, Fault> {
        remove_unfinished(dir)?;
        disk::settle(dir)?;
        let db = open_sled(dir)?;
        progress.uses(Some(db.clone()));
        let known = known.map_or(0, |known| known.commit);
        let opened = Self::opened(db, dir, known, progress.clone());
        if opened.is_err() {
            progress.uses(None);
        }
        opened
    }

    fn opened(db: sled::Db, dir: &Path, known: u64, progress: Arc<Progress>) -> Result<Self, Fault> {
        let meta = match db.get(META)? {
            Some(bytes) => Meta::decode(&bytes)?,
            None => Meta::default(),
        };
        let last = meta.committed.commit;
        if last < known {
            return Err(Fault::Damaged(format!("it ends at commit {last}, and {known} were recorded")));
        }
        let disk = Disk::open(dir)?;
        let mut database =
            Self { db, disk, progress, meta, counts: HashMap::new(), turns: HashMap::new(), reseeding: 0 };
        database.verify()?;
        let group = database.group();
        database.write(group)?;
        Ok(database)
    }

    /// Whether its file still has a name.
    pub(super) fn is_there(&self) -> bool {
        self.disk.is_there()
    }

    /// Reads every record. What is found must be what the last commit said there is.
    fn verify(&mut self) -> Result<(), Fault> {
        let mut found = Meta { digest: 0, committed: Committed::default(), ..self.meta };
        found.committed.commit = self.meta.committed.commit;
        for record in self.db.iter() {
            let (key, value) = record?;
            if key == META {
                continue;
            }
            let body = unsealed(&key, &value)?;
            found.digest ^= sum_of(&value);
            match (key.first(), destination(&key)) {
                (Some(b's'), _) => {
                    if let Some((name, [])) = super::records::source_of(&key) {
                        found.committed.seen += super::records::remembered(self, name)?.packs.len() as u64;
                    }
                }
                (Some(b'r'), _) => self.reseeding += 1,
                (Some(b'o'), Some(name)) => {
                    let ended = super::records::ended(self, &self.group(), name)?;
                    let turns = self.turns.entry(name.to_owned()).or_default();
                    let waiting = super::outbox::index(turns, &key, body, &ended)?;
                    found.committed.outbox += waiting;
                    self.counts.entry(name.to_owned()).or_default().queued += waiting;
                }
                (Some(b'd'), Some(name)) => {
                    found.committed.dead_letters += 1;
                    self.counts.entry(name.to_owned()).or_default().dead_letters += 1;
                }
                _ => {}
            }
        }
        if found != self.meta {
            return Err(Fault::Damaged("records are missing from it".to_owned()));
        }
        Ok(())
    }

    /// What the last commit said.
    pub(super) fn meta(&self) -> &Meta {
        &self.meta
    }

    /// How full a destination's outbox is.
    pub(super) fn counts(&self, destination: &str) -> Counts {
        self.counts.get(destination).copied().unwrap_or_default()
    }

    /// Whose turn it is at a destination.
    pub(super) fn turns(&self, destination: &str) -> Option<&Turns> {
        self.turns.get(destination)
    }

    /// Whether any source must reseed.
    pub(super) fn reseeding(&self) -> bool {
        self.reseeding > 0
    }

    /// Bytes on disk.
    pub(super) fn size(&self) -> u64 {
        self.db.size_on_disk().unwrap_or(0)
    }

    /// A committed record.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<IVec>, Fault> {
        let Some(value) = self.db.get(key)? else { return Ok(None) };
        unsealed(key, &value)?;
        Ok(Some(value.subslice(SUM, value.len() - SUM)))
    }

    /// Committed records from `from` on whose keys begin with `prefix`, `max` at most.
    pub(super) fn range(&self, prefix: &[u8], from: &[u8], max: usize) -> Result<Vec<Record>, Fault> {
        self.records(prefix, from).take(max).collect()
    }

    /// Visits every committed record whose key begins with `prefix`, of which there may be more than memory holds.
    pub(super) fn each(&self, prefix: &[u8], mut visit: impl FnMut(Record) -> Result<(), Fault>) -> Result<(), Fault> {
        self.records(prefix, prefix).try_for_each(|record| visit(record?))
    }

    /// The last committed key up to `to` that begins with `prefix`.
    pub(super) fn last_key(&self, prefix: &[u8], to: &[u8]) -> Result<Option<IVec>, Fault> {
        let keys = self.db.range::<&[u8], _>((Bound::Included(prefix), Bound::Included(to)));
        Ok(keys.keys().next_back().transpose()?)
    }

    fn records(&self, prefix: &[u8], from: &[u8]) -> impl Iterator<Item = Result<Record, Fault>> {
        let records = self.db.range::<&[u8], _>((Bound::Included(from), Bound::Unbounded));
        let here =
            move |record: &sled::Result<(IVec, IVec)>| record.as_ref().map_or(true, |(key, _)| key.starts_with(prefix));
        records.take_while(here).map(|record| {
            let (key, value) = record?;
            unsealed(&key, &value)?;
            let sum = sum_of(&value);
            Ok(Record { key, body: value.subslice(SUM, value.len() - SUM), sum })
        })
    }

    /// Begins a group of changes.
    pub(super) fn group(&self) -> Group {
        Group {
            changes: HashMap::new(),
            meta: self.meta,
            counts: HashMap::new(),
            turns: HashMap::new(),
            open: HashMap::new(),
            bytes: 0,
        }
    }

    /// Writes a group and waits until it is on disk.
    pub(super) fn commit(&mut self, group: Group) -> Result<(), Fault> {
        if group.changes.is_empty() { Ok(()) } else { self.write(group) }
    }

    fn write(&mut self, mut group: Group) -> Result<(), Fault> {
        let mut batch = sled::Batch::default();
        let mut reseeding = self.reseeding;
        for (key, Change { body, replaced }) in &group.changes {
            let old = match replaced {
                Replaced::Unknown => self.db.get(key)?.map(|old| sum_of(&old)),
                Replaced::Nothing => None,
                Replaced::Sum(sum) => Some(*sum),
            };
            debug_assert_eq!(old, self.db.get(key)?.map(|old| sum_of(&old)), "what is replaced is known");
            group.meta.digest ^= old.unwrap_or_default();
            if key.first() == Some(&b'r') {
                reseeding = reseeding + usize::from(body.is_some()) - usize::from(old.is_some());
            }
            match body {
                Some(body) => {
                    let sum = checksum(key, body);
                    group.meta.digest ^= sum;
                    let mut value = Vec::with_capacity(SUM + body.len());
                    value.extend_from_slice(&sum.to_le_bytes());
                    value.extend_from_slice(body);
                    batch.insert(key.as_slice(), value);
                }
                None => batch.remove(key.as_slice()),
            }
        }
        group.meta.committed.commit += 1;
        batch.insert(META, group.meta.encode());
        self.db.apply_batch(batch)?;
        self.db.flush()?;
        self.progress.enter(Phase::Sync);
        let synced = self.disk.sync();
        self.progress.enter(Phase::Database);
        synced?;
        self.meta = group.meta;
        self.reseeding = reseeding;
        self.counts.extend(group.counts);
        self.take_turns(group.turns);
        Ok(())
    }
}

impl Database {
    fn take_turns(&mut self, taken: HashMap<String, TurnsTaken>) {
        for (destination, TurnsTaken { queued, ended }) in taken {
            let turns = self.turns.entry(destination).or_default();
            queued.into_iter().for_each(|(source, parcel)| turns.queued(source, parcel));
            ended.into_iter().for_each(|(source, parcel)| turns.ended(source, parcel));
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.progress.uses(None);
    }
}

fn open_sled(dir: &Path) -> Result<sled::Db, Fault> {
    let config = sled::Config::new()
        .path(dir)
        .segment_size(SEGMENT)
        .cache_capacity(CACHE)
        .mode(sled::Mode::LowSpace)
        .flush_every_ms(None);
    let start = Instant::now();
    loop {
        match config.open() {
            // nobody else can have it, since we have the directory's lock
            Err(sled::Error::Io(error)) if is_locked(&error) && start.elapsed() < FREED_WITHIN => {
                thread::sleep(Duration::from_millis(5));
            }
            opened => return Ok(opened?),
        }
    }
}

impl Group {
    /// Counts that the group will leave behind.
    pub(super) fn meta(&mut self) -> &mut Meta {
        &mut self.meta
    }

    /// Counts of one destination that the group will leave behind.
    pub(super) fn counts(&mut self, database: &Database, destination: &str) -> &mut Counts {
        // not `entry`, which wants a name of its own each time
        if !self.counts.contains_key(destination) {
            self.counts.insert(destination.to_owned(), database.counts(destination));
        }
        self.counts.get_mut(destination).unwrap_or_else(|| unreachable!("it was put there"))
    }

    /// What the group changes in the turns of a destination's sources.
    pub(super) fn turns(&mut self, destination: &str) -> &mut TurnsTaken {
        if !self.turns.contains_key(destination) {
            self.turns.insert(destination.to_owned(), TurnsTaken::default());
        }
        self.turns.get_mut(destination).unwrap_or_else(|| unreachable!("it was put there"))
    }

    /// Whether an item of the source ends with the group.
    pub(super) fn served(&self, destination: &str, source: SourceId) -> bool {
        self.turns.get(destination).is_some_and(|turns| turns.ended.iter().any(|(ended, _)| *ended == source))
    }

    /// A record as the group will leave it.
    pub(super) fn get(&self, database: &Database, key: &[u8]) -> Result<Option<IVec>, Fault> {
        match self.changes.get(key) {
            Some(change) => Ok(change.body.as_deref().map(IVec::from)),
            None => database.get(key),
        }
    }

    /// A record as the group would leave it, and what a change of it takes the place of.
    pub(super) fn replaced(&self, database: &Database, key: &[u8]) -> Result<(Option<IVec>, Replaced), Fault> {
        if let Some(change) = self.changes.get(key) {
            return Ok((change.body.as_deref().map(IVec::from), change.replaced));
        }
        let Some(value) = database.db.get(key)? else { return Ok((None, Replaced::Nothing)) };
        unsealed(key, &value)?;
        Ok((Some(value.subslice(SUM, value.len() - SUM)), Replaced::Sum(sum_of(&value))))
    }

    /// Writes a record.
    pub(super) fn put(&mut self, key: Vec<u8>, body: Vec<u8>) {
        self.replace(key, Some(body), Replaced::Unknown);
    }

    /// Writes or removes a record of which it is known what is committed in its place.
    pub(super) fn replace(&mut self, key: Vec<u8>, body: Option<Vec<u8>>, replaced: Replaced) {
        self.bytes += body.as_ref().map_or(0, |body| key.len() + body.len());
        match self.changes.entry(key) {
            // what is committed is the same for every change of a group
            Entry::Occupied(mut change) => change.get_mut().body = body,
            Entry::Vacant(place) => {
                place.insert(Change { body, replaced });
            }
        }
    }

    /// Adds `length` bytes to the record that was last begun in this group for `whose`, or begins one with `key`
    /// if it would be longer than `most`. Gives the record's key.
    pub(super) fn append(
        &mut self,
        whose: &str,
        key: impl FnOnce() -> Vec<u8>,
        (length, most): (usize, usize),
        write: impl FnOnce(&mut Vec<u8>),
    ) -> &[u8] {
        let open =
            self.open.get(whose).and_then(|key| self.changes.get_mut(key)).and_then(|change| change.body.as_mut());
        match open.filter(|body| body.len() + length <= most) {
            Some(body) => {
                let before = body.len();
                write(body);
                self.bytes += body.len() - before;
            }
            None => {
                let (key, mut body) = (key(), Vec::new());
                write(&mut body);
                self.open.insert(whose.to_owned(), key.clone());
                // its place is new
                self.replace(key, Some(body), Replaced::Nothing);
            }
        }
        self.open.get(whose).map_or(&[], Vec::as_slice)
    }

    /// Removes a record.
    pub(super) fn remove(&mut self, key: Vec<u8>) {
        self.replace(key, None, Replaced::Unknown);
    }

    /// Bytes that it will write.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it changes the record with this key.
    pub(super) fn touches(&self, key: &[u8]) -> bool {
        self.changes.contains_key(key)
    }
}

const SUM: usize = 8;

fn sum_of(value: &[u8]) -> u64 {
    value.first_chunk::<SUM>().map_or(0, |sum| u64::from_le_bytes(*sum))
}

fn unsealed<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], Fault> {
    let body = value.get(SUM..).ok_or_else(|| damaged(key))?;
    if sum_of(value) == checksum(key, body) { Ok(body) } else { Err(damaged(key)) }
}

fn damaged(key: &[u8]) -> Fault {
    let key = String::from_utf8_lossy(key.get(..key.len().min(40)).unwrap_or_default()).into_owned();
    Fault::Damaged(format!("the record {key:?} is damaged"))
}

/// The destination in `o/NAME/…` and `d/NAME/…`.
fn destination(key: &[u8]) -> Option<&str> {
    let name = key.get(2..key.len().checked_sub(9)?)?;
    std::str::from_utf8(name).ok()
}
