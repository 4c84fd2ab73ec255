//! Reloads, close to one another and in the middle of the work: one life of a name at a time, and nothing
//! repeated, lost, or sent to an address that left.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::support::{
    daemon::Daemon,
    disk::SmallDisk,
    farm::{Entry, Farm, Fault, FeedHandle},
    receiver::Receiver,
};

const FAST: &str = r#"
[fetch]
interval = "100ms"
allow_private_addresses = true
backfill = "all"
"#;

fn source(feed: &FeedHandle, more: &str) -> String {
    format!("[[source]]\nname = \"{}\"\nurl = \"{}\"\n{more}\n", feed.name(), feed.url())
}

/// A webhook; a new `secret` is a change that gives the destination a new life.
fn destination(name: &str, receiver: &Receiver, secret: &str) -> String {
    format!(
        "[[destination]]\nname = \"{name}\"\nkind = \"webhook\"\nurl = \"{}\"\nsecret = \"a-secret-{secret}\"\n",
        receiver.url()
    )
}

fn reloads(daemon: &Daemon) -> usize {
    daemon.log().matches("configuration reloaded").count()
}

/// SIGHUP, and waits until the new configuration is taken over.
fn reload(daemon: &Daemon, config: &str) {
    let before = reloads(daemon);
    daemon.configure(config);
    daemon.signal(Signal::HUP);
    daemon.wait("it reloads", |daemon| reloads(daemon) > before);
}

fn titles(receiver: &Receiver) -> Vec<String> {
    let title = |request: crate::support::receiver::Received| {
        request.json()["item"]["title"].as_str().unwrap_or_default().to_owned()
    };
    receiver.requests().into_iter().map(title).collect()
}

fn numbered(feed: &str, numbers: std::ops::RangeInclusive<usize>) -> Vec<String> {
    numbers.map(|number| format!("{feed} item {number}")).collect()
}

#[test]
fn many_reloads_while_a_request_hangs_repeat_nothing() {
    let (farm, receiver) = (Farm::start(), Receiver::start());
    let feed = farm.feed("feed0");
    receiver.hold();
    let config = |secret: &str| FAST.to_owned() + &destination("a", &receiver, secret) + &source(&feed, "");
    let mut daemon = Daemon::start(&config("0"));
    feed.publish(6);
    daemon.wait("the first request hangs", |_| receiver.requests().len() == 1);
    for secret in ["1", "2", "3", "4", "5"] {
        reload(&daemon, &config(secret));
    }
    feed.publish(1);
    daemon.wait("the last item is accepted", |daemon| daemon.source("feed0")["items"] == 7);
    assert_eq!(receiver.requests().len(), 1, "a second life sends while the first one's request hangs");
    receiver.release();
    daemon.wait("all arrives", |daemon| daemon.health()["destinations"]["a"]["delivered"] == 7);
    assert!(daemon.terminate().0.success());
    assert_eq!(titles(&receiver), numbered("feed0", 1..=7));
}

#[test]
fn a_destination_that_left_sends_nothing_after_its_request_in_flight() {
    let (farm, left, stays) = (Farm::start(), Receiver::start(), Receiver::start());
    let feed = farm.feed("feed0");
    left.hold();
    let to = |name: &str| source(&feed, &format!("to = [\"{name}\"]"));
    let both = |secret: &str| FAST.to_owned() + &destination("left", &left, secret) + &destination("stays", &stays, "");
    let mut daemon = Daemon::start(&(both("0") + &to("left")));
    feed.publish(6);
    daemon.wait("the first request hangs", |_| left.requests().len() == 1);
    // first it changes, and while its former life ends it leaves
    reload(&daemon, &(both("1") + &to("left")));
    reload(&daemon, &(FAST.to_owned() + &destination("stays", &stays, "") + &to("stays")));
    left.release();
    feed.publish(3);
    daemon.wait("what is new arrives where it goes now", |_| stays.requests().len() == 3);
    // whoever was to be started when the request ended would have been by now
    feed.publish(3);
    daemon.wait("and so on", |_| stays.requests().len() == 6);
    assert!(daemon.terminate().0.success());
    assert_eq!(titles(&left), numbered("feed0", 1..=1));
    assert_eq!(titles(&stays), numbered("feed0", 7..=12));
}

