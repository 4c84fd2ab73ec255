//! `/health` and what stands under it.

use std::time::Duration;

use actix::{Message, Recipient};
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::{Handles, Latest, REPLY, json, json_report, refuse};
use crate::{
    actors::messages::{GetLiveness, GetReadiness, GetSourceHealth},
    health::report::{SourceStatus, Status},
};

/// A probe's answer is at most so old.
const PROBE_FRESH: Duration = Duration::from_millis(20);

/// Flags: `?strict`, `?brief`, with a value or without.
#[derive(Debug, Deserialize)]
pub(super) struct Flags {
    strict: Option<String>,
    brief: Option<String>,
}

fn is_set(flag: Option<&String>) -> bool {
    flag.is_some_and(|value| !matches!(value.as_str(), "0" | "false" | "no"))
}

#[derive(Serialize)]
struct Silent<'a> {
    status: Status,
    reasons: [&'a str; 1],
}

pub(super) async fn whole(handles: web::Data<Handles>, flags: web::Query<Flags>) -> HttpResponse {
    let silent = |reason: &str| json(503, &Silent { status: Status::Down, reasons: [reason] });
    let report = match timeout(REPLY, handles.reports.get(is_set(flags.brief.as_ref()))).await {
        Ok(Ok(report)) => report,
        Ok(Err(reason)) => return silent(&reason),
        Err(_) => return silent("the health actor does not reply"),
    };
    let well = match report.status {
        Status::Ok => true,
        Status::Degraded => !is_set(flags.strict.as_ref()),
        Status::Down => false,
    };
    json_report(if well { 200 } else { 503 }, report)
}

pub(super) async fn live(handles: web::Data<Handles>) -> HttpResponse {
    probe("live", ask_once(&handles.last_live, ask(&handles.live, GetLiveness)).await)
}

pub(super) async fn ready(handles: web::Data<Handles>) -> HttpResponse {
    probe("ready", ask_once(&handles.last_ready, ask(&handles.ready, GetReadiness)).await)
}

/// Asks the Supervisor for all who probe at the same time.
async fn ask_once(
    latest: &Latest<Result<(), String>>,
    ask: impl Future<Output = Option<Result<(), String>>>,
) -> Result<(), String> {
    let answer = latest.get(async { ask.await.ok_or(()) }, |began| began + PROBE_FRESH);
    match timeout(REPLY, answer).await {
        Ok(Ok(answer)) => answer,
        _ => Err("the supervisor does not reply".to_owned()),
    }
}

fn probe(what: &'static str, answer: Result<(), String>) -> HttpResponse {
    #[derive(Serialize)]
    struct Probe {
        status: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    }
    match answer {
        Ok(()) => json(200, &Probe { status: what, reason: None }),
        Err(reason) => json(503, &Probe { status: "unavailable", reason: Some(reason) }),
    }
}

pub(super) async fn source(handles: web::Data<Handles>, name: web::Path<String>) -> HttpResponse {
    match ask(&handles.source, GetSourceHealth(name.into_inner())).await {
        None => refuse(503, "the health actor does not reply"),
        Some(None) => refuse(404, "no source of this name is configured and enabled"),
        Some(Some(report)) => {
            let lost = matches!(report.status, SourceStatus::Down | SourceStatus::Gone);
            json(if lost { 503 } else { 200 }, &report)
        }
    }
}

/// None if it did not reply in time.
async fn ask<M>(who: &Recipient<M>, message: M) -> Option<M::Result>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    timeout(REPLY, who.send(message)).await.ok()?.ok()
}
