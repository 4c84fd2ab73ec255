//! A Discord message for one item: one embed.
//!
//! Limits are Discord's (developer documentation, "Embed Limits"): in code points, inclusive. Their sum,
//! 4,608, stays below the 6,000 that a whole message may have.

use jiff::Timestamp;
use serde::Serialize;
use url::Url;

use super::markdown::{escaped, plain};
use crate::{model::Item, store::Delivery};

const TITLE: usize = 256;
const DESCRIPTION: usize = 4096;
const AUTHOR: usize = 256;
/// Of a URL; not documented, but refused beyond.
const URL: usize = 2048;
/// What stands where an item has no text at all: an embed needs something to show.
const UNTITLED: &str = "(untitled)";

/// The body of Execute Webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    embeds: [Embed; 1],
    allowed_mentions: AllowedMentions,
}

/// Nobody is pinged, whatever the text says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct AllowedMentions {
    parse: [(); 0],
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
struct Embed {
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<Timestamp>,
    /// Of the line at its left: 0xRRGGBB.
    #[serde(skip_serializing_if = "Option::is_none")]
    color: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<Author>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<Image>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Author {
    name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Image {
    url: String,
}

/// The message for an item, in its source's colour. An address that Discord would refuse is left out, not
/// the message.
pub fn message(delivery: &Delivery, color: Option<u32>) -> Message {
    let item = &delivery.item;
    let text =
        |text: &Option<String>, limit| text.as_deref().map(|text| escaped(text, limit)).filter(|text| !text.is_empty());
    let url = addresses(item).find_map(web_address);
    let mut title = text(&item.title, TITLE);
    let description = text(&item.summary, DESCRIPTION).filter(|description| title.as_ref() != Some(description));
    if title.is_none() {
        // the link must be somewhere to be clicked
        let stand_in = url.as_deref().or(description.is_none().then_some(UNTITLED));
        title = stand_in.map(|stand_in| escaped(stand_in, TITLE));
    }
    let author = Some(plain(&delivery.source.label, AUTHOR)).filter(|name| !name.is_empty());
    let embed = Embed {
        title,
        url,
        description,
        timestamp: item.time(),
        color,
        author: author.map(|name| Author { name }),
        image: item.image.as_deref().and_then(web_address).map(|url| Image { url }),
    };
    Message { embeds: [embed], allowed_mentions: AllowedMentions { parse: [] } }
}

/// Where an item may be read, the best first: FeedBurner's original in place of its own detour, the link, a file.
fn addresses(item: &Item) -> impl Iterator<Item = &str> {
    let original = item.extra.get("origLink").map(String::as_str);
    let file = item.enclosures.first().map(|enclosure| enclosure.url.as_str());
    [original, item.link.as_deref(), file].into_iter().flatten()
}

/// A test message.
pub fn test_message(destination: &str, at: Timestamp) -> Message {
    let embed = Embed {
        title: Some("Test message".to_owned()),
        description: Some(escaped(
            &format!("kawaraban reaches the destination {destination}. Nothing happened, this is a test."),
            DESCRIPTION,
        )),
        timestamp: Some(at),
        author: Some(Author { name: "kawaraban".to_owned() }),
        ..Embed::default()
    };
    Message { embeds: [embed], allowed_mentions: AllowedMentions { parse: [] } }
}

/// As people would see it, roughly, for a terminal.
pub fn shown(message: &Message) -> String {
    let [embed] = &message.embeds;
    let mut lines = Vec::new();
    if let Some(author) = &embed.author {
        let time = embed.timestamp.map(|time| format!("  {time}")).unwrap_or_default();
        lines.push(format!("┃ {}{time}", author.name));
    }
    lines.extend(embed.title.iter().map(|title| format!("┃ {}", unescaped(title))));
    lines.extend(embed.url.iter().map(|url| format!("┃ {url}")));
    let description = embed.description.as_deref().map(unescaped).unwrap_or_default();
    lines.extend(description.lines().map(|line| format!("┃   {line}")));
    lines.extend(embed.image.iter().map(|image| format!("┃ image: {}", image.url)));
    lines.push(String::new());
    lines.join("\n")
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            '\u{200b}' => {}
            c => out.push(c),
        }
    }
    out
}

