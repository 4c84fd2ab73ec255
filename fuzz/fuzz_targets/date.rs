//! Any text at all is a date or none.

#![no_main]

use kawaraban::feed::date::{self, Flaw, Region};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for region in [Region::Unknown, Region::Australia, Region::China, Region::Israel, Region::DayFirst] {
        let reading = date::examine(text, region);
        assert!(reading.at.is_some() || reading.flaw.is_some());
        assert!(reading.at.is_none() || !matches!(reading.flaw, Some(Flaw::Unreadable | Flaw::Absurd | Flaw::Unset)));
        // what is printed of a date is read as the same
        if let Some(at) = reading.at {
            assert_eq!(date::read(&at.to_string()), Some(at), "{text:?}");
        }
    }
});
