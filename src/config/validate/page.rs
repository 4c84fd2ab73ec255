//! `kind`, `[source.html]` and `[source.json]`

use std::{collections::BTreeMap, sync::Arc};

use super::{
    field::{Dates, field},
    pointer::Language,
    unless_wrong,
};
use crate::{
    config::{
        SourceKind,
        reader::{Table, Value},
        value::Compiled,
    },
    model::Secret,
    page::rules::{Css, DateRule, Fields, Items, JsonRules, PageRules, Path, Rule},
};

/// What is read, and the body to POST for it.
pub(super) struct Reading {
    pub(super) kind: SourceKind,
    pub(super) post: Option<Secret>,
}

impl Reading {
    /// Whether its items have links to visit.
    pub(super) fn has_links(&self) -> bool {
        match &self.kind {
            SourceKind::Feed => true,
            SourceKind::Html(rules) => rules.fields.link.is_some(),
            SourceKind::Json(rules) => rules.fields.link.is_some(),
        }
    }
}

/// The keys that only one kind has, each with its kind.
const OF_ONE_KIND: [(&str, &str); 5] =
    [("html", "html"), ("json", "json"), ("method", "json"), ("body", "json"), ("embedded", "json")];

/// `kind` and what belongs to it; None where a fault was told.
pub(super) fn reading(table: &mut Table<'_>, compiled: &Compiled) -> Option<Reading> {
    let kinds = ["feed", "html", "json"].map(|kind| (kind, kind));
    let kind = match table.get("kind") {
        Some(value) => value.choice(&kinds),
        None => Some("feed"),
    };
    let Some(kind) = kind else {
        // what belongs here is not known without the kind
        table.ignore(&OF_ONE_KIND.map(|(key, _)| key));
        return None;
    };
    for (key, of) in OF_ONE_KIND.into_iter().filter(|(_, of)| *of != kind) {
        table.refuse(key, format_args!("belongs to kind = {of:?}, and the kind of this source is {kind:?}"));
    }
    match kind {
        "html" => {
            let rules = table.require("html", "[source.html], a table with items and title")?.table()?;
            Some(Reading { kind: SourceKind::Html(Arc::new(page(rules, compiled)?)), post: None })
        }
        "json" => {
            let post = post(table);
            let embedded = table.get("embedded").map(|value| Css::read(&value));
            let rules = table.require("json", "[source.json], a table with items and title");
            let (items, fields) = json(rules?.table()?, compiled)?;
            let rules = JsonRules { items, fields, embedded: unless_wrong(embedded)? };
            Some(Reading { kind: SourceKind::Json(Arc::new(rules)), post: post? })
        }
        _ => Some(Reading { kind: SourceKind::Feed, post: None }),
    }
}

/// `method` and `body`
fn post(table: &mut Table<'_>) -> Option<Option<Secret>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Method {
        Get,
        Post,
    }
    let body = table.get("body").map(Value::confidential);
    let methods = [("GET", Method::Get), ("POST", Method::Post)];
    let method = unless_wrong(table.get("method").map(|value| value.choice(&methods)))?;
    let Some(value) = body else {
        return Some((method == Some(Method::Post)).then(|| Secret::new(String::new())));
    };
    let text = value.string("a string, such as a GraphQL query in JSON")?;
    if method == Some(Method::Get) {
        value.error("a GET has no body: set method = \"POST\", or leave one of them away");
        return None;
    }
    Some(Some(Secret::new(text.to_owned())))
}

fn page(mut table: Table<'_>, compiled: &Compiled) -> Option<PageRules> {
    let items = table.require("items", "a CSS selector whose matches are the items");
    let items = items.and_then(|value| items_of(&value, compiled));
    let fields = fields(&mut table, compiled);
    table.finish();
    Some(PageRules { items: items?, fields: fields? })
}

fn json(mut table: Table<'_>, compiled: &Compiled) -> Option<(Path, Fields<Path>)> {
    let items = table.require("items", "where the items are: a JSON Pointer to an array, or a JSONPath");
    let items = items.and_then(|value| Path::read(&value));
    let fields = fields(&mut table, compiled);
    table.finish();
    Some((items?, fields?))
}

fn items_of(value: &Value<'_>, compiled: &Compiled) -> Option<Items> {
    if !value.is_table() {
        value.string("a CSS selector, or a table with after and select")?;
        return Css::read(value).map(Items::All);
    }
    let mut table = value.table()?;
    let after = table.require("after", "a CSS selector, of the heading").and_then(|value| Css::read(&value));
    let matching = table.get("matching").map(|value| value.pattern(compiled));
    let select = table.require("select", "a CSS selector, of what follows the heading");
    let select = select.and_then(|value| Css::read(&value));
    let first = table.get("first").map(|value| value.integer(1..=1_000_000));
    table.finish();
    let first = unless_wrong(first)?.map(|first| first as usize);
    Some(Items::After { after: after?, matching: unless_wrong(matching)?, select: select?, first })
}

fn fields<P: Language>(table: &mut Table<'_>, compiled: &Compiled) -> Option<Fields<P>> {
    let dates = Dates::Like(DateRule::default());
    let title = table.require("title", format_args!("a FIELD: {}, or a table", P::FORM));
    let title = title.and_then(|value| field(&value, &Dates::None, compiled));
    let mut of = |key, dates: &Dates<P>| optional(table.get(key), dates, compiled);
    let link = of("link", &Dates::None);
    let id = of("id", &Dates::None);
    let published = of("published", &dates);
    let summary = of("summary", &Dates::None);
    let image = of("image", &Dates::None);
    let author = of("author", &Dates::None);
    let category = of("category", &Dates::None);
    let extra = extra(&table.table("extra"), compiled);
    Some(Fields {
        title: title?,
        link: link?,
        id: id?,
        published: published?,
        summary: summary?,
        image: image?,
        author: author?,
        category: category?,
        extra: extra?,
    })
}

/// A FIELD that may be missing; None where it is there, and wrong.
pub(super) fn optional<P: Language>(
    value: Option<Value<'_>>,
    dates: &Dates<P>,
    compiled: &Compiled,
) -> Option<Option<Rule<P>>> {
    match value {
        None => Some(None),
        Some(value) => field(&value, dates, compiled).map(Some),
    }
}

fn extra<P: Language>(table: &Table<'_>, compiled: &Compiled) -> Option<BTreeMap<String, Rule<P>>> {
    let read = |(name, span, value): (String, _, Value<'_>)| {
        let fits = (1..=64).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if !fits {
            value.report.error(
                &span,
                &table.path,
                "a further field's name has 1 to 64 letters, digits, \"_\" and \"-\"",
            );
        }
        let rule = field(&value, &Dates::None, compiled);
        Some((name, rule?)).filter(|_| fits)
    };
    // all are read before any is found wanting
    let read: Vec<_> = table.entries().into_iter().map(read).collect();
    read.into_iter().collect()
}
