//! Rules, written as JSON where the configuration has TOML, against documents of our own making.

mod fields;
mod hostile;
mod json;
mod shapes;

use std::{cell::Cell, collections::BTreeMap};

use jiff::tz::TimeZone;
use regex::Regex;
use scraper::Selector;
use serde_json::{Value, json};
use serde_json_path::JsonPath;
use url::Url;

use super::{
    Error, Extract, Given,
    rules::{Css, DateRule, Fields, Items, JsonRules, PageRules, Path, Pick, Place, Point, Rule, Steps, Take, What},
};

fn place(key: &str) -> Place {
    Place { line: 7, column: 3, key: format!("source[x].{key}") }
}

/// How a selection is read from its text.
trait Written: Point {
    fn written(text: &str, key: &str) -> Self;
}

impl Written for Css {
    fn written(text: &str, key: &str) -> Self {
        Self { text: text.into(), place: place(key), selector: Selector::parse(text).unwrap() }
    }
}

impl Written for Path {
    fn written(text: &str, key: &str) -> Self {
        let steps = match text.starts_with('$') {
            true => Steps::Query(JsonPath::parse(text).unwrap()),
            false => Steps::Pointer(text.into()),
        };
        Self { text: text.into(), place: place(key), steps }
    }
}

fn rule<P: Written>(key: &str, spec: &Value) -> Rule<P> {
    let text = |name: &str| spec[name].as_str();
    let all = |name: &str| spec[name].as_array().map(|all| all.iter().map(|spec| rule(key, spec)).collect::<Vec<_>>());
    let count = |name: &str| spec[name].as_u64().map(|count| count as usize);
    let take = if let Some(constant) = text("const") {
        Take::Const(constant.into())
    } else if let Some(rules) = all("any") {
        Take::Any(rules)
    } else if let Some(parts) = all("join") {
        Take::Join { parts, with: text("with").unwrap_or(" ").into() }
    } else {
        let select = spec.as_str().or(text("select")).unwrap();
        let what = match text("attr") {
            None => What::Natural,
            Some("html") => What::Html,
            Some(name) => What::Attribute(name.into()),
        };
        Take::Pick(Pick { select: (select != ":self").then(|| P::written(select, key)), what })
    };
    Rule {
        place: place(key),
        take,
        regex: text("regex").map(|regex| Regex::new(regex).unwrap()),
        min_length: count("min_length").unwrap_or(0),
        max_length: count("max_length"),
        date: DateRule {
            format: text("format").map(Into::into),
            zone: text("zone").map_or(TimeZone::UTC, |zone| TimeZone::get(zone).unwrap()),
            under: text("under").map(|under| P::written(under, key)),
        },
    }
}

fn fields<P: Written>(spec: &Value) -> Fields<P> {
    let field = |name: &str| spec.get(name).map(|spec| rule(name, spec));
    let extra = spec["extra"].as_object().into_iter().flatten();
    Fields {
        title: field("title").unwrap(),
        link: field("link"),
        id: field("id"),
        published: field("published"),
        summary: field("summary"),
        image: field("image"),
        author: field("author"),
        category: field("category"),
        extra: extra.map(|(name, spec)| (name.clone(), rule("extra", spec))).collect::<BTreeMap<_, _>>(),
    }
}

fn page_rules(spec: &Value) -> PageRules {
    let items = match &spec["items"] {
        Value::String(css) => Items::All(Css::written(css, "items")),
        table => Items::After {
            after: Css::written(table["after"].as_str().unwrap(), "items.after"),
            matching: table["matching"].as_str().map(|regex| Regex::new(regex).unwrap()),
            select: Css::written(table["select"].as_str().unwrap(), "items.select"),
            first: table["first"].as_u64().map(|first| first as usize),
        },
    };
    PageRules { items, fields: fields(spec) }
}

fn json_rules(spec: &Value) -> JsonRules {
    JsonRules {
        items: Path::written(spec["items"].as_str().unwrap(), "items"),
        fields: fields(spec),
        embedded: spec["embedded"].as_str().map(|css| Css::written(css, "embedded")),
    }
}

fn with_given<T>(expired: &dyn Fn() -> bool, read: impl FnOnce(&Given<'_>) -> T) -> T {
    let url = Url::parse("https://site.example/news/list?page=1").unwrap();
    read(&Given { content_type: None, encoding: None, url: &url, may_be_empty: false, before: None, expired })
}

fn read_page(html: impl AsRef<[u8]>, spec: &Value) -> Result<Extract, Error> {
    with_given(&|| false, |given| super::html::read(html.as_ref(), &page_rules(spec), given))
}

fn read_json(json: impl AsRef<[u8]>, spec: &Value) -> Result<Extract, Error> {
    with_given(&|| false, |given| super::json::read(json.as_ref(), &json_rules(spec), given))
}

/// The only item as JSON; null where it lacks what it must have.
fn only(read: Result<Extract, Error>) -> Value {
    match read {
        Err(Error::Selector(message)) if message.ends_with("for none of the 1 items") => Value::Null,
        read => shown(read).remove(0),
    }
}

/// Items as JSON, without what they do not have.
fn shown(read: Result<Extract, Error>) -> Vec<Value> {
    let items = read.unwrap().items;
    let mut items: Vec<Value> = items.iter().map(|item| serde_json::to_value(item).unwrap()).collect();
    for item in &mut items {
        item.as_object_mut().unwrap().retain(|_, value| !value.is_null() && *value != json!([]));
    }
    items
}

fn told(read: Result<Extract, Error>) -> String {
    match read {
        Err(Error::Selector(message)) => message,
        other => panic!("{other:?}"),
    }
}

/// Time that is up after so many looks at it.
fn after(looks: u32) -> impl Fn() -> bool {
    let left = Cell::new(looks);
    move || {
        left.set(left.get().saturating_sub(1));
        left.get() == 0
    }
}
