//! A disk that is slow, fails for a while, or is taken away, under the real program.

use std::{
    collections::BTreeSet,
    fs::{self, File, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Output,
    time::Duration,
};

use serde_json::Value;

use crate::support::{
    daemon::Daemon,
    farm::{Farm, FeedHandle},
    receiver::Receiver,
    shim,
};

/// A daemon with one source that is polled often, and a destination that counts.
struct Rig {
    daemon: Daemon,
    receiver: Receiver,
    feed: FeedHandle,
    _farm: Farm,
}

impl Rig {
    fn new() -> Self {
        let (farm, receiver) = (Farm::start(), Receiver::start());
        let feed = farm.feed("feed0");
        feed.set_window(1000);
        let config = format!(
            "[fetch]\ninterval = \"50ms\"\nallow_private_addresses = true\nbackfill = \"all\"\n\
             [[source]]\nname = \"feed0\"\nurl = \"{}\"\n\
             [[destination]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{}\"\n",
            feed.url(),
            receiver.url()
        );
        Self { daemon: Daemon::new(&config), receiver, feed, _farm: farm }
    }

    /// Every later start has the shim; its faults are on while the switch exists.
    fn with_faults(&mut self, faults: &[(&str, &str)]) -> Option<PathBuf> {
        let library = shim::build("disk")?;
        let switch = self.daemon.dir().join("switch");
        self.daemon.set_env("LD_PRELOAD", library.display());
        let state = self.daemon.state();
        self.daemon.set_env("SHIM_DIR", state.display());
        self.daemon.set_env("SHIM_SWITCH", switch.display());
        faults.iter().for_each(|(name, value)| self.daemon.set_env(name, value));
        Some(switch)
    }

    fn titles(&self) -> Vec<String> {
        let title = |body: Value| body["item"]["title"].as_str().unwrap().to_owned();
        self.receiver.requests().iter().map(|request| title(request.json())).collect()
    }

    /// Waits until so many different items have arrived, and sees that none came twice.
    fn all_arrived(&self, count: usize) {
        self.daemon.wait("everything has arrived", |_| self.titles().iter().collect::<BTreeSet<_>>().len() >= count);
        assert_eq!(self.titles().len(), count, "something came twice");
    }

    fn store(&self) -> Value {
        self.daemon.health()["store"]["status"].clone()
    }
}

fn set_aside(state: &Path) -> Vec<String> {
    let names = fs::read_dir(state).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("damaged-")).collect()
}

#[test]
fn syncs_that_take_long_make_the_store_failing_and_all_goes_on_after_them() {
    let mut rig = Rig::new();
    let Some(switch) = rig.with_faults(&[("SHIM_SYNC_MS", "7000")]) else { return };
    rig.feed.publish(2);
    rig.daemon.restart();
    rig.all_arrived(2);
    File::create(&switch).unwrap();
    rig.feed.publish(3);
    rig.daemon.wait("the store fails", |daemon| daemon.health()["store"]["status"] == "failing");
    let health = rig.daemon.health();
    let reasons = health["reasons"].to_string();
    // it may have come back just now
    assert!(health["store"]["status"] == "ok" || reasons.contains("store: failing: "), "{health:#}");
    assert_eq!(rig.daemon.get("/health/live").unwrap().0, 200);
    fs::remove_file(&switch).unwrap();
    rig.daemon.wait("the store works", |daemon| daemon.health()["store"]["status"] == "ok");
    rig.all_arrived(5);
    assert!(rig.daemon.terminate().0.success());
}

#[test]
fn one_write_in_fifty_that_fails_loses_nothing_and_ends_nothing() {
    let seed = std::env::var("SEED").unwrap_or_else(|_| "1".to_owned());
    let mut rig = Rig::new();
    let faults = [("SHIM_SEED", seed.as_str()), ("SHIM_WRITES", "50"), ("SHIM_READS", "500")];
    let Some(switch) = rig.with_faults(&faults) else { return };
    rig.feed.publish(1);
    rig.daemon.restart();
    rig.all_arrived(1);
    File::create(&switch).unwrap();
    let mut published = 1;
    while published < 31 {
        rig.feed.publish(3);
        published += 3;
        // one group of writes after the other
        rig.daemon.wait("most have arrived", |_| rig.titles().len() + 6 >= published);
    }
    // without waiting for the disk to get well
    rig.all_arrived(published);
    assert!(rig.daemon.log().contains("the store fails"), "no write failed");
    fs::remove_file(&switch).unwrap();
    rig.daemon.wait("the store works", |daemon| daemon.health()["store"]["status"] == "ok");
    assert!(rig.daemon.terminate().0.success());
    assert_eq!(set_aside(&rig.daemon.state()), Vec::<String>::new());
}

