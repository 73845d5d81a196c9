//! The conversation worker: takes what waits in a lane, asks Fini, and ends the turn with its replies in the
//! outbox. Each step is written down before the next one begins, so that another process can go on from it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use super::breaker::CircuitBreaker;
use super::channel::Channel;
use super::conversation_choice::{self, ConversationChoice, choose};
use super::discovery::Discovery;
use super::dispatch::{ActiveLane, Worker};
use super::group::ConcurrencyGroup;
use super::lookup::{self, lookup};
use super::mapping::Mapping;
use super::people::sender_ref;
use super::plan::{self, Ending, Plan, REFERENCE_ATTRIBUTE};
use super::rate_limit::{Permit, Priority, SlidingWindow};
use super::replies;
use super::retry::{backoff, retry_until_written};
use super::typing::with_typing;
use super::unknown_outcome::{LOOK_AGAIN, PoisonTracker, Verdict, resolve};
use super::{Deps, FiniKey};
use crate::domain::clock::Timestamp;
use crate::domain::failpoint;
use crate::domain::id::{ChannelName, SenderRef, TurnId};
use crate::domain::message::{Reply, Role};
use crate::domain::span::Rate;
use crate::fini::{Ask, AskError, Event, Target};
use crate::store::{
    Admission, AfterTurn, Call, Conversation, EXPIRED, Head, LaneView, LookupNote, Next, StoreError, Turn, TurnEnd,
    TurnOutcome, TurnState, WorkKind,
};

/// After a call that certainly had no effect.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LONGEST: Duration = Duration::from_secs(60);
/// A lane whose head may be somebody else's message looks this often whether that is known by now.
const RECIPIENT_LOOK: Duration = Duration::from_secs(2);
/// A lane of a channel that is not configured any more.
const NO_CHANNEL: Duration = Duration::from_secs(60);
/// A question that waits for longer than this is logged, a few chats a minute: in an outage all of them wait.
const LATE: Duration = Duration::from_secs(60);
const LATE_LINES: Rate = Rate { count: 6, per: Duration::from_secs(60) };
/// A turn that waited for longer until it may ask looks first what came meanwhile.
const PLAN_ANEW: Duration = Duration::from_secs(1);

pub struct Turns {
    deps: Arc<Deps>,
    mapping: Arc<Mapping>,
    discoveries: Vec<Arc<Discovery>>,
    groups: Vec<Arc<ConcurrencyGroup>>,
    /// Of channels with `max_turns_per_channel`: this process begins their turns one after the other, so that it lets
    /// no more than one too many through.
    budgets: BTreeMap<ChannelName, Mutex<()>>,
    poison: PoisonTracker,
    late_lines: std::sync::Mutex<SlidingWindow>,
}

/// One step in a lane: what it is about.
struct Step<'s> {
    lane: &'s ActiveLane,
    channel: &'s Channel,
    key: &'s FiniKey,
    group: &'s ConcurrencyGroup,
    discovery: &'s Discovery,
    /// The store's clock.
    now: Timestamp,
    /// Which conversation of the chat is current.
    generation: u32,
}

/// What a task knows of its lane from one step to the next.
#[derive(Default)]
struct Carried {
    /// The turn whose call was about to be written down when the store went away. It hasn't left, whatever the store
    /// says.
    uncalled: Option<TurnId>,
    /// For the call of the next step.
    permit: Option<Permit>,
}

/// What there is to do next. `None`: the lane has been given back.
type NextView = Option<Box<LaneView>>;

#[async_trait]
impl Worker for Turns {
    fn work(&self) -> WorkKind {
        WorkKind::Turns
    }

    fn groups(&self) -> &[Arc<ConcurrencyGroup>] {
        &self.groups
    }

    async fn run(&self, lane: &ActiveLane, head: Head) -> Result<(), StoreError> {
        let mut view = match head {
            Head::Turns(view) => Some(view),
            Head::Unread | Head::Parts { .. } => None,
        };
        let mut carried = Carried::default();
        let mut attempt = 0;
        loop {
            match self.step(lane, view.take(), &mut carried).await {
                Ok(None) => return Ok(()),
                Ok(next) => (view, attempt) = (next, 0),
                Err(error) => {
                    attempt += 1;
                    lane.store_is_away(error, attempt).await?;
                }
            }
        }
    }
}

