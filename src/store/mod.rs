//! What is kept, and the promises about it: one trait, which every store keeps to the letter
//! (`tests/store.rs` runs one suite of promises on each).
//!
//! - A **lane** is a chat of a channel. Two kinds of work happen in it, each by one holder at a time: its
//!   turns with Fini, and the deliveries of its replies. A holder has a [`Lease`]; every write that follows
//!   from the work carries it and changes nothing once somebody else holds the lane ([`StoreError::Fenced`]).
//!   A lease holds until it is given back or its process falls silent: nothing has to be renewed lane by lane.
//! - Each method is one transaction, durable when it returns. No transaction stays open across a call.
//! - All times are the store's own clock: callers say how long from now.
//!
//! A store knows neither Fini's nor a platform's shapes: addresses, parts and events are JSON to it.

pub mod budgets;
mod column;
mod enforce;
mod lane;
pub mod postgres;
pub mod retention;
mod sql;
pub mod sqlite;
mod steps;
mod types;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;

use crate::domain::clock::Timestamp;
use crate::domain::id::{ChannelName, DeliveryKey, InteractionId, LaneId, MessageId, Owner, PartId, TurnId};
use crate::domain::message::{Address, ReportOutcome, Reported};
pub use budgets::Budgets;
pub use retention::{EXPIRED, Removed, Retention};
pub use types::*;

#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Can't be used now: away, full, or its disk failed. Nothing was changed.
    #[error("the store can't be used now: {0}")]
    Unavailable(String),
    /// Somebody else holds the lane by now. Nothing was changed.
    #[error("the lease is lost")]
    Fenced,
    /// What it holds is not what it wrote, or a statement is wrong: a defect.
    #[error("the store is inconsistent: {0}")]
    Corrupt(String),
}

pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// A webhook's sender waits no longer (Slack: 3 s), so [`Store::accept`] has an outcome by then. What is committed
/// after this is recognised when it is delivered again.
const ACCEPTED_WITHIN: Duration = Duration::from_millis(2500);

/// How often a process says that it lives.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// The lanes of a process that has been silent for so long are taken over.
pub const LEASE: Duration = Duration::from_secs(7);

fn not_in_time() -> StoreError {
    StoreError::Unavailable("it didn't answer in time".to_owned())
}

/// Who opens the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The gateway: makes the store if there is none, and brings it to this version.
    Serve,
    /// A command beside a gateway that may be running.
    Tool,
}

/// Everything that a gateway needs of its store. Whoever needs less takes less.
pub trait Store: Replica + Inbox + Leases + Turns + Conversations + Outbox + Responses + Operations + Budgets {}

impl<S: Replica + Inbox + Leases + Turns + Conversations + Outbox + Responses + Operations + Budgets> Store for S {}

/// This process as one of those that share the store.
#[async_trait]
pub trait Replica: Send + Sync + 'static {
    /// 32 random bytes, made when the store was: the key of everything keyed that this installation shows.
    async fn installation_key(&self) -> Result<[u8; 32]>;

    /// Whether other replicas use it too: then its being away doesn't make this replica unready.
    fn is_shared(&self) -> bool;

    /// Whether it can be written to now.
    async fn probe(&self) -> Result<()>;

    /// From now on commits lease lanes for this process, where it has room.
    fn join(&self, owner: &Owner, dispatcher: Arc<dyn Dispatcher>);

    /// Says that this process lives, at least every [`HEARTBEAT`]; without it for [`LEASE`], others take its lanes
    /// over. Takes over those of others that have fallen silent.
    async fn heartbeat(&self, owner: &Owner) -> Result<Heartbeat>;

    /// Before this process ends: whatever it still holds is everybody's, and the others are told.
    async fn announce_shutdown(&self, owner: &Owner);
}

/// What comes in.
#[async_trait]
pub trait Inbox: Send + Sync + 'static {
    /// Keeps all of a webhook in one commit. A message whose key is known changes nothing. When a second person
    /// writes in a chat (as [`Role::User`](crate::domain::message::Role), another sender, or without a sender other
    /// user attributes), the chat is shared from then on.
    async fn accept(&self, items: Vec<NewItem>) -> Result<Vec<Accepted>>;

    /// Which of these parts are this channel's, in their order. Reports often come in thousands about what somebody
    /// else sent.
    async fn known_parts(&self, channel: &ChannelName, of: &[Reported]) -> Result<Vec<bool>>;

    /// What the platform said later about a part. False: no such part.
    async fn apply_report(&self, channel: &ChannelName, of: &Reported, outcome: &ReportOutcome) -> Result<bool>;
}

/// Who works in which lane.
#[async_trait]
pub trait Leases: Send + Sync + 'static {
    /// Leases lanes that are due and free, never more than each request's limit, and tells when the next one is due.
    async fn lease(&self, work: WorkKind, owner: &Owner, requests: &[LeaseRequest]) -> Result<Due>;

    async fn release(&self, lease: &Lease, next: Next) -> Result<()>;
}

