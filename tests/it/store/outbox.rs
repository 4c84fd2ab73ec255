//! The outbox: what waits lies together, and ends one by one.

use kawaraban::{
    model::{DeliveryError, ErrorKind, Item},
    store::{DestinationRecord, Settled},
};

use super::{Bench, item, name, plain_sources, second, titles};

/// Each so long that only a few lie together.
fn long_items(numbers: std::ops::Range<u32>) -> Vec<Item> {
    let long = |number| Item { summary: Some("A long text. ".repeat(400)), ..item(number) };
    numbers.rev().map(long).collect()
}

fn delivered(seqs: &[u64]) -> Vec<Settled> {
    seqs.iter().map(|&seq| Settled { seq, refused: None }).collect()
}

fn settle(bench: &Bench, seqs: &[u64]) -> u64 {
    bench.settle("one", delivered(seqs), DestinationRecord::default()).queued
}

fn places(bench: &Bench) -> Vec<u64> {
    bench.lease("one").iter().map(|queued| queued.seq).collect()
}

#[test]
fn items_end_one_by_one_wherever_they_lie_also_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path(), &plain_sources(1));
    bench.ingest(0, &long_items(0..20), second(0));
    for ended in 0..20 {
        assert_eq!(bench.waiting("one"), titles(ended..20));
        let seqs = places(&bench);
        let after = seqs[seqs.len() / 2];
        let leased = bench.runtime.block_on(bench.store.lease(&name("one"), after, 3)).unwrap();
        let leased: Vec<_> = leased.iter().map(|queued| queued.seq).collect();
        let expected: Vec<_> = seqs.iter().copied().filter(|&seq| seq > after).take(3).collect();
        assert_eq!(leased, expected, "the next three after {after}");
        assert_eq!(settle(&bench, &seqs[..1]), u64::from(19 - ended));
        if ended % 5 == 0 {
            bench = bench.reopened();
        }
    }
    assert_eq!(bench.waiting("one"), titles(0..0));
    assert_eq!(bench.status().outbox, 20, "those of the other destination");
    assert_eq!(bench.waiting("two"), titles(0..20));
}

#[test]
fn an_item_that_is_not_the_oldest_waits_for_those_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path(), &plain_sources(1));
    bench.ingest(0, &long_items(0..10), second(0));
    let seqs = places(&bench);
    assert_eq!(settle(&bench, &seqs[1..]), 10, "the first has not ended");
    assert_eq!(settle(&bench, &[seqs[0], seqs[1], seqs[3]]), 8, "nor has the third");
    assert_eq!(bench.reopened().waiting("one"), titles(2..10));
}

#[test]
fn what_is_settled_twice_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path(), &plain_sources(1));
    bench.ingest(0, &long_items(0..8), second(0));
    let seqs = places(&bench);
    assert_eq!(settle(&bench, &seqs[..5]), 3);
    assert_eq!(settle(&bench, &seqs[..6]), 2);
    let error = DeliveryError { kind: ErrorKind::Http(400), message: "no".into(), at: second(1) };
    let refused = vec![Settled { seq: seqs[0], refused: Some(error.clone()) }];
    let backlog = bench.settle("one", refused, DestinationRecord::default());
    assert_eq!((backlog.queued, backlog.dead_letters), (2, 0), "it was delivered");
    let refused = vec![Settled { seq: seqs[6], refused: Some(error) }];
    let backlog = bench.settle("one", refused, DestinationRecord::default());
    assert_eq!((backlog.queued, backlog.dead_letters), (1, 1));
    let bench = bench.reopened();
    assert_eq!(bench.waiting("one"), titles(7..8));
    assert_eq!((bench.status().outbox, bench.status().dead_letters), (9, 1));
}
