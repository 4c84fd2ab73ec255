//! One source: fetches, reads, and reports to the Supervisor.
//!
//! A shell around [`Poller`]: it keeps the timer, the HTTP client and the window of the last document.
//! A poll is one future; whatever goes wrong in it, a panic included, ends in one [`PollFinished`].

use std::{
    panic::AssertUnwindSafe,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Recipient, SpawnHandle, WrapFuture,
    fut::LocalBoxActorFuture,
};
use futures_util::FutureExt;
use jiff::Timestamp;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use slog::{Logger, debug, info, o, warn};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::{
    actors::{
        articles::Articles,
        clock,
        death_watch::DeathWatch,
        enrich::{Missed, Visitor},
        limits::Limits,
        messages::{
            AppraiseDocument, ChildId, Hold, LimitReached, PollFinished, PollNow, PollOutcome, Release, SourcePolled,
            SourceScheduled, Stop, StoreDocument,
        },
    },
    config,
    fetch::{self, Answer, Document, Fetcher, Validators},
    memory::Room,
    model::{ErrorKind, Failure, Moment, RedactedUrl},
    poll::{
        Due, End, Next, Poller,
        document::{self, Input, LONGEST_READ, Parsed, Read},
        drift,
        window::Window,
    },
    resilience::breaker::Phase,
    store::{
        Fence, Ingest, Ingested, Prospect, SourceRecord, StoreError,
        saved_page::{About, SavedPages},
    },
};

/// Feeds above this, and all pages and JSON, are read on another thread, so that no source waits for them.
const INLINE_READ: usize = 256 * 1024;
/// How soon an attempt that our own limits prevented is made again.
const LIMITS_AGAIN: Duration = Duration::from_secs(1);

/// Whom a source speaks to.
pub struct Ears {
    /// Who knows which entries of a document are new.
    pub appraiser: Recipient<AppraiseDocument>,
    /// Where documents go.
    pub documents: Recipient<StoreDocument>,
    /// Where results go.
    pub results: Recipient<PollFinished>,
    /// Where schedules are told.
    pub schedule: Recipient<SourceScheduled>,
    /// Who hears that our own limits hold attempts back.
    pub limits: Recipient<LimitReached>,
}

/// What a source is made of.
pub struct Seat {
    /// As configured.
    pub source: Arc<config::Source>,
    /// What was kept of it, adopted by [`crate::poll::adopt`].
    pub record: SourceRecord,
    /// Its client.
    pub fetcher: Fetcher,
    /// How a body is read.
    pub read: Read,
    /// Places for attempts, shared by all sources.
    pub limits: Rc<Limits>,
    /// Where a page is kept that its selectors do not fit.
    pub pages: SavedPages,
    /// Pages of its items, shared by all sources.
    pub articles: Rc<Articles>,
    /// Seed of its jitter.
    pub seed: u64,
    /// Whom it speaks to, the same for all sources.
    pub ears: Rc<Ears>,
    /// Keeps out its documents once its life is to end.
    pub fence: Fence,
    /// Tells of its end.
    pub watch: DeathWatch<ChildId>,
    /// The daemon's log.
    pub log: Logger,
}

/// The actor of one source.
pub struct SourceActor {
    source: Arc<config::Source>,
    poller: Poller,
    fetcher: Rc<Fetcher>,
    read: Read,
    limits: Rc<Limits>,
    pages: SavedPages,
    /// Of a source whose items' pages are visited.
    enricher: Option<Rc<Enricher>>,
    rng: SmallRng,
    ears: Rc<Ears>,
    fence: Fence,
    log: Logger,
    /// The last document; empty until one was read in this run.
    window: Arc<Window>,
    /// Hash of what was last said to be wrong with a document.
    told: Option<u64>,
    timer: Option<SpawnHandle>,
    polling: bool,
    _watch: DeathWatch<ChildId>,
}

