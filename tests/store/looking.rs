//! Listing messages, and figures.

use std::time::Duration;

use fini_bridge::domain::id::{ChannelName, ChatKey, InteractionId, MessageId};
use fini_bridge::store::{Filter, MessageState, NewItem, Store, WorkKind};

use crate::actors::*;

async fn listed(store: &dyn Store, filter: Filter) -> Vec<MessageId> {
    store.list(&filter).await.unwrap().into_iter().map(|story| story.id).collect()
}

fn at_most(limit: usize) -> Filter {
    Filter { limit, ..Filter::default() }
}

promises! {
    async fn messages_are_listed_newest_first_up_to_the_limit(world: World) {
        let store = world.store.as_ref();
        let mut ids = Vec::new();
        for number in 0..5 {
            ids.push(say(store, "alice", &number.to_string()).await);
        }
        ids.reverse();
        assert_eq!(listed(store, at_most(3)).await, ids[..3]);
        assert_eq!(listed(store, at_most(100)).await, ids);
        assert_eq!(listed(store, at_most(0)).await, []);
    }

    async fn messages_are_listed_by_state_channel_and_age(world: World) {
        let store = world.store.as_ref();
        let done = say(store, "alice", "one").await;
        turn(store, vec![]).await;
        let failed = said(store.accept(vec![NewItem::Unusable(unusable("k"))]).await.unwrap()[0]);
        world.pass(HOUR).await;
        let waiting = say(store, "alice", "two").await;
        let mut other = message("alice", "k");
        other.channel = ChannelName::new("other");
        let other = said(accept(store, other).await);
        let states = |states: &[MessageState]| Filter { states: states.to_vec(), ..at_most(10) };
        assert_eq!(listed(store, states(&[MessageState::Done])).await, [done]);
        assert_eq!(listed(store, states(&[MessageState::Failed])).await, [failed]);
        assert_eq!(listed(store, states(&[MessageState::Received, MessageState::Done])).await, [other, waiting, done]);
        assert_eq!(listed(store, states(&[MessageState::Held])).await, []);
        let in_shop = Filter { channel: Some(shop()), ..states(&[MessageState::Received]) };
        assert_eq!(listed(store, in_shop).await, [waiting]);
        let old = Filter { older_than: Some(HOUR), ..at_most(10) };
        assert_eq!(listed(store, old).await, [failed, done]);
        let old_and_waiting = Filter { older_than: Some(HOUR), ..states(&[MessageState::Received]) };
        assert_eq!(listed(store, old_and_waiting).await, []);
    }

    async fn messages_are_listed_by_the_platforms_chat_id_and_by_when_they_came(world: World) {
        let store = world.store.as_ref();
        let long = "long".repeat(1000);
        let (early, of_long) = (say(store, "alice", "one").await, say(store, &long, "two").await);
        world.pass(HOUR).await;
        let (late, _) = (say(store, "alice", "three").await, say(store, "bob", "four").await);
        let of = |chat: &str| Filter { chat: Some(ChatKey::new(chat)), ..at_most(10) };
        assert_eq!(listed(store, of("alice")).await, [late, early]);
        assert_eq!(listed(store, of(&long)).await, [of_long]);
        assert_eq!(listed(store, of("alic")).await, []);
        let (thread, other) = (say(store, "T1:C1:17.5", "in a thread").await, say(store, "T1:C12", "elsewhere").await);
        assert_eq!(listed(store, of("C1")).await, [thread]);
        assert_eq!(listed(store, of("T1")).await, [other, thread]);
        let received = Filter { states: vec![MessageState::Received], ..of("alice") };
        assert_eq!(listed(store, received).await, [late, early]);
        let now = store.details(late).await.unwrap().unwrap().received_at;
        assert_eq!(listed(store, Filter { since: Some(now), ..of("alice") }).await, [late]);
        let elsewhere = Filter { channel: Some(ChannelName::new("other")), ..of("alice") };
        assert_eq!(listed(store, elsewhere).await, []);
        assert_eq!(store.details(late).await.unwrap().unwrap().chat.as_deref(), Some("alice"));
    }

    async fn the_oldest_that_waits_may_be_one_that_fini_was_asked_about(world: World) {
        let store = world.store.as_ref();
        let age = async || store.stats().await.unwrap().oldest_waiting.map(|age| age.as_secs());
        say(store, "alice", "one").await;
        let held = lease(store, WorkKind::Turns).await;
        let asked = ask(store, &held).await;
        world.pass(Duration::from_secs(7)).await;
        say(store, "bob", "two").await;
        assert_eq!(age().await, Some(7), "asked, and not answered");
        finish(store, &held, &answered(asked, vec![part(0, "a")])).await.unwrap();
        store.release(&held, AT_ONCE).await.unwrap();
        assert_eq!(age().await, Some(7), "answered, and not delivered");
        deliver(store).await;
        assert_eq!(age().await, Some(0));
    }

    async fn a_story_tells_everything_about_a_message(world: World) {
        let store = world.store.as_ref();
        let id = said(accept(store, message("alice", "k")).await);
        let received_at = store.details(id).await.unwrap().unwrap().received_at;
        let held = lease(store, WorkKind::Turns).await;
        let asked = ask(store, &held).await;
        store.adopt(held.lane, 1, &InteractionId::new("interaction")).await.unwrap();
        world.pass(Duration::from_secs(7)).await;
        let parts = vec![part(0, "a")];
        let reply = parts[0].id;
        finish(store, &held, &answered(asked, parts)).await.unwrap();
        let story = store.details(id).await.unwrap().unwrap();
        assert_eq!((story.id, story.channel, story.received_at), (id, shop(), received_at));
        assert_eq!(story.chat_ref.unwrap().as_str(), "ref-of-alice");
        assert_eq!((story.text.as_deref(), story.state), (Some("text of k"), MessageState::Answered));
        let turn = story.turn.unwrap();
        assert_eq!((turn.id, turn.generation, turn.asked), (asked, 1, 1));
        assert_eq!(turn.interaction_id, Some(InteractionId::new("interaction")));
        assert_eq!(turn.asked_at, Some(received_at));
        assert_eq!(turn.ended_at, Some(received_at.plus(Duration::from_secs(7))));
        assert_eq!(turn.event_kinds, ["user/message", "finibot/message"]);
        assert_eq!(story.parts[0].id, reply);
        assert_eq!(store.details(MessageId::generate()).await.unwrap().map(|story| story.id), None);
    }

    async fn a_message_that_waits_for_another_try_tells_why(world: World) {
        let store = world.store.as_ref();
        let id = say(store, "alice", "one").await;
        let held = lease(store, WorkKind::Turns).await;
        let asked = ask(store, &held).await;
        store.reopen(&held, asked, HOUR, "fini_429").await.unwrap();
        assert_eq!(state(store, id).await, (MessageState::Asking, Some("fini_429".to_owned())));
    }

    async fn figures_count_what_is_not_done(world: World) {
        let store = world.store.as_ref();
        assert_eq!(store.stats().await.unwrap().oldest_waiting, None);
        say(store, "alice", "one").await;
        turn(store, vec![part(0, "a"), part(0, "b")]).await;
        say(store, "alice", "two").await;
        world.pass(Duration::from_secs(5)).await;
        say(store, "bob", "three").await;
        store.accept(vec![NewItem::Unusable(unusable("k"))]).await.unwrap();
        let stats = store.stats().await.unwrap();
        let count = |state| {
            stats.by_state.iter().find(|(channel, at, _)| *channel == shop() && *at == state).map(|(_, _, n)| *n)
        };
        assert_eq!(count(MessageState::Received), Some(2));
        assert_eq!(count(MessageState::Answered), Some(1));
        assert_eq!(count(MessageState::Failed), None, "what has ended is as much as there ever was");
        assert_eq!(stats.pending_parts, [(shop(), 2)]);
        assert_eq!(stats.oldest_waiting, Some(Duration::from_secs(5)));
    }
}
