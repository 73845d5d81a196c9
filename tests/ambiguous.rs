//! Calls to Fini whose outcome is not known, on both stores: whatever became of the call, the user's text stands
//! once in Fini, the answer once in the chat, and the chat has one conversation. Each case is tried as the first
//! turn of one chat and as a later turn of another, all chats at the same time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods
)]

#[path = "support/database.rs"]
#[allow(dead_code)] // each test binary uses its own part
mod database;
mod support;

use std::collections::HashSet;
use std::time::Duration;

use fini_bridge::app::sandbox::fini::{Change, Effect, Endpoint, FaultRule, Ledger, Then};
use fini_bridge::store::{JournalEntry, JournalStep, MessageState};
use futures::future::join_all;
use support::senders::{self, CHANNELS};
use support::{World, eventually};

/// Short times, so that what has to be waited for is waited for in a test.
const PATIENCE: &str = "[fini]\ntimeout = \"2s\"\nsettle = \"4s\"\n";
const ERROR: Then = Then::Status { status: 500, retry_after: None };
const WHILE: Duration = Duration::from_secs(60);

/// Each case becomes a test on each store.
macro_rules! on_both_stores {
    ($(async fn $name:ident($world:ident: World) $body:block)*) => {
        $(async fn $name($world: World) $body)*

        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::World::start_on(None, &super::settings()).await).await;
            })*
        }

        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let server = super::database::server();
                let url = server.url(&server.database().await);
                super::$name(super::World::start_on(Some(url), &super::settings()).await).await;
            })*
        }
    };
}

fn settings() -> String {
    format!("{PATIENCE}{CHANNELS}")
}

/// A chat in which one question meets a fault.
struct Chat {
    id: i64,
    /// Not its first turn.
    later: bool,
    what: String,
}

impl Chat {
    /// Two for each fault.
    fn pairs(world: &World, faults: Vec<FaultRule>) -> Vec<Self> {
        let mut chats = Vec::new();
        for fault in faults {
            for later in [false, true] {
                let id = 1000 + i64::try_from(chats.len()).unwrap();
                let chat = Self { id, later, what: format!("{:?}, later turn: {later}", fault.then) };
                world.fini.faults().add(fault.clone().containing(&chat.question()).times(1));
                chats.push(chat);
            }
        }
        chats
    }

    fn before(&self) -> String {
        format!("Before, in chat {}.", self.id)
    }

    fn question(&self) -> String {
        format!("The question of chat {}.", self.id)
    }

    fn after(&self) -> String {
        format!("After, in chat {}.", self.id)
    }

    async fn say(&self, world: &World, number: u32, text: &str) {
        world.deliver("telegram", senders::telegram_message(self.id, number, text)).await;
    }

    /// What the simulated Fini answered to it, as it arrived in the chat.
    fn answers(&self, world: &World, text: &str) -> usize {
        let sent = world.outside.sent();
        let here = sent.iter().filter(|call| call.body["chat_id"] == self.id);
        here.filter(|call| call.body["text"].as_str().unwrap().contains(text)).count()
    }

    /// Where these texts of the chat are stored.
    fn conversations(ledger: &Ledger, texts: &[String]) -> HashSet<String> {
        let asks = ledger.asks().filter(|ask| ask.content.as_ref().is_some_and(|text| texts.contains(text)));
        asks.filter(|ask| !ask.stored.is_empty()).filter_map(|ask| ask.conversation.clone()).collect()
    }

    fn assert_once(&self, world: &World, text: &str) {
        assert_eq!(world.fini.ledger().stored(text), 1, "{}: stored in Fini", self.what);
        assert_eq!(self.answers(world, text), 1, "{}: answered", self.what);
    }

    fn assert_one_conversation(&self, world: &World) {
        let found = Self::conversations(&world.fini.ledger(), &[self.before(), self.question(), self.after()]);
        assert_eq!(found.len(), 1, "{}: conversations", self.what);
    }
}

/// What comes before the question where it isn't the first turn.
async fn begin(world: &World, chats: &[Chat]) {
    let later: Vec<&Chat> = chats.iter().filter(|chat| chat.later).collect();
    for chat in &later {
        chat.say(world, 1, &chat.before()).await;
    }
    world.until(later.len(), MessageState::Done).await;
}

async fn ask(world: &World, chats: &[Chat]) {
    join_all(chats.iter().map(async |chat| chat.say(world, 2, &chat.question()).await)).await;
}

/// The chats go on, each in the conversation that it has. `done`: so many messages are done by now.
async fn go_on(world: &World, chats: &[Chat], done: usize) {
    join_all(chats.iter().map(async |chat| chat.say(world, 3, &chat.after()).await)).await;
    world.until(done + chats.len(), MessageState::Done).await;
    for chat in chats {
        chat.assert_once(world, &chat.after());
    }
    assert_eq!(world.outside.violations(), Vec::<String>::new());
}

/// The questions are asked, all come to a good end, and the chats go on.
async fn all_end_well(world: &World, chats: &[Chat]) {
    begin(world, chats).await;
    ask(world, chats).await;
    end_well(world, chats).await;
}

