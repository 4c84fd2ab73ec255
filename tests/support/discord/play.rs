//! How each verb is played: what is answered in place of the usual, and what happens to the connection.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
use serde_json::json;

use super::{
    answer::{Answer, Scope, whole_seconds},
    messages,
    pipeline::{self, Target, form_error},
    state::{State, Wait},
    verb::Verb,
};

const DAY: Duration = Duration::from_secs(86_400);
const HTML: &str = "text/html; charset=UTF-8";
const TEXT: &str = "text/plain; charset=UTF-8";

/// What happens on the wire.
pub(super) struct Scene {
    pub(super) delay: Duration,
    /// None: nothing is said.
    pub(super) answer: Option<Answer>,
    pub(super) chunked: bool,
    /// Only half of the body is sent.
    pub(super) cut: bool,
    pub(super) then: Then,
}

/// What happens to the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Keep,
    Close,
    Reset,
    ResetOnReuse,
    Hang,
}

impl Scene {
    fn usual(answer: Answer) -> Self {
        Self { delay: Duration::ZERO, answer: Some(answer), chunked: false, cut: false, then: Then::Keep }
    }

    fn silent(then: Then) -> Self {
        Self { delay: Duration::ZERO, answer: None, chunked: false, cut: false, then }
    }
}

/// Verbs that are played before the body is read.
pub(super) fn at_head(verb: &Verb) -> Option<Then> {
    match verb {
        Verb::Refuse | Verb::ResetBeforeBody => Some(Then::Reset),
        Verb::Hang => Some(Then::Hang),
        _ => None,
    }
}

/// Decides about a request that is read whole, and writes down what is decided.
pub(super) fn decide(state: &mut State, index: usize, target: &Target, verb: Option<Verb>) -> Scene {
    let now = Instant::now();
    let scene = match verb {
        None => Scene::usual(pipeline::answer(state, index, target, now)),
        Some(verb) => match instead(state, target, &verb, now) {
            Some(answer) => {
                if answer.status == 403 || answer.status == 401 || answer.status == 429 {
                    state.invalid(now);
                }
                Scene::usual(answer)
            }
            None => twisted(state, index, target, verb, now),
        },
    };
    let Some(answer) = &scene.answer else { return scene };
    let wait = answer.announces.map(|(scope, wait)| (scope, now + wait));
    state.requests[index].retry_until = wait.map(|(_, until)| until);
    if let Some((scope, until)) = wait {
        let wait = Wait { from: now, until, told: target.hook };
        match (scope, target.hook, target.route) {
            (Scope::Webhook, Some(hook), Some(route)) => drop(state.hooks[hook].waits.insert(route, wait)),
            (Scope::Webhook, ..) => {}
            (Scope::All, ..) => state.waits.push(wait),
        }
    }
    if answer.dead
        && let Some(hook) = target.hook
    {
        state.hooks[hook].death_told.get_or_insert(index);
    }
    scene
}

