//! Names of months and zones.

use super::Region;

/// The month that a lowercase word names, in the languages that feeds were seen in.
pub(super) fn month(word: &str) -> Option<i64> {
    STEMS.iter().position(|stems| stems.split(' ').any(|stem| word.starts_with(stem))).map(|n| n as i64 + 1)
}

/// The beginnings of the months' names: English, Portuguese, Spanish, French, German, Italian, Dutch,
/// Scandinavian, Polish, Turkish, Hungarian, Russian, Ukrainian, Greek. A weekday may begin like one of
/// them (`martes`, `середа`); the caller takes the last word that fits.
const STEMS: [&str; 12] = [
    "jan ene gen jän sty oca янв січ ιαν",
    "feb fev fév lut şub фев лют φεβ",
    "mar mär mrt már maa мар бер μαρ μάρ",
    "apr abr avr kwi nis ápr апр кві απρ",
    "may mai mei maj mag máj май мая тра μαι μάι μαϊ μάϊ",
    "jun jui̇n juin giu cze haz jún июн чер ιουν ιούν",
    "jul juil lug lip tem júl июл лип ιουλ ιούλ",
    "aug ago aoû aou sie ağu авг сер αυγ αύγ",
    "sep set wrz eyl sze сен вер σεπ",
    "oct okt out ott paź eki окт жов οκτ",
    "nov lis kas ноя лис νοε νοέ",
    "dec dic déc dez des gru ara дек гру δεκ",
];

/// The weekday that a lowercase English word names: 0 is Monday.
pub(super) fn weekday(word: &str) -> Option<i64> {
    const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let found = DAYS.iter().position(|day| word.len() >= 3 && day.starts_with(word));
    found
        .or_else(|| ["tues", "thur", "thurs"].iter().position(|day| *day == word).map(|n| [1, 3, 3][n]))
        .map(|n| n as i64)
}

/// Seconds east of Greenwich for a zone's lowercase name.
pub(super) fn zone(name: &str, region: Region) -> Option<i64> {
    let minutes = match (name, region) {
        ("est", Region::Australia) => 600,
        ("edt", Region::Australia) => 660,
        ("cst", Region::China) => 480,
        ("ist", Region::Ireland) => 60,
        ("ist", Region::Israel) => 120,
        ("bst", Region::Bangladesh) => 360,
        ("z" | "ut" | "utc" | "gmt" | "wet" | "zulu", _) => 0,
        ("bst" | "cet" | "mez" | "met" | "west" | "wat", _) => 60,
        ("cest" | "mesz" | "mest" | "eet" | "sast" | "cat", _) => 120,
        ("eest" | "msk" | "trt" | "eat" | "idt", _) => 180,
        ("irst", _) => 210,
        ("msd" | "gst", _) => 240,
        ("pkt", _) => 300,
        ("ist", _) => 330,
        ("npt", _) => 345,
        ("wib" | "ict", _) => 420,
        ("hkt" | "sgt" | "myt" | "pht" | "awst" | "wita", _) => 480,
        ("jst" | "kst" | "wit", _) => 540,
        ("acst", _) => 570,
        ("aest", _) => 600,
        ("acdt", _) => 630,
        ("aedt", _) => 660,
        ("nzst", _) => 720,
        ("nzdt", _) => 780,
        ("ndt", _) => -150,
        ("adt" | "brt" | "art" | "clst", _) => -180,
        ("nst", _) => -210,
        ("edt" | "ast" | "clt" | "vet", _) => -240,
        ("est" | "cdt" | "cot" | "pet", _) => -300,
        ("cst" | "mdt", _) => -360,
        ("mst" | "pdt", _) => -420,
        ("pst" | "akdt", _) => -480,
        ("akst", _) => -540,
        ("hst" | "hast", _) => -600,
        // RFC 2822: the letters were defined backwards once, so they say nothing
        _ if name.len() == 1 && name.as_bytes()[0].is_ascii_lowercase() && name != "j" => 0,
        _ => return None,
    };
    Some(minutes * 60)
}
