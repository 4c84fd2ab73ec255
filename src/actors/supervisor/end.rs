//! Ends: of one child, by a panic or as it was asked to, and of all of them.

use std::time::Duration;

use actix::{ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseActFuture, WrapFuture};
use jiff::Timestamp;
use slog::{crit, error, warn};
use tokio::{sync::oneshot, time::timeout};

use super::{Supervisor, lives::Followed, sources::SourceHandle};
use crate::{
    actors::{
        death_watch::ChildTerminated,
        messages::{ChildId, Role, Stop},
    },
    resilience::backoff::Backoff,
};

/// Requests in flight may end within this time at a shutdown, which has its own deadline above it.
const ENDS_WITHIN: Duration = Duration::from_secs(3);
/// First wait after a panic, doubled with each that follows…
const MIN_BACKOFF: Duration = Duration::from_secs(1);
/// …up to this.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// Ends everything: sources at once, deliveries after the request in flight; answers when all is
/// written.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Shutdown;

impl Supervisor {
    fn start_child(&mut self, child: &ChildId, ctx: &mut Context<Self>) {
        match child.role {
            Role::Source => self.load_source(child.name.clone(), child.life, ctx),
            Role::Delivery => self.start_delivery(&child.name, child.life, ctx),
        }
    }

    /// A child panicked: it is started again after a wait, if it is still wanted then.
    fn start_later(&mut self, next: ChildId, deaths: u32, cause: &str, ctx: &mut Context<Self>) {
        let wait = Backoff::new(MIN_BACKOFF, MAX_BACKOFF).wait(deaths, &mut self.rng);
        let role = match next.role {
            Role::Source => "source",
            Role::Delivery => "delivery",
        };
        error!(self.seat.log, "actor panicked, restarting: {cause}"; "kind" => "panic", "role" => role,
            "name" => &next.name, "deaths" => deaths, "wait_ms" => wait.as_millis() as u64);
        ctx.run_later(wait, move |actor, ctx| {
            let wanted = match next.role {
                Role::Source => actor.sources.waited(&next.name, next.life),
                Role::Delivery => actor.deliveries.waited(&next.name, next.life),
            };
            if wanted {
                actor.start_child(&next, ctx);
            }
        });
    }
}

impl Handler<ChildTerminated<ChildId>> for Supervisor {
    type Result = ();

    fn handle(&mut self, ChildTerminated { child, panic }: ChildTerminated<ChildId>, ctx: &mut Self::Context) {
        let ChildId { role, name, life } = child;
        let cause = panic.clone().unwrap_or_else(|| "it ended by itself".to_owned());
        let followed = match role {
            Role::Source => self.sources.ended(&name, life, panic, Timestamp::now()),
            Role::Delivery => self.deliveries.ended(&name, life, panic, Timestamp::now()),
        };
        match followed {
            Followed::Nothing => {}
            Followed::Start(life) => self.start_child(&ChildId { role, name, life }, ctx),
            Followed::StartLater { life, deaths } => {
                self.start_later(ChildId { role, name, life }, deaths, &cause, ctx);
            }
        }
        if self.sources.is_empty() && self.deliveries.is_empty() {
            // the shutdown, if there is one, may have given up waiting
            let _ = self.all_ended.take().map(|waiting| waiting.send(()));
        }
    }
}

impl Handler<Shutdown> for Supervisor {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) -> Self::Result {
        self.save(ctx);
        self.sources.close().for_each(SourceHandle::stop);
        self.deliveries.close().for_each(|addr| addr.do_send(Stop));
        let (waiting, all_ended) = oneshot::channel();
        if self.sources.is_empty() && self.deliveries.is_empty() {
            let _ = waiting.send(());
        } else {
            self.all_ended = Some(waiting);
        }
        let ended = timeout(ENDS_WITHIN, all_ended).into_actor(self);
        let saved = ended.then(|ended, actor, _| {
            if ended.is_err() {
                let late: Vec<_> = actor.deliveries.all_living().map(|(name, _)| name.to_string()).collect();
                warn!(actor.seat.log, "deliveries do not end in time: a message in flight may be repeated";
                    "destinations" => late.join(", "));
            }
            let records: Vec<_> = std::mem::take(&mut actor.unsaved).into_iter().collect();
            let store = actor.seat.store.clone();
            async move { if records.is_empty() { Ok(()) } else { store.save_sources(records).await } }.into_actor(actor)
        });
        Box::pin(saved.map(|saved, actor, ctx| {
            if let Err(error) = saved {
                crit!(actor.seat.log, "states of sources could not be written at the end: {error}"; "kind" => "store");
            }
            ctx.stop();
        }))
    }
}
