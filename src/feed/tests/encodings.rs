use encoding_rs::{ISO_8859_2, SHIFT_JIS, WINDOWS_1251};

use super::*;

fn feed(declared: &str, title: &str) -> String {
    format!(
        "<?xml version=\"1.0\"{declared}?><rss version=\"2.0\"><channel><item><title>{title}</title>\
         <guid>1</guid></item></channel></rss>"
    )
}

fn check(bytes: &[u8], hints: &Hints<'_>, due: &str, encoding: &str) {
    let read = parse(bytes, hints).unwrap();
    assert_eq!((titles(&read), read.encoding.as_str()), (vec![due], encoding));
}

#[test]
fn the_declared_encoding_is_obeyed() {
    let text = feed(" encoding=\"windows-1251\"", "Привет");
    check(&WINDOWS_1251.encode(&text).0, &Hints::default(), "Привет", "windows-1251");
    let text = feed(" encoding='Shift_JIS'", "日本語");
    check(&SHIFT_JIS.encode(&text).0, &Hints::default(), "日本語", "shift_jis");
}

#[test]
fn valid_utf_8_is_utf_8_whatever_its_label() {
    for label in ["iso-8859-1", "windows-1251", "utf-16", "nonsense"] {
        let text = feed(&format!(" encoding=\"{label}\""), "Käse 日本");
        check(text.as_bytes(), &Hints::default(), "Käse 日本", "utf-8");
    }
}

#[test]
fn the_header_speaks_before_the_document_and_the_operator_before_both() {
    let bytes = WINDOWS_1251.encode(&feed(" encoding=\"iso-8859-1\"", "Привет")).0.into_owned();
    let header = Hints { content_type: Some("text/xml; Charset=\"windows-1251\""), ..Hints::default() };
    check(&bytes, &header, "Привет", "windows-1251");
    let wrong = Hints { content_type: Some("text/xml; charset=iso-8859-1"), encoding: Some(WINDOWS_1251), ..header };
    check(&bytes, &wrong, "Привет", "windows-1251");
    let bytes = ISO_8859_2.encode(&feed("", "Žluť")).0.into_owned();
    let header = Hints { content_type: Some("application/rss+xml;charset=iso-8859-2"), ..Hints::default() };
    check(&bytes, &header, "Žluť", "iso-8859-2");
}

#[test]
fn wide_encodings_are_told_with_and_without_a_mark() {
    let text = feed("", "é日");
    let wide = |unit: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(unit).collect::<Vec<u8>>();
    let wider = |unit: fn(u32) -> [u8; 4]| text.chars().flat_map(|c| unit(c.into())).collect::<Vec<u8>>();
    for (mark, bytes, encoding) in [
        (&[0xff, 0xfe][..], wide(u16::to_le_bytes), "utf-16le"),
        (&[0xfe, 0xff], wide(u16::to_be_bytes), "utf-16be"),
        (&[0xff, 0xfe, 0, 0], wider(u32::to_le_bytes), "utf-32le"),
        (&[0, 0, 0xfe, 0xff], wider(u32::to_be_bytes), "utf-32be"),
    ] {
        check(&bytes, &Hints::default(), "é日", encoding);
        check(&[mark, &bytes].concat(), &Hints::default(), "é日", encoding);
    }
}

#[test]
fn bytes_that_are_not_valid_are_replaced_and_warned_of() {
    let bytes = [feed(" encoding=\"utf-8\"", "日本").as_bytes(), b"\xff\xff\n"].concat();
    let read = parse(&bytes, &Hints::default()).unwrap();
    assert_eq!(titles(&read), ["日本"]);
    assert_eq!(read.warnings, [Warning::InvalidBytes]);
}

#[test]
fn bytes_that_are_not_the_utf_8_they_are_said_to_be_are_western_where_they_look_like_it() {
    let said = |text: &str| feed(" encoding=\"utf-8\"", text);
    let bytes = encoding_rs::WINDOWS_1252.encode(&said("où l’été")).0.into_owned();
    check(&bytes, &Hints::default(), "où l’été", "windows-1252");
    let bytes = encoding_rs::KOI8_R.encode(&said("Привет")).0.into_owned();
    check(&bytes, &Hints::default(), "\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}", "utf-8");
}

#[test]
fn a_document_of_which_nobody_says_anything_is_utf_8_unless_the_operator_knows_better() {
    let bytes = encoding_rs::WINDOWS_1252.encode(&feed("", "où l’été")).0.into_owned();
    check(&bytes, &Hints::default(), "o\u{fffd} l\u{fffd}\u{fffd}t\u{fffd}", "utf-8");
    let served = Hints { content_type: Some("text/xml; charset=iso-8859-1"), ..Hints::default() };
    check(&bytes, &served, "où l’été", "windows-1252");
    let told = Hints { encoding: Some(encoding_rs::WINDOWS_1252), ..Hints::default() };
    check(&bytes, &told, "où l’été", "windows-1252");
}

#[test]
fn references_to_windows_1252_controls_are_what_they_were_meant_to_be() {
    assert_eq!(title("it&#146;s &#x97;"), "it’s —");
}
