//! Visits the pages of a source's new items and adds what they say, all within one deadline.
//!
//! An item is changed in one go or not at all, so that whenever the deadline comes, each is whole.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream};
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::{
    actors::{
        articles::{Articles, PER_HOST, Page},
        limits::Limits,
    },
    config::Source,
    fetch::Fetcher,
    model::{ErrorKind, Failure, Item, RedactedUrl},
    poll::{
        article::{self, Found, Input},
        document::LONGEST_READ,
    },
};

/// Hosts that one source's items lead to, at a time.
const HOSTS: usize = 8;

/// What is needed to visit the pages of one source's items.
#[derive(Clone)]
pub struct Visitor {
    /// As configured.
    pub source: Arc<Source>,
    /// Its client.
    pub fetcher: Rc<Fetcher>,
    /// Pages, shared by all sources.
    pub articles: Rc<Articles>,
    /// Places for attempts, shared by all sources.
    pub limits: Rc<Limits>,
}

/// Something that an item goes without.
#[derive(Debug, Clone)]
pub struct Missed {
    /// What.
    pub what: &'static str,
    /// Of which page or image, fit to be shown.
    pub url: String,
    /// Why.
    pub failure: Failure,
}

impl Visitor {
    /// Adds to the items what their pages say. Whatever fails costs an item that, and nothing else.
    pub async fn enrich(&self, items: Vec<&mut Item>) -> Vec<Missed> {
        let Some(rules) = &self.source.enrich else { return Vec::new() };
        let time = rules.timeout.unwrap_or(self.source.request.timeout);
        let visit = Visit { visitor: self, until: Instant::now() + time, missed: RefCell::default() };
        let links: Vec<_> = items.iter().map(|item| item.link.as_deref().and_then(address)).collect();
        let done: Vec<_> = links.iter().map(|_| Cell::new(false)).collect();
        // an image that is to be verified is none until it is
        let verified = |item: &mut Item| if rules.verify_image { item.image.take() } else { None };
        let mut hosts: BTreeMap<Option<&str>, Vec<_>> = BTreeMap::new();
        for ((item, link), done) in items.into_iter().zip(&links).zip(&done) {
            let host = link.as_ref().and_then(Url::host_str);
            hosts.entry(host).or_default().push((verified(item), item, link.as_ref(), done));
        }
        // a host that does not answer holds up its own items only
        let visits = stream::iter(hosts.into_values()).for_each_concurrent(HOSTS, async |jobs| {
            let refused = &Cell::new(false);
            let patience = share(time, jobs.len());
            let jobs = stream::iter(jobs).for_each_concurrent(PER_HOST, async |(listed, item, link, done)| {
                visit.item(item, link, refused, listed, patience).await;
                done.set(true);
            });
            jobs.await;
        });
        let in_time = timeout_at(visit.until, visits).await.is_ok();
        let mut missed = visit.missed.into_inner();
        let mut left = links.iter().zip(&done).filter(|(_, done)| !done.get()).map(|(link, _)| link);
        if let Some(first) = left.next().filter(|_| !in_time) {
            // one word for all: there may be hundreds
            let (left, count) = (left.count() + 1, links.len());
            let message = format!("{left} of {count} visits did not end within {}", humantime::format_duration(time));
            let failure = Failure::transient(ErrorKind::Timeout, message);
            let url = first.as_ref().map(|url| RedactedUrl(url).to_string()).unwrap_or_default();
            missed.push(Missed { what: "details", url, failure });
        }
        missed
    }
}

/// The visits of one poll.
struct Visit<'a> {
    visitor: &'a Visitor,
    until: Instant,
    missed: RefCell<Vec<Missed>>,
}

impl Visit<'_> {
    /// `refused` is whether the link's host has had enough; `listed` is the image that the list had, where it
    /// is to be verified; each answer may take `patience`.
    async fn item(
        &self,
        item: &mut Item,
        link: Option<&Url>,
        refused: &Cell<bool>,
        listed: Option<String>,
        patience: Duration,
    ) {
        let found = match link {
            Some(link) => {
                let found = self.asked(link, refused, patience).await;
                found.map_err(|failure| self.miss("details", link, failure)).ok()
            }
            None => None,
        };
        let verify = self.visitor.source.enrich.as_ref().is_some_and(|rules| rules.verify_image);
        if verify {
            item.image.clone_from(&listed);
        }
        if let Some(found) = found {
            article::merge(item, found);
        }
        if verify {
            let best = item.image.take();
            let second = listed.filter(|listed| best.as_ref() != Some(listed));
            for image in best.into_iter().chain(second) {
                if self.is_image(&image, patience).await {
                    item.image = Some(image);
                    break;
                }
            }
        }
    }

    /// The details, unless the host has said that there were too many requests: one more helps nobody.
    async fn asked(&self, link: &Url, refused: &Cell<bool>, patience: Duration) -> Result<Found, Failure> {
        if refused.get() {
            let told = "its host was not asked, for it has answered that there were too many requests";
            return Err(Failure::fatal(ErrorKind::RateLimited, told));
        }
        let found = self.details(link, patience).await;
        if found.as_ref().is_err_and(|failure| failure.kind == ErrorKind::RateLimited) {
            refused.set(true);
        }
        found
    }

    async fn details(&self, link: &Url, patience: Duration) -> Result<Found, Failure> {
        let Visitor { source, fetcher, articles, limits } = self.visitor;
        let Page { body, content_type, url, room } = articles.page(link, fetcher, limits, patience).await?;
        let Some(rules) = source.enrich.clone() else { return Ok(Found::default()) };
        let input = Input { body, content_type, url, rules };
        let until = self.until;
        let turn = limits.parser().await;
        // on another thread, for selectors know no bound but time; nothing ends it there, not even our own end
        let task = tokio::task::spawn_blocking(move || {
            let until = until.min(Instant::now() + LONGEST_READ);
            let found = article::read(&input, &|| Instant::now() >= until);
            drop((input, room, turn));
            found
        });
        task.await.unwrap_or_else(|error| Err(Failure::fatal(ErrorKind::Panic, error.to_string())))
    }

    async fn is_image(&self, image: &str, patience: Duration) -> bool {
        let Visitor { fetcher, articles, limits, .. } = self.visitor;
        let Some(url) = address(image) else {
            let failure = Failure::fatal(ErrorKind::Malformed, "its address is none of http or https");
            self.missed.borrow_mut().push(Missed { what: "image", url: String::new(), failure });
            return false;
        };
        let verified = articles.image(&url, fetcher, limits, patience).await;
        verified.map_err(|failure| self.miss("image", &url, failure)).is_ok()
    }

    fn miss(&self, what: &'static str, url: &Url, failure: Failure) {
        self.missed.borrow_mut().push(Missed { what, url: RedactedUrl(url).to_string(), failure });
    }
}

/// What one answer may take of the time for so many pages of a host: all of it where none waits for another,
/// else half or a third, so that a few that hang leave the others some.
fn share(time: Duration, pages: usize) -> Duration {
    match pages.div_ceil(PER_HOST) {
        0 | 1 => time,
        2 => time / 2,
        _ => time / 3,
    }
}

fn address(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))
}
