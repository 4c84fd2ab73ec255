//! Which items are the same item, and when one is forgotten.

use kawaraban::{model::Item, store::SourceRecord};

use super::{Bench, document, item, items, name, plain_sources, second, sources, titles};

/// An item with only what is given, and a text of its own.
fn with(id: Option<&str>, link: Option<&str>, title: &str) -> Item {
    let text = |text: Option<&str>| text.map(str::to_owned);
    Item { id: text(id), link: text(link), title: Some(title.to_owned()), ..Item::default() }
}

fn bench() -> (tempfile::TempDir, Bench) {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path(), &plain_sources(2));
    (dir, bench)
}

#[test]
fn a_guid_that_two_items_share_is_no_identity_and_the_link_takes_its_place() {
    let (_dir, bench) = bench();
    let first = [with(Some("same"), Some("http://x/1"), "1"), with(Some("same"), Some("http://x/2"), "2")];
    assert_eq!(bench.ingest(0, &first, second(0)).accepted, 2);
    let third = with(Some("same"), Some("http://x/3"), "3");
    let next = [third, first[0].clone(), first[1].clone()];
    assert_eq!(bench.ingest(0, &next, second(1)).accepted, 1);
    assert_eq!(bench.waiting("one").last().unwrap(), "3");
}

#[test]
fn a_link_that_all_items_share_is_no_identity_and_the_text_takes_its_place() {
    let (_dir, bench) = bench();
    let all = ["1", "2", "3"].map(|title| with(None, Some("http://x/"), title));
    assert_eq!(bench.ingest(0, &all[..2], second(0)).accepted, 2);
    assert_eq!(bench.ingest(0, &all, second(1)).accepted, 1);
    assert_eq!(bench.ingest(0, &all, second(2)).new, 0);
}

#[test]
fn an_item_that_an_entry_has_twice_word_by_word_is_one_item() {
    let (_dir, bench) = bench();
    let twice = [item(1), item(1)];
    assert_eq!(bench.ingest(0, &twice, second(0)).accepted, 1);
    assert_eq!(bench.ingest(0, &twice, second(1)).new, 0);
}

#[test]
fn an_edited_title_under_the_same_guid_is_the_same_item() {
    let (_dir, bench) = bench();
    bench.ingest(0, &[with(Some("g"), Some("http://x/1"), "first words")], second(0));
    let edited = [with(Some("g"), Some("http://x/moved"), "better words")];
    assert_eq!(bench.ingest(0, &edited, second(1)).new, 0);
}

#[test]
fn a_link_is_the_same_over_http_and_https_and_with_a_campaigns_marks() {
    let (_dir, bench) = bench();
    bench.ingest(0, &[with(None, Some("http://News.example/a?x=1"), "as it was")], second(0));
    for same in [
        "https://news.example/a?x=1",
        "https://NEWS.example/a?utm_source=feed&x=1&utm_medium=rss",
        "http://news.example/a?x=1&fbclid=123",
        "http://news.example/a?gclid=9&x=1",
    ] {
        assert_eq!(bench.ingest(0, &[with(None, Some(same), same)], second(1)).new, 0, "{same}");
    }
    for other in ["https://news.example/a?x=2", "https://news.example/a?x=1#comments", "https://news.example/A?x=1"] {
        assert_eq!(bench.ingest(0, &[with(None, Some(other), other)], second(1)).new, 1, "{other}");
    }
}

#[test]
fn an_item_that_loses_its_guid_is_known_by_its_link() {
    let (_dir, bench) = bench();
    bench.ingest(0, &[with(Some("g"), Some("http://x/1"), "a")], second(0));
    assert_eq!(bench.ingest(0, &[with(None, Some("https://x/1"), "b")], second(1)).new, 0);
}

#[test]
fn sources_have_nothing_in_common() {
    let (_dir, bench) = bench();
    assert_eq!(bench.ingest(0, &items(0..3), second(0)).accepted, 3);
    assert_eq!(bench.ingest(1, &items(0..3), second(0)).accepted, 3);
    let ids: std::collections::BTreeSet<_> =
        bench.lease("one").iter().map(|queued| queued.delivery().unwrap().id).collect();
    assert_eq!(ids.len(), 6, "an id says which source it is of");
}

#[test]
fn an_item_is_forgotten_only_at_a_changed_document_that_lacks_it_after_its_retention() {
    let dir = tempfile::tempdir().unwrap();
    let sources =
        sources("[[source]]\nname = \"a\"\nurl = \"http://x.example/\"\nbackfill = \"all\"\nretention = \"1h\"\n");
    let mut bench = Bench::open(dir.path(), &sources);
    bench.ingest(0, &items(0..4), second(0));

    // unchanged for ten hours: the 304s keep saying that all four are there
    let mut record = bench.runtime.block_on(bench.store.source(&name("a"))).unwrap();
    record.last_success = Some(second(36_000));
    bench.runtime.block_on(bench.store.save_sources(vec![(name("a"), record)])).unwrap();
    assert_eq!(bench.status().items_seen, 4);
    bench = bench.reopened();

    // items 0 and 1 leave: they were there a minute ago
    assert_eq!(bench.ingest(0, &items(2..5), second(36_060)).new, 1);
    assert_eq!(bench.status().items_seen, 5);
    // back within the hour: seen
    assert_eq!(bench.ingest(0, &items(1..5), second(39_000)).new, 0);
    // time alone forgets nothing, and neither does a document without a change to it
    bench = bench.reopened();
    assert_eq!(bench.status().items_seen, 5);
    // item 0 was last there 3601 s ago, item 1 a moment ago
    assert_eq!(bench.ingest(0, &items(2..5), second(36_000 + 3_601)).new, 0);
    assert_eq!(bench.status().items_seen, 4);
    assert_eq!(bench.ingest(0, &items(0..5), second(39_700)).new, 1, "item 0 was forgotten and is new");
    assert_eq!(bench.waiting("one"), [titles(0..5), vec!["item 0".to_owned()]].concat());
}

