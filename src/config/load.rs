//! From a file to a [`Config`], or to every fault that keeps it from being one.

use std::{
    ffi::OsString,
    io::Read as _,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use toml::de::{DeTable, DeValue};

use super::{
    Config, Source,
    diagnostic::{Diagnostic, Diagnostics},
    reader::{Report, Table},
    source_text::SourceText,
    validate,
};
use crate::model::Name;

/// Where the configuration is looked for in the working directory when nothing names it.
const LOCAL: [&str; 2] = ["./kawaraban.toml", "./config/kawaraban.toml"];
/// Where it is looked for last: the path of a system-wide installation.
const SYSTEM: &str = "/etc/kawaraban/kawaraban.toml";

/// Largest file that is read as a configuration; 10,000 sources are a quarter of it.
const LIMIT: u64 = 8 << 20;

/// Up to this size every syntax error is told; beyond it only the first, since a large file that is no
/// TOML at all would have one a byte.
const RECOVERED: usize = 1 << 20;

/// How to read a configuration.
pub struct LoadOptions<'a> {
    /// Which of the secrets that stand elsewhere (environment, files, credentials) are read. Placeholders stand
    /// in for the others.
    pub secrets: Needed<'a>,
    /// The environment: `STATE_DIRECTORY`, `CREDENTIALS_DIRECTORY`, and what secrets name.
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
}

/// The secrets that a command uses. It can then work where the others cannot be read, as beside a systemd unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needed<'a> {
    /// Every secret.
    All,
    /// None.
    None,
    /// Those of `[fetch]` and of every source.
    Sources,
    /// Those of `[fetch]` and of the source with this name.
    Source(&'a str),
    /// Those of the destination with this name.
    Destination(&'a str),
}

impl Needed<'_> {
    pub(super) fn of_fetch(self) -> bool {
        matches!(self, Self::All | Self::Sources | Self::Source(_))
    }

    pub(super) fn of_http(self) -> bool {
        self == Self::All
    }

    pub(super) fn of_source(self, name: Option<&Name>) -> bool {
        match self {
            Self::All | Self::Sources => true,
            Self::Source(wanted) => name.is_some_and(|name| name.as_str() == wanted),
            Self::None | Self::Destination(_) => false,
        }
    }

    pub(super) fn of_destination(self, name: Option<&Name>) -> bool {
        match self {
            Self::All => true,
            Self::Destination(wanted) => name.is_some_and(|name| name.as_str() == wanted),
            Self::None | Self::Sources | Self::Source(_) => false,
        }
    }
}

/// A configuration without faults.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is allowed, but hardly meant.
    pub warnings: Vec<Diagnostic>,
}

/// The file to read: the command line's, else `$KAWARABAN_CONFIG`, else the first that exists of
/// `./kawaraban.toml`, `./config/kawaraban.toml`, `kawaraban/kawaraban.toml` below `$XDG_CONFIG_HOME` (else
/// `~/.config`), and `/etc/kawaraban/kawaraban.toml`.
///
/// # Errors
/// None of them exists; the message lists what was tried.
pub fn find(cli: Option<&Path>, env: &dyn Fn(&str) -> Option<OsString>) -> Result<PathBuf, Diagnostics> {
    if let Some(path) = cli {
        return Ok(path.to_owned());
    }
    if let Some(path) = env("KAWARABAN_CONFIG").filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let paths: Vec<PathBuf> =
        LOCAL.iter().map(PathBuf::from).chain(personal(env)).chain([PathBuf::from(SYSTEM)]).collect();
    // a file that exists but cannot be read is an error, not a reason to take the next one
    if let Some(found) = paths.iter().find(|path| path.symlink_metadata().is_ok()) {
        return Ok(found.clone());
    }
    let tried: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    let message = format!(
        "no configuration found: --config is not given, $KAWARABAN_CONFIG is not set, and none of these files exists: {}",
        tried.join(", ")
    );
    Err(Diagnostic::of_file("", message).into())
}

/// The file in the user's own configuration directory. A relative `$XDG_CONFIG_HOME` is ignored, as the XDG Base
/// Directory Specification has it.
fn personal(env: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))?;
    Some(base.join("kawaraban/kawaraban.toml"))
}

/// Reads and checks a configuration.
///
/// # Errors
/// Every fault of the file at once, in its order.
pub fn load(path: &Path, options: &LoadOptions<'_>) -> Result<Loaded, Diagnostics> {
    parse(path, &text_of(path)?, options)
}

