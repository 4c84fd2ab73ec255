//! One poll's document: what is new in it, what becomes of that, and what is remembered.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    Candidate, Delivery, Ingest, Ingested, Prospect, SourceRecord,
    database::{Database, Fault, Group},
    fate::{Decision, Outline, Reason, SourceHistory, decide, newest},
    outbox, records,
};
use crate::{
    config::Source,
    identity::{self, Keys},
    model::{Item, Name},
};

/// The longest HTML content that is queued, in bytes.
const MOST_CONTENT: usize = 64 * 1024;
/// The longest summary, title or other text, in bytes.
const MOST_TEXT: usize = 16 * 1024;
/// The most authors, categories, enclosures and extra fields, each.
const MOST_PARTS: usize = 64;

/// Adds to the group: seen items, outbox entries, the source's record.
pub(super) fn ingest(database: &Database, group: &mut Group, ingest: Ingest) -> Result<Ingested, Fault> {
    let Ingest { source, keys, mut candidates, mut record, at } = ingest;
    candidates.retain(|candidate| candidate.index < keys.len());
    debug_assert!(!group.touches(&records::source_key(source.name.as_str())), "the caller commits it first");
    let mut before = records::remembered(database, source.name.as_str())?;
    let mut packs = std::mem::take(&mut before.packs);
    let remembered = packs.len();
    let met = packs.meet(keys.iter().map(identity::Keys::strongest));

    let history = history(database, group, &source, before.last_success)?;
    let outlines: Vec<_> = candidates.iter().map(|candidate| candidate.outline(&keys)).collect();
    let decisions = decide(&outlines, |key| met.seen(key), history);
    record.keep_destinations(before.destinations.take());
    let backfills = backfills(&record, &source, &outlines);
    // not of the candidates only: what the source itself knows to be seen is unknown here after a loss
    let new = met.unseen(&keys);
    let last_success = before.last_success.map_or(0, |last| seconds(last.as_second()));
    packs.update(&met, new.into_iter(), last_success, seconds(at.as_second()), source.retention);
    let (rewritten, journal) = packs.stored();
    for (number, bytes) in rewritten {
        group.replace(records::pack_key(source.name.as_str(), number), bytes, before.pack(number));
    }
    let seen = &mut group.meta().committed.seen;
    *seen = *seen + packs.len() as u64 - remembered as u64;

    let mut ingested = count(&decisions);
    let identity = record.identity.unwrap_or_else(|| identity_of(&source.name));
    let late = |n: usize| backfills.iter().any(|backfill| backfill.newest[n]);
    // all that pass are ordered, those that are skipped too: what is skipped does not change the order
    let ordered = |n: usize| matches!(decisions[n], Decision::Accepted | Decision::Skipped(_)) || late(n);
    let mut passing: Vec<_> = candidates.into_iter().enumerate().filter(|(n, _)| ordered(*n)).map(Some).collect();
    let times: Vec<_> = passing.iter().flatten().map(|(_, candidate)| candidate.item.time()).collect();
    // as much as most items take
    let mut json = Vec::with_capacity(if passing.is_empty() { 0 } else { 4096 });
    for index in identity::delivery_order(&times) {
        let Some((n, candidate)) = passing.get_mut(index).and_then(Option::take) else { continue };
        let accepted = decisions[n] == Decision::Accepted;
        if !accepted && !late(n) {
            continue;
        }
        let strongest = keys.get(candidate.index).map_or(0, Keys::strongest);
        let mut item = candidate.item;
        bound(&mut item);
        let mut delivery = Delivery::new(&source, strongest, item, at);
        delivery.id = Delivery::id_of(identity, strongest);
        json.clear();
        serde_json::to_writer(&mut json, &delivery).map_err(|error| Fault::Damaged(error.to_string()))?;
        for destination in &source.to {
            let late = backfills.iter().any(|backfill| backfill.destination == *destination && backfill.newest[n]);
            if accepted || late {
                outbox::push(database, group, destination, at, &json);
                ingested.backfilled += u64::from(!accepted);
            }
        }
    }
    if history.reseeding {
        records::reseeded(group, &source.name);
    }
    record.retention_s = Some(source.retention.as_secs());
    record.stored(&source, &ingested);
    records::put_source(group, &source.name, &record, journal, before.record())?;
    Ok(ingested)
}

