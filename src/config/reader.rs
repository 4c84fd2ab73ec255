//! Walks a parsed TOML document and collects every fault on the way, instead of ending at the first.
//!
//! A [`Table`] notes which keys it was asked for; [`Table::finish`] reports those that nobody asked for,
//! so that the code that reads a key is also the list of what is allowed.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fmt::{self, Display},
    ops::Range,
    path::Path,
};

use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeTable, DeValue, ValueDeserializer},
};

use super::{diagnostic::Diagnostic, source_text::SourceText, validate::KEYS};
use crate::page::rules;

/// Stands for the path of each FIELD, all of which take the same keys.
const FIELD: &str = "FIELD";

/// Where faults and warnings go.
pub(super) struct Report<'a> {
    pub(super) file: &'a Path,
    pub(super) text: SourceText<'a>,
    errors: RefCell<Vec<Diagnostic>>,
    warnings: RefCell<Vec<Diagnostic>>,
    /// Lines whose syntax is broken: what was made of them is not worth a second message. Keys may be
    /// missing just because their line is one of these.
    broken: BTreeSet<usize>,
    #[cfg(test)]
    known: RefCell<BTreeSet<String>>,
}

/// Faults that are told one by one; a file with more of them is something else.
const MOST: usize = 1000;

impl<'a> Report<'a> {
    pub(super) fn new(file: &'a Path, text: &'a str) -> Self {
        Self {
            file,
            text: SourceText::new(text),
            errors: RefCell::default(),
            warnings: RefCell::default(),
            broken: BTreeSet::new(),
            #[cfg(test)]
            known: RefCell::default(),
        }
    }

    /// Notes a syntax error; of those in one line only the first, for the others mostly follow from it.
    pub(super) fn syntax_error(&mut self, span: &Range<usize>, key: &str, message: impl Display) {
        if self.broken.insert(self.text.line_of(span.start)) {
            self.error_anyway(span, key, message);
        }
    }

    /// Whether something may be missing only because a line could not be read.
    pub(super) fn is_broken(&self) -> bool {
        !self.broken.is_empty()
    }

    /// Notes a fault at the beginning of `span`.
    pub(super) fn error(&self, span: &Range<usize>, key: &str, message: impl Display) {
        if !self.broken.contains(&self.text.line_of(span.start)) {
            self.error_anyway(span, key, message);
        }
    }

    fn error_anyway(&self, span: &Range<usize>, key: &str, message: impl Display) {
        let mut errors = self.errors.borrow_mut();
        match errors.len() {
            ..MOST => errors.push(self.diagnostic(span, key, message)),
            MOST => errors.push(self.diagnostic(span, "", "there are more errors, which are not told")),
            _ => {}
        }
    }

    /// Notes something that is allowed, but hardly meant.
    pub(super) fn warn(&self, span: &Range<usize>, key: &str, message: impl Display) {
        self.warnings.borrow_mut().push(self.diagnostic(span, key, message));
    }

    fn diagnostic(&self, span: &Range<usize>, key: &str, message: impl Display) -> Diagnostic {
        let place = self.text.place(span.start);
        Diagnostic {
            file: self.file.to_owned(),
            line: place.line,
            column: place.column,
            key: key.to_owned(),
            message: message.to_string(),
        }
    }

    /// Faults and warnings, each in the order of the file.
    pub(super) fn into_parts(self) -> (Vec<Diagnostic>, Vec<Diagnostic>) {
        let sorted = |mut list: Vec<Diagnostic>| {
            list.sort_by_key(|diagnostic| (diagnostic.line, diagnostic.column));
            list.dedup();
            list
        };
        (sorted(self.errors.into_inner()), sorted(self.warnings.into_inner()))
    }

    /// Every key that was asked for, without the names of sources and destinations.
    #[cfg(test)]
    pub(super) fn known(&self) -> BTreeSet<String> {
        self.known.borrow().clone()
    }
}

/// One table of the document, or an empty one where it has none.
pub(super) struct Table<'t> {
    pub(super) report: &'t Report<'t>,
    /// Shown: `source[ann]`.
    pub(super) path: String,
    /// As in the file: `source`.
    schema: String,
    /// The header's place, where missing keys are reported.
    pub(super) header: Range<usize>,
    entries: Option<&'t DeTable<'t>>,
    known: Vec<&'static str>,
    ignored: Vec<&'static str>,
    confidential: bool,
}

impl<'t> Table<'t> {
    /// The document itself.
    pub(super) fn root(report: &'t Report<'t>, entries: &'t DeTable<'t>) -> Self {
        Self {
            report,
            path: String::new(),
            schema: String::new(),
            header: 0..0,
            entries: Some(entries),
            known: Vec::new(),
            ignored: Vec::new(),
            confidential: false,
        }
    }

