//! What a store is told and what it tells: plain values, without behaviour.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::domain::clock::Timestamp;
use crate::domain::id::{
    AttributesRef, BotId, ChannelName, ChatKey, ChatRef, DeliveryKey, EventId, InteractionId, LaneId, MessageId,
    PartId, SenderRef, TurnId,
};
use crate::domain::message::{Address, Part, Receipt, ReplyKind, Role};
use crate::domain::span::Rate;

// ---------------------------------------------------------------------------------------------- intake

/// Something to keep before a webhook is acknowledged.
#[derive(Clone, Debug)]
pub enum NewItem {
    Message(Box<NewMessage>),
    /// Authentic, but unreadable or too old: kept as a failed message, never worked on.
    Unusable(NewUnusable),
}

#[derive(Clone, Debug)]
pub struct NewMessage {
    pub id: MessageId,
    pub channel: ChannelName,
    pub delivery_key: DeliveryKey,
    pub chat: ChatKey,
    pub chat_ref: ChatRef,
    pub sender: Option<String>,
    /// `None`: the platform doesn't say who wrote.
    pub sender_ref: Option<SenderRef>,
    pub role: Role,
    pub text: String,
    /// The text is longer than `max_text`: only its beginning is here, and Fini is never asked.
    pub too_long: bool,
    pub user_attributes: Map<String, Value>,
    pub attributes_ref: AttributesRef,
    pub bot_id: BotId,
    pub address: Address,
    /// Set where the platform promises no order: waiting messages are sorted by it.
    pub sort_at: Option<Timestamp>,
    /// Only if the chat's lane exists: a thread in which the bot was mentioned before.
    pub only_if_known: bool,
    /// The secret that proved it, as configured: `env:NAME`, or the key that it stands in. `None`: nothing did.
    pub secret: Option<Arc<str>>,
    /// How long the lane waits for more before its turn starts.
    pub merge_window: Duration,
    /// Somebody waits for the answer in the response: replies are not delivered before this has passed
    /// or [`release_response`](super::Responses::release_response) is called.
    pub wait: Option<Duration>,
    /// `enabled = false`: kept, its lane is not scheduled.
    pub dormant: bool,
}

#[derive(Clone, Debug)]
pub struct NewUnusable {
    pub id: MessageId,
    pub channel: ChannelName,
    pub delivery_key: DeliveryKey,
    /// As [`NewMessage::secret`].
    pub secret: Option<Arc<str>>,
    /// A code: `malformed`, `too_old`.
    pub reason: String,
    /// For the person who looks at it: names a field, never a value.
    pub detail: String,
    /// What came, cut to 64 KiB.
    pub raw: String,
}

/// In the order of the items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    New(MessageId),
    /// Was here before, under this id. Nothing was changed.
    Duplicate(MessageId),
    /// `only_if_known`, and the chat isn't. Nothing was kept, the delivery key is still free.
    UnknownChat,
}

// ---------------------------------------------------------------------------------------------- leases

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WorkKind {
    Turns,
    Deliveries,
}

/// Some channels that share a limit, and how many more of their lanes may be worked on now.
#[derive(Clone, Debug)]
pub struct LeaseRequest {
    pub channels: Vec<ChannelName>,
    pub limit: usize,
}

/// The right to work in a lane. `fence` rises with every lease of this lane and kind of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub lane: LaneId,
    pub work: WorkKind,
    pub fence: i64,
    pub channel: ChannelName,
    pub chat_ref: ChatRef,
}

/// What a look for due lanes found.
#[derive(Clone, Debug, Default)]
pub struct Due {
    /// Those that were due and free, and are the caller's now; those due longest first.
    pub leases: Vec<Lease>,
    /// When the next lane of these channels is due; `None`: none is scheduled.
    pub next: Option<Duration>,
}

/// When a lane that is given back is due again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// When there is something to do: at once if there is by now (turns: when the merge window of the
    /// first waiting message has passed), else when something comes.
    WhenNeeded { merge_window: Duration },
    /// Not before this has passed, whatever comes.
    After(Duration),
}

