//! `check`: is the configuration in order?

use std::{path::Path, process::ExitCode};

use anstyle::{AnsiColor, Style};
use rustix::{
    fs::{Access, access},
    io::Errno,
};
use serde::Serialize;

use super::{Global, INVALID, settings};
use crate::{
    app,
    config::{
        Config, DestinationKind,
        diagnostic::{Diagnostic, Diagnostics},
        load::Needed,
    },
    model::line::escaped_json,
};

/// What `check` was asked for.
pub(super) struct Options {
    pub(super) fetch: bool,
    pub(super) no_secrets: bool,
    pub(super) json: bool,
}

/// `check --json`
#[derive(Serialize)]
struct Outcome<'a> {
    valid: bool,
    file: Option<&'a Path>,
    sources: usize,
    destinations: usize,
    errors: &'a [Diagnostic],
    warnings: &'a [Diagnostic],
}

/// Exit status 0 in order, 2 not; with `--fetch` that of the sources.
pub(super) fn run(global: &Global, options: Options) -> Result<ExitCode, Diagnostics> {
    let secrets = match (options.no_secrets, options.fetch) {
        (true, _) => Needed::None,
        (false, true) => Needed::Sources,
        (false, false) => Needed::All,
    };
    let loaded = settings::load(global, secrets).and_then(|mut loaded| {
        loaded.warnings.extend(state_dir(&loaded.config)?);
        Ok(loaded)
    });
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(faults) => {
            if options.json {
                let file = faults.0.first().map(|fault| fault.file.as_path());
                print_json(&Outcome {
                    valid: false,
                    file,
                    sources: 0,
                    destinations: 0,
                    errors: &faults.0,
                    warnings: &[],
                });
            } else {
                anstream::print!("{}", listed(&faults.0, "error", AnsiColor::Red));
                let count = faults.0.len();
                anstream::eprintln!("{count} {}", if count == 1 { "error" } else { "errors" });
            }
            return Ok(ExitCode::from(INVALID));
        }
    };
    let mut loaded = loaded;
    loaded.warnings.extend(app::check::seem_renamed(&loaded.config));
    let config = &loaded.config;
    if options.fetch {
        anstream::eprint!("{}", listed(&loaded.warnings, "warning", AnsiColor::Yellow));
        return Ok(app::check::run(config, options.json));
    }
    if options.json {
        print_json(&Outcome {
            valid: true,
            file: Some(&config.path),
            sources: config.sources.len(),
            destinations: config.destinations.len(),
            errors: &[],
            warnings: &loaded.warnings,
        });
    } else {
        anstream::print!("{}", listed(&loaded.warnings, "warning", AnsiColor::Yellow));
        anstream::println!("{}", summary(config));
    }
    Ok(ExitCode::SUCCESS)
}

/// A state directory that could not be one is a fault; that this user cannot write to it is a warning, for the
/// daemon may be another user.
fn state_dir(config: &Config) -> Result<Option<Diagnostic>, Diagnostics> {
    let dir = std::path::absolute(&config.state_dir).unwrap_or_else(|_| config.state_dir.clone());
    let Some(nearest) = dir.ancestors().find(|path| path.symlink_metadata().is_ok()) else { return Ok(None) };
    let finding =
        |message: String| Diagnostic { key: "state_dir".to_owned(), ..Diagnostic::of_file(&config.path, message) };
    let (shown, nearest_shown) = (dir.display(), nearest.display());
    if !nearest.is_dir() {
        return Err(finding(format!("{shown} cannot be a directory: {nearest_shown} is none")).into());
    }
    match access(nearest, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Ok(None),
        Err(Errno::ROFS) => {
            Err(finding(format!("{shown}: nothing can be written to {nearest_shown}, which is read-only")).into())
        }
        Err(error) => Ok(Some(finding(format!(
            "{shown}: this user cannot write to {nearest_shown} ({error}); the daemon must be able to"
        )))),
    }
}

/// Faults that keep another command from its work, on standard error.
pub(super) fn explain(faults: &Diagnostics) {
    anstream::eprint!("{}", listed(&faults.0, "error", AnsiColor::Red));
}

fn print_json(outcome: &Outcome<'_>) {
    // only a path that is not UTF-8 keeps it from being JSON
    match serde_json::to_string(outcome) {
        Ok(json) => anstream::println!("{}", escaped_json(&json)),
        Err(error) => anstream::eprintln!("error: {error}"),
    }
}

/// One line each, as [`Diagnostic`] shows itself, in colours.
fn listed(diagnostics: &[Diagnostic], word: &str, color: AnsiColor) -> String {
    let style = Style::new().bold().fg_color(Some(color.into()));
    let line = |diagnostic: &Diagnostic| {
        let text = diagnostic.to_string();
        // faults are what is expected here; a warning says that it is one
        let word = if word == "warning" { format!("{style}{word}{style:#}: ") } else { String::new() };
        let colored = match text.split_once(&diagnostic.key) {
            Some((place, message)) if !diagnostic.key.is_empty() => {
                format!("{place}{style}{}{style:#}{message}", diagnostic.key)
            }
            _ => text,
        };
        format!("{word}{colored}\n")
    };
    diagnostics.iter().map(line).collect()
}

fn summary(config: &Config) -> String {
    let green = Style::new().bold().fg_color(Some(AnsiColor::Green.into()));
    let counted = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let enabled = config.sources.iter().filter(|source| source.enabled).count();
    let disabled = match config.sources.len() - enabled {
        0 => String::new(),
        disabled => format!(" and {disabled} disabled"),
    };
    let destinations: Vec<String> = config
        .destinations
        .iter()
        .map(|destination| {
            let kind = match destination.kind {
                DestinationKind::Discord { .. } => "discord",
                DestinationKind::Webhook { .. } => "webhook",
                DestinationKind::Stdout => "stdout",
            };
            if destination.name.as_str() == kind { kind.to_owned() } else { format!("{} ({kind})", destination.name) }
        })
        .collect();
    format!(
        "{green}ok{green:#}: {}: {}{disabled}, to {}",
        config.path.display(),
        counted(enabled, "source"),
        destinations.join(", ")
    )
}
