//! How each fault is played, byte by byte.

use std::{
    io::{self, Write},
    sync::{Arc, OnceLock},
    time::Duration,
};

use flate2::{Compress, Compression, Crc, FlushCompress, write::GzEncoder};
use tokio::time::sleep;

use super::{Fault, Recorded, serve::Stream};

/// What a feed has to say to one request.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) fault: Option<Fault>,
    pub(super) document: Arc<[u8]>,
    pub(super) etag: String,
    pub(super) last_modified: String,
}

/// Plays the answer. True: the connection may be kept.
pub(super) async fn play(stream: &mut Stream, request: &Recorded, mut answer: Answer, close: bool) -> io::Result<bool> {
    while let Some(Fault::After(delay, then)) = answer.fault {
        sleep(delay).await;
        answer.fault = Some(*then);
    }
    let document = &*answer.document;
    let half = document.len() / 2;
    match &answer.fault {
        None | Some(Fault::After(..)) => return well(stream, request, &answer, close, &[]).await,
        Some(Fault::Headers(lines)) => return well(stream, request, &answer, close, lines).await,
        Some(Fault::Slow(delay)) => {
            sleep(*delay).await;
            return well(stream, request, &answer, close, &[]).await;
        }
        Some(Fault::EarlyHints) => {
            stream.send(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n").await?;
            return well(stream, request, &answer, close, &[]).await;
        }

        Some(Fault::ResetBefore) => return Err(stream.reset()),
        Some(Fault::ResetWithin) => {
            stream.send(&with_length(document.len(), &document[..half])).await?;
            // time for the half to be read: an RST may overtake what waits in a buffer
            sleep(Duration::from_millis(20)).await;
            return Err(stream.reset());
        }
        Some(Fault::ClosedBefore) => {}
        Some(Fault::CutHead) => stream.send(b"HTTP/1.1 200 OK\r\nContent-Le").await?,
        Some(Fault::CutLength) => stream.send(&with_length(document.len(), &document[..half])).await?,
        Some(Fault::CutInChunk) => {
            let chunk = chunk(document);
            stream.send(&[CHUNKED, &chunk[..chunk.len() / 2]].concat()).await?;
        }
        Some(Fault::CutBetweenChunks) => stream.send(&[CHUNKED, &chunk(document)].concat()).await?,
        Some(Fault::CutGzip) => {
            let packed = gzip(document);
            stream.send(&[UNFRAMED_GZIP, &packed[..packed.len() / 2]].concat()).await?;
        }

        Some(Fault::Hang) => return stream.until_closed().await,
        Some(Fault::HangWithin) => {
            stream.send(&with_length(document.len(), &document[..half])).await?;
            return stream.until_closed().await;
        }
        Some(Fault::Drip(pause)) => {
            for byte in with_length(document.len(), document) {
                stream.send(&[byte]).await?;
                sleep(*pause).await;
            }
        }
        Some(Fault::EndlessChunks) => {
            stream.send(CHUNKED).await?;
            let piece = chunk(&[b' '; 64 * 1024]);
            loop {
                stream.send(&piece).await?;
            }
        }
        Some(Fault::EndlessHead) => {
            stream.send(b"HTTP/1.1 200 OK\r\n").await?;
            loop {
                stream.send(&b"X-Filler: 0123456789abcdef\r\n".repeat(64)).await?;
            }
        }

        Some(Fault::GzipBomb) => {
            let bomb = bomb();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", bomb.len());
            stream.send(head.as_bytes()).await?;
            stream.send(bomb).await?;
        }
        Some(Fault::CorruptGzip) => {
            let mut packed = gzip(document);
            let middle = packed.len() / 2;
            packed[middle] ^= 0xff;
            stream.send(&answer_with("200 OK", "Content-Encoding: gzip\r\n", &packed)).await?;
        }
        Some(Fault::UnknownEncoding) => {
            stream.send(&answer_with("200 OK", "Content-Encoding: br\r\n", document)).await?;
        }
        Some(Fault::Garbage) => stream.send(b"\x16\x03\x01 this is no HTTP at all\r\n\r\n").await?,
        Some(Fault::BadChunk) => stream.send(&[CHUNKED, b"zz\r\nabc\r\n0\r\n\r\n"].concat()).await?,
        Some(Fault::Html) => {
            let page = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>";
            stream.send(&answer_with("200 OK", "Content-Type: text/html; charset=utf-8\r\n", page)).await?;
        }
        Some(Fault::EmptyBody) => stream.send(&with_length(0, b"")).await?,
        Some(Fault::NoItems) => {
            let empty = super::document::render("empty", [].iter());
            stream.send(&answer_with("200 OK", "Content-Type: application/rss+xml\r\n", empty.as_bytes())).await?;
        }
        Some(Fault::Document(document, media_type)) => {
            let header = format!("Content-Type: {media_type}\r\n");
            stream.send(&answer_with("200 OK", &header, document)).await?;
        }

        Some(Fault::Status(status)) => stream.send(&answer_with(&status.to_string(), "", b"no\n")).await?,
        Some(Fault::RetryAfter(status, value)) => {
            let header = format!("Retry-After: {value}\r\n");
            stream.send(&answer_with(&status.to_string(), &header, b"later\n")).await?;
        }
        Some(Fault::Redirect(status, location)) => {
            redirect(stream, *status, location).await?;
            return Ok(true);
        }
        Some(Fault::EndlessRedirects) => {
            let (path, number) = request.path.split_once("?n=").unwrap_or((&request.path, "0"));
            let next = number.parse::<u64>().unwrap_or(0) + 1;
            redirect(stream, 302, &format!("{path}?n={next}")).await?;
        }
        Some(Fault::RedirectLoop) => {
            let (path, there) = request.path.split_once("?there").map_or((&*request.path, false), |(p, _)| (p, true));
            redirect(stream, 302, &if there { path.to_owned() } else { format!("{path}?there") }).await?;
        }
        Some(Fault::NotModifiedWithLength) => {
            let head = format!("HTTP/1.1 304 Not Modified\r\nContent-Length: {}\r\n\r\n", document.len());
            stream.send(head.as_bytes()).await?;
            return Ok(true);
        }

        Some(Fault::Chunked) => {
            stream.send(CHUNKED).await?;
            for piece in document.chunks(1000) {
                stream.send(&chunk(piece)).await?;
            }
            stream.send(b"0\r\nX-Trailer: yes\r\n\r\n").await?;
            return Ok(true);
        }
        Some(Fault::Gzip) => {
            stream.send(&answer_with("200 OK", "Content-Encoding: gzip\r\n", &gzip(document))).await?;
            return Ok(true);
        }
        Some(Fault::EndsWithConnection) => stream.send(&[UNFRAMED, document].concat()).await?,
        Some(Fault::EndsAbruptly) => {
            stream.send(&[UNFRAMED, document].concat()).await?;
            stream.hang_up().await?;
            return stream.until_closed().await;
        }
        Some(Fault::Raw(bytes)) => stream.send(bytes).await?,
    }
    Ok(false)
}

const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/rss+xml\r\nTransfer-Encoding: chunked\r\n\r\n";
const UNFRAMED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/rss+xml\r\n\r\n";
const UNFRAMED_GZIP: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n";

/// The feed, or 304 if the client has it.
async fn well(
    stream: &mut Stream,
    request: &Recorded,
    answer: &Answer,
    close: bool,
    lines: &[String],
) -> io::Result<bool> {
    let same = request.header("if-none-match") == Some(&answer.etag)
        || request.header("if-none-match").is_none()
            && request.header("if-modified-since") == Some(&answer.last_modified);
    let mut headers = format!("ETag: {}\r\nLast-Modified: {}\r\n", answer.etag, answer.last_modified);
    if close {
        headers.push_str("Connection: close\r\n");
    }
    for line in lines {
        headers.push_str(line);
        headers.push_str("\r\n");
    }
    if same {
        stream.send(format!("HTTP/1.1 304 Not Modified\r\n{headers}\r\n").as_bytes()).await?;
    } else {
        headers.push_str("Content-Type: application/rss+xml; charset=utf-8\r\n");
        stream.send(&answer_with("200 OK", &headers, &answer.document)).await?;
    }
    Ok(true)
}

async fn redirect(stream: &mut Stream, status: u16, location: &str) -> io::Result<()> {
    stream.send(&answer_with(&status.to_string(), &format!("Location: {location}\r\n"), b"moved\n")).await
}

fn answer_with(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A head that announces `length`, and what is sent of it.
fn with_length(length: usize, sent: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/rss+xml\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), sent].concat()
}

