//! What to do next in a lane, from what it looks like. Pure: it decides, others act.

use std::time::Duration;

use serde_json::{Map, Value};

use super::channel::{Burst, Channel};
use crate::domain::id::{BotId, ChannelName, ChatRef, DeliveryKey, MessageId};
use crate::domain::message::Role;
use crate::signature::hmac_hex;
use crate::store::{LaneView, Turn, TurnState, Waiting};

/// The user attribute that holds our reference; nothing else may use the name.
pub const REFERENCE_ATTRIBUTE: &str = "fini_bridge_ref";

/// Messages that become one question: at most so many…
const MOST_MERGED: usize = 50;
/// … and so many bytes.
const MOST_MERGED_BYTES: usize = 64 * 1024;

/// A question that is not begun yet.
#[derive(Debug)]
pub struct Batch {
    pub members: Vec<MessageId>,
    pub in_reply_to: Vec<DeliveryKey>,
    pub role: Role,
    pub content: String,
    pub user_attributes: Map<String, Value>,
    pub bot_id: BotId,
    pub address: Value,
    pub received_at: crate::domain::clock::Timestamp,
    /// The conversation it belongs to; one more than the lane's current one begins a new one.
    pub generation: u32,
}

#[derive(Debug)]
pub enum Plan {
    /// Nothing is due.
    Rest,
    /// These are not for Fini, for this reason.
    Drop(Batch, &'static str),
    /// These waited longer than `give_up_after`.
    GiveUp(Batch),
    Begin(Batch),
    /// The turn is open: nothing came of it so far.
    Again(Turn),
    /// The open turn is older than `give_up_after`.
    GiveUpTurn(Turn),
    /// What became of the turn's call is not known.
    Look(Turn),
}

pub fn plan(view: LaneView, channel: &Channel) -> Plan {
    let give_up_after = channel.replies.give_up_after.0;
    if let Some(turn) = view.turn {
        return match turn.state {
            TurnState::Open if view.now.since(turn.received_at) > give_up_after => Plan::GiveUpTurn(turn),
            TurnState::Open => Plan::Again(turn),
            TurnState::Asking { .. } | TurnState::Unknown { .. } => Plan::Look(turn),
        };
    }
    let mut waiting = view.waiting;
    if waiting.iter().all(|message| message.sort_at.is_some()) {
        // Stable: what was written in the same second stays in the order of acknowledgement.
        waiting.sort_by_key(|message| message.sort_at);
    }
    let Some(first_received) = waiting.iter().map(|message| message.received_at).min() else { return Plan::Rest };
    let conversations = &channel.conversations;
    if view.now.since(first_received) < conversations.merge_window.0 {
        return Plan::Rest;
    }
    let idle = |last| conversations.idle_timeout.0.is_some_and(|limit| view.now.since(last) > limit);
    let is_old = |message: &Waiting| view.now.since(message.received_at) > give_up_after;
    let Some(batch) = head(waiting, conversations.burst, is_old) else { return Plan::Rest };
    let goes_on =
        view.generation > 0 && view.bot_id.as_ref() == Some(&batch.bot_id) && !view.last_turn_at.is_some_and(idle);
    let batch = Batch { generation: if goes_on { view.generation } else { view.generation + 1 }, ..batch };
    if batch.content.trim().is_empty() {
        Plan::Drop(batch, "blank")
    } else if view.now.since(batch.received_at) > give_up_after {
        Plan::GiveUp(batch)
    } else if batch.role == Role::User && view.recent_turns >= conversations.max_turns.count {
        Plan::Drop(batch, "max_turns")
    } else {
        Plan::Begin(batch)
    }
}

/// The first message, and those right behind it that may join it: of the same sender, role and agent.
/// What a human agent wrote stands alone, and so does a blank message (it is dropped). What is too old to be asked
/// takes nothing with it that isn't.
fn head(waiting: Vec<Waiting>, burst: Burst, is_old: impl Fn(&Waiting) -> bool) -> Option<Batch> {
    let mut waiting = waiting.into_iter();
    let first = waiting.next()?;
    let first_is_old = is_old(&first);
    let alone = burst == Burst::Queue || first.role != Role::User || first.text.trim().is_empty();
    let mut batch = Batch {
        members: vec![first.id],
        in_reply_to: vec![first.delivery_key],
        role: first.role,
        content: first.text,
        user_attributes: first.user_attributes,
        bot_id: first.bot_id,
        address: first.address,
        received_at: first.received_at,
        generation: 0,
    };
    if alone {
        return Some(batch);
    }
    for next in waiting {
        let joins = next.role == batch.role
            && next.sender == first.sender
            && next.bot_id == batch.bot_id
            && is_old(&next) == first_is_old
            && !next.text.trim().is_empty()
            && batch.members.len() < MOST_MERGED
            && batch.content.len() + next.text.len() < MOST_MERGED_BYTES;
        if !joins {
            break;
        }
        batch.members.push(next.id);
        batch.in_reply_to.push(next.delivery_key);
        batch.content.push('\n');
        batch.content.push_str(&next.text);
        batch.user_attributes.extend(next.user_attributes);
        // The answer goes to where the last of them was written.
        batch.address = next.address;
        batch.received_at = batch.received_at.min(next.received_at);
    }
    Some(batch)
}

/// Our name for a chat's conversation of one generation: keyed, so nobody else can guess or forge it.
pub fn reference(installation_key: &[u8; 32], channel: &ChannelName, chat: &ChatRef, generation: u32) -> String {
    let generation = generation.to_string();
    let parts = ["conversation", channel.as_str(), chat.as_str(), &generation].join("\0");
    let mut hex = hmac_hex(installation_key, &[parts.as_bytes()]);
    hex.truncate(32);
    hex
}

/// How often and how long to look for what became of a call before it is made again or given to a person.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// `fini.settle`
    pub settle: Duration,
    /// Fini answered (a 500), so it is done with the call: this much covers a read that lags.
    pub answered: Duration,
}

impl Patience {
    /// Looked often and long enough to believe that nothing came of the call.
    pub fn is_over(&self, answered: bool, looks: u32, elapsed: Duration) -> bool {
        looks >= 2 && elapsed >= if answered { self.answered.min(self.settle) } else { self.settle }
    }
}
