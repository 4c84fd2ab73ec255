//! The parser over feeds that others published, scored against readings that independent parsers agreed on.
//!
//! The feeds are test data of their publishers' and no part of this repository: they are looked for at
//! `$KAWARABAN_CORPUS`, else at `../shared/corpus` beside the package (a folder `feeds`, and beside it
//! `truth.jsonl.gz`: a line a file). Where they are not, there is nothing to run, and the test says so.
//!
//! A value counts only where two or more parsers of different descent agreed on it. A file that fails, or
//! gives another number of items, loses all its items. `whole` is a file with the number of items and each
//! link, title and date right.

use std::{
    collections::{BTreeMap, HashMap},
    env,
    fmt::Write,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;
use kawaraban::{
    feed::{self, Hints, OwnedDocument},
    model::Item,
};
use serde::Deserialize;

mod compare;
mod peer;

#[derive(Deserialize)]
struct Truth {
    file: String,
    /// None: the parsers did not agree.
    count: Option<usize>,
    entries: Vec<Agreed>,
}

#[derive(Deserialize)]
struct Agreed {
    id: Option<String>,
    link: Option<String>,
    title: Option<String>,
    published: Option<String>,
    enclosure: Option<String>,
    /// How many families of parsers gave the value.
    agree: HashMap<String, u32>,
}

/// What is counted, in the order of the table.
const COLUMNS: [&str; 9] = ["read", "count", "link", "id", "title", "title=", "date", "enclosure", "whole"];

/// Hits and chances of each column.
#[derive(Clone, Copy, Default)]
struct Score {
    files: usize,
    left_out: usize,
    tally: [(usize, usize); COLUMNS.len()],
}

impl Score {
    fn add(&mut self, column: &str, hit: bool) {
        let at = COLUMNS.iter().position(|known| *known == column).unwrap();
        self.tally[at].0 += usize::from(hit);
        self.tally[at].1 += 1;
    }

    fn sum(&mut self, other: &Self) {
        self.files += other.files;
        self.left_out += other.left_out;
        for (mine, theirs) in self.tally.iter_mut().zip(other.tally) {
            *mine = (mine.0 + theirs.0, mine.1 + theirs.1);
        }
    }

    /// Percent of one column; 100 where there was nothing to read.
    fn percent(&self, column: &str) -> f64 {
        let at = COLUMNS.iter().position(|known| *known == column).unwrap();
        let (hits, of) = self.tally[at];
        if of == 0 { 100.0 } else { 100.0 * hits as f64 / of as f64 }
    }

    fn row(&self, name: &str) -> String {
        let mut row = format!("{name:18} {:5} {:8} ", self.files, self.left_out);
        for column in COLUMNS {
            write!(row, "{:>10.2}", self.percent(column)).unwrap();
        }
        row
    }
}

/// Takes up one file; whether it is whole.
fn judge(truth: &Truth, read: Option<&OwnedDocument>, score: &mut Score) -> bool {
    score.files += 1;
    score.add("read", read.is_some());
    let Some(count) = truth.count else { return true };
    let items = read.map(|document| &document.items).filter(|items| items.len() == count);
    score.add("count", items.is_some());
    let mut whole = items.is_some();
    let nothing = Item::default();
    for (at, due) in truth.entries.iter().enumerate() {
        let item = items.map_or(&nothing, |items| &items[at]);
        let mut check = |column: &str, due: String, found: String| {
            let hit = items.is_some() && due == found;
            score.add(column, hit);
            whole &= hit || matches!(column, "id" | "title=" | "enclosure");
        };
        let agreed = |what: &str| due.agree.get(what).is_some_and(|&families| families >= 2);
        if agreed("link") {
            check("link", compare::link(due.link.as_deref()), compare::link(item.link.as_deref()));
        }
        if agreed("id") {
            check("id", compare::id(due.id.as_deref()), compare::id(item.id.as_deref()));
        }
        if agreed("title") {
            check("title", compare::loose(due.title.as_deref()), compare::loose(item.title.as_deref()));
            check("title=", compare::exact(due.title.as_deref()), compare::exact(item.title.as_deref()));
        }
        if let Some(published) = due.published.as_deref().filter(|_| agreed("date")) {
            let time = item.published.or(item.updated).map(|time| time.as_second());
            check("date", format!("{:?}", compare::second(published)), format!("{time:?}"));
        }
        if let Some(enclosure) = due.enclosure.as_deref().filter(|_| agreed("enc")) {
            let first = item.enclosures.first().map(|enclosure| enclosure.url.as_str());
            check("enclosure", compare::link(Some(enclosure)), compare::link(first));
        }
    }
    score.add("whole", whole);
    whole
}

/// Where the corpus lies, if it does.
pub(super) fn place() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let place = env::var_os("KAWARABAN_CORPUS").map_or_else(beside, PathBuf::from);
    place.join("truth.jsonl.gz").is_file().then_some(place)
}

