//! The text of an element, as a reader of the page has it: white space folded, a gap where a block begins
//! or ends, and without what is not for readers.

use ego_tree::iter::Edge;
use html5ever::serialize::{SerializeOpts, TraversalScope, serialize};
use scraper::{ElementRef, Node};

use crate::feed::{
    fold::Folded,
    text::{Flow, flow},
};

/// Most that is taken of one element, in bytes: what follows is left out.
const LONGEST: usize = 64 << 10;

/// Longest inner HTML taken, in bytes.
const LONGEST_HTML: usize = 512 << 10;

/// The text of an element, folded.
pub fn of(element: ElementRef<'_>) -> String {
    let mut out = Folded::with_capacity(0);
    let mut edges = element.traverse();
    while let Some(edge) = edges.next() {
        let (node, opens) = match edge {
            Edge::Open(node) => (node, true),
            Edge::Close(node) => (node, false),
        };
        match node.value() {
            Node::Text(text) if opens => {
                out.push(text);
                if out.text.len() > LONGEST {
                    out.text.truncate(out.text.floor_char_boundary(LONGEST));
                    break;
                }
            }
            Node::Element(inner) => {
                // a browser that runs scripts shows nothing of <noscript>
                let silent = flow(inner.name()) == Flow::Silent || inner.name() == "noscript";
                if opens && silent && node != *element {
                    // its end is the next thing at this depth
                    edges.by_ref().find(|edge| *edge == Edge::Close(node));
                } else if flow(inner.name()) == Flow::Block {
                    out.gap = true;
                }
            }
            _ => {}
        }
    }
    out.text
}

/// The texts in an element as they stand, what is not for readers included: what is in a `<script>`.
pub fn raw(element: ElementRef<'_>) -> String {
    element.text().collect()
}

/// The HTML in an element; none where that is longer than anybody could use.
pub fn inner_html(element: ElementRef<'_>) -> Option<String> {
    let options = SerializeOpts {
        scripting_enabled: false,
        traversal_scope: TraversalScope::ChildrenOnly(None),
        create_missing_parent: false,
    };
    let mut out = Bounded(Vec::new());
    serialize(&mut out, &element, options).ok()?;
    String::from_utf8(out.0).ok()
}

/// Takes no more than [`LONGEST_HTML`].
struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > LONGEST_HTML {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// At most `longest` characters, cut between words where that is near, the ellipsis included.
pub fn cut(mut text: String, longest: usize) -> String {
    let Some((beyond, _)) = text.char_indices().nth(longest) else { return text };
    // there is one more character than may be: the last that fits gives way to the ellipsis
    let end = text[..beyond].char_indices().next_back().map_or(0, |(at, _)| at);
    let end = text[..end].rfind(' ').filter(|&space| space > end / 2).unwrap_or(end);
    text.truncate(end);
    text.truncate(text.trim_end().len());
    if longest > 0 {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(html: &str) -> String {
        of(crate::page::dom::parse(html, &|| false).unwrap().root_element())
    }

    #[test]
    fn a_text_is_what_readers_see() {
        for (html, expected) in [
            ("<p>one</p><p>two</p>", "one two"),
            ("one<br>two", "one two"),
            ("o<b>n</b>e&nbsp;&amp;\n  two", "one & two"),
            ("a<script>b()</script><style>c</style><template><p>d</p></template><noscript>e</noscript>f", "af"),
            ("<ul><li>1<li>2</ul>3", "1 2 3"),
            ("1 &lt;b&gt; 2", "1 <b> 2"),
            ("<table><tr><td>1<td>2</table>", "1 2"),
            ("<!-- no -->yes", "yes"),
        ] {
            assert_eq!(text(html), expected, "{html}");
        }
        assert!(text(&"word ".repeat(100_000)).len() <= LONGEST);
    }

    #[test]
    fn html_beyond_all_use_is_none() {
        let html = crate::page::dom::parse("<p>a<b>c</b></p>", &|| false).unwrap();
        assert_eq!(inner_html(html.root_element()).unwrap(), "<head></head><body><p>a<b>c</b></p></body>");
        let long = crate::page::dom::parse(&"x".repeat(LONGEST_HTML), &|| false).unwrap();
        assert_eq!(inner_html(long.root_element()), None);
    }

    #[test]
    fn a_cut_counts_characters_and_prefers_words() {
        for (text, longest, expected) in [
            ("short", 5, "short"),
            ("名探偵コナン", 4, "名探偵…"),
            ("one two three", 10, "one two…"),
            ("incomprehensible", 6, "incom…"),
            ("one", 1, "…"),
            ("one", 0, ""),
        ] {
            assert_eq!(cut(text.into(), longest), expected);
            assert!(expected.chars().count() <= longest);
        }
    }
}
