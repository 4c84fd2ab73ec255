//! What a page tells of its article without being asked: OpenGraph and Twitter meta elements, JSON-LD, the usual
//! attributes, a first paragraph that is worth reading.

use ego_tree::{NodeRef, iter::Edge};
use scraper::{ElementRef, Html, Node, node::Element};
use url::Url;

use super::{
    Expired,
    article::Details,
    dom,
    linked_data::{self, LinkedData},
    text,
};
use crate::feed::{budget::MAX_URL_BYTES, date, fold::fold};

/// A shorter paragraph is a caption or a greeting, in characters.
const SHORTEST: usize = 50;
/// What is kept of a text, in characters.
const LONGEST: usize = 500;
/// What is looked at of a text in an attribute, in bytes.
const LOOKED_AT: usize = 16 * 1024;
/// Elements between two looks at the clock.
const LOOKS: u32 = 64;
/// What is taken of one name's `meta` elements, and of an article's authors.
const MAX_VALUES: usize = 50;
/// Longest name of an author, in bytes.
const MAX_NAME_BYTES: usize = 1024;

/// The `meta` elements that say something of the article.
const METAS: &[&str] = &[
    "og:image:secure_url",
    "og:image",
    "og:image:url",
    "twitter:image",
    "twitter:image:src",
    "og:video:secure_url",
    "og:video",
    "og:video:url",
    "og:description",
    "twitter:description",
    "description",
    "article:published_time",
    "og:article:published_time",
    "datepublished",
    "author",
    "article:author",
];

/// Looks for everything. `base` is what the page's relative addresses are relative to.
pub(super) fn find(html: &Html, base: &Url, expired: Expired<'_>) -> Details {
    let seen = Seen::look(html, expired);
    let linked = linked_data::read(&seen.scripts, expired);
    let address = |text: &str| address(base, text);
    let image = seen
        .metas(&["og:image:secure_url", "og:image", "og:image:url", "twitter:image", "twitter:image:src"])
        .chain(linked.images.iter().map(String::as_str))
        .chain(seen.image)
        .find_map(address);
    let video = linked.videos.iter().map(String::as_str);
    let video = video.chain(seen.metas(&["og:video:secure_url", "og:video", "og:video:url"])).chain(seen.film);
    let described = seen.metas(&["og:description", "twitter:description"]);
    let described = described.chain(linked.description.as_deref()).chain(seen.metas(&["description"]));
    let summary = described.map(plain).find(|text| !text.is_empty()).map(|text| text::cut(text, LONGEST));
    let dates = seen.metas(&["article:published_time", "og:article:published_time"]);
    let published = dates.chain(linked.published.as_deref()).chain(seen.metas(&["datepublished"])).chain(seen.time);
    Details {
        image,
        summary: summary.or_else(|| seen.paragraph.clone()).or_else(|| seen.stray_paragraph.clone()),
        content_html: None,
        authors: authors(&seen, &linked),
        published: published.filter_map(date::read).next(),
        video: video.filter_map(address).map(|url| watch(&url).unwrap_or(url)).next(),
    }
}

fn authors(seen: &Seen<'_>, linked: &LinkedData) -> Vec<String> {
    let mut authors: Vec<String> = Vec::new();
    let metas = seen.metas(&["author", "article:author"]);
    let names = if linked.authors.is_empty() { metas.collect() } else { Vec::new() };
    for name in linked.authors.iter().map(String::as_str).chain(names).map(plain) {
        // some give a profile's address for a name
        let fits = (1..=MAX_NAME_BYTES).contains(&name.len()) && !name.contains("://");
        if fits && authors.len() < MAX_VALUES && !authors.contains(&name) {
            authors.push(name);
        }
    }
    authors
}

/// What stands where in the page; the first of each.
#[derive(Default)]
struct Seen<'h> {
    /// Place in [`METAS`] and content, so many of each.
    metas: Vec<(usize, &'h str)>,
    /// Texts of the JSON-LD scripts.
    scripts: Vec<String>,
    /// `<link rel=image_src>`
    image: Option<&'h str>,
    /// `<time itemprop=datePublished>`
    time: Option<&'h str>,
    /// Address of an embedded film.
    film: Option<&'h str>,
    /// In the article.
    paragraph: Option<String>,
    /// Elsewhere, but not where pages have other things than text.
    stray_paragraph: Option<String>,
}

impl<'h> Seen<'h> {
    fn look(html: &'h Html, expired: Expired<'_>) -> Self {
        let mut seen = Self::default();
        let (mut within, mut beside, mut framed) = (0_u32, 0_u32, 0_u32);
        let mut looks = 0_u32;
        for edge in html.tree.root().traverse() {
            let (node, opens) = match edge {
                Edge::Open(node) => (node, true),
                Edge::Close(node) => (node, false),
            };
            let Node::Element(element) = node.value() else { continue };
            let change = |count: u32| if opens { count + 1 } else { count.saturating_sub(1) };
            if is_article(element) {
                within = change(within);
            }
            if is_beside(element) {
                beside = change(beside);
            }
            // a film may stand there, but no text
            if matches!(element.name(), "figure" | "noscript") {
                framed = change(framed);
            }
            if opens {
                looks = looks.wrapping_add(1);
                if (element.name() == "p" || looks.is_multiple_of(LOOKS)) && expired() {
                    break;
                }
                let text =
                    (beside == 0 && framed == 0).then_some(if within > 0 { Place::Article } else { Place::Stray });
                seen.element(node, element, text, beside == 0);
            }
        }
        seen
    }

