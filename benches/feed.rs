//! What reading feeds costs, beside feed-rs and beside the bare events of quick-xml in the same run.
//!
//! `cargo bench --bench feed`. The feeds are those of `$KAWARABAN_CORPUS` or `../shared/corpus` (its
//! `feeds/real`); where there are none, some are made up, and the output says so. "Whole extraction" gives
//! every item as a value of its own; the bare loop decodes and reads events to the end, and keeps nothing.
//! Times are those of the processor. Each figure of the tables is the best of all samples, document by document, as
//! whatever else the machine does only adds to one.
//!
//! Behind criterion's own report stand the tables: speed and ratios; growth with the size; and what documents
//! made to be slow cost a byte, beside a plain feed.

use std::{
    cell::RefCell,
    env,
    fmt::Write as _,
    fs,
    hint::black_box,
    panic,
    path::{Path, PathBuf},
    time::Duration,
};

use criterion::{BenchmarkId, Criterion, Throughput};
use kawaraban::feed::{self, Hints};
use quick_xml::{Reader, events::Event};
use rustix::time::{ClockId, clock_gettime};

fn main() {
    // feed-rs can panic; what it does with a feed that is not of our making is its own affair
    panic::set_hook(Box::new(|_| {}));
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20)
        .configure_from_args();
    let best = RefCell::new(Vec::new());
    peers(&mut criterion, &best);
    growth(&mut criterion, &best);
    hostile(&mut criterion, &best);
    criterion.final_summary();
}

/// The best time of each benchmark, by its name.
type Best = RefCell<Vec<(String, Duration)>>;

fn time_of(best: &Best, name: &str) -> Option<f64> {
    best.borrow().iter().find(|(known, _)| known == name).map(|(_, time)| time.as_secs_f64())
}

/// What this thread has used of a processor.
fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// One benchmark over some documents. The sum of each one's best time is remembered.
fn measure(
    criterion: &mut Criterion,
    best: &Best,
    group: &str,
    name: &str,
    documents: &[impl AsRef<[u8]>],
    run: impl Fn(&[u8]),
) {
    let mut group = criterion.benchmark_group(group);
    let bytes: usize = documents.iter().map(|document| document.as_ref().len()).sum();
    group.throughput(Throughput::Bytes(bytes as u64));
    let mut each = vec![Duration::MAX; documents.len()];
    group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
        bencher.iter_custom(|times| {
            let mut all = Duration::ZERO;
            for _ in 0..times {
                for (document, least) in documents.iter().zip(&mut each) {
                    let start = cpu_time();
                    run(document.as_ref());
                    let time = cpu_time().saturating_sub(start);
                    *least = time.min(*least);
                    all += time;
                }
            }
            all
        });
    });
    group.finish();
    // nothing ran where a filter on the command line left it out
    if each.iter().all(|time| *time < Duration::MAX) {
        best.borrow_mut().push((name.to_owned(), each.iter().sum()));
    }
}

fn whole(bytes: &[u8]) {
    let _ = black_box(feed::parse(black_box(bytes), &Hints::default()));
}

fn by_feed_rs(bytes: &[u8]) -> bool {
    panic::catch_unwind(|| black_box(feed_rs::parser::parse(black_box(bytes))).is_ok()).unwrap_or(false)
}

/// Decodes, and reads the events to the end.
fn bare(bytes: &[u8]) {
    let Ok(text) = feed::decode(black_box(bytes), &Hints::default()) else { return };
    let mut reader = Reader::from_str(&text.text);
    let config = reader.config_mut();
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    config.allow_dangling_amp = true;
    while !matches!(black_box(reader.read_event()), Ok(Event::Eof) | Err(_)) {}
}

