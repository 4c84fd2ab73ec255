//! What an answer means for the item, for the destination, and for everybody.

use std::time::Duration;

use awc::http::header::HeaderMap;
use jiff::Timestamp;
use serde::Deserialize;

use crate::{
    config::DestinationKind,
    fetch::{Reply, SendFailure, retry_after::http_date},
    model::{ErrorKind, Line},
};

/// Longest wait that an answer can impose.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// Where a 429 names no usable time.
const UNNAMED: Duration = Duration::from_secs(5);
/// Shortest wait after a 429.
const SHORTEST: Duration = Duration::from_millis(250);
/// Characters of an answer's own words that are kept.
const WORDS: usize = 2000;

/// What came of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What it means.
    pub verdict: Verdict,
    /// What it announced of its bucket: requests left, and when they begin anew.
    pub bucket: Option<(u64, Duration)>,
    /// Whether it came from Discord itself and not from what stands before it.
    pub genuine: bool,
    /// The id of the message that Discord made of the item.
    pub message_id: Option<String>,
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
    /// Tried again with backoff, and not before the time that it named.
    Retry(Problem, Option<Duration>),
}

/// Who must wait, and for how long. The host's limits concern all its Discord destinations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// This destination; the limit was announced.
    Announced(Duration),
    /// This destination; the limit was not announced (a channel's).
    Hidden(Duration),
    /// The whole host.
    Global(Duration),
    /// The whole host: a block, with the time that it named.
    Block(Option<Duration>),
}

/// For the log and `last_error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `http_<status>`, `rate_limited`, or of the connection.
    pub kind: ErrorKind,
    /// With the destination's own words; never a secret.
    pub message: Line,
}

/// Discord's error body.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Words {
    id: Option<serde_json::Value>,
    message: Option<String>,
    code: Option<u64>,
    retry_after: Option<serde_json::Value>,
    global: Option<bool>,
    errors: Option<serde_json::Value>,
}

/// Reads what came of a request to `destination`.
pub fn read(kind: &DestinationKind, result: Result<Reply, SendFailure>, wall: Timestamp) -> Answer {
    let reply = match result {
        Ok(reply) => reply,
        Err(failed) => return broken_off(kind, failed, wall),
    };
    let words = serde_json::from_slice::<Words>(&reply.body).ok();
    let verdict = match kind {
        _ if is_success(reply.status) => Verdict::Delivered,
        DestinationKind::Discord { .. } => discord(&reply, words.as_ref(), said(kind, &reply, words.as_ref()), wall),
        DestinationKind::Webhook { .. } | DestinationKind::Stdout => webhook(&reply, said(kind, &reply, None), wall),
    };
    let genuine = words.is_some();
    let is_id = |id: &&str| !id.is_empty() && id.len() <= 20 && id.bytes().all(|byte| byte.is_ascii_digit());
    let message_id = words.as_ref().and_then(|words| words.id.as_ref()?.as_str());
    let message_id = message_id.filter(|id| verdict == Verdict::Delivered && is_id(id)).map(str::to_owned);
    Answer { verdict, bucket: bucket(&reply.headers), genuine, message_id }
}

/// What came before the answer broke off still counts: a success is one, a limit is one, and a wait that was named
/// is kept. All else could only be judged by its body.
fn broken_off(kind: &DestinationKind, failed: SendFailure, wall: Timestamp) -> Answer {
    let problem = Problem { kind: failed.failure.kind, message: failed.failure.message };
    let bucket = failed.begun.as_ref().and_then(|reply| bucket(&reply.headers));
    let verdict = match failed.begun {
        Some(reply) if is_success(reply.status) => Verdict::Delivered,
        Some(reply) if reply.status == 429 => {
            let said = Some(format!("the answer broke off ({})", problem.message));
            match kind {
                DestinationKind::Discord { .. } => discord(&reply, None, said, wall),
                DestinationKind::Webhook { .. } | DestinationKind::Stdout => webhook(&reply, said, wall),
            }
        }
        Some(reply) => Verdict::Retry(problem, retry_after(&reply.headers, wall)),
        None => Verdict::Retry(problem, None),
    };
    Answer { verdict, bucket, genuine: false, message_id: None }
}

fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

fn discord(reply: &Reply, words: Option<&Words>, said: Option<String>, wall: Timestamp) -> Verdict {
    let code = words.and_then(|words| words.code);
    let problem = problem(reply.status, said);
    let named = || retry_after(&reply.headers, wall);
    match (reply.status, code) {
        (429, _) => Verdict::Limited(limit(reply, words, wall), problem),
        (403, Some(40333)) => Verdict::Limited(Limit::Block(named()), problem),
        (404, Some(10015)) | (401, Some(50027)) | (403, Some(50001 | 50013)) => Verdict::Gone(problem),
        (403, None) => Verdict::Limited(Limit::Block(named()), problem),
        // an unknown thread; a forum without a thread, or a thread in what is no forum; a tag is missing
        (404, Some(10003)) | (400, Some(220_001..=220_004 | 40067)) => Verdict::Misconfigured(problem),
        (400 | 413, _) => Verdict::Refused(problem),
        _ => Verdict::Retry(problem, named()),
    }
}

fn webhook(reply: &Reply, said: Option<String>, wall: Timestamp) -> Verdict {
    let problem = problem(reply.status, said);
    let named = retry_after(&reply.headers, wall);
    match reply.status {
        410 => Verdict::Gone(problem),
        400 | 413 | 422 => Verdict::Refused(problem),
        429 => Verdict::Limited(Limit::Announced(named.unwrap_or(UNNAMED).max(SHORTEST)), problem),
        _ => Verdict::Retry(problem, named),
    }
}

