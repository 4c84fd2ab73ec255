//! One destination: takes what its outbox holds, sends it in order, and has the outcome recorded before
//! the next.
//!
//! A shell around [`Courier`] and [`Leases`]. One thing is under way at a time: loading, leasing items, a request, or
//! recording what came of it (and leasing the next); whatever ends looks for what is next in `drive`. Beside that a
//! clock ticks, so that what waits behind something that hangs is counted and reported all the same.

mod log;
mod stdout;

use std::{
    cell::RefCell,
    collections::BTreeMap,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Recipient, SpawnHandle, WrapFuture};
use futures_util::future::{OptionFuture, join3};
use jiff::Timestamp;
use rand::{SeedableRng, rngs::SmallRng};
use rustls::ClientConfig;
use slog::{Logger, debug, info, o};

use crate::{
    actors::{
        death_watch::DeathWatch,
        messages::{ApplySettings, ChildId, DeliveryReported, OutboxReady, Ping, ProbeNow, Stop},
    },
    config::{self, DestinationKind, DiscordLimits},
    delivery::{
        courier::{Courier, Ended, Step},
        governor::Governor,
        leases::Leases,
        progress::Progress,
        request,
        response::{self, Answer, Problem},
        stdout::Stdout,
    },
    fetch::{Outgoing, send},
    health::report::StoreState,
    model::{ErrorKind, Name},
    store::{Backlog, Delivery, DestinationRecord, Queued, Store, StoreError},
};

/// Lines of one batch.
const BATCH: usize = 100;
/// Items leased at a time where each is a request of its own.
const WINDOW: usize = 8;
/// `stdout` gathers for so long what comes in a burst.
const LINGER: Duration = Duration::from_millis(25);
/// How often clocks are compared, and what changed meanwhile is counted and reported.
const TICK: Duration = Duration::from_secs(1);
/// How soon a store that fails is tried again.
const STORE_AGAIN: Duration = Duration::from_secs(1);

/// What a delivery is made of.
pub struct Seat {
    /// As configured.
    pub destination: Arc<config::Destination>,
    /// The colours of sources.
    pub colors: Arc<BTreeMap<Name, u32>>,
    /// Limits that Discord does not announce.
    pub limits: DiscordLimits,
    /// Its outbox, and what is kept of it.
    pub store: Store,
    /// What the destinations of its host share.
    pub governor: Rc<RefCell<Governor>>,
    /// Writes to standard output, also for those who had its name before.
    pub stdout: Stdout,
    /// The shared TLS configuration.
    pub tls: Arc<ClientConfig>,
    /// For the backoff's jitter.
    pub seed: u64,
    /// Who hears how things stand.
    pub health: Recipient<DeliveryReported>,
    /// Tells the Supervisor of its end.
    pub watch: DeathWatch<ChildId>,
    /// The log.
    pub log: Logger,
}

/// See the module.
pub struct DeliveryActor {
    destination: Arc<config::Destination>,
    colors: Arc<BTreeMap<Name, u32>>,
    limits: DiscordLimits,
    store: Store,
    governor: Rc<RefCell<Governor>>,
    stdout: Stdout,
    tls: Arc<ClientConfig>,
    rng: SmallRng,
    health: Recipient<DeliveryReported>,
    _watch: DeathWatch<ChildId>,
    log: Logger,
    /// None until what was kept of it is loaded.
    courier: Option<Courier>,
    leases: Leases,
    /// Lines that are out, for the writer to forget once they are recorded.
    out: Vec<Queued>,
    /// The record has to be written.
    changed: bool,
    backlog: Backlog,
    /// Something was queued since the backlog was counted.
    outdated: bool,
    recounting: bool,
    progress: Progress,
    reported: Option<DeliveryReported>,
    busy: bool,
    timer: Option<SpawnHandle>,
    /// Takes back the lines that are being written.
    withdraw: Option<Box<dyn Fn()>>,
    stopping: bool,
}

impl DeliveryActor {
    /// Begins once it is started.
    pub fn new(seat: Seat) -> Self {
        let batch = if matches!(seat.destination.kind, DestinationKind::Stdout) { BATCH } else { WINDOW };
        let log = seat.log.new(o!("destination" => seat.destination.name.to_string()));
        Self {
            destination: seat.destination,
            colors: seat.colors,
            limits: seat.limits,
            store: seat.store,
            governor: seat.governor,
            stdout: seat.stdout,
            tls: seat.tls,
            rng: SmallRng::seed_from_u64(seat.seed),
            health: seat.health,
            _watch: seat.watch,
            log,
            courier: None,
            leases: Leases::new(batch),
            out: Vec::new(),
            changed: false,
            backlog: Backlog::default(),
            outdated: false,
            recounting: false,
            progress: Progress::default(),
            reported: None,
            busy: false,
            timer: None,
            withdraw: None,
            stopping: false,
        }
    }

