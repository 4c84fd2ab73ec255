//! The tolerant walk over markup: quick-xml finds the tags, we decide what becomes of damage.
//!
//! Elements below an item are not walked but taken as *spans*: from the end of the start tag to the end tag
//! of the same name. That costs one search for `<` instead of an event for every reference in an escaped
//! description, copies nothing, and lets an item be read only when someone wants it.

use memchr::{
    memchr,
    memmem::{self, Finder},
};
use quick_xml::{Reader, events::Event};

use super::attribute::attributes;

/// One piece of structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'t> {
    /// A start tag; `empty` when it closes itself.
    Start {
        /// Name with prefix.
        name: &'t str,
        /// What stands in the tag behind the name.
        attributes: &'t str,
        /// `<name/>`.
        empty: bool,
    },
    /// An end tag, by its name with prefix.
    End(&'t str),
    /// The end of the document.
    Eof,
}

/// A walk over a document.
pub(super) struct Xml<'t> {
    text: &'t str,
    reader: Reader<&'t [u8]>,
    /// Start tags since the reader was made anew: it remembers the name of each open element.
    opened: usize,
    /// Bytes that were looked at in vain, over the whole document.
    wasted: usize,
    /// The document ended inside an element.
    pub(super) truncated: bool,
    /// Something did not fit together.
    pub(super) damaged: bool,
    /// Up to here no element is sought to its end: one was already sought in vain.
    flat_until: usize,
    cdata: Finder<'static>,
    cdata_end: Finder<'static>,
}

/// How often the document's length may be looked at in vain before the rest is given up.
const WASTE: usize = 4;

/// Open elements that the reader may remember before it is made anew.
const OPENED: usize = 4096;

fn reader(text: &str) -> Reader<&[u8]> {
    let mut reader = Reader::from_str(text);
    let config = reader.config_mut();
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    config.allow_dangling_amp = true;
    reader
}

