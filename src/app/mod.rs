//! Composition: settings → store, platforms, Fini, workers, servers. Owns start and shutdown.

pub mod gateway;
mod open_files;
pub mod sandbox;
pub mod settings;
