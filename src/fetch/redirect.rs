//! Where a redirect leads, and whether it is followed: pure.

use url::Url;

use crate::model::{ErrorKind, Failure, RedactedUrl};

/// The statuses that are followed; 300, 305 and 306 name no place to go to.
pub(super) fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// Whether the new place should be kept.
pub(super) fn is_permanent(status: u16) -> bool {
    matches!(status, 301 | 308)
}

/// The way from the configured URL to the document.
#[derive(Debug)]
pub(super) struct Path {
    /// Every URL asked so far, without fragments; the last is the current one.
    visited: Vec<Url>,
    max: u32,
    /// Still at the source's own origin, and never away from it.
    at_home: bool,
    /// No redirect said to go on with GET.
    same_method: bool,
    /// As far as permanent redirects alone have led.
    permanent: Option<Url>,
    only_permanent: bool,
}

impl Path {
    /// From `start`, for the source at `home`.
    pub(super) fn new(home: &Url, mut start: Url, max: u32) -> Self {
        start.set_fragment(None);
        let at_home = start == *home || start.origin() == home.origin();
        Self { visited: vec![start], max, at_home, same_method: true, permanent: None, only_permanent: true }
    }

    /// What is asked next, or was asked last.
    pub(super) fn current(&self) -> &Url {
        self.visited.last().unwrap_or_else(|| unreachable!("a path begins with a URL"))
    }

    /// Redirects followed.
    pub(super) fn hops(&self) -> u32 {
        u32::try_from(self.visited.len() - 1).unwrap_or(u32::MAX)
    }

    /// Whether the configured headers and credentials may be sent: never again once the path has left
    /// the source's origin, for a foreign server would choose what they are sent to.
    pub(super) fn at_home(&self) -> bool {
        self.at_home
    }

    /// Whether a body that was sent to the first URL is sent on: 307 and 308 ask for that, and only at home
    /// is it done. With any other redirect, browsers go on with GET.
    pub(super) fn carries_body(&self) -> bool {
        self.at_home && self.same_method
    }

    /// Where the configured URL has moved to for good.
    pub(super) fn into_permanent(self) -> Option<Url> {
        self.permanent
    }

