//! The webhooks that are sent: Slack direct messages in the shape Slack sends today, each distinct and signed.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::clock;

pub const SIGNING_SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
/// Messages numbered from here on warm the process up: they are answered and not recorded.
pub const WARM_UP: u64 = 900_000_000;

/// Stands in the question and in its answer.
pub fn marker(number: u64) -> String {
    format!("mid{number:09}x")
}

/// The numbers of all messages that a body tells of.
pub fn markers(body: &[u8]) -> Vec<u64> {
    let mut found = Vec::new();
    for window in body.windows(13) {
        if window.starts_with(b"mid") && window[12] == b'x' && window[3..12].iter().all(u8::is_ascii_digit) {
            let number = window[3..12].iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
            if !found.contains(&number) {
                found.push(number);
            }
        }
    }
    found
}

/// Which messages to make.
#[derive(Clone, Debug)]
pub struct Plan {
    pub first: u64,
    pub count: u64,
    /// Messages take turns through these paths, so that several channels can be served.
    pub paths: Vec<String>,
    /// Chats the messages are spread over; as many as messages: each has its own.
    pub chats: u64,
}

impl Plan {
    /// The requests, ready to be sent. Made before the clock starts.
    pub fn requests(&self) -> Vec<Vec<u8>> {
        let seconds = clock::unix_seconds();
        let run = format!("{:08X}", clock::unix_millis() & 0xffff_ffff);
        let mac = Hmac::<Sha256>::new_from_slice(SIGNING_SECRET.as_bytes()).expect("any length will do");
        (self.first..self.first + self.count)
            .map(|number| {
                let path = &self.paths[usize::try_from(number).unwrap_or(0) % self.paths.len()];
                request(&mac, path, &run, seconds, number, number % self.chats.max(1))
            })
            .collect()
    }
}

fn request(mac: &Hmac<Sha256>, path: &str, run: &str, seconds: u64, number: u64, chat: u64) -> Vec<u8> {
    let body = body(run, seconds, number, chat);
    let mut mac = mac.clone();
    mac.update(format!("v0:{seconds}:{body}").as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Slackbot 1.0 (+https://api.slack.com/robots)\r\n\
         Accept-Encoding: gzip,deflate\r\nAccept: */*\r\nX-Slack-Signature: v0={signature}\r\n\
         X-Slack-Request-Timestamp: {seconds}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn body(run: &str, seconds: u64, number: u64, chat: u64) -> String {
    let at = format!("{}.{:06}", seconds - 60 + (number / 1_000_000) % 50, number % 1_000_000);
    // One person in each chat: what several write is not joined into one question.
    let (user, channel) = (chat % 200, format!("D0C{chat:08}"));
    let text = format!(
        "Hello, I would like to know how I can change the billing address of my last order {}, thank you",
        marker(number)
    );
    format!(
        r#"{{"token":"XXYYZZ0123456789abcdefgh","team_id":"T0TEAM001","context_team_id":"T0TEAM001","context_enterprise_id":null,"api_app_id":"A0APP00001","event":{{"user":"U0USER{user:04}","type":"message","ts":"{at}","client_msg_id":"{run}-0000-4000-8000-{number:012}","text":"{text}","team":"T0TEAM001","blocks":[{{"type":"rich_text","block_id":"aB1c","elements":[{{"type":"rich_text_section","elements":[{{"type":"text","text":"{text}"}}]}}]}}],"channel":"{channel}","event_ts":"{at}","channel_type":"im"}},"type":"event_callback","event_id":"Ev{run}{number:09}","event_time":{seconds},"authorizations":[{{"enterprise_id":null,"team_id":"T0TEAM001","user_id":"U0BOT00001","is_bot":true,"is_enterprise_install":false}}],"is_ext_shared_channel":false,"event_context":"4-eyJldCI6Im1lc3NhZ2UiLCJ0aWQiOiJUMFRFQU0wMDEiLCJhaWQiOiJBMEFQUDAwMDAxIiwiY2lkIjoi{channel}In0"}}"#
    )
}
