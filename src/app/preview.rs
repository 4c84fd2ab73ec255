//! `preview SOURCE`: what one source would deliver, as it would look.

use std::{collections::HashSet, process::ExitCode, rc::Rc, sync::Arc};

use jiff::Timestamp;

use crate::{
    actors::{
        enrich::{Missed, Visitor},
        limits::Limits,
    },
    app::ask::ask,
    config::{Config, Source},
    delivery,
    fetch::{Fetcher, Tls},
    identity::{self, Keys},
    poll::document::Parsed,
    store::Delivery,
};

/// Pages visited for a preview.
const MOST_VISITS: usize = 10;

/// Fetches the source called `name` once and prints its items, newest last, as each of its destinations
/// would get them. Exit status 0; 2 if there is no such source; 3 if it fails.
pub fn run(config: &Config, name: &str, json: bool) -> ExitCode {
    let Some(source) = config.sources.iter().find(|source| source.name.as_str() == name) else {
        let names: Vec<_> = config.sources.iter().map(|source| source.name.as_str()).collect();
        anstream::eprintln!("error: there is no source {name:?}; there are: {}", names.join(", "));
        return ExitCode::from(2);
    };
    let (asked, left) = actix::System::new().block_on(async {
        let tls = Tls::new();
        let mut asked = ask(source, &tls).await;
        let left = match &mut asked.result {
            Ok(read) => enrich(source, config, &tls, &mut read.parsed).await,
            Err(_) => 0,
        };
        (asked, left)
    });
    let read = match asked.result {
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
            anstream::println!("{}", if json { &rendered.json } else { &rendered.text });
        }
    }
    let advice: String = read.advice.iter().map(|advice| format!("; {advice}")).collect();
    let left = if left > 0 { format!("; the pages of the {left} oldest were not visited") } else { String::new() };
    anstream::eprintln!("{all} items, {kept_out} kept out by the filters{left}{advice}");
    ExitCode::SUCCESS
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
        limits: Rc::new(Limits::new(config.concurrency)),
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
