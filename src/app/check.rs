//! `check --fetch`: does every source answer, and with what?

use std::{process::ExitCode, rc::Rc, sync::Arc};

use comfy_table::{Cell, Color};
use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::{
    actors::arrivals,
    app::{
        ask::{Asked, ask},
        table::{self, Column, Overflow},
    },
    config::{self, Config, diagnostic::Diagnostic},
    fetch::Tls,
    model::{ErrorKind, Line, line::escaped_json},
    poll::document,
    store::known_sources,
};

/// Sources asked at the same time.
const AT_ONCE: usize = 32;

/// One source's row.
#[derive(Debug, Serialize)]
struct Row {
    source: String,
    outcome: &'static str,
    items: Option<usize>,
    format: Option<&'static str>,
    latency_ms: u64,
    attempts: u32,
    #[serde(rename = "error_kind")]
    kind: Option<ErrorKind>,
    message: Option<Line>,
    advice: Vec<String>,
}

impl Row {
    fn new(source: &config::Source, asked: Asked) -> Self {
        let base = Self {
            source: source.name.to_string(),
            outcome: "ok",
            items: None,
            format: None,
            latency_ms: u64::try_from(asked.latency.as_millis()).unwrap_or(u64::MAX),
            attempts: asked.attempts,
            kind: None,
            message: None,
            advice: Vec::new(),
        };
        match asked.result {
            Ok(read) => Self {
                items: Some(read.parsed.keys.len()),
                format: Some(read.parsed.format),
                advice: read.advice,
                ..base
            },
            Err(failure) => {
                Self { outcome: "failed", kind: Some(failure.kind), message: Some(failure.message), ..base }
            }
        }
    }

    fn note(&self) -> String {
        let advice = self.advice.iter().map(String::as_str);
        self.message.as_deref().into_iter().chain(advice).collect::<Vec<_>>().join("; ")
    }
}

/// Polls every enabled source once. Exit status 0 if all answered, else 3.
pub fn run(config: &Config, json: bool) -> ExitCode {
    let sources: Vec<_> = config.sources.iter().filter(|source| source.enabled).cloned().collect();
    let rows = actix::System::new().block_on(ask_all(&sources));
    let failed = rows.iter().filter(|row| row.kind.is_some()).count();
    if json {
        for row in &rows {
            // serializing our own plain struct cannot fail
            anstream::println!("{}", escaped_json(&serde_json::to_string(row).unwrap_or_default()));
        }
    } else {
        print(&rows);
        let disabled = config.sources.len() - sources.len();
        let rest = if disabled > 0 { format!(", {disabled} disabled") } else { String::new() };
        anstream::println!("\n{} of {} sources answered{rest}", rows.len() - failed, rows.len());
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(3) }
}

/// New sources with the URL of one that left, as far as the last daemon wrote down which it knew.
pub fn seem_renamed(config: &Config) -> Vec<Diagnostic> {
    let known = known_sources::read(&config.state_dir);
    let configured = |name: &str| config.sources.iter().any(|source| source.name.as_str() == name);
    let former: Vec<_> = known.iter().filter(|(name, _)| !configured(name)).collect();
    let new = config
        .sources
        .iter()
        .filter(|source| source.enabled && source.was.is_none() && !known.contains_key(source.name.as_str()));
    let hints = new.filter_map(|source| {
        let address = document::address(source);
        let (was, _) = former.iter().find(|(_, former)| **former == address)?;
        let key = format!("source[{}]", source.name);
        Some(Diagnostic { key, ..Diagnostic::of_file(&config.path, arrivals::hint(&source.name, was)) })
    });
    hints.collect()
}

async fn ask_all(sources: &[Arc<config::Source>]) -> Vec<Row> {
    let tls = Rc::new(Tls::new());
    let bar = progress(sources.len());
    let asked = stream::iter(sources).map(|source| {
        let (tls, bar) = (tls.clone(), bar.clone());
        async move {
            let row = Row::new(source, ask(source, &tls).await);
            bar.set_message(row.source.clone());
            bar.inc(1);
            row
        }
    });
    let rows = asked.buffered(AT_ONCE).collect().await;
    bar.finish_and_clear();
    rows
}

/// On standard error, and only where that is a terminal.
fn progress(sources: usize) -> ProgressBar {
    let bar = ProgressBar::new(sources as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:30.cyan/dim} {pos}/{len} sources  {elapsed}  {wide_msg}") {
        bar.set_style(style);
    }
    bar
}

fn print(rows: &[Row]) {
    const COLUMNS: [Column; 7] = [
        Column::text(""),
        Column::text("SOURCE"),
        Column::number("ITEMS"),
        Column::text("FORMAT").spare(2),
        Column::number("LATENCY").spare(1),
        Column::text("ERROR"),
        Column::text("NOTE"),
    ];
    let cells = |row: &Row| {
        let (mark, color) = match (&row.kind, row.advice.is_empty()) {
            (Some(_), _) => ("✖", Color::Red),
            (None, false) => ("▲", Color::Yellow),
            (None, true) => ("●", Color::Green),
        };
        vec![
            Cell::new(mark).fg(color),
            Cell::new(&row.source),
            Cell::new(row.items.map(|items| items.to_string()).unwrap_or_default()),
            Cell::new(row.format.unwrap_or_default()),
            Cell::new(format!("{} ms", row.latency_ms)),
            Cell::new(row.kind.map(|kind| kind.to_string()).unwrap_or_default()),
            Cell::new(row.note()),
        ]
    };
    let rows = rows.iter().map(cells).collect();
    anstream::print!("{}", table::rendered(&COLUMNS, rows, Overflow::Wrap, table::terminal_width()));
}
