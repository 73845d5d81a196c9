//! What holds for days, by a clock that is told the time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods)]

mod support;

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fini_bridge::app::gateway::{Ending, Gateway};
use fini_bridge::app::sandbox::fini::{Endpoint, FaultRule};
use fini_bridge::app::settings;
use fini_bridge::domain::clock::{Clock, ManualClock, SystemClock};
use fini_bridge::store::{Filter, MessageState};
use support::senders::{self, CHANNELS, Signed};
use support::{SOON, World, eventually};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

async fn post(world: &World, gateway: &Gateway, signed: &Signed) -> u16 {
    let mut request =
        world.http.post(format!("http://{}/webhooks/whatsapp", gateway.address())).body(signed.body.clone());
    for (name, value) in &signed.headers {
        request = request.header(name, value);
    }
    request.send().await.unwrap().status().as_u16()
}

async fn answered(world: &World, number: usize) {
    eventually("it is answered", SOON, async || (world.outside.sent().len() >= number).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_comes_again_a_week_later_is_answered_once_and_one_too_old_to_tell_never() {
    let world = World::prepare(CHANNELS).await;
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    let loaded =
        settings::load(&world.config_path(), &BTreeMap::new(), clock.clone()).map_err(|e| e.to_string()).unwrap();
    let http = loaded.surroundings.http.clone();
    let gateway = Gateway::start(&loaded.settings, loaded.connectors, http, clock.clone()).await.unwrap();
    let [first, late, too_old] = [(1, "first"), (2, "late"), (3, "older")]
        .map(|(number, text)| senders::whatsapp_message("16505551234", number, text));

    assert_eq!(post(&world, &gateway, &first).await, 200);
    answered(&world, 1).await;
    clock.advance(DAY * 7 + HOUR * 11);
    assert_eq!(post(&world, &gateway, &first).await, 200);
    assert_eq!(post(&world, &gateway, &late).await, 200);
    answered(&world, 2).await;
    clock.advance(HOUR * 2);
    for again in [&first, &late, &too_old, &too_old] {
        assert_eq!(post(&world, &gateway, again).await, 200);
    }
    let failed = Filter { states: vec![MessageState::Failed], limit: 10, ..Filter::default() };
    let failed = gateway.store().list(&failed).await.unwrap();
    assert_eq!(failed.iter().map(|story| story.reason.as_deref()).collect::<Vec<_>>(), [Some("too_old")]);
    gateway.stop(Ending::Drain).await;
    let ledger = world.fini.ledger();
    assert_eq!((ledger.stored("first"), ledger.stored("late"), ledger.stored("older")), (1, 1, 0));
    assert_eq!(world.outside.sent().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_was_away_looks_for_a_conversation_before_it_begins_another() {
    let world = World::prepare(CHANNELS).await;
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    let loaded =
        settings::load(&world.config_path(), &BTreeMap::new(), clock.clone()).map_err(|e| e.to_string()).unwrap();
    let start = || {
        let (settings, http) = (&loaded.settings, loaded.surroundings.http.clone());
        Gateway::start(settings, loaded.connectors.clone(), http, clock.clone())
    };
    world.fini.faults().add(FaultRule::status(Endpoint::List, 500));
    let gateway = start().await.unwrap();
    assert_eq!(post(&world, &gateway, &senders::whatsapp_message("16505551234", 1, "first")).await, 200);
    answered(&world, 1).await;
    gateway.stop(Ending::Drain).await;
    world.fini.faults().clear();
    clock.advance(HOUR);
    // The servers of the one before may hold the file a moment longer; a process would be gone.
    let gateway = eventually("the file is free", SOON, async || start().await.ok()).await;
    assert_eq!(post(&world, &gateway, &senders::whatsapp_message("16505551234", 2, "second")).await, 200);
    answered(&world, 2).await;
    gateway.stop(Ending::Drain).await;
    let conversations: HashSet<_> = world.fini.ledger().asks().map(|ask| ask.conversation.clone()).collect();
    assert_eq!(conversations.len(), 1);
}

/// What this process logs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_that_waits_for_minutes_has_a_line_in_the_log_that_says_why() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
    let lines = || {
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains("a chat waits")).map(str::to_owned).collect::<Vec<_>>()
    };
    let world = World::prepare(CHANNELS).await;
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    let loaded =
        settings::load(&world.config_path(), &BTreeMap::new(), clock.clone()).map_err(|e| e.to_string()).unwrap();
    let http = loaded.surroundings.http.clone();
    let gateway = Gateway::start(&loaded.settings, loaded.connectors, http, clock.clone()).await.unwrap();
    world.fini.faults().add(FaultRule::status(Endpoint::Ask, 429));
    assert_eq!(post(&world, &gateway, &senders::whatsapp_message("16505551234", 1, "where is it")).await, 200);
    eventually("Fini was asked", SOON, async || (world.fini.ledger().asks().count() > 0).then_some(())).await;
    assert_eq!(lines(), Vec::<String>::new(), "it is young");
    clock.advance(Duration::from_secs(120));
    let line = eventually("it is logged", SOON, async || lines().pop()).await;
    assert!(line.contains("WARN") && line.contains("seconds=12") && line.contains("tried again"), "{line}");
    assert!(!line.contains("16505551234") && !line.contains("where is it"), "{line}");
    let oldest = gateway.store().stats().await.unwrap().oldest_waiting.unwrap();
    assert!(oldest >= Duration::from_secs(120), "{oldest:?}");
    gateway.stop(Ending::Drain).await;
}
