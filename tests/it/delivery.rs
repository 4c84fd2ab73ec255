//! The whole daemon against a strict fake of Discord: what arrives, how often, in which order, how fast.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::support::{
    daemon::Daemon,
    discord::{Discord, Verb, Webhook},
    farm::{Entry, Farm, FeedHandle},
    receiver::Receiver,
};

const FAST: &str = r#"
[fetch]
interval = "100ms"
allow_private_addresses = true
backfill = "all"
[fetch.retry]
min_backoff = "5ms"
max_backoff = "20ms"
"#;

fn source(feed: &FeedHandle) -> String {
    format!("[[source]]\nname = \"{}\"\nurl = \"{}\"\n", feed.name(), feed.url())
}

fn discord(name: &str, hook: &Webhook) -> String {
    format!("[[destination]]\nname = \"{name}\"\nkind = \"discord\"\nurl = \"{}\"\n", hook.url())
}

fn titles(entries: Vec<Entry>) -> Vec<String> {
    entries.into_iter().map(|entry| entry.title).collect()
}

/// Titles of what is in the channel, oldest first.
fn posted(hook: &Webhook) -> Vec<String> {
    let title = |message: &crate::support::discord::Message| {
        message.body["embeds"][0]["title"].as_str().unwrap_or_default().to_owned()
    };
    hook.messages().iter().map(title).collect()
}

/// Without repeats, what arrived is what was due, in its order.
fn in_order(arrived: &[String], due: &[String]) {
    let mut seen = BTreeSet::new();
    let firsts: Vec<_> = arrived.iter().filter(|title| seen.insert((*title).clone())).cloned().collect();
    assert_eq!(firsts, due);
}

fn distinct(hook: &Webhook) -> usize {
    posted(hook).into_iter().collect::<BTreeSet<_>>().len()
}

fn one_feed(items: usize) -> (Farm, FeedHandle, Vec<String>) {
    let farm = Farm::start();
    let feed = farm.feed("feed0");
    feed.set_window(items.max(10));
    let due = titles(feed.publish(items));
    (farm, feed, due)
}

#[test]
fn six_feeds_reach_the_channel_once_and_in_order_also_after_a_restart() {
    let farm = Farm::start();
    let fake = Discord::start();
    let hook = fake.webhook("news");
    // the limits have tests of their own
    hook.set_limit(1000, Duration::from_secs(2));
    hook.set_channel_limit(10_000, Duration::from_secs(60));
    let feeds: Vec<_> = (0..6).map(|n| farm.feed(&format!("feed{n}"))).collect();
    let mut due: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut publish = |count| {
        for feed in &feeds {
            due.entry(feed.name().to_owned()).or_default().extend(titles(feed.publish(count)));
        }
    };
    publish(20);
    let config = FAST.to_owned() + &feeds.iter().map(source).collect::<String>() + &discord("news", &hook);
    let mut daemon = Daemon::start(&config);
    daemon.wait("120 messages", |_| posted(&hook).len() >= 120);
    publish(3);
    daemon.wait("18 more", |_| posted(&hook).len() >= 138);
    let (status, took) = daemon.terminate();
    assert!(status.success() && took < Duration::from_secs(5), "{status} after {took:?}");
    daemon.restart();
    publish(1);
    daemon.wait("6 more", |_| posted(&hook).len() >= 144);
    let mut by_feed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for title in posted(&hook) {
        by_feed.entry(title.split(' ').next().unwrap().to_owned()).or_default().push(title);
    }
    assert_eq!(by_feed, due);
    daemon.wait("it is told", |daemon| daemon.health()["destinations"]["news"]["delivered"] == 144);
    let health = daemon.health().to_string();
    daemon.terminate();
    for text in [daemon.log(), health, daemon.stdout().join("\n")] {
        assert!(!text.contains(&hook.token()), "the token is told");
    }
    assert_eq!(fake.violations(), [""; 0]);
}

