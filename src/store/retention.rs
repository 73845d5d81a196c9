//! What is removed from a store, when, and from which columns: one list for every store.
//!
//! Three steps, in this order. **Expire**: what nobody could work on for `give_up_after` + `keep` ends failed.
//! **Prune**: `keep` after a message's end its text goes, and all that may quote it. **Forget**: `forget` after its
//! receipt its rows go, and those of a chat that has nothing left.

use std::time::Duration;

use serde_json::Value;

use super::{TurnEnd, TurnOutcome};
use crate::domain::clock::Timestamp;
use crate::domain::id::{ChannelName, MessageId, TurnId};
use crate::domain::message::Address;

/// How a message ends that nobody could work on in time. Nobody is told.
pub const EXPIRED: &str = "expired";
pub const EXPIRED_DETAIL: &str =
    "Nobody could work on it in time: its channel was off or gone, or store.keep has passed, too. Nobody was told.";

/// Rows in one transaction: removing a month's messages holds up nobody.
pub(super) const ROWS_AT_ONCE: usize = 200;
/// Chats in one transaction.
pub(super) const LANES_AT_ONCE: usize = 50;

/// `[store]`, and what it needs to know of the channels.
#[derive(Clone, Debug)]
pub struct Retention {
    /// From a message's end to the removal of its text.
    pub keep: Duration,
    /// From its receipt to the removal of its rows.
    pub forget: Duration,
    /// `replies.give_up_after`, also for channels that aren't configured any more.
    pub give_up_after: Duration,
    /// Channels with a `give_up_after` of their own.
    pub overrides: Vec<(ChannelName, Duration)>,
    /// Channels that are worked on. What waits in others is dormant: nobody is told when it is too old.
    pub active: Vec<ChannelName>,
}

impl Retention {
    /// When the channel gives up, from a message's receipt.
    pub(super) fn gives_up(&self, channel: &str) -> Duration {
        self.overrides.iter().find(|(name, _)| name.as_str() == channel).map_or(self.give_up_after, |(_, own)| *own)
    }

    /// What was received before this and has not ended expires.
    pub(super) fn expires_before(&self, give_up_after: Duration, now: Timestamp) -> i64 {
        now.minus(give_up_after).minus(self.keep).as_millis()
    }
}

impl TurnEnd {
    /// `members`: of a turn that was never begun.
    pub(super) fn expired(turn: TurnId, members: Vec<MessageId>) -> Self {
        Self {
            turn,
            members,
            is_discovered: true,
            outcome: TurnOutcome::Expired,
            address: Address(Value::Null),
            parts: Vec::new(),
            events: Vec::new(),
            first_event_at: None,
            event_kinds: Vec::new(),
            new_generation: None,
        }
    }
}

/// How many messages each step dealt with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    pub expired: u64,
    pub pruned: u64,
    pub forgotten: u64,
}

/// What becomes of a column that can hold text when its row is pruned.
pub enum Column {
    /// Holds what people wrote, or may quote it: this SQL expression is what remains.
    Pruned(&'static str, &'static str),
    /// Stays until the row is forgotten, for this reason.
    Kept(&'static str, &'static str),
}

use Column::{Kept, Pruned};

const ID: &str = "an id of the bridge's own";
const NAME: &str = "a name from the configuration";
const CODE: &str = "one of a fixed set of codes";
/// A reason is a code, such as a status or the platform's own word; one that is a sentence may quote something.
const CODES_ONLY: &str = "CASE WHEN length(reason) <= 64 AND reason NOT LIKE '% %' THEN reason END";
const PLATFORM_ID: &str = "an id of the platform's: recognises what is delivered again";
const PERSON: &str = "a keyed hash: tells one person from another, and not who they are";
const FINI_ID: &str = "an id of Fini's";

/// Every table with every column that can hold text or bytes. `tests/store/retention.rs` compares it with the real
/// schema of each store: a new column has to be added here.
pub const TABLES: &[(&str, &[Column])] = &[
    (
        "lanes",
        &[
            Kept("channel", NAME),
            Kept("chat", PLATFORM_ID),
            Kept("chat_ref", ID),
            Kept("bot_id", FINI_ID),
            Kept("sender_ref", PERSON),
            Kept("attributes_ref", PERSON),
            Kept("watermark", FINI_ID),
            Kept("handoff", CODE),
            Kept("turns_owner", ID),
            Kept("deliveries_owner", ID),
        ],
    ),
    ("due_lanes", &[Kept("work", CODE), Kept("channel", NAME)]),
    ("replicas", &[Kept("id", ID)]),
    ("channel_pauses", &[Kept("channel", NAME)]),
    ("credential_states", &[Kept("fingerprint", ID), Kept("state", CODE), Kept("reason", CODE)]),
    ("shown_events", &[Kept("interaction_id", FINI_ID), Kept("event_id", FINI_ID)]),
    (
        "messages",
        &[
            Kept("id", ID),
            Kept("channel", NAME),
            Kept("delivery_key", PLATFORM_ID),
            Kept("key_digest", PLATFORM_ID),
            Kept("role", CODE),
            Pruned("sender", "NULL"),
            Pruned("text", "NULL"),
            Pruned("user_attributes", "NULL"),
            Kept("bot_id", FINI_ID),
            Pruned("address", "NULL"),
            Kept("state", CODE),
            Pruned("reason", CODES_ONLY),
            Pruned("detail", "NULL"),
            Kept("turn", ID),
            Kept("traceparent", ID),
            Pruned("journal", "''"),
        ],
    ),
    (
        "turns",
        &[
            Kept("id", ID),
            Kept("bot_id", FINI_ID),
            Kept("role", CODE),
            Pruned("content", "NULL"),
            Pruned("user_attributes", "NULL"),
            Pruned("address", "NULL"),
            Kept("state", CODE),
            Pruned("reason", CODES_ONLY),
            Pruned("detail", "NULL"),
            Pruned("event_kinds", "'[]'"),
            Kept("channel", NAME),
            Kept("sender_ref", PERSON),
            Pruned("journal", "''"),
        ],
    ),
    (
        "conversations",
        &[
            Kept("channel", NAME),
            Kept("bot_id", FINI_ID),
            Kept("reference", ID),
            Kept("interaction_id", FINI_ID),
            Kept("first_events", FINI_ID),
        ],
    ),
    (
        "parts",
        &[
            Kept("id", ID),
            Kept("channel", NAME),
            Kept("turn", ID),
            Kept("kind", CODE),
            Pruned("part", "NULL"),
            Pruned("address", "NULL"),
            Kept("state", CODE),
            Kept("receipt", PLATFORM_ID),
            Pruned("reason", CODES_ONLY),
            Pruned("detail", "NULL"),
            Pruned("journal", "''"),
        ],
    ),
];

/// Assignments that empty a table's columns: `text = NULL, …`.
pub(super) fn emptied(table: &str) -> String {
    let columns = TABLES.iter().find(|(name, _)| *name == table).map_or([].as_slice(), |(_, columns)| columns);
    let assignments = columns.iter().filter_map(|column| match column {
        Pruned(name, empty) => Some(format!("{name} = {empty}")),
        Kept(..) => None,
    });
    assignments.collect::<Vec<_>>().join(", ")
}
