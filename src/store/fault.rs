//! Why the database does not work: the machine, or what lies in it.
//!
//! The difference decides over everything that is kept. What the machine does passes, and the same database is opened
//! again; a database whose contents are wrong is set aside.

use std::{any::Any, io};

/// Why a database could not be opened or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The disk is full, cannot be read or written, or sled could not do its work: retried, and nothing is lost.
    #[error("{0}")]
    Io(String),
    /// What is there is not what was written.
    #[error("{0}")]
    Damaged(String),
}

impl Fault {
    /// sled panicked. It does so over what it finds, and also over calls that fail.
    pub(super) fn of_panic(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
        // how an unwrapped io::Error shows, by itself or inside sled's own
        if ["Os {", "Io(", "IO error"].iter().any(|sign| text.contains(sign)) {
            Self::Io(format!("a call failed in the database: {text}"))
        } else {
            Self::Damaged(format!("reading it panicked: {text}"))
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

impl From<sled::Error> for Fault {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(error) if speaks_of_contents(&error) => Self::Damaged(error.to_string()),
            sled::Error::Io(error) => Self::Io(error.to_string()),
            // that is how sled says that its threads are gone
            sled::Error::ReportableBug(reason) => Self::Io(reason),
            error => Self::Damaged(error.to_string()),
        }
    }
}

/// Errors of the file's contents: it ends too soon, or names what is not there. All others are the machine's.
fn speaks_of_contents(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, NotFound, Other, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | NotFound | InvalidData | InvalidInput | Other) && !is_locked(error)
}

/// Whether sled's lock is held by somebody.
pub(super) fn is_locked(error: &io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_fails_is_no_damage_and_a_file_that_ends_too_soon_is() {
        let os = |code| sled::Error::Io(io::Error::from_raw_os_error(code));
        // EIO, ENOSPC, EMFILE, ENOMEM, EROFS, EDQUOT, ESTALE, ETIMEDOUT
        for code in [5, 28, 24, 12, 30, 122, 116, 110] {
            assert!(matches!(Fault::from(os(code)), Fault::Io(_)), "{code}");
            // sled keeps the kind only when it hands an error on
            let kind = io::Error::from_raw_os_error(code).kind();
            let cloned = sled::Error::Io(io::Error::new(kind, "handed on"));
            assert!(matches!(Fault::from(cloned), Fault::Io(_)), "{code}");
        }
        for kind in [io::ErrorKind::UnexpectedEof, io::ErrorKind::NotFound] {
            assert!(matches!(Fault::from(sled::Error::Io(kind.into())), Fault::Damaged(_)), "{kind:?}");
        }
        let locked = io::Error::other("could not acquire lock on \"db\"");
        assert!(matches!(Fault::from(sled::Error::Io(locked)), Fault::Io(_)));
    }

    #[test]
    fn a_panic_over_a_call_that_fails_is_no_damage() {
        let panicked = |work: fn()| Fault::of_panic(&*std::panic::catch_unwind(work).unwrap_err());
        let call = || Err::<(), _>(io::Error::from_raw_os_error(5));
        assert!(matches!(
            Fault::of_panic(&*std::panic::catch_unwind(move || call().unwrap()).unwrap_err()),
            Fault::Io(_)
        ));
        assert!(matches!(panicked(|| panic!("segment out of place")), Fault::Damaged(_)));
        assert!(matches!(panicked(|| panic!("lsn {} is wrong", 3)), Fault::Damaged(_)));
    }
}
