//! The whole daemon as its operator has it: the program, real sockets, a real disk, kill -9.

use std::{collections::BTreeMap, fs, time::Duration};

use rustix::process::Signal;

use crate::support::{
    daemon::Daemon,
    farm::{Farm, Fault, FeedHandle},
};

/// Fast polls, and everything on loopback.
const FAST: &str = r#"
[fetch]
interval = "100ms"
allow_private_addresses = true
backfill = "all"
[fetch.retry]
min_backoff = "5ms"
max_backoff = "20ms"
[fetch.breaker]
cooldown = "300ms"
max_cooldown = "600ms"
"#;

fn source(feed: &FeedHandle) -> String {
    format!("[[source]]\nname = \"{}\"\nurl = \"{}\"\n", feed.name(), feed.url())
}

fn feeds(farm: &Farm, count: usize) -> Vec<FeedHandle> {
    (0..count).map(|n| farm.feed(&format!("feed{n}"))).collect()
}

/// Titles by feed, in the order of arrival.
fn by_feed(titles: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut sorted = BTreeMap::<_, Vec<String>>::new();
    for title in titles {
        let feed = title.split(' ').next().unwrap().to_owned();
        sorted.entry(feed).or_default().push(title.clone());
    }
    sorted
}

#[test]
fn each_item_is_delivered_once_and_oldest_first_also_after_a_restart() {
    let farm = Farm::start();
    let feeds = feeds(&farm, 6);
    let mut due: Vec<Vec<String>> = feeds.iter().map(|feed| titles(feed.publish(20))).collect();
    let config = FAST.to_owned() + &feeds.iter().map(source).collect::<String>();
    let mut daemon = Daemon::start(&config);
    daemon.wait("120 items arrive", |daemon| daemon.stdout().len() >= 120);
    for (feed, due) in feeds.iter().zip(&mut due) {
        due.extend(titles(feed.publish(3)));
    }
    daemon.wait("18 more arrive", |daemon| daemon.stdout().len() >= 138);
    let (status, took) = daemon.terminate();
    assert!(status.success() && took < Duration::from_secs(5), "{status} after {took:?}");

    let before = farm.requests().len();
    daemon.restart();
    for (feed, due) in feeds.iter().zip(&mut due) {
        due.extend(titles(feed.publish(1)));
    }
    daemon.wait("6 more arrive", |daemon| daemon.stdout().len() >= 144);
    let sorted = by_feed(&daemon.titles());
    for (feed, due) in feeds.iter().zip(&due) {
        assert_eq!(&sorted[feed.name()], due);
    }
    for feed in &feeds {
        let first =
            farm.requests().into_iter().skip(before).find(|request| request.path.ends_with(feed.name())).unwrap();
        assert!(first.header("if-none-match").is_some(), "no validator was sent back after the restart");
    }
    // a request that is under way has a connection already
    let requests = farm.requests().len() as u64;
    assert!(farm.connections() >= requests, "a connection was used twice");
}

#[test]
fn first_polls_beyond_twenty_are_spread() {
    let farm = Farm::start();
    let feeds = feeds(&farm, 60);
    feeds.iter().for_each(|feed| drop(feed.publish(1)));
    let config = FAST.replace("100ms", "1h") + &feeds.iter().map(source).collect::<String>();
    let daemon = Daemon::start(&config);
    daemon.wait("every source is polled", |daemon| daemon.stdout().len() >= 60);
    let requests = farm.requests();
    let took = requests[59].at - requests[0].at;
    assert!(took >= Duration::from_millis(1900), "50 ms a source beyond twenty, and not {took:?} in all");
}

fn titles(entries: Vec<crate::support::farm::Entry>) -> Vec<String> {
    entries.into_iter().map(|entry| entry.title).collect()
}

