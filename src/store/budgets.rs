//! Budgets that all who share the store keep together, to the letter: in no window more than so many, whoever takes
//! them, and over restarts.
//!
//! A store keeps one ledger for each budget, and changes it in one transaction. What is granted has to be used within a
//! short time, and counts until a window's length after the end of that time: so it counts wherever in that time it was
//! used, and no replica has to know of the others.
//!
//! Beside them stand the pauses of channels, which all replicas keep.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::Result;
use crate::domain::clock::Timestamp;
use crate::domain::id::{BudgetKey, ChannelName};

/// A ledger has no more entries than this for a window's length: what is granted within this part of it is one entry.
const ENTRIES: i64 = 64;

/// Spends budgets.
#[async_trait]
pub trait Budgets: Send + Sync + 'static {
    /// Grants as much of each request as the budget has, in their order.
    async fn spend(&self, spending: &Spending) -> Result<Vec<Grant>>;

    /// The platform takes nothing of this channel for so long, from whichever replica.
    async fn pause(&self, channel: &ChannelName, time: Duration) -> Result<()>;

    /// The channels that are paused, and for how long.
    async fn pauses(&self) -> Result<Vec<(ChannelName, Duration)>>;
}

#[derive(Clone, Debug)]
pub struct Spending {
    pub budget: BudgetKey,
    pub window: Duration,
    /// What is granted is used within this, or not at all. Counted from before the request.
    pub use_within: Duration,
    pub requests: Vec<Request>,
}

#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub number: u32,
    /// What the window may hold with this, granted to whomever: less important requests leave something to the others.
    pub limit: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    pub number: u32,
    /// Less was granted than requested; the next may be granted in this time.
    pub again_in: Option<Duration>,
}

/// What was granted and still counts, the oldest first.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Ledger(Vec<Entry>);

/// Until when it may be used, in milliseconds of the store's clock, and how much it is.
#[derive(Debug, Serialize, Deserialize)]
struct Entry(i64, u32);

impl Ledger {
    /// A ledger of nothing but the end of a pause.
    pub(crate) fn pause(&mut self, until: Timestamp) {
        let until = self.0.iter().map(|entry| entry.0).fold(until.as_millis(), i64::max);
        self.0 = vec![Entry(until, 0)];
    }

    pub(crate) fn paused_for(&self, now: Timestamp) -> Duration {
        let until = self.0.iter().map(|entry| entry.0).max().unwrap_or_default();
        Duration::from_millis(u64::try_from(until.saturating_sub(now.as_millis())).unwrap_or_default())
    }

    pub(crate) fn spend(&mut self, spending: &Spending, now: Timestamp) -> Vec<Grant> {
        let (now, window) = (now.as_millis(), millis(spending.window).max(1));
        let part = (window / ENTRIES).max(1);
        // The end of this part of a window, so that all that is granted in it is one entry.
        let use_until = (now.div_euclid(part) + 1).saturating_mul(part).saturating_add(millis(spending.use_within));
        for entry in &mut self.0 {
            // The clock was set back.
            entry.0 = entry.0.min(use_until);
        }
        self.0.retain(|entry| entry.0.saturating_add(window) > now);
        let mut spent = self.0.iter().fold(0, |sum: u32, entry| sum.saturating_add(entry.1));
        let granted = spending.requests.iter().map(|request| {
            let number = request.number.min(request.limit.saturating_sub(spent));
            spent = spent.saturating_add(number);
            number
        });
        let granted: Vec<u32> = granted.collect();
        let sum = granted.iter().fold(0, |sum: u32, number| sum.saturating_add(*number));
        match self.0.last_mut() {
            _ if sum == 0 => {}
            Some(last) if last.0 == use_until => last.1 = last.1.saturating_add(sum),
            _ => self.0.push(Entry(use_until, sum)),
        }
        let again_in = |request: &Request| {
            let mut left = spent;
            let fits = self.0.iter().find(|entry| {
                left = left.saturating_sub(entry.1);
                left < request.limit
            });
            let at = fits.map_or(use_until, |entry| entry.0).saturating_add(window);
            Duration::from_millis(u64::try_from(at.saturating_sub(now)).unwrap_or_default())
        };
        let grants = spending.requests.iter().zip(granted).map(|(request, number)| {
            let again_in = (number < request.number).then(|| again_in(request));
            Grant { number, again_in }
        });
        grants.collect()
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn spending(requests: &[(u32, u32)]) -> Spending {
        Spending {
            budget: BudgetKey::new("fini"),
            window: 60 * SECOND,
            use_within: 2 * SECOND,
            requests: requests.iter().map(|(number, limit)| Request { number: *number, limit: *limit }).collect(),
        }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(1_790_000_000).plus(Duration::from_secs(seconds))
    }

    fn numbers(grants: &[Grant]) -> Vec<u32> {
        grants.iter().map(|grant| grant.number).collect()
    }

    #[test]
    fn what_was_granted_counts_a_window_longer_than_it_may_be_used() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.spend(&spending(&[(95, 95)]), at(0)), [Grant { number: 95, again_in: None }]);
        let full = ledger.spend(&spending(&[(1, 95)]), at(61));
        assert_eq!(full[0].number, 0);
        let again = full[0].again_in.unwrap();
        assert!(again > SECOND && again <= 2 * SECOND, "{again:?}");
        assert_eq!(numbers(&ledger.spend(&spending(&[(96, 95)]), at(61).plus(again))), [95]);
    }

    #[test]
    fn requests_are_granted_in_their_order_and_each_within_its_own_limit() {
        let mut ledger = Ledger::default();
        assert_eq!(numbers(&ledger.spend(&spending(&[(50, 95), (50, 85), (50, 57)]), at(0))), [50, 35, 0]);
        assert_eq!(numbers(&ledger.spend(&spending(&[(20, 95), (20, 85)]), at(1))), [10, 0]);
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nothing_closed_for_longer_than_a_window() {
        let mut ledger = Ledger::default();
        ledger.spend(&spending(&[(95, 95)]), at(3600));
        let again = ledger.spend(&spending(&[(1, 95)]), at(0))[0].again_in.unwrap();
        assert!(again >= 60 * SECOND && again <= 64 * SECOND, "{again:?}");
    }

    #[test]
    fn a_ledger_stays_small_however_much_is_spent() {
        let mut ledger = Ledger::default();
        for step in 0..100_000 {
            ledger.spend(&spending(&[(1, u32::MAX)]), at(0).plus(Duration::from_millis(step)));
        }
        assert!(ledger.0.len() <= 70, "{}", ledger.0.len());
    }

    proptest! {
        /// Several replicas, each using what it was granted at any moment at which it may.
        #[test]
        fn no_window_holds_more_than_the_limit(
            steps in prop::collection::vec((0u64..4000, 1u32..40, 0u64..=2000), 1..200)
        ) {
            let (mut ledger, mut now, mut used) = (Ledger::default(), at(0), Vec::new());
            for (pause, number, later) in steps {
                now = now.plus(Duration::from_millis(pause));
                let granted = ledger.spend(&spending(&[(number, 95)]), now)[0].number;
                used.extend((0..granted).map(|_| now.plus(Duration::from_millis(later)).as_millis()));
            }
            used.sort_unstable();
            for (first, from) in used.iter().enumerate() {
                let within = used[first..].iter().take_while(|time| **time < from + 60_000).count();
                prop_assert!(within <= 95, "{within} within a window");
            }
        }
    }
}
