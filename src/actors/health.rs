//! Health: hears of every poll and every delivery, keeps the counters, and answers how things stand.
//!
//! A shell around [`HealthState`]: it reads the clocks, keeps the counters in the store, and passes word of an
//! outage on. Reports are made elsewhere, from snapshots.

use std::time::Duration;

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, MessageResult, Recipient, ResponseActFuture,
    WrapFuture,
};
use slog::{Logger, error, info, warn};

use crate::{
    actors::{
        clock,
        messages::{
            Configured, DaemonReported, DeliveryReported, GetHealthSummary, GetSnapshot, GetSourceHealth, LimitReached,
            OutageBegan, OutageEnded, SourcePolled, SourceScheduled, Stop,
        },
    },
    health::{
        counters::SourceCounters,
        outage::Change,
        report::{HealthSummary, SourceReport, Status},
        state::HealthState,
    },
    model::{ErrorKind, Moment, Name},
    store::{Store, StoreError},
};

/// A kill costs at most so much of the counters.
const SAVE_EVERY: Duration = Duration::from_secs(5);
/// How soon the store is asked again for earlier counters.
const LOAD_AGAIN: Duration = Duration::from_secs(1);
/// How often the log is told when the status changed.
const TELL_EVERY: Duration = Duration::from_secs(15);

/// What it is made of.
pub struct Seat {
    /// Where the counters are kept.
    pub store: Store,
    /// Who is told when our own network is out.
    pub outage_began: Recipient<OutageBegan>,
    /// Who is told when it is back.
    pub outage_ended: Recipient<OutageEnded>,
    /// The log.
    pub log: Logger,
}

/// See the module.
pub struct HealthActor {
    seat: Seat,
    state: HealthState,
    /// Earlier counters are loaded; before that nothing is written over them.
    loaded: bool,
    saving: bool,
    told: Status,
}

impl HealthActor {
    /// Loads the earlier counters once it knows the sources.
    pub fn new(seat: Seat) -> Self {
        Self { seat, state: HealthState::new(clock::now()), loaded: false, saving: false, told: Status::Ok }
    }

    /// The time, after whatever changes with it.
    fn now(&mut self) -> Moment {
        let now = clock::now();
        if let Some(by) = self.state.look(now) {
            warn!(self.seat.log, "the system's clock was set: waits go on as they were"; "by_s" => by.as_secs());
        }
        now
    }

    fn load(&mut self, ctx: &mut Context<Self>) {
        let store = self.seat.store.clone();
        let load = async move {
            loop {
                match store.load_health().await {
                    Ok(records) => return Some(records),
                    Err(StoreError::Closed) => return None,
                    Err(StoreError::Failing(_)) => tokio::time::sleep(LOAD_AGAIN).await,
                }
            }
        };
        ctx.spawn(load.into_actor(self).map(|records, actor, _| {
            let now = actor.now();
            for (name, bytes) in records.into_iter().flatten() {
                actor.restore(&name, &bytes, now);
            }
            actor.state.restored();
            actor.loaded = true;
        }));
    }

    fn restore(&mut self, name: &str, bytes: &[u8], now: Moment) {
        match (Name::new(name), serde_json::from_slice::<SourceCounters>(bytes)) {
            (Ok(name), Ok(counters)) => self.state.restore(&name, counters, now),
            (_, Err(error)) => {
                warn!(self.seat.log, "the counters of an earlier run cannot be read, they begin anew: {error}"; "source" => name);
            }
            (Err(error), _) => warn!(self.seat.log, "counters of no possible source: {error}"; "source" => name),
        }
    }

    fn save(&mut self, ctx: &mut Context<Self>) {
        if self.saving || !self.loaded {
            return;
        }
        let (names, records) = self.unsaved();
        if records.is_empty() {
            return;
        }
        self.saving = true;
        let store = self.seat.store.clone();
        let save = async move { store.save_health(records).await };
        ctx.spawn(save.into_actor(self).map(|result, actor, _| {
            actor.saving = false;
            if let Err(error) = result {
                warn!(actor.seat.log, "counters could not be written, they are kept for later: {error}"; "kind" => "store");
                actor.state.put_back(names);
            }
        }));
    }

    fn unsaved(&mut self) -> (Vec<Name>, Vec<(String, Vec<u8>)>) {
        let counters = self.state.take_unsaved();
        let mut names = Vec::with_capacity(counters.len());
        let mut records = Vec::with_capacity(counters.len());
        for (name, counters) in counters {
            match serde_json::to_vec(&counters) {
                Ok(bytes) => records.push((name.to_string(), bytes)),
                Err(error) => error!(self.seat.log, "counters cannot be written: {error}"; "source" => &name),
            }
            names.push(name);
        }
        (names, records)
    }

