//! What changed in a source's seen items since their [packs](super::pack) were last written.
//!
//! Most documents change by an item or two. That is a few bytes beside the source's record, which is written
//! anyway; a pack is written whole only when there is more of it than is worth reading again each time.

use super::pack::{self, Malformed};
use crate::identity::Keys;

/// A journal is at most so long, in bytes: about as much is written of it each time as its pack costs it.
pub(super) const MOST: usize = 256;

const LEFT: u8 = b'-';
const BACK: u8 = b'+';
const NEW: u8 = b'n';
const FORGOT: u8 = b'f';

/// Where a remembered item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Number of the pack.
    pub(super) pack: u16,
    /// Index in it.
    pub(super) index: u16,
}

/// One change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// An item is not in the last document any more, and was last there at this second since 1970.
    Left(Place, u32),
    /// An item is there again.
    Back(Place),
    /// An item is remembered from now on; where, follows from what is there.
    New(Keys),
    /// Items that were last there before this second are forgotten.
    Forgot(u32),
}

impl Change {
    pub(super) fn write(&self, journal: &mut Vec<u8>) {
        let place = |journal: &mut Vec<u8>, Place { pack, index }: Place| {
            journal.extend_from_slice(&pack.to_le_bytes());
            journal.extend_from_slice(&index.to_le_bytes());
        };
        match *self {
            Self::Left(item, last) => {
                journal.push(LEFT);
                place(journal, item);
                journal.extend_from_slice(&last.to_le_bytes());
            }
            Self::Back(item) => {
                journal.push(BACK);
                place(journal, item);
            }
            Self::New(keys) => {
                journal.push(NEW);
                pack::write_keys(&keys, 0, journal);
            }
            Self::Forgot(before) => {
                journal.push(FORGOT);
                journal.extend_from_slice(&before.to_le_bytes());
            }
        }
    }

    fn read(journal: &mut &[u8]) -> Result<Self, Malformed> {
        match byte(journal)? {
            LEFT => {
                let place = Self::read_place(journal)?;
                Ok(Self::Left(place, pack::read_second(journal)?))
            }
            BACK => Ok(Self::Back(Self::read_place(journal)?)),
            NEW => match pack::read_keys(journal)? {
                (keys, 0) => Ok(Self::New(keys)),
                _ => Err(Malformed),
            },
            FORGOT => Ok(Self::Forgot(pack::read_second(journal)?)),
            _ => Err(Malformed),
        }
    }

    fn read_place(journal: &mut &[u8]) -> Result<Place, Malformed> {
        let mut number = || {
            let (number, rest) = journal.split_first_chunk::<2>().ok_or(Malformed)?;
            *journal = rest;
            Ok(u16::from_le_bytes(*number))
        };
        Ok(Place { pack: number()?, index: number()? })
    }
}

fn byte(bytes: &mut &[u8]) -> Result<u8, Malformed> {
    let (byte, rest) = bytes.split_first().ok_or(Malformed)?;
    *bytes = rest;
    Ok(*byte)
}

/// The changes of a journal, the oldest first.
pub(super) fn changes(mut journal: &[u8]) -> impl Iterator<Item = Result<Change, Malformed>> {
    std::iter::from_fn(move || {
        (!journal.is_empty()).then(|| {
            let change = Change::read(&mut journal);
            if change.is_err() {
                // nothing can be read behind what cannot be read
                journal = &[];
            }
            change
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let place = Place { pack: 3, index: 255 };
        let keys = Keys { id: None, link: Some(1), content: 0xffff_0000_ffff };
        let all =
            [Change::New(keys), Change::Left(place, 1_790_000_000), Change::Back(place), Change::Forgot(1_790_000_001)];
        let mut journal = Vec::new();
        all.iter().for_each(|change| change.write(&mut journal));
        assert_eq!(changes(&journal).collect::<Result<Vec<_>, _>>(), Ok(all.to_vec()));
        for length in 1..journal.len() {
            let read = changes(&journal[..length]).collect::<Vec<_>>();
            assert!(read.len() <= all.len() && read.iter().take(read.len() - 1).all(Result::is_ok), "{length}");
        }
        assert_eq!(changes(b"?").collect::<Vec<_>>(), [Err(Malformed)]);
    }
}
