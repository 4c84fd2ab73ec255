//! `parse`: feed documents from files.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use url::Url;

use super::FOUND_FAILING;
use crate::{
    feed::{self, Hints, OwnedDocument},
    model::{
        Item,
        line::{escaped_json, one_line},
    },
};

/// What `parse` was told about the documents.
pub(super) struct Options {
    pub(super) json: bool,
    pub(super) base: Option<Url>,
    pub(super) content_type: Option<String>,
}

/// A line of `--json`.
#[derive(Serialize)]
#[serde(untagged)]
enum Line {
    Document {
        file: String,
        #[serde(flatten)]
        document: OwnedDocument,
    },
    Failed {
        file: String,
        error: Fault,
    },
}

#[derive(Serialize)]
struct Fault {
    kind: String,
    message: String,
}

/// Exit status 0 if every file is a feed, else 3.
pub(super) fn run(files: &[PathBuf], options: &Options) -> ExitCode {
    let mut failed = false;
    for path in files {
        let file = path.display().to_string();
        let line = match read(path, options) {
            Ok(document) => Line::Document { file, document },
            Err(error) => {
                failed = true;
                Line::Failed { file, error }
            }
        };
        match serde_json::to_string(&line) {
            Ok(json) if options.json => anstream::println!("{}", escaped_json(&json)),
            _ => anstream::print!("{}", shown(&line)),
        }
    }
    if failed { ExitCode::from(FOUND_FAILING) } else { ExitCode::SUCCESS }
}

fn read(path: &Path, options: &Options) -> Result<OwnedDocument, Fault> {
    let limit = feed::LARGEST as u64 + 1;
    let mut bytes = Vec::new();
    let read = match path.as_os_str().as_encoded_bytes() {
        b"-" => io::stdin().lock().take(limit).read_to_end(&mut bytes),
        _ => File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)),
    };
    read.map_err(|error| Fault { kind: "io".to_owned(), message: error.to_string() })?;
    let hints =
        Hints { content_type: options.content_type.as_deref(), base: options.base.as_ref(), ..Hints::default() };
    feed::parse(&bytes, &hints).map_err(|error| Fault { kind: error.kind().to_string(), message: error.to_string() })
}

/// For people: what the document is, then a line an item.
fn shown(line: &Line) -> String {
    let bold = Style::new().bold();
    let (red, yellow) =
        [AnsiColor::Red, AnsiColor::Yellow].map(|color| Style::new().fg_color(Some(color.into()))).into();
    match line {
        Line::Failed { file, error } => {
            format!("{bold}{}{bold:#}: {red}{}{red:#}: {}\n", one_line(file), error.kind, one_line(&error.message))
        }
        Line::Document { file, document } => {
            let title = document.title.as_deref().map(|title| format!(": {}", one_line(title))).unwrap_or_default();
            let count = document.items.len();
            let mut text = format!(
                "{bold}{}{bold:#}: {}, {}, {count} item{}{title}\n",
                one_line(file),
                document.format,
                document.encoding,
                if count == 1 { "" } else { "s" }
            );
            for warning in &document.warnings {
                text += &format!("  {yellow}warning{yellow:#}: {warning}: {}\n", warning.meaning());
            }
            text.extend(document.items.iter().map(item_line));
            text
        }
    }
}

/// A line for people.
pub(super) fn item_line(item: &Item) -> String {
    let dim = Style::new().dimmed();
    let time = item.time().map_or_else(|| " ".repeat(16), |time| time.strftime("%Y-%m-%d %H:%M").to_string());
    let title = one_line(item.title.as_deref().or(item.summary.as_deref()).unwrap_or("(no title)"));
    let link = one_line(item.link.as_deref().unwrap_or_default());
    format!("  {dim}{time}{dim:#}  {title}  {dim}{link}{dim:#}\n")
}
