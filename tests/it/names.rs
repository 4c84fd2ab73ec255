//! Names, resolved by the whole daemon: a name server of our own on loopback, and an `/etc` that names it.

use std::{net::Ipv4Addr, time::Duration};

use crate::support::{
    daemon::Daemon,
    farm::{Entry, Farm, Fault, FeedHandle},
    names::{NameServer, Reply, possible},
    receiver::Receiver,
};

const FAST: &str = r#"
[fetch]
interval = "100ms"
allow_private_addresses = true
backfill = "all"
[fetch.retry]
attempts = 1
[fetch.breaker]
failures = 1000000
"#;

/// A lookup of a silent name then takes 150 s, longer than any test waits.
const PATIENT: &str = "options timeout:30 attempts:5\n";

fn loopback() -> Reply {
    Reply::Addresses(vec![Ipv4Addr::LOCALHOST.into()])
}

/// The feed under this name.
fn source(feed: &FeedHandle, host: &str) -> String {
    let url = feed.url().replace("127.0.0.1", host);
    format!("[[source]]\nname = \"{}\"\nurl = \"{url}\"\n", feed.name())
}

/// So many sources whose names nobody answers for.
fn silent(count: usize) -> String {
    (0..count).map(|n| format!("[[source]]\nname = \"s{n}\"\nurl = \"http://s{n}.silent.test/\"\n")).collect()
}

fn polled(name: &str, times: u64) -> impl Fn(&Daemon) -> bool {
    move |daemon| daemon.source(name)["successes"].as_u64() >= Some(times)
}

#[test]
fn names_that_hang_hold_up_neither_other_sources_nor_the_end() {
    if !possible() {
        return;
    }
    let (farm, names) = (Farm::start(), NameServer::start());
    names.answer("well.test", loopback());
    names.write("resolv.conf", &format!("nameserver {}\n{PATIENT}", names.address()));
    let mut config = FAST.replace("[fetch]", "[fetch]\ntimeout = \"2m\"\nconnect_timeout = \"2m\"") + &silent(600);
    let well: Vec<_> = (0..5).map(|n| farm.feed(&format!("well{n}"))).collect();
    for feed in &well {
        config += &source(feed, &format!("{}.well.test", feed.name()));
    }
    let mut daemon = Daemon::asking(&names, &config);
    daemon.restart();
    daemon.wait("every silent name was asked for", |_| {
        let questions = names.questions();
        (0..600).all(|n| questions.iter().any(|question| *question == format!("A s{n}.silent.test")))
    });
    for feed in &well {
        daemon.wait("the others are polled on", polled(feed.name(), 20));
    }
    assert_eq!(daemon.source("s0")["polls"], 0, "its lookup was to last");
    assert!(daemon.threads() < 40, "{} threads", daemon.threads());
    let (status, took) = daemon.terminate();
    assert!(status.success() && took < Duration::from_secs(5), "{status} after {took:?}");
}

#[test]
fn a_delivery_finds_its_name_while_those_of_sources_hang() {
    if !possible() {
        return;
    }
    let (farm, names, receiver) = (Farm::start(), NameServer::start(), Receiver::start());
    names.answer("well.test", loopback());
    names.write("resolv.conf", &format!("nameserver {}\n{PATIENT}", names.address()));
    let feed = farm.feed("feed");
    feed.publish(3);
    let hook = receiver.url().replace("127.0.0.1", "hook.well.test");
    let config = FAST.replace("[fetch]", "[fetch]\ntimeout = \"2m\"\nconnect_timeout = \"2m\"\nmax_concurrent = 20")
        + &silent(200)
        + &source(&feed, "feed.well.test")
        + &format!("[[destination]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{hook}\"\n");
    let mut daemon = Daemon::asking(&names, &config);
    daemon.restart();
    daemon.wait("all is delivered", |daemon| daemon.health()["destinations"]["hook"]["delivered"] == 3);
}

#[test]
fn pages_of_items_whose_names_hang_hold_up_nobody() {
    if !possible() {
        return;
    }
    let (farm, names) = (Farm::start(), NameServer::start());
    names.answer("well.test", loopback());
    names.write("resolv.conf", &format!("nameserver {}\n{PATIENT}", names.address()));
    let mut config = FAST.replace("[fetch]", "[fetch]\nconnect_timeout = \"2m\"\nmax_concurrent = 30");
    for number in 0..25 {
        let feed = farm.feed(&format!("visits{number}"));
        feed.push((0..10).map(|item| Entry {
            link: format!("http://v{number}-{item}.silent.test/"),
            ..Entry::numbered(feed.name(), item)
        }));
        config += &source(&feed, "feed.well.test");
        config += "[source.enrich]\ntimeout = \"80s\"\n";
    }
    let well = farm.feed("well");
    config += &source(&well, "feed.well.test");
    let mut daemon = Daemon::asking(&names, &config);
    daemon.restart();
    daemon.wait("pages are looked for", |_| {
        names.questions().iter().filter(|question| question.starts_with("A v")).count() >= 50
    });
    daemon.wait("the other is polled on", polled("well", 20));
    assert!(daemon.threads() < 40, "{} threads", daemon.threads());
}

