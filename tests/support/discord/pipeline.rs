//! The way of a request that is played no trick: the steps in a fixed order, each of which may answer.
//!
//! Route, ban, User-Agent, global limit, webhook and token, the webhook's bucket, the channel's limit, body,
//! validation, forum rules, emptiness, moderation, and at last what was asked for. Which of these come first at
//! Discord is not known everywhere; that failures consume the bucket and that the channel's limit shows
//! `Remaining` above 0 is.

use std::time::Instant;

use serde_json::{Value, json};

use super::{
    answer::{Answer, Scope, whole_seconds},
    messages,
    record::Recorded,
    state::State,
    validate,
};

/// What a path names.
#[derive(Debug, Clone, Default)]
pub(super) struct Target {
    /// None: unversioned, which Discord takes for 6.
    pub(super) version: Option<u32>,
    /// Method and kind of path, with a bucket of its own. None: no such route.
    pub(super) route: Option<&'static str>,
    /// The webhook with this id, whatever the token.
    pub(super) hook: Option<usize>,
    pub(super) token: String,
    /// For the routes of a message.
    pub(super) message: Option<String>,
    /// `None` and a known path: 405.
    known_path: bool,
}

impl Target {
    pub(super) fn of(request: &Recorded, state: &State) -> Self {
        let mut target = Self::default();
        let mut parts = request.path.strip_prefix("/api/").unwrap_or_default().split('/').peekable();
        if let Some(version) = parts.peek().and_then(|part| part.strip_prefix('v')).and_then(|n| n.parse().ok()) {
            target.version = Some(version);
            parts.next();
        }
        let parts: Vec<&str> = parts.collect();
        let (id, token, rest) = match parts.as_slice() {
            ["webhooks", id, token, rest @ ..] => (*id, *token, rest),
            _ => return target,
        };
        target.hook = state.find(id);
        target.token = token.to_owned();
        let message = match rest {
            [] => None,
            ["messages", id] if id.parse::<u64>().is_ok() => Some((*id).to_owned()),
            _ => return target,
        };
        target.known_path = id.parse::<u64>().is_ok();
        target.route = match (request.method.as_str(), &message) {
            ("POST", None) => Some("POST"),
            ("GET", None) => Some("GET"),
            ("GET", Some(_)) => Some("GET message"),
            ("PATCH", Some(_)) => Some("PATCH message"),
            ("DELETE", Some(_)) => Some("DELETE message"),
            _ => None,
        };
        target.message = message;
        target
    }

    /// From version 8 on errors are nested and waits are seconds.
    pub(super) fn modern(&self) -> bool {
        self.version.is_some_and(|version| version >= 8)
    }
}

/// The usual answer.
pub(super) fn answer(state: &mut State, index: usize, target: &Target, now: Instant) -> Answer {
    if state.banned_until.is_some_and(|until| now < until) {
        return banned(state, now);
    }
    let agent = state.requests[index].header("user-agent").unwrap_or_default();
    if agent.is_empty() || agent.starts_with("Python-urllib/") {
        state.invalid(now);
        return Answer::new(403, "text/plain; charset=UTF-8", "error code: 1010");
    }
    if matches!(target.version, Some(version) if !(6..=10).contains(&version)) {
        return Answer::error(400, 50041, "Invalid API version provided");
    }
    if !target.known_path {
        return Answer::error(404, 0, "404: Not Found");
    }
    let Some(route) = target.route else { return Answer::error(405, 0, "405: Method Not Allowed") };
    let modern = target.modern();

    if let Err(wait) = state.global.take(now) {
        state.invalid(now);
        return Answer::rate_limited(wait, modern, "global", "You are being rate limited.");
    }
    let Some(hook) = target.hook.filter(|&hook| state.hooks[hook].alive) else {
        return Answer { dead: true, ..Answer::error(404, 10015, "Unknown Webhook") };
    };
    if state.hooks[hook].token != target.token {
        state.invalid(now);
        return Answer { dead: true, ..Answer::error(401, 50027, "Invalid Webhook Token") };
    }

    let hash = state.bucket_hash;
    if let Err(wait) = state.hooks[hook].bucket(route, now).take(now) {
        state.invalid(now);
        let answer = Answer::rate_limited(wait, modern, "user", "You are being rate limited.");
        return answer.with_bucket(state.hooks[hook].bucket(route, now), hash, modern, now);
    }
    let answer = within_limits(state, index, target, hook, now);
    // a 429 of the channel shows the webhook's own bucket, with requests left
    answer.with_bucket(state.hooks[hook].bucket(route, now), hash, modern, now)
}

