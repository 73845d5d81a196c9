//! Who writes in a chat: once a second person has, nobody's user attributes go along any more.

use fini_bridge::domain::id::{AttributesRef, SenderRef};
use fini_bridge::domain::message::Role;
use fini_bridge::store::{Accepted, Admission, NewItem, NewMessage, Store, WorkKind};
use serde_json::{Map, json};

use crate::actors::*;

/// A message of `sender`, with user attributes of this name.
fn by(sender: Option<&str>, attributes: &str, key: &str) -> NewMessage {
    NewMessage {
        sender: sender.map(str::to_owned),
        sender_ref: sender.map(SenderRef::new),
        attributes_ref: AttributesRef::new(attributes),
        ..message("room", key)
    }
}

/// Whether the store says that the chat is shared, when all that waits there is asked.
async fn is_shared(store: &dyn Store) -> bool {
    let held = lease(store, WorkKind::Turns).await;
    let waiting = look(store, &held).await.waiting;
    let mut asking = question(waiting.iter().map(|message| message.id).collect());
    asking.user_attributes = Map::from_iter([("plan".to_owned(), json!("gold"))]);
    let Admission::Admitted { shared } = begin_call(store, &held, &asking).await.unwrap() else {
        panic!("no limit was set");
    };
    let kept = look(store, &held).await.turn.unwrap().user_attributes;
    assert_eq!(kept.is_empty(), shared, "what the turn keeps is what goes along");
    finish(store, &held, &answered(asking.turn, vec![])).await.unwrap();
    store.release(&held, AT_ONCE).await.unwrap();
    shared
}

promises! {
    async fn a_chat_is_shared_for_good_from_the_second_sender_on(world: World) {
        let store = world.store.as_ref();
        accept(store, by(Some("ann"), "gold", "1")).await;
        assert!(!is_shared(store).await);
        accept(store, by(Some("ann"), "silver", "2")).await;
        assert!(!is_shared(store).await, "the same person, with other attributes");
        accept(store, by(Some("bob"), "silver", "3")).await;
        assert!(is_shared(store).await);
        accept(store, by(Some("ann"), "gold", "4")).await;
        let world = world.restart().await;
        assert!(is_shared(world.store.as_ref()).await, "for good");
    }

    async fn without_a_sender_other_user_attributes_are_another_person(world: World) {
        let store = world.store.as_ref();
        accept(store, by(None, "ann's", "1")).await;
        accept(store, by(None, "ann's", "2")).await;
        assert!(!is_shared(store).await);
        accept(store, by(None, "none", "3")).await;
        assert!(is_shared(store).await);
    }

    async fn a_chat_whose_sender_begins_to_be_told_stays_the_same_persons(world: World) {
        let store = world.store.as_ref();
        accept(store, by(None, "ann's", "1")).await;
        accept(store, by(Some("ann"), "ann's", "2")).await;
        accept(store, by(Some("ann"), "ann's, newer", "3")).await;
        assert!(!is_shared(store).await);
        accept(store, by(None, "ann's", "4")).await;
        assert!(is_shared(store).await, "nobody said that this is ann");
    }

    async fn two_senders_in_one_webhook_are_two(world: World) {
        let store = world.store.as_ref();
        let batches = [
            vec![by(Some("ann"), "gold", "1"), by(Some("bob"), "gold", "2")],
            vec![by(None, "gold", "1"), by(None, "silver", "2")],
            vec![by(Some("ann"), "gold", "1"), by(None, "silver", "2")],
            vec![by(None, "gold", "1"), by(Some("ann"), "gold", "2"), by(Some("bob"), "gold", "3")],
        ];
        for (number, batch) in batches.into_iter().enumerate() {
            let channel = fini_bridge::domain::id::ChannelName::new("shop");
            let items = batch.into_iter().map(|message| {
                let delivery_key = fini_bridge::domain::id::DeliveryKey::new(format!("{number}{}", message.delivery_key.as_str()));
                let chat = fini_bridge::domain::id::ChatKey::new(format!("room {number}"));
                NewItem::Message(Box::new(NewMessage { channel: channel.clone(), delivery_key, chat, ..message }))
            });
            store.accept(items.collect()).await.unwrap();
            assert!(is_shared(store).await, "{number}");
        }
    }

    async fn a_second_sender_counts_in_whatever_webhook_they_come(world: World) {
        let store = world.store.as_ref();
        // A lane that knows ann, and a webhook in which the first message doesn't say who wrote.
        for (number, second) in [by(None, "silver", "b"), by(None, "gold", "b")].into_iter().enumerate() {
            let in_room = |message: NewMessage| NewMessage {
                chat: fini_bridge::domain::id::ChatKey::new(format!("room {number}")),
                delivery_key: fini_bridge::domain::id::DeliveryKey::new(format!("{number}{}", message.delivery_key.as_str())),
                ..message
            };
            accept(store, in_room(by(Some("ann"), "gold", "a"))).await;
            let third = by(Some(if number == 0 { "ann" } else { "bob" }), "silver", "c");
            let items = [second, third].map(|message| NewItem::Message(Box::new(in_room(message))));
            store.accept(items.into()).await.unwrap();
            assert!(is_shared(store).await, "{number}");
        }
    }

    async fn what_agents_and_bots_write_makes_no_chat_shared(world: World) {
        let store = world.store.as_ref();
        accept(store, by(Some("ann"), "gold", "1")).await;
        accept(store, NewMessage { role: Role::Agent, ..by(Some("staff"), "none", "2") }).await;
        accept(store, NewMessage { role: Role::OtherBot, ..by(Some("bot"), "none", "3") }).await;
        assert!(!is_shared(store).await);
    }

    async fn a_message_that_was_known_changes_nothing(world: World) {
        let store = world.store.as_ref();
        accept(store, by(Some("ann"), "gold", "1")).await;
        assert!(matches!(accept(store, by(Some("bob"), "none", "1")).await, Accepted::Duplicate(_)));
        assert!(!is_shared(store).await);
    }

    async fn attributes_are_left_behind_even_if_the_second_person_came_after_the_look(world: World) {
        let store = world.store.as_ref();
        accept(store, by(Some("ann"), "gold", "1")).await;
        let held = lease(store, WorkKind::Turns).await;
        let asking = question(vec![look(store, &held).await.waiting[0].id]);
        world.beside().await.accept(vec![NewItem::Message(Box::new(by(Some("bob"), "gold", "2")))]).await.unwrap();
        assert_eq!(begin_call(store, &held, &asking).await.unwrap(), Admission::Admitted { shared: true });
    }

    async fn a_turn_that_is_asked_again_obeys_too(world: World) {
        let store = world.store.as_ref();
        accept(store, by(Some("ann"), "gold", "1")).await;
        let held = lease(store, WorkKind::Turns).await;
        let mut asking = question(vec![look(store, &held).await.waiting[0].id]);
        assert_eq!(begin_call(store, &held, &asking).await.unwrap(), Admission::Admitted { shared: false });
        store.reopen(&held, asking.turn, std::time::Duration::ZERO, "fini_429").await.unwrap();
        accept(store, by(Some("bob"), "gold", "2")).await;
        let held = lease(store, WorkKind::Turns).await;
        asking.members = vec![];
        assert_eq!(begin_call(store, &held, &asking).await.unwrap(), Admission::Admitted { shared: true });
    }
}
