//! The store against a model of a page: whatever is done in whatever order, both agree.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use jiff::Timestamp;
use kawaraban::{
    config::Source,
    identity::Keys,
    model::{DeliveryError, ErrorKind, Item},
    store::{DestinationRecord, Settled, SourceRecord, StoreState},
};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::{Bench, document, name, second, sources};

const RETENTION: i64 = 3600;

#[derive(Debug, Clone)]
enum Step {
    /// A changed document.
    Ingest {
        source: usize,
        numbers: Vec<u32>,
        after: i64,
    },
    /// A 304.
    Unchanged {
        source: usize,
        after: i64,
    },
    /// The oldest so many end, those at a multiple of `refuse` as dead letters.
    Settle {
        destination: usize,
        count: usize,
        refuse: usize,
    },
    /// Counters.
    Save {
        number: u8,
    },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    // a window that moves on, with gaps: items come, leave and come again
    let numbers = (0_u32..40, prop::collection::vec(0_u32..24, 0..16)).prop_map(|(from, offsets)| {
        let mut seen = BTreeSet::new();
        offsets.into_iter().map(|offset| from + offset).filter(|number| seen.insert(*number)).collect::<Vec<_>>()
    });
    let after = prop_oneof![4 => 0_i64..600, 1 => RETENTION - 1..2 * RETENTION];
    prop_oneof![
        6 => (0_usize..3, numbers, after.clone()).prop_map(|(source, numbers, after)| Step::Ingest { source, numbers, after }),
        2 => (0_usize..3, after).prop_map(|(source, after)| Step::Unchanged { source, after }),
        3 => (0_usize..2, 0_usize..9, 2_usize..5)
            .prop_map(|(destination, count, refuse)| Step::Settle { destination, count, refuse }),
        1 => any::<u8>().prop_map(|number| Step::Save { number }),
        1 => Just(Step::Restart),
    ]
}

/// Every third has a guid, every third only a link, every third neither; some have no date.
fn item(number: u32) -> Item {
    Item {
        id: number.is_multiple_of(3).then(|| format!("guid-{number}")),
        link: (number % 3 != 2).then(|| format!("https://news.example/{number}")),
        title: Some(format!("item {number}")),
        published: (number % 8 != 7).then(|| second(i64::from(number % 5))),
        ..Item::default()
    }
}

fn passes(number: u32) -> bool {
    number % 6 != 5
}

#[derive(Default)]
struct SourceModel {
    last_success: Option<Timestamp>,
    /// When it was last there; none while it is in the last document.
    seen: Vec<(Keys, Option<Timestamp>)>,
}

#[derive(Default)]
struct Model {
    sources: [SourceModel; 3],
    /// By destination, then by source.
    waiting: BTreeMap<String, BTreeMap<String, VecDeque<String>>>,
    dead: BTreeMap<String, u64>,
    delivered: BTreeMap<String, u64>,
    health: BTreeMap<String, Vec<u8>>,
    clock: i64,
}

impl Model {
    /// New items, and those of them that are queued.
    fn ingest(&mut self, index: usize, source: &Source, numbers: &[u32], keys: &[Keys]) -> (u64, u64) {
        let now = second(self.clock);
        let model = &mut self.sources[index];
        let is = |seen: &Keys, key: u64| seen.all().any(|other| other == key);
        let known = |keys: &Keys| model.seen.iter().any(|(seen, _)| is(seen, keys.strongest()));
        let new: Vec<(u32, Keys)> =
            numbers.iter().copied().zip(keys.iter().copied()).filter(|(_, keys)| !known(keys)).collect();

        let mut seen = Vec::new();
        for (keys, left) in &model.seen {
            let here = numbers.iter().zip(document_keys(numbers)).any(|(_, entry)| is(keys, entry.strongest()));
            let left = if here { None } else { left.or(model.last_success) };
            if left.is_none_or(|left| now.as_second() - left.as_second() <= RETENTION) {
                seen.push((*keys, left));
            }
        }
        seen.extend(new.iter().map(|(_, keys)| (*keys, None)));
        model.seen = seen;

        // oldest first where all have a date, else the document turned round
        let mut queue: Vec<u32> =
            new.iter().map(|(number, _)| *number).filter(|number| passes(*number)).rev().collect();
        if queue.iter().all(|number| item(*number).published.is_some()) {
            queue.sort_by_key(|number| item(*number).published);
        }
        if model.last_success.is_none() {
            let kept = [usize::MAX, 2, 0][index].min(queue.len());
            queue.drain(..queue.len() - kept);
        }
        for destination in &source.to {
            let titles = queue.iter().map(|number| format!("item {number}"));
            let waiting = self.waiting.entry(destination.to_string()).or_default();
            waiting.entry(source.name.to_string()).or_default().extend(titles);
        }
        model.last_success = Some(now);
        (new.len() as u64, queue.len() as u64)
    }
}

