//! A copy of the database for as long as it takes to open it.
//!
//! sled takes a read that fails while it opens for the end of its log, cuts off what lies behind, and says nothing.
//! So the bytes are read once by us first, where an error is an error, into a copy that costs nothing but memory of the
//! kernel's. If the database then looks damaged, the copy is put in its place and opened again: damage comes again, a
//! read that failed does not. What is set aside in the end is what was found, untouched by sled.
//!
//! | directory | is |
//! | --- | --- |
//! | `db.copy` | a copy, perhaps not whole; removed |
//! | `db.sound` | a whole copy on its way to `db`; always finished |
//! | `db.tried` | what sled left of an earlier try; removed |

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use super::{directory, disk};

/// The copy of a database; removed when dropped.
#[derive(Debug)]
pub(super) struct Spare {
    db: PathBuf,
    whole: bool,
}

impl Spare {
    /// Reads all of the database in `db`, and keeps a copy if there is room for one.
    pub(super) fn of(db: &Path) -> io::Result<Self> {
        finish(db)?;
        let mut spare = Self { db: db.to_owned(), whole: false };
        if !db.exists() {
            return Ok(spare);
        }
        match copy(db, &spare.path("copy")) {
            Ok(()) => {
                spare.whole = true;
                Ok(spare)
            }
            Err(error) if is_full(&error) => {
                read(db)?;
                Ok(spare)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether it can be put back.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Puts the copy in the database's place, and keeps another.
    pub(super) fn put_back(self) -> io::Result<Self> {
        let db = self.db.clone();
        let (copied, sound) = (self.path("copy"), self.path("sound"));
        sync_all(&copied)?;
        fs::rename(copied, sound)?;
        drop(self);
        Self::of(&db)
    }

    fn path(&self, what: &str) -> PathBuf {
        self.db.with_added_extension(what)
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        // what stays is removed at the next open
        let _ = remove(&self.path("copy"));
    }
}

/// Ends what a process that was killed had begun.
fn finish(db: &Path) -> io::Result<()> {
    let path = |what: &str| db.with_added_extension(what);
    if path("sound").exists() {
        if db.exists() {
            remove(&path("tried"))?;
            fs::rename(db, path("tried"))?;
        }
        fs::rename(path("sound"), db)?;
        directory::sync(db.parent().unwrap_or(db))?;
    }
    remove(&path("tried"))?;
    remove(&path("copy"))
}

fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(to)?;
    each(from, |entry, is_dir| {
        let into = to.join(entry.file_name().unwrap_or_default());
        if is_dir { copy(entry, &into) } else { disk::copy_pages(&File::open(entry)?, &File::create(into)?) }
    })
}

fn read(dir: &Path) -> io::Result<()> {
    each(dir, |entry, is_dir| match is_dir {
        true => read(entry),
        false => io::copy(&mut File::open(entry)?, &mut io::sink()).map(drop),
    })
}

fn sync_all(dir: &Path) -> io::Result<()> {
    each(dir, |entry, is_dir| if is_dir { sync_all(entry) } else { File::open(entry)?.sync_all() })?;
    directory::sync(dir)
}

fn each(dir: &Path, mut visit: impl FnMut(&Path, bool) -> io::Result<()>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        visit(&entry.path(), entry.file_type()?.is_dir())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, text: &str) {
        fs::create_dir_all(dir.join("blobs")).unwrap();
        fs::write(dir.join("db"), text).unwrap();
        fs::write(dir.join("blobs/7"), text).unwrap();
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_cut_off_is_put_back_and_nothing_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("db");
        write(&db, "whole");
        let spare = Spare::of(&db).unwrap();
        assert!(spare.is_whole());
        write(&db, "cut");
        fs::write(db.join("snap.1"), "new").unwrap();
        let spare = spare.put_back().unwrap();
        assert_eq!(fs::read(db.join("blobs/7")).unwrap(), b"whole");
        assert_eq!(names(&db), ["blobs", "db"]);
        drop(spare);
        assert_eq!(names(dir.path()), ["db"]);
    }

    #[test]
    fn a_kill_between_any_two_steps_leaves_a_database() {
        for (found, expected) in [
            (&["db", "db.copy"][..], "db"),
            (&["db", "db.sound"], "db.sound"),
            (&["db.sound", "db.tried"], "db.sound"),
            (&["db", "db.sound", "db.tried"], "db.sound"),
            (&["db", "db.tried"], "db"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            found.iter().for_each(|name| write(&dir.path().join(name), name));
            drop(Spare::of(&dir.path().join("db")).unwrap());
            assert_eq!(names(dir.path()), ["db"], "{found:?}");
            assert_eq!(fs::read_to_string(dir.path().join("db/db")).unwrap(), expected, "{found:?}");
        }
    }

    #[test]
    fn a_database_that_is_not_there_has_no_copy() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!Spare::of(&dir.path().join("db")).unwrap().is_whole());
    }
}
