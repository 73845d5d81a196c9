//! What happened to a message, told as steps: from what the page saw of its webhook and what the store knows.
//! Never holds text of an event: what was kept back stays kept back here too.

use serde::Serialize;

use crate::domain::clock::Timestamp;
use crate::domain::message::ReplyKind;
use crate::store::{JournalEntry, JournalStep, MessageDetails, MessageState, TurnDetails};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StepState {
    Done,
    /// Under way.
    Active,
    /// Its time has not come.
    Waiting,
    /// Won't come, and needn't.
    Skipped,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// `sent`, `stored`, `asked`, `answered`, `delivered`.
    pub name: &'static str,
    pub state: StepState,
    pub title: String,
    pub detail: String,
    pub at: Option<Timestamp>,
    pub events: Vec<SeenEvent>,
}

/// An event of Fini's answer, by its code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SeenEvent {
    pub code: String,
    pub fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// The message itself, which Fini gives back with its answer.
    Question,
    Shown,
    KeptBack,
    /// Some of the messages had no text; which ones, the codes don't tell.
    IfItHasText,
}

/// How the gateway answered the webhook.
#[derive(Clone, Debug)]
pub enum Receipt {
    Waiting,
    Status(u16),
    NotReached(&'static str),
}

/// The webhook as the page saw it.
#[derive(Clone, Debug)]
pub struct Sent {
    pub at: Timestamp,
    pub receipt: Receipt,
}

impl Sent {
    pub fn is_refused(&self) -> bool {
        match self.receipt {
            Receipt::Waiting => false,
            Receipt::Status(status) => status != 200,
            Receipt::NotReached(_) => true,
        }
    }
}

/// `timeline`: the message's.
pub fn steps(sent: &Sent, story: Option<&MessageDetails>, timeline: &[JournalEntry]) -> Vec<Step> {
    let detail = "POST /webhooks/sandbox, signed as Standard Webhooks with a secret made for this run";
    let mut steps = vec![step("sent", StepState::Done, "Sent as a signed webhook", detail).at(sent.at)];
    steps.push(stored(sent, story));
    if sent.is_refused() {
        return steps;
    }
    let turn = story.and_then(|story| story.turn.as_ref());
    steps.push(asked(story, turn, timeline));
    steps.push(answered(story, turn).with(found(timeline)));
    steps.push(delivered(story, turn).with(retried(timeline)));
    steps
}

/// Nothing more is going to happen to it, as far as a person who watches would wait for.
pub fn is_settled(story: &MessageDetails) -> bool {
    has_ended(story) && story.turn.as_ref().is_none_or(|turn| turn.interaction_id.is_some() || turn.asked_at.is_none())
}

fn has_ended(story: &MessageDetails) -> bool {
    matches!(story.state, MessageState::Done | MessageState::Dropped | MessageState::Failed | MessageState::Held)
}

fn step(name: &'static str, state: StepState, title: impl Into<String>, detail: impl Into<String>) -> Step {
    Step { name, state, title: title.into(), detail: detail.into(), at: None, events: Vec::new() }
}

impl Step {
    fn at(mut self, at: impl Into<Option<Timestamp>>) -> Self {
        self.at = at.into();
        self
    }

