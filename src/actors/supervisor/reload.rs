//! A reload: the plan is carried out name by name, each as soon as its former life is over.

use std::sync::Arc;

use actix::{Handler, Message};
use slog::info;

use super::{
    Supervisor,
    plan::{Plan, plan},
};
use crate::{actors::messages::ProbeNow, config::Config};

/// Replaces the configuration. Names that left are stopped, those that changed end and start again, new ones
/// are started. The answer comes when all is under way: a name whose former life takes its time to end follows
/// the newest configuration by then.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Reload(pub Arc<Config>);

impl Handler<Reload> for Supervisor {
    type Result = ();

    fn handle(&mut self, Reload(config): Reload, ctx: &mut Self::Context) {
        let old = std::mem::replace(&mut self.seat.config, config.clone());
        let Plan { sources, destinations, delivery_settings, concurrency } = plan(&old, &config);
        info!(self.seat.log, "configuration reloaded"; "sources" => config.sources.len(),
            "sources_started" => sources.start.len(), "sources_stopped" => sources.leave.len(),
            "destinations_started" => destinations.start.len(), "destinations_stopped" => destinations.leave.len());
        // before any source of the new configuration reports
        self.tell_configured();
        self.seat.store.configured(config.sources.iter().map(|source| source.name.clone()).collect());
        if concurrency {
            self.limits.configure(config.concurrency);
        }
        // sources first: what is still stored goes to destinations that are there
        sources.leave.iter().for_each(|name| self.drop_source(name));
        sources.start.iter().for_each(|source| self.want_source(source, ctx));
        destinations.leave.iter().for_each(|name| self.drop_delivery(name));
        destinations.start.iter().for_each(|destination| self.want_delivery(destination, ctx));
        if delivery_settings {
            self.apply_delivery_settings();
        }
        self.deliveries.all_running().for_each(|(_, addr)| addr.do_send(ProbeNow));
        self.save(ctx);
    }
}
