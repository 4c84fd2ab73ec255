//! What an answer means for the item, for the destination, and for everybody.

use std::time::Duration;

use awc::http::header::HeaderMap;
use jiff::Timestamp;
use serde::Deserialize;

use crate::{
    config::DestinationKind,
    fetch::{self, Reply, SendFailure},
    model::ErrorKind,
};

/// Longest wait that an answer can impose.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// Where a 429 names no usable time.
const UNNAMED: Duration = Duration::from_secs(5);
/// Shortest wait after a 429.
const SHORTEST: Duration = Duration::from_millis(250);
/// Characters of an answer's own words that are kept.
const WORDS: usize = 500;

/// What came of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What it means.
    pub verdict: Verdict,
    /// What it announced of its bucket: requests left, and when they begin anew.
    pub bucket: Option<(u64, Duration)>,
    /// Whether it came from Discord itself and not from what stands before it.
    pub genuine: bool,
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The item is delivered.
    Delivered,
    /// It will never be taken: dead letter.
    Refused(Problem),
    /// Too many requests.
    Limited(Limit, Problem),
    /// The destination no longer exists, or refuses us for good.
    Gone(Problem),
    /// It is set up wrongly (no such thread, a forum without one): nothing is lost, it is tried hourly.
    Misconfigured(Problem),
    /// Tried again with backoff.
    Retry(Problem),
}

/// Who must wait, and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// This destination; the limit was announced.
    Announced(Duration),
    /// This destination; the limit was not announced (a channel's).
    Hidden(Duration),
    /// Every Discord destination.
    Global(Duration),
    /// Every Discord destination: a block, with the time that it named.
    Block(Option<Duration>),
}

/// For the log and `last_error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `http_<status>`, `rate_limited`, or of the connection.
    pub kind: ErrorKind,
    /// With the destination's own words; never a secret.
    pub message: String,
}

/// Discord's error body.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Words {
    message: Option<String>,
    code: Option<u64>,
    retry_after: Option<serde_json::Value>,
    global: Option<bool>,
    errors: Option<serde_json::Value>,
}

/// Reads what came of a request to `destination`.
pub fn read(kind: &DestinationKind, result: Result<Reply, SendFailure>, now: Timestamp) -> Answer {
    let reply = match result {
        Ok(reply) => reply,
        // a success was told; an answer that broke off after it does not take that back
        Err(failed) if failed.status.is_some_and(|status| (200..300).contains(&status)) => {
            return Answer { verdict: Verdict::Delivered, bucket: None, genuine: false };
        }
        Err(failed) => {
            let problem = Problem { kind: failed.failure.kind, message: failed.failure.message };
            return Answer { verdict: Verdict::Retry(problem), bucket: None, genuine: false };
        }
    };
    let words = serde_json::from_slice::<Words>(&reply.body).ok();
    let verdict = match kind {
        _ if (200..300).contains(&reply.status) => Verdict::Delivered,
        DestinationKind::Discord { url } => {
            let said = said(words.as_ref(), url.expose());
            discord(&reply, words.as_ref(), said, now)
        }
        DestinationKind::Webhook { .. } | DestinationKind::Stdout => webhook(&reply, now),
    };
    Answer { verdict, bucket: bucket(&reply.headers), genuine: words.is_some() }
}

fn discord(reply: &Reply, words: Option<&Words>, said: Option<String>, now: Timestamp) -> Verdict {
    let code = words.and_then(|words| words.code);
    let problem = problem(reply.status, said);
    match (reply.status, code) {
        (429, _) => Verdict::Limited(limit(reply, words, now), problem),
        (403, Some(40333)) => Verdict::Limited(Limit::Block(retry_after(reply, now)), problem),
        (404, Some(10015)) | (401, Some(50027)) | (403, Some(50001 | 50013)) => Verdict::Gone(problem),
        (403, None) => Verdict::Limited(Limit::Block(retry_after(reply, now)), problem),
        // an unknown thread; a forum without a thread, or a thread in what is no forum; a tag is missing
        (404, Some(10003)) | (400, Some(220_001..=220_004 | 40067)) => Verdict::Misconfigured(problem),
        (400 | 413, _) => Verdict::Refused(problem),
        _ => Verdict::Retry(problem),
    }
}