impl<'t> Xml<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            text,
            reader: reader(text),
            opened: 0,
            wasted: 0,
            truncated: false,
            damaged: false,
            flat_until: 0,
            cdata: Finder::new("<![CDATA["),
            cdata_end: Finder::new("]]>"),
        }
    }

    /// Where the next piece begins, in bytes.
    pub(super) fn position(&self) -> usize {
        self.text.len() - self.reader.get_ref().len()
    }

    /// Goes on from there. Only after a piece that is no text: then the reader expects text or markup.
    /// White space there is passed over: it would be a piece of its own to the reader.
    fn seek(&mut self, position: usize) {
        *self.reader.get_mut() = self.text.as_bytes().get(position..).unwrap_or_default().trim_ascii_start();
    }

    /// The document from a slice of it on.
    pub(super) fn from(&self, part: &str) -> &'t str {
        self.text.get(self.offset(part)..).unwrap_or_default()
    }

    /// The document from the next piece on.
    pub(super) fn rest(&self) -> &'t str {
        self.text.get(self.position()..).unwrap_or_default()
    }

    /// Passes over an item whose start tag was just read: it ends where `end` begins.
    pub(super) fn skip_to(&mut self, end: &str) {
        self.seek(self.offset(end));
    }

    /// Starts over from there, whatever the reader's state.
    pub(super) fn restart(&mut self, position: usize) {
        self.reader = reader(self.text.get(position..).unwrap_or_default());
        self.opened = 0;
    }

    /// The slice of the document that an event's slice was cut from, so that it outlives the event.
    fn span(&self, part: &str) -> &'t str {
        let start = (part.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        self.text.get(start..start.wrapping_add(part.len())).unwrap_or_default()
    }

    /// The next piece of structure.
    pub(super) fn next(&mut self) -> Piece<'t> {
        loop {
            if self.opened > OPENED {
                self.restart(self.position());
            }
            let before = self.position();
            match self.reader.read_event() {
                Ok(Event::Start(tag)) => {
                    self.opened += 1;
                    let whole = self.sound(self.span(&tag));
                    if let Some(piece) = start(whole, false) {
                        return piece;
                    }
                    // "<" before what is no name is text
                    self.waste(whole.len());
                    self.restart(self.offset(whole));
                }
                Ok(Event::Empty(tag)) => {
                    let whole = self.span(&tag);
                    let sound = self.sound(whole);
                    if let Some(piece) = start(sound, sound.len() == whole.len()) {
                        return piece;
                    }
                }
                Ok(Event::End(tag)) => {
                    self.opened = self.opened.saturating_sub(1);
                    let name = self.span(tag.name().as_ref());
                    let end = name.find(|c: char| c.is_whitespace() || c == '<').unwrap_or(name.len());
                    return Piece::End(&name[..end]);
                }
                Ok(Event::Eof) => return Piece::Eof,
                Ok(_) => {}
                Err(_) => {
                    // what the reader could not end: step over its first sign and go on
                    self.damaged = true;
                    let rest = &self.text[before..];
                    self.waste(rest.len());
                    self.restart(before + rest.chars().next().map_or(0, char::len_utf8));
                }
            }
            if self.wasted > self.text.len().saturating_mul(WASTE) {
                self.truncated = true;
                self.restart(self.text.len());
            }
        }
    }

    fn waste(&mut self, bytes: usize) {
        self.wasted = self.wasted.saturating_add(bytes);
    }

    /// Where a slice of the document begins in it.
    fn offset(&self, part: &str) -> usize {
        (part.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize)
    }

    /// The start tag without what it swallowed: where a quote was left open, the reader takes the tags behind
    /// it for the attribute's value.
    fn sound(&mut self, whole: &'t str) -> &'t str {
        let Some(inner) = memchr(b'<', whole.as_bytes()) else { return whole };
        if name_and_rest(whole).is_some_and(|(_, rest)| attributes(rest).all(|attribute| attribute.sound)) {
            return whole;
        }
        self.damaged = true;
        self.waste(whole.len());
        let end = memchr(b'>', &whole.as_bytes()[..inner]);
        let sound = &whole[..end.unwrap_or(inner)];
        self.restart(self.offset(whole) + end.map_or(inner, |end| end + 1));
        sound
    }

    /// Passes over further copies of a tag that was just read and means nothing. `tag` is the tag's name or its
    /// name and attributes: what stands between `<` and `>`.
    pub(super) fn skip_copies(&mut self, tag: &str) {
        let start = self.offset(tag);
        let end = start + tag.len() + 1;
        let (Some(open), Some(copy)) = (start.checked_sub(1), self.text.get(start..end)) else { return };
        // an end tag's name has a slash before it
        let open = if self.text.as_bytes()[open] == b'/' { open.saturating_sub(1) } else { open };
        let whole = &self.text.as_bytes()[open..end];
        if !copy.ends_with('>') || whole[0] != b'<' || self.position() != end {
            return;
        }
        let copies = self.text.as_bytes()[end..].chunks_exact(whole.len()).take_while(|next| *next == whole).count();
        if copies > 0 {
            self.seek(end + copies * whole.len());
        }
    }

    /// A tag's name and attributes as one slice of the document.
    pub(super) fn tag(&self, name: &str, attributes: &str) -> &'t str {
        let start = self.offset(name);
        self.text.get(start..start + name.len() + attributes.len()).unwrap_or_default()
    }

    /// Whether an element sought to its end here was already sought in vain.
    pub(super) fn is_flat(&self) -> bool {
        self.position() < self.flat_until
    }

    /// The span of the element whose start tag was just read, its end tag consumed. `item` is the name of
    /// the item around it, whose tags no span crosses, but for `nested` ones in one another. A `short` element holds a word or two: it ends at
    /// the first tag, whichever that is.
    pub(super) fn element(&mut self, name: &str, item: &str, nested: usize, short: bool) -> &'t str {
        let start = self.position();
        if short || start < self.flat_until {
            return self.brief(start, name);
        }
        match self.close(start, name, item, nested) {
            Ok((end, after)) => {
                self.seek(after);
                &self.text[start..end]
            }
            Err(bound) => {
                self.damaged = true;
                self.flat_until = bound;
                self.brief(start, name)
            }
        }
    }

    /// The span up to the first tag, whatever it is.
    fn brief(&mut self, start: usize, name: &str) -> &'t str {
        let bytes = self.text.as_bytes();
        let mut at = start;
        loop {
            let Some(found) = memchr(b'<', &bytes[at..]) else {
                self.truncated = true;
                self.seek(bytes.len());
                return &self.text[start..];
            };
            at += found;
            let rest = &bytes[at..];
            if rest.starts_with(b"<![CDATA[") {
                match self.cdata_end.find(rest) {
                    Some(end) => at += end + 3,
                    None => {
                        self.truncated = true;
                        self.seek(bytes.len());
                        return &self.text[start..];
                    }
                }
            } else if rest.starts_with(b"<!--") {
                at += memmem::find(rest, b"-->").map_or(4, |end| end + 3);
            } else if is_tag(rest) {
                break;
            } else {
                at += 1;
            }
        }
        let rest = &bytes[at..];
        let closes = rest.get(1) == Some(&b'/') && same_name(&rest[2..], name);
        let after = if closes { memchr(b'>', rest).map_or(bytes.len(), |end| at + end + 1) } else { at };
        self.damaged |= !closes;
        self.seek(after);
        &self.text[start..at]
    }

    /// Where the element's content ends and where its end tag does; or, where it has no end tag, the place
    /// up to which the search is not to be repeated.
    fn close(&mut self, start: usize, name: &str, item: &str, most: usize) -> Result<(usize, usize), usize> {
        let bytes = self.text.as_bytes();
        let mut at = start;
        let mut depth = 0usize;
        // items inside the element: an extension may quote some, but more often the end tag is missing
        let mut nested = 0usize;
        let mut first_nested = None;
        while let Some(found) = memchr(b'<', &bytes[at..]) {
            at += found;
            let rest = &bytes[at..];
            match rest.get(1) {
                Some(b'/') => {
                    if nested == 0 && same_name(&rest[2..], name) {
                        let after = memchr(b'>', rest).map_or(bytes.len(), |end| at + end + 1);
                        if depth == 0 {
                            return Ok((at, after));
                        }
                        depth -= 1;
                    } else if same_name(&rest[2..], item) {
                        if nested == 0 {
                            return Err(first_nested.unwrap_or(at));
                        }
                        nested -= 1;
                    }
                    at += 2;
                }
                Some(b'!') if rest.starts_with(b"<![CDATA[") => match self.cdata(rest, item) {
                    Some(end) => at += end,
                    // never closed: it ends where the element does, or with the document
                    None => {
                        let own = memmem::find_iter(rest, b"</").find(|&end| same_name(&rest[end + 2..], name));
                        let Some(own) = own else {
                            self.truncated = true;
                            return Ok((bytes.len(), bytes.len()));
                        };
                        self.damaged = true;
                        at += own;
                    }
                },
                Some(b'!') if rest.starts_with(b"<!--") => {
                    at += memmem::find(rest, b"-->").map_or(4, |end| end + 3);
                }
                Some(_) => {
                    if nested == 0 && same_name(&rest[1..], name) {
                        depth += usize::from(!closes_itself(rest));
                    } else if same_name(&rest[1..], item) && !closes_itself(rest) {
                        nested += 1;
                        let first = *first_nested.get_or_insert(at);
                        if nested > most || at - first > NESTED_REACH {
                            return Err(first);
                        }
                    }
                    at += 1;
                }
                None => break,
            }
        }
        Err(first_nested.unwrap_or(bytes.len()))
    }

    /// The length of the CDATA section at the start of `rest`, which may end without its mark where an item
    /// does.
    fn cdata(&self, rest: &[u8], item: &str) -> Option<usize> {
        let end = self.cdata_end.find(rest)?;
        // a section that was never closed runs on to the end of the next one
        if let Some(next) = self.cdata.find(&rest[9..end]) {
            let closing = memmem::find_iter(&rest[..9 + next], b"</").find(|&at| same_name(&rest[at + 2..], item));
            if let Some(closing) = closing {
                return Some(closing);
            }
        }
        Some(end + 3)
    }
}

