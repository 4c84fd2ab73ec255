//! `[source.enrich]`

use std::time::Duration;

use super::{field::Dates, page::optional, unless_wrong};
use crate::{
    config::{
        reader::Table,
        value::{Compiled, ONE_MS},
    },
    page::rules::{DateRule, Enrich},
};

/// All visits of one poll are bounded by this even where somebody wants to wait for long: the next poll waits.
const LONGEST: Duration = Duration::from_secs(3600);

/// None where a fault was told.
pub(super) fn enrich(mut table: Table<'_>, compiled: &Compiled) -> Option<Enrich> {
    let timeout = table.get("timeout").map(|value| value.duration(ONE_MS..=LONGEST));
    let verify_image = table.get("verify_image").map(|value| value.flag());
    let mut of = |key, dates: &Dates<_>| optional(table.get(key), dates, compiled);
    let image = of("image", &Dates::None);
    let summary = of("summary", &Dates::None);
    let author = of("author", &Dates::None);
    let published = of("published", &Dates::Like(DateRule::default()));
    let video = of("video", &Dates::None);
    table.finish();
    Some(Enrich {
        timeout: unless_wrong(timeout)?,
        verify_image: unless_wrong(verify_image)?.unwrap_or(false),
        image: image?,
        summary: summary?,
        author: author?,
        published: published?,
        video: video?,
    })
}
