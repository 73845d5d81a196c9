//! Retention: what expires, is pruned, is forgotten, and what is not.

use std::time::Duration;

use fini_bridge::domain::id::{InteractionId, MessageId};
use fini_bridge::domain::message::{ReportOutcome, Reported};
use fini_bridge::store::retention::{Column, TABLES};
use fini_bridge::store::{
    Accepted, AfterSend, LookupNote, MessageState, NewItem, Next, Removed, Retention, Retried, Store, StoreError,
    TurnOutcome, WorkKind,
};

use crate::actors::*;

const DAY: Duration = Duration::from_secs(24 * 3600);
const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);
const YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

fn retention() -> Retention {
    Retention { keep: YEARS, forget: YEARS, give_up_after: YEARS, overrides: vec![], active: vec![shop()] }
}

/// Only the text.
async fn prune(store: &dyn Store, keep: Duration) -> u64 {
    store.enforce_retention(&Retention { keep, ..retention() }).await.unwrap().pruned
}

async fn forget(store: &dyn Store, forget: Duration) -> u64 {
    store.enforce_retention(&Retention { forget, ..retention() }).await.unwrap().forgotten
}

/// Asks what waits in the one lane that is due, to no avail.
async fn fail(store: &dyn Store) {
    let held = lease(store, WorkKind::Turns).await;
    let asked = ask(store, &held).await;
    finish(store, &held, &ended_as(asked, failed_as("fini_400"))).await.unwrap();
    store.release(&held, AT_ONCE).await.unwrap();
}

async fn text_of(store: &dyn Store, id: MessageId) -> Option<String> {
    store.details(id).await.unwrap().unwrap().text
}

