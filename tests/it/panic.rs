//! A panic ends one poll or one life of one actor, and nothing else.
//!
//! Supervisor, health and store run in this process, wired as the daemon wires them. A feed's reader is put
//! in that panics; an actor is made to panic by a log that does.

use std::{
    collections::BTreeSet,
    fs,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use actix::{Actor, Addr, AsyncContext, Context};
use kawaraban::{
    actors::{
        health::{self, HealthActor},
        messages::{GetLiveness, GetSnapshot, Stop},
        supervisor::{self, Reload, Shutdown, Supervisor},
    },
    config::load::{LoadOptions, Needed, load},
    fetch::Tls,
    health::report::{HealthReport, SourceReport, SourceStatus},
    memory::Suspects,
    model::{ErrorKind, Failure},
    poll::document::{self, Input, Parsed},
    resilience::breaker::Phase,
    store::{Options, Store},
};
use slog::{Drain, KV, Logger, Never, OwnedKVList, Record, o};

use crate::support::{
    farm::{Farm, FeedHandle},
    receiver::Receiver,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// The parts of a daemon that live in this process.
pub(crate) struct Parts {
    supervisor: Addr<Supervisor>,
    health: Addr<HealthActor>,
    pub(crate) store: Store,
    dir: tempfile::TempDir,
}

impl Parts {
    pub(crate) fn start(tables: &str, read: document::Read, log: Logger) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kawaraban.toml");
        fs::write(&path, tables).unwrap();
        let config = load(&path, &LoadOptions { secrets: Needed::All, env: &|_| None }).unwrap().config;
        let store = Store::open(Options {
            sources: config.sources.iter().map(|source| source.name.clone()).collect(),
            deadline: Duration::from_secs(300),
            ..Options::new(dir.path().join("state"), log.clone())
        });
        let store = store.unwrap();
        let supervisor = Context::<Supervisor>::new();
        let address = supervisor.address();
        let health = HealthActor::new(health::Seat {
            store: store.clone(),
            outage_began: address.clone().recipient(),
            outage_ended: address.recipient(),
            log: log.clone(),
        })
        .start();
        let supervisor = supervisor.run(Supervisor::new(supervisor::Seat {
            config: Arc::new(config),
            store: store.clone(),
            tls: Rc::new(Tls::new()),
            health: supervisor::Health {
                polled: health.clone().recipient(),
                scheduled: health.clone().recipient(),
                configured: health.clone().recipient(),
                delivery: health.clone().recipient(),
                limits: health.clone().recipient(),
            },
            read,
            suspects: Suspects::default(),
            seed: 7,
            log,
        }));
        Self { supervisor, health, store, dir }
    }

    pub(crate) async fn report(&self) -> HealthReport {
        let snapshot = self.health.send(GetSnapshot).await.expect("health lives");
        serde_json::from_value(serde_json::to_value(snapshot.report(false)).unwrap()).unwrap()
    }

    pub(crate) async fn wait(&self, what: &str, condition: impl Fn(&HealthReport) -> bool) {
        let start = Instant::now();
        loop {
            let report = self.report().await;
            // at the very first it knows no source yet
            if !report.sources.is_empty() && condition(&report) {
                return;
            }
            let shown = serde_json::to_string_pretty(&report).unwrap();
            assert!(start.elapsed() < PATIENCE, "waited in vain: {what}\n{shown}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn reload(&self, tables: &str) {
        let path = self.dir.path().join("kawaraban.toml");
        fs::write(&path, tables).unwrap();
        let config = load(&path, &LoadOptions { secrets: Needed::All, env: &|_| None }).unwrap().config;
        self.supervisor.send(Reload(Arc::new(config))).await.unwrap();
    }

    pub(crate) async fn stop(self) {
        assert_eq!(self.supervisor.send(GetLiveness).await.expect("the supervisor lives"), Ok(()));
        self.supervisor.send(Shutdown).await.unwrap();
        self.health.send(Stop).await.unwrap();
        self.store.close().await.unwrap();
    }
}

pub(crate) fn run(test: impl Future<Output = ()>) {
    actix::System::new().block_on(test);
}

pub(crate) fn tables(feeds: &[FeedHandle], receiver: &Receiver) -> String {
    let table = |feed: &FeedHandle| format!("[[source]]\nname = \"{}\"\nurl = \"{}\"\n", feed.name(), feed.url());
    format!(
        "[fetch]\ninterval = \"50ms\"\nallow_private_addresses = true\nbackfill = \"all\"\n\
         [fetch.breaker]\nfailures = 3\ncooldown = \"1h\"\nmax_cooldown = \"1h\"\n\
         [[destination]]\nname = \"out\"\nkind = \"webhook\"\nurl = \"{}\"\n{}",
        receiver.url(),
        feeds.iter().map(table).collect::<String>()
    )
}

pub(crate) fn source<'a>(report: &'a HealthReport, name: &str) -> &'a SourceReport {
    &report.sources[name]
}

/// Titles that arrived, without repeats.
fn arrived(receiver: &Receiver) -> BTreeSet<String> {
    let title = |value: serde_json::Value| value["item"]["title"].as_str().unwrap().to_owned();
    receiver.requests().iter().map(|request| title(request.json())).collect()
}

pub(crate) fn discard() -> Logger {
    Logger::root(slog::Discard, o!())
}

/// As the real one, but it panics over two of the sources.
fn panics_over_some(input: &Input, expired: &dyn Fn() -> bool) -> Result<Parsed, Failure> {
    assert!(!input.source.name.as_str().starts_with("bad"), "a parser's own fault");
    document::read(input, expired)
}

#[test]
fn a_feed_whose_reading_panics_fails_alone() {
    let farm = Farm::start();
    let receiver = Receiver::start();
    let feeds: Vec<_> = ["good1", "bad-small", "good2", "bad-large", "good3"].map(|name| farm.feed(name)).into();
    feeds.iter().for_each(|feed| drop(feed.publish(3)));
    // large enough to be read on a thread of its own
    farm.feed("bad-large").publish(3000);
    assert!(farm.feed("bad-large").document().len() > 256 * 1024);
    run(async {
        let parts = Parts::start(&tables(&feeds, &receiver), panics_over_some, discard());
        for bad in ["bad-small", "bad-large"] {
            parts
                .wait(&format!("the breaker of {bad} opens"), |report| {
                    let bad = source(report, bad);
                    bad.status == SourceStatus::Down && bad.breaker == Phase::Open
                })
                .await;
            let report = parts.report().await;
            let bad = source(&report, bad);
            assert_eq!((bad.polls, bad.attempts, bad.failures, bad.consecutive_failures), (3, 3, 3, 3));
            let error = bad.last_error.as_ref().unwrap();
            assert_eq!(error.kind, ErrorKind::Panic);
            assert!(error.message.contains("a parser's own fault"), "{}", error.message);
        }
        let before = parts.report().await;
        parts
            .wait("the others go on", |report| {
                ["good1", "good2", "good3"].iter().all(|name| {
                    let (now, before) = (source(report, name), source(&before, name));
                    now.failures == 0 && now.polls > before.polls + 3
                })
            })
            .await;
        let start = Instant::now();
        while arrived(&receiver).len() < 9 && start.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        parts.stop().await;
    });
    let due: BTreeSet<_> =
        [1, 2, 3].iter().flat_map(|feed| (1..=3).map(move |item| format!("good{feed} item {item}"))).collect();
    assert_eq!(arrived(&receiver), due);
}

/// A log that panics over a message of one source or destination, so many times.
struct PanickingLog {
    message: &'static str,
    of: &'static str,
    left: AtomicU32,
    panicked: Arc<AtomicU32>,
}

/// Finds the name that a log line speaks of.
struct NameOf(Mutex<String>);

impl slog::Serializer for NameOf {
    fn emit_arguments(&mut self, key: slog::Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
        if key == "source" || key == "destination" {
            *self.0.lock().unwrap() = value.to_string();
        }
        Ok(())
    }
}

impl Drain for PanickingLog {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        if record.msg().to_string() == self.message {
            let mut name = NameOf(Mutex::default());
            values.serialize(record, &mut name).unwrap();
            let is_it = *name.0.lock().unwrap() == self.of;
            let once_more = |left: u32| left.checked_sub(1);
            if is_it && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, once_more).is_ok() {
                self.panicked.fetch_add(1, Ordering::SeqCst);
                panic!("an actor's own fault");
            }
        }
        Ok(())
    }
}

