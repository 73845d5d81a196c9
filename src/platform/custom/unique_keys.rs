//! JSON in which no object gives a key twice. What reads such a body may take the first or the last: a value that
//! brought a key of its own would decide which.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// Whether `text` is JSON, and what is wrong with it.
pub fn check(text: &str) -> Result<(), &'static str> {
    match serde_json::from_str::<UniqueKeys>(text) {
        Ok(_) => Ok(()),
        Err(error) if error.is_data() => Err("gives a key twice"),
        Err(_) => Err("is not JSON"),
    }
}

struct UniqueKeys;

impl<'de> Deserialize<'de> for UniqueKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueKeys)
    }
}

impl<'de> Visitor<'de> for UniqueKeys {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without a key given twice")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if !seen.insert(key) {
                return Err(de::Error::custom("a key is given twice"));
            }
            map.next_value::<Self>()?;
        }
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_given_twice_is_found_at_any_depth_and_however_written() {
        for good in ["null", "[1, -2, 0.5, true, \"a\"]", r#"{"a": {"a": [{"a": null}, {"a": 1}]}, "b": {}}"#] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for twice in [r#"{"a": 1, "a": 1}"#, r#"[[{"b": {"a": 1, "\u0061": 2}}]]"#] {
            assert_eq!(check(twice), Err("gives a key twice"), "{twice}");
        }
        for bad in ["", "{", "{} {}", "{'a': 1}", "[1,]", "nul"] {
            assert_eq!(check(bad), Err("is not JSON"), "{bad}");
        }
    }
}
