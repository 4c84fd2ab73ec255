//! The store through its handle: a real directory, a real database, a real disk that fills up.

mod damage;
mod earlier;
mod full_disk;
mod model;
mod outbox;
mod power;
mod sameness;
mod size;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use kawaraban::{
    config::{
        Source,
        load::{LoadOptions, Needed, load},
    },
    identity::{self, Facts},
    model::{Item, Name},
    store::{
        Backlog, Candidate, DestinationRecord, Ingest, Ingested, Options, Prospect, Queued, Settled, SourceRecord,
        StartError, Store, StoreError, StoreStatus,
    },
};
use slog::{Discard, Logger, o};

/// Every source sends to both, unless it says otherwise.
const DESTINATIONS: &str = r#"
[[destination]]
name = "one"
kind = "stdout"
[[destination]]
name = "two"
kind = "webhook"
url = "http://127.0.0.1:9/"
"#;

/// Sources as the configuration gives them.
fn sources(tables: &str) -> Vec<Arc<Source>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kawaraban.toml");
    fs::write(&path, format!("{tables}{DESTINATIONS}")).unwrap();
    load(&path, &LoadOptions { secrets: Needed::All, env: &|_| None }).unwrap().config.sources
}

/// `a`, `b`, …: they deliver all that they have.
fn plain_sources(count: u8) -> Vec<Arc<Source>> {
    let table = |n: u8| format!("[[source]]\nname = \"{}\"\nurl = \"http://x.example/\"\n", char::from(b'a' + n));
    sources(&("[fetch]\nbackfill = \"all\"\n".to_owned() + &(0..count).map(table).collect::<String>()))
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

/// How the tests open it: a slow machine is no hang, and what fails is tried again soon.
fn options(dir: &Path, sources: &[Arc<Source>]) -> Options {
    Options {
        sources: sources.iter().map(|source| source.name.clone()).collect(),
        patience: Duration::from_secs(300),
        deadline: Duration::from_secs(300),
        retry: Duration::from_millis(100),
        ..Options::new(dir.to_owned(), Logger::root(Discard, o!()))
    }
}

/// The store on a runtime of its own, for tests that are not asynchronous themselves.
struct Bench {
    runtime: tokio::runtime::Runtime,
    store: Store,
    dir: PathBuf,
    sources: Vec<Arc<Source>>,
}

impl Bench {
    fn open(dir: &Path, sources: &[Arc<Source>]) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // a program that another test starts just now holds every lock of ours between its fork and its exec
        let start = std::time::Instant::now();
        let store = loop {
            match Store::open(options(dir, sources)) {
                Err(StartError::Locked(_)) if start.elapsed() < Duration::from_secs(30) => std::thread::yield_now(),
                opened => break opened.unwrap(),
            }
        };
        Self { runtime, store, dir: dir.to_owned(), sources: sources.to_vec() }
    }

    fn close(self) {
        self.runtime.block_on(self.store.close()).unwrap();
    }

    fn reopened(self) -> Self {
        let (dir, sources) = (self.dir.clone(), self.sources.clone());
        self.close();
        Self::open(&dir, &sources)
    }

    /// What a power cut would leave on a disk that had flushed all that was written.
    fn copied(&self, to: &Path) -> Self {
        copy(&self.dir, to);
        Self::open(to, &self.sources)
    }

    fn try_ingest(&self, source: usize, items: &[Item], at: Timestamp) -> Result<Ingested, StoreError> {
        self.try_store(document(&self.sources[source], items, at))
    }

    /// Stores a document; what was foretold of it must come.
    fn try_store(&self, ingest: Ingest) -> Result<Ingested, StoreError> {
        let foretold = self.runtime.block_on(self.store.would_accept(prospect(&ingest)));
        let ingested = self.runtime.block_on(self.store.ingest(ingest));
        if let (Ok(foretold), Ok(ingested)) = (foretold, &ingested) {
            assert_eq!(foretold.iter().filter(|accepted| **accepted).count() as u64, ingested.accepted);
        }
        ingested
    }

    fn ingest(&self, source: usize, items: &[Item], at: Timestamp) -> Ingested {
        self.try_ingest(source, items, at).unwrap()
    }

    fn lease(&self, destination: &str) -> Vec<Queued> {
        self.runtime.block_on(self.store.lease(&name(destination), usize::MAX)).unwrap()
    }

    /// Titles of what waits, in the turns of the sources.
    fn waiting(&self, destination: &str) -> Vec<String> {
        self.lease(destination).iter().map(|queued| queued.delivery().unwrap().item.title.unwrap()).collect()
    }

    fn settle(&self, destination: &str, settled: Vec<Settled>, record: DestinationRecord) -> Backlog {
        self.runtime.block_on(self.store.settle(&name(destination), settled, record)).unwrap()
    }

    fn status(&self) -> StoreStatus {
        // an answer may be a moment ahead of the status; the next answer is not
        drop(self.runtime.block_on(self.store.ping()));
        self.store.status()
    }

    fn content(&self) -> Content {
        let destination = |name: &str| {
            let id = crate::store::name(name);
            let (record, backlog) = self.runtime.block_on(self.store.destination(&id)).unwrap();
            // whose turn it is does not outlive a restart
            let mut leased = self.lease(name);
            leased.sort_by_key(|queued| queued.seq);
            (name.to_owned(), (record, backlog, leased))
        };
        let source = |source: &Arc<Source>| {
            (source.name.to_string(), self.runtime.block_on(self.store.source(&source.name)).unwrap())
        };
        Content {
            sources: self.sources.iter().map(source).collect(),
            destinations: ["one", "two"].into_iter().map(destination).collect(),
            health: self.runtime.block_on(self.store.load_health()).unwrap(),
            status: self.status(),
        }
    }

    /// Waits until the store works.
    fn until_open(&self) {
        let start = std::time::Instant::now();
        while self.runtime.block_on(self.store.source(&name("a"))).is_err() {
            assert!(start.elapsed() < Duration::from_secs(60), "it does not open: {:?}", self.status());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// All that can be read from a store.
#[derive(Debug, PartialEq)]
struct Content {
    sources: BTreeMap<String, SourceRecord>,
    destinations: BTreeMap<String, (DestinationRecord, Backlog, Vec<Queued>)>,
    health: Vec<(String, Vec<u8>)>,
    status: StoreStatus,
}

fn facts(item: &Item) -> Facts<'_> {
    Facts {
        id: item.id.as_deref(),
        link: item.link.as_deref(),
        title: item.title.as_deref(),
        time: item.time(),
        text: item.summary.as_deref(),
    }
}

/// A source's document as a poll brings it; nothing is known in advance to be seen.
fn document(source: &Arc<Source>, items: &[Item], at: Timestamp) -> Ingest {
    let candidate = |(index, item): (usize, &Item)| Candidate::new(index, item.clone(), true);
    Ingest {
        source: source.clone(),
        keys: identity::keys(items.iter().map(facts)),
        candidates: items.iter().enumerate().map(candidate).collect(),
        record: SourceRecord { last_success: Some(at), had_items: !items.is_empty(), ..SourceRecord::default() },
        at,
    }
}

fn prospect(ingest: &Ingest) -> Prospect {
    let outlines = ingest.candidates.iter().map(|candidate| candidate.outline(&ingest.keys)).collect();
    Prospect { source: ingest.source.clone(), outlines, record: ingest.record.clone() }
}

/// An item with all that an item has: the larger its number, the newer it is.
fn item(number: u32) -> Item {
    Item {
        id: Some(format!("guid-{number}")),
        title: Some(format!("item {number}")),
        link: Some(format!("https://news.example/{number}")),
        published: Some(second(number.into())),
        summary: Some(format!("What happened the {number}th time.")),
        ..Item::default()
    }
}

/// Newest first, as feeds have it.
fn items(numbers: std::ops::Range<u32>) -> Vec<Item> {
    numbers.rev().map(item).collect()
}

fn titles(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|number| format!("item {number}")).collect()
}

fn delivered(seqs: &[u64]) -> Vec<Settled> {
    seqs.iter().map(|&seq| Settled { seq, refused: None }).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let into = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &into)
        } else {
            fs::copy(entry.path(), into).unwrap();
        }
    }
}