fn chunk(data: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// 300 MB of spaces in one gzip member: one compressed MiB, repeated at its flush points.
fn bomb() -> &'static [u8] {
    static BOMB: OnceLock<Vec<u8>> = OnceLock::new();
    BOMB.get_or_init(|| {
        const PIECE: usize = 1024 * 1024;
        const PIECES: usize = 300;
        let piece = vec![b' '; PIECE];
        let mut packed = Vec::with_capacity(64 * 1024);
        let mut deflate = Compress::new(Compression::fast(), false);
        deflate.compress_vec(&piece, &mut packed, FlushCompress::Full).unwrap();
        let mut piece_crc = Crc::new();
        piece_crc.update(&piece);
        let mut crc = Crc::new();
        let mut bomb = b"\x1f\x8b\x08\0\0\0\0\0\0\xff".to_vec();
        for _ in 0..PIECES {
            bomb.extend_from_slice(&packed);
            crc.combine(&piece_crc);
        }
        bomb.extend_from_slice(&[3, 0]); // an empty last block
        bomb.extend_from_slice(&crc.sum().to_le_bytes());
        bomb.extend_from_slice(&crc.amount().to_le_bytes());
        bomb
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn the_bomb_is_sound_and_of_its_size() {
        assert!(bomb().len() < 2_000_000);
        let mut decoder = flate2::read::GzDecoder::new(bomb());
        let (mut total, mut piece) = (0, vec![0; 1 << 20]);
        loop {
            match decoder.read(&mut piece).unwrap() {
                0 => break,
                n => total += n,
            }
        }
        assert_eq!(total, 300 << 20);
    }
}
