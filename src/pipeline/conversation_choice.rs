//! Which of Fini's conversations a question is put to.

use std::time::Duration;

use tokio::time::Instant;

use super::discovery::{Discovery, Search};
use super::mapping::Mapping;
use super::plan;
use crate::domain::clock::Timestamp;
use crate::domain::id::InteractionId;
use crate::store::{Lease, Store, StoreError, Turn, TurnState};

/// The next turn waits so long for the id of a new conversation, then begins another.
const DISCOVERY: Duration = Duration::from_secs(30);

pub enum ConversationChoice {
    Continue(InteractionId),
    /// By this reference. Nothing has come of it so far.
    Begin {
        reference: String,
    },
    /// Its id isn't known yet; it is waited for this long, or until it is found.
    AwaitDiscovery(Duration),
    /// Its id won't be known: another conversation has to be begun.
    StartOver,
}

/// What the choice depends on.
pub struct Deps<'a> {
    pub store: &'a dyn Store,
    pub mapping: &'a Mapping,
    pub discovery: &'a Discovery,
    pub installation_key: &'a [u8; 32],
    /// When this process began to look for conversations.
    pub started: Instant,
}

/// `generation`: the chat's current one.
pub async fn choose(
    deps: &Deps<'_>,
    lease: &Lease,
    generation: u32,
    turn: &Turn,
    now: Timestamp,
) -> Result<ConversationChoice, StoreError> {
    let lane = lease.lane;
    let begin = || {
        let reference = plan::reference(deps.installation_key, lease, turn.generation);
        ConversationChoice::Begin { reference }
    };
    if let Some(id) = deps.mapping.get(lane, turn.generation).await {
        return Ok(ConversationChoice::Continue(id));
    }
    if turn.state == TurnState::New && turn.generation > generation {
        return Ok(begin());
    }
    let Some(conversation) = deps.store.conversation(lane, turn.generation).await? else {
        return Ok(begin());
    };
    if let Some(id) = conversation.interaction_id {
        deps.mapping.insert(lane, turn.generation, id.clone()).await;
        return Ok(ConversationChoice::Continue(id));
    }
    // Without an answer nothing came of the calls so far, or the turn would be looked up, not asked.
    let Some(answered_at) = conversation.answered_at else {
        return Ok(ConversationChoice::Begin { reference: conversation.reference });
    };
    // What a process that has just started couldn't look for has its time, too.
    let waited = now.since(answered_at.max(turn.received_at)).min(deps.started.elapsed());
    Ok(match (deps.discovery.want(conversation), DISCOVERY.saturating_sub(waited)) {
        (Search::Looking { .. }, left) if left > Duration::ZERO => ConversationChoice::AwaitDiscovery(left),
        (Search::Looking { .. } | Search::Unfindable, _) => ConversationChoice::StartOver,
    })
}
