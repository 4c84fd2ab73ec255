//! What was fetched lately, within a number of bytes: what was used longest ago goes first.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

/// What an entry costs beside its value.
const OVERHEAD: usize = 256;

/// Values by a key that is a hash already.
#[derive(Debug)]
pub struct Recent<V> {
    most_bytes: usize,
    longest: Duration,
    entries: HashMap<u128, Entry<V>>,
    /// Keys by when they were last used.
    order: BTreeMap<u64, u128>,
    bytes: usize,
    uses: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: usize,
    fetched: Instant,
    used: u64,
}

impl<V: Clone> Recent<V> {
    /// Holds at most so many bytes, none for longer than so long.
    pub fn new(most_bytes: usize, longest: Duration) -> Self {
        Self { most_bytes, longest, entries: HashMap::new(), order: BTreeMap::new(), bytes: 0, uses: 0 }
    }

    /// The value, if it is there and not too old at `now`.
    pub fn get(&mut self, key: u128, now: Instant) -> Option<V> {
        let fetched = self.entries.get(&key)?.fetched;
        if now.saturating_duration_since(fetched) > self.longest {
            self.remove(key);
            return None;
        }
        self.uses += 1;
        let entry = self.entries.get_mut(&key)?;
        self.order.remove(&entry.used);
        entry.used = self.uses;
        self.order.insert(self.uses, key);
        Some(entry.value.clone())
    }

    /// Keeps a value of so many bytes. One that would push out most of the others is not kept.
    pub fn put(&mut self, key: u128, value: V, bytes: usize, now: Instant) {
        let bytes = bytes + OVERHEAD;
        self.remove(key);
        if bytes > self.most_bytes / 2 {
            return;
        }
        while self.bytes + bytes > self.most_bytes
            && let Some((_, &oldest)) = self.order.first_key_value()
        {
            self.remove(oldest);
        }
        self.uses += 1;
        self.bytes += bytes;
        self.order.insert(self.uses, key);
        self.entries.insert(key, Entry { value, bytes, fetched: now, used: self.uses });
    }

    fn remove(&mut self, key: u128) {
        if let Some(entry) = self.entries.remove(&key) {
            self.order.remove(&entry.used);
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Room for four values of no bytes.
    fn recent() -> (Recent<u128>, Instant) {
        (Recent::new(4 * OVERHEAD, HOUR), Instant::now())
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let (mut recent, now) = recent();
        (1..=4).for_each(|key| recent.put(key, key, 0, now));
        assert_eq!(recent.get(1, now), Some(1));
        recent.put(5, 5, 0, now);
        let left: Vec<_> = (1..=5).filter(|key| recent.get(*key, now).is_some()).collect();
        assert_eq!(left, [1, 3, 4, 5]);
    }

    #[test]
    fn bytes_are_bounded_whatever_comes() {
        let (mut recent, now) = recent();
        for key in 0..1000 {
            recent.put(key % 7, key, usize::try_from(key % 300).unwrap(), now);
            assert!(recent.bytes <= 4 * OVERHEAD);
            assert_eq!(recent.bytes, recent.entries.values().map(|entry| entry.bytes).sum::<usize>());
            assert_eq!(recent.order.len(), recent.entries.len());
        }
        recent.put(1, 1, 0, now);
        recent.put(2, 2, 2 * OVERHEAD, now);
        assert_eq!((recent.get(1, now), recent.get(2, now)), (Some(1), None), "one too large pushes out nothing");
        recent.put(1, 9, 0, now);
        assert_eq!(recent.get(1, now), Some(9));
    }

    #[test]
    fn nothing_is_kept_for_too_long() {
        let (mut recent, now) = recent();
        recent.put(1, 1, 0, now);
        assert_eq!(recent.get(1, now + HOUR), Some(1));
        assert_eq!(recent.get(1, now + HOUR + Duration::from_secs(1)), None);
        assert_eq!(recent.get(1, now), None);
    }
}
