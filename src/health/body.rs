//! A long answer in pieces: of thousands of sources it has megabytes, which are neither wanted in one piece nor kept
//! longer than it takes to send them.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes of a piece.
pub const PIECE: usize = 64 * 1024;
/// Room to begin with: a whole answer where there are few sources.
const FIRST: usize = 4 * 1024;

/// Bytes that were written, in pieces of 64 kB.
#[derive(Debug, Default)]
pub struct Body {
    full: Vec<Bytes>,
    last: BytesMut,
}

impl Body {
    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.full.iter().map(Bytes::len).sum::<usize>() + self.last.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pieces in their order.
    pub fn into_pieces(self) -> impl Iterator<Item = Bytes> {
        self.full.into_iter().chain([self.last.freeze()])
    }
}

impl io::Write for Body {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.last.len() == PIECE {
                self.full.push(std::mem::replace(&mut self.last, BytesMut::with_capacity(PIECE)).freeze());
            } else if self.last.capacity() == 0 {
                self.last.reserve(FIRST);
            }
            let (here, behind) = rest.split_at(rest.len().min(PIECE - self.last.len()));
            self.last.put_slice(here);
            rest = behind;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use io::Write as _;

    use super::*;

    #[test]
    fn what_was_written_comes_in_pieces() {
        for length in [0, 1, FIRST, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 7] {
            let bytes: Vec<u8> = (0..length).map(|n| n as u8).collect();
            for step in [1000, PIECE, 10 * PIECE] {
                let mut body = Body::default();
                bytes.chunks(step).for_each(|part| body.write_all(part).unwrap());
                assert_eq!((body.len(), body.is_empty()), (length, length == 0));
                let pieces: Vec<Bytes> = body.into_pieces().collect();
                assert!(pieces.iter().all(|piece| piece.len() <= PIECE) && pieces.concat() == bytes, "{length} {step}");
            }
        }
    }
}
