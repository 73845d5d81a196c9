//! fini-bridge: a gateway between chat platforms and Fini, an AI agent for customer support.
//!
//! Rooms stand on floors; a room imports only from the floors below it (`tests/architecture.rs` reads
//! this list and fails on an import that runs up or sideways). `docs/ARCHITECTURE.md` has the map.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

// floor 7
pub mod cli;
// floor 6
pub mod app;
// floor 5
pub mod web;
// floor 4
pub mod pipeline;
// floor 3
pub mod fini;
pub mod platform;
pub mod store;
// floor 2
pub mod http;
pub mod signature;
pub mod telemetry;
pub mod text;
// floor 1
pub mod domain;
