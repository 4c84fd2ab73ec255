//! A FIELD: a selector alone, or a table that says where a text is found and what is made of it.

use super::{moment, pointer::Language, unless_wrong};
use crate::{
    config::{
        reader::{Table, Value},
        value::Compiled,
    },
    page::rules::{DateRule, Pick, Rule, Take, What},
};

/// Whether a FIELD may say how dates are read.
#[derive(Clone)]
pub(super) enum Dates<P> {
    /// It is no date.
    None,
    /// It is a part of one: how the whole is read is said beside `join`.
    Part,
    /// It is one, and what it does not say of how it is read is this.
    Like(DateRule<P>),
}

/// Reads one; None where a fault was told.
pub(super) fn field<P: Language>(value: &Value<'_>, dates: &Dates<P>, compiled: &Compiled) -> Option<Rule<P>> {
    if !value.is_table() {
        value.string(format_args!("a FIELD: {}, or a table with select, const, any or join", P::FORM))?;
        let select = select(value)?;
        let take = Take::Pick(Pick { select, what: What::Natural });
        let date = match dates {
            Dates::Like(date) => date.clone(),
            Dates::None | Dates::Part => DateRule::default(),
        };
        return Some(Rule { place: value.place(), take, regex: None, min_length: 0, max_length: None, date });
    }
    let mut table = value.clone().of_field().table()?;
    let date = date(&mut table, dates);
    let take = take(&mut table, value, dates, date.as_ref(), compiled);

    let regex = table.get("regex");
    let (least, most) = (table.get("min_length"), table.get("max_length"));
    let min_length = least.as_ref().map(|value| value.integer(0..=1_000_000));
    let max_length = most.as_ref().map(|value| value.integer(1..=1_000_000));
    if let (Some(Some(min)), Some(Some(max)), Some(at)) = (min_length, max_length, &least)
        && min > max
    {
        at.error(format_args!("min_length ({min}) is greater than max_length ({max}): nothing is both"));
        return None;
    }
    if table.get("const").is_some() {
        for value in [&regex, &least, &most].into_iter().flatten() {
            value.error("changes nothing: a const is always the same text");
        }
    }
    let regex = regex.map(|value| value.pattern(compiled));
    table.finish();
    Some(Rule {
        place: value.place(),
        take: take?,
        regex: unless_wrong(regex)?,
        min_length: unless_wrong(min_length)?.unwrap_or(0) as usize,
        max_length: unless_wrong(max_length)?.map(|length| length as usize),
        date: date?,
    })
}

fn take<P: Language>(
    table: &mut Table<'_>,
    field: &Value<'_>,
    dates: &Dates<P>,
    date: Option<&DateRule<P>>,
    compiled: &Compiled,
) -> Option<Take<P>> {
    const FORMS: &str = "select, const, any and join";
    let forms = ["select", "const", "any", "join"].map(|key| (key, table.get(key)));
    let attr = if P::ATTRIBUTES {
        table.get("attr")
    } else {
        table.refuse("attr", "JSON has no attributes: select leads to the value itself");
        None
    };
    let with = table.get("with");
    let mut given = forms.iter().filter_map(|(key, value)| Some((*key, value.as_ref()?)));
    let Some((form, value)) = given.next() else {
        field.error(format_args!("expected one of {FORMS}, found none; the item itself is select = \":self\""));
        return None;
    };
    let others: Vec<_> = given.collect();
    for (_, value) in &others {
        value.error(format_args!("there is {form} too, and a FIELD has only one of {FORMS}"));
    }
    if let Some(attr) = attr.as_ref().filter(|_| form != "select") {
        attr.error(format_args!("belongs to select, and this FIELD has {form}"));
        return None;
    }
    if let Some(with) = with.as_ref().filter(|_| form != "join") {
        with.error(format_args!("stands between the parts of join, and this FIELD has {form}"));
        return None;
    }
    if !others.is_empty() {
        return None;
    }
    match form {
        "const" => value.string("a text").map(|text| Take::Const(text.to_owned())),
        "any" => {
            let dates = match (dates, date) {
                (Dates::Like(_), Some(date)) => Dates::Like(date.clone()),
                (dates, _) => dates.clone(),
            };
            fields(value, &dates, compiled).map(Take::Any)
        }
        "join" => {
            let parts = fields(value, if matches!(dates, Dates::None) { &Dates::None } else { &Dates::Part }, compiled);
            let with = unless_wrong(with.map(|value| value.string("a text").map(str::to_owned)));
            Some(Take::Join { parts: parts?, with: with?.unwrap_or_else(|| " ".to_owned()) })
        }
        _ => {
            value.string(P::FORM)?;
            let what = unless_wrong(attr.map(|value| what(&value)));
            Some(Take::Pick(Pick { select: select(value)?, what: what?.unwrap_or(What::Natural) }))
        }
    }
}

fn fields<P: Language>(value: &Value<'_>, dates: &Dates<P>, compiled: &Compiled) -> Option<Vec<Rule<P>>> {
    let items = value.array("an array of FIELDs")?;
    if items.is_empty() {
        value.error("has no FIELD in it");
        return None;
    }
    // all are read before any is found wanting
    let fields: Vec<_> = items.iter().map(|item| field(item, dates, compiled)).collect();
    fields.into_iter().collect()
}

/// None within is the item itself.
fn select<P: Language>(value: &Value<'_>) -> Option<Option<P>> {
    match value.as_str() {
        Some(text) if P::is_self(text) => Some(None),
        _ => P::read(value).map(Some),
    }
}

fn what(value: &Value<'_>) -> Option<What> {
    const FORM: &str = "the name of an attribute such as \"href\", or \"html\" for the inner HTML";
    let text = value.string(FORM)?;
    let fits = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || "\"'<>/=[]@".contains(c));
    if !fits {
        value.wrong(FORM);
        return None;
    }
    // HTML does not tell cases apart
    let name = text.to_ascii_lowercase();
    Some(if name == "html" { What::Html } else { What::Attribute(name) })
}

fn date<P: Language>(table: &mut Table<'_>, dates: &Dates<P>) -> Option<DateRule<P>> {
    let refused = match dates {
        Dates::None => "is for dates, which published alone is",
        Dates::Part => "is said of the date as a whole, beside join",
        Dates::Like(date) => return of_date(table, date),
    };
    for key in ["format", "zone", "under"] {
        table.refuse(key, refused);
    }
    Some(DateRule::default())
}

fn of_date<P: Language>(table: &mut Table<'_>, like: &DateRule<P>) -> Option<DateRule<P>> {
    let format = unless_wrong(table.get("format").map(|value| moment::format(&value)));
    let zone = unless_wrong(table.get("zone").map(|value| moment::zone(&value)));
    let under = unless_wrong(table.get("under").map(|value| P::read(&value)));
    Some(DateRule {
        format: format?.or_else(|| like.format.clone()),
        zone: zone?.unwrap_or_else(|| like.zone.clone()),
        under: under?.or_else(|| like.under.clone()),
    })
}
