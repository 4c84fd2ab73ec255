//! What in an item is its title, link, date, image and summary, as selectors within it.

use scraper::Selector;
use url::Url;

use super::{
    Expired, Field,
    group::Group,
    names,
    outline::{Entry, Outline, SUMMARY},
};

/// A share of the items that must have a field for it to be worth a rule.
const WORTH: f64 = 0.4;

/// A share of these for which the rule must be right.
const RIGHT: f64 = 0.9;

/// A rule that is right for fewer is not used.
const FAIR: f64 = 0.6;

/// Items whose elements selectors are made of.
const MODELS: usize = 4;

/// The rules; none where no title or link can be selected.
pub(super) fn of(outline: &Outline<'_>, group: &Group, expired: Expired<'_>) -> Option<Vec<Field>> {
    let search = Search { outline, group, expired };
    let headings = group.members.iter().filter(|&&at| outline.entries[at].holds.heading.is_some()).count();
    let headed = headings as f64 >= group.members.len() as f64 * RIGHT;

    let link = |item: usize| outline.entries[item].holds.link.map(|(_, link)| link);
    let title = |item: usize| match outline.entries[item].holds.heading.filter(|_| headed) {
        Some(heading) => Some(heading),
        None => search.titled(item).or_else(|| link(item)),
    };
    let title_rule = search.rule("title", &title, &Same::Text, 0)?;
    let link_rule = search.rule("link", &link, &Same::Address, 0)?;
    let holds = |of: fn(&Entry<'_>) -> Option<usize>| move |item: usize| of(&outline.entries[item]);
    let published = search.rule("published", &holds(|entry| entry.holds.date), &Same::Element, 0);
    let image = search.rule("image", &holds(|entry| entry.holds.image), &Same::Element, 0);
    // what is the title too says nothing more
    let summary = |item: usize| outline.entries[item].holds.summary.filter(|&at| Some(at) != title(item));
    let summary = search
        .rule("summary", &summary, &Same::Element, 0)
        .or_else(|| search.rule("summary", &summary, &Same::Element, SUMMARY as usize));
    Some([Some(title_rule), Some(link_rule), published, summary, image].into_iter().flatten().collect())
}

/// When what a selector finds is what was meant.
enum Same {
    /// The very element.
    Element,
    /// An element with the same text.
    Text,
    /// A link to the same place.
    Address,
}

struct Search<'a, 'p> {
    outline: &'a Outline<'p>,
    group: &'a Group,
    expired: Expired<'a>,
}

impl Search<'_, '_> {
    /// An element within the item whose class says that it is the title, unless it is one around the link:
    /// there the link's own words are the title, and what else stands there is not.
    fn titled(&self, item: usize) -> Option<usize> {
        let entries = &self.outline.entries;
        let within = item + 1..entries[item].end;
        let titled = within.take(64).find(|&at| entries[at].text > 0 && entries[at].classes().any(names::is_title))?;
        let around =
            entries[item].holds.link.is_some_and(|(_, link)| (titled + 1..entries[titled].end).contains(&link));
        (!around).then_some(titled)
    }

    /// The first selector that finds in nearly each item what `target` says is there.
    fn rule(
        &self,
        name: &'static str,
        target: &dyn Fn(usize) -> Option<usize>,
        same: &Same,
        min_length: usize,
    ) -> Option<Field> {
        let targets: Vec<(usize, usize)> =
            self.group.members.iter().filter_map(|&item| target(item).map(|target| (item, target))).collect();
        let all = self.group.members.len() as f64;
        if targets.is_empty() || (targets.len() as f64) < all * WORTH {
            return None;
        }
        let mut best: Option<(f64, String)> = None;
        for candidate in self.candidates(&targets) {
            if (self.expired)() {
                return None;
            }
            let share = self.right(&candidate, &targets, same, min_length) as f64 / targets.len() as f64;
            if best.as_ref().is_none_or(|(other, _)| share > *other + 0.01) {
                let done = share >= 0.999;
                best = Some((share, candidate.select));
                if done {
                    break;
                }
            }
        }
        let (_, select) = best.filter(|(share, _)| *share >= FAIR)?;
        Some(Field { name, select, min_length })
    }

    /// In how many items the candidate is right.
    fn right(&self, candidate: &Candidate, targets: &[(usize, usize)], same: &Same, min_length: usize) -> usize {
        let entries = &self.outline.entries;
        let Some(selector) = &candidate.selector else {
            return targets.iter().filter(|(item, target)| self.same(*item, *target, same)).count();
        };
        let right = |&&(item, target): &&(usize, usize)| {
            let mut within = item + 1..entries[item].end;
            let found = within.find(|&at| {
                entries[at].tag() == candidate.tag
                    && entries[at].text as usize >= min_length
                    && selector.matches(&entries[at].element)
            });
            found.is_some_and(|found| self.same(found, target, same))
        };
        targets.iter().filter(right).count()
    }

    fn same(&self, found: usize, target: usize, same: &Same) -> bool {
        found == target
            || match same {
                Same::Element => false,
                Same::Text => self.outline.text(found) == self.outline.text(target),
                Same::Address => {
                    let address = |at: usize| -> Option<Url> { self.outline.href(at) };
                    self.outline.entries[found].tag() == "a" && address(found) == address(target)
                }
            }
    }

    /// Selectors for the targets of the first items, the simplest first.
    fn candidates(&self, targets: &[(usize, usize)]) -> Vec<Candidate> {
        let entries = &self.outline.entries;
        let mut ranked: Vec<(u8, &str, String)> = Vec::new();
        for &(item, target) in targets.iter().take(MODELS) {
            if item == target {
                ranked.push((0, "", ":self".to_owned()));
                continue;
            }
            let entry = &entries[target];
            let tag = entry.tag();
            let mut add = |rank: u8, select: String| ranked.push((rank, tag, select));
            add(if tag == "a" { 2 } else { 1 + 4 * u8::from(says_little(tag)) }, tag.to_owned());
            for class in entry.classes() {
                add(2 + names::weight(class) as u8, format!("{tag}.{class}"));
            }
            for prefix in entry.prefixes() {
                add(4, format!("{tag}[class*=\"{prefix}\"]"));
            }
            if let Some(before) = entry.before() {
                add(8, format!("{before} + {tag}"));
            }
            add(9, format!("{tag}:last-child"));
            let Some(above) = entry.parent.filter(|above| *above > item) else { continue };
            let parent = &entries[above];
            add(1 + 6 * u8::from(says_little(parent.tag())), format!("{} {tag}", parent.tag()));
            for class in parent.classes() {
                add(4 + names::weight(class) as u8, format!(".{class} {tag}"));
            }
            // a table's columns have no other name than their number
            for (cell, end) in [(target, String::new()), (above, format!(" {tag}"))] {
                if entries[cell].tag() == "td" {
                    let number =
                        1 + entries[cell].element.prev_siblings().filter(|node| node.value().is_element()).count();
                    add(6, format!("td:nth-child({number}){end}"));
                }
            }
        }
        ranked.sort_by(|a, b| (a.0, a.2.len(), &a.2).cmp(&(b.0, b.2.len(), &b.2)));
        ranked.dedup();
        let candidate = |(_, tag, select): (u8, &'_ str, String)| match select.as_str() {
            ":self" => Some(Candidate { tag: String::new(), select, selector: None }),
            text => {
                let selector = Some(Selector::parse(text).ok()?);
                Some(Candidate { tag: tag.to_owned(), select, selector })
            }
        };
        ranked.into_iter().filter_map(candidate).collect()
    }
}

/// A selector, and the tag of what it selects: only elements of that need to be asked.
struct Candidate {
    tag: String,
    select: String,
    /// None: the item itself.
    selector: Option<Selector>,
}

/// Whether a tag alone says nothing of what its element is for.
fn says_little(tag: &str) -> bool {
    matches!(tag, "div" | "span" | "td" | "a" | "b" | "i" | "small" | "em" | "li" | "strong" | "section")
}
