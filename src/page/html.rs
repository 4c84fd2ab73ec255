//! `kind = "html"`: a page's items by CSS selectors.

use std::ops::ControlFlow;

use ego_tree::{NodeId, NodeRef};
use jiff::tz::TimeZone;
use scraper::{ElementRef, Html, Node};
use url::Url;

use super::{
    Error, Extract, Given, dom, encoding,
    extract::extract,
    field::{Found, Kind, Subject, Visit, Within},
    image,
    rules::{Css, Items, PageRules, What},
    text, time,
};
use crate::feed::{budget::MAX_URL_BYTES, date::Region, detect, fold::fold};

/// Reads a page's items.
///
/// # Errors
/// [`Error::Selector`] where the rules do not fit the page, [`Error::Malformed`] for an empty body,
/// [`Error::TooLarge`] beyond the bounds of [`dom`].
pub fn read(bytes: &[u8], rules: &PageRules, given: &Given<'_>) -> Result<Extract, Error> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Error::Malformed("the page is empty".into()));
    }
    let page = encoding::decode(bytes, given.content_type, given.encoding);
    let html = dom::parse(&page, given.expired)?;
    let base = base(&html, given.url);
    let within = within(&html, &base, given, page.len());
    let places = places(&html, &rules.items, &within)?;
    if places.as_ref().is_none_or(Vec::is_empty) && !given.may_be_empty {
        let what = match (&rules.items, &places) {
            (Items::After { after, matching, .. }, None) => {
                let matching =
                    matching.as_ref().map_or(String::new(), |regex| format!(" with a text like {:?}", regex.as_str()));
                format!("{}: no {:?}{matching} to follow", after.place, after.text)
            }
            (Items::After { select: css, .. }, Some(_)) => {
                format!("{}: {:?} matches nothing after the heading", css.place, css.text)
            }
            (Items::All(css), _) => format!("{}: {:?} matches nothing", css.place, css.text),
        };
        return Err(Error::Selector(format!("{what}; what came is {}", detect::described(&page))));
    }
    let (Items::All(css) | Items::After { select: css, .. }) = &rules.items;
    extract(places.unwrap_or_default(), css, &rules.fields, given.before, &within)
}

/// What addresses in a page are relative to: its `<base>`, itself relative to where the page came from. One that is
/// too long to be joined to every address is ignored.
pub fn base(html: &Html, url: &Url) -> Url {
    let mut elements = html.tree.root().descendants().filter_map(ElementRef::wrap);
    let href = elements.find(|element| element.value().name() == "base").and_then(|base| base.attr("href"));
    let fits = |href: &&str| href.len() <= MAX_URL_BYTES;
    let joined = href.map(str::trim).filter(fits).and_then(|href| url.join(href).ok());
    joined.filter(|base| base.as_str().len() <= MAX_URL_BYTES).unwrap_or_else(|| url.clone())
}

/// For reading fields of a page by [`super::field::first`].
pub fn within<'a>(html: &Html, base: &'a Url, given: &Given<'a>, size: usize) -> Within<'a> {
    let region = Region::of(html.root_element().attr("lang"), given.url.host_str());
    Within::new(base, region, given.expired, size)
}

/// The elements that are items; none where there is no heading that they should follow.
fn places<'h>(html: &'h Html, items: &Items, within: &Within<'_>) -> Result<Option<Vec<ElementRef<'h>>>, Error> {
    let mut places = Vec::new();
    match items {
        Items::All(css) => {
            for element in html.tree.root().descendants().filter_map(ElementRef::wrap) {
                within.looked(css)?;
                if css.selector.matches(&element) {
                    places.push(element);
                }
            }
        }
        Items::After { after, matching, select, first } => {
            let Some(heading) = heading(html, after, matching.as_ref(), within)? else { return Ok(None) };
            let most = first.unwrap_or(usize::MAX);
            for sibling in heading.next_siblings().filter_map(ElementRef::wrap) {
                if places.len() >= most {
                    break;
                }
                if select.selector.matches(&sibling) {
                    places.push(sibling);
                    continue;
                }
                sibling.each(Some(select), within, &mut |place| {
                    places.push(place);
                    Ok(if places.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
                })?;
            }
        }
    }
    Ok(Some(places))
}

fn heading<'h>(
    html: &'h Html,
    after: &Css,
    matching: Option<&regex::Regex>,
    within: &Within<'_>,
) -> Result<Option<ElementRef<'h>>, Error> {
    for element in html.tree.root().descendants().filter_map(ElementRef::wrap) {
        within.looked(after)?;
        if after.selector.matches(&element) && matching.is_none_or(|regex| regex.is_match(&text::of(element))) {
            return Ok(Some(element));
        }
    }
    Ok(None)
}

