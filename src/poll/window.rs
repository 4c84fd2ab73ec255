//! What a source remembers of its last document, so that a poll costs what changed.
//!
//! Two things about each entry: the bytes that it was read from ([`Span`]) and the keys that they gave.
//! An entry with the same bytes need not be read again; one whose strongest key is here is known to be seen.

use std::cell::OnceCell;

use crate::{
    feed::Span,
    identity::{self, Keys},
};

/// What was remembered of a document: 30 bytes an entry.
#[derive(Debug, Default)]
pub struct Window {
    spans: Box<[Span]>,
    keys: Box<[Packed]>,
    /// No two entries had an id or a link in common, so that every key was usable.
    distinct: bool,
}

/// The keys of one entry as if it stood alone, 48 bits each, and which of them decided.
#[derive(Debug, Clone, Copy)]
struct Packed([u16; 9]);

/// An entry that has no such key. No key is 0.
const NONE: u64 = 0;

impl Packed {
    fn new(keys: &Keys) -> Self {
        let [id, link] = [keys.id, keys.link].map(|key| key.unwrap_or(NONE));
        let mut words = [0; 9];
        for (place, key) in words.chunks_exact_mut(3).zip([id, link, keys.content]) {
            for (n, word) in place.iter_mut().enumerate() {
                *word = (key >> (16 * n)) as u16;
            }
        }
        Self(words)
    }

    fn keys(&self) -> Keys {
        let key = |at: usize| self.0[at..at + 3].iter().rev().fold(0, |key, word| (key << 16) | u64::from(*word));
        let some = |key: u64| (key != NONE).then_some(key);
        Keys { id: some(key(0)), link: some(key(3)), content: key(6) }
    }
}

impl Window {
    /// Of a document's entries: their spans, their keys each as if it stood alone, and which of these are usable.
    pub fn new(spans: impl Iterator<Item = Span>, alone: &[Keys], usable: &[Keys]) -> Self {
        let keys = alone.iter().map(Packed::new).collect();
        Self { spans: spans.collect(), keys, distinct: alone == usable }
    }

    /// Whether no document was read yet, or one without entries.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// What each entry was read from.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The keys of an entry as if it stood alone.
    pub fn alone(&self, index: usize) -> Option<Keys> {
        self.keys.get(index).map(Packed::keys)
    }

    /// To look entries up.
    pub fn lookup(&self) -> Lookup<'_> {
        Lookup { window: self, strongest: OnceCell::new() }
    }

    /// The strongest usable keys of all entries, sorted.
    fn strongest(&self) -> Vec<u64> {
        let alone = self.keys.iter().map(Packed::keys);
        let mut strongest: Vec<u64> = if self.distinct {
            alone.map(|keys| keys.strongest()).collect()
        } else {
            identity::usable(&alone.collect::<Vec<_>>()).iter().map(Keys::strongest).collect()
        };
        strongest.sort_unstable();
        strongest
    }
}

/// Tells whether entries are in the window.
pub struct Lookup<'w> {
    window: &'w Window,
    /// Made when it is first needed.
    strongest: OnceCell<Vec<u64>>,
}

impl Lookup<'_> {
    /// Whether an entry of the window has this as its strongest usable key; `at`: the place of the one that
    /// is most likely to.
    pub fn holds(&self, strongest: u64, at: Option<usize>) -> bool {
        let there = at.filter(|_| self.window.distinct).and_then(|at| self.window.alone(at));
        there.is_some_and(|keys| keys.strongest() == strongest)
            || self.strongest.get_or_init(|| self.window.strongest()).binary_search(&strongest).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_as_they_were() {
        let keys = [
            Keys { id: Some(0xffff_0000_0001), link: None, content: 0x1234_5678_9abc },
            Keys { id: None, link: Some(1), content: 0xffff_ffff_ffff },
        ];
        let window = Window::new([Span::default(); 2].into_iter(), &keys, &keys);
        assert_eq!([window.alone(0), window.alone(1), window.alone(2)], [Some(keys[0]), Some(keys[1]), None]);
        assert_eq!(window.strongest(), [1, 0xffff_0000_0001]);
        let lookup = window.lookup();
        for at in [None, Some(0), Some(1), Some(2)] {
            assert!(lookup.holds(1, at) && lookup.holds(0xffff_0000_0001, at) && !lookup.holds(2, at), "{at:?}");
        }
    }

    #[test]
    fn a_key_that_two_entries_had_is_none_to_know_them_by() {
        let alone = [1, 2].map(|content| Keys { id: Some(9), link: Some(content + 10), content });
        let window = Window::new([Span::default(); 2].into_iter(), &alone, &identity::usable(&alone));
        assert_eq!(window.strongest(), [11, 12]);
        assert!(!window.lookup().holds(9, Some(0)));
    }

    #[test]
    fn an_entry_takes_30_bytes() {
        assert_eq!(size_of::<Span>() + size_of::<Packed>(), 30);
    }
}
