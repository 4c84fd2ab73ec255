//! Starts, watches and re-creates the sources and the deliveries; has what the sources bring stored.
//!
//! actix re-creates no actor that panicked. A child's [`DeathWatch`] tells of its end; it is then made
//! anew from its configuration and from what the store kept of it, alone, after a backoff, for ever. A
//! source's panic is a failed poll of that source.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc, time::Duration};

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, Recipient, ResponseActFuture,
    ResponseFuture, WrapFuture,
};
use futures_util::future::join_all;
use jiff::Timestamp;
use rand::{SeedableRng, rngs::SmallRng};
use slog::{Logger, crit, error, info, warn};
use tokio::time::timeout;

use crate::{
    actors::{
        articles::Articles,
        death_watch::{ChildTerminated, DeathWatch},
        delivery::{self, DeliveryActor},
        limits::Limits,
        messages::{
            AppraiseDocument, ChildId, Configured, ConfiguredSource, DeliveryReported, GetLiveness, GetReadiness, Hold,
            OutageBegan, OutageEnded, OutboxReady, Ping, PollFinished, PollNow, PollOutcome, ProbeNow, Release, Role,
            SourcePolled, SourceScheduled, Stop, StoreDocument,
        },
        source::{self, SourceActor},
    },
    config::{self, Config},
    delivery::rate_limit::Governor,
    fetch::{Fetcher, Tls},
    model::{ErrorKind, Failure, Name},
    poll::{
        self, End, Poller,
        document::{self, Read},
    },
    resilience::backoff::Backoff,
    store::{Ingested, SourceRecord, Store, StoreError, saved_page::SavedPages},
};

/// Counters and schedules are written so often; what a kill must not undo is written at once.
const SAVE_EVERY: Duration = Duration::from_secs(5);
/// In an outage, one source in turn is tried so often.
const TRIAL_EVERY: Duration = Duration::from_secs(30);
/// After an outage, what is overdue is spread over so long.
const RELEASE_OVER: Duration = Duration::from_secs(60);
/// Who does not reply within this time is not alive.
const REPLY: Duration = Duration::from_secs(5);
/// A delivery that is stopped ends within this time: its request in flight has a deadline below it.
const ENDS_WITHIN: Duration = Duration::from_secs(40);
/// How soon a store that failed is asked again at start.
const LOAD_AGAIN: Duration = Duration::from_secs(1);

/// What the Supervisor tells the HealthActor.
#[derive(Clone)]
pub struct Health {
    /// Results of polls.
    pub polled: Recipient<SourcePolled>,
    /// Schedules.
    pub scheduled: Recipient<SourceScheduled>,
    /// Who exists.
    pub configured: Recipient<Configured>,
    /// States of destinations.
    pub delivery: Recipient<DeliveryReported>,
}

/// What the Supervisor is made of.
pub struct Seat {
    /// As loaded.
    pub config: Arc<Config>,
    /// The store.
    pub store: Store,
    /// TLS for all clients.
    pub tls: Rc<Tls>,
    /// The HealthActor's ears.
    pub health: Health,
    /// How bodies are read.
    pub read: Read,
    /// Seed of all jitter.
    pub seed: u64,
    /// The log.
    pub log: Logger,
}

/// See the module.
pub struct Supervisor {
    seat: Seat,
    rng: SmallRng,
    limits: Rc<Limits>,
    articles: Rc<Articles>,
    governor: Rc<RefCell<Governor>>,
    ears: Option<Rc<source::Ears>>,
    sources: BTreeMap<Name, Child<SourceActor>>,
    deliveries: BTreeMap<Name, Child<DeliveryActor>>,
    /// Records that are not yet written.
    unsaved: BTreeMap<Name, SourceRecord>,
    /// Sources that could not be started yet, as the store does not answer.
    unscheduled: usize,
    outage: Option<Outage>,
    lives: u64,
    stopping: bool,
}

