//! The kinds of single values: durations, sizes, numbers, choices, addresses, names, patterns.

use std::{
    cell::RefCell, collections::HashMap, fmt::Display, net::SocketAddr, ops::RangeInclusive, path::Path, time::Duration,
};

use regex::Regex;

use super::{
    Listen,
    reader::{DidYouMean, Value},
    secret,
};
use crate::model::Name;

impl Value<'_> {
    /// `true` or `false`.
    pub(super) fn flag(&self) -> Option<bool> {
        self.read("true or false")
    }

    /// A whole number.
    pub(super) fn integer(&self, range: RangeInclusive<u32>) -> Option<u32> {
        let expected = match *range.end() {
            u32::MAX => format!("a whole number from {} up", range.start()),
            end => format!("a whole number from {} to {end}", range.start()),
        };
        let number: i128 = self.read(&expected)?;
        let number = u32::try_from(number).ok().filter(|number| range.contains(number));
        self.fits(number, &expected)
    }

    /// A number with or without a fraction. NaN is in no range.
    pub(super) fn fraction(&self, range: RangeInclusive<f64>) -> Option<f64> {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        let number: f64 = self.read(&expected)?;
        self.fits(Some(number).filter(|number| range.contains(number)), &expected)
    }

    /// A duration in humantime's words.
    pub(super) fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        const FORM: &str = "a duration such as \"90s\", \"5m\" or \"1h 30m\"";
        let duration = self.read::<humantime_serde::Serde<Duration>>(FORM)?.into_inner();
        let (least, most) = (humantime::format_duration(*range.start()), humantime::format_duration(*range.end()));
        let expected = match (*range.start(), *range.end()) {
            (Duration::ZERO, _) => format!("a duration of at most {most}"),
            (ONE_MS, _) if duration.is_zero() => "a duration longer than 0".to_owned(),
            _ => format!("a duration from {least} to {most}"),
        };
        self.fits(Some(duration).filter(|duration| range.contains(duration)), expected)
    }

    /// A number of bytes such as `"8MiB"`.
    pub(super) fn size(&self, range: RangeInclusive<u64>) -> Option<u64> {
        const FORM: &str = "a size such as \"512KiB\" or \"8MiB\"";
        let text = self.string(FORM)?;
        let bytes = self.fits(parse_size(text), FORM)?;
        let expected = format!("a size from {} to {}", show_size(*range.start()), show_size(*range.end()));
        self.fits(Some(bytes).filter(|bytes| range.contains(bytes)), expected)
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let names = choices.iter().map(|(name, _)| *name);
        let expected =
            format!("one of {}", names.clone().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", "));
        let text = self.string(&expected)?;
        let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            self.error(format_args!("expected {expected}, found {}{}", self.found(), DidYouMean(text, names)));
        }
        found
    }

    /// A source's or destination's name.
    pub(super) fn name(&self) -> Option<Name> {
        const FORM: &str = "a name of 1 to 64 characters, each one of a-z, 0-9, \"_\" and \"-\"";
        self.fits(Name::new(self.string(FORM)?).ok(), FORM)
    }

    /// A line of text for people.
    pub(super) fn line(&self, expected: &str) -> Option<String> {
        let text = self.string(expected)?;
        let fits = !text.trim().is_empty() && !text.chars().any(char::is_control);
        self.fits(Some(text.to_owned()).filter(|_| fits), expected)
    }

    /// A path, as it stands there.
    pub(super) fn path(&self, expected: &str) -> Option<&str> {
        let path = self.string(expected)?;
        if path.starts_with('~') {
            self.error(secret::HOME);
            return None;
        }
        self.fits(Some(path).filter(|path| !path.is_empty() && !path.contains('\0')), expected)
    }

    /// Addresses to listen on: `"IP:PORT"` and `"unix:PATH"`, a relative path being relative to `base`.
    pub(super) fn listen(&self, base: &Path) -> Option<Listen> {
        const FORM: &str = "an address such as \"127.0.0.1:8787\", \"[::1]:8787\" or \"unix:/run/kawaraban.sock\"";
        let text = self.string(FORM)?;
        let listen = match text.strip_prefix("unix:") {
            Some("") => None,
            Some(path) if path.len() > UNIX_PATH || path.contains('\0') => {
                self.error(format_args!("a socket's path has at most {UNIX_PATH} bytes, and no NUL"));
                return None;
            }
            Some(path) if path.starts_with('~') => {
                self.error(secret::HOME);
                return None;
            }
            Some(path) => Some(Listen::Unix(base.join(path))),
            None => text.parse::<SocketAddr>().ok().map(Listen::Tcp),
        };
        self.fits(listen, FORM)
    }

    /// Regular expressions.
    pub(super) fn patterns(&self, compiled: &Compiled) -> Vec<Regex> {
        let items = self.array("an array of regular expressions").unwrap_or_default();
        items.iter().filter_map(|item| item.pattern(compiled)).collect()
    }

    /// A regular expression.
    pub(super) fn pattern(&self, compiled: &Compiled) -> Option<Regex> {
        let regex = compiled.get(self.string("a regular expression")?);
        regex.map_err(|error| self.error(format_args!("no regular expression: {}", why(&error)))).ok()
    }

    fn fits<T>(&self, value: Option<T>, expected: impl Display) -> Option<T> {
        if value.is_none() {
            self.wrong(expected);
        }
        value
    }
}

/// The patterns compiled so far: sources that have the same share it, which matters for thousands of them.
#[derive(Default)]
pub(super) struct Compiled(RefCell<HashMap<String, Regex>>);

impl Compiled {
    fn get(&self, text: &str) -> Result<Regex, regex::Error> {
        if let Some(known) = self.0.borrow().get(text) {
            return Ok(known.clone());
        }
        let regex = Regex::new(text)?;
        self.0.borrow_mut().insert(text.to_owned(), regex.clone());
        Ok(regex)
    }
}

/// What the kernel has room for in `sun_path`, its NUL left out.
const UNIX_PATH: usize = 107;

/// The least duration that is not nothing.
pub(super) const ONE_MS: Duration = Duration::from_millis(1);

/// The last line of the compiler's drawing is the reason.
fn why(error: &regex::Error) -> String {
    let text = error.to_string();
    let line = text.lines().last().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

const UNITS: [(&str, u64); 8] = [
    ("B", 1),
    ("kB", 1000),
    ("KB", 1000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn show_size(bytes: u64) -> String {
    let fits = |(_, factor): &&(&str, u64)| bytes >= *factor && bytes.is_multiple_of(*factor);
    let (unit, factor) = UNITS.iter().filter(fits).max_by_key(|(_, factor)| *factor).unwrap_or(&UNITS[0]);
    format!("{}{unit}", bytes / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_number_and_a_unit() {
        assert_eq!(parse_size("8MiB"), Some(8 << 20));
        assert_eq!(parse_size("8 MiB"), Some(8 << 20));
        assert_eq!(parse_size("10MB"), Some(10_000_000));
        assert_eq!(parse_size("17B"), Some(17));
        for bad in ["", "8", "MiB", "8 M", "-1B", "1.5MiB", "99999999999999GiB", "8MiB ", "8mib"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
        assert_eq!([show_size(1), show_size(1 << 30), show_size(1500)], ["1B", "1GiB", "1500B"]);
    }
}
