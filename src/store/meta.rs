//! What every commit says of the whole database: how many records there are, and their digest.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::{commits::Committed, fault::Fault};

/// Where it lies.
pub(super) const META: &[u8] = b"m";
/// Raised when an earlier program cannot read what is stored.
const VERSION: u8 = 4;
/// The earliest version that is continued. 3: items of an outbox ended in the order of their places.
const OLDEST_VERSION: u8 = 3;

/// The checksum that a record carries.
pub(super) fn checksum(key: &[u8], body: &[u8]) -> u64 {
    xxh3_64_with_seed(body, xxh3_64(key))
}

/// Counts and digest over all records; part of every commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) committed: Committed,
    /// The next place in an outbox, over all destinations.
    pub(super) next_seq: u64,
    pub(super) digest: u64,
}

impl Default for Meta {
    fn default() -> Self {
        Self { committed: Committed::default(), next_seq: 1, digest: 0 }
    }
}

impl Meta {
    pub(super) fn encode(&self) -> Vec<u8> {
        let Committed { commit, seen, outbox, dead_letters } = self.committed;
        let mut bytes = vec![VERSION];
        for number in [commit, seen, outbox, dead_letters, self.next_seq, self.digest] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        let sum = checksum(META, &bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let damaged = || Fault::Damaged("its own description is damaged".to_owned());
        let (body, sum) = bytes.split_last_chunk::<8>().ok_or_else(damaged)?;
        if u64::from_le_bytes(*sum) != checksum(META, body) {
            return Err(damaged());
        }
        let (version, mut numbers) = body.split_first().ok_or_else(damaged)?;
        if !(OLDEST_VERSION..=VERSION).contains(version) {
            let known = format!("{OLDEST_VERSION} to {VERSION}");
            return Err(Fault::Damaged(format!("it is of format {version}, this program reads {known}")));
        }
        let mut next = || {
            let (number, rest) = numbers.split_first_chunk::<8>().ok_or_else(damaged)?;
            numbers = rest;
            Ok::<u64, Fault>(u64::from_le_bytes(*number))
        };
        let committed = Committed { commit: next()?, seen: next()?, outbox: next()?, dead_letters: next()? };
        Ok(Self { committed, next_seq: next()?, digest: next()? })
    }
}
