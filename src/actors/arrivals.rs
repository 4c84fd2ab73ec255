//! What is new in a configuration: sources with a new name, and destinations added to known sources.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use slog::{Logger, debug, info, warn};

use crate::{
    config::{Backfill, Config, Source},
    model::Name,
    poll::document,
    store::{
        Former, Renamed, SourceRecord, Store, StoreError,
        known_sources::{self, KnownSources},
    },
};

/// Records of sources, by their names.
type Records<'r> = BTreeMap<&'r Name, &'r SourceRecord>;
/// A source that is started, and its record.
type Loaded<'l> = (&'l Source, &'l SourceRecord);

/// How soon a store that failed is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Has sources with a new name take over the state of the former one, which comes first.
pub async fn take_over(store: &Store, names: Vec<(Name, Name)>, log: &Logger) {
    if names.is_empty() {
        return;
    }
    let renamed = loop {
        match store.rename(names.clone()).await {
            Ok(renamed) => break renamed,
            Err(StoreError::Closed) => return,
            Err(_) => tokio::time::sleep(ASK_AGAIN).await,
        }
    };
    for ((was, name), renamed) in names.iter().zip(renamed) {
        match renamed {
            Renamed::TakenOver => {
                info!(log, "the source has a new name and goes on where it was"; "source" => name, "was" => was);
            }
            Renamed::Known => {
                info!(log, "the source has a state of its own under its new name, and keeps it"; "source" => name, "was" => was);
            }
            Renamed::Unknown => {
                debug!(log, "nothing is kept under the source's former name"; "source" => name, "was" => was);
            }
        }
    }
}

/// Says what is new to what, and what follows from it. `records` are those of the sources
/// that are started now.
pub async fn announce(store: &Store, config: &Arc<Config>, records: &Records<'_>, log: &Logger) {
    let loaded: Vec<Loaded<'_>> =
        config.sources.iter().filter_map(|source| Some((source.as_ref(), *records.get(&source.name)?))).collect();
    for (destination, Arrival { sources, backfill }) in new_destinations(&loaded) {
        match backfill {
            None => {
                info!(log, "the destination is new: it gets what is published from now on; set backfill = N to post the newest N of each source first";
                "destination" => destination, "sources" => sources);
            }
            Some(backfill) => {
                let newest = match backfill {
                    Backfill::All => "all".to_owned(),
                    Backfill::Newest(newest) => newest.to_string(),
                };
                info!(log, "the destination is new: it gets the newest items of each source first";
                "destination" => destination, "sources" => sources, "backfill" => newest);
            }
        }
    }
    // a store that fails just now costs a hint
    let Ok(former) = store.former().await else { return };
    for (source, was) in renamed(&loaded, &former) {
        warn!(log, "{}", hint(&source.name, was); "source" => &source.name);
    }
    let config = config.clone();
    let write = move || known_sources::write(&config.state_dir, &known(&config, former));
    let written = tokio::task::spawn_blocking(write);
    if let Err(error) = written.await.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
        warn!(log, "check will not know of renamed sources, as their names could not be written: {error}"; "kind" => "store");
    }
}

/// For the operator, who may have renamed a source.
pub fn hint(name: &Name, was: &str) -> String {
    format!("source {name} posts its newest items again; if it is {was} renamed, set was = {was:?}")
}

fn known(config: &Config, former: Vec<Former>) -> KnownSources {
    let former = former.into_iter().filter_map(|former| Some((former.name, former.address?)));
    former.chain(config.sources.iter().map(|source| (source.name.to_string(), document::address(source)))).collect()
}

/// A destination that is new to sources that are known.
#[derive(Debug, PartialEq, Eq)]
struct Arrival {
    sources: usize,
    backfill: Option<Backfill>,
}

fn new_destinations(loaded: &[Loaded<'_>]) -> BTreeMap<Name, Arrival> {
    let mut arrivals = BTreeMap::new();
    for (source, record) in loaded {
        for destination in record.new_destinations(source) {
            let backfill = source.backfill_to.iter().find(|(name, _)| name == destination);
            let backfill = backfill.map(|(_, backfill)| *backfill);
            arrivals.entry(destination.clone()).or_insert(Arrival { sources: 0, backfill }).sources += 1;
        }
    }
    arrivals
}

fn is_new(source: &Source, record: &SourceRecord) -> bool {
    source.was.is_none() && record.last_success.is_none()
}

/// New sources, each with a former one that had its URL.
fn renamed<'l>(loaded: &[Loaded<'l>], former: &'l [Former]) -> Vec<(&'l Source, &'l str)> {
    let new = loaded.iter().filter(|(source, record)| is_new(source, record));
    let with_former = new.filter_map(|(source, _)| {
        let (address, fingerprint) = (document::address(source), document::fingerprint(source));
        let same = |former: &&Former| former.address == Some(address) || former.fingerprint == fingerprint;
        Some((*source, former.iter().find(same)?.name.as_str()))
    });
    with_former.collect()
}