#[test]
fn no_single_call_that_fails_while_opening_is_damage() {
    let mut rig = Rig::new();
    rig.feed.publish(40);
    rig.daemon.restart();
    rig.all_arrived(40);
    rig.daemon.kill();
    let state = rig.daemon.state();
    let Some(library) = shim::build("disk") else { return };
    let count = rig.daemon.dir().join("count");
    let open = |nth: u64| -> Output {
        let mut stats = rig.daemon.command(&["store", "stats", "--json"]);
        stats.env("LD_PRELOAD", &library).env("SHIM_DIR", &state).env("SHIM_COUNT", &count);
        stats.env("SHIM_NTH", nth.to_string()).output().unwrap()
    };
    let items_seen = |output: &Output| {
        let stats: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        stats["items_seen"].as_u64()
    };
    let sound = open(u64::MAX >> 1);
    assert_eq!(items_seen(&sound), Some(40), "{}", String::from_utf8_lossy(&sound.stderr));
    let calls: u64 = fs::read_to_string(&count).unwrap().parse().unwrap();
    assert!(calls > 40, "{calls}");
    let step = std::env::var("EVERY_CALL").map_or(3, |_| 1);
    let mut failed = 0;
    for nth in (1..=calls).step_by(step) {
        let output = open(nth);
        assert!(matches!(output.status.code(), Some(0 | 1)), "call {nth}: {}", output.status);
        failed += u32::from(output.status.code() == Some(1));
        assert_eq!(set_aside(&state), Vec::<String>::new(), "call {nth}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(failed > 3, "no failure was seen");
    assert_eq!(items_seen(&open(u64::MAX >> 1)), Some(40));
}

#[test]
fn a_daemon_that_is_killed_while_it_opens_has_a_sound_store() {
    let mut rig = Rig::new();
    rig.feed.publish(40);
    rig.daemon.restart();
    rig.all_arrived(40);
    rig.daemon.kill();
    // an earlier version counted, and gave up at forty
    fs::write(rig.daemon.state().join("opening"), "40\n").unwrap();
    for kill in 0..12 {
        rig.daemon.spawn();
        std::thread::sleep(Duration::from_millis(2 * kill));
        rig.daemon.kill();
    }
    rig.daemon.restart();
    assert_eq!(rig.store(), "ok");
    rig.feed.publish(1);
    rig.all_arrived(41);
    assert_eq!(set_aside(&rig.daemon.state()), Vec::<String>::new());
}

#[test]
fn a_state_directory_that_is_deleted_is_noticed_and_begun_anew_without_a_flood() {
    let mut rig = Rig::new();
    rig.feed.publish(20);
    rig.daemon.restart();
    rig.all_arrived(20);
    fs::remove_dir_all(rig.daemon.state()).unwrap();
    rig.daemon.wait("it is noticed", |daemon| daemon.log().contains("the state directory was deleted"));
    rig.daemon.wait("a new store is begun", |daemon| {
        let health = daemon.health();
        health["store"]["status"] == "reseeding" && health["reasons"].to_string().contains("store: damaged")
    });
    // the first document after that is marked as seen
    rig.feed.publish(1);
    rig.daemon.wait("the source is known again", |daemon| daemon.health()["store"]["status"] == "ok");
    rig.feed.publish(1);
    rig.all_arrived(21);
    rig.daemon.terminate();
    rig.daemon.restart();
    rig.feed.publish(1);
    rig.all_arrived(22);
    assert_eq!(set_aside(&rig.daemon.state()), Vec::<String>::new(), "nothing was left to set aside");
}

#[test]
fn nobody_else_can_read_the_state() {
    let mut rig = Rig::new();
    // as earlier versions left it
    fs::create_dir_all(rig.daemon.state().join("pages")).unwrap();
    fs::write(rig.daemon.state().join("commits"), b"").unwrap();
    for (path, mode) in [("pages", 0o755), ("commits", 0o644), ("", 0o755)] {
        fs::set_permissions(rig.daemon.state().join(path), Permissions::from_mode(mode)).unwrap();
    }
    rig.feed.publish(3);
    rig.daemon.restart();
    rig.all_arrived(3);
    let mut paths = vec![rig.daemon.state()];
    let mut files = 0;
    while let Some(path) = paths.pop() {
        let found = fs::symlink_metadata(&path).unwrap();
        let mode = found.mode() & 0o777;
        assert_eq!(mode, if found.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
        files += u32::from(found.is_file());
        if found.is_dir() {
            paths.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    assert!(files >= 4, "{files}");
}