fn panicking(message: &'static str, of: &'static str, times: u32) -> (Logger, Arc<AtomicU32>) {
    let panicked = Arc::new(AtomicU32::new(0));
    let log = PanickingLog { message, of, left: AtomicU32::new(times), panicked: panicked.clone() };
    (Logger::root(log, o!()), panicked)
}

#[test]
fn a_sources_actor_that_panics_is_made_anew_and_loses_nothing() {
    let farm = Farm::start();
    let receiver = Receiver::start();
    let feeds: Vec<_> = ["frail", "sturdy"].map(|name| farm.feed(name)).into();
    feeds.iter().for_each(|feed| drop(feed.publish(3)));
    run(async {
        // after the document was stored, and before anybody heard so
        let (log, panicked) = panicking("new items", "frail", 2);
        let parts = Parts::start(&tables(&feeds, &receiver), document::read, log);
        parts
            .wait("its panic is a failed poll", |report| {
                let frail = source(report, "frail");
                frail.failures == 1 && frail.last_error.as_ref().is_some_and(|error| error.kind == ErrorKind::Panic)
            })
            .await;
        parts.wait("it goes on", |report| source(report, "frail").successes > 2).await;
        feeds.iter().for_each(|feed| drop(feed.publish(1)));
        parts.wait("it panics again", |report| source(report, "frail").failures == 2).await;
        let polls = source(&parts.report().await, "frail").polls;
        parts.wait("and goes on again", |report| source(report, "frail").polls > polls + 3).await;
        assert_eq!(panicked.load(Ordering::SeqCst), 2);
        let report = parts.report().await;
        assert_eq!(source(&report, "frail").status, SourceStatus::Ok);
        assert_eq!(source(&report, "sturdy").failures, 0);
        let start = Instant::now();
        while arrived(&receiver).len() < 8 && start.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        parts.stop().await;
    });
    let titles: Vec<_> =
        receiver.requests().iter().map(|request| request.json()["item"]["title"].to_string()).collect();
    assert_eq!(titles.len(), 8, "each item once: {titles:?}");
    assert_eq!(titles.into_iter().collect::<BTreeSet<_>>().len(), 8);
}

