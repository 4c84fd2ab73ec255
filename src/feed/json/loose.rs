//! JSON values taken for what they can be: nothing fails because a number stands where a text should, or a
//! key stands twice.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::super::{
    entry::{LISTED, NAME},
    text::cut,
};

/// The texts and lists of an object, as far as a feed has use for them.
#[derive(Default)]
pub(super) struct Object {
    texts: Vec<(&'static str, String)>,
    pub(super) authors: Vec<String>,
    pub(super) tags: Vec<String>,
    pub(super) attachments: Vec<Object>,
}

/// The keys whose texts are kept.
const TEXTS: [&str; 16] = [
    "version",
    "title",
    "home_page_url",
    "id",
    "url",
    "external_url",
    "content_html",
    "content_text",
    "summary",
    "date_published",
    "date_modified",
    "image",
    "banner_image",
    "mime_type",
    "size_in_bytes",
    "name",
];

impl Object {
    /// The text of that key, where it says something.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.texts.iter().find(|(known, _)| *known == key).map(|(_, text)| text.as_str())
    }

    /// Takes up the value that stands behind a key.
    fn take<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "authors" | "author" => map.next_value_seed(Each(&mut |value| {
                if let Loose::Object(author) = value
                    && self.authors.len() < LISTED
                {
                    self.authors.extend(author.text("name").map(|name| cut(name.to_owned(), NAME)));
                }
            })),
            "tags" => map.next_value_seed(Each(&mut |value| {
                if let Loose::Text(tag) = value
                    && self.tags.len() < LISTED
                {
                    self.tags.push(cut(tag, NAME));
                }
            })),
            "attachments" => map.next_value_seed(Each(&mut |value| {
                if let Loose::Object(file) = value
                    && self.attachments.len() < LISTED
                {
                    self.attachments.push(*file);
                }
            })),
            _ => match TEXTS.iter().find(|known| **known == key) {
                Some(known) => {
                    if let Loose::Text(text) = map.next_value_seed(Any { texts_only: true })?
                        && self.text(known).is_none()
                    {
                        self.texts.push((known, text));
                    }
                    Ok(())
                }
                None => map.next_value().map(|_: IgnoredAny| ()),
            },
        }
    }
}

/// A value: a text, an object, or nothing that is of use.
enum Loose {
    /// Trimmed and not empty; numbers too.
    Text(String),
    Object(Box<Object>),
    Other,
}

impl Loose {
    fn text(text: &str) -> Self {
        match text.trim() {
            "" => Self::Other,
            text => Self::Text(text.to_owned()),
        }
    }
}

struct Any {
    /// Objects are passed over.
    texts_only: bool,
}

impl<'de> DeserializeSeed<'de> for Any {
    type Value = Loose;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Loose, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any {
    type Value = Loose;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Loose, E> {
        Ok(Loose::Other)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Loose, E> {
        Ok(Loose::Text(number.to_string()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Loose, E> {
        Ok(Loose::Text(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Loose, E> {
        Ok(Loose::Text(number.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Loose, E> {
        Ok(Loose::text(text))
    }

    fn visit_unit<E>(self) -> Result<Loose, E> {
        Ok(Loose::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Loose, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Loose::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Loose, A::Error> {
        let mut object = Object::default();
        while let Some(key) = map.next_key::<String>()? {
            if self.texts_only {
                map.next_value::<IgnoredAny>()?;
            } else {
                object.take(&key, &mut map)?;
            }
        }
        Ok(Loose::Object(Box::new(object)))
    }
}

/// A list, or one value in its place: each is handed over as it is read.
struct Each<'a>(&'a mut dyn FnMut(Loose));

impl<'de> DeserializeSeed<'de> for Each<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Each<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0(Loose::text(text));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut taken = 0;
        while taken < LISTED
            && let Some(value) = list.next_element_seed(Any { texts_only: false })?
        {
            self.0(value);
            taken += 1;
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.0(Any { texts_only: false }.visit_map(map)?);
        Ok(())
    }
}

/// The whole document. What was read stays where the reading fails.
pub(super) struct Feed<F> {
    /// What is said of the feed itself.
    pub(super) about: Object,
    /// There is a list of items, broken off or not.
    pub(super) has_items: bool,
    /// Takes each item.
    each: F,
}

impl<F: FnMut(Object)> Feed<F> {
    pub(super) fn new(each: F) -> Self {
        Self { about: Object::default(), has_items: false, each }
    }

    /// Reads on until the end or the first error.
    pub(super) fn read<'de, D: Deserializer<'de>>(&mut self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(Whole(self))
    }
}

struct Whole<'a, F>(&'a mut Feed<F>);

impl<'de, F: FnMut(Object)> Visitor<'de> for Whole<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "items" {
                map.next_value_seed(Items(&mut *self.0))?;
            } else {
                self.0.about.take(&key, &mut map)?;
            }
        }
        Ok(())
    }
}

/// The list of items.
struct Items<'a, F>(&'a mut Feed<F>);

impl<'de, F: FnMut(Object)> DeserializeSeed<'de> for Items<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de, F: FnMut(Object)> Visitor<'de> for Items<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.0.has_items = true;
        while let Some(value) = list.next_element_seed(Any { texts_only: false })? {
            if let Loose::Object(object) = value {
                (self.0.each)(*object);
            }
        }
        Ok(())
    }
}
