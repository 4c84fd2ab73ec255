//! Records by name: sources, destinations, health, and what was lost with an earlier database.

use std::{
    collections::HashSet,
    fmt,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use jiff::{Timestamp, fmt::serde::timestamp};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{
    DestinationRecord, HostRecord, SourceRecord, Stats,
    database::{Database, Fault, Group, Record, Replaced},
    directory,
    ended::Ended,
    ingest::identity_of,
    pack::Packs,
};
use crate::model::Name;

/// What was lost with a damaged database.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Loss {
    pub(super) at: Timestamp,
    pub(super) reason: String,
    /// The name of the directory it was moved to; empty where nothing was left to move.
    pub(super) aside: String,
    /// Items that were accepted and not delivered.
    pub(super) undelivered: u64,
    pub(super) acknowledged: bool,
}

impl Loss {
    const NOTE: &str = "loss.json";

    /// Writes it down beside the database, whole and synced.
    pub(super) fn note(&self, dir: &Path) -> io::Result<()> {
        let unfinished = dir.join("loss.json.new");
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&unfinished)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(unfinished, dir.join(Self::NOTE))?;
        directory::sync(dir)
    }

    /// The note, if there is one: what it speaks of has yet to be dealt with.
    pub(super) fn noted(dir: &Path) -> io::Result<Option<Self>> {
        match fs::read(dir.join(Self::NOTE)) {
            Ok(note) => Ok(serde_json::from_slice(&note).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The loss stands in the new database.
    pub(super) fn forget_note(dir: &Path) -> io::Result<()> {
        fs::remove_file(dir.join(Self::NOTE))?;
        directory::sync(dir)
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "store: damaged ({})", self.reason)?;
        if self.aside.is_empty() {
            write!(f, ", begun anew at {:.0}", self.at)?;
        } else {
            write!(f, ", set aside as {} at {:.0}", self.aside, self.at)?;
        }
        match self.undelivered {
            0 => Ok(()),
            n => write!(f, "; {n} undelivered items were lost with it"),
        }
    }
}

const LOSS: &[u8] = b"x";

fn key(prefix: u8, name: &str) -> Vec<u8> {
    // with room for what follows the name
    let mut key = Vec::with_capacity(name.len() + 5);
    key.extend_from_slice(&[prefix, b'/']);
    key.extend_from_slice(name.as_bytes());
    key
}

pub(super) fn health_key(name: &str) -> Vec<u8> {
    key(b'h', name)
}

/// The key of a source's record; those of its seen items begin so. No name has a slash.
pub(super) fn source_key(source: &str) -> Vec<u8> {
    let mut key = key(b's', source);
    key.push(b'/');
    key
}

/// The key of seen items of a source.
pub(super) fn pack_key(source: &str, number: u16) -> Vec<u8> {
    let mut key = source_key(source);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The number of seen items, if that is what lies under this key of a source.
fn pack_number(key: &[u8]) -> Option<u16> {
    let (_, rest) = source_of(key)?;
    Some(u16::from_be_bytes(*rest.first_chunk::<2>()?))
}

/// A source's name, and what stands behind it in the key.
pub(super) fn source_of(key: &[u8]) -> Option<(&str, &[u8])> {
    let key = key.strip_prefix(b"s/")?;
    let (name, rest) = key.split_at_checked(key.iter().position(|byte| *byte == b'/')?)?;
    Some((std::str::from_utf8(name).ok()?, rest.get(1..)?))
}

fn decode<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(bytes)
        .map_err(|error| Fault::Damaged(format!("the record of {what} cannot be read: {error}")))
}

fn encode<T: Serialize>(what: &str, value: &T) -> Result<Vec<u8>, Fault> {
    serde_json::to_vec(value)
        .map_err(|error| Fault::Damaged(format!("the record of {what} cannot be written: {error}")))
}

// === sources ===

pub(super) fn source(database: &Database, group: &Group, name: &Name) -> Result<SourceRecord, Fault> {
    if let Some(bytes) = group.get(database, &source_key(name.as_str()))? {
        return decode(name.as_str(), parts(name.as_str(), &bytes)?.1);
    }
    // the ids of an earlier source of this name went on with its new name
    let renamed = group.get(database, &key(b'w', name.as_str()))?;
    let identity = renamed.map(|times| xxh3_64_with_seed(&times, identity_of(name)));
    Ok(SourceRecord { identity, ..SourceRecord::default() })
}

/// A source's record is the length of the journal of its seen items (u16), the journal, and JSON.
fn parts<'a>(name: &str, bytes: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), Fault> {
    let length = bytes.split_first_chunk::<2>();
    let parts = length.and_then(|(length, rest)| rest.split_at_checked(usize::from(u16::from_le_bytes(*length))));
    parts.ok_or_else(|| Fault::Damaged(format!("the record of {name} cannot be read: it ends too soon")))
}

