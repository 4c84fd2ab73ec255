//! The last page of each source that its selectors did not fit, as it was fetched: what the operator needs to
//! mend them. One a source, in plain files beside the database, since people look at them.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;

use super::directory;
use crate::model::{Line, Name};

/// What is kept of a page, in bytes; the rest is cut off.
pub const LARGEST: usize = 4 << 20;

/// Where pages are kept. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SavedPages(Arc<Path>);

/// A page as it was fetched.
#[derive(Debug, Clone)]
pub struct SavedPage {
    /// At most [`LARGEST`] bytes.
    pub body: Vec<u8>,
    /// What was known of it.
    pub about: About,
}

/// What was known of a page beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// As sent.
    pub content_type: Option<String>,
    /// Where it was found, without query and user: those may be secrets, and a base does without.
    pub url: Url,
    /// When.
    pub fetched_at: Timestamp,
    /// What was wrong with it.
    pub error: Line,
}

impl About {
    /// Of a page that was found at `url`.
    pub fn new(content_type: Option<String>, mut url: Url, fetched_at: Timestamp, error: Line) -> Self {
        url.set_query(None);
        url.set_fragment(None);
        // both fail only for URLs that can have neither
        let _ = url.set_username("");
        let _ = url.set_password(None);
        Self { content_type, url, fetched_at, error }
    }
}

impl SavedPages {
    /// Those of a state directory.
    pub fn new(state_dir: &Path) -> Self {
        Self(state_dir.join("pages").into())
    }

    /// Keeps a page in place of the last one of its source. Blocks.
    ///
    /// # Errors
    /// Those of the file system; the last page may be left as it was.
    pub fn save(&self, source: &Name, body: &[u8], about: &About) -> io::Result<()> {
        if !self.0.exists() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
            directory::sync(self.0.parent().unwrap_or(&self.0))?;
        }
        self.write(&self.body(source), &body[..body.len().min(LARGEST)])?;
        self.write(&self.about(source), &serde_json::to_vec(about)?)?;
        directory::sync(&self.0)
    }

    /// The page of a source; none if none was kept. Blocks.
    ///
    /// # Errors
    /// Those of the file system, and a description that cannot be read.
    pub fn load(&self, source: &Name) -> io::Result<Option<SavedPage>> {
        let about = match fs::read(self.about(source)) {
            Ok(about) => serde_json::from_slice(&about)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(SavedPage { body: fs::read(self.body(source))?, about }))
    }

    /// Forgets the page of a source. Blocks.
    ///
    /// # Errors
    /// Those of the file system; that there is none is no error.
    pub fn remove(&self, source: &str) -> io::Result<()> {
        for path in [self.0.join(format!("{source}.page")), self.0.join(format!("{source}.about.json"))] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    fn body(&self, source: &Name) -> PathBuf {
        self.0.join(format!("{source}.page"))
    }

    fn about(&self, source: &Name) -> PathBuf {
        self.0.join(format!("{source}.about.json"))
    }

    /// Whole or not at all, also after a power cut.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let unfinished = path.with_added_extension("new");
        let mut file = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(unfinished, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_comes_back_as_it_was_without_what_may_be_secret() {
        let dir = tempfile::tempdir().unwrap();
        let pages = SavedPages::new(dir.path());
        let name = Name::new("ann").unwrap();
        assert!(pages.load(&name).unwrap().is_none());
        let url = Url::parse("https://u:p@news.example/list?key=secret#x").unwrap();
        let about = About::new(Some("text/html".into()), url, Timestamp::UNIX_EPOCH, "selector: nothing".into());
        assert_eq!(about.url.as_str(), "https://news.example/list");
        pages.save(&name, b"first", &about).unwrap();
        pages.save(&name, &vec![b'x'; LARGEST + 1], &about).unwrap();
        let page = pages.load(&name).unwrap().unwrap();
        assert_eq!((page.body.len(), page.about), (LARGEST, about));
        pages.remove("ann").unwrap();
        pages.remove("ann").unwrap();
        assert!(pages.load(&name).unwrap().is_none());
        assert_eq!(fs::read_dir(dir.path().join("pages")).unwrap().count(), 0);
    }
}
