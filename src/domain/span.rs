//! Durations and sizes as people write them in a configuration: `"75s"`, `"24h"`, `"4MiB"`, `"60/10m"`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

macro_rules! from_text {
    ($name:ident, $expecting:literal, $pattern:literal, $examples:expr) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl serde::de::Visitor<'_> for Visitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::parse(text).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
                    }
                }
                deserializer.deserialize_str(Visitor)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern, "examples": $examples })
            }
        }
    };
}

/// A length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    pub const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    pub fn parse(text: &str) -> Option<Self> {
        humantime::parse_duration(text).ok().map(Self)
    }
}

/// As it is written in a configuration: a month of humantime's would not be 30 days.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
        match units.into_iter().find(|(_, unit)| millis >= *unit && millis.is_multiple_of(*unit)) {
            Some((name, unit)) => write!(f, "{}{name}", millis / unit),
            None if millis == 0 => f.write_str("0s"),
            None => write!(f, "{millis}ms"),
        }
    }
}

from_text!(Span, "a length of time such as \"30s\", \"5m\", \"24h\" or \"30d\"", r"^[0-9]", ["30s", "5m", "24h"]);

/// A length of time, or `"none"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionalSpan(pub Option<Duration>);

impl OptionalSpan {
    fn parse(text: &str) -> Option<Self> {
        if text == "none" { Some(Self(None)) } else { Span::parse(text).map(|span| Self(Some(span.0))) }
    }
}

impl fmt::Display for OptionalSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(span) => Span(span).fmt(f),
            None => f.write_str("none"),
        }
    }
}

from_text!(OptionalSpan, "a length of time such as \"12h\", or \"none\"", r"^([0-9]|none$)", ["none", "12h"]);

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub usize);

impl Size {
    fn parse(text: &str) -> Option<Self> {
        let size: bytesize::ByteSize = text.parse().ok()?;
        usize::try_from(size.as_u64()).ok().map(Self)
    }
}

/// As it is written in a configuration.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        match units.into_iter().find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit)) {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}B", self.0),
        }
    }
}

from_text!(Size, "a size such as \"4MiB\" or \"512KiB\"", r"^[0-9]", ["4MiB", "512KiB"]);

/// So many in a length of time, `"60/10m"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub count: u32,
    pub per: Duration,
}

impl Rate {
    fn parse(text: &str) -> Option<Self> {
        let (count, per) = text.split_once('/')?;
        let count = count.trim().parse().ok().filter(|count| *count > 0)?;
        let per = Span::parse(per.trim()).filter(|per| !per.0.is_zero())?.0;
        Some(Self { count, per })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, Span(self.per))
    }
}

from_text!(Rate, "a count in a length of time, such as \"60/10m\"", r"^[0-9]+/", ["60/10m"]);

/// So many in a length of time, or `"none"`: as many as come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionalRate(pub Option<Rate>);

impl OptionalRate {
    fn parse(text: &str) -> Option<Self> {
        if text == "none" { Some(Self(None)) } else { Rate::parse(text).map(|rate| Self(Some(rate))) }
    }
}

impl fmt::Display for OptionalRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(rate) => rate.fmt(f),
            None => f.write_str("none"),
        }
    }
}

from_text!(
    OptionalRate,
    "a count in a length of time, such as \"120/1h\", or \"none\"",
    r"^([0-9]+/|none$)",
    ["none", "120/1h"]
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_shown_as_it_is_written() {
        let shown = |text: &str| Size::parse(text).unwrap().to_string();
        let written = ["4MiB", "512KiB", "1500B", "2GiB", "0B"];
        assert_eq!(written.map(shown), written);
    }

    #[test]
    fn a_length_of_time_is_shown_as_it_is_written() {
        for written in ["0s", "250ms", "75s", "90s", "2m", "24h1m", "36h", "1d", "30d", "90d"] {
            let span = Span::parse(written).unwrap();
            assert_eq!(Span::parse(&span.to_string()), Some(span), "{written}");
        }
        let shown = |text: &str| Span::parse(text).unwrap().to_string();
        let written = ["90d", "36h", "75s", "1500ms", "0s"];
        assert_eq!(written.map(shown), written);
        assert_eq!(OptionalRate::parse("120/1h").unwrap().to_string(), "120/1h");
    }
}
