//! Feeds cut anywhere, with a byte changed, one after another: handled, whatever comes of it, and in a time
//! that their length bounds.
//!
//! Over feeds of our own, and over the corpus where there is one (see `corpus.rs`).

use std::{env, fs, path::Path, time::Duration};

use kawaraban::{
    feed::{self, Error, Hints, OwnedDocument},
    identity,
};
use proptest::{prelude::*, sample::Index, test_runner::TestRunner};
use rustix::time::{ClockId, clock_gettime};

use super::corpus;

/// What this thread has used of a processor.
fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap()
}

/// Reads the bytes in all ways that a poll does.
fn handled(bytes: &[u8]) -> Result<OwnedDocument, Error> {
    let start = cpu_time();
    let hints = Hints::default();
    let read = feed::parse(bytes, &hints);
    if let Ok(text) = feed::decode(bytes, &hints)
        && let Ok(document) = feed::read(&text, &hints)
    {
        let keys = identity::keys(document.entries.iter().filter_map(feed::Entry::facts));
        assert_eq!(keys.len(), document.entries.len());
        let items = document.entries.iter().filter_map(|entry| entry.item().ok().flatten()).count();
        assert_eq!(items, read.as_ref().unwrap().items.len());
    }
    // two hundred times what an unoptimised build needs for an ordinary feed: more is no longer linear
    let bound = Duration::from_secs(2) + Duration::from_micros(20) * u32::try_from(bytes.len()).unwrap();
    let took = cpu_time() - start;
    assert!(took < bound, "{took:?} for {} bytes", bytes.len());
    read
}

/// Feeds of our own, one of each kind.
fn own() -> Vec<Vec<u8>> {
    let rss = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE rss [<!ENTITY hi \"Hello\">]>\n\
        <rss version=\"2.0\" xmlns:media=\"http://search.yahoo.com/mrss/\" xmlns:dc=\"http://purl.org/dc/elements/1.1/\">\n\
        <channel><title>T &amp; U</title><link>https://e.org/</link><ttl>60</ttl>\n\
        <item><title>&hi; 日本 &nbsp;</title><link>https://e.org/1?a=1&amp;b=2</link><guid isPermaLink=\"false\">1</guid>\
        <pubDate>Tue, 24 Nov 2026 10:00:00 JST</pubDate><dc:creator><![CDATA[A & B]]></dc:creator>\
        <description><![CDATA[<p>x <img src=\"https://e.org/i.png\"> ]]]]><![CDATA[></p>]]></description>\
        <enclosure url=\"https://e.org/a.mp3\" length=\"5\" type='audio/mpeg'/></item>\n\
        <!-- <item> --><item><title>b</title><media:group><media:content url=\"https://e.org/l.jpg\" medium=\"image\"/>\
        </media:group><pubDate>2026年11月24日</pubDate></item></channel></rss>\n";
    let atom = "\u{feff}<feed xmlns=\"http://www.w3.org/2005/Atom\" xml:base=\"https://e.org/a/\"><title type=\"html\">F &amp;amp; G\
        </title><entry xml:base=\"b/\"><title type=\"xhtml\"><div xmlns=\"http://www.w3.org/1999/xhtml\">a <b>b</b></div></title>\
        <link rel=\"alternate\" href=\"1\"/><id>urn:1</id><updated>2026-11-24T10:00:00.5+09:00</updated>\
        <content type=\"xhtml\"><div xmlns=\"http://www.w3.org/1999/xhtml\"><p>c</p></div></content></entry></feed>";
    let rdf = "<?xml version='1.0' encoding='iso-8859-1'?><rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\" \
        xmlns=\"http://purl.org/rss/1.0/\"><channel rdf:about=\"https://e.org\"><title>R</title></channel>\
        <item rdf:about=\"https://e.org/1\"><title>\u{fc}ber</title></item></rdf:RDF>";
    let json = r#"{"version":"https://jsonfeed.org/version/1.1","title":"J","items":[{"id":1,"title":"a \ud83d\ude00",
        "content_html":"<p>x</p>","tags":["t",null],"attachments":[{"url":"https://e.org/a","size_in_bytes":1}]},{"id":"2"}]}"#;
    let latin: Vec<u8> = rdf.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    let wide: Vec<u8> = rss.encode_utf16().flat_map(u16::to_be_bytes).collect();
    vec![rss.into(), atom.into(), latin, json.into(), wide]
}

/// All feeds there are, those of the corpus too.
fn all() -> Vec<Vec<u8>> {
    let mut feeds = own();
    let Some(place) = corpus::place() else {
        println!("skipped: the corpus's feeds, as there are none at ../shared/corpus or $KAWARABAN_CORPUS");
        return feeds;
    };
    let mut folders = vec![place.join("feeds")];
    while let Some(folder) = folders.pop() {
        let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            if path.is_dir() { folders.push(path) } else { feeds.extend(read(&path)) }
        }
    }
    feeds
}

/// The file, unless it is so large that one takes the time of a hundred others.
fn read(path: &Path) -> Option<Vec<u8>> {
    Some(fs::read(path).unwrap()).filter(|bytes| bytes.len() <= 200_000)
}

/// How many damaged feeds are tried of each kind.
fn cases() -> u32 {
    env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2000)
}

fn check(
    strategy: impl Strategy<Value = (Index, Index, Index)>,
    damage: impl Fn(&[Vec<u8>], Index, Index, Index) -> Vec<u8>,
) {
    let feeds = all();
    let mut runner =
        TestRunner::new(ProptestConfig { cases: cases(), failure_persistence: None, ..Default::default() });
    let outcome = runner.run(&strategy, |(a, b, c)| {
        let _ = handled(&damage(&feeds, a, b, c));
        Ok(())
    });
    outcome.unwrap();
}

fn three() -> impl Strategy<Value = (Index, Index, Index)> {
    (any::<Index>(), any::<Index>(), any::<Index>())
}

#[test]
fn any_prefix_of_ours_gives_the_items_before_the_cut() {
    for feed in own() {
        let whole = handled(&feed).unwrap();
        for end in 0..feed.len() {
            let Ok(cut) = handled(&feed[..end]) else { continue };
            assert!(cut.items.len() <= whole.items.len(), "{end}");
            for (item, due) in cut.items.iter().zip(&whole.items) {
                assert_eq!((&item.id, &item.title, &item.link), (&due.id, &due.title, &due.link), "{end}");
            }
        }
    }
}

#[test]
fn a_flipped_bit_in_any_byte_of_ours_is_handled() {
    for feed in own() {
        for at in 0..feed.len() {
            // one after the other, and the one that makes a byte no ASCII
            for bit in [at % 7, 7] {
                let mut flipped = feed.clone();
                flipped[at] ^= 1 << bit;
                let _ = handled(&flipped);
            }
        }
    }
}

#[test]
fn any_prefix_is_handled() {
    check(three(), |feeds, feed, end, _| {
        let feed = feed.get(feeds);
        feed[..end.index(feed.len() + 1)].to_vec()
    });
}

#[test]
fn any_flipped_byte_is_handled() {
    check(three(), |feeds, feed, at, byte| {
        let mut feed = feed.get(feeds).clone();
        if !feed.is_empty() {
            let at = at.index(feed.len());
            feed[at] = byte.index(256) as u8;
        }
        feed
    });
}

#[test]
fn any_concatenation_is_handled() {
    check(three(), |feeds, first, second, end| {
        let first = first.get(feeds);
        [&first[..end.index(first.len() + 1)], second.get(feeds).as_slice()].concat()
    });
}
