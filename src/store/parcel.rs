//! Parcels: records of the outbox that hold several items, queued by one commit for one destination.
//!
//! Many small records would each cost the database as much as a large one.

use std::ops::Range;

use super::{Queued, database::Fault, turns::SourceId};

/// The longest parcel of more than one item, in bytes. Under load a commit's items fill some: more of them would each be
/// written again with those that lie beside them, and of larger ones sled would make files of their own.
pub(super) const MAX_BYTES: usize = 32 * 1024;

/// One item in a parcel.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) seq: u64,
    /// When it was accepted, in milliseconds since 1970.
    pub(super) accepted: i64,
    /// The delivery as JSON.
    pub(super) json: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Bytes in its parcel.
    pub(super) fn length(&self) -> usize {
        3 * size_of::<u64>() + self.json.len()
    }

    pub(super) fn write(&self, parcel: &mut Vec<u8>) {
        parcel.extend_from_slice(&self.seq.to_le_bytes());
        parcel.extend_from_slice(&self.accepted.to_le_bytes());
        parcel.extend_from_slice(&(self.json.len() as u64).to_le_bytes());
        parcel.extend_from_slice(self.json);
    }

    /// The items of a parcel.
    pub(super) fn all(mut parcel: &'a [u8]) -> Result<Vec<Self>, Fault> {
        let mut entries = Vec::new();
        while !parcel.is_empty() {
            entries.push(Self::read(&mut parcel).ok_or_else(unreadable)?);
        }
        Ok(entries)
    }

    fn read(parcel: &mut &'a [u8]) -> Option<Self> {
        let mut number = || {
            let (bytes, rest) = parcel.split_first_chunk::<8>()?;
            *parcel = rest;
            Some(u64::from_le_bytes(*bytes))
        };
        let (seq, accepted, length) = (number()?, number()?.cast_signed(), number()?);
        let (json, rest) = parcel.split_at_checked(usize::try_from(length).ok()?)?;
        *parcel = rest;
        Some(Self { seq, accepted, json })
    }

    /// Its source: the first half of the id that a delivery's JSON begins with.
    pub(super) fn source(&self) -> SourceId {
        const BEFORE: &[u8] = br#"{"id":""#;
        let digits = self.json.strip_prefix(BEFORE).and_then(|id| id.get(..16));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        digits.and_then(|digits| SourceId::from_str_radix(digits, 16).ok()).unwrap_or(0)
    }
}

/// Where an item's JSON lies in its parcel.
pub(super) struct Place {
    pub(super) seq: u64,
    pub(super) source: SourceId,
    json: Range<usize>,
}

impl Place {
    /// Of all items of a parcel.
    pub(super) fn all(parcel: &[u8]) -> Result<Vec<Self>, Fault> {
        let mut end = 0;
        let place = |entry: &Entry<'_>| {
            let start = end + entry.length() - entry.json.len();
            end += entry.length();
            Self { seq: entry.seq, source: entry.source(), json: start..end }
        };
        Ok(Entry::all(parcel)?.iter().map(place).collect())
    }

    /// The item itself, out of the parcel that the place is of.
    pub(super) fn item(&self, parcel: &[u8]) -> Result<Queued, Fault> {
        let json = parcel.get(self.json.clone()).and_then(|json| std::str::from_utf8(json).ok());
        Ok(Queued { seq: self.seq, json: json.ok_or_else(unreadable)?.to_owned() })
    }
}

fn unreadable() -> Fault {
    Fault::Damaged("items in the outbox cannot be read".to_owned())
}
