//! Has what sled wrote on disk. sled 0.34 itself calls `sync_file_range`, which writes data and neither the
//! file's length nor where its blocks lie, nor does it flush the disk's own cache: a power cut takes it all back.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::directory;

/// The files of an open database.
#[derive(Debug)]
pub(super) struct Disk {
    data: File,
    blobs: PathBuf,
    /// The last blob that is on disk. sled numbers them upwards.
    newest_blob: Option<i64>,
    /// When the blobs' directory last changed, where that was looked at: looking again would find nothing new.
    scanned: Option<SystemTime>,
}

/// A directory's time has the grain of the kernel's clock, so that one that has just changed may change again
/// without a new time.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

impl Disk {
    /// The files of the database in `dir`, just opened: all of them are on disk when this returns.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let mut disk =
            Self { data: File::open(dir.join("db"))?, blobs: dir.join("blobs"), newest_blob: None, scanned: None };
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                File::open(entry.path())?.sync_all()?;
            }
        }
        disk.sync()?;
        directory::sync(&disk.blobs)?;
        directory::sync(dir)?;
        directory::sync(dir.parent().unwrap_or(dir))?;
        Ok(disk)
    }

    /// Returns when everything that sled has written is on disk.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.sync_blobs()?;
        self.data.sync_data()
    }

    /// Whether the file still has a name.
    pub(super) fn is_there(&self) -> bool {
        self.data.metadata().map_or(true, |data| data.nlink() > 0)
    }

    /// Large pages lie in files of their own, which sled never syncs. Where none is new, this opens no file: a commit
    /// must not need a descriptor.
    fn sync_blobs(&mut self) -> io::Result<()> {
        let changed = fs::metadata(&self.blobs)?.modified()?;
        if self.scanned == Some(changed) {
            return Ok(());
        }
        let mut newest = self.newest_blob;
        for entry in fs::read_dir(&self.blobs)? {
            let entry = entry?;
            let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            if self.newest_blob >= Some(number) {
                continue;
            }
            match File::open(entry.path()) {
                Ok(blob) => blob.sync_all()?,
                // sled removes those that it has written elsewhere
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            newest = newest.max(Some(number));
        }
        if newest != self.newest_blob {
            directory::sync(&self.blobs)?;
            self.newest_blob = newest;
        }
        let settled = SystemTime::now().duration_since(changed).is_ok_and(|age| age > SETTLED_AFTER);
        self.scanned = settled.then_some(changed);
        Ok(())
    }
}

/// What an earlier process has written and not synced is on disk when this returns. sled's snapshot must never speak
/// of what a power cut can still take.
pub(super) fn settle(dir: &Path) -> io::Result<()> {
    match File::open(dir.join("db")) {
        Ok(data) => data.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes every file over with its own bytes. After a sync that failed, the kernel takes what it could not write for
/// written; this has it written again.
pub(super) fn rewrite(dir: &Path) -> io::Result<()> {
    for folder in [dir.to_owned(), dir.join("blobs")] {
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                rewrite_file(&entry.path())?;
            }
        }
    }
    Ok(())
}

fn rewrite_file(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    copy_pages(&file, &file)?;
    file.sync_all()
}

/// Writes what one file holds to the same places of another. Pages of zeros are left out: they are mostly holes, which
/// take no room.
pub(super) fn copy_pages(from: &File, to: &File) -> io::Result<()> {
    const PAGE: usize = 4096;
    static ZEROS: [u8; PAGE] = [0; PAGE];
    let mut block = vec![0; 64 * PAGE];
    let mut at = 0;
    loop {
        let read = from.read_at(&mut block, at)?;
        if read == 0 {
            break;
        }
        for page in block[..read].chunks(PAGE) {
            if page != &ZEROS[..page.len()] {
                to.write_all_at(page, at)?;
            }
            at += page.len() as u64;
        }
    }
    if to.metadata()?.len() == at { Ok(()) } else { to.set_len(at) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewriting_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("blobs")).unwrap();
        let mut bytes: Vec<u8> = (0..700_001_u32).map(|at| (at % 251) as u8).collect();
        bytes[300_000..600_000].fill(0);
        bytes.extend([0; 10_000]);
        for name in ["db", "blobs/12"] {
            fs::write(dir.path().join(name), &bytes).unwrap();
        }
        rewrite(dir.path()).unwrap();
        for name in ["db", "blobs/12"] {
            assert_eq!(fs::read(dir.path().join(name)).unwrap(), bytes);
        }
        rewrite(&dir.path().join("missing")).unwrap();
        let copy = File::create(dir.path().join("copy")).unwrap();
        copy_pages(&File::open(dir.path().join("db")).unwrap(), &copy).unwrap();
        assert_eq!(fs::read(dir.path().join("copy")).unwrap(), bytes);
    }
}
