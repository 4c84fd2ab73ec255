//! A bound on what is derived from a document: what one place of it says for many items, such as a base that every
//! relative link is joined to, or the authors of the whole feed. Without it a document of a few kilobytes could
//! fill the memory.

use std::cell::Cell;

use url::Url;

use super::Error;

/// Longest base, and longest link that a base may make, in bytes.
pub(crate) const MAX_URL_BYTES: usize = 2 << 10;

/// What may be left unused of a joined link's memory, in bytes.
const SPARE: usize = 256;

/// What any document may derive, in bytes, so that a small one never meets the bound.
const ALLOWANCE: usize = 1 << 20;

/// What may still be derived from one document.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    left: Cell<usize>,
    exceeded: Cell<bool>,
    long_base: Cell<bool>,
    long_link: Cell<bool>,
}

impl Budget {
    /// Twice the document's own size, and a constant.
    pub(crate) fn of(document_bytes: usize) -> Self {
        Self { left: Cell::new(document_bytes.saturating_mul(2).saturating_add(ALLOWANCE)), ..Self::default() }
    }

    /// Whether so many bytes more may be derived. Once they may not, the document is refused as a whole.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        match self.left.get().checked_sub(bytes) {
            Some(left) => self.left.set(left),
            None => self.exceeded.set(true),
        }
        !self.exceeded.get()
    }

    /// Whether more was derived than may be.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.exceeded.get()
    }

    /// Whether a base was too long and ignored.
    pub(crate) fn met_long_base(&self) -> bool {
        self.long_base.get()
    }

    /// Whether a link was too long and left out.
    pub(crate) fn met_long_link(&self) -> bool {
        self.long_link.get()
    }

    /// # Errors
    /// [`Error::TooLarge`] once the budget is exceeded.
    pub(super) fn check(&self) -> Result<(), Error> {
        if !self.is_exceeded() {
            return Ok(());
        }
        let what = "its base, authors or attached files come to more than twice its size over all of its items";
        Err(Error::TooLarge(what.to_owned()))
    }

    /// The base, unless it is too long to be joined to every link.
    pub(crate) fn base<'u>(&self, url: Option<&'u Url>) -> Option<&'u Url> {
        let fits = url.filter(|url| url.as_str().len() <= MAX_URL_BYTES);
        if url.is_some() && fits.is_none() {
            self.long_base.set(true);
        }
        fits
    }

    /// `base`, itself relative to `outer`; none where it is no URL, or too long.
    pub(crate) fn rebase(&self, outer: Option<&Url>, base: &str) -> Option<Url> {
        let base = base.trim();
        if base.len() > MAX_URL_BYTES {
            self.long_base.set(true);
            return None;
        }
        let joined = match outer {
            Some(outer) => outer.join(base),
            None => Url::parse(base),
        };
        joined.ok().filter(|joined| self.base(Some(joined)).is_some() && self.take(joined.as_str().len()))
    }

    /// The link made absolute; none where that makes it too long.
    fn join(&self, base: &Url, link: &str) -> Result<Option<String>, url::ParseError> {
        let mut joined = String::from(base.join(link)?);
        if joined.capacity() > joined.len() + SPARE {
            joined.shrink_to_fit();
        }
        if joined.len() > MAX_URL_BYTES {
            self.long_link.set(true);
            return Ok(None);
        }
        Ok(self.take(joined.len().saturating_sub(link.len())).then_some(joined))
    }
}

/// What links are relative to, and what joining them may cost.
#[derive(Clone, Copy)]
pub(crate) struct Base<'a> {
    pub(crate) url: Option<&'a Url>,
    pub(crate) budget: &'a Budget,
}

impl Base<'_> {
    /// A relative link made absolute: itself where no base is known, none where it is too long.
    pub(crate) fn join<'t>(&self, link: std::borrow::Cow<'t, str>) -> Option<std::borrow::Cow<'t, str>> {
        let Some(base) = self.url else { return Some(link) };
        match self.budget.join(base, &link) {
            Ok(joined) => joined.map(Into::into),
            Err(_) => Some(link),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_derived_is_bounded_by_the_documents_size() {
        let budget = Budget::of(1000);
        assert!(budget.take(ALLOWANCE + 1999) && budget.check().is_ok());
        assert!(!budget.take(2) && !budget.take(0), "once it is exceeded it stays so");
        assert!(matches!(budget.check(), Err(Error::TooLarge(_))));
    }

    #[test]
    fn long_bases_are_ignored_and_long_links_left_out() {
        let budget = Budget::of(0);
        let long: Url = format!("http://a.example/{}/", "x".repeat(MAX_URL_BYTES)).parse().unwrap();
        assert_eq!(budget.base(Some(&long)), None);
        assert!(budget.met_long_base());
        let near: Url = format!("http://a.example/{}/", "x".repeat(MAX_URL_BYTES - 30)).parse().unwrap();
        let base = Base { url: budget.base(Some(&near)), budget: &budget };
        assert!(base.url.is_some() && !budget.met_long_link());
        assert!(base.join("1".into()).unwrap().ends_with("/1"));
        assert_eq!(base.join("y".repeat(30).into()), None);
        assert!(budget.met_long_link());
    }
}