    /// With a further detail.
    fn with(mut self, detail: Option<String>) -> Self {
        if let Some(detail) = detail {
            let separator = if self.detail.is_empty() { "" } else { "; " };
            self.detail.push_str(&format!("{separator}{detail}"));
        }
        self
    }
}

/// Why something was tried again, each reason once.
fn reasons(timeline: &[JournalEntry], step: JournalStep) -> Option<String> {
    let mut reasons: Vec<&str> = Vec::new();
    for entry in timeline.iter().filter(|entry| entry.step == step) {
        if let Some(reason) = entry.detail.get("reason").and_then(|reason| reason.as_str())
            && !reasons.contains(&reason)
        {
            reasons.push(reason);
        }
    }
    (!reasons.is_empty()).then(|| reasons.join(", "))
}

fn retried(timeline: &[JournalEntry]) -> Option<String> {
    reasons(timeline, JournalStep::PartRetried).map(|reasons| format!("tried again: {reasons}"))
}

/// What became of a call was not known, until its answer was found.
fn found(timeline: &[JournalEntry]) -> Option<String> {
    let is_adopted = timeline.iter().any(|entry| entry.step == JournalStep::Adopted);
    is_adopted.then(|| "looked up in Fini, as the call's outcome was not known".to_owned())
}

fn stored(sent: &Sent, story: Option<&MessageDetails>) -> Step {
    match (story, &sent.receipt) {
        (Some(story), Receipt::Status(200)) => {
            let detail = format!("Signature and time checked, on disk before the 200; message {}", story.id);
            step("stored", StepState::Done, "Verified, stored, acknowledged", detail).at(story.received_at)
        }
        (_, Receipt::Status(200)) => step("stored", StepState::Done, "Acknowledged", "The gateway answered 200"),
        (_, Receipt::Waiting) => step("stored", StepState::Active, "Being verified and stored", ""),
        (_, Receipt::Status(status)) => {
            step("stored", StepState::Failed, format!("Refused with {status}"), "The gateway did not take the webhook")
        }
        (_, Receipt::NotReached(why)) => step("stored", StepState::Failed, "The gateway was not reached", *why),
    }
}

fn asked(story: Option<&MessageDetails>, turn: Option<&TurnDetails>, timeline: &[JournalEntry]) -> Step {
    let Some(asked_at) = turn.and_then(|turn| turn.asked_at) else {
        return match story.map(|story| (story.state, reason(story))) {
            Some((MessageState::Dropped, reason)) => step("asked", StepState::Skipped, "Fini was not asked", reason),
            Some((MessageState::Failed | MessageState::Held, reason)) => {
                step("asked", StepState::Failed, "Fini was not asked", reason)
            }
            _ => step("asked", StepState::Waiting, "Ask Fini", "One question at a time in a chat"),
        };
    };
    let times = turn.map_or(1, |turn| turn.asked);
    let mut detail = "Generate Answer, role user".to_owned();
    if let Some(turn) = turn.filter(|turn| turn.generation > 1) {
        detail.push_str(&format!(", conversation {} of this chat", turn.generation));
    }
    if times > 1 {
        let why = reasons(timeline, JournalStep::Asked).map(|reasons| format!(" ({reasons})")).unwrap_or_default();
        detail.push_str(&format!(", {times} calls{why}"));
    }
    let first = timeline.iter().find(|entry| entry.step == JournalStep::Asked).map(|entry| entry.at);
    step("asked", StepState::Done, "Asked Fini", detail).at(first.unwrap_or(asked_at))
}

fn answered(story: Option<&MessageDetails>, turn: Option<&TurnDetails>) -> Step {
    if turn.and_then(|turn| turn.asked_at).is_none() && story.is_some_and(has_ended) {
        return step("answered", StepState::Skipped, "No answer from Fini", "");
    }
    let (Some(story), Some(turn)) = (story, turn) else {
        return step("answered", StepState::Waiting, "Fini answers", "");
    };
    let Some(ended_at) = turn.ended_at else {
        let state = if turn.asked_at.is_some() { StepState::Active } else { StepState::Waiting };
        return step("answered", state, "Fini answers", "");
    };
    if turn.event_kinds.is_empty() && matches!(story.state, MessageState::Failed | MessageState::Held) {
        return step("answered", StepState::Failed, "No answer from Fini", reason(story)).at(ended_at);
    }
    let replies = story.parts.iter().filter(|part| part.kind == ReplyKind::Message).count();
    let events = seen(&turn.event_kinds, replies);
    let answers = events.iter().filter(|event| event.fate != Fate::Question).count();
    let kept = answers.saturating_sub(replies);
    let title = format!("Fini answered with {}", count(answers, "event"));
    let detail = match (kept, replies) {
        (0, _) => "For the customer, in this order".to_owned(),
        (kept, 0) => format!("{} kept back: nothing for the customer to see", count(kept, "event")),
        (kept, _) => format!("{} kept back: not for the customer", count(kept, "event")),
    };
    Step { events, ..step("answered", StepState::Done, title, detail).at(ended_at) }
}

/// Which events reached the chat: `replies` of those that are messages.
fn seen(codes: &[String], replies: usize) -> Vec<SeenEvent> {
    let is_message = |code: &str| matches!(code, "finibot/message" | "agent/message");
    let messages = codes.iter().filter(|code| is_message(code)).count();
    let event = |code: &String| {
        let fate = match is_message(code) {
            true if replies >= messages => Fate::Shown,
            true if replies > 0 => Fate::IfItHasText,
            _ if code == "user/message" => Fate::Question,
            _ => Fate::KeptBack,
        };
        SeenEvent { code: code.clone(), fate }
    };
    codes.iter().map(event).collect()
}

fn delivered(story: Option<&MessageDetails>, turn: Option<&TurnDetails>) -> Step {
    let ended = turn.is_some_and(|turn| turn.ended_at.is_some());
    let Some(story) = story.filter(|story| ended || has_ended(story)) else {
        return step("delivered", StepState::Waiting, "Delivered to the chat", "");
    };
    let parts = &story.parts;
    let last = parts.iter().filter_map(|part| part.sent_at).max();
    let messages = parts.iter().filter(|part| part.kind == ReplyKind::Message).count();
    if let Some(part) = parts.iter().find(|part| matches!(part.state.as_str(), "failed" | "held")) {
        let why = part.reason.clone().unwrap_or_default();
        return step("delivered", StepState::Failed, "Not delivered", why).at(last);
    }
    let sent = parts.iter().filter(|part| part.state == "sent").count();
    if sent < parts.len() {
        let title = format!("Being delivered: {sent} of {}", parts.len());
        return step("delivered", StepState::Active, title, "Signed callbacks to this page");
    }
    if messages > 0 {
        let title = format!("Delivered {}", count(messages, "message"));
        return step("delivered", StepState::Done, title, "Signed callbacks, verified by this page").at(last);
    }
    let is_told = |kind| parts.iter().any(|part| part.kind == kind);
    let (title, detail) = if is_told(ReplyKind::Handoff) {
        ("Nothing shown: handed over", "Fini escalates to a human agent; the page was told so by a callback")
    } else if is_told(ReplyKind::Failed) {
        ("Nothing shown: failed", "The page was told by a callback that there will be no answer")
    } else if is_told(ReplyKind::NoReply) {
        ("Nothing shown: no reply", "There was nothing for the customer; the page was told so by a callback")
    } else {
        return step("delivered", StepState::Skipped, "Nothing to deliver", "");
    };
    step("delivered", StepState::Done, title, detail).at(last)
}

fn reason(story: &MessageDetails) -> String {
    story.reason.clone().unwrap_or_default()
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{BotId, ChannelName, MessageId, PartId, TurnId};
    use crate::domain::message::Role;
    use crate::store::PartDetails;

    const SENT: Sent = Sent { at: Timestamp::from_millis(0), receipt: Receipt::Status(200) };

    fn story(kinds: &[&str], parts: &[(ReplyKind, &str)]) -> MessageDetails {
        MessageDetails {
            id: MessageId::generate(),
            channel: ChannelName::new("sandbox"),
            chat: None,
            chat_ref: None,
            role: Role::User,
            text: None,
            state: MessageState::Answered,
            reason: None,
            detail: None,
            received_at: Timestamp::from_millis(1),
            turn: Some(TurnDetails {
                id: TurnId::generate(),
                generation: 1,
                bot_id: BotId::new("b"),
                interaction_id: None,
                asked: 1,
                asked_at: Some(Timestamp::from_millis(2)),
                ended_at: Some(Timestamp::from_millis(3)),
                event_kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
            }),
            parts: parts
                .iter()
                .map(|(kind, state)| PartDetails {
                    id: PartId::generate(),
                    kind: *kind,
                    state: (*state).to_owned(),
                    reason: None,
                    detail: None,
                    attempts: 1,
                    tried_at: Some(Timestamp::from_millis(3)),
                    sent_at: Some(Timestamp::from_millis(4)),
                    part: None,
                })
                .collect(),
        }
    }

    fn last_two(story: &MessageDetails) -> (Step, Step) {
        let mut steps = steps(&SENT, Some(story), &[]);
        let delivered = steps.pop().unwrap();
        (steps.pop().unwrap(), delivered)
    }

    #[test]
    fn a_note_is_told_as_kept_back() {
        let story =
            story(&["user/message", "finibot/internalnote", "finibot/message"], &[(ReplyKind::Message, "sent")]);
        let (answered, delivered) = last_two(&story);
        assert_eq!(answered.detail, "1 event kept back: not for the customer");
        assert_eq!(
            answered.events.iter().map(|event| event.fate).collect::<Vec<_>>(),
            [Fate::Question, Fate::KeptBack, Fate::Shown]
        );
        assert_eq!((delivered.state, delivered.title.as_str()), (StepState::Done, "Delivered 1 message"));
    }

    #[test]
    fn silence_is_told_as_nothing_shown() {
        let (answered, delivered) = last_two(&story(&["finibot/no_reply"], &[(ReplyKind::NoReply, "sent")]));
        assert!(answered.detail.starts_with("1 event kept back"), "{}", answered.detail);
        assert_eq!(delivered.title, "Nothing shown: no reply");
        let (_, delivered) = last_two(&story(&["finibot/silent_escalation"], &[(ReplyKind::Handoff, "sent")]));
        assert_eq!(delivered.title, "Nothing shown: handed over");
    }

    #[test]
    fn of_messages_without_text_nobody_says_that_they_were_shown() {
        let story = story(&["finibot/message", "finibot/message"], &[(ReplyKind::Message, "sent")]);
        let (answered, _) = last_two(&story);
        assert!(answered.events.iter().all(|event| event.fate == Fate::IfItHasText));
        assert_eq!(answered.detail, "1 event kept back: not for the customer");
    }

    #[test]
    fn a_delivery_under_way_is_not_told_as_done() {
        let parts = [(ReplyKind::Message, "sent"), (ReplyKind::Message, "pending")];
        let (_, delivered) = last_two(&story(&["finibot/message", "finibot/message"], &parts));
        assert_eq!((delivered.state, delivered.title.as_str()), (StepState::Active, "Being delivered: 1 of 2"));
        let (_, delivered) = last_two(&story(&["finibot/message"], &[(ReplyKind::Message, "failed")]));
        assert_eq!(delivered.state, StepState::Failed);
    }

    #[test]
    fn what_was_tried_again_is_told_with_its_reasons() {
        let entry = |step, detail: serde_json::Value| JournalEntry {
            at: Timestamp::from_millis(2),
            step,
            replica: "one".to_owned(),
            detail: detail.as_object().unwrap().clone(),
        };
        let timeline = [
            entry(JournalStep::Asked, serde_json::json!({ "call": 1 })),
            entry(JournalStep::Asked, serde_json::json!({ "call": 2, "reason": "fini_500" })),
            entry(JournalStep::LookedUp, serde_json::json!({ "found": "answer" })),
            entry(JournalStep::Adopted, serde_json::json!({})),
            entry(JournalStep::PartRetried, serde_json::json!({ "reason": "http_503" })),
            entry(JournalStep::PartRetried, serde_json::json!({ "reason": "http_503" })),
        ];
        let mut story = story(&["finibot/message"], &[(ReplyKind::Message, "sent")]);
        story.turn.as_mut().unwrap().asked = 2;
        let details: Vec<String> =
            steps(&SENT, Some(&story), &timeline).into_iter().skip(2).map(|step| step.detail).collect();
        assert!(details[0].ends_with("2 calls (fini_500)"), "{details:?}");
        assert!(details[1].contains("looked up in Fini"), "{details:?}");
        assert!(details[2].ends_with("; tried again: http_503"), "{details:?}");
    }

    #[test]
    fn a_message_that_was_dropped_waits_for_nothing() {
        let mut story = story(&[], &[(ReplyKind::NoReply, "sent")]);
        story.state = MessageState::Dropped;
        story.reason = Some("max_turns".to_owned());
        story.turn.as_mut().unwrap().asked_at = None;
        let told = steps(&SENT, Some(&story), &[]);
        let states: Vec<_> = told.iter().map(|step| step.state).collect();
        use StepState::{Done, Skipped};
        assert_eq!(states, [Done, Done, Skipped, Skipped, Done]);
        assert!(told.iter().any(|step| step.detail == "max_turns"));
        story.turn = None;
        story.parts.clear();
        assert!(steps(&SENT, Some(&story), &[]).iter().all(|step| matches!(step.state, Done | Skipped)));
    }

    #[test]
    fn a_refused_webhook_ends_the_steps() {
        let sent = Sent { at: Timestamp::from_millis(0), receipt: Receipt::Status(401) };
        let steps = steps(&sent, None, &[]);
        assert_eq!(steps.last().map(|step| (step.name, step.state)), Some(("stored", StepState::Failed)));
    }

    #[test]
    fn a_message_is_settled_when_its_conversation_is_known_too() {
        let mut story = story(&["finibot/message"], &[(ReplyKind::Message, "sent")]);
        assert!(!is_settled(&story));
        story.state = MessageState::Done;
        assert!(!is_settled(&story));
        story.turn.as_mut().unwrap().interaction_id = Some(crate::domain::id::InteractionId::new("i"));
        assert!(is_settled(&story));
    }
}
