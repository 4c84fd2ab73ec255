//! Bytes to text for HTML and JSON.
//!
//! In order: what the operator set; a byte order mark, or a first sign in two bytes; bytes that are valid UTF-8, whatever the page says;
//! the HTTP charset; `<meta>` (WHATWG HTML, "prescan a byte stream"); what the bytes look like. Bytes that
//! are not valid become U+FFFD.

use std::borrow::Cow;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use memchr::memmem;

/// How far into the page a `<meta>` is looked for, in bytes.
const HEAD: usize = 1024;

/// Decodes a document. `content_type` is the answer's, `fixed` the operator's word.
pub fn decode<'a>(bytes: &'a [u8], content_type: Option<&str>, fixed: Option<&'static Encoding>) -> Cow<'a, str> {
    let marked = || Encoding::for_bom(bytes).map(|(encoding, _)| encoding).or_else(|| wide(bytes));
    let encoding = match (fixed, marked()) {
        (Some(fixed), _) => fixed,
        (None, Some(encoding)) => encoding,
        (None, None) => match std::str::from_utf8(bytes) {
            Ok(text) if !bytes.is_ascii() || !text.contains('\u{1b}') => return Cow::Borrowed(text),
            Ok(_) | Err(_) => declared(bytes, content_type).unwrap_or_else(|| guessed(bytes)),
        },
    };
    encoding.decode(bytes).0
}

/// UTF-16 without a mark: how a document begins, with its zeros.
fn wide(bytes: &[u8]) -> Option<&'static Encoding> {
    match bytes {
        [0, b'<' | b'{' | b'[', ..] => Some(UTF_16BE),
        [b'<' | b'{' | b'[', 0, ..] => Some(UTF_16LE),
        _ => None,
    }
}

fn declared(bytes: &[u8], content_type: Option<&str>) -> Option<&'static Encoding> {
    content_type.and_then(|value| charset(value.as_bytes())).or_else(|| meta(bytes)).map(|encoding| {
        // a page that says so in ASCII is not in UTF-16
        if encoding == UTF_16BE || encoding == UTF_16LE { UTF_8 } else { encoding }
    })
}

/// The encoding named after `charset=`.
fn charset(text: &[u8]) -> Option<&'static Encoding> {
    let lower = text.to_ascii_lowercase();
    let at = memmem::find(&lower, b"charset")? + b"charset".len();
    let value = lower.get(at..)?.trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
    let value = value.strip_prefix(b"\"").or_else(|| value.strip_prefix(b"'")).unwrap_or(value);
    let end = value.iter().position(|byte| b"\"';> \t\r\n/".contains(byte)).unwrap_or(value.len());
    Encoding::for_label(value.get(..end)?)
}

fn meta(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = &bytes[..bytes.len().min(HEAD)];
    let lower = head.to_ascii_lowercase();
    memmem::find_iter(&lower, b"<meta").find_map(|at| {
        let tag = &head[at..];
        charset(&tag[..tag.iter().position(|byte| *byte == b'>').unwrap_or(tag.len())])
    })
}

fn guessed(bytes: &[u8]) -> &'static Encoding {
    // a few bytes that a careless cut left behind make no other encoding of it
    let (mut valid, mut invalid) = (0, 0);
    for chunk in bytes.utf8_chunks() {
        valid += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        invalid += usize::from(!chunk.invalid().is_empty());
    }
    if valid > 4 * invalid {
        return UTF_8;
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
    detector.feed(bytes, true);
    let guess = detector.guess(None, Utf8Detection::Allow);
    if guess == UTF_8 && std::str::from_utf8(bytes).is_err() && bytes.utf8_chunks().count() > 16 {
        return WINDOWS_1252;
    }
    guess
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_is_what_is_said_where_that_can_be_true() {
        let plain = |bytes: &[u8], content_type| decode(bytes, content_type, None).into_owned();
        let sjis = encoding_rs::SHIFT_JIS.encode("<meta charset=shift_jis>名探偵コナン").0.into_owned();
        assert!(plain(&sjis, None).ends_with("名探偵コナン"));
        assert!(plain(&sjis[24..], Some("text/html; charset=Shift_JIS")).ends_with("名探偵コナン"));
        assert_eq!(plain("é".as_bytes(), Some("text/html; charset=iso-8859-1")), "é");
        assert_eq!(plain(b"\xef\xbb\xbfok", None), "ok");
        assert_eq!(plain(b"\xff\xfeo\0k\0", None), "ok");
        let meta = b"<meta http-equiv=Content-Type content=\"text/html; charset=windows-1251\"><p>\xcf\xf0\xe8";
        assert!(plain(meta, None).ends_with("При"));
        assert_eq!(decode(b"\xe9", None, Some(WINDOWS_1252)), "é");
    }

    #[test]
    fn what_is_not_said_is_told_from_the_bytes() {
        let text = "Der Müller mahlt das Mehl für die Bäcker, und die größten Öfen glühen schön.";
        let bytes = WINDOWS_1252.encode(text).0;
        assert_eq!(decode(&bytes, None, None), text);
        let utf_8 = "名探偵コナンのニュース, cut ".repeat(9);
        let cut = [utf_8.as_bytes(), &"名".as_bytes()[..2], b"<p>"].concat();
        assert_eq!(decode(&cut, None, None), format!("{utf_8}\u{fffd}<p>"));
        let wide: Vec<u8> = "<p>é".encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(decode(&wide, Some("text/html; charset=utf-16be"), None), "<p>é");
        let wide: Vec<u8> = "[\"a\"]".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(decode(&wide, None, None), "[\"a\"]");
        let jis = encoding_rs::ISO_2022_JP.encode("名探偵コナンのニュース").0;
        assert_eq!(decode(&jis, None, None), "名探偵コナンのニュース");
    }
}
