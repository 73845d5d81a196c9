//! What may be spent: how many turns begin for a chat, a sender and a channel. And where a new conversation begins.

use std::time::Duration;

use fini_bridge::domain::id::{MessageId, SenderRef, TurnId};
use fini_bridge::domain::message::Role;
use fini_bridge::domain::span::Rate;
use fini_bridge::store::{Admission, Lease, Limit, Limits, MessageState, Store, TurnEnd, TurnOutcome, WorkKind};

use crate::actors::*;

const TWO_A_MINUTE: Option<Rate> = Some(Rate { count: 2, per: Duration::from_secs(60) });
const OK: Admission = Admission::Admitted { shared: false };

fn of(sender: &str, members: Vec<MessageId>, limits: Limits) -> Asking {
    Asking { sender_ref: Some(SenderRef::new(sender)), limits, ..question(members) }
}

/// A message in this chat, and whether its turn may begin; then it has ended.
async fn begin(store: &dyn Store, chat: &str, sender: &str, limits: Limits) -> Admission {
    let message = say(store, chat, "hello").await;
    let held = lease(store, WorkKind::Turns).await;
    let asking = of(sender, vec![message], limits);
    let admission = begin_call(store, &held, &asking).await.unwrap();
    end(store, &held, asking.turn, message, admission).await;
    admission
}

async fn end(store: &dyn Store, held: &Lease, turn: TurnId, message: MessageId, admission: Admission) {
    let ended = match admission {
        Admission::Admitted { .. } => answered(turn, vec![]),
        Admission::LimitReached(_) => {
            let outcome = TurnOutcome::Dropped { reason: "limit".to_owned() };
            TurnEnd { members: vec![message], ..ended_as(turn, outcome) }
        }
    };
    finish(store, held, &ended).await.unwrap();
    store.release(held, AT_ONCE).await.unwrap();
}