/// A child in its present life.
struct Child<A: Actor> {
    addr: Addr<A>,
    life: u64,
    /// Deaths since it last lived for long.
    deaths: u32,
    born: Timestamp,
}

/// One source in turn is tried.
struct Outage {
    last_tried: Option<Name>,
    timer: actix::SpawnHandle,
}

/// Ends everything: sources at once, deliveries after the request in flight; answers when all is
/// written.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Shutdown;

/// Replaces the configuration: what left is stopped, what changed is made anew, what is new is started.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Reload(pub Arc<Config>);

impl Supervisor {
    /// Starts its children when it is started.
    pub fn new(seat: Seat) -> Self {
        Self {
            rng: SmallRng::seed_from_u64(seat.seed),
            limits: Rc::new(Limits::new(seat.config.concurrency)),
            articles: Rc::default(),
            governor: Rc::new(RefCell::new(Governor::new(seat.config.discord))),
            ears: None,
            sources: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            unsaved: BTreeMap::new(),
            unscheduled: 0,
            outage: None,
            lives: 0,
            stopping: false,
            seat,
        }
    }

    fn enabled(config: &Config) -> impl Iterator<Item = &Arc<config::Source>> {
        config.sources.iter().filter(|source| source.enabled)
    }

    fn tell_configured(&self) {
        let config = &self.seat.config;
        let sources = Self::enabled(config).map(|source| ConfiguredSource {
            name: source.name.clone(),
            host: source.url.host_str().unwrap_or_default().to_owned(),
            interval: source.schedule.interval,
        });
        let destinations = config.destinations.iter().map(|destination| destination.name.clone());
        self.seat
            .health
            .configured
            .do_send(Configured { sources: sources.collect(), destinations: destinations.collect() });
    }

    fn next_life(&mut self) -> u64 {
        self.lives += 1;
        self.lives
    }

    // === sources ===

    /// Loads what the store kept of `sources`, then starts them. Asks again while the store fails.
    fn schedule(&mut self, sources: Vec<Arc<config::Source>>, ctx: &mut Context<Self>) {
        self.unscheduled += sources.len();
        let store = self.seat.store.clone();
        let load = async move {
            let mut loaded = Vec::with_capacity(sources.len());
            for source in sources {
                let record = loop {
                    match store.source(&source.name).await {
                        Ok(record) => break record,
                        Err(StoreError::Closed) => return Vec::new(),
                        Err(StoreError::Failing(_)) => tokio::time::sleep(LOAD_AGAIN).await,
                    }
                };
                loaded.push((source, record));
            }
            loaded
        };
        ctx.spawn(load.into_actor(self).map(|loaded, actor, ctx| {
            actor.unscheduled = actor.unscheduled.saturating_sub(loaded.len());
            actor.start_spread(loaded, ctx);
        }));
    }

    /// Starts sources; those that are due are spread, each by its own interval.
    fn start_spread(&mut self, loaded: Vec<(Arc<config::Source>, SourceRecord)>, ctx: &mut Context<Self>) {
        let now = Timestamp::now();
        // before anything is spread, for what is not adopted is due
        let adopted = |(source, record): (Arc<config::Source>, SourceRecord)| {
            let record = poll::adopt(record, document::fingerprint(&source));
            (source, record)
        };
        let loaded: Vec<_> = loaded.into_iter().map(adopted).collect();
        let due = |record: &SourceRecord| record.next_poll.is_none_or(|next| next <= now);
        let overdue = loaded.iter().filter(|(_, record)| due(record)).count();
        let mut nth = 0;
        for (source, mut record) in loaded {
            if due(&record) {
                let delay = poll::first_poll_delay(nth, overdue, source.schedule.interval);
                record.next_poll = now.checked_add(delay).ok();
                nth += 1;
            }
            self.start_source(&source, record, 0, ctx);
        }
    }