#[test]
fn a_change_of_colour_or_limit_restarts_no_delivery_and_one_that_hangs_silences_no_other() {
    let (farm, slow, good) = (Farm::start(), Receiver::start(), Receiver::start());
    let feed = farm.feed("feed0");
    slow.hold();
    let config = |discord: &str, more: &str, secret: &str| {
        let destinations = destination("slow", &slow, "0") + &destination("good", &good, secret);
        format!(
            "{FAST}[discord]\n{discord}\n{destinations}{}",
            source(&feed, &format!("to = [\"slow\", \"good\"]\n{more}"))
        )
    };
    let mut daemon = Daemon::start(&config("", "", "0"));
    feed.publish(2);
    daemon.wait("one hangs, the other delivers", |_| slow.requests().len() == 1 && good.requests().len() == 2);
    reload(&daemon, &config("channel_per_minute = 20", "color = \"#ff0000\"", "0"));
    feed.publish(2);
    daemon.wait("the other goes on", |_| good.requests().len() == 4);
    // both change now, and the one that hangs ends alone
    let changed = config("channel_per_minute = 20", "color = \"#ff0000\"", "1").replace("a-secret-0", "a-secret-2");
    reload(&daemon, &changed);
    feed.publish(2);
    daemon.wait("the other goes on again", |_| good.requests().len() == 6);
    assert_eq!(slow.requests().len(), 1);
    assert!(!daemon.log().contains("delivery failed"), "the first request hangs no longer, and nothing was shown");
    slow.release();
    daemon.wait("the slow one catches up", |daemon| daemon.health()["destinations"]["slow"]["delivered"] == 6);
    assert!(daemon.terminate().0.success());
    assert_eq!(titles(&slow), numbered("feed0", 1..=6));
    assert_eq!(titles(&good), numbered("feed0", 1..=6));
}

#[test]
fn sources_that_move_between_destinations_bring_each_item_where_it_belongs() {
    let (farm, a, b) = (Farm::start(), Receiver::start(), Receiver::start());
    let feeds: Vec<_> = (0..60).map(|n| farm.feed(&format!("feed{n}"))).collect();
    let config = |to: &str| {
        let sources = feeds.iter().map(|feed| source(feed, &format!("to = [\"{to}\"]"))).collect::<String>();
        FAST.replace("100ms", "300ms") + &destination("a", &a, "") + &destination("b", &b, "") + &sources
    };
    let mut daemon = Daemon::start(&config("a"));
    let accepted = |daemon: &Daemon| {
        daemon.health()["sources"]
            .as_object()
            .map(|all| all.values().filter_map(|source| source["items"].as_u64()).sum::<u64>())
    };
    let mut due = BTreeMap::from([("a", 0), ("b", 0)]);
    for round in 1..=4 {
        // the last of several reloads close to one another counts
        let to = if round % 2 == 0 { "a" } else { "b" };
        for name in ["a", "b", "a", "b", to] {
            reload(&daemon, &config(name));
        }
        feeds.iter().for_each(|feed| drop(feed.publish(5)));
        *due.get_mut(to).unwrap() += 300;
        daemon.wait("all are accepted", |daemon| accepted(daemon) == Some(300 * round));
    }
    daemon.wait("all are delivered", |daemon| daemon.health()["store"]["outbox"] == 0);
    assert!(daemon.terminate().0.success());
    for (name, receiver) in [("a", &a), ("b", &b)] {
        let mut arrived = titles(receiver);
        assert_eq!(arrived.len(), due[name], "what went to {name}");
        arrived.sort();
        arrived.dedup();
        assert_eq!(arrived.len(), due[name], "what {name} got twice");
    }
}

