//! Text to a document tree, as browsers build it (WHATWG HTML, section 13.2), within bounds.
//!
//! The parser itself has none: what it does for one tag may look at every open element, and a page of eight
//! megabytes can be a million of them. So a sink between parser and tree counts what is made and looked at,
//! and the text is fed in pieces; when a bound is passed, the next piece is not read.

use std::{
    borrow::Cow,
    cell::{Cell, Ref},
};

use html5ever::{
    Attribute, ParseOpts, QualName, driver,
    interface::{ElementFlags, NodeOrText, QuirksMode, TreeSink},
    tendril::{StrTendril, TendrilSink},
    tree_builder::TreeBuilderOpts,
};
use scraper::{Html, HtmlTreeSink};

use super::Error;

/// Nodes and attributes together: some 60 MB.
pub const MOST_NODES: usize = 400_000;

/// Open elements: browsers stop at 512, and old pages that close nothing go further than that.
pub const DEEPEST: usize = 4_096;

/// Elements looked at while reading, a multiple of what any page needs.
const MOST_LOOKS: u64 = 20_000_000;

/// Words of one tag: any of them may be an attribute, and the parser compares each of those with all before.
const MOST_WORDS: usize = 16_384;

/// How much is read between two looks at the bounds, in bytes.
const PIECE: usize = 4 * 1024;

type Id = <HtmlTreeSink as TreeSink>::Handle;

/// Parses a page. Scripts are text and nothing else, and so `<noscript>` holds elements.
///
/// # Errors
/// [`Error::TooLarge`] for more than [`MOST_NODES`] or more than [`DEEPEST`] elements within each other.
pub fn parse(text: &str) -> Result<Html, Error> {
    let options = ParseOpts {
        tree_builder: TreeBuilderOpts { scripting_enabled: false, ..TreeBuilderOpts::default() },
        ..ParseOpts::default()
    };
    let mut parser = driver::parse_document(Counting::new(), options);
    let mut rest = text;
    let (mut before, mut words) = (0, 0);
    while !rest.is_empty() {
        let (piece, tail) = rest.split_at(rest.floor_char_boundary(PIECE.min(rest.len())));
        parser.process(StrTendril::from_slice(piece));
        let sink = &parser.tokenizer.sink.sink;
        sink.check()?;
        // a piece of which nothing came is the middle of a tag
        let work = sink.work();
        words = if work == before { words + piece.split_ascii_whitespace().count() } else { 0 };
        if words > MOST_WORDS {
            return Err(too_many_attributes());
        }
        before = work;
        rest = tail;
    }
    let (html, bounds) = parser.finish();
    bounds?;
    match deepest(&html) {
        depth if depth > DEEPEST => Err(too_deep()),
        _ => Ok(html),
    }
}

fn too_many_attributes() -> Error {
    Error::TooLarge(format!("an element of the page has more than {MOST_WORDS} attributes"))
}

fn too_deep() -> Error {
    Error::TooLarge(format!("the page has more than {DEEPEST} elements within each other"))
}

