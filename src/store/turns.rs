//! Whose turn it is: the sources that have items queued for one destination, served round robin.
//!
//! An index in memory over the parcels of an outbox. It holds nothing that the parcels do not say, so that it
//! is built again at opening: 16 bytes for each parcel that holds items of a source.

use std::collections::{BTreeMap, HashMap, VecDeque};

/// A source, as the first half of its items' ids names it.
pub(super) type SourceId = u64;

/// The place of a parcel: that of the first item that was put into it.
pub(super) type ParcelId = u64;

/// Items of one source that wait in one parcel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    parcel: ParcelId,
    items: u32,
}

/// What waits of one source.
#[derive(Debug)]
struct Queue {
    turn: u64,
    runs: VecDeque<Run>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Turns {
    queues: HashMap<SourceId, Queue>,
    /// The sources, the next one first.
    order: BTreeMap<u64, SourceId>,
    next_turn: u64,
}

impl Turns {
    /// An item was queued. A source that had none waiting comes after all others.
    pub(super) fn queued(&mut self, source: SourceId, parcel: ParcelId) {
        let queue = self.queues.entry(source).or_insert_with(|| {
            let turn = self.next_turn;
            self.next_turn += 1;
            self.order.insert(turn, source);
            Queue { turn, runs: VecDeque::with_capacity(1) }
        });
        match queue.runs.back_mut().filter(|run| run.parcel == parcel) {
            Some(run) => run.items += 1,
            None => queue.runs.push_back(Run { parcel, items: 1 }),
        }
    }

    /// An item ended. Its source had its turn: all others come first now.
    pub(super) fn ended(&mut self, source: SourceId, parcel: ParcelId) {
        let Some(queue) = self.queues.get_mut(&source) else { return };
        // items of a source end in their order, so that it is mostly the first
        if let Some(at) = queue.runs.iter().position(|run| run.parcel == parcel) {
            queue.runs[at].items -= 1;
            if queue.runs[at].items == 0 {
                queue.runs.remove(at);
            }
        }
        self.order.remove(&queue.turn);
        if queue.runs.is_empty() {
            self.queues.remove(&source);
        } else {
            queue.turn = self.next_turn;
            self.order.insert(self.next_turn, source);
            self.next_turn += 1;
        }
    }

    /// The sources in their turns, each with the parcels that hold its items, the oldest first.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (SourceId, impl Iterator<Item = ParcelId>)> {
        self.order.values().filter_map(|source| {
            let runs = &self.queues.get(source)?.runs;
            Some((*source, runs.iter().map(|run| run.parcel)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(turns: &Turns) -> Vec<(SourceId, Vec<ParcelId>)> {
        turns.in_order().map(|(source, parcels)| (source, parcels.collect())).collect()
    }

    #[test]
    fn a_source_that_had_its_turn_comes_after_all_others() {
        let mut turns = Turns::default();
        (0..100).for_each(|_| turns.queued(1, 10));
        turns.queued(2, 10);
        turns.queued(3, 20);
        turns.queued(3, 20);
        turns.queued(2, 20);
        assert_eq!(order(&turns), [(1, vec![10]), (2, vec![10, 20]), (3, vec![20])]);
        turns.ended(1, 10);
        assert_eq!(order(&turns), [(2, vec![10, 20]), (3, vec![20]), (1, vec![10])]);
        turns.ended(2, 10);
        turns.ended(3, 20);
        assert_eq!(order(&turns), [(1, vec![10]), (2, vec![20]), (3, vec![20])]);
        turns.ended(3, 20);
        assert_eq!(order(&turns), [(1, vec![10]), (2, vec![20])], "nothing of the third waits any more");
        turns.queued(3, 30);
        assert_eq!(order(&turns), [(1, vec![10]), (2, vec![20]), (3, vec![30])]);
    }

    #[test]
    fn nothing_is_kept_of_sources_without_items() {
        let mut turns = Turns::default();
        for source in 0..1000 {
            turns.queued(source, 1);
            turns.queued(source, 2);
        }
        for source in 0..1000 {
            // in any order
            turns.ended(source, 2);
            turns.ended(source, 1);
            turns.ended(source, 1);
        }
        assert!(turns.queues.is_empty() && turns.order.is_empty());
    }
}
