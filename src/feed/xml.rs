//! The tolerant walk over markup: quick-xml finds the tags, we decide what becomes of damage.
//!
//! Elements below an item are not walked but taken as *spans*: from the end of the start tag to the end tag
//! of the same name. That costs one search for `<` instead of an event for every reference in an escaped
//! description, copies nothing, and lets an item be read only when someone wants it.

use memchr::{memchr, memmem};
use quick_xml::{Reader, events::Event};

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
    /// Text, references unresolved, or CDATA.
    Text(&'t str),
    /// The DOCTYPE.
    DocType(&'t str),
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
}

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
        Self { text, reader: reader(text), opened: 0, wasted: 0, truncated: false, damaged: false, flat_until: 0 }
    }

    /// Where the next piece begins, in bytes.
    pub(super) fn position(&self) -> usize {
        self.text.len() - self.reader.get_ref().len()
    }

    /// Goes on from there. Only after a piece that is no text: then the reader expects text or markup.
    fn seek(&mut self, position: usize) {
        *self.reader.get_mut() = self.text.as_bytes().get(position..).unwrap_or_default();
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

    pub(super) fn next(&mut self) -> Piece<'t> {
        loop {
            if self.opened > OPENED {
                self.restart(self.position());
            }
            let before = self.position();
            match self.reader.read_event() {
                Ok(Event::Start(tag)) => {
                    self.opened += 1;
                    let whole = self.span(&tag);
                    if let Some(resume) = self.swallowed(whole) {
                        self.restart(resume);
                        let end = resume - (before + 1);
                        let whole = self.text[before + 1..].get(..end).unwrap_or_default().trim_end_matches('>');
                        if let Some(piece) = start(whole, false) {
                            return piece;
                        }
                        continue;
                    }
                    if let Some(piece) = start(whole, false) {
                        return piece;
                    }
                    // "<" before what is no name: text
                    self.restart(before + 1);
                }
                Ok(Event::Empty(tag)) => {
                    let whole = self.span(&tag);
                    if let Some(piece) = start(whole, true) {
                        return piece;
                    }
                }
                Ok(Event::End(tag)) => {
                    self.opened = self.opened.saturating_sub(1);
                    let name = self.span(tag.name().as_ref());
                    let end = name.find(|c: char| c.is_whitespace() || c == '<').unwrap_or(name.len());
                    return Piece::End(&name[..end]);
                }
                Ok(Event::Text(text)) => return Piece::Text(self.span(&text)),
                Ok(Event::CData(text)) => return Piece::Text(self.span(&text)),
                Ok(Event::DocType(text)) => return Piece::DocType(self.span(&text)),
                Ok(Event::Eof) => return Piece::Eof,
                Ok(_) => {}
                Err(_) => {
                    self.damaged = true;
                    let rest = &self.text[before..];
                    self.wasted = self.wasted.saturating_add(rest.len());
                    // what the reader could not end: step over its first sign and go on, for a while
                    let step = before + rest.chars().next().map_or(0, char::len_utf8);
                    if step >= self.text.len() || self.wasted > self.text.len().saturating_mul(4) {
                        self.truncated = true;
                        self.restart(self.text.len());
                        return Piece::Eof;
                    }
                    self.restart(step);
                }
            }
        }
    }

    /// Where to go on when a start tag ran on over others because a quote was left open.
    fn swallowed(&mut self, whole: &'t str) -> Option<usize> {
        let inner = memchr(b'<', whole.as_bytes())?;
        if attributes(name_and_rest(whole)?.1).all(|attribute| attribute.sound) {
            return None;
        }
        self.damaged = true;
        self.wasted = self.wasted.saturating_add(whole.len());
        if self.wasted > self.text.len().saturating_mul(4) {
            return None;
        }
        let start = (whole.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        let first_end = memchr(b'>', &whole.as_bytes()[..inner]).map(|end| end + 1);
        Some(start + first_end.unwrap_or(inner))
    }

    /// The span of the element whose start tag was just read, its end tag consumed. `item` is the name of
    /// the item around it, whose tags no span crosses.
    pub(super) fn element(&mut self, name: &str, item: &str, short: bool) -> &'t str {
        let start = self.position();
        let found = if short || start < self.flat_until { None } else { self.close(start, name, item) };
        match found {
            Some(Ok((end, after))) => {
                self.opened = self.opened.saturating_add(1);
                self.seek(after);
                &self.text[start..end]
            }
            Some(Err(bound)) => {
                self.damaged = true;
                self.flat_until = bound;
                self.brief(start, name)
            }
            None => self.brief(start, name),
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
                match memmem::find(rest, b"]]>") {
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

    /// Where the element's content ends and where its end tag does; or, where it has no end tag, the bound
    /// at which the search ended.
    fn close(&mut self, start: usize, name: &str, item: &str) -> Option<Result<(usize, usize), usize>> {
        let bytes = self.text.as_bytes();
        let mut at = start;
        let mut depth = 0usize;
        while let Some(found) = memchr(b'<', &bytes[at..]) {
            at += found;
            let rest = &bytes[at..];
            match rest.get(1) {
                Some(b'/') => {
                    if same_name(&rest[2..], name) {
                        let after = memchr(b'>', rest).map_or(bytes.len(), |end| at + end + 1);
                        if depth == 0 {
                            return Some(Ok((at, after)));
                        }
                        depth -= 1;
                        at = after;
                        continue;
                    }
                    if same_name(&rest[2..], item) {
                        return Some(Err(at));
                    }
                    at += 2;
                }
                Some(b'!') if rest.starts_with(b"<![CDATA[") => match cdata_end(rest, item) {
                    Some(end) => at += end,
                    None => {
                        self.truncated = true;
                        return Some(Ok((bytes.len(), bytes.len())));
                    }
                },
                Some(b'!') if rest.starts_with(b"<!--") => {
                    at += memmem::find(rest, b"-->").map_or(4, |end| end + 3);
                }
                Some(_) => {
                    if same_name(&rest[1..], name) {
                        let end = memchr(b'>', rest).unwrap_or(rest.len() - 1);
                        depth += usize::from(end == 0 || rest[end - 1] != b'/');
                    } else if same_name(&rest[1..], item) {
                        return Some(Err(at));
                    }
                    at += 1;
                }
                None => break,
            }
        }
        Some(Err(bytes.len()))
    }
}

/// The length of the CDATA section at the start of `rest`, which may end without its mark where an item does.
fn cdata_end(rest: &[u8], item: &str) -> Option<usize> {
    let end = memmem::find(rest, b"]]>")?;
    // a section that was never closed runs on to the end of the next one
    if let Some(nested) = memmem::rfind(&rest[9..end], b"<![CDATA[") {
        let closing = memmem::find_iter(&rest[..9 + nested], b"</").find(|&at| same_name(&rest[at + 2..], item));
        if let Some(closing) = closing {
            return Some(closing);
        }
    }
    Some(end + 3)
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

/// One attribute of a tag.
pub(super) struct Attribute<'t> {
    /// Name with prefix.
    pub(super) name: &'t str,
    /// References unresolved.
    pub(super) value: &'t str,
    /// Written as XML has it.
    sound: bool,
}

/// Attributes looked at in one tag.
const ATTRIBUTES: usize = 128;

/// The attributes of a tag: quoted, unquoted or without a value.
pub(super) fn attributes(text: &str) -> impl Iterator<Item = Attribute<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        if rest.is_empty() {
            return None;
        }
        let end = rest.bytes().position(|b| b.is_ascii_whitespace() || b == b'=').unwrap_or(rest.len());
        let name = &rest[..end];
        let after = rest[end..].trim_start();
        let Some(after) = after.strip_prefix('=') else {
            rest = after;
            return Some(Attribute { name, value: "", sound: false });
        };
        let after = after.trim_start();
        let quote = after.as_bytes().first().copied().filter(|b| matches!(b, b'"' | b'\''));
        let sound = !name.is_empty() && !name.contains(['"', '\'', '<']);
        match quote.and_then(|quote| memchr(quote, &after.as_bytes()[1..])) {
            Some(close) => {
                rest = &after[close + 2..];
                let sound = sound && rest.bytes().next().is_none_or(|b| b.is_ascii_whitespace() || b == b'/');
                Some(Attribute { name, value: &after[1..close + 1], sound })
            }
            None => {
                let after = after.trim_start_matches(['"', '\'']);
                let end = after.bytes().position(|b| b.is_ascii_whitespace()).unwrap_or(after.len());
                rest = &after[end..];
                Some(Attribute { name, value: &after[..end], sound: false })
            }
        }
    })
    .take(ATTRIBUTES)
}

/// The value of the attribute of that name, ASCII case apart.
pub(super) fn attribute<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    if text.is_empty() {
        return None;
    }
    attributes(text).find(|attribute| attribute.name.eq_ignore_ascii_case(name)).map(|attribute| attribute.value)
}
