//! The power is cut: what was answered is on disk, whatever the file system had not written yet.

use std::{collections::BTreeMap, fs};

use kawaraban::store::{DestinationRecord, Settled};
use rustix::process::Signal;

use super::{Bench, items, plain_sources, second, set_aside};
use crate::support::{daemon::Daemon, disk::PowerDisk, farm::Farm, receiver::Receiver};

#[test]
fn what_was_answered_survives_a_power_cut_at_any_moment() {
    let tmp = tempfile::tempdir().unwrap();
    let Some(disk) = PowerDisk::mount(&tmp.path().join("image"), &tmp.path().join("live")) else { return };
    let bench = Bench::open(&tmp.path().join("live/state"), &plain_sources(2));
    for step in 0..9_u32 {
        match step % 3 {
            source @ (0 | 1) => drop(bench.ingest(source as usize, &items(0..5 * (step + 1)), second(step.into()))),
            _ => {
                let oldest = bench.lease("one").first().map(|queued| Settled { seq: queued.seq, refused: None });
                let record = DestinationRecord { delivered: step.into(), ..DestinationRecord::default() };
                bench.settle("one", oldest.into_iter().collect(), record);
            }
        }
        let (image, at) = (tmp.path().join(format!("image{step}")), tmp.path().join(format!("cut{step}")));
        disk.cut(&image);
        let _left = PowerDisk::after_cut(&image, &at);
        let survived = Bench::open(&at.join("state"), &bench.sources);
        assert_eq!(survived.content(), bench.content(), "after step {step}");
        assert_eq!(set_aside(&survived.dir), Vec::<String>::new(), "after step {step}");
        // the counter beside the database can be read
        let counter = fs::read(at.join("state/commits")).unwrap();
        assert!(counter.starts_with(b"kwrbncm1") || counter[64..].starts_with(b"kwrbncm1"), "after step {step}");
        survived.close();
    }
    bench.close();
}

#[test]
fn a_daemon_whose_power_is_cut_loses_nothing_and_repeats_at_most_one_item_a_cut() {
    let (farm, receiver) = (Farm::start(), Receiver::start());
    let feed = farm.feed("feed0");
    feed.publish(5);
    feed.set_window(400);
    let config = format!(
        "[fetch]\ninterval = \"50ms\"\nallow_private_addresses = true\nbackfill = \"all\"\n\
         [[source]]\nname = \"feed0\"\nurl = \"{}\"\n\
         [[destination]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{}\"\n",
        feed.url(),
        receiver.url()
    );
    let mut daemon = Daemon::new(&config);
    let image = daemon.dir().join("image0");
    let Some(mut disk) = PowerDisk::mount(&image, &daemon.state()) else { return };
    let cuts: usize = std::env::var("POWER_CUTS").ok().and_then(|cuts| cuts.parse().ok()).unwrap_or(4);
    let arrived = || {
        let mut times = BTreeMap::<String, usize>::new();
        for request in receiver.requests() {
            *times.entry(request.json()["item"]["title"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        times
    };
    let mut published = 5;
    for cut in 1..=cuts {
        daemon.restart();
        let before = arrived().len();
        feed.publish(6 + cut % 5);
        published += 6 + cut % 5;
        // in the middle of it
        daemon.wait("some have arrived", |_| arrived().len() >= before + 3 + cut % 4);
        daemon.signal(Signal::STOP);
        let image = daemon.dir().join(format!("image{cut}"));
        disk.cut(&image);
        daemon.kill();
        drop(disk);
        disk = PowerDisk::after_cut(&image, &daemon.state());
    }
    daemon.restart();
    daemon.wait("everything has arrived", |_| arrived().len() >= published);
    let health = daemon.health();
    assert_eq!(health["store"]["status"], "ok", "{health:#}");
    assert!(!health["reasons"].to_string().contains("store:"), "{health:#}");
    assert!(daemon.terminate().0.success());
    let times = arrived();
    let repeats: usize = times.values().map(|times| times - 1).sum();
    assert_eq!(times.len(), published);
    assert!(repeats <= cuts, "{repeats} repeats after {cuts} cuts");
    assert_eq!(set_aside(&daemon.state()), Vec::<String>::new());
    drop(disk);
}
