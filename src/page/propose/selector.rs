//! A selector for exactly these elements, as short and as lasting as there is one.

use std::collections::HashSet;

use scraper::Selector;

use super::{
    Expired,
    group::{Group, common_classes},
    names,
    outline::{Entry, Outline},
};

/// Selectors tried for one group.
const TRIED: usize = 160;

/// Ancestors that a selector may begin at.
const ABOVE: usize = 8;

/// Attributes that say what an element is, where they have the same value for all.
const ATTRIBUTES: [&str; 8] =
    ["data-testid", "data-test", "data-component", "data-type", "data-role", "itemprop", "itemtype", "role"];

/// The first selector, from the shortest on, that matches the group's elements and no other.
pub(super) fn of(outline: &Outline<'_>, group: &Group, expired: Expired<'_>) -> Option<String> {
    let first = &outline.entries[*group.members.first()?];
    let own = own(outline, group, first);
    let above = above(outline, first);
    let candidates = |suffix: &'static str| {
        let above = &above;
        let alone = own.iter().map(move |own| format!("{own}{suffix}"));
        let below = own.iter().flat_map(move |own| {
            above
                .iter()
                .map(move |(nearness, name)| format!("{name}{}{own}{suffix}", if *nearness == 0 { " > " } else { " " }))
        });
        // an ancestor, the parent's tag, and the element
        let parent = first.parent.map(|parent| outline.entries[parent].tag()).unwrap_or_default();
        let between = own.iter().flat_map(move |own| {
            let far = above.iter().filter(|(nearness, _)| *nearness > 0);
            far.map(move |(_, name)| format!("{name} {parent} > {own}{suffix}"))
        });
        alone.chain(below).chain(between).collect::<Vec<_>>()
    };
    let same_tag: Vec<&Entry<'_>> = outline.entries.iter().filter(|entry| entry.tag() == first.tag()).collect();
    let members: HashSet<_> = group.members.iter().map(|&at| outline.entries[at].element.id()).collect();
    let mut plain = candidates("");
    // a bare tag fits the page of today, and whatever is added to it tomorrow
    plain.retain(|selector| selector != first.tag() || first.tag() == "article");
    // rows of a heading have no links
    let linked = candidates(":has(a[href])");
    plain.truncate(TRIED);
    plain
        .into_iter()
        .chain(linked.into_iter().take(TRIED / 2))
        .take_while(|_| !expired())
        .find(|text| matches_exactly(text, &same_tag, &members, expired))
}

fn matches_exactly(
    text: &str,
    same_tag: &[&Entry<'_>],
    members: &HashSet<ego_tree::NodeId>,
    expired: Expired<'_>,
) -> bool {
    let Ok(selector) = Selector::parse(text) else { return false };
    let mut matched = 0;
    for (number, entry) in same_tag.iter().enumerate() {
        if number % 32 == 0 && expired() {
            return false;
        }
        if selector.matches(&entry.element) {
            if !members.contains(&entry.element.id()) {
                return false;
            }
            matched += 1;
        }
    }
    matched == members.len()
}

/// What can be said of the elements themselves, the best first.
fn own(outline: &Outline<'_>, group: &Group, first: &Entry<'_>) -> Vec<String> {
    let tag = first.tag();
    let classes = common_classes(outline, &group.members);
    let mut own: Vec<String> = classes.iter().map(|class| format!("{tag}.{class}")).collect();
    own.extend(classes.windows(2).map(|pair| format!("{tag}.{}.{}", pair[0], pair[1])));
    for name in ATTRIBUTES {
        let value = first.element.attr(name).filter(|value| (2..=60).contains(&value.len()));
        let Some(value) =
            value.filter(|value| !value.contains(['"', '\\', '\n']) && !value.bytes().any(|b| b.is_ascii_digit()))
        else {
            continue;
        };
        if group.members.iter().all(|&at| outline.entries[at].element.attr(name) == Some(value)) {
            own.push(format!("{tag}[{name}=\"{value}\"]"));
        }
    }
    for prefix in first.prefixes() {
        if group.members.iter().all(|&at| outline.entries[at].prefixes().any(|other| other == prefix)) {
            own.push(format!("{tag}[class*=\"{prefix}\"]"));
        }
    }
    own.push(tag.to_owned());
    own
}

/// Names of the ancestors, with how far away each is: those that say most first, and of these the nearest.
fn above(outline: &Outline<'_>, first: &Entry<'_>) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    let mut at = first.parent;
    for nearness in 0..ABOVE {
        let Some(entry) = at.map(|at| &outline.entries[at]) else { break };
        if matches!(entry.tag(), "body" | "html") {
            break;
        }
        if let Some(id) = entry.id() {
            names.push((0u8, nearness, format!("#{id}")));
        }
        let mut classes: Vec<_> = entry.classes().collect();
        classes.sort_by_key(|class| (names::weight(class), class.len()));
        for class in classes.into_iter().take(2) {
            let rank = names::weight(class) as u8;
            names.push((rank, nearness, format!("{}.{class}", entry.tag())));
        }
        for prefix in entry.prefixes() {
            names.push((1, nearness, format!("{}[class*=\"{prefix}\"]", entry.tag())));
        }
        match entry.tag() {
            "main" | "article" => names.push((1, nearness, entry.tag().to_owned())),
            "ul" | "ol" | "table" | "tbody" | "section" | "dl" => names.push((3, nearness, entry.tag().to_owned())),
            tag => names.push((4, nearness, tag.to_owned())),
        }
        // where nothing has a name, what stands before it tells
        if let Some(before) = entry.before() {
            names.push((5, nearness, format!("{before} + {}", entry.tag())));
        }
        at = entry.parent;
    }
    names.sort_by_key(|(rank, nearness, _)| (*rank, *nearness));
    names.into_iter().map(|(_, nearness, name)| (nearness, name)).collect()
}