/// What a process learns when it says that it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    /// Its leases hold, and this many processes are alive, itself included.
    Alive { replicas: u32 },
    /// It was silent for so long that others took its lanes over: none of its leases holds any more.
    Lost,
}

/// The process that works on lanes, as its store sees it. A commit that makes a lane due leases it for this process
/// at once, where it has room: the usual way of a message needs no look for what is due.
///
/// Called while a transaction is open ([`Dispatcher::admit`]) or right after its commit: nothing here may block.
pub trait Dispatcher: Send + Sync + 'static {
    /// Room for this lane, if there is any at this moment.
    fn admit(&self, work: WorkKind, channel: &ChannelName, lane: LaneId) -> Option<Permit>;

    /// The commit has leased this lane.
    fn start(&self, leased: LeasedLane);

    /// Something becomes due after this, which nobody was leased for.
    fn due_in(&self, work: WorkKind, after: Duration);

    /// The turn of these messages has ended.
    fn turn_ended(&self, messages: &[MessageId]);
}

/// Room for one lane, given back when it is dropped.
pub struct Permit(#[allow(dead_code)] Box<dyn Send>); // it is dropped

impl Permit {
    pub fn new(guard: impl Send + 'static) -> Self {
        Self(Box::new(guard))
    }
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Permit")
    }
}

/// A lane that a commit leased for this process.
#[derive(Debug)]
pub struct LeasedLane {
    pub lease: Lease,
    pub permit: Permit,
    pub head: Head,
}

/// What there is to do in a lane, as far as the commit that leased it knows.
#[derive(Debug)]
pub enum Head {
    /// It has to be read.
    Unread,
    Turns(Box<LaneView>),
    /// All that waits. The first of them was begun in the same commit.
    Parts {
        now: Timestamp,
        parts: Vec<PendingPart>,
    },
}

// ---------------------------------------------------------------------------------------------- turns

/// What a holder sees of its lane: the head and what waits.
#[derive(Clone, Debug)]
pub struct LaneView {
    /// The store's clock.
    pub now: Timestamp,
    /// Which conversation of this chat is current; 0: none yet.
    pub generation: u32,
    /// Of the current generation.
    pub bot_id: Option<BotId>,
    /// When the chat last had a turn (asked or answered); for `idle_timeout`.
    pub last_turn_at: Option<Timestamp>,
    /// The turn that was begun and has not ended.
    pub turn: Option<Turn>,
    /// In the order of acknowledgement; at most 200.
    pub waiting: Vec<Waiting>,
}

#[derive(Clone, Debug)]
pub struct Waiting {
    pub id: MessageId,
    pub delivery_key: DeliveryKey,
    pub received_at: Timestamp,
    pub sort_at: Option<Timestamp>,
    pub sender: Option<String>,
    pub role: Role,
    pub text: String,
    pub too_long: bool,
    pub user_attributes: Map<String, Value>,
    pub bot_id: BotId,
    pub address: Address,
    /// It came, or has waited, while nobody worked on its channel.
    pub dormant: bool,
}

impl Waiting {
    pub(super) fn new(message: &NewMessage, now: Timestamp) -> Self {
        Self {
            id: message.id,
            delivery_key: message.delivery_key.clone(),
            received_at: now,
            sort_at: message.sort_at,
            sender: message.sender.clone(),
            role: message.role,
            text: message.text.clone(),
            too_long: message.too_long,
            user_attributes: message.user_attributes.clone(),
            bot_id: message.bot_id.clone(),
            address: message.address.clone(),
            dormant: message.dormant,
        }
    }
}

