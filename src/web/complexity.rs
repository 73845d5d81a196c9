//! What a body becomes when it is parsed, told before anything is built of it. Bytes say little: an object takes
//! hundreds of bytes of memory for five in the body.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::signature::RawWebhook;

/// Whether the body holds more than `max` JSON values, or fields of a form. Objects, lists, texts, numbers, booleans
/// and nulls count; names of members don't. An object with members costs about ten times as much as anything else:
/// at most every second value may be one, which only bodies made to fill the memory go beyond.
pub fn is_too_complex(raw: &RawWebhook, max: usize) -> bool {
    let fields = || 1 + raw.body.iter().filter(|byte| **byte == b'&').count();
    if raw.is_form() && fields() > max {
        return true;
    }
    // Whatever its Content-Type says, a connector may read it as JSON.
    let count = Count { values: Cell::new(0), objects: Cell::new(0), max };
    let _ = (&count).deserialize(&mut serde_json::Deserializer::from_slice(&raw.body));
    count.is_exceeded()
}

struct Count {
    values: Cell<usize>,
    /// Those with members.
    objects: Cell<usize>,
    max: usize,
}

impl Count {
    fn is_exceeded(&self) -> bool {
        self.values.get() > self.max || self.objects.get() > self.max.div_ceil(2)
    }

    fn add<E: Error>(&self, counter: &Cell<usize>) -> Result<(), E> {
        counter.set(counter.get() + 1);
        if self.is_exceeded() { Err(E::custom("too complex")) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for &Count {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &Count {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        self.add(&self.values)?;
        if members.next_key::<IgnoredAny>()?.is_some() {
            self.add(&self.objects)?;
            members.next_value_seed(self)?;
            while members.next_key::<IgnoredAny>()?.is_some() {
                members.next_value_seed(self)?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        self.add(&self.values)?;
        while elements.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.add(&self.values)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.add(&self.values)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.add(&self.values)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.add(&self.values)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.add(&self.values)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.add(&self.values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_too_complex(body: &str, kind: &'static str, max: usize) -> bool {
        let mut raw = RawWebhook {
            method: reqwest::Method::POST,
            url: String::new(),
            rest: String::new(),
            headers: Default::default(),
            query: Vec::new(),
            body: bytes::Bytes::copy_from_slice(body.as_bytes()),
        };
        raw.headers.insert("content-type", reqwest::header::HeaderValue::from_static(kind));
        super::is_too_complex(&raw, max)
    }

    #[test]
    fn every_value_counts_once_and_names_don_t() {
        for (body, values) in
            [("1", 1), ("[]", 1), (r#"{"a":null,"b":true}"#, 3), (r#"{"a":[1,-1,1.5,"x",{}],"b":{"c":false}}"#, 9)]
        {
            assert!(!is_too_complex(body, "application/json", values), "{body}");
            assert!(is_too_complex(body, "application/json", values - 1), "{body}");
        }
    }

    #[test]
    fn of_objects_with_members_there_may_be_half_as_many() {
        let chain = |depth: usize| format!("{}1{}", r#"{"":"#.repeat(depth), "}".repeat(depth));
        assert!(!is_too_complex(&chain(50), "application/json", 100));
        assert!(is_too_complex(&chain(51), "application/json", 100));
        let flat = format!("[{}]", vec![r#"{"":1}"#; 49].join(","));
        assert!(!is_too_complex(&flat, "application/json", 100));
    }

    #[test]
    fn what_would_be_built_before_an_error_is_found_counts() {
        let broken = format!("[{}", "1,".repeat(200));
        assert!(is_too_complex(&broken, "application/json", 100));
        assert!(!is_too_complex("[1,", "application/json", 100));
        // A connector that only knows JSON doesn't ask for the content type.
        assert!(is_too_complex(&broken, "application/x-www-form-urlencoded", 100));
    }

    #[test]
    fn fields_of_a_form_count() {
        let form = "a=1&".repeat(99) + "b=2";
        assert!(!is_too_complex(&form, "application/x-www-form-urlencoded", 100));
        assert!(is_too_complex(&form, "application/x-www-form-urlencoded", 99));
        assert!(!is_too_complex(&form, "application/json", 10));
    }
}