#[test]
fn a_backlog_drains_at_the_allowed_pace_and_never_within_a_429_window() {
    let (farm, feed, due) = one_feed(40);
    let fake = Discord::start();
    let hook = fake.webhook("news");
    // Discord's shape, scaled: a bucket that is announced, and a channel's limit that is not
    hook.set_limit(5, Duration::from_millis(500));
    hook.set_channel_limit(20, Duration::from_secs(4));
    let daemon = Daemon::start(&(FAST.to_owned() + &source(&feed) + &discord("news", &hook)));
    daemon.wait("40 messages", |_| posted(&hook).len() >= 40);
    assert_eq!(posted(&hook), due);
    assert_eq!(fake.violations(), [""; 0]);
    let messages = hook.messages();
    let took = messages[39].at - messages[0].at;
    // 40 at 20 in 4 s: the last of the second twenty is due at 4 s + 1.5 s
    assert!(took < Duration::from_secs(12), "far from the allowed pace: {took:?}");
    let refused = hook.requests().iter().filter(|request| request.status == Some(429)).count();
    assert!(refused <= 3, "{refused} requests were refused");
    drop(farm);
}

#[test]
fn what_may_have_been_taken_is_repeated_once_and_a_told_success_never() {
    let (_farm, feed, due) = one_feed(12);
    let fake = Discord::start();
    let hook = fake.webhook("news");
    hook.set_limit(1000, Duration::from_secs(2));
    hook.set_channel_limit(10_000, Duration::from_secs(60));
    for verb in [
        Verb::TruncatedJson,
        Verb::AcceptThenReset,
        Verb::NonJson200,
        Verb::AcceptThen(503),
        Verb::CutBody,
        Verb::Status(500),
        Verb::ResetBeforeBody,
        Verb::NoContentDespiteWait,
        Verb::Gzip,
        Verb::Status(520),
        Verb::Slow(Duration::from_millis(100)),
        Verb::LowercaseHeaders,
    ] {
        hook.push_fault(verb, 1);
    }
    let daemon = Daemon::start(&(FAST.to_owned() + &source(&feed) + &discord("news", &hook)));
    daemon.wait("all arrive", |daemon| daemon.health()["destinations"]["news"]["delivered"] == 12);
    let arrived = posted(&hook);
    in_order(&arrived, &due);
    assert_eq!(arrived.len(), 14, "two answers were lost, so two are repeated: {arrived:?}");
    assert_eq!(fake.violations(), [""; 0]);
}

#[test]
fn a_destination_that_is_down_keeps_its_outbox_and_holds_up_no_other() {
    let (_farm, feed, mut due) = one_feed(3);
    let (down, up) = (Discord::start(), Discord::start());
    let (lost, news) = (down.webhook("lost"), up.webhook("news"));
    down.go_down();
    let config = FAST.to_owned() + &source(&feed) + &discord("lost", &lost) + &discord("news", &news);
    let mut daemon = Daemon::start(&config);
    daemon.wait("the other delivers", |_| posted(&news).len() == 3);
    daemon.wait("its state is told", |daemon| {
        let lost = &daemon.health()["destinations"]["lost"];
        lost["status"] == "degraded" && lost["queued"] == 3 && lost["last_error"]["kind"] == "connect_refused"
    });
    daemon.kill();
    due.extend(titles(feed.publish(1)));
    down.come_up();
    daemon.restart();
    daemon.wait("everything arrives", |_| distinct(&lost) == 4 && distinct(&news) == 4);
    // the kill may have come between sending and recording
    for hook in [&lost, &news] {
        in_order(&posted(hook), &due);
        assert!(posted(hook).len() <= 5);
    }
}

#[test]
fn every_form_of_429_is_obeyed() {
    let wait = Duration::from_millis(700);
    for verb in [
        Verb::RateLimited(wait),
        Verb::RateLimitedShared(wait),
        Verb::RateLimitedBodyOnly(wait),
        Verb::RateLimitedHeaderOnly(Duration::from_secs(1)),
        Verb::RateLimitedNan,
        Verb::RateLimitedNegative,
        Verb::MissingRateLimitHeaders,
        Verb::BucketHashChange,
        Verb::ClockSkew(300),
        Verb::ClockSkew(-300),
    ] {
        let (_farm, feed, due) = one_feed(4);
        let fake = Discord::start();
        let hook = fake.webhook("news");
        hook.push_fault(verb.clone(), 1);
        let daemon = Daemon::start(&(FAST.to_owned() + &source(&feed) + &discord("news", &hook)));
        daemon.wait(&format!("{verb:?}"), |_| posted(&hook).len() == 4);
        assert_eq!(posted(&hook), due, "{verb:?}");
        assert_eq!(fake.violations(), [""; 0], "{verb:?}");
    }
}

