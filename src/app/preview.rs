//! `preview SOURCE`: what one source would deliver, as it would look.

use std::{collections::HashSet, process::ExitCode, rc::Rc, sync::Arc};

use jiff::Timestamp;

use crate::{
    actors::{
        enrich::{Missed, Visitor},
        limits::Limits,
    },
    app::ask::{Read, ask, read},
    config::{Config, Source},
    delivery,
    fetch::{Fetcher, Tls},
    identity::{self, Keys},
    model::{ErrorKind, Failure, line},
    poll::document::Parsed,
    store::{Delivery, saved_page::SavedPages},
};

/// How to show a source.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The exact payloads.
    pub json: bool,
    /// Read the page that was kept when the selectors last did not fit.
    pub from_saved: bool,
}

/// Pages visited for a preview.
const MOST_VISITS: usize = 10;

/// Fetches the source called `name` once and prints its items, newest last, as each of its destinations
/// would get them. Exit status 0; 2 if there is no such source; 3 if it fails.
pub fn run(config: &Config, name: &str, options: Options) -> ExitCode {
    let Some(source) = config.sources.iter().find(|source| source.name.as_str() == name) else {
        let names: Vec<_> = config.sources.iter().map(|source| source.name.as_str()).collect();
        anstream::eprintln!("error: there is no source {name:?}; there are: {}", names.join(", "));
        return ExitCode::from(2);
    };
    let (result, left) = if options.from_saved {
        (from_saved(source, &SavedPages::new(&config.state_dir)), 0)
    } else {
        actix::System::new().block_on(async {
            let tls = Tls::new();
            let mut result = ask(source, &tls).await.result;
            let left = match &mut result {
                Ok(read) => enrich(source, config, &tls, &mut read.parsed).await,
                Err(_) => 0,
            };
            (result, left)
        })
    };
    let read = match result {
        Ok(read) => read,
        Err(failure) => {
            anstream::eprintln!("error: {name}: {failure}");
            return ExitCode::from(3);
        }
    };
    let all = read.parsed.candidates.len();
    let times: Vec<_> = read.parsed.candidates.iter().map(|candidate| candidate.item.time()).collect();
    let order = identity::delivery_order(&times);
    let to: Vec<_> = config.destinations.iter().filter(|destination| source.to.contains(&destination.name)).collect();
    let mut kept_out = 0;
    for candidate in order.into_iter().filter_map(|index| read.parsed.candidates.get(index)) {
        if !candidate.passes {
            kept_out += 1;
            continue;
        }
        let strongest = read.parsed.keys.get(candidate.index).map_or(0, Keys::strongest);
        let delivery = Delivery::new(source, strongest, candidate.item.clone(), Timestamp::now());
        for destination in &to {
            let rendered = delivery::render(destination, &delivery, source.color);
            let json = std::borrow::Cow::from(&rendered.json);
            anstream::println!("{}", if options.json { json } else { line::lines(&rendered.text) });
        }
    }
    let advice: String = read.advice.iter().map(|advice| format!("; {advice}")).collect();
    let left = if left > 0 { format!("; the pages of the {left} oldest were not visited") } else { String::new() };
    let items = if all == 1 { "item" } else { "items" };
    anstream::eprintln!("{all} {items}, {kept_out} kept out by the filters{left}{advice}");
    ExitCode::SUCCESS
}

/// Reads the page that was kept of a source by its rules as they are now.
fn from_saved(source: &Arc<Source>, pages: &SavedPages) -> Result<Read, Failure> {
    let page = pages
        .load(&source.name)
        .map_err(|error| Failure::fatal(ErrorKind::Store, format!("the page kept of it cannot be read: {error}")))?
        .ok_or_else(|| {
            let told = "no page is kept of it: that happens when its selectors do not fit what the daemon fetched";
            Failure::fatal(ErrorKind::Store, told)
        })?;
    let about = page.about;
    anstream::eprintln!("the page as fetched at {:.0}, of which was said: {}", about.fetched_at, about.error);
    read(source, page.body.into(), about.content_type, about.url)
}

/// Visits the pages of the newest items that pass, where the source has that done. How many were left.
async fn enrich(source: &Arc<Source>, config: &Config, tls: &Tls, parsed: &mut Parsed) -> usize {
    if source.enrich.is_none() {
        return 0;
    }
    let roots = tls.with_roots(&source.request.extra_roots);
    let visitor = Visitor {
        source: source.clone(),
        fetcher: Rc::new(Fetcher::new(source.url.clone(), source.request.clone(), roots)),
        articles: Rc::default(),
        limits: Rc::new(Limits::new(config.concurrency, None)),
    };
    let mut passing: Vec<_> = parsed.candidates.iter_mut().filter(|candidate| candidate.passes).collect();
    let times: Vec<_> = passing.iter().map(|candidate| candidate.listed).collect();
    let order = identity::delivery_order(&times);
    let newest: HashSet<usize> = order.into_iter().rev().take(MOST_VISITS).collect();
    let left = passing.len() - newest.len();
    let mut place = 0..;
    passing.retain(|_| place.next().is_some_and(|place| newest.contains(&place)));
    let missed = visitor.enrich(passing.into_iter().map(|candidate| &mut candidate.item).collect()).await;
    for Missed { what, url, failure } in missed {
        anstream::eprintln!("an item goes without its {what}: {failure} ({url})");
    }
    left
}