    /// Whom the sources speak to, made with the first of them.
    fn ears(&mut self, ctx: &Context<Self>) -> Rc<source::Ears> {
        let ears = self.ears.get_or_insert_with(|| {
            Rc::new(source::Ears {
                appraiser: ctx.address().recipient(),
                documents: ctx.address().recipient(),
                results: ctx.address().recipient(),
                schedule: self.seat.health.scheduled.clone(),
            })
        });
        ears.clone()
    }

    /// `record` is adopted, see [`poll::adopt`].
    fn start_source(
        &mut self,
        source: &Arc<config::Source>,
        record: SourceRecord,
        deaths: u32,
        ctx: &mut Context<Self>,
    ) {
        if self.stopping {
            return;
        }
        let life = self.next_life();
        let id = ChildId { role: Role::Source, name: source.name.clone(), life };
        let tls = self.seat.tls.with_roots(&source.request.extra_roots);
        let addr = SourceActor::new(source::Seat {
            source: source.clone(),
            record,
            fetcher: Fetcher::new(source.url.clone(), source.request.clone(), tls),
            read: self.seat.read,
            limits: self.limits.clone(),
            pages: SavedPages::new(&self.seat.config.state_dir),
            articles: self.articles.clone(),
            seed: rand::Rng::next_u64(&mut self.rng),
            ears: self.ears(ctx),
            watch: DeathWatch::new(id, ctx.address().recipient()),
            log: self.seat.log.clone(),
        })
        .start();
        if self.outage.is_some() {
            addr.do_send(Hold { failures: 0 });
        }
        self.sources.insert(source.name.clone(), Child { addr, life, deaths, born: Timestamp::now() });
    }

    /// A source's actor panicked outside its poll: a failed poll of kind `panic`, then a new life.
    fn revive_source(&mut self, name: &Name, deaths: u32, cause: String, ctx: &mut Context<Self>) {
        let Some(source) = Self::enabled(&self.seat.config).find(|source| source.name == *name).cloned() else {
            return;
        };
        let store = self.seat.store.clone();
        let unsaved = self.unsaved.get(name).cloned();
        let load = async move {
            match unsaved {
                Some(record) => Some(record),
                None => store.source(&source.name).await.ok(),
            }
            .map(|record| (source, record))
        };
        let name = name.clone();
        ctx.spawn(load.into_actor(self).map(move |loaded, actor, ctx| {
            let Some((source, record)) = loaded else {
                // the store fails: once more, from the start
                let wait = LOAD_AGAIN;
                ctx.run_later(wait, move |actor, ctx| actor.revive_source(&name, deaths, cause, ctx));
                return;
            };
            let now = Timestamp::now();
            let record = poll::adopt(record, document::fingerprint(&source));
            let mut poller = Poller::new(source.schedule, source.retry, source.breaker, record);
            let failure =
                Failure::fatal(ErrorKind::Panic, format!("the source's actor panicked, please report it: {cause}"));
            poller.finished(now, now, End::Failed(&failure), &mut actor.rng);
            actor.seat.health.polled.do_send(SourcePolled {
                source: source.name.clone(),
                started: now,
                ended: now,
                attempts: 1,
                outcome: PollOutcome::Failed(failure),
                breaker: poller.record.breaker.phase(now),
                next_poll: poller.next_poll(now),
            });
            actor.unsaved.insert(source.name.clone(), poller.record.clone());
            actor.save(ctx);
            actor.start_source(&source, poller.record, deaths, ctx);
        }));
    }

    // === deliveries ===

    fn start_delivery(&mut self, destination: &Arc<config::Destination>, deaths: u32, ctx: &mut Context<Self>) {
        if self.stopping {
            return;
        }
        let life = self.next_life();
        let id = ChildId { role: Role::Delivery, name: destination.name.clone(), life };
        let addr = DeliveryActor::new(delivery::Seat {
            destination: destination.clone(),
            colors: Arc::new(self.seat.config.colors()),
            limits: self.seat.config.discord,
            store: self.seat.store.clone(),
            governor: self.governor.clone(),
            tls: self.seat.tls.with_roots(&Arc::default()),
            seed: rand::Rng::next_u64(&mut self.rng),
            health: self.seat.health.delivery.clone(),
            watch: DeathWatch::new(id, ctx.address().recipient()),
            log: self.seat.log.clone(),
        })
        .start();
        self.deliveries.insert(destination.name.clone(), Child { addr, life, deaths, born: Timestamp::now() });
    }

