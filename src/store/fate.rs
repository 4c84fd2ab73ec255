//! What becomes of each entry of a document that may be new: pure, and asked twice. Once before the pages
//! of new items are visited, so that none is visited in vain, and once when the document is stored.

use std::collections::HashSet;

use jiff::Timestamp;

use crate::{config::Backfill, identity};

/// What the decision needs to know of an entry.
#[derive(Debug, Clone, Copy)]
pub struct Outline {
    /// Its strongest usable key.
    pub strongest: u64,
    /// Whether `include` and `exclude` let it pass.
    pub passes: bool,
    /// The time by which its document orders it.
    pub time: Option<Timestamp>,
}

/// What becomes of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is remembered already, or stands in the document twice.
    Seen,
    /// New, and kept out by the filters.
    Filtered,
    /// New, and marked seen only.
    Skipped(Reason),
    /// New, and queued for its destinations.
    Accepted,
}

/// Why a new entry that passes is marked seen only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// It is older than the first poll delivers.
    Backfill,
    /// The store was lost: the source marks what it shows as seen.
    Reseeding,
    /// Too many at once.
    Flood,
}

/// What came before.
#[derive(Debug, Clone, Copy)]
pub(super) struct SourceHistory {
    /// It never had a successful poll.
    pub(super) first: bool,
    /// It marks what it shows as seen, after a loss.
    pub(super) reseeding: bool,
    /// As configured.
    pub(super) backfill: Backfill,
    /// As configured.
    pub(super) hold_above: usize,
}

/// What becomes of each entry, in document order.
pub(super) fn decide(outlines: &[Outline], seen: impl Fn(u64) -> bool, history: SourceHistory) -> Vec<Decision> {
    // an entry that a document has twice, word by word, is one item
    let mut met = HashSet::new();
    let mut decisions: Vec<Decision> = outlines
        .iter()
        .map(|outline| match seen(outline.strongest) || !met.insert(outline.strongest) {
            true => Decision::Seen,
            false if !outline.passes => Decision::Filtered,
            false => Decision::Accepted,
        })
        .collect();
    let order = oldest_first(outlines, |n| decisions[n] == Decision::Accepted);
    let (kept, reason) = match history.backfill {
        _ if history.reseeding => (0, Reason::Reseeding),
        Backfill::Newest(newest) if history.first => (newest, Reason::Backfill),
        Backfill::All if history.first => (usize::MAX, Reason::Backfill),
        _ if history.hold_above > 0 => (history.hold_above, Reason::Flood),
        _ => (usize::MAX, Reason::Flood),
    };
    for &n in order.iter().take(order.len().saturating_sub(kept)) {
        decisions[n] = Decision::Skipped(reason);
    }
    decisions
}

/// Which entries a destination gets that is new to the source, beside those that are accepted anyway.
pub(super) fn newest(outlines: &[Outline], backfill: Backfill) -> Vec<bool> {
    let mut met = HashSet::new();
    let once: Vec<bool> = outlines.iter().map(|outline| outline.passes && met.insert(outline.strongest)).collect();
    let order = oldest_first(outlines, |n| once[n]);
    let kept = match backfill {
        Backfill::All => order.len(),
        Backfill::Newest(newest) => newest.min(order.len()),
    };
    let mut newest = vec![false; outlines.len()];
    order[order.len() - kept..].iter().for_each(|&n| newest[n] = true);
    newest
}

/// Entries in the order of delivery.
fn oldest_first(outlines: &[Outline], counts: impl Fn(usize) -> bool) -> Vec<usize> {
    let those: Vec<usize> = (0..outlines.len()).filter(|&n| counts(n)).collect();
    let times: Vec<_> = those.iter().map(|&n| outlines[n].time).collect();
    identity::delivery_order(&times).into_iter().map(|n| those[n]).collect()
}

#[cfg(test)]
mod tests {
    use Decision::{Accepted, Filtered, Seen, Skipped};

    use super::*;

    fn outline(strongest: u64, passes: bool, second: i64) -> Outline {
        Outline { strongest, passes, time: Timestamp::from_second(second).ok() }
    }

    const LATER: SourceHistory =
        SourceHistory { first: false, reseeding: false, backfill: Backfill::Newest(1), hold_above: 0 };

    #[test]
    fn what_is_new_and_passes_is_accepted() {
        let entries = [outline(1, true, 9), outline(2, true, 8), outline(3, false, 7), outline(2, true, 8)];
        assert_eq!(decide(&entries, |key| key == 1, LATER), [Seen, Accepted, Filtered, Seen]);
    }

    #[test]
    fn backfill_takes_the_newest_of_those_that_pass_and_only_at_first() {
        let entries = [outline(1, false, 99), outline(2, true, 5), outline(3, true, 7), outline(4, true, 6)];
        let first = SourceHistory { first: true, hold_above: 1, ..LATER };
        let skipped = Skipped(Reason::Backfill);
        assert_eq!(decide(&entries, |_| false, first), [Filtered, skipped, Accepted, skipped]);
        let all = SourceHistory { backfill: Backfill::All, ..first };
        assert_eq!(decide(&entries, |_| false, all), [Filtered, Accepted, Accepted, Accepted]);
        let reseeding = SourceHistory { reseeding: true, ..all };
        let skipped = Skipped(Reason::Reseeding);
        assert_eq!(decide(&entries, |_| false, reseeding), [Filtered, skipped, skipped, skipped]);
    }

    #[test]
    fn of_a_flood_only_the_newest_are_accepted() {
        let entries = [outline(1, true, 9), outline(2, true, 3), outline(3, false, 7), outline(4, true, 6)];
        let history = |hold_above| SourceHistory { hold_above, ..LATER };
        let held = Skipped(Reason::Flood);
        assert_eq!(decide(&entries, |_| false, history(2)), [Accepted, held, Filtered, Accepted]);
        assert_eq!(decide(&entries, |_| false, history(3)), [Accepted, Accepted, Filtered, Accepted]);
        assert_eq!(decide(&entries, |key| key == 1, history(1)), [Seen, held, Filtered, Accepted]);
    }

    #[test]
    fn a_new_destination_gets_the_newest_that_pass_seen_or_not() {
        let entries = [outline(1, true, 9), outline(2, true, 3), outline(3, false, 10), outline(1, true, 9)];
        assert_eq!(newest(&entries, Backfill::Newest(1)), [true, false, false, false]);
        assert_eq!(newest(&entries, Backfill::Newest(9)), [true, true, false, false]);
        assert_eq!(newest(&entries, Backfill::All), [true, true, false, false]);
        assert_eq!(newest(&[], Backfill::All), [false; 0]);
    }
}