/// Writes a source's record and the journal of its seen items.
pub(super) fn put_source(
    group: &mut Group,
    name: &Name,
    record: &SourceRecord,
    journal: &[u8],
    replaced: Replaced,
) -> Result<(), Fault> {
    // no journal is longer than `journal::MOST`
    let length = u16::try_from(journal.len()).unwrap_or(u16::MAX);
    let mut bytes = Vec::with_capacity(512 + journal.len());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(journal);
    serde_json::to_writer(&mut bytes, record)
        .map_err(|error| Fault::Damaged(format!("the record of {name} cannot be written: {error}")))?;
    group.replace(source_key(name.as_str()), Some(bytes), replaced);
    Ok(())
}

/// Writes a source's record, and leaves its seen items as they are.
pub(super) fn save_source(
    database: &Database,
    group: &mut Group,
    name: &Name,
    record: &SourceRecord,
) -> Result<(), Fault> {
    let (before, replaced) = group.replaced(database, &source_key(name.as_str()))?;
    let Some(bytes) = &before else { return put_source(group, name, record, &[], replaced) };
    let (journal, json) = parts(name.as_str(), bytes)?;
    let mut record = record.clone();
    record.keep_destinations(decode::<Known>(name.as_str(), json)?.destinations);
    put_source(group, name, &record, journal, replaced)
}

/// The fields of a [`SourceRecord`] that the store itself goes by.
#[derive(Deserialize)]
struct Known {
    #[serde(with = "timestamp::millisecond::optional", default)]
    last_success: Option<Timestamp>,
    #[serde(default)]
    destinations: Option<Vec<String>>,
}

/// What is committed of a source: the little that matters of its record, and its seen items.
#[derive(Default)]
pub(super) struct Remembered {
    pub(super) last_success: Option<Timestamp>,
    pub(super) destinations: Option<Vec<String>>,
    pub(super) packs: Packs,
    record: Option<u64>,
    sums: Vec<(u16, u64)>,
}

impl Remembered {
    /// What the record takes the place of.
    pub(super) fn record(&self) -> Replaced {
        self.record.map_or(Replaced::Nothing, Replaced::Sum)
    }

    /// What a pack takes the place of.
    pub(super) fn pack(&self, number: u16) -> Replaced {
        let old = self.sums.iter().find(|(other, _)| *other == number);
        old.map_or(Replaced::Nothing, |(_, sum)| Replaced::Sum(*sum))
    }
}

/// Reads all of a source at once, as it is committed: no open group may touch the source, or the checksums would
/// be those of what is not there any more.
pub(super) fn remembered(database: &Database, source: &str) -> Result<Remembered, Fault> {
    let mut remembered = Remembered::default();
    let prefix = source_key(source);
    let damaged = |_| Fault::Damaged(format!("seen items of {source}"));
    let records = database.range(&prefix, &prefix, usize::MAX)?;
    for Record { key, body, sum } in &records {
        if let Some(number) = pack_number(key) {
            remembered.packs.decode(number, body).map_err(damaged)?;
            remembered.sums.push((number, *sum));
        }
    }
    if let Some(Record { body, sum, .. }) = records.first().filter(|record| record.key == prefix) {
        let (journal, json) = parts(source, body)?;
        remembered.packs.replay(journal).map_err(damaged)?;
        let known: Known = decode(source, json)?;
        (remembered.last_success, remembered.destinations) = (known.last_success, known.destinations);
        remembered.record = Some(*sum);
    }
    Ok(remembered)
}

/// Whether the source has yet to mark what it shows as seen, after a loss.
pub(super) fn must_reseed(database: &Database, group: &Group, name: &Name) -> Result<bool, Fault> {
    // a group that ends the reseeding of a source is committed before the source is looked at again
    Ok(database.reseeding() && group.get(database, &key(b'r', name.as_str()))?.is_some())
}

