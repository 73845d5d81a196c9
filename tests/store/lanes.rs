//! Who may work in a lane, and when it is looked at next.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use fini_bridge::domain::id::{ChannelName, Owner};
use fini_bridge::store::{LeaseRequest, LookupNote, Next, SendState, Store, StoreError, TurnState, WorkKind};

use crate::actors::*;

/// A gateway looks every second, and something of its work lies further ahead than this.
async fn a_set_back_is_noticed(store: &dyn Store) {
    store.probe().await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    for work in [WorkKind::Turns, WorkKind::Deliveries] {
        while next_due(store, work).await > Some(Duration::from_secs(10)) {
            assert!(Instant::now() < deadline, "not noticed");
        }
    }
}

promises! {
    async fn a_lane_has_one_holder_at_a_time(world: World) {
        let store = world.store.as_ref();
        say(store, "alice", "hello").await;
        lease(store, WorkKind::Turns).await;
        nothing_due(store, WorkKind::Turns).await;
    }

    async fn two_kinds_of_work_in_a_lane_have_holders_of_their_own(world: World) {
        let store = world.store.as_ref();
        say(store, "alice", "hello").await;
        turn(store, vec![part(0, "hi")]).await;
        say(store, "alice", "more").await;
        lease(store, WorkKind::Turns).await;
        lease(store, WorkKind::Deliveries).await;
    }

    async fn many_who_lease_at_once_never_share_a_lane(world: World) {
        for chat in 0..50 {
            say(world.store.as_ref(), &format!("chat-{chat}"), "hello").await;
        }
        let tasks: Vec<_> = (0..10)
            .map(|number| {
                let store = world.store.clone();
                tokio::spawn(async move {
                    let want = LeaseRequest { channels: vec![shop()], limit: 10 };
                    store.lease(WorkKind::Turns, &Owner::new(format!("replica-{number}")), &[want]).await.unwrap().leases
                })
            })
            .collect();
        let mut lanes = Vec::new();
        for task in tasks {
            lanes.extend(task.await.unwrap().into_iter().map(|lease| lease.lane));
        }
        assert_eq!(lanes.len(), 50);
        assert_eq!(lanes.into_iter().collect::<HashSet<_>>().len(), 50);
    }

    async fn those_due_longest_come_first_and_never_more_than_the_limit(world: World) {
        let store = world.store.as_ref();
        let mut first = Vec::new();
        for chat in 0..5 {
            say(store, &format!("chat-{chat}"), "hello").await;
            first.push(format!("ref-of-chat-{chat}"));
            world.pass(Duration::from_secs(1)).await;
        }
        let want = LeaseRequest { channels: vec![shop()], limit: 3 };
        let leases = store.lease(WorkKind::Turns, &owner(), &[want]).await.unwrap().leases;
        let refs: Vec<_> = leases.iter().map(|lease| lease.chat_ref.as_str()).collect();
        assert_eq!(refs, &first[..3]);
    }

    async fn each_want_has_its_own_limit_and_channels(world: World) {
        let store = world.store.as_ref();
        for (channel, chat) in [("a", "1"), ("a", "2"), ("b", "1"), ("b", "2"), ("c", "1")] {
            let mut m = message(chat, &format!("{channel}{chat}"));
            m.channel = ChannelName::new(channel);
            accept(store, m).await;
        }
        let wants = [
            LeaseRequest { channels: vec![ChannelName::new("a")], limit: 1 },
            LeaseRequest { channels: vec![ChannelName::new("b")], limit: 5 },
        ];
        let leases = store.lease(WorkKind::Turns, &owner(), &wants).await.unwrap().leases;
        let mut channels: Vec<_> = leases.iter().map(|lease| lease.channel.as_str()).collect();
        channels.sort_unstable();
        assert_eq!(channels, ["a", "b", "b"]);
    }

    async fn a_lane_that_is_given_back_is_leased_again_under_a_higher_fence(world: World) {
        let store = world.store.as_ref();
        say(store, "alice", "hello").await;
        let first = lease(store, WorkKind::Turns).await;
        assert_eq!(next_due(store, WorkKind::Turns).await, None, "while somebody works in it");
        let heir = take_over(store, &first).await;
        assert_eq!(heir.lane, first.lane);
        assert!(heir.fence > first.fence);
    }

    async fn a_message_that_comes_while_the_lane_is_held_is_not_stranded(world: World) {
        let store = world.store.as_ref();
        say(store, "alice", "one").await;
        let held = lease(store, WorkKind::Turns).await;
        let ended = ask(store, &held).await;
        say(store, "alice", "two").await;
        finish(store, &held, &answered(ended, vec![])).await.unwrap();
        store.release(&held, AT_ONCE).await.unwrap();
        let next = lease(store, WorkKind::Turns).await;
        assert_eq!(look(store, &next).await.waiting[0].text, "two");
    }

    async fn a_lane_with_nothing_to_do_rests_until_something_comes(world: World) {
        let store = world.store.as_ref();
        say(store, "alice", "one").await;
        turn(store, vec![]).await;
        world.pass(HOUR).await;
        nothing_due(store, WorkKind::Turns).await;
        assert_eq!(next_due(store, WorkKind::Turns).await, None);
        say(store, "alice", "two").await;
        lease(store, WorkKind::Turns).await;
    }

    async fn what_waits_after_a_release_gets_its_merge_window_and_no_more(world: World) {
        let store = world.store.as_ref();
        say(store, "alice", "one").await;
        let held = lease(store, WorkKind::Turns).await;
        world.pass(Duration::from_secs(3)).await;
        store.release(&held, Next::WhenNeeded { merge_window: Duration::from_secs(10) }).await.unwrap();
        assert_eq!(next_due(store, WorkKind::Turns).await, Some(Duration::from_secs(7)));
    }

    async fn a_backoff_is_not_shortened_by_a_new_message(world: World) {
        let store = world.store.as_ref();
        say(store, "alice", "one").await;
        let held = lease(store, WorkKind::Turns).await;
        store.release(&held, Next::After(Duration::from_secs(60))).await.unwrap();
        say(store, "alice", "two").await;
        world.pass(Duration::from_secs(59)).await;
        nothing_due(store, WorkKind::Turns).await;
        world.pass(Duration::from_secs(1)).await;
        lease(store, WorkKind::Turns).await;
    }

    async fn a_clock_that_is_set_back_stops_no_chat(world: World) {
        let store = world.store.as_ref();
        say(store, "alice", "one").await;
        let held = lease(store, WorkKind::Turns).await;
        store.release(&held, Next::After(Duration::from_secs(60))).await.unwrap();
        say(store, "carol", "one").await;
        let held = lease(store, WorkKind::Turns).await;
        world.set_back(HOUR).await;
        a_set_back_is_noticed(store).await;
        // Its message waits since a time that has not come yet.
        store.release(&held, AT_ONCE).await.unwrap();
        assert_eq!(lease(store, WorkKind::Turns).await.lane, held.lane);
        world.pass(Duration::from_secs(10)).await;
        assert_eq!(lease(store, WorkKind::Turns).await.chat_ref.as_str(), "ref-of-alice");
    }

    async fn what_had_begun_when_the_clock_was_set_back_grows_older_all_the_same(world: World) {
        let store = world.store.as_ref();
        let soon = Duration::from_secs(5);
        say(store, "alice", "one").await;
        let parts = vec![part(0, "a")];
        let sent = parts[0].id;
        turn(store, parts).await;
        let deliveries = lease(store, WorkKind::Deliveries).await;
        store.begin_send(&deliveries, sent).await.unwrap();
        store.release(&deliveries, Next::After(soon)).await.unwrap();
        say(store, "alice", "two").await;
        let turns = lease(store, WorkKind::Turns).await;
        let asked = ask(store, &turns).await;
        store.mark_unknown(&turns, asked, LookupNote::Started { answered: false }, soon, "x").await.unwrap();
        say(store, "alice", "three").await;
        world.set_back(HOUR).await;
        a_set_back_is_noticed(store).await;
        let passed = Duration::from_secs(10);
        world.pass(passed).await;
        let turns = lease(store, WorkKind::Turns).await;
        let view = look(store, &turns).await;
        let TurnState::Unknown { asked_at, since, .. } = view.turn.unwrap().state else { panic!("it is known") };
        let conversation = store.conversation(turns.lane, 1).await.unwrap().unwrap();
        let deliveries = lease(store, WorkKind::Deliveries).await;
        let SendState::Sending { since: sending } = outgoing(store, &deliveries).await[0].state else {
            panic!("it is not being sent")
        };
        let begun = [asked_at, since, conversation.asked_at.unwrap(), view.waiting[0].received_at, sending];
        assert_eq!(begun.map(|at| view.now.since(at)), [passed; 5]);
    }

    async fn replies_that_nobody_waits_for_any_more_are_not_held_back_by_a_clock_that_is_set_back(world: World) {
        let store = world.store.as_ref();
        let waited = |chat| {
            let mut waited = message(chat, chat);
            waited.wait = Some(Duration::from_secs(30));
            waited
        };
        // The one turn ends before, the other after.
        accept(store, waited("alice")).await;
        turn(store, vec![part(0, "a")]).await;
        accept(store, waited("carol")).await;
        let held = lease(store, WorkKind::Turns).await;
        let asked = ask(store, &held).await;
        world.set_back(HOUR).await;
        a_set_back_is_noticed(store).await;
        finish(store, &held, &answered(asked, vec![part(0, "b")])).await.unwrap();
        world.pass(Duration::from_secs(60)).await;
        let leases = lease_all(store, WorkKind::Deliveries).await;
        assert_eq!(leases.len(), 2);
        for held in leases {
            assert_eq!(outgoing(store, &held).await.len(), 1, "{}", held.chat_ref);
        }
    }

    async fn a_busy_lane_goes_behind_those_that_wait_longer(world: World) {
        let store = world.store.as_ref();
        for _ in 0..3 {
            say(store, "busy", "hello").await;
        }
        let busy = lease(store, WorkKind::Turns).await;
        say(store, "quiet", "hello").await;
        world.pass(Duration::from_secs(1)).await;
        store.release(&busy, AT_ONCE).await.unwrap();
        let want = LeaseRequest { channels: vec![shop()], limit: 1 };
        let next = store.lease(WorkKind::Turns, &owner(), &[want]).await.unwrap().leases;
        assert_eq!(next[0].chat_ref.as_str(), "ref-of-quiet");
    }

    async fn a_lease_is_released_once(world: World) {
        let store = world.store.as_ref();
        say(store, "alice", "one").await;
        let held = lease(store, WorkKind::Turns).await;
        store.release(&held, AT_ONCE).await.unwrap();
        assert!(matches!(store.release(&held, AT_ONCE).await, Err(StoreError::Fenced)));
    }
}
