//! How many lanes may be worked on at once: those whose channels use one credential share a limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::breaker::{BreakerState, CircuitBreaker};
use super::channel::Channel;
use super::rate_limit::{RateLimiter, Wait};
use crate::domain::id::{ChannelName, LaneId};

pub struct ConcurrencyGroup {
    pub breaker: CircuitBreaker,
    channels: Vec<ChannelName>,
    limit: usize,
    /// Where each lane needs a token of a channel's pace, too.
    paced: Option<Arc<Channel>>,
    used: AtomicUsize,
    /// Lanes are due that found no room. What becomes due now waits behind them.
    has_backlog: AtomicBool,
    /// Told when a lane that waits may find room.
    wake: Arc<Notify>,
}

/// Room for one lane, for as long as it lives.
pub struct Permit(Arc<ConcurrencyGroup>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.used.fetch_sub(1, Ordering::SeqCst);
        if self.0.has_backlog.load(Ordering::SeqCst) {
            self.0.wake.notify_one();
        }
    }
}

impl ConcurrencyGroup {
    pub fn new(
        breaker: CircuitBreaker,
        channels: Vec<ChannelName>,
        limit: usize,
        paced: Option<Arc<Channel>>,
        wake: Arc<Notify>,
    ) -> Arc<Self> {
        let (used, has_backlog) = (AtomicUsize::new(0), AtomicBool::new(false));
        Arc::new(Self { breaker, channels, limit, paced, used, has_backlog, wake })
    }

    fn rate(&self) -> Option<&RateLimiter> {
        self.paced.as_ref().map(|channel| &channel.limiter)
    }

    pub fn has(&self, channel: &ChannelName) -> bool {
        self.channels.contains(channel)
    }

    pub fn channels(&self) -> &[ChannelName] {
        &self.channels
    }

    /// For a lane that has just become due. `None`: it has to wait for a look, as do those before it.
    pub fn try_acquire(self: &Arc<Self>, lane: LaneId) -> Option<Permit> {
        let has_room = self.breaker.state() == BreakerState::Closed && !self.has_backlog.load(Ordering::SeqCst);
        let Some(permit) = has_room.then(|| self.take_below(self.limit)).flatten() else {
            self.has_backlog.store(true, Ordering::SeqCst);
            return None;
        };
        self.take_token(lane).is_ok().then_some(permit)
    }

    /// A token for what comes next in the lane.
    pub fn take_token(&self, lane: LaneId) -> Result<(), Wait> {
        let Some(rate) = self.rate() else { return Ok(()) };
        rate.try_acquire(lane).inspect_err(|_| {
            if rate.available() == 0 {
                self.has_backlog.store(true, Ordering::SeqCst);
            }
        })
    }

    /// For the lanes that a look may find. Without a backlog half of the room stays free for what becomes due
    /// meanwhile.
    pub fn reserve(self: &Arc<Self>) -> Vec<Permit> {
        let used = self.used.load(Ordering::SeqCst);
        let free = match self.breaker.state() {
            BreakerState::Closed => self.limit.saturating_sub(used),
            BreakerState::HalfOpen if used == 0 => 1,
            BreakerState::HalfOpen | BreakerState::Open => 0,
        };
        let wanted = if self.has_backlog.load(Ordering::SeqCst) { free } else { free.div_ceil(2) };
        let wanted = self.rate().map_or(wanted, |rate| wanted.min(rate.available()));
        (0..wanted).map_while(|_| self.take_below(self.limit)).collect()
    }

    fn take_below(self: &Arc<Self>, limit: usize) -> Option<Permit> {
        let more = |used: usize| (used < limit).then_some(used + 1);
        self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).ok()?;
        Some(Permit(self.clone()))
    }

    /// A look found so many lanes of those that it had room for.
    pub fn looked(&self, found: usize, room: usize) {
        self.has_backlog.store(found >= room, Ordering::SeqCst);
    }

    /// When there is room again, where that is a matter of time.
    pub fn opens_in(&self) -> Option<Duration> {
        let breaker = self.breaker.lets_through_in();
        let waiting = self.rate().filter(|_| self.has_backlog.load(Ordering::SeqCst));
        breaker.max(waiting.and_then(|rate| rate.ready_in()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    fn group(limit: usize) -> Arc<ConcurrencyGroup> {
        let breaker = CircuitBreaker::new("fini/0".to_owned(), Arc::new(Metrics::default()));
        ConcurrencyGroup::new(breaker, vec![ChannelName::new("shop")], limit, None, Arc::default())
    }

    #[test]
    fn there_is_room_up_to_the_limit_and_again_when_it_is_given_back() {
        let group = group(2);
        let permits = [group.try_acquire(LaneId(1)).unwrap(), group.try_acquire(LaneId(2)).unwrap()];
        assert!(group.try_acquire(LaneId(3)).is_none());
        drop(permits);
        group.looked(0, 1);
        assert!(group.try_acquire(LaneId(3)).is_some());
    }

    #[test]
    fn what_becomes_due_waits_behind_those_who_found_no_room() {
        let group = group(1);
        let permit = group.try_acquire(LaneId(1));
        assert!(permit.is_some() && group.try_acquire(LaneId(2)).is_none());
        drop(permit);
        assert!(group.try_acquire(LaneId(3)).is_none(), "the second was here before");
        assert_eq!(group.reserve().len(), 1);
        group.looked(1, 1);
        assert!(group.try_acquire(LaneId(3)).is_none(), "there may be more where this came from");
        group.looked(0, 1);
        assert!(group.try_acquire(LaneId(3)).is_some());
    }

    #[test]
    fn a_look_without_a_backlog_leaves_room_for_what_comes_meanwhile() {
        let group = group(8);
        let reserved = group.reserve();
        assert_eq!(reserved.len(), 4);
        assert!(group.try_acquire(LaneId(1)).is_some());
    }

    #[test]
    fn a_broken_credential_is_tried_by_one_lane_at_a_time() {
        let group = group(8);
        group.breaker.on_auth_failure();
        assert!(group.try_acquire(LaneId(1)).is_none());
        assert!(group.reserve().is_empty());
        assert!(group.opens_in().is_some());
    }
}
