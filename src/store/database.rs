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
//!
//! Every value begins with a checksum of key and body; `m` holds the XOR of them all. sled may lose
//! records without saying so: at opening every record is read, and checksums, counts, digest and the
//! counter of [`Commits`](super::commits) must agree, or the database counts as damaged.

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    ops::Bound,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::mpsc,
    time::{Duration, Instant},
};

use sled::IVec;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::{
    commits::Committed,
    turns::{ParcelId, SourceId, Turns},
};

/// Raised when an earlier program cannot read what is stored.
const VERSION: u8 = 4;
/// The earliest version that is continued. 3: items of an outbox ended in the order of their places.
const OLDEST_VERSION: u8 = 3;
/// An open that takes longer is taken for hung.
const OPEN_WITHIN: Duration = Duration::from_secs(120);
/// So long a database that was just closed may still be held by threads of sled's own.
const FREED_WITHIN: Duration = Duration::from_secs(5);
/// With sled's 512 kB a burst of large values can deadlock it for good; with this it was never seen to.
const SEGMENT: usize = 4 << 20;
/// Loosely a bound, see the figures in the README.
const CACHE: u64 = 2 << 20;
const META: &[u8] = b"m";

/// Why a database could not be opened or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The disk is full, or may not be written: retried, and nothing is lost.
    #[error("{0}")]
    Io(String),
    /// What is there is not what was written.
    #[error("{0}")]
    Damaged(String),
}

impl From<sled::Error> for Fault {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(error) if is_environment(&error) => Self::Io(error.to_string()),
            error => Self::Damaged(error.to_string()),
        }
    }
}

/// Errors that speak of the machine, not of the file's contents.
fn is_environment(error: &io::Error) -> bool {
    use io::ErrorKind::{
        Interrupted, OutOfMemory, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull, WouldBlock,
    };
    // EMFILE and ENFILE have no kind of their own
    matches!(error.raw_os_error(), Some(23 | 24))
        || is_locked(error)
        || matches!(
            error.kind(),
            StorageFull
                | QuotaExceeded
                | PermissionDenied
                | ReadOnlyFilesystem
                | WouldBlock
                | Interrupted
                | OutOfMemory
        )
}

/// sled takes a snapshot that it could not finish writing, on a full disk or as it was killed, for one that
/// is damaged, and then opens no more. The one before it is still there, or none is needed.
fn remove_unfinished(dir: &Path) -> Result<(), Fault> {
    let failed = |error: io::Error| Fault::Io(error.to_string());
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            std::fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}

fn is_locked(error: &io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
}

/// Counts and digest over all records; part of every commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) committed: Committed,
    /// The next place in an outbox, over all destinations.
    pub(super) next_seq: u64,
    digest: u64,
}

impl Default for Meta {
    fn default() -> Self {
        Self { committed: Committed::default(), next_seq: 1, digest: 0 }
    }
}

impl Meta {
    fn encode(&self) -> Vec<u8> {
        let Committed { commit, seen, outbox, dead_letters } = self.committed;
        let mut bytes = vec![VERSION];
        for number in [commit, seen, outbox, dead_letters, self.next_seq, self.digest] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        let sum = checksum(META, &bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let damaged = || Fault::Damaged("its own description is damaged".to_owned());
        let (body, sum) = bytes.split_last_chunk::<8>().ok_or_else(damaged)?;
        if u64::from_le_bytes(*sum) != checksum(META, body) {
            return Err(damaged());
        }
        let (version, mut numbers) = body.split_first().ok_or_else(damaged)?;
        if !(OLDEST_VERSION..=VERSION).contains(version) {
            let known = format!("{OLDEST_VERSION} to {VERSION}");
            return Err(Fault::Damaged(format!("it is of format {version}, this program reads {known}")));
        }
        let mut next = || {
            let (number, rest) = numbers.split_first_chunk::<8>().ok_or_else(damaged)?;
            numbers = rest;
            Ok::<u64, Fault>(u64::from_le_bytes(*number))
        };
        let committed = Committed { commit: next()?, seen: next()?, outbox: next()?, dead_letters: next()? };
        Ok(Self { committed, next_seq: next()?, digest: next()? })
    }
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
    /// Opens the database in `dir` and reads all of it. sled may panic over a damaged file, so it is
    /// opened on a thread of its own, which is left behind if it hangs.
    pub(super) fn open(dir: &Path, known: Option<Committed>) -> Result<Self, Fault> {
        let (tell, told) = mpsc::channel();
        let dir: PathBuf = dir.to_owned();
        let opening = std::thread::Builder::new().name("store-open".into()).spawn(move || {
            let opened = catch_unwind(AssertUnwindSafe(|| Self::open_here(&dir, known)));
            // if nobody waits any longer, the database is closed again
            let _ = tell.send(opened.unwrap_or_else(|_| Err(Fault::Damaged("reading it panicked".to_owned()))));
        });
        opening.map_err(|error| Fault::Io(error.to_string()))?;
        told.recv_timeout(OPEN_WITHIN)
            .unwrap_or_else(|_| Err(Fault::Damaged(format!("it did not open within {} s", OPEN_WITHIN.as_secs()))))
    }

    fn open_here(dir: &Path, known: Option<Committed>) -> Result<Self, Fault> {
        let config = sled::Config::new()
            .path(dir)
            .segment_size(SEGMENT)
            .cache_capacity(CACHE)
            .mode(sled::Mode::LowSpace)
            .flush_every_ms(None);
        remove_unfinished(dir)?;
        let start = Instant::now();
        let db = loop {
            match config.open() {
                // nobody else can have it, for we have the directory's lock
                Err(sled::Error::Io(error)) if is_locked(&error) && start.elapsed() < FREED_WITHIN => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                opened => break opened?,
            }
        };
        let meta = match db.get(META)? {
            Some(bytes) => Meta::decode(&bytes)?,
            None => Meta::default(),
        };
        let known = known.map_or(0, |known| known.commit);
        if meta.committed.commit < known {
            return Err(Fault::Damaged(format!(
                "it ends at commit {}, and {known} were recorded",
                meta.committed.commit
            )));
        }
        let mut database = Self { db, meta, counts: HashMap::new(), turns: HashMap::new(), reseeding: 0 };
        database.verify()?;
        Ok(database)
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
    pub(super) fn commit(&mut self, mut group: Group) -> Result<(), Fault> {
        if group.changes.is_empty() {
            return Ok(());
        }
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

fn checksum(key: &[u8], body: &[u8]) -> u64 {
    xxh3_64_with_seed(body, xxh3_64(key))
}

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
