//! What a chat is told at the end of a turn.

use std::collections::HashSet;

use serde_json::Value;

use super::channel::Channel;
use super::plan::Ending;
use crate::domain::id::PartId;
use crate::domain::message::{Reply, ReplyKind, Role};
use crate::fini::{Event, EventKind};
use crate::platform::Rendering;
use crate::store::{NewPart, Turn, TurnOutcome};

/// Each shown event once, in the array's order; and for programs, that there was none or that Fini escalated. What came
/// back for a human agent's message is its echo.
pub fn of_answer(role: Role, events: &[Event]) -> Vec<Reply> {
    let mut seen = HashSet::new();
    let mut replies: Vec<Reply> = Vec::new();
    for event in events.iter().filter(|_| role == Role::User) {
        if let Some((id, text)) = event.shown()
            && seen.insert(id)
        {
            replies.push(Reply { kind: ReplyKind::Message, text: text.to_owned(), event: event.raw.clone() });
        } else if event.kind == EventKind::SilentEscalation {
            replies.push(without_event(ReplyKind::Handoff, ""));
        }
    }
    if replies.is_empty() {
        replies.push(without_event(ReplyKind::NoReply, ""));
    }
    replies
}

/// Of a turn that ends without an answer.
pub fn of_ending(ending: &Ending) -> Vec<Reply> {
    let mut replies = Vec::new();
    if !ending.text.is_empty() {
        replies.push(without_event(ReplyKind::Message, &ending.text));
    }
    match &ending.outcome {
        // Without a word to anybody: it is long forgotten.
        TurnOutcome::Answered | TurnOutcome::Expired => {}
        TurnOutcome::Dropped { .. } if !replies.is_empty() => {}
        TurnOutcome::Dropped { .. } => replies.push(without_event(ReplyKind::NoReply, "")),
        TurnOutcome::Failed { .. } | TurnOutcome::Held { .. } => replies.push(without_event(ReplyKind::Failed, "")),
    }
    replies
}

fn without_event(kind: ReplyKind, text: &str) -> Reply {
    Reply { kind, text: text.to_owned(), event: Value::Null }
}

/// The parts of the replies, as the platform takes them.
pub fn render(channel: &Channel, turn: &Turn, replies: &[Reply]) -> Vec<NewPart> {
    let rendering = Rendering { address: &turn.address, in_reply_to: &turn.in_reply_to };
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
    parts
}
