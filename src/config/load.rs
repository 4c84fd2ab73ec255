//! From a file to a [`Config`], or to every fault that keeps it from being one.

use std::{
    ffi::OsString,
    io::Read as _,
    ops::Range,
    path::{Path, PathBuf},
};

use toml::de::DeTable;

use super::{
    Config,
    diagnostic::{Diagnostic, Diagnostics},
    reader::{Report, Table},
    source_text::SourceText,
    validate,
};

/// Where the configuration is looked for when nothing names it.
const PATHS: [&str; 2] = ["./config/kawaraban.toml", "/etc/kawaraban/kawaraban.toml"];

/// Largest file that is read as a configuration: 10,000 sources are a tenth of it.
const LIMIT: u64 = 32 << 20;

/// Syntax errors reported of one file; a file that is no TOML at all would have one a line.
const SYNTAX_ERRORS: usize = 50;

/// How to read a configuration.
pub struct LoadOptions<'a> {
    /// Whether secrets that stand elsewhere (environment, files, credentials) are read. If not,
    /// placeholders stand in for them, and the configuration is good for checking only.
    pub read_secrets: bool,
    /// The environment: `STATE_DIRECTORY`, `CREDENTIALS_DIRECTORY`, and what secrets name.
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
}

/// A configuration without faults.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is allowed, but hardly meant.
    pub warnings: Vec<Diagnostic>,
}

/// The file to read: the command line's, else `$KAWARABAN_CONFIG`, else the first that exists of
/// `./config/kawaraban.toml` and `/etc/kawaraban/kawaraban.toml`.
///
/// # Errors
/// None of them is there; the message lists what was tried.
pub fn find(cli: Option<&Path>, env: &dyn Fn(&str) -> Option<OsString>) -> Result<PathBuf, Diagnostics> {
    if let Some(path) = cli {
        return Ok(path.to_owned());
    }
    if let Some(path) = env("KAWARABAN_CONFIG").filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    // one that is there but cannot be read is an error to be told, and not passed over
    let found = PATHS.iter().map(Path::new).find(|path| path.symlink_metadata().is_ok());
    found.map(Path::to_owned).ok_or_else(|| {
        let message = format!(
            "no configuration: --config is not given, $KAWARABAN_CONFIG is not set, and there is neither {} nor {}",
            PATHS[0], PATHS[1]
        );
        Diagnostic::of_file(PATHS[0], message).into()
    })
}

/// Reads and checks a configuration.
///
/// # Errors
/// Every fault of the file at once, in its order.
pub fn load(path: &Path, options: &LoadOptions<'_>) -> Result<Loaded, Diagnostics> {
    let bytes = read(path).map_err(|error| Diagnostic::of_file(path, format!("cannot be read: {error}")))?;
    let text = std::str::from_utf8(&bytes).map_err(|error| not_utf8(path, &bytes, error.valid_up_to()))?;
    parse(path, text, options)
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT {
        return Err(std::io::Error::other("it has more than 32 MiB, which is no configuration"));
    }
    Ok(bytes)
}

fn not_utf8(path: &Path, bytes: &[u8], offset: usize) -> Diagnostic {
    let valid = bytes.get(..offset).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
    let place = SourceText::new(valid).place(offset);
    Diagnostic {
        file: path.to_owned(),
        line: place.line,
        column: place.column,
        key: "syntax".to_owned(),
        message: "not UTF-8 from here on; TOML is UTF-8".to_owned(),
    }
}

fn parse(path: &Path, text: &str, options: &LoadOptions<'_>) -> Result<Loaded, Diagnostics> {
    let report = Report::new(path, text);
    let (document, syntax) = DeTable::parse_recoverable(text);
    for error in syntax.iter().take(SYNTAX_ERRORS) {
        let span = error.span().unwrap_or(0..0);
        report.error(&span, &key_at(&report.text, &span), error.message());
    }
    if syntax.len() > SYNTAX_ERRORS {
        let message = format!("{} more syntax errors", syntax.len() - SYNTAX_ERRORS);
        report.error(&(text.len()..text.len()), "syntax", message);
    }
    let config = match syntax.is_empty() {
        true => validate::config(Table::root(&report, document.get_ref()), path, options),
        false => None,
    };
    let (errors, warnings) = report.into_parts();
    match config {
        Some(config) if errors.is_empty() => Ok(Loaded { config, warnings }),
        _ => Err(Diagnostics(errors)),
    }
}

/// The key that a syntax error's line sets; `syntax` where it sets none that we know: what stands
/// before an equals sign may as well be the inside of a secret.
fn key_at(text: &SourceText<'_>, span: &Range<usize>) -> String {
    let line = text.line(text.place(span.start).line);
    let key = line.split('=').next().unwrap_or_default().trim();
    if validate::KEYS.contains(&key) { key.to_owned() } else { "syntax".to_owned() }
}