impl Turns {
    /// `wake` is told when there is room for a lane again.
    pub fn new(deps: &Arc<Deps>, mapping: Arc<Mapping>, discoveries: Vec<Arc<Discovery>>, wake: &Arc<Notify>) -> Self {
        let group = |(index, key): (usize, &FiniKey)| {
            let channels = deps.channels.values().filter(|channel| channel.key == index && channel.enabled);
            let channels = channels.map(|channel| channel.name.clone()).collect();
            let breaker = CircuitBreaker::new(format!("fini/{index}"), deps.metrics.clone());
            ConcurrencyGroup::new(breaker, channels, key.max_in_flight, None, wake.clone())
        };
        let groups = deps.keys.iter().enumerate().map(group).collect();
        let limited = deps.channels.values().filter(|channel| channel.conversations.limits().per_channel.is_some());
        let budgets = limited.map(|channel| (channel.name.clone(), Mutex::default())).collect();
        Self {
            deps: deps.clone(),
            mapping,
            discoveries,
            groups,
            budgets,
            poison: PoisonTracker::new(),
            late_lines: std::sync::Mutex::default(),
        }
    }

    async fn step(&self, lane: &ActiveLane, view: NextView, carried: &mut Carried) -> Result<NextView, StoreError> {
        let permit = carried.permit.take();
        let Some(channel) = self.deps.channels.get(&lane.lease.channel) else {
            return self.release(lane, Next::After(NO_CHANNEL)).await;
        };
        if lane.is_stopping() {
            return self.release(lane, when_needed(channel)).await;
        }
        let mut view = match view {
            Some(view) => *view,
            None => self.deps.store.lane_view(&lane.lease).await?,
        };
        let (Some(key), Some(group), Some(discovery)) =
            (self.deps.keys.get(channel.key), self.groups.get(channel.key), self.discoveries.get(channel.key))
        else {
            return Err(StoreError::Corrupt("the channel's key is missing".to_owned()));
        };
        let step = Step { lane, channel, key, group, discovery, now: view.now, generation: view.generation };
        if let Some(turn) = &mut view.turn {
            if carried.uncalled == Some(turn.id) && matches!(turn.state, TurnState::Asking { .. }) {
                turn.state = TurnState::Open;
            }
            self.log_if_late(&step, turn);
        }
        match plan::plan(view, channel) {
            Plan::Idle => self.release(lane, when_needed(channel)).await,
            Plan::AwaitRecipient => self.release(lane, Next::After(RECIPIENT_LOOK)).await,
            Plan::End(turn, ending) => self.end(&step, &turn, ending, &[]).await,
            Plan::Ask(turn) => self.ask(&step, turn, permit, carried).await,
            Plan::Reconcile(turn) => self.reconcile(&step, turn, carried).await,
        }
    }

    async fn release(&self, lane: &ActiveLane, next: Next) -> Result<NextView, StoreError> {
        self.deps.store.release(&lane.lease, next).await.map(|()| None)
    }

    /// Says why a chat waits, which nothing else in the log may tell.
    fn log_if_late(&self, step: &Step<'_>, turn: &Turn) {
        let waits = step.now.since(turn.received_at);
        let may_log = || self.late_lines.lock().is_ok_and(|mut lines| lines.try_spend(LATE_LINES, Instant::now()));
        if waits < LATE || !may_log() {
            return;
        }
        let why = match turn.state {
            TurnState::New | TurnState::Open => "its question is tried again",
            TurnState::Asking { .. } | TurnState::Unknown { .. } => {
                "what became of its call to Fini is being looked up"
            }
        };
        let (chat, channel) = (&step.lane.lease.chat_ref, &step.lane.lease.channel);
        tracing::warn!(%chat, %channel, seconds = waits.as_secs(), calls = turn.asked, why, "a chat waits");
    }

