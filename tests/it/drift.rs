//! A page that changes so that its rules fit no more: told within one poll, with what they gave before.

use std::sync::Arc;

use kawaraban::{
    config::{OnEmpty, Source},
    health::report::SourceStatus,
    model::{ErrorKind, Failure, Name},
    poll::document::{self, Input, Parsed},
};

use crate::{
    panic::{Parts, discard, run, source, tables},
    reading::{boxes, page},
    support::{
        farm::{Farm, Fault},
        receiver::Receiver,
    },
};

/// Reads the source's document as a page.
fn as_page(input: &Input, expired: &dyn Fn() -> bool) -> Result<Parsed, Failure> {
    let kind = page(OnEmpty::Auto).kind.clone();
    let source = Arc::new(Source { kind, ..Source::clone(&input.source) });
    document::read(&Input { source, ..input.clone() }, expired)
}

#[test]
fn a_page_whose_rules_fit_no_more_is_told_with_what_they_gave_before() {
    let farm = Farm::start();
    let receiver = Receiver::start();
    let feed = farm.feed("news");
    let show = |body: String| feed.set_fault(Fault::Document(body.into_bytes(), "text/html".into()));
    show(boxes("news", 1..4));
    run(async {
        let parts = Parts::start(&tables(std::slice::from_ref(&feed), &receiver), as_page, discard());
        parts.wait("the page is read", |report| report.destinations["out"].delivered == 3).await;
        let name = Name::new("news").unwrap();
        assert_eq!(parts.store.source(&name).await.unwrap().matched.map(|matched| matched.items), Some(3));

        // new looks, the same links
        show(boxes("card", 1..4));
        let polls = source(&parts.report().await, "news").polls;
        parts.wait("it is read again", |report| source(report, "news").polls > polls + 2).await;

        show(boxes("card", 1..4).replace("h3", "h2"));
        parts.wait("it fails", |report| source(report, "news").failures > 0).await;
        let report = parts.report().await;
        let (state, error) = (source(&report, "news"), source(&report, "news").last_error.clone().unwrap());
        assert_ne!(state.status, SourceStatus::Ok);
        assert_eq!(error.kind, ErrorKind::Selector);
        let (told, before) = error.message.split_once("; at the last good poll, ").unwrap();
        assert_eq!(told, "source[news].html.title (line 4, column 1): \"h3\" gives a title for none of the 3 items");
        assert!(before.ends_with("Z: 3 items, 3 with link and 3 with title"), "{before}");
        parts.stop().await;
    });
    assert_eq!(receiver.requests().len(), 3);
}
