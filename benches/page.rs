//! What reading a page or JSON by rules costs, beside the bare parse of the same bytes in the same run.
//!
//! `cargo bench --bench page`. The page has 200 kB and 50 items of eight fields, the JSON the same; counted is the CPU time
//! of the thread (`schedstat` of the kernel). The contestants take turns, and a figure is the median of the
//! rounds: ratios hold on a machine that does other things too, the microseconds do not. At the end, what
//! pages of many items take of memory at most, as the kernel counts it (`VmHWM`).

use std::{collections::BTreeMap, fmt::Write as _, fs, hint::black_box, time::Duration};

use jiff::tz::TimeZone;
use kawaraban::page::{
    Extract, Given, dom, html, json,
    rules::{Css, DateRule, Fields, Items, JsonRules, PageRules, Path, Pick, Place, Rule, Steps, Take, What},
};
use scraper::{Html, Selector};
use url::Url;

fn main() {
    // `cargo test --benches` only wants to see it run
    let measured = std::env::args().any(|arg| arg == "--bench");
    let (rounds, reads) = if measured { (15, 100) } else { (1, 1) };
    let (page, document) = (page(50), document(50));
    assert!((195_000..210_000).contains(&page.len()), "{} bytes", page.len());
    assert!((195_000..210_000).contains(&document.len()), "{} bytes", document.len());
    let (page_rules, json_rules) = (page_rules(), json_rules());
    let whole = |read: Extract| assert!(read.items.len() == 50 && read.matched.fields.values().all(|has| *has == 50));
    let contestants: [(&str, &dyn Fn()); 6] = [
        ("HTML, bare parse", &|| drop(black_box(Html::parse_document(&page)))),
        ("HTML, parse within bounds", &|| drop(black_box(dom::parse(&page, &|| false).unwrap()))),
        ("HTML, read by rules", &|| whole(given(|given| html::read(page.as_bytes(), &page_rules, given).unwrap()))),
        ("JSON, bare parse", &|| {
            drop(black_box(serde_json::from_slice::<serde_json::Value>(document.as_bytes()).unwrap()))
        }),
        ("JSON, read by pointers", &|| {
            whole(given(|given| json::read(document.as_bytes(), &json_rules, given).unwrap()))
        }),
        ("JSON, read by JSONPath", &|| {
            whole(given(|given| json::read(document.as_bytes(), &queries(), given).unwrap()))
        }),
    ];
    let mut figures = vec![Vec::new(); contestants.len()];
    for _ in 0..rounds {
        for ((_, run), figures) in contestants.iter().zip(&mut figures) {
            let before = thread_cpu();
            (0..reads).for_each(|_| run());
            figures.push((thread_cpu() - before).as_secs_f64() * 1e6 / f64::from(reads));
        }
    }
    let medians: Vec<f64> = figures.iter_mut().map(|figures| median(figures)).collect();
    println!("{:<30} {:>8} {:>7}", "200 kB, 50 items, CPU time", "us", "ratio");
    for (n, ((name, _), median)) in contestants.iter().zip(&medians).enumerate() {
        println!("{name:<30} {median:>8.0} {:>7.2}", median / medians[n / 3 * 3]);
    }
    if measured {
        println!("{:<30} {:>8}", "memory at most, more than before", "MB");
        for items in [50, 500, 1000, 2000] {
            let page = self::page(items);
            let before = peak_kb(true);
            let read = given(|given| html::read(page.as_bytes(), &page_rules, given));
            let outcome = read.map_or_else(|error| error.to_string(), |read| format!("{} items", read.items.len()));
            let peak = (peak_kb(false) - before) as f64 / 1000.0;
            println!("{:<30} {peak:>8.1}  {outcome}", format!("HTML of {:.1} MB", page.len() as f64 / 1e6));
        }
    }
}

