//! A health report for people: a row a source, then what fails, then where it goes.

use anstyle::{AnsiColor, Style};
use comfy_table::{Cell, Color};
use jiff::Timestamp;

use crate::{
    app::table::{self, Column, Overflow},
    health::report::{
        DestinationReport, DestinationStatus, ErrorPattern, ErrorReport, HealthReport, Network, SourceReport,
        SourceStatus, Status, StoreState,
    },
    model::line::one_line,
    resilience::breaker::Phase,
};

/// Characters of an error that are shown.
const ERROR: usize = 50;

/// Everything, with ANSI colours, for a terminal of `width` columns or for a pipe.
pub(super) fn rendered(report: &HealthReport, width: Option<usize>) -> String {
    let mut text = head(report);
    text += &sources(report, width);
    text += &patterns(report, width);
    text += &destinations(report, width);
    text
}

fn head(report: &HealthReport) -> String {
    let color = match report.status {
        Status::Ok => AnsiColor::Green,
        Status::Degraded => AnsiColor::Yellow,
        Status::Down => AnsiColor::Red,
    };
    let status = Style::new().bold().fg_color(Some(color.into()));
    let store = &report.store;
    let mut text = format!(
        "kawaraban {} is {status}{}{status:#}, up {}; network {}; store {}: {} seen, {} waiting, {} dead letter{}\n",
        one_line(&report.version),
        match report.status {
            Status::Ok => "ok",
            Status::Degraded => "degraded",
            Status::Down => "down",
        },
        span(report.uptime_s),
        match report.network {
            Network::Ok => "ok",
            Network::Outage => "outage",
        },
        match store.status {
            StoreState::Ok => "ok",
            StoreState::Failing => "failing",
            StoreState::Reseeding => "reseeding",
        },
        store.items_seen,
        store.outbox,
        store.dead_letters,
        if store.dead_letters == 1 { "" } else { "s" },
    );
    for reason in &report.reasons {
        text += &format!("  - {}\n", one_line(reason));
    }
    text
}

fn sources(report: &HealthReport, width: Option<usize>) -> String {
    const COLUMNS: [Column; 9] = [
        Column::text(""),
        Column::text("SOURCE"),
        Column::text("STATE"),
        Column::text("BREAKER").spare(2),
        Column::number("SUCCESS").spare(3),
        Column::number("ITEMS").spare(4),
        Column::number("FAILED"),
        Column::text("LAST SUCCESS").spare(1),
        Column::text("LAST ERROR"),
    ];
    let row = |(name, source): (&String, &SourceReport)| {
        let (mark, state) = source_state(source);
        vec![
            mark,
            Cell::new(one_line(name)),
            Cell::new(state),
            Cell::new(match source.breaker {
                Phase::Closed => "closed",
                Phase::Open => "open",
                Phase::HalfOpen => "half-open",
            }),
            Cell::new(source.success_rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1} %"))),
            Cell::new(source.items),
            Cell::new(source.consecutive_failures),
            Cell::new(source.last_success.map_or_else(|| "never".to_owned(), |at| ago(at, report.time))),
            Cell::new(error(source.last_error.as_ref(), report.time)),
        ]
    };
    section(&COLUMNS, report.sources.iter().map(row).collect(), width)
}

/// The mark counts failures in a row: green none, yellow one or two, red three or more; red too where
/// the breaker or the source itself says so.
fn source_state(source: &SourceReport) -> (Cell, &'static str) {
    let state = match source.status {
        SourceStatus::Ok => "ok",
        SourceStatus::Degraded => "degraded",
        SourceStatus::Down => "down",
        SourceStatus::Paused => "paused",
        SourceStatus::Gone => "gone",
        SourceStatus::Pending => "pending",
    };
    let mark = match (source.status, source.consecutive_failures) {
        (SourceStatus::Paused | SourceStatus::Pending, _) => WAITING,
        (SourceStatus::Down | SourceStatus::Gone, _) | (_, 3..) => BAD,
        (SourceStatus::Degraded, _) | (_, 1..) => POOR,
        (SourceStatus::Ok, _) => GOOD,
    };
    (marked(mark), state)
}

