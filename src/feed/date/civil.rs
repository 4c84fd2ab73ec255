//! A date in its fields, and the moment they come to.

use jiff::Timestamp;

use super::Flaw;

/// The fields of a date, each as it was written.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Civil {
    pub(super) year: i64,
    /// 1 to 12.
    pub(super) month: i64,
    pub(super) day: i64,
    pub(super) hour: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
    pub(super) nano: i32,
    /// Seconds east of Greenwich, where that is said.
    pub(super) offset: Option<i64>,
    /// The zone has a name that is not known.
    pub(super) unknown_zone: bool,
    /// A digit too many was left out.
    pub(super) mended: bool,
}

impl Civil {
    /// The moment, in UTC where no zone is said; fields beyond their range are carried over.
    pub(super) fn timestamp(&self) -> Option<Timestamp> {
        let countable = (0..100_000).contains(&self.year) && self.hour <= 99;
        if !countable || !(1..=12).contains(&self.month) || !(1..=39).contains(&self.day) {
            return None;
        }
        let days = days(self.year, self.month) + self.day - 1;
        // a leap second is the last of its minute
        let second = if self.second == 60 { 59 } else { self.second };
        let seconds = days * 86_400 + self.hour * 3600 + self.minute * 60 + second - self.offset.unwrap_or(0);
        Timestamp::new(seconds, self.nano).ok()
    }

    pub(super) fn flaw(&self) -> Option<Flaw> {
        let carried = self.mended
            || self.day > days(self.year, self.month + 1) - days(self.year, self.month)
            || self.hour > 24
            || (self.hour == 24 && self.minute + self.second > 0)
            || self.minute > 59
            || self.second > 60
            || self.offset.is_some_and(|offset| offset.abs() > 15 * 3600);
        if carried {
            Some(Flaw::Overflow)
        } else if self.unknown_zone {
            Some(Flaw::UnknownZone)
        } else {
            None
        }
    }
}

/// Days from 1970-01-01 to the first of that month, proleptic Gregorian.
pub(super) fn days(year: i64, month: i64) -> i64 {
    // years that begin in March: the leap day is the last
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The weekday of a day since 1970-01-01: 0 is Monday.
pub(super) fn weekday(days: i64) -> i64 {
    (days + 3).rem_euclid(7)
}