pub(super) fn reseeded(group: &mut Group, name: &Name) {
    group.remove(key(b'r', name.as_str()));
}

pub(super) fn begin_reseeding(group: &mut Group, loss: &Loss, sources: &[Name]) -> Result<(), Fault> {
    for name in sources {
        group.put(key(b'r', name.as_str()), Vec::new());
    }
    group.put(LOSS.to_vec(), encode("what was lost", loss)?);
    Ok(())
}

/// What came of a source's new name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renamed {
    /// The state of the former name is that of the new one now.
    TakenOver,
    /// Nothing is kept under the former name, as after it was taken over.
    Unknown,
    /// The new name has a state of its own, and keeps it.
    Known,
}

/// Has a source take over all that is kept under its former name. Neither may be touched by the group yet.
pub(super) fn rename(database: &Database, group: &mut Group, old: &Name, new: &Name) -> Result<Renamed, Fault> {
    // an earlier source that had yet to reseed has nothing to be taken over
    if database.reseeding() && database.get(&key(b'r', old.as_str()))?.is_some() {
        reseeded(group, old);
    }
    let from = source_key(old.as_str());
    let records = database.range(&from, &from, usize::MAX)?;
    let Some(main) = records.first().filter(|record| record.key == from) else { return Ok(Renamed::Unknown) };
    if remembered(database, new.as_str())?.last_success.is_some() {
        return Ok(Renamed::Known);
    }
    let (journal, json) = parts(old.as_str(), &main.body)?;
    let mut record: SourceRecord = decode(old.as_str(), json)?;
    record.identity = Some(record.identity.unwrap_or_else(|| identity_of(old)));
    put_source(group, new, &record, journal, Replaced::Unknown)?;
    group.replace(from.clone(), None, Replaced::Sum(main.sum));
    for Record { key, body, sum } in &records[1..] {
        let number = pack_number(key).ok_or_else(|| Fault::Damaged(format!("seen items of {old}")))?;
        group.put(pack_key(new.as_str(), number), body.to_vec());
        group.replace(key.to_vec(), None, Replaced::Sum(*sum));
    }
    if let Some(counters) = database.get(&health_key(old.as_str()))? {
        group.put(health_key(new.as_str()), counters.to_vec());
        group.remove(health_key(old.as_str()));
    }
    if database.reseeding() && database.get(&key(b'r', new.as_str()))?.is_some() {
        reseeded(group, new);
    }
    let times =
        database.get(&key(b'w', old.as_str()))?.and_then(|times| Some(u32::from_le_bytes(*times.first_chunk()?)));
    group.put(key(b'w', old.as_str()), (times.unwrap_or(0) + 1).to_le_bytes().to_vec());
    Ok(Renamed::TakenOver)
}

/// A source that left the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Former {
    /// Its name.
    pub name: String,
    /// Fingerprint of its URL.
    pub address: Option<u64>,
    /// Fingerprint of all that its document hangs on.
    pub fingerprint: u64,
}

/// Sources that left the configuration.
pub(super) fn former(database: &Database, configured: &[Name]) -> Result<Vec<Former>, Fault> {
    let configured: HashSet<&str> = configured.iter().map(Name::as_str).collect();
    let mut former = Vec::new();
    let mut from = b"s/".to_vec();
    while let Some(Record { key, body, .. }) = database.range(b"s/", &from, 1)?.pop() {
        let Some((name, rest)) = source_of(&key) else { break };
        if rest.is_empty() && !configured.contains(name) {
            let SourceRecord { address, fingerprint, .. } = decode(name, parts(name, &body)?.1)?;
            former.push(Former { name: name.to_owned(), address, fingerprint });
        }
        // behind all that lies under its name
        from = source_key(name);
        from.push(u8::MAX);
        from.push(u8::MAX);
        from.push(u8::MAX);
    }
    Ok(former)
}

