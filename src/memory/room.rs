//! What one poll holds of the budget.
//!
//! A poll takes room as bytes arrive and never waits for more while it holds some, or polls that each hold a little
//! could wait for each other for ever. One that finds no room gives up what it has, waits for all that it may need,
//! and asks the server again. That happens only where memory is short.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::OwnedSemaphorePermit;

use super::{
    Budget, Mark, Marks,
    budget::{Part, SMALL},
};
use crate::model::Name;

/// Room is taken in steps of so many bytes.
const STEP: usize = 32 * 1024;

/// A poll that holds room for which others wait must receive so much between two looks.
const LEAST_PROGRESS: usize = 64 * 1024;

/// There is no room for so many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoom {
    /// Not now: [`Room::wait`] gets it.
    Now,
    /// Not ever: a document may have at most so many bytes.
    Ever(usize),
}

/// One poll's room, given back when the last clone is dropped.
#[derive(Debug, Clone, Default)]
pub struct Room(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    budget: Arc<Budget>,
    /// None for a visited page.
    source: Option<Name>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    body: Option<OwnedSemaphorePermit>,
    /// Whether `body` is of the part for large documents.
    large: bool,
    reading: Option<OwnedSemaphorePermit>,
    /// What was refused, in bytes, to be waited for.
    wanted: usize,
    /// A large body was refused before.
    refused: bool,
    received: usize,
    received_at_last_look: usize,
    waited: Duration,
    waiting_since: Option<Instant>,
    mark: Option<Mark>,
    /// A mark was set or cannot be.
    marked: bool,
}

impl Room {
    /// Room without a bound, for a command that fetches one document.
    pub fn unlimited() -> Self {
        Self(None)
    }

    pub(super) fn of_poll(budget: Arc<Budget>, source: Name) -> Self {
        Self(Some(Arc::new(Shared { budget, source: Some(source), state: Mutex::default() })))
    }

    pub(super) fn of_visit(budget: Arc<Budget>) -> Self {
        Self(Some(Arc::new(Shared { budget, source: None, state: Mutex::default() })))
    }

    /// Takes room for the `first` bytes of a body, which may come to `most`, before any of them is read. A small
    /// document waits for it here; a large one is refused, as its connection is not to be held meanwhile.
    ///
    /// # Errors
    /// [`NoRoom`]
    pub async fn open(&self, first: usize, most: usize) -> Result<(), NoRoom> {
        let Some(shared) = &self.0 else { return Ok(()) };
        match shared.grow(first, most) {
            Err(NoRoom::Now) if first <= SMALL => {
                shared.state().wanted = 0;
                shared.wait(first).await;
                Ok(())
            }
            other => other,
        }
    }

    /// Takes room for a body of so many bytes; it may come to `most` of them.
    ///
    /// # Errors
    /// [`NoRoom`]
    pub fn grow(&self, bytes: usize, most: usize) -> Result<(), NoRoom> {
        self.0.as_ref().map_or(Ok(()), |shared| shared.grow(bytes, most))
    }

    /// So many bytes of the body have come.
    pub fn received(&self, bytes: usize) {
        if let Some(shared) = &self.0 {
            shared.state().received = bytes;
        }
    }

    /// Waits for the room that was refused last. Nothing is held meanwhile.
    pub async fn wait(&self) {
        let Some(shared) = &self.0 else { return };
        let wanted = std::mem::take(&mut shared.state().wanted);
        if wanted > 0 {
            shared.wait(wanted).await;
        }
    }

    /// Keeps room for a body of so many bytes, which is whole now.
    pub fn shrink(&self, bytes: usize) {
        let Some(shared) = &self.0 else { return };
        let mut state = shared.state();
        let kept = shared.cost(bytes, state.large);
        if let Some(permit) = &mut state.body {
            let surplus = permit.num_permits().saturating_sub(kept);
            drop(permit.split(surplus));
        }
    }

    /// Gives everything back.
    pub fn release(&self) {
        let Some(shared) = &self.0 else { return };
        let mut state = shared.state();
        (state.body, state.reading, state.mark) = (None, None, None);
        (state.large, state.marked) = (false, false);
    }

    /// Waits for room for what is read from a large document of so many bytes. It is held until the end.
    pub async fn for_reading(&self, bytes: usize) {
        let Some(shared) = &self.0 else { return };
        if shared.state().large {
            let reading = &shared.budget.reading;
            // half of it at least: reading is work for a processor, and two of those are enough
            let taken = reading.take(bytes.saturating_mul(2).max(reading.size / 2)).await;
            shared.state().reading = taken.ok();
        }
    }