/// Names of what was set aside.
fn set_aside(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("damaged-")).collect();
    names.sort();
    names
}

#[test]
fn what_was_answered_is_there_after_a_power_cut_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(&dir.path().join("live"), &plain_sources(2));
    for step in 0..12 {
        match step % 4 {
            0 | 1 => drop(bench.ingest(step as usize % 2, &items(0..5 * (step + 1)), second(step.into()))),
            2 => {
                let oldest = bench.lease("one").first().map(|queued| Settled { seq: queued.seq, refused: None });
                let record = DestinationRecord { delivered: step.into(), ..DestinationRecord::default() };
                bench.settle("one", oldest.into_iter().collect(), record);
            }
            _ => {
                let health = vec![("a".to_owned(), vec![u8::try_from(step).unwrap(); 40])];
                bench.runtime.block_on(bench.store.save_health(health)).unwrap();
            }
        }
        let copied = bench.copied(&dir.path().join(format!("copy{step}")));
        assert_eq!(copied.content(), bench.content(), "after step {step}");
        assert!(set_aside(&copied.dir).is_empty());
    }
}

#[test]
fn a_second_open_of_the_same_directory_is_refused_until_the_first_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let sources = plain_sources(1);
    let bench = Bench::open(dir.path(), &sources);
    let Err(refused) = Store::open(options(dir.path(), &sources)) else { panic!("it was opened twice") };
    assert!(matches!(&refused, StartError::Locked(path) if path == dir.path()), "{refused:?}");
    assert!(refused.to_string().contains("another kawaraban"), "{refused}");
    bench.close();
    Bench::open(dir.path(), &sources).close();
}

