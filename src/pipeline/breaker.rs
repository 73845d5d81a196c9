//! Whether a credential may be used now: a Fini key, a channel's token.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::retry::backoff;
use crate::telemetry::{Credential, Metrics};

/// Tries with a refused credential: slowly, one at a time.
const PROBE_FIRST: Duration = Duration::from_secs(5);
const PROBE_LONGEST: Duration = Duration::from_secs(60);

#[derive(Default)]
struct State {
    probe_at: Option<Instant>,
    refused: u32,
    succeeded_at: Option<Instant>,
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
            _ if lies_ahead(state.probe_at) => BreakerState::Open,
            0 => BreakerState::Closed,
            _ => BreakerState::HalfOpen,
        }
    }

    /// When calls may go through again, if none may now.
    pub fn lets_through_in(&self) -> Option<Duration> {
        let at = self.state.lock().ok()?.probe_at?;
        at.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    /// The other side answered as it should: the credential works.
    pub fn on_success(&self) {
        let Ok(mut state) = self.state.lock() else { return };
        if state.refused > 0 {
            tracing::info!(credential = self.name, "the credential works again");
            self.metrics.credential(&self.name, Credential::Works);
        }
        *state = State { succeeded_at: Some(Instant::now()), ..State::default() };
    }

    /// Whether anything went through in the time up to now.
    pub fn succeeded_within(&self, time: Duration) -> bool {
        let Ok(state) = self.state.lock() else { return false };
        state.succeeded_at.is_some_and(|at| at.elapsed() < time)
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
