//! Outbox and dead letters of one destination.
//!
//! Items queued by one commit lie together in *parcels*, of whichever sources they are. They are leased in the
//! turns of their sources, and which of them have [`Ended`] stands in the destination's record, so that an
//! acknowledgement writes that record alone. A parcel goes when its last item has ended.

use std::{
    collections::{HashMap, VecDeque},
    rc::Rc,
};

use jiff::Timestamp;
use serde::Serialize;
use sled::IVec;

use super::{
    Backlog, DestinationRecord, Queued, Settled,
    database::{Database, Fault, Group, Record, Replaced},
    ended::Ended,
    parcel::{self, Entry, Place},
    records,
    turns::{ParcelId, SourceId, Turns},
};
use crate::model::{DeliveryError, Name};

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

/// The place that a key of a parcel ends in.
fn parcel_id(key: &[u8]) -> ParcelId {
    key.last_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Counts the items of a stored parcel that wait, and enters them into the turns.
pub(super) fn index(turns: &mut Turns, key: &[u8], parcel: &[u8], ended: &Ended) -> Result<u64, Fault> {
    let entries = Entry::all(parcel)?;
    let waiting = entries.iter().filter(|entry| !ended.contains(entry.seq));
    Ok(waiting.map(|entry| turns.queued(entry.source(), parcel_id(key))).count() as u64)
}

/// Queues one item, as JSON, for one destination.
pub(super) fn push(database: &Database, group: &mut Group, destination: &Name, accepted: Timestamp, json: &[u8]) {
    let meta = group.meta();
    let seq = meta.next_seq;
    meta.next_seq += 1;
    meta.committed.outbox += 1;
    group.counts(database, destination.as_str()).queued += 1;
    let entry = Entry { seq, accepted: accepted.as_millisecond(), json };
    let room = (entry.length(), parcel::MAX_BYTES);
    let key = group.append(
        destination.as_str(),
        || key(b'o', destination.as_str(), seq),
        room,
        |parcel| {
            entry.write(parcel);
        },
    );
    let parcel = parcel_id(key);
    group.turns(destination.as_str()).queued.push((entry.source(), parcel));
}

/// The parcel that may hold the item at `seq`, as the group leaves it, and what a change of it replaces.
fn parcel_of(
    database: &Database,
    group: &Group,
    destination: &str,
    seq: u64,
) -> Result<Option<(IVec, IVec, Replaced)>, Fault> {
    let Some(key) = database.last_key(&prefix(b'o', destination), &key(b'o', destination, seq))? else {
        return Ok(None);
    };
    let (body, replaced) = group.replaced(database, &key)?;
    Ok(body.map(|body| (key, body, replaced)))
}

/// A parcel, and where its items lie.
struct Parcel {
    body: IVec,
    places: Vec<Place>,
}

/// The parcels that one lease looks into, each read once.
struct Parcels<'d> {
    database: &'d Database,
    group: &'d Group,
    destination: &'d str,
    read: HashMap<ParcelId, Rc<Parcel>>,
}

impl Parcels<'_> {
    fn get(&mut self, id: ParcelId) -> Result<Rc<Parcel>, Fault> {
        if let Some(parcel) = self.read.get(&id) {
            return Ok(parcel.clone());
        }
        let body = self.group.get(self.database, &key(b'o', self.destination, id))?.unwrap_or_default();
        let parcel = Rc::new(Parcel { places: Place::all(&body)?, body });
        self.read.insert(id, parcel.clone());
        Ok(parcel)
    }
}

/// Goes over what waits of one source.
struct Cursor<I> {
    source: SourceId,
    parcels: I,
    at: Option<(Rc<Parcel>, usize)>,
}

impl<I: Iterator<Item = ParcelId>> Cursor<I> {
    fn next(&mut self, parcels: &mut Parcels<'_>, ended: &Ended) -> Result<Option<Queued>, Fault> {
        loop {
            if let Some((parcel, at)) = &mut self.at {
                while let Some(place) = parcel.places.get(*at) {
                    *at += 1;
                    if place.source == self.source && !ended.contains(place.seq) {
                        return place.item(&parcel.body).map(Some);
                    }
                }
            }
            let Some(next) = self.parcels.next() else { return Ok(None) };
            self.at = Some((parcels.get(next)?, 0));
        }
    }
}

/// The next `max` items in the turns of their sources, without those that the group has end.
pub(super) fn lease(database: &Database, group: &Group, destination: &Name, max: usize) -> Result<Vec<Queued>, Fault> {
    let destination = destination.as_str();
    let mut items = Vec::new();
    let Some(turns) = database.turns(destination) else { return Ok(items) };
    let ended = records::ended(database, group, destination)?;
    let mut parcels = Parcels { database, group, destination, read: HashMap::new() };
    let mut cursors = VecDeque::new();
    // who has its turn in this very group comes after all others
    let served = |source: &SourceId| group.served(destination, *source);
    let waiting = turns.in_order().filter(|(source, _)| !served(source));
    let waiting = waiting.chain(turns.in_order().filter(|(source, _)| served(source)));
    for (source, runs) in waiting {
        if items.len() >= max {
            return Ok(items);
        }
        let mut cursor = Cursor { source, parcels: runs, at: None };
        if let Some(item) = cursor.next(&mut parcels, &ended)? {
            items.push(item);
            cursors.push_back(cursor);
        }
    }
    while items.len() < max
        && let Some(mut cursor) = cursors.pop_front()
    {
        if let Some(item) = cursor.next(&mut parcels, &ended)? {
            items.push(item);
            cursors.push_back(cursor);
        }
    }
    Ok(items)
}

