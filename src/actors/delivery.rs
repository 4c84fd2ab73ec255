//! One destination: takes what its outbox holds, sends it in order, and has the outcome recorded before
//! the next.
//!
//! A shell around [`Courier`]. One thing is under way at a time: loading, leasing items, a request, or
//! recording what came of it (and leasing the next); whatever ends looks for what is next in `drive`.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Recipient, SpawnHandle, WrapFuture};
use futures_util::future::{OptionFuture, join};
use jiff::Timestamp;
use rand::{SeedableRng, rngs::SmallRng};
use rustls::ClientConfig;
use slog::{Logger, crit, debug, error, info, o, warn};

use crate::{
    actors::{
        death_watch::DeathWatch,
        messages::{ApplySettings, ChildId, DeliveryReported, OutboxReady, Ping, ProbeNow, Stop},
    },
    config::{self, DestinationKind, DiscordLimits},
    delivery::{
        courier::{Courier, Ended, Step},
        rate_limit::Governor,
        request,
        response::{self, Answer, Problem},
        stdout::Writer,
    },
    fetch::{Outgoing, send},
    health::report::StoreState,
    model::{DeliveryError, ErrorKind, Name},
    store::{Backlog, DestinationRecord, Queued, Settled, Store, StoreError},
};

/// Lines of one batch.
const BATCH: usize = 100;
/// Items leased at a time where each is a request of its own.
const WINDOW: usize = 8;
/// `stdout` gathers for so long what comes in a burst.
const LINGER: Duration = Duration::from_millis(25);
/// While it waits, what is queued is counted anew so often at most.
const RECOUNT_EVERY: Duration = Duration::from_secs(1);
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
    /// What all Discord destinations share.
    pub governor: Rc<RefCell<Governor>>,
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
    tls: Arc<ClientConfig>,
    rng: SmallRng,
    health: Recipient<DeliveryReported>,
    _watch: DeathWatch<ChildId>,
    log: Logger,
    /// None until what was kept of it is loaded.
    courier: Option<Courier>,
    writer: Option<Writer>,
    /// Items leased, in the turns of their sources.
    window: VecDeque<Queued>,
    /// The outbox may hold more than was leased.
    more: bool,
    /// Something was queued since then, and its source may be next.
    stale: bool,
    /// How items ended that is not yet recorded, and whether the record changed.
    unrecorded: Vec<Settled>,
    changed: bool,
    backlog: Backlog,
    recounting: bool,
    busy: bool,
    timer: Option<SpawnHandle>,
    stopping: bool,
}