    fn is_stdout(&self) -> bool {
        matches!(self.destination.kind, DestinationKind::Stdout)
    }

    /// Does what is next, if nothing is under way.
    fn drive(&mut self, ctx: &mut Context<Self>) {
        if self.busy {
            return;
        }
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        if self.leases.unrecorded() > 0 || self.changed {
            return self.record(ctx);
        }
        if self.stopping {
            return ctx.stop();
        }
        let Some(courier) = &self.courier else { return };
        if let Some(max) = self.leases.begin() {
            return self.lease(max, ctx);
        }
        let now = Instant::now();
        let step = courier.next(self.leases.front().is_some(), &self.governor.borrow(), now);
        match step {
            Step::Idle => {}
            Step::Wait(until) => self.wake_after(until.saturating_duration_since(now), ctx),
            // what could not be recorded must not be sent
            Step::Send | Step::Probe if self.store.status().state == StoreState::Failing => {
                self.wake_after(STORE_AGAIN, ctx);
            }
            Step::Send if self.is_stdout() => self.write(ctx),
            Step::Send => self.send(ctx),
            Step::Probe => self.probe(ctx),
        }
    }

    fn wake_after(&mut self, wait: Duration, ctx: &mut Context<Self>) {
        self.timer = Some(ctx.run_later(wait, |actor, ctx| {
            actor.timer = None;
            actor.drive(ctx);
        }));
    }

    /// Once a second, whatever is under way.
    fn tick(&mut self, ctx: &mut Context<Self>) {
        let (now, wall) = (Instant::now(), Timestamp::now());
        let Some(courier) = &mut self.courier else { return };
        let clock_was_set = courier.correct(now, wall) | self.governor.borrow_mut().correct(now, wall);
        self.tell_backlog(now, wall);
        self.report();
        if self.outdated && !self.recounting {
            self.recount(ctx);
        }
        if clock_was_set {
            self.changed = true;
            self.drive(ctx);
        }
    }

    // === the store ===

    fn load(&mut self, ctx: &mut Context<Self>) {
        self.busy = true;
        let (store, name) = (self.store.clone(), self.destination.name.clone());
        let host = self.governor.borrow().to_load().map(str::to_owned);
        let load = async move {
            // what the host asked for is known before anything is sent to it
            let host = match host {
                Some(host) => Some(store.host(&host).await?),
                None => None,
            };
            Ok((host, store.destination(&name).await?))
        };
        ctx.spawn(load.into_actor(self).map(|loaded, actor, ctx| {
            actor.busy = false;
            match loaded {
                Ok((host, (record, backlog))) => {
                    if let Some(host) = host {
                        actor.governor.borrow_mut().load(host, Instant::now(), Timestamp::now());
                    }
                    actor.begin(record, backlog, ctx);
                }
                Err(StoreError::Closed) => {}
                Err(StoreError::Failing(_)) if actor.stopping => ctx.stop(),
                Err(StoreError::Failing(_)) => {
                    ctx.run_later(STORE_AGAIN, |actor, ctx| {
                        if !actor.busy && actor.courier.is_none() {
                            actor.load(ctx)
                        }
                    });
                }
            }
        }));
    }

    fn begin(&mut self, record: DestinationRecord, backlog: Backlog, ctx: &mut Context<Self>) {
        if backlog.queued > 0 {
            info!(self.log, "items of an earlier run wait"; "queued" => backlog.queued);
        }
        let (now, wall) = (Instant::now(), Timestamp::now());
        self.courier = Some(Courier::new(&self.destination.kind, self.limits, record, now, wall));
        self.backlog = backlog;
        self.report();
        ctx.run_interval(TICK, Self::tick);
        self.drive(ctx);
    }

    fn lease(&mut self, max: usize, ctx: &mut Context<Self>) {
        self.busy = true;
        let (store, name) = (self.store.clone(), self.destination.name.clone());
        let lease = async move { store.lease(&name, max).await };
        ctx.spawn(lease.into_actor(self).map(|leased, actor, ctx| {
            actor.busy = false;
            match leased {
                Ok(items) => {
                    actor.leases.leased(items);
                    actor.drive(ctx);
                }
                Err(error) => {
                    actor.leases.not_leased();
                    if error != StoreError::Closed {
                        actor.wake_after(STORE_AGAIN, ctx);
                    }
                }
            }
        }));
    }