    /// Puts a question to Fini, and ends the turn or says what comes next.
    async fn ask(
        &self,
        step: &Step<'_>,
        mut turn: Turn,
        permit: Option<Permit>,
        carried: &mut Carried,
    ) -> Result<NextView, StoreError> {
        let (lane, channel) = (step.lane, step.channel);
        let deps = conversation_choice::Deps {
            store: self.deps.store.as_ref(),
            mapping: &self.mapping,
            discovery: step.discovery,
            installation_key: &self.deps.installation_key,
        };
        let mut choice = choose(&deps, &lane.lease, step.generation, &turn, step.now).await?;
        if let ConversationChoice::AwaitDiscovery(wait) = choice {
            return self.release(lane, Next::After(wait)).await;
        }
        let starts_over = matches!(choice, ConversationChoice::StartOver);
        if starts_over {
            turn.generation += 1;
            choice = ConversationChoice::Begin { reference: self.reference(step, turn.generation) };
        }
        let turn = Arc::new(turn);
        let (target, reference, noted) = match &choice {
            ConversationChoice::Continue(id) => (Target::Conversation(id), self.reference(step, turn.generation), None),
            ConversationChoice::Begin { reference } => {
                (Target::Agent(&turn.bot_id), reference.clone(), Some(reference.clone()))
            }
            ConversationChoice::AwaitDiscovery(_) | ConversationChoice::StartOver => return Ok(None),
        };
        let call =
            Call { reference: noted, sender_ref: self.counts_for(step, &turn), limits: channel.conversations.limits() };
        failpoint::reach("turn.planned");
        let waited = step.now.since(turn.received_at);
        let mut permit = match permit {
            Some(permit) => permit,
            None => {
                let begun = Instant::now();
                let Some(permit) = lane.unless_stopping(step.key.budget.acquire_after(Priority::Turn, waited)).await
                else {
                    // Nothing is written down yet: another replica may wait just as well.
                    return self.release(lane, when_needed(channel)).await;
                };
                if begun.elapsed() > PLAN_ANEW && matches!(turn.state, TurnState::New | TurnState::Open) {
                    carried.permit = Some(permit);
                    return self.deps.store.lane_view(&lane.lease).await.map(|view| Some(Box::new(view)));
                }
                permit
            }
        };
        carried.uncalled = Some(turn.id);
        let mut user_attributes = match self.begin_call(step, &turn, &call).await? {
            Admission::Admitted { shared: true } => Map::new(),
            Admission::Admitted { shared: false } => turn.user_attributes.clone(),
            Admission::LimitReached(limit) => return self.end(step, &turn, Ending::beyond(limit), &[]).await,
        };
        failpoint::reach("turn.asked");
        if starts_over {
            self.deps.metrics.conversation(channel.name.as_str(), "abandoned");
        }
        lane.fresh().await;
        while !permit.is_fresh() {
            let again = lane.unless_stopping(step.key.budget.acquire_after(Priority::Turn, waited)).await;
            let Some(again) = again else {
                let (store, lease) = (&self.deps.store, &lane.lease);
                retry_until_written(|| store.reopen(lease, turn.id, Duration::ZERO, "fini_rate")).await?;
                return Ok(None);
            };
            permit = again;
            lane.fresh().await;
        }
        carried.uncalled = None;

        user_attributes.insert(REFERENCE_ATTRIBUTE.to_owned(), Value::String(reference));
        let ask = Ask {
            content: &turn.content,
            role: turn.role,
            target,
            channel: channel.platform.name(),
            user_attributes: &user_attributes,
        };
        let begun = Instant::now();
        let outcome = {
            let _in_flight = self.deps.metrics.fini_in_flight();
            with_typing(channel, lane.lease.lane, &turn, step.key.client.generate_answer(&ask)).await
        };
        let label = outcome.as_ref().map_or_else(AskError::code, |_| "ok");
        self.deps.metrics.fini_call("generate_answer", label, begun.elapsed());
        match outcome {
            Ok(events) => {
                failpoint::reach("turn.answered");
                step.group.breaker.on_success();
                let step = Step { now: step.now.plus(begun.elapsed()), ..*step };
                self.answered(&step, &turn, &events, call.reference).await
            }
            Err(error) => self.not_answered(step, &turn, error).await,
        }
    }

    /// For whom the turn counts: who doesn't say who they are counts as the chat. What a human agent writes costs no
    /// answer.
    fn counts_for(&self, step: &Step<'_>, turn: &Turn) -> Option<SenderRef> {
        let lease = &step.lane.lease;
        match (&turn.sender, turn.role) {
            (_, Role::Agent) => None,
            (Some(sender), _) => Some(sender_ref(&self.deps.installation_key, &lease.channel, sender)),
            (None, _) => Some(SenderRef::new(lease.chat_ref.as_str())),
        }
    }

    fn reference(&self, step: &Step<'_>, generation: u32) -> String {
        plan::reference(&self.deps.installation_key, &step.lane.lease, generation)
    }

