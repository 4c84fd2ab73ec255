//! What the log says of a destination.

use slog::{crit, error, warn};

use super::*;
use crate::{delivery::progress::Told, model::DeliveryError};

impl DeliveryActor {
    pub(super) fn tell_delivered(&mut self, delivery: &Delivery, message_id: Option<&str>) {
        if self.progress.recovered() {
            info!(self.log, "delivering again");
        }
        let (source, item) = (&delivery.source.name, &delivery.item);
        let (title, link) = (item.title.as_deref(), item.link.as_deref());
        match self.progress.delivered(self.backlog.queued.saturating_sub(1)) {
            Told::Message => {
                info!(self.log, "delivered"; "source" => source, "title" => title, "link" => link, "message_id" => message_id);
            }
            Told::OneOfMany => {
                debug!(self.log, "delivered"; "source" => source, "title" => title, "link" => link, "message_id" => message_id);
            }
        }
        self.tell_backlog(Instant::now(), Timestamp::now());
    }

    /// In a backlog: once a minute, how much is left and until when.
    pub(super) fn tell_backlog(&mut self, now: Instant, wall: Timestamp) {
        if let Some(line) = self.progress.line(self.backlog.queued.saturating_sub(1), now, wall) {
            let until = line.until.map(|until| format!("{until:.0}"));
            info!(self.log, "delivering a backlog, with a line a minute instead of a line a message: {} items are left", line.left;
                "left" => line.left, "until" => until);
        }
    }

    pub(super) fn tell_written(&mut self, lines: usize) {
        if lines > 0 {
            debug!(self.log, "lines written"; "lines" => lines);
            if self.progress.recovered() {
                info!(self.log, "delivering again");
            }
        }
    }

    pub(super) fn tell_refused(&mut self, delivery: &Delivery, error: &DeliveryError) {
        if self.progress.recovered() {
            info!(self.log, "answering again");
        }
        let item = &delivery.item;
        error!(self.log, "the destination refused an item, it is a dead letter now: {}", error.message;
            "kind" => error.kind.to_string(), "source" => &delivery.source.name, "title" => item.title.as_deref(),
            "link" => item.link.as_deref(), "item" => &delivery.id);
    }

    pub(super) fn tell_unreadable(&self, error: &DeliveryError) {
        crit!(self.log, "an item of the outbox cannot be read, it is a dead letter now, please report it: {}", error.message;
            "kind" => "store");
    }

    /// A request failed and its item waits.
    pub(super) fn tell_kept(&mut self, error: &DeliveryError, wait: Duration) {
        let Some(courier) = &self.courier else { return };
        let (gone, attempt) = (courier.record.gone, courier.record.failures);
        let holding = wait >= Duration::from_secs(60);
        let (kind, message) = (error.kind.to_string(), &error.message);
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        if error.kind == ErrorKind::RateLimited && !holding {
            debug!(self.log, "asked to wait: {message}"; "kind" => kind, "wait_ms" => wait_ms);
        } else if !self.progress.failed(error.kind) {
            debug!(self.log, "delivery failed again: {message}"; "kind" => kind, "attempt" => attempt, "wait_ms" => wait_ms);
        } else if gone {
            error!(self.log, "the destination is gone, its items are kept; it is probed in a minute, later hourly, and at once by a reload (systemctl reload kawaraban): {message}";
                "kind" => kind);
        } else if error.kind == ErrorKind::RateLimited {
            warn!(self.log, "asked to wait for long: {message}"; "kind" => kind, "wait_ms" => wait_ms);
        } else {
            warn!(self.log, "delivery failed and is tried again: {message}"; "kind" => kind, "attempt" => attempt,
                "wait_ms" => wait_ms);
        }
    }

    pub(super) fn tell_probed(&mut self, back: bool) {
        if back {
            self.progress.recovered();
            info!(self.log, "the destination is there again"; "queued" => self.backlog.queued);
        } else {
            debug!(self.log, "the destination is still gone");
        }
    }

    pub(super) fn tell_not_recorded(&self, error: &StoreError) {
        match self.leases.unrecorded() {
            0 => {
                warn!(self.log, "the state of the destination could not be recorded: {error}"; "kind" => "store");
            }
            items => {
                crit!(self.log, "what was delivered could not be recorded, a restart now would repeat it: {error}";
                    "kind" => "store", "items" => items);
            }
        }
    }
}
