//! Names and ids as types of their own, so that one can't stand where another belongs.
//!
//! Ids that a platform gave out can hold a phone number: their `Debug` shows nothing, and they have
//! no `Display`. Logs name a chat by its [`ChatRef`] and a message by our own [`MessageId`].

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, shown) => {
        text_id!(@common $(#[$doc])* $name);
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
    ($(#[$doc:meta])* $name:ident, hidden) => {
        text_id!(@common $(#[$doc])* $name);
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}(…)", stringify!($name))
            }
        }
    };
    (@common $(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id!(
    /// The name of a channel in the configuration: `[channels.NAME]`, also in its webhook's path.
    ChannelName, shown
);
text_id!(
    /// A Fini agent.
    BotId, shown
);
text_id!(
    /// A Fini conversation. Belongs to one chat, by a constraint in the store.
    InteractionId, shown
);
text_id!(
    /// An event inside a Fini conversation.
    EventId, shown
);
text_id!(
    /// What makes a delivered message recognisable when it is delivered again; unique within its channel.
    DeliveryKey, hidden
);
text_id!(
    /// A chat as the platform tells it apart, unique within its channel.
    ChatKey, hidden
);
text_id!(
    /// How logs, metrics and Fini name a chat: 32 hex digits of an HMAC with a key of this installation.
    ChatRef, shown
);
text_id!(
    /// Who wrote, without saying who: 32 hex digits of an HMAC over channel and sender with a key of this installation.
    SenderRef, shown
);
text_id!(
    /// Which user attributes came along, without saying which: likewise.
    AttributesRef, shown
);
text_id!(
    /// What all who share a store spend together: 32 hex digits of an HMAC whose key is the credential.
    BudgetKey, shown
);
text_id!(
    /// Who holds a lease: one running process.
    Owner, shown
);

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id; ids made later sort later (UUID version 7).
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

uuid_id!(
    /// A message that came in, by our own name.
    MessageId
);
uuid_id!(
    /// One question to Fini, made of one or more messages.
    TurnId
);
uuid_id!(
    /// One part of a reply on its way to the platform. Stable over retries, so it serves as idempotency key.
    PartId
);

/// The lane of a chat: (channel, chat). A row number of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LaneId(pub i64);