impl Subject for ElementRef<'_> {
    type Point = Css;

    fn each(self, select: Option<&Css>, within: &Within<'_>, visit: &mut Visit<'_, Self>) -> Result<(), Error> {
        let Some(css) = select else { return visit(self).map(drop) };
        // the tree's own order is that of the document; scraper's `select` on a document follows that in
        // which elements were made
        for element in self.descendants().skip(1).filter_map(ElementRef::wrap) {
            within.looked(css)?;
            if css.selector.matches_with_scope(&element, Some(self)) && visit(element)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn take(self, what: &What, kind: Kind, part: bool) -> Option<Found> {
        let text = || Found::from(text::of(self));
        Some(match what {
            What::Html => {
                let html = text::inner_html(self)?;
                match kind {
                    Kind::Summary => Found { html: Some(html), ..text() },
                    _ => html.trim().to_owned().into(),
                }
            }
            What::Attribute(name) => {
                let value = self.attr(name).or_else(|| self.attr(&name.to_ascii_lowercase()))?;
                let value = match kind {
                    Kind::Image if name.to_ascii_lowercase().ends_with("srcset") => image::largest(value)?,
                    _ => value,
                };
                fold(value.trim().into()).into_owned().into()
            }
            What::Natural => match kind {
                Kind::Text | Kind::Words | Kind::Summary => text(),
                Kind::Image => image::image(self)?.to_owned().into(),
                Kind::Link => match image::link(self) {
                    Some(address) => address.to_owned().into(),
                    // an address that is spelled out; other words are none
                    None => Some(text()).filter(|found| part || image::is_spelled_out(&found.text))?,
                },
                Kind::Date => match moment(self) {
                    Some(at) => Found { at: Some(at), ..Found::default() },
                    None => text(),
                },
            },
        })
    }

    fn under(self, _item: Self, select: &Css, within: &Within<'_>) -> Result<Option<String>, Error> {
        let tree = self.tree();
        let selector = std::ptr::from_ref(select) as usize;
        let mut nearest = None;
        let mut at = before(*self);
        let mut holder = self.parent();
        while let Some(node) = at {
            if holder == Some(node) {
                // what holds this does not stand before it
                holder = node.parent();
            } else if let Some(element) = ElementRef::wrap(node) {
                within.looked(select)?;
                if select.selector.matches(&element) {
                    nearest = Some(node.id());
                    break;
                }
            }
            // what stands before an earlier one of these stands before this one too
            if let Some(known) = within.headings.borrow().get(&(selector, node.id())) {
                nearest = *known;
                break;
            }
            at = before(node);
        }
        within.headings.borrow_mut().insert((selector, self.id()), nearest);
        Ok(nearest.and_then(|id: NodeId| tree.get(id)).and_then(ElementRef::wrap).map(text::of))
    }
}

/// The node before one in the document.
fn before(node: NodeRef<'_, Node>) -> Option<NodeRef<'_, Node>> {
    let Some(mut last) = node.prev_sibling() else { return node.parent() };
    while let Some(child) = last.last_child() {
        last = child;
    }
    Some(last)
}

/// The moment that an element has in an attribute.
fn moment(element: ElementRef<'_>) -> Option<jiff::Timestamp> {
    let name = match element.value().name() {
        "meta" => "content",
        "abbr" => "title",
        _ => "datetime",
    };
    time::read(element.attr(name)?, None, &TimeZone::UTC, Region::Unknown)
}
