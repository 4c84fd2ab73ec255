//! Sources: their records are loaded, then they are started.

use std::{rc::Rc, sync::Arc, time::Duration};

use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, WrapFuture};
use jiff::Timestamp;
use slog::warn;

use super::{
    Supervisor,
    lives::{Birth, Order},
};
use crate::{
    actors::{
        arrivals, clock,
        death_watch::DeathWatch,
        messages::{ChildId, Hold, PollOutcome, Role, SourcePolled, Stop},
        source::{self, SourceActor},
    },
    config,
    fetch::Fetcher,
    model::{ErrorKind, Failure, Moment, Name},
    poll::{self, End, Poller, document},
    store::{Fence, SourceRecord, StoreError, saved_page::SavedPages},
};

/// Sources that start within this time are one batch: their first polls are spread together.
const BATCH_WITHIN: Duration = Duration::from_millis(5);
/// How soon a store that failed is asked for a record again.
const LOAD_AGAIN: Duration = Duration::from_secs(1);

/// A running source. Once it is dropped, documents of this life are stored no more.
pub(super) struct SourceHandle {
    pub(super) addr: Addr<SourceActor>,
    fence: Fence,
}

impl SourceHandle {
    /// The poll under way is dropped, and what it brought is stored no more.
    pub(super) fn stop(&self) {
        self.fence.close();
        self.addr.do_send(Stop);
    }
}

impl Drop for SourceHandle {
    fn drop(&mut self) {
        self.fence.close();
    }
}

impl Supervisor {
    pub(super) fn want_source(&mut self, source: &Arc<config::Source>, ctx: &mut Context<Self>) {
        match self.sources.want(&source.name, source.clone()) {
            Order::Start(life) => self.load_source(source.name.clone(), life, ctx),
            Order::Stop(handle) => handle.stop(),
            Order::Nothing => {}
        }
    }

    pub(super) fn drop_source(&mut self, name: &Name) {
        if let Order::Stop(handle) = self.sources.drop_name(name) {
            handle.stop();
        }
    }

    /// Loads its record with those of others that start at the same time, then starts it.
    pub(super) fn load_source(&mut self, name: Name, life: u64, ctx: &mut Context<Self>) {
        if self.to_load.is_empty() {
            ctx.run_later(BATCH_WITHIN, |actor, ctx| {
                let batch = std::mem::take(&mut actor.to_load);
                // the last life's record may not be written yet
                actor.save(ctx);
                actor.load_batch(batch, ctx);
            });
        }
        self.to_load.push((name, life));
    }

    /// Asks again while the store fails.
    fn load_batch(&self, batch: Vec<(Name, u64)>, ctx: &mut Context<Self>) {
        let (store, config, log) = (self.seat.store.clone(), self.seat.config.clone(), self.seat.log.clone());
        let load = async move {
            let starts = |new: &Name| batch.iter().any(|(name, _)| name == new);
            let renames = config.renames().into_iter().filter(|(_, new)| starts(new)).collect();
            arrivals::take_over(&store, renames, &log).await;
            let mut loaded = Vec::with_capacity(batch.len());
            for (name, life) in batch {
                let record = loop {
                    match store.source(&name).await {
                        Ok(record) => break record,
                        Err(StoreError::Closed) => return Vec::new(),
                        Err(StoreError::Failing(_)) => tokio::time::sleep(LOAD_AGAIN).await,
                    }
                };
                loaded.push((name, life, record));
            }
            let records = loaded.iter().map(|(name, _, record)| (name, record)).collect();
            arrivals::announce(&store, &config, &records, &log).await;
            loaded
        };
        ctx.spawn(load.into_actor(self).map(|loaded, actor, ctx| actor.start_batch(loaded, ctx)));
    }

