//! The open connection, between the HTTP client and the socket.
//!
//! The client (awc) writes the request and reads the head; the body is read here. Left to the client, a
//! body that was cut short is a whole one, one that ends with the connection is empty, an interim answer
//! (103) is the answer, and a 304 that announces a length hangs. So the [`Wire`] shows the client the
//! real answer's head and not one byte more, and [`Handle::body`] reads what follows by the head's own
//! framing, to the last byte or to an error.

use std::{
    cell::RefCell,
    fmt,
    future::{Future, poll_fn},
    io, mem,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
};

use actix_rt::net::{ActixStream, Ready};
use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, Interest, ReadBuf};

use super::{
    classify::Fault,
    framing::{self, Chunks, Framing, Head},
    spare,
    transport::Transport,
};
use crate::memory::Room;

/// A head, at most; the HTTP client's own limit is 128 KiB.
const MAX_HEAD: usize = 65_536;
/// Interim answers before the real one.
const MAX_INTERIM: u32 = 10;
/// First read: most heads, and whole small answers.
const FIRST_READ: usize = 8 * 1024;
/// Least room for each further read of a body without a known length.
const READ: usize = 32 * 1024;
/// Room for a chunked body at first: a usual feed.
const USUAL_BODY: usize = 64 * 1024;
/// Memory taken in advance for an announced length; more only as it arrives.
const TRUSTED_LENGTH: usize = 1024 * 1024;

/// A connection and what was read from it beyond what was used.
#[derive(Debug)]
struct Wire {
    transport: Transport,
    received: BytesMut,
    /// Bytes of `received` that are known to hold no whole head.
    examined: usize,
    /// Bytes of `received` that are the head and not yet with the client.
    head_left: usize,
    answer: Option<Answer>,
    interim: u32,
    to_head_request: bool,
    fault: Option<Fault>,
}

/// What the head said.
#[derive(Debug, Clone, Copy)]
struct Answer {
    framing: Framing,
    persistent: bool,
}

/// A body, and whether its end was certain: over TLS, one that ends with the connection should end with a
/// `close_notify`, but many servers just close.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    pub(super) framing: Framing,
    pub(super) certain: bool,
}

/// A connection shared by the HTTP client and by who reads the body; both in one task.
#[derive(Clone)]
pub(super) struct Handle(Rc<RefCell<Wire>>);

impl Handle {
    pub(super) fn new(transport: Transport) -> Self {
        Self(Rc::new(RefCell::new(Wire {
            transport,
            received: BytesMut::new(),
            examined: 0,
            head_left: 0,
            answer: None,
            interim: 0,
            to_head_request: false,
            fault: None,
        })))
    }

    /// Makes ready for the next request.
    pub(super) fn begin(&self, to_head_request: bool) {
        let mut wire = self.0.borrow_mut();
        wire.answer = None;
        wire.examined = 0;
        wire.interim = 0;
        wire.to_head_request = to_head_request;
        wire.fault = None;
    }

    /// What the wire itself found wrong while the client read the head.
    pub(super) fn take_fault(&self) -> Option<Fault> {
        self.0.borrow_mut().fault.take()
    }

    /// Whether any byte of the answer was seen.
    pub(super) fn answered(&self) -> bool {
        let wire = self.0.borrow();
        wire.answer.is_some() || wire.interim > 0 || !wire.received.is_empty()
    }

    /// Whether the connection may carry another request: its last answer was read to its end, the server
    /// means to keep it, and nothing came since, no end either.
    pub(super) async fn reusable(&self) -> bool {
        poll_fn(|cx| {
            let mut wire = self.0.borrow_mut();
            let quiet = wire.answer.is_some_and(|answer| answer.persistent && answer.framing == Framing::None)
                && wire.received.is_empty();
            Poll::Ready(quiet && wire.poll_fill(cx, 1).is_pending())
        })
        .await
    }

    /// Reads the body after the client has read the head: at most `limit` bytes.
    pub(super) async fn body(&self, limit: u64) -> Result<Body, Fault> {
        self.body_within(limit, &Space { room: &Room::unlimited(), inflated: 0 }).await
    }

    /// The same within the room that the poll gets.
    pub(super) async fn body_within(&self, limit: u64, space: &Space<'_>) -> Result<Body, Fault> {
        let framing = self.0.borrow().answer.map_or(Framing::None, |answer| answer.framing);
        let (bytes, certain) = match framing {
            Framing::None => (Bytes::new(), true),
            Framing::Length(length) => (self.sized(length, limit, space).await?, true),
            Framing::Chunked => (self.chunked(limit, space).await?, true),
            Framing::Eof => self.rest(limit, space).await?,
        };
        let wire = &mut *self.0.borrow_mut();
        // the body is read: what follows on the connection is the next answer
        if let (Some(answer), true) = (&mut wire.answer, framing != Framing::Eof) {
            answer.framing = Framing::None;
        }
        wire.release();
        Ok(Body { bytes, framing, certain })
    }