/// Forgets sources that left the configuration longer than their retention ago, and says which.
pub(super) fn purge(
    database: &Database,
    group: &mut Group,
    configured: &[Name],
    now: Timestamp,
) -> Result<Vec<String>, Fault> {
    let mut forgotten = Vec::new();
    let configured: HashSet<&str> = configured.iter().map(Name::as_str).collect();
    database.each(b"s/", |Record { key: stored, body, .. }| {
        let Some((name, [])) = source_of(&stored) else { return Ok(()) };
        if configured.contains(name) {
            return Ok(());
        }
        let record: SourceRecord = decode(name, parts(name, &body)?.1)?;
        let (Some(last), Some(retention)) = (record.last_success, record.retention_s) else { return Ok(()) };
        if now.duration_since(last).as_secs() > i64::try_from(retention).unwrap_or(i64::MAX) {
            forgotten.push(name.to_owned());
        }
        Ok(())
    })?;
    for name in &forgotten {
        group.remove(health_key(name));
        group.remove(key(b'r', name));
        group.meta().committed.seen -= remembered(database, name)?.packs.len() as u64;
        let prefix = source_key(name);
        for Record { key, sum, .. } in database.range(&prefix, &prefix, usize::MAX)? {
            group.replace(key.to_vec(), None, Replaced::Sum(sum));
        }
    }
    Ok(forgotten)
}

// === destinations ===

pub(super) fn destination(database: &Database, name: &Name) -> Result<DestinationRecord, Fault> {
    let bytes = database.get(&key(b't', name.as_str()))?;
    let Some(bytes) = bytes else { return Ok(DestinationRecord::default()) };
    decode(name.as_str(), Ended::read(&bytes)?.1)
}

/// Which items of its outbox have ended.
pub(super) fn ended(database: &Database, group: &Group, name: &str) -> Result<Ended, Fault> {
    let bytes = group.get(database, &key(b't', name))?;
    bytes.map_or_else(|| Ok(Ended::default()), |bytes| Ok(Ended::read(&bytes)?.0))
}

pub(super) fn put_destination(
    group: &mut Group,
    name: &Name,
    ended: &Ended,
    record: &DestinationRecord,
) -> Result<(), Fault> {
    let mut bytes = Vec::with_capacity(256);
    ended.write(&mut bytes);
    bytes.extend_from_slice(&encode(name.as_str(), record)?);
    group.put(key(b't', name.as_str()), bytes);
    Ok(())
}

// === hosts of destinations ===

pub(super) fn host(database: &Database, group: &Group, host: &str) -> Result<HostRecord, Fault> {
    let json = group.get(database, &key(b'l', host))?;
    json.map_or_else(|| Ok(HostRecord::default()), |json| decode(host, &json))
}

pub(super) fn put_host(group: &mut Group, host: &str, record: &HostRecord) -> Result<(), Fault> {
    group.put(key(b'l', host), encode(host, record)?);
    Ok(())
}

// === the rest ===

pub(super) fn load_health(database: &Database) -> Result<Vec<(String, Vec<u8>)>, Fault> {
    let records = database.range(b"h/", b"h/", usize::MAX)?;
    let name = |key: &[u8]| String::from_utf8_lossy(key.get(2..).unwrap_or_default()).into_owned();
    Ok(records.into_iter().map(|record| (name(&record.key), record.body.to_vec())).collect())
}

pub(super) fn loss(database: &Database) -> Result<Option<Loss>, Fault> {
    database.get(LOSS)?.map(|bytes| decode("what was lost", &bytes)).transpose()
}

pub(super) fn acknowledge(database: &Database, group: &mut Group) -> Result<(), Fault> {
    if let Some(loss) = loss(database)? {
        group.put(LOSS.to_vec(), encode("what was lost", &Loss { acknowledged: true, ..loss })?);
    }
    Ok(())
}

pub(super) fn stats(database: &Database, dir: &Path) -> Result<Stats, Fault> {
    let committed = database.meta().committed;
    let aside = std::fs::read_dir(dir).map_err(|error| Fault::Io(error.to_string()))?;
    let aside = aside.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut sources = 0;
    database.each(b"s/", |record| {
        sources += u64::from(pack_number(&record.key).is_none());
        Ok(())
    })?;
    let mut set_aside: Vec<_> = aside.filter(|name| name.starts_with("damaged-")).collect();
    set_aside.sort_unstable();
    Ok(Stats {
        sources,
        items_seen: committed.seen,
        outbox: committed.outbox,
        dead_letters: committed.dead_letters,
        commits: committed.commit,
        reseeding: database.range(b"r/", b"r/", usize::MAX)?.len() as u64,
        bytes: database.size(),
        set_aside,
    })
}