fn patterns(report: &HealthReport, width: Option<usize>) -> String {
    const COLUMNS: [Column; 6] = [
        Column::text(""),
        Column::text("ERROR (24 h)"),
        Column::number("COUNT"),
        Column::text("FIRST").spare(2),
        Column::text("LAST").spare(1),
        Column::text("SOURCES"),
    ];
    let row = |pattern: &ErrorPattern| {
        vec![
            marked(if pattern.sources.len() >= 3 { BAD } else { POOR }),
            Cell::new(pattern.kind),
            Cell::new(pattern.count),
            Cell::new(ago(pattern.first, report.time)),
            Cell::new(ago(pattern.last, report.time)),
            Cell::new(cut(&pattern.sources.join(", "))),
        ]
    };
    section(&COLUMNS, report.error_patterns.iter().map(row).collect(), width)
}

fn destinations(report: &HealthReport, width: Option<usize>) -> String {
    const COLUMNS: [Column; 8] = [
        Column::text(""),
        Column::text("DESTINATION"),
        Column::text("STATE"),
        Column::number("WAITING"),
        Column::number("OLDEST").spare(2),
        Column::number("DELIVERED").spare(3),
        Column::number("DEAD").spare(1),
        Column::text("LAST ERROR"),
    ];
    let row = |(name, destination): (&String, &DestinationReport)| {
        let (mark, state) = destination_state(destination);
        let oldest = if destination.queued > 0 { span(destination.oldest_queued_s) } else { "-".to_owned() };
        vec![
            mark,
            Cell::new(one_line(name)),
            Cell::new(state),
            Cell::new(destination.queued),
            Cell::new(oldest),
            Cell::new(destination.delivered),
            Cell::new(destination.dead_letters),
            Cell::new(error(destination.last_error.as_ref(), report.time)),
        ]
    };
    section(&COLUMNS, report.destinations.iter().map(row).collect(), width)
}

fn destination_state(destination: &DestinationReport) -> (Cell, &'static str) {
    match destination.status {
        DestinationStatus::Ok => (marked(GOOD), "ok"),
        DestinationStatus::Degraded => (marked(POOR), "degraded"),
        DestinationStatus::Down => (marked(BAD), "down"),
        DestinationStatus::Gone => (marked(BAD), "gone"),
        DestinationStatus::Paused => (marked(WAITING), "paused"),
    }
}

/// A shape beside the colour, for eyes and terminals that see none.
type Mark = (&'static str, Color);
const GOOD: Mark = ("●", Color::Green);
const POOR: Mark = ("▲", Color::Yellow);
const BAD: Mark = ("✖", Color::Red);
const WAITING: Mark = ("○", Color::DarkGrey);

fn marked((shape, color): Mark) -> Cell {
    Cell::new(shape).fg(color)
}

fn section(columns: &[Column], rows: Vec<Vec<Cell>>, width: Option<usize>) -> String {
    if rows.is_empty() { String::new() } else { format!("\n{}", table::rendered(columns, rows, Overflow::Cut, width)) }
}

fn error(error: Option<&ErrorReport>, now: Timestamp) -> String {
    let shown = |error: &ErrorReport| format!("{} {}: {}", error.kind, ago(error.at, now), cut(&error.message));
    error.map(shown).unwrap_or_default()
}

/// The first characters of a text.
fn cut(text: &str) -> String {
    let text = one_line(text);
    match text.char_indices().nth(ERROR) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text.into_owned(),
    }
}

fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(at.as_second());
    format!("{} ago", span(u64::try_from(seconds).unwrap_or_default()))
}