fn given<T>(read: impl FnOnce(&Given<'_>) -> T) -> T {
    let url = Url::parse("https://news.example/").unwrap();
    read(&Given {
        content_type: None,
        encoding: None,
        url: &url,
        may_be_empty: false,
        before: None,
        expired: &|| false,
    })
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn thread_cpu() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts CPU time here");
    Duration::from_nanos(text.split(' ').next().and_then(|field| field.parse().ok()).unwrap())
}

/// The most memory so far, counted anew where that is asked.
fn peak_kb(anew: bool) -> i64 {
    if anew {
        fs::write("/proc/self/clear_refs", "5").unwrap();
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A page of news in boxes: most of it is what stands around the news, as in the wild.
fn page(items: usize) -> String {
    let mut page =
        String::from("<!DOCTYPE html><html lang=\"en\"><head><title>News</title></head><body><div id=\"feed\">\n");
    for n in 0..items {
        let menu: String = (0..22).map(|entry| {
            format!("<li class=\"menu-item item-{entry}\"><a href=\"/tag/{n}/{entry}\" class=\"tag\"><span class=\"label\">Topic {entry}</span></a></li>\n")
        }).collect();
        write!(
            page,
            "<div class=\"herald box news t-news\" data-topics=\"article{n} news anime\">\
             <div class=\"thumbnail lazyload\" data-src=\"/thumbnails/crop/{n}.jpg\"><a href=\"/news/{n}\"></a></div>\
             <div class=\"wrap\"><div><h3>\n<a href=\"/news/2026-01-09/story-{n}/.{n}\">Story <cite>{n}</cite> &amp; more</a>\n</h3>\
             <div class=\"byline\"><time datetime=\"2026-01-09T21:14:00Z\">Jan 9</time> by <a rel=\"author\" href=\"/u\">A. Writer</a></div></div>\
             <ul class=\"topics\">{menu}</ul><div class=\"preview\"><p>{}</p></div></div></div>\n",
            "One of the sentences of which such a text is made, neither short nor long. ".repeat(16)
        )
        .unwrap();
    }
    page.push_str("</div></body></html>");
    page
}

fn document(items: usize) -> String {
    let text = "One of the sentences of which such a text is made, neither short nor long. ".repeat(50);
    let item = |n: usize| {
        format!(
            "{{\"id\":{n},\"site\":{{\"url\":\"https://news.example/{n}\"}},\"title\":{{\"english\":\"Story {n} &amp; more\"}},\
             \"text\":\"<p>{text}</p>\",\"images\":{{\"large\":\"https://img.example/{n}.jpg\",\"small\":null}},\
             \"tags\":[\"news\",\"anime\",\"film\"],\"at\":1767993240,\"by\":[{{\"name\":\"A. Writer\"}}],\
             \"counts\":{{\"views\":{n},\"ratio\":0.25,\"flags\":[true,false,null,1,2,3,4,5,6,7,8,9]}}}}"
        )
    };
    format!("{{\"data\":{{\"list\":[{}]}}}}", (0..items).map(item).collect::<Vec<_>>().join(",\n"))
}

fn place() -> Place {
    Place { line: 1, column: 1, key: "bench".into() }
}

fn rule<P>(select: Option<P>, what: What) -> Rule<P> {
    Rule {
        place: place(),
        take: Take::Pick(Pick { select, what }),
        regex: None,
        min_length: 0,
        max_length: None,
        date: DateRule { format: None, zone: TimeZone::UTC, under: None },
    }
}

fn page_rules() -> PageRules {
    let css = |text: &str| Css { text: text.into(), place: place(), selector: Selector::parse(text).unwrap() };
    let natural = |text: &str| rule(Some(css(text)), What::Natural);
    PageRules {
        items: Items::All(css("div.herald.box.news.t-news")),
        fields: Fields {
            title: natural("h3"),
            link: Some(natural("h3 a")),
            id: Some(rule(None, What::Attribute("data-topics".into()))),
            published: Some(natural("time")),
            summary: Some(natural(".preview p")),
            image: Some(rule(Some(css("div.thumbnail")), What::Attribute("data-src".into()))),
            author: Some(natural("a[rel=author]")),
            category: Some(natural("ul.topics li a")),
            extra: BTreeMap::new(),
        },
    }
}

fn json_rules_by(items: &str, path: impl Fn(&str) -> Path) -> JsonRules {
    let natural = |text: &str| rule(Some(path(text)), What::Natural);
    JsonRules {
        items: path(items),
        fields: Fields {
            title: natural("/title/english"),
            link: Some(natural("/site/url")),
            id: Some(natural("/id")),
            published: Some(natural("/at")),
            summary: Some(natural("/text")),
            image: Some(natural("/images/large")),
            author: Some(natural("/by/0/name")),
            category: Some(natural("/tags")),
            extra: BTreeMap::new(),
        },
        embedded: None,
    }
}

fn json_rules() -> JsonRules {
    json_rules_by("/data/list", |text| Path { text: text.into(), place: place(), steps: Steps::Pointer(text.into()) })
}

/// The same places by JSONPath.
fn queries() -> JsonRules {
    json_rules_by("/data/list", |text| {
        let query = format!("${}", text.replace("/0", "[0]").replace('/', "."));
        Path { steps: Steps::Query(query.parse().unwrap()), text: query, place: place() }
    })
}
