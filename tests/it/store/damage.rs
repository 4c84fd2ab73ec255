//! Damage on disk: the store is unharmed, or set aside and begun anew. Never does it lack something and
//! say nothing.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use kawaraban::{
    config::Source,
    model::{DeliveryError, ErrorKind},
    store::{DestinationRecord, Settled, StoreState},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{Bench, Content, copy, items, plain_sources, second, set_aside};

/// A closed store with something of everything, and what can be read from it.
struct Sound {
    _tmp: tempfile::TempDir,
    dir: PathBuf,
    sources: Vec<Arc<Source>>,
    content: Content,
}

const UNDELIVERED: usize = 2 * 3 * 20 - 9;

fn sound() -> Sound {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("sound");
    let sources = plain_sources(3);
    let bench = Bench::open(&dir, &sources);
    for source in 0..3 {
        for step in 1..=4 {
            bench.ingest(source, &items(0..5 * step), second(step.into()));
        }
    }
    let refused = |message: &str| DeliveryError { kind: ErrorKind::Http(400), message: message.into(), at: second(9) };
    let settled = bench
        .lease("two")
        .into_iter()
        .take(9)
        .enumerate()
        .map(|(nth, queued)| Settled { seq: queued.seq, refused: (nth % 3 == 0).then(|| refused("no")) });
    bench.settle("two", settled.collect(), DestinationRecord { delivered: 6, ..DestinationRecord::default() });
    let health = vec![("a".to_owned(), b"counters".to_vec())];
    bench.runtime.block_on(bench.store.save_health(health)).unwrap();
    let content = bench.content();
    assert_eq!(content.status.outbox, UNDELIVERED as u64);
    bench.close();
    Sound { _tmp: tmp, dir, sources, content }
}

/// What is done to a state directory.
type Damage<'a> = (&'a str, &'a dyn Fn(&Path));

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Unharmed,
    SetAside,
}

/// Opens a damaged copy and holds it to the promise.
fn verdict(sound: &Sound, what: &str, damage: impl FnOnce(&Path)) -> Verdict {
    let tmp = tempfile::tempdir().unwrap();
    copy(&sound.dir, tmp.path());
    damage(tmp.path());
    let mut bench = Bench::open(tmp.path(), &sound.sources);
    if set_aside(tmp.path()).is_empty() {
        assert_eq!(bench.content(), sound.content, "{what}: it lacks something and does not say so");
        // and it works
        assert_eq!(bench.ingest(0, &items(0..21), second(100)).accepted, 1, "{what}");
        bench = bench.reopened();
        assert_eq!(bench.waiting("one").len(), 61, "{what}");
        return Verdict::Unharmed;
    }
    begun_anew(bench, what);
    Verdict::SetAside
}

/// A new store after damage: it tells, it reseeds every source, and then it goes on.
fn begun_anew(mut bench: Bench, what: &str) {
    let aside = set_aside(&bench.dir);
    assert_eq!(aside.len(), 1, "{what}: {aside:?}");
    let tells = |bench: &Bench, state: StoreState| {
        let status = bench.status();
        assert_eq!(status.state, state, "{what}: {status:?}");
        assert_eq!(status.reasons.len(), 1, "{what}: {status:?}");
        assert!(status.reasons[0].starts_with("store: "), "{what}: {status:?}");
        assert!(status.reasons[0].contains(&aside[0]), "{what}: {status:?}");
    };
    tells(&bench, StoreState::Reseeding);
    assert_eq!(bench.content().status.items_seen, 0, "{what}");
    // nobody is flooded, whenever the source is polled
    let skipped = bench.ingest(0, &items(0..20), second(100));
    assert_eq!((skipped.new, skipped.accepted, skipped.skipped), (20, 0, 20), "{what}");
    bench = bench.reopened();
    tells(&bench, StoreState::Reseeding);
    assert_eq!(bench.ingest(0, &items(0..21), second(101)).accepted, 1, "{what}: what is new after that is delivered");
    for source in [1, 2] {
        assert_eq!(bench.ingest(source, &items(0..20), second(102)).accepted, 0, "{what}");
    }
    tells(&bench, StoreState::Ok);
    assert_eq!(bench.waiting("one"), ["item 20"], "{what}");
    assert_eq!(bench.waiting("two"), ["item 20"], "{what}");
    // until the operator has taken note
    bench.runtime.block_on(bench.store.acknowledge()).unwrap();
    assert_eq!(bench.status().reasons, Vec::<String>::new(), "{what}");
    bench = bench.reopened();
    assert_eq!(bench.status().reasons, Vec::<String>::new(), "{what}");
    assert_eq!(set_aside(&bench.dir), aside, "{what}: nothing is deleted");
    assert_eq!(bench.waiting("one"), ["item 20"], "{what}");
}

