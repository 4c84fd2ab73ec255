//! Outbox and dead letters of one destination, in the order of delivery.

use jiff::Timestamp;
use serde::Serialize;

use super::{
    Backlog, DestinationRecord, Queued, Settled,
    database::{Database, Fault, Group},
    records,
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

/// Queues one item, as JSON, for one destination.
pub(super) fn push(database: &Database, group: &mut Group, destination: &Name, accepted: Timestamp, json: &[u8]) {
    let meta = group.meta();
    let seq = meta.next_seq;
    meta.next_seq += 1;
    meta.committed.outbox += 1;
    group.counts(database, destination.as_str()).queued += 1;
    let body = [accepted.as_millisecond().to_le_bytes().as_slice(), json].concat();
    group.put(key(b'o', destination.as_str(), seq), body);
}

/// The oldest items after the place `after`, `max` at most.
pub(super) fn lease(database: &Database, destination: &Name, after: u64, max: usize) -> Result<Vec<Queued>, Fault> {
    let prefix = prefix(b'o', destination.as_str());
    let from = key(b'o', destination.as_str(), after.saturating_add(1));
    let records = database.range(&prefix, &from, max)?;
    records.into_iter().map(|(key, body)| read(&key, &body)).collect()
}

fn read(key: &[u8], body: &[u8]) -> Result<Queued, Fault> {
    let damaged = |what: &str| Fault::Damaged(format!("an item in the outbox cannot be read: {what}"));
    let seq = key.last_chunk::<8>().map(|seq| u64::from_be_bytes(*seq)).ok_or_else(|| damaged("its key"))?;
    let json = body.get(8..).ok_or_else(|| damaged("its length"))?;
    let json = std::str::from_utf8(json).map_err(|_| damaged("it is no text"))?;
    Ok(Queued { seq, json: json.to_owned() })
}

/// Takes items out of the outbox, the refused ones into the dead letters. One that is no longer there was
/// settled before, by an actor that died before it heard so.
pub(super) fn settle(
    database: &Database,
    group: &mut Group,
    destination: &Name,
    settled: Vec<Settled>,
    record: &DestinationRecord,
) -> Result<Backlog, Fault> {
    for Settled { seq, refused } in settled {
        let place = key(b'o', destination.as_str(), seq);
        let Some(body) = group.get(database, &place)? else { continue };
        group.remove(place);
        group.meta().committed.outbox -= 1;
        group.counts(database, destination.as_str()).queued -= 1;
        if let Some(error) = refused {
            let damaged = |error: serde_json::Error| Fault::Damaged(format!("a dead letter: {error}"));
            let delivery = serde_json::from_slice(body.get(8..).unwrap_or_default()).map_err(damaged)?;
            let json = serde_json::to_vec(&DeadLetter { delivery, error: &error }).map_err(damaged)?;
            group.put(key(b'd', destination.as_str(), seq), json);
            group.meta().committed.dead_letters += 1;
            group.counts(database, destination.as_str()).dead_letters += 1;
        }
    }
    records::put_destination(group, destination, record)?;
    backlog(database, group, destination)
}

/// How full the outbox is, as the group will leave it.
pub(super) fn backlog(database: &Database, group: &mut Group, destination: &Name) -> Result<Backlog, Fault> {
    let counts = *group.counts(database, destination.as_str());
    let oldest = if counts.queued == 0 { None } else { oldest(database, group, destination)? };
    Ok(Backlog { queued: counts.queued, dead_letters: counts.dead_letters, oldest })
}

fn oldest(database: &Database, group: &Group, destination: &Name) -> Result<Option<Timestamp>, Fault> {
    let prefix = prefix(b'o', destination.as_str());
    let mut from = prefix.clone();
    // entries that this group removes stand before those that stay
    loop {
        let Some((key, body)) = database.range(&prefix, &from, 1)?.pop() else { return Ok(None) };
        if group.get(database, &key)?.is_some() {
            let accepted = body.first_chunk::<8>().map(|millis| i64::from_le_bytes(*millis));
            return Ok(accepted.and_then(|millis| Timestamp::from_millisecond(millis).ok()));
        }
        from = [&key[..], &[0]].concat();
    }
}
