//! Which addresses are no picture of an item, whichever element they come from: what shows somebody rather than
//! something, what counts rather than shows, and what is part of the page around the text.

/// Why a picture does not stand for an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It shows the author.
    Avatar,
    /// A site's or a file type's sign.
    Icon,
    /// It is there to be clicked.
    ShareButton,
    /// It counts readers.
    Tracker,
    /// It sells something.
    Ad,
    /// A smiley or emoji in the text.
    Smiley,
    /// A formula set as a picture.
    Formula,
    /// A format that Discord and others do not show.
    Svg,
}

/// Hosts, and those below them, in lowercase.
const HOSTS: &[(Unfit, &[&str])] = &[
    (Unfit::Avatar, &["gravatar.com"]),
    (
        Unfit::Tracker,
        &[
            "feedproxy.google.com",
            "feedsportal.com",
            "pixel.wp.com",
            "stats.wordpress.com",
            "stats.wp.com",
            "google-analytics.com",
            "statcounter.com",
            "scorecardresearch.com",
            "quantserve.com",
            "chartbeat.net",
        ],
    ),
    (
        Unfit::Ad,
        &[
            "doubleclick.net",
            "googlesyndication.com",
            "amazon-adsystem.com",
            "assoc-amazon.com",
            "buysellads.com",
            "carbonads.com",
            "adzerk.net",
            "pheedo.com",
            "taboola.com",
            "outbrain.com",
        ],
    ),
    (Unfit::Smiley, &["s.w.org"]),
    (Unfit::Formula, &["codecogs.com", "quicklatex.com"]),
];

/// The first label of a host, in lowercase.
const LABELS: &[(Unfit, &[&str])] = &[
    (Unfit::Avatar, &["avatar", "avatars", "avatars0", "avatars1", "avatars2", "avatars3"]),
    (Unfit::Tracker, &["pixel", "beacon", "tracking", "tracker", "track", "counter"]),
    (Unfit::Ad, &["ad", "ads", "adserver", "adimg", "adclick", "feedads"]),
];

/// Parts of path and query, in lowercase.
const PARTS: &[(Unfit, &[&str])] = &[
    (Unfit::Avatar, &["/avatar", "/profile_images/", "/wp-user-avatar"]),
    (Unfit::Smiley, &["/smilies/", "/smileys/", "/emoji/", "/emoticons/", "/twemoji"]),
    (Unfit::Formula, &["/latex.php", "/latex/", "cht=tx", "/media/math/", "/mathtex", "/mimetex"]),
    (
        Unfit::ShareButton,
        &[
            "share-buttons",
            "sharebuttons",
            "/~ff/",
            "/~f/",
            "/flattr/",
            "-badge-",
            "/addtoany",
            "/addthis",
            "/sociable/",
            "/badge/",
            "/badges/",
            "badge.",
        ],
    ),
    (
        Unfit::Tracker,
        &[
            "/~r/",
            "/~4/",
            "/pixel.",
            "/pixel?",
            "/1x1.",
            "/spacer.",
            "/blank.gif",
            "/b.gif",
            "/tracking/",
            "/tracking.",
            "/tracking?",
            "/track.",
            "/track?",
            "/counter.",
            "/counter/",
            "/counter?",
            "/piwik.php",
            "/matomo.php",
            "/_/stat?",
        ],
    ),
    (Unfit::Icon, &["/favicon", "/apple-touch-icon", ".ico", "/filetype/", "/icons/", "/icon."]),
];

/// What stands on a share button: one of these beside one of [`SIGNS`], as words of the file's name.
const NETWORKS: &[&str] = &[
    "twitter",
    "facebook",
    "linkedin",
    "pinterest",
    "reddit",
    "whatsapp",
    "telegram",
    "mastodon",
    "tumblr",
    "digg",
    "delicious",
    "stumbleupon",
    "google",
    "googleplus",
    "instagram",
    "youtube",
    "email",
    "mail",
    "rss",
    "feed",
];
const SIGNS: &[&str] = &["icon", "button", "btn", "share", "bookmark", "follow"];

