//! What systemd is told: READY, a status line, that we live, STOPPING (sd_notify(3)).
//!
//! Without `$NOTIFY_SOCKET` nothing happens. The watchdog is fed at half of `WATCHDOG_USEC`, and only
//! while the condition of `/health/live` holds: a daemon that hangs is started anew.

use std::time::Duration;

use actix::Recipient;
use sd_notify::NotifyState;
use slog::{Logger, info, warn};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::{
    actors::messages::{GetHealthSummary, GetLiveness, GetReadiness},
    health::report::HealthSummary,
};

/// How often readiness is asked until it is there.
const READY_POLL: Duration = Duration::from_millis(50);
/// How long systemd is asked to wait on: without it, a daemon that waits for room on the disk would be
/// ended and started again all night.
const MORE_TIME: Duration = Duration::from_secs(30);
/// How often the status line is renewed.
const STATUS_EVERY: Duration = Duration::from_secs(10);

/// Tells systemd until it is dropped.
pub struct Notifier {
    tasks: Vec<JoinHandle<()>>,
}

/// Starts telling.
pub fn start(
    live: Recipient<GetLiveness>,
    ready: Recipient<GetReadiness>,
    health: Recipient<GetHealthSummary>,
    log: &Logger,
) -> Notifier {
    let mut tasks = vec![actix::spawn(tell_status(ready, health, log.clone()))];
    if let Some(period) = sd_notify::watchdog_enabled() {
        tasks.push(actix::spawn(feed_watchdog(period / 2, live, log.clone())));
    }
    Notifier { tasks }
}

impl Notifier {
    /// The end has begun.
    pub fn stopping(&self) {
        for task in &self.tasks {
            task.abort();
        }
        send(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }
}

async fn tell_status(ready: Recipient<GetReadiness>, health: Recipient<GetHealthSummary>, log: Logger) {
    let mut told: Option<Instant> = None;
    while let Some(reason) = unready(&ready).await {
        if told.is_none_or(|told| told.elapsed() >= STATUS_EVERY) {
            let more = u32::try_from(MORE_TIME.as_micros()).unwrap_or(u32::MAX);
            send(&[NotifyState::ExtendTimeoutUsec(more), NotifyState::Status(&format!("starting: {reason}"))]);
            told = Some(Instant::now());
        }
        sleep(READY_POLL).await;
    }
    info!(log, "ready");
    send(&[NotifyState::Ready]);
    loop {
        if let Ok(summary) = health.send(GetHealthSummary).await {
            send(&[NotifyState::Status(&status_line(&summary))]);
        }
        sleep(STATUS_EVERY).await;
    }
}

/// Why the daemon is not ready; none when it is.
async fn unready(ready: &Recipient<GetReadiness>) -> Option<String> {
    match ready.send(GetReadiness).await {
        Ok(answer) => answer.err(),
        Err(_) => Some("the supervisor does not reply".to_owned()),
    }
}

async fn feed_watchdog(every: Duration, live: Recipient<GetLiveness>, log: Logger) {
    loop {
        match live.send(GetLiveness).await {
            Ok(Ok(())) => send(&[NotifyState::Watchdog]),
            Ok(Err(reason)) => warn!(log, "the watchdog is not fed: {reason}"),
            Err(error) => warn!(log, "the watchdog is not fed: the supervisor does not reply ({error})"),
        }
        sleep(every).await;
    }
}

/// In the words of `/health`: `ok: 12 of 12 sources ok, 3 items queued`, and the first reason where there is one.
fn status_line(HealthSummary { status, reasons, sources, sources_well, queued }: &HealthSummary) -> String {
    let counts = format!("{status}: {sources_well} of {sources} sources ok, {queued} items queued");
    match reasons.split_first() {
        None => counts,
        Some((reason, [])) => format!("{counts}; {reason}"),
        Some((reason, more)) => format!("{counts}; {reason}; {} more", more.len()),
    }
}

fn send(state: &[NotifyState<'_>]) {
    // nobody listens, or nobody does any more: there is nobody to tell that to
    let _ = sd_notify::notify(state);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::report::Status;

    #[test]
    fn the_status_line_has_the_words_of_the_report() {
        let line = |status, reasons: &[&str]| {
            let reasons = reasons.iter().map(|reason| (*reason).to_owned()).collect();
            status_line(&HealthSummary { status, reasons, sources: 12, sources_well: 11, queued: 3 })
        };
        assert_eq!(line(Status::Ok, &[]), "ok: 11 of 12 sources ok, 3 items queued");
        assert_eq!(line(Status::Degraded, &["a"]), "degraded: 11 of 12 sources ok, 3 items queued; a");
        assert_eq!(line(Status::Down, &["a", "b", "c"]), "down: 11 of 12 sources ok, 3 items queued; a; 2 more");
    }
}