    /// Names this table after its own name: `source[2]` becomes `source[ann]`.
    pub(super) fn rename(&mut self, name: &str) {
        self.path = format!("{}[{name}]", self.schema);
    }

    fn key_path(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// The value of a key, which becomes a known one by this.
    pub(super) fn get(&mut self, key: &'static str) -> Option<Value<'t>> {
        if !self.known.contains(&key) {
            self.known.push(key);
            #[cfg(test)]
            self.report.known.borrow_mut().insert(join(&self.schema, key));
        }
        let value = self.entries?.get(key)?;
        Some(Value {
            report: self.report,
            key: self.key_path(key),
            schema: join(&self.schema, key),
            span: value.span(),
            value: value.get_ref(),
            confidential: self.confidential,
        })
    }

    /// As [`Table::get`]; that it is missing is a fault at the table's header.
    pub(super) fn require(&mut self, key: &'static str, expected: impl Display) -> Option<Value<'t>> {
        let value = self.get(key);
        if value.is_none() && !self.report.is_broken() {
            self.report.error(&self.header, &self.key_path(key), format_args!("missing; expected {expected}"));
        }
        value
    }

    /// A table within this one; one that is not there is empty.
    pub(super) fn table(&mut self, key: &'static str) -> Table<'t> {
        let absent = Table {
            report: self.report,
            path: self.key_path(key),
            schema: join(&self.schema, key),
            header: self.header.clone(),
            entries: None,
            known: Vec::new(),
            ignored: Vec::new(),
            confidential: self.confidential,
        };
        self.get(key).and_then(|value| value.table()).unwrap_or(absent)
    }

    /// The tables of a `[[key]]`.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Table<'t>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let DeValue::Array(items) = value.value else {
            match value.value {
                DeValue::Table(_) => value.error(format_args!("each one begins with [[{key}]], in two brackets")),
                _ => value.wrong(format_args!("tables that begin with [[{key}]]")),
            }
            return Vec::new();
        };
        let item = |(n, item): (usize, &'t Spanned<DeValue<'t>>)| {
            let item = Value {
                report: self.report,
                key: format!("{}[{}]", value.key, n + 1),
                schema: value.schema.clone(),
                span: item.span(),
                value: item.get_ref(),
                confidential: false,
            };
            item.table()
        };
        items.iter().enumerate().filter_map(item).collect()
    }

    /// The keys in it with their values, for tables whose keys are free.
    pub(super) fn entries(&self) -> Vec<(String, Range<usize>, Value<'t>)> {
        let Some(entries) = self.entries else { return Vec::new() };
        let entry = |(key, value): (&Spanned<std::borrow::Cow<'_, str>>, &'t Spanned<DeValue<'t>>)| {
            let value = Value {
                report: self.report,
                key: self.key_path(key.get_ref()),
                schema: self.schema.clone(),
                span: value.span(),
                value: value.get_ref(),
                confidential: self.confidential,
            };
            (key.get_ref().to_string(), key.span(), value)
        };
        entries.iter().map(entry).collect()
    }

    /// Makes keys known without reading them, where what is wrong with them is said elsewhere.
    pub(super) fn ignore(&mut self, keys: &[&'static str]) {
        self.ignored.extend(keys);
    }

    /// Reports a key that stands here, and may not.
    pub(super) fn refuse(&mut self, key: &'static str, message: impl Display) {
        if let Some((key_at, _)) = self.entries.and_then(|entries| entries.get_key_value(key)) {
            self.report.error(&key_at.span(), &self.key_path(key), message);
            self.ignored.push(key);
        }
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self) {
        let Some(entries) = self.entries else { return };
        for key in entries.keys().filter(|key| {
            let name = key.get_ref().as_ref();
            // behind a broken header stand keys of the table that it would have begun
            let stray = self.report.is_broken() && KEYS.contains(&name);
            !self.known.contains(&name) && !self.ignored.contains(&name) && !stray
        }) {
            let name = key.get_ref();
            let near = DidYouMean(name, self.known.iter().copied());

            // one near name says more than thirty others
            let message = match near.to_string() {
                near if near.is_empty() => format!("unknown key; allowed here: {}", self.known.join(", ")),
                near => format!("unknown key{near}"),
            };
            let name = if name.contains("://") { "(hidden)".to_owned() } else { short(name) };
            self.report.error(&key.span(), &self.key_path(&name), message);
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// One value with its place.
#[derive(Clone)]
pub(super) struct Value<'t> {
    pub(super) report: &'t Report<'t>,
    /// Shown: `source[ann].url`.
    pub(super) key: String,
    schema: String,
    pub(super) span: Range<usize>,
    value: &'t DeValue<'t>,
    confidential: bool,
}

impl<'t> Value<'t> {
    /// From here on no message shows what was found.
    pub(super) fn confidential(mut self) -> Self {
        self.confidential = true;
        self
    }

    /// Notes a fault at this value.
    pub(super) fn error(&self, message: impl Display) {
        self.report.error(&self.span, &self.key, message);
    }

    /// Notes a warning at this value.
    pub(super) fn warn(&self, message: impl Display) {
        self.report.warn(&self.span, &self.key, message);
    }

    /// Notes that something else was expected, and what was found.
    pub(super) fn wrong(&self, expected: impl Display) {
        self.error(format_args!("expected {expected}, found {}", self.found()));
    }

    /// What stands there, short, and without what may be secret.
    pub(super) fn found(&self) -> String {
        match self.value {
            DeValue::String(text) if text.is_empty() => "an empty string".to_owned(),
            DeValue::String(text) if self.confidential || text.contains("://") => {
                format!("a string of {} characters (not shown)", text.chars().count())
            }
            DeValue::String(text) => format!("{:?}", short(text)),
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Datetime(_) if self.confidential => {
                format!("{} (not shown)", kind(self.value))
            }
            DeValue::Integer(number) => format!("the number {}", short(&number.to_string())),
            DeValue::Float(number) => format!("the number {}", short(&number.to_string())),
            DeValue::Boolean(value) => value.to_string(),
            DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => kind(self.value).to_owned(),
        }
    }

    /// The value by way of serde; `expected` is said where it does not fit.
    pub(super) fn read<T: DeserializeOwned>(&self, expected: impl Display) -> Option<T> {
        let value = Spanned::new(self.span.clone(), self.value.clone());
        let result = T::deserialize(ValueDeserializer::from(value));
        result.map_err(|_| self.wrong(expected)).ok()
    }

    /// A string.
    pub(super) fn string(&self, expected: impl Display) -> Option<&'t str> {
        if let DeValue::String(text) = self.value {
            return Some(text);
        }
        self.wrong(expected);
        None
    }

    /// A string, if it is one; no fault if it is not.
    pub(super) fn as_str(&self) -> Option<&'t str> {
        self.value.as_str()
    }

    /// Its place, for messages of later.
    pub(super) fn place(&self) -> rules::Place {
        let place = self.report.text.place(self.span.start);
        rules::Place { line: place.line, column: place.column, key: self.key.clone() }
    }

    /// What is in it is a FIELD's, whichever field it is.
    pub(super) fn of_field(mut self) -> Self {
        self.schema = FIELD.to_owned();
        self
    }

    /// Whether it is a table.
    pub(super) fn is_table(&self) -> bool {
        self.value.is_table()
    }

    /// The elements of an array.
    pub(super) fn array(&self, expected: impl Display) -> Option<Vec<Value<'t>>> {
        let DeValue::Array(items) = self.value else {
            self.wrong(expected);
            return None;
        };
        let element =
            |item: &'t Spanned<DeValue<'t>>| Value { span: item.span(), value: item.get_ref(), ..self.clone() };
        Some(items.iter().map(element).collect())
    }

    /// A table.
    pub(super) fn table(&self) -> Option<Table<'t>> {
        let DeValue::Table(entries) = self.value else {
            self.wrong("a table");
            return None;
        };
        Some(Table {
            report: self.report,
            path: self.key.clone(),
            schema: self.schema.clone(),
            header: self.span.clone(),
            entries: Some(entries),
            known: Vec::new(),
            ignored: Vec::new(),
            confidential: self.confidential,
        })
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// The beginning of a text, for messages.
pub(super) fn short(text: &str) -> String {
    const LENGTH: usize = 48;
    match text.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// `; did you mean "x"?`, or nothing where no known name is near.
pub(super) struct DidYouMean<'a, I>(pub(super) &'a str, pub(super) I);

impl<'k, I: Iterator<Item = &'k str> + Clone> Display for DidYouMean<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let distance = |known: &str| strsim::damerau_levenshtein(self.0, known);
        let near = |known: &str| 1 + known.chars().count().max(self.0.chars().count()) / 4;
        // a text far longer than any name is no misspelt name, and dear to compare
        let candidates = self.1.clone().filter(|_| self.0.len() <= 128);
        match candidates.map(|known| (distance(known), known)).min() {
            Some((distance, known)) if distance <= near(known) => write!(f, "; did you mean {known:?}?"),
            _ => Ok(()),
        }
    }
}
