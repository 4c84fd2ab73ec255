//! An outage of our own network: polls wait, but for one source in turn.

use std::time::Duration;

use actix::{AsyncContext, Handler};
use slog::{info, warn};

use super::Supervisor;
use crate::{
    actors::messages::{Hold, OutageBegan, OutageEnded, PollNow, Release},
    model::Name,
};

/// One source in turn is tried so often.
const TRIAL_EVERY: Duration = Duration::from_secs(30);
/// After an outage, overdue polls are spread over so long.
const RELEASE_OVER: Duration = Duration::from_secs(60);

/// One source in turn is tried.
pub(super) struct Outage {
    last_tried: Option<Name>,
    timer: actix::SpawnHandle,
}

impl Supervisor {
    fn try_one_source(&mut self) {
        let Some(outage) = &mut self.outage else { return };
        let after = outage.last_tried.as_ref();
        let next = self.sources.all_running().find(|(name, _)| after.is_none_or(|after| *name > after));
        if let Some((name, source)) = next.or_else(|| self.sources.all_running().next()) {
            outage.last_tried = Some(name.clone());
            source.addr.do_send(PollNow);
        }
    }
}

impl Handler<OutageBegan> for Supervisor {
    type Result = ();

    fn handle(&mut self, OutageBegan { failures }: OutageBegan, ctx: &mut Self::Context) {
        warn!(self.seat.log, "our own network seems to be out: one source in turn is tried every 30 s until one succeeds";
            "sources" => failures.len());
        for (name, source) in self.sources.all_running() {
            source.addr.do_send(Hold { failures: failures.get(name).copied().unwrap_or(0) });
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
        let of = self.sources.all_running().count().max(1) as f64;
        for (nth, (_, source)) in self.sources.all_running().enumerate() {
            source.addr.do_send(Release { delay: RELEASE_OVER.mul_f64(nth as f64 / of) });
        }
    }
}
