//! Several replicas on one database at the same time.

use std::collections::HashSet;
use std::time::Duration;

use fini_bridge::domain::id::{InteractionId, LaneId, Owner};
use fini_bridge::store::{Accepted, Adopted, MessageState, NewItem, Next, Renewed, Store, StoreError, Want, Work};

use crate::actors::*;
use crate::database::server;
use crate::{open, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_replicas_that_start_at_once_make_one_schema_and_one_key() {
    let url = server().url(&server().database().await);
    let stores = futures::future::join_all((0..5).map(|_| open(&url))).await;
    let mut keys = HashSet::new();
    for store in &stores {
        keys.insert(store.installation_key().await.unwrap());
    }
    assert_eq!(keys.len(), 1);
    say(stores[3].as_ref(), "alice", "hello").await;
    assert_eq!(lease_all(stores[1].as_ref(), Work::Turns).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_message_that_comes_to_all_replicas_at_once_is_new_once() {
    let url = server().url(&server().database().await);
    let stores = futures::future::join_all((0..3).map(|_| open(&url))).await;
    for round in 0..10 {
        let key = format!("key-{round}");
        let accepts = (0..20).map(|number| {
            let (store, message) = (stores[number % 3].clone(), message(&format!("chat-{round}"), &key));
            async move { accept(store.as_ref(), message).await }
        });
        let outcomes = futures::future::join_all(accepts).await;
        let new = outcomes.iter().filter_map(|outcome| match outcome {
            Accepted::New(id) => Some(*id),
            _ => None,
        });
        let new: Vec<_> = new.collect();
        assert_eq!(new.len(), 1, "{outcomes:?}");
        assert!(
            outcomes
                .iter()
                .all(|outcome| matches!(outcome, Accepted::New(id) | Accepted::Duplicate(id) if *id == new[0]))
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_lease_at_the_same_time_never_share_a_lane() {
    let url = server().url(&server().database().await);
    let stores = futures::future::join_all((0..3).map(|_| open(&url))).await;
    let items = (0..300).map(|n| NewItem::Message(Box::new(message(&format!("chat-{n}"), &format!("key-{n}")))));
    stores[0].accept(items.collect()).await.unwrap();
    let lease_some = async |replica: usize| {
        let (owner, wants) = (Owner::new(format!("replica-{replica}")), [Want { channels: vec![shop()], limit: 7 }]);
        let mut lanes: Vec<LaneId> = Vec::new();
        let mut misses = 0;
        while misses < 5 {
            let leases = stores[replica].lease(Work::Turns, &owner, &wants, TTL).await.unwrap();
            assert!(leases.len() <= 7);
            misses = if leases.is_empty() { misses + 1 } else { 0 };
            lanes.extend(leases.iter().map(|lease| lease.lane));
        }
        lanes
    };
    let (a, b, c) = tokio::join!(lease_some(0), lease_some(1), lease_some(2));
    let all: Vec<LaneId> = a.into_iter().chain(b).chain(c).collect();
    assert_eq!(all.len(), 300);
    assert_eq!(all.into_iter().collect::<HashSet<_>>().len(), 300);
}

/// Three replicas work off lanes while messages keep coming: whoever releases a lane in the very moment in
/// which something comes for it must not leave it behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_comes_while_a_lane_is_released_is_stranded() {
    let url = server().url(&server().database().await);
    let stores = futures::future::join_all((0..3).map(|_| open(&url))).await;
    let (chats, each) = (4, 40);
    let senders = futures::future::join_all((0..chats).map(|chat| {
        let stores = &stores;
        async move {
            let mut ids = Vec::new();
            for number in 0..each {
                let message = message(&format!("chat-{chat}"), &format!("{chat}-{number}"));
                ids.push(said(accept(stores[number % 3].as_ref(), message).await));
            }
            ids
        }
    }));
    let sent = tokio::sync::watch::channel(false).0;
    let worker = async |replica: usize| {
        let (store, owner) = (stores[replica].as_ref() as &dyn Store, Owner::new(format!("replica-{replica}")));
        let wants = [Want { channels: vec![shop()], limit: 2 }];
        loop {
            let over = *sent.borrow();
            let leases = store.lease(Work::Turns, &owner, &wants, TTL).await.unwrap();
            if leases.is_empty() && over && store.next_due(Work::Turns, &[shop()]).await.unwrap().is_none() {
                break;
            }
            for lease in &leases {
                if !look(store, lease).await.waiting.is_empty() {
                    let turn = ask(store, lease).await;
                    store.end(lease, &answered(turn, vec![part(0, "hi")])).await.unwrap();
                }
                store.release(lease, AT_ONCE).await.unwrap();
            }
        }
    };
    let send = async {
        let ids = senders.await;
        sent.send_replace(true);
        ids
    };
    let (ids, ..) = tokio::join!(send, worker(0), worker(1), worker(2));
    for id in ids.into_iter().flatten() {
        assert_eq!(state(stores[0].as_ref(), id).await.0, MessageState::Answered);
    }
    assert_eq!(lease_all(stores[0].as_ref(), Work::Deliveries).await.len(), chats);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_lost_its_lane_to_another_replica_changes_nothing_in_it() {
    let url = server().url(&server().database().await);
    let (frozen, other) = (open(&url).await, open(&url).await);
    say(frozen.as_ref(), "alice", "hello").await;
    let wants = [Want { channels: vec![shop()], limit: 1 }];
    let short = Duration::from_millis(50);
    let old = frozen.lease(Work::Turns, &Owner::new("frozen"), &wants, short).await.unwrap().remove(0);
    let turn = ask(frozen.as_ref(), &old).await;
    soon("taken over", Duration::from_secs(5), async || !lease_all(other.as_ref(), Work::Turns).await.is_empty()).await;
    let end = answered(turn, vec![part(0, "late")]);
    assert!(matches!(frozen.end(&old, &end).await, Err(StoreError::Fenced)));
    assert!(matches!(frozen.release(&old, Next::After(Duration::ZERO)).await, Err(StoreError::Fenced)));
    assert_eq!(frozen.renew(&Owner::new("frozen"), &[old], TTL).await.unwrap(), [Renewed::Lost]);
    assert!(lease_all(other.as_ref(), Work::Deliveries).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_conversation_that_two_chats_claim_at_once_belongs_to_one_of_them() {
    let url = server().url(&server().database().await);
    let (here, there) = (open(&url).await, open(&url).await);
    for round in 0..10 {
        for chat in ["alice", "bob"] {
            say(here.as_ref(), &format!("{chat}-{round}"), "hello").await;
        }
        let leases = lease_all(here.as_ref(), Work::Turns).await;
        for lease in &leases {
            ask(here.as_ref(), lease).await;
        }
        let id = InteractionId::new(format!("interaction-{round}"));
        let (a, b) = tokio::join!(here.adopt(leases[0].lane, 1, &id), there.adopt(leases[1].lane, 1, &id));
        let mut outcomes = [a.unwrap(), b.unwrap()];
        outcomes.sort_by_key(|adopted| *adopted != Adopted::Yes);
        assert_eq!(outcomes, [Adopted::Yes, Adopted::HeldByAnother]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_others_hear_what_one_replica_does() {
    let url = server().url(&server().database().await);
    let (here, there) = (open(&url).await, open(&url).await);
    let mut bells = there.bells();
    // It listens when it rings by itself, once.
    tokio::time::timeout(Duration::from_secs(5), bells.turns.changed()).await.unwrap().unwrap();
    say(here.as_ref(), "alice", "hello").await;
    tokio::time::timeout(Duration::from_secs(5), bells.turns.changed()).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_chats_of_any_length_and_with_any_character_are_told_apart() {
    let store = open(&server().url(&server().database().await)).await;
    let long = "x".repeat(20_000);
    let names = [long.clone(), format!("{long}y"), "nul\0".to_owned(), "nul\u{FFFD}".to_owned(), "nul".to_owned()];
    let mut first = Vec::new();
    for name in &names {
        let mut message = message(name, name);
        message.text = "a\0b".to_owned();
        first.push(said(accept(store.as_ref(), message).await));
    }
    for (name, id) in names.iter().zip(first) {
        assert_eq!(accept(store.as_ref(), message(name, name)).await, Accepted::Duplicate(id));
    }
    assert_eq!(lease_all(store.as_ref(), Work::Turns).await.len(), names.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_leaving_replica_rang_last_is_told_to_the_others() {
    let url = server().url(&server().database().await);
    let (leaving, other) = (open(&url).await, open(&url).await);
    let chat = || uuid::Uuid::new_v4().to_string();
    soon("it listens", Duration::from_secs(10), || {
        let (mut turns, leaving) = (other.bells().turns, leaving.clone());
        async move {
            say(leaving.as_ref(), &chat(), "hello").await;
            tokio::time::timeout(Duration::from_millis(500), turns.changed()).await.is_ok()
        }
    })
    .await;
    // A ring that was told begins a pause, in which the next is not.
    let turns = other.bells().turns;
    say(leaving.as_ref(), &chat(), "at the last moment").await;
    leaving.leave().await;
    drop(leaving);
    soon("it is told", Duration::from_secs(5), async || turns.has_changed().unwrap()).await;
}
