//! Bytes to text: which encoding a document is in, whatever it says of itself.
//!
//! In order: what the operator set; a byte order mark; UTF-16 or UTF-32 told from the pattern of its zero
//! bytes; bytes that are valid UTF-8 (a document that says otherwise lies, unless its encoding is one in
//! which all bytes are ASCII, such as ISO-2022-JP); the HTTP charset; the XML declaration; UTF-8, as XML 1.0
//! (4.3.3) has it of a document of which nobody says anything. One that says so, and plainly is
//! not, is read as windows-1252 where the bytes look like it.
//! Nothing here fails: bytes that are not valid become U+FFFD.

use std::borrow::Cow;

use encoding_rs::{CoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::{Hints, Text, Warning};

/// How far into the document an XML declaration is looked for.
const HEAD: usize = 1024;

/// Chooses the encoding and decodes.
pub(super) fn decode<'a>(bytes: &'a [u8], hints: &Hints<'_>) -> Text<'a> {
    if let Some(encoding) = hints.encoding {
        return with(encoding, bytes);
    }
    if let Some((big, skip)) = utf_32(bytes) {
        return utf_32_text(&bytes[skip..], big);
    }
    if let Some((encoding, skip)) = Encoding::for_bom(bytes) {
        return with(encoding, &bytes[skip..]);
    }
    if let Some(encoding) = utf_16(bytes) {
        return with(encoding, bytes);
    }
    let declared = hints.content_type.and_then(charset).or_else(|| declaration(bytes));
    if let Some(text) = utf_8(bytes) {
        return match declared {
            Some(encoding) if !encoding.is_ascii_compatible() && !is_utf_16(encoding) && bytes.is_ascii() => {
                with(encoding, bytes)
            }
            _ => Text { text, encoding: UTF_8.name(), warnings: Vec::new() },
        };
    }
    let in_document = declaration(bytes);
    let usable = |encoding: &&'static Encoding| !is_utf_16(encoding) && *encoding != UTF_8;
    // The header speaks first, but only where its word can be true: a document of which a few bytes are
    // broken is still UTF-8 when that is what it says.
    match hints.content_type.and_then(charset).filter(usable).or(in_document.filter(usable)) {
        Some(encoding) => with(encoding, bytes),
        // A guess, and only against a word that is known to be false. Where there is none, sites that are not
        // in UTF-8 name their encoding in the header; for the rest there is the operator's word.
        None if declared.is_some() && !mostly_utf_8(bytes) && looks_western(bytes) => with(WINDOWS_1252, bytes),
        None => with(UTF_8, bytes),
    }
}

/// The bytes as they are, if they are valid UTF-8: checked three times as fast as by the standard library.
fn utf_8(bytes: &[u8]) -> Option<Cow<'_, str>> {
    UTF_8.decode_without_bom_handling_and_without_replacement(bytes)
}

fn is_utf_16(encoding: &'static Encoding) -> bool {
    encoding == UTF_16BE || encoding == UTF_16LE
}

fn with<'a>(encoding: &'static Encoding, bytes: &'a [u8]) -> Text<'a> {
    if encoding == UTF_8
        && let Some(text) = utf_8(bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes))
    {
        return Text { text, encoding: encoding.name(), warnings: Vec::new() };
    }
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut text = String::with_capacity(room(encoding, bytes) + 64);
    let (mut rest, mut broken) = (bytes, false);
    loop {
        let (result, read, errors) = decoder.decode_to_string(rest, &mut text, true);
        broken |= errors;
        rest = &rest[read..];
        match result {
            CoderResult::InputEmpty => break,
            CoderResult::OutputFull => text.reserve_exact(rest.len() + rest.len() / 2 + 64),
        }
    }
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    let warnings = if broken { vec![Warning::InvalidBytes] } else { Vec::new() };
    Text { text: Cow::Owned(text), encoding: encoding.name(), warnings }
}