fn database(dir: &Path) -> PathBuf {
    dir.join("db/db")
}

fn truncate(dir: &Path, length: u64) {
    OpenOptions::new().write(true).open(database(dir)).unwrap().set_len(length).unwrap();
}

/// Changes the bytes at a place.
fn change(dir: &Path, at: u64, length: usize, change: impl Fn(u8) -> u8) {
    let file = File::options().read(true).write(true).open(database(dir)).unwrap();
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, at).unwrap();
    bytes.iter_mut().for_each(|byte| *byte = change(*byte));
    file.write_all_at(&bytes, at).unwrap();
}

/// Where the database's file holds something.
fn written(sound: &Sound) -> Vec<u64> {
    let bytes = fs::read(database(&sound.dir)).unwrap();
    (0_u64..).zip(bytes).filter(|(_, byte)| *byte != 0).map(|(at, _)| at).collect()
}

#[test]
fn a_store_that_is_not_damaged_is_unharmed() {
    assert_eq!(verdict(&sound(), "nothing", |_| {}), Verdict::Unharmed);
}

#[test]
fn a_database_that_is_gone_or_emptied_is_set_aside() {
    let sound = sound();
    let gone: [Damage; _] = [
        ("an emptied file", &|dir: &Path| truncate(dir, 0)),
        ("no file", &|dir: &Path| fs::remove_file(database(dir)).unwrap()),
        ("no directory", &|dir: &Path| fs::remove_dir_all(dir.join("db")).unwrap()),
        ("garbage", &|dir: &Path| change(dir, 0, 65_536, |byte| byte.wrapping_mul(31).wrapping_add(7))),
        ("zeros", &|dir: &Path| fs::write(database(dir), vec![0; 1 << 20]).unwrap()),
    ];
    for (what, damage) in gone {
        assert_eq!(verdict(&sound, what, damage), Verdict::SetAside, "{what}");
    }
}

#[test]
fn a_truncated_database_lacks_nothing_or_is_set_aside() {
    let sound = sound();
    let whole = fs::metadata(database(&sound.dir)).unwrap().len();
    let last = *written(&sound).last().unwrap() + 1;
    let mut set_aside = 0;
    for length in (1..12).map(|twelfth| last * twelfth / 12).chain([last - 1, last - 50, last - 700, whole - 1, 1, 512])
    {
        let verdict = verdict(&sound, &format!("{length} of {whole} bytes"), |dir| truncate(dir, length));
        set_aside += u32::from(verdict == Verdict::SetAside);
    }
    assert!(set_aside >= 10, "{set_aside}");
}

#[test]
fn flipped_bits_lack_nothing_or_are_set_aside() {
    let sound = sound();
    let written = written(&sound);
    let mut rng = StdRng::seed_from_u64(0x00c0_ffee);
    let mut set_aside = 0;
    let flips = 60;
    for _ in 0..flips {
        let at = written[rng.random_range(0..written.len())];
        let bit = 1 << rng.random_range(0..8);
        let what = format!("bit {bit:#x} at {at}");
        let verdict = verdict(&sound, &what, |dir| change(dir, at, 1, |byte| byte ^ bit));
        set_aside += u32::from(verdict == Verdict::SetAside);
    }
    println!("{set_aside} of {flips} set aside");
    assert!(set_aside > 0);
}

#[test]
fn zeroed_blocks_lack_nothing_or_are_set_aside() {
    let sound = sound();
    let written = written(&sound);
    let (first, last) = (written[0] / 4096, written[written.len() - 1] / 4096);
    let mut set_aside = 0;
    for block in first..=last {
        let verdict = verdict(&sound, &format!("block {block} zeroed"), |dir| {
            let length = fs::metadata(database(dir)).unwrap().len();
            let here = usize::try_from((length - block * 4096).min(4096)).unwrap();
            change(dir, block * 4096, here, |_| 0);
        });
        set_aside += u32::from(verdict == Verdict::SetAside);
    }
    println!("{set_aside} of blocks {first}..={last} set aside");
    assert!(set_aside > 0);
}