    // === what is kept ===

    /// Writes the records that changed. A record that could not be written stays for the next time.
    fn save(&mut self, ctx: &mut Context<Self>) {
        if self.unsaved.is_empty() {
            return;
        }
        let records: Vec<_> = std::mem::take(&mut self.unsaved).into_iter().collect();
        let store = self.seat.store.clone();
        let save = async move {
            let result = store.save_sources(records.clone()).await;
            (records, result)
        };
        ctx.spawn(save.into_actor(self).map(|(records, result), actor, _| {
            if let Err(error) = result {
                warn!(actor.seat.log, "states of sources could not be written, they are kept for later: {error}"; "kind" => "store");
                for (name, record) in records {
                    actor.unsaved.entry(name).or_insert(record);
                }
            }
        }));
    }

    fn try_one_source(&mut self) {
        let Some(outage) = &mut self.outage else { return };
        let after = outage.last_tried.as_ref();
        let next = self.sources.iter().find(|(name, _)| after.is_none_or(|after| *name > after));
        if let Some((name, child)) = next.or_else(|| self.sources.iter().next()) {
            outage.last_tried = Some(name.clone());
            child.addr.do_send(PollNow);
        }
    }

    fn backoff(&mut self, deaths: u32) -> Duration {
        Backoff::new(Duration::from_secs(1), Duration::from_secs(60)).wait(deaths, &mut self.rng)
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // every source may report at once, and none may be refused
        ctx.set_mailbox_capacity(self.seat.config.sources.len() * 2 + 64);
        self.tell_configured();
        for destination in self.seat.config.destinations.clone() {
            self.start_delivery(&destination, 0, ctx);
        }
        let sources = Self::enabled(&self.seat.config).cloned().collect();
        self.schedule(sources, ctx);
        ctx.run_interval(SAVE_EVERY, |actor, ctx| actor.save(ctx));
    }
}

impl Handler<StoreDocument> for Supervisor {
    type Result = ResponseFuture<Result<Ingested, StoreError>>;

    fn handle(&mut self, StoreDocument(ingest): StoreDocument, _: &mut Self::Context) -> Self::Result {
        // the document's record is newer than what waits to be written
        self.unsaved.remove(&ingest.source.name);
        let ready = ingest.source.to.iter().filter_map(|name| self.deliveries.get(name));
        let ready: Vec<_> = ready.map(|child| child.addr.clone()).collect();
        let store = self.seat.store.clone();
        Box::pin(async move {
            let ingested = store.ingest(ingest).await?;
            if ingested.accepted > 0 {
                ready.iter().for_each(|delivery| delivery.do_send(OutboxReady));
            }
            Ok(ingested)
        })
    }
}

impl Handler<AppraiseDocument> for Supervisor {
    type Result = ResponseFuture<Result<Vec<bool>, StoreError>>;

    fn handle(&mut self, AppraiseDocument(prospect): AppraiseDocument, _: &mut Self::Context) -> Self::Result {
        let store = self.seat.store.clone();
        Box::pin(async move { store.would_accept(prospect).await })
    }
}

impl Handler<PollFinished> for Supervisor {
    type Result = ();

    fn handle(&mut self, PollFinished { polled, record, urgent }: PollFinished, ctx: &mut Self::Context) {
        if let Some(record) = record {
            self.unsaved.insert(polled.source.clone(), record);
        }
        self.seat.health.polled.do_send(polled);
        if urgent {
            self.save(ctx);
        }
    }
}

