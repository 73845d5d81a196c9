//! How long to wait before the next attempt.

use std::time::Duration;

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
}