    /// The body is read, and gone. What was read from a small one takes its place.
    pub fn body_gone(&self) {
        let Some(shared) = &self.0 else { return };
        let mut state = shared.state();
        if state.large {
            state.body = None;
        }
    }

    /// For how long it has waited, which counts for no deadline.
    pub fn waited(&self) -> Duration {
        let Some(shared) = &self.0 else { return Duration::ZERO };
        let state = shared.state();
        state.waited + state.waiting_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Whether it holds room for which others wait, and little came since the last look.
    pub fn holds_others_up(&self) -> bool {
        let Some(shared) = &self.0 else { return false };
        let mut state = shared.state();
        let came = state.received - state.received_at_last_look.min(state.received);
        state.received_at_last_look = state.received;
        state.waiting_since.is_none()
            && state.body.is_some()
            && shared.part(state.large).is_contended()
            && came < LEAST_PROGRESS
    }

    /// Whether it is large and nothing says so yet: see [`Room::mark`].
    pub fn is_unmarked(&self) -> bool {
        self.0.as_ref().is_some_and(|shared| {
            let state = shared.state();
            state.large && !state.marked && shared.budget.marks.is_some()
        })
    }

    /// Notes in the file of marks that the process may die of this document. Blocks.
    pub fn mark(&self) {
        let Some(shared) = &self.0 else { return };
        let (Some(source), Some(marks)) = (&shared.source, &shared.budget.marks) else { return };
        if !std::mem::replace(&mut shared.state().marked, true) {
            let mark = marks.set(source);
            shared.state().mark = mark;
        }
    }

    /// The danger is over. Blocks.
    pub fn unmark(&self) {
        if let Some(shared) = &self.0 {
            let mark = shared.state().mark.take();
            if let Some(mark) = mark {
                mark.clear();
            }
        }
    }

    /// Whether the process before this one died: then every document is marked once.
    pub fn is_suspicious(&self) -> bool {
        let marks = self.0.as_ref().and_then(|shared| shared.budget.marks.as_ref());
        marks.is_some_and(Marks::after_crash)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn part(&self, large: bool) -> &Part {
        match (&self.source, large) {
            (None, _) => &self.budget.visits,
            (Some(_), false) => &self.budget.small,
            (Some(_), true) => &self.budget.large,
        }
    }

    /// What a body takes: a small one also what is read from it.
    fn cost(&self, bytes: usize, large: bool) -> usize {
        if large || self.source.is_none() { bytes } else { bytes.saturating_mul(2) }
    }

    fn grow(&self, bytes: usize, most: usize) -> Result<(), NoRoom> {
        let mut state = self.state();
        let large = state.large || bytes > SMALL && self.source.is_some();
        let part = self.part(large);
        if bytes > part.size {
            return Err(NoRoom::Ever(part.size));
        }
        state.received = bytes;
        let cost = self.cost(bytes, large).min(part.size);
        let has = state.body.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let moves = large && !state.large;
        if cost <= has && !moves {
            return Ok(());
        }
        let whole = cost.next_multiple_of(STEP).min(part.size);
        match part.try_take(if moves { whole } else { whole - has }) {
            Some(permit) => {
                match &mut state.body {
                    Some(body) if !moves => body.merge(permit),
                    body => *body = Some(permit),
                }
                state.large = large;
                Ok(())
            }
            None => {
                state.wanted = match large {
                    false => most.min(SMALL),
                    // one that is refused again gets as much as there can be
                    true if std::mem::replace(&mut state.refused, true) => part.size,
                    true => most,
                };
                Err(NoRoom::Now)
            }
        }
    }

    async fn wait(&self, bytes: usize) {
        let large = bytes > SMALL && self.source.is_some();
        {
            let mut state = self.state();
            (state.body, state.large) = (None, large);
            state.waiting_since = Some(Instant::now());
        }
        let _waited = Waited(self);
        let permit = self.part(large).take(self.cost(bytes, large)).await;
        let mut state = self.state();
        state.body = permit.ok();
        state.received_at_last_look = 0;
        state.received = 0;
    }
}

/// Counts the time until it is dropped, also where the waiting is given up.
struct Waited<'a>(&'a Shared);

impl Drop for Waited<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if let Some(since) = state.waiting_since.take() {
            state.waited += since.elapsed();
        }
    }
}