fn webhook(reply: &Reply, now: Timestamp) -> Verdict {
    let problem = problem(reply.status, None);
    match reply.status {
        410 => Verdict::Gone(problem),
        400 | 413 | 422 => Verdict::Refused(problem),
        429 => Verdict::Limited(Limit::Announced(retry_after(reply, now).unwrap_or(UNNAMED).max(SHORTEST)), problem),
        503 => match retry_after(reply, now) {
            Some(wait) => Verdict::Limited(Limit::Announced(wait), problem),
            None => Verdict::Retry(problem),
        },
        _ => Verdict::Retry(problem),
    }
}

/// Who is limited by a 429. One that is not in Discord's own words comes from what stands before it.
fn limit(reply: &Reply, words: Option<&Words>, now: Timestamp) -> Limit {
    let header = |name| reply.headers.get(name).and_then(|value| value.to_str().ok());
    let named = words.and_then(|words| words.retry_after.as_ref());
    let announced = header("x-ratelimit-reset-after").is_some() || header("x-ratelimit-scope").is_some();
    if named.is_none() && !announced {
        return Limit::Block(retry_after(reply, now));
    }
    // the two say the same, one of them rounded up: the later one is never too early
    let body = named.and_then(serde_json::Value::as_f64).and_then(seconds);
    let wait = body.max(retry_after(reply, now)).or_else(|| bucket(&reply.headers).map(|(_, reset)| reset));
    let wait = wait.unwrap_or(UNNAMED).max(SHORTEST);
    let scope = header("x-ratelimit-scope");
    let left = bucket(&reply.headers).is_some_and(|(remaining, _)| remaining > 0);
    if scope == Some("global")
        || header("x-ratelimit-global").is_some()
        || words.is_some_and(|words| words.global == Some(true))
    {
        Limit::Global(wait)
    } else if scope == Some("shared") || left {
        Limit::Hidden(wait)
    } else {
        Limit::Announced(wait)
    }
}

/// What the headers say of the bucket; `Reset-After`, since `Reset` needs two clocks that agree.
fn bucket(headers: &HeaderMap) -> Option<(u64, Duration)> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let remaining = text("x-ratelimit-remaining")?.parse().ok()?;
    let reset = seconds(text("x-ratelimit-reset-after")?.parse().ok()?)?;
    Some((remaining, reset))
}

/// Seconds or a date (RFC 9110, section 10.2.3); fractions are taken too.
fn retry_after(reply: &Reply, now: Timestamp) -> Option<Duration> {
    let text = reply.headers.get("retry-after")?.to_str().ok()?.trim();
    match text.parse::<f64>() {
        Ok(number) => seconds(number),
        Err(_) => fetch::retry_after::parse(text.as_bytes(), now),
    }
}

fn seconds(number: f64) -> Option<Duration> {
    // not a number is not at least zero either
    let bounded = (number >= 0.0).then(|| number.min(LONGEST.as_secs_f64()))?;
    Duration::try_from_secs_f64(bounded).ok()
}

fn problem(status: u16, said: Option<String>) -> Problem {
    let kind = if status == 429 { ErrorKind::RateLimited } else { ErrorKind::Http(status) };
    let meaning = match status {
        300..=399 => ", a redirect, which is not followed: put the new address into the configuration",
        401 => ", the address is not accepted",
        403 => ", refused",
        404 => ", not found",
        410 => ", gone",
        429 => ", too many requests",
        500..=599 => ", it has a fault of its own",
        _ => "",
    };
    let said = said.map(|said| format!(": {said}")).unwrap_or_default();
    Problem { kind, message: format!("HTTP {status}{meaning}{said}") }
}

/// Discord's own words, with the place of each fault. Without the webhook's token, should it be in them.
fn said(words: Option<&Words>, url: &url::Url) -> Option<String> {
    let words = words?;
    let mut text = words.message.clone()?;
    if let Some(code) = words.code {
        text += &format!(" ({code})");
    }
    let mut faults = Vec::new();
    if let Some(errors) = &words.errors {
        collect(errors, &mut String::new(), &mut faults);
    }
    if !faults.is_empty() {
        text += &format!(": {}", faults.join("; "));
    }
    if let Some(token) =
        url.path_segments().and_then(|mut segments| segments.next_back()).filter(|token| !token.is_empty())
    {
        text = text.replace(token, "…");
    }
    let shown = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    Some(shown.take(WORDS).collect())
}