fn count(decisions: &[Decision]) -> Ingested {
    let mut ingested = Ingested::default();
    for decision in decisions {
        let place = match decision {
            Decision::Seen => continue,
            Decision::Filtered => &mut ingested.filtered,
            Decision::Skipped(Reason::Flood) => &mut ingested.held,
            Decision::Skipped(Reason::Backfill | Reason::Reseeding) => &mut ingested.skipped,
            Decision::Accepted => &mut ingested.accepted,
        };
        *place += 1;
        ingested.new += 1;
    }
    ingested
}

/// What a destination gets that the source is new to.
struct DueBackfill {
    destination: Name,
    /// Of each candidate, whether it is among them.
    newest: Vec<bool>,
}

fn backfills(record: &SourceRecord, source: &Source, outlines: &[Outline]) -> Vec<DueBackfill> {
    let due = record.due_backfills(source);
    due.map(|(destination, backfill)| DueBackfill { destination, newest: newest(outlines, backfill) }).collect()
}

/// For each entry, whether [`ingest`] would queue it.
pub(super) fn would_accept(database: &Database, group: &Group, prospect: &Prospect) -> Result<Vec<bool>, Fault> {
    let Prospect { source, outlines, record } = prospect;
    let mut before = records::remembered(database, source.name.as_str())?;
    let mut record = record.clone();
    record.keep_destinations(before.destinations.take());
    let met = before.packs.meet(outlines.iter().map(|outline| outline.strongest));
    let history = history(database, group, source, before.last_success)?;
    let decisions = decide(outlines, |key| met.seen(key), history);
    let backfills = backfills(&record, source, outlines);
    let late = |n: usize| backfills.iter().any(|backfill| backfill.newest[n]);
    Ok((0..).zip(decisions).map(|(n, decision)| decision == Decision::Accepted || late(n)).collect())
}

fn history(
    database: &Database,
    group: &Group,
    source: &Source,
    last_success: Option<Timestamp>,
) -> Result<SourceHistory, Fault> {
    Ok(SourceHistory {
        first: last_success.is_none(),
        reseeding: records::must_reseed(database, group, &source.name)?,
        backfill: source.backfill,
        hold_above: source.hold_above,
    })
}

fn seconds(second: i64) -> u32 {
    u32::try_from(second.max(0)).unwrap_or(u32::MAX - 1)
}

/// Cuts an item to a bounded size: sled does not like large values, and no destination shows more.
pub fn bound(item: &mut Item) {
    for text in
        [&mut item.id, &mut item.title, &mut item.link, &mut item.summary, &mut item.image].into_iter().flatten()
    {
        cut(text, MOST_TEXT);
    }
    if let Some(content) = &mut item.content_html {
        cut(content, MOST_CONTENT);
    }
    for list in [&mut item.authors, &mut item.categories] {
        list.truncate(MOST_PARTS);
        list.iter_mut().for_each(|text| cut(text, 512));
    }
    item.enclosures.truncate(MOST_PARTS);
    item.enclosures.iter_mut().for_each(|enclosure| cut(&mut enclosure.url, 2048));
    while item.extra.len() > MOST_PARTS {
        item.extra.pop_last();
    }
    item.extra.values_mut().for_each(|text| cut(text, 512));
}

fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.shrink_to_fit();
    }
}

impl Candidate {
    /// An entry at its place in the document.
    pub fn new(index: usize, item: Item, passes: bool) -> Self {
        Self { index, listed: item.time(), item, passes }
    }

    /// What decides over it; `keys` are those of the whole document.
    pub fn outline(&self, keys: &[Keys]) -> Outline {
        let strongest = keys.get(self.index).map_or(0, Keys::strongest);
        Outline { strongest, passes: self.passes, time: self.listed }
    }
}

impl Delivery {
    /// An item of a source, with the id that it has for ever.
    pub fn new(source: &Arc<Source>, strongest: u64, item: Item, accepted_at: Timestamp) -> Self {
        let name = source.name.to_string();
        let id = Self::id_of(identity_of(&source.name), strongest);
        Self { id, source: super::SourceRef { name, label: source.label.clone() }, item, accepted_at }
    }

    /// A source's identity, then the item's strongest key.
    fn id_of(identity: u64, strongest: u64) -> String {
        format!("{identity:016x}{strongest:016x}")
    }
}

/// The identity of a source that always had this name.
pub(super) fn identity_of(name: &Name) -> u64 {
    xxhash_rust::xxh3::xxh3_64(name.as_str().as_bytes())
}
