//! Rules for JSON: the longest list of objects that have titles, and the keys that such objects commonly have.

use serde_json::{Map, Value};
use url::Url;

use super::{Field, Kind, MOST, Proposal};
use crate::feed::date;

/// Values looked at while lists are sought.
const LOOKED_AT: usize = 500_000;

/// Objects of a list that are looked at.
const SAMPLE: usize = 50;

/// A share of the objects that must have a field.
const SHARE: f64 = 0.6;

/// Keys by field, the most telling first, in lower case and without what separates words.
const KEYS: [(&str, &[&str]); 7] = [
    ("title", &["title", "headline", "name", "subject", "heading", "caption", "label", "text"]),
    (
        "link",
        &[
            "link",
            "url",
            "permalink",
            "href",
            "htmlurl",
            "weburl",
            "canonicalurl",
            "siteurl",
            "articleurl",
            "externalurl",
            "pageurl",
            "shareurl",
            "path",
            "uri",
        ],
    ),
    ("id", &["id", "guid", "uuid", "objectid", "articleid", "postid", "slug"]),
    (
        "published",
        &[
            "published",
            "publishedat",
            "datepublished",
            "publisheddate",
            "publishdate",
            "publicationdate",
            "pubdate",
            "publishedon",
            "dategmt",
            "date",
            "createdat",
            "created",
            "createdutc",
            "createdate",
            "datecreated",
            "timestamp",
            "time",
            "postedat",
            "releasedate",
            "updatedat",
            "updated",
            "modified",
        ],
    ),
    (
        "summary",
        &[
            "summary",
            "excerpt",
            "description",
            "abstract",
            "teaser",
            "lead",
            "intro",
            "blurb",
            "dek",
            "subtitle",
            "content",
            "body",
            "selftext",
        ],
    ),
    (
        "image",
        &[
            "image",
            "imageurl",
            "thumbnail",
            "thumbnailurl",
            "thumb",
            "cover",
            "coverimage",
            "picture",
            "photo",
            "bannerimage",
            "ogimage",
            "poster",
        ],
    ),
    ("author", &["author", "authors", "creator", "byline", "writer", "user", "username"]),
];

/// Where a value stands below a key that holds an object.
const BELOW: [&str; 11] =
    ["rendered", "text", "value", "plain", "name", "url", "src", "href", "english", "romaji", "large"];

/// Objects that hold the whole of what they stand for.
const WRAPPERS: [&str; 9] =
    ["node", "attributes", "fields", "data", "item", "post", "article", "properties", "_source"];

/// The likeliest first.
pub(super) fn of(value: &Value) -> Vec<Proposal> {
    let mut found: Vec<(f64, Proposal)> =
        lists(value).into_iter().filter_map(|(at, list)| proposal(at, list)).collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found.into_iter().take(MOST).map(|(_, proposal)| proposal).collect()
}

/// Every array of objects that stands in no other such array, with its pointer.
fn lists(value: &Value) -> Vec<(String, &Vec<Value>)> {
    let mut lists = Vec::new();
    let mut rest = vec![(String::new(), value)];
    let mut looked_at = 0;
    while let Some((at, value)) = rest.pop() {
        looked_at += 1;
        if looked_at > LOOKED_AT {
            break;
        }
        match value {
            Value::Array(values) if values.first().is_some_and(Value::is_object) => lists.push((at, values)),
            Value::Array(values) => {
                let inner = values.iter().take(SAMPLE).enumerate().filter(|(_, value)| is_container(value));
                rest.extend(inner.map(|(index, value)| (format!("{at}/{index}"), value)));
            }
            Value::Object(object) => {
                let inner = object.iter().filter(|(_, value)| is_container(value));
                rest.extend(inner.map(|(key, value)| (format!("{at}/{}", escaped(key)), value)));
            }
            _ => {}
        }
    }
    lists
}

fn is_container(value: &Value) -> bool {
    value.is_array() || value.is_object()
}

/// A key within a JSON Pointer.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn proposal(items: String, list: &[Value]) -> Option<(f64, Proposal)> {
    let sample: Vec<&Map<String, Value>> = list.iter().take(SAMPLE).filter_map(Value::as_object).collect();
    let mut fields: Vec<Field> = Vec::new();
    for (name, keys) in KEYS {
        let taken = |select: &String| fields.iter().any(|field| field.select == *select);
        if let Some(select) = find(&sample, keys, &|value| fits(name, value)).filter(|select| !taken(select)) {
            fields.push(Field { name, select, min_length: 0 });
        }
    }
    let has = |name: &str| f64::from(u8::from(fields.iter().any(|field| field.name == name)));
    if has("title") == 0.0 {
        return None;
    }
    let score = (1.0 + has("link") + has("published") + 0.3 * (has("summary") + has("image") + has("id")))
        * (1.0 + list.len().min(100) as f64).ln();
    let count = list.len();
    Some((score, Proposal { kind: Kind::Json, items, fields, embedded: None, count }))
}

/// The pointer, within an object, to a value that fits in most of them.
fn find(sample: &[&Map<String, Value>], keys: &[&str], fits: &dyn Fn(&Value) -> bool) -> Option<String> {
    let own = shapes(sample.first()?);
    let wrapped = WRAPPERS.iter().filter_map(|wrapper| {
        let inner = sample.first()?.get(*wrapper)?.as_object()?;
        Some(shapes(inner).into_iter().map(move |(plain, pointer)| (plain, format!("/{wrapper}{pointer}"))))
    });
    let known: Vec<(String, String)> = own.into_iter().chain(wrapped.flatten()).collect();
    let right = |pointer: &str| {
        let has = |object: &&&Map<String, Value>| at(object, pointer).is_some_and(fits);
        sample.iter().filter(has).count() as f64 >= sample.len() as f64 * SHARE
    };
    for key in keys {
        for (_, pointer) in known.iter().filter(|(plain, _)| plain == key) {
            if right(pointer) {
                return Some(pointer.clone());
            }
            if let Some(below) = BELOW.iter().map(|below| format!("{pointer}/{below}")).find(|pointer| right(pointer)) {
                return Some(below);
            }
        }
    }
    None
}

/// The keys of an object: in lower case without separators, and as pointers.
fn shapes(object: &Map<String, Value>) -> Vec<(String, String)> {
    let plain = |key: &str| key.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    object.keys().map(|key| (plain(key), format!("/{}", escaped(key)))).collect()
}

fn at<'v>(object: &'v Map<String, Value>, pointer: &str) -> Option<&'v Value> {
    let mut steps = pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~"));
    let first = object.get(&steps.next()?)?;
    steps.try_fold(first, |value, step| match value {
        Value::Object(object) => object.get(&step),
        Value::Array(values) => values.get(step.parse::<usize>().ok()?),
        _ => None,
    })
}

fn fits(field: &str, value: &Value) -> bool {
    let text = value.as_str().map(str::trim).filter(|text| !text.is_empty());
    match field {
        "link" | "image" => text.is_some_and(is_address),
        "id" => text.is_some_and(|text| text.len() <= 500) || value.is_u64(),
        "published" => text.map_or_else(
            || value.as_f64().is_some_and(|number| (1e8..2e10).contains(&number) || (1e11..2e13).contains(&number)),
            |text| text.len() >= 8 && date::read(text).is_some(),
        ),
        "summary" => text.is_some_and(|text| text.len() >= 20),
        _ => text.is_some_and(|text| text.len() >= 2),
    }
}

fn is_address(text: &str) -> bool {
    !text.contains(char::is_whitespace)
        && (text.starts_with('/') || Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https")))
}