impl DeliveryActor {
    /// Begins once it is started.
    pub fn new(seat: Seat) -> Self {
        let log = seat.log.new(o!("destination" => seat.destination.name.to_string()));
        Self {
            destination: seat.destination,
            colors: seat.colors,
            limits: seat.limits,
            store: seat.store,
            governor: seat.governor,
            tls: seat.tls,
            rng: SmallRng::seed_from_u64(seat.seed),
            health: seat.health,
            _watch: seat.watch,
            log,
            courier: None,
            writer: None,
            window: VecDeque::new(),
            more: true,
            stale: false,
            unrecorded: Vec::new(),
            changed: false,
            backlog: Backlog::default(),
            recounting: false,
            busy: false,
            timer: None,
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
        if !self.unrecorded.is_empty() || self.changed {
            return self.record(ctx);
        }
        if self.stopping {
            return ctx.stop();
        }
        let Some(courier) = &self.courier else { return };
        if self.must_lease() {
            return self.lease(ctx);
        }
        let now = Instant::now();
        let step = courier.next(!self.window.is_empty(), &self.governor.borrow(), now);
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

    // === the store ===

    fn load(&mut self, ctx: &mut Context<Self>) {
        self.busy = true;
        let (store, name) = (self.store.clone(), self.destination.name.clone());
        let load = async move { store.destination(&name).await };
        ctx.spawn(load.into_actor(self).map(|loaded, actor, ctx| {
            actor.busy = false;
            match loaded {
                Ok((record, backlog)) => actor.begin(record, backlog, ctx),
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
        self.drive(ctx);
    }

    fn lease(&mut self, ctx: &mut Context<Self>) {
        self.busy = true;
        let lease = self.next_lease();
        ctx.spawn(lease.into_actor(self).map(|leased, actor, ctx| {
            actor.busy = false;
            match actor.leased(leased) {
                Ok(()) => actor.drive(ctx),
                Err(StoreError::Closed) => {}
                Err(StoreError::Failing(_)) => actor.wake_after(STORE_AGAIN, ctx),
            }
        }));
    }

    fn must_lease(&self) -> bool {
        self.stale || (self.window.is_empty() && self.more)
    }

    fn lease_size(&self) -> usize {
        if self.is_stdout() { BATCH } else { WINDOW }
    }

    /// Asks for what is next. What is queued from now on is announced again.
    fn next_lease(&mut self) -> impl Future<Output = Result<Vec<Queued>, StoreError>> + 'static {
        (self.more, self.stale) = (false, false);
        let (store, name, size) = (self.store.clone(), self.destination.name.clone(), self.lease_size());
        async move { store.lease(&name, size).await }
    }

    /// What was leased before and not sent is leased again, in its turn.
    fn leased(&mut self, leased: Result<Vec<Queued>, StoreError>) -> Result<(), StoreError> {
        let items = leased.inspect_err(|_| self.more = true)?;
        self.more |= items.len() == self.lease_size();
        self.window = items.into();
        Ok(())
    }

    /// Records how items ended. Until that is durable, nothing else is sent; what comes next is leased
    /// meanwhile.
    fn record(&mut self, ctx: &mut Context<Self>) {
        let Some(courier) = &self.courier else { return };
        self.busy = true;
        let settled = std::mem::take(&mut self.unrecorded);
        self.changed = false;
        let (store, name, record) = (self.store.clone(), self.destination.name.clone(), courier.record.clone());
        let settle = async move {
            let result = store.settle(&name, settled.clone(), record).await;
            (settled, result)
        };
        let lease = OptionFuture::from(self.must_lease().then(|| self.next_lease()));
        ctx.spawn(join(settle, lease).into_actor(self).map(|((settled, result), leased), actor, ctx| {
            actor.busy = false;
            if let Some(Err(error)) = leased.map(|leased| actor.leased(leased)) {
                debug!(actor.log, "nothing could be leased: {error}"; "kind" => "store");
            }
            match result {
                Ok(backlog) => {
                    actor.backlog = backlog;
                    actor.report();
                    actor.drive(ctx);
                }
                Err(error) => {
                    actor.unrecorded = settled;
                    actor.changed = true;
                    // what was leased may be what was not recorded
                    actor.window.clear();
                    actor.more = true;
                    actor.not_recorded(&error, ctx);
                }
            }
        }));
    }

    fn not_recorded(&mut self, error: &StoreError, ctx: &mut Context<Self>) {
        if self.unrecorded.is_empty() {
            warn!(self.log, "the state of the destination could not be recorded: {error}"; "kind" => "store");
        } else {
            crit!(self.log, "what was delivered could not be recorded, a restart now would repeat it: {error}"; "kind" => "store",
                "items" => self.unrecorded.len());
        }
        match error {
            StoreError::Closed if self.stopping => ctx.stop(),
            StoreError::Closed => {}
            // also when it is to end: its next life would send again what this one could not record
            StoreError::Failing(_) => self.wake_after(STORE_AGAIN, ctx),
        }
    }

    /// It may wait for an hour, and what piles up meanwhile is to be seen.
    fn recount_soon(&mut self, ctx: &mut Context<Self>) {
        if !self.is_stdout() && !std::mem::replace(&mut self.recounting, true) {
            ctx.run_later(RECOUNT_EVERY, |actor, ctx| {
                actor.recounting = false;
                actor.changed = true;
                actor.drive(ctx);
            });
        }
    }

    // === sending ===

    fn send(&mut self, ctx: &mut Context<Self>) {
        let Some(item) = self.window.front() else { return };
        let seq = item.seq;
        let delivery = match item.delivery() {
            Ok(delivery) => delivery,
            Err(error) => return self.unreadable(seq, &error, ctx),
        };
        let color = self.colors.get(delivery.source.name.as_str()).copied();
        let Some(request) = request::deliver(&self.destination, &delivery, color, Timestamp::now()) else { return };
        debug!(self.log, "sending"; "item" => &delivery.id, "source" => &delivery.source.name);
        self.ask(request, ctx, move |actor, answer, ctx| actor.sent(seq, answer, ctx));
    }

    fn unreadable(&mut self, seq: u64, error: &serde_json::Error, ctx: &mut Context<Self>) {
        crit!(self.log, "an item of the outbox cannot be read and goes to the dead letters, please report it: {error}"; "kind" => "store");
        let refused = DeliveryError { kind: ErrorKind::Store, message: error.to_string(), at: Timestamp::now() };
        self.window.pop_front();
        self.unrecorded.push(Settled { seq, refused: Some(refused) });
        self.drive(ctx);
    }

    fn probe(&mut self, ctx: &mut Context<Self>) {
        let Some(request) = request::probe(&self.destination) else { return };
        self.ask(request, ctx, |actor, answer, ctx| {
            let Some(courier) = &mut actor.courier else { return };
            let back = courier.probed(answer, &mut actor.governor.borrow_mut(), Instant::now(), Timestamp::now());
            if back {
                info!(actor.log, "the destination is there again"; "queued" => actor.backlog.queued);
            }
            actor.changed = true;
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

    fn sent(&mut self, seq: u64, answer: Answer, ctx: &mut Context<Self>) {
        let Some(courier) = &mut self.courier else { return };
        let failed_before = courier.record.failures;
        let (now, wall) = (Instant::now(), Timestamp::now());
        let ended = courier.answered(answer, &mut self.governor.borrow_mut(), now, wall, &mut self.rng);
        match ended {
            Ended::Delivered => {
                if failed_before > 0 {
                    info!(self.log, "delivering again"; "after_failures" => failed_before);
                }
                self.window.pop_front();
                self.unrecorded.push(Settled { seq, refused: None });
            }
            Ended::Refused(error) => {
                error!(self.log, "the item is refused and goes to the dead letters: {}", error.message;
                    "kind" => error.kind.to_string(), "item" => self.window.front().and_then(|item| item.delivery().ok()).map(|delivery| delivery.id));
                self.window.pop_front();
                self.unrecorded.push(Settled { seq, refused: Some(error) });
            }
            Ended::Kept(error, until) => {
                let wait = until.saturating_duration_since(now);
                self.tell_kept(&error, failed_before + 1, wait);
                self.changed = true;
                self.report();
            }
        }
        self.drive(ctx);
    }

    fn tell_kept(&self, error: &DeliveryError, attempt: u32, wait: Duration) {
        let (kind, wait_ms) = (error.kind.to_string(), u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        let gone = self.courier.as_ref().is_some_and(|courier| courier.record.gone);
        if gone {
            error!(self.log, "the destination is gone, its items are kept and it is probed hourly: {}", error.message; "kind" => kind);
        } else if error.kind == ErrorKind::RateLimited {
            info!(self.log, "asked to wait: {}", error.message; "kind" => kind, "wait_ms" => wait_ms);
        } else {
            warn!(self.log, "delivery failed and is tried again: {}", error.message; "kind" => kind, "attempt" => attempt,
                "wait_ms" => wait_ms);
        }
    }

    /// All that is leased, as lines.
    fn write(&mut self, ctx: &mut Context<Self>) {
        let writer = match self.writer.take().map_or_else(Writer::start, Ok) {
            Ok(writer) => writer,
            Err(error) => return self.not_written(&error, ctx),
        };
        let mut lines = String::new();
        for item in &self.window {
            lines += &item.json;
            lines.push('\n');
        }
        self.busy = true;
        let write = async move {
            let result = writer.write(lines).await;
            (writer, result)
        };
        ctx.spawn(write.into_actor(self).map(|(writer, result), actor, ctx| {
            actor.busy = false;
            actor.writer = Some(writer);
            match result {
                Ok(()) => {
                    let settled = actor.window.drain(..).map(|item| Settled { seq: item.seq, refused: None });
                    actor.unrecorded.extend(settled);
                    if let Some(courier) = &mut actor.courier {
                        courier.wrote(actor.unrecorded.len() as u64, Timestamp::now());
                    }
                    actor.drive(ctx);
                }
                Err(error) => actor.not_written(&error, ctx),
            }
        }));
    }

    fn not_written(&mut self, error: &std::io::Error, ctx: &mut Context<Self>) {
        let Some(courier) = &mut self.courier else { return };
        let problem = Problem { kind: ErrorKind::ClosedEarly, message: format!("standard output: {error}") };
        let now = Instant::now();
        if let Ended::Kept(error, until) = courier.not_written(problem, now, Timestamp::now(), &mut self.rng) {
            warn!(self.log, "lines could not be written and are kept: {}", error.message;
                "wait_ms" => until.saturating_duration_since(now).as_millis() as u64);
        }
        self.report();
        self.drive(ctx);
    }

    fn report(&self) {
        let Some(courier) = &self.courier else { return };
        self.health.do_send(DeliveryReported {
            destination: self.destination.name.clone(),
            state: courier.state(Instant::now()),
            queued: self.backlog.queued,
            delivered: courier.record.delivered,
            dead_letters: self.backlog.dead_letters,
            oldest_queued: self.backlog.oldest,
            last_delivered: courier.record.last_delivered,
            last_error: courier.record.last_error.clone(),
            refused_in_a_row: courier.record.refused_in_a_row,
            last_refused: courier.record.last_refused,
            blocked_since: courier.record.blocked_since,
            reason: None,
        });
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
        (self.more, self.stale) = (true, true);
        if self.busy {
            return;
        }
        match self.timer {
            None if self.is_stdout() => self.wake_after(LINGER, ctx),
            None => self.drive(ctx),
            Some(_) => self.recount_soon(ctx),
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

    /// Its life is over when the request in flight has ended and is recorded.
    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        self.stopping = true;
        self.drive(ctx);
    }
}
