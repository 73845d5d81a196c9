//! The steps of every store, written once over a small transaction: what happens to messages, turns, conversations
//! and replies. How a transaction runs, what comes in and who is leased what differ, and stand beside each store.
//!
//! The futures of SQLite's transactions never wait: its writer runs them to their end in one poll.

pub(super) mod budgets;
pub(super) mod clock;
pub(super) mod conversations;
pub(super) mod journal;
pub(super) mod leases;
pub(super) mod methods;
pub(super) mod outbox;
pub(super) mod queries;
pub(super) mod responses;
pub(super) mod retention;
pub(super) mod retry;
pub(super) mod timeline;
pub(super) mod turns;
mod tx;
pub(super) mod wakeups;

pub(super) use tx::{Param, Read, Row, Sql, Tx, json_list, params, sql};