async fn end_well(world: &World, chats: &[Chat]) {
    let done = chats.len() + chats.iter().filter(|chat| chat.later).count();
    world.until(done, MessageState::Done).await;
    for chat in chats {
        chat.assert_once(world, &chat.question());
    }
    go_on(world, chats, done).await;
    for chat in chats {
        chat.assert_one_conversation(world);
    }
}

/// The steps of each question that met a fault, as the journal tells them.
async fn told(world: &World) -> Vec<Vec<JournalEntry>> {
    let store = world.store().await;
    let mut told = Vec::new();
    for story in world.stories(&[MessageState::Done]).await {
        if story.text.is_some_and(|text| text.starts_with("The question")) {
            told.push(store.timeline(story.id).await.unwrap());
        }
    }
    told
}

fn lost(effect: Effect, then: Then) -> FaultRule {
    FaultRule::at(Endpoint::Ask, effect, then)
}

on_both_stores! {
    async fn an_answer_that_got_lost_is_looked_up_and_the_question_never_stored_twice(world: World) {
        let ways = [ERROR, Then::Html { status: 502 }, Then::Cut, Then::CutMidway, Then::Truncated, Then::Hang];
        let faults = ways.map(|then| lost(Effect::Answered, then));
        let chats = Chat::pairs(&world, faults.into());
        all_end_well(&world, &chats).await;
        let told = told(&world).await;
        assert_eq!(told.len(), chats.len());
        for timeline in told {
            let steps: Vec<&str> = timeline.iter().map(|entry| entry.step.as_str()).collect();
            let count = |step: &str| steps.iter().filter(|other| **other == step).count();
            assert_eq!((count("asked"), count("adopted"), count("answered")), (1, 1, 1), "{steps:?}");
            assert!(steps.ends_with(&["looked_up", "adopted", "answered", "part_sent"]), "{steps:?}");
            let replicas: HashSet<&str> = timeline.iter().map(|entry| entry.replica.as_str()).collect();
            assert!(replicas.len() == 1 && replicas.iter().all(|replica| replica.len() == 36), "{replicas:?}");
        }
    }

    async fn a_call_that_came_to_nothing_is_made_again(world: World) {
        let ways = [ERROR, Then::Html { status: 502 }, Then::Cut, Then::Hang];
        let faults = ways.map(|then| lost(Effect::Nothing, then));
        all_end_well(&world, &Chat::pairs(&world, faults.into())).await;
        for timeline in told(&world).await {
            let asked = timeline.iter().filter(|entry| entry.step == JournalStep::Asked);
            let reasons: Vec<Option<&str>> = asked.map(|entry| entry.detail.get("reason")?.as_str()).collect();
            assert_eq!(reasons.len(), 2, "{timeline:?}");
            let codes = ["fini_500", "fini_502", "connection_lost", "timed_out"];
            assert!(reasons[0].is_none() && codes.contains(&reasons[1].unwrap()), "{reasons:?}");
        }
    }

    async fn a_call_that_was_cut_before_fini_read_it_is_made_again(world: World) {
        let chats = [false, true].map(|later| Chat { id: i64::from(later) + 1, later, what: format!("later: {later}") });
        begin(&world, &chats).await;
        world.fini.faults().add(lost(Effect::Nothing, Then::CutUnread).times(2));
        ask(&world, &chats).await;
        end_well(&world, &chats).await;
    }

    // However long that takes: what couldn't be looked for is not known to be missing.
    async fn a_question_is_not_asked_again_before_it_could_be_looked_for(world: World) {
        let chats = Chat::pairs(&world, vec![lost(Effect::Answered, ERROR)]);
        begin(&world, &chats).await;
        for endpoint in [Endpoint::List, Endpoint::Get] {
            let throttled = Then::Status { status: 429, retry_after: Some(5) };
            world.fini.faults().add(FaultRule::at(endpoint, Effect::Nothing, throttled).times(2));
        }
        ask(&world, &chats).await;
        end_well(&world, &chats).await;
    }

    async fn the_same_words_again_are_a_question_of_their_own(world: World) {
        let chats = [false, true].map(|later| Chat { id: i64::from(later) + 1, later, what: format!("later: {later}") });
        begin(&world, &chats).await;
        world.fini.faults().add(lost(Effect::Stored, ERROR).containing("The question").times(2));
        ask(&world, &chats).await;
        world.until(2, MessageState::Held).await;
        world.fini.faults().add(lost(Effect::Nothing, ERROR).containing("The question").times(2));
        join_all(chats.iter().map(async |chat| chat.say(&world, 3, &chat.question()).await)).await;
        world.until(3, MessageState::Done).await;
        for chat in &chats {
            assert_eq!(world.fini.ledger().stored(&chat.question()), 2, "{}: that which is held, and this one", chat.what);
            assert_eq!(chat.answers(&world, &chat.question()), 1, "{}", chat.what);
            chat.assert_one_conversation(&world);
        }
    }

    async fn what_was_stored_and_never_answered_is_held_for_a_person_and_the_chat_goes_on(world: World) {
        let faults = [ERROR, Then::Cut, Then::Hang].map(|then| lost(Effect::Stored, then));
        let chats = Chat::pairs(&world, faults.into());
        begin(&world, &chats).await;
        ask(&world, &chats).await;
        for held in world.until(chats.len(), MessageState::Held).await {
            assert_eq!(held.reason.as_deref(), Some("stored_not_answered"));
            assert_eq!(held.turn.unwrap().asked, 1, "never sent again");
        }
        go_on(&world, &chats, chats.len() / 2).await;
        for chat in chats {
            assert_eq!(world.fini.ledger().stored(&chat.question()), 1, "{}", chat.what);
            assert_eq!(chat.answers(&world, &chat.question()), 0, "{}", chat.what);
            chat.assert_one_conversation(&world);
        }
    }

    async fn what_fini_stores_after_we_hung_up_within_settle_is_found_and_not_sent_again(world: World) {
        let late = lost(Effect::Answered, Then::AfterHangUp { after_ms: 1500 });
        all_end_well(&world, &Chat::pairs(&world, vec![late])).await;
    }

    // Nobody can know of it when `fini.settle` is over: the question is asked once more, and the answer to the
    // first call, which nobody waits for any more, reaches nobody.
    async fn what_fini_stores_later_than_settle_stands_twice_in_fini_and_is_answered_once(world: World) {
        let late = lost(Effect::Answered, Then::AfterHangUp { after_ms: 12_000 });
        let chats = Chat::pairs(&world, vec![late]);
        begin(&world, &chats).await;
        ask(&world, &chats).await;
        world.until(3, MessageState::Done).await;
        for chat in &chats {
            chat.assert_once(&world, &chat.question());
        }
        eventually("the first calls are stored too", WHILE, async || {
            let ledger = world.fini.ledger();
            chats.iter().all(|chat| ledger.stored(&chat.question()) == 2).then_some(())
        })
        .await;
        go_on(&world, &chats, 3).await;
        let ledger = world.fini.ledger();
        for chat in &chats {
            assert_eq!(ledger.asks().filter(|ask| ask.content == Some(chat.question())).count(), 2, "{}", chat.what);
            assert_eq!(chat.answers(&world, &chat.question()), 1, "{}", chat.what);
            // A first turn began a conversation of its own with each call; the chat knows the second.
            let [asked, after] = [chat.question(), chat.after()].map(|text| Chat::conversations(&ledger, &[text]));
            assert_eq!(asked.len(), if chat.later { 1 } else { 2 }, "{}", chat.what);
            assert!(after.len() == 1 && after.is_subset(&asked), "{}", chat.what);
        }
        let metrics = world.admin("/metrics").await;
        let counted = "fini_bridge_repeated_calls_total{channel=\"telegram\",result=\"unanswered\"} 2";
        assert!(metrics.contains(counted), "{metrics}");
    }

    // Whether Fini has stored the message by then or reads it later: the call had left.
    async fn a_process_that_dies_between_the_call_and_its_record_does_not_ask_again(world: World) {
        let mut world = world;
        let slow = FaultRule { wait_ms: 2500, ..lost(Effect::Answered, Then::Answer) };
        let chats = Chat::pairs(&world, vec![lost(Effect::Answered, Then::Answer), slow]);
        begin(&world, &chats).await;
        world.fini.change(Change { answer_delay_ms: Some(1500), ..Change::default() });
        ask(&world, &chats).await;
        let seen = |ledger: &Ledger, chat: &Chat| {
            ledger.asks().any(|ask| ask.content == Some(chat.question()))
        };
        eventually("all calls have left", WHILE, async || {
            let ledger = world.fini.ledger();
            chats.iter().all(|chat| seen(&ledger, chat)).then_some(())
        })
        .await;
        world.kill();
        assert_eq!(world.outside.sent().len(), 2, "nothing is answered so far but what came before");
        world.fini.change(Change { answer_delay_ms: Some(0), ..Change::default() });
        world.serve().await;
        end_well(&world, &chats).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_comes_while_the_database_is_away_is_kept_until_it_is_back() {
    let server = database::Server::start();
    let url = server.url(&server.database().await);
    let world = World::start_on(Some(url), &settings().replace("\"2s\"", "\"30s\"")).await;
    // So that an answer that is not kept is lost for good.
    world.fini.change(Change { echo_user_attributes: Some(false), ..Change::default() });
    world.fini.faults().add(lost(Effect::Answered, Then::Hold));
    world.deliver("telegram", senders::telegram_message(1, 1, "Is it there?")).await;
    eventually("it is asked", WHILE, async || world.fini.ledger().asks().next().map(|_| ())).await;
    tokio::task::block_in_place(|| server.crash());
    world.fini.faults().clear();
    eventually("it is answered", WHILE, async || {
        let answered = "call=\"generate_answer\",outcome=\"ok\"";
        world.admin("/metrics").await.contains(answered).then_some(())
    })
    .await;
    tokio::task::block_in_place(|| server.start_again());
    let done = world.until(1, MessageState::Done).await;
    assert_eq!(done[0].turn.as_ref().unwrap().asked, 1);
    assert_eq!(world.outside.sent().len(), 1);
}