    /// Starts those that are still wanted. Those that are due are spread, each by its own interval.
    fn start_batch(&mut self, loaded: Vec<(Name, u64, SourceRecord)>, ctx: &mut Context<Self>) {
        let now = clock::now();
        let mut births = Vec::with_capacity(loaded.len());
        for (name, life, record) in loaded {
            if let Some(birth) = self.sources.to_start(&name, life) {
                // a record that could not be written is newer than the stored one
                let record = self.unsaved.get(&name).cloned().unwrap_or(record);
                // reset before anything is spread, since a source that was reset is due
                let mut record = poll::adopt(record, document::fingerprint(&birth.spec));
                poll::correct(&mut record, birth.spec.schedule, &birth.spec.breaker, now.wall);
                let record = self.count_deaths(&birth, record, now);
                births.push((birth, record));
            }
        }
        self.save(ctx);
        let due = |record: &SourceRecord| record.next_poll.is_none_or(|next| next <= now.wall);
        let overdue = births.iter().filter(|(_, record)| due(record)).count();
        let mut nth = 0;
        for (birth, mut record) in births {
            if due(&record) {
                let delay = poll::first_poll_delay(nth, overdue, birth.spec.schedule.interval);
                record.next_poll = Some(now.after(delay));
                nth += 1;
            }
            self.start_source(birth, record, ctx);
        }
    }

    /// A source's actor that panicked outside its poll has a failed poll of kind `panic`, and a source whose poll
    /// ended with the process one of kind `crashed`.
    fn count_deaths(&mut self, birth: &Birth<Arc<config::Source>>, record: SourceRecord, now: Moment) -> SourceRecord {
        let failure = if let Some(mark) = self.crashed.remove(&birth.spec.name) {
            self.counted.push(mark);
            let message = "the process ended while it read this source's document: killed for its memory, or aborted";
            warn!(self.seat.log, "{message}"; "source" => &birth.spec.name, "kind" => "crashed");
            Failure::fatal(ErrorKind::Crashed, message)
        } else if let Some(panic) = &birth.panic {
            let message = format!("the source's actor panicked, please report it: {panic}");
            Failure::fatal(ErrorKind::Panic, message)
        } else {
            return record;
        };
        let source = &birth.spec;
        let mut poller = Poller::new(source.schedule, source.retry, source.breaker, record, now);
        poller.finished(now, now, End::Failed(&failure), &mut self.rng);
        self.seat.health.polled.do_send(SourcePolled {
            source: source.name.clone(),
            started: now.wall,
            ended: now.wall,
            attempts: 1,
            outcome: PollOutcome::Failed(failure),
            breaker: poller.record.breaker.phase(now.wall),
            next_poll: poller.next_poll(now.wall),
        });
        self.unsaved.insert(source.name.clone(), poller.record.clone());
        poller.record
    }

    fn start_source(&mut self, birth: Birth<Arc<config::Source>>, record: SourceRecord, ctx: &mut Context<Self>) {
        let source = &birth.spec;
        let name = source.name.clone();
        let id = ChildId { role: Role::Source, name: name.clone(), life: birth.life };
        let tls = self.seat.tls.with_roots(&source.request.extra_roots);
        let fence = Fence::default();
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
            fence: fence.clone(),
            watch: DeathWatch::new(id, ctx.address().recipient()),
            log: self.seat.log.clone(),
        })
        .start();
        if self.outage.is_some() {
            addr.do_send(Hold { failures: 0 });
        }
        self.sources.started(&name, birth, SourceHandle { addr, fence }, Timestamp::now());
    }

    /// Whom the sources speak to, made with the first of them.
    fn ears(&mut self, ctx: &Context<Self>) -> Rc<source::Ears> {
        let ears = self.ears.get_or_insert_with(|| {
            Rc::new(source::Ears {
                appraiser: ctx.address().recipient(),
                documents: ctx.address().recipient(),
                results: ctx.address().recipient(),
                schedule: self.seat.health.scheduled.clone(),
                limits: self.seat.health.limits.clone(),
            })
        });
        ears.clone()
    }
}
