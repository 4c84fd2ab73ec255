//! A disk that is full: nothing is lost, nothing is said to be stored that is not, and all goes on once
//! there is room.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    time::Duration,
};

use kawaraban::store::{DestinationRecord, Settled, Store, StoreError, StoreState};

use super::{Bench, copy, items, options, plain_sources, second, set_aside, titles};
use crate::support::{daemon::Daemon, disk::SmallDisk, farm::Farm};

fn is_failing(bench: &Bench) {
    let status = bench.status();
    assert_eq!(status.state, StoreState::Failing, "{status:?}");
    assert!(status.reasons[0].starts_with("store: failing"), "{status:?}");
}

#[test]
fn a_disk_that_fills_up_loses_nothing_and_all_goes_on_once_there_is_room() {
    let tmp = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(tmp.path(), 16) else { return };
    let dir = tmp.path().join("state");
    let bench = Bench::open(&dir, &plain_sources(1));
    let mut shown = 20;
    bench.ingest(0, &items(0..shown), second(0));

    for round in 0..3 {
        disk.fill();
        // what the file has room for is still taken
        let mut refused = 0;
        while refused < 3 {
            shown += 20;
            match bench.try_ingest(0, &items(0..shown), second(shown.into())) {
                Ok(_) => assert!(shown < 20_000, "the disk is not full"),
                Err(error) => {
                    assert!(matches!(error, StoreError::Failing(_)), "{error}");
                    shown -= 20;
                    refused += 1;
                    is_failing(&bench);
                }
            }
        }
        // it is tried again all the time, and each time it is still full
        std::thread::sleep(Duration::from_millis(300));
        disk.free();
        bench.until_open();
        assert_eq!(bench.status().reasons, Vec::<String>::new(), "round {round}");
        // the poll whose document was refused comes again
        shown += 20;
        bench.ingest(0, &items(0..shown), second(shown.into()));
        assert_eq!(bench.waiting("one"), titles(0..shown), "round {round}");
        let settled =
            bench.lease("two").iter().take(7).map(|queued| Settled { seq: queued.seq, refused: None }).collect();
        bench.settle("two", settled, DestinationRecord::default());
    }
    assert!(set_aside(&dir).is_empty());
    let content = bench.content();
    let bench = bench.reopened();
    assert_eq!(bench.content(), content);
    bench.close();
}

#[test]
fn a_disk_that_is_full_at_start_is_waited_for() {
    let tmp = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(tmp.path(), 16) else { return };
    disk.fill();
    let bench = Bench::open(&tmp.path().join("state"), &plain_sources(1));
    is_failing(&bench);
    let refused = bench.try_ingest(0, &items(0..1), second(0)).unwrap_err();
    assert!(matches!(refused, StoreError::Failing(_)), "{refused}");
    disk.free();
    bench.until_open();
    assert_eq!(bench.ingest(0, &items(0..3), second(0)).accepted, 3);
    bench.close();
}

#[test]
fn a_store_whose_disk_is_full_at_start_is_opened_with_all_it_holds_once_there_is_room() {
    let tmp = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(tmp.path(), 16) else { return };
    let dir = tmp.path().join("state");
    let bench = Bench::open(&dir, &plain_sources(2));
    bench.ingest(0, &items(0..30), second(0));
    bench.ingest(1, &items(0..30), second(0));
    let content = bench.content();
    bench.close();
    disk.fill();
    let bench = Bench::open(&dir, &plain_sources(2));
    std::thread::sleep(Duration::from_millis(300));
    disk.free();
    bench.until_open();
    assert_eq!(bench.content(), content);
    assert!(set_aside(&dir).is_empty());
    bench.close();
}

