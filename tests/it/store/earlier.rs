//! State directories of earlier versions are continued: nothing is repeated and nothing is lost.

use std::path::Path;

use kawaraban::{
    identity::{self, Keys},
    model::Item,
    store::{Delivery, DestinationRecord, SourceRecord},
};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::{Bench, delivered, facts, items, plain_sources, second, titles};

/// Writes a database as format 3 had it. Frozen: it must never be changed along with the store.
#[derive(Default)]
struct Format3 {
    records: Vec<(Vec<u8>, Vec<u8>)>,
    seen: u64,
    outbox: u64,
    dead_letters: u64,
    next_seq: u64,
}

impl Format3 {
    fn source(&mut self, name: &str, record: &SourceRecord, keys: &[Keys]) {
        let key = format!("s/{name}/").into_bytes();
        let json = serde_json::to_vec(record).unwrap();
        self.records.push((key.clone(), [&[0, 0], json.as_slice()].concat()));
        let mut pack = Vec::new();
        for keys in keys {
            pack.push(u8::from(keys.id.is_some()) | u8::from(keys.link.is_some()) << 1);
            keys.all().for_each(|key| pack.extend_from_slice(&key.to_le_bytes()[..6]));
        }
        self.records.push(([key.as_slice(), &[0, 0]].concat(), pack));
        self.seen += keys.len() as u64;
    }

    /// A parcel of items; those up to `ended` are no longer counted.
    fn parcel(&mut self, destination: &str, deliveries: &[(u64, &Delivery)], ended: u64) {
        let mut parcel = Vec::new();
        for (seq, delivery) in deliveries {
            let json = serde_json::to_vec(delivery).unwrap();
            for number in [*seq, delivery.accepted_at.as_millisecond().cast_unsigned(), json.len() as u64] {
                parcel.extend_from_slice(&number.to_le_bytes());
            }
            parcel.extend_from_slice(&json);
            self.outbox += u64::from(*seq > ended);
            self.next_seq = self.next_seq.max(seq + 1);
        }
        let key = [format!("o/{destination}/").as_bytes(), &deliveries[0].0.to_be_bytes()].concat();
        self.records.push((key, parcel));
    }

    fn destination(&mut self, name: &str, ended: u64, record: &DestinationRecord) {
        let json = serde_json::to_vec(record).unwrap();
        self.records.push((format!("t/{name}").into_bytes(), [ended.to_le_bytes().as_slice(), &json].concat()));
    }

    fn write(self, dir: &Path) {
        let sum = |key: &[u8], body: &[u8]| xxh3_64_with_seed(body, xxh3_64(key)).to_le_bytes();
        let config = sled::Config::new().path(dir.join("db")).segment_size(4 << 20).mode(sled::Mode::LowSpace);
        let db = config.open().unwrap();
        let mut digest = 0;
        for (key, body) in self.records {
            let sum = sum(&key, &body);
            digest ^= u64::from_le_bytes(sum);
            db.insert(key, [sum.as_slice(), &body].concat()).unwrap();
        }
        let mut meta = vec![3];
        for number in [1, self.seen, self.outbox, self.dead_letters, self.next_seq, digest] {
            meta.extend_from_slice(&number.to_le_bytes());
        }
        meta.extend_from_slice(&sum(b"m", &meta));
        db.insert(b"m", meta).unwrap();
        db.flush().unwrap();
    }
}

#[test]
fn an_outbox_of_format_3_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let sources = plain_sources(2);
    let all: Vec<Item> = items(0..6);
    let keys = identity::keys(all.iter().map(facts));
    let mut old = Format3::default();
    let record = SourceRecord { last_success: Some(second(0)), had_items: true, ..SourceRecord::default() };
    sources.iter().for_each(|source| old.source(source.name.as_str(), &record, &keys));
    // oldest first, in turns of both sources; the first three of "one" have ended
    let deliveries: Vec<Delivery> = (0..12)
        .map(|n| {
            let at = 5 - n / 2;
            Delivery::new(&sources[n % 2], keys[at].strongest(), all[at].clone(), second(1))
        })
        .collect();
    let numbered: Vec<(u64, &Delivery)> = (1..).zip(&deliveries).collect();
    old.parcel("one", &numbered[..7], 3);
    old.parcel("one", &numbered[7..], 3);
    old.destination("one", 3, &DestinationRecord { delivered: 3, ..DestinationRecord::default() });
    old.write(dir.path());

    let mut bench = Bench::open(dir.path(), &sources);
    assert_eq!((bench.status().outbox, bench.status().items_seen), (9, 12));
    assert_eq!(bench.content().destinations["one"].0.delivered, 3);
    let mut arrived = Vec::new();
    while let Some(queued) = bench.lease("one").first() {
        arrived.push(queued.delivery().unwrap());
        bench.settle("one", delivered(&[queued.seq]), DestinationRecord::default());
        // everything that was recorded stays so
        bench = if arrived.len() % 3 == 0 { bench.reopened() } else { bench };
    }
    for (source, from) in [("a", 2), ("b", 1)] {
        let of = arrived.iter().filter(|delivery| delivery.source.name == source);
        let of: Vec<_> = of.map(|delivery| delivery.item.title.clone().unwrap()).collect();
        assert_eq!(of, titles(from..6), "{source}");
    }
    assert_eq!(bench.ingest(0, &all, second(60)).new, 0, "all is known to be seen");
    assert!(super::set_aside(dir.path()).is_empty());
}
