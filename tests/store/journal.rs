//! The journal: what a message's timeline tells.

use std::sync::Arc;
use std::time::Duration;

use fini_bridge::domain::id::{MessageId, PartId};
use fini_bridge::domain::message::{ReportOutcome, Reported};
use fini_bridge::store::{
    AfterSend, Discarded, JournalEntry, LookupNote, NewItem, Next, Retention, Retried, SendEnd, Store, WorkKind,
};

use crate::actors::*;

const SECOND: Duration = Duration::from_secs(1);
const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);

async fn timeline(store: &dyn Store, message: MessageId) -> Vec<JournalEntry> {
    store.timeline(message).await.unwrap()
}

/// Its steps, each with its reason.
async fn steps(store: &dyn Store, message: MessageId) -> Vec<String> {
    let step = |entry: JournalEntry| match entry.detail.get("reason") {
        Some(reason) => format!("{}: {}", entry.step.as_str(), reason.as_str().unwrap()),
        None => entry.step.as_str().to_owned(),
    };
    timeline(store, message).await.into_iter().map(step).collect()
}

const BEGUN: [&str; 4] = ["received", "stored", "waiting", "asked"];

fn after(first: &[&str], then: &[&str]) -> Vec<String> {
    first.iter().chain(then).map(|step| (*step).to_owned()).collect()
}

/// What was asked fails for good.
async fn fail(world: &World, reason: &str) {
    let store = world.store.as_ref();
    let held = lease(store, WorkKind::Turns).await;
    let asked = ask(store, &held).await;
    world.pass(SECOND).await;
    finish(store, &held, &ended_as(asked, failed_as(reason))).await.unwrap();
    store.release(&held, AT_ONCE).await.unwrap();
    world.pass(SECOND).await;
}

async fn first_part(store: &dyn Store) -> (fini_bridge::store::Lease, PartId) {
    let held = lease(store, WorkKind::Deliveries).await;
    let first = outgoing(store, &held).await[0].id;
    store.begin_send(&held, first).await.unwrap();
    (held, first)
}

use crate::World;

