//! What comes to sources that are known: floods, destinations, and new names.

use rustix::process::Signal;

use crate::support::{
    daemon::Daemon,
    farm::{Farm, FeedHandle},
    receiver::Receiver,
};

const FAST: &str = "[fetch]\ninterval = \"100ms\"\nallow_private_addresses = true\n";

fn source(name: &str, feed: &FeedHandle, keys: &str) -> String {
    format!("[[source]]\nname = \"{name}\"\nurl = \"{}\"\n{keys}\n", feed.url())
}

fn webhook(name: &str, receiver: &Receiver, keys: &str) -> String {
    format!("[[destination]]\nname = \"{name}\"\nkind = \"webhook\"\nurl = \"{}\"\n{keys}\n", receiver.url())
}

const LINES: &str = "[[destination]]\nname = \"lines\"\nkind = \"stdout\"\n";

/// Polls that ended since the daemon started.
fn polls(daemon: &Daemon, source: &str) -> u64 {
    daemon.source(source)["polls"].as_u64().unwrap_or(0)
}

fn wait_for_polls(daemon: &Daemon, source: &str, more: u64) {
    let before = polls(daemon, source);
    daemon.wait("further polls", |daemon| polls(daemon, source) >= before + more);
}

fn reload(daemon: &Daemon, config: &str) {
    let before = daemon.log().matches("configuration reloaded").count();
    daemon.configure(config);
    daemon.signal(Signal::HUP);
    daemon.wait("it is reloaded", |daemon| daemon.log().matches("configuration reloaded").count() > before);
}

#[test]
fn of_a_flood_the_newest_are_delivered_and_health_says_so() {
    let farm = Farm::start();
    let [bad, good] = ["bad", "good"].map(|name| farm.feed(name));
    bad.set_window(1500);
    bad.publish(1);
    good.publish(1);
    let config = FAST.to_owned() + &source("bad", &bad, "hold_above = 20") + &source("good", &good, "");
    let daemon = Daemon::start(&config);
    daemon.wait("both are known", |daemon| daemon.titles().len() == 2);
    let flood = bad.publish(1284);
    let news = good.publish(1);
    daemon.wait("what is due", |daemon| daemon.titles().len() >= 23);
    let mut due: Vec<String> = flood[1264..].iter().chain(&news).map(|entry| entry.title.clone()).collect();
    let mut arrived = daemon.titles().split_off(2);
    let of_flood: Vec<_> = arrived.iter().filter(|title| **title != news[0].title).cloned().collect();
    assert_eq!(of_flood, due[..20], "the newest, oldest first");
    arrived.sort();
    due.sort();
    assert_eq!(arrived, due);
    let reason = "source bad: held back 1,264 of 1,284 new items of one poll (hold_above = 20)";
    let told = |daemon: &Daemon| daemon.health()["reasons"] == serde_json::json!([reason]);
    daemon.wait("it is told", told);
    assert_eq!(daemon.health()["status"], "degraded");
    assert_eq!((&daemon.source("bad")["status"], &daemon.source("good")["status"]), (&"degraded".into(), &"ok".into()));
    wait_for_polls(&daemon, "bad", 2);
    assert!(told(&daemon), "a document that is unchanged changes nothing");
    assert_eq!(daemon.log().matches("too many new items at once").count(), 1);
    bad.publish(1);
    daemon.wait("it is well again", |daemon| daemon.health()["status"] == "ok");
    daemon.wait("one more", |daemon| daemon.titles().len() == 24);
}

#[test]
fn a_flood_at_every_poll_keeps_outbox_and_memory_small() {
    let farm = Farm::start();
    let [bad, good] = ["bad", "good"].map(|name| farm.feed(name));
    bad.set_window(4000);
    bad.publish(1);
    good.publish(1);
    // nobody takes anything
    let destination =
        format!("[[destination]]\nname = \"out\"\nkind = \"webhook\"\nurl = \"{}\"\n", farm.refusing_url());
    let config = FAST.to_owned() + &source("bad", &bad, "") + &source("good", &good, "") + &destination;
    let daemon = Daemon::start(&config);
    let items = |daemon: &Daemon, name: &str| daemon.source(name)["items"].as_u64().unwrap_or(0);
    daemon.wait("both are known", |daemon| items(daemon, "bad") == 1 && items(daemon, "good") == 1);
    for poll in 1..=10 {
        bad.publish(4000);
        good.publish(1);
        daemon.wait("both are accepted", |daemon| items(daemon, "bad") > 50 * poll && items(daemon, "good") > poll);
    }
    assert_eq!(daemon.health()["store"]["outbox"], 2 + 10 * 51);
    let kb = daemon.resident_kb();
    assert!(kb < 150_000, "{kb} kB after ten floods");
}