/// Notes which items ended; the refused ones become dead letters. One that is no longer there was settled before,
/// by an actor that died before it heard so.
pub(super) fn settle(
    database: &Database,
    group: &mut Group,
    destination: &Name,
    mut settled: Vec<Settled>,
    record: &DestinationRecord,
) -> Result<Backlog, Fault> {
    let name = destination.as_str();
    let mut ended = records::ended(database, group, name)?;
    settled.sort_by_key(|settled| settled.seq);
    let mut rest = settled.as_slice();
    while let Some((first, others)) = rest.split_first() {
        let Some((key, body, replaced)) = parcel_of(database, group, name, first.seq)? else {
            rest = others;
            continue;
        };
        let entries = Entry::all(&body)?;
        let last = entries.last().map_or(0, |entry| entry.seq);
        let (here, after) = rest.split_at(rest.partition_point(|settled| settled.seq <= last).max(1));
        rest = after;
        settle_parcel(database, group, name, (parcel_id(&key), &entries), here, &mut ended)?;
        if entries.iter().all(|entry| ended.contains(entry.seq)) {
            ended.clear(parcel_id(&key)..=last);
            group.replace(key.to_vec(), None, replaced);
        }
    }
    let oldest = oldest(database, group, name, &ended)?;
    if let Some((seq, _)) = oldest {
        ended.waits_from(seq);
    }
    while let Some(seq) = ended.excess() {
        pack(database, group, name, seq, &mut ended)?;
    }
    records::put_destination(group, destination, &ended, record)?;
    Ok(backlog_of(database, group, name, oldest))
}

/// Ends items of one parcel.
fn settle_parcel(
    database: &Database,
    group: &mut Group,
    destination: &str,
    (parcel, entries): (ParcelId, &[Entry<'_>]),
    mut settled: &[Settled],
    ended: &mut Ended,
) -> Result<(), Fault> {
    let mut flags = Vec::with_capacity(entries.len());
    for entry in entries {
        while let [first, rest @ ..] = settled
            && first.seq < entry.seq
        {
            settled = rest;
        }
        let before = ended.contains(entry.seq);
        let now = settled.first().filter(|settled| settled.seq == entry.seq);
        flags.push((entry.seq, before || now.is_some()));
        let Some(Settled { refused, .. }) = now.filter(|_| !before) else { continue };
        group.turns(destination).ended.push((entry.source(), parcel));
        group.meta().committed.outbox -= 1;
        group.counts(database, destination).queued -= 1;
        if let Some(error) = refused {
            group.put(key(b'd', destination, entry.seq), dead_letter(entry.json, error)?);
            group.meta().committed.dead_letters += 1;
            group.counts(database, destination).dead_letters += 1;
        }
    }
    ended.set(&flags);
    Ok(())
}

fn dead_letter(delivery: &[u8], error: &DeliveryError) -> Result<Vec<u8>, Fault> {
    let damaged = |error: serde_json::Error| Fault::Damaged(format!("a dead letter: {error}"));
    let delivery = serde_json::from_slice(delivery).map_err(damaged)?;
    serde_json::to_vec(&DeadLetter { delivery, error }).map_err(damaged)
}

/// Writes the parcel of the item at `seq` again, without those that ended.
fn pack(database: &Database, group: &mut Group, destination: &str, seq: u64, ended: &mut Ended) -> Result<(), Fault> {
    let Some((key, body, replaced)) = parcel_of(database, group, destination, seq)? else {
        ended.clear(seq..=seq);
        return Ok(());
    };
    let entries = Entry::all(&body)?;
    let mut rest = Vec::with_capacity(body.len());
    entries.iter().filter(|entry| !ended.contains(entry.seq)).for_each(|entry| entry.write(&mut rest));
    let last = entries.last().map_or(seq, |entry| entry.seq);
    ended.clear(parcel_id(&key)..=last.max(seq));
    group.replace(key.to_vec(), Some(rest), replaced);
    Ok(())
}

/// Place and time of the oldest committed item that waits, as the group leaves it.
fn oldest(
    database: &Database,
    group: &Group,
    destination: &str,
    ended: &Ended,
) -> Result<Option<(u64, Timestamp)>, Fault> {
    let prefix = prefix(b'o', destination);
    let mut from = prefix.clone();
    while let Some(Record { key, .. }) = database.range(&prefix, &from, 1)?.pop() {
        let body = group.get(database, &key)?.unwrap_or_default();
        if let Some(entry) = Entry::all(&body)?.iter().find(|entry| !ended.contains(entry.seq)) {
            return Ok(Timestamp::from_millisecond(entry.accepted).ok().map(|accepted| (entry.seq, accepted)));
        }
        from = [&key[..], &[0]].concat();
    }
    Ok(None)
}

/// How full the outbox is, as the group will leave it.
pub(super) fn backlog(database: &Database, group: &mut Group, destination: &Name) -> Result<Backlog, Fault> {
    let name = destination.as_str();
    let ended = records::ended(database, group, name)?;
    let oldest = oldest(database, group, name, &ended)?;
    Ok(backlog_of(database, group, name, oldest))
}

fn backlog_of(database: &Database, group: &mut Group, destination: &str, oldest: Option<(u64, Timestamp)>) -> Backlog {
    let counts = *group.counts(database, destination);
    Backlog {
        queued: counts.queued,
        dead_letters: counts.dead_letters,
        oldest: oldest.map(|(_, accepted)| accepted).filter(|_| counts.queued > 0),
    }
}