/// Discord nests its errors by the path of what is wrong; lists stand under `_errors`. Depth is bounded by
/// the JSON parser's own limit.
fn collect(errors: &serde_json::Value, path: &mut String, into: &mut Vec<String>) {
    let Some(fields) = errors.as_object() else { return };
    for (name, value) in fields {
        if name == "_errors" {
            let messages = value.as_array().into_iter().flatten().filter_map(|error| error["message"].as_str());
            into.extend(messages.map(|message| format!("{}: {message}", path.trim_start_matches('.'))));
            continue;
        }
        let length = path.len();
        path.push('.');
        path.push_str(name);
        collect(value, path, into);
        path.truncate(length);
    }
}

#[cfg(test)]
mod tests {
    use awc::http::header::{HeaderName, HeaderValue};
    use bytes::Bytes;
    use url::Url;

    use super::*;
    use crate::model::{Failure, Secret};

    fn reply(status: u16, headers: &[(&'static str, &'static str)], body: &'static str) -> Reply {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        Reply { status, headers: map, body: Bytes::from_static(body.as_bytes()) }
    }

    fn verdict(reply: Reply) -> Verdict {
        let url = Url::parse("https://discord.com/api/v10/webhooks/1/s3cret-token").unwrap();
        read(&DestinationKind::Discord { url: Secret::new(url) }, Ok(reply), Timestamp::UNIX_EPOCH).verdict
    }

    fn limited(reply: Reply) -> Limit {
        match verdict(reply) {
            Verdict::Limited(limit, _) => limit,
            other => panic!("{other:?}"),
        }
    }