#[test]
fn reloads_while_the_store_fails_leave_one_poller_of_each_source() {
    let farm = Farm::start();
    let receiver = Receiver::start();
    let feeds: Vec<_> = (0..100).map(|n| farm.feed(&format!("feed{n}"))).collect();
    let config = |jitter: &str, secret: &str| {
        let sources = feeds.iter().map(|feed| source(feed, "")).collect::<String>();
        let fetch = FAST.replace("100ms", "700ms").replace("[fetch]", &format!("[fetch]\njitter = {jitter}"));
        fetch + &destination("a", &receiver, secret) + &sources
    };
    let mut daemon = Daemon::new(&config("0.0", "0"));
    let Some(disk) = SmallDisk::mount(&daemon.state(), 64) else { return };
    daemon.restart();
    disk.fill();
    // more than the database's file has room for
    for feed in &feeds {
        feed.push((1..=6).map(|n| Entry { text: "so much to tell ".repeat(1000), ..Entry::numbered(feed.name(), n) }));
    }
    daemon.wait("the store fails", |daemon| daemon.health()["store"]["status"] == "failing");
    for n in 1..=6 {
        reload(&daemon, &config(&format!("0.{n}"), &n.to_string()));
    }
    // an answer takes longer than the interval, so that two pollers of a source would meet
    feeds.iter().for_each(|feed| feed.set_fault(Fault::Slow(Duration::from_millis(900))));
    disk.free();
    daemon.wait("all is well", |daemon| {
        let health = daemon.health();
        let polled = health["sources"]
            .as_object()
            .is_some_and(|sources| sources.values().all(|source| source["successes"].as_u64() > Some(2)));
        polled && health["store"]["outbox"] == 0 && health["store"]["status"] == "ok"
    });
    let at_once = feeds.iter().map(FeedHandle::most_at_once).max();
    assert!(daemon.terminate().0.success());
    assert_eq!(at_once, Some(1), "a source has two pollers");
    let mut arrived = titles(&receiver);
    let count = arrived.len();
    arrived.sort();
    arrived.dedup();
    assert_eq!((count, arrived.len()), (600, 600), "all once");
    drop(disk);
}

#[test]
fn an_item_that_could_not_be_recorded_is_not_repeated_by_a_reload_on_a_full_disk() {
    let (farm, receiver) = (Farm::start(), Receiver::start());
    let feed = farm.feed("feed0");
    let filler = farm.feed("filler");
    let config = |secret: &str| {
        FAST.to_owned()
            + &destination("a", &receiver, secret)
            + "[[destination]]\nname = \"out\"\nkind = \"stdout\"\n"
            + &source(&feed, "to = [\"a\"]")
            + &source(&filler, "to = [\"out\"]")
    };
    let mut daemon = Daemon::new(&config("0"));
    let Some(disk) = SmallDisk::mount(&daemon.state(), 16) else { return };
    daemon.restart();
    receiver.hold();
    feed.publish(3);
    daemon.wait("the first request hangs", |_| receiver.requests().len() == 1);
    disk.fill();
    let published = std::cell::Cell::new(0);
    daemon.wait("the store fails", |daemon| {
        if daemon.stdout().len() == published.get() {
            filler.push((0..20).map(|n| Entry {
                text: "so much to tell ".repeat(60),
                ..Entry::numbered("filler", published.get() + n + 1)
            }));
            published.set(published.get() + 20);
        }
        daemon.health()["store"]["status"] == "failing"
    });
    receiver.release();
    daemon.wait("it cannot be recorded", |daemon| daemon.log().contains("could not be recorded"));
    reload(&daemon, &config("1"));
    reload(&daemon, &config("2"));
    disk.free();
    daemon.wait("all arrives", |daemon| daemon.health()["destinations"]["a"]["delivered"] == 3);
    assert!(daemon.terminate().0.success());
    assert_eq!(titles(&receiver), numbered("feed0", 1..=3));
    drop(disk);
}

