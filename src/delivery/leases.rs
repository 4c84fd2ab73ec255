//! The items that a destination holds at a time: leased from its outbox, sent one after the other, and their ends
//! recorded.

use std::collections::VecDeque;

use crate::{
    model::DeliveryError,
    store::{Queued, Settled},
};

/// See the module.
#[derive(Debug)]
pub struct Leases {
    /// Items leased at a time.
    size: usize,
    /// Those that wait, in the turns of their sources.
    waiting: VecDeque<Queued>,
    /// Whether the outbox may hold more.
    more: bool,
    /// Whether something was queued since, whose source may be next.
    stale: bool,
    /// Ends that are not recorded yet.
    ended: Vec<Settled>,
}

impl Leases {
    /// Nothing is leased, and `size` items are leased at a time.
    pub fn new(size: usize) -> Self {
        Self { size, waiting: VecDeque::new(), more: true, stale: false, ended: Vec::new() }
    }

    /// The next item.
    pub fn front(&self) -> Option<&Queued> {
        self.waiting.front()
    }

    /// All that wait.
    pub fn waiting(&self) -> impl Iterator<Item = &Queued> {
        self.waiting.iter()
    }

    /// Something was queued.
    pub fn queued(&mut self) {
        (self.more, self.stale) = (true, true);
    }

    /// How many items to lease, if it is time to. What is queued from now on is announced again.
    pub fn begin(&mut self) -> Option<usize> {
        let due = self.stale || (self.waiting.is_empty() && self.more);
        due.then(|| {
            (self.more, self.stale) = (false, false);
            self.size
        })
    }

    /// What [`Leases::begin`] asked for. What was leased before and has not ended is leased again, in its turn.
    pub fn leased(&mut self, items: Vec<Queued>) {
        self.more |= items.len() == self.size;
        self.waiting = items.into();
    }

    /// Nothing could be leased: it has to be tried again.
    pub fn not_leased(&mut self) {
        self.more = true;
    }

    /// The next item ended: it was acknowledged, or refused for good.
    pub fn end(&mut self, refused: Option<DeliveryError>) -> Option<Queued> {
        let item = self.waiting.pop_front()?;
        self.ended.push(Settled { seq: item.seq, refused });
        Some(item)
    }

    /// How many ends are not recorded.
    pub fn unrecorded(&self) -> usize {
        self.ended.len()
    }

    /// The ends to be recorded.
    pub fn take_ended(&mut self) -> Vec<Settled> {
        std::mem::take(&mut self.ended)
    }

    /// They could not be recorded. What was leased meanwhile may be the same items.
    pub fn not_recorded(&mut self, mut ended: Vec<Settled>) {
        ended.append(&mut self.ended);
        self.ended = ended;
        self.waiting.clear();
        self.more = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(seqs: std::ops::Range<u64>) -> Vec<Queued> {
        seqs.map(|seq| Queued { seq, json: format!("{{\"n\":{seq}}}") }).collect()
    }

    #[test]
    fn items_are_leased_when_none_is_left_or_something_was_queued() {
        let mut leases = Leases::new(8);
        assert_eq!((leases.begin(), leases.begin()), (Some(8), None), "one lease at a time");
        leases.leased(items(5..7));
        assert_eq!(leases.begin(), None);
        leases.queued();
        assert_eq!(leases.begin(), Some(8), "another source may be next");
        leases.leased(items(5..7));
        assert_eq!((leases.end(None).unwrap().seq, leases.begin()), (5, None), "one is left");
        assert_eq!((leases.end(None).unwrap().seq, leases.begin()), (6, None), "there was no more");
        leases.not_leased();
        assert_eq!(leases.begin(), Some(8), "it is tried again");
        leases.leased(items(7..15));
        while leases.end(None).is_some() {}
        assert!(leases.begin().is_some(), "a full lease may have left something");
        leases.leased(Vec::new());
        assert_eq!(leases.begin(), None);
    }

    #[test]
    fn ends_stay_in_their_order_until_they_are_recorded() {
        let mut leases = Leases::new(8);
        leases.leased(items(1..5));
        leases.end(None);
        leases.end(None);
        let ended = leases.take_ended();
        leases.end(None);
        leases.not_recorded(ended);
        assert!(leases.front().is_none() && leases.begin().is_some(), "they are leased again");
        let seqs: Vec<u64> = leases.take_ended().iter().map(|settled| settled.seq).collect();
        assert_eq!((seqs, leases.unrecorded()), (vec![1, 2, 3], 0));
    }
}
