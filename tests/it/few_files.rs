//! The whole daemon where it may open few files: its own limit is no fault of a source's.

use crate::support::{daemon::Daemon, farm::Farm, receiver::Receiver};

const FAST: &str = r#"
[fetch]
interval = "1s"
allow_private_addresses = true
backfill = "all"
[fetch.retry]
min_backoff = "5ms"
max_backoff = "20ms"
"#;

fn config(farm: &Farm, count: usize, keys: &str) -> String {
    let mut config = FAST.replace("[fetch]", &format!("[fetch]\n{keys}"));
    for number in 0..count {
        let feed = farm.feed(&format!("f{number}"));
        feed.publish(1);
        config += &format!("[[source]]\nname = \"{}\"\nurl = \"{}\"\n", feed.name(), feed.url());
    }
    config
}

/// Whether every source was polled well, and none ever failed.
fn all_well(daemon: &Daemon, count: usize) -> bool {
    let health = daemon.health();
    let sources = health["sources"].as_object().unwrap_or_else(|| panic!("no report\n{}", daemon.log()));
    sources.len() == count
        && sources.values().all(|source| source["successes"].as_u64() > Some(0) && source["failures"] == 0)
}

#[test]
fn with_few_open_files_fewer_attempts_are_made_at_a_time() {
    let (farm, receiver) = (Farm::start(), Receiver::start());
    for keys in ["", "keep_alive = true"] {
        let hook = format!("[[destination]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{}\"\n", receiver.url());
        let before = receiver.requests().len();
        let mut daemon = Daemon::with_open_files(64, &(config(&farm, 420, keys) + &hook));
        daemon.restart();
        daemon.wait("all are polled", |daemon| all_well(daemon, 420));
        daemon.wait("what they had is delivered", |_| receiver.requests().len() - before >= 420);
        daemon.terminate();
    }
}

#[test]
fn attempts_that_find_no_descriptor_wait_and_are_no_fault_of_a_source() {
    let farm = Farm::start();
    // so few that not even what is reserved is there
    let mut daemon = Daemon::with_open_files(64, &config(&farm, 3, ""));
    daemon.restart();
    daemon.wait("all are polled", |daemon| all_well(daemon, 3));
    let limit = |files: usize| {
        let pid = daemon.pid().to_string();
        let limit = format!("--nofile={files}:64");
        let done = std::process::Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap();
        assert!(done.success());
    };
    // from now on nothing can be opened but what a request of ours to it takes
    let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    limit(open.saturating_sub(2));
    let said = |daemon: &Daemon| daemon.log().matches("no file descriptors left").count();
    daemon.wait("it says so", |daemon| said(daemon) > 0);
    limit(64);
    daemon.wait("health says so", |daemon| {
        let health = daemon.health();
        health["status"] == "degraded" && health["reasons"].to_string().contains("limits: no file descriptors left")
    });
    let polls = daemon.source("f0")["successes"].as_u64().unwrap();
    daemon.wait("polls go on", |daemon| daemon.source("f0")["successes"].as_u64() >= Some(polls + 2));
    daemon.wait("and health is well again", |daemon| daemon.health()["status"] == "ok");
    assert!(all_well(&daemon, 3), "{:#}", daemon.health());
    assert_eq!(daemon.log().matches("requests wait: no file descriptors left").count(), 1, "{}", daemon.log());
}
