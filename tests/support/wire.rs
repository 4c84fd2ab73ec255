//! HTTP/1.1 requests read from a bare socket, for the servers that record them.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A request before its body.
#[derive(Debug, Clone)]
pub struct Head {
    pub method: String,
    /// With the query.
    pub target: String,
    /// In order, as sent.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// A header's value, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Whether the client wants no other request on the connection.
    pub fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// Reads a head; `received` keeps what comes after it. None at the connection's end.
pub async fn head(stream: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<Option<Head>> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Request::new(&mut headers);
        let bad = |_| io::Error::other("bad request");
        if let httparse::Status::Complete(length) = parsed.parse(received).map_err(bad)? {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let head = Head {
                method: parsed.method.unwrap_or_default().to_owned(),
                target: parsed.path.unwrap_or_default().to_owned(),
                headers: parsed.headers.iter().map(|header| (header.name.to_owned(), text(header.value))).collect(),
            };
            received.drain(..length);
            return Ok(Some(head));
        }
        if stream.read_buf(received).await? == 0 {
            return Ok(None);
        }
    }
}

/// Reads the body that the head announces: chunked, of a length, or none.
pub async fn body(stream: &mut TcpStream, received: &mut Vec<u8>, head: &Head) -> io::Result<Vec<u8>> {
    if head.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        return chunks(stream, received).await;
    }
    let length = head.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    exactly(stream, received, length).await
}

async fn exactly(stream: &mut TcpStream, received: &mut Vec<u8>, length: usize) -> io::Result<Vec<u8>> {
    while received.len() < length {
        if stream.read_buf(received).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(received.drain(..length).collect())
}

async fn chunks(stream: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let (start, size) = loop {
            match httparse::parse_chunk_size(received).map_err(|_| io::Error::other("bad chunk"))? {
                httparse::Status::Complete((start, size)) => break (start, usize::try_from(size).expect("64 bits")),
                httparse::Status::Partial if stream.read_buf(received).await? == 0 => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                httparse::Status::Partial => {}
            }
        };
        received.drain(..start);
        body.extend(exactly(stream, received, size).await?);
        // its line end; after the last chunk the end of trailers that nobody sends
        exactly(stream, received, 2).await?;
        if size == 0 {
            return Ok(body);
        }
    }
}

/// FIN; then what the client still sends is awaited, so that no RST overtakes the answer.
pub async fn hang_up(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    until_closed(stream).await
}

/// Waits until the client has gone.
pub async fn until_closed(stream: &mut TcpStream) -> io::Result<()> {
    let mut rest = [0; 512];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}