    fn summary(&mut self) -> HealthSummary {
        let now = self.now();
        self.state.summary(now, &self.seat.store.status())
    }

    /// The log tells of changes; the details of every failure stand there already.
    fn tell_change(&mut self) {
        let HealthSummary { status, reasons, .. } = self.summary();
        if status == self.told {
            return;
        }
        self.told = status;
        let first: Vec<_> = reasons.iter().take(5).map(String::as_str).collect();
        match status {
            Status::Ok => info!(self.seat.log, "health: ok again"),
            Status::Degraded => {
                warn!(self.seat.log, "health: degraded: {}", first.join("; "); "reasons" => reasons.len())
            }
            Status::Down => {
                error!(self.seat.log, "health: down: {}", first.join("; "); "reasons" => reasons.len())
            }
        }
    }
}

impl Actor for HealthActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(SAVE_EVERY, |actor, ctx| actor.save(ctx));
        ctx.run_interval(TELL_EVERY, |actor, _| actor.tell_change());
    }
}

impl Handler<DaemonReported> for HealthActor {
    type Result = ();

    fn handle(&mut self, report: DaemonReported, _: &mut Self::Context) {
        self.state.daemon(report);
    }
}

impl Handler<Configured> for HealthActor {
    type Result = ();

    fn handle(&mut self, configured: Configured, ctx: &mut Self::Context) {
        // each source may send two messages at a time, and none may be refused
        ctx.set_mailbox_capacity(configured.sources.len() * 2 + 64);
        // of sources that leave, too
        self.save(ctx);
        self.state.configured(configured);
        // a source that comes with a reload may have counters of an earlier life
        self.loaded = false;
        self.load(ctx);
    }
}

impl Handler<SourcePolled> for HealthActor {
    type Result = ();

    fn handle(&mut self, polled: SourcePolled, _: &mut Self::Context) {
        let now = self.now();
        match self.state.polled(&polled, now) {
            Change::None => {}
            Change::Began(failures) => self.seat.outage_began.do_send(OutageBegan { failures }),
            Change::Ended => self.seat.outage_ended.do_send(OutageEnded),
        }
    }
}

impl Handler<SourceScheduled> for HealthActor {
    type Result = ();

    fn handle(&mut self, scheduled: SourceScheduled, _: &mut Self::Context) {
        let now = self.now();
        self.state.scheduled(&scheduled, now);
    }
}

impl Handler<LimitReached> for HealthActor {
    type Result = ();

    fn handle(&mut self, LimitReached { message }: LimitReached, _: &mut Self::Context) {
        let now = self.now();
        if self.state.limited(&message, now) {
            warn!(self.seat.log, "requests wait: {message}"; "kind" => ErrorKind::Limits.to_string());
        }
    }
}

impl Handler<DeliveryReported> for HealthActor {
    type Result = ();

    fn handle(&mut self, report: DeliveryReported, _: &mut Self::Context) {
        let now = self.now();
        self.state.delivery(report, now);
    }
}

impl Handler<GetSnapshot> for HealthActor {
    type Result = MessageResult<GetSnapshot>;

    fn handle(&mut self, _: GetSnapshot, _: &mut Self::Context) -> Self::Result {
        let now = self.now();
        MessageResult(self.state.snapshot(now, self.seat.store.status()))
    }
}

impl Handler<GetHealthSummary> for HealthActor {
    type Result = MessageResult<GetHealthSummary>;

    fn handle(&mut self, _: GetHealthSummary, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.summary())
    }
}

impl Handler<GetSourceHealth> for HealthActor {
    type Result = Option<SourceReport>;

    fn handle(&mut self, GetSourceHealth(name): GetSourceHealth, _: &mut Self::Context) -> Self::Result {
        let now = self.now();
        self.state.source(&name, now)
    }
}

impl Handler<Stop> for HealthActor {
    type Result = ResponseActFuture<Self, ()>;

    /// Writes what is not yet written, then ends.
    fn handle(&mut self, _: Stop, _: &mut Self::Context) -> Self::Result {
        let records = if self.loaded { self.unsaved().1 } else { Vec::new() };
        let store = self.seat.store.clone();
        let save = async move { if records.is_empty() { Ok(()) } else { store.save_health(records).await } };
        Box::pin(save.into_actor(self).map(|result, actor, ctx| {
            if let Err(error) = result {
                error!(actor.seat.log, "counters could not be written at the end: {error}"; "kind" => "store");
            }
            ctx.stop();
        }))
    }
}
