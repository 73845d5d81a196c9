//! Composition: settings → store, platforms, Fini, workers, servers. Owns start and shutdown.

pub mod gateway;
pub mod sandbox;
pub mod settings;