#[test]
fn a_global_limit_and_a_block_stop_every_discord_destination() {
    let wait = Duration::from_secs(2);
    for verb in [Verb::RateLimitedGlobal(wait), Verb::CloudflareText(wait), Verb::CloudflareHtml(wait)] {
        let (_farm, feed, mut due) = one_feed(1);
        let fake = Discord::start();
        let (one, two) = (fake.webhook("one"), fake.webhook("two"));
        let config = FAST.to_owned() + &source(&feed) + &discord("one", &one) + &discord("two", &two);
        let daemon = Daemon::start(&config);
        daemon.wait("both deliver", |_| posted(&one).len() == 1 && posted(&two).len() == 1);
        fake.push_fault(verb.clone(), 1);
        due.extend(titles(feed.publish(2)));
        daemon.wait(&format!("{verb:?}"), |_| posted(&one).len() == 3 && posted(&two).len() == 3);
        assert_eq!((posted(&one), posted(&two)), (due.clone(), due), "{verb:?}");
        assert_eq!(fake.violations(), [""; 0], "{verb:?}");
    }
}

#[test]
fn a_block_without_a_time_is_waited_out_and_told() {
    for verb in [Verb::CloudflareJson, Verb::Forbidden1010, Verb::Forbidden40333] {
        let (_farm, feed, _) = one_feed(2);
        let fake = Discord::start();
        let (one, two) = (fake.webhook("one"), fake.webhook("two"));
        fake.push_fault(verb.clone(), 1);
        let config = FAST.to_owned() + &source(&feed) + &discord("one", &one) + &discord("two", &two);
        let mut daemon = Daemon::start(&config);
        daemon.wait("it is told", |daemon| {
            let health = daemon.health();
            ["one", "two"].iter().any(|name| health["destinations"][name]["status"] == "degraded")
        });
        feed.publish(1);
        daemon.wait("polls go on", |daemon| daemon.source("feed0")["items"] == 3);
        // the other destination may have sent its two items before the block was heard of
        assert!(fake.requests().len() <= 3, "{verb:?}: requests went on into the block");
        let (status, _) = daemon.terminate();
        assert!(status.success());
    }
}

#[test]
fn a_webhook_that_is_gone_is_left_alone_probed_at_a_reload_and_loses_nothing() {
    let (_farm, feed, mut due) = one_feed(2);
    let fake = Discord::start();
    let (hook, other) = (fake.webhook("news"), fake.webhook("other"));
    let config = FAST.to_owned() + &source(&feed) + &discord("news", &hook) + &discord("other", &other);
    let mut daemon = Daemon::start(&config);
    daemon.wait("both deliver", |_| posted(&hook).len() == 2 && posted(&other).len() == 2);
    hook.kill();
    due.extend(titles(feed.publish(2)));
    daemon.wait("it is told", |daemon| {
        let health = daemon.health();
        health["destinations"]["news"]["status"] == "gone" && health["status"] == "degraded"
    });
    daemon.wait("the other goes on", |_| posted(&other).len() == 4);
    due.extend(titles(feed.publish(1)));
    daemon.wait("what comes meanwhile is counted", |daemon| daemon.health()["destinations"]["news"]["queued"] == 3);
    let posts = || hook.requests().iter().filter(|request| request.method == "POST").count();
    assert_eq!(posts(), 3, "it was asked again after 404");
    daemon.terminate();
    due.extend(titles(feed.publish(1)));
    daemon.restart();
    daemon.wait("the other goes on", |_| posted(&other).len() == 6);
    daemon.wait("it is probed", |_| hook.requests().last().is_some_and(|request| request.method == "GET"));
    daemon.wait("and still gone", |daemon| daemon.health()["destinations"]["news"]["status"] == "gone");
    assert_eq!(posts(), 3);
    hook.revive();
    daemon.signal(Signal::HUP);
    daemon.wait("what was kept arrives", |_| posted(&hook).len() == 6);
    assert_eq!((posted(&hook), posted(&other)), (due.clone(), due));
    assert_eq!(fake.violations(), [""; 0]);
}

