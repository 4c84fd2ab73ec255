//! A FIELD of the configuration ([`Rule`]), applied to an item: the same for pages and JSON.
//!
//! What differs is behind [`Subject`]: how a selection is made, and what the text of a match is.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    ops::ControlFlow,
};

use jiff::{Timestamp, tz::TimeZone};
use url::Url;

use super::{
    Error, Expired, image,
    rules::{DateRule, Pick, Point, Rule, Take, What},
    text, time,
};
use crate::{
    feed::{
        budget::{Base, Budget},
        date::Region,
        link,
    },
    model::Item,
};

/// What a field is for, which decides what of a match is taken where the rule does not say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text as it stands: an id, a further field.
    Text,
    /// Words for readers: a title, a name. Where JSON has HTML in them, its tags go.
    Words,
    /// Words for readers, and the HTML that they were taken from.
    Summary,
    /// An address, made absolute.
    Link,
    /// An image's address, made absolute.
    Image,
    /// A moment.
    Date,
}

/// What a field gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The text; an absolute address for [`Kind::Link`] and [`Kind::Image`].
    pub text: String,
    /// For [`Kind::Summary`], the HTML where the document has HTML.
    pub html: Option<String>,
    /// For [`Kind::Date`], the moment.
    pub at: Option<Timestamp>,
}

impl From<String> for Found {
    fn from(text: String) -> Self {
        Self { text, ..Self::default() }
    }
}

/// What a rule is applied to: an element of a page, or a value in JSON.
pub trait Subject: Copy {
    /// How a selection is written.
    type Point: Point;

    /// Visits what `select` selects below this, in order, until `visit` breaks; this itself for none.
    ///
    /// # Errors
    /// Those of `visit`, and [`Error::Selector`] when it takes too long.
    fn each(self, select: Option<&Self::Point>, within: &Within<'_>, visit: &mut Visit<'_, Self>) -> Result<(), Error>;

    /// What is taken of this. A `part` is put together with others afterwards.
    fn take(self, what: &What, kind: Kind, part: bool) -> Option<Found>;

    /// The text of the nearest match before this, which is or stands in `item`.
    ///
    /// # Errors
    /// [`Error::Selector`] when it takes too long.
    fn under(self, item: Self, select: &Self::Point, within: &Within<'_>) -> Result<Option<String>, Error>;
}

/// What is done with each match: going on, or not.
pub type Visit<'a, S> = dyn FnMut(S) -> Result<ControlFlow<()>, Error> + 'a;

/// Elements looked at between two looks at the clock.
const LOOKS: u32 = 64;

/// Texts looked at in one document, since items may stand in one another: at most so many bytes, and so many times
/// the document.
const MOST_TEXT: usize = 32 << 20;
const TIMES_LOOKED_AT: usize = 16;

/// What the items of a document may come to, as a multiple of its size; and what any document may give, in bytes.
const TIMES_KEPT: usize = 4;
const ALLOWANCE: usize = 1 << 20;

/// One reading of a document: what addresses and dates are relative to, and its bounds.
pub struct Within<'a> {
    /// None where it is too long to be joined to every link.
    base: Option<&'a Url>,
    /// The document's size, in bytes.
    size: usize,
    /// For what joined links add.
    pub(super) budget: Budget,
    kept: Cell<usize>,
    /// For dates that are ambiguous otherwise.
    region: Region,
    expired: Expired<'a>,
    looks: Cell<u32>,
    taken: Cell<usize>,
    /// What stood before an element, by selector and element.
    pub(super) headings: RefCell<HashMap<(usize, ego_tree::NodeId), Option<ego_tree::NodeId>>>,
}

impl<'a> Within<'a> {
    /// `base` is what addresses are relative to; `size` that of the document, in bytes.
    pub fn new(base: &'a Url, region: Region, expired: Expired<'a>, size: usize) -> Self {
        let budget = Budget::of(size);
        Self {
            base: budget.base(Some(base)),
            size,
            budget,
            kept: Cell::new(0),
            region,
            expired,
            looks: Cell::new(0),
            taken: Cell::new(0),
            headings: RefCell::default(),
        }
    }

