use super::*;

fn check(rows: &[(&str, &str)]) {
    for (text, due) in rows {
        let found = read(text).map_or_else(|| "none".to_owned(), |at| at.to_string());
        assert_eq!(&found, due, "{text:?}");
    }
}

#[test]
fn the_shapes_of_rss() {
    check(&[
        ("Sat, 07 Sep 2002 00:00:01 GMT", "2002-09-07T00:00:01Z"),
        ("Sat, 07 Sep 2002 00:00:01 +0200", "2002-09-06T22:00:01Z"),
        ("07 Sep 2002 00:00 GMT", "2002-09-07T00:00:00Z"),
        ("Sat, 7 Sep 2002 9:00:00 EST", "2002-09-07T14:00:00Z"),
        ("Sat, 07 Sep 02 00:00:01 GMT", "2002-09-07T00:00:01Z"),
        ("Sat,  07 Sep  2002 00:00:01 GMT", "2002-09-07T00:00:01Z"),
        ("Saturday, 07 September 2002 00:00:01 UT", "2002-09-07T00:00:01Z"),
        ("Sat, Sep 07 2002 00:00:01 GMT", "2002-09-07T00:00:01Z"),
        ("WED,23 MAY 2012 02:23:01", "2012-05-23T02:23:01Z"),
        ("Mon, May 25 2020 04:45:26 +0000", "2020-05-25T04:45:26Z"),
        ("Thu, 01 Jan 2004 19:48:21 GMT+0100", "2004-01-01T18:48:21Z"),
        ("Wed, 27 Nov 2013 20:17:55", "2013-11-27T20:17:55Z"),
        ("Sat, 07 Sep 2002 00:00:01 -02:30", "2002-09-07T02:30:01Z"),
        ("Sun, 20 Apr 2014 8:19 pm CEST", "2014-04-20T18:19:00Z"),
        ("Tue, 31 Dec 2002 24:00:00 GMT", "2003-01-01T00:00:00Z"),
        ("Sat, 31 Dec 2016 23:59:60 GMT", "2016-12-31T23:59:59Z"),
        ("Sat, 07 Sep 2002", "2002-09-07T00:00:00Z"),
    ]);
}

#[test]
fn the_shapes_of_atom_and_iso() {
    check(&[
        ("2003-12-31T10:14:55Z", "2003-12-31T10:14:55Z"),
        ("2003-12-31T10:14:55.25-08:00", "2003-12-31T18:14:55.25Z"),
        ("2003-12-31T10:14:55+0530", "2003-12-31T04:44:55Z"),
        ("2003-12-31 10:14:55+03", "2003-12-31T07:14:55Z"),
        ("2003-12-31 10:14", "2003-12-31T10:14:00Z"),
        ("2003-12-31", "2003-12-31T00:00:00Z"),
        ("2003-12", "2003-12-01T00:00:00Z"),
        ("2003", "2003-01-01T00:00:00Z"),
        ("20031231T101455Z", "2003-12-31T10:14:55Z"),
        ("20031231", "2003-12-31T00:00:00Z"),
        ("20031231101455", "2003-12-31T10:14:55Z"),
        ("2003-W01-1", "2002-12-30T00:00:00Z"),
        ("2009-W53-7", "2010-01-03T00:00:00Z"),
        ("2003W012T10:00", "2002-12-31T10:00:00Z"),
        ("2003-365", "2003-12-31T00:00:00Z"),
        ("2004366", "2004-12-31T00:00:00Z"),
        ("2020/1/10 14:33:00", "2020-01-10T14:33:00Z"),
        ("2003-12-31t10:14:55z", "2003-12-31T10:14:55Z"),
        ("1577836800", "2020-01-01T00:00:00Z"),
        ("1577836800000", "2020-01-01T00:00:00Z"),
    ]);
}