#[test]
fn a_message_has_the_colour_that_its_source_has_when_it_is_sent() {
    let (_farm, feed, _) = one_feed(1);
    let fake = Discord::start();
    let hook = fake.webhook("news");
    let lines = "[[destination]]\nname = \"lines\"\nkind = \"stdout\"\n";
    let config = |color: &str| format!("{FAST}{}{color}{}{lines}", source(&feed), discord("news", &hook));
    let colors =
        || hook.messages().iter().map(|message| message.body["embeds"][0]["color"].as_u64()).collect::<Vec<_>>();
    let mut daemon = Daemon::start(&config("color = \"#2e51a2\"\n"));
    daemon.wait("the first arrives", |_| hook.messages().len() == 1);
    hook.kill();
    feed.publish(1);
    daemon.wait("the second waits", |daemon| daemon.health()["destinations"]["news"]["status"] == "gone");
    hook.revive();
    daemon.configure(&config("color = \"#ff0000\"\n"));
    daemon.signal(Signal::HUP);
    daemon.wait("it arrives after a reload", |_| hook.messages().len() == 2);
    daemon.terminate();
    feed.publish(1);
    daemon.configure(&config(""));
    daemon.restart();
    daemon.wait("the third arrives after a restart", |daemon| hook.messages().len() == 3 && daemon.stdout().len() == 3);
    assert_eq!(colors(), [Some(0x2e_51_a2), Some(0xff_00_00), None]);
    assert!(!daemon.stdout().concat().contains("color"), "the stored item has a shape of its own");
}

#[test]
fn a_refused_item_goes_to_the_dead_letters_and_the_next_goes_on() {
    let (_farm, feed, due) = one_feed(5);
    let fake = Discord::start();
    let hook = fake.webhook("news");
    hook.set_filter(due[2].clone());
    let daemon = Daemon::start(&(FAST.to_owned() + &source(&feed) + &discord("news", &hook)));
    daemon.wait("the rest arrives", |_| posted(&hook).len() == 4);
    daemon.wait("it is told", |daemon| daemon.health()["destinations"]["news"]["dead_letters"] == 1);
    assert!(!posted(&hook).contains(&due[2]));
    let health = daemon.health();
    assert_eq!(health["store"]["dead_letters"], 1);
    assert_eq!(health["destinations"]["news"]["last_error"]["kind"], "http_400");
}

#[test]
fn text_from_outside_is_neither_markup_nor_mention_and_fits() {
    let farm = Farm::start();
    let feed = farm.feed("feed0");
    let mut entries: Vec<Entry> = feed.publish(1);
    let mut hostile = entries.remove(0);
    hostile.guid += "-hostile";
    hostile.link += "-hostile";
    hostile.title = "@everyone <@123> [bank](https://evil.example) **b** ".repeat(20);
    feed.push([hostile]);
    let fake = Discord::start();
    let hook = fake.webhook("news");
    let daemon = Daemon::start(&(FAST.to_owned() + &source(&feed) + &discord("news", &hook)));
    daemon.wait("both arrive", |_| posted(&hook).len() == 2);
    assert!(posted(&hook).iter().any(|title| title.ends_with('…')));
    assert_eq!(fake.violations(), [""; 0]);
}

#[test]
fn what_preview_shows_is_what_is_posted_and_a_test_message_says_so() {
    let (_farm, feed, _) = one_feed(2);
    let fake = Discord::start();
    let hook = fake.webhook("news");
    let mut daemon = Daemon::new(&(FAST.to_owned() + &source(&feed) + &discord("news", &hook)));
    let preview = daemon.command(&["preview", "feed0", "--json"]).output().unwrap();
    assert!(preview.status.success(), "{preview:?}");
    let sent = daemon.command(&["send-test", "news"]).output().unwrap();
    assert!(sent.status.success(), "{sent:?}");
    assert_eq!(posted(&hook), ["Test message"]);
    daemon.restart();
    daemon.wait("both arrive", |_| posted(&hook).len() == 3);
    let exact: Vec<String> =
        fake.requests()[1..].iter().map(|request| String::from_utf8(request.body.clone()).unwrap()).collect();
    let shown = String::from_utf8(preview.stdout).unwrap();
    assert_eq!(shown.lines().collect::<Vec<_>>(), exact);
}

