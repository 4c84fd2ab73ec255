//! Seen items of one source, packed: one value for up to [`CHUNK`] items instead of a key for each.
//!
//! An item is a mask of what follows, its keys (6 bytes each), and when it was last present, in seconds since
//! 1970; nothing of that while it is in the last document. So a poll that finds the document unchanged
//! touches nothing here: "the last document's items were there" follows from the source's `last_success`.
//! What a document changes goes to a [journal] first.

use std::time::Duration;

use super::journal::{self, Change, Place};
use crate::identity::Keys;

/// Items in one value. Small, for sled moves whole values about.
pub(super) const CHUNK: usize = 256;
/// Items that are remembered of one source at most: each changed poll reads them all. Of more, those that left the
/// document longest ago are forgotten before their time.
const MAX_ITEMS: usize = 100_000;
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
    /// What of it is not in the stored values.
    journal: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Chunk {
    number: u16,
    items: Vec<Seen>,
    dirty: bool,
}

/// A value by its number; none for one that is to be removed.
pub(super) type Value = (u16, Option<Vec<u8>>);

/// The bytes are no pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

impl Packs {
    /// Takes in a stored value.
    pub(super) fn decode(&mut self, number: u16, mut bytes: &[u8]) -> Result<(), Malformed> {
        // most have two keys
        let mut items = Vec::with_capacity(bytes.len() / (1 + 2 * KEY) + 1);
        while !bytes.is_empty() {
            let (keys, left) = read_keys(&mut bytes)?;
            let last = if left == LEFT { read_second(&mut bytes)? } else { PRESENT };
            items.push(Seen { keys, last });
        }
        self.chunks.push(Chunk { number, items, dirty: false });
        Ok(())
    }

    /// Takes in what changed since the values were stored, all of which were taken in before.
    pub(super) fn replay(&mut self, journal: &[u8]) -> Result<(), Malformed> {
        for change in journal::changes(journal) {
            match change? {
                Change::Left(place, last) => self.place(place)?.last = last,
                Change::Back(place) => self.place(place)?.last = PRESENT,
                Change::New(keys) => self.remember(Seen { keys, last: PRESENT }),
                Change::Forgot(before) => drop(self.forget(before)),
            }
        }
        self.journal = journal.to_vec();
        Ok(())
    }

    fn place(&mut self, Place { pack, index }: Place) -> Result<&mut Seen, Malformed> {
        let chunk = self.chunks.iter_mut().find(|chunk| chunk.number == pack).ok_or(Malformed)?;
        chunk.dirty = true;
        chunk.items.get_mut(usize::from(index)).ok_or(Malformed)
    }