#[test]
fn a_damaged_store_on_a_full_disk_reseeds_once_there_is_room() {
    let sound = tempfile::tempdir().unwrap();
    let bench = Bench::open(sound.path(), &plain_sources(2));
    bench.ingest(0, &items(0..30), second(0));
    bench.close();

    let tmp = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(tmp.path(), 16) else { return };
    let dir = tmp.path().join("state");
    copy(sound.path(), &dir);
    File::options().write(true).open(dir.join("db/db")).unwrap().set_len(0).unwrap();
    disk.fill();
    let bench = Bench::open(&dir, &plain_sources(2));
    is_failing(&bench);
    // tried again, and restarted, all in vain
    std::thread::sleep(Duration::from_millis(300));
    let bench = bench.reopened();
    is_failing(&bench);
    disk.free();
    bench.until_open();
    let status = bench.status();
    assert_eq!(status.state, StoreState::Reseeding, "{status:?}");
    assert!(status.reasons.concat().contains("60 undelivered items"), "{status:?}");
    for source in 0..2 {
        let ingested = bench.ingest(source, &items(0..31), second(1));
        assert_eq!((ingested.accepted, ingested.skipped), (0, 31), "source {source} floods");
    }
    assert_eq!(set_aside(&dir).len(), 1);
    bench.close();
}

#[test]
fn a_source_that_came_with_a_reload_reseeds_too_when_the_store_is_lost_while_running() {
    let tmp = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(tmp.path(), 16) else { return };
    let dir = tmp.path().join("state");
    let both = plain_sources(2);
    let mut bench = Bench::open(&dir, &both[..1]);
    bench.store.configured(both.iter().map(|source| source.name.clone()).collect());
    bench.sources = both;
    bench.ingest(1, &items(0..30), second(0));
    disk.fill();
    let mut shown = 30;
    while bench.try_ingest(1, &items(0..shown), second(1)).is_ok() {
        shown += 100;
    }
    // while it fails the database is closed, and somebody harms it
    File::options().write(true).open(dir.join("db/db")).unwrap().set_len(0).unwrap();
    disk.free();
    bench.until_open();
    assert_eq!(set_aside(&dir).len(), 1);
    assert_eq!(bench.ingest(1, &items(0..30), second(2)).accepted, 0, "it floods");
    bench.close();
}

#[test]
fn a_state_directory_that_cannot_be_made_is_said_at_once() {
    let tmp = tempfile::tempdir().unwrap();
    let file = tmp.path().join("file");
    fs::write(&file, b"").unwrap();
    let Err(refused) = Store::open(options(&file.join("state"), &plain_sources(1))) else { panic!("it was opened") };
    assert!(refused.to_string().contains("file/state cannot be used"), "{refused}");
}

#[test]
fn a_daemon_whose_disk_is_full_is_down_and_recovers() {
    let farm = Farm::start();
    let feed = farm.feed("feed0");
    feed.publish(10);
    let config = format!(
        "[fetch]\ninterval = \"100ms\"\nallow_private_addresses = true\nbackfill = \"all\"\n\
         [[source]]\nname = \"feed0\"\nurl = \"{}\"\n",
        feed.url()
    );
    let mut daemon = Daemon::new(&config);
    let Some(disk) = SmallDisk::mount(&daemon.state(), 16) else { return };
    daemon.restart();
    daemon.wait("the first items arrive", |daemon| daemon.stdout().len() == 10);
    disk.fill();
    let published = std::cell::Cell::new(10);
    daemon.wait("the store fails", |daemon| {
        if daemon.stdout().len() == published.get() {
            feed.push((0..20).map(|n| long_entry(published.get() + n)));
            published.set(published.get() + 20);
        }
        daemon.health()["store"]["status"] == "failing"
    });
    let (status, body) = daemon.get("/health").unwrap();
    assert_eq!(status, 503, "{body}");
    let health = daemon.health();
    assert_eq!(health["status"], "down");
    assert!(
        health["reasons"]
            .as_array()
            .unwrap()
            .iter()
            .any(|reason| reason.as_str().unwrap().starts_with("store: failing")),
        "{health:#}"
    );
    let published = published.get();
    // that is no source's fault, and no reason to be killed
    assert_eq!(health["sources"]["feed0"]["breaker"], "closed", "{health:#}");
    assert_eq!(daemon.get("/health/live").unwrap().0, 200);
    assert_eq!(daemon.get("/health/ready").unwrap().0, 503);
    let before = daemon.stdout().len();
    disk.free();
    daemon.wait("all has arrived", |daemon| daemon.titles().into_iter().collect::<BTreeSet<_>>().len() == published);
    assert!(before < published);
    daemon.wait("it is well", |daemon| daemon.get("/health?strict").is_some_and(|(status, _)| status == 200));
    let (status, _) = daemon.terminate();
    assert!(status.success());
    assert_eq!(daemon.titles().len(), published, "nothing was sent twice");
    drop(disk);
}