impl Handler<ChildTerminated<ChildId>> for Supervisor {
    type Result = ();

    fn handle(&mut self, ended: ChildTerminated<ChildId>, ctx: &mut Self::Context) {
        let ChildId { role, name, life } = ended.child;
        let present = match role {
            Role::Source => self.sources.get(&name).map(|child| (child.life, child.deaths, child.born)),
            Role::Delivery => self.deliveries.get(&name).map(|child| (child.life, child.deaths, child.born)),
        };
        let Some((_, deaths, born)) = present.filter(|present| present.0 == life && !self.stopping) else { return };
        let lived = Timestamp::now().duration_since(born);
        let deaths = if lived.as_secs() > 600 { 1 } else { deaths + 1 };
        let wait = self.backoff(deaths);
        let cause = ended.panic.unwrap_or_else(|| "it ended by itself".to_owned());
        error!(self.seat.log, "an actor died and is made anew: {cause}"; "kind" => "panic",
            "role" => format!("{role:?}").to_lowercase(), "name" => &name, "deaths" => deaths, "wait_ms" => wait.as_millis() as u64);
        match role {
            Role::Source => {
                self.sources.remove(&name);
                ctx.run_later(wait, move |actor, ctx| actor.revive_source(&name, deaths, cause, ctx));
            }
            Role::Delivery => {
                self.deliveries.remove(&name);
                ctx.run_later(wait, move |actor, ctx| {
                    let found = actor.seat.config.destinations.iter().find(|destination| destination.name == name);
                    if let Some(destination) = found.cloned() {
                        actor.start_delivery(&destination, deaths, ctx);
                    }
                });
            }
        }
    }
}

impl Handler<OutageBegan> for Supervisor {
    type Result = ();

    fn handle(&mut self, OutageBegan { failures }: OutageBegan, ctx: &mut Self::Context) {
        warn!(self.seat.log, "our own network seems to be out: one source in turn is tried every 30 s until one succeeds";
            "sources" => failures.len());
        for (name, child) in &self.sources {
            child.addr.do_send(Hold { failures: failures.get(name).copied().unwrap_or(0) });
        }
        if self.outage.is_none() {
            let timer = ctx.run_interval(TRIAL_EVERY, |actor, _| actor.try_one_source());
            self.outage = Some(Outage { last_tried: None, timer });
        }
    }
}

impl Handler<OutageEnded> for Supervisor {
    type Result = ();

    fn handle(&mut self, _: OutageEnded, ctx: &mut Self::Context) {
        let Some(outage) = self.outage.take() else { return };
        ctx.cancel_future(outage.timer);
        info!(self.seat.log, "the network is back");
        let of = self.sources.len().max(1) as f64;
        for (nth, child) in self.sources.values().enumerate() {
            child.addr.do_send(Release { delay: RELEASE_OVER.mul_f64(nth as f64 / of) });
        }
    }
}

impl Handler<GetLiveness> for Supervisor {
    type Result = ResponseFuture<Result<(), String>>;

    fn handle(&mut self, _: GetLiveness, _: &mut Self::Context) -> Self::Result {
        let store = self.seat.store.clone();
        let deliveries: Vec<_> =
            self.deliveries.iter().map(|(name, child)| (name.clone(), child.addr.clone())).collect();
        Box::pin(async move {
            let deliveries =
                deliveries.into_iter().map(async |(name, addr)| match timeout(REPLY, addr.send(Ping)).await {
                    // a closed mailbox is an actor about to be made anew, which is a reply of its own
                    Ok(_) => Ok(()),
                    Err(_) => Err(format!("the delivery to {name} does not reply")),
                });
            let store = async {
                // whatever it replies: a full disk is no reason to be killed
                timeout(REPLY, store.ping()).await.map(drop).map_err(|_| "the store does not reply".to_owned())
            };
            let (store, deliveries) = futures_util::future::join(store, join_all(deliveries)).await;
            deliveries.into_iter().fold(store, Result::and)
        })
    }
}

