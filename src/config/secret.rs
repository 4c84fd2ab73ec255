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

use std::{
    cell::Cell,
    ffi::OsString,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use super::reader::Value;

/// Where secrets are looked for.
pub(super) struct Secrets<'a> {
    pub(super) env: &'a dyn Fn(&str) -> Option<OsString>,
    /// The configuration's directory.
    pub(super) base: &'a Path,
    /// Whether they are read; if not, those that stand elsewhere are [`Found::Elsewhere`].
    pub(super) read: bool,
    /// Whether the file itself holds one that gives access to something.
    pub(super) plain: &'a Cell<bool>,
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

/// What a systemd unit with a user of its own needs instead of a file.
const UNDER_SYSTEMD: &str = "the systemd unit runs as a user of its own, so give it the file with LoadCredential=NAME:PATH and write { credential = \"NAME\" }";

/// What to say of a string that a shell would expand.
pub(super) const VARIABLE: &str =
    "looks like a variable, and strings are taken as they are: write { env = \"NAME\" } for an environment variable";

/// What to say of a path that a shell would expand.
pub(super) const HOME: &str = "\"~\" is not expanded here: write the whole path";

/// Where systemd keeps the credentials of the unit while it runs; root can read them there.
const OF_THE_UNIT: &str = "/run/credentials/kawaraban.service";

impl<'a> Secrets<'a> {
    /// The same, reading secrets or not.
    pub(super) fn reading(&self, read: bool) -> Secrets<'a> {
        Secrets { read, ..*self }
    }

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
            let text = value.string(FORM)?;
            if is_variable(text) {
                value.warn(VARIABLE);
            }
            text.to_owned()
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
            "file" if name.contains("://") => Err("is a URL; expected the path of a file (it is not shown)".to_owned()),
            "file" if name.starts_with('~') => Err(HOME.to_owned()),
            "file" => self.file(&self.base.join(name), place),
            _ => self.credential(name),
        };
        result.map(Found::Text).map_err(|error| place.error(error)).ok()
    }

    fn file(&self, path: &Path, place: &Value<'_>) -> Result<String, String> {
        let text = read(path).map_err(|error| match error {
            Unread::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                format!("cannot read {}: {error}; {UNDER_SYSTEMD}", path.display())
            }
            error => error.told(path),
        })?;
        if readable_by_all(path) {
            place.warn(format_args!(
                "every user of this machine can read {}: chmod 600 it; {UNDER_SYSTEMD}",
                path.display()
            ));
        }
        Ok(text)
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
        if let Some(directory) = (self.env)("CREDENTIALS_DIRECTORY").filter(|path| !path.is_empty()) {
            let path = Path::new(&directory).join(name);
            return read(&path).map_err(|error| error.told(&path));
        }
        read(&Path::new(OF_THE_UNIT).join(name)).map_err(|_| {
            format!(
                "credential {name} is not available: $CREDENTIALS_DIRECTORY is not set; systemd sets it for a unit with \
                 LoadCredential={name}:PATH. Beside the running unit, root can use its credentials: try sudo"
            )
        })
    }
}

/// Why there is no text.
enum Unread {
    Io(io::Error),
    Long,
    NotUtf8,
}

impl Unread {
    fn told(self, path: &Path) -> String {
        let path = path.display();
        match self {
            Self::Io(error) => format!("cannot read {path}: {error}"),
            Self::Long => format!("{path} is longer than {LIMIT} bytes"),
            Self::NotUtf8 => format!("{path} is not UTF-8"),
        }
    }
}

fn read(path: &Path) -> Result<String, Unread> {
    let mut text = Vec::new();
    let file = std::fs::File::open(path).map_err(Unread::Io)?;
    file.take(LIMIT + 1).read_to_end(&mut text).map_err(Unread::Io)?;
    if text.len() as u64 > LIMIT {
        return Err(Unread::Long);
    }
    String::from_utf8(text).map_err(|_| Unread::NotUtf8)
}

/// Whether users that are neither its owner nor in its group can read a file.
pub(super) fn readable_by_all(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

/// Whether a text is what a shell would expand, such as `$NAME` or `${NAME}`.
pub(super) fn is_variable(text: &str) -> bool {
    let Some(name) = text.strip_prefix('$') else { return false };
    let name = name.strip_prefix('{').and_then(|name| name.strip_suffix('}')).unwrap_or(name);
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
