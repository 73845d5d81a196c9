//! The chats of a fixture: what was said in each, and how far it had come when the process died.

use fini_bridge::app::sandbox::fini::{EventSpec, Question};
use serde_json::{Value, json};

use crate::support::senders::{self, CHANNELS, Signed};

/// Answered, delivered, and its conversation known, on each platform.
pub const ANSWERED: [(&str, &str); 5] = [
    ("bridge", "greeted"),
    ("slack", "D00ANSWERED1"),
    ("telegram", "5000001"),
    ("whatsapp", "16505550001"),
    ("shop", "served"),
];
/// Answered, and the conversation's id not found yet.
pub const UNDISCOVERED: (&str, &str) = ("bridge", "undiscovered");
/// Ended by a reset word.
pub const RESET: (&str, &str) = ("bridge", "begun-anew");
pub const RESET_WORD: &str = "reset";
/// Two people write there.
pub const SHARED: (&str, &str) = ("team", "shared-room");
/// All its turns of the day are spent.
pub const LIMITED: (&str, &str) = ("limited", "talkative");
/// Its text is pruned.
pub const PRUNED: (&str, &str) = ("bridge", "long-ago");

/// Fini refused the question.
pub const REJECTED: (&str, &str) = ("bridge", "rejected-question");
/// The platform refused the answer.
pub const REFUSED: (&str, &str) = ("shop", "refused-answer");
/// Fini has the question and gave no answer.
pub const HELD_QUESTION: (&str, &str) = ("bridge", "held-question");
/// Nobody knows whether the first part arrived; the second waits with it.
pub const HELD_ANSWER: (&str, &str) = ("careful", "held-answer");
pub const DISCARDED: (&str, &str) = ("bridge", "given-up");

/// Fini failed after it had answered: as the first question of its chat, and as the second.
pub const UNKNOWN_FIRST: (&str, &str) = ("bridge", "unknown-first");
pub const UNKNOWN_LATER: (&str, &str) = ("bridge", "unknown-later");
/// Fini failed and kept nothing.
pub const UNKNOWN_NOTHING: (&str, &str) = ("bridge", "unknown-nothing");
/// The process died in the call, which Fini had answered; two more messages wait behind it.
pub const OPEN_FIRST: (&str, &str) = ("bridge", "open-first");
pub const OPEN_LATER: (&str, &str) = ("bridge", "open-later");
/// The process died in a call that Fini never saw.
pub const OPEN_NOTHING: (&str, &str) = ("bridge", "open-nothing");
/// Likewise on a platform that keeps no order; two more wait, the younger came first.
pub const UNSORTED: (&str, &str) = ("whatsapp", "16505550002");

/// Within their merge window.
pub const MERGING: (&str, &str) = ("merging", "still-merging");
/// Its channel was not enabled.
pub const DORMANT: (&str, &str) = ("off", "switched-off");
/// Throttled, and what came for that key afterwards.
pub const THROTTLED: (&str, &str) = ("throttled", "throttled-chat");
pub const BEHIND_THROTTLED: (&str, &str) = ("throttled", "not-begun");

/// One part is delivered, one was refused for the time being.
pub const HALF_DELIVERED: (&str, &str) = ("careful", "half-delivered");
pub const NOT_DELIVERED: (&str, &str) = ("shop", "not-delivered");
/// The process died while the answer was being sent.
pub const SENDING: [(&str, &str); 2] = [("bridge", "being-sent"), ("shop", "in-the-air")];
/// Somebody waits for the answer in the response: still asked, and just answered.
pub const WAITED_ASKING: (&str, &str) = ("bridge", "waited-asking");
pub const WAITED_ANSWERED: (&str, &str) = ("bridge", "waited-answered");

pub fn question((_, chat): (&str, &str), number: u32) -> String {
    format!("{chat}: question {number}")
}

/// What Fini answers to it.
pub fn answer(question: &str) -> String {
    format!("Re: {question}")
}

/// The two parts of a long answer begin with these.
pub const FIRST_PART: &str = "first";
pub const SECOND_PART: &str = "second";

pub fn reply(question: &Question) -> Vec<EventSpec> {
    let is_long = [HALF_DELIVERED, HELD_ANSWER].iter().any(|(_, chat)| question.content.starts_with(chat));
    let long = || format!("{}\n\n{}", format!("{FIRST_PART} ").repeat(10), format!("{SECOND_PART} ").repeat(10));
    vec![EventSpec::message(&if is_long { long() } else { answer(&question.content) })]
}

/// A message of this chat, as its platform sends it; the same number is the same message.
pub fn message(of: (&str, &str), number: u32) -> Signed {
    said(of, number, &question(of, number))
}

pub fn said((channel, chat): (&str, &str), number: u32, text: &str) -> Signed {
    let id = format!("{chat}-{number}");
    match channel {
        "slack" => senders::slack_message(chat, number, text),
        "telegram" => senders::telegram_message(chat.parse().unwrap(), number, text),
        "whatsapp" => senders::whatsapp_message(chat, number, text),
        "shop" | "careful" => senders::shop_message(&json!(chat), &id, text),
        // Each message is another person's.
        "team" => {
            let email = format!("person-{number}@example.com");
            let sender = json!({"type": "customer", "id": format!("person-{number}"), "email": email});
            let body = json!({"id": id, "text": text, "room": chat, "sender": sender});
            senders::shop(body.to_string().into_bytes())
        }
        _ => senders::bridge_message(chat, &id, text),
    }
}

/// A message that the platform's clock puts at that second.
pub fn written_at((_, chat): (&str, &str), number: u32, second: i64, text: &str) -> Signed {
    let mut body: Value = serde_json::from_slice(&senders::whatsapp_message(chat, number, text).body).unwrap();
    body["entry"][0]["changes"][0]["value"]["messages"][0]["timestamp"] = json!(second.to_string());
    senders::whatsapp(body.to_string().into_bytes())
}

/// Whether the channel that is off in the fixture works.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Off {
    Still,
    SwitchedOn,
}

pub fn settings(off: Off) -> String {
    let own = |name: &str, more: &str| {
        format!(
            "[channels.{name}]\nplatform = \"custom\"\nbot_id = \"4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3\"\n\
             secret = \"{}\"\ncallback_url = \"{{outside}}/callback\"\n{more}\n",
            senders::BRIDGE_SECRET
        )
    };
    let shop = CHANNELS.split_once("[channels.shop]").unwrap().1;
    let careful = format!("[channels.careful]{}", shop.replace("channels.shop", "channels.careful"))
        .replace("max_length = 4000", "max_length = 100");
    let team = format!("[channels.team]{}", shop.replace("channels.shop", "channels.team"))
        .replace("each = \"body.messages\"\n", "sender = \"item.sender.id\"\n")
        .replace("item.conversation.id", "item.room");
    [
        "[fini]\ntimeout = \"60s\"\nsettle = \"4s\"\n",
        &format!("[conversations]\nreset_words = [\"{RESET_WORD}\"]\n"),
        CHANNELS,
        &careful,
        "[channels.careful.replies]\non_unknown = \"hold\"\n",
        &team,
        &own("off", if off == Off::Still { "enabled = false" } else { "" }),
        &own("throttled", "fini_api_key = \"fini_test_key_2\""),
        &own("merging", "[channels.merging.conversations]\nmerge_window = \"16s\""),
        &own("limited", "[channels.limited.conversations]\nmax_turns = \"2/1d\""),
    ]
    .concat()
}
