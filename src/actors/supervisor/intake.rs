//! What the sources bring: documents for the store, results of polls, records to be written.

use actix::{ActorFutureExt, AsyncContext, Context, Handler, ResponseActFuture, ResponseFuture, WrapFuture};
use slog::warn;

use super::Supervisor;
use crate::{
    actors::messages::{AppraiseDocument, OutboxReady, PollFinished, StoreDocument},
    store::{Ingested, StoreError},
};

impl Supervisor {
    /// Writes the records that changed. A record that could not be written stays for the next time.
    pub(super) fn save(&mut self, ctx: &mut Context<Self>) {
        if self.unsaved.is_empty() {
            return;
        }
        let records: Vec<_> = std::mem::take(&mut self.unsaved).into_iter().collect();
        let marks = std::mem::take(&mut self.counted);
        let store = self.seat.store.clone();
        let save = async move {
            let result = store.save_sources(records.clone()).await;
            (records, result)
        };
        ctx.spawn(save.into_actor(self).map(move |(records, result), actor, _| {
            if let Err(error) = result {
                actor.counted.extend(marks);
                warn!(actor.seat.log, "states of sources could not be written, they are kept for later: {error}"; "kind" => "store");
                for (name, record) in records {
                    actor.unsaved.entry(name).or_insert(record);
                }
            }
        }));
    }
}

impl Handler<StoreDocument> for Supervisor {
    type Result = ResponseActFuture<Self, Result<Ingested, StoreError>>;

    fn handle(&mut self, StoreDocument { ingest, fence }: StoreDocument, _: &mut Self::Context) -> Self::Result {
        // the document's record is newer than one that waits to be written
        self.unsaved.remove(&ingest.source.name);
        let store = self.seat.store.clone();
        let source = ingest.source.clone();
        let stored = async move { store.ingest_unless(ingest, fence).await };
        Box::pin(stored.into_actor(self).map(move |stored, actor, _| {
            if stored.is_ok() {
                // one whose writing failed meanwhile came back
                actor.unsaved.remove(&source.name);
            }
            // what could not be answered may be stored all the same, and then nothing else would say so
            if stored.as_ref().map_or(true, |ingested| ingested.accepted + ingested.backfilled > 0) {
                // those that serve the destinations by now; one that starts later finds it in its outbox
                for delivery in source.to.iter().filter_map(|name| actor.deliveries.running(name)) {
                    delivery.do_send(OutboxReady);
                }
            }
            stored
        }))
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