fn document_keys(numbers: &[u32]) -> Vec<Keys> {
    let items: Vec<_> = numbers.iter().map(|number| item(*number)).collect();
    document(&three_sources()[0], &items, second(0)).keys
}

fn three_sources() -> Vec<Arc<Source>> {
    static SOURCES: std::sync::OnceLock<Vec<Arc<Source>>> = std::sync::OnceLock::new();
    let make = || {
        sources(
            "[fetch]\nretention = \"1h\"\n\
             [[source]]\nname = \"a\"\nurl = \"http://x.example/\"\nbackfill = \"all\"\n\
             [[source]]\nname = \"b\"\nurl = \"http://x.example/\"\nbackfill = 2\nto = [\"two\"]\n\
             [[source]]\nname = \"c\"\nurl = \"http://x.example/\"\nbackfill = 0\n",
        )
    };
    SOURCES.get_or_init(make).clone()
}

fn run(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let sources = three_sources();
    let mut bench = Bench::open(dir.path(), &sources);
    let mut model = Model::default();
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Ingest { source, numbers, after } => {
                model.clock += after;
                let items: Vec<_> = numbers.iter().map(|number| item(*number)).collect();
                let mut ingest = document(&sources[*source], &items, second(model.clock));
                for (candidate, number) in ingest.candidates.iter_mut().zip(numbers) {
                    candidate.passes = passes(*number);
                }
                let due = model.ingest(*source, &sources[*source], numbers, &ingest.keys.clone());
                let ingested = bench.try_store(ingest).unwrap();
                assert_eq!((ingested.new, ingested.accepted), due, "step {number}: {step:?}");
                assert_eq!(ingested.new, ingested.accepted + ingested.skipped + ingested.filtered);
            }
            Step::Unchanged { source, after } => {
                model.clock += after;
                // only a source that has a document can be unchanged
                if model.sources[*source].last_success.is_some() {
                    let last_success = Some(second(model.clock));
                    model.sources[*source].last_success = last_success;
                    let record = SourceRecord { last_success, ..SourceRecord::default() };
                    let records = vec![(sources[*source].name.clone(), record)];
                    bench.runtime.block_on(bench.store.save_sources(records)).unwrap();
                }
            }
            Step::Settle { destination, count, refuse } => {
                let destination = ["one", "two"][*destination];
                let refusal = |nth: usize| DeliveryError {
                    kind: ErrorKind::Http(400),
                    message: format!("refused {nth}").into(),
                    at: second(model.clock),
                };
                let leased = bench.lease(destination).into_iter().take(*count).enumerate();
                let waiting = model.waiting.entry(destination.to_owned()).or_default();
                let settled: Vec<_> = leased
                    .map(|(nth, queued)| {
                        let delivery = queued.delivery().unwrap();
                        let of_source = waiting.get_mut(&delivery.source.name).unwrap();
                        assert_eq!(of_source.pop_front(), delivery.item.title, "the oldest of its source");
                        Settled { seq: queued.seq, refused: (nth % refuse == 1).then(|| refusal(nth)) }
                    })
                    .collect();
                let waiting: usize = waiting.values().map(VecDeque::len).sum();
                let dead = settled.iter().filter(|settled| settled.refused.is_some()).count() as u64;
                *model.dead.entry(destination.to_owned()).or_default() += dead;
                let delivered = model.delivered.entry(destination.to_owned()).or_default();
                *delivered += settled.len() as u64 - dead;
                let record = DestinationRecord { delivered: *delivered, ..DestinationRecord::default() };
                let backlog = bench.settle(destination, settled.clone(), record.clone());
                assert_eq!(backlog.queued, waiting as u64);
                // an actor that died before it heard so settles once more
                assert_eq!(bench.settle(destination, settled, record), backlog);
            }
            Step::Save { number } => {
                let (key, bytes) = (format!("s{}", number % 3), vec![*number; usize::from(*number)]);
                model.health.insert(key.clone(), bytes.clone());
                bench.runtime.block_on(bench.store.save_health(vec![(key, bytes)])).unwrap();
            }
            Step::Restart => bench = bench.reopened(),
        }
        agree(&bench, &model, number, step);
    }
}

