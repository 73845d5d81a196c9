//! Once more, by a person's decision; and forgetting.

use std::time::Duration;

use fini_bridge::domain::id::MessageId;
use fini_bridge::domain::message::{ReportOutcome, Reported};
use fini_bridge::store::{Discarded, MessageState, NewItem, Retried, Store, Work};

use crate::actors::*;

const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);

/// Asks what waits in the one lane that is due, to no avail.
async fn fail(store: &dyn Store) {
    let held = lease(store, Work::Turns).await;
    let asked = ask(store, &held).await;
    store.end(&held, &ended_as(asked, failed_as("fini_400"))).await.unwrap();
    store.release(&held, AT_ONCE).await.unwrap();
}

async fn text_of(store: &dyn Store, id: MessageId) -> Option<String> {
    store.story(id).await.unwrap().unwrap().text
}

promises! {
    async fn a_failed_turn_that_is_tried_again_stands_at_the_head_in_its_old_order(world: World) {
        let store = world.store.as_ref();
        let first = say(store, "alice", "one").await;
        let second = say(store, "alice", "two").await;
        fail(store).await;
        let third = say(store, "alice", "three").await;
        assert_eq!(store.retry(second).await.unwrap(), Retried::Turn);
        let held = lease(store, Work::Turns).await;
        let waiting: Vec<_> = look(store, &held).await.waiting.into_iter().map(|m| m.id).collect();
        assert_eq!(waiting, [first, second, third]);
        assert_eq!(state(store, first).await, (MessageState::Received, None));
        ask(store, &held).await;
    }

    async fn a_turn_that_is_tried_again_is_as_young_as_that_decision(world: World) {
        let store = world.store.as_ref();
        let id = say(store, "alice", "one").await;
        fail(store).await;
        world.pass(MONTH).await;
        store.retry(id).await.unwrap();
        let held = lease(store, Work::Turns).await;
        ask(store, &held).await;
        let view = look(store, &held).await;
        assert_eq!(view.turn.unwrap().received_at, view.now);
    }

    async fn what_failed_can_be_discarded_with_the_messages_of_its_turn_and_is_not_tried_again(world: World) {
        let store = world.store.as_ref();
        let (first, second) = (say(store, "alice", "one").await, say(store, "alice", "two").await);
        assert_eq!(store.discard(first).await.unwrap(), Discarded::Not(MessageState::Received));
        fail(store).await;
        let third = say(store, "alice", "three").await;
        assert_eq!(store.discard(second).await.unwrap(), Discarded::Yes);
        for id in [first, second] {
            assert_eq!(state(store, id).await, (MessageState::Dropped, Some("discarded".to_owned())));
            assert!(matches!(store.retry(id).await.unwrap(), Retried::Not(_)));
        }
        assert_eq!(store.discard(first).await.unwrap(), Discarded::Not(MessageState::Dropped));
        assert_eq!(state(store, third).await.0, MessageState::Received);
        let unreadable = said(store.accept(vec![NewItem::Unusable(unusable("k"))]).await.unwrap()[0]);
        assert_eq!(store.discard(unreadable).await.unwrap(), Discarded::Yes);
        assert_eq!(store.discard(MessageId::generate()).await.unwrap(), Discarded::NoSuchMessage);
    }

    async fn a_failed_delivery_is_tried_again_without_what_was_sent(world: World) {
        let store = world.store.as_ref();
        let id = say(store, "alice", "one").await;
        let parts = vec![part(0, "a"), part(0, "b"), part(0, "c")];
        let ids: Vec<_> = parts.iter().map(|part| part.id).collect();
        turn(store, parts).await;
        let held = lease(store, Work::Deliveries).await;
        send(store, &held, ids[0], took("1")).await;
        send(store, &held, ids[1], refused("gone")).await;
        store.release(&held, AT_ONCE).await.unwrap();
        world.pass(MONTH).await;
        assert_eq!(store.retry(id).await.unwrap(), Retried::Delivery);
        assert_eq!(state(store, id).await, (MessageState::Answered, None));
        let held = lease(store, Work::Deliveries).await;
        let (now, left) = store.outgoing(&held).await.unwrap();
        assert_eq!(left.iter().map(|part| part.id).collect::<Vec<_>>(), ids[1..]);
        assert_eq!(left[0].answered_at, now, "a person wants it sent, however old it is");
        store.release(&held, AT_ONCE).await.unwrap();
        deliver(store).await;
        assert_eq!(state(store, id).await.0, MessageState::Done);
    }

    async fn a_held_delivery_is_tried_again(world: World) {
        let store = world.store.as_ref();
        let id = say(store, "alice", "one").await;
        let parts = vec![part(0, "a"), part(0, "b")];
        let first = parts[0].id;
        turn(store, parts).await;
        let held = lease(store, Work::Deliveries).await;
        send(store, &held, first, in_doubt("send_unknown")).await;
        store.release(&held, AT_ONCE).await.unwrap();
        assert_eq!(store.retry(id).await.unwrap(), Retried::Delivery);
        let held = lease(store, Work::Deliveries).await;
        assert_eq!(outgoing(store, &held).await.len(), 2);
    }

    async fn what_is_neither_failed_nor_held_is_not_tried_again(world: World) {
        let store = world.store.as_ref();
        let id = say(store, "alice", "one").await;
        assert!(matches!(store.retry(id).await.unwrap(), Retried::Not(_)));
        turn(store, vec![]).await;
        assert!(matches!(store.retry(id).await.unwrap(), Retried::Not(_)));
        nothing_due(store, Work::Turns).await;
        let accepted = store.accept(vec![NewItem::Unusable(unusable("k"))]).await.unwrap();
        assert!(matches!(store.retry(said(accepted[0])).await.unwrap(), Retried::Not(_)));
        assert_eq!(store.retry(MessageId::generate()).await.unwrap(), Retried::NoSuchMessage);
    }

    async fn a_command_beside_the_gateway_can_say_once_more(world: World) {
        let id = say(world.store.as_ref(), "alice", "one").await;
        fail(world.store.as_ref()).await;
        let beside = world.beside().await;
        assert_eq!(state(beside.as_ref(), id).await.0, MessageState::Failed);
        assert_eq!(beside.retry(id).await.unwrap(), Retried::Turn);
        lease(world.store.as_ref(), Work::Turns).await;
    }

    async fn the_text_of_finished_messages_is_forgotten_and_their_ids_are_not(world: World) {
        let store = world.store.as_ref();
        let done = said(accept(store, message("alice", "done")).await);
        turn(store, vec![part(0, "a")]).await;
        deliver(store).await;
        let raw = said(store.accept(vec![NewItem::Unusable(unusable("raw"))]).await.unwrap()[0]);
        assert_eq!(store.prune(MONTH).await.unwrap(), 0);
        world.pass(MONTH).await;
        let waiting = say(store, "bob", "new").await;
        assert_eq!(store.prune(MONTH).await.unwrap(), 2);
        assert_eq!(store.prune(MONTH).await.unwrap(), 0);
        let story = store.story(done).await.unwrap().unwrap();
        assert_eq!((story.text, story.state), (None, MessageState::Done));
        assert_eq!(story.parts[0].part, None);
        assert!(story.parts[0].sent_at.is_some() && story.turn.is_some());
        assert_eq!(text_of(store, raw).await, None);
        assert_eq!(text_of(store, waiting).await.as_deref(), Some("new"));
        assert_eq!(accept_again(store, "done").await, done, "still recognised when it comes again");
    }

    async fn what_has_not_ended_is_never_forgotten(world: World) {
        let store = world.store.as_ref();
        let undelivered = say(store, "alice", "one").await;
        turn(store, vec![part(0, "a")]).await;
        let failed = say(store, "alice", "two").await;
        let held = lease(store, Work::Turns).await;
        let asked = ask(store, &held).await;
        let mut end = ended_as(asked, failed_as("fini_400"));
        end.parts = vec![part(0, "we could not answer")];
        store.end(&held, &end).await.unwrap();
        store.release(&held, AT_ONCE).await.unwrap();
        let asking = say(store, "alice", "three").await;
        let held = lease(store, Work::Turns).await;
        ask(store, &held).await;
        world.pass(MONTH * 2).await;
        assert_eq!(store.prune(MONTH).await.unwrap(), 0);
        for id in [undelivered, failed, asking] {
            assert!(text_of(store, id).await.is_some());
        }
        let held = lease(store, Work::Deliveries).await;
        assert_eq!(outgoing(store, &held).await.len(), 2);
    }

    async fn a_report_that_comes_after_all_is_forgotten_sends_nothing(world: World) {
        let store = world.store.as_ref();
        say(store, "alice", "one").await;
        turn(store, vec![part(0, "a"), part(0, "b")]).await;
        let held = lease(store, Work::Deliveries).await;
        let first = outgoing(store, &held).await[0].id;
        store.sending(&held, first).await.unwrap();
        store.sent(&held, first, &in_doubt("send_unknown")).await.unwrap();
        store.release(&held, AT_ONCE).await.unwrap();
        world.pass(MONTH * 2).await;
        store.prune(MONTH).await.unwrap();
        assert!(store.report(&shop(), &Reported::Part(first), &ReportOutcome::Delivered).await.unwrap());
        for held in lease_all(store, Work::Deliveries).await {
            assert!(outgoing(store, &held).await.is_empty());
        }
    }

    async fn a_forgotten_message_can_not_be_tried_again(world: World) {
        let store = world.store.as_ref();
        let id = say(store, "alice", "one").await;
        fail(store).await;
        world.pass(MONTH).await;
        assert_eq!(store.prune(MONTH).await.unwrap(), 1);
        assert!(matches!(store.retry(id).await.unwrap(), Retried::Not(_)));
        assert_eq!(state(store, id).await.0, MessageState::Failed);
    }

    async fn a_great_deal_is_forgotten_in_one_go(world: World) {
        let store = world.store.as_ref();
        let items = (0..450).map(|n| NewItem::Unusable(unusable(&format!("k{n}")))).collect();
        store.accept(items).await.unwrap();
        world.pass(MONTH).await;
        assert_eq!(store.prune(MONTH).await.unwrap(), 450);
    }
}

async fn accept_again(store: &dyn Store, key: &str) -> MessageId {
    match accept(store, message("alice", key)).await {
        fini_bridge::store::Accepted::Duplicate(id) => id,
        other => panic!("{other:?}"),
    }
}
