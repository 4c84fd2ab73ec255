//! Seen items of one source, packed: one value for up to [`CHUNK`] items instead of a key for each.
//!
//! An item is a mask of what follows, its keys (6 bytes each), and when it was last present, in seconds since
//! 1970; nothing of that while it is in the last document. So a poll that finds the document unchanged
//! touches nothing here: "the last document's items were there" follows from the source's `last_success`.

use std::time::Duration;

use crate::identity::Keys;

/// Items in one value. Small, for sled moves whole values about.
pub(super) const CHUNK: usize = 256;
/// Stands for the time while an item is in the last document.
const PRESENT: u32 = u32::MAX;

const ID: u8 = 1;
const LINK: u8 = 2;
const LEFT: u8 = 4;
/// Bytes of a key.
const KEY: usize = 6;

/// One remembered item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    keys: Keys,
    last: u32,
}

/// Everything remembered of one source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Packs {
    chunks: Vec<Chunk>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Chunk {
    number: u16,
    items: Vec<Seen>,
    dirty: bool,
}

/// The bytes are no pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

impl Packs {
    /// Takes in a stored value.
    pub(super) fn decode(&mut self, number: u16, mut bytes: &[u8]) -> Result<(), Malformed> {
        // most have two keys
        let mut items = Vec::with_capacity(bytes.len() / (1 + 2 * KEY) + 1);
        while let Some((&mask, rest)) = bytes.split_first() {
            bytes = rest;
            let id = if mask & ID != 0 { Some(take(&mut bytes)?) } else { None };
            let link = if mask & LINK != 0 { Some(take(&mut bytes)?) } else { None };
            let content = take(&mut bytes)?;
            let mut last = PRESENT;
            if mask & LEFT != 0 {
                let (second, rest) = bytes.split_first_chunk::<4>().ok_or(Malformed)?;
                bytes = rest;
                last = u32::from_le_bytes(*second);
            }
            items.push(Seen { keys: Keys { id, link, content }, last });
        }
        self.chunks.push(Chunk { number, items, dirty: false });
        Ok(())
    }

    /// The values that changed: number and bytes, none for a value that is to be removed.
    pub(super) fn changed(&self) -> impl Iterator<Item = (u16, Option<Vec<u8>>)> {
        self.chunks.iter().filter(|chunk| chunk.dirty).map(|chunk| {
            let room = || Vec::with_capacity(chunk.items.len() * (1 + 3 * KEY + 4));
            let bytes = (!chunk.items.is_empty()).then(|| chunk.items.iter().fold(room(), encode));
            (chunk.number, bytes)
        })
    }

    /// Items remembered.
    pub(super) fn len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.items.len()).sum()
    }

    /// Which of a document's strongest keys are seen, and which items they are.
    pub(super) fn meet(&self, strongest: impl Iterator<Item = u64>) -> Met {
        // the document's keys are looked up, for they are fewer than those remembered
        let mut keys: Vec<u64> = strongest.collect();
        keys.sort_unstable();
        keys.dedup();
        let mut seen = vec![false; keys.len()];
        let mut here = Vec::with_capacity(self.len());
        for item in self.chunks.iter().flat_map(|chunk| &chunk.items) {
            let mut met = false;
            for key in item.keys.all() {
                if let Ok(at) = keys.binary_search(&key) {
                    seen[at] = true;
                    met = true;
                }
            }
            here.push(met);
        }
        Met { keys, seen, here }
    }

    /// A new document came: what it `met` is in it, and `new` is remembered from now on. Items that left it
    /// were last present at `last_success`; those that left longer than `retention` ago are forgotten.
    pub(super) fn update(
        &mut self,
        met: &Met,
        new: impl Iterator<Item = Keys>,
        last_success: u32,
        now: u32,
        retention: Duration,
    ) {
        let mut here = met.here.iter();
        let retention = u32::try_from(retention.as_secs()).unwrap_or(u32::MAX);
        for chunk in &mut self.chunks {
            for (item, here) in chunk.items.iter_mut().zip(here.by_ref()) {
                let last = match (*here, item.last) {
                    (true, _) => PRESENT,
                    (false, PRESENT) => last_success.min(PRESENT - 1),
                    (false, last) => last,
                };
                chunk.dirty |= last != item.last;
                item.last = last;
            }
            let before = chunk.items.len();
            chunk.items.retain(|item| item.last == PRESENT || now.saturating_sub(item.last) <= retention);
            chunk.dirty |= chunk.items.len() != before;
        }
        for keys in new {
            self.remember(Seen { keys, last: PRESENT });
        }
    }

    fn remember(&mut self, item: Seen) {
        match self.chunks.iter_mut().find(|chunk| chunk.items.len() < CHUNK && !(chunk.items.is_empty() && chunk.dirty))
        {
            Some(chunk) => {
                chunk.items.push(item);
                chunk.dirty = true;
            }
            None => {
                let used = |number: &u16| self.chunks.iter().any(|chunk| chunk.number == *number);
                let number = (0..u16::MAX).find(|number| !used(number)).unwrap_or(u16::MAX);
                self.chunks.push(Chunk { number, items: vec![item], dirty: true });
            }
        }
    }
}

/// What of a document is remembered.
pub(super) struct Met {
    /// The document's strongest keys, sorted…
    keys: Vec<u64>,
    /// …and whether each is seen.
    seen: Vec<bool>,
    /// Of each remembered item, in the order of the chunks, whether the document has it.
    here: Vec<bool>,
}

impl Met {
    /// Whether this key of the document is seen.
    pub(super) fn seen(&self, key: u64) -> bool {
        self.keys.binary_search(&key).is_ok_and(|at| self.seen.get(at).copied().unwrap_or(false))
    }
}

fn encode(mut bytes: Vec<u8>, item: &Seen) -> Vec<u8> {
    let Seen { keys, last } = item;
    let left = if *last == PRESENT { 0 } else { LEFT };
    let mask = keys.id.map_or(0, |_| ID) | keys.link.map_or(0, |_| LINK) | left;
    bytes.push(mask);
    for key in keys.all() {
        bytes.extend_from_slice(&key.to_le_bytes()[..KEY]);
    }
    if left != 0 {
        bytes.extend_from_slice(&last.to_le_bytes());
    }
    bytes
}

fn take(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let (head, rest) = bytes.split_first_chunk::<KEY>().ok_or(Malformed)?;
    *bytes = rest;
    Ok(head.iter().rev().fold(0, |key, byte| key << 8 | u64::from(*byte)))
}

/// Items in a stored value.
pub(super) fn count(bytes: &[u8]) -> Result<u64, Malformed> {
    let mut packs = Packs::default();
    packs.decode(0, bytes)?;
    Ok(packs.len() as u64)
}