#[test]
fn a_deliverys_actor_that_panics_is_made_anew_and_loses_nothing() {
    let farm = Farm::start();
    let receiver = Receiver::start();
    let feeds = [farm.feed("feed0")];
    feeds[0].publish(5);
    receiver.push_answer(500, &[], 1);
    run(async {
        // the item arrived, and that is not recorded yet
        let (log, panicked) = panicking("delivering again", "out", 1);
        let parts = Parts::start(&tables(&feeds, &receiver), document::read, log);
        let start = Instant::now();
        while arrived(&receiver).len() < 5 && start.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(panicked.load(Ordering::SeqCst), 1);
        parts
            .wait("all is recorded", |report| report.destinations["out"].delivered == 5 && report.store.outbox == 0)
            .await;
        assert_eq!(source(&parts.report().await, "feed0").failures, 0);
        parts.stop().await;
    });
    let mut titles: Vec<_> = receiver
        .requests()
        .iter()
        .map(|request| request.json()["item"]["title"].as_str().unwrap().to_owned())
        .collect();
    titles.dedup();
    let due: Vec<_> = (1..=5).map(|item| format!("feed0 item {item}")).collect();
    assert_eq!(titles, due, "in order, and only the one in flight is repeated");
    assert_eq!(receiver.requests().len(), 7, "one answered 500, one not recorded");
}

#[test]
fn a_deliverys_actor_that_panics_while_a_reload_ends_it_has_one_next_life() {
    let farm = Farm::start();
    let receiver = Receiver::start();
    let feeds = [farm.feed("feed0")];
    feeds[0].publish(5);
    receiver.push_answer(500, &[], 1);
    let requests = async |count| {
        let start = Instant::now();
        while receiver.requests().len() < count {
            assert!(start.elapsed() < PATIENCE, "{} of {count} requests", receiver.requests().len());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    run(async {
        let (log, panicked) = panicking("delivering again", "out", 1);
        let tables = tables(&feeds, &receiver);
        let parts = Parts::start(&tables, document::read, log);
        requests(1).await;
        receiver.hold();
        requests(2).await;
        // it ends after this request, and panics over its answer
        for life in ["2", "3"] {
            let changed = format!("{}?life={life}", receiver.url());
            parts.reload(&tables.replace(&receiver.url(), &changed)).await;
        }
        receiver.release();
        parts
            .wait("all is recorded", |report| report.destinations["out"].delivered == 5 && report.store.outbox == 0)
            .await;
        assert_eq!(panicked.load(Ordering::SeqCst), 1);
        parts.stop().await;
    });
    let requests = receiver.requests();
    assert_eq!(requests.len(), 7, "one answered 500, one not recorded");
    assert!(requests[2..].iter().all(|request| request.path.ends_with("?life=3")), "the newest configuration");
}
