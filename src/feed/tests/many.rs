//! Documents with more entries than are read.

use super::*;

/// An item a minute, numbered as given.
fn dated(numbers: impl Iterator<Item = usize>) -> String {
    let item = |n: usize| {
        let at = jiff::Timestamp::from_second(1_790_000_000 + 60 * n as i64).unwrap();
        format!(
            "<item><title>{n}</title><guid>the entry with the number {n}, long enough to be met again</guid><pubDate>{at}</pubDate></item>"
        )
    };
    rss(&numbers.map(item).collect::<String>())
}

/// First and last title of what is read, with its warnings.
fn read_titles(text: &str) -> (String, String, Vec<Warning>) {
    let read = document(text);
    assert_eq!(read.items.len(), MAX_ENTRIES);
    let title = |item: Option<&Item>| item.and_then(|item| item.title.clone()).unwrap();
    (title(read.items.first()), title(read.items.last()), read.warnings)
}

#[test]
fn the_newest_entries_are_read_at_whichever_end_they_stand() {
    let many = MAX_ENTRIES + 100;
    let warned = vec![Warning::TooManyEntries];
    let newest_first = read_titles(&dated((0..many).rev()));
    assert_eq!(newest_first, ((many - 1).to_string(), "100".to_owned(), warned.clone()));
    let newest_last = read_titles(&dated(0..many));
    assert_eq!(newest_last, ("100".to_owned(), (many - 1).to_string(), warned.clone()));
    let undated = dated(0..many).replace("pubDate", "x:date");
    assert_eq!(read_titles(&undated), ("0".to_owned(), (MAX_ENTRIES - 1).to_string(), warned));
}

#[test]
fn as_many_entries_as_are_read_are_not_too_many() {
    assert_eq!(read_titles(&dated(0..MAX_ENTRIES)).2, []);
}

#[test]
fn new_entries_behind_known_ones_are_not_missed() {
    let text = dated(0..MAX_ENTRIES);
    let text = decode(text.as_bytes(), &Hints::default()).unwrap();
    let spans: Vec<Span> = read(&text, &Hints::default()).unwrap().entries.iter().map(Entry::span).collect();
    let grown = dated(0..MAX_ENTRIES + 3);
    let grown = decode(grown.as_bytes(), &Hints::default()).unwrap();
    let again = read_again(&grown, &Hints::default(), &spans).unwrap();
    assert_eq!(again.entries.len(), MAX_ENTRIES);
    let last = again.entries.last().and_then(|entry| entry.item().unwrap()).and_then(|item| item.title);
    assert_eq!(last.as_deref(), Some("5002"));
}

#[test]
fn json_feeds_keep_their_newest_entries_too() {
    let feed = |numbers: Vec<usize>| {
        let item = |n: usize| {
            let at = jiff::Timestamp::from_second(1_790_000_000 + 60 * n as i64).unwrap();
            format!(r#"{{"id":"{n}","title":"{n}","content_text":"x","date_published":"{at}"}}"#)
        };
        let items: Vec<String> = numbers.into_iter().map(item).collect();
        format!(r#"{{"version":"https://jsonfeed.org/version/1.1","title":"T","items":[{}]}}"#, items.join(","))
    };
    let many = MAX_ENTRIES + 100;
    let warned = vec![Warning::TooManyEntries];
    let newest_first = read_titles(&feed((0..many).rev().collect()));
    assert_eq!(newest_first, ((many - 1).to_string(), "100".to_owned(), warned.clone()));
    let newest_last = read_titles(&feed((0..many).collect()));
    assert_eq!(newest_last, ("100".to_owned(), (many - 1).to_string(), warned));
}
