//! Content codings: gzip and deflate, bounded by what comes out.
//!
//! The HTTP client's own decoding checks its limit after a piece is inflated, and passes what it does not
//! know through as if it were text. Here a bomb costs no more memory than `max_body`, and an unknown
//! coding is an error.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use super::{classify::Fault, spare};

/// From here on a body is inflated on a thread of its own, so that a big one does not hold up the other
/// sources of its thread.
const LARGE: usize = 64 * 1024;

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
pub(super) async fn decode(body: Bytes, coding: Option<Coding>, limit: u64, delimited: bool) -> Result<Bytes, Fault> {
    let Some(coding) = coding.filter(|_| !body.is_empty()) else { return Ok(body) };
    let decoded = if body.len() < LARGE {
        let decoded = inflate(&body, coding, limit);
        spare::give(body);
        decoded
    } else {
        let job = tokio::task::spawn_blocking(move || inflate(&body, coding, limit));
        job.await.unwrap_or_else(|gone| Err(io::Error::other(gone)))
    };
    match decoded {
        Ok(Some(decoded)) => Ok(decoded.into()),
        Ok(None) => Err(Fault::TooLarge(limit)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && delimited => {
            Err(Fault::Cut("within the compressed body"))
        }
        Err(error) => Err(Fault::Coding(format!("the compressed body does not decode: {error}"))),
    }
}

/// None: more than `limit` bytes.
fn inflate(body: &[u8], coding: Coding, limit: u64) -> io::Result<Option<Vec<u8>>> {
    // feeds shrink to about a fifth
    let guess = body.len().saturating_mul(5).min(usize::try_from(limit).unwrap_or(usize::MAX)).min(1 << 20);
    let mut out = Vec::with_capacity(guess);
    let limited = limit.saturating_add(1);
    match coding {
        Coding::Gzip => MultiGzDecoder::new(body).take(limited).read_to_end(&mut out)?,
        // "deflate" means zlib (RFC 9110, 8.4.1.2), and some servers send it bare
        Coding::Deflate if is_zlib(body) => ZlibDecoder::new(body).take(limited).read_to_end(&mut out)?,
        Coding::Deflate => DeflateDecoder::new(body).take(limited).read_to_end(&mut out)?,
    };
    Ok((out.len() as u64 <= limit).then_some(out))
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
        runtime.block_on(decode(body.into(), Some(coding), limit, delimited))
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