    fn wait(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_limit_is_told_by_its_scope() {
        let user = r#"{"message":"You are being rate limited.","retry_after":1.5,"global":false}"#;
        let headers = [
            ("retry-after", "2"),
            ("x-ratelimit-scope", "user"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset-after", "1.5"),
        ];
        assert_eq!(limited(reply(429, &headers, user)), Limit::Announced(wait(2.0)));
        assert_eq!(limited(reply(429, &[], user)), Limit::Announced(wait(1.5)), "the body alone is enough");
        let shared = [
            ("retry-after", "45"),
            ("x-ratelimit-scope", "shared"),
            ("x-ratelimit-remaining", "3"),
            ("x-ratelimit-reset-after", "1.5"),
        ];
        assert_eq!(limited(reply(429, &shared, user)), Limit::Hidden(wait(45.0)), "Retry-After above all");
        let global = r#"{"message":"m","retry_after":0.1,"global":true}"#;
        assert_eq!(limited(reply(429, &[("x-ratelimit-global", "true")], global)), Limit::Global(SHORTEST));
    }

    #[test]
    fn a_429_that_is_not_discords_is_a_block() {
        assert_eq!(limited(reply(429, &[("retry-after", "600")], "error code: 1015")), Limit::Block(Some(wait(600.0))));
        assert_eq!(limited(reply(429, &[], "<html>no</html>")), Limit::Block(None));
        let standing = r#"{"code":0,"message":"You are being blocked from accessing our API temporarily"}"#;
        assert_eq!(limited(reply(429, &[], standing)), Limit::Block(None));
        assert_eq!(limited(reply(403, &[], "error code: 1010")), Limit::Block(None));
        assert_eq!(
            limited(reply(403, &[], r#"{"message":"internal network error","code":40333}"#)),
            Limit::Block(None)
        );
    }

    #[test]
    fn absurd_waits_are_bounded() {
        let scope = ("x-ratelimit-scope", "user");
        assert_eq!(limited(reply(429, &[scope], r#"{"retry_after":-5}"#)), Limit::Announced(UNNAMED));
        assert_eq!(
            limited(reply(429, &[scope, ("retry-after", "NaN")], r#"{"retry_after":NaN}"#)),
            Limit::Announced(UNNAMED)
        );
        assert_eq!(limited(reply(429, &[scope], r#"{"retry_after":1e300}"#)), Limit::Announced(LONGEST));
        assert_eq!(limited(reply(429, &[scope], r#"{"retry_after":86400}"#)), Limit::Announced(wait(86400.0)));
    }

    #[test]
    fn what_is_gone_refused_or_set_up_wrongly() {
        for (status, body) in [
            (404, r#"{"message":"Unknown Webhook","code":10015}"#),
            (401, r#"{"message":"Invalid Webhook Token","code":50027}"#),
            (403, r#"{"message":"Missing Permissions","code":50013}"#),
        ] {
            assert!(matches!(verdict(reply(status, &[], body)), Verdict::Gone(_)), "{body}");
        }
        for (status, body) in
            [(404, r#"{"message":"Unknown Channel","code":10003}"#), (400, r#"{"message":"thread","code":220001}"#)]
        {
            assert!(matches!(verdict(reply(status, &[], body)), Verdict::Misconfigured(_)), "{body}");
        }
        for (status, body) in
            [(404, "<html>"), (401, "{}"), (500, ""), (301, ""), (405, r#"{"message":"405","code":0}"#)]
        {
            assert!(matches!(verdict(reply(status, &[], body)), Verdict::Retry(_)), "{status} {body}");
        }
    }

    #[test]
    fn a_refusal_keeps_discords_words_but_no_token() {
        let body = r#"{"message":"Invalid Form Body s3cret-token","code":50035,"errors":{"embeds":{"0":{"title":{"_errors":[{"code":"BASE_TYPE_MAX_LENGTH","message":"Must be 256 or fewer in length."}]}}}}}"#;
        let Verdict::Refused(problem) = verdict(reply(400, &[], body)) else { panic!("not refused") };
        assert_eq!(problem.kind, ErrorKind::Http(400));
        assert_eq!(
            problem.message,
            "HTTP 400: Invalid Form Body … (50035): embeds.0.title: Must be 256 or fewer in length."
        );
        assert!(matches!(verdict(reply(400, &[], r#"{"embeds":["0"]}"#)), Verdict::Refused(_)));
    }

    #[test]
    fn a_webhooks_statuses_mean_what_the_contract_says() {
        let url = Secret::new(Url::parse("https://h.example/x").unwrap());
        let kind = DestinationKind::Webhook { url, secret: None };
        let verdict = |reply| read(&kind, Ok(reply), Timestamp::UNIX_EPOCH).verdict;
        assert_eq!(verdict(reply(204, &[], "")), Verdict::Delivered);
        assert!(matches!(verdict(reply(410, &[], "")), Verdict::Gone(_)));
        for status in [400, 413, 422] {
            assert!(matches!(verdict(reply(status, &[], "")), Verdict::Refused(_)));
        }
        for status in [302, 401, 403, 404, 500, 503] {
            assert!(matches!(verdict(reply(status, &[], "")), Verdict::Retry(_)), "{status}");
        }
        let later = reply(503, &[("retry-after", "120")], "");
        assert!(
            matches!(verdict(later), Verdict::Limited(Limit::Announced(wait), _) if wait == Duration::from_secs(120))
        );
        let lost = |status| {
            let failure = Failure::transient(ErrorKind::ConnectionReset, "reset");
            read(&kind, Err(SendFailure { failure, written: true, status }), Timestamp::UNIX_EPOCH).verdict
        };
        assert!(matches!(lost(None), Verdict::Retry(_)));
        assert!(matches!(lost(Some(500)), Verdict::Retry(_)));
        assert_eq!(lost(Some(200)), Verdict::Delivered, "the answer was told before it broke off");
    }

    #[test]
    fn the_bucket_is_read_from_every_answer() {
        let url = Secret::new(Url::parse("https://discord.com/api/v10/webhooks/1/t").unwrap());
        let headers = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset-after", "1.873")];
        let answer = read(&DestinationKind::Discord { url }, Ok(reply(200, &headers, "{}")), Timestamp::UNIX_EPOCH);
        assert_eq!((answer.verdict, answer.bucket), (Verdict::Delivered, Some((0, wait(1.873)))));
    }
}