    /// Nothing is to be received for now: a kept connection keeps no memory.
    pub(super) fn release(&self) {
        self.0.borrow_mut().release();
    }

    async fn sized(&self, length: u64, limit: u64, space: &Space<'_>) -> Result<Bytes, Fault> {
        let length = usize::try_from(length).ok().filter(|_| length <= limit).ok_or(Fault::TooLarge(limit))?;
        space.room.open(length, length.saturating_add(space.inflated)).await?;
        loop {
            let have = {
                let received = &mut self.0.borrow_mut().received;
                if received.len() >= length {
                    return Ok(received.split_to(length).freeze());
                }
                received.len()
            };
            space.received(have).await;
            // an announced length is believed up to a point; beyond it, memory doubles as bytes arrive
            let room = (length - have).min(have.max(TRUSTED_LENGTH));
            // rounded up: what this body leaves is to have room for the next, which is mostly of about its size
            if self.fill(room.next_multiple_of(FIRST_READ)).await?.is_none() {
                return Err(Fault::Cut("within the body, short of the announced length"));
            }
        }
    }

    async fn chunked(&self, limit: u64, space: &Space<'_>) -> Result<Bytes, Fault> {
        let most = space.most(limit);
        space.room.open(READ, most).await?;
        let mut chunks = Chunks::default();
        let mut body = spare::take();
        body.reserve(USUAL_BODY);
        loop {
            {
                let wire = &mut *self.0.borrow_mut();
                let done = chunks.decode(&mut wire.received, &mut body);
                let done = done.map_err(|bad| Fault::NotHttp(format!("bad chunked body: {}", bad.0)))?;
                if body.len() as u64 > limit {
                    return Err(Fault::TooLarge(limit));
                }
                if done {
                    return Ok(body.freeze());
                }
            }
            let have = body.len() + self.0.borrow().received.len();
            space.grow(have + READ, most).await?;
            if self.fill(READ).await?.is_none() {
                return Err(Fault::Cut("within the body, before its last chunk"));
            }
        }
    }

    async fn rest(&self, limit: u64, space: &Space<'_>) -> Result<(Bytes, bool), Fault> {
        let most = space.most(limit);
        space.room.open(READ, most).await?;
        let certain = loop {
            let have = self.0.borrow().received.len();
            if have as u64 > limit {
                return Err(Fault::TooLarge(limit));
            }
            space.grow(have + READ, most).await?;
            match self.fill(READ).await? {
                Some(Filled::Bytes) => {}
                Some(Filled::Abrupt) => break false,
                None => break true,
            }
        };
        Ok((self.0.borrow_mut().received.split().freeze(), certain))
    }

    /// Receives more. None at the connection's end.
    async fn fill(&self, room: usize) -> Result<Option<Filled>, Fault> {
        let filled = poll_fn(|cx| self.0.borrow_mut().poll_fill(cx, room)).await;
        let eof_delimited = self.0.borrow().answer.is_some_and(|answer| answer.framing == Framing::Eof);
        match filled {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(Filled::Bytes)),
            Err(error) if is_abrupt_end(&error) => Ok(eof_delimited.then_some(Filled::Abrupt)),
            Err(error) => Err(Fault::Io(error)),
        }
    }
}

/// Where a body goes.
pub(super) struct Space<'a> {
    pub(super) room: &'a Room,
    /// What the body may come to when it is inflated.
    pub(super) inflated: usize,
}

impl Space<'_> {
    fn most(&self, limit: u64) -> usize {
        usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(self.inflated)
    }

    async fn grow(&self, bytes: usize, most: usize) -> Result<(), Fault> {
        self.room.grow(bytes, most)?;
        self.note().await;
        Ok(())
    }

    async fn received(&self, bytes: usize) {
        self.room.received(bytes);
        self.note().await;
    }

    /// Says who is to blame if the process dies of a large body.
    async fn note(&self) {
        if self.room.is_unmarked() {
            let room = self.room.clone();
            // a mark that cannot be set is none
            let _ = tokio::task::spawn_blocking(move || room.mark()).await;
        }
    }
}

enum Filled {
    Bytes,
    /// The end of a TLS connection without its `close_notify`.
    Abrupt,
}

impl Wire {
    fn release(&mut self) {
        if self.received.is_empty() {
            spare::give(mem::take(&mut self.received).freeze());
        }
    }

    /// Receives into `received`, which gets `room` bytes of room first.
    fn poll_fill(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        if self.received.capacity() == 0 {
            self.received = spare::take();
        }
        self.received.reserve(room);
        // the future holds nothing between two polls
        let filled = pin!(self.transport.read_buf(&mut self.received)).poll(cx);
        if filled.is_pending() {
            // who waits for a server needs no memory meanwhile, and others do
            self.release();
        }
        filled
    }