#[test]
fn the_shapes_of_programs() {
    check(&[
        ("Sun Jan  4 16:29:06 2004", "2004-01-04T16:29:06Z"),
        ("Sun Jan 04 16:29:06 PST 2004", "2004-01-05T00:29:06Z"),
        ("Mon Jun 22 2015 20:12:20 GMT+0900 (JST)", "2015-06-22T11:12:20Z"),
        ("Sat Oct 06 2018 00:00:00 GMT", "2018-10-06T00:00:00Z"),
        ("January 5, 2021 3:04 PM", "2021-01-05T15:04:00Z"),
        ("5th of March 2021 at 12:30 am", "2021-03-05T00:30:00Z"),
        ("Feb. 5, 2024, 3 p.m.", "2024-02-05T15:00:00Z"),
        ("Feb. 5, 2024, 10:30 p.m.", "2024-02-05T22:30:00Z"),
        ("05 Feb 2024 3pm", "2024-02-05T15:00:00Z"),
        ("5 Feb 2024 12 a.m. EST", "2024-02-05T05:00:00Z"),
        ("25/12/2020 10:00", "2020-12-25T10:00:00Z"),
        ("12/25/2020", "2020-12-25T00:00:00Z"),
        ("25.12.2020", "2020-12-25T00:00:00Z"),
    ]);
}

#[test]
fn zones_by_name() {
    let at = |zone: &str| format!("Thu, 02 Jul 2020 12:00:00 {zone}");
    for (zone, due) in [
        ("EST", "17:00"),
        ("EDT", "16:00"),
        ("PST", "20:00"),
        ("PDT", "19:00"),
        ("JST", "03:00"),
        ("IST", "06:30"),
        ("BST", "11:00"),
        ("AEST", "02:00"),
        ("CEST", "10:00"),
        ("EET", "10:00"),
        ("A", "12:00"),
    ] {
        assert_eq!(read(&at(zone)).unwrap().to_string(), format!("2020-07-02T{due}:00Z"), "{zone}");
    }
    for (region, zone, due) in [
        (Region::of(Some("en-ie"), None), "IST", "11:00"),
        (Region::of(None, Some("www.example.co.il")), "IST", "10:00"),
        (Region::of(None, Some("abc.net.au")), "EST", "02:00"),
        (Region::of(Some("zh-CN"), None), "CST", "04:00"),
    ] {
        let found = examine(&at(zone), region).at.unwrap();
        assert_eq!(found.to_string(), format!("2020-07-02T{due}:00Z"), "{zone} {region:?}");
    }
}

#[test]
fn an_unknown_zone_is_said_to_be_one() {
    for zone in ["XQT", "ET", "Europe/Berlin", "America/New_York"] {
        let reading = examine(&format!("Thu, 02 Jul 2020 12:00:00 {zone}"), Region::Unknown);
        assert_eq!(reading.at.unwrap().to_string(), "2020-07-02T12:00:00Z", "{zone}");
        assert_eq!(reading.flaw, Some(Flaw::UnknownZone), "{zone}");
    }
}

#[test]
fn months_in_many_languages() {
    check(&[
        ("Sex, 03 Jan 2025 10:00:00 -0300", "2025-01-03T13:00:00Z"),
        ("Seg, 24 Set 2018 10:00:00 -0300", "2018-09-24T13:00:00Z"),
        ("Mar, 03 Abr 2018 10:00:00 GMT", "2018-04-03T10:00:00Z"),
        ("sáb, 05 dic 2020 10:00:00 +0100", "2020-12-05T09:00:00Z"),
        ("mar. 3 août 2021 10:00", "2021-08-03T10:00:00Z"),
        ("3 février 2021", "2021-02-03T00:00:00Z"),
        ("15 juin 2021", "2021-06-15T00:00:00Z"),
        ("15 juillet 2021 à 10h30", "2021-07-15T10:30:00Z"),
        ("Mi, 13 Mai 2020 10:00:00 +0200", "2020-05-13T08:00:00Z"),
        ("1. März 2020, 10:00 Uhr", "2020-03-01T10:00:00Z"),
        ("gio, 30 lug 2020 10:00:00 +0200", "2020-07-30T08:00:00Z"),
        ("30 giugno 2020", "2020-06-30T00:00:00Z"),
        ("5 мая 2020 10:00", "2020-05-05T10:00:00Z"),
        ("Пн, 03 июл 2017 10:00:00 +0300", "2017-07-03T07:00:00Z"),
        ("2020年1月5日", "2020-01-05T00:00:00Z"),
        ("2020年1月5日 10:30", "2020-01-05T10:30:00Z"),
        ("2020年1月5日 10時30分", "2020-01-05T10:30:00Z"),
        ("2020년 1월 5일", "2020-01-05T00:00:00Z"),
        ("Κυρ, 11 Ιούλ 2004 12:00:00 EST", "2004-07-11T17:00:00Z"),
        ("2004-július-13T9:15-05:00", "2004-07-13T14:15:00Z"),
    ]);
}

