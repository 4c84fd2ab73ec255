//! Outbox and dead letters of one destination, in the order of delivery.
//!
//! Items queued by one commit lie together in *parcels*, each one record: many small records would each cost
//! the database as much as a large one. Items end in their order, so that how far a destination has come is
//! one number, kept with its record; a parcel goes when its last item has ended.

use jiff::Timestamp;
use serde::Serialize;

use super::{
    Backlog, DestinationRecord, Queued, Settled,
    database::{Database, Fault, Group, Record, Replaced},
    records,
};
use crate::model::{DeliveryError, Name};

/// The longest parcel of more than one item, in bytes. Under load a commit's items fill some: more of them would each be
/// written again with those that lie beside them, and of larger ones sled would make files of their own.
const PARCEL: usize = 32 * 1024;

/// A dead letter as it is kept.
#[derive(Serialize)]
struct DeadLetter<'a> {
    delivery: &'a serde_json::value::RawValue,
    error: &'a DeliveryError,
}

fn prefix(kind: u8, destination: &str) -> Vec<u8> {
    [&[kind, b'/'], destination.as_bytes(), b"/"].concat()
}

fn key(kind: u8, destination: &str, seq: u64) -> Vec<u8> {
    [prefix(kind, destination).as_slice(), &seq.to_be_bytes()].concat()
}

/// One item in a parcel.
struct Entry<'a> {
    seq: u64,
    accepted: i64,
    json: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Bytes in its parcel.
    fn length(&self) -> usize {
        3 * size_of::<u64>() + self.json.len()
    }

    fn write(&self, parcel: &mut Vec<u8>) {
        parcel.extend_from_slice(&self.seq.to_le_bytes());
        parcel.extend_from_slice(&self.accepted.to_le_bytes());
        parcel.extend_from_slice(&(self.json.len() as u64).to_le_bytes());
        parcel.extend_from_slice(self.json);
    }

    /// The items of a parcel.
    fn all(mut parcel: &'a [u8]) -> impl Iterator<Item = Result<Self, Fault>> {
        std::iter::from_fn(move || {
            (!parcel.is_empty()).then(|| {
                let entry = Self::read(&mut parcel);
                entry.ok_or_else(unreadable)
            })
        })
        // nothing can be read behind what cannot be read
        .scan(false, |failed, entry| (!std::mem::replace(failed, entry.is_err())).then_some(entry))
    }

    fn queued(&self) -> Result<Queued, Fault> {
        let json = std::str::from_utf8(self.json).map_err(|_| unreadable())?;
        Ok(Queued { seq: self.seq, json: json.to_owned() })
    }

    fn read(parcel: &mut &'a [u8]) -> Option<Self> {
        let mut number = || {
            let (bytes, rest) = parcel.split_first_chunk::<8>()?;
            *parcel = rest;
            Some(u64::from_le_bytes(*bytes))
        };
        let (seq, accepted, length) = (number()?, number()?.cast_signed(), number()?);
        let (json, rest) = parcel.split_at_checked(usize::try_from(length).ok()?)?;
        *parcel = rest;
        Some(Self { seq, accepted, json })
    }
}

fn unreadable() -> Fault {
    Fault::Damaged("items in the outbox cannot be read".to_owned())
}

/// The items of a parcel that have not ended.
pub(super) fn waiting(parcel: &[u8], ended: u64) -> Result<u64, Fault> {
    Entry::all(parcel).try_fold(0, |count, entry| Ok(count + u64::from(entry?.seq > ended)))
}

/// Queues one item, as JSON, for one destination.
pub(super) fn push(database: &Database, group: &mut Group, destination: &Name, accepted: Timestamp, json: &[u8]) {
    let meta = group.meta();
    let seq = meta.next_seq;
    meta.next_seq += 1;
    meta.committed.outbox += 1;
    group.counts(database, destination.as_str()).queued += 1;
    let entry = Entry { seq, accepted: accepted.as_millisecond(), json };
    let room = (entry.length(), PARCEL);
    group.append(destination.as_str(), || key(b'o', destination.as_str(), seq), room, |parcel| entry.write(parcel));
}

