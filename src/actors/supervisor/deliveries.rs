//! Deliveries: started at once, for each loads its own record.

use std::sync::Arc;

use actix::{Actor, AsyncContext, Context};
use jiff::Timestamp;

use super::{Supervisor, lives::Order};
use crate::{
    actors::{
        death_watch::DeathWatch,
        delivery::{self, DeliveryActor},
        messages::{ApplySettings, ChildId, Role, Stop},
    },
    config,
    model::Name,
};

impl Supervisor {
    pub(super) fn want_delivery(&mut self, destination: &Arc<config::Destination>, ctx: &mut Context<Self>) {
        match self.deliveries.want(&destination.name, destination.clone()) {
            Order::Start(life) => self.start_delivery(&destination.name, life, ctx),
            Order::Stop(addr) => addr.do_send(Stop),
            Order::Nothing => {}
        }
    }

    pub(super) fn drop_delivery(&mut self, name: &Name) {
        if let Order::Stop(addr) = self.deliveries.drop_name(name) {
            addr.do_send(Stop);
        }
    }

    pub(super) fn start_delivery(&mut self, name: &Name, life: u64, ctx: &mut Context<Self>) {
        let Some(birth) = self.deliveries.to_start(name, life) else { return };
        let id = ChildId { role: Role::Delivery, name: name.clone(), life };
        let addr = DeliveryActor::new(delivery::Seat {
            destination: birth.spec.clone(),
            colors: Arc::new(self.seat.config.colors()),
            limits: self.seat.config.discord,
            store: self.seat.store.clone(),
            governor: self.governors.of(&birth.spec.kind),
            stdout: self.stdout.clone(),
            tls: self.seat.tls.with_roots(&Arc::default()),
            seed: rand::Rng::next_u64(&mut self.rng),
            health: self.seat.health.delivery.clone(),
            watch: DeathWatch::new(id, ctx.address().recipient()),
            log: self.seat.log.clone(),
        })
        .start();
        self.deliveries.started(name, birth, addr, Timestamp::now());
    }

    /// Colours and limits change without a new life.
    pub(super) fn apply_delivery_settings(&mut self) {
        self.governors.configure(self.seat.config.discord);
        let settings = ApplySettings { colors: Arc::new(self.seat.config.colors()), limits: self.seat.config.discord };
        for (_, addr) in self.deliveries.all_running() {
            addr.do_send(settings.clone());
        }
    }
}