/// A time span in its largest unit, or its two largest from an hour up.
fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (minutes, hours, days) {
        (0, ..) => format!("{seconds}s"),
        (_, 0, _) => format!("{minutes}m"),
        (_, _, 0) => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    fn report() -> HealthReport {
        let error = |kind: &str, message: &str| json!({"kind": kind, "message": message, "at": "2026-01-09T11:58:30Z"});
        let source = |status: &str, breaker: &str, failures: u64, error: serde_json::Value| {
            json!({"status": status, "breaker": breaker, "attempts": 9, "polls": 9, "successes": 9 - failures,
                "failures": failures, "success_rate": 66.7, "success_rate_24h": 66.7, "consecutive_failures": failures,
                "items": 12, "last_attempt": "2026-01-09T11:59:00Z", "last_success": "2026-01-09T09:57:00Z",
                "next_poll": null, "last_error": error})
        };
        let mut pending = source("pending", "closed", 0, json!(null));
        pending["success_rate"] = json!(null);
        pending["last_success"] = json!(null);
        let report = json!({
            "status": "degraded", "version": "0.1.0", "started_at": "2026-01-06T08:00:00Z", "uptime_s": 273_600,
            "time": "2026-01-09T12:00:00Z", "reasons": ["source conan: breaker open after 3 failures (connection_reset)"],
            "network": "ok",
            "store": {"status": "ok", "items_seen": 1234, "outbox": 2, "dead_letters": 1},
            "sources": {
                "ann": source("ok", "closed", 0, json!(null)),
                "conan": source("down", "open", 3, error("connection_reset", "reset by the peer\u{1b}[31m after 17 bytes of what was to be the body")),
                "mal": source("degraded", "closed", 1, error("http_503", "HTTP 503")),
                "new": pending,
            },
            "destinations": {"news": {"status": "degraded", "queued": 2, "delivered": 40, "dead_letters": 1,
                "oldest_queued_s": 75, "last_error": error("rate_limited", "HTTP 429")}},
            "error_patterns": [{"kind": "connection_reset", "count": 3, "sources": ["conan"],
                "first": "2026-01-09T11:00:00Z", "last": "2026-01-09T11:58:30Z"}],
        });
        serde_json::from_value(report).unwrap()
    }

    #[test]
    fn a_report_is_readable_without_colours() {
        expect![[r#"
            kawaraban 0.1.0 is degraded, up 3d 4h; network ok; store ok: 1234 seen, 2 waiting, 1 dead letter
              - source conan: breaker open after 3 failures (connection_reset)

                SOURCE  STATE     BREAKER  SUCCESS  ITEMS  FAILED  LAST SUCCESS  LAST ERROR
             ●  ann     ok        closed    66.7 %     12       0  2h 3m ago
             ✖  conan   down      open      66.7 %     12       3  2h 3m ago     connection_reset 1m ago: reset by the peer�[31m after 17 bytes of what was…
             ▲  mal     degraded  closed    66.7 %     12       1  2h 3m ago     http_503 1m ago: HTTP 503
             ○  new     pending   closed         -     12       0  never

                ERROR (24 h)      COUNT  FIRST      LAST    SOURCES
             ▲  connection_reset      3  1h 0m ago  1m ago  conan

                DESTINATION  STATE     WAITING  OLDEST  DELIVERED  DEAD  LAST ERROR
             ▲  news         degraded        2      1m         40     1  rate_limited 1m ago: HTTP 429
        "#]].assert_eq(&anstream::adapter::strip_str(&rendered(&report(), None)).to_string());
    }

    #[test]
    fn a_failing_source_is_red_and_one_that_failed_once_is_yellow() {
        let text = rendered(&report(), None);
        let line = |name: &str| {
            text.lines().find(|line| line.contains(name) && !line.contains("breaker open")).unwrap().to_owned()
        };
        assert!(line("conan").contains("\u{1b}[38;5;9m ✖"), "{:?}", line("conan"));
        assert!(line("mal").contains("\u{1b}[38;5;11m ▲"), "{:?}", line("mal"));
        assert!(line("ann").contains("\u{1b}[38;5;10m ●"), "{:?}", line("ann"));
        assert!(!text.contains("\u{1b}[31m after"), "an escape sequence from outside reached the terminal");
    }

    #[test]
    fn spans_are_short() {
        assert_eq!([span(0), span(59), span(60), span(3599)], ["0s", "59s", "1m", "59m"]);
        assert_eq!([span(3600), span(86_399), span(86_400), span(273_600)], ["1h 0m", "23h 59m", "1d 0h", "3d 4h"]);
    }
}
