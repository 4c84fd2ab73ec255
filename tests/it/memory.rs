//! What many large documents at once take of memory, and what they leave to a small one. The real process, and the
//! system's own figures of it.

use crate::support::{
    daemon::Daemon,
    farm::{Entry, Farm, Fault, FeedHandle},
};

/// So much resident memory a scenario may take at most, in kB. The program itself takes some 40 MB in a debug build.
const MOST_KB: u64 = 150 << 10;

fn table(feed: &FeedHandle, rest: &str) -> String {
    format!("[[source]]\nname = \"{}\"\nurl = \"{}\"\n{rest}\n", feed.name(), feed.url())
}

/// `count` sources that serve `document`, and a small one that is polled often.
fn crowd(farm: &Farm, count: usize, document: &[u8], media_type: &str, rest: &str) -> (Daemon, Vec<FeedHandle>) {
    let feeds: Vec<_> = (0..count).map(|n| farm.feed(&format!("large{n}"))).collect();
    for feed in &feeds {
        feed.set_fault(Fault::Document(document.to_vec(), media_type.into()));
    }
    let small = farm.feed("small");
    small.publish(3);
    let tables: String = feeds.iter().map(|feed| table(feed, rest)).collect();
    let config = format!(
        "[fetch]\ninterval = \"1h\"\ntimeout = \"10m\"\nallow_private_addresses = true\n{tables}{}",
        table(&small, "interval = \"200ms\"")
    );
    (Daemon::start(&config), feeds)
}

/// Waits until all of them were read; then looks at the memory, and at the small source.
fn all_are_read_within_bounds(daemon: &Daemon, feeds: &[FeedHandle]) {
    daemon.wait("all large ones are read", |daemon| {
        let health = daemon.health();
        feeds.iter().all(|feed| health["sources"][feed.name()]["polls"].as_u64() > Some(0))
    });
    let health = daemon.health();
    for feed in feeds {
        let source = &health["sources"][feed.name()];
        assert_eq!(source["successes"], 1, "{}: {source:#}", feed.name());
    }
    let small = &health["sources"]["small"];
    assert_eq!(small["failures"], 0, "{small:#}");
    assert!(daemon.peak_kb() < MOST_KB, "at most {} kB resident", daemon.peak_kb());
}

#[test]
fn many_documents_of_tiny_items_are_read_one_after_the_other() {
    let farm = Farm::start();
    let items: String = (0..60_000).map(|n| format!("<item><guid>{n}</guid></item>\n")).collect();
    let document = format!("<rss version=\"2.0\"><channel><title>T</title>{items}</channel></rss>");
    let (daemon, feeds) = crowd(&farm, 40, document.as_bytes(), "application/rss+xml", "");
    all_are_read_within_bounds(&daemon, &feeds);
}

#[test]
fn many_large_json_documents_are_read_one_after_the_other() {
    let farm = Farm::start();
    let text = "x".repeat(10_000);
    let items: Vec<_> = (0..400).map(|n| format!("{{\"t\":\"title {n}\",\"x\":\"{text}\"}}")).collect();
    let document = format!("{{\"l\":[{}]}}", items.join(","));
    let rules = "kind = \"json\"\n[source.json]\nitems = \"/l\"\ntitle = \"/t\"\nid = \"/t\"";
    let (daemon, feeds) = crowd(&farm, 40, document.as_bytes(), "application/json", rules);
    all_are_read_within_bounds(&daemon, &feeds);
}

/// Feeds that announce 8 MB, send half of it and hang.
fn hanging(farm: &Farm, count: usize) -> Vec<FeedHandle> {
    let text = "x".repeat(7_900_000);
    let hangs = |n| {
        let feed = farm.feed(&format!("hangs{n}"));
        feed.push([Entry { text: text.clone(), ..Entry::numbered("h", 1) }]);
        feed.set_fault(Fault::HangWithin);
        feed
    };
    (0..count).map(hangs).collect()
}

fn beside(hanging: &[FeedHandle], tables: &str) -> Daemon {
    let hung: String = hanging.iter().map(|feed| table(feed, "retry = { attempts = 1 }")).collect();
    Daemon::start(&format!(
        "[fetch]\ninterval = \"1h\"\ntimeout = \"10m\"\nallow_private_addresses = true\n{hung}{tables}"
    ))
}

#[test]
fn many_bodies_that_hang_do_not_fill_the_memory_or_delay_a_small_one() {
    let farm = Farm::start();
    let hanging = hanging(&farm, 40);
    let small = farm.feed("small");
    small.publish(3);
    let daemon = beside(&hanging, &table(&small, "interval = \"100ms\""));
    daemon.wait("all are asked", |_| hanging.iter().all(|feed| !feed.requests().is_empty()));
    daemon.wait("the small one is polled", |daemon| daemon.source("small")["successes"].as_u64() > Some(20));
    assert_eq!(daemon.source("small")["failures"], 0);
    assert!(daemon.peak_kb() < MOST_KB, "at most {} kB resident", daemon.peak_kb());
}

#[test]
fn a_body_that_hangs_gives_its_memory_to_those_who_wait() {
    let farm = Farm::start();
    // more than there is room for, so that somebody waits
    let hanging = hanging(&farm, 3);
    let large = farm.feed("large");
    large.publish(10_000);
    large.set_fault(Fault::Chunked);
    let daemon = beside(&hanging, &table(&large, "interval = \"200ms\""));
    daemon.wait("the large one gets its turn", |daemon| daemon.source("large")["successes"].as_u64() > Some(10));
    daemon.wait("one that held it up gave way", |daemon| {
        hanging.iter().any(|feed| daemon.source(feed.name())["last_error"]["kind"] == "timeout")
    });
    assert_eq!(daemon.source("large")["failures"], 0);
}

#[test]
fn a_document_that_never_finds_room_is_refused_and_the_key_is_named() {
    let farm = Farm::start();
    let feed = farm.feed("large");
    feed.publish(20_000);
    assert!(feed.document().len() > 2 << 20);
    let daemon = Daemon::start(&format!(
        "[fetch]\nmemory = \"4MiB\"\ninterval = \"1h\"\nallow_private_addresses = true\n{}",
        table(&feed, "")
    ));
    daemon.wait("it is refused", |daemon| daemon.source("large")["last_error"]["kind"] == "too_large");
    let message = daemon.source("large")["last_error"]["message"].to_string();
    assert!(message.contains("`memory` in [fetch]"), "{message}");
}

#[test]
fn little_memory_is_shared_without_a_deadlock() {
    let farm = Farm::start();
    // compressed and chunked: what they need is known only as it comes
    let feeds: Vec<_> = (0..30).map(|n| farm.feed(&format!("feed{n}"))).collect();
    for (n, feed) in feeds.iter().enumerate() {
        feed.publish(600 + 100 * (n % 12));
        feed.set_fault(if n % 2 == 0 { Fault::Chunked } else { Fault::Gzip });
    }
    let tables: String = feeds.iter().map(|feed| table(feed, "")).collect();
    let daemon = Daemon::start(&format!(
        "[fetch]\nmemory = \"4MiB\"\nmax_body = \"1MiB\"\ninterval = \"300ms\"\nallow_private_addresses = true\n{tables}"
    ));
    daemon.wait("each is read several times", |daemon| {
        let health = daemon.health();
        feeds.iter().all(|feed| health["sources"][feed.name()]["successes"].as_u64() > Some(3))
    });
    let health = daemon.health();
    for feed in &feeds {
        assert_eq!(health["sources"][feed.name()]["failures"], 0, "{}", health["sources"][feed.name()]);
    }
}