    /// Records how items ended, and what the host asked for. Until that is durable, nothing else is sent; what comes
    /// next is leased meanwhile.
    fn record(&mut self, ctx: &mut Context<Self>) {
        let Some(courier) = &self.courier else { return };
        self.busy = true;
        self.changed = false;
        let (ended, record) = (self.leases.take_ended(), courier.record.clone());
        let host = self.governor.borrow_mut().take_unsaved();
        let max = self.leases.begin();
        let (store, name) = (self.store.clone(), self.destination.name.clone());
        let record = async move {
            let settle = store.settle(&name, ended.clone(), record);
            let save_host = OptionFuture::from(host.map(|(host, record)| {
                let store = &store;
                async move { store.save_host(&host, record).await }
            }));
            let lease = OptionFuture::from(max.map(|max| store.lease(&name, max)));
            let (settled, saved, leased) = join3(settle, save_host, lease).await;
            (ended, settled, saved, leased)
        };
        ctx.spawn(record.into_actor(self).map(|(ended, settled, saved, leased), actor, ctx| {
            actor.busy = false;
            match leased {
                None => {}
                Some(Ok(items)) => actor.leases.leased(items),
                Some(Err(error)) => {
                    actor.leases.not_leased();
                    debug!(actor.log, "nothing could be leased: {error}"; "kind" => "store");
                }
            }
            if saved.as_ref().is_some_and(Result::is_err) {
                actor.governor.borrow_mut().not_saved();
            }
            let saved = saved.unwrap_or(Ok(()));
            match settled {
                Ok(backlog) => {
                    actor.backlog = backlog;
                    actor.outdated = false;
                    actor.settled(&ended);
                    actor.report();
                    match saved {
                        Ok(()) => actor.drive(ctx),
                        Err(error) => actor.not_recorded(&error, ctx),
                    }
                }
                Err(error) => {
                    actor.leases.not_recorded(ended);
                    actor.not_recorded(&error, ctx);
                }
            }
        }));
    }

    fn not_recorded(&mut self, error: &StoreError, ctx: &mut Context<Self>) {
        self.changed = true;
        self.tell_not_recorded(error);
        match error {
            StoreError::Closed if self.stopping => ctx.stop(),
            StoreError::Closed => {}
            // also when it is to end: its next life would send again what this one could not record
            StoreError::Failing(_) => self.wake_after(STORE_AGAIN, ctx),
        }
    }

    /// Counts what waits while something else is under way, or while the destination waits.
    fn recount(&mut self, ctx: &mut Context<Self>) {
        self.recounting = true;
        self.outdated = false;
        let (store, name) = (self.store.clone(), self.destination.name.clone());
        let count = async move { store.destination(&name).await };
        ctx.spawn(count.into_actor(self).map(|counted, actor, _| {
            actor.recounting = false;
            match counted {
                Ok((_, backlog)) => {
                    actor.backlog = backlog;
                    actor.report();
                }
                Err(error) => {
                    debug!(actor.log, "what waits could not be counted: {error}"; "kind" => "store");
                    actor.outdated = true;
                }
            }
        }));
    }

    // === sending ===

    fn send(&mut self, ctx: &mut Context<Self>) {
        let Some(item) = self.leases.front() else { return };
        let delivery = match item.delivery() {
            Ok(delivery) => delivery,
            Err(error) => return self.unreadable(&error, ctx),
        };
        let color = self.colors.get(delivery.source.name.as_str()).copied();
        let Some(request) = request::deliver(&self.destination, &delivery, color, Timestamp::now()) else { return };
        debug!(self.log, "sending"; "item" => &delivery.id, "source" => &delivery.source.name);
        self.ask(request, ctx, move |actor, answer, ctx| actor.sent(&delivery, answer, ctx));
    }

    fn unreadable(&mut self, error: &serde_json::Error, ctx: &mut Context<Self>) {
        let Some(courier) = &mut self.courier else { return };
        let problem = Problem { kind: ErrorKind::Store, message: error.to_string().into() };
        let refused = courier.refused(problem, Timestamp::now());
        self.tell_unreadable(&refused);
        self.leases.end(Some(refused));
        self.drive(ctx);
    }