impl SourceActor {
    /// Ready to be started; it polls when its record says that it is due.
    pub fn new(seat: Seat) -> Self {
        let Seat { source, record, fetcher, read, limits, pages, articles, seed, ears, fence, watch, log } = seat;
        let fetcher = Rc::new(fetcher);
        let enricher = source.enrich.as_ref().map(|_| {
            let (source, fetcher, limits) = (source.clone(), fetcher.clone(), limits.clone());
            Rc::new(Enricher { visitor: Visitor { source, fetcher, articles, limits }, ears: ears.clone() })
        });
        Self {
            poller: Poller::new(source.schedule, source.retry, source.breaker, record, clock::now()),
            fetcher,
            read,
            limits,
            pages,
            enricher,
            rng: SmallRng::seed_from_u64(seed),
            ears,
            fence,
            log: log.new(o!("source" => source.name.clone())),
            source,
            window: Arc::default(),
            told: None,
            timer: None,
            polling: false,
            _watch: watch,
        }
    }

    /// Polls if that is due, else sets the timer for when it is.
    fn wake(&mut self, ctx: &mut Context<Self>) {
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        if self.polling {
            return;
        }
        match self.poller.due(clock::now()) {
            Due::Poll { attempts } => self.poll(attempts, ctx),
            Due::Wait(wait) => {
                // never less than a millisecond: the timer's own resolution, and no busy loop
                let wait = wait.max(Duration::from_millis(1));
                self.timer = Some(ctx.run_later(wait, |actor, ctx| actor.wake(ctx)));
            }
            Due::Never => {}
        }
    }

    fn poll(&mut self, attempts: u32, ctx: &mut Context<Self>) {
        self.polling = true;
        let now = clock::now();
        if self.poller.record.breaker.phase(now.wall) == Phase::HalfOpen {
            info!(self.log, "breaker half-open, one trial attempt");
            self.tell_schedule(now);
        }
        let poll = Poll {
            source: self.source.clone(),
            fetcher: self.fetcher.clone(),
            limits: self.limits.clone(),
            pages: self.pages.clone(),
            enricher: self.enricher.clone(),
            ears: self.ears.clone(),
            // for a new destination every entry counts, seen or not
            window: if owes(&self.poller, &self.source) { Arc::default() } else { self.window.clone() },
            read: self.read,
            attempts,
            poller: self.poller.clone(),
            rng: SmallRng::from_rng(&mut self.rng),
            log: self.log.clone(),
        };
        // boxed at once: it is 3.7 kB, and handed on from future to future
        let guarded = AssertUnwindSafe(Box::pin(poll.run())).catch_unwind();
        let ended = guarded.into_actor(self).then(move |ended, actor, _| {
            let polled = ended.unwrap_or_else(|cause| Polled {
                started: now,
                attempts: 1,
                result: Err(document::panicked(&*cause)),
                room: Room::unlimited(),
            });
            actor.conclude(polled)
        });
        ctx.spawn(ended.map(|(), actor, ctx| {
            actor.polling = false;
            actor.wake(ctx);
        }));
    }

    /// Stores what came of a poll and reports it.
    fn conclude(&mut self, polled: Polled) -> LocalBoxActorFuture<Self, ()> {
        let Polled { started, attempts, result, room } = polled;
        let got = match result {
            Ok(got) => got,
            Err(failure) => return self.failed(started, attempts, failure),
        };
        let now = clock::now();
        self.poller.look(now);
        match got {
            Got::Gone => {
                let urgent = self.poller.finished(started, now, End::Gone, &mut self.rng);
                warn!(self.log, "the server says that it is gone for good (HTTP 410): it is not asked again until its configuration changes"; "kind" => "http_410");
                self.report(started, attempts, PollOutcome::Gone, true, urgent);
            }
            Got::NotModified => {
                let urgent = self.succeeded(started, now);
                self.report(started, attempts, PollOutcome::Unchanged, true, urgent);
            }
            Got::Same { etag, last_modified } => {
                let urgent = self.succeeded(started, now);
                self.poller.record.etag = etag;
                self.poller.record.last_modified = last_modified;
                self.report(started, attempts, PollOutcome::Unchanged, true, urgent);
            }
            Got::Changed(changed) => {
                let stored = self.store(started, attempts, now, *changed);
                return Box::pin(stored.map(|(), _, _| drop(room)));
            }
        }
        Box::pin(actix::fut::ready(()))
    }

