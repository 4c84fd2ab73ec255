//! Elements alike, and how much they look like a list of news.

use std::collections::{HashMap, HashSet};

use xxhash_rust::xxh3::xxh3_64;

use super::{
    Expired,
    names::{self, Weight},
    outline::{Entry, Outline, TITLED, is_heading},
};

/// Fewer are no list.
const FEWEST: usize = 3;

/// More are an archive, or something else altogether.
const MOST: usize = 200;

/// Groups that are looked at closely.
const CLOSELY: usize = 64;

/// Below this a group is not worth being proposed: what a menu of short words comes to.
const CREDIBLE: f64 = 1.2;

/// Elements alike.
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// Their places in the outline, ascending; none within another.
    pub(super) members: Vec<usize>,
    score: f64,
}

impl Group {
    /// The members' links.
    pub(super) fn links(&self, outline: &Outline<'_>) -> impl Iterator<Item = usize> {
        self.members.iter().filter_map(|&at| outline.entries[at].holds.link).map(|(_, link)| link)
    }
}

/// What elements have in common: where they stand, their tag, a class.
#[derive(PartialEq, Eq, Hash)]
struct Kin<'a> {
    under: Under,
    tag: &'a str,
    class: Option<&'a str>,
}

/// Where elements stand.
#[derive(PartialEq, Eq, Hash)]
enum Under {
    /// The same parent.
    One(usize),
    /// Parents that stand alike.
    Alike(u64),
    /// Wherever.
    Any,
}

/// The credible groups, the likeliest first.
pub(super) fn best_first(outline: &Outline<'_>, expired: Expired<'_>) -> Vec<Group> {
    let mut groups: Vec<Group> = gather(outline)
        .into_iter()
        .map(|members| Group { score: at_a_glance(outline, &members), members })
        .filter(|group| group.score >= CREDIBLE)
        .collect();
    let order = |groups: &mut Vec<Group>| {
        // of two that are as good, the one that stands first, and of these the outer one
        groups.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.members.cmp(&b.members)));
    };
    order(&mut groups);
    groups.truncate(CLOSELY);
    groups.retain_mut(|group| {
        if expired() {
            return false;
        }
        group.score *= closely(outline, &group.members);
        group.score >= CREDIBLE
    });
    order(&mut groups);
    groups
}

/// The lists of elements that have something in common, each list once.
fn gather(outline: &Outline<'_>) -> Vec<Vec<usize>> {
    let mut uses: HashMap<&str, usize> = HashMap::new();
    for class in outline.entries.iter().flat_map(class_names) {
        *uses.entry(class).or_default() += 1;
    }
    let mut kin: HashMap<Kin<'_>, Vec<usize>> = HashMap::new();
    for (at, entry) in outline.entries.iter().enumerate() {
        // an item without a link is no news
        if entry.holds.link.is_none() || matches!(entry.tag(), "html" | "body" | "main" | "head") {
            continue;
        }
        let Some(parent) = entry.parent else { continue };
        let (tag, path) = (entry.tag(), outline.entries[parent].path);
        let alone = [Under::One(parent), Under::Alike(path)].map(|under| Kin { under, tag, class: None });
        let shared = class_names(entry).filter(|class| uses.get(class).is_some_and(|uses| *uses >= FEWEST));
        let named = shared
            .flat_map(|class| [Under::Alike(path), Under::Any].map(|under| Kin { under, tag, class: Some(class) }));
        for key in alone.into_iter().chain(named) {
            let members = kin.entry(key).or_default();
            // one too many says that there are too many
            if members.len() <= MOST {
                members.push(at);
            }
        }
    }
    let mut known = HashSet::new();
    let mut lists: Vec<Vec<usize>> = kin.into_values().filter(|list| (FEWEST..=MOST).contains(&list.len())).collect();
    lists.retain(|list| known.insert(xxh3_64(&list.iter().flat_map(|at| at.to_le_bytes()).collect::<Vec<u8>>())));
    lists
}

fn class_names<'a>(entry: &Entry<'a>) -> impl Iterator<Item = &'a str> {
    entry.classes().chain(entry.prefixes())
}

