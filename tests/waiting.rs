//! Callers who would rather have the answer in the response (`Prefer: wait`): each answer reaches its caller one
//! way, whichever replica asks Fini and however the caller leaves.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods
)]

#[path = "support/database.rs"]
#[allow(dead_code)] // each test binary uses its own part
mod database;
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use fini_bridge::app::sandbox::fini::{Change, Effect, Endpoint, EventSpec, FaultRule, Then};
use fini_bridge::store::MessageState;
use serde_json::{Value, json};
use support::fleet::{Fleet, Stores};
use support::senders::{self, CHANNELS};
use support::{SOON, World, eventually};

/// A question with `Prefer: wait`.
fn request(id: &str, text: &str) -> Vec<u8> {
    let signed = senders::bridge_message(id, id, text);
    let mut request = "POST /webhooks/bridge HTTP/1.1\r\nhost: bridge\r\nprefer: wait=30\r\n".to_owned();
    for (name, value) in &signed.headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += &format!("content-length: {}\r\n\r\n", signed.body.len());
    [request.as_bytes(), &signed.body].concat()
}

/// Asks over a connection of its own, and reads up to so many bytes.
fn ask_and_read(world: &World, id: &str, text: &str, most: usize) -> Vec<u8> {
    let mut connection = TcpStream::connect(&world.process().address).unwrap();
    connection.write_all(&request(id, text)).unwrap();
    let mut answer = Vec::new();
    let mut some = [0; 4096];
    while answer.len() < most && !is_whole(&answer) {
        match connection.read(&mut some).unwrap() {
            0 => break,
            read => answer.extend_from_slice(&some[..read]),
        }
    }
    answer
}

fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    length == Some(body.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_in_the_middle_of_the_answer_gets_it_by_the_callback() {
    let world = World::start(CHANNELS).await;
    // More than the buffers on the way hold.
    let long = "a long answer ".repeat(600_000);
    world.fini.reply_with(move |_| vec![EventSpec::message(&long)]);
    let begun = tokio::task::block_in_place(|| ask_and_read(&world, "broken-off", "hi", 1000));
    assert!(begun.starts_with(b"HTTP/1.1 200"));
    let calls =
        eventually("the callback has it", SOON, async || Some(world.outside.sent()).filter(|calls| !calls.is_empty()))
            .await;
    assert_eq!(calls[0].body["in_reply_to"], json!(["broken-off"]));
    world.until(1, MessageState::Done).await;
    assert_eq!((world.outside.sent().len(), world.fini.ledger().ask_calls), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_more_behind_the_request_and_hangs_up_gets_the_answer_by_the_callback() {
    let world = World::start(CHANNELS).await;
    world.fini.change(Change { answer_delay_ms: Some(1000), ..Change::default() });
    // Some clients end a body with an empty line; others send their next request.
    for (number, more) in ["\r\n", "GET /livez HTTP/1.1\r\nhost: bridge\r\n\r\n"].into_iter().enumerate() {
        let id = format!("more-{number}");
        let request = [request(&id, "hi"), more.into()].concat();
        let mut connection = TcpStream::connect(&world.process().address).unwrap();
        connection.write_all(&request).unwrap();
        let asked = number as u64 + 1;
        eventually("Fini is asked", SOON, async || (world.fini.ledger().ask_calls == asked).then_some(())).await;
        drop(connection);
        world.until(number + 1, MessageState::Done).await;
        let last = world.outside.sent().pop().unwrap_or_else(|| panic!("nothing behind {more:?}"));
        assert_eq!(last.body["in_reply_to"], json!([id]), "behind {more:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_behind_the_last_byte_has_the_answer_and_gets_no_callback() {
    let world = World::start(CHANNELS).await;
    for number in 0..40 {
        let answer = tokio::task::block_in_place(|| ask_and_read(&world, &format!("whole-{number}"), "hi", usize::MAX));
        assert!(answer.starts_with(b"HTTP/1.1 200") && is_whole(&answer));
    }
    world.until(40, MessageState::Done).await;
    assert_eq!(world.outside.sent().len(), 0);
}

/// Two replicas, of which the first can't ask Fini: its only place is taken. Gives their numbers.
async fn one_is_busy(fleet: &Fleet) -> (usize, usize) {
    let world = &fleet.world;
    world.fini.faults().add(FaultRule::at(Endpoint::Ask, Effect::Answered, Then::Hold).containing("hold").times(1));
    post(fleet, 0, "held", "hold on", "respond-async").await;
    eventually("a place is taken", SOON, async || (world.fini.ledger().ask_calls == 1).then_some(())).await;
    let busy = usize::from(fleet.counted(1, "fini_bridge_fini_calls_in_flight").await == 1);
    assert_eq!(fleet.counted(busy, "fini_bridge_fini_calls_in_flight").await, 1);
    (busy, 1 - busy)
}

async fn post(fleet: &Fleet, replica: usize, id: &str, text: &str, prefer: &str) -> (u16, Value) {
    let signed = senders::bridge_message(id, id, text);
    let url = format!("http://{}/webhooks/bridge", fleet.replicas[replica].address);
    let mut request = fleet.world.http.post(url).header("prefer", prefer).body(signed.body);
    for (name, value) in signed.headers {
        request = request.header(name, value);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_waits_on_one_replica_for_the_answer_that_another_gets() {
    let server = database::server();
    let stores = Stores::Shared(server.url(&server.database().await));
    let fleet = Fleet::start(2, stores, &format!("[fini]\nmax_in_flight = 1\n{CHANNELS}")).await;
    let (busy, other) = one_is_busy(&fleet).await;
    let asked = async || fleet.counted(other, "fini_bridge_fini_calls_total{call=\"generate_answer\"").await;

    for number in 1..=5 {
        let (before, begun) = (asked().await, Instant::now());
        let id = format!("m{number}");
        let (status, body) = post(&fleet, busy, &id, "Where is my order?", "wait=30").await;
        assert_eq!((status, &body["id"]), (200, &json!(id)));
        assert_eq!(body["messages"][0]["in_reply_to"], json!([id]), "{body}");
        assert_eq!(asked().await, before + 1, "the other replica asked");
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
        // The same id again, on any replica, gets the same answer.
        assert_eq!(post(&fleet, number % 2, &id, "Where is my order?", "wait=30").await, (200, body));
    }
    assert_eq!(fleet.world.outside.sent().len(), 0, "what went out in a response is not called back");

    // Too late for the response: the replica that asked calls back.
    fleet.world.fini.change(Change { answer_delay_ms: Some(2500), ..Change::default() });
    assert_eq!(post(&fleet, busy, "late", "And the invoice?", "wait=1").await, (202, json!({ "id": "late" })));
    let calls = eventually("the callback has it", SOON, async || {
        Some(fleet.world.outside.sent()).filter(|calls| !calls.is_empty())
    })
    .await;
    assert_eq!(calls[0].body["in_reply_to"], json!(["late"]));
    fleet.world.fini.faults().clear();
    fleet.world.until(7, MessageState::Done).await;
    assert_eq!(fleet.world.outside.sent().len(), 2, "with the one that was held");
    assert_eq!(fleet.world.fini.ledger().ask_calls, 7);
}
