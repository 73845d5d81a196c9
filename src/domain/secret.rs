//! Values that must never be printed.

use std::fmt;

use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

/// A secret. It has no `Display` or `Serialize`, and its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The secret itself: for signing, comparing, and the header that carries it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Takes the text as it stands. The settings reader has put the value in its place before
/// (`env:NAME`, `file:PATH`); it finds the keys by this schema's format.
impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// The schema format that marks a key as a secret: `env:NAME`, `file:PATH`, or the text itself.
pub const SECRET_FORMAT: &str = "secret";

impl schemars::JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "minLength": 1,
            "format": SECRET_FORMAT,
            "description": "A secret: `env:NAME`, `file:PATH`, or (not advised) the text itself"
        })
    }
}

/// One secret, or a list of them during a rotation: the first signs, any verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secrets(pub Vec<Secret>);

impl<'de> Deserialize<'de> for Secrets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Secrets;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a secret or a list of secrets")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Secrets, E> {
                Ok(Secrets(vec![Secret::new(text)]))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Secrets, A::Error> {
                let mut all = Vec::new();
                while let Some(secret) = seq.next_element()? {
                    all.push(secret);
                }
                if all.is_empty() {
                    return Err(serde::de::Error::invalid_length(0, &"at least one secret"));
                }
                Ok(Secrets(all))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl schemars::JsonSchema for Secrets {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secrets".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let one = generator.subschema_for::<Secret>();
        schemars::json_schema!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
    }
}

/// A text in which `${NAME}` stands for a variable of the environment; the whole is a secret.
/// The settings reader puts the values in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Expanded(pub Secret);

/// The schema format that marks a key whose `${NAME}`s are filled in.
pub const EXPANDED_FORMAT: &str = "expanded";

impl schemars::JsonSchema for Expanded {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Expanded".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "format": EXPANDED_FORMAT,
            "description": "`${NAME}` is replaced by that variable of the environment, and kept secret"
        })
    }
}
