//! What became of a call to Fini whose outcome is not known: a time-out, a lost connection, a 500, a process
//! that died in between. Looked up before anything is sent again; there is no idempotency key.

use std::time::Duration;

use tokio::time::Instant;

use super::FiniKey;
use super::discovery::{Discovery, LIST_REACH, Search};
use super::dispatch::ActiveLane;
use super::mapping::Mapping;
use super::rate_limit::Priority;
use crate::domain::clock::Timestamp;
use crate::domain::id::InteractionId;
use crate::domain::message::Role;
use crate::fini::{Conversation, Event, EventRole, Query, ReadError};
use crate::store::{self, LookupNote, Store, StoreError, Turn, TurnState};
use crate::telemetry::Metrics;

/// Where no watermark is known, only events from about the call's time on may be ours: clocks differ.
const SKEW: Duration = Duration::from_secs(60);
/// To tell that a conversation is not listed, at most so many pages of 100 are read.
const MOST_PAGES: usize = 50;
/// What a 500 leaves open is settled after this: Fini is done with the call, a read may lag.
const ANSWERED: Duration = Duration::from_secs(3);

/// What a look found.
#[derive(Debug, PartialEq)]
pub enum Found {
    /// Our question, and what came behind it.
    Answer(Vec<Event>),
    /// Not decided yet; with what is to be written down of this look.
    NothingYet(LookupNote),
    /// Nothing came of the call: it may be made again.
    Nothing { new_conversation: bool },
    /// A person decides. With what is known to stand in the conversation by now.
    Undecidable { reason: &'static str, detail: &'static str, events: Vec<Event> },
}

/// What a look needs.
pub struct Deps<'a> {
    pub store: &'a dyn Store,
    pub lane: &'a ActiveLane,
    pub key: &'a FiniKey,
    pub discovery: &'a Discovery,
    pub mapping: &'a Mapping,
    pub metrics: &'a Metrics,
}

/// Looked often and long enough to believe that nothing came of the call. `answered`: Fini is done with it, and only a
/// read that lags has to be waited for.
fn is_over(settle: Duration, answered: bool, looks: u32, elapsed: Duration) -> bool {
    looks >= 2 && elapsed >= if answered { ANSWERED.min(settle) } else { settle }
}

pub async fn lookup(deps: &Deps<'_>, turn: &Turn, now: Timestamp) -> Result<Found, StoreError> {
    let (lane, settle) = (deps.lane.lease.lane, deps.key.settle);
    let (asked_at, since, answered, looks) = match turn.state {
        TurnState::Unknown { asked_at, since, answered, looks } => (asked_at, since, answered, looks),
        // The process died with the call open: it was cut no later than now.
        TurnState::Asking { .. } => return Ok(Found::NothingYet(LookupNote::Started { answered: false })),
        TurnState::New | TurnState::Open => return Ok(Found::Nothing { new_conversation: false }),
    };
    let Some(conversation) = deps.store.conversation(lane, turn.generation).await? else {
        return Ok(Found::Nothing { new_conversation: false });
    };
    let elapsed = now.since(since);
    let settled = elapsed >= settle;

    let Some(id) = conversation.interaction_id.clone() else {
        // A conversation that nobody can find is not guessed at: another one begins. The time in which nobody
        // looked (this process wasn't there, or was told to wait) doesn't count.
        let is_over = match deps.discovery.want(conversation) {
            Search::Looking { looks, looked, .. } => {
                is_over(settle, answered, looks, elapsed) || settled && looked >= settle
            }
            Search::Unfindable => answered || settled,
        };
        return Ok(if is_over {
            Found::Nothing { new_conversation: true }
        } else {
            Found::NothingYet(LookupNote::Unchanged)
        });
    };
    deps.mapping.insert(lane, turn.generation, id.clone()).await;

    let Some(_permit) = deps.lane.unless_stopping(deps.key.budget.acquire(Priority::LookUp)).await else {
        return Ok(Found::NothingYet(LookupNote::Unchanged));
    };
    let begun = Instant::now();
    let mut read = deps.key.client.get_conversation(&id).await;
    let outcome = read.as_ref().map_or_else(ReadError::code, |_| "ok");
    deps.metrics.fini_call("get_conversation", outcome, begun.elapsed());
    if matches!(read, Err(ReadError::Failed { .. })) && looks >= 1 {
        // Twice in a row: it may have vanished. What the list still shows has not, and stands there whole.
        read = match listed(deps, &id, &conversation, now).await {
            Ok(Listed::Not) => return Ok(Found::Nothing { new_conversation: true }),
            Ok(Listed::Shown(shown)) => Ok(shown),
            Ok(Listed::CannotTell) | Err(_) => return Ok(Found::NothingYet(LookupNote::Missed)),
        };
    }
    match read {
        Ok(shown) => Ok(match ours(&shown, &conversation, turn, asked_at) {
            Some((_, answer)) if is_answer(turn.role, answer) => {
                Found::Answer(shown_from_question(&shown, &conversation, turn, asked_at))
            }
            Some(_) if settled => Found::Undecidable {
                reason: "stored_not_answered",
                detail: "Fini has the message but gave no answer within fini.settle.",
                // The same words may be written again: these are not theirs.
                events: shown_from_question(&shown, &conversation, turn, asked_at),
            },
            Some(_) => Found::NothingYet(LookupNote::Unchanged),
            None if is_over(settle, answered, looks + 1, elapsed) => Found::Nothing { new_conversation: false },
            None => Found::NothingYet(LookupNote::Missed),
        }),
        Err(ReadError::Failed { .. }) => Ok(Found::NothingYet(LookupNote::Missed)),
        // No scope to read. A key that isn't known at all (401) waits for a person, and so does the question.
        Err(ReadError::Key { status: 403, .. }) if settled => Ok(Found::Undecidable {
            reason: "can_not_look",
            detail: "What became of the call is not known, and the key may not read the conversation.",
            events: Vec::new(),
        }),
        Err(_) => Ok(Found::NothingYet(LookupNote::Unchanged)),
    }
}

