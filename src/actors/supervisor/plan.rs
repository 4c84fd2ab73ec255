//! What a reload changes: who leaves, who starts, and what is handed to those who stay. Pure.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    config::{Config, Destination, Source},
    model::Name,
};

/// See the module. Whoever is not named stays as he is.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) sources: Changes<Source>,
    pub(super) destinations: Changes<Destination>,
    /// Colours or Discord's limits changed: living deliveries take them over.
    pub(super) delivery_settings: bool,
    /// `max_concurrent` or `max_concurrent_per_host` changed.
    pub(super) concurrency: bool,
}

/// The changes of one kind.
#[derive(Debug)]
pub(super) struct Changes<T> {
    /// They end, and nothing follows.
    pub(super) leave: Vec<Name>,
    /// They are new, or what they are changed.
    pub(super) start: Vec<Arc<T>>,
}

/// From what is configured now to what is to be. A disabled source is none.
pub(super) fn plan(old: &Config, new: &Config) -> Plan {
    Plan {
        sources: changes(enabled(old), enabled(new), |source| &source.name, Source::same_as),
        destinations: changes(
            old.destinations.iter(),
            new.destinations.iter(),
            |destination| &destination.name,
            Destination::same_as,
        ),
        delivery_settings: old.discord != new.discord || old.colors() != new.colors(),
        concurrency: old.concurrency != new.concurrency,
    }
}

/// The sources that are polled.
pub(super) fn enabled(config: &Config) -> impl Iterator<Item = &Arc<Source>> {
    config.sources.iter().filter(|source| source.enabled)
}

fn changes<'c, T: 'c>(
    old: impl Iterator<Item = &'c Arc<T>>,
    new: impl Iterator<Item = &'c Arc<T>>,
    name: fn(&T) -> &Name,
    same: fn(&T, &T) -> bool,
) -> Changes<T> {
    let mut leave: BTreeMap<_, _> = old.map(|old| (name(old), old)).collect();
    let start = new.filter(|new| leave.remove(name(new)).is_none_or(|old| !same(old, new))).cloned().collect();
    Changes { leave: leave.into_keys().cloned().collect(), start }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::{LoadOptions, Needed, load};

    fn config(tables: &str) -> Config {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kawaraban.toml");
        std::fs::write(&path, tables).unwrap();
        let mut config = load(&path, &LoadOptions { secrets: Needed::All, env: &|_| None }).unwrap().config;
        config.path = "kawaraban.toml".into();
        config.state_dir = "state".into();
        config
    }

    const OLD: &str = r#"
        [[source]]
        name = "a"
        url = "https://a.example/"
        [[source]]
        name = "b"
        url = "https://b.example/"
        headers = { X-Key = "one" }
        [[destination]]
        name = "hook"
        kind = "webhook"
        url = "https://hook.example/"
        [[destination]]
        name = "out"
        kind = "stdout"
    "#;

    /// What leaves and starts, sources before destinations, and what else changed.
    fn planned(change: &[(&str, &str)]) -> (Vec<String>, Vec<String>, bool, bool) {
        let new = change.iter().fold(OLD.to_owned(), |text, (from, to)| {
            assert!(text.contains(from));
            text.replace(from, to)
        });
        let Plan { sources, destinations, delivery_settings, concurrency } = plan(&config(OLD), &config(&new));
        let leave = sources.leave.iter().chain(&destinations.leave).map(ToString::to_string).collect();
        let sources = sources.start.iter().map(|source| &source.name);
        let start = sources.chain(destinations.start.iter().map(|destination| &destination.name));
        (leave, start.map(ToString::to_string).collect(), delivery_settings, concurrency)
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn only_what_changed_is_disturbed() {
        assert_eq!(planned(&[]), (vec![], vec![], false, false));
        assert_eq!(planned(&[("https://a", "https://c")]), (vec![], words(&["a"]), false, false));
        assert_eq!(planned(&[("\"one\"", "\"two\"")]), (vec![], words(&["b"]), false, false), "a secret");
        assert_eq!(planned(&[("https://hook", "https://look")]), (vec![], words(&["hook"]), false, false));
        assert_eq!(planned(&[("\"a\"", "\"c\"")]), (words(&["a"]), words(&["c"]), false, false));
        // without `to`, a source goes to every destination
        let all = words(&["a", "b", "lines"]);
        assert_eq!(planned(&[("\"out\"", "\"lines\"")]), (words(&["out"]), all, false, false));
        assert_eq!(
            planned(&[("name = \"b\"", "name = \"b\"\nenabled = false")]),
            (words(&["b"]), vec![], false, false)
        );
    }

    #[test]
    fn limits_and_colours_start_nothing_again_but_the_source_that_has_the_colour() {
        let limits = "[discord]\nchannel_per_minute = 9\n[[source]]\nname = \"a\"";
        assert_eq!(planned(&[("[[source]]\n        name = \"a\"", limits)]), (vec![], vec![], true, false));
        let colour = "name = \"a\"\ncolor = \"#ff0000\"";
        assert_eq!(planned(&[("name = \"a\"", colour)]), (vec![], words(&["a"]), true, false));
        let concurrency = "[fetch]\nmax_concurrent = 3\n[[source]]\nname = \"a\"";
        assert_eq!(planned(&[("[[source]]\n        name = \"a\"", concurrency)]), (vec![], vec![], false, true));
    }
}
