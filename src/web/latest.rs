//! Answers that many may ask for at once: made for the first, and shared by all who ask while it is fresh.

use std::{
    io, iter,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use actix::Recipient;
use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::time::sleep;

use crate::{
    actors::messages::GetSnapshot,
    health::{
        body::{Body, PIECE},
        report::Status,
        state::Snapshot,
    },
};

/// A report is at most so old.
const REPORT_FRESH: Duration = Duration::from_secs(1);
/// So much of the time is spent on making reports: one of few sources is made for each who asks.
const SHARE_OF_TIME: u32 = 20;
/// Reports of different ages that are being read at a time. The readers of an older one are cut off: they read
/// so slowly that as many newer ones were made meanwhile, and each has megabytes.
const MAX_READ: usize = 4;
/// Given to a connection at a time.
const CHUNK: usize = 16 * 1024;

/// A value that is made when somebody asks and there is no fresh one. Others who ask meanwhile wait for it; if
/// whoever has it made gives up, one of them goes on.
pub(super) struct Latest<T>(tokio::sync::Mutex<Option<(T, Instant)>>);

impl<T: Clone> Latest<T> {
    pub(super) fn none() -> Self {
        Self(tokio::sync::Mutex::new(None))
    }

    /// The value; one that is made may be used until `fresh_until`, given when it was begun.
    pub(super) async fn get<E>(
        &self,
        make: impl Future<Output = Result<T, E>>,
        fresh_until: impl FnOnce(Instant) -> Instant,
    ) -> Result<T, E> {
        let mut slot = self.0.lock().await;
        if let Some((value, until)) = &*slot
            && *until > Instant::now()
        {
            return Ok(value.clone());
        }
        *slot = None;
        let began = Instant::now();
        let value = make.await?;
        *slot = Some((value.clone(), fresh_until(began)));
        Ok(value)
    }

    /// Gives the memory of what is no longer fresh back.
    async fn forget_old(&self) {
        let mut slot = self.0.lock().await;
        if slot.as_ref().is_some_and(|(_, until)| *until <= Instant::now()) {
            *slot = None;
        }
    }
}

/// The reports of `/health`.
pub(super) struct Reports {
    health: Recipient<GetSnapshot>,
    whole: Arc<Latest<Arc<Report>>>,
    brief: Arc<Latest<Arc<Report>>>,
    /// Those that somebody may still be reading, the oldest first.
    read: Mutex<Vec<Weak<Report>>>,
}

/// A report as it is sent, shared by all who read it.
pub(super) struct Report {
    pub(super) status: Status,
    pub(super) length: usize,
    /// Taken away from slow readers.
    pieces: Mutex<Vec<Bytes>>,
}

impl Reports {
    pub(super) fn new(health: Recipient<GetSnapshot>) -> Self {
        Self { health, whole: Arc::new(Latest::none()), brief: Arc::new(Latest::none()), read: Mutex::default() }
    }

    /// The report, whole or in brief; `Err` says why there is none.
    pub(super) async fn get(&self, brief: bool) -> Result<Arc<Report>, String> {
        let latest = if brief { &self.brief } else { &self.whole };
        let fresh_until = |began: Instant| began + (began.elapsed() * SHARE_OF_TIME).min(REPORT_FRESH);
        latest
            .get(
                async {
                    let report = self.make(brief).await?;
                    let latest = latest.clone();
                    actix_rt::spawn(async move {
                        sleep(REPORT_FRESH).await;
                        latest.forget_old().await;
                    });
                    Ok(report)
                },
                fresh_until,
            )
            .await
    }

    async fn make(&self, brief: bool) -> Result<Arc<Report>, String> {
        let snapshot = self.health.send(GetSnapshot).await.map_err(|_| "the health actor does not reply")?;
        // of thousands of sources it takes tens of milliseconds, in which nobody else would be served
        let made = tokio::task::spawn_blocking(move || Report::of(&snapshot, brief)).await;
        let made = made.map_err(io::Error::other).and_then(|made| made.map_err(io::Error::from));
        let report = Arc::new(made.map_err(|error| format!("the health report cannot be written: {error}"))?);
        self.is_read(&report);
        Ok(report)
    }

    fn is_read(&self, report: &Arc<Report>) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.retain(|report| report.strong_count() > 0);
        while read.len() >= MAX_READ {
            if let Some(old) = read.remove(0).upgrade() {
                old.take_away();
            }
        }
        read.push(Arc::downgrade(report));
    }
}

