//! A store of an older schema, as a process left it that died in the middle of everything: the gateway that is
//! started on it goes on as if nothing had happened. `tests/data/schemas/README.md` says how they are made.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods
)]

#[path = "../support/database.rs"]
#[allow(dead_code)] // each test binary uses its own part
mod database;
mod fixture;
mod make;
mod scene;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use fini_bridge::store::{MessageDetails, MessageState};
use serde_json::Value;

use fixture::{Backend, Migrated, VERSIONS};
use scene::*;
use support::eventually;

type Chat = (&'static str, &'static str);

const WHILE: Duration = Duration::from_secs(60);

/// Each case becomes a test on each store, for each schema there was.
macro_rules! on_both_stores {
    ($(async fn $name:ident($fixture:ident: Migrated) $body:block)*) => {
        $(async fn $name($fixture: Migrated) $body)*

        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                for version in super::VERSIONS {
                    super::$name(super::Migrated::start(super::Backend::Sqlite, version).await).await;
                }
            })*
        }

        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                for version in super::VERSIONS {
                    super::$name(super::Migrated::start(super::Backend::Postgres, version).await).await;
                }
            })*
        }
    };
}

impl Migrated {
    /// What this chat was sent by the new process, once there are so many.
    async fn sent(&self, (_, chat): Chat, number: usize) -> Vec<String> {
        eventually(&format!("{chat} is sent {number}"), WHILE, async || {
            let texts = self.world.outside.texts(chat);
            (texts.len() >= number).then_some(texts)
        })
        .await
    }

    /// How often Fini was asked this by the new process.
    fn asked(&self, text: &str) -> usize {
        self.world.fini.ledger().asks().filter(|ask| ask.content.as_deref() == Some(text)).count()
    }

    /// Everything that was in hand has come to its end: what comes twice would have come by now.
    async fn settled(&self) {
        eventually("nothing is in hand any more", WHILE, async || {
            let stories = self.world.stories(&[]).await;
            let in_hand = |story: &MessageDetails| story.state.is_waiting() && story.channel.as_str() != DORMANT.0;
            (!stories.iter().any(in_hand)).then_some(())
        })
        .await;
        assert_eq!(self.world.outside.violations(), Vec::<String>::new());
    }

