//! Whether a credential may be used now: a Fini key, a channel's token.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::retry::{backoff, retry_after_or};
use crate::telemetry::{Credential, Metrics};

/// Tries with a refused credential: slowly, one at a time.
const PROBE_FIRST: Duration = Duration::from_secs(5);
const PROBE_LONGEST: Duration = Duration::from_secs(60);
/// Waits after a 429 that doesn't say how long.
const THROTTLE_FIRST: Duration = Duration::from_secs(1);
const THROTTLE_LONGEST: Duration = Duration::from_secs(60);

#[derive(Default)]
struct State {
    /// Nothing goes through before this, whatever calls that were under way bring.
    throttled_until: Option<Instant>,
    throttled: u32,
    probe_at: Option<Instant>,
    refused: u32,
    succeeded_at: Option<Instant>,
}

impl State {
    fn lets_through_at(&self) -> Option<Instant> {
        self.throttled_until.max(self.probe_at)
    }
}

fn lies_ahead(at: Option<Instant>) -> bool {
    at.is_some_and(|at| Instant::now() < at)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Everything goes through.
    Closed,
    /// One call at a time goes through, to find out whether the credential works again.
    HalfOpen,
    /// Nothing goes through.
    Open,
}

pub struct CircuitBreaker {
    /// What it is called in metrics and logs.
    name: String,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

impl CircuitBreaker {
    pub fn new(name: String, metrics: Arc<Metrics>) -> Self {
        metrics.credential(&name, Credential::Works);
        Self { name, metrics, state: Mutex::default() }
    }

    pub fn state(&self) -> BreakerState {
        let Ok(state) = self.state.lock() else { return BreakerState::Closed };
        match state.refused {
            _ if lies_ahead(state.lets_through_at()) => BreakerState::Open,
            0 => BreakerState::Closed,
            _ => BreakerState::HalfOpen,
        }
    }

    /// When calls may go through again, if none may now.
    pub fn lets_through_in(&self) -> Option<Duration> {
        let at = self.state.lock().ok()?.lets_through_at()?;
        at.checked_duration_since(Instant::now())
    }

    /// The other side answered as it should: the credential works.
    pub fn on_success(&self) {
        let Ok(mut state) = self.state.lock() else { return };
        if state.refused > 0 {
            tracing::info!(credential = self.name, "the credential works again");
            self.metrics.credential(&self.name, Credential::Works);
        }
        // A call that left before the 429 doesn't shorten the pause.
        let throttled = lies_ahead(state.throttled_until);
        *state = State {
            throttled_until: state.throttled_until.filter(|_| throttled),
            throttled: if throttled { state.throttled } else { 0 },
            succeeded_at: Some(Instant::now()),
            ..State::default()
        };
    }

    /// Whether anything went through in the time up to now.
    pub fn succeeded_within(&self, time: Duration) -> bool {
        let Ok(state) = self.state.lock() else { return false };
        state.succeeded_at.is_some_and(|at| at.elapsed() < time)
    }

    /// 429: nothing goes through until then.
    pub fn on_throttled(&self, retry_after: Option<Duration>) {
        let Ok(mut state) = self.state.lock() else { return };
        // Many calls that were under way together count once.
        if !lies_ahead(state.throttled_until) {
            state.throttled = state.throttled.saturating_add(1);
        } else if retry_after.is_none() {
            return;
        }
        let wait = retry_after_or(retry_after, THROTTLE_FIRST, THROTTLE_LONGEST, state.throttled);
        state.throttled_until = state.throttled_until.max(Some(Instant::now() + wait));
    }

    /// 401, 403: everything waits for a person; a probe now and then finds out.
    pub fn on_auth_failure(&self) {
        let Ok(mut state) = self.state.lock() else { return };
        if state.refused == 0 {
            tracing::error!(
                credential = self.name,
                "the credential is refused: its messages wait until it works again"
            );
            self.metrics.credential(&self.name, Credential::Broken);
        }
        if lies_ahead(state.probe_at) {
            return;
        }
        state.refused = state.refused.saturating_add(1);
        state.probe_at = Some(Instant::now() + backoff(PROBE_FIRST, PROBE_LONGEST, state.refused));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> CircuitBreaker {
        CircuitBreaker::new("fini/0".to_owned(), Arc::new(Metrics::default()))
    }

    #[test]
    fn an_answer_to_an_earlier_call_does_not_shorten_the_pause_of_a_429() {
        let breaker = breaker();
        breaker.on_throttled(Some(Duration::from_secs(60)));
        breaker.on_success();
        assert_eq!(breaker.state(), BreakerState::Open);
        assert!(breaker.lets_through_in().is_some_and(|wait| wait > Duration::from_secs(58)));
    }

    #[test]
    fn five_hundred_calls_that_are_throttled_together_pause_as_long_as_one() {
        let breaker = breaker();
        for _ in 0..512 {
            breaker.on_throttled(None);
        }
        assert!(breaker.lets_through_in().is_some_and(|wait| wait <= 2 * THROTTLE_FIRST));
        breaker.on_throttled(Some(Duration::from_secs(30)));
        assert!(breaker.lets_through_in().is_some_and(|wait| wait > Duration::from_secs(28)), "what Fini says counts");
    }

    #[test]
    fn a_refused_credential_is_tried_slowly_and_works_again_at_once() {
        let breaker = breaker();
        for _ in 0..512 {
            breaker.on_auth_failure();
        }
        assert_eq!(breaker.state(), BreakerState::Open);
        assert!(breaker.lets_through_in().is_some_and(|wait| wait <= 2 * PROBE_FIRST));
        breaker.on_success();
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert!(breaker.succeeded_within(Duration::from_secs(1)));
    }
}