/// Questions to Fini.
#[async_trait]
pub trait Turns: Send + Sync + 'static {
    async fn lane_view(&self, lease: &Lease) -> Result<LaneView>;

    /// Writes down that Fini is about to be asked. The first time it makes the turn out of its members
    /// and the conversation of the generation, unless a limit is reached; again: another call of the same turn.
    async fn begin_call(&self, lease: &Lease, turn: &Arc<Turn>, call: &Call) -> Result<Admission>;

    /// The call certainly had no effect: the turn is open again. Releases the lane.
    async fn reopen(&self, lease: &Lease, turn: TurnId, after: Duration, reason: &str) -> Result<()>;

    /// What became of the turn's call is not known. Releases the lane.
    async fn mark_unknown(
        &self,
        lease: &Lease,
        turn: TurnId,
        note: LookupNote,
        after: Duration,
        reason: &str,
    ) -> Result<()>;

    /// Ends the turn. What there is to do next, if the lease stays for it.
    async fn finish_turn(&self, lease: &Lease, end: &Arc<TurnEnd>, after: AfterTurn) -> Result<Option<Box<LaneView>>>;
}

/// Fini's conversations.
#[async_trait]
pub trait Conversations: Send + Sync + 'static {
    async fn conversation(&self, lane: LaneId, generation: u32) -> Result<Option<Conversation>>;

    /// Gives a conversation its id and wakes its lane. An id belongs to one chat, for ever.
    async fn adopt(&self, lane: LaneId, generation: u32, id: &InteractionId) -> Result<Adopted>;
}

/// Replies on their way.
#[async_trait]
pub trait Outbox: Send + Sync + 'static {
    /// The lane's undelivered parts, in order; at most 50.
    async fn pending_parts(&self, lease: &Lease) -> Result<(Timestamp, Vec<PendingPart>)>;

    /// Writes down that a part is about to be sent.
    async fn begin_send(&self, lease: &Lease, part: PartId) -> Result<()>;

    /// What became of it. One that is deferred releases the lane, whatever is asked for.
    async fn finish_send(&self, lease: &Lease, part: PartId, end: &SendEnd, after: AfterSend) -> Result<LaneState>;

    /// The chat lives at another address now: for all its parts that wait. The part that was tried is pending
    /// again, as the platform took nothing of it.
    async fn moved(&self, lease: &Lease, part: PartId, address: &Address) -> Result<()>;
}

/// Answers that leave in the response to a webhook.
#[async_trait]
pub trait Responses: Send + Sync + 'static {
    /// Which of these messages' turns have ended.
    async fn have_ended(&self, messages: &[MessageId]) -> Result<Vec<MessageId>>;

    /// The answer is about to go out in the response: its parts that are not yet on their way are being sent
    /// by it, for [`RESPONSE_WITHIN`]. `None`: its turn has not ended.
    async fn claim_response(&self, message: MessageId) -> Result<Option<Vec<AnswerPart>>>;

    /// The response with the claimed answer has left: its parts count as sent, once the other messages of the turn
    /// have it too. Otherwise those get it as they would without this one.
    async fn response_sent(&self, message: MessageId) -> Result<()>;

    /// Nobody waits any more: the replies are delivered like any other, those that were claimed too.
    async fn release_response(&self, message: MessageId) -> Result<()>;
}

/// What operators see and do, and what is to be removed in time.
#[async_trait]
pub trait Operations: Send + Sync + 'static {
    async fn list(&self, filter: &Filter) -> Result<Vec<MessageDetails>>;

    async fn details(&self, message: MessageId) -> Result<Option<MessageDetails>>;

    /// What happened to a message, in order; empty: there is no such message.
    async fn timeline(&self, message: MessageId) -> Result<Vec<JournalEntry>>;

    /// By what the platform delivered; for `send`.
    async fn find(&self, channel: &ChannelName, key: &DeliveryKey) -> Result<Option<MessageId>>;

    /// Failed or held: once more, at the lane's head.
    async fn retry(&self, message: MessageId) -> Result<Retried>;

    /// Failed or held: nothing more is to be done about it. Its reason is `discarded` from now on.
    async fn discard(&self, message: MessageId) -> Result<Discarded>;

    async fn stats(&self) -> Result<Stats>;

    /// Ends, prunes and forgets what is due, in short transactions. Afterwards nothing of what was removed is left
    /// in the rows, nor, as soon as nobody reads old pages any more, in files that the store itself writes.
    async fn enforce_retention(&self, retention: &Retention) -> Result<Removed>;
}

/// `[store]`
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Config {
    /// `sqlite:PATH`, relative to the working directory, or `postgres://…`; may be written `env:NAME` or `file:PATH`.
    pub url: crate::domain::secret::Secret,
    /// Connections to PostgreSQL, per replica, the listener included; at least 3. SQLite needs none.
    pub connections: u32,
    /// How long the text of finished messages is kept, and all that may quote it; then ids and times only.
    #[schemars(extend("examples" = ["30d"]))]
    pub keep: crate::domain::span::Span,
    /// After this long since a message's receipt its ids and times go, too, and with its last message the chat.
    /// Not below 9 days, not below `keep`.
    pub forget: crate::domain::span::Span,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: crate::domain::secret::Secret::new("sqlite:data/fini-bridge.db"),
            connections: 8,
            keep: crate::domain::span::Span::secs(30 * 24 * 3600),
            forget: crate::domain::span::Span::secs(90 * 24 * 3600),
        }
    }
}