/// Who is limited by a 429. One that is not in Discord's own words comes from what stands before it, unless it says
/// that it is JSON and cannot be read.
fn limit(reply: &Reply, words: Option<&Words>, wall: Timestamp) -> Limit {
    let named = words.and_then(|words| words.retry_after.as_ref());
    let scope = text(&reply.headers, "x-ratelimit-scope");
    let announced = text(&reply.headers, "x-ratelimit-reset-after").is_some() || scope.is_some();
    let unread = words.is_none() && text(&reply.headers, "content-type").is_some_and(|media| media.contains("json"));
    let global = scope == Some("global")
        || text(&reply.headers, "x-ratelimit-global").is_some()
        || words.is_some_and(|words| words.global == Some(true));
    if named.is_none() && !announced && !unread && !global {
        return Limit::Block(retry_after(&reply.headers, wall));
    }
    // the two say the same, one of them rounded up: the later one is never too early
    let body = named.and_then(serde_json::Value::as_f64).and_then(seconds);
    let wait = body.max(retry_after(&reply.headers, wall));
    let wait = wait.or_else(|| bucket(&reply.headers).map(|(_, reset)| reset)).unwrap_or(UNNAMED).max(SHORTEST);
    let left = bucket(&reply.headers).is_some_and(|(remaining, _)| remaining > 0);
    if global {
        Limit::Global(wait)
    } else if scope == Some("shared") || left {
        Limit::Hidden(wait)
    } else {
        Limit::Announced(wait)
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

/// What the headers say of the bucket; `Reset-After`, since `Reset` needs two clocks that agree.
fn bucket(headers: &HeaderMap) -> Option<(u64, Duration)> {
    let remaining = text(headers, "x-ratelimit-remaining")?.parse().ok()?;
    let reset = seconds(text(headers, "x-ratelimit-reset-after")?.parse().ok()?)?;
    Some((remaining, reset))
}

/// Seconds or a date (RFC 9110, section 10.2.3); fractions are taken too. A date is held against that of the answer,
/// for our own clock may be wrong.
fn retry_after(headers: &HeaderMap, wall: Timestamp) -> Option<Duration> {
    let value = text(headers, "retry-after")?;
    if let Ok(number) = value.parse::<f64>() {
        return seconds(number);
    }
    let until = http_date(value)?;
    let from = |from: Timestamp| Duration::try_from(until.duration_since(from)).ok().filter(|wait| !wait.is_zero());
    let wait = text(headers, "date").and_then(http_date).and_then(from).or_else(|| from(wall))?;
    Some(wait.min(LONGEST))
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
    Problem { kind, message: format!("HTTP {status}{meaning}{said}").into() }
}

/// What the answer says, without the secrets of the destination, should they be in it. Pages are left out.
fn said(kind: &DestinationKind, reply: &Reply, words: Option<&Words>) -> Option<String> {
    let whole = || {
        let text = std::str::from_utf8(&reply.body).ok()?.trim();
        (!text.is_empty() && !text.starts_with('<')).then(|| text.chars().take(WORDS).collect::<String>())
    };
    let mut text = words.and_then(Words::sentence).or_else(whole)?;
    for secret in secrets(kind) {
        text = text.replace(&secret, "…");
    }
    let shown = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    Some(shown.take(WORDS).collect())
}

/// The parts of its configuration that nobody may read.
fn secrets(kind: &DestinationKind) -> Vec<String> {
    let (url, key) = match kind {
        DestinationKind::Discord { url } => (url.expose(), None),
        DestinationKind::Webhook { url, secret } => (url.expose(), secret.as_ref().map(|key| key.expose().clone())),
        DestinationKind::Stdout => return Vec::new(),
    };
    let token = url.path_segments().and_then(|mut segments| segments.next_back()).map(str::to_owned);
    let parts = [token, url.query().map(str::to_owned), url.password().map(str::to_owned), key];
    // shorter ones are no secrets, and would be found in every word
    parts.into_iter().flatten().filter(|part| part.len() >= 6).collect()
}

impl Words {
    /// Message, code, and the place of each fault.
    fn sentence(&self) -> Option<String> {
        let mut text = self.message.clone()?;
        if let Some(code) = self.code {
            text += &format!(" ({code})");
        }
        let mut faults = Vec::new();
        if let Some(errors) = &self.errors {
            collect(errors, &mut String::new(), &mut faults);
        }
        if !faults.is_empty() {
            text += &format!(": {}", faults.join("; "));
        }
        Some(text)
    }
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
            assert!(matches!(verdict(reply(status, &[], body)), Verdict::Retry(_, None)), "{status} {body}");
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
        let Verdict::Refused(problem) = verdict(reply(400, &[], r#"{"embeds":["0"]}"#)) else { panic!("not refused") };
        assert_eq!(problem.message, r#"HTTP 400: {"embeds":["0"]}"#);
    }

    #[test]
    fn a_webhooks_statuses_mean_what_the_contract_says() {
        let url = Secret::new(Url::parse("https://h.example/x").unwrap());
        let kind = DestinationKind::Webhook { url, secret: Some(Secret::new("k3y-of-it".to_owned())) };
        let verdict = |reply| read(&kind, Ok(reply), Timestamp::UNIX_EPOCH).verdict;
        assert_eq!(verdict(reply(204, &[], "")), Verdict::Delivered);
        assert!(matches!(verdict(reply(410, &[], "")), Verdict::Gone(_)));
        for status in [400, 413, 422] {
            assert!(matches!(verdict(reply(status, &[], "")), Verdict::Refused(_)));
        }
        for status in [302, 401, 403, 404, 500, 503] {
            assert!(matches!(verdict(reply(status, &[], "")), Verdict::Retry(_, None)), "{status}");
            let later = reply(status, &[("retry-after", "120")], "");
            assert!(matches!(verdict(later), Verdict::Retry(_, Some(wait)) if wait.as_secs() == 120), "{status}");
        }
        let limit = verdict(reply(429, &[("retry-after", "120")], "no"));
        assert!(matches!(limit, Verdict::Limited(Limit::Announced(wait), _) if wait.as_secs() == 120));
        let Verdict::Refused(problem) = verdict(reply(422, &[], "no title\nk3y-of-it")) else { panic!("not refused") };
        assert_eq!(problem.message, "HTTP 422: no title …");
    }

    #[test]
    fn a_wait_may_be_a_date_and_is_held_against_the_answers_own() {
        let headers =
            |date: &'static str| reply(503, &[("retry-after", "Thu, 01 Jan 1970 00:02:00 GMT"), ("date", date)], "");
        let wait = |reply| match verdict(reply) {
            Verdict::Retry(_, wait) => wait.map(|wait: Duration| wait.as_secs()),
            other => panic!("{other:?}"),
        };
        assert_eq!(wait(reply(503, &[("retry-after", "Thu, 01 Jan 1970 00:02:00 GMT")], "")), Some(120));
        assert_eq!(wait(headers("Thu, 01 Jan 1970 00:01:30 GMT")), Some(30));
        assert_eq!(wait(headers("Thu, 01 Jan 1970 00:10:00 GMT")), Some(120), "a date that makes no sense");
        assert_eq!(wait(reply(503, &[("retry-after", "soon")], "")), None);
    }

    #[test]
    fn what_came_before_an_answer_broke_off_counts() {
        let url = Url::parse("https://discord.com/api/v10/webhooks/1/t").unwrap();
        let kind = DestinationKind::Discord { url: Secret::new(url) };
        let broken = |kind: &DestinationKind, begun| {
            let failure = Failure::transient(ErrorKind::ConnectionReset, "reset");
            read(kind, Err(SendFailure { failure, begun }), Timestamp::UNIX_EPOCH).verdict
        };
        let problem = || Problem { kind: ErrorKind::ConnectionReset, message: "reset".into() };
        assert_eq!(broken(&kind, None), Verdict::Retry(problem(), None));
        assert_eq!(broken(&kind, Some(reply(200, &[], ""))), Verdict::Delivered);
        assert_eq!(broken(&kind, Some(reply(400, &[], ""))), Verdict::Retry(problem(), None), "its words are missing");
        let later = [("retry-after", "90")];
        assert_eq!(broken(&kind, Some(reply(503, &later, ""))), Verdict::Retry(problem(), Some(wait(90.0))));
        let limits = [
            (vec![("retry-after", "90")], Limit::Block(Some(wait(90.0)))),
            (vec![("retry-after", "90"), ("content-type", "application/json")], Limit::Announced(wait(90.0))),
            (vec![("retry-after", "90"), ("x-ratelimit-scope", "shared")], Limit::Hidden(wait(90.0))),
            (vec![("retry-after", "90"), ("x-ratelimit-global", "true")], Limit::Global(wait(90.0))),
        ];
        for (headers, limit) in limits {
            let verdict = broken(&kind, Some(reply(429, &headers, "")));
            assert!(matches!(verdict, Verdict::Limited(found, _) if found == limit), "{headers:?}: {verdict:?}");
        }
        let url = Secret::new(Url::parse("https://h.example/x").unwrap());
        let verdict = broken(&DestinationKind::Webhook { url, secret: None }, Some(reply(429, &later, "")));
        assert!(matches!(verdict, Verdict::Limited(Limit::Announced(found), _) if found == wait(90.0)), "{verdict:?}");
    }

    #[test]
    fn the_bucket_is_read_from_every_answer() {
        let url = Secret::new(Url::parse("https://discord.com/api/v10/webhooks/1/t").unwrap());
        let headers = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset-after", "1.873")];
        let kind = DestinationKind::Discord { url };
        let answer = read(&kind, Ok(reply(200, &headers, r#"{"id":"77","type":0}"#)), Timestamp::UNIX_EPOCH);
        assert_eq!((answer.verdict, answer.bucket), (Verdict::Delivered, Some((0, wait(1.873)))));
        assert_eq!(answer.message_id.as_deref(), Some("77"));
        let odd = read(&kind, Ok(reply(200, &[], r#"{"id":"7\n7"}"#)), Timestamp::UNIX_EPOCH);
        assert_eq!((odd.verdict, odd.message_id), (Verdict::Delivered, None));
    }
}
