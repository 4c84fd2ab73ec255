//! What was received, and what was stored of it.

use std::time::Instant;

use serde_json::Value;

/// A request as it came and what became of it.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// When its head was there.
    pub received: Instant,
    /// When its answer was written. None: not yet, or never.
    pub responded: Option<Instant>,
    /// `POST`
    pub method: String,
    /// Without the query.
    pub path: String,
    /// Without `?`.
    pub query: String,
    /// In order, as sent.
    pub headers: Vec<(String, String)>,
    /// As far as it was read.
    pub body: Vec<u8>,
    /// Of the answer. None: there was none.
    pub status: Option<u16>,
    /// Whether a message was stored, changed or deleted, whatever the answer said.
    pub stored: bool,
    /// The end of the wait that its 429 announced, for its webhook or for all.
    pub retry_until: Option<Instant>,
}

impl Recorded {
    /// A header's value, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// A parameter of the query.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = url::form_urlencoded::parse(self.query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// Its body; null if that is no JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// A message that a webhook's channel has.
#[derive(Debug, Clone)]
pub struct Message {
    /// Snowflake.
    pub id: String,
    /// As the client sent it, with later edits in place.
    pub body: Value,
    /// When it was stored.
    pub at: Instant,
    /// Its place in [`Discord::requests`](super::Discord::requests).
    pub request: usize,
    /// Where in a thread.
    pub thread: Option<String>,
    /// How often it was edited.
    pub edits: usize,
    /// Whether it was deleted since.
    pub deleted: bool,
}