/// Verbs that answer without asking the pipeline. Nothing is stored.
fn instead(state: &mut State, target: &Target, verb: &Verb, now: Instant) -> Option<Answer> {
    let limited = "You are being rate limited.";
    let modern = target.modern();
    let with_bucket = |state: &mut State, answer: Answer| match (target.hook, target.route) {
        (Some(hook), Some(route)) => {
            let hash = state.bucket_hash;
            answer.with_bucket(state.hooks[hook].bucket(route, now), hash, modern, now)
        }
        _ => answer,
    };
    Some(match verb {
        Verb::Status(status) => edge(*status),
        Verb::Forbidden1010 => Answer::new(403, TEXT, "error code: 1010"),
        Verb::Forbidden40333 => {
            let body = json!({"message": "internal network error", "code": 40333});
            Answer::new(403, "application/json", body.to_string())
        }
        Verb::Unauthorized => Answer { dead: true, ..Answer::error(401, 50027, "Invalid Webhook Token") },
        Verb::NotFound => Answer { dead: true, ..Answer::error(404, 10015, "Unknown Webhook") },
        Verb::UnknownChannel => Answer::error(404, 10003, "Unknown Channel"),
        Verb::BadForm => {
            let fault = json!({"code": "BASE_TYPE_MAX_LENGTH", "message": "Must be 256 or fewer in length."});
            with_bucket(state, form_error(&json!({"embeds": {"0": {"title": {"_errors": [fault]}}}})))
        }
        Verb::Redirect(status, location) => Answer::new(*status, HTML, page("moved")).with("Location", location),
        Verb::Raw(status, headers, body) => {
            Answer { headers: headers.clone(), bare: true, ..Answer::new(*status, "", body.clone()) }
        }
        Verb::CaptivePortal => Answer::new(200, HTML, page("please log in")),
        Verb::RateLimited(wait) => used_up(&Answer::rate_limited(*wait, modern, "user", limited), *wait),
        Verb::RateLimitedHuge => used_up(&Answer::rate_limited(DAY, modern, "user", limited), DAY),
        Verb::RateLimitedShared(wait) => {
            let message = "The resource is being rate limited.";
            with_bucket(state, Answer::rate_limited(*wait, modern, "shared", message))
        }
        Verb::RateLimitedGlobal(wait) => Answer::rate_limited(*wait, modern, "global", limited),
        // NaN is no JSON, and some servers write it
        Verb::RateLimitedNan => odd("NaN").with("Retry-After", "NaN"),
        Verb::RateLimitedNegative => odd("-1.0").with("Retry-After", "-1"),
        Verb::RateLimitedBare => Answer::json(429, &json!({"message": limited, "global": false})),
        Verb::RateLimitedBodyOnly(wait) => {
            let answer = Answer::rate_limited(*wait, modern, "user", limited);
            answer.without("X-RateLimit").without("Retry-After")
        }
        Verb::RateLimitedHeaderOnly(wait) => {
            let wait = Duration::from_secs(whole_seconds(*wait));
            let answer = Answer::new(429, "", "").with("Retry-After", wait.as_secs());
            answer.announcing(Scope::Webhook, wait)
        }
        Verb::CloudflareText(wait) => cloudflare(Answer::new(429, TEXT, "error code: 1015"), *wait),
        Verb::CloudflareHtml(wait) => cloudflare(Answer::new(429, HTML, page("Error 1015")), *wait),
        Verb::CloudflareJson => {
            let message = "You are being blocked from accessing our API temporarily due to exceeding our rate limits \
                           frequently.";
            Answer::new(429, "application/json", json!({"code": 0, "message": message}).to_string())
        }
        _ => return None,
    })
}

/// Verbs that change the usual answer.
fn twisted(state: &mut State, index: usize, target: &Target, verb: Verb, now: Instant) -> Scene {
    if verb == Verb::BucketHashChange {
        state.bucket_hash = state.bucket_hash.rotate_left(20) ^ 0x5eed;
    }
    let answer = pipeline::answer(state, index, target, now);
    if verb.wants_success() && !answer.stored {
        match target.hook {
            Some(hook) => state.hooks[hook].script.put_back(verb),
            None => state.script.put_back(verb),
        }
        return Scene::usual(answer);
    }
    let same = |answer: Answer, body: &str| Answer { stored: true, ..answer_like(&answer, 200, HTML, body.as_bytes()) };
    match verb {
        Verb::AcceptThenReset => {
            note_stored(state, index);
            Scene::silent(Then::Reset)
        }
        Verb::AcceptThenHang => {
            note_stored(state, index);
            Scene::silent(Then::Hang)
        }
        Verb::AcceptThen(status) => Scene::usual(Answer { stored: true, ..edge(status) }),
        Verb::CutBody => {
            let answer = waited(state, target, answer);
            Scene { cut: true, then: Then::Close, ..Scene::usual(answer) }
        }
        Verb::CloseIdleKeepAlive => Scene { then: Then::Close, ..Scene::usual(answer) },
        Verb::ResetOnReuse => Scene { then: Then::ResetOnReuse, ..Scene::usual(answer) },
        Verb::Slow(delay) => Scene { delay, ..Scene::usual(answer) },
        Verb::TruncatedJson => {
            let mut answer = waited(state, target, answer);
            answer.body.truncate(answer.body.len() / 2);
            Scene::usual(answer)
        }
        Verb::NonJson200 => Scene::usual(same(answer, "<html><body>ok</body></html>")),
        Verb::OkInsteadOfNoContent => {
            let answer = waited(state, target, answer);
            Scene::usual(answer)
        }
        Verb::NoContentDespiteWait => Scene::usual(answer_like(&answer, 204, "", b"")),
        Verb::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&answer.body).expect("into memory");
            let body = encoder.finish().expect("into memory");
            Scene::usual(Answer { body, ..answer }.with("Content-Encoding", "gzip"))
        }
        Verb::Chunked => Scene { chunked: answer.status != 204, ..Scene::usual(answer) },
        Verb::LowercaseHeaders => Scene::usual(Answer { lower_case: true, ..answer }),
        Verb::MissingRateLimitHeaders => Scene::usual(answer.without("X-RateLimit")),
        Verb::ClockSkew(seconds) => Scene::usual(Answer { skew: seconds, ..answer }),
        _ => Scene::usual(answer),
    }
}

