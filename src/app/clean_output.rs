//! Log records without terminal escapes and forged lines, whatever the texts in them hold.
//!
//! Errors are clean where they are made ([`crate::model::Line`]); titles, links and the words of libraries are
//! not, so the log's own end cleans every text that it prints.

use std::{cell::Cell, io, str};

use slog::{OwnedKVList, Record};
use slog_term::{Decorator, RecordDecorator};

use crate::model::line::{escaped_json, one_line};

/// Cleans what the terminal format prints of a record, but for the colours and the line's own end.
pub(super) struct CleanText<D>(pub(super) D);

impl<D: Decorator> Decorator for CleanText<D> {
    fn with_record<F>(&self, record: &Record<'_>, values: &OwnedKVList, print: F) -> io::Result<()>
    where
        F: FnOnce(&mut dyn RecordDecorator) -> io::Result<()>,
    {
        self.0.with_record(record, values, |inner| print(&mut CleanRecord { inner, is_text: Cell::new(false) }))
    }
}

struct CleanRecord<'a> {
    inner: &'a mut dyn RecordDecorator,
    /// A message, key or value is being printed.
    is_text: Cell<bool>,
}

impl CleanRecord<'_> {
    fn part(&mut self, is_text: bool) -> &mut dyn RecordDecorator {
        self.is_text.set(is_text);
        self.inner
    }
}

impl io::Write for CleanRecord<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_text.get() {
            self.inner.write_all(one_line(&String::from_utf8_lossy(bytes)).as_bytes())?;
        } else {
            self.inner.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl RecordDecorator for CleanRecord<'_> {
    fn reset(&mut self) -> io::Result<()> {
        self.part(false).reset()
    }

    fn start_whitespace(&mut self) -> io::Result<()> {
        self.part(false).start_whitespace()
    }

    fn start_msg(&mut self) -> io::Result<()> {
        self.part(true).start_msg()
    }

    fn start_timestamp(&mut self) -> io::Result<()> {
        self.part(false).start_timestamp()
    }

    fn start_level(&mut self) -> io::Result<()> {
        self.part(false).start_level()
    }

    fn start_comma(&mut self) -> io::Result<()> {
        self.part(false).start_comma()
    }

    fn start_key(&mut self) -> io::Result<()> {
        self.part(true).start_key()
    }

    fn start_value(&mut self) -> io::Result<()> {
        self.part(true).start_value()
    }

    fn start_location(&mut self) -> io::Result<()> {
        self.part(false).start_location()
    }

    fn start_separator(&mut self) -> io::Result<()> {
        self.part(false).start_separator()
    }
}

/// Writes JSON with the controls escaped that JSON lets stand.
pub(super) struct CleanJson<W>(pub(super) W);

impl<W: io::Write> io::Write for CleanJson<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match str::from_utf8(bytes) {
            Ok(json) => self.0.write_all(escaped_json(json).as_bytes())?,
            Err(_) => self.0.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use slog::{Drain, Logger, info, o};
    use slog_term::PlainSyncDecorator;

    use super::*;
    use crate::model::line::is_control;

    #[derive(Clone, Default)]
    struct Shared(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const HOSTILE: &str = "x\u{1b}]0;title\u{7}\r\nforged\u{9b}31m\u{202e}y";

    fn logged(drain: impl Fn(Shared) -> Logger) -> String {
        let out = Shared::default();
        info!(drain(out.clone()), "m {}", HOSTILE; "key" => HOSTILE, "debug" => ?HOSTILE);
        String::from_utf8(out.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_record_is_one_line_without_controls() {
        let text = logged(|out| {
            let format = slog_term::FullFormat::new(CleanText(PlainSyncDecorator::new(out)));
            Logger::root(format.build().fuse(), o!())
        });
        let line = text.strip_suffix('\n').unwrap();
        assert!(line.contains("forged") && !line.contains(is_control), "{line:?}");
    }

    #[test]
    fn a_record_as_json_says_the_same_without_controls() {
        let text = logged(|out| {
            let json = slog_json::Json::new(CleanJson(out)).build();
            Logger::root(std::sync::Mutex::new(json).map(slog::Fuse), o!())
        });
        let line = text.strip_suffix('\n').unwrap();
        assert!(!line.contains(is_control), "{line:?}");
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(record["key"], HOSTILE);
    }
}
