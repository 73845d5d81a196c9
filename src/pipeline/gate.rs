//! Whether a credential may be used now, and by how many at once: one room a Fini key, one a channel's token.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::retry::{backoff, told_or};
use crate::domain::id::ChannelName;
use crate::store::{Lease, Want};
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
    worked_at: Option<Instant>,
}

impl State {
    fn opens_at(&self) -> Option<Instant> {
        self.throttled_until.max(self.probe_at)
    }
}

fn lies_ahead(at: Option<Instant>) -> bool {
    at.is_some_and(|at| Instant::now() < at)
}

/// How many may go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    Free,
    /// One, to find out whether the credential works again.
    Probe,
    Closed,
}

pub struct Gate {
    /// What it is called in metrics and logs.
    name: String,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

impl Gate {
    pub fn new(name: String, metrics: Arc<Metrics>) -> Self {
        metrics.credential(&name, Credential::Works);
        Self { name, metrics, state: Mutex::default() }
    }

    pub fn passage(&self) -> Passage {
        let Ok(state) = self.state.lock() else { return Passage::Free };
        match state.refused {
            _ if lies_ahead(state.opens_at()) => Passage::Closed,
            0 => Passage::Free,
            _ => Passage::Probe,
        }
    }

    /// When it opens again, if it is closed.
    pub fn opens_in(&self) -> Option<Duration> {
        let at = self.state.lock().ok()?.opens_at()?;
        at.checked_duration_since(Instant::now())
    }

    /// The other side answered as it should: the credential works.
    pub fn worked(&self) {
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
            worked_at: Some(Instant::now()),
            ..State::default()
        };
    }

    /// Whether anything went through in the time up to now.
    pub fn worked_within(&self, time: Duration) -> bool {
        let Ok(state) = self.state.lock() else { return false };
        state.worked_at.is_some_and(|at| at.elapsed() < time)
    }

    /// 429: nothing goes through until then.
    pub fn throttled(&self, retry_after: Option<Duration>) {
        let Ok(mut state) = self.state.lock() else { return };
        // Many calls that were under way together count once.
        if !lies_ahead(state.throttled_until) {
            state.throttled = state.throttled.saturating_add(1);
        } else if retry_after.is_none() {
            return;
        }
        let wait = told_or(retry_after, THROTTLE_FIRST, THROTTLE_LONGEST, state.throttled);
        state.throttled_until = state.throttled_until.max(Some(Instant::now() + wait));
    }

    /// 401, 403: everything waits for a person; a probe now and then finds out.
    pub fn refused(&self) {
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

/// The lanes that share a limit: those whose channels use one credential.
pub struct Room {
    pub gate: Gate,
    channels: Vec<ChannelName>,
    limit: usize,
    used: Arc<AtomicUsize>,
}

/// A place in a room, for as long as it lives.
pub struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Room {
    pub fn new(gate: Gate, channels: Vec<ChannelName>, limit: usize) -> Self {
        Self { gate, channels, limit, used: Arc::default() }
    }

    pub fn has(&self, lease: &Lease) -> bool {
        self.channels.contains(&lease.channel)
    }

    pub fn enter(&self) -> Place {
        self.used.fetch_add(1, Ordering::SeqCst);
        Place(self.used.clone())
    }

    /// How many more lanes may be worked on now, if any.
    pub fn want(&self) -> Option<Want> {
        let used = self.used.load(Ordering::SeqCst);
        let limit = match self.gate.passage() {
            Passage::Free => self.limit.saturating_sub(used),
            Passage::Probe if used == 0 => 1,
            Passage::Probe | Passage::Closed => 0,
        };
        (limit > 0 && !self.channels.is_empty()).then(|| Want { channels: self.channels.clone(), limit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate() -> Gate {
        Gate::new("fini/0".to_owned(), Arc::new(Metrics::default()))
    }

    #[test]
    fn an_answer_to_an_earlier_call_does_not_shorten_the_pause_of_a_429() {
        let gate = gate();
        gate.throttled(Some(Duration::from_secs(60)));
        gate.worked();
        assert_eq!(gate.passage(), Passage::Closed);
        assert!(gate.opens_in().is_some_and(|wait| wait > Duration::from_secs(58)));
    }

    #[test]
    fn five_hundred_calls_that_are_throttled_together_pause_as_long_as_one() {
        let gate = gate();
        for _ in 0..512 {
            gate.throttled(None);
        }
        assert!(gate.opens_in().is_some_and(|wait| wait <= 2 * THROTTLE_FIRST));
        gate.throttled(Some(Duration::from_secs(30)));
        assert!(gate.opens_in().is_some_and(|wait| wait > Duration::from_secs(28)), "what Fini says counts");
    }

    #[test]
    fn a_refused_credential_is_tried_slowly_and_works_again_at_once() {
        let gate = gate();
        for _ in 0..512 {
            gate.refused();
        }
        assert_eq!(gate.passage(), Passage::Closed);
        assert!(gate.opens_in().is_some_and(|wait| wait <= 2 * PROBE_FIRST));
        gate.worked();
        assert_eq!(gate.passage(), Passage::Free);
        assert!(gate.worked_within(Duration::from_secs(1)));
    }
}