    async fn begin_call(&self, step: &Step<'_>, turn: &Arc<Turn>, call: &Call) -> Result<Admission, StoreError> {
        let _counted = match self.budgets.get(&step.channel.name) {
            Some(budget) if turn.state == TurnState::New => Some(budget.lock().await),
            _ => None,
        };
        self.deps.store.begin_call(&step.lane.lease, turn, call).await
    }

    async fn not_answered(&self, step: &Step<'_>, turn: &Turn, error: AskError) -> Result<NextView, StoreError> {
        let (store, lease, breaker) = (&self.deps.store, &step.lane.lease, &step.group.breaker);
        tracing::info!(chat = %lease.chat_ref, channel = %lease.channel, %error, "no answer from Fini");
        match error {
            AskError::NotSent(reason) => {
                let after = backoff(RETRY_FIRST, RETRY_LONGEST, turn.asked.saturating_add(1));
                retry_until_written(|| store.reopen(lease, turn.id, after, reason)).await?;
            }
            // The key's budget knows of it: the next call waits there.
            AskError::Throttled { .. } => {
                retry_until_written(|| store.reopen(lease, turn.id, Duration::ZERO, "fini_429")).await?;
            }
            AskError::Key { status, .. } => {
                breaker.on_auth_failure();
                let reason = format!("fini_{status}");
                retry_until_written(|| store.reopen(lease, turn.id, Duration::ZERO, &reason)).await?;
            }
            AskError::Rejected { status, detail } => {
                breaker.on_success();
                let ending = Ending::failed(step.channel, turn.role, &format!("fini_{status}"), &detail);
                return self.end_begun(step, turn, ending, &[]).await;
            }
            AskError::Unknown { answered, reason } => {
                let note = LookupNote::Started { answered };
                retry_until_written(|| store.mark_unknown(lease, turn.id, note, LOOK_AGAIN, &reason)).await?;
            }
        }
        Ok(None)
    }

    async fn reconcile(&self, step: &Step<'_>, mut turn: Turn, carried: &mut Carried) -> Result<NextView, StoreError> {
        failpoint::reach("lookup.begun");
        let deps = lookup::Deps {
            store: self.deps.store.as_ref(),
            lane: step.lane,
            key: step.key,
            discovery: step.discovery,
            mapping: &self.mapping,
            metrics: &self.deps.metrics,
        };
        let found = lookup(&deps, &turn, step.now).await?;
        failpoint::reach("lookup.found");
        let age = plan::age(turn.received_at, turn.dormant, step.channel, step.now);
        match resolve(found, &turn, age, step.now, step.key.settle, step.channel) {
            Verdict::Answered(events) => self.answered(step, &turn, &events, None).await,
            Verdict::End(ending, events) => self.end_begun(step, &turn, ending, &events).await,
            Verdict::LookAgain { note, after, reason } => {
                self.deps.store.mark_unknown(&step.lane.lease, turn.id, note, after, reason).await?;
                Ok(None)
            }
            Verdict::AskAgain { new_conversation } => {
                if let TurnState::Unknown { asked_at, answered, .. } = turn.state {
                    let others_succeeded = step.group.breaker.succeeded_within(step.now.since(asked_at));
                    if let Some(calls) = self.poison.failed(&turn, others_succeeded).await {
                        let detail = format!("Fini failed on it {calls} times, and answered others meanwhile.");
                        let ending = Ending::failed(step.channel, turn.role, "fini_keeps_failing", &detail);
                        return self.end_begun(step, &turn, ending, &[]).await;
                    }
                    // After a call without an answer Fini may still come to store it, beyond `settle`.
                    let after = if answered { "failed" } else { "unanswered" };
                    self.deps.metrics.repeated_call(step.channel.name.as_str(), after);
                }
                if new_conversation {
                    self.deps.metrics.conversation(step.channel.name.as_str(), "replaced");
                    turn.generation += 1;
                }
                self.ask(step, turn, None, carried).await
            }
        }
    }

