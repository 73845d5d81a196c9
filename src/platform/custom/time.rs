//! Times as platforms write them: numbers or texts, since the epoch or from now, or RFC 3339.

use std::time::Duration;

use minijinja::Value;
use minijinja::value::ValueKind;

use crate::domain::clock::Timestamp;
use crate::signature::parse_timestamp;

/// Beyond this a number is a time since the epoch, in seconds.
const EPOCH_SECONDS: f64 = 1e9;
/// Beyond this, in milliseconds.
const EPOCH_MILLIS: f64 = 1e12;
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// A moment, as `verify.timestamp` takes it: seconds or milliseconds since the epoch, or RFC 3339.
pub fn moment_of(value: &Value) -> Option<Timestamp> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let text = text.trim();
    match (value.kind(), text.split_once('.')) {
        (ValueKind::Number, Some((whole, _))) => parse_timestamp(whole),
        (ValueKind::Number | ValueKind::String, _) => parse_timestamp(text),
        _ => None,
    }
}

/// How long to wait: seconds from now, a time since the epoch, or RFC 3339. At most a day.
pub fn wait_of(value: &Value, now: Timestamp) -> Option<Duration> {
    let number = match value.as_str() {
        Some(text) => text.trim().parse().ok(),
        None if value.kind() == ValueKind::Number => f64::try_from(value.clone()).ok(),
        None => None,
    };
    let wait = match number {
        Some(number) if !number.is_finite() || number < 0.0 => return None,
        Some(millis) if millis > EPOCH_MILLIS => Timestamp::from_millis(millis as i64).since(now),
        Some(seconds) if seconds > EPOCH_SECONDS => Timestamp::from_millis((seconds * 1000.0) as i64).since(now),
        Some(seconds) => Duration::try_from_secs_f64(seconds).ok()?,
        None => {
            let at: jiff::Timestamp = value.as_str()?.trim().parse().ok()?;
            Timestamp::from_millis(at.as_millisecond()).since(now)
        }
    };
    Some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_a_number_of_seconds_or_ends_at_a_time() {
        let now = Timestamp::from_secs(1_791_000_000);
        for (value, seconds) in [
            (Value::from(20), Some(20.0)),
            (Value::from("1.5"), Some(1.5)),
            (Value::from(1_791_000_020_i64), Some(20.0)),
            (Value::from("1791000020.5"), Some(20.5)),
            (Value::from(1_791_000_020_500_i64), Some(20.5)),
            (Value::from("2026-10-03T04:00:20Z"), Some(20.0)),
            (Value::from(1_790_000_000_i64), Some(0.0)),
            (Value::from(999_999_999), Some(86_400.0)),
            (Value::from(-1), None),
            (Value::from("soon"), None),
            (Value::from("nan"), None),
            (Value::from(()), None),
            (Value::from(vec![1]), None),
        ] {
            assert_eq!(wait_of(&value, now).map(|wait| wait.as_secs_f64()), seconds, "{value}");
        }
    }

    #[test]
    fn a_moment_is_in_seconds_or_milliseconds_or_rfc_3339() {
        for value in [
            Value::from(1_791_000_000_i64),
            Value::from("1791000000"),
            Value::from(1_791_000_000_000_i64),
            Value::from(1_791_000_000.75),
            Value::from("2026-10-03T06:00:00+02:00"),
        ] {
            assert_eq!(moment_of(&value), Some(Timestamp::from_secs(1_791_000_000)), "{value}");
        }
        for value in
            [Value::from("yesterday"), Value::from(""), Value::from(-5), Value::from(true), Value::from(vec![1])]
        {
            assert_eq!(moment_of(&value), None, "{value}");
        }
    }
}
