//! What to do next in a lane, from what it looks like. Pure: it decides, others act.

use super::channel::{Accept, Burst, Channel};
use crate::domain::clock::Timestamp;
use crate::domain::id::TurnId;
use crate::domain::message::Role;
use crate::platform::Recipient;
use crate::signature::hmac_hex;
use crate::store::{LaneView, Lease, Limit, Turn, TurnOutcome, TurnState, Waiting};

/// The user attribute that holds our reference; nothing else may use the name.
pub const REFERENCE_ATTRIBUTE: &str = "fini_bridge_ref";

/// Messages that become one question: at most so many.
const MOST_MERGED: usize = 50;

/// How a turn ends without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    pub outcome: TurnOutcome,
    /// What the chat is told; empty: nothing.
    pub text: String,
    /// A reset word: the conversation to which belongs what comes after it.
    pub new_generation: Option<u32>,
}

impl Ending {
    fn dropped(reason: &str) -> Self {
        let outcome = TurnOutcome::Dropped { reason: reason.to_owned() };
        Self { outcome, text: String::new(), new_generation: None }
    }

    pub fn beyond(limit: Limit) -> Self {
        Self::dropped(match limit {
            Limit::Chat => "max_turns",
            Limit::Sender => "max_turns_per_sender",
            Limit::Channel => "max_turns_per_channel",
        })
    }

    /// The user hears the channel's `failure_text`.
    pub fn failed(channel: &Channel, role: Role, reason: &str, detail: &str) -> Self {
        Self::told(channel, role, TurnOutcome::Failed { reason: reason.to_owned(), detail: detail.to_owned() })
    }

    /// Likewise.
    pub fn held(channel: &Channel, role: Role, reason: &str, detail: &str) -> Self {
        Self::told(channel, role, TurnOutcome::Held { reason: reason.to_owned(), detail: detail.to_owned() })
    }

    /// Nobody is told.
    pub fn expired() -> Self {
        Self { outcome: TurnOutcome::Expired, text: String::new(), new_generation: None }
    }

    /// Of what is not [`Age::Young`] any more.
    pub fn too_old(age: Age, channel: &Channel, role: Role) -> Self {
        if age == Age::Expired {
            return Self::expired();
        }
        Self::failed(channel, role, "gave_up", "It waited longer than replies.give_up_after.")
    }

    fn too_long(channel: &Channel, role: Role) -> Self {
        let detail = format!(
            "It is longer than conversations.max_text ({}). Only its beginning is kept.",
            channel.conversations.max_text
        );
        Self::failed(channel, role, "too_long", &detail)
    }

    fn reset(channel: &Channel, new_generation: u32) -> Self {
        let text = channel.conversations.reset_text.clone();
        Self { text, new_generation: Some(new_generation), ..Self::dropped("reset") }
    }

    fn blank(channel: &Channel, turn: &Turn) -> Self {
        let text = match channel.platform.greeting(&turn.address) {
            Some(greeting) => greeting.to_owned(),
            None if turn.role == Role::User => channel.replies.unreadable_text.clone(),
            None => String::new(),
        };
        Self { text, ..Self::dropped("blank") }
    }

    fn told(channel: &Channel, role: Role, outcome: TurnOutcome) -> Self {
        let text = if role == Role::User { channel.replies.failure_text.clone() } else { String::new() };
        Self { outcome, text, new_generation: None }
    }

    fn without_words(self) -> Self {
        Self { text: String::new(), ..self }
    }
}