/// Items that an element of an item may hold in one another.
pub(super) const NESTED: usize = 4;

/// How far they may reach, in bytes: a bound on what is searched in vain where an end tag is missing.
const NESTED_REACH: usize = 64 << 10;

/// Whether the tag that begins here ends in `/>`.
fn closes_itself(rest: &[u8]) -> bool {
    memchr(b'>', rest).is_some_and(|end| rest[end - 1] == b'/')
}

fn is_tag(rest: &[u8]) -> bool {
    match rest.get(1) {
        Some(b'/') => rest.get(2).is_some_and(|b| name_start(*b)),
        Some(b) => name_start(*b),
        None => false,
    }
}

fn name_start(b: u8) -> bool {
    b.is_ascii_alphabetic() || b == b'_' || b == b':' || b >= 0x80
}

fn same_name(rest: &[u8], name: &str) -> bool {
    rest.starts_with(name.as_bytes())
        && rest.get(name.len()).is_none_or(|b| matches!(b, b'>' | b'/' | b' ' | b'\t' | b'\n' | b'\r'))
}

fn name_and_rest(whole: &str) -> Option<(&str, &str)> {
    let first = *whole.as_bytes().first()?;
    if !name_start(first) {
        return None;
    }
    let end = whole.bytes().position(|b| b.is_ascii_whitespace() || b == b'/').unwrap_or(whole.len());
    Some(whole.split_at(end))
}

fn start(whole: &str, empty: bool) -> Option<Piece<'_>> {
    let (name, attributes) = name_and_rest(whole)?;
    Some(Piece::Start { name, attributes, empty })
}
