//! The state directory: made for us alone, locked, and watched for being taken away.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use super::StartError;

/// Everything the program puts into a state directory. A directory that holds anything else may be the user's
/// own, and its mode is left alone.
const OURS: [&str; 6] = ["lock", "commits", "db", "pages", "loss.json", "opening"];
const LOCK: &str = "lock";

/// Ours for as long as it lives.
pub(super) struct StateDir {
    path: PathBuf,
    lock: File,
}

impl StateDir {
    /// Makes the directory where it is missing, takes its lock, and closes it to others.
    pub(super) fn take(path: &Path) -> Result<Self, StartError> {
        let failed = |error: io::Error| StartError::Io { dir: path.to_owned(), error };
        create(path).map_err(failed)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join(LOCK))
            .map_err(failed)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            rustix::io::Errno::WOULDBLOCK => StartError::Locked(path.to_owned()),
            error => failed(error.into()),
        })?;
        let dir = Self { path: path.to_owned(), lock };
        dir.tighten();
        Ok(dir)
    }

    /// Whether the directory at the path is no longer the one that was locked.
    pub(super) fn lost(&self) -> Option<&'static str> {
        let there = match fs::metadata(self.path.join(LOCK)) {
            Ok(there) => there,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Some("the state directory was deleted"),
            // a passing error says nothing of the directory
            Err(_) => return None,
        };
        let held = self.lock.metadata().ok()?;
        let same = (held.dev(), held.ino()) == (there.dev(), there.ino());
        (!same).then_some("the state directory was replaced by another")
    }

    /// Takes group and others their access to what is ours. Older versions gave them the umask's. What belongs to
    /// another user is left alone, and a failure is no reason not to start.
    pub(super) fn tighten(&self) {
        let Ok(entries) = fs::read_dir(&self.path) else { return };
        let mut only_ours = true;
        for entry in entries.filter_map(Result::ok) {
            if is_ours(&entry.file_name().to_string_lossy()) {
                close(&entry.path());
            } else {
                only_ours = false;
            }
        }
        if only_ours {
            restrict(&self.path, 0o700);
        }
    }
}

fn is_ours(name: &str) -> bool {
    OURS.iter().any(|ours| name.strip_prefix(ours).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
        || name.starts_with("damaged-")
}

fn close(path: &Path) {
    let Ok(found) = fs::symlink_metadata(path) else { return };
    if found.is_file() {
        restrict(path, 0o600);
    } else if found.is_dir() {
        restrict(path, 0o700);
        for entry in fs::read_dir(path).into_iter().flatten().filter_map(Result::ok) {
            close(&entry.path());
        }
    }
}

fn restrict(path: &Path, most: u32) {
    let Ok(found) = fs::metadata(path) else { return };
    let mode = found.mode() & 0o7777;
    let own = found.uid() == rustix::process::geteuid().as_raw();
    // a sticky directory is shared on purpose
    if own && mode & !most != 0 && mode & 0o1000 == 0 {
        let _ = fs::set_permissions(path, Permissions::from_mode(mode & most));
    }
}

/// Makes a directory and those above it, and has their entries on disk.
fn create(path: &Path) -> io::Result<()> {
    let missing: Vec<_> = path.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    missing.into_iter().try_for_each(|dir| sync(dir.parent().unwrap_or(Path::new(""))))
}

/// Has a directory's entries on disk: a new file, a rename or a removal survives a power cut only then.
pub(super) fn sync(dir: &Path) -> io::Result<()> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_directory_is_made_for_us_alone() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("a/state");
        let dir = StateDir::take(&path).unwrap();
        assert_eq!((mode(&path), mode(&path.join(LOCK))), (0o700, 0o600));
        assert_eq!(dir.lost(), None);
    }

    #[test]
    fn an_earlier_one_is_closed_to_others_unless_it_holds_what_is_not_ours() {
        let tmp = tempfile::tempdir().unwrap();
        for (foreign, expected) in [(false, 0o700), (true, 0o755)] {
            let path = tmp.path().join(format!("{foreign}"));
            fs::create_dir_all(path.join("db/blobs")).unwrap();
            for name in ["commits", "db/db", "db/snap.1", "loss.json.new"] {
                fs::write(path.join(name), b"").unwrap();
                fs::set_permissions(path.join(name), Permissions::from_mode(0o644)).unwrap();
            }
            if foreign {
                fs::write(path.join("notes.txt"), b"").unwrap();
                fs::set_permissions(path.join("notes.txt"), Permissions::from_mode(0o644)).unwrap();
            }
            fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
            let _dir = StateDir::take(&path).unwrap();
            assert_eq!(mode(&path), expected);
            for name in ["commits", "db/db", "db/snap.1", "loss.json.new"] {
                assert_eq!(mode(&path.join(name)), 0o600, "{name}");
            }
            assert_eq!(mode(&path.join("db/blobs")), 0o700);
            assert!(!foreign || mode(&path.join("notes.txt")) == 0o644);
        }
    }

    #[test]
    fn a_shared_directory_stays_shared() {
        let tmp = tempfile::tempdir().unwrap();
        fs::set_permissions(tmp.path(), Permissions::from_mode(0o1777)).unwrap();
        let _dir = StateDir::take(tmp.path()).unwrap();
        assert_eq!(mode(tmp.path()), 0o777);
    }

    #[test]
    fn a_directory_that_is_deleted_or_replaced_is_lost() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("state");
        let dir = StateDir::take(&path).unwrap();
        fs::remove_dir_all(&path).unwrap();
        assert!(dir.lost().unwrap().contains("deleted"));
        let again = StateDir::take(&path).unwrap();
        assert!(dir.lost().unwrap().contains("replaced"));
        assert_eq!(again.lost(), None);
        assert!(matches!(StateDir::take(&path), Err(StartError::Locked(_))));
    }
}