#[test]
fn a_closed_store_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path(), &plain_sources(1));
    let store = bench.store.clone();
    bench.runtime.block_on(store.close()).unwrap();
    assert_eq!(bench.try_ingest(0, &items(0..1), second(0)), Err(StoreError::Closed));
}

#[test]
fn what_the_pages_of_new_items_say_changes_their_order_and_not_which_are_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let tables = "[[source]]\nname = \"a\"\nurl = \"http://x.example/\"\nbackfill = 2\n";
    let bench = Bench::open(dir.path(), &sources(tables));
    let mut ingest = document(&bench.sources[0], &items(1..5), second(0));
    let foretold = bench.runtime.block_on(bench.store.would_accept(prospect(&ingest))).unwrap();
    assert_eq!(foretold, [true, true, false, false]);
    // the pages of the two say that the newest is the oldest of all
    ingest.candidates[0].item.published = Some(second(-50));
    assert_eq!(bench.try_store(ingest).unwrap().accepted, 2);
    assert_eq!(bench.waiting("one"), ["item 4", "item 3"]);

    let mut later = document(&bench.sources[0], &items(1..8), second(60));
    let foretold = bench.runtime.block_on(bench.store.would_accept(prospect(&later))).unwrap();
    assert_eq!(foretold, [true, true, true, false, false, false, false]);
    later.candidates[1].passes = false;
    let foretold = bench.runtime.block_on(bench.store.would_accept(prospect(&later))).unwrap();
    assert_eq!(foretold, [true, false, true, false, false, false, false]);
    assert_eq!(bench.try_store(later).unwrap(), Ingested { new: 3, accepted: 2, filtered: 1, ..Ingested::default() });
}
