//! The destination `stdout`: all that is leased goes out as lines.

use super::*;
use crate::{
    delivery::stdout::{End, Written},
    model::line::escaped_json,
    store::Settled,
};

impl DeliveryActor {
    /// Writes all that is leased.
    pub(super) fn write(&mut self, ctx: &mut Context<Self>) {
        let Some(courier) = &mut self.courier else { return };
        courier.writing(Instant::now());
        self.busy = true;
        let lines = self.leases.waiting().map(|item| escaped_json(&item.json).into_owned() + "\n").collect();
        let writing = self.stdout.write(&self.destination.name, lines);
        self.withdraw = Some(Box::new(writing.withdraw()));
        ctx.spawn(writing.done().into_actor(self).map(|written, actor, ctx| {
            actor.busy = false;
            actor.withdraw = None;
            actor.written(written, ctx);
        }));
    }

    fn written(&mut self, Written { lines, end }: Written, ctx: &mut Context<Self>) {
        let Some(courier) = &mut self.courier else { return };
        let (now, wall) = (Instant::now(), Timestamp::now());
        courier.wrote(lines as u64, wall);
        let failed = match end {
            End::Done | End::Withdrawn => None,
            End::Failed(error) => {
                let problem =
                    Problem { kind: ErrorKind::ClosedEarly, message: format!("standard output: {error}").into() };
                Some(courier.not_written(problem, now, wall, &mut self.rng))
            }
        };
        self.out.extend((0..lines).filter_map(|_| self.leases.end(None)));
        self.tell_written(lines);
        if let Some(Ended::Kept(error, until)) = failed {
            self.tell_kept(&error, until.saturating_duration_since(now));
            self.changed = true;
        }
        self.report();
        self.drive(ctx);
    }

    /// The writer need not remember these lines any longer.
    pub(super) fn settled(&mut self, ended: &[Settled]) {
        let settled: Vec<Queued> = self.out.drain(..ended.len().min(self.out.len())).collect();
        if !settled.is_empty() {
            let lines: Vec<_> = settled.iter().map(|item| escaped_json(&item.json)).collect();
            self.stdout.settled(&self.destination.name, lines.iter().map(AsRef::as_ref));
        }
    }
}