#[test]
fn names_are_found_where_the_machine_has_them() {
    if !possible() {
        return;
    }
    let (farm, names) = (Farm::start(), NameServer::start());
    let dead: Ipv4Addr = "127.0.0.99".parse().unwrap();
    names.write("hosts", "127.0.0.1 localhost\n127.0.0.1\tlisted.test  Alias # a comment\n");
    names.write("resolv.conf", &format!("nameserver {}\nsearch one.test two.test\n", names.address()));
    names.answer("v4.test", loopback());
    names.answer("v6.test", Reply::NoSuchName);
    names.answer("lame.test", Reply::OnlyV4(Ipv4Addr::LOCALHOST));
    names.answer("both.test", Reply::Addresses(vec![dead.into(), Ipv4Addr::LOCALHOST.into()]));
    names.answer("short.one.test", Reply::NoSuchName);
    names.answer("short.two.test", loopback());
    names.answer("missing.test", Reply::NoSuchName);
    names.answer("missing.test.one.test", Reply::NoSuchName);
    names.answer("missing.test.two.test", Reply::NoSuchName);
    names.answer("broken.test", Reply::Failure);
    let hosts = [
        ("listed", "listed.test"),
        ("alias", "alias"),
        ("local", "localhost"),
        ("sub", "any.localhost"),
        ("v4", "v4.test"),
        ("rooted", "v4.test."),
        ("lame", "lame.test"),
        ("both", "both.test"),
        ("short", "short"),
    ];
    let mut config = FAST.to_owned();
    for (name, host) in hosts {
        config += &source(&farm.feed(name), host);
    }
    config += &source(&farm.feed("missing"), "missing.test");
    config += &source(&farm.feed("broken"), "broken.test");
    let mut daemon = Daemon::asking(&names, &config);
    daemon.restart();
    for (name, _) in hosts {
        daemon.wait(&format!("{name} is polled"), polled(name, 2));
    }
    for (name, says) in [("missing", "no such name"), ("broken", "SERVFAIL")] {
        daemon.wait(&format!("{name} fails"), |daemon| daemon.source(name)["last_error"]["kind"] == "dns");
        let message = daemon.source(name)["last_error"]["message"].to_string();
        assert!(message.contains(says), "{name}: {message}");
    }
    let questions = names.questions();
    for host in ["listed", "alias", "localhost"] {
        assert!(!questions.iter().any(|question| question.contains(host)), "{host}: {questions:?}");
    }
    assert!(!questions.iter().any(|question| question.contains("v4.test.one")), "{questions:?}");
}

#[test]
fn changes_of_the_machines_files_are_seen_while_it_runs() {
    if !possible() {
        return;
    }
    let (farm, names, other) = (Farm::start(), NameServer::start(), NameServer::start());
    names.answer("moved.test", Reply::NoSuchName);
    other.answer("moved.test", loopback());
    let (moved, listed) = (farm.feed("moved"), farm.feed("listed"));
    names.answer("listed.test", Reply::NoSuchName);
    let config = FAST.to_owned() + &source(&moved, "moved.test") + &source(&listed, "listed.test");
    let mut daemon = Daemon::asking(&names, &config);
    daemon.restart();
    for name in ["moved", "listed"] {
        daemon.wait("it has no address", |daemon| daemon.source(name)["last_error"]["kind"] == "dns");
    }
    names.write("hosts", "127.0.0.1 localhost listed.test\n");
    daemon.wait("it is listed", polled("listed", 1));
    names.write("resolv.conf", &format!("nameserver {}\n", other.address()));
    daemon.wait("the other server is asked", polled("moved", 1));
}

#[test]
fn what_dns_does_not_know_is_left_to_the_system() {
    if !possible() {
        return;
    }
    // a server that only the system's own lookup can be asked through: its address has a zone
    let (farm, names) = (Farm::start(), NameServer::start());
    names.answer("well.test", loopback());
    names.write("resolv.conf", &format!("nameserver fe80::1%lo\nnameserver {}\n", names.address()));
    let feed = farm.feed("feed");
    let mut daemon = Daemon::asking(&names, &(FAST.to_owned() + &source(&feed, "feed.well.test")));
    daemon.restart();
    daemon.wait("the system finds it", polled("feed", 2));
    daemon.terminate();

    // mDNS names are never asked of DNS where the system knows mDNS
    let names = NameServer::start();
    names.answer("local", loopback());
    names.write("nsswitch.conf", "hosts: files mdns4_minimal [NOTFOUND=return]\n");
    let mut daemon = Daemon::asking(&names, &(FAST.to_owned() + &source(&feed, "printer.local")));
    daemon.restart();
    daemon.wait("it has no address", |daemon| daemon.source("feed")["last_error"]["kind"] == "dns");
    assert_eq!(names.questions(), Vec::<String>::new());
}

#[test]
fn an_address_needs_no_lookup_and_no_thread() {
    if !possible() {
        return;
    }
    let (farm, names) = (Farm::start(), NameServer::start());
    let config =
        FAST.to_owned() + &(0..30).map(|n| source(&farm.feed(&format!("f{n}")), "127.0.0.1")).collect::<String>();
    let mut daemon = Daemon::asking(&names, &config);
    daemon.restart();
    for number in 0..30 {
        daemon.wait("it is polled", polled(&format!("f{number}"), 3));
    }
    assert_eq!(names.questions(), Vec::<String>::new());
    farm.feed("f0").set_fault(Fault::Status(404));
    daemon.wait("and its faults seen", |daemon| daemon.source("f0")["last_error"]["kind"] == "http_404");
}