/// A `[[source]]` that stands in no file yet, as it would be read at the end of `path` (none: of an empty
/// file), with the `[fetch]` there as its defaults. Nothing else of the file counts, so that the secrets of
/// its other sources and of its destinations need not be at hand.
///
/// # Errors
/// The file cannot be read or is no TOML, its `[fetch]` has faults, or the table has.
pub fn draft(path: Option<&Path>, table: &str, options: &LoadOptions<'_>) -> Result<Arc<Source>, Diagnostics> {
    let own = path.map(text_of).transpose()?.unwrap_or_default();
    let text = format!("{own}\n{table}");
    let path = path.unwrap_or(Path::new(""));
    let document = match DeTable::parse(&text) {
        Ok(document) => document,
        Err(error) => {
            // all the faults that are the file's own
            if DeTable::parse(&own).is_err() {
                parse(path, &own, options)?;
            }
            let message = format!("a [[source]] cannot follow what stands there: {}", error.message());
            return Err(Diagnostic::of_file(path, message).into());
        }
    };
    let counts = document.into_inner().into_iter().filter_map(|(key, mut value)| match key.get_ref().as_ref() {
        "fetch" => Some((key, value)),
        "source" => {
            let last = value.get_ref().as_array().and_then(|sources| sources.last().cloned());
            *value.get_mut() = DeValue::Array(last.into_iter().collect());
            Some((key, value))
        }
        _ => None,
    });
    let document: DeTable<'_> = counts.collect();
    let report = Report::new(path, &text);
    let config = validate::config(Table::root(&report, &document), path, options);
    let (errors, _) = report.into_parts();
    match config.and_then(|config| config.sources.into_iter().next()) {
        Some(source) if errors.is_empty() => Ok(source),
        _ => Err(Diagnostics(errors)),
    }
}

fn text_of(path: &Path) -> Result<String, Diagnostics> {
    let bytes = read(path).map_err(|error| Diagnostic::of_file(path, format!("cannot be read: {error}")))?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        not_utf8(path, error.as_bytes(), valid).into()
    })
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT {
        return Err(std::io::Error::other("it has more than 8 MiB, which is no configuration"));
    }
    Ok(bytes)
}

fn not_utf8(path: &Path, bytes: &[u8], offset: usize) -> Diagnostic {
    let valid = bytes.get(..offset).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
    let place = SourceText::new(valid).place(offset);
    Diagnostic {
        file: path.to_owned(),
        line: place.line,
        column: place.column,
        key: "syntax".to_owned(),
        message: "not UTF-8 from here on; TOML is UTF-8".to_owned(),
    }
}

fn parse(path: &Path, text: &str, options: &LoadOptions<'_>) -> Result<Loaded, Diagnostics> {
    let mut report = Report::new(path, text);
    let (document, syntax) = match DeTable::parse(text) {
        Ok(document) => (Some(document), Vec::new()),
        Err(error) if text.len() > RECOVERED => (None, vec![error]),
        Err(_) => {
            let (document, errors) = DeTable::parse_recoverable(text);
            (Some(document), errors)
        }
    };
    let mut syntax = syntax;
    syntax.sort_by_key(|error| error.span().map(|span| span.start));
    // one such line says it for the whole file
    let mut yaml = false;
    for error in &syntax {
        let span = blamed(text, error);
        if is_yaml(report.text.line(report.text.line_of(span.start))) && std::mem::replace(&mut yaml, true) {
            continue;
        }
        let key = key_at(&report.text, &span);
        let line = report.text.line(report.text.line_of(span.start)).to_owned();
        report.syntax_error(&span, &key, reason(text, &line, error, &span));
    }
    // what could be read of a broken document is checked too, so that all faults are told at once
    let config = document
        .as_ref()
        .and_then(|document| validate::config(Table::root(&report, document.get_ref()), path, options));
    let (errors, warnings) = report.into_parts();
    match config {
        Some(config) if errors.is_empty() => Ok(Loaded { config, warnings }),
        _ => Err(Diagnostics(errors)),
    }
}

/// The parser's words, where they fit; better ones for the mistakes that people make.
fn reason<'e>(text: &str, line: &str, error: &'e toml::de::Error, span: &Range<usize>) -> &'e str {
    let message = error.message();
    if line.contains(['\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}', '\u{ab}', '\u{bb}']) {
        return "typographic quotes: TOML wants straight ones, \" or '";
    }
    if is_yaml(line) {
        return "this looks like YAML, and the configuration is TOML: a key is set with key = value, and [[source]] begins a source";
    }
    let Some(unquoted) = message.strip_suffix(", expected literal string") else { return message };
    match text.get(span.start..).and_then(|rest| rest.chars().next()) {
        None | Some('\r' | '\n' | '#') => "the value is missing",
        Some(_) => unquoted,
    }
}

/// Whether a line sets a key as YAML does: `key: value` or `- key: value`.
fn is_yaml(line: &str) -> bool {
    let line = line.trim_start().trim_start_matches("- ");
    let key = line.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-').unwrap_or(line.len());
    let after = line.get(key..).and_then(|rest| rest.strip_prefix(':'));
    key > 0 && after.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r']))
}

