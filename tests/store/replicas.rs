//! Several processes on one PostgreSQL: who is alive, and whose the lanes of the dead are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fini_bridge::domain::id::{ChannelName, LaneId, MessageId, Owner};
use fini_bridge::store::{
    Accepted, Dispatcher, HEARTBEAT, Heartbeat, Inbox, LEASE, Lease, LeaseRequest, LeasedLane, NewItem, Permit, Store,
    StoreError, WorkKind,
};

use crate::World;
use crate::actors::*;
use crate::postgres::{real_time, world};

fn named(name: &str) -> Owner {
    Owner::new(name)
}

async fn beat(store: &dyn Store, name: &str) -> Heartbeat {
    store.heartbeat(&named(name)).await.unwrap()
}

/// Time passes, and these say that they live.
async fn live(world: &World, alive: &[(&dyn Store, &str)], time: Duration) {
    let mut left = time;
    while !left.is_zero() {
        let step = left.min(HEARTBEAT);
        world.pass(step).await;
        left -= step;
        for (store, name) in alive {
            assert!(matches!(beat(*store, name).await, Heartbeat::Alive { .. }), "{name}");
        }
    }
}

async fn leased_by(store: &dyn Store, name: &str, work: WorkKind) -> Vec<Lease> {
    let request = LeaseRequest { channels: vec![shop()], limit: 1000 };
    store.lease(work, &named(name), &[request]).await.unwrap().leases
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lanes_of_a_process_that_falls_silent_are_taken_over_within_ten_seconds() {
    let world = world().await;
    let (a, b) = (world.store.as_ref(), world.beside().await);
    beat(a, "a").await;
    live(&world, &[(a, "a"), (b.as_ref(), "b")], Duration::from_secs(10)).await;
    say(a, "alice", "hello").await;
    let held = leased_by(a, "a", WorkKind::Turns).await.remove(0);
    let taken = async || leased_by(b.as_ref(), "b", WorkKind::Turns).await;
    live(&world, &[(b.as_ref(), "b")], LEASE - HEARTBEAT).await;
    assert_eq!(taken().await, [], "it may still live");
    live(&world, &[(b.as_ref(), "b")], Duration::from_secs(2)).await;
    let heir = taken().await.remove(0);
    assert!(heir.lane == held.lane && heir.fence > held.fence);
    assert!(matches!(a.lane_view(&held).await, Err(StoreError::Fenced)));
    assert_eq!(beat(a, "a").await, Heartbeat::Lost);
    assert_eq!(beat(b.as_ref(), "b").await, Heartbeat::Alive { replicas: 1 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_kinds_of_work_and_any_number_of_lanes_are_taken_over() {
    let world = world().await;
    let (a, b) = (world.store.as_ref(), world.beside().await);
    beat(a, "a").await;
    let items = (0..600).map(|chat| NewItem::Message(Box::new(message(&format!("chat-{chat}"), &format!("{chat}")))));
    a.accept(items.collect()).await.unwrap();
    say(a, "alice", "hello").await;
    let delivered = leased_by(a, "a", WorkKind::Turns).await;
    assert_eq!(delivered.len(), 601);
    let held = delivered.iter().find(|lease| lease.chat_ref.as_str() == "ref-of-alice").unwrap();
    let asked = ask(a, held).await;
    finish(a, held, &answered(asked, vec![part(0, "hi")])).await.unwrap();
    assert_eq!(leased_by(a, "a", WorkKind::Deliveries).await.len(), 1);
    live(&world, &[(b.as_ref(), "b")], LEASE + HEARTBEAT * 2).await;
    assert_eq!(leased_by(b.as_ref(), "b", WorkKind::Turns).await.len(), 601);
    assert_eq!(leased_by(b.as_ref(), "b", WorkKind::Deliveries).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_silent_goes_on_if_nobody_declared_it_dead() {
    let world = world().await;
    let store = world.store.as_ref();
    beat(store, "a").await;
    say(store, "alice", "hello").await;
    let held = leased_by(store, "a", WorkKind::Turns).await.remove(0);
    let asked = ask(store, &held).await;
    world.pass(LEASE * 10).await;
    // The answer in hand after an outage of the database.
    finish(store, &held, &answered(asked, vec![part(0, "hi")])).await.unwrap();
    assert_eq!(beat(store, "a").await, Heartbeat::Alive { replicas: 1 });
    store.release(&held, AT_ONCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_pause_of_the_database_nobody_is_declared_dead_by_who_comes_back_first() {
    let world = world().await;
    let (a, b) = (world.store.as_ref(), world.beside().await);
    beat(a, "a").await;
    live(&world, &[(a, "a"), (b.as_ref(), "b")], LEASE * 2).await;
    say(a, "alice", "hello").await;
    let held = leased_by(a, "a", WorkKind::Turns).await.remove(0);
    world.pass(LEASE * 3).await;
    live(&world, &[(b.as_ref(), "b")], LEASE / 2).await;
    assert_eq!(beat(a, "a").await, Heartbeat::Alive { replicas: 2 });
    assert!(a.lane_view(&held).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_dies_before_its_first_heartbeat_leaves_nothing_behind() {
    let world = world().await;
    let (a, b) = (world.store.as_ref(), world.beside().await);
    say(a, "alice", "hello").await;
    let held = leased_by(a, "a", WorkKind::Turns).await.remove(0);
    live(&world, &[(b.as_ref(), "b")], LEASE * 2).await;
    assert_eq!(leased_by(b.as_ref(), "b", WorkKind::Turns).await[0].lane, held.lane);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_declared_dead_leases_nothing_any_more() {
    let world = world().await;
    let (a, b) = (world.store.as_ref(), world.beside().await);
    beat(a, "a").await;
    let process = Told::join(a, "a");
    live(&world, &[(b.as_ref(), "b")], LEASE + HEARTBEAT * 3).await;
    say(b.as_ref(), "alice", "hello").await;
    assert_eq!(leased_by(a, "a", WorkKind::Turns).await, []);
    assert_eq!(beat(a, "a").await, Heartbeat::Lost);
    say(a, "bob", "hello").await;
    assert_eq!(process.started.load(Ordering::SeqCst), 0);
    assert_eq!(leased_by(b.as_ref(), "b", WorkKind::Turns).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_ends_gives_everything_back_and_the_others_are_told() {
    let world = world().await;
    let (a, b) = (world.store.as_ref(), world.beside().await);
    beat(a, "a").await;
    assert_eq!(beat(b.as_ref(), "b").await, Heartbeat::Alive { replicas: 2 });
    let process = Told::join(b.as_ref(), "b");
    say(a, "alice", "hello").await;
    let held = leased_by(a, "a", WorkKind::Turns).await.remove(0);
    let deadline = Instant::now() + Duration::from_secs(10);
    // Whoever listens looks for itself once it does so: that is not what is waited for here.
    loop {
        a.announce_shutdown(&named("a")).await;
        if process.told.load(Ordering::SeqCst) > 0 {
            break;
        }
        assert!(Instant::now() < deadline, "it was not told");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let heir = leased_by(b.as_ref(), "b", WorkKind::Turns).await.remove(0);
    assert_eq!(heir.lane, held.lane);
    assert_eq!(beat(b.as_ref(), "b").await, Heartbeat::Alive { replicas: 1 });
    // Long afterwards nothing is left of it.
    live(&world, &[(b.as_ref(), "b")], Duration::from_secs(62)).await;
    assert_eq!(world.values("replicas", "id").await, ["b"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_back_makes_nobody_immortal() {
    let world = world().await;
    let (a, b) = (world.store.as_ref(), world.beside().await);
    beat(a, "a").await;
    beat(b.as_ref(), "b").await;
    say(a, "alice", "hello").await;
    leased_by(a, "a", WorkKind::Turns).await;
    world.set_back(HOUR).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    while leased_by(b.as_ref(), "b", WorkKind::Turns).await.is_empty() {
        live(&world, &[(b.as_ref(), "b")], HEARTBEAT).await;
        assert!(Instant::now() < deadline, "nobody takes it over");
    }
}

/// The commit of a look takes a while, and whoever asked has gone when it is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_that_was_leased_to_somebody_who_has_gone_is_given_back() {
    let world = world().await;
    let store = world.store.as_ref();
    beat(store, "a").await;
    say(store, "alice", "hello").await;
    world
        .execute(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
                'BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END';
             CREATE CONSTRAINT TRIGGER slow AFTER UPDATE ON lanes DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION slow()",
        )
        .await;
    let looking = leased_by(store, "a", WorkKind::Turns);
    assert!(tokio::time::timeout(Duration::from_millis(250), looking).await.is_err());
    world.execute("LOCK TABLE lanes IN EXCLUSIVE MODE; DROP TRIGGER slow ON lanes").await;
    assert_eq!(leased_by(store, "a", WorkKind::Turns).await, [], "it is leased, and nobody knows");
    beat(store, "a").await;
    assert_eq!(leased_by(store, "a", WorkKind::Turns).await.len(), 1);
}

/// Another replica froze while it made the chat, and its webhook is delivered to this one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_hangs_while_it_makes_a_chat_delays_no_other_chat() {
    let (store, mut frozen) = real_time().await;
    let frozen = frozen.transaction().await.unwrap();
    frozen
        .batch_execute("INSERT INTO fini_bridge.lanes (channel, chat, chat_ref) VALUES ('shop', 'frozen', 'r')")
        .await
        .unwrap();
    let stuck = tokio::spawn({
        let store = store.clone();
        async move {
            let began = Instant::now();
            let outcome = store.accept(vec![NewItem::Message(Box::new(message("frozen", "k")))]).await;
            (began.elapsed(), outcome)
        }
    });
    let mut slowest = Duration::ZERO;
    let until = Instant::now() + Duration::from_secs(1);
    let mut number = 0;
    while Instant::now() < until {
        number += 1;
        let items = ["old", &format!("new-{number}")]
            .map(|chat| NewItem::Message(Box::new(message(chat, &format!("{chat}-{number}")))));
        let began = Instant::now();
        let accepted = store.accept(items.into()).await.unwrap();
        assert!(accepted.iter().all(|accepted| matches!(accepted, Accepted::New(_))));
        slowest = slowest.max(began.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("{number} webhooks of other chats beside it, the slowest {slowest:?}");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    frozen.commit().await.unwrap();
    let (took, outcome) = stuck.await.unwrap();
    assert!(outcome.is_ok(), "{outcome:?} after {took:?}");
}

#[derive(Default)]
struct Told {
    told: AtomicUsize,
    started: AtomicUsize,
}

impl Told {
    fn join(store: &dyn Store, name: &str) -> Arc<Self> {
        let process = Arc::new(Self::default());
        store.join(&named(name), process.clone());
        process
    }
}

impl Dispatcher for Told {
    fn admit(&self, _: WorkKind, _: &ChannelName, _: LaneId) -> Option<Permit> {
        Some(Permit::new(()))
    }

    fn start(&self, _: LeasedLane) {
        self.started.fetch_add(1, Ordering::SeqCst);
    }

    fn due_in(&self, _: WorkKind, _: Duration) {
        self.told.fetch_add(1, Ordering::SeqCst);
    }

    fn turn_ended(&self, _: &[MessageId]) {}
}
