//! Where an HTTP/1 answer ends (RFC 9112, section 6.3): pure, over the bytes received so far.

use bytes::{Buf, BytesMut};
use memchr::memchr;

/// Header lines of an answer, at most; the HTTP client behind us has the same limit.
const MAX_HEADERS: usize = 96;
/// Bytes of a chunk's size line with its extensions, and of one trailer line.
const MAX_CHUNK_LINE: usize = 4096;
/// Bytes of all trailers.
const MAX_TRAILERS: usize = 65_536;
/// What frames the chunks may be so many times as long as the body, and [`MAX_TRAILERS`] beside that: chunks of one
/// byte stay within it, extensions without end do not.
const MAX_OVERHEAD: usize = 8;

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none, whatever the head says: 1xx, 204, 304, or an answer to HEAD.
    None,
    /// So many bytes.
    Length(u64),
    /// By chunks, the last of size 0.
    Chunked,
    /// With the connection.
    Eof,
}

/// What stands at the beginning of the bytes received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    /// Not all of a head yet.
    Partial,
    /// An interim answer (100, 103) of so many bytes: the real one follows.
    Interim(usize),
    /// A whole head.
    Whole {
        /// Its bytes, the empty line included.
        length: usize,
        /// How its body ends.
        framing: Framing,
        /// Whether another request may follow on the connection.
        persistent: bool,
    },
}

/// Reads the head at the beginning of `bytes`; `Err` says why there can be none.
pub(super) fn head(bytes: &[u8], to_head_request: bool) -> Result<Head, httparse::Error> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut answer = httparse::Response::new(&mut headers);
    let mut parser = httparse::ParserConfig::default();
    parser.allow_spaces_after_header_name_in_responses(true);
    let httparse::Status::Complete(length) = parser.parse_response(&mut answer, bytes)? else {
        return Ok(Head::Partial);
    };
    let status = answer.code.unwrap_or_default();
    if (100..200).contains(&status) && status != 101 {
        return Ok(Head::Interim(length));
    }
    let mut persistent = answer.version == Some(1);
    let (mut chunked, mut announced) = (false, None);
    for header in answer.headers.iter() {
        let value = header.value.trim_ascii();
        if header.name.eq_ignore_ascii_case("content-length") {
            // one that is no number is refused with the head by the HTTP client behind us
            announced = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            chunked |= value.eq_ignore_ascii_case(b"chunked");
        } else if header.name.eq_ignore_ascii_case("connection") {
            for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                if option.eq_ignore_ascii_case(b"close") {
                    persistent = false;
                }
            }
        }
    }
    let framing = match (status, chunked, announced) {
        (101 | 204 | 304, ..) => Framing::None,
        _ if to_head_request => Framing::None,
        // from an HTTP/1.0 server too: it should not, and where one does, the body is chunked
        (_, true, _) => Framing::Chunked,
        (_, _, Some(length)) => Framing::Length(length),
        _ => Framing::Eof,
    };
    Ok(Head::Whole { length, framing, persistent: persistent && framing != Framing::Eof })
}

/// The bytes are no chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadChunk(pub(super) &'static str);

/// Takes the chunks' framing off a body.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    state: State,
    trailers: usize,
    /// Bytes of the lines between the data.
    overhead: usize,
    data: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a size line.
    #[default]
    Size,
    /// So many bytes of data are due.
    Data(u64),
    /// The line end after the data is due.
    DataEnd,
    /// After the last chunk.
    Trailers,
    Done,
}

impl Chunks {
    /// Moves what `input` holds of the body to `body`. True once the last chunk and the trailers are read.
    pub(super) fn decode(&mut self, input: &mut BytesMut, body: &mut BytesMut) -> Result<bool, BadChunk> {
        loop {
            match self.state {
                State::Size => {
                    let Some(line) = line(input)? else { return Ok(false) };
                    self.frame(line.len())?;
                    self.state = match size(&line)? {
                        0 => State::Trailers,
                        size => State::Data(size),
                    };
                }
                State::Data(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    body.extend_from_slice(&input[..here]);
                    input.advance(here);
                    self.data = self.data.saturating_add(here);
                    match left - here as u64 {
                        0 => self.state = State::DataEnd,
                        left => {
                            self.state = State::Data(left);
                            return Ok(false);
                        }
                    }
                }
                State::DataEnd => {
                    let Some(line) = line(input)? else { return Ok(false) };
                    self.frame(line.len())?;
                    if !line.trim_ascii().is_empty() {
                        return Err(BadChunk("a chunk is longer than its size says"));
                    }
                    self.state = State::Size;
                }
                State::Trailers => {
                    let Some(line) = line(input)? else { return Ok(false) };
                    self.trailers += line.len();
                    if self.trailers > MAX_TRAILERS {
                        return Err(BadChunk("trailers without end"));
                    }
                    if line.trim_ascii().is_empty() {
                        self.state = State::Done;
                    }
                }
                State::Done => return Ok(true),
            }
        }
    }
}

impl Chunks {
    /// Counts what is no data.
    fn frame(&mut self, bytes: usize) -> Result<(), BadChunk> {
        self.overhead = self.overhead.saturating_add(bytes);
        if self.overhead > self.data.saturating_mul(MAX_OVERHEAD).saturating_add(MAX_TRAILERS) {
            return Err(BadChunk("more framing than data"));
        }
        Ok(())
    }
}

/// Takes a line, its end included, if there is a whole one.
fn line(input: &mut BytesMut) -> Result<Option<BytesMut>, BadChunk> {
    match memchr(b'\n', &input[..input.len().min(MAX_CHUNK_LINE)]) {
        Some(end) => Ok(Some(input.split_to(end + 1))),
        None if input.len() >= MAX_CHUNK_LINE => Err(BadChunk("a line between chunks is too long")),
        None => Ok(None),
    }
}