#[test]
fn every_fault_has_its_kind_and_a_breaker_of_its_own() {
    let farm = Farm::start();
    let faults = [
        ("reset", Fault::ResetBefore, "connection_reset"),
        ("resetwithin", Fault::ResetWithin, "connection_reset"),
        ("cut", Fault::CutLength, "closed_early"),
        ("cutchunk", Fault::CutInChunk, "closed_early"),
        ("cutbetween", Fault::CutBetweenChunks, "closed_early"),
        ("closed", Fault::ClosedBefore, "closed_early"),
        ("hang", Fault::Hang, "timeout"),
        ("drip", Fault::Drip(Duration::from_millis(200)), "timeout"),
        ("endless", Fault::EndlessChunks, "too_large"),
        ("bomb", Fault::GzipBomb, "too_large"),
        ("garbage", Fault::Garbage, "protocol"),
        ("s404", Fault::Status(404), "http_404"),
        ("s503", Fault::Status(503), "http_503"),
        ("loop", Fault::RedirectLoop, "redirect_loop"),
        ("html", Fault::Html, "not_a_feed"),
        ("empty", Fault::EmptyBody, "not_a_feed"),
    ];
    let mut config = FAST.replace("[fetch]\n", "[fetch]\ntimeout = \"2s\"\nmax_body = \"1MiB\"\n");
    for (name, fault, _) in &faults {
        let feed = farm.feed(name);
        feed.publish(3);
        feed.set_fault(fault.clone());
        config += &source(&feed);
    }
    config += &format!("[[source]]\nname = \"refused\"\nurl = \"{}\"\n", farm.refusing_url());
    config += &format!("[[source]]\nname = \"dns\"\nurl = \"{}\"\n", farm.unresolvable_url());
    for (name, fault) in [("early", Fault::EarlyHints), ("ends", Fault::EndsWithConnection)] {
        let feed = farm.feed(name);
        feed.publish(2);
        feed.set_fault(fault);
        config += &source(&feed);
    }
    let healthy = feeds(&farm, 3);
    for feed in &healthy {
        feed.publish(2);
        config += &source(feed);
    }
    let daemon = Daemon::start(&config);
    let expected: Vec<_> = faults
        .iter()
        .map(|(name, _, kind)| (*name, *kind))
        .chain([("refused", "connect_refused"), ("dns", "dns")])
        .collect();
    for (name, kind) in &expected {
        daemon.wait(&format!("{name} is {kind} and down"), |daemon| {
            let source = daemon.source(name);
            source["last_error"]["kind"] == *kind && source["status"] == "down"
        });
    }
    daemon.wait("the healthy ones deliver", |daemon| daemon.stdout().len() == 10);
    assert!(daemon.resident_kb() < 120_000, "{} kB", daemon.resident_kb());
    for (name, _, _) in &faults {
        farm.feed(name).set_fault(None);
    }
    for (name, _, _) in &faults {
        daemon.wait(&format!("{name} recovers"), |daemon| daemon.source(name)["breaker"] == "closed");
    }
    daemon.wait("what they had is delivered", |daemon| daemon.stdout().len() == 10 + 3 * faults.len());
}

