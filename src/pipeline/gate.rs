//! Whether a credential may be used now, and by how many at once: one room a Fini key, one a channel's token.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::retry::backoff;
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
    until: Option<Instant>,
    throttled: u32,
    refused: u32,
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
        match state.until {
            Some(until) if Instant::now() < until => Passage::Closed,
            _ if state.refused > 0 => Passage::Probe,
            _ => Passage::Free,
        }
    }

    /// When it opens again, if it is closed.
    pub fn opens_in(&self) -> Option<Duration> {
        let until = self.state.lock().ok()?.until?;
        until.checked_duration_since(Instant::now())
    }

    /// The other side answered as it should: the credential works.
    pub fn worked(&self) {
        let Ok(mut state) = self.state.lock() else { return };
        if state.refused > 0 {
            tracing::info!(credential = self.name, "the credential works again");
            self.metrics.credential(&self.name, Credential::Works);
        }
        *state = State::default();
    }

    /// 429: nothing goes through until then.
    pub fn throttled(&self, retry_after: Option<Duration>) {
        let Ok(mut state) = self.state.lock() else { return };
        state.throttled = state.throttled.saturating_add(1);
        let wait = retry_after.unwrap_or_else(|| backoff(THROTTLE_FIRST, THROTTLE_LONGEST, state.throttled));
        state.until = state.until.max(Some(Instant::now() + wait));
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
        state.refused = state.refused.saturating_add(1);
        state.until = Some(Instant::now() + backoff(PROBE_FIRST, PROBE_LONGEST, state.refused));
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
