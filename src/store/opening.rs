//! From a state directory to an open database.
//!
//! What the machine does (a full disk, a read that fails, a kill) leaves everything as it is, to be tried again. Only
//! contents that are wrong, each time that they are looked at, are set aside.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use slog::{crit, info, warn};

use super::{
    Options,
    commits::{Commits, Committed},
    database::{Database, Fault},
    directory, disk,
    meta::Meta,
    records::{self, Loss, Renamed},
    saved_page::SavedPages,
    spare::Spare,
    stall::Progress,
};
use crate::model::Name;

/// So many looks at a database must find it damaged.
const LOOKS: usize = 3;
/// How earlier versions counted opens that were not survived.
const OPENING: &str = "opening";

/// What an opening needs to know.
pub(super) struct Opening<'o> {
    pub(super) options: &'o Options,
    pub(super) configured: &'o Mutex<Vec<Name>>,
    pub(super) progress: &'o Arc<Progress>,
    /// What the database said after the last commit that this process answered.
    pub(super) answered: Option<Meta>,
    /// A sync failed: what the kernel takes for written may not be.
    pub(super) doubtful: bool,
}

impl Opening<'_> {
    /// Opens the database. A damaged one is set aside and a new one begun.
    pub(super) fn open(&self) -> Result<(Database, Commits), Fault> {
        let dir = &self.options.dir;
        match fs::remove_file(dir.join(OPENING)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        if let Some(loss) = Loss::noted(dir)? {
            return self.begin_anew(&loss);
        }
        let (mut commits, recorded) = Commits::open(&dir.join("commits"))?;
        // what this process answered is known better than the file can tell
        let known = newest(recorded, self.answered.map(|meta| meta.committed));
        match self.look_closely(known) {
            Ok(database) => {
                record(&database, &mut commits)?;
                Ok((database, commits))
            }
            Err(Fault::Io(reason)) => Err(Fault::Io(reason)),
            Err(Fault::Damaged(reason)) => {
                drop(commits);
                self.lose(&reason, known).map_err(|error| Fault::Io(format!("damaged ({reason}), and {error}")))
            }
        }
    }

    fn look_closely(&self, known: Option<Committed>) -> Result<Database, Fault> {
        let db = self.options.dir.join("db");
        let mut spare = Spare::of(&db)?;
        if !db.join("db").exists() && known.is_some_and(|known| known.commit > 0) {
            return Err(Fault::Damaged("its file is missing".to_owned()));
        }
        if self.doubtful {
            disk::rewrite(&db)?;
        }
        for _ in 1..LOOKS {
            match self.look(&db, known) {
                Err(Fault::Damaged(_)) if spare.is_whole() => spare = spare.put_back()?,
                looked => return looked,
            }
        }
        let looked = self.look(&db, known);
        if matches!(looked, Err(Fault::Damaged(_))) && spare.is_whole() {
            // what is set aside is what was found
            spare.put_back()?;
        }
        looked
    }

    fn look(&self, db: &Path, known: Option<Committed>) -> Result<Database, Fault> {
        let mut database = Database::open(db, known, self.progress)?;
        self.rename(&mut database)?;
        let mut group = database.group();
        let now = (self.options.now)();
        let forgotten = records::purge(&database, &mut group, &self.configured(), now)?;
        database.commit(group)?;
        let pages = SavedPages::new(&self.options.dir);
        for name in forgotten {
            if let Err(error) = pages.remove(&name) {
                warn!(self.options.log, "the saved page of a source that was removed could not be deleted: {error}"; "source" => name);
            }
        }
        Ok(database)
    }

    /// A source with a new name takes its state over before anything is forgotten.
    fn rename(&self, database: &mut Database) -> Result<(), Fault> {
        let configured = self.configured();
        let mut group = database.group();
        for (old, new) in self.options.renames.iter().filter(|(old, _)| !configured.contains(old)) {
            if records::rename(database, &mut group, old, new)? == Renamed::TakenOver {
                info!(self.options.log, "the source has a new name and goes on where it was"; "source" => new, "was" => old);
            }
        }
        database.commit(group)
    }

    /// Notes that the database is damaged, before anything is moved: the note is what makes the next
    /// one reseed, also if this process ends or the disk is full before there is a next one.
    fn lose(&self, reason: &str, known: Option<Committed>) -> Result<(Database, Commits), Fault> {
        let (dir, at) = (&self.options.dir, (self.options.now)());
        // the counter's file is made before this is known
        let left = dir.join("db").exists() || fs::metadata(dir.join("commits")).is_ok_and(|found| found.len() > 0);
        let loss = Loss {
            at,
            reason: reason.to_owned(),
            aside: if left { unused(dir, at) } else { String::new() },
            undelivered: known.unwrap_or_default().outbox,
            acknowledged: false,
        };
        loss.note(dir)?;
        crit!(self.options.log, "the store is damaged: {reason}; it is set aside, sources mark what they show as seen and deliver only what is new after that";
            "kind" => "store", "aside" => &loss.aside, "undelivered_lost" => loss.undelivered);
        self.begin_anew(&loss)
    }

    /// Sets a damaged database aside and begins a new one, in which every configured source reseeds. May
    /// be done again from the start until it is done.
    fn begin_anew(&self, loss: &Loss) -> Result<(Database, Commits), Fault> {
        let dir = &self.options.dir;
        if !loss.aside.is_empty() {
            set_aside(dir, &dir.join(&loss.aside))
                .map_err(|error| Fault::Io(format!("it cannot be set aside: {error}")))?;
        }
        let (mut commits, _) = Commits::open(&dir.join("commits"))?;
        let mut database = Database::open(&dir.join("db"), None, self.progress)?;
        let mut group = database.group();
        // destinations remember how far they have come, so that no place may be given out again
        let next = self.answered.map_or(1, |meta| meta.next_seq);
        group.meta().next_seq = group.meta().next_seq.max(next);
        records::begin_reseeding(&mut group, loss, &self.configured())?;
        database.commit(group)?;
        record(&database, &mut commits)?;
        Loss::forget_note(dir)?;
        Ok((database, commits))
    }

    fn configured(&self) -> Vec<Name> {
        self.configured.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Writes what the database holds beside it, so that the file is there and can be read before anything is answered.
fn record(database: &Database, commits: &mut Commits) -> Result<(), Fault> {
    commits.write(database.meta().committed)?;
    Ok(commits.sync()?)
}

fn newest(one: Option<Committed>, other: Option<Committed>) -> Option<Committed> {
    one.into_iter().chain(other).max_by_key(|committed| committed.commit)
}

/// A name for what is set aside that nothing has yet.
fn unused(dir: &Path, at: Timestamp) -> String {
    let name = format!("damaged-{}", at.strftime("%Y%m%dT%H%M%SZ"));
    let numbered = (2_u32..).map(|number| format!("{name}-{number}"));
    let mut names = std::iter::once(name.clone()).chain(numbered);
    names.find(|name| dir.join(name).symlink_metadata().is_err()).unwrap_or_default()
}

/// Moves what is damaged. What is found where something was moved from before is a new database that was
/// not finished, and holds nothing.
fn set_aside(dir: &Path, aside: &Path) -> io::Result<()> {
    fs::create_dir_all(aside)?;
    let moved = aside.join("db").exists();
    for name in ["commits", "db"] {
        let from = dir.join(name);
        let done = match name {
            "db" if moved => fs::remove_dir_all(from),
            _ if moved => fs::remove_file(from),
            _ => fs::rename(from, aside.join(name)),
        };
        match done {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    directory::sync(aside)?;
    directory::sync(dir)
}
