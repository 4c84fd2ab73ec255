//! Images and attached files.

use super::{
    attribute::attribute,
    budget::Base,
    entry::Element,
    link::absolute,
    names::Tag,
    picture,
    text::{self, Tags},
};
use crate::model::Enclosure;

/// The file that an element's attribute names.
pub(super) fn enclosure(element: &Element<'_>, url: &str, base: Base<'_>) -> Option<Enclosure> {
    // some write the URL as the element's text
    let url = absolute(element.attribute(url).unwrap_or(element.body), base)?;
    let media_type =
        element.attribute("type").map(|t| text::value(t, Tags::Drop, &super::entity::Entities::none()).into_owned());
    let length = element.attribute("length").or_else(|| element.attribute("fileSize"));
    Some(Enclosure { url, media_type, length: length.and_then(|length| length.parse().ok()) })
}

/// A media:content that is a file for ears or eyes rather than a picture.
pub(super) fn attached(element: &Element<'_>, base: Base<'_>) -> Option<Enclosure> {
    let medium = element.attribute("medium").unwrap_or_default();
    let media_type = element.attribute("type").unwrap_or_default();
    let played = ["audio", "video"].iter().any(|kind| medium == *kind || media_type.starts_with(kind));
    element.attribute("url").filter(|_| played).and_then(|_| enclosure(element, "url", base))
}

/// Whether the file is a picture.
pub(super) fn is_image(file: &Enclosure) -> bool {
    match file.media_type.as_deref() {
        Some(media_type) => media_type.starts_with("image"),
        None => has_image_name(&file.url),
    }
}

fn has_image_name(url: &str) -> bool {
    let path = url.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    [".jpg", ".jpeg", ".png", ".gif", ".webp", ".avif"].iter().any(|end| path.ends_with(end))
}

/// The largest picture among media:content and media:thumbnail; where no size is told, the first content.
pub(super) fn largest<'t>(elements: impl Iterator<Item = Element<'t>>, base: Base<'_>) -> Option<String> {
    let mut best: Option<(u64, &str)> = None;
    for element in elements {
        let Some(url) = element.attribute("url") else { continue };
        let thumbnail = element.tag == Tag::MediaThumbnail;
        let medium = element.attribute("medium");
        let media_type = element.attribute("type");
        let picture = thumbnail
            || medium == Some("image")
            || media_type.is_some_and(|t| t.starts_with("image"))
            || (medium.is_none() && media_type.is_none() && has_image_name(url));
        let width: Option<u64> = element.attribute("width").and_then(|width| width.parse().ok());
        let small = width.is_some_and(|width| width < u64::from(SMALLEST));
        let rank = width.unwrap_or(if thumbnail { 1 } else { 2 });
        if picture && !small && best.is_none_or(|(known, _)| rank > known) && picture::unfit(url).is_none() {
            best = Some((rank, url));
        }
    }
    best.and_then(|(_, url)| absolute(url, base))
}

/// Tags looked at for an image.
const LOOKED_AT: usize = 50;

/// Smallest side of a picture worth showing, in pixels.
const SMALLEST: u32 = 33;

/// Whether a style leaves nothing to see, or a dot.
fn is_hidden(style: &str) -> bool {
    style.split(';').filter_map(|declaration| declaration.split_once(':')).any(|(property, value)| {
        let (property, value) = (property.trim(), value.trim());
        let small = || value.trim_end_matches("px").trim_end().parse::<f32>().is_ok_and(|size| size < SMALLEST as f32);
        match property.to_ascii_lowercase().as_str() {
            "display" => value.eq_ignore_ascii_case("none"),
            "visibility" => value.eq_ignore_ascii_case("hidden"),
            "width" | "height" | "max-width" | "max-height" => small(),
            _ => false,
        }
    })
}

/// The first sensible image in HTML: no counting pixel, no avatar, no icon, nothing inline.
pub(super) fn first_in(html: &str, base: Base<'_>) -> Option<String> {
    let bytes = html.as_bytes();
    let small = memchr::memmem::find_iter(bytes, b"<img");
    let tags = small.chain(memchr::memmem::find_iter(bytes, b"<IMG"));
    let tags = tags.filter(|&at| bytes.get(at + 4).is_some_and(|b| b.is_ascii_whitespace() || *b == b'/'));
    tags.take(LOOKED_AT).find_map(|at| {
        let end = text::tag_end(&html[at..])?;
        let tag = &html[at + 4..at + end - 1];
        let small = |name: &str| {
            let size = attribute(tag, name).map(|size| size.trim().trim_end_matches("px"));
            size.and_then(|size| size.parse::<u32>().ok()).is_some_and(|size| size < SMALLEST)
        };
        let class = attribute(tag, "class").unwrap_or_default();
        let styled = attribute(tag, "style").is_some_and(is_hidden);
        if styled
            || small("width")
            || small("height")
            || ["avatar", "emoji", "wp-smiley", "latex"].iter().any(|c| class.contains(c))
        {
            return None;
        }
        let inline = |url: &&str| !url.trim().is_empty() && !url.trim_start().starts_with("data:");
        let source = attribute(tag, "src").filter(inline).or_else(|| attribute(tag, "data-src").filter(inline))?;
        absolute(source, base).filter(|url| picture::unfit(url).is_none())
    })
}
