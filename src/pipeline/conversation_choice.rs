//! Which of Fini's conversations a question is put to.

use std::time::Duration;

use super::discovery::{Discovery, Search};
use super::mapping::Mapping;
use super::plan;
use crate::domain::clock::Timestamp;
use crate::domain::id::InteractionId;
use crate::store::{Lease, Store, StoreError, Turn, TurnState};

/// The next turn waits so long for the id of a new conversation, then begins another.
const DISCOVERY: Duration = Duration::from_secs(30);
/// The process that looks for the id may die. So that another one looks, the turn is taken up again after this.
const DISCOVERY_LOOK: Duration = Duration::from_secs(10);
const SOONEST_LOOK: Duration = Duration::from_secs(1);

pub enum ConversationChoice {
    Continue(InteractionId),
    /// By this reference. Nothing has come of it so far.
    Begin {
        reference: String,
    },
    /// Its id isn't known yet: the turn is taken up again after this, or when it is found.
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
    let waited = now.since(answered_at.max(turn.received_at));
    Ok(match deps.discovery.want(conversation) {
        // What others looked for, and didn't live to find, this process looks for as long.
        Search::Looking { wanted, .. } if waited.min(wanted) < DISCOVERY => {
            let left = DISCOVERY.saturating_sub(waited.min(wanted));
            ConversationChoice::AwaitDiscovery(left.clamp(SOONEST_LOOK, DISCOVERY_LOOK))
        }
        Search::Looking { .. } | Search::Unfindable => ConversationChoice::StartOver,
    })
}
