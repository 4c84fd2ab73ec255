//! `new URL`: looks at an address, finds its feed or proposes rules for it, and writes the `[[source]]`.
//!
//! One request for the address, then one for each lead, a few at a time: first those that the page names,
//! and only if none of them will do, where feeds commonly are. What is printed in the end was read by the
//! code that the daemon reads it with.

use std::{
    collections::BTreeSet,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use scraper::Html;
use serde_json::Value;
use url::Url;

use crate::{
    config::{RequestSettings, Source, diagnostic::Diagnostics},
    feed,
    fetch::{Answer, Document, Fetcher, Tls, Validators},
    model::{ErrorKind, Failure, Item, Name},
    page::{
        discover::{
            self, Lead,
            rank::{self, Worth},
        },
        dom, encoding,
        propose::{self, Proposal},
    },
    poll::document::{self, Input, LONGEST_READ},
};

mod outcome;
mod table;

pub use crate::page::discover::Found;
pub use outcome::{Candidate, Chosen, FeedFacts, Kind, Order, Outcome};
use table::Table;

/// Leads asked at the same time.
const AT_ONCE: usize = 4;

/// A lead that takes longer is passed over.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a page may be read, and rules sought in it.
const THINKING: Duration = Duration::from_secs(10);

/// A `[[source]]` as the configuration would read it.
pub type Draft<'a> = &'a dyn Fn(&str) -> Result<Arc<Source>, Diagnostics>;

/// Looks, asks, reads, and writes the table. `taken` are the names of sources that there are.
///
/// # Errors
/// What the configuration has against it: faults of its `[fetch]`.
pub fn run(order: &Order, taken: &BTreeSet<String>, draft: Draft<'_>) -> Result<Outcome, Diagnostics> {
    actix::System::new().block_on(async {
        let bar = progress();
        let looked = Look::new(order, taken, draft, bar.clone())?.look().await;
        bar.finish_and_clear();
        looked
    })
}

/// On standard error, and only where that is a terminal.
fn progress() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed}  {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// A feed that was found, and all that choosing needs.
struct Feed {
    lead: Lead,
    title: Option<String>,
    document: Document,
    worth: Worth,
}

struct Look<'a> {
    order: &'a Order,
    taken: &'a BTreeSet<String>,
    draft: Draft<'a>,
    request: Arc<RequestSettings>,
    tls: Rc<Tls>,
    bar: ProgressBar,
    outcome: Outcome,
}

impl<'a> Look<'a> {
    fn new(
        order: &'a Order,
        taken: &'a BTreeSet<String>,
        draft: Draft<'a>,
        bar: ProgressBar,
    ) -> Result<Self, Diagnostics> {
        let outcome = Outcome {
            url: order.url.clone(),
            seen: String::new(),
            error_kind: None,
            candidates: Vec::new(),
            chosen: None,
            toml: None,
            watched_by: None,
            items: Vec::new(),
            notes: Vec::new(),
        };
        // the address alone says how it is to be requested
        let plain = match Name::new("new") {
            Ok(name) => Table { name: &name, label: None, url: &order.url, rules: None, private: order.private }.text(),
            Err(_) => String::new(),
        };
        let request = draft(&plain)?.request.clone();
        Ok(Self { order, taken, draft, request, tls: Rc::new(Tls::new()), bar, outcome })
    }

    async fn look(mut self) -> Result<Outcome, Diagnostics> {
        self.bar.set_message("asking for the page");
        let fetcher =
            Fetcher::new(self.order.url.clone(), self.request.clone(), self.tls.with_roots(&self.request.extra_roots));
        match get(&fetcher).await {
            Ok(document) => self.look_at(document).await?,
            Err(failure) => {
                self.outcome.seen = format!("out of reach: {failure}");
                self.outcome.error_kind = Some(failure.kind);
                // a site that refuses its page may still have a feed
                let refused = matches!(failure.kind, ErrorKind::Http(_) | ErrorKind::TooLarge);
                if refused && matches!(self.order.kind, None | Some(Kind::Feed)) {
                    let feeds = self.feeds(discover::of_address(&self.order.url), true).await;
                    self.choose_feed(feeds, None)?;
                }
            }
        }
        Ok(self.outcome)
    }

