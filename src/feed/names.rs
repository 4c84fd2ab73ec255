//! What an element is called, whichever prefix it goes by.

use super::attribute::attributes;

/// The vocabularies we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Space {
    /// RSS in all versions, Atom in all versions, or none.
    Core,
    Dc,
    DcTerms,
    Content,
    Media,
    Itunes,
    Syndication,
    FeedBurner,
    Torrent,
    YouTube,
    Thread,
    Rdf,
    Xhtml,
    Other,
}

/// Prefixes as declared in this document.
#[derive(Default, Hash)]
pub(super) struct Prefixes<'t> {
    known: Vec<(&'t str, Space)>,
}

/// Prefixes remembered.
const KNOWN: usize = 64;

impl<'t> Prefixes<'t> {
    /// How many are known: they only become more.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Takes up the declarations of a tag.
    pub(super) fn declare(&mut self, tag: &'t str) {
        if memchr::memchr(b':', tag.as_bytes()).is_none() || !tag.contains("xmlns:") {
            return;
        }
        for attribute in attributes(tag) {
            if let Some(prefix) = attribute.name.strip_prefix("xmlns:") {
                let space = match space_of(attribute.value) {
                    Space::Other => conventional(prefix).unwrap_or(Space::Other),
                    space => space,
                };
                self.learn(prefix, space);
            }
        }
    }

    fn learn(&mut self, prefix: &'t str, space: Space) {
        if self.known.len() < KNOWN && !self.known.iter().any(|(known, _)| *known == prefix) {
            self.known.push((prefix, space));
        }
    }

    /// The vocabulary and the local name. A prefix that nobody declared means what it usually does.
    pub(super) fn resolve(&mut self, name: &'t str) -> (Space, &'t str) {
        let Some(colon) = memchr::memchr(b':', name.as_bytes()) else { return (Space::Core, name) };
        let (prefix, local) = (&name[..colon], &name[colon + 1..]);
        if let Some((_, space)) = self.known.iter().find(|(known, _)| *known == prefix) {
            return (*space, local);
        }
        let space = conventional(prefix).unwrap_or(Space::Other);
        self.learn(prefix, space);
        (space, local)
    }

    /// The same for the outermost element: what is called as only a feed is called is one, whatever its
    /// prefix was bound to.
    pub(super) fn resolve_root(&mut self, name: &'t str) -> (Space, &'t str) {
        let (space, local) = self.resolve(name);
        let feed = ["rss", "feed"].iter().any(|root| local.eq_ignore_ascii_case(root));
        if space != Space::Other || !feed {
            return (space, local);
        }
        let prefix = &name[..name.len() - local.len() - 1];
        for known in self.known.iter_mut().filter(|(known, _)| *known == prefix) {
            known.1 = Space::Core;
        }
        (Space::Core, local)
    }
}

fn conventional(prefix: &str) -> Option<Space> {
    Some(match prefix.to_ascii_lowercase().as_str() {
        "rss" | "atom" | "atom10" | "atom03" | "a10" | "feed" => Space::Core,
        "dc" => Space::Dc,
        "dcterms" => Space::DcTerms,
        "content" => Space::Content,
        "media" => Space::Media,
        "itunes" => Space::Itunes,
        "sy" => Space::Syndication,
        "feedburner" => Space::FeedBurner,
        "nyaa" | "torrent" | "torznab" => Space::Torrent,
        "rdf" => Space::Rdf,
        "yt" => Space::YouTube,
        "thr" => Space::Thread,
        _ => return None,
    })
}

/// The vocabulary of a namespace, small errors in it forgiven.
pub(super) fn space_of(uri: &str) -> Space {
    let uri = uri.trim().trim_end_matches(['/', '#']).to_ascii_lowercase();
    let after = uri.split_once("://").map_or(uri.as_str(), |(_, after)| after);
    match after {
        "purl.org/dc/elements/1.1" | "purl.org/dc/elements/1.0" | "purl.org/dc" => Space::Dc,
        "purl.org/dc/terms" => Space::DcTerms,
        "purl.org/rss/1.0/modules/content" => Space::Content,
        "purl.org/rss/1.0/modules/syndication" => Space::Syndication,
        "search.yahoo.com/mrss"
        | "www.rssboard.org/media-rss"
        | "search.yahoo.com/rss"
        | "video.search.yahoo.com/mrss" => Space::Media,
        "www.itunes.com/dtds/podcast-1.0.dtd" | "example.com/dtds/podcast-1.0.dtd" => Space::Itunes,
        "rssnamespace.org/feedburner/ext/1.0" => Space::FeedBurner,
        "nyaa.si/xmlns/nyaa" | "torznab.com/schemas/2015/feed" | "xmlns.ezrss.it/0.1" | "xmlns.ezrss.it/0.1/dtd" => {
            Space::Torrent
        }
        "www.w3.org/1999/02/22-rdf-syntax-ns" => Space::Rdf,
        "www.youtube.com/xml/schemas/2015" => Space::YouTube,
        "purl.org/syndication/thread/1.0" => Space::Thread,
        "www.w3.org/1999/xhtml" => Space::Xhtml,
        _ if after.starts_with("purl.org/rss/1.0/modules") => Space::Other,
        _ if after.starts_with("purl.org/rss")
            || after.starts_with("purl.org/atom")
            || after.starts_with("purl.org/net/rss") =>
        {
            Space::Core
        }
        "www.w3.org/2005/atom"
        | "my.netscape.com/rdf/simple/0.9"
        | "channel.netscape.com/rdf/simple/0.9"
        | "my.netscape.com/publish/formats/rss-0.91.dtd" => Space::Core,
        _ if after.starts_with("backend.userland.com/rss") || after.starts_with("blogs.law.harvard.edu/tech/rss") => {
            Space::Core
        }
        "" => Space::Core,
        _ => Space::Other,
    }
}

