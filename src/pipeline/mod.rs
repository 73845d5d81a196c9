//! The workers: turns (inbox → Fini → outbox) and deliveries (outbox → platform), and what they share.
//! Knows nothing of HTTP servers.

pub mod channel;