/// Where a syntax error lies. A string over several lines that never ends is reported at the file's end,
/// and blamed on its beginning.
fn blamed(text: &str, error: &toml::de::Error) -> Range<usize> {
    let span = error.span().unwrap_or(0..0);
    if span.start < text.trim_end().len() || !error.message().contains("multi-line") {
        return span;
    }
    let opened = ["\"\"\"", "'''"].iter().filter_map(|quotes| text.rfind(quotes)).max();
    opened.map_or(span, |at| at..at + 3)
}

/// The key that a syntax error's line sets, with its table; `syntax` where it sets none that we know:
/// what stands before an equals sign may as well be the inside of a secret.
fn key_at(text: &SourceText<'_>, span: &Range<usize>) -> String {
    let number = text.line_of(span.start);
    if let Some(header) = header(text.line(number)) {
        return header.to_owned();
    }
    let own = || key(text.line(number));
    // a value over several lines belongs to the key on the line where it opens
    let opened = || {
        let above = (1..number)
            .rev()
            .map(|number| text.line(number))
            .find(|line| line.contains('=') || header(line).is_some())?;
        let opens = above.split_once('=').is_some_and(|(_, value)| value.trim_start().starts_with(['[', '{']));
        opens.then(|| key(above)).flatten()
    };
    let Some(key) = own().or_else(opened) else { return "syntax".to_owned() };
    match (1..number).rev().find_map(|number| header(text.line(number))) {
        Some(table) => format!("{table}.{key}"),
        None => key.to_owned(),
    }
}

/// The known key that a line sets, or was meant to.
fn key(line: &str) -> Option<&str> {
    let key = line.trim_start().split(['=', ' ', '\t']).next()?;
    known(key).then_some(key)
}

/// The known table that a line begins.
fn header(line: &str) -> Option<&str> {
    let line = line.trim_start_matches('\u{feff}').trim();
    let table = line.strip_prefix('[')?.trim_matches(['[', ']', ' ', '\t']);
    known(table).then_some(table)
}

fn known(path: &str) -> bool {
    path.split('.').all(|key| validate::KEYS.contains(&key))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use toml::de::DeValue;

    use super::*;

    /// The example with every key switched on that is switched off by a "#".
    fn example() -> String {
        let text = include_str!("../../config/kawaraban.toml");
        let switch = |line: &str| match line.strip_prefix('#') {
            Some(key) if !key.starts_with([' ', '#']) => key.to_owned(),
            _ => line.to_owned(),
        };
        text.lines().map(|line| switch(line) + "\n").collect()
    }

    /// `fetch.retry.attempts`, `source.name`, …
    fn paths(table: &DeTable<'_>, path: &str, found: &mut BTreeSet<String>) {
        for (key, value) in table {
            let path = if path.is_empty() { key.get_ref().to_string() } else { format!("{path}.{}", key.get_ref()) };
            match value.get_ref() {
                DeValue::Table(table) => paths(table, &path, found),
                DeValue::Array(items) => {
                    for table in items.iter().filter_map(|item| item.get_ref().as_table()) {
                        paths(table, &path, found);
                    }
                }
                _ => {}
            }
            found.insert(path);
        }
    }

    #[test]
    fn every_known_key_is_in_the_example_and_may_be_named_in_a_syntax_error() {
        let text = example();
        let document = DeTable::parse(&text).unwrap();
        let report = Report::new(Path::new("kawaraban.toml"), &text);
        let options = LoadOptions { secrets: Needed::None, env: &|_| None };
        validate::config(Table::root(&report, document.get_ref()), Path::new("kawaraban.toml"), &options);
        let mut shown = BTreeSet::new();
        paths(document.get_ref(), "", &mut shown);

        let known = report.known();
        let last = |path: &String| path.rsplit('.').next().unwrap_or_default().to_owned();
        let secret = |path: &String| ["env", "file", "credential"].contains(&last(path).as_str());
        // a key of FIELDs is shown in any of them
        let in_field = |key: &str| {
            let of_page =
                |path: &&String| ["html", "json", "enrich"].iter().any(|table| path.contains(&format!(".{table}.")));
            shown.iter().filter(of_page).any(|path| path.ends_with(&format!(".{key}")))
        };
        let is_shown = |path: &String| match path.strip_prefix("FIELD.") {
            Some(key) => in_field(key),
            None => shown.contains(path),
        };
        let missing: Vec<_> = known.iter().filter(|path| !secret(path) && !is_shown(path)).collect();
        assert_eq!(missing, Vec::<&String>::new(), "keys that the example does not have");
        for form in ["{ env = ", "{ file = ", "{ credential = "] {
            assert!(text.contains(form), "{form}");
        }
        let names: BTreeSet<String> = known.iter().map(last).collect();
        assert_eq!(names, validate::KEYS.iter().map(|key| (*key).to_owned()).collect());
    }
}
