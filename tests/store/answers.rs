//! Answers in the response to a webhook.

use std::time::Duration;

use fini_bridge::domain::id::MessageId;
use fini_bridge::store::{AnswerPart, MessageState, RESPONSE_WITHIN, SendState, Store, StoreError, WorkKind};
use serde_json::json;

use crate::actors::*;

const WAIT: Duration = Duration::from_secs(30);

async fn say_and_wait(store: &dyn Store, key: &str) -> MessageId {
    let mut waited = message("alice", key);
    waited.wait = Some(WAIT);
    said(accept(store, waited).await)
}

fn texts(parts: &[AnswerPart]) -> Vec<&str> {
    parts.iter().map(|part| part.part.0["text"].as_str().unwrap()).collect()
}

promises! {
    async fn a_reply_that_somebody_waits_for_is_not_delivered_before(world: World) {
        let store = world.store.as_ref();
        say_and_wait(store, "k").await;
        turn(store, vec![part(0, "a")]).await;
        nothing_due(store, WorkKind::Deliveries).await;
        assert_eq!(next_due(store, WorkKind::Deliveries).await, Some(WAIT));
        world.pass(WAIT).await;
        deliver(store).await;
    }

    async fn an_answer_in_the_response_is_not_delivered_again(world: World) {
        let store = world.store.as_ref();
        let id = say_and_wait(store, "k").await;
        assert!(store.have_ended(&[id]).await.unwrap().is_empty());
        assert_eq!(store.claim_response(id).await.unwrap(), None);
        turn(store, vec![part(0, "a"), part(0, "b")]).await;
        let expected = store.claim_response(id).await.unwrap().unwrap();
        assert_eq!(texts(&expected), ["a", "b"]);
        nothing_due(store, WorkKind::Deliveries).await;
        store.response_sent(id).await.unwrap();
        assert_eq!(state(store, id).await.0, MessageState::Done);
        world.pass(HOUR).await;
        for held in lease_all(store, WorkKind::Deliveries).await {
            assert!(outgoing(store, &held).await.is_empty());
        }
        assert_eq!(store.claim_response(id).await.unwrap(), Some(expected), "the same id again gets the same answer");
    }

    async fn what_waits_behind_an_answer_goes_out_once_it_is_claimed(world: World) {
        let store = world.store.as_ref();
        let id = say_and_wait(store, "k").await;
        turn(store, vec![part(0, "a")]).await;
        say(store, "alice", "two").await;
        turn(store, vec![part(0, "b")]).await;
        nothing_due(store, WorkKind::Deliveries).await;
        store.claim_response(id).await.unwrap();
        nothing_due(store, WorkKind::Deliveries).await;
        store.response_sent(id).await.unwrap();
        let held = lease(store, WorkKind::Deliveries).await;
        assert_eq!(outgoing(store, &held).await[0].part.0, json!({ "text": "b" }));
    }

    async fn an_answer_whose_response_did_not_leave_is_delivered_at_once(world: World) {
        let store = world.store.as_ref();
        let id = say_and_wait(store, "k").await;
        turn(store, vec![part(0, "a"), part(0, "b")]).await;
        let claimed = store.claim_response(id).await.unwrap().unwrap();
        store.release_response(id).await.unwrap();
        let held = lease(store, WorkKind::Deliveries).await;
        let waiting = outgoing(store, &held).await;
        assert_eq!(waiting.iter().map(|part| part.id).collect::<Vec<_>>(), [claimed[0].id, claimed[1].id]);
        assert!(waiting.iter().all(|part| part.state == SendState::Pending));
    }

    async fn an_answer_whose_process_died_with_the_response_is_a_send_of_unknown_outcome(world: World) {
        let id = say_and_wait(world.store.as_ref(), "k").await;
        turn(world.store.as_ref(), vec![part(0, "a")]).await;
        world.store.claim_response(id).await.unwrap();
        nothing_due(world.store.as_ref(), WorkKind::Deliveries).await;
        let world = world.restart().await;
        let store = world.store.as_ref();
        assert_eq!(state(store, id).await.0, MessageState::Answered);
        world.pass(RESPONSE_WITHIN).await;
        let held = lease(store, WorkKind::Deliveries).await;
        assert!(matches!(outgoing(store, &held).await[0].state, SendState::Sending { .. }));
    }

    async fn what_has_left_in_a_response_is_not_given_back(world: World) {
        let store = world.store.as_ref();
        let id = say_and_wait(store, "k").await;
        turn(store, vec![part(0, "a")]).await;
        for _ in 0..2 {
            store.claim_response(id).await.unwrap();
        }
        store.response_sent(id).await.unwrap();
        store.release_response(id).await.unwrap();
        assert_eq!(state(store, id).await.0, MessageState::Done);
        world.pass(HOUR).await;
        for held in lease_all(store, WorkKind::Deliveries).await {
            assert!(outgoing(store, &held).await.is_empty());
        }
    }

    async fn a_delivery_does_not_take_a_part_that_a_response_has_claimed(world: World) {
        let store = world.store.as_ref();
        let id = say_and_wait(store, "k").await;
        turn(store, vec![part(0, "a")]).await;
        world.pass(WAIT).await;
        let held = lease(store, WorkKind::Deliveries).await;
        let late = outgoing(store, &held).await.remove(0);
        store.claim_response(id).await.unwrap();
        assert!(matches!(store.begin_send(&held, late.id).await, Err(StoreError::Fenced)));
    }

    async fn when_nobody_waits_any_more_replies_are_delivered_at_once(world: World) {
        let store = world.store.as_ref();
        let id = say_and_wait(store, "k").await;
        turn(store, vec![part(0, "a")]).await;
        nothing_due(store, WorkKind::Deliveries).await;
        store.release_response(id).await.unwrap();
        deliver(store).await;
        assert_eq!(state(store, id).await.0, MessageState::Done);
    }

    async fn who_left_before_the_answer_gets_it_like_anybody(world: World) {
        let store = world.store.as_ref();
        let id = say_and_wait(store, "k").await;
        store.release_response(id).await.unwrap();
        turn(store, vec![part(0, "a")]).await;
        deliver(store).await;
    }

    async fn one_who_leaves_does_not_end_the_wait_of_another(world: World) {
        let store = world.store.as_ref();
        let first = say_and_wait(store, "a").await;
        let second = say_and_wait(store, "b").await;
        turn(store, vec![part(0, "x")]).await;
        store.release_response(first).await.unwrap();
        nothing_due(store, WorkKind::Deliveries).await;
        store.release_response(second).await.unwrap();
        lease(store, WorkKind::Deliveries).await;
    }

    async fn who_did_not_wait_gets_the_answer_that_left_in_anothers_response(world: World) {
        let store = world.store.as_ref();
        let other = say(store, "alice", "one").await;
        let id = say_and_wait(store, "two").await;
        turn(store, vec![part(0, "a")]).await;
        nothing_due(store, WorkKind::Deliveries).await;
        let claimed = store.claim_response(id).await.unwrap().unwrap();
        nothing_due(store, WorkKind::Deliveries).await;
        store.response_sent(id).await.unwrap();
        let held = lease(store, WorkKind::Deliveries).await;
        assert_eq!(outgoing(store, &held).await[0].id, claimed[0].id);
        assert_eq!(state(store, other).await.0, MessageState::Answered);
    }

    async fn each_who_waits_for_a_turn_gets_its_answer_and_nobody_twice(world: World) {
        let store = world.store.as_ref();
        let first = say_and_wait(store, "a").await;
        let second = say_and_wait(store, "b").await;
        turn(store, vec![part(0, "x")]).await;
        for id in [first, second] {
            nothing_due(store, WorkKind::Deliveries).await;
            assert_eq!(texts(&store.claim_response(id).await.unwrap().unwrap()), ["x"]);
            store.response_sent(id).await.unwrap();
        }
        assert_eq!(state(store, first).await.0, MessageState::Done);
        world.pass(HOUR).await;
        for held in lease_all(store, WorkKind::Deliveries).await {
            assert!(outgoing(store, &held).await.is_empty());
        }
    }

    async fn who_asked_twice_and_gave_up_once_has_the_answer(world: World) {
        let store = world.store.as_ref();
        let first = say_and_wait(store, "a").await;
        let second = say_and_wait(store, "b").await;
        turn(store, vec![part(0, "x")]).await;
        for id in [first, second] {
            store.claim_response(id).await.unwrap();
        }
        store.response_sent(first).await.unwrap();
        store.release_response(first).await.unwrap();
        store.response_sent(second).await.unwrap();
        assert_eq!(state(store, first).await.0, MessageState::Done);
    }

    async fn who_gives_up_gets_the_answer_that_left_in_anothers_response(world: World) {
        let store = world.store.as_ref();
        let first = say_and_wait(store, "a").await;
        let second = say_and_wait(store, "b").await;
        turn(store, vec![part(0, "x")]).await;
        store.claim_response(first).await.unwrap();
        store.response_sent(first).await.unwrap();
        store.release_response(second).await.unwrap();
        deliver(store).await;
        assert_eq!(state(store, second).await.0, MessageState::Done);
    }

    async fn leaving_does_not_shorten_a_backoff(world: World) {
        let store = world.store.as_ref();
        say(store, "alice", "one").await;
        turn(store, vec![part(0, "a")]).await;
        let held = lease(store, WorkKind::Deliveries).await;
        store.release(&held, fini_bridge::store::Next::After(HOUR)).await.unwrap();
        let id = say_and_wait(store, "k").await;
        turn(store, vec![part(0, "b")]).await;
        store.release_response(id).await.unwrap();
        nothing_due(store, WorkKind::Deliveries).await;
    }

    async fn an_answer_that_was_delivered_can_still_be_asked_for(world: World) {
        let store = world.store.as_ref();
        let id = say(store, "alice", "one").await;
        turn(store, vec![part(0, "a")]).await;
        deliver(store).await;
        let parts = store.claim_response(id).await.unwrap().unwrap();
        assert_eq!(texts(&parts), ["a"]);
    }

    async fn there_is_no_answer_to_a_message_that_never_came(world: World) {
        let unknown = MessageId::generate();
        assert!(world.store.have_ended(&[unknown]).await.unwrap().is_empty());
        assert_eq!(world.store.claim_response(unknown).await.unwrap(), None);
        world.store.response_sent(unknown).await.unwrap();
        world.store.release_response(unknown).await.unwrap();
    }
}
