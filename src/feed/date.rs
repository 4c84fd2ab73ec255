//! Dates as feeds write them.
//!
//! The text is cut into numbers, words and signs, and the shape is told from those; no format string is
//! tried in turn. No zone means UTC. A zone that is not known is read as UTC too, and said to be so: a
//! date is never hours wrong in silence.

use jiff::{Timestamp, tz::TimeZone};

pub use crate::model::item::UNSET;

mod civil;
mod names;
mod scan;

/// What was wrong with a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// No date could be made out.
    Unreadable,
    /// A year that no feed means: 1066, 30000. There is no date.
    Absurd,
    /// [`UNSET`], which programs write where nobody set a date. There is no date.
    Unset,
    /// A field beyond its range, such as the hour 25, was carried over into the next.
    Overflow,
    /// The zone's name is not known; UTC was taken.
    UnknownZone,
}

/// Where a feed comes from, for what is ambiguous otherwise: `IST` is Indian, Irish or Israeli.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Region {
    /// Not told: the reading that most feeds mean.
    #[default]
    Unknown,
    /// `EST` and `EDT` are east of Greenwich.
    Australia,
    /// `CST` is China's.
    China,
    /// `IST` is summer time.
    Ireland,
    /// `IST` is Israel's.
    Israel,
    /// `BST` is Bangladesh's.
    Bangladesh,
    /// `10/01/2020` is in January, as everywhere where the day comes first.
    DayFirst,
}

impl Region {
    /// From a language tag and the host of the feed's links, where they tell.
    pub fn of(language: Option<&str>, host: Option<&str>) -> Self {
        let language = language.unwrap_or_default().trim().to_ascii_lowercase();
        let primary = language.split(['-', '_']).next().unwrap_or_default();
        let country = language.rsplit(['-', '_']).next().filter(|part| part.len() == 2 && *part != primary);
        let top = host.and_then(|host| host.rsplit('.').next()).unwrap_or_default();
        match (primary, country.unwrap_or(top)) {
            (_, "au") => Self::Australia,
            ("zh", _) | (_, "cn" | "tw" | "hk") => Self::China,
            ("ga", _) | (_, "ie") => Self::Ireland,
            ("he" | "iw", _) | (_, "il") => Self::Israel,
            ("bn", "bd") | (_, "bd") => Self::Bangladesh,
            (_, "us") => Self::Unknown,
            ("en", "gb" | "uk" | "nz" | "in" | "za") => Self::DayFirst,
            ("en" | "", _) => Self::Unknown,
            _ => Self::DayFirst,
        }
    }
}

/// What was read: a moment, a flaw, or a moment with a flaw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The moment, where there is one.
    pub at: Option<Timestamp>,
    /// What is to be said of it.
    pub flaw: Option<Flaw>,
}

/// Reads a date; nothing where there is none that can be meant.
pub fn read(text: &str) -> Option<Timestamp> {
    examine(text, Region::Unknown).at
}

/// Reads a date whose time, where it does not say its zone, is of `zone`.
pub fn read_in(text: &str, region: Region, zone: &TimeZone) -> Option<Timestamp> {
    let Examined { reading, local } = look(text, region);
    let at = reading.at?;
    if !local || *zone == TimeZone::UTC {
        return Some(at);
    }
    zone.to_timestamp(TimeZone::UTC.to_datetime(at)).ok()
}

/// Longest text looked at, in bytes.
const LONGEST: usize = 128;

/// Years that a feed can mean: from the first full one of the Gregorian calendar on.
const YEARS: std::ops::Range<i64> = 1583..2200;

/// Whether a moment is one that a feed can mean.
pub(crate) fn is_plausible(at: Timestamp) -> bool {
    (civil::days(YEARS.start, 1) * 86_400..civil::days(YEARS.end, 1) * 86_400).contains(&at.as_second())
}

/// Reads a date and says what was wrong with it.
pub fn examine(text: &str, region: Region) -> Reading {
    look(text, region).reading
}

struct Examined {
    reading: Reading,
    /// It does not say its zone, or not so that it can be told.
    local: bool,
}

fn look(text: &str, region: Region) -> Examined {
    let text = text.trim();
    let none = |flaw| Examined { reading: Reading { at: None, flaw: Some(flaw) }, local: false };
    if text.is_empty() || text.len() > LONGEST {
        return none(Flaw::Unreadable);
    }
    let bytes = text.as_bytes();
    let Some(civil) =
        scan::rfc_822(bytes, region).or_else(|| scan::rfc_3339(bytes)).or_else(|| scan::any(text, region))
    else {
        return none(Flaw::Unreadable);
    };
    match civil.timestamp() {
        Some(at) if at == UNSET => none(Flaw::Unset),
        Some(at) if is_plausible(at) => {
            Examined { reading: Reading { at: Some(at), flaw: civil.flaw() }, local: civil.offset.is_none() }
        }
        None if YEARS.contains(&civil.year) => none(Flaw::Unreadable),
        _ => none(Flaw::Absurd),
    }
}

#[cfg(test)]
mod tests;
