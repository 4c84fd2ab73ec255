//! What reading a document takes of memory: at most three times the document, by a poll, whatever it is written
//! in; and for all its items at once three times its text.
//!
//! A program of its own, as the allocator that counts is the whole program's.

use std::{
    borrow::Cow,
    env, fs,
    path::{Path, PathBuf},
};

use encoding_rs::{WINDOWS_1251, WINDOWS_1252};
use kawaraban::feed::{self, Hints};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The most that `read` takes at once, in bytes.
fn peak(read: impl FnOnce()) -> usize {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    read();
    MEMORY.peak_usage() - before
}

/// Reads as a poll does: all entries, then one whole item after the other.
fn poll(bytes: &[u8]) {
    let Ok(text) = feed::decode(bytes, &Hints::default()) else { return };
    let Ok(document) = feed::read(&text, &Hints::default()) else { return };
    document.entries.iter().filter_map(feed::Entry::item).for_each(drop);
}

/// What a document may take that holds next to nothing.
const LEAST: usize = 64 << 10;

/// Reads the document both ways; prints its size and how many times that each took.
fn check(name: &str, bytes: &[u8]) {
    let text = feed::decode(bytes, &Hints::default()).unwrap().text;
    // a letter of one byte in an older encoding has two or three in ours, and the text is a copy
    let (size, copy) = match &text {
        Cow::Borrowed(_) => (bytes.len(), 0),
        Cow::Owned(text) => (text.len().max(bytes.len()), text.len()),
    };
    let polled = peak(|| poll(bytes));
    let whole = peak(|| drop(feed::parse(bytes, &Hints::default())));
    let times = |peak: usize| peak as f64 / bytes.len() as f64;
    println!("{name:40} {:9} {:.2} {:.2}", bytes.len(), times(polled), times(whole));
    assert!(polled <= 3 * bytes.len() + LEAST, "{name}: {polled} bytes for {}", bytes.len());
    assert!(whole <= 3 * size + copy + LEAST, "{name}: {whole} bytes for all of {}", bytes.len());
}

#[test]
fn reading_takes_at_most_three_times_the_document() {
    let text = "Nobody had told them what to expect there, \u{2014} and so they went. Никто их не предупредил. ";
    let item = |n: usize, text: &str| {
        format!(
            "<item><title>What was found at place {n}</title><link>https://news.example/{n}</link>\
             <guid>https://news.example/?p={n}</guid><pubDate>Tue, 24 Nov 2026 10:00:00 GMT</pubDate>\
             <description>&lt;p&gt;{text}&lt;/p&gt;</description></item>"
        )
    };
    let feed = |declared: &str, count: usize, times: usize| {
        let items: String = (0..count).map(|n| item(n, &text.repeat(times))).collect();
        format!(
            "<?xml version=\"1.0\"{declared}?><rss version=\"2.0\"><channel><title>T</title>{items}</channel></rss>"
        )
    };
    let short = feed("", 2000, 1);
    let long = feed("", 100, 100);
    let huge = feed("", 1, 50_000);
    let russian = feed(" encoding=\"windows-1251\"", 500, 5);
    let western = feed(" encoding=\"windows-1252\"", 500, 5).replace("Никто их не предупредил", "Où est l’été");
    let wide: Vec<u8> = long.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let json: String =
        (0..500).map(|n| format!(r#"{{"id":"{n}","title":"t","content_html":"{}"}},"#, text.repeat(5))).collect();
    let json = format!(r#"{{"version":"https://jsonfeed.org/version/1.1","items":[{}]}}"#, json.trim_end_matches(','));
    for (name, bytes) in [
        ("short items", short.as_bytes()),
        ("long items", long.as_bytes()),
        ("one huge item", huge.as_bytes()),
        ("windows-1251", &WINDOWS_1251.encode(&russian).0),
        ("windows-1252", &WINDOWS_1252.encode(&western).0),
        ("UTF-16", &wide),
        ("JSON", json.as_bytes()),
    ] {
        check(name, bytes);
    }

    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let corpus = env::var_os("KAWARABAN_CORPUS").map_or_else(beside, PathBuf::from).join("feeds/real");
    let Ok(files) = fs::read_dir(&corpus) else {
        println!("skipped: the real feeds, as there is no corpus at ../shared/corpus or $KAWARABAN_CORPUS");
        return;
    };
    for file in files.map(Result::unwrap) {
        check(&file.file_name().to_string_lossy(), &fs::read(file.path()).unwrap());
    }
}
