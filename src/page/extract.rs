//! From the places of a document that are items to the items.

use super::{
    Error, Extract,
    field::{self, Kind, Subject, Within},
    rules::{Fields, Point, Rule, Take, What},
    text,
};
use crate::{
    feed::{self, MAX_ENTRIES},
    model::{Item, Matched},
};

/// Longest summary, in characters; what is longer is in the item's HTML, or on its page.
const LONGEST_SUMMARY: usize = 4096;

/// Reads the fields of each place. `items` is what selected them.
pub(super) fn extract<S: Subject>(
    mut places: Vec<S>,
    items: &S::Point,
    fields: &Fields<S::Point>,
    before: Option<&Matched>,
    within: &Within<'_>,
) -> Result<Extract, Error> {
    let mut warnings = Vec::new();
    if let Some(surplus) = places.len().checked_sub(MAX_ENTRIES).filter(|&surplus| surplus > 0) {
        let newest_last = is_newest_last(&places, fields, within)?;
        let kept = if newest_last { "last" } else { "first" };
        warnings.push(format!("{} items, of which the {kept} {MAX_ENTRIES} were read", places.len()));
        if newest_last {
            places.drain(..surplus);
        } else {
            places.truncate(MAX_ENTRIES);
        }
    }
    let mut matched = Matched { items: places.len(), fields: configured(fields) };
    let mut all = Vec::with_capacity(places.len());
    for place in places {
        within.check(items)?;
        let item = item(place, fields, within)?;
        within.keep(&item)?;
        count(&item, &mut matched);
        all.push(item);
    }
    // without these an item would not be known again, and all would be posted anew
    for (name, rule) in [("title", Some(&fields.title)), ("link", fields.link.as_ref()), ("id", fields.id.as_ref())] {
        let Some(rule) = rule else { continue };
        let has = matched.fields.get(name).copied().unwrap_or_default();
        let lacks = matched.items - has;
        // a page that never had ids is read all the same: its items are known by their links
        let spared = name == "id" && fields.link.is_some() && !before.is_some_and(|before| before.most("id"));
        if lacks * 2 > matched.items && !spared {
            return Err(Error::Selector(missing(name, rule, lacks, matched.items)));
        }
        if lacks > 0 {
            let what = if name == "title" { "were left out" } else { "are known by what else they have" };
            warnings.push(format!("{lacks} of {} items have no {name} and {what}", matched.items));
        }
    }
    if within.budget.met_long_base() {
        warnings.push(feed::Warning::LongBase.meaning().to_owned());
    }
    if within.budget.met_long_link() {
        warnings.push(feed::Warning::LongLink.meaning().to_owned());
    }
    all.retain(|item| item.title.is_some());
    Ok(Extract { items: all, matched, warnings })
}

/// Whether the dates ascend: most documents begin with their newest item.
fn is_newest_last<S: Subject>(places: &[S], fields: &Fields<S::Point>, within: &Within<'_>) -> Result<bool, Error> {
    let Some(rule) = &fields.published else { return Ok(false) };
    let published = |place: Option<&S>| match place {
        Some(place) => Ok(field::first(*place, rule, Kind::Date, within)?.and_then(|found| found.at)),
        None => Ok(None),
    };
    let (first, last) = (published(places.first())?, published(places.last())?);
    Ok(first.is_some_and(|first| last.is_some_and(|last| first < last)))
}

fn missing<P: Point>(name: &str, rule: &Rule<P>, lacks: usize, of: usize) -> String {
    let how_many =
        if lacks == of { format!("none of the {of} items") } else { format!("{} of {of} items", of - lacks) };
    format!("{}: {} gives a {name} for {how_many}", rule.place, field::shown(rule))
}

fn item<S: Subject>(place: S, fields: &Fields<S::Point>, within: &Within<'_>) -> Result<Item, Error> {
    let first = |rule: Option<&Rule<S::Point>>, kind| match rule {
        Some(rule) => field::first(place, rule, kind, within),
        None => Ok(None),
    };
    let text = |rule, kind| Ok::<_, Error>(first(rule, kind)?.map(|found| found.text));
    let all = |rule: Option<&Rule<S::Point>>| match rule {
        Some(rule) => field::all(place, rule, Kind::Words, within),
        None => Ok(Vec::new()),
    };
    let summary = first(fields.summary.as_ref(), Kind::Summary)?;
    let (summary, content_html) = summary.map_or((None, None), |found| (Some(found.text), found.html));
    let mut item = Item {
        id: text(fields.id.as_ref(), Kind::Text)?,
        title: text(Some(&fields.title), Kind::Words)?,
        link: text(fields.link.as_ref(), Kind::Link)?,
        published: first(fields.published.as_ref(), Kind::Date)?.and_then(|found| found.at),
        summary: summary.map(|summary| text::cut(summary, LONGEST_SUMMARY)),
        content_html,
        authors: all(fields.author.as_ref())?,
        categories: all(fields.category.as_ref())?,
        image: text(fields.image.as_ref(), Kind::Image)?,
        ..Item::default()
    };
    for (name, rule) in &fields.extra {
        let kind = if is_address(rule) { Kind::Link } else { Kind::Text };
        if let Some(value) = text(Some(rule), kind)? {
            item.extra.insert(name.clone(), value);
        }
    }
    Ok(item)
}

/// A further field that takes an address whole is one, and of use only when it is absolute.
fn is_address<P>(rule: &Rule<P>) -> bool {
    let Take::Pick(pick) = &rule.take else { return false };
    rule.regex.is_none() && matches!(&pick.what, What::Attribute(name) if name == "href" || name == "src")
}

/// Every configured field, with none counted yet.
fn configured<P>(fields: &Fields<P>) -> std::collections::BTreeMap<String, usize> {
    let Fields { title, link, id, published, summary, image, author, category, extra } = fields;
    let optional = [
        ("title", Some(title)),
        ("link", link.as_ref()),
        ("id", id.as_ref()),
        ("published", published.as_ref()),
        ("summary", summary.as_ref()),
        ("image", image.as_ref()),
        ("author", author.as_ref()),
        ("category", category.as_ref()),
    ];
    let own = optional.into_iter().filter(|(_, rule)| rule.is_some()).map(|(name, _)| name.to_owned());
    own.chain(extra.keys().map(|name| format!("extra.{name}"))).map(|name| (name, 0)).collect()
}

fn count(item: &Item, matched: &mut Matched) {
    for (name, count) in &mut matched.fields {
        let has = match name.as_str() {
            "title" => item.title.is_some(),
            "link" => item.link.is_some(),
            "id" => item.id.is_some(),
            "published" => item.published.is_some(),
            "summary" => item.summary.is_some(),
            "image" => item.image.is_some(),
            "author" => !item.authors.is_empty(),
            "category" => !item.categories.is_empty(),
            extra => extra.strip_prefix("extra.").is_some_and(|name| item.extra.contains_key(name)),
        };
        *count += usize::from(has);
    }
}