#[test]
fn a_window_of_429_is_kept_over_reloads() {
    let (farm, receiver) = (Farm::start(), Receiver::start());
    let feed = farm.feed("feed0");
    receiver.push_answer(429, &[("Retry-After", "3")], 1);
    let config = |secret: &str| FAST.to_owned() + &destination("a", &receiver, secret) + &source(&feed, "");
    let mut daemon = Daemon::start(&config("0"));
    receiver.hold();
    feed.publish(5);
    daemon.wait("the first request hangs", |_| receiver.requests().len() == 1);
    for secret in ["1", "2", "3"] {
        reload(&daemon, &config(secret));
    }
    let answered = Instant::now();
    receiver.release();
    for secret in ["4", "5", "6"] {
        reload(&daemon, &config(secret));
    }
    daemon.wait("all arrives", |daemon| daemon.health()["destinations"]["a"]["delivered"] == 5);
    assert!(daemon.terminate().0.success());
    let requests = receiver.requests();
    assert_eq!(requests.len(), 6);
    let waited = requests[1].at - answered;
    assert!(waited >= Duration::from_secs(3), "a request after {waited:?}");
}

#[test]
fn an_end_right_after_a_reload_waits_for_the_request_in_flight() {
    let (farm, receiver) = (Farm::start(), Receiver::start());
    let feed = farm.feed("feed0");
    let config = |secret: &str| FAST.to_owned() + &destination("a", &receiver, secret) + &source(&feed, "");
    let mut daemon = Daemon::start(&config("0"));
    receiver.hold();
    feed.publish(1);
    daemon.wait("the first request hangs", |_| receiver.requests().len() == 1);
    reload(&daemon, &config("1"));
    daemon.signal(Signal::TERM);
    daemon.wait("it ends", |daemon| daemon.log().contains("\"stopping\""));
    receiver.release();
    assert!(daemon.ended().success());
    feed.publish(1);
    daemon.restart();
    daemon.wait("the second arrives", |daemon| daemon.health()["destinations"]["a"]["delivered"] == 2);
    assert!(daemon.terminate().0.success());
    assert_eq!(titles(&receiver), numbered("feed0", 1..=2));
}

#[test]
fn a_refused_reload_is_shown_until_one_succeeds() {
    let farm = Farm::start();
    let feed = farm.feed("feed0");
    feed.publish(1);
    let good = FAST.to_owned() + &source(&feed, "");
    let daemon = Daemon::start(&good);
    daemon.wait("it is well", |daemon| daemon.health()["status"] == "ok");
    let bad = good.clone() + "[[source]]\nname = \"BAD\"\nurl = \"http://user:hidden-word@example.com/\"\n";
    daemon.configure(&bad);
    daemon.signal(Signal::HUP);
    daemon.wait("it is degraded", |daemon| daemon.health()["status"] == "degraded");
    let reasons = daemon.health()["reasons"].clone();
    let reason = reasons[0].as_str().unwrap();
    assert!(reason.starts_with("reload: ") && reason.contains("kawaraban.toml:"), "{reason}");
    assert!(!reason.contains("hidden-word") && !reason.contains('\n'), "{reason}");
    reload(&daemon, &good);
    daemon.wait("it is well again", |daemon| daemon.health()["status"] == "ok");
}

#[test]
fn an_address_that_is_taken_leaves_the_old_one_served_until_it_is_free() {
    let farm = Farm::start();
    let good = FAST.to_owned() + &source(&farm.feed("feed0"), "");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let daemon = Daemon::start(&good);
    daemon.wait("it is well", |daemon| daemon.health()["status"] == "ok");
    daemon.configure(&good);
    let text = std::fs::read_to_string(daemon.config()).unwrap();
    std::fs::write(daemon.config(), text.replace("listen = [", &format!("listen = [\"{address}\", "))).unwrap();
    let before = reloads(&daemon);
    daemon.signal(Signal::HUP);
    daemon.wait("the rest is taken over", |daemon| reloads(daemon) > before);
    daemon.wait("it is shown", |daemon| {
        let health = daemon.health();
        health["status"] == "degraded" && health["reasons"].to_string().contains(&format!("cannot listen on {address}"))
    });
    drop(taken);
    daemon.wait("it is tried again by itself", |daemon| daemon.health()["status"] == "ok");
    let start = Instant::now();
    while std::net::TcpStream::connect(address).is_err() {
        assert!(start.elapsed() < Duration::from_secs(60), "nobody listens at {address}");
    }
    assert!(daemon.get("/health/live").is_some(), "the old address is served as before");
}
