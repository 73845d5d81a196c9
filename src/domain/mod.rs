//! What the product is about, without any way to reach the outside: ids, messages, time, secrets.

pub mod clock;
pub mod failpoint;
pub mod id;
pub mod message;
pub mod problem;
pub mod secret;
pub mod span;
