//! Notices that the store's clock was set back. What is scheduled, held back or measured by the old time would
//! wait for as long as it was set back: an hour's step would stop chats for an hour.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::domain::clock::Timestamp;

/// Answers of a database may overtake each other by as much. A smaller step is waited for.
const TOLERANCE: Duration = Duration::from_secs(3);
/// When the store's clock was set back, nothing is due later than this: longer than any lease, so that no holder
/// loses its lane by it.
pub(super) const HORIZON: Duration = Duration::from_secs(10);
/// Nor is a reply held back later than this: nobody waits longer for a response.
pub(super) const LONGEST_HOLD: Duration = Duration::from_secs(60);

/// The store's clock as it was seen last; a gateway looks every second.
#[derive(Default)]
pub(super) struct Steps(AtomicI64);

impl Steps {
    pub(super) fn is_set_back(&self, now: Timestamp) -> bool {
        let last = Timestamp::from_millis(self.0.swap(now.as_millis(), Ordering::Relaxed));
        now.plus(TOLERANCE) < last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clock_that_was_set_back_is_noticed_and_once() {
        let steps = Steps::default();
        for (second, is_set_back) in
            [(7000, false), (7000, false), (10_600, false), (10_598, false), (7000, true), (7000, false)]
        {
            assert_eq!(steps.is_set_back(Timestamp::from_secs(1_790_000_000 + second)), is_set_back, "{second}");
        }
    }
}