#[test]
fn a_store_that_is_lost_while_the_daemon_runs_floods_neither_then_nor_after_a_restart() {
    let farm = Farm::start();
    let feed = farm.feed("feed0");
    feed.publish(10);
    let config = format!(
        "[fetch]\ninterval = \"100ms\"\nallow_private_addresses = true\nbackfill = \"all\"\n\
         [[source]]\nname = \"feed0\"\nurl = \"{}\"\n",
        feed.url()
    );
    let mut daemon = Daemon::new(&config);
    let Some(disk) = SmallDisk::mount(&daemon.state(), 16) else { return };
    daemon.restart();
    daemon.wait("the first items arrive", |daemon| daemon.stdout().len() == 10);
    disk.fill();
    let published = std::cell::Cell::new(10);
    let publish = |count: usize| {
        feed.push((0..count).map(|n| long_entry(published.get() + n)));
        published.set(published.get() + count);
    };
    daemon.wait("the store fails", |daemon| {
        if daemon.stdout().len() == published.get() {
            publish(20);
        }
        daemon.health()["store"]["status"] == "failing"
    });
    // the database is closed, and somebody harms it; the source still knows what its last document had
    let delivered = daemon.stdout().len();
    File::options().write(true).open(daemon.state().join("db/db")).unwrap().set_len(0).unwrap();
    disk.free();
    daemon.wait("a new store is begun", |daemon| {
        let store = &daemon.health()["store"];
        store["status"] != "failing" && store["items_seen"].as_u64() > Some(0)
    });
    assert_eq!(daemon.health()["store"]["items_seen"], published.get(), "all that is shown is marked seen");
    daemon.terminate();
    daemon.restart();
    publish(1);
    daemon.wait("what came since arrives", |daemon| daemon.stdout().len() > delivered);
    let (status, _) = daemon.terminate();
    assert!(status.success());
    assert_eq!(daemon.titles().len(), delivered + 1, "and nothing else: {:?}", daemon.titles());
    drop(disk);
}

/// Large, so that a disk's last free pages are soon written full.
fn long_entry(number: usize) -> crate::support::farm::Entry {
    let entry = crate::support::farm::Entry::numbered("feed0", number + 1);
    crate::support::farm::Entry { text: "so much to tell ".repeat(60), ..entry }
}

#[test]
fn a_daemon_that_starts_on_a_full_disk_answers_and_works_once_there_is_room() {
    let farm = Farm::start();
    let feed = farm.feed("feed0");
    feed.publish(3);
    let config = format!(
        "[fetch]\ninterval = \"100ms\"\nallow_private_addresses = true\nbackfill = \"all\"\n\
         [[source]]\nname = \"feed0\"\nurl = \"{}\"\n",
        feed.url()
    );
    let mut daemon = Daemon::new(&config);
    let Some(disk) = SmallDisk::mount(&daemon.state(), 16) else { return };
    disk.fill();
    daemon.restart();
    let health = daemon.health();
    assert_eq!((&health["status"], &health["store"]["status"]), (&"down".into(), &"failing".into()), "{health:#}");
    assert!(feed.requests().is_empty(), "nothing is fetched that could not be recorded");
    disk.free();
    daemon.wait("all has arrived", |daemon| daemon.stdout().len() == 3);
    daemon.wait("it is well", |daemon| daemon.get("/health?strict").is_some_and(|(status, _)| status == 200));
    assert!(daemon.terminate().0.success());
}
