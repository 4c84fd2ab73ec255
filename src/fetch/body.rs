//! Content codings: gzip and deflate, bounded by what comes out.
//!
//! The HTTP client's own decoding checks its limit after a piece is inflated, and passes what it does not
//! know through as if it were text. Here a bomb costs no more memory than `max_body`, and an unknown
//! coding is an error.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use super::{classify::Fault, spare};
use crate::memory::{NoRoom, Room};

/// From here on a body is inflated on a thread of its own, so that a big one does not hold up the other
/// sources of its thread.
const LARGE: usize = 64 * 1024;

/// Room is taken for so many bytes at a time.
const STEP: usize = 64 * 1024;

/// A content coding that we can take off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Deflate,
}

/// Reads `Content-Encoding`. More than one coding is refused: no server has a reason for it, a bomb has.
pub(super) fn coding(header: Option<&[u8]>) -> Result<Option<Coding>, Fault> {
    let mut found = None;
    for name in header.unwrap_or_default().split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
        let coding = match name {
            b"" => continue,
            name if name.eq_ignore_ascii_case(b"identity") => continue,
            name if name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip") => Coding::Gzip,
            name if name.eq_ignore_ascii_case(b"deflate") => Coding::Deflate,
            name => {
                let shown: String = name.escape_ascii().take(40).map(char::from).collect();
                return Err(Fault::Coding(format!("content encoding \"{shown}\", which was not asked for")));
            }
        };
        if found.replace(coding).is_some() {
            return Err(Fault::Coding("more than one content encoding".into()));
        }
    }
    Ok(found)
}

/// Takes the coding off; at most `limit` bytes come out. `delimited`: the body's end was told by the
/// connection's end only, so that coded data which stops early means a connection that did.
pub(super) async fn decode(
    body: Bytes,
    coding: Option<Coding>,
    limit: u64,
    delimited: bool,
    room: &Room,
) -> Result<Bytes, Fault> {
    let Some(coding) = coding.filter(|_| !body.is_empty()) else { return Ok(body) };
    let decoded = if body.len() < LARGE {
        let decoded = inflate(&body, coding, limit, room);
        spare::give(body);
        decoded
    } else {
        let room = room.clone();
        let job = tokio::task::spawn_blocking(move || {
            room.mark();
            inflate(&body, coding, limit, &room)
        });
        job.await.unwrap_or_else(|gone| Err(Stopped::Io(io::Error::other(gone))))
    };
    match decoded {
        Ok(decoded) => Ok(decoded.into()),
        Err(Stopped::TooLarge) => Err(Fault::TooLarge(limit)),
        Err(Stopped::NoRoom(refused)) => Err(refused.into()),
        Err(Stopped::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof && delimited => {
            Err(Fault::Cut("within the compressed body"))
        }
        Err(Stopped::Io(error)) => Err(Fault::Coding(format!("the compressed body does not decode: {error}"))),
    }
}

/// Why a body was not inflated.
enum Stopped {
    Io(io::Error),
    TooLarge,
    NoRoom(NoRoom),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<NoRoom> for Stopped {
    fn from(refused: NoRoom) -> Self {
        Self::NoRoom(refused)
    }
}

fn inflate(body: &[u8], coding: Coding, limit: u64, room: &Room) -> Result<Vec<u8>, Stopped> {
    // feeds shrink to about a fifth
    let guess = body.len().saturating_mul(5).min(usize::try_from(limit).unwrap_or(usize::MAX)).min(1 << 20);
    let mut out = Vec::with_capacity(guess);
    let decoder: &mut dyn Read = match coding {
        Coding::Gzip => &mut MultiGzDecoder::new(body),
        // "deflate" means zlib (RFC 9110, 8.4.1.2), and some servers send it bare
        Coding::Deflate if is_zlib(body) => &mut ZlibDecoder::new(body),
        Coding::Deflate => &mut DeflateDecoder::new(body),
    };
    let mut limited = decoder.take(limit.saturating_add(1));
    let most = body.len().saturating_add(usize::try_from(limit).unwrap_or(usize::MAX));
    loop {
        let step = (out.capacity() - out.len()).max(STEP);
        room.grow((body.len() + out.len() + step).min(most), most)?;
        if (&mut limited).take(step as u64).read_to_end(&mut out)? < step {
            break;
        }
    }
    if out.len() as u64 > limit { Err(Stopped::TooLarge) } else { Ok(out) }
}

/// The zlib header (RFC 1950): method 8, and a check over both bytes.
fn is_zlib(body: &[u8]) -> bool {
    matches!(*body, [cmf, flg, ..] if cmf & 0x0f == 8 && (u16::from(cmf) << 8 | u16::from(flg)) % 31 == 0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{
        Compression,
        write::{DeflateEncoder, GzEncoder, ZlibEncoder},
    };

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn run(body: Vec<u8>, coding: Coding, limit: u64, delimited: bool) -> Result<Bytes, Fault> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(decode(body.into(), Some(coding), limit, delimited, &Room::unlimited()))
    }

    #[test]
    fn gzip_zlib_and_bare_deflate_come_out_as_they_went_in() {
        let text = "news ".repeat(100_000).into_bytes();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(&text).unwrap();
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::default());
        bare.write_all(&text).unwrap();
        let members = [gzip(&text[..7]), gzip(&text[7..])].concat();
        for (body, coding) in [
            (gzip(&text), Coding::Gzip),
            (members, Coding::Gzip),
            (zlib.finish().unwrap(), Coding::Deflate),
            (bare.finish().unwrap(), Coding::Deflate),
        ] {
            assert!(run(body, coding, text.len() as u64, false).unwrap() == text);
        }
    }

    #[test]
    fn one_byte_over_the_limit_is_too_large() {
        let body = gzip(&[b'x'; 1000]);
        assert!(run(body.clone(), Coding::Gzip, 1000, false).is_ok());
        assert!(matches!(run(body, Coding::Gzip, 999, false), Err(Fault::TooLarge(999))));
    }

    #[test]
    fn cut_and_corrupt_bodies_are_told_apart() {
        let mut body = gzip(b"some text that is long enough to be cut");
        let cut = body[..body.len() - 9].to_vec();
        assert!(matches!(run(cut.clone(), Coding::Gzip, 100, true), Err(Fault::Cut(_))));
        assert!(matches!(run(cut, Coding::Gzip, 100, false), Err(Fault::Coding(_))));
        let middle = body.len() / 2;
        body[middle] ^= 0xff;
        assert!(matches!(run(body, Coding::Gzip, 100, true), Err(Fault::Coding(_))));
        assert!(matches!(run(b"<rss version=\"2.0\"/>".to_vec(), Coding::Gzip, 100, true), Err(Fault::Coding(_))));
    }

    #[test]
    fn codings_that_were_not_asked_for_are_errors() {
        let read = |text: &str| coding(Some(text.as_bytes()));
        assert!(matches!(coding(None), Ok(None)));
        for none in ["", "identity", "Identity, "] {
            assert!(matches!(read(none), Ok(None)), "{none}");
        }
        for gzip in ["gzip", "GZip", "x-gzip", "identity, gzip"] {
            assert!(matches!(read(gzip), Ok(Some(Coding::Gzip))), "{gzip}");
        }
        for bad in ["br", "zstd", "gzip, gzip", "gzip, br", "\"gzip\""] {
            assert!(matches!(read(bad), Err(Fault::Coding(_))), "{bad}");
        }
    }
}
