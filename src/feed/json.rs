//! JSON Feed 1.0 and 1.1.

use serde_json::Value;

use super::{Content, Document, Entry, Error, Format, Hints, MOST_ENTRIES, date, detect, link::absolute, text};
use crate::model::{Enclosure, Item};

/// Reads a JSON Feed; nothing where the text is no JSON at all.
pub(super) fn read<'t>(text: &str, hints: &Hints<'_>) -> Option<Result<Document<'t>, Error>> {
    if !text.starts_with(['{', '[']) {
        return None;
    }
    Some(document(text, hints))
}

fn document<'t>(text: &str, hints: &Hints<'_>) -> Result<Document<'t>, Error> {
    let value: Value = serde_json::from_str(text.trim_end_matches('\0'))
        .map_err(|error| Error::Malformed(format!("not valid JSON: {error}")))?;
    let version = value.get("version").and_then(Value::as_str).unwrap_or_default();
    let Some(items) = value.get("items").and_then(Value::as_array) else { return Err(detect::not_a_feed(text)) };
    let feed_authors = authors(&value);
    let entries = items.iter().filter(|item| item.is_object()).take(MOST_ENTRIES).map(|value| {
        let mut item = item(value, hints);
        if item.authors.is_empty() {
            item.authors.clone_from(&feed_authors);
        }
        Entry(Content::Ready(Box::new(item)))
    });
    Ok(Document {
        format: if version.ends_with("/1") || version.ends_with("1.0") { Format::Json10 } else { Format::Json11 },
        encoding: "",
        title: string(&value, "title").map(|title| text::fold(title.into()).into_owned()),
        link: string(&value, "home_page_url"),
        update_period: None,
        entries: entries.collect(),
        warnings: Vec::new(),
    })
}

fn string(value: &Value, key: &str) -> Option<String> {
    let text = match value.get(key)? {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

fn authors(value: &Value) -> Vec<String> {
    let list = value.get("authors").and_then(Value::as_array).into_iter().flatten();
    list.chain(value.get("author")).filter_map(|author| string(author, "name")).collect()
}

fn item(value: &Value, hints: &Hints<'_>) -> Item {
    let link = |key: &str| string(value, key).and_then(|link| absolute(&link, hints.base));
    let time = |key: &str| string(value, key).and_then(|text| date::read(&text));
    let content_html = string(value, "content_html");
    let content_text = string(value, "content_text");
    let summary =
        string(value, "summary").or_else(|| content_text.clone()).map(|text| text::fold(text.into()).into_owned());
    let attachments = value.get("attachments").and_then(Value::as_array).into_iter().flatten();
    Item {
        id: string(value, "id"),
        title: string(value, "title").map(|title| text::fold(title.into()).into_owned()),
        link: link("url").or_else(|| link("external_url")),
        published: time("date_published"),
        updated: time("date_modified"),
        summary: summary.or_else(|| content_html.as_deref().map(|html| text::words(html, 4096))),
        content_html: content_html.or(content_text),
        authors: authors(value),
        categories: value
            .get("tags")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|tag| tag.as_str().map(str::to_owned))
            .collect(),
        image: link("image").or_else(|| link("banner_image")),
        enclosures: attachments
            .filter_map(|attachment| {
                Some(Enclosure {
                    url: absolute(&string(attachment, "url")?, hints.base)?,
                    media_type: string(attachment, "mime_type"),
                    length: attachment.get("size_in_bytes").and_then(Value::as_u64),
                })
            })
            .collect(),
        ..Item::default()
    }
}