    /// Says what was wrong with a document, and does not say so again while it stays the same.
    fn tell_warnings(&mut self, warnings: &[String]) {
        if warnings.is_empty() {
            return;
        }
        let all = xxh3_64(warnings.concat().as_bytes());
        if self.told.replace(all) != Some(all) {
            for warning in warnings {
                warn!(self.log, "the document is not as it should be"; "warning" => warning);
            }
        }
    }

    fn succeeded(&mut self, started: Moment, now: Moment) -> bool {
        let failures = self.poller.record.breaker.failures;
        if failures > 0 {
            info!(self.log, "recovered"; "after_failures" => failures);
        }
        self.poller.finished(started, now, End::Success, &mut self.rng)
    }

    /// Has a new document stored. Only then does the poll count as a success: a failed write leaves
    /// everything as it was, and the next poll brings the same document again.
    fn store(
        &mut self,
        started: Moment,
        attempts: u32,
        now: Moment,
        changed: Changed,
    ) -> LocalBoxActorFuture<Self, ()> {
        let Changed { parsed, etag, last_modified, body_hash } = changed;
        let Parsed { keys, window, candidates, whole, warnings, matched, .. } = parsed;
        self.tell_warnings(&warnings);
        let emptied = keys.is_empty() && self.poller.record.had_items;
        let mut next = self.poller.clone();
        next.finished(started, now, End::Success, &mut self.rng);
        next.record = SourceRecord {
            address: Some(document::address(&self.source)),
            etag: etag.filter(|_| whole),
            last_modified: last_modified.filter(|_| whole),
            body_hash: whole.then_some(body_hash),
            had_items: next.record.had_items || !keys.is_empty(),
            matched,
            ..next.record
        };
        let record = next.record.clone();
        let ingest = Ingest { source: self.source.clone(), keys, candidates, record, at: now.wall };
        let answer = self.ears.documents.send(StoreDocument { ingest, fence: self.fence.clone() });
        let stored = async move { answer.await.unwrap_or(Err(StoreError::Closed)) };
        Box::pin(stored.into_actor(self).then(move |stored, actor, _| match stored {
            Ok(ingested) => {
                let failures = actor.poller.record.breaker.failures;
                if failures > 0 {
                    info!(actor.log, "recovered"; "after_failures" => failures);
                }
                actor.tell_held(&ingested);
                if ingested.backfilled > 0 {
                    info!(actor.log, "items that a new destination gets first are queued"; "items" => ingested.backfilled);
                }
                if ingested.new > 0 {
                    info!(actor.log, "new items"; "new" => ingested.new, "accepted" => ingested.accepted,
                        "skipped" => ingested.skipped, "filtered" => ingested.filtered, "held" => ingested.held);
                }
                if emptied {
                    warn!(actor.log, "the feed had items and now has none"; "kind" => "empty");
                }
                let held = actor.poller.record.held;
                next.record.stored(&actor.source, &ingested);
                actor.poller.stored(next);
                if held != actor.poller.record.held {
                    actor.tell_schedule(now);
                }
                actor.window = Arc::new(window);
                let outcome = PollOutcome::Changed { accepted: ingested.accepted, emptied };
                actor.report(started, attempts, outcome, false, false);
                Box::pin(actix::fut::ready(())) as LocalBoxActorFuture<Self, ()>
            }
            Err(error) => actor.failed(started, attempts, Failure::fatal(ErrorKind::Store, error.to_string())),
        }))
    }

    /// Says that a flood began, or goes on.
    fn tell_held(&self, ingested: &Ingested) {
        let Ingested { held, accepted, .. } = *ingested;
        let message =
            "too many new items at once: only the newest are delivered, the others count as seen (hold_above)";
        match self.poller.record.held {
            _ if held == 0 => {}
            None => warn!(self.log, "{message}"; "new" => held + accepted, "accepted" => accepted, "held" => held),
            Some(_) => debug!(self.log, "{message}"; "new" => held + accepted, "accepted" => accepted, "held" => held),
        }
    }