promises! {
    async fn the_text_of_finished_messages_is_removed_and_their_ids_stay(world: World) {
        let store = world.store.as_ref();
        let done = said(accept(store, message("alice", "done")).await);
        turn(store, vec![part(0, "a")]).await;
        deliver(store).await;
        let raw = said(store.accept(vec![NewItem::Unusable(unusable("raw"))]).await.unwrap()[0]);
        assert_eq!(prune(store, MONTH).await, 0);
        world.pass(MONTH).await;
        let waiting = say(store, "bob", "new").await;
        assert_eq!(prune(store, MONTH).await, 2);
        assert_eq!(prune(store, MONTH).await, 0);
        let story = store.details(done).await.unwrap().unwrap();
        assert_eq!((story.text, story.state), (None, MessageState::Done));
        assert_eq!(story.parts[0].part, None);
        assert!(story.parts[0].sent_at.is_some() && story.turn.is_some());
        assert_eq!(text_of(store, raw).await, None);
        assert_eq!(text_of(store, waiting).await.as_deref(), Some("new"));
        assert_eq!(accept_again(store, "done").await, done, "still recognised when it comes again");
    }

    async fn what_has_not_ended_keeps_its_text(world: World) {
        let store = world.store.as_ref();
        let undelivered = say(store, "alice", "one").await;
        turn(store, vec![part(0, "a")]).await;
        let failed = say(store, "alice", "two").await;
        let held = lease(store, WorkKind::Turns).await;
        let asked = ask(store, &held).await;
        let mut end = ended_as(asked, failed_as("fini_400"));
        end.parts = vec![part(0, "we could not answer")];
        finish(store, &held, &end).await.unwrap();
        store.release(&held, AT_ONCE).await.unwrap();
        let asking = say(store, "alice", "three").await;
        let held = lease(store, WorkKind::Turns).await;
        ask(store, &held).await;
        world.pass(MONTH * 2).await;
        assert_eq!(prune(store, MONTH).await, 0);
        for id in [undelivered, failed, asking] {
            assert!(text_of(store, id).await.is_some());
        }
        let held = lease(store, WorkKind::Deliveries).await;
        assert_eq!(outgoing(store, &held).await.len(), 2);
    }

    async fn a_report_about_a_reply_whose_text_is_removed_sends_nothing(world: World) {
        let store = world.store.as_ref();
        say(store, "alice", "one").await;
        turn(store, vec![part(0, "a"), part(0, "b")]).await;
        let held = lease(store, WorkKind::Deliveries).await;
        let first = outgoing(store, &held).await[0].id;
        store.begin_send(&held, first).await.unwrap();
        store.finish_send(&held, first, &in_doubt("send_unknown"), AfterSend::Keep).await.unwrap();
        store.release(&held, AT_ONCE).await.unwrap();
        world.pass(MONTH * 2).await;
        prune(store, MONTH).await;
        assert!(store.apply_report(&shop(), &Reported::Part(first), &ReportOutcome::Delivered).await.unwrap());
        for held in lease_all(store, WorkKind::Deliveries).await {
            assert!(outgoing(store, &held).await.is_empty());
        }
    }

    async fn a_message_without_its_text_can_not_be_tried_again(world: World) {
        let store = world.store.as_ref();
        let id = say(store, "alice", "one").await;
        fail(store).await;
        world.pass(MONTH).await;
        assert_eq!(prune(store, MONTH).await, 1);
        assert!(matches!(store.retry(id).await.unwrap(), Retried::Not(_)));
        assert_eq!(state(store, id).await.0, MessageState::Failed);
    }

    async fn more_than_one_transaction_takes_is_pruned_in_one_go(world: World) {
        let store = world.store.as_ref();
        let items = (0..450).map(|n| NewItem::Unusable(unusable(&format!("k{n}")))).collect();
        store.accept(items).await.unwrap();
        world.pass(MONTH).await;
        assert_eq!(prune(store, MONTH).await, 450);
    }

    async fn every_column_that_can_hold_text_is_pruned_or_kept_for_a_reason(world: World) {
        // The store's own: numbers of rows, its key, its migrations.
        let own = ["meta", "sequences", "budgets", "refinery_schema_history"];
        let mut checked = 0;
        for (table, column) in world.text_columns().await {
            if own.contains(&table.as_str()) {
                continue;
            }
            let (_, columns) = TABLES.iter().find(|(name, _)| *name == table).unwrap_or_else(|| panic!("{table}"));
            let is_listed = |one: &Column| match one {
                Column::Pruned(name, _) | Column::Kept(name, _) => *name == column,
            };
            assert_eq!(columns.iter().filter(|one| is_listed(one)).count(), 1, "{table}.{column} isn't in the list");
            checked += 1;
        }
        assert!(checked > 40, "{checked}");
    }

    async fn whatever_state_it_was_in_nothing_is_left_of_a_text(world: World) {
        let store = world.store.as_ref();
        one_of_each_state(store).await;
        for (table, column) in pruned_columns() {
            world.execute(&format!("UPDATE {table} SET {column} = '[\"my IBAN is DE89 3704\"]'")).await;
            assert!(!world.values(table, column).await.is_empty(), "{table}.{column} has no row");
        }
        let policy = Retention { keep: DAY, give_up_after: DAY, ..retention() };
        world.pass(DAY * 2 + HOUR).await;
        let removed = store.enforce_retention(&policy).await.unwrap();
        assert!(removed.expired >= 5, "{removed:?}");
        world.pass(DAY).await;
        store.enforce_retention(&policy).await.unwrap();
        for (table, column) in world.text_columns().await {
            let left = world.values(&table, &column).await;
            assert!(!left.iter().any(|value| value.contains("IBAN")), "{table}.{column}");
        }
        // The figures of what has not ended know none any more.
        let stats = store.stats().await.unwrap();
        assert_eq!((stats.oldest_waiting, stats.pending_parts.len()), (None, 0), "{stats:?}");
    }

    async fn what_a_platform_says_of_a_reply_whose_text_is_removed_is_not_kept_either(world: World) {
        let store = world.store.as_ref();
        let id = say(store, "alice", "one").await;
        turn(store, vec![part(0, "a")]).await;
        deliver(store).await;
        world.pass(MONTH).await;
        prune(store, MONTH).await;
        let failed = ReportOutcome::Failed { reason: "undeliverable".to_owned() };
        assert!(store.apply_report(&shop(), &Reported::Receipt("receipt".to_owned()), &failed).await.unwrap());
        assert_eq!(state(store, id).await, (MessageState::Failed, Some("undeliverable".to_owned())));
        for (table, column) in pruned_columns().into_iter().filter(|(_, column)| *column == "detail") {
            assert_eq!(world.values(table, column).await, [""; 0], "{table}.{column}");
        }
    }

    async fn what_nobody_worked_on_in_time_ends_without_words(world: World) {
        let store = world.store.as_ref();
        let first = say(store, "alice", "one").await;
        world.pass(MONTH).await;
        let second = say(store, "alice", "two").await;
        let policy = Retention { keep: DAY, give_up_after: DAY, ..retention() };
        assert_eq!(store.enforce_retention(&policy).await.unwrap(), removed(1, 0, 0));
        let (at, reason) = state(store, first).await;
        assert_eq!((at, reason.as_deref()), (MessageState::Failed, Some("expired")));
        assert_eq!(parts_of(store, first).await, []);
        assert!(text_of(store, first).await.is_some(), "`keep` counts from its end");
        nothing_due(store, WorkKind::Deliveries).await;
        let held = lease(store, WorkKind::Turns).await;
        assert_eq!(look(store, &held).await.waiting[0].id, second);
        store.release(&held, AT_ONCE).await.unwrap();
        assert_eq!(store.retry(first).await.unwrap(), Retried::Turn, "a person may still want it");
        assert_eq!(store.enforce_retention(&policy).await.unwrap(), removed(0, 0, 0), "as young as that decision");
        assert_eq!(look(store, &lease(store, WorkKind::Turns).await).await.waiting.len(), 2);
    }

    async fn a_channel_with_its_own_time_expires_by_it_and_a_removed_one_by_the_usual(world: World) {
        let store = world.store.as_ref();
        let id = say(store, "alice", "one").await;
        world.pass(DAY * 3).await;
        let patient = vec![(shop(), DAY * 5)];
        let policy = Retention { keep: DAY, give_up_after: DAY, overrides: patient, ..retention() };
        assert_eq!(store.enforce_retention(&policy).await.unwrap(), removed(0, 0, 0));
        let without = Retention { overrides: vec![], active: vec![], ..policy };
        assert_eq!(store.enforce_retention(&without).await.unwrap(), removed(1, 0, 0));
        assert_eq!(state(store, id).await.1.as_deref(), Some("expired"));
    }

    async fn what_waits_in_a_channel_that_nobody_works_on_is_dormant_and_alarms_nobody(world: World) {
        let store = world.store.as_ref();
        say(store, "alice", "one").await;
        assert!(store.stats().await.unwrap().oldest_waiting.is_some());
        let policy = Retention { active: vec![], ..retention() };
        store.enforce_retention(&policy).await.unwrap();
        assert_eq!(store.stats().await.unwrap().oldest_waiting, None);
        assert!(look(store, &lease(store, WorkKind::Turns).await).await.waiting[0].dormant);
    }

    async fn what_somebody_works_on_does_not_expire_under_their_hands(world: World) {
        let store = world.store.as_ref();
        let id = say(store, "alice", "one").await;
        world.pass(MONTH).await;
        let held = lease(store, WorkKind::Turns).await;
        let asked = ask(store, &held).await;
        let policy = Retention { keep: DAY, give_up_after: DAY, ..retention() };
        assert_eq!(store.enforce_retention(&policy).await.unwrap(), removed(0, 0, 0));
        finish(store, &held, &answered(asked, vec![part(0, "a")])).await.unwrap();
        store.release(&held, AT_ONCE).await.unwrap();
        store.enforce_retention(&policy).await.unwrap();
        assert_eq!(state(store, id).await.0, MessageState::Answered, "the answer is young");
        deliver(store).await;
        assert_eq!(state(store, id).await.0, MessageState::Done);
    }

    async fn a_worker_that_comes_back_late_changes_nothing_of_what_has_expired(world: World) {
        let store = world.store.as_ref();
        let id = say(store, "alice", "one").await;
        let late = lease(store, WorkKind::Turns).await;
        let asked = ask(store, &late).await;
        store.release(&late, Next::After(MONTH)).await.unwrap();
        world.pass(MONTH).await;
        let policy = Retention { keep: DAY, give_up_after: DAY, ..retention() };
        assert_eq!(store.enforce_retention(&policy).await.unwrap(), removed(1, 0, 0));
        let end = finish(store, &late, &answered(asked, vec![part(0, "a")])).await;
        assert!(matches!(end, Err(StoreError::Fenced)), "{end:?}");
        assert_eq!(state(store, id).await.1.as_deref(), Some("expired"));
    }

    async fn a_chat_is_forgotten_with_all_its_rows_and_begins_anew(world: World) {
        let store = world.store.as_ref();
        let old = said(accept(store, message("alice", "key")).await);
        let lane = lease(store, WorkKind::Turns).await;
        let asked = ask(store, &lane).await;
        finish(store, &lane, &answered(asked, vec![part(0, "a"), part(0, "b")])).await.unwrap();
        store.release(&lane, AT_ONCE).await.unwrap();
        store.adopt(lane.lane, 1, &InteractionId::new("hers")).await.unwrap();
        deliver(store).await;
        store.accept(vec![NewItem::Unusable(unusable("raw"))]).await.unwrap();
        world.pass(DAY * 9 - HOUR).await;
        assert_eq!(forget(store, DAY * 9).await, 0);
        world.pass(HOUR).await;
        assert_eq!(forget(store, DAY * 9).await, 2);
        assert!(store.details(old).await.unwrap().is_none());
        let real = world.text_columns().await;
        for (table, columns) in TABLES.iter().filter(|(table, _)| real.iter().any(|(name, _)| name == table)) {
            let (Column::Kept(column, _) | Column::Pruned(column, _)) = columns[0];
            assert_eq!(world.values(table, column).await, [""; 0], "{table}");
        }
        let mut known = message("alice", "key");
        known.only_if_known = true;
        assert_eq!(accept(store, known).await, Accepted::UnknownChat);
        said(accept(store, message("alice", "key")).await);
        let anew = lease(store, WorkKind::Turns).await;
        assert!(anew.lane.0 > lane.lane.0, "a number never comes again");
        let view = look(store, &anew).await;
        assert_eq!((view.generation, view.last_turn_at), (0, None));
        assert_eq!(store.conversation(lane.lane, 1).await.unwrap(), None);
    }

    async fn the_numbers_of_what_was_forgotten_never_come_again(world: World) {
        let store = world.store.as_ref();
        let mut last = 0;
        for round in 0..3 {
            for chat in ["alice", "bob"] {
                said(accept(store, message(chat, &format!("{chat}-{round}"))).await);
            }
            for lane in lease_all(store, WorkKind::Turns).await {
                assert!(lane.lane.0 > last, "{lane:?}");
                let asked = ask(store, &lane).await;
                finish(store, &lane, &answered(asked, vec![])).await.unwrap();
                store.release(&lane, AT_ONCE).await.unwrap();
            }
            last += 2;
            world.pass(DAY * 9).await;
            assert_eq!(forget(store, DAY * 9).await, 2);
        }
    }

    async fn a_chat_that_goes_on_loses_its_old_messages_only(world: World) {
        let store = world.store.as_ref();
        let old = say(store, "alice", "one").await;
        turn(store, vec![part(0, "a")]).await;
        deliver(store).await;
        world.pass(DAY * 9).await;
        let new = say(store, "alice", "two").await;
        let held = lease(store, WorkKind::Turns).await;
        let mut next = question(vec![new]);
        next.generation = 2;
        begin_call(store, &held, &next).await.unwrap();
        assert_eq!(forget(store, DAY * 9).await, 1);
        assert!(store.details(old).await.unwrap().is_none());
        assert!(store.details(new).await.unwrap().is_some());
        assert_eq!(look(store, &held).await.generation, 2);
        assert_eq!(store.conversation(held.lane, 1).await.unwrap(), None, "nobody goes back to it");
        assert!(store.conversation(held.lane, 2).await.unwrap().is_some());
        world.pass(DAY).await;
        assert_eq!(forget(store, DAY * 9).await, 0);
    }

    async fn what_has_not_ended_is_never_forgotten(world: World) {
        let store = world.store.as_ref();
        let waiting = say(store, "alice", "one").await;
        let asking = say(store, "bob", "one").await;
        let undelivered = say(store, "carol", "one").await;
        let lanes = lease_all(store, WorkKind::Turns).await;
        ask(store, &lanes[1]).await;
        let asked = ask(store, &lanes[2]).await;
        finish(store, &lanes[2], &answered(asked, vec![part(0, "a")])).await.unwrap();
        for lane in &lanes {
            store.release(lane, AT_ONCE).await.unwrap();
        }
        world.pass(MONTH * 12).await;
        assert_eq!(forget(store, MONTH).await, 0);
        for id in [waiting, asking, undelivered] {
            assert!(store.details(id).await.unwrap().is_some());
        }
        assert_eq!(lease_all(store, WorkKind::Turns).await.len(), 2);
        assert_eq!(lease_all(store, WorkKind::Deliveries).await.len(), 1);
    }

    async fn messages_of_one_turn_are_forgotten_together(world: World) {
        let store = world.store.as_ref();
        let first = say(store, "alice", "one").await;
        world.pass(HOUR).await;
        let second = say(store, "alice", "two").await;
        fail(store).await;
        world.pass(DAY * 9 - HOUR).await;
        assert_eq!(forget(store, DAY * 9).await, 0);
        assert_eq!(store.retry(first).await.unwrap(), Retried::Turn);
        assert_eq!(look(store, &lease(store, WorkKind::Turns).await).await.waiting.len(), 2);
        assert!(store.details(second).await.unwrap().is_some());
    }

    // What comes while its chat is being forgotten is neither lost nor stuck.
    async fn a_message_that_comes_while_its_chat_is_forgotten_is_kept(world: World) {
        let (store, other) = (world.store.clone(), world.beside().await);
        let chats: Vec<String> = (0..60).map(|n| format!("chat-{n}")).collect();
        for round in 0..4 {
            let mut comes = tokio::task::JoinSet::new();
            for (number, chat) in chats.iter().enumerate() {
                let store = if number % 2 == 0 { store.clone() } else { other.clone() };
                let message = message(chat, &format!("{chat}-{round}"));
                comes.spawn(async move { said(accept(store.as_ref(), message).await) });
            }
            let old = Retention { forget: DAY * 9, ..retention() };
            let (here, there) = tokio::join!(store.enforce_retention(&old), store.enforce_retention(&old));
            let forgotten = here.unwrap().forgotten + there.unwrap().forgotten;
            assert!(round == 0 || forgotten > 0, "nothing was forgotten meanwhile");
            let kept = comes.join_all().await;
            for id in kept {
                assert_eq!(state(store.as_ref(), id).await.0, MessageState::Received);
            }
            let lanes = lease_all(store.as_ref(), WorkKind::Turns).await;
            assert_eq!(lanes.len(), chats.len());
            for lane in lanes {
                let asked = ask(store.as_ref(), &lane).await;
                finish(store.as_ref(), &lane, &answered(asked, vec![])).await.unwrap();
                store.release(&lane, AT_ONCE).await.unwrap();
            }
            world.pass(DAY * 9).await;
        }
    }
}