#[test]
fn a_destination_added_later_gets_the_newest_first_if_it_asks_for_them() {
    let farm = Farm::start();
    let feed = farm.feed("feed");
    feed.publish(8);
    let late = Receiver::start();
    let to_lines = FAST.to_owned() + &source("feed", &feed, "") + LINES;
    let mut daemon = Daemon::start(&to_lines);
    daemon.wait("the newest", |daemon| daemon.titles() == ["feed item 8"]);
    wait_for_polls(&daemon, "feed", 1);

    // nothing is posted, and that is said
    reload(&daemon, &(to_lines.clone() + &webhook("late", &late, "")));
    daemon.wait("it is said", |daemon| {
        daemon.log().contains("set backfill = N to post the newest N of each source first")
    });
    wait_for_polls(&daemon, "feed", 2);
    assert_eq!(titles(&late), [""; 0]);

    // with the document unchanged, and with kills in between
    let with_backfill = to_lines + &webhook("late", &late, "backfill = 3");
    reload(&daemon, &with_backfill);
    let newest = ["feed item 6", "feed item 7", "feed item 8"];
    for _ in 0..3 {
        daemon.wait("the newest three", |_| titles(&late).len() >= 3);
        daemon.kill();
        daemon.restart();
        wait_for_polls(&daemon, "feed", 2);
        // a kill may repeat what was in flight, and nothing else
        let mut once = titles(&late);
        once.dedup();
        assert_eq!(once, newest);
    }
    feed.publish(1);
    daemon.wait("what is new", |_| titles(&late).last().is_some_and(|title| title == "feed item 9"));
    daemon.wait("it is written too", |daemon| daemon.titles().len() >= 2);
    assert_eq!(daemon.titles(), ["feed item 8", "feed item 9"], "nothing is doubled to the other");
    let last = farm.feed("feed").requests().last().unwrap().header("if-none-match").map(str::to_owned);
    assert!(last.is_some(), "the validators are used again");
}

#[test]
fn a_source_routed_to_another_destination_posts_there_only_what_is_new() {
    let farm = Farm::start();
    let [one, two] = ["one", "two"].map(|name| farm.feed(name));
    one.publish(3);
    two.publish(3);
    let old = Receiver::start();
    let destinations = webhook("old", &old, "") + LINES;
    let config =
        |to: &str| FAST.to_owned() + &source("one", &one, "to = [\"old\"]") + &source("two", &two, to) + &destinations;
    let daemon = Daemon::start(&config("to = [\"lines\"]"));
    daemon.wait("the first polls", |daemon| titles(&old).len() == 1 && daemon.titles().len() == 1);
    reload(&daemon, &config("to = [\"old\"]"));
    wait_for_polls(&daemon, "two", 2);
    two.publish(1);
    daemon.wait("what is new", |_| titles(&old).len() == 2);
    assert_eq!(titles(&old), ["one item 3", "two item 4"]);
}

#[test]
fn a_renamed_source_goes_on_where_it_was() {
    let farm = Farm::start();
    let feed = farm.feed("feed");
    feed.publish(5);
    let hook = Receiver::start();
    let config = |name: &str, keys: &str, hook: &str| FAST.to_owned() + &source(name, &feed, keys) + hook;
    let nowhere = format!("[[destination]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{}\"\n", farm.refusing_url());
    let mut daemon = Daemon::start(&config("old", "", &nowhere));
    daemon.wait("one item waits", |daemon| daemon.source("old")["items"] == 1);
    wait_for_polls(&daemon, "old", 1);

    // at a reload, and at every start after it
    reload(&daemon, &config("new", "was = \"old\"", &nowhere));
    wait_for_polls(&daemon, "new", 2);
    assert_eq!((&daemon.source("new")["items"], &daemon.health()["store"]["outbox"]), (&1.into(), &1.into()));
    daemon.kill();
    daemon.configure(&config("new", "was = \"old\"", &webhook("hook", &hook, "")));
    daemon.restart();
    daemon.wait("what waited", |_| titles(&hook).len() == 1);
    feed.publish(1);
    daemon.wait("what is new", |_| titles(&hook).len() >= 2);
    assert_eq!(titles(&hook), ["feed item 5", "feed item 6"]);
    let keys: Vec<String> =
        hook.requests().iter().filter_map(|request| request.header("idempotency-key").map(str::to_owned)).collect();
    assert_eq!(keys[0][..16], keys[1][..16], "the ids of its items are of one source");

    // at a start, after another change of its name
    let items = daemon.source("new")["items"].clone();
    daemon.terminate();
    daemon.configure(&config("newest", "was = \"new\"", &webhook("hook", &hook, "")));
    daemon.restart();
    wait_for_polls(&daemon, "newest", 2);
    assert_eq!(titles(&hook).len(), 2);
    assert_eq!(daemon.source("newest")["items"], items, "its counters go on");
}

#[test]
fn a_source_that_seems_renamed_is_told_of() {
    let farm = Farm::start();
    let feed = farm.feed("feed");
    feed.publish(5);
    let mut daemon = Daemon::start(&(FAST.to_owned() + &source("old", &feed, "")));
    daemon.wait("the newest", |daemon| daemon.titles().len() == 1);
    daemon.configure(&(FAST.to_owned() + &source("new", &feed, "")));
    let check = |daemon: &Daemon| {
        let output = daemon.command(&["check", "--json"]).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let told = check(&daemon);
    assert!(told.contains("if it is old renamed, set was = \\\"old\\\""), "beside the running daemon: {told}");
    daemon.terminate();
    daemon.restart();
    let hint = "source new posts its newest items again; if it is old renamed, set was = \\\"old\\\"";
    daemon.wait("the hint", |daemon| daemon.log().contains(hint));
    assert!(!check(&daemon).contains("renamed"), "it is known now");
}

/// Titles that arrived, in their order.
fn titles(receiver: &Receiver) -> Vec<String> {
    let requests = receiver.requests();
    requests.iter().map(|request| request.json()["item"]["title"].as_str().unwrap_or_default().to_owned()).collect()
}