/// One question to Fini. Who belongs to it is fixed from the moment that its call may have left.
#[derive(Clone, Debug)]
pub struct Turn {
    pub id: TurnId,
    /// The messages that become it; empty once it has begun.
    pub members: Vec<MessageId>,
    /// The delivery keys of its messages, in order.
    pub in_reply_to: Vec<DeliveryKey>,
    /// Who wrote it; known until it has begun.
    pub sender: Option<String>,
    pub role: Role,
    pub content: String,
    pub user_attributes: Map<String, Value>,
    pub address: Address,
    pub bot_id: BotId,
    /// The conversation it belongs to; one more than the lane's current one begins a new one.
    pub generation: u32,
    /// When its oldest message was acknowledged.
    pub received_at: Timestamp,
    pub state: TurnState,
    /// Calls that were begun.
    pub asked: u32,
    /// One of its messages came, or has waited, while nobody worked on the channel.
    pub dormant: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnState {
    /// Only planned: the store doesn't know it.
    New,
    /// Not asked, or asked with the certainty that nothing came of it.
    Open,
    /// The call may have left and its outcome was never written down: the process died.
    Asking { since: Timestamp },
    /// The call ended without telling what became of it.
    Unknown {
        asked_at: Timestamp,
        since: Timestamp,
        /// Fini answered (a 500): it is done with the call. Otherwise the call may still be running.
        answered: bool,
        /// Looks so far that found nothing.
        looks: u32,
    },
}

/// What is written down of a turn whose call ended without telling what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupNote {
    /// From now on: [`TurnState::Unknown`], with no look yet.
    Started { answered: bool },
    /// One more look that found nothing.
    Missed,
    /// Nothing changes but when it is looked at next.
    Unchanged,
}

/// What is written down with a turn before its call, so that a restart knows that it may have left.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// Of this chat and generation; goes to Fini. `None`: the conversation's id is known, and the rest of it with it.
    pub reference: Option<String>,
    /// For whom the turn counts; `None`: it doesn't count for any limit.
    pub sender_ref: Option<SenderRef>,
    pub limits: Limits,
}

/// How many turns may begin, each counted by the store where it is begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub per_chat: Option<Rate>,
    /// Over all chats of the channel and all replicas.
    pub per_sender: Option<Rate>,
    /// Over all replicas. Each of them may let one turn too many through.
    pub per_channel: Option<Rate>,
}

/// Whether Fini may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Admitted {
        /// Several people have written in the chat: nobody's user attributes go along.
        shared: bool,
    },
    /// Nothing was changed.
    LimitReached(Limit),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Chat,
    Sender,
    Channel,
}

#[derive(Clone, Debug)]
pub struct NewPart {
    pub id: PartId,
    /// Parts of one reply share it: later ones are not sent after one has failed for good.
    pub reply: u32,
    pub kind: ReplyKind,
    pub part: Part,
}

/// Ends a turn; its parts are in the outbox in the same commit.
#[derive(Clone, Debug)]
pub struct TurnEnd {
    pub turn: TurnId,
    /// Of a turn that ends before it was ever begun (blank, too many, too old); else empty.
    pub members: Vec<MessageId>,
    /// Its conversation's id is known: what it is found by needs no more noting.
    pub is_discovered: bool,
    pub outcome: TurnOutcome,
    pub address: Address,
    pub parts: Vec<NewPart>,
    /// All events that came back, in order; also what makes the conversation discoverable.
    pub events: Vec<EventId>,
    /// The earliest `createdAt` among them, by Fini's clock.
    pub first_event_at: Option<Timestamp>,
    /// For the page and `messages show`: a code for each event in order, such as `finibot/message`.
    pub event_kinds: Vec<String>,
    /// A reset word: what comes after it belongs to this conversation, one that isn't begun yet.
    pub new_generation: Option<u32>,
}

/// What becomes of the lane when its turn has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterTurn {
    /// The lease stays.
    Keep,
    /// It is given back, unless there is something to do at once.
    Release { merge_window: Duration },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TurnOutcome {
    Answered,
    /// Not for Fini: blank, a reset word, beyond a limit, of another account.
    Dropped {
        reason: String,
    },
    /// For good. A code such as `fini_400`, and a sentence for a person.
    Failed {
        reason: String,
        detail: String,
    },
    /// A person decides.
    Held {
        reason: String,
        detail: String,
    },
    /// Failed as [`EXPIRED`](super::EXPIRED): nobody could work on it in time, and nobody is told.
    Expired,
}

