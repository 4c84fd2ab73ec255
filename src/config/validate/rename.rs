//! `was`: the name that a source had before.

use std::{cell::RefCell, collections::HashMap, ops::Range};

use super::Names;
use crate::{
    config::reader::{Report, Value},
    model::Name,
};

/// The former names of all sources, to be checked once all names are known.
#[derive(Default)]
pub(super) struct Renames(RefCell<Vec<Rename>>);

struct Rename {
    was: Name,
    key: String,
    span: Range<usize>,
}

impl Renames {
    /// Reads one source's `was`; `None` where it is no name.
    pub(super) fn read(&self, value: &Value<'_>) -> Option<Name> {
        let was = value.name()?;
        let (key, span) = (value.key.clone(), value.span.clone());
        self.0.borrow_mut().push(Rename { was: was.clone(), key, span });
        Some(was)
    }

    /// A former name belongs to no source of the file, and to one of them alone.
    pub(super) fn check(&self, report: &Report<'_>, names: &Names) {
        let mut lines: HashMap<Name, usize> = HashMap::new();
        for Rename { was, key, span } in self.0.borrow().iter() {
            if let Some(line) = names.lines.get(was) {
                let message =
                    format!("{was:?} is the name of the source in line {line}: a source has one name at a time");
                report.error(span, key, message);
            } else if let Some(line) = lines.get(was) {
                report.error(span, key, format!("{was:?} is taken over by another source already, in line {line}"));
            } else {
                lines.insert(was.clone(), report.text.line_of(span.start));
            }
        }
    }
}
