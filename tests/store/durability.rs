//! What is acknowledged stays, whoever dies.

use std::collections::HashSet;

use fini_bridge::store::{Accepted, Filter, MessageState, TurnState, WorkKind};

use crate::actors::*;

promises! {
    async fn everything_acknowledged_is_there_after_a_crash(world: World) {
        let store = world.store.as_ref();
        let key = store.installation_key().await.unwrap();
        let done = say(store, "alice", "done").await;
        turn(store, vec![]).await;
        let asked_of = say(store, "alice", "asked").await;
        let held = lease(store, WorkKind::Turns).await;
        let asked = ask(store, &held).await;
        let waiting = say(store, "alice", "waiting").await;
        let world = world.restart().await;
        let store = world.store.as_ref();
        assert_eq!(store.installation_key().await.unwrap(), key);
        assert_eq!(state(store, done).await.0, MessageState::Done);
        assert_eq!(state(store, asked_of).await.0, MessageState::Asking);
        let held = lease(store, WorkKind::Turns).await;
        let view = look(store, &held).await;
        let turn = view.turn.unwrap();
        assert_eq!(turn.id, asked);
        assert!(matches!(turn.state, TurnState::Asking { .. }), "the call may have left");
        assert_eq!(view.waiting[0].id, waiting);
    }

    async fn a_thousand_webhooks_at_once_are_all_kept(world: World) {
        let tasks: Vec<_> = (0..1000)
            .map(|number| {
                let store = world.store.clone();
                let message = message(&format!("chat-{}", number % 100), &format!("key-{number}"));
                tokio::spawn(async move { accept(store.as_ref(), message).await })
            })
            .collect();
        let mut acknowledged = HashSet::new();
        for task in tasks {
            acknowledged.insert(said(task.await.unwrap()));
        }
        assert_eq!(acknowledged.len(), 1000);
        let world = world.restart().await;
        let listed = world.store.list(&Filter { limit: 2000, ..Filter::default() }).await.unwrap();
        assert_eq!(listed.into_iter().map(|story| story.id).collect::<HashSet<_>>(), acknowledged);
        assert_eq!(lease_all(world.store.as_ref(), WorkKind::Turns).await.len(), 100);
    }

    async fn a_redelivery_after_a_crash_is_still_recognised(world: World) {
        let first = said(accept(world.store.as_ref(), message("alice", "k")).await);
        let world = world.restart().await;
        assert_eq!(accept(world.store.as_ref(), message("alice", "k")).await, Accepted::Duplicate(first));
    }

    async fn two_processes_that_accept_the_first_messages_of_a_chat_make_one_lane(world: World) {
        let beside = world.beside().await;
        let (here, there) = tokio::join!(
            accept(world.store.as_ref(), message("alice", "a")),
            accept(beside.as_ref(), message("alice", "b")),
        );
        said(here);
        said(there);
        let held = lease(world.store.as_ref(), WorkKind::Turns).await;
        assert_eq!(look(world.store.as_ref(), &held).await.waiting.len(), 2);
    }

    async fn a_waiter_who_left_costs_nobody_anything(world: World) {
        for number in 0..50 {
            let store = world.store.clone();
            let task = tokio::spawn(async move { say(store.as_ref(), "alice", &number.to_string()).await });
            task.abort();
        }
        world.store.probe().await.unwrap();
        say(world.store.as_ref(), "bob", "still here").await;
    }
}