/// Our question in the conversation: behind the watermark (or from about the time of the call on), by role and
/// text, which is safe here: the conversation is known to be ours. With what stands behind it.
fn ours<'c>(
    shown: &'c Conversation,
    known: &store::Conversation,
    turn: &Turn,
    asked_at: Timestamp,
) -> Option<(usize, &'c [Event])> {
    let watermark = known.watermark.as_ref();
    let behind = watermark.and_then(|mark| shown.events.iter().position(|event| event.id.as_ref() == Some(mark)));
    let first = behind.map_or(0, |position| position + 1);
    let role = match turn.role {
        Role::User => EventRole::User,
        Role::Agent => EventRole::Agent,
        Role::OtherBot => EventRole::OtherBot,
    };
    let is_ours = |event: &Event| {
        event.role == role
            && event.message.as_deref().map(str::trim) == Some(turn.content.trim())
            && (behind.is_some() || event.created_at.is_none_or(|at| at >= asked_at.minus(SKEW)))
    };
    let position = first + shown.events.get(first..)?.iter().position(is_ours)?;
    Some((position, shown.events.get(position + 1..).unwrap_or_default()))
}

fn shown_from_question(
    shown: &Conversation,
    known: &store::Conversation,
    turn: &Turn,
    asked_at: Timestamp,
) -> Vec<Event> {
    let position = ours(shown, known, turn, asked_at).map_or(0, |(position, _)| position);
    shown.events.get(position..).unwrap_or_default().to_vec()
}

/// Fini has said something, or decided to say nothing. Nobody answers an agent or a bot.
fn is_answer(role: Role, behind: &[Event]) -> bool {
    role != Role::User || behind.iter().any(Event::ends_turn)
}

enum Listed {
    Shown(Conversation),
    Not,
    /// Too many to tell.
    CannotTell,
}

/// Whether List still shows a conversation. It is sorted by its latest message, so nothing older than the
/// conversation's beginning has to be read.
async fn listed(
    deps: &Deps<'_>,
    id: &InteractionId,
    known: &store::Conversation,
    now: Timestamp,
) -> Result<Listed, ReadError> {
    let began = known.first_event_at.or(known.asked_at).unwrap_or(now).minus(SKEW);
    let mut query = Query { since: Some(began.max(now.minus(LIST_REACH))), limit: Some(100), ..Query::default() };
    for _ in 0..MOST_PAGES {
        let Some(_permit) = deps.lane.unless_stopping(deps.key.budget.acquire(Priority::LookUp)).await else {
            return Ok(Listed::CannotTell);
        };
        let page = deps.key.client.list_conversations(&query).await?;
        if let Some(shown) = page.conversations.into_iter().find(|shown| shown.id == *id) {
            return Ok(Listed::Shown(shown));
        }
        match page.next_cursor {
            Some(cursor) if page.has_more => query.cursor = Some(cursor),
            _ => return Ok(Listed::Not),
        }
    }
    Ok(Listed::CannotTell)
}