/// Visits a destination's committed items after the place `after`, the oldest first, until `visit` says false.
fn visit(
    database: &Database,
    destination: &Name,
    after: u64,
    mut visit: impl FnMut(&Entry<'_>) -> bool,
) -> Result<(), Fault> {
    let prefix = prefix(b'o', destination.as_str());
    let mut from = prefix.clone();
    while let Some(Record { key, body, .. }) = database.range(&prefix, &from, 1)?.pop() {
        for entry in Entry::all(&body) {
            let entry = entry?;
            if entry.seq > after && !visit(&entry) {
                return Ok(());
            }
        }
        from = [&key[..], &[0]].concat();
    }
    Ok(())
}

/// The oldest items after the place `after`, `max` at most.
pub(super) fn lease(database: &Database, destination: &Name, after: u64, max: usize) -> Result<Vec<Queued>, Fault> {
    let ended = records::ended(database, &database.group(), destination.as_str())?;
    let mut items = Vec::new();
    visit(database, destination, after.max(ended), |entry| {
        items.push(entry.queued());
        items.len() < max
    })?;
    items.truncate(max);
    items.into_iter().collect()
}

/// Notes how items ended, the refused ones become dead letters. They end in their order: one that is not the
/// oldest waits with those after it for the next time, and one that is no longer there was settled before, by
/// an actor that died before it heard so.
pub(super) fn settle(
    database: &Database,
    group: &mut Group,
    destination: &Name,
    settled: Vec<Settled>,
    record: &DestinationRecord,
) -> Result<Backlog, Fault> {
    let mut ended = records::ended(database, group, destination.as_str())?;
    let mut settled = settled.into_iter().peekable();
    let prefix = prefix(b'o', destination.as_str());
    let mut from = prefix.clone();
    'parcels: while settled.peek().is_some() {
        let Some(parcel) = database.range(&prefix, &from, 1)?.pop() else { break };
        for entry in Entry::all(&parcel.body) {
            let entry = entry?;
            if entry.seq <= ended {
                continue;
            }
            while settled.next_if(|settled| settled.seq < entry.seq).is_some() {}
            let Some(Settled { refused, .. }) = settled.next_if(|settled| settled.seq == entry.seq) else {
                break 'parcels;
            };
            ended = entry.seq;
            group.meta().committed.outbox -= 1;
            group.counts(database, destination.as_str()).queued -= 1;
            if let Some(error) = refused {
                let damaged = |error: serde_json::Error| Fault::Damaged(format!("a dead letter: {error}"));
                let delivery = serde_json::from_slice(entry.json).map_err(damaged)?;
                let json = serde_json::to_vec(&DeadLetter { delivery, error: &error }).map_err(damaged)?;
                group.put(key(b'd', destination.as_str(), entry.seq), json);
                group.meta().committed.dead_letters += 1;
                group.counts(database, destination.as_str()).dead_letters += 1;
            }
        }
        from = [&parcel.key[..], &[0]].concat();
        group.replace(parcel.key.to_vec(), None, Replaced::Sum(parcel.sum));
    }
    records::put_destination(group, destination, ended, record)?;
    backlog(database, group, destination)
}

/// How full the outbox is, as the group will leave it.
pub(super) fn backlog(database: &Database, group: &mut Group, destination: &Name) -> Result<Backlog, Fault> {
    let counts = *group.counts(database, destination.as_str());
    let mut oldest = None;
    if counts.queued > 0 {
        visit(database, destination, records::ended(database, group, destination.as_str())?, |entry| {
            oldest = Timestamp::from_millisecond(entry.accepted).ok();
            false
        })?;
    }
    Ok(Backlog { queued: counts.queued, dead_letters: counts.dead_letters, oldest })
}