promises! {
    async fn a_message_that_is_answered_tells_each_step_with_its_time_and_what_proved_it(world: World) {
        let store = world.store.as_ref();
        let mut new = message("alice", "k");
        new.secret = Some(Arc::from("env:SHOP_SECRET"));
        let id = said(accept(store, new).await);
        world.pass(SECOND).await;
        turn(store, vec![part(0, "a"), part(0, "b")]).await;
        world.pass(SECOND).await;
        deliver(store).await;
        let told = timeline(store, id).await;
        assert_eq!(steps(store, id).await, after(&BEGUN, &["answered", "part_sent", "part_sent"]));
        assert_eq!(told[0].detail["secret"], "env:SHOP_SECRET");
        let details = store.details(id).await.unwrap().unwrap();
        let since: Vec<u64> = told.iter().map(|entry| entry.at.since(details.received_at).as_secs()).collect();
        assert_eq!(since, [0, 0, 0, 1, 1, 2, 2]);
        let parts: Vec<&str> = told[5..].iter().map(|entry| entry.detail["part"].as_str().unwrap()).collect();
        assert_eq!(parts, details.parts.iter().map(|part| part.id.to_string()).collect::<Vec<_>>());
        assert_eq!(told[3].detail["turn"], details.turn.unwrap().id.to_string());
        let json = serde_json::to_value(&told[0]).unwrap();
        assert!(json["at"].as_str().unwrap().ends_with('Z') && json["step"] == "received", "{json}");
        assert!(json["replica"].is_string() && json["detail"].is_object(), "{json}");
        assert_eq!(timeline(store, MessageId::generate()).await, [], "there is no such message");
    }

    async fn a_turns_steps_are_those_of_each_of_its_messages(world: World) {
        let store = world.store.as_ref();
        let (first, second) = (say(store, "alice", "one").await, say(store, "alice", "two").await);
        turn(store, vec![part(0, "a")]).await;
        deliver(store).await;
        let expected = after(&BEGUN, &["answered", "part_sent"]);
        assert_eq!((steps(store, first).await, steps(store, second).await), (expected.clone(), expected));
    }

    async fn a_call_that_is_made_again_tells_why(world: World) {
        let store = world.store.as_ref();
        let id = say(store, "alice", "one").await;
        let held = lease(store, WorkKind::Turns).await;
        let asked = ask(store, &held).await;
        for reason in ["fini_429", "not reached: no connection"] {
            let held = match reason {
                "fini_429" => held.clone(),
                _ => lease(store, WorkKind::Turns).await,
            };
            store.reopen(&held, asked, Duration::ZERO, reason).await.unwrap();
            let held = lease(store, WorkKind::Turns).await;
            begin_call(store, &held, &Asking { turn: asked, ..question(vec![]) }).await.unwrap();
            store.release(&held, AT_ONCE).await.unwrap();
        }
        let again = ["throttled: fini_429", "asked: fini_429", "waiting: not_reached", "asked: not_reached"];
        assert_eq!(steps(store, id).await, after(&BEGUN, &again));
        let calls: Vec<u64> =
            timeline(store, id).await.iter().filter_map(|entry| entry.detail.get("call")?.as_u64()).collect();
        assert_eq!(calls, [1, 2, 3]);
    }

    async fn an_answer_that_was_looked_up_is_told_as_adopted(world: World) {
        let store = world.store.as_ref();
        let id = say(store, "alice", "one").await;
        let held = lease(store, WorkKind::Turns).await;
        let asked = ask(store, &held).await;
        let started = LookupNote::Started { answered: true };
        store.mark_unknown(&held, asked, started, Duration::ZERO, "fini_500").await.unwrap();
        let held = lease(store, WorkKind::Turns).await;
        store.mark_unknown(&held, asked, LookupNote::Missed, Duration::ZERO, "looking").await.unwrap();
        let held = lease(store, WorkKind::Turns).await;
        finish(store, &held, &answered(asked, vec![])).await.unwrap();
        let expected = ["waiting: fini_500", "looked_up", "looked_up", "adopted", "answered"];
        assert_eq!(steps(store, id).await, after(&BEGUN, &expected));
        let found: Vec<_> = timeline(store, id).await.iter().filter_map(|e| e.detail.get("found").cloned()).collect();
        assert_eq!(found, ["nothing", "answer"]);
    }

    async fn a_call_of_which_nothing_was_found_is_told_with_the_look_before_the_next(world: World) {
        let store = world.store.as_ref();
        let id = say(store, "alice", "one").await;
        let held = lease(store, WorkKind::Turns).await;
        let asked = ask(store, &held).await;
        let started = LookupNote::Started { answered: false };
        store.mark_unknown(&held, asked, started, Duration::ZERO, "timed out").await.unwrap();
        let held = lease(store, WorkKind::Turns).await;
        begin_call(store, &held, &Asking { turn: asked, ..question(vec![]) }).await.unwrap();
        store.mark_unknown(&held, asked, started, Duration::ZERO, "timed out").await.unwrap();
        let held = lease(store, WorkKind::Turns).await;
        finish(store, &held, &ended_as(asked, held_as("stored_not_answered"))).await.unwrap();
        let expected = [
            "waiting: timed_out",
            "looked_up",
            "asked: timed_out",
            "waiting: timed_out",
            "looked_up",
            "held: stored_not_answered",
        ];
        assert_eq!(steps(store, id).await, after(&BEGUN, &expected));
    }

    async fn a_part_that_is_sent_again_tells_why_and_one_that_fails_ends_its_message(world: World) {
        let store = world.store.as_ref();
        let id = say(store, "alice", "one").await;
        turn(store, vec![part(0, "a"), part(0, "b")]).await;
        let (held, first) = first_part(store).await;
        let later = SendEnd::Deferred { after: Duration::ZERO, reason: "http_503".to_owned(), detail: None };
        store.finish_send(&held, first, &later, AfterSend::Release).await.unwrap();
        let (held, first) = first_part(store).await;
        store.release(&held, AT_ONCE).await.unwrap();
        world.pass(SECOND).await;
        // Nobody knows what became of it.
        let (held, _) = first_part(store).await;
        store.finish_send(&held, first, &refused("http_404"), AfterSend::Release).await.unwrap();
        let expected = [
            "answered",
            "part_retried: http_503",
            "part_retried: send_unknown",
            "part_failed: http_404",
            "part_failed: earlier_part_failed",
            "failed: http_404",
        ];
        assert_eq!(steps(store, id).await, after(&BEGUN, &expected));
    }

    async fn what_a_platform_reports_is_told_once(world: World) {
        let store = world.store.as_ref();
        let failed = || ReportOutcome::Failed { reason: "whatsapp_131026".to_owned() };
        let taken = ["answered", "held: send_unknown", "reported", "part_sent"];
        // What was delivered has not failed, whatever comes later.
        let delivered = [&taken[..], &["reported"]].concat();
        let lost = ["reported: whatsapp_131026", "part_failed: whatsapp_131026", "failed: whatsapp_131026"];
        for (chat, outcome, expected) in [
            ("alice", ReportOutcome::Delivered, delivered),
            ("bob", ReportOutcome::Taken, [&taken[..], &lost].concat()),
        ] {
            let id = say(store, chat, "one").await;
            turn(store, vec![part(0, "a")]).await;
            let (held, first) = first_part(store).await;
            store.finish_send(&held, first, &in_doubt("send_unknown"), AfterSend::Release).await.unwrap();
            store.release(&held, Next::After(3600 * SECOND)).await.ok();
            world.pass(SECOND).await;
            let of = Reported::Part(first);
            for outcome in [ReportOutcome::Taken, ReportOutcome::Taken, outcome.clone(), outcome] {
                assert!(store.apply_report(&shop(), &of, &outcome).await.unwrap());
                world.pass(SECOND).await;
            }
            store.apply_report(&shop(), &of, &failed()).await.unwrap();
            assert_eq!(steps(store, id).await, after(&BEGUN, &expected), "{chat}");
        }
    }

    async fn what_a_person_decides_is_told_and_what_was_before_stays(world: World) {
        let store = world.store.as_ref();
        let (first, second) = (say(store, "alice", "one").await, say(store, "alice", "two").await);
        fail(&world, "fini_400").await;
        assert_eq!(store.retry(first).await.unwrap(), Retried::Turn);
        fail(&world, "fini_404").await;
        assert_eq!(store.retry(second).await.unwrap(), Retried::Turn);
        turn(store, vec![part(0, "a")]).await;
        world.pass(SECOND).await;
        let (held, part) = first_part(store).await;
        store.finish_send(&held, part, &refused("http_404"), AfterSend::Release).await.unwrap();
        store.release(&held, AT_ONCE).await.ok();
        world.pass(SECOND).await;
        assert_eq!(store.retry(first).await.unwrap(), Retried::Delivery);
        world.pass(SECOND).await;
        let (held, part) = first_part(store).await;
        store.finish_send(&held, part, &refused("http_410"), AfterSend::Release).await.unwrap();
        world.pass(SECOND).await;
        assert_eq!(store.discard(first).await.unwrap(), Discarded::Yes);
        let expected = [
            "failed: fini_400",
            "retried",
            "waiting",
            "asked",
            "failed: fini_404",
            "retried",
            "waiting",
            "asked",
            "answered",
            "part_failed: http_404",
            "failed: http_404",
            "retried",
            "part_failed: http_410",
            "failed: http_410",
            "discarded",
        ];
        for id in [first, second] {
            assert_eq!(steps(store, id).await, after(&BEGUN, &expected));
        }
    }

    async fn what_can_not_be_read_is_told_as_failed_from_the_start(world: World) {
        let store = world.store.as_ref();
        let id = said(store.accept(vec![NewItem::Unusable(unusable("k"))]).await.unwrap()[0]);
        assert_eq!(steps(store, id).await, ["received", "stored", "failed: malformed"]);
    }

    async fn the_journal_goes_with_the_text_and_what_the_rows_still_say_is_told(world: World) {
        let store = world.store.as_ref();
        let mut new = message("alice", "k");
        new.secret = Some(Arc::from("env:SHOP_SECRET"));
        let done = said(accept(store, new).await);
        turn(store, vec![part(0, "a")]).await;
        deliver(store).await;
        let failed = say(store, "bob", "two").await;
        fail(&world, "fini_400").await;
        assert!(world.values("messages", "journal").await.iter().any(|journal| journal.contains("SHOP_SECRET")));
        world.pass(MONTH).await;
        let years = MONTH * 120;
        let policy = Retention {
            keep: MONTH, forget: years, give_up_after: years, overrides: vec![], active: vec![shop()],
        };
        store.enforce_retention(&policy).await.unwrap();
        for table in ["messages", "turns", "parts"] {
            let left = world.values(table, "journal").await;
            assert!(left.iter().all(String::is_empty), "{table}: {left:?}");
        }
        assert_eq!(steps(store, done).await, ["received", "stored", "asked", "answered", "part_sent"]);
        assert_eq!(steps(store, failed).await, ["received", "stored", "asked", "failed: fini_400"]);
        assert!(!timeline(store, done).await[0].detail.contains_key("secret"));
    }

    async fn no_text_is_in_a_journal_whoever_quotes_it(world: World) {
        let store = world.store.as_ref();
        let quoted = "my IBAN is DE89 3704";
        let id = say(store, "alice", quoted).await;
        let held = lease(store, WorkKind::Turns).await;
        let asked = ask(store, &held).await;
        store.reopen(&held, asked, Duration::ZERO, quoted).await.unwrap();
        let held = lease(store, WorkKind::Turns).await;
        begin_call(store, &held, &Asking { turn: asked, ..question(vec![]) }).await.unwrap();
        finish(store, &held, &answered(asked, vec![part(0, quoted)])).await.unwrap();
        store.release(&held, AT_ONCE).await.unwrap();
        let (held, first) = first_part(store).await;
        let later = SendEnd::Deferred {
            after: Duration::ZERO, reason: quoted.to_owned(), detail: Some(quoted.to_owned()),
        };
        store.finish_send(&held, first, &later, AfterSend::Release).await.unwrap();
        let (held, first) = first_part(store).await;
        store.finish_send(&held, first, &refused(quoted), AfterSend::Release).await.unwrap();
        let failed = ReportOutcome::Failed { reason: quoted.to_owned() };
        store.apply_report(&shop(), &Reported::Part(first), &failed).await.unwrap();
        let told = steps(store, id).await;
        assert!(told.contains(&"part_retried: other".to_owned()), "{told:?}");
        for table in ["messages", "turns", "parts"] {
            let kept = world.values(table, "journal").await;
            assert!(kept.iter().all(|journal| !journal.contains("IBAN")) && kept.iter().any(|j| !j.is_empty()));
        }
    }

    async fn what_happened_before_there_was_a_journal_is_told_from_the_rows(world: World) {
        let store = world.store.as_ref();
        let id = say(store, "alice", "one").await;
        turn(store, vec![part(0, "a"), part(1, "b")]).await;
        for table in ["messages", "turns", "parts"] {
            world.execute(&format!("UPDATE {table} SET journal = ''")).await;
        }
        world.pass(SECOND).await;
        let (held, first) = first_part(store).await;
        store.finish_send(&held, first, &took("receipt"), AfterSend::Release).await.unwrap();
        assert_eq!(steps(store, id).await, ["received", "stored", "asked", "answered", "part_sent"]);
    }

    async fn a_long_outage_keeps_the_beginning_and_the_end(world: World) {
        let store = world.store.as_ref();
        let id = say(store, "alice", "one").await;
        let held = lease(store, WorkKind::Turns).await;
        let asked = ask(store, &held).await;
        store.reopen(&held, asked, Duration::ZERO, "fini_429").await.unwrap();
        for _ in 0..200 {
            let held = lease(store, WorkKind::Turns).await;
            begin_call(store, &held, &Asking { turn: asked, ..question(vec![]) }).await.unwrap();
            store.reopen(&held, asked, Duration::ZERO, "not reached: no connection").await.unwrap();
        }
        let held = lease(store, WorkKind::Turns).await;
        begin_call(store, &held, &Asking { turn: asked, ..question(vec![]) }).await.unwrap();
        finish(store, &held, &answered(asked, vec![])).await.unwrap();
        let told = steps(store, id).await;
        assert_eq!(told[..5], after(&BEGUN, &["throttled: fini_429"]));
        assert_eq!(told[told.len() - 3..], ["waiting: not_reached", "asked: not_reached", "answered"]);
        assert!((60..300).contains(&told.len()), "{}", told.len());
        let longest = world.values("turns", "journal").await.iter().map(String::len).max().unwrap();
        assert!(longest < 9000, "{longest}");
    }
}
