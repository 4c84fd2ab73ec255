//! Which items of an outbox have ended, beside those whose parcel is gone.
//!
//! Items end in the turns of their sources, not in the order of their places. So this is a low-water mark, and
//! beyond it ranges of places, each within one parcel. It is stored in the destination's record: the mark
//! (u64), and where there are ranges `+`, their number (u8) and two u64 for each. JSON follows, which never
//! begins with `+`.

use std::ops::RangeInclusive;

use super::database::Fault;

/// More ranges than this are made fewer by writing parcels again without their ended items.
pub(super) const MAX_RANGES: usize = 64;
const RANGES: u8 = b'+';

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ended {
    low: u64,
    /// Ascending, apart from each other.
    ranges: Vec<(u64, u64)>,
}

impl Ended {
    /// Whether the item at this place has ended.
    pub(super) fn contains(&self, seq: u64) -> bool {
        let after = self.ranges.partition_point(|(from, _)| *from <= seq);
        seq <= self.low || after.checked_sub(1).is_some_and(|at| seq <= self.ranges[at].1)
    }

    /// Says of all items of one parcel, in their order, whether they have ended.
    pub(super) fn set(&mut self, parcel: &[(u64, bool)]) {
        let (Some((first, _)), Some((last, _))) = (parcel.first(), parcel.last()) else { return };
        self.clear(*first..=*last);
        let mut at = self.ranges.partition_point(|(from, _)| from < first);
        let mut open = false;
        for (seq, ended) in parcel {
            match (*ended, open) {
                (true, true) => self.ranges[at - 1].1 = *seq,
                (true, false) => {
                    self.ranges.insert(at, (*seq, *seq));
                    at += 1;
                }
                (false, _) => {}
            }
            open = *ended;
        }
    }

    /// Forgets a parcel, whose places these are.
    pub(super) fn clear(&mut self, places: RangeInclusive<u64>) {
        self.ranges.retain(|(from, to)| to < places.start() || from > places.end());
    }

    /// The oldest item that waits has this place: all before it have ended.
    pub(super) fn waits_from(&mut self, seq: u64) {
        self.low = self.low.max(seq.saturating_sub(1));
        self.ranges.retain(|(_, to)| *to > self.low);
    }

    /// Where to begin making the ranges fewer, if there are too many.
    pub(super) fn excess(&self) -> Option<u64> {
        if self.ranges.len() > MAX_RANGES { self.ranges.first().map(|(from, _)| *from) } else { None }
    }

    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.low.to_le_bytes());
        if self.ranges.is_empty() {
            return;
        }
        // never more than MAX_RANGES
        bytes.extend_from_slice(&[RANGES, u8::try_from(self.ranges.len()).unwrap_or(u8::MAX)]);
        for (from, to) in &self.ranges {
            bytes.extend_from_slice(&from.to_le_bytes());
            bytes.extend_from_slice(&to.to_le_bytes());
        }
    }

    /// Takes it from the start of a destination's record; gives back the rest.
    pub(super) fn read(bytes: &[u8]) -> Result<(Self, &[u8]), Fault> {
        let parsed = || {
            let (low, mut rest) = number(bytes)?;
            let mut ranges = Vec::new();
            if let [RANGES, count, after @ ..] = rest {
                rest = after;
                for _ in 0..*count {
                    let (from, after) = number(rest)?;
                    let (to, after) = number(after)?;
                    ranges.push((from, to));
                    rest = after;
                }
            }
            Some((Self { low, ranges }, rest))
        };
        parsed().ok_or_else(|| Fault::Damaged("the record of a destination ends too soon".to_owned()))
    }
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(ended: &Ended) -> Vec<u64> {
        (0..=40).filter(|seq| ended.contains(*seq)).collect()
    }

    #[test]
    fn items_end_in_any_order() {
        let mut ended = Ended::default();
        // another destination has the even places
        ended.set(&[(21, true), (23, true), (25, false), (27, true)]);
        ended.set(&[(11, false), (13, false), (15, true)]);
        assert_eq!(ended.ranges, [(15, 15), (21, 23), (27, 27)]);
        ended.set(&[(11, true), (13, false), (15, true)]);
        assert_eq!(ended.ranges, [(11, 11), (15, 15), (21, 23), (27, 27)]);
        assert!([11, 15, 21, 23, 27].iter().all(|seq| ended.contains(*seq)));
        assert!([13, 25, 29].iter().all(|seq| !ended.contains(*seq)));
        ended.waits_from(13);
        assert_eq!((ended.low, ended.ranges.len()), (12, 3));
        ended.clear(11..=15);
        ended.waits_from(25);
        assert_eq!((ended.low, ended.ranges.as_slice()), (24, [(27, 27)].as_slice()));
        ended.waits_from(3);
        assert_eq!(ended.low, 24, "a mark never falls");
    }

    #[test]
    fn it_comes_back_as_it_was_written_also_as_earlier_versions_wrote_it() {
        let mut ended = Ended::default();
        for parcel in 0..2 {
            let mut bytes = Vec::new();
            ended.write(&mut bytes);
            bytes.extend_from_slice(b"{}");
            let (read, rest) = Ended::read(&bytes).unwrap();
            assert_eq!((&read, rest), (&ended, b"{}".as_slice()));
            assert_eq!(places(&read), places(&ended));
            ended.set(&[(10 * parcel + 5, true), (10 * parcel + 6, false), (10 * parcel + 7, true)]);
        }
        let earlier = [&7_u64.to_le_bytes(), b"{}".as_slice()].concat();
        let (read, rest) = Ended::read(&earlier).unwrap();
        assert_eq!((read.low, rest), (7, b"{}".as_slice()));
        assert!(Ended::read(&[0; 7]).is_err());
        assert!(Ended::read(&[&7_u64.to_le_bytes(), [RANGES, 1, 0].as_slice()].concat()).is_err());
    }
}