fn deepest(html: &Html) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    for edge in html.tree.root().traverse() {
        match edge {
            ego_tree::iter::Edge::Open(_) => depth += 1,
            ego_tree::iter::Edge::Close(_) => depth -= 1,
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Counts on the way to the tree.
struct Counting {
    tree: HtmlTreeSink,
    nodes: Cell<usize>,
    looks: Cell<u64>,
    /// Attributes that `<html>` and `<body>` were given afterwards, by tags that repeat them: each is
    /// compared with all before.
    added: Cell<usize>,
}

impl Counting {
    fn new() -> Self {
        Self {
            tree: HtmlTreeSink::new(Html::new_document()),
            nodes: Cell::new(0),
            looks: Cell::new(0),
            added: Cell::new(0),
        }
    }

    fn made(&self, nodes: usize) {
        self.nodes.set(self.nodes.get() + nodes);
    }

    fn looked(&self) {
        self.looks.set(self.looks.get() + 1);
    }

    /// Grows with each token.
    fn work(&self) -> u64 {
        self.looks.get() + self.nodes.get() as u64
    }

    fn check(&self) -> Result<(), Error> {
        if self.nodes.get() > MOST_NODES {
            return Err(Error::TooLarge(format!("the page has more than {MOST_NODES} elements, texts and attributes")));
        }
        if self.added.get() > MOST_WORDS {
            return Err(too_many_attributes());
        }
        // what it takes to be looked at so often is elements that nobody closes
        if self.looks.get() > MOST_LOOKS { Err(too_deep()) } else { Ok(()) }
    }
}

impl TreeSink for Counting {
    type Output = (Html, Result<(), Error>);
    type Handle = Id;
    type ElemName<'a> = Ref<'a, QualName>;

    fn finish(self) -> Self::Output {
        let bounds = self.check();
        (self.tree.finish(), bounds)
    }

    fn parse_error(&self, message: Cow<'static, str>) {
        self.tree.parse_error(message);
    }

    fn get_document(&self) -> Id {
        self.tree.get_document()
    }

    fn elem_name<'a>(&'a self, target: &'a Id) -> Ref<'a, QualName> {
        self.looked();
        self.tree.elem_name(target)
    }

    fn create_element(&self, name: QualName, attributes: Vec<Attribute>, flags: ElementFlags) -> Id {
        self.made(1 + attributes.len() + usize::from(flags.template));
        self.tree.create_element(name, attributes, flags)
    }

    fn create_comment(&self, text: StrTendril) -> Id {
        self.made(1);
        self.tree.create_comment(text)
    }

    fn create_pi(&self, target: StrTendril, data: StrTendril) -> Id {
        self.made(1);
        self.tree.create_pi(target, data)
    }

    fn append(&self, parent: &Id, child: NodeOrText<Id>) {
        self.made(1);
        self.tree.append(parent, child);
    }

    fn append_based_on_parent_node(&self, element: &Id, previous: &Id, child: NodeOrText<Id>) {
        self.made(1);
        self.tree.append_based_on_parent_node(element, previous, child);
    }

    fn append_doctype_to_document(&self, name: StrTendril, public: StrTendril, system: StrTendril) {
        self.tree.append_doctype_to_document(name, public, system);
    }

    fn mark_script_already_started(&self, node: &Id) {
        self.tree.mark_script_already_started(node);
    }

    fn pop(&self, node: &Id) {
        self.tree.pop(node);
    }

    fn get_template_contents(&self, target: &Id) -> Id {
        self.tree.get_template_contents(target)
    }

    fn same_node(&self, a: &Id, b: &Id) -> bool {
        self.looked();
        self.tree.same_node(a, b)
    }

    fn set_quirks_mode(&self, mode: QuirksMode) {
        self.tree.set_quirks_mode(mode);
    }

    fn append_before_sibling(&self, sibling: &Id, node: NodeOrText<Id>) {
        self.made(1);
        self.tree.append_before_sibling(sibling, node);
    }

    fn add_attrs_if_missing(&self, target: &Id, attributes: Vec<Attribute>) {
        self.made(attributes.len());
        self.added.set(self.added.get() + attributes.len());
        self.tree.add_attrs_if_missing(target, attributes);
    }

    fn remove_from_parent(&self, target: &Id) {
        self.tree.remove_from_parent(target);
    }

    fn reparent_children(&self, node: &Id, parent: &Id) {
        self.tree.reparent_children(node, parent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_as_browsers_read_it() {
        let html = parse("<p>one<p>two<noscript><img src=x></noscript>").unwrap();
        let count = |css| html.select(&scraper::Selector::parse(css).unwrap()).count();
        assert_eq!([count("p"), count("p + p"), count("noscript img")], [2, 1, 1]);
    }

    #[test]
    fn pages_without_end_are_refused() {
        let attributes: String = (0..500_000).map(|n| format!(" a{n}")).collect();
        assert!(matches!(parse(&format!("<p{attributes}>")), Err(Error::TooLarge(_))));
        for page in ["<div>".repeat(1_000_000), "<i>".repeat(2_000_000), "<p><b>".repeat(500_000)] {
            assert!(matches!(parse(&page), Err(Error::TooLarge(_))));
        }
        assert!(matches!(parse(&"<template></template>".repeat(150_000)), Err(Error::TooLarge(_))));
        let added: String = (0..20_000).map(|n| format!("<body a{n}>")).collect();
        assert!(matches!(parse(&added), Err(Error::TooLarge(_))));
        let long = format!("<p data-words='{}'>", "word ".repeat(10_000));
        assert!(parse(&long).is_ok());
        assert!(parse(&"<p>text</p>".repeat(50_000)).is_ok());
    }
}
