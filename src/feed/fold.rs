//! White space folded, several bytes at a time.

use std::borrow::Cow;

/// White space folded, controls replaced.
pub(crate) fn fold(text: Cow<'_, str>) -> Cow<'_, str> {
    if is_folded(&text) {
        return text;
    }
    let mut out = Folded::with_capacity(text.len());
    out.push(&text);
    Cow::Owned(out.text)
}

fn is_folded(text: &str) -> bool {
    let mut previous = b' ';
    let even = if text.starts_with(' ') { 0 } else { even(text.as_bytes(), 0) };
    if even > 0 {
        previous = text.as_bytes()[even - 1];
    }
    for &b in &text.as_bytes()[even..] {
        let class = CLASS[usize::from(b)];
        if class == Class::Space && (b != b' ' || previous == b' ') || class == Class::Control || class == Class::Wide {
            return false;
        }
        previous = b;
    }
    text.is_empty() || previous != b' '
}

/// How far the text goes on in plain bytes with single spaces between them, eight at a time. May stop early;
/// does not stop behind a space.
fn even(bytes: &[u8], from: usize) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    // the lowest flagged byte is a true one, those above it may be flagged by a borrow
    let byte = |x: u64, b: u8| {
        let y = x ^ (ONES * u64::from(b));
        y.wrapping_sub(ONES) & !y & HIGH
    };
    let mut at = from;
    let mut space_before = false;
    for chunk in bytes[from..].as_chunks::<8>().0 {
        let x = u64::from_le_bytes(*chunk);
        let less = x.wrapping_sub(ONES * 0x20) & !x;
        let mut special = (less & HIGH) | byte(x, b'<') | byte(x, b'&') | byte(x, 0x7f);
        if x & HIGH != 0 {
            special |= byte(x, 0xc2) | byte(x, 0xe1) | byte(x, 0xe2) | byte(x, 0xe3);
        }
        let y = x ^ (ONES * 0x20);
        let spaces = !(((y & !HIGH) + !HIGH) | y | !HIGH);
        let doubled = spaces & ((spaces << 8) | (u64::from(space_before) << 7));
        if special | doubled != 0 {
            at += (special | doubled).trailing_zeros() as usize / 8;
            break;
        }
        space_before = spaces >> 63 == 1;
        at += 8;
    }
    if at > from && bytes[at - 1] == b' ' { at - 1 } else { at }
}

/// What a byte means to the folding of white space.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Plain,
    Space,
    /// `<` and `&`.
    Markup,
    /// What no text should hold.
    Control,
    /// May begin a white space beyond ASCII, or a C1 control.
    Wide,
}

const CLASS: [Class; 256] = {
    let mut table = [Class::Plain; 256];
    let mut b = 0;
    while b < 0x20 {
        table[b] = Class::Control;
        b += 1;
    }
    table[0x7f] = Class::Control;
    table[b' ' as usize] = Class::Space;
    table[b'\t' as usize] = Class::Space;
    table[b'\n' as usize] = Class::Space;
    table[0x0b] = Class::Space;
    table[0x0c] = Class::Space;
    table[b'\r' as usize] = Class::Space;
    table[b'<' as usize] = Class::Markup;
    table[b'&' as usize] = Class::Markup;
    table[0xc2] = Class::Wide;
    table[0xe1] = Class::Wide;
    table[0xe2] = Class::Wide;
    table[0xe3] = Class::Wide;
    table
};

/// Text under construction, white space folded.
pub(crate) struct Folded {
    pub(crate) text: String,
    /// White space is due before the next word.
    pub(crate) gap: bool,
}

impl Folded {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), gap: false }
    }

    /// Takes all of the text, markup signs too.
    pub(crate) fn push(&mut self, text: &str) {
        let mut rest = text;
        loop {
            rest = &rest[self.run(rest)..];
            // both signs are ASCII
            if rest.is_empty() {
                return;
            }
            self.word(&rest[..1]);
            rest = &rest[1..];
        }
    }

    /// Takes text up to the next sign of markup, and tells where that is.
    pub(super) fn run(&mut self, text: &str) -> usize {
        let bytes = text.as_bytes();
        let class = |at: usize| bytes.get(at).map_or(Class::Markup, |&b| CLASS[usize::from(b)]);
        let mut start = 0;
        let mut at = 0;
        loop {
            match class(at) {
                Class::Plain => at = even(bytes, at + 1),
                // a single space between words is part of the run
                Class::Space if at > start && bytes[at] == b' ' && class(at + 1) == Class::Plain => at += 2,
                Class::Space => {
                    self.word(&text[start..at]);
                    self.gap = true;
                    at += 1;
                    start = at;
                }
                Class::Control => {
                    self.word(&text[start..at]);
                    self.word("\u{fffd}");
                    at += 1;
                    start = at;
                }
                Class::Wide => {
                    let c = text[at..].chars().next().unwrap_or_default();
                    if c.is_whitespace() {
                        self.word(&text[start..at]);
                        self.gap = true;
                        start = at + c.len_utf8();
                        at = start;
                    } else {
                        at = even(bytes, at + c.len_utf8());
                    }
                }
                Class::Markup => {
                    self.word(&text[start..at]);
                    return at;
                }
            }
        }
    }

    pub(super) fn word(&mut self, word: &str) {
        if word.is_empty() {
            return;
        }
        if self.gap && !self.text.is_empty() {
            self.text.push(' ');
        }
        self.gap = false;
        self.text.push_str(word);
    }
}