#[test]
fn killed_at_random_moments_it_loses_nothing_and_keeps_the_order() {
    let farm = Farm::start();
    let feeds = feeds(&farm, 3);
    let config = FAST.to_owned() + &feeds.iter().map(source).collect::<String>();
    let mut daemon = Daemon::new(&config);
    let mut due: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let kills = 10;
    let mut seed = 7_u64;
    for _ in 0..kills {
        daemon.spawn();
        // a different moment each time, from the middle of the start to well into the work
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let deadline = std::time::Instant::now() + Duration::from_millis(seed >> 33 & 0xff);
        while std::time::Instant::now() < deadline {
            for feed in &feeds {
                due.entry(feed.name().into()).or_default().extend(titles(feed.publish(1)));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        daemon.kill();
    }
    daemon.restart();
    let all: usize = due.values().map(Vec::len).sum();
    let distinct = |daemon: &Daemon| daemon.titles().into_iter().collect::<std::collections::BTreeSet<_>>().len();
    daemon.wait("everything arrived", |daemon| distinct(daemon) == all);
    daemon.terminate();
    for (feed, arrived) in by_feed(&daemon.titles()) {
        // without its repeats, what arrived is what was published, in its order
        let mut seen = std::collections::BTreeSet::new();
        let firsts: Vec<_> = arrived.into_iter().filter(|title| seen.insert(title.clone())).collect();
        assert_eq!(firsts, due[&feed]);
    }
}

#[test]
fn a_damaged_store_is_set_aside_and_nobody_is_flooded() {
    let farm = Farm::start();
    let feed = farm.feed("feed0");
    feed.publish(20);
    let config = FAST.to_owned() + &source(&feed);
    let mut daemon = Daemon::start(&config);
    daemon.wait("20 items arrive", |daemon| daemon.stdout().len() == 20);
    daemon.terminate();
    let largest = largest_file(&daemon.state());
    fs::write(&largest, b"").unwrap();

    daemon.restart();
    daemon.wait("the source was read", |daemon| daemon.source("feed0")["successes"].as_u64() > Some(0));
    let health = daemon.health();
    assert_eq!(health["status"], "degraded", "{health:#}");
    let reasons = health["reasons"].to_string();
    assert!(reasons.contains("store:"), "{reasons}");
    let aside = fs::read_dir(daemon.state()).unwrap().filter_map(Result::ok);
    assert_eq!(aside.filter(|entry| entry.file_name().to_string_lossy().starts_with("damaged-")).count(), 1);
    feed.publish(1);
    daemon.wait("only the new item arrives", |daemon| daemon.stdout().len() >= 21);
    assert_eq!(daemon.titles().len(), 21);
}

fn largest_file(dir: &std::path::Path) -> std::path::PathBuf {
    let mut largest = None;
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let meta = entry.metadata().unwrap();
            if meta.is_dir() {
                dirs.push(entry.path());
            } else if largest.as_ref().is_none_or(|(size, _)| *size < meta.len()) {
                largest = Some((meta.len(), entry.path()));
            }
        }
    }
    largest.unwrap().1
}

#[test]
fn a_second_daemon_on_the_same_directory_is_refused() {
    let farm = Farm::start();
    let daemon = Daemon::start(&(FAST.to_owned() + &source(&farm.feed("feed0"))));
    let second = daemon.command(&["run"]).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(told.contains("another"), "{told}");
}

#[test]
fn a_reload_takes_what_changed_and_an_invalid_file_changes_nothing() {
    let farm = Farm::start();
    let feeds = feeds(&farm, 3);
    feeds.iter().for_each(|feed| drop(feed.publish(1)));
    let daemon = Daemon::start(&(FAST.to_owned() + &source(&feeds[0]) + &source(&feeds[1])));
    daemon.wait("two items arrive", |daemon| daemon.stdout().len() == 2);

    daemon.configure(&(FAST.to_owned() + "[[source]]\nname = \"BAD\"\n"));
    daemon.signal(Signal::HUP);
    daemon.wait("the fault is told", |daemon| daemon.log().contains("nothing was changed"));
    feeds[0].publish(1);
    daemon.wait("polls go on", |daemon| daemon.stdout().len() == 3);

    daemon.configure(&(FAST.to_owned() + &source(&feeds[0]) + &source(&feeds[2])));
    daemon.signal(Signal::HUP);
    daemon.wait("the new source delivers", |daemon| daemon.stdout().len() == 4);
    let sources = daemon.health()["sources"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(sources, ["feed0", "feed2"]);
}

#[test]
fn an_invalid_configuration_ends_run_and_check_with_status_2() {
    let daemon = Daemon::new("[[source]]\nname = \"a\"\nurl = \"ftp://x\"\n");
    for arguments in [["run"], ["check"]] {
        let output = daemon.command(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let told = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(told.contains("kawaraban.toml:") && told.contains("url"), "{told}");
    }
}