    fn failed(&mut self, started: Moment, attempts: u32, failure: Failure) -> LocalBoxActorFuture<Self, ()> {
        let now = clock::now();
        let record = &self.poller.record;
        let failure = drift::told(failure, record.matched.as_ref(), record.last_success);
        let before = record.breaker.phase(now.wall);
        let urgent = self.poller.finished(started, now, End::Failed(&failure), &mut self.rng);
        let after = self.poller.record.breaker.phase(now.wall);
        let next = self.poller.next_poll(now.wall).map(|next| next.to_string());
        warn!(self.log, "poll failed: {}", failure.message; "kind" => failure.kind.to_string(), "attempt" => attempts,
            "failures" => self.poller.record.breaker.failures, "next_poll" => next);
        if after == Phase::Open && before != Phase::Open {
            warn!(self.log, "breaker open"; "failures" => self.poller.record.breaker.failures, "kind" => failure.kind.to_string());
        }
        self.report(started, attempts, PollOutcome::Failed(failure), true, urgent);
        Box::pin(actix::fut::ready(()))
    }

    fn report(&mut self, started: Moment, attempts: u32, outcome: PollOutcome, save: bool, urgent: bool) {
        let now = clock::now();
        self.poller.look(now);
        let record = &self.poller.record;
        self.ears.results.do_send(PollFinished {
            polled: SourcePolled {
                source: self.source.name.clone(),
                // as it is shown now, also if the clock was set during the poll
                started: now.wall_at(started.steady),
                ended: now.wall,
                attempts,
                outcome,
                breaker: record.breaker.phase(now.wall),
                next_poll: self.poller.next_poll(now.wall),
            },
            record: save.then(|| record.clone()),
            urgent,
        });
    }

    fn tell_schedule(&mut self, now: Moment) {
        self.poller.look(now);
        let record = &self.poller.record;
        self.ears.schedule.do_send(SourceScheduled {
            source: self.source.name.clone(),
            breaker: record.breaker.phase(now.wall),
            next_poll: self.poller.next_poll(now.wall),
            gone: record.gone == Some(record.fingerprint),
            held: record.held,
        });
    }
}

impl Actor for SourceActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.tell_schedule(clock::now());
        self.wake(ctx);
    }
}

impl Handler<PollNow> for SourceActor {
    type Result = ();

    fn handle(&mut self, _: PollNow, ctx: &mut Self::Context) {
        if self.polling {
            return;
        }
        if let Due::Poll { attempts } = self.poller.due_when_asked(clock::now()) {
            if let Some(timer) = self.timer.take() {
                ctx.cancel_future(timer);
            }
            self.poll(attempts, ctx);
        }
    }
}

impl Handler<Hold> for SourceActor {
    type Result = ();

    fn handle(&mut self, Hold { failures }: Hold, ctx: &mut Self::Context) {
        self.poller.hold(failures);
        self.tell_schedule(clock::now());
        self.wake(ctx);
    }
}

impl Handler<Release> for SourceActor {
    type Result = ();

    fn handle(&mut self, Release { delay }: Release, ctx: &mut Self::Context) {
        let now = clock::now();
        self.poller.release(now, delay);
        self.tell_schedule(now);
        self.wake(ctx);
    }
}

impl Handler<Stop> for SourceActor {
    type Result = ();