/// How much the elements look like news, by what was counted already.
fn at_a_glance(outline: &Outline<'_>, members: &[usize]) -> f64 {
    let entries = || members.iter().map(|&at| &outline.entries[at]);
    let count = members.len() as f64;
    let share = |has: &dyn Fn(&Entry<'_>) -> bool| entries().filter(|entry| has(entry)).count() as f64 / count;
    let mean = |of: &dyn Fn(&Entry<'_>) -> u32| entries().map(|entry| f64::from(of(entry))).sum::<f64>() / count;

    // menus have words, news have sentences, and what is longer yet is text
    let title = |entry: &Entry<'_>| {
        let heading = entry.holds.heading.map(|at| outline.entries[at].text);
        let link = entry.holds.link.map_or(0, |(_, at)| outline.entries[at].text);
        // what is dated, or called a title, may be short
        let named = entry.holds.heading.or(entry.holds.date).is_some()
            || entry.holds.link.is_some_and(|(score, _)| score >= TITLED);
        let least = if named { 0.6 } else { 0.1 };
        match f64::from(heading.unwrap_or(link)) {
            ..4.0 => 0.1,
            4.0..10.0 => least,
            short @ 10.0..25.0 => least + (1.0 - least) * (short - 10.0) / 15.0,
            25.0..150.0 => 1.0,
            _ => 0.5,
        }
    };
    let title = entries().map(title).sum::<f64>() / count;
    let dated = share(&|entry| entry.holds.date.is_some());
    let headed = share(&|entry| entry.holds.heading.is_some());
    let pictured = share(&|entry| entry.holds.image.is_some());
    let summed_up = share(&|entry| entry.holds.summary.is_some());
    let features = 1.0 + dated + 0.8 * headed + 0.4 * pictured + 0.4 * summed_up;
    // several headings, or several links with titles: it is a list itself
    let headings = mean(&|entry| entry.holds.headings);
    let links = mean(&|entry| entry.holds.titles);
    let single = if headings > 1.3 || (headings < 0.5 && links > 2.0) { 0.4 / headings.max(links) } else { 1.0 };
    let aside = if share(&|entry| entry.aside) > 0.5 { 0.25 } else { 1.0 };
    let tag = match entries().next().map(Entry::tag) {
        Some("article") => 1.3,
        Some("li" | "tr" | "div" | "section" | "dt") => 1.1,
        Some(tag) if is_heading(tag) => 0.9,
        _ => 1.0,
    };
    // what says that it is a title is a part of the item
    let telling = |class: &&str| names::weight(class) == Weight::Telling && !names::is_title(class);
    let named = if common_classes(outline, members).iter().any(telling) { 1.15 } else { 1.0 };
    title * features * single * aside * tag * named * (1.0 + count.min(60.0)).ln()
}

/// The share of members that are news each of its own: other links, other titles, none within another.
fn closely(outline: &Outline<'_>, members: &[usize]) -> f64 {
    if members.windows(2).any(|pair| outline.entries[pair[0]].end > pair[1]) {
        return 0.0;
    }
    let links = members.iter().filter_map(|&at| outline.entries[at].holds.link).map(|(_, link)| link);
    let (mut hrefs, mut texts) = (HashSet::new(), HashSet::new());
    for link in links {
        hrefs.extend(outline.href(link));
        texts.insert(outline.text(link));
    }
    let share = |distinct: usize| distinct as f64 / members.len() as f64;
    let (hrefs, texts) = (share(hrefs.len()), share(texts.len()));
    if hrefs < 0.6 { 0.0 } else { hrefs * texts.max(0.3) }
}

/// The stable classes that all members have, those that say most first.
pub(super) fn common_classes<'a>(outline: &Outline<'a>, members: &[usize]) -> Vec<&'a str> {
    let Some((&first, rest)) = members.split_first() else { return Vec::new() };
    let mut classes: Vec<&str> = outline.entries[first].classes().collect();
    for &at in rest {
        if classes.is_empty() {
            break;
        }
        classes.retain(|class| outline.entries[at].classes().any(|other| other == *class));
    }
    classes.sort_by_key(|class| (names::weight(class), class.len()));
    classes
}