#[test]
fn a_database_that_is_older_than_what_was_answered_is_set_aside() {
    // somebody has put a backup of db back, and not of the rest
    let sound = sound();
    let backup = tempfile::tempdir().unwrap();
    copy(&sound.dir.join("db"), backup.path());
    let bench = Bench::open(&sound.dir, &sound.sources);
    bench.ingest(0, &items(0..25), second(50));
    bench.close();
    let verdict = verdict(&sound, "an older database", |dir| {
        fs::remove_dir_all(dir.join("db")).unwrap();
        copy(backup.path(), &dir.join("db"));
    });
    assert_eq!(verdict, Verdict::SetAside);
}

#[test]
fn the_commit_counter_may_be_lost_or_damaged_as_long_as_the_database_is_whole() {
    let sound = sound();
    let damage: [Damage; _] = [
        ("no counter", &|dir: &Path| fs::remove_file(dir.join("commits")).unwrap()),
        ("an empty counter", &|dir: &Path| fs::write(dir.join("commits"), b"").unwrap()),
        ("garbage in it", &|dir: &Path| fs::write(dir.join("commits"), [0x55; 128]).unwrap()),
    ];
    for (what, damage) in damage {
        assert_eq!(verdict(&sound, what, damage), Verdict::Unharmed, "{what}");
    }
}

#[test]
fn a_snapshot_that_was_half_written_is_no_damage() {
    // sled was killed while it opened, or the disk was full
    let sound = sound();
    for bytes in [&b""[..], b"half", &[7; 100]] {
        let what = format!("{} bytes of a snapshot", bytes.len());
        let damage = |dir: &Path| fs::write(dir.join("db/snap.00000000FFFFFFFF.generating"), bytes).unwrap();
        assert_eq!(verdict(&sound, &what, damage), Verdict::Unharmed);
    }
}

#[test]
fn what_was_lost_undelivered_is_said() {
    let sound = sound();
    let tmp = tempfile::tempdir().unwrap();
    copy(&sound.dir, tmp.path());
    truncate(tmp.path(), 0);
    let bench = Bench::open(tmp.path(), &sound.sources);
    let reason = bench.status().reasons.concat();
    assert!(reason.contains(&format!("{UNDELIVERED} undelivered items")), "{reason}");
    // the old file is there for whoever can read it
    assert!(database(&tmp.path().join(&set_aside(tmp.path())[0])).exists());
}

#[test]
fn a_second_damage_is_set_aside_beside_the_first() {
    let sound = sound();
    let tmp = tempfile::tempdir().unwrap();
    copy(&sound.dir, tmp.path());
    for times in 1..=2 {
        truncate(tmp.path(), 0);
        let bench = Bench::open(tmp.path(), &sound.sources);
        bench.until_open();
        assert_eq!(set_aside(tmp.path()).len(), times);
        assert_eq!(bench.ingest(0, &items(0..20), second(1)).accepted, 0);
        bench.close();
    }
}

#[test]
fn a_daemon_killed_while_it_sets_a_damaged_store_aside_reseeds_at_the_next_start() {
    let sound = sound();
    let note = format!(
        r#"{{"at":"{}","reason":"x","aside":"damaged-x","undelivered":5,"acknowledged":false}}"#,
        Timestamp::now()
    );
    let moves = |dir: &Path, names: &[&str]| {
        fs::create_dir(dir.join("damaged-x")).unwrap();
        names.iter().for_each(|name| fs::rename(dir.join(name), dir.join("damaged-x").join(name)).unwrap());
    };
    let moments: [Damage<'_>; _] = [
        ("nothing is moved", &|_| {}),
        ("the directory is made", &|dir| moves(dir, &[])),
        ("the counter is moved", &|dir| moves(dir, &["commits"])),
        ("all is moved", &|dir| moves(dir, &["commits", "db"])),
        ("the new database is begun", &|dir| {
            moves(dir, &["commits", "db"]);
            let new = Bench::open(&dir.join("new"), &sound.sources);
            new.close();
            ["commits", "db"].iter().for_each(|name| fs::rename(dir.join("new").join(name), dir.join(name)).unwrap());
        }),
    ];
    for (what, moment) in moments {
        let tmp = tempfile::tempdir().unwrap();
        copy(&sound.dir, tmp.path());
        moment(tmp.path());
        fs::write(tmp.path().join("loss.json"), &note).unwrap();
        let bench = Bench::open(tmp.path(), &sound.sources);
        bench.until_open();
        let reasons = bench.status().reasons.concat();
        assert!(reasons.contains("5 undelivered items"), "{what}: {reasons}");
        // the damaged one is there, and no other
        let kept = fs::metadata(database(&tmp.path().join("damaged-x"))).unwrap().len();
        assert_eq!(kept, fs::metadata(database(&sound.dir)).unwrap().len(), "{what}");
        begun_anew(bench, what);
    }
}