    /// A poll under way is dropped: nothing of it was accepted yet.
    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

/// Whether the next document must come whole and be read whole, as a destination is new to the source.
fn owes(poller: &Poller, source: &config::Source) -> bool {
    poller.record.due_backfills(source).next().is_some()
}

/// One poll: its attempts, and reading what they bring.
struct Poll {
    source: Arc<config::Source>,
    fetcher: Rc<Fetcher>,
    limits: Rc<Limits>,
    pages: SavedPages,
    enricher: Option<Rc<Enricher>>,
    ears: Rc<Ears>,
    window: Arc<Window>,
    read: Read,
    attempts: u32,
    poller: Poller,
    rng: SmallRng,
    log: Logger,
}

/// What it takes to visit the pages of new items.
struct Enricher {
    visitor: Visitor,
    ears: Rc<Ears>,
}

/// What came of a [`Poll`].
struct Polled {
    started: Moment,
    attempts: u32,
    result: Result<Got, Failure>,
    /// What it still holds, until it is stored.
    room: Room,
}

enum Got {
    NotModified,
    Same { etag: Option<String>, last_modified: Option<String> },
    Changed(Box<Changed>),
    Gone,
}

struct Changed {
    parsed: Parsed,
    etag: Option<String>,
    last_modified: Option<String>,
    body_hash: u128,
}

impl Poll {
    async fn run(mut self) -> Polled {
        // requests count for `/health`; one that found no memory was no attempt
        let (mut attempt, mut requests) = (0, 0);
        let mut started = None;
        let room = self.limits.room(&self.source.name);
        loop {
            room.wait().await;
            requests += 1;
            let (began, looking_up) = (clock::now(), Instant::now());
            // before a place is taken: a name that hangs takes none from the others
            let result = match self.fetcher.resolve(None).await {
                Ok(()) => {
                    let spent = looking_up.elapsed();
                    // waiting for memory or a place counts neither for the attempt's deadline nor as its start
                    let _place = self.limits.place(self.source.url.host_str().unwrap_or_default()).await;
                    started.get_or_insert_with(clock::now);
                    self.attempt(spent, &room).await
                }
                Err(failure) => Err(failure),
            };
            let start = *started.get_or_insert(began);
            let failure = match result {
                Ok(Some(got)) => {
                    let result = self.enriched(got).await;
                    return Polled { started: start, attempts: requests, result, room };
                }
                Ok(None) => continue,
                Err(failure) => failure,
            };
            room.release();
            if failure.kind == ErrorKind::Limits {
                // no attempt was made, and none of this is the source's fault
                requests -= 1;
                self.wait_for_limits(failure).await;
                continue;
            }
            attempt += 1;
            match self.poller.after_failure(attempt, self.attempts, &failure, &mut self.rng) {
                Next::Retry(wait) => {
                    info!(self.log, "attempt failed, trying again: {}", failure.message; "kind" => failure.kind.to_string(),
                        "attempt" => attempt, "wait_ms" => wait.as_millis() as u64);
                    tokio::time::sleep(wait).await;
                }
                Next::End => return Polled { started: start, attempts: requests, result: Err(failure), room },
            }
        }
    }

    /// Our own limits keep the attempt from being made: waits until it may be possible.
    async fn wait_for_limits(&mut self, failure: Failure) {
        if self.limits.exhausted() {
            self.ears.limits.do_send(LimitReached { message: failure.message.into() });
        }
        tokio::time::sleep(LIMITS_AGAIN.mul_f64(self.rng.random_range(0.5..1.5))).await;
    }

    /// None: there was no memory for the document.
    async fn attempt(&self, spent: Duration, room: &Room) -> Result<Option<Got>, Failure> {
        let record = &self.poller.record;
        let validators = if owes(&self.poller, &self.source) {
            Validators { etag: None, last_modified: None }
        } else {
            Validators { etag: record.etag.as_deref(), last_modified: record.last_modified.as_deref() }
        };
        let Some(answer) = self.fetcher.get_within(validators, spent, room).await? else { return Ok(None) };
        match answer {
            Answer::NotModified(_) => Ok(Some(Got::NotModified)),
            Answer::Gone => Ok(Some(Got::Gone)),
            Answer::Document(document) => self.read(document, room).await.map(Some),
        }
    }

