//! Whoever lost the lane changes nothing, whatever it tries.

use std::time::Duration;

use fini_bridge::domain::id::{MessageId, PartId, TurnId};
use fini_bridge::domain::message::Address;
use fini_bridge::store::{
    AfterSend, LEASE, Lease, LookupNote, MessageState, Next, Result, Store, StoreError, TurnState, WorkKind,
};
use serde_json::json;

use crate::actors::*;

fn fenced<T: std::fmt::Debug>(what: &str, result: Result<T>) {
    assert!(matches!(result, Err(StoreError::Fenced)), "{what}: {result:?}");
}

async fn every_write_of_a_turn_is_fenced(store: &dyn Store, stale: &Lease, turn: TurnId, message: MessageId) {
    fenced("look", store.lane_view(stale).await);
    fenced("asking", begin_call(store, stale, &question(vec![message])).await);
    let mut again = question(vec![]);
    again.turn = turn;
    fenced("asking again", begin_call(store, stale, &again).await);
    fenced("reopen", store.reopen(stale, turn, Duration::ZERO, "x").await);
    fenced(
        "unknown",
        store.mark_unknown(stale, turn, LookupNote::Started { answered: false }, Duration::ZERO, "x").await,
    );
    fenced("end", finish(store, stale, &answered(turn, vec![part(0, "from the grave")])).await);
    fenced("release", store.release(stale, AT_ONCE).await);
    fenced("release after", store.release(stale, Next::After(HOUR)).await);
}

async fn every_write_of_a_delivery_is_fenced(store: &dyn Store, stale: &Lease, part: PartId) {
    fenced("outgoing", store.pending_parts(stale).await);
    fenced("sending", store.begin_send(stale, part).await);
    fenced("sent", store.finish_send(stale, part, &took("x"), AfterSend::Keep).await);
    fenced("failed", store.finish_send(stale, part, &refused("x"), AfterSend::Keep).await);
    fenced("moved", store.moved(stale, part, &Address(json!({ "to": "elsewhere" }))).await);
    fenced("release", store.release(stale, AT_ONCE).await);
}

promises! {
    async fn a_holder_that_lost_its_lane_writes_nothing_about_its_turn(world: World) {
        let store = world.store.as_ref();
        let asked_of = say(store, "alice", "one").await;
        let stale = lease(store, WorkKind::Turns).await;
        let asked = ask(store, &stale).await;
        let waiting = say(store, "alice", "two").await;
        let heir = take_over(store, &stale).await;
        every_write_of_a_turn_is_fenced(store, &stale, asked, waiting).await;
        let view = look(store, &heir).await;
        let turn = view.turn.unwrap();
        assert_eq!((turn.id, turn.asked), (asked, 1));
        assert!(matches!(turn.state, TurnState::Asking { .. }));
        assert_eq!(view.waiting.len(), 1);
        assert_eq!(state(store, asked_of).await.0, MessageState::Asking);
        assert!(parts_of(store, asked_of).await.is_empty());
    }

    async fn a_holder_that_lost_its_lane_writes_nothing_about_its_deliveries(world: World) {
        let store = world.store.as_ref();
        let id = say(store, "alice", "one").await;
        let parts = vec![part(0, "a")];
        let part = parts[0].id;
        turn(store, parts).await;
        let stale = lease(store, WorkKind::Deliveries).await;
        let heir = take_over(store, &stale).await;
        every_write_of_a_delivery_is_fenced(store, &stale, part).await;
        assert_eq!(parts_of(store, id).await, [plain("pending")]);
        let left = outgoing(store, &heir).await;
        assert_eq!((left[0].attempts, &left[0].address.0), (0, &json!({ "to": "here" })));
    }

    async fn a_lease_that_was_released_is_no_lease(world: World) {
        let store = world.store.as_ref();
        let id = say(store, "alice", "one").await;
        let gone = lease(store, WorkKind::Turns).await;
        store.release(&gone, Next::After(HOUR)).await.unwrap();
        every_write_of_a_turn_is_fenced(store, &gone, TurnId::generate(), id).await;
    }

    async fn a_lease_of_one_kind_of_work_is_none_of_the_other(world: World) {
        let store = world.store.as_ref();
        say(store, "alice", "one").await;
        let parts = vec![part(0, "a")];
        let part = parts[0].id;
        turn(store, parts).await;
        let id = say(store, "alice", "two").await;
        let turns = lease(store, WorkKind::Turns).await;
        let deliveries = lease(store, WorkKind::Deliveries).await;
        fenced("sending", store.begin_send(&turns, part).await);
        fenced("asking", begin_call(store, &deliveries, &question(vec![id])).await);
    }

    async fn a_lease_that_ran_out_but_that_nobody_took_is_still_good(world: World) {
        let store = world.store.as_ref();
        say(store, "alice", "one").await;
        let held = lease(store, WorkKind::Turns).await;
        let asked = ask(store, &held).await;
        world.pass(LEASE * 2).await;
        finish(store, &held, &answered(asked, vec![part(0, "a")])).await.unwrap();
    }

    async fn leases_of_a_process_that_is_gone_do_not_outlive_it(world: World) {
        let id = say(world.store.as_ref(), "alice", "one").await;
        let stale = lease(world.store.as_ref(), WorkKind::Turns).await;
        let asked = ask(world.store.as_ref(), &stale).await;
        let world = world.restart().await;
        let store = world.store.as_ref();
        let heir = lease(store, WorkKind::Turns).await;
        every_write_of_a_turn_is_fenced(store, &stale, asked, id).await;
        assert_eq!(look(store, &heir).await.turn.unwrap().id, asked);
    }
}