/// What an element is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    Item,
    Container,
    Title,
    DcTitle,
    OtherTitle,
    Link,
    OrigLink,
    Id,
    Description,
    Content,
    Summary,
    MediaDescription,
    ItunesSummary,
    Published,
    Issued,
    Created,
    Updated,
    DcDate,
    Author,
    Creator,
    Category,
    Keywords,
    Enclosure,
    MediaGroup,
    MediaContent,
    MediaThumbnail,
    ItunesImage,
    Image,
    Ttl,
    UpdatePeriod,
    UpdateFrequency,
    Extra,
    Language,
    Other,
}

impl Tag {
    /// Whether the element goes into one of an item's lists.
    pub(super) fn is_listed(self) -> bool {
        matches!(
            self,
            Self::Author
                | Self::Creator
                | Self::Category
                | Self::Keywords
                | Self::Enclosure
                | Self::Link
                | Self::OrigLink
                | Self::Extra
        )
    }

    /// Whether the element holds a word or two, never markup: its span ends at the first tag.
    pub(super) fn is_short(self) -> bool {
        matches!(
            self,
            Self::Link
                | Self::OrigLink
                | Self::Id
                | Self::Published
                | Self::Issued
                | Self::Language
                | Self::Created
                | Self::Updated
                | Self::DcDate
                | Self::Enclosure
                | Self::MediaThumbnail
                | Self::ItunesImage
                | Self::Ttl
                | Self::UpdatePeriod
                | Self::UpdateFrequency
        )
    }
}

/// Tells what an element is.
pub(super) fn tag(space: Space, local: &str) -> Tag {
    let mut buffer = [0u8; 20];
    let Some(lower) = buffer.get_mut(..local.len()) else { return Tag::Other };
    lower.copy_from_slice(local.as_bytes());
    lower.make_ascii_lowercase();
    match (space, &*lower) {
        (Space::Core | Space::Other | Space::Rdf, b"item" | b"entry") => Tag::Item,
        (Space::Core, b"rss" | b"channel" | b"feed") | (Space::Rdf, b"rdf") => Tag::Container,
        (Space::Core, b"rdf") => Tag::Container,
        (Space::Core, b"title") => Tag::Title,
        (Space::Dc | Space::DcTerms, b"title") => Tag::DcTitle,
        (Space::Itunes | Space::Media, b"title") => Tag::OtherTitle,
        (Space::Core, b"link") => Tag::Link,
        (Space::FeedBurner, b"origlink") => Tag::OrigLink,
        (Space::Core, b"guid" | b"id") => Tag::Id,
        (Space::Core, b"description" | b"tagline" | b"subtitle") => Tag::Description,
        (Space::Core, b"summary" | b"abstract") => Tag::Summary,
        (Space::Core, b"content" | b"body" | b"fullitem")
        | (Space::Content, b"encoded")
        | (Space::Xhtml, b"body" | b"div") => Tag::Content,
        (Space::Media, b"description") | (Space::Dc | Space::DcTerms, b"description" | b"abstract") => {
            Tag::MediaDescription
        }
        (Space::Itunes, b"summary" | b"subtitle") => Tag::ItunesSummary,
        (Space::Core, b"pubdate" | b"published") => Tag::Published,
        (Space::Core | Space::DcTerms, b"issued") => Tag::Issued,
        (Space::Core, b"created") | (Space::DcTerms, b"created") => Tag::Created,
        (Space::Core, b"updated" | b"modified" | b"lastbuilddate") | (Space::DcTerms, b"modified") => Tag::Updated,
        (Space::Dc | Space::DcTerms, b"date") | (Space::Core, b"date") => Tag::DcDate,
        (Space::Core, b"author") => Tag::Author,
        (Space::Dc | Space::DcTerms, b"creator" | b"author") | (Space::Itunes, b"author") => Tag::Creator,
        (Space::Core, b"category") | (Space::Dc, b"subject") => Tag::Category,
        (Space::Media, b"category") => Tag::Category,
        (Space::Media | Space::Itunes, b"keywords") => Tag::Keywords,
        (Space::Core, b"enclosure") => Tag::Enclosure,
        // that of ezRSS and Mikan stands in a namespace of its own, without a prefix
        (Space::Media, b"group") | (Space::Torrent | Space::Core, b"torrent") => Tag::MediaGroup,
        (Space::Media, b"content") => Tag::MediaContent,
        (Space::Media, b"thumbnail") => Tag::MediaThumbnail,
        (Space::Itunes, b"image") => Tag::ItunesImage,
        (Space::Core, b"image") => Tag::Image,
        (Space::Core, b"ttl") => Tag::Ttl,
        (Space::Syndication, b"updateperiod") => Tag::UpdatePeriod,
        (Space::Syndication, b"updatefrequency") => Tag::UpdateFrequency,
        (Space::Core, b"comments") => Tag::Extra,
        (Space::Core, b"language") | (Space::Dc, b"language") => Tag::Language,
        (Space::Core, b"infohash" | b"magneturi" | b"contentlength" | b"seeds" | b"peers") => Tag::Extra,
        (Space::Thread, b"total") => Tag::Extra,
        (Space::Torrent | Space::YouTube, _) => Tag::Extra,
        _ => Tag::Other,
    }
}

/// Whether a channel is one of the Channel Definition Format, which names its page in an attribute.
pub(super) fn is_cdf(tag: &str) -> bool {
    super::attribute::attribute(tag, "href").is_some()
}
