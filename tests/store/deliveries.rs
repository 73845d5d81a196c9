//! The outbox: parts in order, receipts, failures, what platforms report later.

use std::time::Duration;

use fini_bridge::domain::id::PartId;
use fini_bridge::domain::message::{Address, ReportOutcome, Reported};
use fini_bridge::store::{AfterSend, MessageState, Next, RESPONSE_WITHIN, SendEnd, SendState, StoreError, WorkKind};
use serde_json::json;

use crate::actors::*;

promises! {
    async fn parts_go_out_in_order_and_the_message_is_done_when_all_are_sent(world: World) {
        let store = world.store.as_ref();
        let id = say(store, "alice", "one").await;
        let asked = turn(store, vec![part(0, "a"), part(0, "b"), part(1, "c")]).await;
        let held = lease(store, WorkKind::Deliveries).await;
        let (now, parts) = store.pending_parts(&held).await.unwrap();
        let texts: Vec<_> = parts.iter().map(|part| part.part.0["text"].as_str().unwrap()).collect();
        assert_eq!(texts, ["a", "b", "c"]);
        assert_eq!((parts[0].turn, parts[0].answered_at, parts[0].attempts), (asked, now, 0));
        assert_eq!((&parts[0].address.0, parts[0].state), (&json!({ "to": "here" }), SendState::Pending));
        for (number, part) in parts.iter().enumerate() {
            assert_eq!(state(store, id).await.0, MessageState::Answered);
            send(store, &held, part.id, took(&format!("receipt-{number}"))).await;
        }
        assert_eq!(state(store, id).await.0, MessageState::Done);
        store.release(&held, AT_ONCE).await.unwrap();
        nothing_due(store, WorkKind::Deliveries).await;
        let story = store.details(id).await.unwrap().unwrap();
        assert!(story.parts.iter().all(|part| part.state == "sent" && part.sent_at == Some(now) && part.attempts == 1));
    }

    async fn a_restart_goes_on_at_the_part_that_was_not_sent(world: World) {
        say(world.store.as_ref(), "alice", "one").await;
        let parts = vec![part(0, "a"), part(0, "b"), part(0, "c")];
        let ids: Vec<PartId> = parts.iter().map(|part| part.id).collect();
        turn(world.store.as_ref(), parts).await;
        let held = lease(world.store.as_ref(), WorkKind::Deliveries).await;
        send(world.store.as_ref(), &held, ids[0], took("1")).await;
        world.store.begin_send(&held, ids[1]).await.unwrap();
        let (since, _) = world.store.pending_parts(&held).await.unwrap();
        let world = world.restart().await;
        let held = lease(world.store.as_ref(), WorkKind::Deliveries).await;
        let (_, left) = world.store.pending_parts(&held).await.unwrap();
        assert_eq!(left.iter().map(|part| part.id).collect::<Vec<_>>(), ids[1..]);
        assert_eq!((left[0].state, left[0].attempts), (SendState::Sending { since }, 1));
        assert_eq!((left[1].state, left[1].attempts), (SendState::Pending, 0));
    }

    async fn a_part_that_was_not_taken_waits_and_the_lane_with_it(world: World) {
        let store = world.store.as_ref();
        let message = say(store, "alice", "one").await;
        let parts = vec![part(0, "a")];
        let id = parts[0].id;
        turn(store, parts).await;
        let held = lease(store, WorkKind::Deliveries).await;
        let later = SendEnd::Deferred {
            after: Duration::from_secs(20),
            reason: "slack_429".to_owned(),
            detail: Some("their words".to_owned()),
        };
        send(store, &held, id, later).await;
        let waits = store.details(message).await.unwrap().unwrap().parts.remove(0);
        assert_eq!((waits.reason.as_deref(), waits.detail.as_deref()), (Some("slack_429"), Some("their words")));
        assert!(waits.tried_at.is_some() && waits.sent_at.is_none());
        assert!(matches!(store.release(&held, AT_ONCE).await, Err(StoreError::Fenced)), "given back already");
        say(store, "alice", "two").await;
        turn(store, vec![part(0, "b")]).await;
        world.pass(Duration::from_secs(19)).await;
        nothing_due(store, WorkKind::Deliveries).await;
        world.pass(Duration::from_secs(1)).await;
        let held = lease(store, WorkKind::Deliveries).await;
        let left = outgoing(store, &held).await;
        assert_eq!((left.len(), left[0].id, left[0].attempts), (2, id, 1));
        assert_eq!(left[0].state, SendState::Pending);
    }

    async fn after_a_part_failed_for_good_the_rest_of_its_reply_is_not_sent_and_other_replies_are(world: World) {
        let store = world.store.as_ref();
        let id = say(store, "alice", "one").await;
        let parts = vec![part(0, "a"), part(0, "b"), part(0, "c"), part(1, "d")];
        let (second, other) = (parts[1].id, parts[3].id);
        let first = parts[0].id;
        turn(store, parts).await;
        let held = lease(store, WorkKind::Deliveries).await;
        send(store, &held, first, took("1")).await;
        send(store, &held, second, refused("slack_channel_not_found")).await;
        let left = outgoing(store, &held).await;
        assert_eq!(left.iter().map(|part| part.id).collect::<Vec<_>>(), [other]);
        assert_eq!(state(store, id).await, (MessageState::Failed, Some("slack_channel_not_found".to_owned())));
        send(store, &held, other, took("2")).await;
        let expected = [
            plain("sent"),
            because("failed", "slack_channel_not_found"),
            because("failed", "earlier_part_failed"),
            plain("sent"),
        ];
        assert_eq!(parts_of(store, id).await, expected);
        assert_eq!(state(store, id).await.0, MessageState::Failed);
    }

    async fn a_part_in_doubt_holds_its_reply_and_nothing_else(world: World) {
        let store = world.store.as_ref();
        let id = say(store, "alice", "one").await;
        let parts = vec![part(0, "a"), part(0, "b")];
        let first = parts[0].id;
        turn(store, parts).await;
        let held = lease(store, WorkKind::Deliveries).await;
        send(store, &held, first, in_doubt("send_unknown")).await;
        assert_eq!(state(store, id).await, (MessageState::Held, Some("send_unknown".to_owned())));
        store.release(&held, AT_ONCE).await.unwrap();
        nothing_due(store, WorkKind::Deliveries).await;
        say(store, "alice", "two").await;
        turn(store, vec![part(0, "c")]).await;
        let held = lease(store, WorkKind::Deliveries).await;
        assert_eq!(outgoing(store, &held).await[0].part.0, json!({ "text": "c" }));
    }

    async fn who_sends_from_an_old_list_is_stopped_and_the_lane_goes_on(world: World) {
        let store = world.store.as_ref();
        say(store, "alice", "one").await;
        let parts = vec![part(0, "a"), part(0, "b"), part(1, "c")];
        let (first, second, third) = (parts[0].id, parts[1].id, parts[2].id);
        turn(store, parts).await;
        let held = lease(store, WorkKind::Deliveries).await;
        send(store, &held, first, refused("gone")).await;
        assert!(matches!(store.begin_send(&held, second).await, Err(StoreError::Fenced)));
        let held = lease(store, WorkKind::Deliveries).await;
        assert_eq!(outgoing(store, &held).await[0].id, third);
    }

    async fn a_holder_sees_at_most_fifty_parts(world: World) {
        let store = world.store.as_ref();
        say(store, "alice", "one").await;
        turn(store, (0..60).map(|number| part(number, "x")).collect()).await;
        let held = lease(store, WorkKind::Deliveries).await;
        assert_eq!(outgoing(store, &held).await.len(), 50);
    }

    async fn a_chat_that_moved_gets_what_waits_at_its_new_address(world: World) {
        let store = world.store.as_ref();
        say(store, "alice", "one").await;
        let parts = vec![part(0, "a"), part(1, "b")];
        let first = parts[0].id;
        turn(store, parts).await;
        let held = lease(store, WorkKind::Deliveries).await;
        store.begin_send(&held, first).await.unwrap();
        store.moved(&held, first, &Address(json!({ "to": "there" }))).await.unwrap();
        let left = outgoing(store, &held).await;
        assert!(left.iter().all(|part| part.address.0 == json!({ "to": "there" })));
        // The platform took nothing: there is no doubt about it.
        assert_eq!((left[0].id, left[0].state, left[0].attempts), (first, SendState::Pending, 1));
    }

    async fn a_chat_that_moved_settles_no_doubt_about_an_answer_in_a_response(world: World) {
        let store = world.store.as_ref();
        say(store, "alice", "one").await;
        turn(store, vec![part(0, "a")]).await;
        let mut waited = message("alice", "k");
        waited.wait = Some(HOUR);
        let waited = said(accept(store, waited).await);
        turn(store, vec![part(0, "b")]).await;
        store.claim_response(waited).await.unwrap();
        let held = lease(store, WorkKind::Deliveries).await;
        let first = outgoing(store, &held).await[0].id;
        store.begin_send(&held, first).await.unwrap();
        store.moved(&held, first, &Address(json!({ "to": "there" }))).await.unwrap();
        world.pass(RESPONSE_WITHIN).await;
        let left = outgoing(store, &held).await;
        assert_eq!((left.len(), left[0].state), (2, SendState::Pending));
        assert!(matches!(left[1].state, SendState::Sending { .. }));
    }

    async fn a_failure_that_the_platform_reports_later_reaches_its_message(world: World) {
        let store = world.store.as_ref();
        let id = say(store, "alice", "one").await;
        let parts = vec![part(0, "a"), part(1, "b")];
        let (first, second) = (parts[0].id, parts[1].id);
        turn(store, parts).await;
        let held = lease(store, WorkKind::Deliveries).await;
        send(store, &held, first, took("wamid-1")).await;
        send(store, &held, second, took("wamid-2")).await;
        let delivered = store.apply_report(&shop(), &Reported::Part(second), &ReportOutcome::Delivered).await.unwrap();
        assert!(delivered);
        // What was delivered or read can't fail any more: that is about another member of a group.
        let late = ReportOutcome::Failed { reason: "whatsapp_131026".to_owned() };
        assert!(store.apply_report(&shop(), &Reported::Part(second), &late).await.unwrap());
        assert_eq!(state(store, id).await.0, MessageState::Done);
        let outcome = ReportOutcome::Failed { reason: "whatsapp_131047".to_owned() };
        let of = Reported::Receipt("wamid-1".to_owned());
        assert_eq!(store.known_parts(&shop(), std::slice::from_ref(&of)).await.unwrap(), [true]);
        assert!(store.apply_report(&shop(), &of, &outcome).await.unwrap());
        assert_eq!(state(store, id).await, (MessageState::Failed, Some("whatsapp_131047".to_owned())));
        assert_eq!(parts_of(store, id).await, [because("failed", "whatsapp_131047"), plain("sent")]);
    }

    async fn a_report_about_nothing_of_ours_changes_nothing(world: World) {
        let store = world.store.as_ref();
        say(store, "alice", "one").await;
        let parts = vec![part(0, "a")];
        let id = parts[0].id;
        turn(store, parts).await;
        let outcome = ReportOutcome::Failed { reason: "x".to_owned() };
        let unknown = Reported::Receipt("unknown".to_owned());
        assert!(!store.apply_report(&shop(), &unknown, &outcome).await.unwrap());
        let other = fini_bridge::domain::id::ChannelName::new("other");
        let asked = [unknown, Reported::Part(id), Reported::Receipt(id.to_string())];
        assert_eq!(store.known_parts(&shop(), &asked).await.unwrap(), [false, true, false]);
        assert_eq!(store.known_parts(&other, &asked).await.unwrap(), [false; 3]);
        assert!(!store.apply_report(&other, &Reported::Part(id), &outcome).await.unwrap());
        let held = lease(store, WorkKind::Deliveries).await;
        assert_eq!(outgoing(store, &held).await.len(), 1);
    }

    async fn a_report_that_overtakes_the_sends_own_answer_counts(world: World) {
        let store = world.store.as_ref();
        let id = say(store, "alice", "one").await;
        let parts = vec![part(0, "a"), part(1, "b")];
        let (first, second) = (parts[0].id, parts[1].id);
        turn(store, parts).await;
        let held = lease(store, WorkKind::Deliveries).await;
        store.begin_send(&held, first).await.unwrap();
        let outcome = ReportOutcome::Failed { reason: "blocked".to_owned() };
        store.apply_report(&shop(), &Reported::Part(first), &outcome).await.unwrap();
        store.finish_send(&held, first, &took("wamid-1"), AfterSend::Keep).await.unwrap();
        store.begin_send(&held, second).await.unwrap();
        store.apply_report(&shop(), &Reported::Part(second), &ReportOutcome::Delivered).await.unwrap();
        store.finish_send(&held, second, &in_doubt("timeout"), AfterSend::Keep).await.unwrap();
        assert_eq!(parts_of(store, id).await, [because("failed", "blocked"), plain("sent")]);
    }

    async fn the_word_that_a_platform_has_a_part_ends_the_wait_for_it(world: World) {
        let store = world.store.as_ref();
        let id = say(store, "alice", "one").await;
        let parts = vec![part(0, "a"), part(0, "b")];
        let (first, second) = (parts[0].id, parts[1].id);
        turn(store, parts).await;
        let held = lease(store, WorkKind::Deliveries).await;
        store.begin_send(&held, first).await.unwrap();
        store.release(&held, Next::After(HOUR)).await.unwrap();
        nothing_due(store, WorkKind::Deliveries).await;
        assert!(store.apply_report(&shop(), &Reported::Part(first), &ReportOutcome::Taken).await.unwrap());
        assert_eq!(parts_of(store, id).await, [plain("sent"), plain("pending")]);
        let held = lease(store, WorkKind::Deliveries).await;
        assert_eq!(outgoing(store, &held).await[0].id, second);
    }

    async fn a_delivery_report_settles_a_send_that_was_in_doubt(world: World) {
        let store = world.store.as_ref();
        let id = say(store, "alice", "one").await;
        let parts = vec![part(0, "a"), part(0, "b")];
        let first = parts[0].id;
        turn(store, parts).await;
        let held = lease(store, WorkKind::Deliveries).await;
        send(store, &held, first, in_doubt("send_unknown")).await;
        store.release(&held, AT_ONCE).await.unwrap();
        store.apply_report(&shop(), &Reported::Part(first), &ReportOutcome::Delivered).await.unwrap();
        assert_eq!(parts_of(store, id).await, [plain("sent"), plain("pending")]);
        deliver(store).await;
        assert_eq!(state(store, id).await.0, MessageState::Done);
    }
}
