//! Records by name: sources, destinations, health, and what was lost with an earlier database.

use std::{
    collections::HashSet,
    fmt,
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    DestinationRecord, SourceRecord, Stats,
    database::{Database, Fault, Group},
};
use crate::model::Name;

/// What was lost with a damaged database.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Loss {
    pub(super) at: Timestamp,
    pub(super) reason: String,
    /// The directory's name.
    pub(super) aside: String,
    /// Items that were accepted and not delivered.
    pub(super) undelivered: u64,
    pub(super) acknowledged: bool,
}

impl Loss {
    const NOTE: &str = "loss.json";

    /// Writes it down beside the database, whole and flushed.
    pub(super) fn note(&self, dir: &Path) -> io::Result<()> {
        let unfinished = dir.join("loss.json.new");
        let mut file = File::create(&unfinished)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(unfinished, dir.join(Self::NOTE))?;
        File::open(dir)?.sync_all()
    }

    /// The note, if there is one: what it speaks of has yet to be dealt with.
    pub(super) fn noted(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(dir.join(Self::NOTE)).ok()?).ok()
    }

    /// The loss stands in the new database.
    pub(super) fn forget_note(dir: &Path) -> io::Result<()> {
        fs::remove_file(dir.join(Self::NOTE))
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "store: damaged ({}), set aside as {} at {:.0}", self.reason, self.aside, self.at)?;
        match self.undelivered {
            0 => Ok(()),
            n => write!(f, "; {n} undelivered items were lost with it"),
        }
    }
}

const LOSS: &[u8] = b"x";

fn key(prefix: u8, name: &str) -> Vec<u8> {
    [&[prefix, b'/'], name.as_bytes()].concat()
}

pub(super) fn health_key(name: &str) -> Vec<u8> {
    key(b'h', name)
}

/// The keys of a source's seen items begin so.
pub(super) fn pack_prefix(source: &Name) -> Vec<u8> {
    let mut prefix = key(b'p', source.as_str());
    prefix.push(b'/');
    prefix
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
    let bytes = group.get(database, &key(b's', name.as_str()))?;
    bytes.map_or_else(|| Ok(SourceRecord::default()), |bytes| decode(name.as_str(), &bytes))
}

pub(super) fn put_source(group: &mut Group, name: &Name, record: &SourceRecord) -> Result<(), Fault> {
    group.put(key(b's', name.as_str()), encode(name.as_str(), record)?);
    Ok(())
}

/// Whether the source has yet to mark what it shows as seen, after a loss.
pub(super) fn must_reseed(database: &Database, group: &Group, name: &Name) -> Result<bool, Fault> {
    Ok(group.get(database, &key(b'r', name.as_str()))?.is_some())
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

/// Forgets sources that left the configuration longer than their retention ago, and says which.
pub(super) fn purge(
    database: &Database,
    group: &mut Group,
    configured: &[Name],
    now: Timestamp,
) -> Result<Vec<String>, Fault> {
    let mut forgotten = Vec::new();
    let configured: HashSet<&str> = configured.iter().map(Name::as_str).collect();
    for (stored, bytes) in database.range(b"s/", b"s/", usize::MAX)? {
        let name = String::from_utf8_lossy(stored.get(2..).unwrap_or_default()).into_owned();
        if configured.contains(name.as_str()) {
            continue;
        }
        let record: SourceRecord = decode(&name, &bytes)?;
        let (Some(last), Some(retention)) = (record.last_success, record.retention_s) else { continue };
        if now.duration_since(last).as_secs() <= i64::try_from(retention).unwrap_or(i64::MAX) {
            continue;
        }
        group.remove(stored.to_vec());
        group.remove(health_key(&name));
        group.remove(key(b'r', &name));
        let prefix = key(b'p', &format!("{name}/"));
        for (pack, bytes) in database.range(&prefix, &prefix, usize::MAX)? {
            let items = super::pack::count(&bytes).map_err(|_| Fault::Damaged(format!("seen items of {name}")))?;
            group.meta().committed.seen -= items;
            group.remove(pack.to_vec());
        }
        forgotten.push(name);
    }
    Ok(forgotten)
}

// === destinations ===

pub(super) fn destination(database: &Database, name: &Name) -> Result<DestinationRecord, Fault> {
    let bytes = database.get(&key(b't', name.as_str()))?;
    // behind the place of the last item that ended
    let json = bytes.as_deref().map(|bytes| bytes.get(8..).unwrap_or_default());
    json.map_or_else(|| Ok(DestinationRecord::default()), |json| decode(name.as_str(), json))
}

/// The place of the last item of its outbox that ended; 0 before the first.
pub(super) fn ended(database: &Database, group: &Group, name: &str) -> Result<u64, Fault> {
    let bytes = group.get(database, &key(b't', name))?;
    let ended = bytes.as_deref().and_then(|bytes| bytes.first_chunk::<8>());
    Ok(ended.map_or(0, |ended| u64::from_le_bytes(*ended)))
}

pub(super) fn put_destination(
    group: &mut Group,
    name: &Name,
    ended: u64,
    record: &DestinationRecord,
) -> Result<(), Fault> {
    let json = encode(name.as_str(), record)?;
    group.put(key(b't', name.as_str()), [ended.to_le_bytes().as_slice(), &json].concat());
    Ok(())
}

// === the rest ===

pub(super) fn load_health(database: &Database) -> Result<Vec<(String, Vec<u8>)>, Fault> {
    let records = database.range(b"h/", b"h/", usize::MAX)?;
    let name = |key: &[u8]| String::from_utf8_lossy(key.get(2..).unwrap_or_default()).into_owned();
    Ok(records.into_iter().map(|(key, bytes)| (name(&key), bytes.to_vec())).collect())
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
    let mut set_aside: Vec<_> = aside.filter(|name| name.starts_with("damaged-")).collect();
    set_aside.sort_unstable();
    Ok(Stats {
        sources: database.range(b"s/", b"s/", usize::MAX)?.len() as u64,
        items_seen: committed.seen,
        outbox: committed.outbox,
        dead_letters: committed.dead_letters,
        commits: committed.commit,
        reseeding: database.range(b"r/", b"r/", usize::MAX)?.len() as u64,
        bytes: database.size(),
        set_aside,
    })
}
