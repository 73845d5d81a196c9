//! What is kept before a webhook is acknowledged.

use std::collections::HashSet;
use std::time::Duration;

use fini_bridge::domain::id::DeliveryKey;
use fini_bridge::store::{Accepted, Filter, MessageState, NewItem, WorkKind};

use crate::actors::*;

promises! {
    async fn a_redelivered_message_is_kept_once(world: World) {
        let store = world.store.as_ref();
        let first = said(accept(store, message("alice", "k")).await);
        assert_eq!(accept(store, message("alice", "k")).await, Accepted::Duplicate(first));
        let lease = lease(store, WorkKind::Turns).await;
        assert_eq!(look(store, &lease).await.waiting.len(), 1);
    }

    async fn a_message_that_comes_twice_in_one_webhook_is_kept_once(world: World) {
        let items = vec![
            NewItem::Message(Box::new(message("alice", "k"))),
            NewItem::Message(Box::new(message("alice", "k"))),
            NewItem::Message(Box::new(message("alice", "other"))),
        ];
        let accepted = world.store.accept(items).await.unwrap();
        let first = said(accepted[0]);
        assert_eq!(accepted[1], Accepted::Duplicate(first));
        assert!(matches!(accepted[2], Accepted::New(_)));
    }

    async fn the_same_message_twenty_times_at_once_is_new_exactly_once(world: World) {
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let store = world.store.clone();
                tokio::spawn(async move { accept(store.as_ref(), message("alice", "k")).await })
            })
            .collect();
        let mut ids = HashSet::new();
        let mut new = 0;
        for task in tasks {
            match task.await.unwrap() {
                Accepted::New(id) => { new += 1; ids.insert(id); }
                Accepted::Duplicate(id) => { ids.insert(id); }
                Accepted::UnknownChat => panic!("unknown chat"),
            }
        }
        assert_eq!((new, ids.len()), (1, 1));
    }

    async fn keys_of_different_channels_have_nothing_to_do_with_each_other(world: World) {
        let store = world.store.as_ref();
        accept(store, message("alice", "k")).await;
        let mut other = message("alice", "k");
        other.channel = fini_bridge::domain::id::ChannelName::new("other");
        assert!(matches!(accept(store, other).await, Accepted::New(_)));
    }

    async fn a_message_for_a_known_thread_only_leaves_no_trace_where_it_is_unknown(world: World) {
        let store = world.store.as_ref();
        let mut thread = message("thread", "k");
        thread.only_if_known = true;
        assert_eq!(accept(store, thread.clone()).await, Accepted::UnknownChat);
        nothing_due(store, WorkKind::Turns).await;
        // The key is still free: the same post arrives as a mention.
        assert!(matches!(accept(store, message("thread", "k")).await, Accepted::New(_)));
        thread.delivery_key = DeliveryKey::new("next");
        assert!(matches!(accept(store, thread).await, Accepted::New(_)));
    }

    async fn a_mention_makes_its_thread_known_to_the_rest_of_its_webhook(world: World) {
        let mut thread = message("thread", "second");
        thread.only_if_known = true;
        let items = vec![NewItem::Message(Box::new(message("thread", "first"))), NewItem::Message(Box::new(thread))];
        let accepted = world.store.accept(items).await.unwrap();
        assert!(matches!(accepted[..], [Accepted::New(_), Accepted::New(_)]));
    }

    async fn a_message_that_could_not_be_read_is_kept_as_failed_and_holds_up_nothing(world: World) {
        let store = world.store.as_ref();
        let accepted = store.accept(vec![NewItem::Unusable(unusable("k"))]).await.unwrap();
        let id = said(accepted[0]);
        assert_eq!(store.accept(vec![NewItem::Unusable(unusable("k"))]).await.unwrap(), [Accepted::Duplicate(id)]);
        nothing_due(store, WorkKind::Turns).await;
        let story = store.details(id).await.unwrap().unwrap();
        assert_eq!(story.state, MessageState::Failed);
        assert_eq!((story.reason.as_deref(), story.detail.as_deref()), (Some("malformed"), Some("`text` is missing")));
        assert_eq!(story.text.as_deref(), Some("{\"no\":\"text\"}"));
        assert_eq!(story.chat_ref, None);
    }

    async fn a_message_of_a_channel_that_is_switched_off_is_kept_and_wakes_nobody(world: World) {
        let store = world.store.as_ref();
        let mut dormant = message("alice", "k");
        dormant.dormant = true;
        let id = said(accept(store, dormant).await);
        assert_eq!(state(store, id).await.0, MessageState::Received);
        assert_eq!(next_due(store, WorkKind::Turns).await, None);
        assert_eq!(store.stats().await.unwrap().oldest_waiting, None);
        world.pass(HOUR).await;
        nothing_due(store, WorkKind::Turns).await;
    }

    async fn a_turn_starts_when_the_merge_window_of_the_first_message_has_passed(world: World) {
        let store = world.store.as_ref();
        let windowed = |key: &str| { let mut m = message("alice", key); m.merge_window = Duration::from_secs(5); m };
        accept(store, windowed("a")).await;
        world.pass(Duration::from_secs(3)).await;
        accept(store, windowed("b")).await;
        nothing_due(store, WorkKind::Turns).await;
        assert_eq!(next_due(store, WorkKind::Turns).await, Some(Duration::from_secs(2)));
        world.pass(Duration::from_secs(2)).await;
        let lease = lease(store, WorkKind::Turns).await;
        assert_eq!(look(store, &lease).await.waiting.len(), 2);
    }

    async fn what_a_platform_delivered_is_found_by_its_key(world: World) {
        let store = world.store.as_ref();
        let id = said(accept(store, message("alice", "k")).await);
        assert_eq!(store.find(&shop(), &DeliveryKey::new("k")).await.unwrap(), Some(id));
        assert_eq!(store.find(&shop(), &DeliveryKey::new("other")).await.unwrap(), None);
    }

    async fn an_empty_webhook_is_kept_as_nothing(world: World) {
        assert_eq!(world.store.accept(vec![]).await.unwrap(), []);
        assert!(world.store.list(&Filter { limit: 10, ..Filter::default() }).await.unwrap().is_empty());
    }
}