    /// Receives until `received` begins with the real answer's whole head.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        loop {
            // only a line end can complete a head: one sent byte by byte is not parsed at each byte. What
            // comes first is parsed in any case, for what is no HTTP need not have lines
            let fresh = &self.received[self.examined..];
            if !fresh.is_empty() && (self.examined == 0 || memchr(b'\n', fresh).is_some()) {
                match framing::head(&self.received, self.to_head_request) {
                    Ok(Head::Partial) => {}
                    Ok(Head::Interim(length)) => {
                        self.received.advance(length);
                        self.examined = 0;
                        self.interim += 1;
                        if self.interim > MAX_INTERIM {
                            return Poll::Ready(Err(Fault::NotHttp("interim answers without end".into())));
                        }
                        continue;
                    }
                    // how much came with one read is chance
                    Ok(Head::Whole { length, .. }) if length > MAX_HEAD => {
                        return Poll::Ready(Err(Fault::NotHttp("the answer's head is too large".into())));
                    }
                    Ok(Head::Whole { length, framing, persistent }) => {
                        self.head_left = length;
                        self.answer = Some(Answer { framing, persistent });
                        return Poll::Ready(Ok(()));
                    }
                    Err(error) => return Poll::Ready(Err(Fault::NotHttp(format!("no HTTP answer: {error}")))),
                }
            }
            self.examined = self.received.len();
            if self.examined > MAX_HEAD {
                return Poll::Ready(Err(Fault::NotHttp("the answer's head is too large".into())));
            }
            let cut = if self.examined == 0 { "before the answer" } else { "within the answer's head" };
            match ready!(self.poll_fill(cx, FIRST_READ)) {
                Ok(0) => return Poll::Ready(Err(Fault::Cut(cut))),
                Ok(_) => {}
                Err(error) if is_abrupt_end(&error) => return Poll::Ready(Err(Fault::Cut(cut))),
                Err(error) => return Poll::Ready(Err(Fault::Io(error))),
            }
        }
    }
}

/// A TLS connection ended without `close_notify`.
fn is_abrupt_end(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}

impl AsyncRead for Handle {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = &mut *self.0.borrow_mut();
        if wire.answer.is_none()
            && let Err(fault) = ready!(wire.poll_head(cx))
        {
            wire.fault = Some(fault);
            return Poll::Ready(Err(io::Error::other("no head")));
        }
        // after the head comes nothing, for the client
        let here = wire.head_left.min(into.remaining());
        into.put_slice(&wire.received[..here]);
        wire.received.advance(here);
        wire.head_left -= here;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Handle {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wire = &mut *self.0.borrow_mut();
        let outcome = ready!(Pin::new(&mut wire.transport).poll_write(cx, bytes));
        Poll::Ready(wire.note(outcome))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = &mut *self.0.borrow_mut();
        let outcome = ready!(Pin::new(&mut wire.transport).poll_flush(cx));
        Poll::Ready(wire.note(outcome))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().transport).poll_shutdown(cx)
    }
}

impl Wire {
    /// Keeps why a write failed; the client gets a copy of its kind.
    fn note<T>(&mut self, outcome: io::Result<T>) -> io::Result<T> {
        outcome.map_err(|error| {
            let kind = error.kind();
            self.fault = Some(Fault::Io(error));
            kind.into()
        })
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

/// The client's bound; it never calls these.
impl ActixStream for Handle {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        self.0.borrow().transport.poll_ready(cx, Interest::READABLE)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        self.0.borrow().transport.poll_ready(cx, Interest::WRITABLE)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use futures_util::FutureExt as _;

    use super::*;

    #[actix_rt::test]
    async fn a_head_is_too_large_however_much_of_it_comes_at_once() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(MAX_HEAD));
        let mut server = listener.accept().unwrap().0;
        let sending = std::thread::spawn(move || server.write_all(head.as_bytes()));
        // all of it is there, and memory for all of it
        let mut handle = Handle::new(Transport::Plain(stream));
        handle.0.borrow_mut().received.reserve(4 * MAX_HEAD);
        assert!(handle.read_buf(&mut Vec::new()).await.is_err());
        assert!(matches!(handle.take_fault(), Some(Fault::NotHttp(_))));
        sending.join().unwrap().unwrap();
    }

    #[actix_rt::test]
    async fn a_connection_that_waits_for_its_answer_holds_no_memory() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        spare::give(vec![0; 200_000].into());
        let mut handle = Handle::new(Transport::Plain(stream));
        assert!(handle.read_buf(&mut Vec::new()).now_or_never().is_none());
        assert_eq!(handle.0.borrow().received.capacity(), 0);
        assert!(spare::take().capacity() > 190_000, "it is there for others");
    }

    #[actix_rt::test]
    async fn a_connection_that_is_kept_holds_no_memory_after_an_answer_without_a_body() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        listener.accept().unwrap().0.write_all(b"HTTP/1.1 304 Not Modified\r\n\r\n").unwrap();
        spare::give(vec![0; 200_000].into());
        let mut handle = Handle::new(Transport::Plain(stream));
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert_ne!(handle.read_buf(&mut head).await.unwrap(), 0);
        }
        handle.release();
        assert_eq!(handle.0.borrow().received.capacity(), 0);
        assert!(spare::take().capacity() > 190_000, "it is there for the next");
    }
}