#[test]
fn what_cannot_be_meant_is_no_date() {
    for (text, flaw) in [
        ("Mon, 01 Jan 0001 00:00:00 +0000", Flaw::Unset),
        ("0001-01-01T00:00:00Z", Flaw::Unset),
        ("Mon, 01 Jan 0002 00:00:00 +0000", Flaw::Absurd),
        ("30000-01-01", Flaw::Absurd),
        ("Mon, 01 Jan 9999 00:00:00 +0000", Flaw::Absurd),
        ("28 Se 151874151874", Flaw::Absurd),
        ("5 March 2021 10:00-15555555555555555555555551", Flaw::Unreadable),
        ("8518478934", Flaw::Absurd),
        ("No date found.", Flaw::Unreadable),
        ("2 hours ago", Flaw::Unreadable),
        ("", Flaw::Unreadable),
        ("10:30", Flaw::Unreadable),
        ("2020-13-01", Flaw::Unreadable),
    ] {
        assert_eq!(examine(text, Region::Unknown), Reading { at: None, flaw: Some(flaw) }, "{text:?}");
    }
}

#[test]
fn a_longer_run_of_digits_is_never_cut_to_fit_a_field() {
    check(&[
        ("Thu, 18 Jun 2015 01:25:025 GMT", "2015-06-18T01:25:25Z"),
        ("Thu, 018 Jun 2015 01:25:25 GMT", "2015-06-18T01:25:25Z"),
        ("Thu, 18 Jun 02015 01:025:25 GMT", "2015-06-18T01:25:25Z"),
        ("2015-06-018 001:25:25", "2015-06-18T01:25:25Z"),
        ("2015-006-18T01:25:25Z", "2015-06-18T01:25:25Z"),
        ("18 Jun 2015 01:25:25 +01:000", "2015-06-18T00:25:25Z"),
        ("18 juin 2015 10h030", "2015-06-18T10:30:00Z"),
        // eleven or eighteen, and both are Thursdays
        ("Thu, 118 Jun 2015 01:25:25 GMT", "none"),
        ("118 Jun 2015", "none"),
        ("118 Jun 2015 01:25:25 GMT", "none"),
        ("2015-06-118", "none"),
        ("2015-12-310T10:00:00Z", "none"),
        ("2015-1234", "none"),
        ("2015-W01-15", "none"),
        ("Jun 118, 2015", "none"),
        // of 12, 15 and 25 one is a Friday
        ("Fri, 125 Jun 2015 01:25:25 GMT", "2015-06-12T01:25:25Z"),
        ("Fri, 2015-06-125", "2015-06-12T00:00:00Z"),
        ("18 Jun 2015 01:25:4225", "none"),
        // a counter from 1900
        ("5 Jun 102", "2002-06-05T00:00:00Z"),
    ]);
    let flaw = |text| examine(text, Region::Unknown).flaw;
    assert_eq!(flaw("Thu, 118 Jun 2015 01:25:25 GMT"), Some(Flaw::Unreadable));
    assert_eq!(flaw("Fri, 125 Jun 2015 01:25:25 GMT"), Some(Flaw::Overflow));
    assert_eq!(flaw("18 Jun 2015 01:25:125"), Some(Flaw::Overflow));
    assert_eq!(flaw("Thu, 018 Jun 2015 01:25:025 GMT"), None);
}

#[test]
fn fields_beyond_their_range_are_carried_over_and_said_to_be() {
    for (text, due) in [
        ("2003-07-01T25:51:30-0500", "2003-07-02T06:51:30Z"),
        ("2003-07-01T01:61:30-0500", "2003-07-01T07:01:30Z"),
        ("2003-07-32T15:51:30-0500", "2003-08-01T20:51:30Z"),
        ("Thu, 30 Feb 2024 10:00:00 GMT", "2024-03-01T10:00:00Z"),
        ("Fri, 11 Mar 2016 01:15:00 +3000", "2016-03-09T19:15:00Z"),
    ] {
        let reading = examine(text, Region::Unknown);
        assert_eq!(reading.at.unwrap().to_string(), due, "{text}");
        assert_eq!(reading.flaw, Some(Flaw::Overflow), "{text}");
    }
}