promises! {
    async fn a_chat_has_so_many_turns_in_a_time(world: World) {
        let store = world.store.as_ref();
        let limits = Limits { per_chat: TWO_A_MINUTE, ..Limits::default() };
        assert_eq!(begin(store, "a", "zoe", limits).await, OK);
        world.pass(Duration::from_secs(30)).await;
        assert_eq!(begin(store, "a", "ann", limits).await, OK);
        assert_eq!(begin(store, "a", "bob", limits).await, Admission::LimitReached(Limit::Chat));
        assert_eq!(begin(store, "b", "zoe", limits).await, OK, "another chat");
        world.pass(Duration::from_secs(31)).await;
        assert_eq!(begin(store, "a", "zoe", limits).await, OK);
        assert_eq!(begin(store, "a", "zoe", limits).await, Admission::LimitReached(Limit::Chat));
    }

    async fn a_sender_has_so_many_turns_in_a_time_over_all_chats(world: World) {
        let store = world.store.as_ref();
        let limits = Limits { per_sender: TWO_A_MINUTE, ..Limits::default() };
        assert_eq!(begin(store, "a", "zoe", limits).await, OK);
        assert_eq!(begin(store, "b", "zoe", limits).await, OK);
        assert_eq!(begin(store, "c", "zoe", limits).await, Admission::LimitReached(Limit::Sender));
        assert_eq!(begin(store, "c", "ann", limits).await, OK, "somebody else");
        let world = world.restart().await;
        let store = world.store.as_ref();
        assert_eq!(begin(store, "d", "zoe", limits).await, Admission::LimitReached(Limit::Sender));
        world.pass(Duration::from_secs(61)).await;
        assert_eq!(begin(store, "d", "zoe", limits).await, OK);
    }

    async fn a_channel_has_so_many_turns_in_a_time(world: World) {
        let store = world.store.as_ref();
        let limits = Limits { per_channel: TWO_A_MINUTE, ..Limits::default() };
        assert_eq!(begin(store, "a", "zoe", limits).await, OK);
        assert_eq!(begin(store, "b", "ann", limits).await, OK);
        assert_eq!(begin(store, "c", "bob", limits).await, Admission::LimitReached(Limit::Channel));
    }

    async fn a_turn_that_may_not_begin_changes_nothing(world: World) {
        let store = world.store.as_ref();
        let limits = Limits { per_chat: TWO_A_MINUTE, ..Limits::default() };
        begin(store, "a", "zoe", limits).await;
        begin(store, "a", "zoe", limits).await;
        let message = say(store, "a", "one more").await;
        let held = lease(store, WorkKind::Turns).await;
        let before = look(store, &held).await;
        let asking = Asking { generation: 7, ..of("zoe", vec![message], limits) };
        assert_eq!(begin_call(store, &held, &asking).await.unwrap(), Admission::LimitReached(Limit::Chat));
        let after = look(store, &held).await;
        assert_eq!((after.generation, after.last_turn_at), (before.generation, before.last_turn_at));
        assert!(after.turn.is_none());
        assert_eq!(after.waiting.len(), 1);
        assert_eq!(state(store, message).await.0, MessageState::Received);
    }

    async fn a_turn_counts_once_however_often_it_is_asked_and_however_many_messages_it_has(world: World) {
        let store = world.store.as_ref();
        let limits = Limits { per_chat: TWO_A_MINUTE, per_sender: TWO_A_MINUTE, per_channel: TWO_A_MINUTE };
        let members = vec![say(store, "a", "one").await, say(store, "a", "two").await, say(store, "a", "three").await];
        let mut asking = of("zoe", members, limits);
        for _ in 0..3 {
            let held = lease(store, WorkKind::Turns).await;
            assert_eq!(begin_call(store, &held, &asking).await.unwrap(), OK);
            store.reopen(&held, asking.turn, Duration::ZERO, "fini_429").await.unwrap();
            asking.members = vec![];
        }
        let held = lease(store, WorkKind::Turns).await;
        begin_call(store, &held, &asking).await.unwrap();
        finish(store, &held, &answered(asking.turn, vec![])).await.unwrap();
        store.release(&held, AT_ONCE).await.unwrap();
        assert_eq!(begin(store, "a", "zoe", limits).await, OK);
        assert_eq!(begin(store, "a", "zoe", limits).await, Admission::LimitReached(Limit::Chat));
    }

    async fn what_never_asked_fini_and_what_agents_wrote_counts_for_nothing(world: World) {
        let store = world.store.as_ref();
        let limits = Limits { per_chat: TWO_A_MINUTE, per_sender: TWO_A_MINUTE, per_channel: TWO_A_MINUTE };
        for _ in 0..3 {
            let blank = say(store, "a", " ").await;
            let held = lease(store, WorkKind::Turns).await;
            end(store, &held, TurnId::generate(), blank, Admission::LimitReached(Limit::Chat)).await;
            let staff = say(store, "a", "I'll look into it").await;
            let held = lease(store, WorkKind::Turns).await;
            let asking = Asking { sender_ref: None, role: Role::Agent, ..of("", vec![staff], limits) };
            let admission = begin_call(store, &held, &asking).await.unwrap();
            assert_eq!(admission, OK);
            end(store, &held, asking.turn, staff, admission).await;
        }
        assert_eq!(begin(store, "a", "zoe", limits).await, OK);
    }

    async fn what_a_clock_that_was_set_back_left_in_the_future_silences_nobody(world: World) {
        let store = world.store.as_ref();
        let limits = Limits { per_chat: TWO_A_MINUTE, per_sender: TWO_A_MINUTE, per_channel: TWO_A_MINUTE };
        begin(store, "a", "zoe", limits).await;
        begin(store, "a", "zoe", limits).await;
        world.set_back(Duration::from_secs(3600)).await;
        world.pass(Duration::from_secs(30)).await;
        assert_eq!(begin(store, "a", "zoe", limits).await, OK);
    }

    async fn turns_of_one_sender_that_begin_at_the_same_time_are_counted_exactly(world: World) {
        let stores = [world.store.clone(), world.beside().await];
        let mut messages = std::collections::HashMap::new();
        for number in 0..40 {
            let id = say(stores[0].as_ref(), &format!("thread {number}"), "hello").await;
            messages.insert(format!("ref-of-thread {number}"), id);
        }
        let leases = lease_all(stores[0].as_ref(), WorkKind::Turns).await;
        assert_eq!(leases.len(), 40);
        let per_sender = Some(Rate { count: 7, per: Duration::from_secs(3600) });
        let limits = Limits { per_sender, ..Limits::default() };
        let begin = leases.iter().enumerate().map(|(number, held)| {
            let store = &stores[number % 2];
            let asking = of("zoe", vec![messages[held.chat_ref.as_str()]], limits);
            async move { begin_call(store.as_ref(), held, &asking).await.unwrap() }
        });
        let outcomes = futures::future::join_all(begin).await;
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == OK).count(), 7, "{outcomes:?}");
    }

    async fn what_comes_after_a_reset_word_belongs_to_a_new_conversation_and_the_old_one_stays(world: World) {
        let store = world.store.as_ref();
        say(store, "a", "old").await;
        turn(store, vec![]).await;
        let word = say(store, "a", "restart").await;
        let held = lease(store, WorkKind::Turns).await;
        let reset = TurnEnd {
            members: vec![word],
            parts: vec![part(0, "Let's begin again.")],
            new_generation: Some(2),
            ..ended_as(TurnId::generate(), TurnOutcome::Dropped { reason: "reset".to_owned() })
        };
        finish(store, &held, &reset).await.unwrap();
        finish(store, &held, &reset).await.unwrap();
        assert_eq!(look(store, &held).await.generation, 2);
        assert_eq!(state(store, word).await, (MessageState::Dropped, Some("reset".to_owned())));
        assert_eq!(parts_of(store, word).await.len(), 1);
        assert!(store.conversation(held.lane, 2).await.unwrap().is_none(), "not begun yet");
        assert!(store.conversation(held.lane, 1).await.unwrap().is_some());
        let world = world.restart().await;
        let store = world.store.as_ref();
        deliver(store).await;
        let new = say(store, "a", "new").await;
        let held = lease(store, WorkKind::Turns).await;
        assert_eq!(look(store, &held).await.generation, 2);
        begin_call(store, &held, &Asking { generation: 2, ..question(vec![new]) }).await.unwrap();
        assert_eq!(store.details(new).await.unwrap().unwrap().turn.unwrap().generation, 2);
    }

    async fn a_text_that_was_cut_is_seen_to_be(world: World) {
        let store = world.store.as_ref();
        let mut long = message("a", "k");
        long.too_long = true;
        let id = said(accept(store, long).await);
        let held = lease(store, WorkKind::Turns).await;
        assert!(look(store, &held).await.waiting[0].too_long);
        let failed = TurnEnd { members: vec![id], ..ended_as(TurnId::generate(), failed_as("too_long")) };
        finish(store, &held, &failed).await.unwrap();
        store.retry(id).await.unwrap();
        assert!(look(store, &held).await.waiting[0].too_long, "another try doesn't make it whole");
    }
}