fn agree(bench: &Bench, model: &Model, number: usize, step: &Step) {
    let at = format!("after step {number}: {step:?}");
    let mut outbox = 0;
    let mut dead_letters = 0;
    for destination in ["one", "two"] {
        let waiting = model.waiting.get(destination).cloned().unwrap_or_default();
        let mut leased: BTreeMap<String, VecDeque<String>> = BTreeMap::new();
        let mut round = BTreeSet::new();
        for delivery in bench.lease(destination).iter().map(|queued| queued.delivery().unwrap()) {
            // nobody has a second turn before all others had their first, as long as they have items
            if !round.insert(delivery.source.name.clone()) {
                let left = |(source, items): (&String, &VecDeque<String>)| {
                    items.len() > leased.get(source).map_or(0, VecDeque::len) && !round.contains(source)
                };
                assert!(!waiting.iter().any(left), "{destination} {at}");
                round = BTreeSet::from([delivery.source.name.clone()]);
            }
            leased.entry(delivery.source.name).or_default().extend(delivery.item.title);
        }
        let waiting: BTreeMap<_, _> = waiting.into_iter().filter(|(_, items)| !items.is_empty()).collect();
        assert_eq!(leased, waiting, "{destination} {at}");
        let waiting: Vec<&String> = waiting.values().flatten().collect();
        let (record, backlog) = bench.runtime.block_on(bench.store.destination(&name(destination))).unwrap();
        let dead = model.dead.get(destination).copied().unwrap_or(0);
        assert_eq!((backlog.queued, backlog.dead_letters), (waiting.len() as u64, dead), "{destination} {at}");
        assert_eq!(backlog.oldest.is_some(), !waiting.is_empty(), "{destination} {at}");
        assert_eq!(record.delivered, model.delivered.get(destination).copied().unwrap_or(0), "{destination} {at}");
        outbox += waiting.len() as u64;
        dead_letters += dead;
    }
    for (source, model) in bench.sources.iter().zip(&model.sources) {
        let record = bench.runtime.block_on(bench.store.source(&source.name)).unwrap();
        assert_eq!(record.last_success, model.last_success, "{} {at}", source.name);
    }
    let seen = model.sources.iter().map(|source| source.seen.len() as u64).sum::<u64>();
    let status = bench.status();
    assert_eq!((status.items_seen, status.outbox, status.dead_letters), (seen, outbox, dead_letters), "{at}");
    assert_eq!((status.state, status.reasons), (StoreState::Ok, Vec::new()), "{at}");
    let stats = bench.runtime.block_on(bench.store.stats()).unwrap();
    assert_eq!((stats.items_seen, stats.outbox, stats.dead_letters), (seen, outbox, dead_letters), "{at}");
    let health = bench.runtime.block_on(bench.store.load_health()).unwrap();
    assert_eq!(health, model.health.clone().into_iter().collect::<Vec<_>>(), "{at}");
}

#[test]
fn whatever_is_done_in_whatever_order_the_store_agrees_with_its_model() {
    let config = Config { cases: 24, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    runner
        .run(&prop::collection::vec(step(), 1..40), |steps| {
            run(steps);
            Ok(())
        })
        .unwrap();
}
