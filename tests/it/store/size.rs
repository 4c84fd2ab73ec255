//! What remembering costs on disk.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use futures_util::future::join_all;
use kawaraban::{
    identity::Keys,
    store::{Candidate, Ingest, SourceRecord},
};

use super::{Bench, item, second, sources};

/// sled's segments, those that wait to be used again included. However long it runs, this is all that
/// rewriting costs.
const BASE: u64 = 20 << 20;
/// What an item may cost beyond that.
const AN_ITEM: u64 = 60;

/// Blocks that a directory takes, in bytes.
fn on_disk(dir: &Path) -> u64 {
    let size = |entry: fs::DirEntry| {
        let meta = entry.metadata().unwrap();
        meta.blocks() * 512 + if meta.is_dir() { on_disk(&entry.path()) } else { 0 }
    };
    fs::read_dir(dir).unwrap().map(|entry| size(entry.unwrap())).sum()
}

/// Keys as a feed with guids and links has them: 48 bits each.
fn keys(source: usize, item: u64) -> Keys {
    let hash = |salt: u64| (source as u64 ^ item << 20 ^ salt << 60).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
    Keys { id: Some(hash(1)), link: Some(hash(2)), content: hash(3) }
}

/// Sources that show a window of items, one of which is new at each poll.
struct Load {
    sources: usize,
    window: u64,
}

impl Load {
    fn bench(&self, dir: &Path) -> Bench {
        let table = |n| format!("[[source]]\nname = \"s{n}\"\nurl = \"http://x.example/\"\nbackfill = 0\n");
        Bench::open(dir, &sources(&(0..self.sources).map(table).collect::<String>()))
    }

    /// Polls every source once, all at the same time.
    fn poll(&self, bench: &Bench, round: u64) {
        let newest = self.window + round;
        let new = if round == 0 { self.window } else { 1 };
        let at = second(i64::try_from(round).unwrap() * 300);
        let documents = bench.sources.iter().enumerate().map(|(nth, source)| {
            let candidate = |index| Candidate::new(index, item(1), false);
            bench.store.ingest(Ingest {
                source: source.clone(),
                keys: (round..newest).rev().map(|item| keys(nth, item)).collect(),
                candidates: (0..usize::try_from(new).unwrap()).map(candidate).collect(),
                record: SourceRecord {
                    last_success: Some(at),
                    body_hash: Some(round.into()),
                    etag: Some(format!("\"{round:040}\"")),
                    ..SourceRecord::default()
                },
                at,
            })
        });
        for ingested in bench.runtime.block_on(join_all(documents)) {
            assert_eq!(ingested.unwrap().new, new);
        }
    }
}

#[test]
fn sixty_thousand_items_rewritten_twenty_times_stay_small() {
    let dir = tempfile::tempdir().unwrap();
    let load = Load { sources: 200, window: 300 };
    let bench = load.bench(dir.path());
    for round in 0..20 {
        load.poll(&bench, round);
        let seen = 60_000 + 200 * round;
        assert_eq!(bench.status().items_seen, seen);
        let bytes = on_disk(dir.path());
        assert!(bytes <= BASE + AN_ITEM * seen, "round {round}: {bytes} bytes for {seen} items");
    }
    let bench = bench.reopened();
    let bytes = on_disk(dir.path());
    assert!(bytes <= BASE + AN_ITEM * 63_800, "opened again: {bytes} bytes");
    bench.close();
}
