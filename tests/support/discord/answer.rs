//! Answers: status, headers and body, and how they become bytes.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::limits::Window;

/// Who has to wait for what a 429 announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// This webhook, with this route.
    Webhook,
    /// Everything from this address.
    All,
}

/// An answer before it is sent.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// Whether a message was stored, changed or deleted.
    pub(super) stored: bool,
    /// For a 429: who has to wait, and how long.
    pub(super) announces: Option<(Scope, Duration)>,
    /// For a 404 or 401 that says that the webhook is no more.
    pub(super) dead: bool,
    /// Whether to add what every answer of Discord has: `Date`, `Server`, `Via`.
    pub(super) bare: bool,
    /// `Date` and `X-RateLimit-Reset` are off by so many seconds.
    pub(super) skew: i64,
    pub(super) lower_case: bool,
}

impl Answer {
    pub(super) fn new(status: u16, media: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("Content-Type".to_owned(), media.to_owned())];
        Self {
            status,
            headers: if media.is_empty() { Vec::new() } else { headers },
            body: body.into(),
            stored: false,
            announces: None,
            dead: false,
            bare: false,
            skew: 0,
            lower_case: false,
        }
    }

    /// JSON of Discord's own: with the `Via` by which clients tell it from Cloudflare.
    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json", body.to_string()).with("Via", "1.1 google")
    }

    /// Discord's form of an error.
    pub(super) fn error(status: u16, code: u32, message: &str) -> Self {
        Self::json(status, &json!({"message": message, "code": code}))
    }

    pub(super) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub(super) fn without(mut self, prefix: &str) -> Self {
        self.headers.retain(|(name, _)| !name.starts_with(prefix));
        self
    }

    /// What every answer tells of its bucket.
    pub(super) fn with_bucket(self, bucket: &Window, hash: u128, modern: bool, now: Instant) -> Self {
        let after = bucket.reset_after(now);
        let reset = Timestamp::now() + SignedDuration::try_from(after).unwrap_or_default();
        let millis = reset.as_millisecond();
        let (reset, after) = if modern {
            (format!("{}.{:03}", millis / 1000, millis % 1000), format!("{:.3}", after.as_secs_f64()))
        } else {
            (format!("{}", millis / 1000 + 1), format!("{:.0}", after.as_secs_f64().ceil()))
        };
        self.with("X-RateLimit-Bucket", format!("{hash:032x}"))
            .with("X-RateLimit-Limit", bucket.limit())
            .with("X-RateLimit-Remaining", bucket.remaining())
            .with("X-RateLimit-Reset", reset)
            .with("X-RateLimit-Reset-After", after)
    }

    /// 429 in Discord's own words. The header is whole seconds, rounded up; before version 8 both are milliseconds.
    pub(super) fn rate_limited(wait: Duration, modern: bool, scope: &str, message: &str) -> Self {
        let (body, header) = if modern {
            (json!((wait.as_secs_f64() * 1000.0).round() / 1000.0), whole_seconds(wait))
        } else {
            let millis = u64::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
            (json!(millis), millis)
        };
        let global = scope == "global";
        let answer = Self::json(429, &json!({"message": message, "retry_after": body, "global": global}))
            .with("Retry-After", header)
            .with("X-RateLimit-Scope", scope);
        let answer = if global { answer.with("X-RateLimit-Global", "true") } else { answer };
        answer.announcing(if global { Scope::All } else { Scope::Webhook }, wait)
    }

    pub(super) fn announcing(mut self, scope: Scope, wait: Duration) -> Self {
        self.announces = Some((scope, wait));
        self
    }

    /// The head, with the framing that the body will have.
    pub(super) fn head(&self, chunked: bool) -> Vec<u8> {
        let mut headers = self.headers.clone();
        let now = Timestamp::now() + SignedDuration::from_secs(self.skew);
        if self.skew != 0 {
            for (_, value) in headers.iter_mut().filter(|(name, _)| name == "X-RateLimit-Reset") {
                let seconds: f64 = value.parse().expect("ours");
                #[allow(clippy::cast_precision_loss, reason = "a few minutes")]
                let skewed = seconds + self.skew as f64;
                *value = format!("{skewed:.3}");
            }
        }
        if !self.bare {
            headers.push(("Date".into(), now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()));
            headers.push(("Server".into(), "cloudflare".into()));
            headers.push(("CF-RAY".into(), "9a1b2c3d4e5f6789-NRT".into()));
        }
        if chunked {
            headers.push(("Transfer-Encoding".into(), "chunked".into()));
        } else if self.status != 204 {
            headers.push(("Content-Length".into(), self.body.len().to_string()));
        }
        let mut head = Vec::new();
        let _ = write!(head, "HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in headers {
            let name = if self.lower_case { name.to_ascii_lowercase() } else { name };
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.extend_from_slice(b"\r\n");
        head
    }
}

/// At least 1.
pub(super) fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        301 => "Moved Permanently",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Unknown",
    }
}