    fn probe(&mut self, ctx: &mut Context<Self>) {
        let Some(request) = request::probe(&self.destination) else { return };
        self.ask(request, ctx, |actor, answer, ctx| {
            let Some(courier) = &mut actor.courier else { return };
            let back = courier.probed(answer, &mut actor.governor.borrow_mut(), Instant::now(), Timestamp::now());
            actor.tell_probed(back);
            actor.changed = true;
            actor.report();
            actor.drive(ctx);
        });
    }

    fn ask(
        &mut self,
        request: Outgoing,
        ctx: &mut Context<Self>,
        then: impl FnOnce(&mut Self, Answer, &mut Context<Self>) + 'static,
    ) {
        let Some(courier) = &mut self.courier else { return };
        courier.sending(&mut self.governor.borrow_mut(), Instant::now());
        self.busy = true;
        let (tls, destination) = (self.tls.clone(), self.destination.clone());
        let ask = async move { response::read(&destination.kind, send(request, &tls).await, Timestamp::now()) };
        ctx.spawn(ask.into_actor(self).map(|answer, actor, ctx| {
            actor.busy = false;
            then(actor, answer, ctx);
        }));
    }

    fn sent(&mut self, delivery: &Delivery, answer: Answer, ctx: &mut Context<Self>) {
        let Some(courier) = &mut self.courier else { return };
        let (now, wall) = (Instant::now(), Timestamp::now());
        let message_id = answer.message_id.clone();
        let ended = courier.answered(answer, &mut self.governor.borrow_mut(), now, wall, &mut self.rng);
        match ended {
            Ended::Delivered => {
                self.tell_delivered(delivery, message_id.as_deref());
                self.leases.end(None);
            }
            Ended::Refused(error) => {
                self.tell_refused(delivery, &error);
                self.leases.end(Some(error));
            }
            Ended::Kept(error, until) => {
                self.tell_kept(&error, until.saturating_duration_since(now));
                self.changed = true;
                self.report();
            }
        }
        self.drive(ctx);
    }

    /// Tells Health how things stand, if that changed.
    fn report(&mut self) {
        let Some(courier) = &self.courier else { return };
        let (now, governor) = (Instant::now(), self.governor.borrow());
        let report = DeliveryReported {
            destination: self.destination.name.clone(),
            state: courier.state(&governor, now),
            queued: self.backlog.queued,
            delivered: courier.record.delivered,
            dead_letters: self.backlog.dead_letters,
            oldest_queued: self.backlog.oldest,
            last_delivered: courier.record.last_delivered,
            last_error: courier.record.last_error.clone(),
            refused_in_a_row: courier.record.refused_in_a_row,
            last_refused: courier.record.last_refused,
            blocked_since: courier.blocked_since(&governor),
            reason: courier.reason(&governor, now),
        };
        if self.reported.as_ref() != Some(&report) {
            self.health.do_send(report.clone());
            self.reported = Some(report);
        }
    }
}

impl Actor for DeliveryActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.load(ctx);
    }
}

impl Handler<OutboxReady> for DeliveryActor {
    type Result = ();

    fn handle(&mut self, _: OutboxReady, ctx: &mut Self::Context) {
        self.leases.queued();
        self.outdated = true;
        match self.timer {
            _ if self.busy => {}
            None if self.is_stdout() => self.wake_after(LINGER, ctx),
            None => self.drive(ctx),
            Some(_) => {}
        }
    }
}

impl Handler<ProbeNow> for DeliveryActor {
    type Result = ();

    fn handle(&mut self, _: ProbeNow, ctx: &mut Self::Context) {
        if let Some(courier) = &mut self.courier {
            courier.probe_now(Instant::now());
        }
        self.drive(ctx);
    }
}

impl Handler<Ping> for DeliveryActor {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Self::Context) {}
}

impl Handler<ApplySettings> for DeliveryActor {
    type Result = ();

    fn handle(&mut self, ApplySettings { colors, limits }: ApplySettings, ctx: &mut Self::Context) {
        self.colors = colors;
        self.limits = limits;
        if let Some(courier) = &mut self.courier {
            courier.configure(limits);
        }
        self.drive(ctx);
    }
}

impl Handler<Stop> for DeliveryActor {
    type Result = ();

    /// Its life is over when the request in flight has ended and is recorded. Lines that are not out yet are taken
    /// back.
    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        self.stopping = true;
        if let Some(withdraw) = &self.withdraw {
            withdraw();
        }
        self.drive(ctx);
    }
}
