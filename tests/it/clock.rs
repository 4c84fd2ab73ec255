//! The real daemon on a clock that is set while it runs, and between its runs.

use std::{
    fs,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::Value;

use crate::support::{
    daemon::Daemon,
    farm::{Farm, Fault},
    shim,
};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// Sets the clock of a daemon that was started with it.
struct Clock(std::path::PathBuf);

impl Clock {
    /// None, and said, where the machine cannot build it.
    fn of(daemon: &mut Daemon) -> Option<Self> {
        let library = shim::build("clock")?;
        let clock = Self(daemon.dir().join("clock"));
        clock.set(0);
        daemon.set_env("LD_PRELOAD", library.display());
        daemon.set_env("CLOCK_SHIM", clock.0.display());
        Some(clock)
    }

    /// So many seconds ahead of the machine's.
    fn set(&self, ahead: i64) {
        use std::os::unix::fs::FileExt;
        let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(&self.0).unwrap();
        file.write_all_at(&ahead.to_le_bytes(), 0).unwrap();
    }
}

fn source(farm: &Farm, name: &str, more: &str) -> String {
    farm.feed(name).publish(1);
    format!("[[source]]\nname = \"{name}\"\nurl = \"{}\"\n{more}\n", farm.feed(name).url())
}

const SECOND: &str =
    "[fetch]\ninterval = \"1s\"\njitter = 0.0\nallow_private_addresses = true\n[fetch.retry]\nattempts = 1\n";

fn polls(farm: &Farm, name: &str) -> usize {
    farm.feed(name).requests().len()
}

/// Waits for so many more polls of each.
fn polled(daemon: &Daemon, farm: &Farm, names: &[&str], more: usize) {
    let before: Vec<_> = names.iter().map(|name| polls(farm, name)).collect();
    daemon.wait("polls go on", |_| names.iter().zip(&before).all(|(name, before)| polls(farm, name) >= before + more));
}

/// No time of the report lies in what is the future on the daemon's clock, or far in the past.
fn is_of(report: &Value, ahead: i64) {
    let now = Timestamp::now().as_second() + ahead;
    let at = |value: &Value| value.as_str().unwrap().parse::<Timestamp>().unwrap().as_second();
    assert!((at(&report["time"]) - now).abs() < 60, "{report:#}");
    for (name, source) in report["sources"].as_object().unwrap() {
        for time in ["last_attempt", "last_success"] {
            assert!((now - 600..=now + 1).contains(&at(&source[time])), "{name}: {time}: {report:#}");
        }
        assert!((now - 60..=now + 600).contains(&at(&source["next_poll"])), "{name}: {report:#}");
    }
    assert!((now - 600..=now + 1).contains(&at(&report["started_at"])), "{report:#}");
}

#[test]
fn polls_go_on_when_the_clock_is_set() {
    let farm = Farm::start();
    let names = ["a", "b", "c"];
    let config: String = names.iter().map(|name| source(&farm, name, "")).collect();
    let mut daemon = Daemon::new(&format!("{SECOND}{config}"));
    let Some(clock) = Clock::of(&mut daemon) else { return };
    daemon.restart();
    polled(&daemon, &farm, &names, 2);
    for ahead in [-HOUR, 2 * HOUR, -DAY, -7, 0] {
        clock.set(ahead);
        polled(&daemon, &farm, &names, 3);
        let (status, body) = daemon.get("/health?strict").unwrap();
        assert_eq!(status, 200, "{ahead}: {body}");
        is_of(&serde_json::from_str(&body).unwrap(), ahead);
    }
    assert!(daemon.log().contains("clock was set"), "{}", daemon.log());
    // no burst made up for anything: polls of a source are a second apart, start to start
    for name in names {
        let requests = farm.feed(name).requests();
        let gaps = requests.windows(2).map(|pair| pair[1].at.duration_since(pair[0].at));
        // what the farm notes may be late, and then early by as much
        let early = gaps.filter(|gap| *gap < Duration::from_millis(300)).count();
        assert!(early <= 1, "{name}: {early} of {} polls came early", requests.len());
    }
}

#[test]
fn a_restart_with_another_clock_polls_as_any_restart() {
    let farm = Farm::start();
    let names = ["a", "b"];
    let config: String = names.iter().map(|name| source(&farm, name, "")).collect();
    let mut daemon = Daemon::new(&format!("{SECOND}{config}"));
    let Some(clock) = Clock::of(&mut daemon) else { return };
    for ahead in [0, -DAY, 2 * HOUR, -HOUR] {
        clock.set(ahead);
        daemon.restart();
        polled(&daemon, &farm, &names, 2);
        let (status, body) = daemon.get("/health?strict").unwrap();
        assert_eq!(status, 200, "{ahead}: {body}");
        is_of(&serde_json::from_str(&body).unwrap(), ahead);
        daemon.terminate();
    }
}

#[test]
fn retry_after_and_cooldown_end_when_they_should() {
    let farm = Farm::start();
    let config = source(&farm, "asks", "breaker = { failures = 100 }")
        + &source(&farm, "fails", "breaker = { failures = 1, cooldown = \"3s\", max_cooldown = \"3s\" }");
    farm.feed("asks").set_fault(Fault::RetryAfter(503, "3".into()));
    farm.feed("fails").set_fault(Fault::Status(500));
    let mut daemon = Daemon::new(&format!("{SECOND}{config}"));
    let Some(clock) = Clock::of(&mut daemon) else { return };
    daemon.restart();
    for (nth, ahead) in [-HOUR, 2 * HOUR, 0].into_iter().enumerate() {
        // asked, and told to wait
        daemon.wait("it waits", |daemon| {
            ["asks", "fails"].iter().all(|name| daemon.source(name)["failures"].as_u64() > Some(nth as u64))
        });
        clock.set(ahead);
        polled(&daemon, &farm, &["asks", "fails"], 1);
    }
    let requests = farm.feed("asks").requests();
    let waits: Vec<_> = requests.windows(2).map(|pair| pair[1].at.duration_since(pair[0].at)).collect();
    assert!(waits.iter().all(|wait| *wait > Duration::from_millis(2900)), "asked too early: {waits:?}");
    // killed while it waits, and started on a clock that is a day behind
    daemon.wait("its wait is stored", |daemon| daemon.source("asks")["failures"].as_u64() >= Some(4));
    daemon.kill();
    clock.set(-DAY);
    let start = Instant::now();
    daemon.restart();
    polled(&daemon, &farm, &["asks", "fails"], 1);
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

#[test]
fn a_queue_is_no_older_for_a_clock_that_is_set_forward() {
    let farm = Farm::start();
    let refusing = farm.refusing_url();
    let config = format!(
        "{SECOND}{}[[destination]]\nname = \"w\"\nkind = \"webhook\"\nurl = \"{refusing}hook\"\n",
        source(&farm, "a", "backfill = \"all\"")
    );
    let mut daemon = Daemon::new(&config);
    let Some(clock) = Clock::of(&mut daemon) else { return };
    daemon.restart();
    daemon.wait("an item waits", |daemon| {
        let health = daemon.health();
        health["destinations"]["w"]["queued"] == 1 && health["destinations"]["w"]["status"] == "degraded"
    });
    clock.set(2 * HOUR);
    polled(&daemon, &farm, &["a"], 2);
    let (status, body) = daemon.get("/health").unwrap();
    let report: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &report["status"]), (200, &Value::from("degraded")), "{report:#}");
    assert!(report["destinations"]["w"]["oldest_queued_s"].as_u64().unwrap() < 600, "{report:#}");
}
