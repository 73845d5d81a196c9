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

const DAY: u64 = 24 * 3600;

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

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // humantime itself counts in months of 30.44 days: "90d" would come out as "2months 29days 2h 52m 48s".
        let days = self.0.as_secs() / DAY;
        let rest = self.0.saturating_sub(Duration::from_secs(days * DAY));
        match (days, rest.is_zero()) {
            (0, _) => humantime::format_duration(rest).fmt(f),
            (_, true) => write!(f, "{days}d"),
            (_, false) => write!(f, "{days}d {}", humantime::format_duration(rest)),
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

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bytesize::ByteSize::b(self.0 as u64).display().iec().fmt(f)
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
    fn a_length_of_time_is_shown_in_the_units_that_people_write_it_in() {
        let spans = [
            ("90d", "90d"),
            ("24h", "1d"),
            ("36h", "1d 12h"),
            ("150s", "2m 30s"),
            ("0s", "0s"),
            ("2months", "60d 21h 7m 12s"),
        ];
        for (written, shown) in spans {
            let span = Span::parse(written).unwrap();
            assert_eq!(span.to_string(), shown, "{written}");
            assert_eq!(Span::parse(shown), Some(span), "{written}: it can be written as it is shown");
        }
    }
}