impl Handler<GetReadiness> for Supervisor {
    type Result = Result<(), String>;

    fn handle(&mut self, _: GetReadiness, _: &mut Self::Context) -> Self::Result {
        use crate::health::report::StoreState;
        if self.seat.store.status().state == StoreState::Failing {
            Err("the store is not open".to_owned())
        } else if self.unscheduled > 0 {
            Err(format!("{} sources are not scheduled yet", self.unscheduled))
        } else {
            Ok(())
        }
    }
}

impl Handler<Reload> for Supervisor {
    type Result = ();

    fn handle(&mut self, Reload(config): Reload, ctx: &mut Self::Context) {
        let old = std::mem::replace(&mut self.seat.config, config.clone());
        let all_sources = old.concurrency != config.concurrency;
        if all_sources {
            self.limits = Rc::new(self.limits.changed(config.concurrency));
        }
        if old.discord != config.discord {
            self.governor.borrow_mut().configure(config.discord);
        }
        self.tell_configured();
        self.seat.store.configured(config.sources.iter().map(|source| source.name.clone()).collect());

        let unchanged = |source: &Arc<config::Source>| {
            !all_sources && Self::enabled(&old).any(|old| old.name == source.name && old.same_as(source))
        };
        let fresh: Vec<_> = Self::enabled(&config).filter(|source| !unchanged(source)).cloned().collect();
        let kept = |name: &Name| {
            Self::enabled(&config).any(|source| source.name == *name)
                && !fresh.iter().any(|source| source.name == *name)
        };
        let mut stopped = 0;
        self.sources.retain(|name, child| {
            let kept = kept(name);
            if !kept {
                child.addr.do_send(Stop);
                stopped += 1;
            }
            kept
        });
        let same_for_all = old.discord == config.discord && old.colors() == config.colors();
        let same = |destination: &Arc<config::Destination>| {
            same_for_all && old.destinations.iter().any(|old| old.name == destination.name && old.same_as(destination))
        };
        let (same, changed): (Vec<_>, Vec<_>) = config.destinations.iter().cloned().partition(same);
        let mut ending = Vec::new();
        self.deliveries.retain(|name, child| {
            let kept = same.iter().any(|destination| destination.name == *name);
            if kept {
                child.addr.do_send(ProbeNow);
            } else {
                ending.push(child.addr.send(Stop));
            }
            kept
        });
        info!(self.seat.log, "configuration reloaded"; "sources" => config.sources.len(), "sources_stopped" => stopped,
            "sources_started" => fresh.len(), "destinations_changed" => changed.len());
        // what is known of a source must be written before it is loaded again
        self.save(ctx);
        self.schedule(fresh, ctx);
        // a destination is never served by two actors at once: the old one ends first
        let ended = join_all(ending.into_iter().map(|end| timeout(ENDS_WITHIN, end)));
        ctx.spawn(ended.into_actor(self).map(move |_, actor, ctx| {
            for destination in &changed {
                actor.start_delivery(destination, 0, ctx);
            }
        }));
    }
}

impl Handler<Shutdown> for Supervisor {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: Shutdown, _: &mut Self::Context) -> Self::Result {
        self.stopping = true;
        for child in self.sources.values() {
            child.addr.do_send(Stop);
        }
        let deliveries: Vec<_> = self.deliveries.values().map(|child| child.addr.send(Stop)).collect();
        let records: Vec<_> = std::mem::take(&mut self.unsaved).into_iter().collect();
        let store = self.seat.store.clone();
        let log = self.seat.log.clone();
        let end = async move {
            let saved = store.save_sources(records);
            let (saved, _) = futures_util::future::join(saved, join_all(deliveries)).await;
            if let Err(error) = saved {
                crit!(log, "states of sources could not be written at the end: {error}"; "kind" => "store");
            }
        };
        Box::pin(end.into_actor(self).map(|(), _, ctx| ctx.stop()))
    }
}
