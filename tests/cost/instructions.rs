//! Instructions, counted by valgrind's callgrind, of what each message of Slack goes through.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use fini_bridge::domain::clock::{ManualClock, Timestamp};
use fini_bridge::domain::message::{Reply, ReplyKind};
use fini_bridge::http::Http;
use fini_bridge::platform::{self, Common, Config, Platform, Rendering, Surroundings};
use fini_bridge::signature::{RawWebhook, Verified, hmac_hex};
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

/// A time of each: what was counted, in this profile (the tests') and with this toolchain.
const COUNTED: [(&str, u64); 3] = [("verify", 167_373), ("parse", 187_605), ("render", 1_642_109)];
/// More is a regression. Fewer too many: lower the count.
const TOLERANCE: f64 = 0.02;

const TIMES: u64 = 20;
const NOW: i64 = 1_791_000_100;
const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";

fn slack() -> Arc<dyn Platform> {
    let config = json!({ "signing_secret": [SECRET], "bot_token": "xoxb-test" });
    let around = Surroundings {
        http: Http::new(&Default::default()).unwrap(),
        clock: Arc::new(ManualClock::at(Timestamp::from_secs(NOW))),
    };
    platform::build(&Config::Slack(serde_json::from_value(config).unwrap()), &Common::default(), &around).unwrap()
}

fn webhook() -> RawWebhook {
    let text = "Hello, I would like to know how I can change the billing address of my last order, thank you";
    let body = json!({
        "token": "x", "team_id": "T00FAKE00AA", "context_team_id": "T00FAKE00AA", "context_enterprise_id": null,
        "api_app_id": "A00FAKEAPP01", "type": "event_callback", "event_id": "Ev00FAKE0001", "event_time": NOW,
        "authorizations": [{"enterprise_id": null, "team_id": "T00FAKE00AA", "user_id": "U00FAKEBOT01",
            "is_bot": true, "is_enterprise_install": false}],
        "is_ext_shared_channel": false, "event_context": "4-eyJldCI6Im1lc3NhZ2UiLCJ0aWQiOiJUMDBGQUtFMDBBQSJ9",
        "event": {"type": "message", "user": "U00FAKEUSER1", "ts": "1791000099.000100", "text": text,
            "client_msg_id": "5f2c1c9e-0000-4000-8000-000000000001", "team": "T00FAKE00AA",
            "channel": "D00FAKEDM001", "event_ts": "1791000099.000100", "channel_type": "im",
            "blocks": [{"type": "rich_text", "block_id": "aB1c", "elements": [
                {"type": "rich_text_section", "elements": [{"type": "text", "text": text}]}]}]}
    });
    let body = Bytes::from(body.to_string());
    let at = NOW.to_string();
    let signature = hmac_hex(SECRET.as_bytes(), &[b"v0:", at.as_bytes(), b":", &body]);
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers.insert("x-slack-request-timestamp", HeaderValue::from_str(&at).unwrap());
    headers.insert("x-slack-signature", HeaderValue::from_str(&format!("v0={signature}")).unwrap());
    RawWebhook {
        method: Method::POST,
        url: "https://bridge.example.com/webhooks/slack".to_owned(),
        rest: String::new(),
        headers,
        query: Vec::new(),
        body,
    }
}

// What is counted: by these names.

#[inline(never)]
fn cost_of_verify(slack: &dyn Platform, webhook: RawWebhook) -> Verified {
    slack.precheck(&webhook, Timestamp::from_secs(NOW)).unwrap();
    slack.verify(webhook, Timestamp::from_secs(NOW)).unwrap()
}

#[inline(never)]
fn cost_of_parse(slack: &dyn Platform, webhook: &Verified) {
    black_box(slack.parse(webhook).unwrap());
}

#[inline(never)]
fn cost_of_render(slack: &dyn Platform, reply: &Reply) {
    let address = serde_json::from_value(json!({ "channel": "D00FAKEDM001", "thread_ts": null })).unwrap();
    black_box(slack.render(reply, &Rendering { address: &address, in_reply_to: &[] }).unwrap());
}

#[test]
#[ignore = "the other test runs it under valgrind"]
fn the_work_of_a_slack_message() {
    let slack = slack();
    let text = "Hi! You can change the billing address of an order that has not shipped yet in **Settings > Billing**. \
        Open the order, choose *Edit address* and save:\n\n1. Open [the order](https://shop.example/orders)\n2. Save\n";
    let reply = Reply { kind: ReplyKind::Message, text: text.to_owned(), event: Value::Null };
    for _ in 0..TIMES {
        let verified = cost_of_verify(&*slack, webhook());
        cost_of_parse(&*slack, &verified);
        cost_of_render(&*slack, &reply);
    }
}

#[test]
fn verifying_parsing_and_rendering_a_slack_message_take_no_more_instructions_than_they_did() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("callgrind.out");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--compress-strings=no", "--compress-pos=no"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "instructions::the_work_of_a_slack_message", "--ignored", "--test-threads=1"])
        .output()
        .expect("no valgrind: `make setup` installs it (Debian: valgrind)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let profile = std::fs::read_to_string(file).unwrap();
    let counted = inclusive(&profile);
    let mut wrong = Vec::new();
    for (name, was) in COUNTED {
        let now = counted.get(name).copied().unwrap_or_default() / TIMES;
        eprintln!("{name}: {now} instructions");
        #[allow(clippy::cast_precision_loss)]
        let ratio = now as f64 / was as f64;
        if !(1.0 - TOLERANCE..=1.0 + TOLERANCE).contains(&ratio) {
            wrong.push(format!("{name}: {now} instructions, {was} were counted before"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "if it is meant so, write the new count into COUNTED");
}

/// Of the functions `cost_of_…`: calls to them, with all that these call. The format is callgrind's: lines `fn=` and
/// `cfn=` name functions, `calls=` is followed by a line that ends with the call's inclusive cost.
fn inclusive(profile: &str) -> BTreeMap<&str, u64> {
    let mut costs = BTreeMap::new();
    let (mut called, mut is_call) = (None, false);
    for line in profile.lines() {
        if let Some(name) = line.strip_prefix("cfn=") {
            called = name.split_once("cost_of_").map(|(_, rest)| rest.split("::").next().unwrap_or(rest));
        } else if line.starts_with("calls=") {
            is_call = true;
        } else if is_call {
            is_call = false;
            let cost: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
            if let Some(name) = called.take() {
                *costs.entry(name).or_default() += cost;
            }
        }
    }
    costs
}
