//! Starts, watches and restarts the sources and the deliveries; has the documents of the sources stored.
//!
//! actix restarts no actor that panicked. A child's [`DeathWatch`](super::death_watch::DeathWatch) reports its
//! end; the child is then restarted alone, after a backoff, from its configuration and its stored state. A
//! source's panic is a failed poll of that source. What a child's end or a reload leads to is decided by
//! `lives` and `plan`, which are pure.

mod deliveries;
mod end;
mod intake;
mod lives;
mod outage;
mod plan;
mod reload;
mod sources;

use std::{collections::BTreeMap, rc::Rc, sync::Arc, time::Duration};

use actix::{Actor, Addr, AsyncContext, Context, Handler, Recipient, ResponseFuture};
use futures_util::future::join_all;
use rand::{SeedableRng, rngs::SmallRng};
use slog::Logger;
use tokio::{sync::oneshot, time::timeout};

pub use end::Shutdown;
pub use reload::Reload;

use crate::{
    actors::{
        articles::Articles,
        delivery::DeliveryActor,
        limits::Limits,
        messages::{
            Configured, ConfiguredSource, DeliveryReported, GetLiveness, GetReadiness, LimitReached, Ping,
            SourcePolled, SourceScheduled,
        },
        source,
    },
    config::{self, Config},
    delivery::{governor::Governors, stdout::Stdout},
    fetch::Tls,
    memory::{Mark, Suspects},
    model::Name,
    poll::document::Read,
    store::{SourceRecord, Store},
};
use lives::Lives;
use outage::Outage;
use plan::enabled;
use sources::SourceHandle;

/// Counters and schedules are written so often; what a kill must not undo is written at once.
const SAVE_EVERY: Duration = Duration::from_secs(5);
/// An actor that does not reply within this time is not alive.
const REPLY: Duration = Duration::from_secs(5);

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
    /// Our own limits.
    pub limits: Recipient<LimitReached>,
}

/// What the Supervisor is made of.
pub struct Seat {
    /// As loaded.
    pub config: Arc<Config>,
    /// The store.
    pub store: Store,
    /// TLS for all clients.
    pub tls: Rc<Tls>,
    /// Where the HealthActor listens.
    pub health: Health,
    /// How bodies are read.
    pub read: Read,
    /// Whose documents may end the process, or did.
    pub suspects: Suspects,
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
    governors: Governors,
    stdout: Stdout,
    ears: Option<Rc<source::Ears>>,
    sources: Lives<Arc<config::Source>, SourceHandle>,
    deliveries: Lives<Arc<config::Destination>, Addr<DeliveryActor>>,
    /// Sources whose records are loaded with the next batch.
    to_load: Vec<(Name, u64)>,
    /// Records that are not yet written.
    unsaved: BTreeMap<Name, SourceRecord>,
    /// Sources whose last poll ended with the process, until that is counted.
    crashed: BTreeMap<Name, Mark>,
    /// Their marks, until what was counted is written.
    counted: Vec<Mark>,
    outage: Option<Outage>,
    /// Told when the last child has ended, after [`Shutdown`].
    all_ended: Option<oneshot::Sender<()>>,
}

impl Supervisor {
    /// Starts its children when it is started.
    pub fn new(mut seat: Seat) -> Self {
        Self {
            rng: SmallRng::seed_from_u64(seat.seed),
            limits: Rc::new(Limits::new(seat.config.concurrency, seat.suspects.marks.clone())),
            articles: Rc::default(),
            governors: Governors::new(seat.config.discord),
            stdout: Stdout::default(),
            ears: None,
            sources: Lives::new(),
            deliveries: Lives::new(),
            to_load: Vec::new(),
            unsaved: BTreeMap::new(),
            crashed: std::mem::take(&mut seat.suspects.crashed).into_iter().collect(),
            counted: Vec::new(),
            outage: None,
            all_ended: None,
            seat,
        }
    }

    fn tell_configured(&self) {
        let config = &self.seat.config;
        let sources = enabled(config).map(|source| ConfiguredSource {
            name: source.name.clone(),
            was: source.was.clone(),
            host: source.url.host_str().unwrap_or_default().to_owned(),
            interval: source.schedule.interval,
        });
        let destinations = config.destinations.iter().map(|destination| destination.name.clone());
        self.seat
            .health
            .configured
            .do_send(Configured { sources: sources.collect(), destinations: destinations.collect() });
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // every source may report at once, and none may be refused
        ctx.set_mailbox_capacity(self.seat.config.sources.len() * 2 + 64);
        self.tell_configured();
        for destination in self.seat.config.destinations.clone() {
            self.want_delivery(&destination, ctx);
        }
        for source in enabled(&self.seat.config.clone()) {
            self.want_source(source, ctx);
        }
        ctx.run_interval(SAVE_EVERY, |actor, ctx| actor.save(ctx));
    }
}

impl Handler<GetLiveness> for Supervisor {
    type Result = ResponseFuture<Result<(), String>>;

    fn handle(&mut self, _: GetLiveness, _: &mut Self::Context) -> Self::Result {
        let store = self.seat.store.clone();
        let deliveries: Vec<_> =
            self.deliveries.all_living().map(|(name, addr)| (name.clone(), addr.clone())).collect();
        Box::pin(async move {
            let deliveries =
                deliveries.into_iter().map(async |(name, addr)| match timeout(REPLY, addr.send(Ping)).await {
                    // a closed mailbox is an actor that has just ended, which is a reply of its own
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
            return Err("the store is not open".to_owned());
        }
        match self.sources.starting() {
            0 => Ok(()),
            waiting => Err(format!("{waiting} sources are not scheduled yet")),
        }
    }
}
