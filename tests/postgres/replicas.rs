//! Several replicas on one database at the same time.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fini_bridge::domain::id::{ChannelName, InteractionId, LaneId, MessageId, Owner};
use fini_bridge::store::{
    Accepted, Adopted, Conversations, Dispatcher, Heartbeat, Inbox, LeaseRequest, LeasedLane, Leases, MessageState,
    NewItem, Next, Permit, Replica, Store, StoreError, WorkKind,
};

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
    assert_eq!(lease_all(stores[1].as_ref(), WorkKind::Turns).await.len(), 1);
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
        let (owner, wants) =
            (Owner::new(format!("replica-{replica}")), [LeaseRequest { channels: vec![shop()], limit: 7 }]);
        let mut lanes: Vec<LaneId> = Vec::new();
        let mut misses = 0;
        while misses < 5 {
            let leases = stores[replica].lease(WorkKind::Turns, &owner, &wants).await.unwrap().leases;
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
        let wants = [LeaseRequest { channels: vec![shop()], limit: 2 }];
        loop {
            let over = *sent.borrow();
            let leases = store.lease(WorkKind::Turns, &owner, &wants).await.unwrap().leases;
            if leases.is_empty() && over && next_due(store, WorkKind::Turns).await.is_none() {
                break;
            }
            for lease in &leases {
                if !look(store, lease).await.waiting.is_empty() {
                    let turn = ask(store, lease).await;
                    finish(store, lease, &answered(turn, vec![part(0, "hi")])).await.unwrap();
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
    assert_eq!(lease_all(stores[0].as_ref(), WorkKind::Deliveries).await.len(), chats);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_lost_its_lane_to_another_replica_changes_nothing_in_it() {
    let url = server().url(&server().database().await);
    let (frozen, other) = (open(&url).await, open(&url).await);
    say(frozen.as_ref(), "alice", "hello").await;
    let wants = [LeaseRequest { channels: vec![shop()], limit: 1 }];
    frozen.heartbeat(&Owner::new("frozen")).await.unwrap();
    let old = frozen.lease(WorkKind::Turns, &Owner::new("frozen"), &wants).await.unwrap().leases.remove(0);
    let turn = ask(frozen.as_ref(), &old).await;
    soon("taken over", Duration::from_secs(15), async || {
        other.heartbeat(&owner()).await.unwrap();
        !lease_all(other.as_ref(), WorkKind::Turns).await.is_empty()
    })
    .await;
    let end = answered(turn, vec![part(0, "late")]);
    assert!(matches!(finish(frozen.as_ref(), &old, &end).await, Err(StoreError::Fenced)));
    assert!(matches!(frozen.release(&old, Next::After(Duration::ZERO)).await, Err(StoreError::Fenced)));
    assert_eq!(frozen.heartbeat(&Owner::new("frozen")).await.unwrap(), Heartbeat::Lost);
    assert!(lease_all(other.as_ref(), WorkKind::Deliveries).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_conversation_that_two_chats_claim_at_once_belongs_to_one_of_them() {
    let url = server().url(&server().database().await);
    let (here, there) = (open(&url).await, open(&url).await);
    for round in 0..10 {
        for chat in ["alice", "bob"] {
            say(here.as_ref(), &format!("{chat}-{round}"), "hello").await;
        }
        let leases = lease_all(here.as_ref(), WorkKind::Turns).await;
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

/// Counts what it is told.
#[derive(Default)]
struct Ear(AtomicUsize);

impl Dispatcher for Ear {
    fn admit(&self, _: WorkKind, _: &ChannelName, _: LaneId) -> Option<Permit> {
        None
    }

    fn start(&self, _: LeasedLane) {}

    fn due_in(&self, _: WorkKind, _: Duration) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn turn_ended(&self, _: &[MessageId]) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_others_hear_of_what_a_replica_has_no_room_for() {
    let url = server().url(&server().database().await);
    let (here, there) = (open(&url).await, open(&url).await);
    let ear = Arc::new(Ear::default());
    there.join(&owner(), ear.clone());
    let mut number = 0;
    // Not before it listens.
    soon("they hear of it", Duration::from_secs(10), || {
        number += 1;
        let (here, chat) = (here.clone(), format!("chat-{number}"));
        let ear = &ear;
        async move {
            say(here.as_ref(), &chat, "hello").await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            ear.0.load(Ordering::SeqCst) > 1
        }
    })
    .await;
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
    assert_eq!(lease_all(store.as_ref(), WorkKind::Turns).await.len(), names.len());
}