    async fn look_at(&mut self, document: Document) -> Result<(), Diagnostics> {
        if let Some(moved) = &document.permanent_redirect
            && moved.origin() != self.order.url.origin()
        {
            self.outcome.notes.push("it has moved for good, to another host".to_owned());
        }
        let no_feed = match read_feed(&document) {
            Ok(parsed) if self.wants(Kind::Feed) => {
                self.outcome.seen = format!("a feed ({})", parsed.format);
                let lead = Lead { url: self.order.url.clone(), found: Found::Asked, title: None };
                let own = self.as_feed(lead, document, &parsed);
                return self.choose_feed(vec![own], None);
            }
            Ok(parsed) => format!("a feed ({})", parsed.format),
            Err(error) => error.to_string(),
        };
        let text = encoding::decode(&document.body, document.content_type.as_deref(), None);
        if self.wants(Kind::Json)
            && let Some(value) = as_json(&text)
        {
            self.outcome.seen = "JSON".to_owned();
            return self.choose_rules(propose::of_json(&value), &document, None);
        }
        let start = Instant::now();
        match dom::parse(&text, &|| start.elapsed() > THINKING) {
            Ok(page) if text.contains("</") => self.look_at_page(&page, &document).await?,
            Ok(_) => {}
            Err(error) => {
                self.outcome.seen = format!("a page that cannot be read: {error}");
                let leads = discover::of_address(&document.final_url);
                let feeds = if self.wants(Kind::Feed) { self.feeds(leads, true).await } else { Vec::new() };
                self.choose_feed(feeds, None)?;
            }
        }
        match (&self.outcome.chosen, self.outcome.seen.is_empty()) {
            (_, true) => self.outcome.seen = no_feed,
            // a wall for programs looks like a page, too
            (None, false) => self.outcome.notes.push(format!("read as a feed it is {no_feed}")),
            (Some(_), false) => {}
        }
        Ok(())
    }

    /// Its feeds, else what repeats in it, else a feed that is better than nothing.
    async fn look_at_page(&mut self, page: &Html, document: &Document) -> Result<(), Diagnostics> {
        let url = &document.final_url;
        let title = discover::title(page);
        self.outcome.seen = match &title {
            Some(title) => format!("a page: {title:?}"),
            None => "a page without a title".to_owned(),
        };
        let mut feeds = Vec::new();
        if self.wants(Kind::Feed) {
            feeds = self.feeds(discover::of_page(page, url), false).await;
            if !feeds.iter().any(|feed| feed.worth.usable()) {
                feeds.extend(self.feeds(discover::of_address(url), true).await);
            }
            if feeds.iter().any(|feed| feed.worth.usable()) {
                return self.choose_feed(feeds, title.as_deref());
            }
        }
        self.bar.set_message("looking for what repeats");
        let start = Instant::now();
        let mut proposals = Vec::new();
        if self.wants(Kind::Html) {
            proposals = propose::of_page(page, url, &|| start.elapsed() > THINKING);
        }
        if self.wants(Kind::Json) {
            proposals.extend(propose::of_embedded(page));
        }
        self.choose_rules(proposals, document, title.as_deref())?;
        // without items, or of comments
        if self.outcome.chosen.is_none() { self.choose_feed(feeds, title.as_deref()) } else { Ok(()) }
    }

    fn wants(&self, kind: Kind) -> bool {
        self.order.kind.is_none_or(|wanted| wanted == kind)
    }

