//! Finds the id of a conversation that Fini began for us: its answer doesn't carry it. Many chats share one
//! sweep of the list, and a sweep keeps nothing of conversations that aren't ours.
//!
//! A conversation is ours if one of its events is one that came back to us, or if it carries our reference.
//! Never by text or time: an answer from somebody else's conversation is the worst that can happen.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Deps;
use super::mapping::Mapping;
use super::plan::REFERENCE_ATTRIBUTE;
use super::rate_limit::Priority;
use crate::domain::clock::Timestamp;
use crate::domain::failpoint;
use crate::domain::id::{BotId, EventId, LaneId};
use crate::fini::{self, Query, ReadError};
use crate::store::{Adopted, Conversation};

/// The first look comes this long after an answer, and each further one after twice the time.
const FIRST_LOOK: Duration = Duration::from_millis(400);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// However many are looked for, one sweep a second at most.
const BETWEEN_SWEEPS: Duration = Duration::from_secs(1);
/// A conversation that nobody asks for any more is forgotten after this; its next turn asks again.
const FORGET_AFTER: Duration = Duration::from_secs(90);
/// Where Fini's own time of an event isn't known: clocks differ.
const SKEW: Duration = Duration::from_secs(300);
/// Fini's time is known: this covers a list that filters by something a little different.
const MARGIN: Duration = Duration::from_secs(5);
/// A sweep ends after so many pages of 100.
const MOST_PAGES: usize = 50;
/// Conversations that began longer ago than this are looked for by themselves: the many pages back to them are not
/// walked for the new ones.
const NEW: Duration = Duration::from_secs(3600);
/// List reaches back 90 days at most in one query.
pub const LIST_REACH: Duration = Duration::from_secs(89 * 24 * 3600);

/// A chat's conversation of one generation.
type ConversationKey = (LaneId, u32);

struct PendingDiscovery {
    conversation: Conversation,
    asked_for: Instant,
    /// Since when this process looks for it.
    since: Instant,
    /// Likewise, without the time in which it was told to wait.
    begun: Instant,
    next_look: Instant,
    pause: Duration,
    /// Whole sweeps, begun after this was wanted, that didn't show it.
    looks: u32,
}

/// How far the search for one conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// Whole sweeps so far that didn't show it, how long this process has looked, and how long it has wanted to.
    Looking { looks: u32, looked: Duration, wanted: Duration },
    /// It can't be found: the list is refused, or the id belongs to another chat.
    Unfindable,
}

#[derive(Default)]
struct State {
    wanted: HashMap<ConversationKey, PendingDiscovery>,
    refused: HashSet<ConversationKey>,
    /// The key may not list: nobody waits before this has passed.
    list_refused: Option<Instant>,
    /// The next call waits for the rate since then. That is no look.
    waits_since: Option<Instant>,
}

/// The search for one Fini key.
pub struct Discovery {
    deps: Arc<Deps>,
    mapping: Arc<Mapping>,
    key: usize,
    state: Mutex<State>,
    wake: Notify,
}

impl Discovery {
    pub fn new(deps: &Arc<Deps>, mapping: &Arc<Mapping>, key: usize) -> Arc<Self> {
        let (deps, mapping) = (deps.clone(), mapping.clone());
        Arc::new(Self { deps, mapping, key, state: Mutex::default(), wake: Notify::new() })
    }

    /// Looks for the conversation from now on, if it doesn't already.
    pub fn want(&self, conversation: Conversation) -> Search {
        let key = (conversation.lane, conversation.generation);
        let Ok(mut state) = self.state.lock() else {
            return Search::Looking { looks: 0, looked: Duration::ZERO, wanted: Duration::ZERO };
        };
        let now = Instant::now();
        if state.list_refused.is_some_and(|until| now < until) || state.refused.contains(&key) {
            return Search::Unfindable;
        }
        let mut new = false;
        let wanted = state.wanted.entry(key).or_insert_with(|| {
            new = true;
            PendingDiscovery {
                conversation: conversation.clone(),
                asked_for: now,
                since: now,
                begun: now,
                next_look: now + FIRST_LOOK,
                pause: FIRST_LOOK,
                looks: 0,
            }
        });
        wanted.asked_for = now;
        wanted.conversation = conversation;
        let (looks, begun, since, next_look) = (wanted.looks, wanted.begun, wanted.since, wanted.next_look);
        // While a look is due nobody knows what it will show: a process that was frozen has not looked.
        let until = match state.waits_since {
            Some(waits_since) => waits_since,
            None => now.min(next_look),
        };
        let search = Search::Looking {
            looks,
            looked: until.saturating_duration_since(begun),
            wanted: state.waits_since.map_or(until, |_| now).saturating_duration_since(since),
        };
        drop(state);
        if new {
            self.wake.notify_one();
        }
        search
    }