#[test]
fn backfill_takes_the_newest_at_the_first_poll_only() {
    let dir = tempfile::tempdir().unwrap();
    let table = |name: &str, backfill: &str| {
        format!("[[source]]\nname = \"{name}\"\nurl = \"http://x.example/\"\nbackfill = {backfill}\n")
    };
    let sources = sources(&(table("a", "0") + &table("b", "2") + &table("c", "\"all\"")));
    let bench = Bench::open(dir.path(), &sources);
    let accepted: Vec<_> = (0..3).map(|source| bench.ingest(source, &items(0..5), second(0)).accepted).collect();
    assert_eq!(accepted, [0, 2, 5]);
    let in_turn = [3, 0, 4, 1, 2, 3, 4].map(|number| format!("item {number}"));
    assert_eq!(bench.waiting("one"), in_turn);
    let accepted: Vec<_> = (0..3).map(|source| bench.ingest(source, &items(0..9), second(1)).accepted).collect();
    assert_eq!(accepted, [4, 4, 4]);
}

#[test]
fn a_first_poll_without_items_is_a_first_poll() {
    let dir = tempfile::tempdir().unwrap();
    let bench =
        Bench::open(dir.path(), &sources("[[source]]\nname = \"a\"\nurl = \"http://x.example/\"\nbackfill = 1\n"));
    bench.ingest(0, &[], second(0));
    assert_eq!(bench.ingest(0, &items(0..5), second(1)).accepted, 5);
}

#[test]
fn what_the_filters_keep_out_is_seen_and_goes_nowhere() {
    let (_dir, bench) = bench();
    let mut ingest = document(&bench.sources[0], &items(0..4), second(0));
    ingest.candidates[1].passes = false;
    let ingested = bench.runtime.block_on(bench.store.ingest(ingest)).unwrap();
    assert_eq!((ingested.new, ingested.accepted, ingested.filtered), (4, 3, 1));
    assert_eq!(bench.ingest(0, &items(0..4), second(1)).new, 0);
    assert_eq!(bench.waiting("two"), ["item 0", "item 1", "item 3"]);
}

#[test]
fn sources_whose_names_begin_alike_are_remembered_and_forgotten_apart() {
    let dir = tempfile::tempdir().unwrap();
    let table = |name: &str| {
        format!("[[source]]\nname = \"{name}\"\nurl = \"http://x.example/\"\nbackfill = \"all\"\nretention = \"1h\"\n")
    };
    let all = sources(&["a", "a-b", "a0", "a_b"].map(table).concat());
    let bench = Bench::open(dir.path(), &all);
    for source in 0..4 {
        bench.ingest(source, &items(0..300), second(0));
        // what is new is written beside the record, not into what was written before
        assert_eq!(bench.ingest(source, &items(1..302), second(60)).new, 2);
    }
    assert_eq!(bench.status().items_seen, 4 * 302);
    bench.close();

    // two of them left the configuration long ago
    let kept = sources(&["a", "a_b"].map(table).concat());
    let bench = Bench::open(dir.path(), &kept);
    assert_eq!(bench.status().items_seen, 2 * 302);
    assert_eq!(bench.ingest(0, &items(1..303), second(120)).new, 1);
    assert_eq!(bench.ingest(1, &items(0..303), second(120)).new, 1);
    bench.close();
    let bench = Bench::open(dir.path(), &all);
    assert_eq!(bench.status().items_seen, 2 * 303);
    assert_eq!(bench.ingest(1, &items(0..3), second(180)).new, 3);
    bench.close();
}

#[test]
fn records_that_are_saved_between_documents_leave_what_is_seen_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path(), &plain_sources(1));
    let record = |at| SourceRecord { last_success: Some(second(at)), had_items: true, ..SourceRecord::default() };
    let save = |at| bench.store.save_sources(vec![(name("a"), record(at))]);
    let document = |items, at| bench.store.ingest(document(&bench.sources[0], items, second(at)));
    let (first, then) = (items(0..30), items(2..33));
    // all in one group, as it comes under load
    let (saved, one, again, two, last) = bench
        .runtime
        .block_on(async { tokio::join!(save(0), document(&first, 10), save(20), document(&then, 30), save(40)) });
    assert!(saved.is_ok() && again.is_ok() && last.is_ok());
    assert_eq!((one.unwrap().new, two.unwrap().new), (30, 3));
    let bench = bench.reopened();
    assert_eq!(bench.status().items_seen, 33);
    // which destinations had something of it is the store's own knowledge: no record that is saved later undoes it
    let destinations = Some(vec!["one".to_owned(), "two".to_owned()]);
    let kept = bench.runtime.block_on(bench.store.source(&name("a"))).unwrap();
    assert_eq!(kept, SourceRecord { destinations, ..record(40) });
    assert_eq!(bench.ingest(0, &items(0..34), second(50)).new, 1);
    bench.close();
}