/// 429 of Cloudflare: text, no `Via`, no bucket.
fn banned(state: &mut State, now: Instant) -> Answer {
    let wait = state.banned_until.map_or_else(Default::default, |until| until.saturating_duration_since(now));
    Answer::new(429, "text/plain; charset=UTF-8", "error code: 1015")
        .with("Retry-After", whole_seconds(wait))
        .announcing(Scope::All, wait)
}

fn within_limits(state: &mut State, index: usize, target: &Target, hook: usize, now: Instant) -> Answer {
    let request = state.requests[index].clone();
    let channel = state.hooks[hook].channel.clone();
    if request.method == "POST" {
        let channel = state.channels.get_mut(&channel).expect("made with the webhook");
        if let Err(wait) = channel.limit.take(now) {
            let message = "The resource is being rate limited.";
            return Answer::rate_limited(wait, target.modern(), "shared", message);
        }
    }
    if !matches!(request.method.as_str(), "POST" | "PATCH") {
        return messages::read(state, target, hook, &request);
    }
    match body(&request, target).and_then(|body| allowed(state, &request, &body, hook).map(|()| body)) {
        Ok(body) => messages::write(state, index, target, hook, body),
        Err(refusal) => refusal,
    }
}

/// Read and validated.
fn body(request: &Recorded, target: &Target) -> Result<Value, Answer> {
    let media = request.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default();
    let wrong_type = json!({"_errors": [{"code": "CONTENT_TYPE_INVALID",
        "message": "Expected \"Content-Type\" header to be one of {'application/json'}."}]});
    // forms and multipart are right at Discord, and nothing that we want to see sent
    if !media.trim().eq_ignore_ascii_case("application/json") {
        return Err(form_error(&wrong_type));
    }
    let body: Value = serde_json::from_slice(&request.body)
        .map_err(|_| Answer::error(400, 50109, "The request body contains invalid JSON."))?;
    if !body.is_object() {
        let message = "Only dictionaries may be used in a DictType";
        return Err(form_error(&json!({"_errors": [{"code": "DICT_TYPE_CONVERT", "message": message}]})));
    }
    let faults = validate::validate(&body);
    if faults.is_empty() {
        Ok(body)
    } else if target.modern() {
        Err(form_error(&validate::nested(&faults)))
    } else {
        Err(Answer::json(400, &validate::legacy(&faults)))
    }
}

pub(super) fn form_error(errors: &Value) -> Answer {
    Answer::json(400, &json!({"message": "Invalid Form Body", "code": 50035, "errors": errors}))
}

/// Forum rules, emptiness, moderation.
fn allowed(state: &State, request: &Recorded, body: &Value, hook: usize) -> Result<(), Answer> {
    let hook = &state.hooks[hook];
    let channel = &state.channels[&hook.channel];
    let (thread, named) = (request.parameter("thread_id"), !body["thread_name"].is_null());
    if let Some(thread) = &thread
        && !channel.threads.contains(thread)
    {
        return Err(Answer::error(404, 10003, "Unknown Channel"));
    }
    if request.method == "POST" {
        let refusal = match (channel.forum, thread.is_some(), named) {
            (true, false, false) => {
                Some((220_001, "Webhooks posted to forum channels must have a thread_name or thread_id"))
            }
            (true, true, true) => {
                Some((220_002, "Webhooks posted to forum channels cannot have both a thread_name and thread_id"))
            }
            (false, _, true) => Some((220_003, "Webhooks can only create threads in forum channels")),
            _ => None,
        };
        if let Some((code, message)) = refusal {
            return Err(Answer::error(400, code, message));
        }
        if validate::is_empty(body) {
            return Err(Answer::error(400, 50006, "Cannot send an empty message"));
        }
    }
    if hook.filter.as_ref().is_some_and(|filter| body.to_string().contains(filter.as_str())) {
        return Err(Answer::error(400, 200_000, "Message was blocked by automatic moderation"));
    }
    Ok(())
}