    /// Asks the leads. `enough`: the first feed that will do ends it.
    async fn feeds(&mut self, leads: Vec<Lead>, enough: bool) -> Vec<Feed> {
        let asked: BTreeSet<Url> = self.outcome.candidates.iter().map(|candidate| candidate.url.clone()).collect();
        let leads = leads.into_iter().filter(|lead| !asked.contains(&lead.url) && lead.url != self.order.url);
        let (order, request, tls, bar) = (self.order, self.request.clone(), self.tls.clone(), self.bar.clone());
        let answers = stream::iter(leads).map(|lead| {
            let fetcher = lead_fetcher(order, &lead, &request, &tls);
            let bar = bar.clone();
            async move {
                bar.set_message(format!("asking {} {}", lead.url.host_str().unwrap_or_default(), lead.url.path()));
                let answer = get(&fetcher).await;
                (lead, answer)
            }
        });
        let mut answers = std::pin::pin!(answers.buffered(AT_ONCE));
        let mut feeds: Vec<Feed> = Vec::new();
        while let Some((lead, answer)) = answers.next().await {
            let read = answer.and_then(|document| {
                let parsed = read_feed(&document).map_err(|error| Failure::fatal(error.kind(), error.to_string()))?;
                Ok((document, parsed))
            });
            match read {
                // two names of one feed
                Ok((document, _)) if feeds.iter().any(|feed| feed.document.final_url == document.final_url) => {}
                Ok((document, parsed)) => {
                    feeds.push(self.as_feed(lead, document, &parsed));
                    if enough && feeds.last().is_some_and(|feed| feed.worth.usable()) {
                        break;
                    }
                }
                Err(failure) => self.outcome.candidates.push(Candidate {
                    url: lead.url,
                    found: lead.found,
                    title: lead.title,
                    feed: None,
                    error_kind: Some(failure.kind),
                    message: Some(failure.message),
                }),
            }
        }
        feeds
    }

    /// Takes note of a feed.
    fn as_feed(&mut self, lead: Lead, document: Document, parsed: &feed::OwnedDocument) -> Feed {
        let worth = Worth::of(parsed, &lead, &self.order.url);
        self.outcome.candidates.push(Candidate {
            url: lead.url.clone(),
            found: lead.found,
            title: lead.title.clone(),
            feed: Some(FeedFacts {
                format: parsed.format.as_str(),
                title: parsed.title.clone(),
                items: worth.items,
                with_dates: worth.dated,
                with_ids: worth.identified,
                newest: worth.newest,
                comments: worth.comments,
                words: format!("{}, {worth}", parsed.format),
            }),
            error_kind: None,
            message: None,
        });
        Feed { title: parsed.title.clone().or_else(|| lead.title.clone()), lead, document, worth }
    }

    fn choose_feed(&mut self, mut feeds: Vec<Feed>, page: Option<&str>) -> Result<(), Diagnostics> {
        let worths: Vec<Worth> = feeds.iter().map(|feed| feed.worth.clone()).collect();
        let (places, reason) = rank::order(&worths);
        let Some(&best) = places.first() else { return Ok(()) };
        let feed = feeds.swap_remove(best);
        let mut words = match reason {
            Some(reason) => reason.to_string(),
            None if feed.lead.found == Found::Asked => "it is a feed".to_owned(),
            None => "it is the only feed found".to_owned(),
        };
        if !feed.worth.usable() {
            words += if feed.worth.items == 0 { ", though it has no items now" } else { ", though it is of comments" };
        }
        let title = feed.title.as_deref().filter(|title| !title.trim().is_empty()).or(page);
        match self.read(&feed.lead.url, &feed.document, title, None)? {
            Ok((toml, items)) => self.chosen(Kind::Feed, &feed.lead.url, &feed.document, words, toml, items),
            Err(failure) => self.outcome.notes.push(failure.to_string()),
        }
        Ok(())
    }

