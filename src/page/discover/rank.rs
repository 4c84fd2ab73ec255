//! Which of several feeds is the one that was meant.

use std::{cmp::Reverse, fmt};

use jiff::{SignedDuration, Timestamp};
use url::Url;

use super::Lead;
use crate::feed::OwnedDocument;

/// A feed whose newest item is so much older than another's is not the one that is kept up.
const STALE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What speaks for a feed, and against it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worth {
    /// Items.
    pub items: usize,
    /// Of them with a date.
    pub dated: usize,
    /// Of them with an id or a link, so that they are known again.
    pub identified: usize,
    /// The newest date.
    pub newest: Option<Timestamp>,
    /// It is about what readers say.
    pub comments: bool,
    /// It says that it belongs to the very page that was asked about.
    pub own: bool,
}

impl Worth {
    /// Of a feed found by `lead`, for who asked about `page`.
    pub fn of(document: &OwnedDocument, lead: &Lead, page: &Url) -> Self {
        let items = &document.items;
        let titles = [document.title.as_deref(), lead.title.as_deref()];
        let about_comments = |title: &str| {
            let title = title.to_lowercase();
            ["comment", "kommentar", "comentario", "commentaire", "コメント"].iter().any(|word| title.contains(word))
        };
        let path = |url: &Url| url.path().trim_end_matches('/').to_owned();
        let link = document.link.as_deref().and_then(|link| Url::parse(link).ok());
        let own = !path(page).is_empty()
            && (link.is_some_and(|link| path(&link) == path(page) && link.host_str() == page.host_str())
                || (lead.url.host_str() == page.host_str() && path(&lead.url).starts_with(&(path(page) + "/"))));
        Self {
            items: items.len(),
            dated: items.iter().filter(|item| item.time().is_some()).count(),
            identified: items.iter().filter(|item| item.id.is_some() || item.link.is_some()).count(),
            newest: items.iter().filter_map(|item| item.time()).max(),
            comments: lead.url.path().to_ascii_lowercase().contains("/comments")
                || titles.into_iter().flatten().any(about_comments),
            own,
        }
    }

    /// Whether nothing but this feed would be better than it.
    pub fn usable(&self) -> bool {
        self.items > 0 && !self.comments
    }
}

impl fmt::Display for Worth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.items == 0 {
            return f.write_str("no items");
        }
        write!(f, "{} item{}", self.items, if self.items == 1 { "" } else { "s" })?;
        if let Some(newest) = self.newest {
            write!(f, ", newest {}", newest.strftime("%Y-%m-%d"))?;
        }
        let share = |count: usize| if count == self.items { "all".to_owned() } else { count.to_string() };
        match (self.dated, self.identified) {
            (dated, identified) if dated == identified => write!(f, ", {} with dates and ids", share(dated))?,
            (dated, identified) => write!(f, ", {} with dates, {} with ids", share(dated), share(identified))?,
        }
        if self.comments { f.write_str(", comments") } else { Ok(()) }
    }
}

/// What sets one feed before another, the weightiest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The other has no items.
    Items,
    /// The other is of comments.
    News,
    /// The other is no longer kept up.
    KeptUp,
    /// The other belongs to another page.
    Own,
    /// More of its items have dates and ids.
    Complete,
    /// It has more items.
    More,
    /// Its newest is newer.
    Newer,
    /// Both are the same to all that can be told: the one found first.
    First,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Items => "it has items",
            Self::News => "it is of the news, not of comments",
            Self::KeptUp => "it is kept up",
            Self::Own => "it is of this very page",
            Self::Complete => "more of its items have dates and ids",
            Self::More => "it has the most items",
            Self::Newer => "it has the newest item",
            Self::First => "it was found first, and no other is better",
        })
    }
}

/// The places in `feeds`, best first, and why the first goes before the second.
pub fn order(feeds: &[Worth]) -> (Vec<usize>, Option<Reason>) {
    let newest = feeds.iter().filter(|feed| feed.usable()).filter_map(|feed| feed.newest).max();
    let key = |index: usize| {
        let feed = &feeds[index];
        let stale = newest.zip(feed.newest).is_some_and(|(newest, own)| newest.duration_since(own) > STALE);
        let percent = |count: usize| count * 100 / feed.items.max(1);
        let complete = percent(feed.dated) + percent(feed.identified);
        (feed.items == 0, feed.comments, stale, !feed.own, Reverse(complete), Reverse(feed.items), Reverse(feed.newest))
    };
    let mut places: Vec<usize> = (0..feeds.len()).collect();
    places.sort_by_key(|&place| key(place));
    let reason = match places[..] {
        [first, second, ..] => {
            let (a, b) = (key(first), key(second));
            Some(match () {
                () if a.0 != b.0 => Reason::Items,
                () if a.1 != b.1 => Reason::News,
                () if a.2 != b.2 => Reason::KeptUp,
                () if a.3 != b.3 => Reason::Own,
                () if a.4 != b.4 => Reason::Complete,
                () if a.5 != b.5 => Reason::More,
                () if a.6 != b.6 => Reason::Newer,
                () => Reason::First,
            })
        }
        _ => None,
    };
    (places, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(items: usize, newest: &str) -> Worth {
        Worth { items, dated: items, identified: items, newest: newest.parse().ok(), comments: false, own: false }
    }

    #[test]
    fn the_feed_that_was_meant_comes_first() {
        let (new, old) = ("2026-01-09T12:00:00Z", "2021-01-09T12:00:00Z");
        for (feeds, due) in [
            (vec![feed(0, ""), feed(3, new)], (vec![1, 0], Reason::Items)),
            (vec![Worth { comments: true, ..feed(50, new) }, feed(3, new)], (vec![1, 0], Reason::News)),
            (vec![feed(50, old), feed(3, new)], (vec![1, 0], Reason::KeptUp)),
            (vec![feed(50, new), Worth { own: true, ..feed(3, new) }], (vec![1, 0], Reason::Own)),
            (vec![Worth { dated: 0, newest: None, ..feed(50, new) }, feed(3, new)], (vec![1, 0], Reason::Complete)),
            (vec![feed(3, new), feed(4, new)], (vec![1, 0], Reason::More)),
            (vec![feed(3, new), feed(3, new)], (vec![0, 1], Reason::First)),
            // readers are awake when the authors sleep: that makes no feed a stale one
            (vec![feed(3, old), Worth { comments: true, ..feed(9, new) }], (vec![0, 1], Reason::News)),
        ] {
            assert_eq!(order(&feeds), (due.0, Some(due.1)), "{feeds:?}");
        }
        assert_eq!(order(&[]), (vec![], None));
        assert_eq!(order(&[feed(1, new)]), (vec![0], None));
    }

    #[test]
    fn comments_are_known_by_address_or_title() {
        let page = Url::parse("https://news.example/").unwrap();
        let worth = |url: &str, title: &str| {
            let body = format!("<rss><channel><title>{title}</title><item><title>x</title></item></channel></rss>");
            let document = crate::feed::parse(body.as_bytes(), &crate::feed::Hints::default()).unwrap();
            let lead = Lead { url: Url::parse(url).unwrap(), found: super::super::Found::Named, title: None };
            Worth::of(&document, &lead, &page)
        };
        assert!(worth("https://news.example/comments/feed/", "News").comments);
        assert!(worth("https://news.example/x", "Comments for News").comments);
        let plain = worth("https://news.example/feed", "News");
        assert!(!plain.comments);
        assert_eq!(plain.to_string(), "1 item, 0 with dates and ids");
    }
}
