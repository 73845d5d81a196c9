//! Manual retries.

use std::time::Duration;

use fini_bridge::domain::id::MessageId;
use fini_bridge::store::{Discarded, MessageState, NewItem, Retried, Store, WorkKind};

use crate::actors::*;

const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);

/// Asks what waits in the one lane that is due, to no avail.
async fn fail(store: &dyn Store) {
    let held = lease(store, WorkKind::Turns).await;
    let asked = ask(store, &held).await;
    finish(store, &held, &ended_as(asked, failed_as("fini_400"))).await.unwrap();
    store.release(&held, AT_ONCE).await.unwrap();
}

promises! {
    async fn a_failed_turn_that_is_tried_again_stands_at_the_head_in_its_old_order(world: World) {
        let store = world.store.as_ref();
        let first = say(store, "alice", "one").await;
        let second = say(store, "alice", "two").await;
        fail(store).await;
        let third = say(store, "alice", "three").await;
        assert_eq!(store.retry(second).await.unwrap(), Retried::Turn);
        let held = lease(store, WorkKind::Turns).await;
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
        let held = lease(store, WorkKind::Turns).await;
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
        let held = lease(store, WorkKind::Deliveries).await;
        send(store, &held, ids[0], took("1")).await;
        send(store, &held, ids[1], refused("gone")).await;
        store.release(&held, AT_ONCE).await.unwrap();
        world.pass(MONTH).await;
        assert_eq!(store.retry(id).await.unwrap(), Retried::Delivery);
        assert_eq!(state(store, id).await, (MessageState::Answered, None));
        let held = lease(store, WorkKind::Deliveries).await;
        let (now, left) = store.pending_parts(&held).await.unwrap();
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
        let held = lease(store, WorkKind::Deliveries).await;
        send(store, &held, first, in_doubt("send_unknown")).await;
        store.release(&held, AT_ONCE).await.unwrap();
        assert_eq!(store.retry(id).await.unwrap(), Retried::Delivery);
        let held = lease(store, WorkKind::Deliveries).await;
        assert_eq!(outgoing(store, &held).await.len(), 2);
    }

    async fn what_is_neither_failed_nor_held_is_not_tried_again(world: World) {
        let store = world.store.as_ref();
        let id = say(store, "alice", "one").await;
        assert!(matches!(store.retry(id).await.unwrap(), Retried::Not(_)));
        turn(store, vec![]).await;
        assert!(matches!(store.retry(id).await.unwrap(), Retried::Not(_)));
        nothing_due(store, WorkKind::Turns).await;
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
        lease(world.store.as_ref(), WorkKind::Turns).await;
    }
}