    async fn read(&self, document: Document, room: &Room) -> Result<Got, Failure> {
        let Document { body, content_type, etag, last_modified, final_url, permanent_redirect, .. } = document;
        if let Some(url) = permanent_redirect {
            info!(self.log, "moved permanently: put the new address into the configuration";
                "to" => RedactedUrl(&url).to_string());
        }
        let body_hash = xxh3_128(&body);
        if self.poller.record.body_hash == Some(body_hash) && !owes(&self.poller, &self.source) {
            fetch::reuse(body);
            return Ok(Got::Same { etag, last_modified });
        }
        // what selectors cost is up to the page
        let is_page = !matches!(self.source.kind, config::SourceKind::Feed);
        let is_large = body.len() > INLINE_READ;
        let elsewhere = is_large || is_page || (room.is_suspicious() && self.window.is_empty());
        let input = Input {
            body,
            content_type,
            url: final_url,
            source: self.source.clone(),
            window: self.window.clone(),
            matched: self.poller.record.matched.clone(),
        };
        let read = self.read;
        let input = Arc::new(input);
        let reading = move |input: &Input| {
            let start = Instant::now();
            document::read_guarded(read, input, &|| start.elapsed() > LONGEST_READ)
        };
        let parsed = if elsewhere {
            if is_large {
                room.for_reading(input.body.len()).await;
            }
            let turn = if is_page { self.limits.parser().await } else { None };
            let (input, room) = (input.clone(), room.clone());
            let task = tokio::task::spawn_blocking(move || {
                room.mark();
                let parsed = reading(&input);
                room.unmark();
                drop(turn);
                parsed
            });
            task.await.unwrap_or_else(|error| Err(Failure::fatal(ErrorKind::Panic, error.to_string())))
        } else {
            reading(&input)
        };
        let parsed = match parsed {
            Ok(parsed) => parsed,
            Err(failure) if failure.kind == ErrorKind::Selector => return Err(self.kept(input, failure).await),
            Err(failure) => return Err(failure),
        };
        debug_assert!(elsewhere || Arc::strong_count(&input) == 1, "what was read here is nobody else's");
        if let Some(input) = Arc::into_inner(input) {
            fetch::reuse(input.body);
            room.body_gone();
        }
        Ok(Got::Changed(Box::new(Changed { parsed, etag, last_modified, body_hash })))
    }

    /// Keeps the page that the selectors did not fit, and says so.
    async fn kept(&self, page: Arc<Input>, mut failure: Failure) -> Failure {
        let pages = self.pages.clone();
        let about = About::new(page.content_type.clone(), page.url.clone(), Timestamp::now(), failure.message.clone());
        let saving = tokio::task::spawn_blocking(move || pages.save(&page.source.name, &page.body, &about));
        match saving.await.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
            Ok(()) => {
                let told = format!("; the page is kept: kawaraban preview {} --from-saved", self.source.name);
                failure.message.push(&told);
            }
            Err(error) => warn!(self.log, "the page could not be kept for repair: {error}"; "kind" => "selector"),
        }
        failure
    }

    /// Has the pages of new items visited. The poll's place is free meanwhile.
    async fn enriched(&self, mut got: Got) -> Result<Got, Failure> {
        if let (Some(enricher), Got::Changed(changed)) = (&self.enricher, &mut got)
            && !changed.parsed.candidates.is_empty()
        {
            // on the heap, for other sources' polls have no use for it
            let record = self.poller.record.clone();
            let missed = Box::pin(enricher.enrich(&mut changed.parsed, record)).await?;
            for Missed { what, url, failure } in missed {
                info!(self.log, "an item goes without its {what}: {}", failure.message;
                    "kind" => failure.kind.to_string(), "url" => url);
            }
        }
        Ok(got)
    }
}

impl Enricher {
    /// Adds to the items that will be delivered what their own pages say.
    async fn enrich(&self, parsed: &mut Parsed, record: SourceRecord) -> Result<Vec<Missed>, Failure> {
        let Parsed { keys, candidates, .. } = parsed;
        let outlines = candidates.iter().map(|candidate| candidate.outline(keys)).collect();
        let prospect = Prospect { source: self.visitor.source.clone(), outlines, record };
        let answer = self.ears.appraiser.send(AppraiseDocument(prospect)).await.unwrap_or(Err(StoreError::Closed));
        let accepted = answer.map_err(|error| Failure::fatal(ErrorKind::Store, error.to_string()))?;
        let due = candidates.iter_mut().zip(accepted).filter(|(_, accepted)| *accepted);
        Ok(self.visitor.enrich(due.map(|(candidate, _)| &mut candidate.item).collect()).await)
    }
}
