//! What is kept, and the promises about it: one trait, which every store keeps to the letter
//! (`tests/store.rs` runs one suite of promises on each).
//!
//! - A **lane** is a chat of a channel. Two kinds of work happen in it, each by one holder at a time: its
//!   turns with Fini, and the deliveries of its replies. A holder has a [`Lease`]; every write that follows
//!   from the work carries it and changes nothing once somebody else holds the lane ([`StoreError::Fenced`]).
//! - Each method is one transaction, durable when it returns. No transaction stays open across a call.
//! - Times of leases and schedules are the store's own clock: callers say how long from now.
//!
//! A store knows neither Fini's nor a platform's shapes: addresses, parts and events are JSON to it.

pub mod budgets;
mod column;
pub mod postgres;
pub mod retention;
pub mod sqlite;
mod steps;
mod types;

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;

use crate::domain::clock::Timestamp;
use crate::domain::id::{ChannelName, DeliveryKey, InteractionId, LaneId, MessageId, Owner, PartId, TurnId};
use crate::domain::message::{Address, ReportOutcome, Reported};
pub use budgets::Budgets;
pub use retention::{EXPIRED, Removed, Retention};
pub use types::*;

#[derive(Debug, thiserror::Error)]
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

#[async_trait]
pub trait Store: Budgets {
    /// 32 random bytes, made when the store was: the key of everything keyed that this installation shows.
    async fn installation_key(&self) -> Result<[u8; 32]>;

    /// Rings at least for what this process changed; others' changes are found by looking.
    fn bells(&self) -> Bells;

    /// Before this process ends: the others are told that it left them something.
    async fn leave(&self) {}

    /// Whether other replicas use it too: then its being away doesn't make this replica unready.
    fn is_shared(&self) -> bool;

    /// Whether it can be written to now.
    async fn probe(&self) -> Result<()>;

    // intake ------------------------------------------------------------------------------------

    /// Keeps all of a webhook in one commit. A message whose key is known changes nothing. When a second person
    /// writes in a chat (as [`Role::User`](crate::domain::message::Role), another sender, or without a sender other
    /// user attributes), the chat is shared from then on.
    async fn accept(&self, items: Vec<NewItem>) -> Result<Vec<Accepted>>;

    // leases ------------------------------------------------------------------------------------

    /// Lanes that are due and free, those due longest first; never more than each want's limit.
    async fn lease(&self, work: Work, owner: &Owner, wants: &[Want], ttl: Duration) -> Result<Vec<Lease>>;

    /// Prolongs leases.
    async fn renew(&self, owner: &Owner, leases: &[Lease], ttl: Duration) -> Result<Vec<Renewed>>;

    async fn release(&self, lease: &Lease, next: Next) -> Result<()>;

    /// When the first lane of these channels is due; `None`: nothing is scheduled.
    async fn next_due(&self, work: Work, channels: &[ChannelName]) -> Result<Option<Duration>>;

    // turns -------------------------------------------------------------------------------------

    async fn look(&self, lease: &Lease) -> Result<LaneView>;

    /// Writes down that Fini is about to be asked. The first time it makes the turn out of its members
    /// and the conversation of the generation, unless a limit is reached; again: another call of the same turn.
    async fn asking(&self, lease: &Lease, asking: &Asking) -> Result<Admission>;

    /// The call certainly had no effect: the turn is open again. Releases the lane.
    async fn reopen(&self, lease: &Lease, turn: TurnId, after: Duration, reason: &str) -> Result<()>;

    /// What became of the turn's call is not known. Releases the lane.
    async fn unknown(&self, lease: &Lease, turn: TurnId, doubt: Doubt, after: Duration, reason: &str) -> Result<()>;

    /// Ends the turn. The lease stays.
    async fn end(&self, lease: &Lease, end: &TurnEnd) -> Result<()>;

    // conversations -----------------------------------------------------------------------------

    async fn conversation(&self, lane: LaneId, generation: u32) -> Result<Option<Conversation>>;

    /// Gives a conversation its id and wakes its lane. An id belongs to one chat, for ever.
    async fn adopt(&self, lane: LaneId, generation: u32, id: &InteractionId) -> Result<Adopted>;

    // deliveries --------------------------------------------------------------------------------

    /// The lane's undelivered parts, in order; at most 50.
    async fn outgoing(&self, lease: &Lease) -> Result<(Timestamp, Vec<Outgoing>)>;

    /// Writes down that a part is about to be sent, and where to.
    async fn sending(&self, lease: &Lease, part: PartId) -> Result<()>;

    async fn sent(&self, lease: &Lease, part: PartId, end: &SendEnd) -> Result<()>;

    /// The chat lives at another address now: for all its parts that wait. The part that was tried is pending
    /// again, as the platform took nothing of it.
    async fn moved(&self, lease: &Lease, part: PartId, address: &Address) -> Result<()>;

    /// Which of these parts are this channel's, in their order. Reports often come in thousands about what somebody
    /// else sent.
    async fn known_parts(&self, channel: &ChannelName, of: &[Reported]) -> Result<Vec<bool>>;

    /// What the platform said later about a part. False: no such part.
    async fn report(&self, channel: &ChannelName, of: &Reported, outcome: &ReportOutcome) -> Result<bool>;

    // answers in the response --------------------------------------------------------------------

    async fn answer(&self, message: MessageId) -> Result<AnswerState>;

    /// The answer is about to go out in the response: its parts that are not yet on their way are being sent
    /// by it, for [`RESPONSE_WITHIN`]. `None`: its turn has not ended.
    async fn claim_answer(&self, message: MessageId) -> Result<Option<Vec<AnswerPart>>>;

    /// The response with the claimed answer has left: its parts count as sent, once the other messages of the turn
    /// have it too. Otherwise those get it as they would without this one.
    async fn answer_left(&self, message: MessageId) -> Result<()>;

    /// Nobody waits any more: the replies are delivered like any other, those that were claimed too.
    async fn stop_waiting(&self, message: MessageId) -> Result<()>;

    // looking and mending ------------------------------------------------------------------------

    async fn list(&self, filter: &Filter) -> Result<Vec<Story>>;

    async fn story(&self, message: MessageId) -> Result<Option<Story>>;

    /// By what the platform delivered; for `send`.
    async fn find(&self, channel: &ChannelName, key: &DeliveryKey) -> Result<Option<MessageId>>;

    /// Failed or held: once more, at the lane's head.
    async fn retry(&self, message: MessageId) -> Result<Retried>;

    /// Failed or held: nothing more is to be done about it. Its reason is `discarded` from now on.
    async fn discard(&self, message: MessageId) -> Result<Discarded>;

    async fn stats(&self) -> Result<Stats>;

    // retention ----------------------------------------------------------------------------------

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
