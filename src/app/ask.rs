//! One poll of one source outside the daemon, for `check --fetch` and `preview`: delivers nothing, writes
//! nothing.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rand::rngs::ThreadRng;
use url::Url;

use crate::{
    actors::clock,
    config,
    fetch::{Answer, Fetcher, Tls, Validators},
    model::{ErrorKind, Failure, RedactedUrl},
    poll::{
        Next, Poller,
        document::{self, Input, LONGEST_READ, Parsed},
    },
    store::SourceRecord,
};

/// What a source answered.
#[derive(Debug)]
pub struct Asked {
    /// The last attempt's time, resolving to last byte.
    pub latency: Duration,
    /// Requests sent.
    pub attempts: u32,
    /// What was read, or why not.
    pub result: Result<Read, Failure>,
}

/// A document that was read.
#[derive(Debug)]
pub struct Read {
    /// The document.
    pub parsed: Parsed,
    /// What the operator may want to know: moved, its own rhythm.
    pub advice: Vec<String>,
}

/// Polls a source once, with the retries that it is configured to have.
pub async fn ask(source: &Arc<config::Source>, tls: &Tls) -> Asked {
    let roots = tls.with_roots(&source.request.extra_roots);
    let fetcher = Fetcher::new(source.url.clone(), source.request.clone(), roots);
    let poller = Poller::new(source.schedule, source.retry, source.breaker, SourceRecord::default(), clock::now());
    let mut attempt = 0;
    loop {
        attempt += 1;
        let start = Instant::now();
        let result = once(source, &fetcher).await;
        let latency = start.elapsed();
        if let Err(failure) = &result
            && let Next::Retry(wait) =
                poller.after_failure(attempt, source.retry.attempts, failure, &mut ThreadRng::default())
        {
            tokio::time::sleep(wait).await;
            continue;
        }
        return Asked { latency, attempts: attempt, result };
    }
}

async fn once(source: &Arc<config::Source>, fetcher: &Fetcher) -> Result<Read, Failure> {
    let document = match fetcher.get(Validators::default()).await? {
        Answer::Document(document) => document,
        Answer::Gone => return Err(Failure::fatal(ErrorKind::Http(410), "gone for good (HTTP 410)")),
        Answer::NotModified(_) => {
            return Err(Failure::fatal(ErrorKind::Protocol, "304 was answered to a request without a condition"));
        }
    };
    let mut advice = Vec::new();
    if let Some(url) = &document.permanent_redirect {
        advice.push(format!("moved permanently to {}", RedactedUrl(url)));
    }
    let read = read(source, document.body, document.content_type, document.final_url)?;
    advice.extend(read.advice);
    Ok(Read { advice, ..read })
}

/// Reads a body as the source's kind has it, wherever it came from.
///
/// # Errors
/// Those of [`document::read`].
pub fn read(
    source: &Arc<config::Source>,
    body: Bytes,
    content_type: Option<String>,
    url: Url,
) -> Result<Read, Failure> {
    let input = Input { body, content_type, url, source: source.clone(), window: Arc::default(), matched: None };
    let start = Instant::now();
    let parsed = document::read_guarded(document::read, &input, &|| start.elapsed() > LONGEST_READ)?;
    let mut advice = Vec::new();
    if let Some(period) = parsed.update_period.filter(|period| *period > source.schedule.interval) {
        advice.push(format!("says that it changes every {}", humantime::format_duration(period)));
    }
    // of a feed a word for the fault, of a page a sentence
    let repaired = if matches!(source.kind, config::SourceKind::Feed) { "repaired: " } else { "" };
    advice.extend(parsed.warnings.iter().map(|warning| format!("{repaired}{warning}")));
    Ok(Read { parsed, advice })
}
