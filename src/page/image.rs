//! Addresses in elements: of what they link to, and of images, which pages like to load late.

use scraper::ElementRef;

/// Where pages put an image's address, the likeliest first: what is loaded late has a placeholder in `src`.
const ADDRESSES: [&str; 3] = ["data-src", "data-lazy-src", "data-original"];

/// Lists of addresses for different widths.
const SETS: [&str; 2] = ["data-srcset", "srcset"];

/// The image of an element, or of the first image within it.
pub fn image(element: ElementRef<'_>) -> Option<&str> {
    own_image(element).or_else(|| {
        let images = element.descendent_elements().skip(1);
        images.filter(|inner| matches!(inner.value().name(), "img" | "source")).find_map(own_image)
    })
}

fn own_image(element: ElementRef<'_>) -> Option<&str> {
    let plain = |name: &&str| element.attr(name).map(str::trim).filter(|address| is_address(address));
    let set = |name: &&str| element.attr(name).and_then(largest);
    // the address of a frame or script is no image
    let src = matches!(element.value().name(), "img" | "source" | "input" | "amp-img").then_some("src");
    ADDRESSES
        .iter()
        .find_map(plain)
        .or_else(|| SETS.iter().find_map(set))
        .or_else(|| src.as_ref().and_then(plain))
        .or_else(|| ["content"].iter().find_map(plain))
}

/// What an element links to, or the first link within it.
pub fn link(element: ElementRef<'_>) -> Option<&str> {
    let own = |name: &str| element.attr(name).map(str::trim).filter(|address| is_address(address));
    own("href").or_else(|| own("src")).or_else(|| {
        let links = element.descendent_elements().skip(1).filter(|inner| inner.value().name() == "a");
        links.filter_map(|link| link.attr("href")).map(str::trim).find(|address| is_address(address))
    })
}

/// Whether a text can be the address of a link or an image, and of something that is elsewhere.
pub fn is_address(text: &str) -> bool {
    const NONE: [&str; 6] = ["javascript", "vbscript", "data", "blob", "about", "chrome"];
    let elsewhere = |(scheme, _): (&str, &str)| !NONE.iter().any(|none| scheme.eq_ignore_ascii_case(none));
    !text.is_empty() && text != "#" && text.split_once(':').is_none_or(elsewhere)
}

/// Whether a text is an address in so many words: whole, or from the root of its site.
pub fn is_spelled_out(text: &str) -> bool {
    !text.contains(char::is_whitespace) && (text.contains("://") || text.starts_with('/'))
}

/// The address of the largest candidate of a `srcset` (WHATWG HTML, section 4.8.4.2.1).
pub fn largest(set: &str) -> Option<&str> {
    let mut best: Option<(f64, &str)> = None;
    let mut rest = set;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ',');
        if rest.is_empty() {
            return best.map(|(_, address)| address);
        }
        let (address, after) = rest.split_at(rest.find(|c: char| c.is_ascii_whitespace()).unwrap_or(rest.len()));
        // an address may hold commas; one at its end is the end of the candidate
        let bare = address.trim_end_matches(',');
        let (descriptor, after) = match bare.len() == address.len() {
            true => after.split_at(after.find(',').unwrap_or(after.len())),
            false => ("", after),
        };
        let size = descriptor.trim().trim_end_matches(['w', 'x', 'h']).parse().unwrap_or(1.0);
        if is_address(bare) && best.is_none_or(|(most, _)| size > most) {
            best = Some((size, bare));
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::dom;

    fn body(html: &str, find: fn(ElementRef<'_>) -> Option<&str>) -> Option<String> {
        let html = dom::parse(html, &|| false).unwrap();
        let body = html.root_element().child_elements().last().unwrap();
        let only = body.child_elements().next().unwrap();
        find(only).map(str::to_owned)
    }

    #[test]
    fn the_image_is_where_it_will_be_loaded_from() {
        for (html, expected) in [
            ("<img src=a.png>", Some("a.png")),
            ("<img src=blank.gif data-src=a.png>", Some("a.png")),
            ("<img data-src='' data-lazy-src=a.png>", Some("a.png")),
            ("<img src='data:image/gif;base64,xx' data-original=' a.png '>", Some("a.png")),
            ("<img src='data:image/gif;base64,xx'>", None),
            ("<img src=s.png srcset='s.png 300w, l.png 1200w, m.png 600w'>", Some("l.png")),
            ("<img src=s.png srcset=x.png data-srcset='a.png, b.png 2x'>", Some("b.png")),
            ("<div data-src=/a.png></div>", Some("/a.png")),
            ("<div><p>x</p><picture><source srcset=a.webp><img src=a.png></picture></div>", Some("a.webp")),
            ("<div><img src='data:,'><img src=b.png></div>", Some("b.png")),
            ("<meta content=https://x/a.png>", None),
            ("<p>text</p>", None),
            ("<iframe src=page.html></iframe>", None),
        ] {
            // a <meta> goes to the head
            if !html.starts_with("<meta") {
                assert_eq!(body(html, image).as_deref(), expected, "{html}");
            }
        }
        let head = dom::parse("<meta property=og:image content=https://x/a.png>", &|| false).unwrap();
        let meta = head.root_element().descendent_elements().find(|e| e.value().name() == "meta").unwrap();
        assert_eq!(image(meta), Some("https://x/a.png"));
    }

    #[test]
    fn a_link_is_its_own_or_the_first_within() {
        for (html, expected) in [
            ("<a href=' /x '>y</a>", Some("/x")),
            ("<iframe src=https://y.example/1></iframe>", Some("https://y.example/1")),
            ("<h3><a href=#>menu</a><a href='JavaScript:x()'>y</a><a href=/1>z</a></h3>", Some("/1")),
            ("<h3><a href=#top>up</a></h3>", Some("#top")),
            ("<h3>none</h3>", None),
            ("<a href=about>us</a>", Some("about")),
            ("<a href='about:blank'>us</a>", None),
        ] {
            assert_eq!(body(html, link).as_deref(), expected, "{html}");
        }
    }

    #[test]
    fn the_largest_of_a_set_is_taken() {
        for (set, expected) in [
            ("", None),
            (" , ,", None),
            ("a.png", Some("a.png")),
            ("a.png 1x, b.png 2.5x, c.png 2x", Some("b.png")),
            ("a,b.png 100w,c.png 20w", Some("a,b.png")),
            ("a.png, b.png", Some("a.png")),
            ("a.png,b.png 2x", Some("a.png,b.png")),
            ("data:image/gif;base64,R0 9w, a.png 1w", Some("a.png")),
            ("a.png nonsense, b.png 2x", Some("b.png")),
            ("a.png NaNx", Some("a.png")),
        ] {
            assert_eq!(largest(set), expected, "{set}");
        }
    }
}