#[derive(Debug)]
pub enum Plan {
    /// Nothing is due.
    Idle,
    /// For whom the first message is can't be told yet.
    AwaitRecipient,
    /// It ends without a call.
    End(Turn, Ending),
    /// It is new, or certain that nothing came of its calls so far.
    Ask(Turn),
    /// What became of its call is not known.
    Reconcile(Turn),
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
        let role = turn.role;
        return match (turn.state, age) {
            (TurnState::New | TurnState::Open, Age::Young) => Plan::Ask(turn),
            (TurnState::New | TurnState::Open, _) => Plan::End(turn, Ending::too_old(age, channel, role)),
            (TurnState::Asking { .. } | TurnState::Unknown { .. }, _) => Plan::Reconcile(turn),
        };
    }
    let mut waiting = view.waiting;
    if waiting.iter().all(|message| message.sort_at.is_some()) {
        // Stable: what was written in the same second stays in the order of acknowledgement.
        waiting.sort_by_key(|message| message.sort_at);
    }
    let Some(first_received) = waiting.iter().map(|message| message.received_at).min() else { return Plan::Idle };
    let conversations = &channel.conversations;
    if view.now.since(first_received) < conversations.merge_window.0 {
        return Plan::Idle;
    }
    let age = |message: &Waiting| age(message.received_at, message.dormant, channel, view.now);
    let kind = |message: &Waiting| Kind::of(message, channel, age(message));
    let Some((first, age)) = waiting.first().map(|message| (kind(message), age(message))) else { return Plan::Idle };
    let Some(mut turn) = head(waiting, channel, first, kind) else { return Plan::Idle };
    let idle = |last| conversations.idle_timeout.0.is_some_and(|limit| view.now.since(last) > limit);
    let goes_on =
        view.generation > 0 && view.bot_id.as_ref() == Some(&turn.bot_id) && !view.last_turn_at.is_some_and(idle);
    turn.generation = if goes_on { view.generation } else { view.generation + 1 };
    let role = turn.role;
    match first {
        Kind::Foreign(reason) => Plan::End(turn, Ending::dropped(reason)),
        Kind::Unclear if age == Age::Young => Plan::AwaitRecipient,
        // Nobody is told anything who may be a stranger.
        Kind::Unclear => Plan::End(turn, Ending::too_old(age, channel, role).without_words()),
        Kind::Blank => {
            let ending = Ending::blank(channel, &turn);
            Plan::End(turn, if age == Age::Young { ending } else { ending.without_words() })
        }
        Kind::ResetWord => {
            let ending = Ending::reset(channel, view.generation + 1);
            Plan::End(turn, if age == Age::Expired { ending.without_words() } else { ending })
        }
        Kind::TooLong if age == Age::Expired => Plan::End(turn, Ending::expired()),
        Kind::TooLong => Plan::End(turn, Ending::too_long(channel, role)),
        Kind::Question(Age::Young) => Plan::Ask(turn),
        Kind::Question(Age::Old | Age::Expired) => Plan::End(turn, Ending::too_old(age, channel, role)),
    }
}

/// What is done with a message, looked at by itself. What is not a question stands alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// For somebody else: the reason.
    Foreign(&'static str),
    /// Whether it is for us is not known yet.
    Unclear,
    Blank,
    ResetWord,
    TooLong,
    /// What is too old to be asked takes nothing with it that isn't.
    Question(Age),
}

impl Kind {
    fn of(message: &Waiting, channel: &Channel, age: Age) -> Self {
        match channel.platform.recipient(&message.address) {
            Recipient::OtherAccount => return Self::Foreign("other_account"),
            Recipient::OtherBot if !channel.accept.contains(&Accept::All) => return Self::Foreign("not_addressed"),
            Recipient::Unknown => return Self::Unclear,
            Recipient::OtherBot | Recipient::Us => {}
        }
        if message.text.trim().is_empty() {
            Self::Blank
        } else if message.too_long {
            Self::TooLong
        } else if message.role == Role::User && channel.conversations.is_reset_word(&message.text) {
            Self::ResetWord
        } else {
            Self::Question(age)
        }
    }
}

/// The first message, and those right behind it that may join it: of the same person and agent, with the same user
/// attributes. What a human agent or another bot wrote stands alone.
fn head(waiting: Vec<Waiting>, channel: &Channel, first_kind: Kind, kind: impl Fn(&Waiting) -> Kind) -> Option<Turn> {
    let mut waiting = waiting.into_iter();
    let first = waiting.next()?;
    let alone = channel.conversations.burst == Burst::Queue
        || first.role != Role::User
        || !matches!(first_kind, Kind::Question(_));
    let mut turn = Turn {
        id: TurnId::generate(),
        members: vec![first.id],
        in_reply_to: vec![first.delivery_key],
        sender: first.sender,
        role: first.role,
        content: first.text,
        user_attributes: first.user_attributes,
        bot_id: first.bot_id,
        address: first.address,
        received_at: first.received_at,
        generation: 0,
        state: TurnState::New,
        asked: 0,
        dormant: first.dormant,
    };
    if alone {
        return Some(turn);
    }
    for next in waiting {
        let joins = next.role == turn.role
            && next.sender == turn.sender
            && next.user_attributes == turn.user_attributes
            && next.bot_id == turn.bot_id
            && turn.members.len() < MOST_MERGED
            && turn.content.len() + 1 + next.text.len() <= channel.conversations.max_text.0
            && kind(&next) == first_kind;
        if !joins {
            break;
        }
        turn.members.push(next.id);
        turn.in_reply_to.push(next.delivery_key);
        turn.content.push('\n');
        turn.content.push_str(&next.text);
        // The answer goes to where the last of them was written.
        turn.address = next.address;
        turn.received_at = turn.received_at.min(next.received_at);
        turn.dormant |= next.dormant;
    }
    Some(turn)
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

#[cfg(test)]
pub(super) mod tests;