    /// One more was looked at for `point`.
    pub(super) fn looked(&self, point: &impl Point) -> Result<(), Error> {
        let looks = self.looks.get().wrapping_add(1);
        self.looks.set(looks);
        if looks.is_multiple_of(LOOKS) { self.check(point) } else { Ok(()) }
    }

    /// Whether there is time left for `point`.
    pub(super) fn check(&self, point: &impl Point) -> Result<(), Error> {
        if !(self.expired)() {
            return Ok(());
        }
        Err(Error::Selector(format!("{}: {:?} takes too long", point.place(), point.text())))
    }

    fn took(&self, found: &Found) -> Result<(), Error> {
        let taken = self.taken.get() + found.text.len() + found.html.as_ref().map_or(0, String::len);
        self.taken.set(taken);
        let most = self.size.saturating_mul(TIMES_LOOKED_AT).saturating_add(ALLOWANCE).min(MOST_TEXT);
        if taken > most { Err(Self::too_much(most)) } else { Ok(()) }
    }

    /// Counts what an item keeps: a constant and what stands around several items are repeated in each.
    pub(super) fn keep(&self, item: &Item) -> Result<(), Error> {
        let kept = self.kept.get().saturating_add(item.text_bytes());
        self.kept.set(kept);
        let most = self.size.saturating_mul(TIMES_KEPT).saturating_add(ALLOWANCE);
        if kept > most || self.budget.is_exceeded() { Err(Self::too_much(most)) } else { Ok(()) }
    }

    fn too_much(most: usize) -> Error {
        Error::TooLarge(format!("the texts and links of its items come to more than {} kB", most >> 10))
    }

    fn absolute(&self, address: String) -> Option<String> {
        let base = Base { url: self.base, budget: &self.budget };
        link::resolved(address.into(), base).map(std::borrow::Cow::into_owned)
    }
}

