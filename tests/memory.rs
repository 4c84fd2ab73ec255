//! What reading a document takes of memory: at most three times the document, by a poll, whatever it is written
//! in; and for all its items at once three times its text.
//!
//! A program of its own, as the allocator that counts is the whole program's.

use std::{
    borrow::Cow,
    env, fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use encoding_rs::{WINDOWS_1251, WINDOWS_1252};
use kawaraban::{
    feed::{self, Hints},
    page::{Given, article, rules::Enrich},
};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The counts are the whole program's: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

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
    document.entries.iter().filter_map(|entry| entry.item().ok().flatten()).for_each(drop);
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

/// What 4,900 items take that say next to nothing, and what may be derived of any document, in bytes.
const ALLOWANCE: usize = 8 << 20;

/// Documents whose shared values would fill the memory if each item had its own copy.
fn multiplying() -> Vec<(&'static str, String)> {
    let path = "x".repeat(1_900);
    let atom = |attributes: &str, head: &str, entries: String| {
        format!("<feed xmlns=\"http://www.w3.org/2005/Atom\" {attributes}>{head}{entries}</feed>")
    };
    let json = |head: &str, item: &str| {
        let items = vec![item; 4_900].join(",");
        format!(r#"{{"version":"https://jsonfeed.org/version/1.1",{head}"items":[{items}]}}"#)
    };
    let entry = "<entry><id>a</id><link href=\"b\"/></entry>";
    let author = format!("<author><name>{}</name></author>", "a".repeat(1_000));
    let authors = vec![format!(r#"{{"name":"{}"}}"#, "a".repeat(40_000)); 50].join(",");
    let tags = (10..90).map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(",");
    let item = |inside: &str| format!("<rss version=\"2.0\"><channel>{}</channel></rss>", inside.repeat(4_900));
    let images = "<enclosure url=\"a\"/>".repeat(60);
    let words = "a,".repeat(400_000);
    vec![
        ("xml:base", atom(&format!("xml:base=\"http://e.org/{path}/\""), "", entry.repeat(4_900))),
        (
            "xml:base of 40 kB",
            atom(&format!("xml:base=\"http://e.org/{}/\"", path.repeat(20)), "", entry.repeat(4_900)),
        ),
        (
            "xml:base of each",
            atom(
                &format!("xml:base=\"http://e.org/{path}/\""),
                "",
                "<entry xml:base=\"c/\"><id>a</id></entry>".repeat(4_900),
            ),
        ),
        ("authors of a feed", atom("", &author.repeat(20), entry.repeat(4_900))),
        ("authors of a JSON Feed", json(&format!(r#""authors":[{authors}],"#), r#"{"id":"1","title":"t"}"#)),
        ("tags", json("", &format!(r#"{{"id":"1","title":"t","tags":[{tags}]}}"#))),
        (
            "attachments",
            json("", &format!(r#"{{"id":"1","title":"t","attachments":[{}]}}"#, vec![r#"{"url":"a"}"#; 55].join(","))),
        ),
        ("attached files", item(&format!("<item><title>t</title>{images}</item>"))),
        (
            "signs that grow",
            item(&format!(
                "<item><title>t</title><description type=\"text\"><![CDATA[{}]]></description></item>",
                "&".repeat(500)
            )),
        ),
        (
            "keywords",
            format!(
                "<rss version=\"2.0\" xmlns:media=\"http://search.yahoo.com/mrss/\"><channel><item><title>t</title><media:keywords>{words}</media:keywords></item></channel></rss>"
            ),
        ),
        (
            "entities",
            format!(
                "<!DOCTYPE rss [<!ENTITY a \"{}\">]><rss version=\"2.0\"><channel>{}</channel></rss>",
                "a".repeat(1_000),
                "<item><title>&a;&a;&a;</title><guid>&a;</guid></item>".repeat(4_900)
            ),
        ),
    ]
}

#[test]
fn what_one_place_says_for_many_items_does_not_fill_the_memory() {
    let _alone = alone();
    let base = format!("http://e.org/{}/", "x".repeat(1_900)).parse().unwrap();
    for (name, document) in multiplying() {
        for base in [None, Some(&base)] {
            let hints = Hints { base, ..Hints::default() };
            let whole = peak(|| drop(feed::parse(document.as_bytes(), &hints)));
            println!("{name:40} {:9} {:.2}", document.len(), whole as f64 / document.len() as f64);
            // what is kept of each item, what is derived, and one copy on the way
            assert!(whole <= 5 * document.len() + ALLOWANCE, "{name}: {whole} bytes for {}", document.len());
        }
    }
    let rules = Enrich {
        timeout: None,
        verify_image: false,
        image: None,
        summary: None,
        author: None,
        published: None,
        video: None,
    };
    let url = "https://news.example/a".parse().unwrap();
    let references = vec![r##"{"@id":"#a"}"##; 2_000].join(",");
    let name = "a".repeat(400_000);
    for page in [
        (0..60_000).map(|n| format!("<meta name=author content='Ann {n}'>")).collect::<String>(),
        format!(
            r##"<script type="application/ld+json">[{{"@type":"Article","author":[{references}],"image":[{references}]}},{{"@id":"#a","name":"{name}","url":"{name}"}}]</script>"##
        ),
    ] {
        let given = Given {
            content_type: None,
            encoding: None,
            url: &url,
            may_be_empty: true,
            before: None,
            expired: &|| false,
        };
        let taken = peak(|| drop(article::read(page.as_bytes(), &rules, &given)));
        println!("{:40} {:9} {:.2}", "a page", page.len(), taken as f64 / page.len() as f64);
        assert!(taken <= 60 << 20, "{taken} bytes for {}", page.len());
    }
}

#[test]
fn reading_takes_at_most_three_times_the_document() {
    let _alone = alone();
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