/// Why the address is no picture of an item; nothing for one that may be.
pub(crate) fn unfit(url: &str) -> Option<Unfit> {
    let url = url.to_ascii_lowercase();
    let rest = url.split_once("//").map_or("", |(_, rest)| rest);
    let host = rest.split(['/', '?', '#', ':']).next().unwrap_or_default();
    let path_and_query = if host.is_empty() { url.as_str() } else { &rest[host.len()..] };
    let path = path_and_query.split(['?', '#']).next().unwrap_or_default();
    let of_host =
        |name: &&str| host.strip_suffix(*name).is_some_and(|before| before.is_empty() || before.ends_with('.'));
    let label = host.split('.').next().unwrap_or_default();
    let found = first(HOSTS, of_host)
        .or_else(|| first(LABELS, |known| label == *known && host.len() > label.len()))
        .or_else(|| first(PARTS, |part| path_and_query.contains(part)));
    let file = path.rsplit('/').next().unwrap_or_default();
    match found {
        // a name that only begins so: /iconic.jpg ends in no sign, /a.icons/ is no file
        Some(Unfit::Icon) if path_and_query.contains(".ico") && !is_icon(path) => None,
        None if path.ends_with(".svg") || path.ends_with(".svgz") => Some(Unfit::Svg),
        None if is_share_button(file) => Some(Unfit::ShareButton),
        found => found,
    }
}

/// Where `.ico` was found: a file of that type, or another sign of an icon.
fn is_icon(path: &str) -> bool {
    path.ends_with(".ico")
        || ["/favicon", "/apple-touch-icon", "/filetype/", "/icons/", "/icon."].iter().any(|part| path.contains(part))
}

fn first(table: &[(Unfit, &[&str])], fits: impl Fn(&&str) -> bool) -> Option<Unfit> {
    table.iter().find(|(_, words)| words.iter().any(&fits)).map(|(why, _)| *why)
}

fn is_share_button(file: &str) -> bool {
    if !SIGNS.iter().any(|sign| file.contains(sign)) {
        return false;
    }
    let words = || file.split(|c: char| !c.is_ascii_alphabetic());
    let network = words().position(|word| NETWORKS.contains(&word));
    // the name of the network, then what it is: words that follow one another
    network.is_some_and(|at| words().skip(at + 1).take(2).any(|word| SIGNS.contains(&word)))
        || words().zip(words().skip(1)).any(|(sign, network)| SIGNS.contains(&sign) && NETWORKS.contains(&network))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_picture_of_an_item_is_told_by_its_address() {
        use Unfit::*;
        for (url, why) in [
            ("https://0.gravatar.com/avatar/6540?s=96&d=identicon", Some(Avatar)),
            ("https://avatars3.githubusercontent.com/u/83835?s=30", Some(Avatar)),
            ("https://i1.sndcdn.com/avatars-0003-x-original.jpg", Some(Avatar)),
            ("https://news.example/images/twitter_icon_large.png", Some(ShareButton)),
            ("https://news.example/img/share-facebook.png", Some(ShareButton)),
            ("https://news.example/i/LinkedIn-Button.gif", Some(ShareButton)),
            ("http://feeds.feedburner.com/~ff/x?i=1", Some(ShareButton)),
            ("http://blog.example/wp-content/plugins/flattr/img/flattr-badge-large.png", Some(ShareButton)),
            ("http://feeds.feedburner.com/~r/x/~4/y", Some(Tracker)),
            ("https://pixel.example/a.gif", Some(Tracker)),
            ("https://stats.wp.com/b.gif?x", Some(Tracker)),
            ("https://ad.doubleclick.net/ddm/x.jpg", Some(Ad)),
            ("https://ads.news.example/1.jpg", Some(Ad)),
            ("http://forum.example/images/smilies/yikes.gif", Some(Smiley)),
            ("https://s.w.org/images/core/emoji/72x72/1f600.png", Some(Smiley)),
            ("https://s0.wp.com/latex.php?latex=x", Some(Formula)),
            ("https://latex.codecogs.com/gif.latex?x", Some(Formula)),
            ("https://news.example/a.SVG?x=1", Some(Svg)),
            ("/images/quality.svg", Some(Svg)),
            ("https://news.example/favicon-32.png", Some(Icon)),
            ("skins/default/filetype/jpg.gif", Some(Icon)),
            ("https://news.example/favicon.ico", Some(Icon)),
            // pictures all the same
            ("https://up.example/thumb/5/5e/Call_option.svg/200px-Call_option.svg.png", None),
            ("http://up.example/media/attach/twittermusic.png", None),
            ("http://up.example/media/attach/pulselinkedin.png", None),
            ("https://up.example/2025/12/share-seven-universes-poetry-qr.jpeg", None),
            ("http://up.example/20171026-iTunesIcon%20icon.png", None),
            ("http://up.example/20171022-RSS%20buttons.png", None),
            ("https://up.example/google-contacts-logo-3.jpg", None),
            ("https://up.example/2024/Pixel-9-Pro-XL-7.jpg", None),
            ("https://up.example/styles/1x1_cardfeed/15-135b.jpg", None),
            ("https://ads/1.jpg", None),
            ("https://up.example/a.iconic/photo.jpg", None),
        ] {
            assert_eq!(unfit(url), why, "{url}");
        }
    }
}
