//! A request's head, read before any of the server's machinery is made for it: of a connection whose head does
//! not come, only the bytes that did are kept.

use std::{io, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

/// Largest request head: request line and header fields.
pub(super) const MAX_HEAD: usize = 16 * 1024;
/// Read at a time.
const PIECE: usize = 2048;
/// Whoever is refused may still be sending: so much of it is thrown away, for so long, for an answer that meets
/// unread bytes is lost.
const THROWN_AWAY: usize = 256 * 1024;
const LINGER: Duration = Duration::from_secs(1);

/// What came.
#[derive(Debug)]
pub(super) enum Head {
    /// Bytes with a whole head in them, or with what is none.
    Read(BytesMut),
    /// More than [`MAX_HEAD`] bytes without an end.
    TooLarge,
    /// The connection ended before it did.
    Ended,
}

/// Reads until the head is whole.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Head> {
    let mut bytes = BytesMut::new();
    let mut looked_at = 0;
    loop {
        bytes.reserve(PIECE);
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(Head::Ended);
        }
        let blank = count_blank(&bytes);
        if bytes.get(blank).is_some_and(|byte| !byte.is_ascii_alphabetic()) {
            // no request begins so, and whoever parses it says that
            return Ok(Head::Read(bytes));
        }
        // the end may lie across the border of what was looked at
        let from = blank.max(looked_at);
        if let Some(end) = end_of_head(&bytes[from..]) {
            return Ok(if from + end > MAX_HEAD { Head::TooLarge } else { Head::Read(bytes) });
        }
        if bytes.len() > MAX_HEAD {
            return Ok(Head::TooLarge);
        }
        looked_at = bytes.len().saturating_sub(3);
    }
}

/// Bytes of blank lines before a request: they are allowed, and do not end its head.
fn count_blank(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count()
}

/// Where the blank line ends that ends a head.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'\n', bytes).find_map(|at| match &bytes[at + 1..] {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

/// Why a request is refused before it is read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Refusal {
    /// 408
    TooSlow,
    /// 431
    TooLarge,
}

/// Answers, and lets whoever is still sending read it.
pub(super) async fn refuse(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), refusal: Refusal) {
    let (status, message) = match refusal {
        Refusal::TooSlow => ("408 Request Timeout", "the request's head took longer than 5 s"),
        Refusal::TooLarge => ("431 Request Header Fields Too Large", "the request's head is larger than 16 kB"),
    };
    let body = format!(r#"{{"error":"{message}"}}"#);
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         cache-control: no-store\r\n\r\n{body}",
        body.len()
    );
    let farewell = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        let mut left = THROWN_AWAY;
        let mut piece = [0; PIECE];
        while left > 0 {
            match stream.read(&mut piece).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        io::Result::Ok(())
    };
    // whoever hung up has no use for an answer
    let _ = timeout(LINGER, farewell).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of bytes that arrive in such pieces.
    async fn of(bytes: &[u8], piece: usize) -> Head {
        let (mut writer, mut reader) = tokio::io::duplex(piece);
        let bytes = bytes.to_vec();
        actix_rt::spawn(async move {
            // the reader may stop early
            let _ = writer.write_all(&bytes).await;
        });
        read(&mut reader).await.unwrap()
    }

    #[actix_rt::test]
    async fn a_head_ends_with_a_blank_line_however_it_is_cut() {
        for piece in [1, 2, 3, 7, 100_000] {
            for whole in
                ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.1\nHost: x\n\n", "\r\n\r\nGET / HTTP/1.1\r\n\r\n"]
            {
                assert!(
                    matches!(of(whole.as_bytes(), piece).await, Head::Read(bytes) if bytes == whole),
                    "{piece} {whole:?}"
                );
            }
            for part in ["", "\r\n\r\n", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r"] {
                assert!(matches!(of(part.as_bytes(), piece).await, Head::Ended), "{piece} {part:?}");
            }
            assert!(matches!(of(b"\x16\x03\x01", piece).await, Head::Read(_)), "no HTTP");
        }
    }

    #[actix_rt::test]
    async fn a_head_has_16_kb_at_most() {
        let sized = |size: usize| {
            let line = "GET / HTTP/1.1\r\nX: ";
            format!("{line}{}\r\n\r\n", "x".repeat(size - line.len() - 4))
        };
        for piece in [1000, 100_000] {
            assert!(matches!(of(sized(MAX_HEAD).as_bytes(), piece).await, Head::Read(_)));
            assert!(matches!(of(sized(MAX_HEAD + 1).as_bytes(), piece).await, Head::TooLarge));
            assert!(matches!(of(sized(MAX_HEAD * 4).as_bytes(), piece).await, Head::TooLarge));
        }
        let behind = sized(100) + &"x".repeat(MAX_HEAD * 2);
        assert!(matches!(of(behind.as_bytes(), 1000).await, Head::Read(_)), "what follows is no head");
    }
}