    fn element(&mut self, node: NodeRef<'h, Node>, element: &'h Element, text: Option<Place>, films: bool) {
        let attribute = |name| element.attr(name).map(str::trim).filter(|value| !value.is_empty());
        match element.name() {
            "meta" => {
                let name = attribute("property").or(attribute("name")).or(attribute("itemprop"));
                let known = name.and_then(|name| METAS.iter().position(|known| name.eq_ignore_ascii_case(known)));
                if let (Some(name), Some(content)) = (known, attribute("content"))
                    && self.metas.iter().filter(|(other, _)| *other == name).count() < MAX_VALUES
                {
                    self.metas.push((name, content));
                }
            }
            "link" if attribute("rel").is_some_and(|rel| rel.eq_ignore_ascii_case("image_src")) => {
                self.image = self.image.or(attribute("href"));
            }
            "script"
                if self.scripts.len() < linked_data::MOST_SCRIPTS
                    && attribute("type").is_some_and(|kind| kind.eq_ignore_ascii_case("application/ld+json")) =>
            {
                self.scripts
                    .push(node.children().filter_map(|child| child.value().as_text()).map(|text| &**text).collect());
            }
            "time" if attribute("itemprop").is_some_and(|name| name.eq_ignore_ascii_case("datepublished")) => {
                let text = || node.children().find_map(|child| child.value().as_text()).map(|text| text.trim());
                self.time = self.time.or_else(|| attribute("datetime").or(attribute("content")).or_else(text));
            }
            "iframe" if films && self.film.is_none() => {
                let sources = [attribute("src"), attribute("data-src"), attribute("data-lazy-src")];
                let film =
                    |address: &&str| Url::parse(&with_scheme(address)).is_ok_and(|url| watch(url.as_str()).is_some());
                self.film = sources.into_iter().flatten().find(film);
            }
            "p" => {
                let place = match text {
                    Some(Place::Article) => &mut self.paragraph,
                    Some(Place::Stray) if self.paragraph.is_none() => &mut self.stray_paragraph,
                    _ => return,
                };
                if place.is_none() {
                    *place = ElementRef::wrap(node).and_then(paragraph);
                }
            }
            _ => {}
        }
    }

    /// Contents of the metas with these names, in the order of the names.
    fn metas<'s>(&'s self, names: &'s [&str]) -> impl Iterator<Item = &'h str> + use<'s, 'h> {
        names
            .iter()
            .flat_map(|name| self.metas.iter().filter(move |(other, _)| METAS[*other] == *name))
            .map(|(_, content)| *content)
    }
}

/// Where a text stands.
enum Place {
    Article,
    Stray,
}

fn is_article(element: &Element) -> bool {
    matches!(element.name(), "article" | "main")
        || element.attr("role") == Some("main")
        || element.attr("itemprop").is_some_and(|name| name.eq_ignore_ascii_case("articlebody"))
}

/// Where pages have other things than their text.
fn is_beside(element: &Element) -> bool {
    const WORDS: &[&str] = &["cookie", "consent", "newsletter", "comment", "sidebar", "related"];
    if matches!(element.name(), "nav" | "footer" | "aside" | "header" | "dialog" | "template") {
        return true;
    }
    // whole pages have such words too: "no-sidebar"
    matches!(element.name(), "div" | "section" | "ul" | "ol")
        && [element.attr("id"), element.attr("class")].into_iter().flatten().any(|names| {
            let names = names.to_ascii_lowercase();
            names.split_ascii_whitespace().any(|name| WORDS.iter().any(|word| name.starts_with(word)))
        })
}

/// A paragraph's text, if it is long enough and not mostly links.
fn paragraph(element: ElementRef<'_>) -> Option<String> {
    let text = text::of(element);
    let links = element.descendent_elements().filter(|inner| inner.value().name() == "a");
    let linked: usize = links.map(|link| text::of(link).len()).sum();
    let fit = linked * 2 <= text.len() && text.chars().count() >= SHORTEST;
    fit.then(|| text::cut(text, LONGEST))
}

/// Plain text of what is commonly escaped once too often, or holds tags.
fn plain(text: &str) -> String {
    let text = &text[..text.floor_char_boundary(LOOKED_AT)];
    // so short a text is soon read, whatever stands in it
    let html = text.contains(['&', '<']).then(|| dom::parse(text, &|| false).ok()).flatten();
    html.map_or_else(|| fold(text.trim().into()).into_owned(), |html| text::of(html.root_element()))
}

fn with_scheme(address: &str) -> String {
    if address.starts_with("//") { format!("https:{address}") } else { address.to_owned() }
}

/// An absolute http(s) address of a sensible length.
fn address(base: &Url, text: &str) -> Option<String> {
    let url = base.join(Some(text.trim()).filter(|text| text.len() <= MAX_URL_BYTES)?).ok()?;
    let fits = matches!(url.scheme(), "http" | "https") && url.has_host() && url.as_str().len() <= MAX_URL_BYTES;
    fits.then(|| url.into())
}

/// A YouTube player's address as that of the film's page.
pub(super) fn watch(player: &str) -> Option<String> {
    let url = Url::parse(player).ok()?;
    let host = url.host_str()?.trim_start_matches("www.");
    if !matches!(host, "youtube.com" | "youtube-nocookie.com") {
        return None;
    }
    let mut path = url.path_segments()?;
    let (Some("embed" | "v"), Some(id)) = (path.next(), path.next()) else { return None };
    let fits = id.len() == 11 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    // eleven letters too, and no film
    (fits && id != "videoseries" && id != "live_stream").then(|| format!("https://www.youtube.com/watch?v={id}"))
}
