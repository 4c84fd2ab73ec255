//! One poll's document: what is new in it, what becomes of that, and what is remembered.

use std::{collections::HashSet, sync::Arc};

use super::{
    Candidate, Delivery, Ingest, Ingested,
    database::{Database, Fault, Group},
    outbox,
    pack::Packs,
    records,
};
use crate::{
    config::{Backfill, Source},
    identity,
    model::Item,
};

/// The longest HTML content that is queued, in bytes.
const MOST_CONTENT: usize = 64 * 1024;
/// The longest summary, title or other text, in bytes.
const MOST_TEXT: usize = 16 * 1024;
/// The most authors, categories, enclosures and extra fields, each.
const MOST_PARTS: usize = 64;

/// Adds to the group: seen items, outbox entries, the source's record.
pub(super) fn ingest(database: &Database, group: &mut Group, ingest: Ingest) -> Result<Ingested, Fault> {
    let Ingest { source, keys, candidates, mut record, at } = ingest;
    let before = records::source(database, group, &source.name)?;
    let reseeding = records::must_reseed(database, group, &source.name)?;

    let mut packs = Packs::default();
    let prefix = records::pack_prefix(&source.name);
    for (key, bytes) in database.range(&prefix, &prefix, usize::MAX)? {
        let number = key.last_chunk::<2>().map(|number| u16::from_be_bytes(*number));
        let damaged = || Fault::Damaged(format!("seen items of {}", source.name));
        packs.decode(number.ok_or_else(damaged)?, &bytes).map_err(|_| damaged())?;
    }
    let remembered = packs.len();
    let met = packs.meet(keys.iter().map(identity::Keys::strongest));

    // an entry that a document has twice, word by word, is one item
    let mut twice = HashSet::new();
    let mut new: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        let Some(keys) = keys.get(candidate.index) else { continue };
        if !met.seen(keys.strongest()) && twice.insert(keys.strongest()) {
            new.push(candidate);
        }
    }
    let last_success = before.last_success.map_or(0, |last| seconds(last.as_second()));
    packs.update(
        &met,
        new.iter().filter_map(|candidate| keys.get(candidate.index)).copied(),
        last_success,
        seconds(at.as_second()),
        source.retention,
    );
    for (number, bytes) in packs.changed() {
        let key = [prefix.as_slice(), &number.to_be_bytes()].concat();
        match bytes {
            Some(bytes) => group.put(key, bytes),
            None => group.remove(key),
        }
    }
    let seen = &mut group.meta().committed.seen;
    *seen = *seen + packs.len() as u64 - remembered as u64;

    let count = new.len();
    let passing: Vec<Candidate> = new.into_iter().filter(|candidate| candidate.passes).collect();
    let filtered = count - passing.len();
    let times: Vec<_> = passing.iter().map(|candidate| candidate.item.time()).collect();
    let order = identity::delivery_order(&times);
    let first = before.last_success.is_none();
    let skipped = match source.backfill {
        _ if reseeding => order.len(),
        Backfill::Newest(newest) if first => order.len().saturating_sub(newest),
        Backfill::Newest(_) | Backfill::All => 0,
    };
    let mut passing: Vec<Option<Candidate>> = passing.into_iter().map(Some).collect();
    for index in order.iter().skip(skipped) {
        let Some(candidate) = passing.get_mut(*index).and_then(Option::take) else { continue };
        let strongest = keys.get(candidate.index).map_or(0, identity::Keys::strongest);
        let delivery = Delivery::new(&source, strongest, bounded(candidate.item), at);
        let json = serde_json::to_string(&delivery).map_err(|error| Fault::Damaged(error.to_string()))?;
        for destination in &source.to {
            outbox::push(database, group, destination, at, &json);
        }
    }
    if reseeding {
        records::reseeded(group, &source.name);
    }
    record.retention_s = Some(source.retention.as_secs());
    records::put_source(group, &source.name, &record)?;
    Ok(Ingested {
        new: count as u64,
        accepted: (order.len() - skipped) as u64,
        skipped: skipped as u64,
        filtered: filtered as u64,
    })
}

fn seconds(second: i64) -> u32 {
    u32::try_from(second.max(0)).unwrap_or(u32::MAX - 1)
}

/// An item of a bounded size: sled does not like large values, and no destination shows more.
fn bounded(mut item: Item) -> Item {
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
    item
}

fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
    }
}

impl Delivery {
    /// An item of a source, with the id that it has for ever.
    pub fn new(source: &Arc<Source>, strongest: u64, item: Item, accepted_at: jiff::Timestamp) -> Self {
        let name = source.name.to_string();
        let id = format!("{:016x}{strongest:016x}", xxhash_rust::xxh3::xxh3_64(name.as_bytes()));
        Self { id, source: super::SourceRef { name, label: source.label.clone() }, item, accepted_at }
    }
}
