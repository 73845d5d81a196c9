//! Bodies that are made to hurt, against the real process: what they may cost in memory, time and log lines, and that
//! genuine webhooks get their 200 beside them.

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

/// Beside those of every test: one whose challenge may come by GET, and one whose token stands in the body.
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
body = '{"text": {{ text|tojson }}, "client_id": {{ id|tojson }}, "lang": {{ item.lang|tojson }}}'
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
body = '{"text": {{ text|tojson }}, "client_id": {{ id|tojson }}, "lang": {{ item.lang|tojson }}}'
"#;

async fn world() -> World {
    let mut world = World::prepare(&format!("{}{CHANNELS}{KEEPER}", senders::CHANNELS)).await;
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
    idle: usize,
}

impl Growth {
    /// After a first webhook: what is only needed once is there.
    async fn from_idle(world: &World) -> Self {
        genuine(world, "idle").await;
        let growth = Self { idle: memory(world, "VmRSS") };
        growth.forget_peak(world);
        growth
    }

    fn forget_peak(&self, world: &World) {
        std::fs::write(format!("/proc/{}/clear_refs", world.process().id()), "5").unwrap();
    }

    /// Of what was done since the last time.
    fn judge(&self, world: &World, what: &str, at_most: usize) {
        let grown = memory(world, "VmHWM").saturating_sub(self.idle);
        println!("{what}: {:.1} of {} MB", grown as f64 / MB as f64, at_most / MB);
        assert!(grown <= at_most, "{what}: {grown} bytes");
        self.forget_peak(world);
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
    let growth = Growth::from_idle(&world).await;
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
fn shop_batch(elements: &[String]) -> Signed {
    senders::shop(format!(r#"{{"messages":[{}]}}"#, elements.join(",")).into_bytes())
}

fn whatsapp_batch(messages: &[String]) -> Signed {
    let messages = messages.join(",");
    let number = senders::WHATSAPP_NUMBER;
    let body = format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"102290129340398","changes":[{{"field":"messages","value":{{"messaging_product":"whatsapp","metadata":{{"display_phone_number":"15550783881","phone_number_id":"{number}"}},"messages":[{messages}]}}}}]}}]}}"#
    );
    senders::whatsapp(body.into_bytes())
}

fn keeper_batch(elements: &[String]) -> Signed {
    let body = format!(r#"{{"messages":[{}]}}"#, elements.join(",")).into_bytes();
    let signature = hex::encode(senders::hmac_sha256(senders::SHOP_SECRET.as_bytes(), &body));
    let headers = [("content-type", "application/json".to_owned()), ("x-shop-signature", format!("sha256={signature}"))];
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

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_can_not_be_read_cost_at_most_128_mb_and_hold_nobody_up() {
    let world = world().await;
    let text = "x".repeat(2900);
    let unreadable: Vec<String> = (0..1000).map(|n| json!({ "n": n, "text": text }).to_string()).collect();
    let readable: Vec<String> = (0..20_000).map(shop_element).collect();
    let inside = vec![r#"{"":1}"#; 47].join(",");
    let kept: Vec<String> =
        (0..2000).map(|n| format!(r#"{{"id":"k-{n}","chat":"k-{n}","text":"hi","lang":"de","x":[{inside}]}}"#)).collect();
    let ones = vec!["1".to_owned(); 2_000_000];
    let objects = vec![r#"{"":1}"#.to_owned(); 99_900];
    let chains = vec![format!("{}1{}", r#"{"":"#.repeat(100), "}".repeat(100)); 999];
    let growth = Growth::from_idle(&world).await;
    for (what, channel, batch) in [
        ("1,000 unreadable elements", "shop", shop_batch(&unreadable)),
        ("1,000 messages without an id", "whatsapp", whatsapp_batch(&unreadable)),
        ("2,000,000 numbers", "shop", shop_batch(&ones)),
        ("2,000,000 numbers", "whatsapp", whatsapp_batch(&ones)),
        ("99,900 objects", "shop", shop_batch(&objects)),
        ("99,900 objects", "whatsapp", whatsapp_batch(&objects)),
        ("999 chains of objects", "shop", shop_batch(&chains)),
        ("999 chains of objects", "whatsapp", whatsapp_batch(&chains)),
        ("20,000 readable elements", "shop", shop_batch(&readable)),
        ("2,000 elements that are kept", "keeper", keeper_batch(&kept)),
    ] {
        println!("{what}: {} bytes", batch.body.len());
        deliver_beside(&world, channel, batch).await;
        growth.judge(&world, what, 128 * MB);
    }
    println!("{:?}", failed(&world).await);
}
