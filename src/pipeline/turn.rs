//! The conversation worker: takes what waits in a lane, asks Fini, and ends the turn with its replies in the
//! outbox. Each step is written down before the next one begins, so that another process can go on from it.

use std::collections::{BTreeMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use moka::future::Cache;
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::channel::Channel;
use super::discovery::{Discovery, Search};
use super::dispatch::{Held, Worker};
use super::doubt::Failures;
use super::gate::{Gate, Room};
use super::mapping::Mapping;
use super::people::sender_ref;
use super::plan::{self, Batch, Ending, Patience, Plan, REFERENCE_ATTRIBUTE};
use super::rate_limit::{Priority, SlidingWindow};
use super::retry::{backoff, insist};
use super::{FiniKey, Foundation};
use crate::domain::clock::Timestamp;
use crate::domain::failpoint;
use crate::domain::id::{BotId, ChannelName, DeliveryKey, InteractionId, LaneId, MessageId, PartId, SenderRef, TurnId};
use crate::domain::message::{Address, Reply, ReplyKind, Role};
use crate::domain::span::Rate;
use crate::fini::{Ask, AskError, Event, EventKind, Target};
use crate::platform::Rendering;
use crate::store::{
    Admission, Asking, Doubt, EXPIRED, NewPart, Next, StoreError, Turn, TurnEnd, TurnOutcome, TurnState, Work,
};

/// After a call that certainly had no effect.
pub(super) const RETRY_FIRST: Duration = Duration::from_secs(1);
pub(super) const RETRY_LONGEST: Duration = Duration::from_secs(60);
/// Between looks for what became of a call.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The next turn waits so long for the id of a new conversation, then begins another.
const DISCOVERY: Duration = Duration::from_secs(30);
/// A lane that waits for a discovery looks this often; the discovery itself wakes it, mostly.
const DISCOVERY_LOOK: Duration = Duration::from_millis(500);
/// A lane whose head may be somebody else's message looks this often whether that is known by now.
const RECIPIENT_LOOK: Duration = Duration::from_secs(2);
/// What a 500 leaves open is settled after this: Fini is done with the call, a read may lag.
const ANSWERED: Duration = Duration::from_secs(3);
/// A question that waits for longer than this is logged, a few chats a minute: in an outage all of them wait.
const LATE: Duration = Duration::from_secs(60);
const LATE_LINES: Rate = Rate { count: 6, per: Duration::from_secs(60) };
/// Turns at most that are watched for being the reason why Fini fails.
const MOST_WATCHED: u64 = 10_000;

pub struct Turns {
    pub(super) foundation: Arc<Foundation>,
    pub(super) mapping: Mapping,
    pub(super) discoveries: Vec<Arc<Discovery>>,
    rooms: Vec<Room>,
    /// Of channels with `max_turns_per_channel`: this process begins their turns one after the other, so that it lets
    /// no more than one too many through.
    budgets: BTreeMap<ChannelName, Mutex<()>>,
    /// Of turns that Fini may be failing on by themselves.
    pub(super) failures: Cache<TurnId, Failures>,
    late_lines: std::sync::Mutex<SlidingWindow>,
    pub(super) stop: CancellationToken,
}

/// A turn in hand: everything a call to Fini needs, whether it is the first call or another one.
pub(super) struct Question {
    pub turn: TurnId,
    /// Empty if the turn was begun before.
    pub members: Vec<MessageId>,
    pub in_reply_to: Vec<DeliveryKey>,
    /// Of a turn that isn't begun; it is counted there.
    pub sender: Option<String>,
    pub role: Role,
    pub content: String,
    pub user_attributes: Map<String, Value>,
    pub address: Address,
    pub bot_id: BotId,
    pub generation: u32,
    pub received_at: Timestamp,
    /// Calls so far.
    pub asked: u32,
}

impl From<Batch> for Question {
    fn from(batch: Batch) -> Self {
        Self {
            turn: TurnId::generate(),
            members: batch.members,
            in_reply_to: batch.in_reply_to,
            sender: batch.sender,
            role: batch.role,
            content: batch.content,
            user_attributes: batch.user_attributes,
            address: batch.address,
            bot_id: batch.bot_id,
            generation: batch.generation,
            received_at: batch.received_at,
            asked: 0,
        }
    }
}

impl From<Turn> for Question {
    fn from(turn: Turn) -> Self {
        Self {
            turn: turn.id,
            members: Vec::new(),
            in_reply_to: turn.in_reply_to,
            sender: None,
            role: turn.role,
            content: turn.content,
            user_attributes: turn.user_attributes,
            address: turn.address,
            bot_id: turn.bot_id,
            generation: turn.generation,
            received_at: turn.received_at,
            asked: turn.asked,
        }
    }
}

/// Whether the worker still has the lane after a step.
pub(super) enum Lane {
    Kept,
    Released,
}

pub(super) type Step = Result<Lane, StoreError>;

/// What a question is put to.
enum Aim {
    Conversation(InteractionId),
    /// A conversation that is to be begun.
    New,
    /// Its id isn't known yet.
    Wait,
    /// Its id won't be known: another conversation has to be begun.
    Abandon,
}

#[async_trait]
impl Worker for Turns {
    fn work(&self) -> Work {
        Work::Turns
    }

    fn rooms(&self) -> &[Room] {
        &self.rooms
    }

    async fn run(&self, held: Held) {
        loop {
            match self.step(&held).await {
                Ok(Lane::Kept) => {}
                Ok(Lane::Released) => return,
                Err(StoreError::Fenced) => {
                    tracing::warn!(chat = %held.lease.chat_ref, "a lane was lost to another holder");
                    return;
                }
                // Nothing was written: the lease runs out, and the step is done again.
                Err(error) => {
                    tracing::warn!(chat = %held.lease.chat_ref, %error, "a turn can't go on now");
                    return;
                }
            }
        }
    }
}

impl Turns {
    pub fn new(foundation: Arc<Foundation>, discoveries: Vec<Arc<Discovery>>, stop: CancellationToken) -> Self {
        let room = |(index, key): (usize, &FiniKey)| {
            let channels = foundation.channels.values().filter(|channel| channel.key == index && channel.enabled);
            let gate = Gate::new(format!("fini/{index}"), foundation.metrics.clone());
            Room::new(gate, channels.map(|channel| channel.name.clone()).collect(), key.max_in_flight)
        };
        let rooms = foundation.keys.iter().enumerate().map(room).collect();
        let mapping = Mapping::new(foundation.store.clone(), foundation.cache_capacity);
        // Longer than any pause between two calls; a lane that went to another replica is forgotten.
        let failures = Cache::builder().max_capacity(MOST_WATCHED).time_to_idle(Duration::from_secs(3600)).build();
        let limited =
            foundation.channels.values().filter(|channel| channel.conversations.limits().per_channel.is_some());
        let budgets = limited.map(|channel| (channel.name.clone(), Mutex::default())).collect();
        let late_lines = std::sync::Mutex::default();
        Self { foundation, mapping, discoveries, rooms, budgets, failures, late_lines, stop }
    }

    async fn step(&self, held: &Held) -> Step {
        let store = &self.foundation.store;
        let Some(channel) = self.foundation.channels.get(&held.lease.channel) else {
            store.release(&held.lease, Next::After(Duration::from_secs(60))).await?;
            return Ok(Lane::Released);
        };
        let rest = Next::WhenNeeded { merge_window: channel.conversations.merge_window.0 };
        if self.stop.is_cancelled() {
            store.release(&held.lease, rest).await?;
            return Ok(Lane::Released);
        }
        let view = store.look(&held.lease).await?;
        let now = view.now;
        if let Some(turn) = &view.turn {
            self.log_if_late(held, turn, now);
        }
        match plan::plan(view, channel) {
            Plan::Rest => {
                store.release(&held.lease, rest).await?;
                Ok(Lane::Released)
            }
            Plan::Hold => {
                store.release(&held.lease, Next::After(RECIPIENT_LOOK)).await?;
                Ok(Lane::Released)
            }
            Plan::End(batch, ending) => self.end(held, channel, batch.into(), ending, &[], now).await,
            Plan::EndTurn(turn, ending) => self.end(held, channel, turn.into(), ending, &[], now).await,
            Plan::Begin(batch) => self.ask(held, channel, batch.into(), now).await,
            Plan::Again(turn) => self.ask(held, channel, turn.into(), now).await,
            Plan::Look(turn) => self.look_up(held, channel, turn, now).await,
        }
    }

    /// Says why a chat waits, which nothing else in the log may tell.
    fn log_if_late(&self, held: &Held, turn: &Turn, now: Timestamp) {
        let waits = now.since(turn.received_at);
        let may_log = |lines: &std::sync::Mutex<SlidingWindow>| {
            lines.lock().is_ok_and(|mut lines| lines.try_spend(LATE_LINES, tokio::time::Instant::now()))
        };
        if waits < LATE || !may_log(&self.late_lines) {
            return;
        }
        let why = match turn.state {
            TurnState::Open => "its question is tried again",
            TurnState::Asking { .. } | TurnState::Unknown { .. } => {
                "what became of its call to Fini is being looked up"
            }
        };
        let (chat, channel) = (&held.lease.chat_ref, &held.lease.channel);
        tracing::warn!(%chat, %channel, seconds = waits.as_secs(), calls = turn.asked, why, "a chat waits");
    }

    pub(super) fn key(&self, channel: &Channel) -> Result<(&FiniKey, &Room, &Discovery), StoreError> {
        let missing = || StoreError::Corrupt("the channel's key is missing".to_owned());
        let key = self.foundation.keys.get(channel.key).ok_or_else(missing)?;
        let room = self.rooms.get(channel.key).ok_or_else(missing)?;
        let discovery = self.discoveries.get(channel.key).ok_or_else(missing)?;
        Ok((key, room, discovery))
    }

    pub(super) fn patience(key: &FiniKey) -> Patience {
        Patience { settle: key.settle, answered: ANSWERED }
    }

    /// Puts a question to Fini, and ends the turn or says what comes next.
    pub(super) async fn ask(&self, held: &Held, channel: &Channel, mut question: Question, now: Timestamp) -> Step {
        let store = &self.foundation.store;
        let (key, room, _) = self.key(channel)?;
        let aim = self.aim(held, channel, &question, now).await?;
        match aim {
            Aim::Wait => {
                store.release(&held.lease, Next::After(DISCOVERY_LOOK)).await?;
                return Ok(Lane::Released);
            }
            Aim::Abandon => question.generation += 1,
            Aim::Conversation(_) | Aim::New => {}
        }
        let begun_before = match aim {
            Aim::New | Aim::Abandon => store.conversation(held.lease.lane, question.generation).await?,
            _ => None,
        };
        let reference = begun_before
            .map(|conversation| conversation.reference)
            .unwrap_or_else(|| plan::reference(&self.foundation.installation_key, &held.lease, question.generation));
        let asking = Asking {
            turn: question.turn,
            members: std::mem::take(&mut question.members),
            role: question.role,
            content: question.content.clone(),
            user_attributes: question.user_attributes.clone(),
            address: question.address.clone(),
            bot_id: question.bot_id.clone(),
            generation: question.generation,
            reference: reference.clone(),
            sender_ref: self.counts_for(held, &question),
            limits: channel.conversations.limits(),
        };
        failpoint::reach("turn.planned");
        let mut permit = tokio::select! {
            permit = key.budget.acquire(Priority::Turn) => permit,
            // Nothing is written down yet: another replica may wait just as well.
            () = self.stop.cancelled() => {
                let rest = Next::WhenNeeded { merge_window: channel.conversations.merge_window.0 };
                store.release(&held.lease, rest).await?;
                return Ok(Lane::Released);
            }
        };
        match self.begin_call(held, &asking).await? {
            Admission::Admitted { shared: true } => question.user_attributes.clear(),
            Admission::Admitted { shared: false } => {}
            Admission::LimitReached(limit) => {
                question.members = asking.members;
                return self.end(held, channel, question, Ending::beyond(limit), &[], now).await;
            }
        }
        failpoint::reach("turn.asked");
        if matches!(aim, Aim::Abandon) {
            self.foundation.metrics.conversation(channel.name.as_str(), "abandoned");
        }
        question.asked += 1;
        while !permit.is_fresh() {
            permit = key.budget.acquire(Priority::Turn).await;
        }
        if !held.is_fresh() {
            return Err(StoreError::Fenced);
        }

        let mut user_attributes = question.user_attributes.clone();
        user_attributes.insert(REFERENCE_ATTRIBUTE.to_owned(), Value::String(reference));
        let target = match &aim {
            Aim::Conversation(id) => Target::Conversation(id),
            _ => Target::Agent(&question.bot_id),
        };
        let ask = Ask {
            content: &question.content,
            role: question.role,
            target,
            channel: channel.platform.name(),
            user_attributes: &user_attributes,
        };
        let begun = Instant::now();
        let outcome = {
            let _in_flight = self.foundation.metrics.fini_in_flight();
            with_typing(channel, held.lease.lane, &question, key.client.generate_answer(&ask)).await
        };
        let label = outcome.as_ref().map_or_else(ask_outcome, |_| "ok");
        self.foundation.metrics.fini_call("generate_answer", label, begun.elapsed());
        match outcome {
            Ok(events) => {
                failpoint::reach("turn.answered");
                room.gate.worked();
                self.answered(held, channel, question, &events, now.plus(begun.elapsed())).await
            }
            Err(error) => self.not_answered(held, channel, question, error, now).await,
        }
    }

    /// For whom the turn counts: who doesn't say who they are counts as the chat. What a human agent writes costs no
    /// answer.
    fn counts_for(&self, held: &Held, question: &Question) -> Option<SenderRef> {
        let key = &self.foundation.installation_key;
        match (&question.sender, question.role) {
            (_, Role::Agent) => None,
            (Some(sender), _) => Some(sender_ref(key, &held.lease.channel, sender)),
            (None, _) => Some(SenderRef::new(held.lease.chat_ref.as_str())),
        }
    }

    async fn begin_call(&self, held: &Held, asking: &Asking) -> Result<Admission, StoreError> {
        let _counted = match self.budgets.get(&held.lease.channel) {
            Some(budget) if !asking.members.is_empty() => Some(budget.lock().await),
            _ => None,
        };
        self.foundation.store.asking(&held.lease, asking).await
    }

    async fn not_answered(
        &self,
        held: &Held,
        channel: &Channel,
        question: Question,
        error: AskError,
        now: Timestamp,
    ) -> Step {
        let store = &self.foundation.store;
        let (_, room, _) = self.key(channel)?;
        tracing::info!(chat = %held.lease.chat_ref, channel = %channel.name, %error, "no answer from Fini");
        match error {
            AskError::NotSent(reason) => {
                let after = backoff(RETRY_FIRST, RETRY_LONGEST, question.asked);
                insist(|| store.reopen(&held.lease, question.turn, after, reason)).await?;
            }
            AskError::Throttled { retry_after } => {
                room.gate.throttled(retry_after);
                insist(|| store.reopen(&held.lease, question.turn, Duration::ZERO, "fini_429")).await?;
            }
            AskError::Key { status, .. } => {
                room.gate.refused();
                let reason = format!("fini_{status}");
                insist(|| store.reopen(&held.lease, question.turn, Duration::ZERO, &reason)).await?;
            }
            AskError::Rejected { status, detail } => {
                room.gate.worked();
                let ending = Ending::failed(channel, question.role, &format!("fini_{status}"), &detail);
                return self.end(held, channel, question, ending, &[], now).await;
            }
            AskError::Unknown { answered, reason } => {
                let doubt = Doubt::Begins { answered };
                insist(|| store.unknown(&held.lease, question.turn, doubt, LOOK_AGAIN, &reason)).await?;
            }
        }
        Ok(Lane::Released)
    }

    /// Which conversation a question belongs to, as far as it is known.
    async fn aim(
        &self,
        held: &Held,
        channel: &Channel,
        question: &Question,
        now: Timestamp,
    ) -> Result<Aim, StoreError> {
        let (lane, generation) = (held.lease.lane, question.generation);
        if let Some(id) = self.mapping.get(lane, generation).await? {
            return Ok(Aim::Conversation(id));
        }
        let Some(conversation) = self.foundation.store.conversation(lane, generation).await? else {
            return Ok(Aim::New);
        };
        if let Some(id) = conversation.interaction_id {
            return Ok(Aim::Conversation(id));
        }
        // Without an answer nothing came of the calls so far, or the turn would be looked up, not asked.
        let Some(answered_at) = conversation.answered_at else { return Ok(Aim::New) };
        let (_, _, discovery) = self.key(channel)?;
        let waited = now.since(answered_at.max(question.received_at));
        Ok(match discovery.want(conversation) {
            Search::Looking { looks, looked } if waited < DISCOVERY || looks < 2 && looked < DISCOVERY => Aim::Wait,
            Search::Looking { .. } | Search::Hopeless => Aim::Abandon,
        })
    }

    /// Ends a turn with what Fini said.
    pub(super) async fn answered(
        &self,
        held: &Held,
        channel: &Channel,
        question: Question,
        events: &[Event],
        now: Timestamp,
    ) -> Step {
        let replies = replies(question.role, events);
        let (lane, generation) = (held.lease.lane, question.generation);
        let ending = Ending { outcome: TurnOutcome::Answered, text: String::new(), new_generation: None };
        self.finish(held, channel, question, ending, &replies, events, now).await?;
        if self.mapping.get(lane, generation).await?.is_none()
            && let Some(conversation) = self.foundation.store.conversation(lane, generation).await?
        {
            let (_, _, discovery) = self.key(channel)?;
            discovery.want(conversation);
        }
        Ok(Lane::Kept)
    }

    /// Ends a turn without an answer: the user is told what there is to tell, programs what it was. `events`: what
    /// is known of it in Fini nevertheless.
    pub(super) async fn end(
        &self,
        held: &Held,
        channel: &Channel,
        question: Question,
        ending: Ending,
        events: &[Event],
        now: Timestamp,
    ) -> Step {
        let plain = |kind, text: &str| Reply { kind, text: text.to_owned(), event: Value::Null };
        let mut replies = Vec::new();
        if !ending.text.is_empty() {
            replies.push(plain(ReplyKind::Message, &ending.text));
        }
        match &ending.outcome {
            TurnOutcome::Answered => {}
            // Without a word to anybody: it is long forgotten.
            TurnOutcome::Expired => {
                tracing::warn!(chat = %held.lease.chat_ref, channel = %channel.name, "a turn expired");
            }
            TurnOutcome::Dropped { .. } if replies.is_empty() => replies.push(plain(ReplyKind::NoReply, "")),
            TurnOutcome::Dropped { .. } => {}
            TurnOutcome::Failed { reason, .. } | TurnOutcome::Held { reason, .. } => {
                tracing::warn!(chat = %held.lease.chat_ref, channel = %channel.name, reason, "a turn failed for good");
                replies.push(plain(ReplyKind::Failed, ""));
            }
        }
        self.finish(held, channel, question, ending, &replies, events, now).await
    }

    #[allow(clippy::too_many_arguments)] // the one place where a turn ends
    async fn finish(
        &self,
        held: &Held,
        channel: &Channel,
        question: Question,
        ending: Ending,
        replies: &[Reply],
        events: &[Event],
        now: Timestamp,
    ) -> Step {
        let rendering = Rendering { address: &question.address, in_reply_to: &question.in_reply_to };
        let mut parts = Vec::new();
        for (number, reply) in (0..).zip(replies) {
            match channel.platform.render(reply, &rendering) {
                Ok(rendered) => parts.extend(rendered.into_iter().map(|part| NewPart {
                    id: PartId::generate(),
                    reply: number,
                    kind: reply.kind,
                    part,
                })),
                Err(error) => tracing::error!(channel = %channel.name, %error, "a reply can't be written"),
            }
        }
        let label = match &ending.outcome {
            TurnOutcome::Answered => "answered",
            TurnOutcome::Dropped { reason } => reason,
            TurnOutcome::Failed { .. } => "failed",
            TurnOutcome::Held { .. } => "held",
            TurnOutcome::Expired => EXPIRED,
        };
        self.foundation.metrics.turn(channel.name.as_str(), label, now.since(question.received_at));
        let end = TurnEnd {
            turn: question.turn,
            members: question.members,
            outcome: ending.outcome,
            address: question.address,
            parts,
            events: events.iter().filter_map(|event| event.id.clone()).collect(),
            first_event_at: events.iter().filter_map(|event| event.created_at).min(),
            event_kinds: events.iter().map(Event::code).collect(),
            new_generation: ending.new_generation,
        };
        insist(|| self.foundation.store.end(&held.lease, &end)).await?;
        failpoint::reach("turn.ended");
        self.failures.invalidate(&end.turn).await;
        Ok(Lane::Kept)
    }
}

/// What the chat is told of an answer: each shown event once, in the array's order; and for programs, that
/// there was none or that Fini escalated. What came back for a human agent's message is its echo.
fn replies(role: Role, events: &[Event]) -> Vec<Reply> {
    let mut seen = HashSet::new();
    let mut replies: Vec<Reply> = Vec::new();
    for event in events.iter().filter(|_| role == Role::User) {
        if let Some((id, text)) = event.shown()
            && seen.insert(id)
        {
            replies.push(Reply { kind: ReplyKind::Message, text: text.to_owned(), event: event.raw.clone() });
        } else if event.kind == EventKind::SilentEscalation {
            replies.push(Reply { kind: ReplyKind::Handoff, text: String::new(), event: Value::Null });
        }
    }
    if replies.is_empty() {
        replies.push(Reply { kind: ReplyKind::NoReply, text: String::new(), event: Value::Null });
    }
    replies
}

/// Shows that somebody is writing for as long as the answer takes.
async fn with_typing<T>(channel: &Channel, lane: LaneId, question: &Question, answer: impl Future<Output = T>) -> T {
    let Some(lasts) = channel.platform.typing_lasts().filter(|_| question.role == Role::User) else {
        return answer.await;
    };
    tokio::select! {
        answer = answer => answer,
        never = type_on(channel, lane, question, lasts) => match never {},
    }
}

/// A sign that has to leave the rate to replies is tried again before long.
async fn type_on(channel: &Channel, lane: LaneId, question: &Question, lasts: Duration) -> Infallible {
    loop {
        if channel.limiter.acquire_spare(lane) {
            channel.platform.typing(&question.address).await;
            tokio::time::sleep(lasts).await;
        } else {
            tokio::time::sleep(lasts / 4).await;
        }
    }
}

fn ask_outcome(error: &AskError) -> &'static str {
    match error {
        AskError::NotSent(_) => "not_sent",
        AskError::Throttled { .. } => "throttled",
        AskError::Key { .. } => "key_refused",
        AskError::Rejected { .. } => "rejected",
        AskError::Unknown { .. } => "unknown",
    }
}
