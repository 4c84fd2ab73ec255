//! What is read of documents as they are found.

use super::*;

mod damage;
mod encodings;
mod formats;
mod items;
mod many;
mod pages;

fn document(text: impl AsRef<[u8]>) -> OwnedDocument {
    parse(text.as_ref(), &Hints::default()).unwrap()
}

/// An RSS document around these items.
fn rss(items: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<rss version=\"2.0\" xmlns:media=\"http://search.yahoo.com/mrss/\" \
         xmlns:content=\"http://purl.org/rss/1.0/modules/content/\" xmlns:dc=\"http://purl.org/dc/elements/1.1/\" \
         xmlns:itunes=\"http://www.itunes.com/dtds/podcast-1.0.dtd\"><channel><title>T</title>\
         <link>https://e.org/</link>{items}</channel></rss>"
    )
}

/// The only item of an RSS document, as it is delivered.
fn item(inside: &str) -> Item {
    let document = rss(&format!("<item>{inside}</item>"));
    let text = decode(document.as_bytes(), &Hints::default()).unwrap();
    let read = read(&text, &Hints::default()).unwrap();
    assert_eq!(read.entries.len(), 1, "{inside}");
    read.entries[0].item().unwrap().unwrap()
}

fn title(of: &str) -> String {
    item(&format!("<title>{of}</title><link>https://e.org/1</link>")).title.unwrap_or_default()
}

fn titles(document: &OwnedDocument) -> Vec<&str> {
    document.items.iter().map(|item| item.title.as_deref().unwrap_or("-")).collect()
}
