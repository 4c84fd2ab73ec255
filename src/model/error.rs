//! What can go wrong with a poll, as a closed set of kinds.
//!
//! The kind is the word that `/health`, the log, the metrics and the tests share, and the retry policy
//! and the breaker decide by it. An error is never turned into an empty result on its way to them.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Line;

/// The kind of a failure, one word each, as `/health` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// The name did not resolve, or not in time.
    Dns,
    /// No connection could be made: refused, or no route.
    ConnectRefused,
    /// No connection within `connect_timeout`.
    ConnectTimeout,
    /// ECONNRESET (errno 104) in any phase.
    ConnectionReset,
    /// The connection ended before the answer did.
    ClosedEarly,
    /// The attempt's deadline passed.
    Timeout,
    /// The TLS handshake failed, or the certificate does not verify.
    Tls,
    /// The proxy refused or could not be used.
    Proxy,
    /// Not HTTP, bad framing, or a content encoding that does not decode.
    Protocol,
    /// A status that is no success; 429 is [`ErrorKind::RateLimited`].
    Http(u16),
    /// Status 429.
    RateLimited,
    /// Too many redirects, or a URL met before.
    RedirectLoop,
    /// More bytes than `max_body`, compressed or not.
    TooLarge,
    /// An address that `allow_private_addresses` keeps out, or a redirect from https to http.
    BlockedAddress,
    /// The text's encoding could not be read.
    Encoding,
    /// What came is no feed (zero bytes too).
    NotAFeed,
    /// A feed so damaged that nothing could be recovered.
    Malformed,
    /// No items where some are due.
    Empty,
    /// A page or JSON without items, or without a required field.
    Selector,
    /// Our own code panicked over this source's data.
    Panic,
    /// The process ended during the poll: killed for its memory, or aborted.
    Crashed,
    /// Our own store failed; counts for no source's breaker.
    Store,
    /// Our own limits (open files, memory) kept a request from being made; counts for no source's breaker.
    Limits,
}

impl ErrorKind {
    const NAMES: &[(&str, ErrorKind)] = &[
        ("dns", ErrorKind::Dns),
        ("connect_refused", ErrorKind::ConnectRefused),
        ("connect_timeout", ErrorKind::ConnectTimeout),
        ("connection_reset", ErrorKind::ConnectionReset),
        ("closed_early", ErrorKind::ClosedEarly),
        ("timeout", ErrorKind::Timeout),
        ("tls", ErrorKind::Tls),
        ("proxy", ErrorKind::Proxy),
        ("protocol", ErrorKind::Protocol),
        ("rate_limited", ErrorKind::RateLimited),
        ("redirect_loop", ErrorKind::RedirectLoop),
        ("too_large", ErrorKind::TooLarge),
        ("blocked_address", ErrorKind::BlockedAddress),
        ("encoding", ErrorKind::Encoding),
        ("not_a_feed", ErrorKind::NotAFeed),
        ("malformed", ErrorKind::Malformed),
        ("empty", ErrorKind::Empty),
        ("selector", ErrorKind::Selector),
        ("panic", ErrorKind::Panic),
        ("crashed", ErrorKind::Crashed),
        ("store", ErrorKind::Store),
        ("limits", ErrorKind::Limits),
    ];

    /// Whether the fault is of this daemon or its machine: nothing follows from it for a source.
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Store | Self::Limits)
    }

    /// Whether the fault may lie in our own network rather than with the source: the kinds from which
    /// an outage is told (`network: outage`).
    pub fn is_network(self) -> bool {
        matches!(
            self,
            Self::Dns
                | Self::ConnectRefused
                | Self::ConnectTimeout
                | Self::ConnectionReset
                | Self::ClosedEarly
                | Self::Timeout
                | Self::Tls
        )
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Http(status) = self {
            return write!(f, "http_{status}");
        }
        let name = Self::NAMES.iter().find(|(_, kind)| kind == self).map_or("http_0", |(name, _)| name);
        f.write_str(name)
    }
}

/// The text is no error kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown error kind {0:?}")]
pub struct UnknownKind(String);

impl FromStr for ErrorKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        if let Some(status) = text.strip_prefix("http_").and_then(|s| s.parse().ok()) {
            return Ok(Self::Http(status));
        }
        let found = Self::NAMES.iter().find(|(name, _)| *name == text);
        found.map(|(_, kind)| *kind).ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

impl Serialize for ErrorKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ErrorKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// One failed attempt, with all that the retry policy, the breaker and the operator need of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {message}")]
pub struct Failure {
    /// What kind of failure.
    pub kind: ErrorKind,
    /// One line for the operator: what happened and where. Never holds a secret or a full URL.
    pub message: Line,
    /// Whether another attempt within the same poll makes sense (contract, section 4).
    pub retry: bool,
    /// What the server asked for with `Retry-After` on 429 and 503; at most 24 h.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure that another attempt would only repeat.
    pub fn fatal(kind: ErrorKind, message: impl Into<Line>) -> Self {
        Self { kind, message: message.into(), retry: false, retry_after: None }
    }

    /// A failure that may pass.
    pub fn transient(kind: ErrorKind, message: impl Into<Line>) -> Self {
        Self { kind, message: message.into(), retry: true, retry_after: None }
    }
}

/// What went wrong with a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryError {
    /// Of the connection, or `http_<status>`, or `rate_limited`.
    pub kind: ErrorKind,
    /// For the operator; the destination's own words where there are some. Never a secret.
    pub message: Line,
    /// When.
    pub at: jiff::Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reads_back_from_its_name() {
        for kind in ErrorKind::NAMES.iter().map(|(_, kind)| *kind).chain([ErrorKind::Http(503)]) {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert_eq!("http_x".parse::<ErrorKind>(), Err(UnknownKind("http_x".into())));
    }
}