async fn accept_again(store: &dyn Store, key: &str) -> MessageId {
    match accept(store, message("alice", key)).await {
        fini_bridge::store::Accepted::Duplicate(id) => id,
        other => panic!("{other:?}"),
    }
}

fn removed(expired: u64, pruned: u64, forgotten: u64) -> Removed {
    Removed { expired, pruned, forgotten }
}

fn pruned_columns() -> Vec<(&'static str, &'static str)> {
    let columns = TABLES.iter().flat_map(|(table, columns)| columns.iter().map(move |column| (*table, column)));
    let pruned = |(table, column): (_, &_)| match column {
        Column::Pruned(name, _) => Some((table, *name)),
        Column::Kept(..) => None,
    };
    columns.filter_map(pruned).collect()
}

/// Messages, turns and parts in every state that there is, each in a chat of its own.
async fn one_of_each_state(store: &dyn Store) {
    store.accept(vec![NewItem::Unusable(unusable("raw"))]).await.unwrap();
    let mut dormant = message("dormant", "dormant");
    dormant.dormant = true;
    accept(store, dormant).await;
    let outcomes = [
        None,
        Some(TurnOutcome::Answered),
        Some(TurnOutcome::Dropped { reason: "blank".to_owned() }),
        Some(failed_as("fini_400")),
        Some(held_as("outcome_unknown")),
        Some(TurnOutcome::Expired),
    ];
    for (number, outcome) in outcomes.into_iter().enumerate() {
        say(store, &format!("asked-{number}"), "text").await;
        let held = lease(store, WorkKind::Turns).await;
        let asked = ask(store, &held).await;
        match outcome {
            None => {}
            Some(outcome) => finish(store, &held, &ended_as(asked, outcome)).await.unwrap(),
        }
        store.release(&held, Next::After(YEARS)).await.unwrap();
    }
    say(store, "open", "text").await;
    let held = lease(store, WorkKind::Turns).await;
    let asked = ask(store, &held).await;
    store.reopen(&held, asked, YEARS, "fini_429").await.unwrap();
    say(store, "unknown", "text").await;
    let held = lease(store, WorkKind::Turns).await;
    let asked = ask(store, &held).await;
    store.mark_unknown(&held, asked, LookupNote::Started { answered: false }, YEARS, "timed out").await.unwrap();
    for (chat, end) in [
        ("pending", None),
        ("sending", None),
        ("sent", Some(took("receipt"))),
        ("failed", Some(refused("gone"))),
        ("held", Some(in_doubt("send_unknown"))),
    ] {
        say(store, chat, "text").await;
        turn(store, vec![part(0, "a"), part(0, "b")]).await;
        let held = lease(store, WorkKind::Deliveries).await;
        let first = outgoing(store, &held).await[0].id;
        if chat != "pending" {
            store.begin_send(&held, first).await.unwrap();
        }
        if let Some(end) = end {
            store.finish_send(&held, first, &end, AfterSend::Keep).await.unwrap();
        }
        store.release(&held, Next::After(YEARS)).await.unwrap();
    }
    // Waits for its turn; the last, so that it is not in the way of the others.
    say(store, "waiting", "text").await;
}