fn size(line: &[u8]) -> Result<u64, BadChunk> {
    let digits = line.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let bad = BadChunk("a chunk's size is no number");
    // from_str_radix would take a sign
    if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(bad);
    }
    std::str::from_utf8(digits).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok()).ok_or(bad)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framing(text: &str) -> (Framing, bool) {
        match head(text.as_bytes(), false).unwrap() {
            Head::Whole { length, framing, persistent } => {
                assert_eq!(length, text.len());
                (framing, persistent)
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn the_head_says_where_the_body_ends() {
        let cases = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n", Framing::Length(12), true),
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Framing::Length(0), true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: foo, Close\r\n\r\n", Framing::Length(12), false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 12\r\n\r\n", Framing::Length(12), false),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Framing::Chunked, true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: Chunked\r\n\r\n", Framing::Chunked, true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n", Framing::Eof, false),
            ("HTTP/1.1 200 OK\r\n\r\n", Framing::Eof, false),
            ("HTTP/1.0 200 OK\n\n", Framing::Eof, false),
            ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Framing::Chunked, false),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", Framing::None, true),
            ("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", Framing::None, true),
            ("HTTP/1.0 304 Not Modified\r\n\r\n", Framing::None, false),
            ("HTTP/1.1 204 No Content\r\n\r\n", Framing::None, true),
        ];
        for (text, expected, persistent) in cases {
            assert_eq!(framing(text), (expected, persistent), "{text:?}");
        }
        let to_head = head(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n", true).unwrap();
        assert!(matches!(to_head, Head::Whole { framing: Framing::None, .. }));
    }

    #[test]
    fn interim_answers_partial_heads_and_garbage_are_told_apart() {
        let early = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
        assert_eq!(head(format!("{early}HTTP/1.1 200 OK").as_bytes(), false), Ok(Head::Interim(early.len())));
        for partial in ["", "HT", "HTTP/1.1 200 OK\r\nContent-Length: 1"] {
            assert_eq!(head(partial.as_bytes(), false), Ok(Head::Partial), "{partial}");
        }
        for garbage in ["<html>", "ICY 200 OK\r\n\r\n", "\u{0}\u{1}\u{2}", "HTTP/1.1 2x0 OK\r\n\r\n"] {
            assert!(head(garbage.as_bytes(), false).is_err(), "{garbage}");
        }
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(MAX_HEADERS + 1));
        assert_eq!(head(many.as_bytes(), false), Err(httparse::Error::TooManyHeaders));
    }

    fn decode(pieces: &[&[u8]]) -> Result<(bool, Vec<u8>), BadChunk> {
        let (mut chunks, mut input, mut body) = (Chunks::default(), BytesMut::new(), BytesMut::new());
        let mut done = false;
        for piece in pieces {
            input.extend_from_slice(piece);
            done = chunks.decode(&mut input, &mut body)?;
        }
        Ok((done, body.to_vec()))
    }

    #[test]
    fn chunks_are_read_with_extensions_and_trailers() {
        let whole: &[u8] = b"3;a=b\r\nabc\r\n0a\r\n0123456789\r\n0\r\nX: y\r\n\r\n";
        assert_eq!(decode(&[whole]), Ok((true, b"abc0123456789".to_vec())));
        assert_eq!(decode(&[b"1\na\n0\n\n"]), Ok((true, b"a".to_vec())));
        for cut in 0..whole.len() {
            assert!(!decode(&[&whole[..cut]]).unwrap().0, "{cut}");
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        let bad: [&[u8]; 6] =
            [b"x\r\n", b"-1\r\n", b"\r\n", b"11111111111111111\r\n", b"1\r\nab\r\n", &[b'1'; MAX_CHUNK_LINE]];
        for bytes in bad {
            assert!(decode(&[bytes]).is_err(), "{:?}", bytes.escape_ascii().to_string());
        }
        let endless = "X: y\r\n".repeat(MAX_TRAILERS / 6 + 1);
        assert!(decode(&[b"0\r\n", endless.as_bytes()]).is_err());
    }

    #[test]
    fn chunks_of_a_byte_are_read_and_extensions_without_end_are_not() {
        let small = b"1\r\na\r\n".repeat(100_000);
        let whole = [&small[..], b"0\r\n\r\n"].concat();
        assert_eq!(decode(&[&whole]).map(|(done, body)| (done, body.len())), Ok((true, 100_000)));
        for line in
            [format!("1;{}\r\na\r\n", "x".repeat(1000)), format!("1{}\r\na{}\r\n", " ".repeat(99), " ".repeat(99))]
        {
            assert_eq!(decode(&[line.repeat(1000).as_bytes()]), Err(BadChunk("more framing than data")));
            // a few do no harm
            assert!(decode(&[line.repeat(60).as_bytes()]).is_ok());
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), start in 0_usize..4) {
            let begun = [&b""[..], b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: ", b"5\r\nabc"][start];
            let bytes = [begun, &bytes].concat();
            if let Ok(Head::Whole { length, .. } | Head::Interim(length)) = head(&bytes, false) {
                prop_assert!(length <= bytes.len());
            }
            if let Ok((_, body)) = decode(&[&bytes]) {
                prop_assert!(body.len() <= bytes.len());
            }
        }

        #[test]
        fn a_chunked_body_is_the_same_however_it_is_cut(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6), step in 1_usize..50,
        ) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            let pieces: Vec<&[u8]> = wire.chunks(step).collect();
            prop_assert_eq!(decode(&pieces), Ok((true, chunks.concat())));
        }
    }
}