    pub async fn run(&self) {
        let mut last_sweep: Option<Instant> = None;
        let mut failures = 0;
        loop {
            let due = self.state.lock().ok().and_then(|state| state.wanted.values().map(|w| w.next_look).min());
            let Some(due) = due else {
                self.wake.notified().await;
                continue;
            };
            let due = last_sweep.map_or(due, |last| due.max(last + BETWEEN_SWEEPS));
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                // Another is wanted, perhaps sooner.
                () = self.wake.notified() => continue,
            }
            last_sweep = Some(Instant::now());
            match self.sweep().await {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures += 1;
                    self.postpone(&error, failures);
                }
            }
        }
    }

    fn postpone(&self, error: &ReadError, failures: u32) {
        let wait = match error {
            ReadError::Throttled { retry_after: Some(wait) } => *wait,
            _ => super::retry::backoff(Duration::from_secs(1), Duration::from_secs(30), failures),
        };
        // By its code: Fini's own words may quote what they like.
        tracing::warn!(outcome = error.code(), "conversations can't be listed");
        let Ok(mut state) = self.state.lock() else { return };
        if let ReadError::Key { status: 403, .. } = error {
            // Nobody waits for what can't come; after a while the next chat that wants its id tries again.
            state.list_refused = Some(Instant::now() + Duration::from_secs(60));
            state.wanted.clear();
            return;
        }
        let now = Instant::now();
        state.wanted.retain(|_, wanted| now.duration_since(wanted.asked_for) < FORGET_AFTER);
        for wanted in state.wanted.values_mut() {
            wanted.next_look = wanted.next_look.max(now + wait);
            // To be told to wait is no look.
            if let ReadError::Throttled { .. } | ReadError::Key { .. } = error {
                wanted.begun = wanted.next_look;
            }
        }
    }

    async fn sweep(&self) -> Result<(), ReadError> {
        let wanted: Vec<Conversation> = match self.state.lock() {
            Ok(state) => state.wanted.values().map(|wanted| wanted.conversation.clone()).collect(),
            Err(_) => return Ok(()),
        };
        let now = self.deps.clock.now();
        let is_new = |conversation: &Conversation| began(conversation, now) >= now.minus(NEW);
        let (new, old): (Vec<_>, Vec<_>) = wanted.into_iter().partition(is_new);
        for searched in [new, old] {
            if !searched.is_empty() {
                self.walk(&searched, now).await?;
            }
        }
        Ok(())
    }

    /// One walk through the list, as far back as the oldest that is looked for, for all that are.
    async fn walk(&self, searched: &[Conversation], now: Timestamp) -> Result<(), ReadError> {
        let begun = Instant::now();
        let mut by_event: HashMap<&EventId, &Conversation> = HashMap::new();
        let mut by_reference: HashMap<&str, &Conversation> = HashMap::new();
        for conversation in searched {
            by_event.extend(conversation.first_events.iter().map(|event| (event, conversation)));
            by_reference.insert(&conversation.reference, conversation);
        }
        let agents: HashSet<&BotId> = searched.iter().map(|conversation| &conversation.bot_id).collect();
        let mut query = Query {
            since: searched.iter().map(|conversation| began(conversation, now)).min(),
            limit: Some(100),
            agent: agents.iter().next().filter(|_| agents.len() == 1).map(|agent| (*agent).clone()),
            ..Query::default()
        };
        let mut found: HashSet<ConversationKey> = HashSet::new();
        for _ in 0..MOST_PAGES {
            let page = match self.list(&query).await {
                // Ids are opaque to us: an agent that the filter refuses is looked for without it.
                Err(ReadError::Rejected { .. }) if query.agent.take().is_some() => self.list(&query).await?,
                page => page?,
            };
            for listed in &page.conversations {
                let by_events =
                    listed.events.iter().filter_map(|event| event.id.as_ref()).find_map(|id| by_event.get(id));
                let reference = listed.user_attributes.get(REFERENCE_ATTRIBUTE).and_then(|value| value.as_str());
                let ours = by_events.or_else(|| by_reference.get(reference?));
                if let Some(ours) = ours
                    && found.insert((ours.lane, ours.generation))
                {
                    self.adopt(ours, listed).await;
                }
            }
            match page.next_cursor {
                Some(cursor) if page.has_more && found.len() < searched.len() => query.cursor = Some(cursor),
                _ => break,
            }
        }
        let Ok(mut state) = self.state.lock() else { return Ok(()) };
        let now = Instant::now();
        state.wanted.retain(|key, wanted| !found.contains(key) && now.duration_since(wanted.asked_for) < FORGET_AFTER);
        for conversation in searched {
            if let Some(wanted) = state.wanted.get_mut(&(conversation.lane, conversation.generation))
                && wanted.next_look <= begun
            {
                wanted.looks += 1;
                wanted.pause = (wanted.pause * 2).min(LONGEST_PAUSE);
                wanted.next_look = now + wanted.pause;
            }
        }
        Ok(())
    }

    async fn list(&self, query: &Query) -> Result<fini::Page, ReadError> {
        let Some(key) = self.deps.keys.get(self.key) else {
            return Err(ReadError::NoAnswer("no such key".to_owned()));
        };
        let since = Instant::now();
        if let Ok(mut state) = self.state.lock() {
            state.waits_since = Some(since);
        }
        let _permit = key.budget.acquire(Priority::LookUp).await;
        let begun = Instant::now();
        if let Ok(mut state) = self.state.lock() {
            state.waits_since = None;
            state.wanted.values_mut().for_each(|wanted| wanted.begun += begun.duration_since(since));
        }
        let page = key.client.list_conversations(query).await;
        let outcome = page.as_ref().map_or_else(ReadError::code, |_| "ok");
        self.deps.metrics.fini_call("list_conversations", outcome, begun.elapsed());
        page
    }

    async fn adopt(&self, ours: &Conversation, listed: &fini::Conversation) {
        failpoint::reach("discovery.found");
        let metrics = &self.deps.metrics;
        match self.deps.store.adopt(ours.lane, ours.generation, &listed.id).await {
            Ok(Adopted::Yes) => {
                metrics.conversation(ours.channel.as_str(), "discovered");
                self.mapping.insert(ours.lane, ours.generation, listed.id.clone()).await;
            }
            Ok(Adopted::Known) => {}
            Ok(Adopted::HeldByAnother) => {
                tracing::error!(
                    channel = %ours.channel,
                    "Fini named a conversation that another chat holds: it is dropped, and a new one begun"
                );
                metrics.conversation(ours.channel.as_str(), "conflict");
                if let Ok(mut state) = self.state.lock() {
                    state.refused.insert((ours.lane, ours.generation));
                }
            }
            Err(error) => tracing::warn!(%error, "a discovered conversation can't be kept; it will be found again"),
        }
    }
}

/// When the conversation began, so that nothing older has to be listed; as far as List reaches. By Fini's own clock
/// where it told it.
fn began(conversation: &Conversation, now: Timestamp) -> Timestamp {
    let told = conversation.first_event_at.map(|at| at.minus(MARGIN));
    let began = told.or_else(|| conversation.asked_at.map(|at| at.minus(SKEW)));
    began.unwrap_or(now).max(now.minus(LIST_REACH))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::ChannelName;

    #[test]
    fn no_sweep_asks_for_more_than_the_list_allows_however_old_a_conversation_is() {
        let day = Duration::from_secs(24 * 3600);
        let now = Timestamp::default().plus(day * 20_000);
        let asked = |days: u32| Conversation {
            lane: LaneId(1),
            generation: 1,
            channel: ChannelName::new("support"),
            bot_id: BotId::new("bot"),
            reference: String::new(),
            interaction_id: None,
            asked_at: Some(now.minus(day * days)),
            first_events: Vec::new(),
            first_event_at: None,
            watermark: None,
            answered_at: None,
        };
        assert_eq!(began(&asked(10), now), now.minus(day * 10 + SKEW));
        assert!(now.since(began(&asked(400), now)) < day * 90);
    }
}
