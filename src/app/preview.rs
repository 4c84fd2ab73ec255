//! `preview SOURCE`: what one source would deliver, as it would look.

use std::process::ExitCode;

use jiff::Timestamp;

use crate::{
    app::ask::ask,
    config::Config,
    delivery,
    fetch::Tls,
    identity::{self, Keys},
    store::Delivery,
};

/// Fetches the source called `name` once and prints its items, newest last, as each of its destinations
/// would get them. Exit status 0; 2 if there is no such source; 3 if it fails.
pub fn run(config: &Config, name: &str, json: bool) -> ExitCode {
    let Some(source) = config.sources.iter().find(|source| source.name.as_str() == name) else {
        let names: Vec<_> = config.sources.iter().map(|source| source.name.as_str()).collect();
        anstream::eprintln!("error: there is no source {name:?}; there are: {}", names.join(", "));
        return ExitCode::from(2);
    };
    let asked = actix::System::new().block_on(async { ask(source, &Tls::new()).await });
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
    anstream::eprintln!("{all} items, {kept_out} kept out by the filters{advice}");
    ExitCode::SUCCESS
}