    /// What `messages list` says now.
    fn listed(&self) -> Vec<Value> {
        let listed = self.world.command(&["messages", "list", "--state", "all", "--json"]);
        assert!(listed.status.success(), "{listed:?}");
        let listed = String::from_utf8(listed.stdout).unwrap();
        listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    async fn say(&self, chat: Chat, number: u32) {
        self.world.deliver(chat.0, message(chat, number)).await;
    }
}

fn answers<const N: usize>(questions: [&str; N]) -> [String; N] {
    questions.map(answer)
}

on_both_stores! {
    async fn what_waited_is_asked_once_and_answered_in_its_chat_in_order(fixture: Migrated) {
        let both = |chat: Chat, first: u32| format!("{}\n{}", question(chat, first), question(chat, first + 1));
        let [behind, merged, unsorted] = [both(OPEN_FIRST, 2), both(MERGING, 1), both(UNSORTED, 2)];
        let [throttled, not_begun] = [THROTTLED, BEHIND_THROTTLED].map(|chat| question(chat, 1));
        assert_eq!(fixture.sent(OPEN_FIRST, 2).await, answers([&question(OPEN_FIRST, 1), &behind]));
        assert_eq!(fixture.sent(UNSORTED, 2).await, answers([&question(UNSORTED, 1), &unsorted]));
        assert_eq!(fixture.sent(MERGING, 1).await, answers([&merged]));
        assert_eq!(fixture.sent(THROTTLED, 1).await, answers([&throttled]));
        assert_eq!(fixture.sent(BEHIND_THROTTLED, 1).await, answers([&not_begun]));
        // What came while the channel was off waits until somebody writes there.
        fixture.say(DORMANT, 2).await;
        let dormant = both(DORMANT, 1);
        assert_eq!(fixture.sent(DORMANT, 1).await, answers([&dormant]));
        fixture.settled().await;
        for text in [behind, merged, unsorted, throttled, not_begun, dormant] {
            assert_eq!(fixture.asked(&text), 1, "{text}");
        }
        for (chat, sent) in [(OPEN_FIRST, 2), (UNSORTED, 2), (MERGING, 1), (THROTTLED, 1), (BEHIND_THROTTLED, 1)] {
            assert_eq!(fixture.world.outside.texts(chat.1).len(), sent, "{}", chat.1);
        }
    }

    async fn a_call_whose_outcome_was_never_written_down_is_looked_up_and_not_made_again(fixture: Migrated) {
        let calls =
            [(UNKNOWN_FIRST, 1), (UNKNOWN_LATER, 2), (OPEN_FIRST, 1), (OPEN_LATER, 2), (UNSORTED, 1), (WAITED_ASKING, 1)];
        for (chat, _) in calls {
            fixture.sent(chat, 1).await;
        }
        fixture.settled().await;
        for (chat, number) in calls {
            let text = question(chat, number);
            assert_eq!(fixture.asked(&text), 0, "{text}");
            let sent = fixture.world.outside.texts(chat.1);
            assert_eq!(sent.iter().filter(|sent| **sent == answer(&text)).count(), 1, "{sent:?}");
        }
        // What happened before there was a journal is told from the rows.
        let store = fixture.world.store().await;
        for story in fixture.world.stories(&[MessageState::Done]).await {
            let timeline = store.timeline(story.id).await.unwrap();
            let steps: Vec<&str> = timeline.iter().map(|entry| entry.step.as_str()).collect();
            assert!(steps.starts_with(&["received", "stored"]), "{steps:?}");
            let is_asked = story.turn.is_some_and(|turn| turn.asked > 0);
            for step in ["asked", "answered"] {
                assert_eq!(steps.contains(&step), is_asked, "{steps:?}");
            }
            let sent = story.parts.iter().filter(|part| part.state == "sent").count();
            assert_eq!(steps.iter().filter(|step| **step == "part_sent").count(), sent, "{steps:?}");
        }
    }

    async fn a_call_that_came_to_nothing_is_made_again_once(fixture: Migrated) {
        for chat in [UNKNOWN_NOTHING, OPEN_NOTHING] {
            fixture.sent(chat, 1).await;
        }
        fixture.settled().await;
        for chat in [UNKNOWN_NOTHING, OPEN_NOTHING] {
            assert_eq!(fixture.asked(&question(chat, 1)), 1, "{}", chat.1);
            assert_eq!(fixture.world.outside.texts(chat.1), answers([&question(chat, 1)]));
        }
    }

    async fn of_an_answer_that_was_on_its_way_what_is_missing_is_sent_once(fixture: Migrated) {
        let half = fixture.sent(HALF_DELIVERED, 1).await;
        assert!(half[0].starts_with(SECOND_PART), "{half:?}");
        for chat in [NOT_DELIVERED, WAITED_ANSWERED, SENDING[0], SENDING[1]] {
            assert_eq!(fixture.sent(chat, 1).await, answers([&question(chat, 1)]));
        }
        fixture.settled().await;
        for chat in [HALF_DELIVERED, NOT_DELIVERED, WAITED_ANSWERED, SENDING[0], SENDING[1]] {
            assert_eq!(fixture.world.outside.texts(chat.1).len(), 1, "{}", chat.1);
            assert_eq!(fixture.asked(&question(chat, 1)), 0, "{}", chat.1);
        }
    }

    async fn what_had_ended_is_told_as_before_and_not_touched(fixture: Migrated) {
        fixture.settled().await;
        let now = fixture.listed();
        let mut told = 0;
        for before in &fixture.messages {
            if !["done", "failed", "held", "dropped"].contains(&before["state"].as_str().unwrap()) {
                continue;
            }
            let after = now.iter().find(|message| message["id"] == before["id"]).unwrap();
            for field in ["channel", "chat", "chat_ref", "state", "reason", "detail", "text", "received_at"] {
                assert_eq!(after[field], before[field], "{field}: {before}");
            }
            for part in before["parts"].as_array().unwrap() {
                let parts = after["parts"].as_array().unwrap();
                assert!(parts.iter().any(|now| now["id"] == part["id"] && now["state"] == part["state"]), "{before}");
            }
            if !before["turn"]["interaction_id"].is_null() {
                assert_eq!(after["turn"]["interaction_id"], before["turn"]["interaction_id"]);
            }
            told += 1;
        }
        assert!(told >= 20, "{told}");
        assert_eq!(now.len(), fixture.messages.len());
        for chat in ANSWERED.into_iter().chain([REJECTED, REFUSED, HELD_QUESTION, HELD_ANSWER, DISCARDED]) {
            assert_eq!(fixture.world.outside.texts(chat.1), Vec::<String>::new(), "{}", chat.1);
            assert_eq!(fixture.asked(&question(chat, 1)), 0, "{}", chat.1);
        }
    }

    async fn what_failed_or_is_held_can_be_retried_and_what_was_given_up_can_not(fixture: Migrated) {
        let id = |chat: Chat| fixture.before(&question(chat, 1))["id"].as_str().unwrap().to_owned();
        for chat in [REJECTED, REFUSED, HELD_QUESTION, HELD_ANSWER] {
            let retried = fixture.world.command(&["messages", "retry", &id(chat)]);
            assert!(retried.status.success(), "{}: {retried:?}", chat.1);
        }
        assert!(!fixture.world.command(&["messages", "retry", &id(DISCARDED)]).status.success());
        for chat in [REJECTED, REFUSED, HELD_QUESTION] {
            assert_eq!(fixture.sent(chat, 1).await, answers([&question(chat, 1)]));
        }
        let both = fixture.sent(HELD_ANSWER, 2).await;
        assert!(both[0].starts_with(FIRST_PART) && both[1].starts_with(SECOND_PART), "{both:?}");
        fixture.settled().await;
        for (chat, asked) in [(REJECTED, 1), (REFUSED, 0), (HELD_QUESTION, 1), (HELD_ANSWER, 0), (DISCARDED, 0)] {
            assert_eq!(fixture.asked(&question(chat, 1)), asked, "{}", chat.1);
        }
    }

    async fn a_delivery_from_before_is_still_a_duplicate(fixture: Migrated) {
        let once = ANSWERED.into_iter().filter(|(channel, _)| *channel != "slack");
        let known = [PRUNED, REJECTED, HELD_QUESTION, UNKNOWN_FIRST, OPEN_NOTHING, NOT_DELIVERED, BEHIND_THROTTLED];
        for chat in once.chain(known) {
            fixture.say(chat, 1).await;
        }
        fixture.settled().await;
        assert_eq!(fixture.listed().len(), fixture.messages.len());
        for chat in [UNKNOWN_FIRST, OPEN_NOTHING, NOT_DELIVERED, BEHIND_THROTTLED] {
            assert_eq!(fixture.world.outside.texts(chat.1).len(), 1, "{}", chat.1);
        }
        assert_eq!(fixture.world.outside.texts(ANSWERED[0].1), Vec::<String>::new());
    }

    async fn a_chat_goes_on_in_the_conversation_and_under_the_reference_that_it_had(fixture: Migrated) {
        let chats = ANSWERED.into_iter().chain([UNDISCOVERED, HELD_QUESTION, HELD_ANSWER]);
        for chat in chats.clone() {
            fixture.say(chat, 2).await;
        }
        for chat in chats.clone() {
            fixture.sent(chat, 1).await;
        }
        let (ledger, listed) = (fixture.world.fini.ledger(), fixture.listed());
        for chat in chats {
            let (first, second) = (question(chat, 1), question(chat, 2));
            let ask = ledger.asks().find(|ask| ask.content.as_ref() == Some(&second)).unwrap();
            assert_eq!(ask.interaction_id.as_deref(), Some(fixture.conversation_with(&first)), "{}", chat.1);
            let after = listed.iter().find(|message| message["text"] == second.as_str()).unwrap();
            assert_eq!(after["chat_ref"], fixture.before(&first)["chat_ref"], "{}", chat.1);
        }
    }

    async fn what_was_decided_about_a_chat_still_counts(fixture: Migrated) {
        fixture.say(RESET, 3).await;
        fixture.say(SHARED, 3).await;
        fixture.say(LIMITED, 3).await;
        for chat in [RESET, SHARED] {
            assert_eq!(fixture.sent(chat, 1).await, answers([&question(chat, 3)]));
        }
        fixture.settled().await;
        let ledger = fixture.world.fini.ledger();
        let ask = |chat: Chat| ledger.asks().find(|ask| ask.content == Some(question(chat, 3)));
        let begun_anew = ask(RESET).unwrap();
        assert_eq!(begun_anew.interaction_id, None, "a new conversation begins");
        assert_ne!(begun_anew.conversation.as_deref(), Some(fixture.conversation_with(&question(RESET, 1))));
        let shared = &ask(SHARED).unwrap().metadata["user_attributes"];
        assert!(shared.get("email").is_none(), "nobody's attributes go along: {shared}");
        assert!(ask(LIMITED).is_none(), "its turns of the day are spent");
        let limited = fixture.listed().into_iter().find(|message| message["text"] == question(LIMITED, 3)).unwrap();
        assert_eq!(limited["reason"], "max_turns");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_an_older_gateway_serves_is_left_alone_until_that_has_ended() {
    for version in VERSIONS {
        let mut world = support::World::prepare(&settings(Off::SwitchedOn)).await;
        std::fs::copy(format!("{}/{version}.db", fixture::FOLDER), world.file()).unwrap();
        let before = std::fs::read(world.file()).unwrap();
        // All versions lock this file for as long as they live.
        let lock = std::fs::File::create(format!("{}.lock", world.file().display())).unwrap();
        lock.try_lock().unwrap();
        let refused = world.command(&["serve"]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains("another gateway is running on "), "{said}");
        assert_eq!(std::fs::read(world.file()).unwrap(), before);
        drop(lock);
        world.serve().await;
        assert!(!world.stories(&[]).await.is_empty());
    }
}
