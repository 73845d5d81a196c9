//! The workers by themselves, in minutes and hours that take no time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod steady;
mod world;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fini_bridge::domain::span::Rate;
use fini_bridge::fini::AskError;
use fini_bridge::platform::{Pace, SendError};
use fini_bridge::store::{MessageState, Operations};
use world::{SECOND, Setup, World};

fn unknown() -> AskError {
    AskError::Unknown { answered: true, reason: "fini_500".to_owned() }
}

/// The times between the calls.
fn pauses(times: &[f64]) -> Vec<f64> {
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[tokio::test(start_paused = true)]
async fn a_message_costs_four_commits_and_nothing_is_looked_for() {
    let world = World::start().await;
    world.say("first", "first").await;
    world.delivered(1).await;
    // A new chat, and one whose conversation is known; neither beside a look of every second.
    tokio::time::sleep(5 * SECOND + SECOND / 2).await;
    for (chat, text) in [("first", "second"), ("other", "new")] {
        world.store.asked();
        let sent = world.platform.sent().len();
        world.say(chat, text).await;
        world.until("sent", || world.platform.sent().len() > sent).await;
        tokio::time::sleep(SECOND / 20).await;
        let mut asked = world.store.asked();
        asked.remove("lease");
        let asked: Vec<_> = asked.into_iter().collect();
        assert_eq!(asked, [("accept", 1), ("begin_call", 1), ("finish_send", 1), ("finish_turn", 1)], "{chat}");
    }
    let asked = world.fini.asked();
    assert_eq!(asked.iter().map(|asked| asked.is_new).collect::<Vec<_>>(), [true, false, true]);
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_a_question_is_answered_is_the_next_question_of_the_same_lease() {
    let world = World::start().await;
    world.fini.answers(|_, _| (3 * SECOND, Ok(())));
    world.say("chat", "one").await;
    tokio::time::sleep(SECOND).await;
    for text in ["two", "three"] {
        world.say("chat", text).await;
    }
    let sent = world.delivered(2).await;
    assert_eq!(sent.iter().map(|sent| sent.text.as_str()).collect::<Vec<_>>(), ["re: one", "re: two\nthree"]);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_fini_fails_on_is_buried_while_others_are_answered() {
    let world = World::start().await;
    world.fini.answers(|asked, _| match asked.content.as_str() {
        "poison" => (SECOND, Err(unknown())),
        _ => (SECOND, Ok(())),
    });
    let poison = world.say("poisoned", "poison").await;
    let mut number = 0;
    while world.details(poison).await.state != MessageState::Failed {
        number += 1;
        world.say(&format!("other {number}"), "hello").await;
        tokio::time::sleep(2 * SECOND).await;
        assert!(number < 100, "not buried after {} calls", world.fini.asked_at("poison").len());
    }
    assert_eq!(world.fini.asked_at("poison").len(), 5);
    assert_eq!(world.details(poison).await.reason.as_deref(), Some("fini_keeps_failing"));
    assert!(world.platform.sent().iter().any(|sent| sent.chat == "poisoned" && sent.text == "Sorry."));
}

#[tokio::test(start_paused = true)]
async fn in_an_outage_nothing_is_buried_and_each_question_is_answered_once_when_it_ends() {
    let world = World::start().await;
    let ends = world.begun + 3600 * SECOND;
    world.fini.answers(move |_, _| {
        if tokio::time::Instant::now() < ends { (SECOND / 10, Err(unknown())) } else { (SECOND / 10, Ok(())) }
    });
    for number in 0..10 {
        world.say(&format!("chat {number}"), &format!("question {number}")).await;
    }
    let sent = world.delivered(10).await;
    assert!(world.now() < 3600.0 + 130.0, "{}", world.now());
    tokio::time::sleep(600 * SECOND).await;
    assert_eq!(world.platform.sent().len(), sent.len());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_never_left_is_made_again_ever_more_seldom() {
    let world = World::start().await;
    world
        .fini
        .answers(|_, before| (Duration::ZERO, if before < 9 { Err(AskError::NotSent("refused")) } else { Ok(()) }));
    world.say("chat", "x").await;
    world.delivered(1).await;
    let pauses = pauses(&world.fini.asked_at("x"));
    let longest = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0];
    assert_eq!(pauses.len(), longest.len());
    for (pause, first) in pauses.iter().zip(longest) {
        assert!(*pause >= first && *pause <= 2.0 * first + 0.1, "{pauses:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_429_stops_all_of_the_key_for_as_long_as_it_says_and_no_longer() {
    let world = World::start().await;
    world.fini.answers(|asked, before| {
        let throttled = AskError::Throttled { retry_after: Some(20 * SECOND) };
        (SECOND / 10, if asked.content == "first" && before == 0 { Err(throttled) } else { Ok(()) })
    });
    world.say("a", "first").await;
    tokio::time::sleep(SECOND).await;
    world.say("b", "second").await;
    let sent = world.delivered(2).await;
    assert!(sent.iter().all(|sent| sent.at > 20.0 && sent.at < 22.0), "{sent:?}");
}

/// Takes so many calls a second, and as many at once.
struct Bucket {
    per_second: f64,
    tokens: f64,
    at: f64,
}

impl Bucket {
    fn takes(&mut self, at: f64) -> bool {
        self.tokens = (self.tokens + (at - self.at) * self.per_second).min(self.per_second);
        self.at = at;
        let takes = self.tokens >= 1.0;
        self.tokens -= if takes { 1.0 } else { 0.0 };
        takes
    }
}

#[tokio::test(start_paused = true)]
async fn a_fini_that_takes_ten_calls_a_second_and_does_not_say_so_is_asked_nearly_ten_and_seldom_more() {
    let world = Arc::new(World::start_with(Setup { max_in_flight: 512, ..Setup::default() }).await);
    let bucket = Mutex::new(Bucket { per_second: 10.0, tokens: 10.0, at: 0.0 });
    let asked: Arc<Mutex<Vec<(f64, bool)>>> = Arc::default();
    world.fini.answers({
        let asked = asked.clone();
        move |question, _| {
            let takes = bucket.lock().unwrap().takes(question.at);
            asked.lock().unwrap().push((question.at, takes));
            match takes {
                true => (3 * SECOND, Ok(())),
                false => (SECOND / 100, Err(AskError::Throttled { retry_after: None })),
            }
        }
    });
    // 300 people, each of whom writes again when they have their answer.
    let mut said = HashMap::new();
    for number in 0..300 {
        said.insert(format!("chat {number}"), (1, world.now()));
        world.say(&format!("chat {number}"), "question 1").await;
    }
    let (mut seen, mut longest) = (0, 0.0_f64);
    while world.now() < 90.0 {
        let sent = world.platform.sent();
        for answer in &sent[seen..] {
            let (number, since) = said.get_mut(&answer.chat).unwrap();
            longest = longest.max(answer.at - *since);
            (*number, *since) = (*number + 1, world.now());
            world.say(&answer.chat, &format!("question {number}")).await;
        }
        seen = sent.len();
        tokio::time::sleep(SECOND / 10).await;
    }
    let asked = asked.lock().unwrap();
    let within: Vec<_> = asked.iter().filter(|(at, _)| (30.0..90.0).contains(at)).collect();
    let throttled = within.iter().filter(|(_, takes)| !takes).count();
    let answered = world.platform.sent().iter().filter(|sent| (30.0..90.0).contains(&sent.at)).count();
    let waiting = said.values().map(|(_, since)| world.now() - since).fold(0.0, f64::max);
    println!(
        "{answered} answers in 60 s, {throttled} of {} calls throttled; waited {longest:.1} s, {waiting:.1} s",
        within.len()
    );
    assert!(answered >= 9 * 60, "{answered} answers in 60 s");
    assert!(throttled * 10 <= within.len(), "{throttled} of {} calls", within.len());
    assert!(longest.max(waiting) < 45.0, "a chat waited for {longest} s, another has for {waiting} s");
}

#[tokio::test(start_paused = true)]
async fn a_refused_key_is_tried_by_one_chat_at_a_time_and_all_go_on_when_it_works_again() {
    let world = World::start().await;
    let mended = world.begun + 300 * SECOND;
    world.fini.answers(move |_, _| {
        let refused = AskError::Key { status: 401, detail: String::new() };
        (SECOND, if tokio::time::Instant::now() < mended { Err(refused) } else { Ok(()) })
    });
    for number in 0..20 {
        world.say(&format!("chat {number}"), "x").await;
    }
    tokio::time::sleep(250 * SECOND).await;
    let asked = world.fini.asked();
    assert!(asked.iter().filter(|asked| asked.at > 5.0).count() < 15, "{}", asked.len());
    world.delivered(20).await;
    assert!(world.now() < 300.0 + 125.0, "{}", world.now());
}

#[tokio::test(start_paused = true)]
async fn with_room_for_one_call_a_chat_that_never_stops_leaves_the_others_their_turns() {
    let world = World::start_with(Setup { max_in_flight: 1, ..Setup::default() }).await;
    world.fini.answers(|_, _| (SECOND, Ok(())));
    world.say("busy", "busy 0").await;
    for number in 0..5 {
        world.say(&format!("other {number}"), "x").await;
    }
    for number in 1..40 {
        tokio::time::sleep(SECOND / 2).await;
        world.say("busy", &format!("busy {number}")).await;
    }
    let answered = |chat: &str| world.platform.sent().iter().find(|sent| sent.chat == chat).map(|sent| sent.at);
    for number in 0..5 {
        let at = answered(&format!("other {number}")).unwrap();
        assert!(at < 12.0, "other {number} at {at}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_second_message_of_a_chat_waits_thirty_seconds_at_most_for_a_list_that_is_throttled() {
    let world = World::start().await;
    world.fini.list_is_throttled.store(true, Ordering::SeqCst);
    world.say("chat", "one").await;
    world.delivered(1).await;
    tokio::time::sleep(40 * SECOND).await;
    world.store.asked();
    let written = world.now();
    world.say("chat", "two").await;
    world.delivered(2).await;
    let waited = world.now() - written;
    assert!((30.0..31.0).contains(&waited), "{waited}");
    assert!(world.fini.asked().iter().all(|asked| asked.is_new));
    let asked = world.store.asked();
    assert!(asked.get("conversation").copied().unwrap_or_default() <= 4, "a chat that waits polls nothing: {asked:?}");
}

#[tokio::test(start_paused = true)]
async fn the_second_message_goes_on_as_soon_as_the_conversation_is_found() {
    let world = World::start().await;
    world.fini.list_is_throttled.store(true, Ordering::SeqCst);
    world.say("chat", "one").await;
    world.delivered(1).await;
    world.say("chat", "two").await;
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(world.fini.asked().len(), 1);
    world.fini.list_is_throttled.store(false, Ordering::SeqCst);
    world.delivered(2).await;
    let asked = world.fini.asked();
    assert!(!asked[1].is_new && asked[1].at < 20.0, "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_takes_a_chat_over_looks_for_its_conversation_before_it_begins_another() {
    let world = World::start().await;
    world.fini.list_is_throttled.store(true, Ordering::SeqCst);
    world.say("chat", "one").await;
    world.delivered(1).await;
    // Until nobody looks for it any more.
    tokio::time::sleep(150 * SECOND).await;
    // As if the second message had waited for longer than anybody has to, at another process.
    *world.store.is_away_for.lock().unwrap() = Some("conversation");
    world.say("chat", "two").await;
    tokio::time::sleep(40 * SECOND).await;
    world.fini.list_is_throttled.store(false, Ordering::SeqCst);
    *world.store.is_away_for.lock().unwrap() = None;
    world.delivered(2).await;
    let asked = world.fini.asked();
    assert!(!asked[1].is_new && asked[1].at < 196.0, "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_chat_that_waits_for_the_store_goes_on_when_it_is_back_and_asks_once() {
    let world = World::start().await;
    world.fini.answers(|_, _| (2 * SECOND, Ok(())));
    world.say("chat", "asked before").await;
    tokio::time::sleep(SECOND).await;
    world.store.is_away.store(true, Ordering::SeqCst);
    tokio::time::sleep(60 * SECOND).await;
    assert!(world.platform.sent().is_empty());
    world.store.is_away.store(false, Ordering::SeqCst);
    world.delivered(1).await;
    assert!(world.now() < 64.0, "{}", world.now());
    world.say("chat", "asked after").await;
    world.delivered(2).await;
    assert_eq!(world.fini.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_is_away_gets_each_part_once_and_in_order_when_it_is_back() {
    let world = World::start().await;
    let back = world.begun + 600 * SECOND;
    world.platform.takes(move |_, _| {
        let away = SendError::Retry { reason: "http_503".to_owned(), after: None };
        if tokio::time::Instant::now() < back { Err(away) } else { Ok(()) }
    });
    world.say("chat", "a|b|c").await;
    let sent = world.delivered(3).await;
    assert_eq!(sent.iter().map(|sent| sent.text.as_str()).collect::<Vec<_>>(), ["re: a", "b", "c"]);
    assert!(world.platform.tried().len() < 20, "{}", world.platform.tried().len());
}

#[tokio::test(start_paused = true)]
async fn the_parts_of_a_chat_keep_its_pace_and_those_of_other_chats_do_not_wait_for_it() {
    let pace = Pace { channel: None, chat: Some(Rate { count: 1, per: SECOND }) };
    let world = World::start_with(Setup { pace, ..Setup::default() }).await;
    world.say("long", "a|b|c|d|e").await;
    world.say("short", "x").await;
    let sent = world.delivered(6).await;
    let times = |chat: &str| sent.iter().filter(|sent| sent.chat == chat).map(|sent| sent.at).collect::<Vec<_>>();
    assert!(pauses(&times("long")).iter().all(|pause| (0.99..1.2).contains(pause)), "{sent:?}");
    assert!(times("short")[0] < 0.3, "{sent:?}");
}

#[tokio::test(start_paused = true)]
async fn the_parts_of_a_channel_keep_its_pace() {
    let pace = Pace { channel: Some(Rate { count: 10, per: SECOND }), chat: None };
    let world = World::start_with(Setup { pace, ..Setup::default() }).await;
    for number in 0..50 {
        world.say(&format!("chat {number}"), "x").await;
    }
    let sent = world.delivered(50).await;
    for first in &sent {
        let within = sent.iter().filter(|sent| sent.at >= first.at && sent.at < first.at + 0.999).count();
        assert!(within <= 10, "{within} within a second of {}", first.at);
    }
    assert!(world.now() < 6.0, "{}", world.now());
}

/// A Fini key with 19 calls a minute.
async fn world_with_rate() -> World {
    let rate = Some(Rate { count: 20, per: 60 * SECOND });
    World::start_with(Setup { rate, ..Setup::default() }).await
}

/// All calls of the minute are made.
async fn world_without_budget() -> World {
    let world = world_with_rate().await;
    for number in 0..19 {
        world.say(&format!("chat {number}"), "x").await;
    }
    world.delivered(19).await;
    world
}

#[tokio::test(start_paused = true)]
async fn while_the_rate_allows_no_look_no_question_is_taken_for_lost() {
    let world = world_with_rate().await;
    world.fini.answers(|asked, before| {
        let unknown = AskError::Unknown { answered: false, reason: "timeout".to_owned() };
        (Duration::ZERO, if asked.content == "lost" && before == 0 { Err(unknown) } else { Ok(()) })
    });
    world.say("lost", "lost").await;
    for number in 0..18 {
        world.say(&format!("chat {number}"), "x").await;
    }
    world.until("asked again", || world.fini.asked_at("lost").len() == 2).await;
    let asked = world.fini.asked_at("lost");
    assert!(asked[1] > 63.0, "asked again without a look before: {asked:?}");
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_a_question_waits_for_the_rate_belongs_to_it() {
    let world = world_without_budget().await;
    world.say("chat", "one").await;
    tokio::time::sleep(10 * SECOND).await;
    world.say("chat", "two").await;
    world.delivered(20).await;
    let last = world.fini.asked().pop().unwrap();
    assert!(last.content == "one\ntwo" && last.at > 60.0 && last.at < 65.0, "{last:?}");
    assert_eq!(world.fini.asked().len(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_waits_for_the_rate_holds_up_no_drain_and_stays_for_another_replica() {
    let world = world_without_budget().await;
    let message = world.say("chat", "waits").await;
    tokio::time::sleep(SECOND).await;
    let begun = world.now();
    assert!(world.pipeline.drain(30 * SECOND).await);
    assert!(world.now() - begun < 2.0, "{}", world.now() - begun);
    assert_eq!(world.details(message).await.state, MessageState::Received);
}

#[tokio::test(start_paused = true)]
async fn what_is_being_answered_when_the_drain_begins_is_answered_and_posted_and_nothing_else_is_begun() {
    let world = World::start().await;
    world.fini.answers(|asked, _| (if asked.content == "slow" { 9 * SECOND } else { 2 * SECOND }, Ok(())));
    world.say("a", "quick|in|parts").await;
    world.say("b", "slow").await;
    tokio::time::sleep(SECOND).await;
    let waits = world.say("a", "waits").await;
    assert!(world.pipeline.drain(30 * SECOND).await);
    assert!(world.now() < 11.0, "{}", world.now());
    let sent = world.platform.sent();
    assert_eq!(
        sent.iter().map(|sent| sent.text.as_str()).collect::<Vec<_>>(),
        ["re: quick", "in", "parts", "re: slow"]
    );
    assert_eq!(world.details(waits).await.state, MessageState::Received);
    assert_eq!(world.fini.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_in_its_time_and_leaves_what_is_not_answered() {
    let world = World::start().await;
    world.fini.answers(|_, _| (100 * SECOND, Ok(())));
    let message = world.say("chat", "x").await;
    tokio::time::sleep(SECOND).await;
    assert!(!world.pipeline.drain(5 * SECOND).await);
    assert!(world.now() < 8.0, "{}", world.now());
    assert_eq!(world.store.details(message).await.unwrap().unwrap().state, MessageState::Asking);
}

#[tokio::test(start_paused = true)]
async fn a_lane_whose_task_panics_is_given_back_and_its_part_is_sent() {
    let world = World::start().await;
    world.platform.takes(|_, before| if before == 0 { panic!("a defect, on purpose") } else { Ok(()) });
    world.say("chat", "x").await;
    world.delivered(1).await;
    assert!(world.now() < 10.0, "{}", world.now());
}
