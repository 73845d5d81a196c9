//! What a person filled in a form, in the form's own order, which a map of JSON does not keep.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Meta's own mark on the answers.
const TOKEN: &str = "flow_token";

/// `reason: damaged`, one for each field; none where it can't be read. An object within is only a group of fields.
pub fn answers(json: &str) -> Vec<String> {
    let mut written = Vec::new();
    let seed = Answers { name: "", written: &mut written };
    match seed.deserialize(&mut serde_json::Deserializer::from_str(json)) {
        Ok(()) => written,
        Err(_) => Vec::new(),
    }
}

struct Answers<'a> {
    /// Of the field that is read; empty outside of one.
    name: &'a str,
    written: &'a mut Vec<String>,
}

impl Answers<'_> {
    fn add(self, value: impl fmt::Display) {
        if !self.name.is_empty() {
            self.written.push(format!("{}: {value}", self.name));
        }
    }
}

impl<'de> DeserializeSeed<'de> for Answers<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Answers<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            if name == TOKEN {
                map.next_value::<IgnoredAny>()?;
            } else {
                map.next_value_seed(Answers { name: &name, written: self.written })?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        while values.next_element_seed(Answers { name: self.name, written: self.written })?.is_some() {}
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        if !text.trim().is_empty() {
            self.add(text);
        }
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.add(value);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.add(value);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.add(value);
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.add(value);
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}