// ---------------------------------------------------------------------------------------------- conversations

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    pub lane: LaneId,
    pub generation: u32,
    pub channel: ChannelName,
    pub bot_id: BotId,
    pub reference: String,
    pub interaction_id: Option<InteractionId>,
    /// When its first call was begun, by the store's clock; `None`: never asked.
    pub asked_at: Option<Timestamp>,
    /// What the first answers brought, until the id is known.
    pub first_events: Vec<EventId>,
    pub first_event_at: Option<Timestamp>,
    /// The last event known of it.
    pub watermark: Option<EventId>,
    /// The first answer came so long ago that looking for the id begins to be pointless after this.
    pub answered_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adopted {
    /// It is ours now, or was before.
    Yes,
    /// Another chat (or another generation of this one) holds this id. Nothing was changed.
    HeldByAnother,
    /// This conversation has another id already. Nothing was changed.
    Known,
}

// ---------------------------------------------------------------------------------------------- deliveries

#[derive(Clone, Debug)]
pub struct PendingPart {
    pub id: PartId,
    pub turn: TurnId,
    pub address: Address,
    pub part: Part,
    /// When its turn ended.
    pub answered_at: Timestamp,
    pub state: SendState,
    /// Sends that were begun.
    pub attempts: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendState {
    Pending,
    /// This holder has just begun it, in the commit that told it so.
    Begun,
    /// A send was begun and its outcome never written down.
    Sending {
        since: Timestamp,
    },
}

/// What becomes of the lane when a send has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterSend {
    /// The lease stays.
    Keep,
    /// The send of this part begins, in the same commit.
    Begin(PartId),
    /// The lane is given back, unless something waits.
    Release,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneState {
    /// The lease stays: what waits has to be read.
    Kept,
    /// The next part is being sent.
    Begun,
    Released,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendEnd {
    Sent(Receipt),
    /// For good; later parts of the same reply are not sent.
    Failed {
        reason: String,
        detail: String,
    },
    /// A person decides; later parts of the same reply wait with it.
    Held {
        reason: String,
        detail: String,
    },
    /// Was not taken: pending again, released until then.
    Deferred {
        after: Duration,
        reason: String,
        /// What the platform said, for a person.
        detail: Option<String>,
    },
}

// ---------------------------------------------------------------------------------------------- messages

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageState {
    /// Waits for its turn.
    Received,
    /// Its turn has begun.
    Asking,
    /// Answered; replies on their way.
    Answered,
    Done,
    /// Not for Fini. `reason` says why.
    Dropped,
    Failed,
    Held,
}

impl MessageState {
    /// Acknowledged, and something is still to be done about it.
    pub const fn is_waiting(self) -> bool {
        matches!(self, Self::Received | Self::Asking | Self::Answered)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Asking => "asking",
            Self::Answered => "answered",
            Self::Done => "done",
            Self::Dropped => "dropped",
            Self::Failed => "failed",
            Self::Held => "held",
        }
    }
}

/// A message and everything that is known of its way.
#[derive(Clone, Debug, Serialize)]
pub struct MessageDetails {
    pub id: MessageId,
    pub channel: ChannelName,
    /// As the platform names it; where that is very long, a digest. `None`: it could not be read.
    pub chat: Option<String>,
    pub chat_ref: Option<ChatRef>,
    pub role: Role,
    /// `None`: pruned.
    pub text: Option<String>,
    pub state: MessageState,
    pub reason: Option<String>,
    pub detail: Option<String>,
    #[serde(serialize_with = "rfc3339")]
    pub received_at: Timestamp,
    pub turn: Option<TurnDetails>,
    pub parts: Vec<PartDetails>,
}

#[derive(Clone, Debug, Serialize)]
pub struct TurnDetails {
    pub id: TurnId,
    pub generation: u32,
    pub bot_id: BotId,
    pub interaction_id: Option<InteractionId>,
    pub asked: u32,
    #[serde(serialize_with = "rfc3339_if_known")]
    pub asked_at: Option<Timestamp>,
    #[serde(serialize_with = "rfc3339_if_known")]
    pub ended_at: Option<Timestamp>,
    pub event_kinds: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct PartDetails {
    pub id: PartId,
    pub kind: ReplyKind,
    /// `pending`, `sending`, `sent`, `failed`, `held`.
    pub state: String,
    pub reason: Option<String>,
    pub detail: Option<String>,
    pub attempts: u32,
    /// When it was sent last, whatever came of it.
    #[serde(serialize_with = "rfc3339_if_known")]
    pub tried_at: Option<Timestamp>,
    #[serde(serialize_with = "rfc3339_if_known")]
    pub sent_at: Option<Timestamp>,
    /// `None`: pruned.
    pub part: Option<Part>,
}

/// What can happen to a message, its turn or a part of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JournalStep {
    Received,
    Stored,
    /// For its turn; with a reason: until Fini is asked again, or what became of its call is known.
    Waiting,
    Asked,
    /// Fini takes no more calls for now.
    Throttled,
    Answered,
    /// What became of a call was looked for in Fini.
    LookedUp,
    /// The answer to such a call was found, and counts.
    Adopted,
    PartSent,
    /// Was not taken, and is tried again.
    PartRetried,
    PartFailed,
    /// The platform has said later what became of a part.
    Reported,
    Held,
    Failed,
    /// By a person.
    Retried,
    /// By a person.
    Discarded,
}

impl JournalStep {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Stored => "stored",
            Self::Waiting => "waiting",
            Self::Asked => "asked",
            Self::Throttled => "throttled",
            Self::Answered => "answered",
            Self::LookedUp => "looked_up",
            Self::Adopted => "adopted",
            Self::PartSent => "part_sent",
            Self::PartRetried => "part_retried",
            Self::PartFailed => "part_failed",
            Self::Reported => "reported",
            Self::Held => "held",
            Self::Failed => "failed",
            Self::Retried => "retried",
            Self::Discarded => "discarded",
        }
    }
}