fn peers(criterion: &mut Criterion, best: &Best) {
    let corpus = real();
    let (what, feeds) = match &corpus[..] {
        [] => ("made-up feeds (there is no corpus here)", made_up()),
        _ => ("real feeds", corpus),
    };
    let bytes: usize = feeds.iter().map(Vec::len).sum();
    let refused = feeds.iter().filter(|feed| !by_feed_rs(feed)).count();
    let ours = feeds.iter().filter(|feed| feed::parse(feed, &Hints::default()).is_err()).count();
    let names = ["whole extraction", "feed-rs", "bare events"];
    measure(criterion, best, "feeds", names[0], &feeds, whole);
    measure(criterion, best, "feeds", names[1], &feeds, |feed| _ = by_feed_rs(feed));
    measure(criterion, best, "feeds", names[2], &feeds, bare);
    let Some(times) = names.iter().map(|name| time_of(best, name)).collect::<Option<Vec<_>>>() else { return };
    println!("\n{} {what}, {:.1} MB, one thread", feeds.len(), bytes as f64 / 1e6);
    println!("{:<20} {:>8} {:>14} {:>10}", "", "MB/s", "of our speed", "refused");
    for (name, (time, refused)) in names.iter().zip(times.iter().zip([ours, refused, 0])) {
        println!("{name:<20} {:>8.0} {:>14.2} {refused:>10}", bytes as f64 / time / 1e6, times[0] / time);
    }
    println!();
}

fn growth(criterion: &mut Criterion, best: &Best) {
    let mut table = String::new();
    for size in [10_000, 100_000, 1_000_000, 8_000_000] {
        let feed = plain(size);
        let name = format!("{size} bytes");
        measure(criterion, best, "growth", &name, &[&feed], whole);
        if let Some(time) = time_of(best, &name) {
            let each = time * 1e9 / feed.len() as f64;
            writeln!(table, "{:>28} {each:>8.2} {:>7.0}", feed.len(), 1e3 / each).unwrap();
        }
    }
    if !table.is_empty() {
        println!("\n{:>28} {:>8} {:>7}\n{table}", "a plain feed of bytes", "ns/byte", "MB/s");
    }
}

fn hostile(criterion: &mut Criterion, best: &Best) {
    const MILLION: usize = 1_000_000;
    let item = |inside: &str| format!("<rss version=\"2.0\"><channel><item>{inside}</item></channel></rss>");
    let many = |what: &str| what.repeat(MILLION);
    let attributes: String = (0..MILLION).fold(String::new(), |mut all, n| {
        write!(all, " a{n}=\"x\"").unwrap();
        all
    });
    let long = "x".repeat(5_000_000);
    let documents = [
        ("a plain feed", String::from_utf8(plain(5_000_000)).unwrap()),
        ("nested elements, closed", item(&format!("<title>{}{}</title>", many("<b>"), many("</b>")))),
        ("nested elements, open", item(&many("<b>"))),
        ("nested around the feed", format!("{}{}", many("<b>"), item("<title>x</title>"))),
        ("nested items", many("<item>")),
        ("nested descriptions", item(&many("<description>"))),
        ("attributes of an item", item("").replace("<item", &format!("<item{attributes}"))),
        ("attributes of a link", item(&format!("<link{attributes}/>"))),
        ("attributes of the root", item("").replace("<rss", &format!("<rss{attributes}"))),
        ("an attribute of 5 MB", item(&format!("<enclosure url=\"{long}\"/>"))),
        ("an attribute never closed", item(&format!("<enclosure url=\"{long}"))),
        ("entities in a title", item(&format!("<title>{}</title>", many("&amp;")))),
        ("entities in a description", item(&format!("<description>{}</description>", many("&lt;")))),
        ("entities nobody knows", item(&format!("<description>{}</description>", many("&nobody;")))),
        ("ampersands", item(&format!("<description>{}</description>", many("&")))),
        (
            "entities declared",
            format!("<!DOCTYPE rss [<!ENTITY e \"text\">]>{}", item(&format!("<title>{}</title>", many("&e;")))),
        ),
        ("CDATA in CDATA", item(&format!("<description>{}{}</description>", many("<![CDATA["), many("]]>")))),
        ("CDATA after CDATA", item(&format!("<description>{}</description>", many("<![CDATA[x]]>")))),
        ("CDATA never closed", item(&format!("<description>{}", many("<![CDATA[x]]")))),
        ("comments never closed", item(&many("<!-- "))),
        ("signs that are no tags", item(&format!("<description>{}</description>", many("< ")))),
        ("quotes never closed", item(&many("<a b=\"c>"))),
        ("empty items", item(&many("</item><item>"))),
        ("bad dates", item(&many("<pubDate>x</pubDate>"))),
        ("JSON in JSON", format!("{{\"version\":\"x\",\"items\":{}", many("["))),
    ];
    let mut rows = Vec::new();
    for (name, document) in &documents {
        measure(criterion, best, "hostile", name, &[document], whole);
        if let Some(time) = time_of(best, name) {
            rows.push((name, document.len(), time * 1e9 / document.len() as f64));
        }
    }
    if rows.is_empty() {
        return;
    }
    println!("\n{:<28} {:>9} {:>8} {:>14}", "made to be slow", "bytes", "ns/byte", "of plain");
    let plain = rows.first().map_or(f64::NAN, |row| row.2);
    for (name, bytes, each) in &rows {
        println!("{name:<28} {bytes:>9} {each:>8.2} {:>14.2}", each / plain);
    }
}