    /// The first rules that yield what they were made for.
    fn choose_rules(
        &mut self,
        proposals: Vec<Proposal>,
        document: &Document,
        title: Option<&str>,
    ) -> Result<(), Diagnostics> {
        let url = self.order.url.clone();
        let mut proposals = proposals.into_iter();
        while let Some(rules) = proposals.next() {
            let kind = match rules.kind {
                propose::Kind::Html => Kind::Html,
                propose::Kind::Json => Kind::Json,
            };
            match self.read(&url, document, title, Some(&rules))? {
                Ok((toml, items)) if items.len() * 2 >= rules.count && !items.is_empty() => {
                    let names: Vec<&str> = rules.fields.iter().map(|field| field.name).collect();
                    let reason = format!("{} places that look alike, with {}", rules.count, names.join(", "));
                    self.chosen(kind, &url, document, reason, toml, items);
                    let others = proposals.map(|Proposal { items, count, .. }| {
                        format!("it has another list: items = {} ({count} places)", propose::quoted(&items))
                    });
                    self.outcome.notes.extend(others);
                    return Ok(());
                }
                Ok(_) => {}
                Err(failure) => {
                    self.outcome.notes.push(format!("items = {}: {failure}", propose::quoted(&rules.items)))
                }
            }
        }
        Ok(())
    }

    /// Writes the table and reads the document by it, as the daemon would.
    fn read(
        &self,
        url: &Url,
        document: &Document,
        title: Option<&str>,
        rules: Option<&Proposal>,
    ) -> Result<Result<(String, Vec<Item>), Failure>, Diagnostics> {
        let url = self.lasting(url, document);
        let Some(name) = table::name(&url, title, self.taken) else {
            return Ok(Err(Failure::fatal(ErrorKind::Selector, "no name is left for it")));
        };
        let table = Table { name: &name, label: title, url: &url, rules, private: self.order.private };
        let toml = table.text();
        let input = Input {
            body: document.body.clone(),
            content_type: document.content_type.clone(),
            url: document.final_url.clone(),
            source: (self.draft)(&toml)?,
            window: Arc::default(),
            matched: None,
        };
        let start = Instant::now();
        let read = document::read_guarded(document::read, &input, &|| start.elapsed() > LONGEST_READ);
        Ok(read.map(|parsed| (toml, parsed.candidates.into_iter().map(|candidate| candidate.item).collect())))
    }

    fn chosen(&mut self, kind: Kind, url: &Url, document: &Document, reason: String, toml: String, items: Vec<Item>) {
        self.outcome.chosen = Some(Chosen { kind, url: self.lasting(url, document), reason });
        self.outcome.toml = Some(toml);
        self.outcome.items = items;
    }

    /// What to ask for from now on: where it has moved for good, with the login that it was asked with.
    fn lasting(&self, url: &Url, document: &Document) -> Url {
        let own = &self.order.url;
        let mut url = document.permanent_redirect.clone().unwrap_or_else(|| url.clone());
        if url.origin() == own.origin() && url.username().is_empty() {
            // cannot fail for a URL with a host
            let _ = url.set_username(own.username());
            let _ = url.set_password(own.password());
        }
        url.set_fragment(None);
        url
    }
}

/// A login goes to the origin that it was given for, and nowhere else.
fn lead_fetcher(order: &Order, lead: &Lead, request: &Arc<RequestSettings>, tls: &Tls) -> Fetcher {
    let mut settings = RequestSettings::clone(request);
    settings.timeout = settings.timeout.min(PATIENCE);
    if lead.url.origin() != order.url.origin() {
        settings.basic_auth = None;
    }
    Fetcher::new(lead.url.clone(), Arc::new(settings), tls.with_roots(&request.extra_roots))
}

async fn get(fetcher: &Fetcher) -> Result<Document, Failure> {
    match fetcher.get(Validators::default()).await? {
        Answer::Document(document) => Ok(document),
        Answer::Gone => Err(Failure::fatal(ErrorKind::Http(410), "gone for good (HTTP 410)")),
        Answer::NotModified(_) => {
            Err(Failure::fatal(ErrorKind::Protocol, "304 was answered to a request without a condition"))
        }
    }
}

fn read_feed(document: &Document) -> Result<feed::OwnedDocument, feed::Error> {
    let hints =
        feed::Hints { content_type: document.content_type.as_deref(), base: Some(&document.final_url), encoding: None };
    feed::parse(&document.body, &hints)
}

/// The document as JSON, where it is that.
fn as_json(text: &str) -> Option<Value> {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    text.starts_with(['{', '[']).then(|| serde_json::from_str(text).ok())?
}
