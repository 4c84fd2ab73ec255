//! The outbox: what waits lies together, and ends one by one.

use kawaraban::{
    model::{DeliveryError, ErrorKind, Item},
    store::{DestinationRecord, Queued, Settled},
};

use super::{Bench, delivered, item, items, name, plain_sources, second, titles};

/// Each so long that only a few lie together.
fn long_items(numbers: std::ops::Range<u32>) -> Vec<Item> {
    let long = |number| Item { summary: Some("A long text. ".repeat(400)), ..item(number) };
    numbers.rev().map(long).collect()
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
        let leased = bench.runtime.block_on(bench.store.lease(&name("one"), 3)).unwrap();
        let leased: Vec<_> = leased.iter().map(|queued| queued.seq).collect();
        assert_eq!(leased, seqs[..seqs.len().min(3)], "the same, but fewer");
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
fn items_end_in_any_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path(), &plain_sources(1));
    bench.ingest(0, &long_items(0..200), second(0));
    let seqs = places(&bench);
    // more gaps than are kept as such: every second one ends, the newest first
    let (ended, waits): (Vec<_>, Vec<_>) = seqs.iter().copied().enumerate().partition(|(n, _)| n % 2 == 1);
    let waits: Vec<u64> = waits.into_iter().map(|(_, seq)| seq).collect();
    let ended: Vec<u64> = ended.into_iter().map(|(_, seq)| seq).rev().collect();
    for (n, some) in ended.chunks(7).enumerate() {
        settle(&bench, some);
        bench = if n % 4 == 0 { bench.reopened() } else { bench };
    }
    let due: Vec<String> = titles(0..200).into_iter().step_by(2).collect();
    assert_eq!((places(&bench), bench.waiting("one")), (waits.clone(), due));
    let backlog = bench.runtime.block_on(bench.store.destination(&name("one"))).unwrap().1;
    assert_eq!((backlog.queued, backlog.oldest), (100, Some(second(0))));
    assert_eq!(settle(&bench, &waits), 0);
    let bench = bench.reopened();
    assert_eq!((bench.waiting("one"), bench.status().outbox), (titles(0..0), 200));
}

/// Source and number of what comes next.
fn next(bench: &Bench, max: usize) -> Vec<String> {
    let leased = bench.runtime.block_on(bench.store.lease(&name("one"), max)).unwrap();
    let item = |queued: &Queued| {
        let delivery = queued.delivery().unwrap();
        format!("{} {}", delivery.source.name, delivery.item.title.unwrap().trim_start_matches("item "))
    };
    leased.iter().map(item).collect()
}

#[test]
fn a_backlog_of_one_source_does_not_hold_up_another() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path(), &plain_sources(3));
    bench.ingest(0, &long_items(0..50), second(0));
    assert_eq!(next(&bench, 3), ["a 0", "a 1", "a 2"]);
    bench.ingest(1, &items(0..1), second(1));
    bench.ingest(2, &items(0..2), second(2));
    assert_eq!(next(&bench, 6), ["a 0", "b 0", "c 0", "a 1", "c 1", "a 2"]);
    assert_eq!(next(&bench, 2), ["a 0", "b 0"], "asked again, the same");
    // one at a time, as they are sent
    let mut sent = Vec::new();
    for _ in 0..6 {
        let first = bench.lease("one").remove(0);
        sent.extend(next(&bench, 1));
        settle(&bench, &[first.seq]);
    }
    assert_eq!(sent, ["a 0", "b 0", "c 0", "a 1", "c 1", "a 2"]);
    let bench = bench.reopened();
    bench.ingest(1, &items(1..3), second(3));
    assert_eq!(next(&bench, 5), ["a 3", "b 1", "a 4", "b 2", "a 5"]);
}

#[test]
fn a_lease_beside_a_settlement_goes_on_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path(), &plain_sources(2));
    bench.ingest(0, &items(0..3), second(0));
    bench.ingest(1, &items(0..3), second(1));
    for due in [vec!["b 0", "a 1"], vec!["a 1", "b 1"], vec!["b 1", "a 2"]] {
        let first = bench.lease("one").remove(0).seq;
        let one = name("one");
        // in one group: the lease is answered before the settlement is committed
        let settle = bench.store.settle(&one, delivered(&[first]), DestinationRecord::default());
        let both = futures_util::future::join(settle, bench.store.lease(&one, 2));
        let (settled, leased) = bench.runtime.block_on(both);
        settled.unwrap();
        let leased: Vec<_> = leased.unwrap().iter().map(|queued| queued.delivery().unwrap()).collect();
        let leased: Vec<_> = leased
            .iter()
            .map(|delivery| {
                format!("{} {}", delivery.source.name, delivery.item.title.as_ref().unwrap().replace("item ", ""))
            })
            .collect();
        assert_eq!(leased, due);
    }
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