/// The corpus's real feeds, where they are.
fn real() -> Vec<Vec<u8>> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let place = env::var_os("KAWARABAN_CORPUS").map_or_else(beside, PathBuf::from);
    let files = fs::read_dir(place.join("feeds/real")).into_iter().flatten().flatten();
    files.filter_map(|file| fs::read(file.path()).ok()).collect()
}

/// Feeds of the sizes that real ones have: most below 100 kB, a few far above.
fn made_up() -> Vec<Vec<u8>> {
    (0..100).map(|n| plain(4_000 * (1 + n % 20) * if n % 25 == 0 { 10 } else { 1 })).collect()
}

/// An RSS feed of about that size, as blogs have them.
fn plain(bytes: usize) -> Vec<u8> {
    let mut text = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<rss version=\"2.0\" xmlns:dc=\"http://purl.org/dc/elements/1.1/\" \
         xmlns:content=\"http://purl.org/rss/1.0/modules/content/\">\n<channel>\n<title>News</title>\n\
         <link>https://news.example/</link>\n",
    );
    for n in 0.. {
        if text.len() + 60 >= bytes {
            break;
        }
        write!(
            text,
            "<item>\n  <title>What was found at place {n} &amp; why</title>\n  <link>https://news.example/{n}/found</link>\n  \
             <guid isPermaLink=\"false\">https://news.example/?p={n}</guid>\n  <dc:creator><![CDATA[Ann Other]]></dc:creator>\n  \
             <pubDate>Tue, 24 Nov 2026 {:02}:{:02}:00 +0000</pubDate>\n  <category><![CDATA[Places]]></category>\n  \
             <description>&lt;p&gt;They came from far away, and nobody had told them what to expect there.&lt;/p&gt;\
             </description>\n  <content:encoded><![CDATA[<p>They came from far away, and nobody had told them what to \
             expect there.</p><p><img src=\"https://news.example/{n}.jpg\" width=\"600\"/> It took a while until somebody \
             found the words: <em>a place like any other</em>, he said, &#8220;but ours&#8221;.</p>",
            n / 60 % 24,
            n % 60
        )
        .unwrap();
        for _ in 0..n % 7 {
            text.push_str(
                "<p>More was said that evening, and most of it was forgotten by the morning; a \
                 <a href=\"https://news.example/more\">longer text</a> has it all.</p>",
            );
        }
        text.push_str("]]></content:encoded>\n</item>\n");
    }
    text.push_str("</channel>\n</rss>\n");
    text.into_bytes()
}