/// Files of which an agreed reading is wrong by the format's own specification, with the fields and why.
fn exceptions() -> BTreeMap<&'static str, &'static str> {
    let rows = include_str!("../corpus-exceptions.tsv").lines().filter(|line| !line.starts_with('#'));
    let parsed = rows.map(|row| row.split('\t').collect::<Vec<_>>());
    parsed
        .map(|row| match row[..] {
            [file, field, why] if !why.trim().is_empty() => (file, field),
            _ => panic!("a row is file, field, why: {row:?}"),
        })
        .collect()
}

/// Least percentages of each column. The suites ask for oddities on which the agreed readings are no measure
/// (a title's tags, dates that mean nothing): there, less than that is a change that someone should look at.
const FLOORS: [(&str, [f64; COLUMNS.len()]); 2] = [
    ("real", [99.8, 99.8, 99.7, 99.7, 99.7, 99.5, 99.7, 99.7, 99.3]),
    ("suites", [99.3, 99.5, 99.0, 99.5, 99.5, 96.0, 98.8, 99.7, 98.0]),
];

#[test]
fn feeds_are_read_as_independent_parsers_agree_they_should_be() {
    let Some(place) = place() else {
        println!("skipped: no corpus at ../shared/corpus or $KAWARABAN_CORPUS");
        return;
    };
    let exceptions = exceptions();
    let mut groups: BTreeMap<String, Score> = BTreeMap::new();
    // side by side, nothing left out
    let (mut ours, mut feed_rs) = (Score::default(), Score::default());
    let mut misses = String::new();
    let lines = BufReader::new(GzDecoder::new(File::open(place.join("truth.jsonl.gz")).unwrap())).lines();
    for line in lines.map(Result::unwrap).filter(|line| !line.trim().is_empty()) {
        let truth: Truth = serde_json::from_str(&line).unwrap();
        let suite = truth.file.split('/').next().unwrap_or_default();
        let bytes = fs::read(place.join("feeds").join(&truth.file)).unwrap();
        let read = feed::parse(&bytes, &Hints::default());
        if suite == "real" {
            judge(&truth, read.as_ref().ok(), &mut ours);
            judge(&truth, peer::read(&bytes).as_ref(), &mut feed_rs);
        }
        let score = groups.entry(suite.to_owned()).or_default();
        if exceptions.contains_key(truth.file.as_str()) {
            score.files += 1;
            score.left_out += 1;
            continue;
        }
        if !judge(&truth, read.as_ref().ok(), score) {
            writeln!(misses, "    {}", truth.file).unwrap();
        }
    }
    let mut sums: BTreeMap<&str, Score> = BTreeMap::new();
    let mut table = format!("{:18} {:>5} {:>8} ", "", "files", "left out");
    COLUMNS.iter().for_each(|column| write!(table, "{column:>10}").unwrap());
    for (suite, score) in &groups {
        writeln!(table, "\n{}", score.row(suite)).unwrap();
        table.truncate(table.trim_end().len());
        sums.entry(if suite == "real" { "real" } else { "suites" }).or_default().sum(score);
    }
    for (name, score) in &sums {
        assert!(score.left_out * 100 <= score.files, "{name}: more than 1 % of the files are left out");
        write!(table, "\n{}", score.row(name)).unwrap();
    }
    writeln!(table, "\n{}\n{}", ours.row("real, every file"), feed_rs.row("the same, feed-rs")).unwrap();
    println!("{table}\nnot whole:\n{misses}");
    for (name, floors) in FLOORS {
        for (column, floor) in COLUMNS.into_iter().zip(floors) {
            let reached = sums[name].percent(column);
            assert!(reached >= floor, "{name}: {column} {reached:.2}, at least {floor} is due\n{table}\n{misses}");
        }
    }
}