#[test]
fn a_webhook_gets_the_same_key_each_time_and_a_signature_that_verifies() {
    use hmac::{Hmac, KeyInit, Mac};
    let (_farm, feed, due) = one_feed(4);
    let receiver = Receiver::start();
    receiver.push_answer(500, &[], 1);
    receiver.push_answer(503, &[("Retry-After", "1")], 1);
    receiver.push_answer(204, &[], 1);
    receiver.push_answer(422, &[], 1);
    let config = FAST.to_owned()
        + &source(&feed)
        + &format!(
            "[[destination]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{}\"\nsecret = \"key\"\n",
            receiver.url()
        );
    let daemon = Daemon::start(&config);
    let received = receiver.wait_for(6, Instant::now() + Duration::from_secs(60));
    daemon.wait("it is told", |daemon| {
        let hook = &daemon.health()["destinations"]["hook"];
        hook["delivered"] == 3 && hook["dead_letters"] == 1
    });
    let keys: Vec<_> = received.iter().map(|request| request.header("idempotency-key").unwrap().to_owned()).collect();
    assert!(keys[0] == keys[1] && keys[1] == keys[2] && keys[2] != keys[3], "{keys:?}");
    for request in &received {
        let timestamp = request.header("x-kawaraban-timestamp").unwrap();
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"key").unwrap();
        mac.update(timestamp.as_bytes());
        mac.update(b".");
        mac.update(&request.body);
        let digest: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(request.header("x-kawaraban-signature").unwrap(), format!("sha256={digest}"));
    }
    let arrived: Vec<_> =
        received[2..].iter().map(|request| request.json()["item"]["title"].as_str().unwrap().to_owned()).collect();
    assert_eq!(arrived, due);
}

#[test]
fn killed_under_load_each_destination_sees_at_most_one_repeat_a_kill() {
    let farm = Farm::start();
    let feed = farm.feed("feed0");
    feed.set_window(400);
    let fake = Discord::start();
    let (one, two) = (fake.webhook("one"), fake.webhook("two"));
    for hook in [&one, &two] {
        hook.set_limit(100_000, Duration::from_secs(2));
        hook.set_channel_limit(100_000, Duration::from_secs(60));
        hook.push_fault(Verb::Slow(Duration::from_millis(3)), usize::MAX);
    }
    // a life may be too short for a poll, so that the next one finds more items than the default takes at once
    let all = "hold_above = 0\n";
    let config = FAST.to_owned() + &source(&feed) + all + &discord("one", &one) + &discord("two", &two);
    let mut daemon = Daemon::new(&config);
    let mut due = Vec::new();
    let kills = 8;
    let mut seed = 11_u64;
    for _ in 0..kills {
        daemon.spawn();
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let deadline = Instant::now() + Duration::from_millis(40 + (seed >> 33 & 0xff));
        while Instant::now() < deadline {
            due.extend(titles(feed.publish(2)));
            std::thread::sleep(Duration::from_millis(15));
        }
        daemon.kill();
    }
    daemon.restart();
    daemon.wait("everything arrives", |_| distinct(&one) == due.len() && distinct(&two) == due.len());
    for hook in [&one, &two] {
        let arrived = posted(hook);
        in_order(&arrived, &due);
        assert!(arrived.len() - due.len() <= kills, "{} repeats", arrived.len() - due.len());
    }
}

#[test]
fn a_backlog_of_one_source_does_not_hold_up_the_news_of_another() {
    let farm = Farm::start();
    let [old, new] = ["backlog", "fresh"].map(|name| farm.feed(name));
    old.set_window(60);
    let due = titles(old.publish(60));
    new.publish(1);
    let fake = Discord::start();
    let hook = fake.webhook("news");
    // slow enough that the backlog still waits when the news come
    hook.set_limit(1, Duration::from_millis(50));
    hook.set_channel_limit(10_000, Duration::from_secs(60));
    let daemon = Daemon::start(&(FAST.to_owned() + &source(&old) + &source(&new) + &discord("news", &hook)));
    daemon.wait("a few messages", |_| posted(&hook).len() >= 5);
    let title = new.publish(1).remove(0).title;
    daemon.wait("the news are stored", |daemon| daemon.health()["sources"]["fresh"]["items"] == 2);
    let before = posted(&hook).len();
    daemon.wait("all messages", |_| posted(&hook).len() >= 62);
    let posted = posted(&hook);
    let at = posted.iter().position(|posted| *posted == title).unwrap();
    // one under way, one leased beside it, and one that may have been posted before it was asked
    assert!(at <= before + 3 && at < 40, "{before} were posted when it was stored, and it came as number {at}");
    let of_backlog: Vec<_> = posted.into_iter().filter(|title| due.contains(title)).collect();
    assert_eq!(of_backlog, due, "each once, in their order");
    assert_eq!(fake.violations(), [""; 0]);
}
