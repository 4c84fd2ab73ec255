//! How the fake misbehaves when it is told to: one verb for one request.

use std::{collections::VecDeque, time::Duration};

/// What is played in place of the usual answer, or on top of it.
///
/// "Stored" verbs want a request that is accepted: while a limit or a validator refuses, they wait.
#[derive(Debug, Clone, PartialEq)]
pub enum Verb {
    // ——— connections that break; nothing is stored unless the name says so
    /// RST. Pushed on [`Discord`](super::Discord): at accept, before a byte is read. Pushed on one webhook, whose
    /// path must be read to know it: after the head. For ECONNREFUSED there is
    /// [`Discord::go_down`](super::Discord::go_down).
    Refuse,
    /// The head is read and nothing more happens, until the client goes away.
    Hang,
    /// RST after the head.
    ResetBeforeBody,
    /// Stored; then RST in place of an answer.
    AcceptThenReset,
    /// Stored; then nothing, until the client goes away.
    AcceptThenHang,
    /// Stored; then 500, 502 or 503 as [`Verb::Status`] tells it.
    AcceptThen(u16),
    /// Stored; the answer breaks off with a FIN within its body.
    CutBody,
    /// The usual answer, `Connection` says nothing, and yet a FIN follows.
    CloseIdleKeepAlive,
    /// The usual answer; the next request on the connection meets an RST, unread and unrecorded.
    ResetOnReuse,
    // ——— statuses; nothing is stored
    /// Such as the edge sends: HTML for 502, 504 and 520 to 524, text for 503, JSON for the others.
    Status(u16),
    /// The usual answer, so much later. What is stored is stored at once.
    Slow(Duration),
    /// 403 `error code: 1010`: Cloudflare bans the client.
    Forbidden1010,
    /// 403 with code 40333.
    Forbidden40333,
    /// 401 with code 50027. The webhook is dead to the oracle.
    Unauthorized,
    /// 404 with code 10015. The webhook is dead to the oracle.
    NotFound,
    /// 404 with code 10003: the thread is unknown, the webhook lives.
    UnknownChannel,
    /// 400 with the body of a form error.
    BadForm,
    /// This status and `Location`.
    Redirect(u16, String),
    /// Anything else: status, headers, body; and nothing is added.
    Raw(u16, Vec<(String, String)>, Vec<u8>),
    // ——— successes that look odd; stored
    /// 200 with half of the JSON, whole as HTTP.
    TruncatedJson,
    /// 200 with HTML.
    NonJson200,
    /// 200 with HTML, of somebody who is in between: not stored.
    CaptivePortal,
    /// 200 and the message, though nobody waits.
    OkInsteadOfNoContent,
    /// 204, though somebody waits.
    NoContentDespiteWait,
    /// The usual answer, gzip.
    Gzip,
    /// The usual answer, chunked.
    Chunked,
    /// The usual answer, its headers' names in lower case.
    LowercaseHeaders,
    /// The usual answer without any `X-RateLimit-*`.
    MissingRateLimitHeaders,
    /// The usual answer, and from now on another `X-RateLimit-Bucket`.
    BucketHashChange,
    /// The usual answer with `Date` and `X-RateLimit-Reset` off by so many seconds.
    ClockSkew(i64),
    // ——— 429
    /// Of the webhook's own bucket.
    RateLimited(Duration),
    /// Of what webhooks share; `Remaining` is above 0.
    RateLimitedShared(Duration),
    /// Of everything from here.
    RateLimitedGlobal(Duration),
    /// A day.
    RateLimitedHuge,
    /// `retry_after` is not a number.
    RateLimitedNan,
    /// `retry_after` is -1.
    RateLimitedNegative,
    /// No `retry_after`, no header.
    RateLimitedBare,
    /// `retry_after` in the body and no header.
    RateLimitedBodyOnly(Duration),
    /// `Retry-After` and an empty body.
    RateLimitedHeaderOnly(Duration),
    /// `error code: 1015` and `Retry-After`, of Cloudflare.
    CloudflareText(Duration),
    /// A page and `Retry-After`, of Cloudflare.
    CloudflareHtml(Duration),
    /// The static JSON of Cloudflare, without `Retry-After`.
    CloudflareJson,
}

impl Verb {
    /// Whether it is only played on a request that stores.
    pub(super) fn wants_success(&self) -> bool {
        matches!(
            self,
            Self::AcceptThenReset
                | Self::AcceptThenHang
                | Self::AcceptThen(_)
                | Self::CutBody
                | Self::TruncatedJson
                | Self::NonJson200
                | Self::OkInsteadOfNoContent
                | Self::NoContentDespiteWait
        )
    }
}

/// Verbs in the order in which they were pushed, each for so many requests.
#[derive(Debug, Default)]
pub(super) struct Script(VecDeque<(Verb, usize)>);

impl Script {
    pub(super) fn push(&mut self, verb: Verb, times: usize) {
        if times > 0 {
            self.0.push_back((verb, times));
        }
    }

    pub(super) fn peek(&self) -> Option<&Verb> {
        self.0.front().map(|(verb, _)| verb)
    }

    pub(super) fn take(&mut self) -> Option<Verb> {
        let (verb, times) = self.0.front_mut()?;
        let verb = verb.clone();
        *times -= 1;
        if *times == 0 {
            self.0.pop_front();
        }
        Some(verb)
    }

    /// For a verb that could not be played: it is the next one again.
    pub(super) fn put_back(&mut self, verb: Verb) {
        self.0.push_front((verb, 1));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
