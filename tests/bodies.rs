//! Bodies that are made to hurt, against the real process: what they may cost in memory, time and log lines, and that
//! genuine webhooks get their 200 beside them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout, // the figures
    clippy::disallowed_methods
)]

#[path = "support/database.rs"]
#[allow(dead_code)] // each test binary uses its own part
mod database;
#[path = "support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use fini_bridge::store::MessageState;
use serde_json::{Value, json};
use support::senders::{self, Signed};
use support::{SOON, World, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MB: usize = 1_000_000;
/// `server.max_body`.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// Beside those of every test: one whose challenge may come by GET, one whose challenge stands in a body, and one whose token stands in the body.
const CHANNELS: &str = r#"
[channels.handshake]
platform = "custom"
bot_id = "4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3"
[channels.handshake.verify]
scheme = "hmac"
secret = "shop-secret-0123456789"
header = "x-shop-signature"
prefix = "sha256="
[channels.handshake.inbound]
id = "body.id"
chat = "body.chat"
text = "body.text"
challenge = "query.challenge"
[channels.handshake.reply]
url = "{outside}/shop/conversations/{{ chat }}/messages"
body = '{"text": {{ text|tojson }}, "client_id": {{ id|tojson }}}'
[channels.echo]
platform = "custom"
bot_id = "4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3"
[channels.echo.verify]
scheme = "hmac"
secret = "shop-secret-0123456789"
header = "x-shop-signature"
prefix = "sha256="
[channels.echo.inbound]
id = "body.id"
chat = "body.chat"
text = "body.text"
challenge = "body.challenge"
[channels.echo.reply]
url = "{outside}/shop/conversations/{{ chat }}/messages"
body = '{"text": {{ text|tojson }}, "client_id": {{ id|tojson }}}'
[channels.token]
platform = "custom"
bot_id = "4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3"
[channels.token.verify]
scheme = "token"
secret = "tok-SEKRIT-0123456789"
field = "body.token"
[channels.token.inbound]
id = "body.id"
chat = "body.chat"
text = "body.text"
[channels.token.reply]
url = "{outside}/shop/conversations/{{ chat }}/messages"
headers = { authorization = "Bearer shop-token" }
body = '{% if item.lang %}{"text": {{ text|tojson }}, "client_id": {{ id|tojson }}}{% endif %}'
"#;

/// One that keeps its elements for the reply.
const KEEPER: &str = r#"
[channels.keeper]
platform = "custom"
bot_id = "4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3"
[channels.keeper.verify]
scheme = "hmac"
secret = "shop-secret-0123456789"
header = "x-shop-signature"
prefix = "sha256="
[channels.keeper.inbound]
each = "body.messages"
id = "item.id"
chat = "item.chat"
text = "item.text"
[channels.keeper.reply]
url = "{outside}/shop/conversations/{{ chat }}/messages"
headers = { authorization = "Bearer shop-token" }
body = '{% if item.lang %}{"text": {{ text|tojson }}, "client_id": {{ id|tojson }}}{% endif %}'
"#;

async fn world() -> World {
    world_on(None).await
}

async fn world_on(database: Option<String>) -> World {
    let mut world = World::prepare_on(database, &format!("{}{CHANNELS}{KEEPER}", senders::CHANNELS)).await;
    world.serve_at("info").await;
    world
}

/// From `/proc`, in bytes.
fn memory(world: &World, key: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", world.process().id())).unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// How much the process grows at most while something is done to it.
struct Growth {
    before: usize,
}

impl Growth {
    /// After a first webhook: what is only needed once is there.
    async fn begin(world: &World) -> Self {
        genuine(world, "begin").await;
        std::fs::write(format!("/proc/{}/clear_refs", world.process().id()), "5").unwrap();
        Self { before: memory(world, "VmRSS") }
    }

    fn judge(&self, world: &World, what: &str, at_most: usize) {
        let grown = memory(world, "VmHWM").saturating_sub(self.before);
        println!("{what}: grew by {:.1} of {} MB", grown as f64 / MB as f64, at_most / MB);
        assert!(grown <= at_most, "{what}: {grown} bytes");
    }
}

/// A small webhook of another channel, and how long it took.
async fn genuine(world: &World, id: &str) -> Duration {
    let begun = Instant::now();
    world.deliver("bridge", senders::bridge_message("somebody", id, "hello")).await;
    begun.elapsed()
}

/// Objects that take hundreds of bytes of memory for eight in the body; as long as a body may be.
fn worst_shape() -> Vec<u8> {
    let head = r#"{"token":"x","a":["#;
    let objects = (MAX_BODY - head.len() - 2) / 9;
    format!("{head}{}]}}", vec![r#"{"":1}"#; objects].join(", ")).into_bytes()
}

/// One request by hand; the answer's status.
async fn raw_request(world: &World, head: &str, body: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(&world.process().address).await.unwrap();
    let head = format!("{head}host: bridge\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    // It may be told before all of it was sent.
    let _ = stream.write_all(body).await;
    status(&mut stream).await
}

async fn chunked_request(world: &World, head: &str, body: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(&world.process().address).await.unwrap();
    stream.write_all(format!("{head}host: bridge\r\n\r\n").as_bytes()).await.unwrap();
    for chunk in body.chunks(1000) {
        let chunk = [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
        let _ = stream.write_all(&chunk).await;
    }
    let _ = stream.write_all(b"0\r\n\r\n").await;
    status(&mut stream).await
}

async fn status(stream: &mut TcpStream) -> u16 {
    let mut answer = Vec::new();
    while !answer.contains(&b'\n') && stream.read_buf(&mut answer).await.is_ok_and(|read| read > 0) {}
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}

async fn ten_at_once(world: &World, head: &str, body: &[u8]) {
    let all = futures::future::join_all((0..10).map(|_| raw_request(world, head, body))).await;
    assert_eq!(all, [401; 10], "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_unsigned_bodies_of_the_worst_shape_cost_at_most_64_mb() {
    let world = world().await;
    let body = worst_shape();
    let json = "content-type: application/json\r\n";
    let forged = format!("x-shop-signature: sha256={}\r\n{json}", "0".repeat(64));
    let growth = Growth::begin(&world).await;
    for (what, line) in [
        ("GET with a challenge to come", format!("GET /webhooks/handshake HTTP/1.1\r\n{json}")),
        ("GET with a forged signature", format!("GET /webhooks/handshake HTTP/1.1\r\n{forged}")),
        ("POST with a forged signature", format!("POST /webhooks/handshake HTTP/1.1\r\n{forged}")),
        ("POST with a wrong token in the body", format!("POST /webhooks/token HTTP/1.1\r\n{json}")),
    ] {
        let begun = Instant::now();
        ten_at_once(&world, &line, &body).await;
        println!("{what}: {:?}", begun.elapsed());
        growth.judge(&world, what, 64 * MB);
        genuine(&world, what).await;
    }
}

/// A batch that the shop signs, with these elements.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_whose_senders_hang_up_take_no_more_room_than_others() {
    let world = world().await;
    let growth = Growth::begin(&world).await;
    let body = [br#"{"a":"#.as_slice(), &b"[".repeat(MAX_BODY - 10)].concat();
    let head = format!("POST /webhooks/token HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());
    let request: std::sync::Arc<[u8]> = [head.as_bytes(), &body].concat().into();
    let until = Instant::now() + Duration::from_secs(4);
    let floods = (0..6).map(|_| {
        let (request, address) = (request.clone(), world.process().address.clone());
        tokio::spawn(async move {
            while Instant::now() < until {
                let mut stream = TcpStream::connect(&address).await.unwrap();
                let _ = stream.write_all(&request).await;
            }
        })
    });
    for flood in floods.collect::<Vec<_>>() {
        flood.await.unwrap();
    }
    genuine(&world, "afterwards").await;
    growth.judge(&world, "bodies whose senders hang up", 160 * MB);
}

fn shop_batch(elements: &[String]) -> Signed {
    senders::shop(format!(r#"{{"messages":[{}]}}"#, elements.join(",")).into_bytes())
}

fn whatsapp_batch(messages: &[String]) -> Signed {
    whatsapp_value("messages", messages)
}

fn whatsapp_value(kind: &str, elements: &[String]) -> Signed {
    let elements = elements.join(",");
    let number = senders::WHATSAPP_NUMBER;
    let body = format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"102290129340398","changes":[{{"field":"messages","value":{{"messaging_product":"whatsapp","metadata":{{"display_phone_number":"15550783881","phone_number_id":"{number}"}},"{kind}":[{elements}]}}}}]}}]}}"#
    );
    senders::whatsapp(body.into_bytes())
}

fn keeper_batch(elements: &[String]) -> Signed {
    let body = format!(r#"{{"messages":[{}]}}"#, elements.join(",")).into_bytes();
    let signature = hex::encode(senders::hmac_sha256(senders::SHOP_SECRET.as_bytes(), &body));
    let headers =
        [("content-type", "application/json".to_owned()), ("x-shop-signature", format!("sha256={signature}"))];
    Signed { headers: headers.map(|(name, value)| (name.to_owned(), value)).to_vec(), body }
}

fn shop_element(number: usize) -> String {
    json!({"id": format!("m-{number}"), "text": "hi", "conversation": {"id": format!("c-{number}")}, "sender": {"type": "customer"}})
        .to_string()
}

/// Delivers a batch, and small webhooks of another channel all the while. Both must be quick.
async fn deliver_beside(world: &World, channel: &str, batch: Signed) {
    let begun = Instant::now();
    let batch = async {
        world.deliver(channel, batch).await;
        begun.elapsed()
    };
    let mut batch = std::pin::pin!(batch);
    let mut slowest = Duration::ZERO;
    for number in 0.. {
        let id = format!("{begun:?}-{number}");
        let beside = async {
            let took = genuine(world, &id).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            took
        };
        match futures::future::select(&mut batch, std::pin::pin!(beside)).await {
            futures::future::Either::Left((took, beside)) => {
                slowest = slowest.max(beside.await);
                println!("{channel}: acknowledged after {took:?}, beside it at most {slowest:?}");
                assert!(took < Duration::from_secs(5) && slowest < Duration::from_secs(3));
                return;
            }
            futures::future::Either::Right((took, _)) => slowest = slowest.max(took),
        }
    }
}

/// Failed messages by their reasons.
async fn failed(world: &World) -> std::collections::BTreeMap<String, usize> {
    let mut reasons = std::collections::BTreeMap::new();
    for story in world.stories(&[MessageState::Failed]).await {
        *reasons.entry(story.reason.clone().unwrap_or_default()).or_default() += 1;
    }
    reasons
}

/// Batches that are as bad as authentic ones can be, each with the failed messages that it leads to.
fn bad_batches() -> Vec<(&'static str, &'static str, Signed, Value)> {
    let text = "x".repeat(2900);
    let unreadable: Vec<String> = (0..1000).map(|n| json!({ "n": n, "text": text }).to_string()).collect();
    let readable: Vec<String> = (0..20_000).map(shop_element).collect();
    let objects_inside = vec![r#"{"":1}"#; 44].join(",");
    let kept = |n| format!(r#"{{"id":"k-{n}","chat":"k-{n}","text":"hi","lang":"de","x":[{objects_inside}]}}"#);
    let kept: Vec<String> = (0..2000).map(kept).collect();
    let ones = vec!["1".to_owned(); 2_000_000];
    let objects = vec![r#"{"":1}"#.to_owned(); 99_900];
    let chains = vec![format!("{}1{}", r#"{"":"#.repeat(100), "}".repeat(100)); 999];
    let status = |n| json!({"id": format!("wamid.{n}"), "status": "read", "timestamp": "1", "recipient_id": "1"});
    let statuses: Vec<String> = (0..2000).map(|n| status(n).to_string()).collect();
    let form: Vec<String> = (0..199_000).map(|n| format!("f{n}=1")).collect();
    let mut form = senders::shop(form.join("&").into_bytes());
    form.headers.retain(|(name, _)| name != "content-type");
    form.headers.push(("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()));
    let too_complex = json!({ "too_complex": 1 });
    let cut_off = json!({ "malformed": 2000, "too_many_elements": 1 });
    let unread = json!({ "malformed": 1000 });
    vec![
        ("1,000 unreadable elements", "shop", shop_batch(&unreadable), unread.clone()),
        ("1,000 messages without an id", "whatsapp", whatsapp_batch(&unreadable), unread),
        ("2,000,000 numbers", "shop", shop_batch(&ones), too_complex.clone()),
        ("2,000,000 numbers", "whatsapp", whatsapp_batch(&ones), too_complex),
        ("99,900 objects", "shop", shop_batch(&objects), cut_off.clone()),
        ("99,900 objects", "whatsapp", whatsapp_batch(&objects), cut_off),
        ("999 chains of 100 objects", "shop", shop_batch(&chains), json!({ "malformed": 999 })),
        ("999 chains of 100 objects", "whatsapp", whatsapp_batch(&chains), json!({ "malformed": 999 })),
        ("20,000 readable elements", "shop", shop_batch(&readable), json!({ "too_many_elements": 1 })),
        ("a form of 199,000 fields", "shop", form, json!({ "malformed": 1 })),
        ("2,000 statuses", "whatsapp", whatsapp_value("statuses", &statuses), json!({})),
        ("2,000 elements that are kept", "keeper", keeper_batch(&kept), json!({})),
    ]
}

async fn bad_batches_cost_little(mut world: World) {
    for (what, channel, batch, expected) in bad_batches() {
        // From the start each time: nothing that an earlier one has left there is used again.
        let before = failed(&world).await;
        if world.terminate(SOON).await.success() {
            world.serve_at("info").await;
        }
        let growth = Growth::begin(&world).await;
        println!("{what}, {channel}: {} bytes", batch.body.len());
        deliver_beside(&world, channel, batch).await;
        growth.judge(&world, what, 128 * MB);
        for (reason, number) in failed(&world).await {
            let more = number - before.get(&reason).copied().unwrap_or_default();
            assert_eq!(json!(more), expected.get(&reason).cloned().unwrap_or(json!(0)), "{what}: {reason}");
        }
    }
    let before = failed(&world).await;
    let growth = Growth::begin(&world).await;
    for _ in 0..5 {
        for (_, channel, batch, _) in bad_batches() {
            world.deliver(channel, batch).await;
        }
    }
    growth.judge(&world, "all of them five times again: nothing adds up", 128 * MB);
    assert_eq!(failed(&world).await, before, "the same again is the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_batches_cost_at_most_128_mb_and_hold_nobody_up() {
    bad_batches_cost_little(world().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_batches_cost_as_little_on_postgresql() {
    let server = database::server();
    let url = server.url(&server.database().await);
    bad_batches_cost_little(world_on(Some(url)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn within_1_gib_of_address_space_above_idle_bad_bodies_are_survived() {
    let world = world().await;
    genuine(&world, "first").await;
    let limit = memory(&world, "VmSize") + 1024 * 1024 * 1024;
    let id = world.process().id().to_string();
    let limited = std::process::Command::new("prlimit").args(["--pid", &id, &format!("--as={limit}")]).status();
    assert!(limited.unwrap().success());
    let body = worst_shape();
    let json = "content-type: application/json\r\n";
    let forged = format!("x-shop-signature: sha256={}\r\n{json}", "0".repeat(64));
    let unsigned = async {
        for _ in 0..5 {
            ten_at_once(&world, &format!("GET /webhooks/handshake HTTP/1.1\r\n{forged}"), &body).await;
            ten_at_once(&world, &format!("POST /webhooks/token HTTP/1.1\r\n{json}"), &body).await;
        }
    };
    let signed = async {
        for (_, channel, batch, _) in bad_batches() {
            deliver_beside(&world, channel, batch).await;
        }
    };
    futures::future::join(unsigned, signed).await;
    println!("address space: {} MB of {} MB", memory(&world, "VmPeak") / MB, limit / MB);
    genuine(&world, "last").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_batch_that_is_too_long_the_first_are_answered_and_the_rest_is_one_failed_message() {
    let world = world().await;
    let elements: Vec<String> = (0..2500).map(shop_element).collect();
    world.deliver("shop", shop_batch(&elements)).await;
    let store = world.store().await;
    let filter = fini_bridge::store::Filter { limit: 10_000, ..Default::default() };
    let all = store.list(&filter).await.unwrap();
    let known = all.iter().filter(|story| story.text.as_deref() == Some("hi")).count();
    let rest: Vec<_> = all.iter().filter(|story| story.reason.as_deref() == Some("too_many_elements")).collect();
    assert_eq!((known, rest.len()), (2000, 1));
    assert_eq!(rest[0].detail.as_deref(), Some("500 elements beyond the first 2000 (server.max_elements)"));
    assert!(rest[0].text.as_deref().unwrap().starts_with(&elements[2000]), "the first of the rest is kept");
    assert!(rest[0].text.as_deref().unwrap().len() <= 64 * 1024);
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_bodies_take_no_room_of_genuine_webhooks() {
    let world = world().await;
    let growth = Growth::begin(&world).await;
    let open = async |length: usize| {
        let mut stream = TcpStream::connect(&world.process().address).await.unwrap();
        let signature = "0".repeat(64);
        let head = format!(
            "POST /webhooks/handshake HTTP/1.1\r\nhost: bridge\r\nx-shop-signature: sha256={signature}\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let sent = tokio::time::timeout(Duration::from_secs(5), stream.write_all(&vec![b'x'; length - 1])).await;
        (stream, sent.is_ok_and(|sent| sent.is_ok()))
    };
    let mut streams = Vec::new();
    let (mut slowest, text) = (Duration::ZERO, "x".repeat(3_000_000));
    for number in 0..80 {
        streams.push(open(MAX_BODY).await);
        slowest = slowest.max(genuine(&world, &format!("beside large {number}")).await);
    }
    // One of 3 MB comes through as well: it is newer than they are.
    world.deliver("bridge", senders::bridge_message("somebody", "large", &text)).await;
    for number in 0..2000 {
        streams.push(open(64 * 1024).await);
        if number % 20 == 0 {
            slowest = slowest.max(genuine(&world, &format!("beside small {number}")).await);
        }
    }
    println!("the slowest genuine webhook took {slowest:?}");
    // The oldest were told that there is no room, and their connections were closed.
    assert_eq!(status(&mut streams[0].0).await, 503);
    // Besides the rooms for bodies (96 MiB) what each connection has read ahead.
    growth.judge(&world, "2,080 unfinished bodies", 384 * MB);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_unsigned_webhooks_leave_few_lines_in_the_log_and_all_in_the_counters() {
    let world = world().await;
    let before = world.log().len();
    for number in 0..2000 {
        let answer = match number % 2 {
            0 => world.http.post(world.url("shop")).body("{}").send().await.unwrap(),
            _ => world.request("token", Signed { headers: Vec::new(), body: b"{}".to_vec() }).send().await.unwrap(),
        };
        assert_eq!((answer.status().as_u16(), answer.bytes().await.unwrap().len()), (401, 0));
    }
    let metrics = world.admin("/metrics").await;
    for channel in ["shop", "token"] {
        let counted = format!(r#"fini_bridge_webhooks_total{{channel="{channel}",result="unauthenticated"}} 1000"#);
        assert!(metrics.contains(&counted), "{metrics}");
    }
    let told = eventually("the log tells of the rest", SOON, async || {
        let log = world.log();
        let more = |channel: &str| log.lines().any(|line| line.contains("more webhooks") && line.contains(channel));
        (more("shop") && more("token")).then_some(log)
    })
    .await;
    println!("2,000 unsigned webhooks: {} bytes of log", told.len() - before);
    assert!(told.len() - before < 8 * 1024);
    assert!(told.contains(r#""reason":"missing""#) && told.contains(r#""more":995"#), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_body_is_never_kept() {
    let mut world = world().await;
    let token = "tok-SEKRIT-0123456789";
    let signed = |body: Value| Signed {
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: body.to_string().into_bytes(),
    };
    world.deliver("token", signed(json!({ "token": token, "chat": "c" }))).await;
    world.deliver("token", signed(json!({ "token": token, "id": "m", "chat": "c", "text": "hi", "lang": "de" }))).await;
    let many = vec![0; 300_000];
    // Too complex: its beginning is kept as it came.
    world.deliver("token", signed(json!({ "token": token, "zeros": many }))).await;
    let failed = world.until(2, MessageState::Failed).await;
    assert!(failed.iter().all(|story| story.text.as_ref().is_some_and(|text| text.contains("*********"))));
    world.until(1, MessageState::Done).await;
    let twice = format!(r#"{{"token":"bad","token":"{token}","id":"n","chat":"c","text":"hi"}}"#);
    let answer = world.post("token", Signed { headers: Vec::new(), body: twice.into_bytes() }).await;
    assert_eq!(answer.status(), 401, "a key that comes twice");
    assert!(world.terminate(SOON).await.success());
    for file in std::fs::read_dir(world.folder.path()).unwrap() {
        let file = file.unwrap().path();
        let bytes = std::fs::read(&file).unwrap();
        let found = bytes.windows(token.len()).any(|bytes| bytes == token.as_bytes());
        assert!(!found || file == world.config_path(), "{}", file.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_is_echoed_as_text_that_no_browser_takes_for_anything_else() {
    let world = world().await;
    let get = async |query: &str| world.http.get(format!("{}?{query}", world.url("handshake"))).send().await.unwrap();
    let echo = get("challenge=%3Cscript%3E").await;
    assert_eq!(echo.status(), 200);
    assert_eq!(echo.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(echo.headers()["x-content-type-options"], "nosniff");
    assert_eq!(echo.text().await.unwrap(), "<script>");
    for none in ["challenge=a&challenge=b", "challenge=a&challenge=a", "challenge=", "other=a"] {
        assert_eq!(get(none).await.status(), 401, "{none}");
    }
    let subscribe = "hub.mode=subscribe&hub.verify_token=meatyhamhock&hub.challenge=1";
    let whatsapp =
        async |query: &str| world.http.get(format!("{}?{query}", world.url("whatsapp"))).send().await.unwrap();
    let echo = whatsapp(subscribe).await;
    assert_eq!((echo.status().as_u16(), &echo.headers()["x-content-type-options"]), (200, &"nosniff".parse().unwrap()));
    assert_eq!(whatsapp(&format!("{subscribe}&hub.challenge=2")).await.status(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_handshake_in_a_body_16_kib_are_read() {
    let world = world().await;
    let json = "content-type: application/json\r\n";
    let echo = format!("GET /webhooks/echo HTTP/1.1\r\n{json}");
    let with = |length: usize| json!({ "challenge": "me", "more": "x".repeat(length) }).to_string();
    assert_eq!(raw_request(&world, &echo, with(15 * 1024).as_bytes()).await, 200);
    assert_eq!(raw_request(&world, &echo, with(17 * 1024).as_bytes()).await, 401);
    let chunked = format!("{echo}transfer-encoding: chunked\r\n");
    assert_eq!(chunked_request(&world, &chunked, with(15 * 1024).as_bytes()).await, 200);
    assert_eq!(chunked_request(&world, &chunked, with(17 * 1024).as_bytes()).await, 401);
    // Where the expression names the query alone, what stands in the body is nobody's challenge.
    let head = format!("GET /webhooks/handshake?challenge=me HTTP/1.1\r\n{json}");
    assert_eq!(raw_request(&world, &head, b"not JSON").await, 200);
    // Slack looks at the certificate without signing.
    let form = "POST /webhooks/slack HTTP/1.1\r\ncontent-type: application/x-www-form-urlencoded\r\n";
    assert_eq!(raw_request(&world, form, b"ssl_check=1&token=x").await, 200);
    assert_eq!(raw_request(&world, form, b"token=x").await, 401);
    assert_eq!(raw_request(&world, form, format!("ssl_check=1&token={}", "x".repeat(17 * 1024)).as_bytes()).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_too_old_after_seven_and_a_half_days_by_its_own_time() {
    let world = world().await;
    let ago = |hours: i64| {
        let at = senders::now() - hours * 3600;
        senders::slack_at("D0AGE", &format!("{at}.{:06}", hours + 1000), "hi")
    };
    world.deliver("slack", ago(7 * 24 + 11)).await;
    world.deliver("slack", ago(7 * 24 + 13)).await;
    world.deliver("slack", ago(-48)).await;
    world.until(2, MessageState::Done).await;
    let failed = world.until(1, MessageState::Failed).await;
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].reason.as_deref(), Some("too_old"));
}