    /// Ends a turn with what Fini said. `begun`: the reference of a conversation that began with it.
    async fn answered(
        &self,
        step: &Step<'_>,
        turn: &Turn,
        events: &[Event],
        begun: Option<String>,
    ) -> Result<NextView, StoreError> {
        let (lane, generation) = (step.lane.lease.lane, turn.generation);
        let ending = Ending { outcome: TurnOutcome::Answered, text: String::new(), new_generation: None };
        let replies = replies::of_answer(turn.role, events);
        let (next, end) = self.finish(step, turn, ending, &replies, events).await?;
        if end.is_discovered {
            return Ok(next);
        }
        let conversation = match begun.filter(|_| turn.state == TurnState::New && generation > step.generation) {
            Some(reference) => Some(Conversation {
                lane,
                generation,
                channel: step.channel.name.clone(),
                bot_id: turn.bot_id.clone(),
                reference,
                interaction_id: None,
                asked_at: Some(step.now),
                first_events: end.events.clone(),
                first_event_at: end.first_event_at,
                watermark: end.events.last().cloned(),
                answered_at: Some(step.now),
            }),
            // The next turn looks for it, if this can't.
            None => self.deps.store.conversation(lane, generation).await.unwrap_or_default(),
        };
        if let Some(conversation) = conversation.filter(|conversation| conversation.interaction_id.is_none()) {
            step.discovery.want(conversation);
        }
        Ok(next)
    }

    /// Ends a turn without an answer: the user is told what there is to tell, programs what it was. `events`: what
    /// is known of it in Fini nevertheless.
    async fn end(
        &self,
        step: &Step<'_>,
        turn: &Turn,
        ending: Ending,
        events: &[Event],
    ) -> Result<NextView, StoreError> {
        let (chat, channel) = (&step.lane.lease.chat_ref, &step.lane.lease.channel);
        match &ending.outcome {
            TurnOutcome::Answered | TurnOutcome::Dropped { .. } => {}
            TurnOutcome::Expired => tracing::warn!(%chat, %channel, "a turn expired"),
            TurnOutcome::Failed { reason, .. } | TurnOutcome::Held { reason, .. } => {
                tracing::warn!(%chat, %channel, reason, "a turn failed for good");
            }
        }
        let replies = replies::of_ending(&ending);
        Ok(self.finish(step, turn, ending, &replies, events).await?.0)
    }

    /// Likewise, of a turn whose call was begun.
    async fn end_begun(
        &self,
        step: &Step<'_>,
        turn: &Turn,
        ending: Ending,
        events: &[Event],
    ) -> Result<NextView, StoreError> {
        let begun = Turn { members: Vec::new(), ..turn.clone() };
        self.end(step, &begun, ending, events).await
    }

    async fn finish(
        &self,
        step: &Step<'_>,
        turn: &Turn,
        ending: Ending,
        replies: &[Reply],
        events: &[Event],
    ) -> Result<(NextView, Arc<TurnEnd>), StoreError> {
        let channel = step.channel;
        let label = match &ending.outcome {
            TurnOutcome::Answered => "answered",
            TurnOutcome::Dropped { reason } => reason,
            TurnOutcome::Failed { .. } => "failed",
            TurnOutcome::Held { .. } => "held",
            TurnOutcome::Expired => EXPIRED,
        };
        self.deps.metrics.turn(channel.name.as_str(), label, step.now.since(turn.received_at));
        let end = Arc::new(TurnEnd {
            turn: turn.id,
            members: match &ending.outcome {
                TurnOutcome::Answered => Vec::new(),
                _ => turn.members.clone(),
            },
            is_discovered: self.mapping.get(step.lane.lease.lane, turn.generation).await.is_some(),
            outcome: ending.outcome,
            address: turn.address.clone(),
            parts: replies::render(channel, turn, replies),
            events: events.iter().filter_map(|event| event.id.clone()).collect(),
            first_event_at: events.iter().filter_map(|event| event.created_at).min(),
            event_kinds: events.iter().map(Event::code).collect(),
            new_generation: ending.new_generation,
        });
        let after = AfterTurn::Release { merge_window: channel.conversations.merge_window.0 };
        let next = retry_until_written(|| self.deps.store.finish_turn(&step.lane.lease, &end, after)).await?;
        failpoint::reach("turn.ended");
        self.poison.ended(end.turn).await;
        if next.is_some() && step.group.has_backlog() {
            // Others have waited for longer than what came meanwhile.
            return Ok((self.release(step.lane, Next::After(Duration::ZERO)).await?, end));
        }
        Ok((next, end))
    }
}

fn when_needed(channel: &Channel) -> Next {
    Next::WhenNeeded { merge_window: channel.conversations.merge_window.0 }
}
