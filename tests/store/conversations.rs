//! Which of Fini's conversations is whose.

use std::time::Duration;

use fini_bridge::domain::id::{EventId, InteractionId};
use fini_bridge::store::{Adopted, Next, WorkKind};

use crate::actors::*;

promises! {
    async fn the_first_question_of_a_generation_makes_its_conversation(world: World) {
        let store = world.store.as_ref();
        say(store, "alice", "one").await;
        let held = lease(store, WorkKind::Turns).await;
        assert!(store.conversation(held.lane, 1).await.unwrap().is_none());
        ask(store, &held).await;
        let asked_at = look(store, &held).await.now;
        let made = store.conversation(held.lane, 1).await.unwrap().unwrap();
        assert_eq!((made.reference.as_str(), made.bot_id.as_str()), ("reference", "bot-1"));
        assert_eq!((made.asked_at, made.interaction_id, made.watermark), (Some(asked_at), None, None));
        assert_eq!((made.channel, made.first_events.len()), (shop(), 0));
    }

    async fn a_conversation_remembers_when_it_was_first_asked(world: World) {
        let store = world.store.as_ref();
        say(store, "alice", "one").await;
        let held = lease(store, WorkKind::Turns).await;
        let first = look(store, &held).await.now;
        let asked = ask(store, &held).await;
        finish(store, &held, &answered(asked, vec![])).await.unwrap();
        world.pass(HOUR).await;
        say(store, "alice", "two").await;
        store.release(&held, AT_ONCE).await.unwrap();
        let held = lease(store, WorkKind::Turns).await;
        ask(store, &held).await;
        let known = store.conversation(held.lane, 1).await.unwrap().unwrap();
        assert_eq!((known.asked_at, known.answered_at), (Some(first), Some(first)));
    }

    async fn first_events_are_gathered_until_the_id_is_known_and_stay_bounded(world: World) {
        let store = world.store.as_ref();
        let mut seen = 0;
        for _ in 0..4 {
            say(store, "alice", "one").await;
            let held = lease(store, WorkKind::Turns).await;
            let asked = ask(store, &held).await;
            let mut end = answered(asked, vec![]);
            end.events = (seen..seen + 20).map(|number| EventId::new(format!("e{number}"))).collect();
            seen += 20;
            finish(store, &held, &end).await.unwrap();
            store.release(&held, AT_ONCE).await.unwrap();
            let known = store.conversation(held.lane, 1).await.unwrap().unwrap();
            assert_eq!(known.first_events.len(), seen.min(50));
            assert_eq!(known.first_events[0], EventId::new("e0"));
            assert_eq!(known.watermark, Some(EventId::new(format!("e{}", seen - 1))));
        }
    }

    async fn once_the_id_is_known_only_the_watermark_moves(world: World) {
        let store = world.store.as_ref();
        say(store, "alice", "one").await;
        let held = lease(store, WorkKind::Turns).await;
        let asked = ask(store, &held).await;
        assert_eq!(store.adopt(held.lane, 1, &InteractionId::new("i")).await.unwrap(), Adopted::Yes);
        finish(store, &held, &answered(asked, vec![])).await.unwrap();
        let known = store.conversation(held.lane, 1).await.unwrap().unwrap();
        assert_eq!((known.first_events.len(), known.watermark), (0, Some(EventId::new("event-2"))));
        assert_eq!(known.interaction_id, Some(InteractionId::new("i")));
    }

    async fn two_chats_never_hold_one_conversation(world: World) {
        let store = world.store.as_ref();
        say(store, "alice", "one").await;
        say(store, "bob", "one").await;
        let leases = lease_all(store, WorkKind::Turns).await;
        for held in &leases {
            ask(store, held).await;
        }
        let id = InteractionId::new("interaction");
        assert_eq!(store.adopt(leases[0].lane, 1, &id).await.unwrap(), Adopted::Yes);
        assert_eq!(store.adopt(leases[1].lane, 1, &id).await.unwrap(), Adopted::HeldByAnother);
        assert_eq!(store.conversation(leases[1].lane, 1).await.unwrap().unwrap().interaction_id, None);
        assert_eq!(store.adopt(leases[0].lane, 1, &id).await.unwrap(), Adopted::Yes, "said again");
        let other = InteractionId::new("other");
        assert_eq!(store.adopt(leases[0].lane, 1, &other).await.unwrap(), Adopted::Known);
        assert_eq!(store.conversation(leases[0].lane, 1).await.unwrap().unwrap().interaction_id, Some(id));
    }

    async fn two_generations_of_a_chat_never_hold_one_conversation(world: World) {
        let store = world.store.as_ref();
        let first = say(store, "alice", "one").await;
        let held = lease(store, WorkKind::Turns).await;
        let asking = question(vec![first]);
        begin_call(store, &held, &asking).await.unwrap();
        finish(store, &held, &answered(asking.turn, vec![])).await.unwrap();
        let second = say(store, "alice", "two").await;
        let mut asking = question(vec![second]);
        asking.generation = 2;
        begin_call(store, &held, &asking).await.unwrap();
        assert_eq!(look(store, &held).await.generation, 2);
        let id = InteractionId::new("interaction");
        assert_eq!(store.adopt(held.lane, 2, &id).await.unwrap(), Adopted::Yes);
        assert_eq!(store.adopt(held.lane, 1, &id).await.unwrap(), Adopted::HeldByAnother);
    }

    async fn many_chats_that_reach_for_one_conversation_leave_it_to_one(world: World) {
        for chat in 0..10 {
            say(world.store.as_ref(), &format!("chat-{chat}"), "one").await;
        }
        let leases = lease_all(world.store.as_ref(), WorkKind::Turns).await;
        let mut tasks = Vec::new();
        for held in leases {
            ask(world.store.as_ref(), &held).await;
            let store = world.store.clone();
            tasks.push(tokio::spawn(async move { store.adopt(held.lane, 1, &InteractionId::new("one")).await.unwrap() }));
        }
        let mut winners = 0;
        for task in tasks {
            winners += usize::from(task.await.unwrap() == Adopted::Yes);
        }
        assert_eq!(winners, 1);
    }

    async fn a_chat_that_waits_for_its_id_goes_on_when_it_is_known(world: World) {
        let store = world.store.as_ref();
        say(store, "alice", "one").await;
        turn(store, vec![]).await;
        say(store, "alice", "two").await;
        let held = lease(store, WorkKind::Turns).await;
        store.release(&held, Next::After(Duration::from_secs(30))).await.unwrap();
        nothing_due(store, WorkKind::Turns).await;
        store.adopt(held.lane, 1, &InteractionId::new("i")).await.unwrap();
        lease(store, WorkKind::Turns).await;
    }

    async fn an_id_that_comes_just_before_its_chat_goes_to_wait_is_not_missed(world: World) {
        let store = world.store.as_ref();
        say(store, "alice", "one").await;
        turn(store, vec![]).await;
        say(store, "alice", "two").await;
        let held = lease(store, WorkKind::Turns).await;
        store.adopt(held.lane, 1, &InteractionId::new("i")).await.unwrap();
        store.release(&held, Next::After(Duration::from_secs(30))).await.unwrap();
        lease(store, WorkKind::Turns).await;
    }

    async fn an_id_wakes_no_chat_that_has_nothing_to_do(world: World) {
        let store = world.store.as_ref();
        say(store, "alice", "one").await;
        let held = lease(store, WorkKind::Turns).await;
        let asked = ask(store, &held).await;
        finish(store, &held, &answered(asked, vec![])).await.unwrap();
        store.release(&held, AT_ONCE).await.unwrap();
        store.adopt(held.lane, 1, &InteractionId::new("i")).await.unwrap();
        nothing_due(store, WorkKind::Turns).await;
    }
}