/// What the answer would have said if there were one.
fn note_stored(state: &mut State, index: usize) {
    state.requests[index].stored = true;
}

/// The answer to a client that waits, whether it does or not.
fn waited(state: &State, target: &Target, answer: Answer) -> Answer {
    let message = target.hook.and_then(|hook| Some((&state.hooks[hook], state.hooks[hook].messages.last()?)));
    match message {
        Some((hook, message)) if answer.status == 204 => {
            answer_like(&answer, 200, "application/json", messages::object(hook, message).to_string().as_bytes())
        }
        _ => answer,
    }
}

/// With the headers of `like`, but for the media type.
fn answer_like(like: &Answer, status: u16, media: &str, body: &[u8]) -> Answer {
    let mut answer = Answer { status, body: body.to_vec(), ..like.clone().without("Content-Type") };
    if !media.is_empty() {
        answer = answer.with("Content-Type", media);
    }
    answer
}

/// A status as it comes from what stands before Discord, or from Discord in trouble.
fn edge(status: u16) -> Answer {
    match status {
        502 | 504 | 520..=599 => Answer::new(status, HTML, page(&format!("{status}"))),
        503 => {
            let text = "upstream connect error or disconnect/reset before headers. reset reason: overflow";
            Answer::new(503, "text/plain", text)
        }
        _ => Answer::error(status, 0, &format!("{status}: as the script says")),
    }
}

/// 429 with the headers of a bucket that has nothing left until the wait is over.
fn used_up(answer: &Answer, wait: Duration) -> Answer {
    let reset = jiff::Timestamp::now() + jiff::SignedDuration::try_from(wait).unwrap_or_default();
    answer
        .clone()
        .with("X-RateLimit-Limit", 5)
        .with("X-RateLimit-Remaining", 0)
        .with("X-RateLimit-Reset", format!("{}.{:03}", reset.as_second(), reset.subsec_millisecond()))
        .with("X-RateLimit-Reset-After", format!("{:.3}", wait.as_secs_f64()))
}

/// 429 with this text for a number.
fn odd(number: &str) -> Answer {
    let body = format!(r#"{{"message": "You are being rate limited.", "retry_after": {number}, "global": false}}"#);
    Answer::new(429, "application/json", body).with("Via", "1.1 google").with("X-RateLimit-Scope", "user")
}

fn cloudflare(answer: Answer, wait: Duration) -> Answer {
    let wait = Duration::from_secs(whole_seconds(wait));
    answer.with("Retry-After", wait.as_secs()).announcing(Scope::All, wait)
}

fn page(text: &str) -> String {
    format!("<!DOCTYPE html>\n<html><head><title>{text}</title></head><body><h1>{text}</h1></body></html>\n")
}
