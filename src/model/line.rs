//! Text from outside, made fit for a log and a terminal.
//!
//! A feed, a header or an answer may hold escape sequences, line breaks and characters that turn the direction of
//! text: with them it could forge a line of the log or command the operator's terminal. A [`Line`] cannot hold
//! them, and every error keeps its words in one.

use std::{borrow::Cow, fmt, ops::Deref};

use serde::{Deserialize, Deserializer, Serialize};

/// Longest text kept of one error, in bytes.
const MAX_BYTES: usize = 4096;

/// One line of text without controls.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Line(String);

impl Line {
    /// Adds words of our own, however long the line is already.
    pub fn push(&mut self, text: &str) {
        self.0.push_str(&one_line(text));
    }
}

impl From<&str> for Line {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl From<String> for Line {
    fn from(mut text: String) -> Self {
        if text.len() > MAX_BYTES {
            text.truncate(text.floor_char_boundary(MAX_BYTES));
            text.push('…');
        }
        match one_line(&text) {
            Cow::Owned(clean) => Self(clean),
            Cow::Borrowed(_) => Self(text),
        }
    }
}

impl From<Line> for String {
    fn from(line: Line) -> Self {
        line.0
    }
}

impl Deref for Line {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl PartialEq<str> for Line {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for Line {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

/// The text on one line: line breaks and tabs become spaces, other controls U+FFFD, and characters that turn the
/// direction of text are dropped.
pub fn one_line(text: &str) -> Cow<'_, str> {
    clean(text, |c| match c {
        '\t' | '\n' | '\u{b}' | '\u{c}' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => Some(' '),
        c => Some(c),
    })
}

/// The same for a text of several lines, which keeps its line feeds.
pub fn lines(text: &str) -> Cow<'_, str> {
    clean(text, |c| match c {
        '\t' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => Some(' '),
        '\n' => None,
        c => Some(c),
    })
}

/// JSON whose strings hold no raw controls: those that JSON itself lets stand are written as `\u` escapes.
pub fn escaped_json(json: &str) -> Cow<'_, str> {
    // outside of its strings JSON is ASCII without such characters, but for white space
    if !json.contains(|c| is_control(c) && !matches!(c, '\t' | '\n' | '\r')) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 64);
    for c in json.chars() {
        match c {
            '\t' | '\n' | '\r' => out.push(c),
            c if is_control(c) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Whether a terminal or a reader of a log may take the character for something other than text.
pub fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') || is_direction(c)
}

/// Marks, embeddings, overrides and isolates of direction.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `known` gives a control's substitute, or itself, or nothing where it stays.
fn clean(text: &str, known: impl Fn(char) -> Option<char>) -> Cow<'_, str> {
    if !text.contains(is_control) {
        return Cow::Borrowed(text);
    }
    let clean = text.chars().filter(|c| !is_direction(*c)).map(|c| match known(c) {
        Some(c) if c.is_control() => char::REPLACEMENT_CHARACTER,
        Some(c) => c,
        None => c,
    });
    Cow::Owned(clean.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str =
        "a\u{1b}]0;x\u{7}b\r\nWARN forged\u{85}c\u{2028}d\u{9b}31m\u{202e}e\u{2066}f\u{200f}\u{61c}\u{7f}\t\0";

    #[test]
    fn a_line_holds_no_control_and_no_line_break() {
        let line = Line::from(HOSTILE);
        assert_eq!(&*line, "a\u{fffd}]0;x\u{fffd}b  WARN forged c d\u{fffd}31mef\u{fffd} \u{fffd}");
        assert!(!line.contains(is_control));
        let read: Line = serde_json::from_str(&serde_json::to_string(HOSTILE).unwrap()).unwrap();
        assert_eq!(read, line);
        let mut line = Line::from("x".repeat(9000));
        line.push("; y\u{1b}");
        assert_eq!(line.len(), MAX_BYTES + "…; y\u{fffd}".len());
        assert!(matches!(one_line("plain é 日本 text"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_text_of_lines_keeps_its_line_feeds_alone() {
        let shown = lines(HOSTILE);
        assert!(shown.contains('\n') && !shown.replace('\n', "").contains(is_control), "{shown:?}");
    }

    #[test]
    fn json_says_the_same_with_its_controls_escaped() {
        let json = serde_json::to_string(&serde_json::json!({ HOSTILE: [HOSTILE, "\\u202e é\\"] })).unwrap();
        let escaped = escaped_json(&json);
        assert!(!escaped.contains(is_control), "{escaped:?}");
        let [before, after]: [serde_json::Value; 2] =
            [&*json, &escaped].map(|text| serde_json::from_str(text).unwrap());
        assert_eq!(before, after);
        assert!(matches!(escaped_json("{\n\"a\": 1}"), Cow::Borrowed(_)));
    }
}
