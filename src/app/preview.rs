//! `preview SOURCE`: what one source would deliver, as it would look.

use std::{process::ExitCode, sync::Arc};

use jiff::Timestamp;

use crate::{
    app::ask::{Read, ask, read},
    config::{self, Config},
    delivery,
    fetch::Tls,
    identity::{self, Keys},
    model::{ErrorKind, Failure},
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

/// Fetches the source called `name` once and prints its items, newest last, as each of its destinations
/// would get them. Exit status 0; 2 if there is no such source; 3 if it fails.
pub fn run(config: &Config, name: &str, options: Options) -> ExitCode {
    let Some(source) = config.sources.iter().find(|source| source.name.as_str() == name) else {
        let names: Vec<_> = config.sources.iter().map(|source| source.name.as_str()).collect();
        anstream::eprintln!("error: there is no source {name:?}; there are: {}", names.join(", "));
        return ExitCode::from(2);
    };
    let result = if options.from_saved {
        from_saved(source, &SavedPages::new(&config.state_dir))
    } else {
        actix::System::new().block_on(async { ask(source, &Tls::new()).await }).result
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
            anstream::println!("{}", if options.json { &rendered.json } else { &rendered.text });
        }
    }
    let advice: String = read.advice.iter().map(|advice| format!("; {advice}")).collect();
    anstream::eprintln!("{all} items, {kept_out} kept out by the filters{advice}");
    ExitCode::SUCCESS
}

/// Reads the page that was kept of a source by its rules as they are now.
fn from_saved(source: &Arc<config::Source>, pages: &SavedPages) -> Result<Read, Failure> {
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
