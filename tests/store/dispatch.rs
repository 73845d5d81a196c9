//! Whom a commit concerns: the process that works on lanes is leased what a commit makes due, and told what it waits for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fini_bridge::domain::id::{ChannelName, LaneId, MessageId, PartId};
use fini_bridge::store::{
    AfterSend, AfterTurn, Dispatcher, Head, LaneState, LeasedLane, MessageState, NewItem, Next, Permit, SendState,
    Store, StoreError, TurnEnd, WorkKind,
};

use crate::World;
use crate::actors::*;

/// A process that has room for so many lanes.
#[derive(Default)]
struct Process {
    room: Arc<AtomicUsize>,
    started: Mutex<Vec<LeasedLane>>,
    due: Mutex<Vec<(WorkKind, Duration)>>,
    ended: Mutex<Vec<MessageId>>,
}

impl Process {
    fn join(world: &World, room: usize) -> Arc<Self> {
        let process = Arc::new(Self { room: Arc::new(AtomicUsize::new(room)), ..Self::default() });
        world.store.join(&owner(), process.clone());
        process
    }

    /// What is told after a commit may come after the answer to it.
    async fn soon<T>(&self, what: impl Fn(&Self) -> Option<T>) -> T {
        for _ in 0..1000 {
            if let Some(it) = what(self) {
                return it;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it was not told");
    }

    async fn started(&self) -> LeasedLane {
        self.soon(|process| process.started.lock().unwrap().pop()).await
    }
}

struct Room(Arc<AtomicUsize>);

impl Drop for Room {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Dispatcher for Process {
    fn admit(&self, _: WorkKind, _: &ChannelName, _: LaneId) -> Option<Permit> {
        let take = |room: usize| room.checked_sub(1);
        self.room.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).ok()?;
        Some(Permit::new(Room(self.room.clone())))
    }

    fn start(&self, leased: LeasedLane) {
        self.started.lock().unwrap().push(leased);
    }

    fn due_in(&self, work: WorkKind, after: Duration) {
        self.due.lock().unwrap().push((work, after));
    }

    fn turn_ended(&self, messages: &[MessageId]) {
        self.ended.lock().unwrap().extend(messages);
    }
}

/// Asks Fini with what the commit said that waits.
async fn ask_with(store: &dyn Store, leased: &LeasedLane) -> (TurnEnd, Vec<PartId>) {
    let Head::Turns(view) = &leased.head else { panic!("{leased:?}") };
    let asking = question(view.waiting.iter().map(|message| message.id).collect());
    begin_call(store, &leased.lease, &asking).await.unwrap();
    let parts = vec![part(0, "a"), part(0, "b")];
    let ids = parts.iter().map(|part| part.id).collect();
    (answered(asking.turn, parts), ids)
}

promises! {
    async fn a_message_takes_four_commits_and_nobody_looks_for_anything(world: World) {
        let store = world.store.as_ref();
        let process = Process::join(&world, 2);
        let id = say(store, "alice", "hello").await;
        let turns = process.started().await;
        assert_eq!(turns.lease.work, WorkKind::Turns);
        let (end, parts) = ask_with(store, &turns).await;
        let after = AfterTurn::Release { merge_window: Duration::ZERO };
        assert!(store.finish_turn(&turns.lease, &Arc::new(end), after).await.unwrap().is_none());
        let deliveries = process.started().await;
        let Head::Parts { parts: waiting, .. } = &deliveries.head else { panic!("{deliveries:?}") };
        let seen: Vec<_> = waiting.iter().map(|part| (part.id, part.state, part.attempts)).collect();
        assert_eq!(seen, [(parts[0], SendState::Begun, 1), (parts[1], SendState::Pending, 0)]);
        let next = AfterSend::Begin(parts[1]);
        let step = store.finish_send(&deliveries.lease, parts[0], &took("r1"), next).await.unwrap();
        assert_eq!(step, LaneState::Begun);
        assert_eq!(parts_of(store, id).await, [plain("sent"), plain("sending")]);
        let step = store.finish_send(&deliveries.lease, parts[1], &took("r2"), AfterSend::Release).await.unwrap();
        assert_eq!(step, LaneState::Released);
        assert_eq!(state(store, id).await.0, MessageState::Done);
        nothing_due(store, WorkKind::Turns).await;
        nothing_due(store, WorkKind::Deliveries).await;
        process.soon(|process| process.ended.lock().unwrap().contains(&id).then_some(())).await;
        drop((turns, deliveries));
        assert_eq!(process.room.load(Ordering::SeqCst), 2);
    }

    async fn what_the_commit_says_that_waits_is_what_a_look_would_find(world: World) {
        let store = world.store.as_ref();
        let process = Process::join(&world, 1);
        let sent = message("alice", "k");
        accept(store, sent.clone()).await;
        let leased = process.started().await;
        let Head::Turns(told) = leased.head else { panic!("it is not told") };
        let found = look(store, &leased.lease).await;
        assert_eq!(format!("{told:?}"), format!("{found:?}"));
        assert_eq!((told.waiting[0].id, &told.waiting[0].text), (sent.id, &sent.text));
    }

    async fn several_messages_of_one_webhook_are_told_together(world: World) {
        let store = world.store.as_ref();
        let process = Process::join(&world, 9);
        let items = ["a", "b"].map(|key| NewItem::Message(Box::new(message("alice", key))));
        store.accept(items.into()).await.unwrap();
        let leased = process.started().await;
        let Head::Turns(told) = leased.head else { panic!("it is not told") };
        assert_eq!(told.waiting.len(), 2);
        assert!(process.started.lock().unwrap().is_empty());
    }

    async fn without_room_a_lane_is_due_for_whoever_has_it(world: World) {
        let store = world.store.as_ref();
        let process = Process::join(&world, 1);
        say(store, "alice", "hello").await;
        say(store, "bob", "hello").await;
        let leased = process.started().await;
        assert_eq!(leased.lease.chat_ref.as_str(), "ref-of-alice");
        process.soon(|process| process.due.lock().unwrap().first().copied()).await;
        let held = lease(store, WorkKind::Turns).await;
        assert_eq!(held.chat_ref.as_str(), "ref-of-bob");
    }

    async fn what_comes_while_a_lane_is_worked_on_is_told_when_its_turn_ends(world: World) {
        let store = world.store.as_ref();
        let process = Process::join(&world, 1);
        say(store, "alice", "one").await;
        let leased = process.started().await;
        let (end, _) = ask_with(store, &leased).await;
        let second = say(store, "alice", "two").await;
        assert!(process.started.lock().unwrap().is_empty(), "a lane has one holder");
        let after = AfterTurn::Release { merge_window: Duration::ZERO };
        let next = store.finish_turn(&leased.lease, &Arc::new(TurnEnd { parts: vec![], ..end }), after).await.unwrap();
        assert_eq!(next.unwrap().waiting[0].id, second);
        look(store, &leased.lease).await;
    }

    async fn what_comes_while_a_lane_is_worked_on_still_gets_its_merge_window(world: World) {
        let store = world.store.as_ref();
        let process = Process::join(&world, 1);
        say(store, "alice", "one").await;
        let leased = process.started().await;
        let (end, _) = ask_with(store, &leased).await;
        say(store, "alice", "two").await;
        let after = AfterTurn::Release { merge_window: Duration::from_secs(9) };
        let next = store.finish_turn(&leased.lease, &Arc::new(TurnEnd { parts: vec![], ..end }), after).await.unwrap();
        assert!(next.is_none());
        assert_eq!(next_due(store, WorkKind::Turns).await, Some(Duration::from_secs(9)));
    }

    async fn what_waits_for_more_or_for_a_caller_or_for_a_channel_is_leased_to_nobody(world: World) {
        let store = world.store.as_ref();
        let process = Process::join(&world, 9);
        let mut merged = message("alice", "a");
        merged.merge_window = Duration::from_secs(5);
        accept(store, merged).await;
        let mut dormant = message("bob", "b");
        dormant.dormant = true;
        accept(store, dormant).await;
        let mut waited = message("carol", "c");
        waited.wait = Some(Duration::from_secs(30));
        accept(store, waited).await;
        let leased = process.started().await;
        assert_eq!(leased.lease.chat_ref.as_str(), "ref-of-carol");
        let (end, _) = ask_with(store, &leased).await;
        let after = AfterTurn::Release { merge_window: Duration::ZERO };
        store.finish_turn(&leased.lease, &Arc::new(end), after).await.unwrap();
        assert!(process.started.lock().unwrap().is_empty());
        assert_eq!(next_due(store, WorkKind::Turns).await, Some(Duration::from_secs(5)));
        assert_eq!(next_due(store, WorkKind::Deliveries).await, Some(Duration::from_secs(30)));
    }

    async fn a_backoff_is_not_shortened_by_a_message_either(world: World) {
        let store = world.store.as_ref();
        let process = Process::join(&world, 9);
        say(store, "alice", "one").await;
        let leased = process.started().await;
        store.release(&leased.lease, Next::After(HOUR)).await.unwrap();
        say(store, "alice", "two").await;
        assert!(process.started.lock().unwrap().is_empty());
        nothing_due(store, WorkKind::Turns).await;
    }

    async fn a_lane_in_which_something_waited_has_to_be_read(world: World) {
        let store = world.store.as_ref();
        let mut dormant = message("alice", "old");
        dormant.dormant = true;
        accept(store, dormant).await;
        let process = Process::join(&world, 9);
        say(store, "alice", "new").await;
        let leased = process.started().await;
        assert!(matches!(leased.head, Head::Unread), "{leased:?}");
        assert_eq!(look(store, &leased.lease).await.waiting.len(), 2);
    }

    async fn a_redelivered_message_leases_nothing(world: World) {
        let store = world.store.as_ref();
        accept(store, message("alice", "k")).await;
        turn(store, vec![]).await;
        let process = Process::join(&world, 9);
        accept(store, message("alice", "k")).await;
        say(store, "bob", "hello").await;
        assert_eq!(process.started().await.lease.chat_ref.as_str(), "ref-of-bob");
        assert!(process.started.lock().unwrap().is_empty());
        nothing_due(store, WorkKind::Turns).await;
    }

    async fn a_lane_with_more_parts_than_its_holder_knew_stays_with_it(world: World) {
        let store = world.store.as_ref();
        say(store, "alice", "one").await;
        turn(store, vec![part(0, "a")]).await;
        let held = lease(store, WorkKind::Deliveries).await;
        let first = outgoing(store, &held).await[0].id;
        store.begin_send(&held, first).await.unwrap();
        say(store, "alice", "two").await;
        turn(store, vec![part(0, "b")]).await;
        let step = store.finish_send(&held, first, &took("r"), AfterSend::Release).await.unwrap();
        assert_eq!(step, LaneState::Kept);
        let second = outgoing(store, &held).await[0].id;
        store.begin_send(&held, second).await.unwrap();
        let step = store.finish_send(&held, second, &took("r2"), AfterSend::Release).await.unwrap();
        assert_eq!(step, LaneState::Released);
        assert!(matches!(store.release(&held, AT_ONCE).await, Err(StoreError::Fenced)));
    }

    async fn what_a_person_asks_for_again_is_leased_at_once(world: World) {
        let store = world.store.as_ref();
        let id = say(store, "alice", "one").await;
        let held = lease(store, WorkKind::Turns).await;
        let asked = ask(store, &held).await;
        finish(store, &held, &ended_as(asked, failed_as("x"))).await.unwrap();
        store.release(&held, AT_ONCE).await.unwrap();
        let process = Process::join(&world, 9);
        store.retry(id).await.unwrap();
        let leased = process.started().await;
        assert_eq!(look(store, &leased.lease).await.waiting[0].id, id);
    }
}
