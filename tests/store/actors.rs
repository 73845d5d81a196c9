//! What the rest of the gateway does with a store, in the words of the tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fini_bridge::domain::clock::Timestamp;
use fini_bridge::domain::id::{
    AttributesRef, BotId, ChannelName, ChatKey, ChatRef, DeliveryKey, EventId, MessageId, Owner, PartId, SenderRef,
    TurnId,
};
use fini_bridge::domain::message::{Address, Part, Receipt, ReplyKind, Role};
use fini_bridge::store::{
    Accepted, Admission, AfterSend, AfterTurn, Call, LaneView, Lease, LeaseRequest, Limits, MessageState, NewItem,
    NewMessage, NewPart, NewUnusable, Next, PendingPart, Result, SendEnd, Store, Turn, TurnEnd, TurnOutcome, TurnState,
    WorkKind,
};
use serde_json::{Map, Value, json};

pub const AT_ONCE: Next = Next::WhenNeeded { merge_window: Duration::ZERO };
pub const HOUR: Duration = Duration::from_secs(3600);

pub fn shop() -> ChannelName {
    ChannelName::new("shop")
}

pub fn owner() -> Owner {
    Owner::new("replica-1")
}

pub fn message(chat: &str, key: &str) -> NewMessage {
    NewMessage {
        id: MessageId::generate(),
        channel: shop(),
        delivery_key: DeliveryKey::new(key),
        chat: ChatKey::new(chat),
        chat_ref: ChatRef::new(format!("ref-of-{chat}")),
        sender: Some("sender".to_owned()),
        sender_ref: Some(SenderRef::new("sender-ref")),
        role: Role::User,
        text: format!("text of {key}"),
        too_long: false,
        user_attributes: Map::from_iter([("plan".to_owned(), json!("gold"))]),
        attributes_ref: AttributesRef::new("gold"),
        bot_id: BotId::new("bot-1"),
        address: Address(json!({ "chat": chat })),
        sort_at: None,
        only_if_known: false,
        secret: None,
        merge_window: Duration::ZERO,
        wait: None,
        dormant: false,
    }
}

pub fn unusable(key: &str) -> NewUnusable {
    NewUnusable {
        id: MessageId::generate(),
        channel: shop(),
        delivery_key: DeliveryKey::new(key),
        secret: None,
        reason: "malformed".to_owned(),
        detail: "`text` is missing".to_owned(),
        raw: "{\"no\":\"text\"}".to_owned(),
    }
}

pub async fn accept(store: &dyn Store, message: NewMessage) -> Accepted {
    store.accept(vec![NewItem::Message(Box::new(message))]).await.unwrap()[0]
}

/// A message with a key of its own comes.
pub async fn say(store: &dyn Store, chat: &str, text: &str) -> MessageId {
    static KEYS: AtomicU64 = AtomicU64::new(0);
    let mut message = message(chat, &format!("key-{}", KEYS.fetch_add(1, Ordering::Relaxed)));
    message.text = text.to_owned();
    said(accept(store, message).await)
}

pub fn said(accepted: Accepted) -> MessageId {
    match accepted {
        Accepted::New(id) => id,
        other => panic!("{other:?}"),
    }
}

pub async fn lease_all(store: &dyn Store, work: WorkKind) -> Vec<Lease> {
    store.lease(work, &owner(), &[LeaseRequest { channels: vec![shop()], limit: 1000 }]).await.unwrap().leases
}

/// The one lane that is due.
pub async fn lease(store: &dyn Store, work: WorkKind) -> Lease {
    let mut leases = lease_all(store, work).await;
    assert_eq!(leases.len(), 1, "{leases:?}");
    leases.remove(0)
}

pub async fn nothing_due(store: &dyn Store, work: WorkKind) {
    assert_eq!(lease_all(store, work).await, []);
}

pub async fn look(store: &dyn Store, lease: &Lease) -> LaneView {
    store.lane_view(lease).await.unwrap()
}

/// A question and the call that puts it to Fini.
#[derive(Clone)]
pub struct Asking {
    pub turn: TurnId,
    /// Empty: it was begun before.
    pub members: Vec<MessageId>,
    pub user_attributes: Map<String, Value>,
    pub bot_id: BotId,
    pub role: Role,
    pub content: String,
    pub address: Address,
    pub generation: u32,
    pub reference: String,
    pub sender_ref: Option<SenderRef>,
    pub limits: Limits,
}

pub async fn begin_call(store: &dyn Store, lease: &Lease, asking: &Asking) -> Result<Admission> {
    let view = store.lane_view(lease).await?;
    let mut waiting = view.waiting.iter().filter(|message| asking.members.contains(&message.id));
    let turn = Turn {
        id: asking.turn,
        members: asking.members.clone(),
        in_reply_to: Vec::new(),
        sender: None,
        role: asking.role,
        content: asking.content.clone(),
        user_attributes: asking.user_attributes.clone(),
        address: asking.address.clone(),
        bot_id: asking.bot_id.clone(),
        generation: asking.generation,
        received_at: waiting.next().map_or(view.now, |message| message.received_at),
        state: if asking.members.is_empty() { TurnState::Open } else { TurnState::New },
        asked: 0,
        dormant: false,
    };
    let call = Call {
        reference: Some(asking.reference.clone()),
        sender_ref: asking.sender_ref.clone(),
        limits: asking.limits,
    };
    store.begin_call(lease, &Arc::new(turn), &call).await
}

