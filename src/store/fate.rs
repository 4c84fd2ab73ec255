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
pub(super) enum Fate {
    /// It is remembered already, or stands in the document twice.
    Seen,
    /// New, and kept out by the filters.
    Filtered,
    /// New, and marked seen only: by backfill, or by reseeding.
    Skipped,
    /// New, and queued for its destinations.
    Accepted,
}

/// How a source stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    /// It never had a successful poll.
    pub(super) first: bool,
    /// It marks what it shows as seen, after a loss.
    pub(super) reseeding: bool,
    /// As configured.
    pub(super) backfill: Backfill,
}

/// The fate of each entry, in document order.
pub(super) fn fates(outlines: &[Outline], seen: impl Fn(u64) -> bool, standing: Standing) -> Vec<Fate> {
    // an entry that a document has twice, word by word, is one item
    let mut met = HashSet::new();
    let mut fates: Vec<Fate> = outlines
        .iter()
        .map(|outline| match seen(outline.strongest) || !met.insert(outline.strongest) {
            true => Fate::Seen,
            false if !outline.passes => Fate::Filtered,
            false => Fate::Accepted,
        })
        .collect();
    let passing: Vec<usize> = (0..fates.len()).filter(|&n| fates[n] == Fate::Accepted).collect();
    let times: Vec<_> = passing.iter().map(|&n| outlines[n].time).collect();
    let order = identity::delivery_order(&times);
    let skipped = match standing.backfill {
        _ if standing.reseeding => order.len(),
        Backfill::Newest(newest) if standing.first => order.len().saturating_sub(newest),
        Backfill::Newest(_) | Backfill::All => 0,
    };
    for n in order.into_iter().take(skipped) {
        fates[passing[n]] = Fate::Skipped;
    }
    fates
}

#[cfg(test)]
mod tests {
    use Fate::{Accepted, Filtered, Seen, Skipped};

    use super::*;

    fn outline(strongest: u64, passes: bool, second: i64) -> Outline {
        Outline { strongest, passes, time: Timestamp::from_second(second).ok() }
    }

    const LATER: Standing = Standing { first: false, reseeding: false, backfill: Backfill::Newest(1) };

    #[test]
    fn what_is_new_and_passes_is_accepted() {
        let entries = [outline(1, true, 9), outline(2, true, 8), outline(3, false, 7), outline(2, true, 8)];
        assert_eq!(fates(&entries, |key| key == 1, LATER), [Seen, Accepted, Filtered, Seen]);
    }

    #[test]
    fn backfill_takes_the_newest_of_those_that_pass_and_only_at_first() {
        let entries = [outline(1, false, 99), outline(2, true, 5), outline(3, true, 7), outline(4, true, 6)];
        let first = Standing { first: true, ..LATER };
        assert_eq!(fates(&entries, |_| false, first), [Filtered, Skipped, Accepted, Skipped]);
        let all = Standing { backfill: Backfill::All, ..first };
        assert_eq!(fates(&entries, |_| false, all), [Filtered, Accepted, Accepted, Accepted]);
        let reseeding = Standing { reseeding: true, ..all };
        assert_eq!(fates(&entries, |_| false, reseeding), [Filtered, Skipped, Skipped, Skipped]);
    }
}