/// About how long the text will be, in bytes: the most that it can be is three times as much.
fn room(encoding: &'static Encoding, bytes: &[u8]) -> usize {
    let wide = bytes.iter().filter(|b| !b.is_ascii()).count();
    if is_utf_16(encoding) {
        bytes.len() / 2 + wide
    } else if encoding == UTF_8 {
        bytes.len() + bytes.len() / 16
    } else if encoding.is_single_byte() {
        bytes.len() + wide
    } else {
        bytes.len() + wide / 2
    }
}

/// Whether most of the sequences that are not ASCII are valid UTF-8.
fn mostly_utf_8(bytes: &[u8]) -> bool {
    let (mut good, mut bad) = (0usize, 0usize);
    for chunk in bytes.utf8_chunks() {
        good += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        bad += usize::from(!chunk.invalid().is_empty());
    }
    good > bad
}

/// Whether the bytes can be a Western European language in windows-1252: an accented letter now and then
/// among plain ones. Runs of them are another encoding, which nobody named: better seen to be broken than
/// read as something else.
fn looks_western(bytes: &[u8]) -> bool {
    let (mut alone, mut together) = (0usize, 0usize);
    for run in bytes.chunk_by(|a, b| a.is_ascii() == b.is_ascii()).filter(|run| !run[0].is_ascii()) {
        if run.len() <= 2 {
            alone += 1;
        } else {
            together += 1;
        }
    }
    alone > 4 * together
}

/// The charset parameter of a Content-Type.
fn charset(content_type: &str) -> Option<&'static Encoding> {
    let lower = content_type.to_ascii_lowercase();
    let at = lower.find("charset=")? + "charset=".len();
    let label = lower[at..].trim_start_matches(['"', '\'', ' ']);
    let end = label.find(['"', '\'', ';', ' ', ',']).unwrap_or(label.len());
    Encoding::for_label(&label.as_bytes()[..end])
}

/// The encoding that the XML declaration names, junk before it allowed.
fn declaration(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = &bytes[..bytes.len().min(HEAD)];
    let start = memchr::memmem::find(head, b"<?xml")?;
    let end = start + memchr::memmem::find(&head[start..], b"?>")?;
    let text = &head[start..end];
    let at = memchr::memmem::find(text, b"encoding")? + "encoding".len();
    let value = text[at..].trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
    let value = value.strip_prefix(b"\"").or_else(|| value.strip_prefix(b"'")).unwrap_or(value);
    let end = value.iter().position(|b| matches!(b, b'"' | b'\'' | b' ' | b'?')).unwrap_or(value.len());
    Encoding::for_label(&value[..end])
}

/// UTF-16 without a mark: every other byte of the first characters is zero.
fn utf_16(bytes: &[u8]) -> Option<&'static Encoding> {
    match bytes.get(..4)? {
        [0, a, 0, b] if *a != 0 && *b != 0 => Some(UTF_16BE),
        [a, 0, b, 0] if *a != 0 && *b != 0 => Some(UTF_16LE),
        _ => None,
    }
}

/// UTF-32, which the WHATWG list lacks: whether it is big-endian, and the length of its mark.
fn utf_32(bytes: &[u8]) -> Option<(bool, usize)> {
    match bytes.get(..4)? {
        [0, 0, 0xfe, 0xff] => Some((true, 4)),
        [0xff, 0xfe, 0, 0] => Some((false, 4)),
        [0, 0, 0, a] if *a != 0 => Some((true, 0)),
        [a, 0, 0, 0] if *a != 0 => Some((false, 0)),
        _ => None,
    }
}

fn utf_32_text(bytes: &[u8], big: bool) -> Text<'static> {
    let mut broken = !bytes.len().is_multiple_of(4);
    let mut text = String::with_capacity(bytes.len() / 4);
    for unit in bytes.as_chunks::<4>().0 {
        let code = if big { u32::from_be_bytes(*unit) } else { u32::from_le_bytes(*unit) };
        text.push(char::from_u32(code).unwrap_or_else(|| {
            broken = true;
            char::REPLACEMENT_CHARACTER
        }));
    }
    let warnings = if broken { vec![Warning::InvalidBytes] } else { Vec::new() };
    Text { text: Cow::Owned(text), encoding: if big { "UTF-32BE" } else { "UTF-32LE" }, warnings }
}
