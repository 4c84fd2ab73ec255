//! Connections and requests: accepted, read, recorded, and handed to who plays the answer.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Instant,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    Fault, Recorded, State, lock,
    play::{self, Answer},
};

/// The name in a path: its first segment.
pub(super) fn feed_name(path: &str) -> &str {
    path.trim_start_matches('/').split(['/', '?']).next().unwrap_or_default()
}

pub(super) async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, state: Arc<Mutex<State>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let number = {
            let mut state = lock(&state);
            state.connections += 1;
            state.connections - 1
        };
        let (tls, state) = (tls.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let stream = match tls {
                None => Stream::Plain(stream),
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => Stream::Tls(Box::new(stream)),
                    Err(_) => return,
                },
            };
            // a client that goes away ends its connection, nothing else
            let _ = connection(stream, number, &state).await;
        });
    }
}

/// Serves requests until one side has had enough.
async fn connection(mut stream: Stream, number: u64, state: &Mutex<State>) -> io::Result<()> {
    let mut received = Vec::new();
    while let Some(request) = request(&mut stream, &mut received, number).await? {
        let close = request.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let name = feed_name(&request.path);
        let answer = {
            let mut state = lock(state);
            state.requests.push(request.clone());
            let (now, most) = state.under_way.entry(name.to_owned()).or_default();
            *now += 1;
            *most = (*now).max(*most);
            match state.feeds.get_mut(name) {
                Some(feed) => Answer {
                    fault: feed.fault.clone(),
                    document: feed.document(),
                    etag: feed.etag(),
                    last_modified: feed.last_modified(),
                },
                None => Answer { fault: Some(Fault::Status(404)), ..Answer::default() },
            }
        };
        let played = play::play(&mut stream, &request, answer, close).await;
        if let Some((now, _)) = lock(state).under_way.get_mut(name) {
            *now -= 1;
        }
        let kept = played?;
        if !kept || close {
            return stream.shutdown().await;
        }
    }
    stream.shutdown().await
}

/// Reads a request and its body. None at the connection's end.
async fn request(stream: &mut Stream, received: &mut Vec<u8>, connection: u64) -> io::Result<Option<Recorded>> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Request::new(&mut headers);
        let bad = |_| io::Error::other("bad request");
        if let httparse::Status::Complete(head) = parsed.parse(received).map_err(bad)? {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let mut recorded = Recorded {
                at: Instant::now(),
                connection,
                tls: matches!(stream, Stream::Tls(_)),
                method: parsed.method.unwrap_or_default().to_owned(),
                path: parsed.path.unwrap_or_default().to_owned(),
                headers: parsed.headers.iter().map(|h| (h.name.to_owned(), text(h.value))).collect(),
                body: Vec::new(),
            };
            let body = recorded.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            while received.len() < head + body {
                if stream.read_buf(received).await? == 0 {
                    return Ok(None);
                }
            }
            recorded.body = received.drain(..head + body).skip(head).collect();
            return Ok(Some(recorded));
        }
        received.reserve(4096);
        if stream.read_buf(received).await? == 0 {
            return Ok(None);
        }
    }
}

/// A connection, with or without TLS.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    fn tcp(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_mut().0,
        }
    }

    /// Ends the connection with an RST, which the caller sends by dropping it.
    pub(super) fn reset(&mut self) -> io::Error {
        let _ = self.tcp().set_zero_linger();
        io::Error::other("reset")
    }

    /// Ends the connection with a FIN and, over TLS, without `close_notify`.
    pub(super) async fn hang_up(&mut self) -> io::Result<()> {
        self.tcp().shutdown().await
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => send(stream, bytes).await,
            Self::Tls(stream) => send(stream, bytes).await,
        }
    }

    async fn read_buf(&mut self, into: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read_buf(into).await,
            Self::Tls(stream) => stream.read_buf(into).await,
        }
    }

    /// FIN, after `close_notify` over TLS; then what the client still sends is awaited, so that no RST
    /// overtakes the answer.
    async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.shutdown().await?,
            Self::Tls(stream) => stream.shutdown().await?,
        }
        self.until_closed().await.map(drop)
    }

    /// Waits until the client has gone. There is nothing to keep then.
    pub(super) async fn until_closed(&mut self) -> io::Result<bool> {
        let mut rest = [0; 512];
        while self.tcp().read(&mut rest).await? > 0 {}
        Ok(false)
    }
}

async fn send(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}
