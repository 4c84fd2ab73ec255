//! Names and fingerprints of the URLs of all sources that have state, in a file beside the database: `check` reads
//! it while a daemon holds the database.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

const FILE: &str = "sources.json";

/// By name, the fingerprint of the URL.
pub type KnownSources = BTreeMap<String, u64>;

/// Replaces the file.
pub fn write(dir: &Path, known: &KnownSources) -> io::Result<()> {
    let unfinished = dir.join("sources.json.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(&serde_json::to_vec(known)?)?;
    fs::rename(unfinished, dir.join(FILE))
}

/// What the file says; nothing where it cannot be read.
pub fn read(dir: &Path) -> KnownSources {
    let text = fs::read(dir.join(FILE)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_a_file_that_is_none_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()), KnownSources::new());
        let known = KnownSources::from([("a".to_owned(), u64::MAX), ("b".to_owned(), 0)]);
        write(dir.path(), &known).unwrap();
        write(dir.path(), &known).unwrap();
        assert_eq!(read(dir.path()), known);
        fs::write(dir.path().join(FILE), "{").unwrap();
        assert_eq!(read(dir.path()), KnownSources::new());
    }
}
