//! How long to wait before the next attempt.

use std::time::Duration;

use crate::store::{Result, StoreError};
use backon::{BackoffBuilder, ExponentialBuilder};

/// Doubling from `first` to `longest`, with jitter of up to as much again, so that what failed together
/// doesn't come back together. `attempt` counts from 1.
pub fn backoff(first: Duration, longest: Duration, attempt: u32) -> Duration {
    let attempt = usize::try_from(attempt.clamp(1, 64)).unwrap_or(64);
    ExponentialBuilder::default()
        .with_min_delay(first)
        .with_max_delay(longest)
        .with_factor(2.0)
        .without_max_times()
        .with_jitter()
        .build()
        .nth(attempt - 1)
        .unwrap_or(longest)
}

/// What the other side said (`Retry-After`), or our own wait where it said nothing, or a time that has passed already.
pub fn retry_after_or(retry_after: Option<Duration>, first: Duration, longest: Duration, attempt: u32) -> Duration {
    retry_after.filter(|wait| *wait >= first).unwrap_or_else(|| backoff(first, longest, attempt))
}

const STORE_FIRST: Duration = Duration::from_millis(100);
const STORE_LONGEST: Duration = Duration::from_secs(1);

/// Before the next attempt to use a store that is away.
pub fn store_backoff(attempt: u32) -> Duration {
    backoff(STORE_FIRST, STORE_LONGEST, attempt)
}

/// What has happened outside is written down as soon as the store is there again: otherwise it is as unknown as after
/// a crash. Whoever takes the lane meanwhile is told of by the store ([`StoreError::Fenced`]).
pub async fn retry_until_written<T, F: Future<Output = Result<T>>>(write: impl Fn() -> F) -> Result<T> {
    let mut attempt: u32 = 0;
    loop {
        match write().await {
            Err(StoreError::Unavailable(_)) => attempt = attempt.saturating_add(1),
            written => return written,
        }
        tokio::time::sleep(store_backoff(attempt)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_to_its_bound_and_stays_there() {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(60));
        for (attempt, least, most) in [(1, 1, 2), (2, 2, 4), (4, 8, 16), (12, 60, 120), (4_000_000_000, 60, 120)] {
            let wait = backoff(first, longest, attempt);
            assert!(wait >= Duration::from_secs(least) && wait <= Duration::from_secs(most), "{attempt}: {wait:?}");
        }
    }

    #[test]
    fn a_retry_after_of_nothing_is_no_invitation_to_come_back_at_once() {
        let [first, longest] = [1, 60].map(Duration::from_secs);
        for told in [None, Some(Duration::ZERO)] {
            assert!(retry_after_or(told, first, longest, 4) >= Duration::from_secs(8));
        }
        assert_eq!(retry_after_or(Some(Duration::from_secs(2)), first, longest, 4), Duration::from_secs(2));
    }
}