/// Ends a turn; the lease stays.
pub async fn finish(store: &dyn Store, lease: &Lease, end: &TurnEnd) -> Result<()> {
    store.finish_turn(lease, &Arc::new(end.clone()), AfterTurn::Keep).await.map(drop)
}

/// Its holder is gone, and another has the lane.
pub async fn take_over(store: &dyn Store, stale: &Lease) -> Lease {
    store.release(stale, Next::After(Duration::ZERO)).await.unwrap();
    lease(store, stale.work).await
}

pub async fn next_due(store: &dyn Store, work: WorkKind) -> Option<Duration> {
    store.lease(work, &owner(), &[LeaseRequest { channels: vec![shop()], limit: 0 }]).await.unwrap().next
}

pub fn question(members: Vec<MessageId>) -> Asking {
    Asking {
        turn: TurnId::generate(),
        members,
        role: Role::User,
        content: "the question".to_owned(),
        user_attributes: Map::new(),
        address: Address(json!({ "to": "here" })),
        bot_id: BotId::new("bot-1"),
        generation: 1,
        reference: "reference".to_owned(),
        sender_ref: Some(SenderRef::new("sender-ref")),
        limits: Limits::default(),
    }
}

/// Asks Fini with everything that waits.
pub async fn ask(store: &dyn Store, lease: &Lease) -> TurnId {
    let waiting = look(store, lease).await.waiting;
    let asking = question(waiting.iter().map(|message| message.id).collect());
    begin_call(store, lease, &asking).await.unwrap();
    asking.turn
}

pub fn part(reply: u32, text: &str) -> NewPart {
    NewPart { id: PartId::generate(), reply, kind: ReplyKind::Message, part: Part(json!({ "text": text })) }
}

pub fn answered(turn: TurnId, parts: Vec<NewPart>) -> TurnEnd {
    TurnEnd {
        turn,
        members: vec![],
        is_discovered: false,
        outcome: TurnOutcome::Answered,
        address: Address(json!({ "to": "here" })),
        parts,
        events: vec![EventId::new("event-1"), EventId::new("event-2")],
        first_event_at: Some(Timestamp::from_secs(1_790_000_001)),
        event_kinds: vec!["user/message".to_owned(), "finibot/message".to_owned()],
        new_generation: None,
    }
}

pub fn ended_as(turn: TurnId, outcome: TurnOutcome) -> TurnEnd {
    TurnEnd { outcome, events: vec![], event_kinds: vec![], first_event_at: None, ..answered(turn, vec![]) }
}

pub fn failed_as(reason: &str) -> TurnOutcome {
    TurnOutcome::Failed { reason: reason.to_owned(), detail: "a sentence".to_owned() }
}

pub fn held_as(reason: &str) -> TurnOutcome {
    TurnOutcome::Held { reason: reason.to_owned(), detail: "a sentence".to_owned() }
}

/// One whole turn of the one lane that is due: asked, answered with these parts, released.
pub async fn turn(store: &dyn Store, parts: Vec<NewPart>) -> TurnId {
    let lease = lease(store, WorkKind::Turns).await;
    let turn = ask(store, &lease).await;
    finish(store, &lease, &answered(turn, parts)).await.unwrap();
    store.release(&lease, AT_ONCE).await.unwrap();
    turn
}

pub async fn outgoing(store: &dyn Store, lease: &Lease) -> Vec<PendingPart> {
    store.pending_parts(lease).await.unwrap().1
}

pub async fn send(store: &dyn Store, lease: &Lease, part: PartId, end: SendEnd) {
    store.begin_send(lease, part).await.unwrap();
    store.finish_send(lease, part, &end, AfterSend::Keep).await.unwrap();
}

pub fn took(receipt: &str) -> SendEnd {
    SendEnd::Sent(Receipt(Some(receipt.to_owned())))
}

pub fn refused(reason: &str) -> SendEnd {
    SendEnd::Failed { reason: reason.to_owned(), detail: "a sentence".to_owned() }
}

pub fn in_doubt(reason: &str) -> SendEnd {
    SendEnd::Held { reason: reason.to_owned(), detail: "a sentence".to_owned() }
}

/// Delivers everything that the one lane with deliveries has.
pub async fn deliver(store: &dyn Store) {
    let lease = lease(store, WorkKind::Deliveries).await;
    for part in outgoing(store, &lease).await {
        send(store, &lease, part.id, took("receipt")).await;
    }
    store.release(&lease, AT_ONCE).await.unwrap();
}

pub async fn state(store: &dyn Store, message: MessageId) -> (MessageState, Option<String>) {
    let story = store.details(message).await.unwrap().unwrap();
    (story.state, story.reason)
}

/// The states of a message's parts, in order, each with its reason.
pub async fn parts_of(store: &dyn Store, message: MessageId) -> Vec<(String, Option<String>)> {
    let story = store.details(message).await.unwrap().unwrap();
    story.parts.into_iter().map(|part| (part.state, part.reason)).collect()
}

pub fn because(state: &str, reason: &str) -> (String, Option<String>) {
    (state.to_owned(), Some(reason.to_owned()))
}

pub fn plain(state: &str) -> (String, Option<String>) {
    (state.to_owned(), None)
}