/// The first thing that `rule` gives of `item`.
///
/// # Errors
/// [`Error::Selector`] when it takes too long, [`Error::TooLarge`] when the document gives too much.
pub fn first<S: Subject>(
    item: S,
    rule: &Rule<S::Point>,
    kind: Kind,
    within: &Within<'_>,
) -> Result<Option<Found>, Error> {
    let mut first = None;
    let whole = Asked { kind, part: false, dates: Dates::of(&rule.date) };
    visit(item, rule, whole, within, &mut |found| {
        first = absolute(found, kind, within);
        Ok(if first.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(first)
}

/// Everything that `rule` gives of `item`, each once.
///
/// # Errors
/// Those of [`first`].
pub fn all<S: Subject>(item: S, rule: &Rule<S::Point>, kind: Kind, within: &Within<'_>) -> Result<Vec<String>, Error> {
    let mut all = Vec::new();
    let whole = Asked { kind, part: false, dates: Dates::of(&rule.date) };
    visit(item, rule, whole, within, &mut |found| {
        if let Some(found) = absolute(found, kind, within)
            && !all.contains(&found.text)
        {
            all.push(found.text);
        }
        Ok(if all.len() < MOST_VALUES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    Ok(all)
}

/// Values of one field, such as an item's categories.
const MOST_VALUES: usize = 50;

fn absolute(found: Found, kind: Kind, within: &Within<'_>) -> Option<Found> {
    match kind {
        Kind::Link | Kind::Image => within.absolute(found.text).map(Found::from),
        Kind::Text | Kind::Words | Kind::Summary | Kind::Date => Some(found),
    }
}

/// What is asked of a rule by what stands around it.
struct Asked<'r, P> {
    kind: Kind,
    /// It is not the whole: it need not be an address or a date by itself.
    part: bool,
    dates: Dates<'r, P>,
}

impl<P> Clone for Asked<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Asked<'_, P> {}

/// How dates are read.
struct Dates<'r, P> {
    format: Option<&'r str>,
    zone: &'r TimeZone,
    under: Option<&'r P>,
}

impl<P> Clone for Dates<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Dates<'_, P> {}

impl<'r, P> Dates<'r, P> {
    fn of(rule: &'r DateRule<P>) -> Self {
        Self { format: rule.format.as_deref(), zone: &rule.zone, under: rule.under.as_ref() }
    }
}

/// Visits what `rule` gives, in order, until `take` breaks.
fn visit<'r, S: Subject>(
    item: S,
    rule: &'r Rule<S::Point>,
    asked: Asked<'r, S::Point>,
    within: &Within<'_>,
    take: &mut Visit<'_, Found>,
) -> Result<(), Error> {
    match &rule.take {
        Take::Pick(Pick { select, what }) => item.each(select.as_ref(), within, &mut |matched| {
            let Some(found) = matched.take(what, asked.kind, asked.part) else { return Ok(ControlFlow::Continue(())) };
            within.took(&found)?;
            give(found, rule, asked, (item, matched), within, take)
        }),
        Take::Const(text) => give(text.clone().into(), rule, asked, (item, item), within, take).map(drop),
        Take::Any(rules) => {
            for alternative in rules {
                // what a regex is to be taken from need not be whole before
                let part = asked.part || rule.regex.is_some();
                let inner = Asked { part, dates: Dates::of(&alternative.date), ..asked };
                let mut gave = false;
                visit(item, alternative, inner, within, &mut |found| {
                    give(found, rule, asked, (item, item), within, &mut |found| {
                        gave = true;
                        take(found)
                    })
                })?;
                if gave {
                    break;
                }
            }
            Ok(())
        }
        Take::Join { parts, with } => {
            let mut texts: Vec<String> = Vec::with_capacity(parts.len());
            let inner = Asked { part: true, ..asked };
            for part in parts {
                visit(item, part, inner, within, &mut |found| {
                    texts.push(found.text);
                    Ok(ControlFlow::Break(()))
                })?;
            }
            if texts.is_empty() {
                return Ok(());
            }
            give(texts.join(with).into(), rule, asked, (item, item), within, take).map(drop)
        }
    }
}

/// Hands on what was found, if it is something after all that the rule does to it.
fn give<S: Subject>(
    found: Found,
    rule: &Rule<S::Point>,
    asked: Asked<'_, S::Point>,
    (item, matched): (S, S),
    within: &Within<'_>,
    take: &mut Visit<'_, Found>,
) -> Result<ControlFlow<()>, Error> {
    const NOTHING: Result<ControlFlow<()>, Error> = Ok(ControlFlow::Continue(()));
    if found.at.is_some() {
        return take(found);
    }
    let Some(mut found) = refined(found, rule) else { return NOTHING };
    if asked.part {
        return take(found);
    }
    match asked.kind {
        Kind::Text | Kind::Words | Kind::Summary => {}
        Kind::Link | Kind::Image if image::is_address(&found.text) => {}
        Kind::Link | Kind::Image => return NOTHING,
        Kind::Date => {
            let Dates { format, zone, under } = asked.dates;
            let heading = match under {
                Some(under) => matched.under(item, under, within)?,
                None => None,
            };
            let dated = heading.as_ref().map(|heading| format!("{heading} {}", found.text));
            // a list under days may have no times at all
            let texts = dated.iter().chain([&found.text]).chain(&heading);
            found.at = texts.into_iter().find_map(|text| time::read(text, format, zone, within.region));
            if found.at.is_none() {
                return NOTHING;
            }
        }
    }
    take(found)
}

/// What `regex`, `min_length` and `max_length` leave.
fn refined(mut found: Found, rule: &Rule<impl Point>) -> Option<Found> {
    if let Some(regex) = &rule.regex {
        let groups = regex.captures(&found.text)?;
        let kept = groups.get(1).or_else(|| groups.get(0))?;
        found.text = kept.as_str().trim().to_owned();
    }
    if found.text.is_empty() || found.text.chars().nth(rule.min_length.saturating_sub(1)).is_none() {
        return None;
    }
    if let Some(longest) = rule.max_length {
        found.text = text::cut(found.text, longest);
    }
    Some(found)
}

/// A rule in few words, for messages.
pub(super) fn shown<P: Point>(rule: &Rule<P>) -> String {
    match &rule.take {
        Take::Pick(Pick { select, what }) => {
            let of = match what {
                What::Attribute(name) => format!(" (its {name})"),
                What::Natural | What::Html => String::new(),
            };
            format!("{:?}{of}", select.as_ref().map_or(":self", P::text))
        }
        Take::Const(text) => format!("{text:?}"),
        Take::Any(rules) => rules.iter().map(shown).collect::<Vec<_>>().join(" or "),
        Take::Join { parts, .. } => parts.iter().map(shown).collect::<Vec<_>>().join(" with "),
    }
}