/// A step of a message's way, by whatever row it was written in. Never quotes anything: codes, counts and ids.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JournalEntry {
    #[serde(serialize_with = "rfc3339")]
    pub at: Timestamp,
    pub step: JournalStep,
    /// Which process; empty where that was not written down.
    pub replica: String,
    /// `reason`, `secret`, `turn`, `part`, `call`, `found`, …
    pub detail: Map<String, Value>,
}

/// For people and their tools; in the store's own columns times are milliseconds.
fn rfc3339<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

fn rfc3339_if_known<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    at.map(|at| at.to_string()).serialize(serializer)
}

/// Which messages to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub channel: Option<ChannelName>,
    /// Only of this chat, in any of the channels: its whole id, or what stands between two of its colons.
    pub chat: Option<ChatKey>,
    /// Empty: all.
    pub states: Vec<MessageState>,
    /// Only those received at this time or later.
    pub since: Option<Timestamp>,
    /// Only those received at least this long ago (`stuck`: received or asking for long).
    pub older_than: Option<Duration>,
    pub limit: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retried {
    /// It waits for its turn again.
    Turn,
    /// Its parts that were not delivered wait again.
    Delivery,
    /// There is nothing to do again: it says why.
    Not(String),
    NoSuchMessage,
}

/// What became of a person's decision that nothing more shall be done about a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discarded {
    /// It is dropped now, and the messages of the same turn with it.
    Yes,
    /// It is neither failed nor held: it says what it is.
    Not(MessageState),
    NoSuchMessage,
}

/// So long a response may take to leave. When it neither left nor was given up by then, its process died, and
/// what became of its parts is as unknown as of any send.
pub const RESPONSE_WITHIN: Duration = Duration::from_secs(30);

/// A part of an answer, for a response instead of a delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerPart {
    pub id: PartId,
    pub address: Address,
    pub part: Part,
}

/// Figures for `/metrics`.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    pub by_state: Vec<(ChannelName, MessageState, u64)>,
    pub pending_parts: Vec<(ChannelName, u64)>,
    /// How long ago the oldest message came (or was retried) that has neither ended nor been delivered.
    pub oldest_waiting: Option<Duration>,
}
