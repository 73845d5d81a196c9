//! What to do next in a lane, from what it looks like. Pure: it decides, others act.

use std::time::Duration;

use serde_json::{Map, Value};

use super::channel::{Burst, Channel};
use crate::domain::clock::Timestamp;
use crate::domain::id::{BotId, DeliveryKey, MessageId};
use crate::domain::message::Role;
use crate::signature::hmac_hex;
use crate::store::{LaneView, Lease, Turn, TurnState, Waiting};

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
    pub received_at: Timestamp,
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
    /// These waited so long that nobody is to be told any more.
    Expire(Batch),
    Begin(Batch),
    /// The turn is open: nothing came of it so far.
    Again(Turn),
    /// The open turn is older than `give_up_after`.
    GiveUpTurn(Turn),
    /// So old that nobody is to be told any more.
    ExpireTurn(Turn),
    /// What became of the turn's call is not known.
    Look(Turn),
}

/// What a question's age means for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    Young,
    /// Older than `give_up_after`: it fails, and the user is told.
    Old,
    /// Nobody worked on its channel meanwhile, or `keep` has passed, too: the user would not know what is meant.
    Expired,
}

/// `dormant`: as [`Waiting::dormant`].
pub fn age(received_at: Timestamp, dormant: bool, channel: &Channel, now: Timestamp) -> Age {
    let age = now.since(received_at);
    let give_up_after = channel.replies.give_up_after.0;
    if age <= give_up_after {
        Age::Young
    } else if dormant || age > give_up_after.saturating_add(channel.keep) {
        Age::Expired
    } else {
        Age::Old
    }
}

pub fn plan(view: LaneView, channel: &Channel) -> Plan {
    if let Some(turn) = view.turn {
        let age = age(turn.received_at, turn.dormant, channel, view.now);
        return match (turn.state, age) {
            (TurnState::Open, Age::Young) => Plan::Again(turn),
            (TurnState::Open, Age::Old) => Plan::GiveUpTurn(turn),
            (TurnState::Open, Age::Expired) => Plan::ExpireTurn(turn),
            (TurnState::Asking { .. } | TurnState::Unknown { .. }, _) => Plan::Look(turn),
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
    let age = |message: &Waiting| age(message.received_at, message.dormant, channel, view.now);
    let Some((batch, age)) = head(waiting, conversations.burst, age) else { return Plan::Rest };
    let goes_on =
        view.generation > 0 && view.bot_id.as_ref() == Some(&batch.bot_id) && !view.last_turn_at.is_some_and(idle);
    let batch = Batch { generation: if goes_on { view.generation } else { view.generation + 1 }, ..batch };
    if age == Age::Expired {
        Plan::Expire(batch)
    } else if batch.content.trim().is_empty() {
        Plan::Drop(batch, "blank")
    } else if age == Age::Old {
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
fn head(waiting: Vec<Waiting>, burst: Burst, age: impl Fn(&Waiting) -> Age) -> Option<(Batch, Age)> {
    let mut waiting = waiting.into_iter();
    let first = waiting.next()?;
    let first_age = age(&first);
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
        return Some((batch, first_age));
    }
    for next in waiting {
        let joins = next.role == batch.role
            && next.sender == first.sender
            && next.bot_id == batch.bot_id
            && age(&next) == first_age
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
    Some((batch, first_age))
}

/// Our name for a chat's conversation of one generation: keyed, so nobody else can guess or forge it. The lane's
/// number never comes again: a chat that was forgotten doesn't find its old conversations.
pub fn reference(installation_key: &[u8; 32], lease: &Lease, generation: u32) -> String {
    let (lane, generation) = (lease.lane.0.to_string(), generation.to_string());
    let parts = ["conversation", lease.channel.as_str(), lease.chat_ref.as_str(), &lane, &generation].join("\0");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{ChannelName, ChatRef, LaneId};
    use crate::store::Work;

    #[test]
    fn a_chat_that_was_forgotten_has_another_reference_than_before() {
        let lease = |lane| Lease {
            lane: LaneId(lane),
            work: Work::Turns,
            fence: 1,
            channel: ChannelName::new("shop"),
            chat_ref: ChatRef::new("ref"),
        };
        let reference = |lane, generation| reference(&[7; 32], &lease(lane), generation);
        assert_eq!(reference(1, 1), reference(1, 1));
        assert_ne!(reference(1, 1), reference(2, 1));
        assert_ne!(reference(1, 1), reference(1, 2));
        assert_ne!(reference(1, 11), reference(11, 1));
    }
}
