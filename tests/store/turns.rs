//! Turns: who belongs to one, and what every step leaves.

use std::time::Duration;

use fini_bridge::domain::id::{DeliveryKey, TurnId};
use fini_bridge::domain::message::Role;
use fini_bridge::store::{
    LookupNote, MessageState, Next, Retried, StoreError, TurnEnd, TurnOutcome, TurnState, WorkKind,
};

use crate::actors::*;

promises! {
    async fn messages_wait_in_the_order_of_acknowledgement(world: World) {
        let store = world.store.as_ref();
        for number in 0..30 {
            say(store, "alice", &number.to_string()).await;
        }
        let lease = lease(store, WorkKind::Turns).await;
        let texts: Vec<_> = look(store, &lease).await.waiting.into_iter().map(|m| m.text).collect();
        assert_eq!(texts, (0..30).map(|number| number.to_string()).collect::<Vec<_>>());
    }

    async fn a_holder_sees_a_message_as_it_came(world: World) {
        let store = world.store.as_ref();
        let sent = message("alice", "k");
        accept(store, sent.clone()).await;
        let lease = lease(store, WorkKind::Turns).await;
        let view = look(store, &lease).await;
        let seen = &view.waiting[0];
        assert_eq!((seen.id, &seen.delivery_key, &seen.text), (sent.id, &sent.delivery_key, &sent.text));
        assert_eq!((&seen.sender, seen.role, &seen.bot_id), (&sent.sender, Role::User, &sent.bot_id));
        assert_eq!((&seen.address, &seen.user_attributes), (&sent.address, &sent.user_attributes));
        assert_eq!(seen.received_at, view.now);
        assert_eq!((view.generation, view.bot_id, view.last_turn_at), (0, None, None));
        assert_eq!(lease.chat_ref, sent.chat_ref);
    }

    async fn a_holder_sees_at_most_two_hundred_that_wait(world: World) {
        for number in 0..205 {
            say(world.store.as_ref(), "alice", &number.to_string()).await;
        }
        let lease = lease(world.store.as_ref(), WorkKind::Turns).await;
        let waiting = look(world.store.as_ref(), &lease).await.waiting;
        assert_eq!((waiting.len(), waiting[0].text.as_str()), (200, "0"));
    }

    async fn who_belongs_to_a_turn_is_fixed_once_its_call_may_have_left(world: World) {
        let store = world.store.as_ref();
        accept(store, message("alice", "a")).await;
        accept(store, message("alice", "b")).await;
        let held = lease(store, WorkKind::Turns).await;
        let asked = ask(store, &held).await;
        accept(store, message("alice", "c")).await;
        let view = look(store, &held).await;
        let turn = view.turn.unwrap();
        assert_eq!(turn.id, asked);
        assert_eq!(turn.in_reply_to, [DeliveryKey::new("a"), DeliveryKey::new("b")]);
        assert_eq!((turn.content.as_str(), turn.asked, turn.generation), ("the question", 1, 1));
        assert_eq!(turn.state, TurnState::Asking { since: view.now });
        let waiting: Vec<_> = view.waiting.into_iter().map(|m| m.delivery_key).collect();
        assert_eq!(waiting, [DeliveryKey::new("c")]);
        assert_eq!((view.generation, view.last_turn_at), (1, Some(view.now)));
    }

    async fn the_members_of_a_turn_keep_the_order_they_were_given(world: World) {
        let store = world.store.as_ref();
        let late = said(accept(store, message("alice", "late")).await);
        let early = said(accept(store, message("alice", "early")).await);
        let held = lease(store, WorkKind::Turns).await;
        begin_call(store, &held, &question(vec![early, late])).await.unwrap();
        let keys = look(store, &held).await.turn.unwrap().in_reply_to;
        assert_eq!(keys, [DeliveryKey::new("early"), DeliveryKey::new("late")]);
    }

    async fn a_turn_is_as_old_as_its_oldest_message(world: World) {
        let store = world.store.as_ref();
        say(store, "alice", "one").await;
        let held = lease(store, WorkKind::Turns).await;
        let since = look(store, &held).await.now;
        world.pass(Duration::from_secs(9)).await;
        say(store, "alice", "two").await;
        ask(store, &held).await;
        assert_eq!(look(store, &held).await.turn.unwrap().received_at, since);
    }

    async fn a_turn_is_asked_again_with_the_same_messages(world: World) {
        let store = world.store.as_ref();
        let first = say(store, "alice", "one").await;
        let held = lease(store, WorkKind::Turns).await;
        let mut asking = question(vec![first]);
        begin_call(store, &held, &asking).await.unwrap();
        store.reopen(&held, asking.turn, Duration::from_secs(5), "fini_429").await.unwrap();
        nothing_due(store, WorkKind::Turns).await;
        let later = say(store, "alice", "two").await;
        world.pass(Duration::from_secs(5)).await;
        let held = lease(store, WorkKind::Turns).await;
        assert_eq!(look(store, &held).await.turn.unwrap().state, TurnState::Open);
        asking.members = vec![];
        begin_call(store, &held, &asking).await.unwrap();
        let view = look(store, &held).await;
        assert_eq!(view.turn.unwrap().asked, 2);
        assert_eq!(view.waiting[0].id, later);
    }

    async fn a_message_belongs_to_one_turn_only(world: World) {
        let store = world.store.as_ref();
        let first = say(store, "alice", "one").await;
        let held = lease(store, WorkKind::Turns).await;
        let asked = ask(store, &held).await;
        finish(store, &held, &answered(asked, vec![])).await.unwrap();
        assert!(matches!(begin_call(store, &held, &question(vec![first])).await, Err(StoreError::Corrupt(_))));
        assert!(look(store, &held).await.turn.is_none());
    }

    async fn a_chat_has_one_turn_at_a_time(world: World) {
        let store = world.store.as_ref();
        say(store, "alice", "one").await;
        let held = lease(store, WorkKind::Turns).await;
        let asked = ask(store, &held).await;
        let second = say(store, "alice", "two").await;
        assert!(begin_call(store, &held, &question(vec![second])).await.is_err());
        let view = look(store, &held).await;
        assert_eq!((view.turn.unwrap().id, view.waiting.len()), (asked, 1));
    }

    async fn messages_of_another_chat_never_get_into_a_turn(world: World) {
        let store = world.store.as_ref();
        say(store, "alice", "one").await;
        let held = lease(store, WorkKind::Turns).await;
        let other = say(store, "bob", "secret").await;
        assert!(begin_call(store, &held, &question(vec![other])).await.is_err());
        assert_eq!(state(store, other).await.0, MessageState::Received);
    }

    async fn an_unknown_outcome_is_looked_at_until_it_is_known(world: World) {
        let store = world.store.as_ref();
        say(store, "alice", "one").await;
        let held = lease(store, WorkKind::Turns).await;
        let asked = ask(store, &held).await;
        let asked_at = look(store, &held).await.now;
        world.pass(Duration::from_secs(10)).await;
        store.mark_unknown(&held, asked, LookupNote::Started { answered: true }, Duration::from_secs(1), "fini_500").await.unwrap();
        for looks in 0..3 {
            nothing_due(store, WorkKind::Turns).await;
            world.pass(Duration::from_secs(1)).await;
            let held = lease(store, WorkKind::Turns).await;
            let since = asked_at.plus(Duration::from_secs(10));
            let expected = TurnState::Unknown { asked_at, since, answered: true, looks };
            assert_eq!(look(store, &held).await.turn.unwrap().state, expected);
            store.mark_unknown(&held, asked, LookupNote::Missed, Duration::from_secs(1), "fini_500").await.unwrap();
        }
    }

    async fn an_answered_turn_without_replies_is_done(world: World) {
        let store = world.store.as_ref();
        let id = say(store, "alice", "one").await;
        turn(store, vec![]).await;
        assert_eq!(state(store, id).await, (MessageState::Done, None));
        nothing_due(store, WorkKind::Deliveries).await;
    }

    async fn a_turn_that_ends_puts_its_replies_into_the_outbox_in_the_same_commit(world: World) {
        let store = world.store.as_ref();
        let id = say(store, "alice", "one").await;
        turn(store, vec![part(0, "a"), part(0, "b")]).await;
        assert_eq!(state(store, id).await.0, MessageState::Answered);
        assert_eq!(parts_of(store, id).await, [plain("pending"), plain("pending")]);
        lease(store, WorkKind::Deliveries).await;
    }

    async fn ending_a_turn_twice_sends_nothing_twice(world: World) {
        let store = world.store.as_ref();
        let id = say(store, "alice", "one").await;
        let held = lease(store, WorkKind::Turns).await;
        let asked = ask(store, &held).await;
        finish(store, &held, &answered(asked, vec![part(0, "a")])).await.unwrap();
        finish(store, &held, &answered(asked, vec![part(0, "a")])).await.unwrap();
        assert_eq!(parts_of(store, id).await.len(), 1);
    }

    async fn failed_and_held_messages_give_up_their_place(world: World) {
        let store = world.store.as_ref();
        for (outcome, expected) in
            [(failed_as("fini_400"), MessageState::Failed), (held_as("no_answer"), MessageState::Held)]
        {
            let poisoned = say(store, "alice", "poisoned").await;
            let held = lease(store, WorkKind::Turns).await;
            let asked = ask(store, &held).await;
            let next = say(store, "alice", "next").await;
            let mut end = ended_as(asked, outcome);
            end.parts = vec![part(0, "we could not answer")];
            finish(store, &held, &end).await.unwrap();
            let (at, reason) = state(store, poisoned).await;
            assert_eq!(at, expected);
            assert!(reason.is_some());
            let view = look(store, &held).await;
            assert!(view.turn.is_none());
            assert_eq!(view.waiting[0].id, next);
            store.release(&held, AT_ONCE).await.unwrap();
            turn(store, vec![]).await;
            deliver(store).await;
            assert_eq!(state(store, poisoned).await.0, expected, "its failure text went out");
        }
    }

    async fn messages_that_are_not_answered_are_dropped_with_the_reason(world: World) {
        let store = world.store.as_ref();
        let blank = say(store, "alice", " ").await;
        let real = say(store, "alice", "hello").await;
        let held = lease(store, WorkKind::Turns).await;
        let outcome = TurnOutcome::Dropped { reason: "blank".to_owned() };
        let end = TurnEnd { members: vec![blank], ..ended_as(TurnId::generate(), outcome) };
        finish(store, &held, &end).await.unwrap();
        assert_eq!(state(store, blank).await, (MessageState::Dropped, Some("blank".to_owned())));
        assert_eq!(look(store, &held).await.waiting[0].id, real);
        assert_eq!(store.claim_response(blank).await.unwrap(), Some(Vec::new()));
    }

    async fn a_turn_that_fails_before_it_began_has_its_replies_and_can_be_retried(world: World) {
        let store = world.store.as_ref();
        let old = say(store, "alice", "too late").await;
        let held = lease(store, WorkKind::Turns).await;
        let end = TurnEnd { members: vec![old], parts: vec![part(0, "sorry")], ..ended_as(TurnId::generate(), failed_as("gave_up")) };
        finish(store, &held, &end).await.unwrap();
        assert_eq!(state(store, old).await, (MessageState::Failed, Some("gave_up".to_owned())));
        store.release(&held, Next::WhenNeeded { merge_window: Duration::ZERO }).await.unwrap();
        deliver(store).await;
        assert_eq!(store.retry(old).await.unwrap(), Retried::Turn);
        assert_eq!(look(store, &lease(store, WorkKind::Turns).await).await.waiting[0].id, old);
    }

    async fn a_look_that_did_not_happen_changes_nothing_but_the_time_of_the_next(world: World) {
        let store = world.store.as_ref();
        say(store, "alice", "hello").await;
        let held = lease(store, WorkKind::Turns).await;
        let turn = ask(store, &held).await;
        store.mark_unknown(&held, turn, LookupNote::Started { answered: false }, Duration::ZERO, "lost").await.unwrap();
        let held = lease(store, WorkKind::Turns).await;
        let before = look(store, &held).await.turn.unwrap().state;
        world.pass(Duration::from_secs(3)).await;
        store.mark_unknown(&held, turn, LookupNote::Unchanged, Duration::ZERO, "Fini is away").await.unwrap();
        let held = lease(store, WorkKind::Turns).await;
        assert_eq!(look(store, &held).await.turn.unwrap().state, before);
    }
}