/// Normalized, if Discord takes it: http or https, and not too long.
fn web_address(text: &str) -> Option<String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())?;
    let url = String::from(url);
    (url.chars().count() <= URL).then_some(url)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::store::SourceRef;

    fn delivery(item: Item) -> Delivery {
        Delivery {
            id: "00".into(),
            source: SourceRef { name: "ann".into(), label: "Anime News Network".into() },
            item,
            accepted_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn json(item: Item) -> serde_json::Value {
        serde_json::to_value(message(&delivery(item), None)).unwrap()
    }

    #[test]
    fn an_item_is_read_at_its_original_address_its_link_or_its_file() {
        let file = |url: &str| crate::model::Enclosure { url: url.into(), ..Default::default() };
        let link = Some("https://proxy.example/1".to_owned());
        let original = [("origLink".to_owned(), "https://news.example/1".to_owned())];
        let enclosures = vec![file("https://news.example/1.mp3")];
        let only_file = Item { enclosures: enclosures.clone(), ..Item::default() };
        let linked = Item { link: link.clone(), enclosures, ..Item::default() };
        let detour = Item { link, extra: original.into(), ..Item::default() };
        for (item, due) in [
            (only_file, "https://news.example/1.mp3"),
            (linked, "https://proxy.example/1"),
            (detour, "https://news.example/1"),
        ] {
            assert_eq!(json(item)["embeds"][0]["url"], due);
        }
    }

    #[test]
    fn an_item_is_one_embed() {
        let item = Item {
            title: Some("Case *Closed* 1 < 2".into()),
            link: Some("https://news.example/a b?x=1#c".into()),
            published: Some("2026-01-02T03:04:05Z".parse().unwrap()),
            summary: Some("Text_with markup".into()),
            image: Some("https://img.example/1.png".into()),
            ..Item::default()
        };
        let message = message(&delivery(item), Some(0x2e_51_a2));
        expect![[r#"
            {
              "embeds": [
                {
                  "title": "Case \\*Closed\\* 1 < 2",
                  "url": "https://news.example/a%20b?x=1#c",
                  "description": "Text\\_with markup",
                  "timestamp": "2026-01-02T03:04:05Z",
                  "color": 3035554,
                  "author": {
                    "name": "Anime News Network"
                  },
                  "image": {
                    "url": "https://img.example/1.png"
                  }
                }
              ],
              "allowed_mentions": {
                "parse": []
              }
            }"#]]
        .assert_eq(&serde_json::to_string_pretty(&message).unwrap());
        expect![[r#"
            ┃ Anime News Network  2026-01-02T03:04:05Z
            ┃ Case *Closed* 1 < 2
            ┃ https://news.example/a%20b?x=1#c
            ┃   Text_with markup
            ┃ image: https://img.example/1.png
        "#]]
        .assert_eq(&shown(&message));
    }

    #[test]
    fn what_discord_would_refuse_is_left_out() {
        let bad = [
            "magnet:?xt=1",
            "//host/x",
            "data:image/png;base64,AA",
            "relative",
            "",
            &format!("https://x/{}", "a".repeat(2048)),
        ];
        for address in bad {
            let item = Item {
                title: Some("t".into()),
                link: Some(address.to_owned()),
                image: Some(address.to_owned()),
                ..Item::default()
            };
            let message = json(item);
            assert!(message["embeds"][0]["url"].is_null() && message["embeds"][0]["image"].is_null(), "{address}");
        }
    }

    #[test]
    fn limits_hold_for_the_longest_texts() {
        let long = "*é日 ".repeat(5000);
        let mut delivery = delivery(Item { title: Some(long.clone()), summary: Some(long.clone()), ..Item::default() });
        delivery.source.label = long;
        let message = serde_json::to_value(message(&delivery, None)).unwrap();
        let count = |value: &serde_json::Value| value.as_str().unwrap().chars().count();
        let embed = &message["embeds"][0];
        assert!(
            count(&embed["title"]) <= 256
                && count(&embed["description"]) <= 4096
                && count(&embed["author"]["name"]) <= 256
        );
        assert!(embed["title"].as_str().unwrap().ends_with('…'));
    }

    #[test]
    fn there_is_always_something_to_show() {
        let linked = json(Item { link: Some("https://a.example/x".into()), ..Item::default() });
        assert_eq!(linked["embeds"][0]["title"], "https://a.example/x");
        assert_eq!(json(Item::default())["embeds"][0]["title"], UNTITLED);
        let summary = json(Item { summary: Some("only text".into()), title: Some("  ".into()), ..Item::default() });
        assert!(summary["embeds"][0]["title"].is_null());
        let same = json(Item { summary: Some("same".into()), title: Some("same".into()), ..Item::default() });
        assert!(same["embeds"][0]["description"].is_null());
    }
}
