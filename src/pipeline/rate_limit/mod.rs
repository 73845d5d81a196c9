//! How much goes out in a time, over all replicas together: parts and typing signs to a platform
//! ([`RateLimiter`]), calls to Fini ([`CallBudget`]).

mod calls;
mod pauses;
mod replicas;
mod sends;
mod throttle;
mod window;

pub use calls::{CallBudget, Permit, Priority};
pub(super) use pauses::keep_pauses;
pub use sends::{RateLimiter, Wait};
pub use window::SlidingWindow;