impl Report {
    fn of(snapshot: &Snapshot, brief: bool) -> Result<Self, serde_json::Error> {
        let report = snapshot.report(brief);
        let mut body = Body::default();
        serde_json::to_writer(&mut body, &report)?;
        let length = body.len();
        Ok(Self { status: report.status, length, pieces: Mutex::new(body.into_pieces().collect()) })
    }

    /// Its bytes, which cost no reader memory of his own.
    pub(super) fn chunks(self: Arc<Self>) -> impl Stream<Item = io::Result<Bytes>> {
        let mut at = 0;
        stream::iter(iter::from_fn(move || {
            if at >= self.length {
                return None;
            }
            let chunk = self.chunk(at).ok_or_else(|| io::Error::other("read too slowly"));
            at = chunk.as_ref().map_or(self.length, |chunk| at + chunk.len());
            Some(chunk)
        }))
    }

    fn chunk(&self, at: usize) -> Option<Bytes> {
        let pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        let piece = pieces.get(at / PIECE)?;
        let from = at % PIECE;
        (from < piece.len()).then(|| piece.slice(from..piece.len().min(from + CHUNK)))
    }

    fn take_away(&self) {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::StreamExt;

    use super::*;

    #[actix_rt::test]
    async fn a_value_is_made_once_while_it_is_fresh() {
        let made = Cell::new(0);
        let latest = Latest::none();
        let ask = async |fresh: Duration| {
            let make = async {
                tokio::task::yield_now().await;
                made.set(made.get() + 1);
                Ok::<_, ()>(made.get())
            };
            latest.get(make, |began| began + fresh).await
        };
        let hour = Duration::from_secs(3600);
        assert_eq!(futures_util::future::join(ask(hour), ask(hour)).await, (Ok(1), Ok(1)));
        assert_eq!(ask(hour).await, Ok(1));
        latest.forget_old().await;
        assert_eq!(ask(hour).await, Ok(1), "it is not old");
        *latest.0.lock().await = None;
        assert_eq!((ask(Duration::ZERO).await, ask(Duration::ZERO).await), (Ok(2), Ok(3)));
        latest.forget_old().await;
        assert!(latest.0.lock().await.is_none());
    }

    fn report(length: usize) -> Arc<Report> {
        let bytes: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
        let mut body = Body::default();
        io::Write::write_all(&mut body, &bytes).unwrap();
        Arc::new(Report { status: Status::Ok, length, pieces: Mutex::new(body.into_pieces().collect()) })
    }

    #[actix_rt::test]
    async fn a_report_is_read_in_chunks() {
        for length in [0, 1, CHUNK, PIECE, PIECE + 1, 3 * PIECE + CHUNK + 5] {
            let chunks: Vec<_> = report(length).chunks().map(Result::unwrap).collect().await;
            assert!(chunks.iter().all(|chunk| chunk.len() <= CHUNK));
            let bytes = chunks.concat();
            assert!(bytes.len() == length && bytes.iter().enumerate().all(|(n, byte)| *byte == (n % 251) as u8));
        }
    }

    #[actix_rt::test]
    async fn a_report_that_is_taken_away_ends_with_an_error() {
        let report = report(3 * PIECE);
        let mut chunks = Box::pin(report.clone().chunks());
        assert!(chunks.next().await.unwrap().is_ok());
        report.take_away();
        assert!(chunks.next().await.unwrap().is_err());
        assert!(chunks.next().await.is_none());
    }
}
