//! The gateway without accounts and without a network: what stands in for the outside world.

pub mod fini;
