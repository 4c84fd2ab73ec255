//! SECRETs: a plain string, or where to read one.
//!
//! | form | is |
//! | --- | --- |
//! | `"…"` | the secret itself |
//! | `{ env = "NAME" }` | an environment variable |
//! | `{ file = "PATH" }` | a file, relative to the configuration's |
//! | `{ credential = "NAME" }` | a file in `$CREDENTIALS_DIRECTORY`, as systemd's `LoadCredential=` makes them |
//!
//! A final newline is dropped, an empty one is a fault. No message says more of one than where it was
//! looked for.

use std::{cell::Cell, ffi::OsString, io::Read as _, path::Path};

use super::reader::Value;

/// Where secrets are looked for.
pub(super) struct Secrets<'a> {
    pub(super) env: &'a dyn Fn(&str) -> Option<OsString>,
    /// The configuration's directory.
    pub(super) base: &'a Path,
    /// Whether they are read; if not, those that stand elsewhere are [`Found::Elsewhere`].
    pub(super) read: bool,
    /// Whether the file itself holds one that gives access to something.
    pub(super) plain: Cell<bool>,
}

/// What became of a SECRET.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// The secret.
    Text(String),
    /// It stands elsewhere, and secrets are not read.
    Elsewhere,
}

/// Longest secret that is read from a file.
const LIMIT: u64 = 64 * 1024;

const FORM: &str =
    "a string, { env = \"NAME\" }, { file = \"PATH\" } or { credential = \"NAME\" } (a SECRET, so it is not shown)";

impl Secrets<'_> {
    /// Reads one; every fault is reported.
    pub(super) fn get(&self, value: &Value<'_>) -> Option<Found> {
        self.plain.set(self.plain.get() || value.as_str().is_some());
        self.get_harmless(value)
    }

    /// As [`Secrets::get`], for what is a secret only at times: no one is warned of it in the file.
    pub(super) fn get_harmless(&self, value: &Value<'_>) -> Option<Found> {
        let value = value.clone().confidential();
        let text = if value.is_table() {
            match self.referred(&value)? {
                Found::Text(text) => text,
                elsewhere @ Found::Elsewhere => return Some(elsewhere),
            }
        } else {
            value.string(FORM)?.to_owned()
        };
        let text = text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text)).unwrap_or(&text);
        if text.is_empty() {
            value.error("is empty");
            return None;
        }
        Some(Found::Text(text.to_owned()))
    }

    fn referred(&self, value: &Value<'_>) -> Option<Found> {
        let mut table = value.table()?;
        let places = ["env", "file", "credential"].map(|key| (key, table.get(key)));
        table.finish();
        let mut given = places.iter().filter_map(|(key, place)| Some((*key, place.as_ref()?)));
        let (Some((kind, place)), None) = (given.next(), given.next()) else {
            value.error(format_args!("expected exactly one of env, file and credential; a SECRET is {FORM}"));
            return None;
        };
        let name = place.string("a string")?;
        if name.is_empty() || name.contains('\0') {
            place.error("is empty, or no name");
            return None;
        }
        if !self.read {
            return Some(Found::Elsewhere);
        }
        let result = match kind {
            "env" => self.variable(name),
            "file" if name.contains("://") => Err("is a URL; a file's path is due (it is not shown)".to_owned()),
            "file" => read(&self.base.join(name)),
            _ => self.credential(name),
        };
        result.map(Found::Text).map_err(|error| place.error(error)).ok()
    }

    fn variable(&self, name: &str) -> Result<String, String> {
        // what is no name may be the secret itself, and is not repeated
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err("is no name of an environment variable (it is not shown)".to_owned());
        }
        let value = (self.env)(name).ok_or_else(|| format!("the environment has no variable {name}"))?;
        value.into_string().map_err(|_| format!("the environment variable {name} is not UTF-8"))
    }

    fn credential(&self, name: &str) -> Result<String, String> {
        if name.contains('/') || name == "." || name == ".." {
            return Err("a credential is named without a path".to_owned());
        }
        let Some(directory) = (self.env)("CREDENTIALS_DIRECTORY").filter(|path| !path.is_empty()) else {
            return Err(format!(
                "credential {name} is not there: $CREDENTIALS_DIRECTORY is not set; systemd sets it where the unit has \
                 LoadCredential={name}:PATH"
            ));
        };
        read(&Path::new(&directory).join(name))
    }
}

fn read(path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let mut text = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(LIMIT + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > LIMIT {
        return Err(format!("{} is longer than {LIMIT} bytes", path.display()));
    }
    String::from_utf8(text).map_err(|_| format!("{} is not UTF-8", path.display()))
}