    /// Goes on to what `Location` says.
    pub(super) fn follow(&mut self, status: u16, location: &[u8]) -> Result<(), Failure> {
        let from = self.current();
        let text = String::from_utf8_lossy(location.trim_ascii());
        let mut to = from
            .join(&text)
            .map_err(|error| Failure::transient(ErrorKind::Protocol, format!("bad redirect: {error}")))?;
        to.set_fragment(None);
        if !matches!(to.scheme(), "http" | "https") || !to.has_host() {
            let message = format!("redirected to a URL with the scheme \"{}\"", to.scheme());
            return Err(Failure::fatal(ErrorKind::BlockedAddress, message));
        }
        // credentials that a server hands out with a redirect are not ours to send
        let _ = to.set_username("");
        let _ = to.set_password(None);
        if from.scheme() == "https" && to.scheme() == "http" {
            let message = format!("redirected from https to {}", RedactedUrl(&to));
            return Err(Failure::fatal(ErrorKind::BlockedAddress, message));
        }
        if self.visited.contains(&to) {
            let message = format!("redirected to {} again", RedactedUrl(&to));
            return Err(Failure::fatal(ErrorKind::RedirectLoop, message));
        }
        if self.hops() >= self.max {
            let message = format!("more than {} redirects, the last to {}", self.max, RedactedUrl(&to));
            return Err(Failure::fatal(ErrorKind::RedirectLoop, message));
        }
        self.at_home &= from.origin() == to.origin();
        self.same_method &= matches!(status, 307 | 308);
        self.only_permanent &= is_permanent(status);
        if self.only_permanent {
            self.permanent = Some(to.clone());
        }
        self.visited.push(to);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(start: &str) -> Path {
        let start = Url::parse(start).unwrap();
        Path::new(&start, start.clone(), 3)
    }

    fn led(start: &str, location: &str) -> String {
        let mut path = path(start);
        match path.follow(302, location.as_bytes()) {
            Ok(()) => path.current().to_string(),
            Err(failure) => failure.kind.to_string(),
        }
    }

    #[test]
    fn locations_are_resolved_as_a_browser_does() {
        let start = "http://h.example/x/y?q=1#f";
        for (location, target) in [
            ("abc/", "http://h.example/x/abc/"),
            ("/abc", "http://h.example/abc"),
            ("?z", "http://h.example/x/y?z"),
            ("//other.example/z", "http://other.example/z"),
            ("https://h.example/x/y", "https://h.example/x/y"),
            (" /a b ", "http://h.example/a%20b"),
            ("/ä", "http://h.example/%C3%A4"),
            ("http://u:p@h.example/z#frag", "http://h.example/z"),
            ("#same", "redirect_loop"),
            ("file:///etc/passwd", "blocked_address"),
            ("data:text/plain,x", "blocked_address"),
            ("http://[bad", "protocol"),
        ] {
            assert_eq!(led(start, location), target, "{location}");
        }
        assert_eq!(led("https://h.example/", "http://h.example/b"), "blocked_address");
    }

    #[test]
    fn loops_and_long_ways_end() {
        let mut path = path("http://h/0");
        for n in 1..=3 {
            path.follow(302, format!("/{n}").as_bytes()).unwrap();
        }
        assert_eq!(path.hops(), 3);
        assert_eq!(path.follow(302, b"/0").unwrap_err().kind, ErrorKind::RedirectLoop);
        assert_eq!(path.follow(302, b"/4").unwrap_err().kind, ErrorKind::RedirectLoop);
    }

    #[test]
    fn credentials_stay_at_home_for_good() {
        let mut path = path("http://h/0");
        path.follow(302, b"/1").unwrap();
        assert!(path.at_home());
        path.follow(302, b"http://h:81/").unwrap();
        assert!(!path.at_home());
        path.follow(302, b"http://h/2").unwrap();
        assert!(!path.at_home());
    }

    #[test]
    fn what_begins_abroad_is_never_at_home() {
        let home = Url::parse("http://h/0").unwrap();
        let mut path = Path::new(&home, Url::parse("http://other/").unwrap(), 3);
        assert!(!path.at_home());
        path.follow(302, b"http://h/0").unwrap();
        assert!(!path.at_home());
        assert!(Path::new(&home, Url::parse("http://h/elsewhere#here").unwrap(), 3).at_home());
    }

    #[test]
    fn a_body_goes_on_as_browsers_have_it_and_not_abroad() {
        let carried = |steps: &[(u16, &str)]| {
            let mut path = path("http://h/0");
            steps.iter().for_each(|(status, to)| path.follow(*status, to.as_bytes()).unwrap());
            path.carries_body()
        };
        assert!(carried(&[]));
        assert!(carried(&[(307, "/1"), (308, "/2")]));
        for status in [301, 302, 303] {
            assert!(!carried(&[(status, "/1")]), "{status}");
            assert!(!carried(&[(status, "/1"), (307, "/2")]), "{status}");
        }
        assert!(!carried(&[(307, "http://other/")]));
        assert!(!carried(&[(307, "http://other/"), (307, "http://h/1")]));
    }

    #[test]
    fn permanent_is_what_permanent_redirects_alone_lead_to() {
        let mut path = path("http://h/0");
        path.follow(301, b"/1").unwrap();
        path.follow(308, b"/2").unwrap();
        path.follow(302, b"/3").unwrap();
        assert_eq!(path.into_permanent().unwrap().as_str(), "http://h/2");
        let mut path = super::tests::path("http://h/0");
        path.follow(302, b"/1").unwrap();
        path.follow(301, b"/2").unwrap();
        assert_eq!(path.into_permanent(), None);
    }
}