    /// What is to be stored: the values that are written anew, and the journal of what they do not hold.
    pub(super) fn stored(&self) -> (Vec<Value>, &[u8]) {
        if self.journal.len() <= journal::MOST {
            return (Vec::new(), &self.journal);
        }
        let dirty = self.chunks.iter().filter(|chunk| chunk.dirty).map(|chunk| {
            let room = || Vec::with_capacity(chunk.items.len() * (1 + 3 * KEY + 4));
            let bytes = (!chunk.items.is_empty()).then(|| chunk.items.iter().fold(room(), encode));
            (chunk.number, bytes)
        });
        (dirty.collect(), &[])
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
        // of an item's three keys mostly one is in the document: the others need not be looked for
        let sieve = Sieve::new(&keys);
        for item in self.chunks.iter().flat_map(|chunk| &chunk.items) {
            let mut met = false;
            for key in item.keys.all().filter(|key| sieve.passes(*key)) {
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
            for ((item, here), index) in chunk.items.iter_mut().zip(here.by_ref()).zip(0..) {
                let place = Place { pack: chunk.number, index };
                let (last, change) = match (*here, item.last) {
                    (true, PRESENT) => continue,
                    (true, _) => (PRESENT, Change::Back(place)),
                    (false, PRESENT) => {
                        let last = last_success.min(PRESENT - 1);
                        (last, Change::Left(place, last))
                    }
                    (false, _) => continue,
                };
                item.last = last;
                chunk.dirty = true;
                change.write(&mut self.journal);
            }
        }
        let oldest = now.saturating_sub(retention);
        if self.forget(oldest) {
            Change::Forgot(oldest).write(&mut self.journal);
        }
        for keys in new {
            Change::New(keys).write(&mut self.journal);
            self.remember(Seen { keys, last: PRESENT });
        }
        if let Some(before) = self.excess()
            && self.forget(before)
        {
            Change::Forgot(before).write(&mut self.journal);
        }
    }

    /// Items that were last there before this second are too many.
    fn excess(&self) -> Option<u32> {
        let excess = self.len().checked_sub(MAX_ITEMS).filter(|excess| *excess > 0)?;
        let all = self.chunks.iter().flat_map(|chunk| &chunk.items).map(|item| item.last);
        let mut left: Vec<u32> = all.filter(|last| *last != PRESENT).collect();
        left.sort_unstable();
        left.get(excess - 1).or(left.last()).map(|last| last + 1)
    }

    /// Forgets items that were last there before this second; whether there were any.
    fn forget(&mut self, before: u32) -> bool {
        let mut any = false;
        for chunk in &mut self.chunks {
            let items = chunk.items.len();
            // an item that is present has the latest of all times
            chunk.items.retain(|item| item.last >= before);
            if chunk.items.len() != items {
                chunk.dirty = true;
                any = true;
            }
        }
        any
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

/// Lets pass the keys of a set, and few others: one bit for each of their last 12 bits.
struct Sieve([u64; Self::BITS / 64]);

impl Sieve {
    const BITS: usize = 4096;

    fn new(keys: &[u64]) -> Self {
        let mut sieve = Self([0; Self::BITS / 64]);
        for key in keys {
            let (word, bit) = Self::place(*key);
            sieve.0[word] |= bit;
        }
        sieve
    }

    fn passes(&self, key: u64) -> bool {
        let (word, bit) = Self::place(key);
        self.0[word] & bit != 0
    }

    fn place(key: u64) -> (usize, u64) {
        let place = key as usize % Self::BITS;
        (place / 64, 1 << (place % 64))
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
    /// The entries of the document, whose keys these are, that are not seen, each once.
    pub(super) fn unseen(&self, document: &[Keys]) -> Vec<Keys> {
        let mut left: Vec<bool> = self.seen.iter().map(|seen| !seen).collect();
        let mut count = left.iter().filter(|left| **left).count();
        let mut unseen = Vec::with_capacity(count);
        for keys in document {
            // what is new mostly stands at the start
            if count == 0 {
                break;
            }
            if let Ok(at) = self.keys.binary_search(&keys.strongest())
                && std::mem::take(&mut left[at])
            {
                unseen.push(*keys);
                count -= 1;
            }
        }
        unseen
    }

    /// Whether this key of the document is seen.
    pub(super) fn seen(&self, key: u64) -> bool {
        self.keys.binary_search(&key).is_ok_and(|at| self.seen.get(at).copied().unwrap_or(false))
    }
}

fn encode(mut bytes: Vec<u8>, item: &Seen) -> Vec<u8> {
    let left = if item.last == PRESENT { 0 } else { LEFT };
    write_keys(&item.keys, left, &mut bytes);
    if left != 0 {
        bytes.extend_from_slice(&item.last.to_le_bytes());
    }
    bytes
}

/// Writes a mask of which keys there are and of `left`, and the keys.
pub(super) fn write_keys(keys: &Keys, left: u8, bytes: &mut Vec<u8>) {
    bytes.push(keys.id.map_or(0, |_| ID) | keys.link.map_or(0, |_| LINK) | left);
    for key in keys.all() {
        bytes.extend_from_slice(&key.to_le_bytes()[..KEY]);
    }
}

/// Reads what [`write_keys`] wrote.
pub(super) fn read_keys(bytes: &mut &[u8]) -> Result<(Keys, u8), Malformed> {
    let (&mask, rest) = bytes.split_first().ok_or(Malformed)?;
    *bytes = rest;
    let id = if mask & ID != 0 { Some(take(bytes)?) } else { None };
    let link = if mask & LINK != 0 { Some(take(bytes)?) } else { None };
    Ok((Keys { id, link, content: take(bytes)? }, mask & LEFT))
}

/// Reads a time, in seconds since 1970.
pub(super) fn read_second(bytes: &mut &[u8]) -> Result<u32, Malformed> {
    let (second, rest) = bytes.split_first_chunk::<4>().ok_or(Malformed)?;
    *bytes = rest;
    Ok(u32::from_le_bytes(*second))
}

fn take(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let (head, rest) = bytes.split_first_chunk::<KEY>().ok_or(Malformed)?;
    *bytes = rest;
    Ok(head.iter().rev().fold(0, |key, byte| key << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::SmallRng};

    use super::*;

    fn keys(number: u64) -> Keys {
        let key = |salt| number << 4 | salt;
        Keys {
            id: number.is_multiple_of(3).then(|| key(1)),
            link: number.is_multiple_of(2).then(|| key(2)),
            content: key(3),
        }
    }

    /// What lies on disk of one source.
    #[derive(Default)]
    struct Disk {
        values: std::collections::BTreeMap<u16, Vec<u8>>,
        journal: Vec<u8>,
    }

    impl Disk {
        fn load(&self) -> Packs {
            let mut packs = Packs::default();
            self.values.iter().for_each(|(number, bytes)| packs.decode(*number, bytes).unwrap());
            packs.replay(&self.journal).unwrap();
            packs
        }

        fn store(&mut self, packs: &Packs) -> bool {
            let (values, journal) = packs.stored();
            assert!(journal.len() <= journal::MOST);
            self.journal = journal.to_vec();
            let whole = !values.is_empty();
            for (number, bytes) in values {
                match bytes {
                    Some(bytes) => drop(self.values.insert(number, bytes)),
                    None => drop(self.values.remove(&number)),
                }
            }
            whole
        }
    }

    fn remembered(packs: &Packs) -> Vec<(u16, Seen)> {
        let all = packs.chunks.iter().flat_map(|chunk| chunk.items.iter().map(|item| (chunk.number, *item)));
        let mut all: Vec<_> = all.collect();
        all.sort_by_key(|(number, item)| (*number, item.keys.content));
        all
    }

    #[test]
    fn what_is_loaded_is_what_was_stored_whatever_came_and_went() {
        let mut rng = SmallRng::seed_from_u64(1);
        let (mut journals, mut wholes) = (0, 0);
        for _ in 0..30 {
            let mut disk = Disk::default();
            let (mut first, mut now) = (0_u64, 1_000_000);
            let retention = Duration::from_secs(rng.random_range(1_000..20_000));
            for _ in 0..60 {
                // a window over up to three packs that moves on, back at times, with gaps
                first = (first + rng.random_range(0..6)).saturating_sub(rng.random_range(0..4));
                let length = if rng.random_bool(0.1) { 700 } else { 300 };
                let document: Vec<Keys> =
                    (first..first + length).filter(|_| rng.random_bool(0.999)).map(keys).collect();
                let last_success = now;
                now += rng.random_range(1..600);
                let mut packs = disk.load();
                let met = packs.meet(document.iter().map(Keys::strongest));
                let new = met.unseen(&document);
                assert!(document.iter().filter(|keys| !met.seen(keys.strongest())).eq(&new));
                assert_eq!(met.unseen(&[document.clone(), document.clone()].concat()), new, "each once");
                packs.update(&met, new.into_iter(), last_success, now, retention);
                if disk.store(&packs) {
                    wholes += 1
                } else {
                    journals += 1
                }
                assert_eq!(remembered(&disk.load()), remembered(&packs));
            }
        }
        assert!(journals > 100 && wholes > 100, "{journals} {wholes}");
    }

    #[test]
    fn of_too_many_items_those_are_forgotten_that_left_longest_ago() {
        let mut packs = Packs::default();
        let flood = 30_000_u64;
        for poll in 0..5_u32 {
            let document: Vec<Keys> = (0..flood).map(|number| keys(u64::from(poll) * flood + number)).collect();
            let met = packs.meet(document.iter().map(Keys::strongest));
            let (before, now) = (1_000 + poll, 1_001 + poll);
            packs.update(&met, met.unseen(&document).into_iter(), before, now, Duration::from_secs(1_000_000));
            assert!(packs.len() <= MAX_ITEMS);
        }
        assert_eq!(packs.len(), 3 * flood as usize);
        let met = packs.meet([keys(0), keys(2 * flood), keys(5 * flood - 1)].iter().map(Keys::strongest));
        let seen = [0, 2 * flood, 5 * flood - 1].map(|number| met.seen(keys(number).strongest()));
        assert_eq!(seen, [false, true, true]);
    }

    #[test]
    fn a_journal_that_does_not_fit_is_malformed() {
        let mut journal = Vec::new();
        Change::Back(Place { pack: 0, index: 3 }).write(&mut journal);
        assert_eq!(Packs::default().replay(&journal), Err(Malformed));
    }
}
