//! How fast parts and typing signs leave for a platform.

use std::time::Duration;

use crate::domain::id::LaneId;

/// There is no token now; about this long from now there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait(pub Duration);

/// The rates of one channel.
pub struct RateLimiter;

impl RateLimiter {
    pub fn try_acquire(&self, _lane: LaneId) -> Result<(), Wait> {
        Ok(())
    }

    pub fn acquire_spare(&self, _lane: LaneId) -> bool {
        true
    }

    /// Tokens of the channel that are left now.
    pub fn available(&self) -> usize {
        usize::MAX
    }

    /// When the channel has a token again, if it has none.
    pub fn ready_in(&self) -> Option<Duration> {
        None
    }
}
