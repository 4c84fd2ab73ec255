//! Text to a document tree, as browsers build it (WHATWG HTML, section 13.2), within bounds.
//!
//! The parser itself has none: what it does for one tag may look at every open element, and a page of eight
//! megabytes can be a million of them. So a sink between parser and tree counts what is made and looked at,
//! and the text is fed in pieces; when a bound is passed, the next piece is not read. Of a tag nothing comes
//! before its end, and each of its attributes is compared with all before: there the clock is the bound.

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

use super::{Error, Expired};

/// Nodes and attributes together: some 60 MB.
pub const MOST_NODES: usize = 400_000;

/// Open elements: browsers stop at 512, and old pages that close nothing go further than that.
pub const DEEPEST: usize = 4_096;

/// Elements looked at while reading, a multiple of what any page needs.
const MOST_LOOKS: u64 = 20_000_000;

/// Attributes that `<html>` and `<body>` are given by tags that repeat them.
const MOST_ADDED: usize = 16_384;

/// How much is read between two looks at the bounds, in bytes.
const PIECE: usize = 4 * 1024;

type Id = <HtmlTreeSink as TreeSink>::Handle;

/// Parses a page. Scripts are text and nothing else, and so `<noscript>` holds elements.
///
/// # Errors
/// [`Error::TooLarge`] for more than [`MOST_NODES`], for more than [`DEEPEST`] elements within each other, and
/// when it takes too long.
pub fn parse(text: &str, expired: Expired<'_>) -> Result<Html, Error> {
    let options = ParseOpts {
        tree_builder: TreeBuilderOpts { scripting_enabled: false, ..TreeBuilderOpts::default() },
        ..ParseOpts::default()
    };
    let mut parser = driver::parse_document(Counting::new(), options);
    let mut rest = text;
    while !rest.is_empty() {
        if expired() {
            return Err(Error::TooLarge("reading the page takes too long".into()));
        }
        let (piece, tail) = rest.split_at(rest.floor_char_boundary(PIECE.min(rest.len())));
        parser.process(StrTendril::from_slice(piece));
        parser.tokenizer.sink.sink.check()?;
        rest = tail;
    }
    let (html, bounds) = parser.finish();
    bounds?;
    match deepest(&html) {
        depth if depth > DEEPEST => Err(too_deep()),
        _ => Ok(html),
    }
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

    fn check(&self) -> Result<(), Error> {
        if self.nodes.get() > MOST_NODES {
            return Err(Error::TooLarge(format!("the page has more than {MOST_NODES} elements, texts and attributes")));
        }
        if self.added.get() > MOST_ADDED {
            return Err(Error::TooLarge(format!(
                "the page adds more than {MOST_ADDED} attributes to its outermost elements"
            )));
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

    const NEVER: Expired<'_> = &|| false;

    #[test]
    fn a_page_is_read_as_browsers_read_it() {
        let html = parse("<p>one<p>two<noscript><img src=x></noscript>", NEVER).unwrap();
        let count = |css| html.select(&scraper::Selector::parse(css).unwrap()).count();
        assert_eq!([count("p"), count("p + p"), count("noscript img")], [2, 1, 1]);
    }

    #[test]
    fn pages_without_end_are_refused() {
        for page in ["<div>".repeat(1_000_000), "<i>".repeat(2_000_000), "<p><b>".repeat(500_000)] {
            assert!(matches!(parse(&page, NEVER), Err(Error::TooLarge(_))));
        }
        assert!(parse(&"<p>text</p>".repeat(50_000), NEVER).is_ok());
    }

    #[test]
    fn a_tag_without_end_is_read_for_as_long_as_there_is_time() {
        for attribute in [|n| format!(" a{n}"), |n| format!("/a{n}"), |n| format!("a{n}=''")] {
            let attributes: String = (0..100_000).map(attribute).collect();
            let asked = Cell::new(0);
            let expired = || asked.replace(asked.get() + 1) == 10;
            let read = parse(&format!("<p {attributes}>"), &expired);
            assert_eq!(read.err(), Some(Error::TooLarge("reading the page takes too long".into())));
            assert_eq!(asked.get(), 11);
        }
    }

    #[test]
    fn long_values_and_comments_are_no_tags_without_end() {
        let words = "word ".repeat(100_000);
        for page in [format!("<p data-page='{words}'>"), format!("<!-- {words} --><p>"), format!("<p>{words}")] {
            let html = parse(&page, NEVER).unwrap();
            assert_eq!(html.select(&scraper::Selector::parse("p").unwrap()).count(), 1);
        }
        let added: String = (0..20_000).map(|n| format!("<body a{n}>")).collect();
        for page in [added, "<template></template>".repeat(150_000)] {
            assert!(matches!(parse(&page, NEVER), Err(Error::TooLarge(_))));
        }
    }
}
