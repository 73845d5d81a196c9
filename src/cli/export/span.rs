//! The span of an export, and its windows.

use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::domain::clock::Timestamp;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// List conversations' own default.
const DEFAULT: Duration = Duration::from_secs(7 * 24 * 3600);
/// It refuses more at once.
const WINDOW: Duration = Duration::from_secs(90 * DAY.as_secs());

/// A date (its first moment, UTC) or RFC 3339.
pub fn time(text: &str) -> Result<Timestamp, String> {
    let is_date = text.len() == "2026-01-31".len();
    let date = is_date.then(|| text.parse::<Date>().ok()).flatten();
    let date = date.and_then(|date| date.to_zoned(TimeZone::UTC).ok()).map(|at| at.timestamp());
    let at = date.or_else(|| text.parse::<jiff::Timestamp>().ok());
    let at = at.ok_or("write a date such as 2026-01-31, or RFC 3339 such as 2026-01-31T08:00:00Z")?;
    Ok(Timestamp::from_millis(at.as_millisecond()))
}

/// From when to when; fixed from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub since: Timestamp,
    pub until: Timestamp,
}

impl Span {
    pub fn new(since: Option<Timestamp>, until: Option<Timestamp>, now: Timestamp) -> Result<Self, String> {
        // What is yet to come would make the end move.
        let until = until.unwrap_or(now).min(now);
        let since = since.unwrap_or_else(|| until.minus(DEFAULT));
        if since >= until {
            return Err(format!("--since ({since}) must lie before --until ({until})"));
        }
        Ok(Self { since, until })
    }

    pub fn contains(&self, at: Timestamp) -> bool {
        (self.since..=self.until).contains(&at)
    }

    /// Newest first. Neighbours share a millisecond, for whether both ends belong to a window is not documented.
    pub fn windows(&self) -> impl Iterator<Item = Span> + Send + 'static + use<> {
        let Self { since, until } = *self;
        std::iter::successors(Some(until), |until| Some(until.minus(WINDOW)))
            .take_while(move |until| *until > since)
            .map(move |until| Span { since: until.minus(WINDOW).max(since), until })
    }

    /// In seconds, at least 1.
    pub fn length(&self) -> u64 {
        self.until.since(self.since).as_secs().max(1)
    }

    /// How much of it lies after `reached`.
    pub fn done(&self, reached: Timestamp) -> u64 {
        self.until.since(reached.max(self.since)).as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        time(text).unwrap()
    }

    #[test]
    fn a_time_is_a_date_in_utc_or_rfc_3339() {
        assert_eq!(at("2026-01-31").to_string(), "2026-01-31T00:00:00Z");
        assert_eq!(at("2026-01-31T02:00:00+02:00"), at("2026-01-31"));
        for wrong in ["", "yesterday", "2026-02-30", "2026-01-31T08:00", "1769846400000", "31.01.2026"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_span_is_the_last_seven_days_unless_said_otherwise_and_never_reaches_into_the_future() {
        let now = at("2026-03-10");
        let week = Span { since: at("2026-03-03"), until: now };
        assert_eq!(Span::new(None, None, now), Ok(week));
        assert_eq!(Span::new(None, Some(at("2027-01-01")), now), Ok(week));
        assert_eq!(Span::new(None, Some(at("2026-01-08")), now).unwrap().since, at("2026-01-01"));
        assert!(Span::new(Some(now), None, now).is_err());
        assert!(Span::new(Some(at("2026-02-01")), Some(at("2026-01-01")), now).is_err());
    }

    #[test]
    fn windows_cover_the_span_newest_first_and_none_is_longer_than_ninety_days() {
        let span = Span { since: at("2025-01-01"), until: at("2026-01-01") };
        let windows: Vec<Span> = span.windows().collect();
        assert_eq!(windows.len(), 5);
        assert_eq!((windows[0].until, windows[4].since), (span.until, span.since));
        assert!(windows.iter().all(|window| window.until.since(window.since) <= WINDOW));
        assert!(windows.windows(2).all(|pair| pair[0].since == pair[1].until));
        let exact = Span { since: span.until.minus(WINDOW), until: span.until };
        assert_eq!(exact.windows().collect::<Vec<_>>(), [exact]);
    }
}
