//! Where the platforms would be: Slack's Web API, the Bot API, the Graph API, and companies' own servers. Strict
//! as they are; each request is written down, and what a real platform would refuse is refused.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use base64::Engine;
use serde_json::{Value, json};

use super::senders;

#[derive(Clone, Debug)]
pub struct Call {
    pub at: Instant,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Value,
}

impl Call {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// What the next matching requests get instead of a success.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Part of the path, or of the body.
    pub path: String,
    pub times: usize,
    pub status: u16,
    pub headers: Vec<(&'static str, &'static str)>,
    pub body: Value,
    /// Written down as delivered all the same, and then answered like this.
    pub delivered: bool,
}

#[derive(Default)]
struct State {
    /// Typing signs and credential calls are kept apart.
    sent: Vec<Call>,
    other: Vec<Call>,
    violations: Vec<String>,
    refusals: VecDeque<Refusal>,
    /// Parts of paths.
    hanging: Vec<String>,
    number: u64,
}

#[derive(Clone)]
pub struct Outside {
    address: std::net::SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Outside {
    pub async fn start() -> Self {
        let state: Arc<Mutex<State>> = Arc::default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = state.clone();
        let server = HttpServer::new(move || {
            App::new()
                .app_data(web::Data::new(shared.clone()))
                .app_data(web::PayloadConfig::new(16 << 20))
                .default_service(web::to(answer))
        })
        .workers(1)
        .disable_signals()
        .listen(listener)
        .unwrap()
        .run();
        tokio::spawn(server);
        Self { address, state }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was delivered to a customer, in order of arrival.
    pub fn sent(&self) -> Vec<Call> {
        self.state.lock().unwrap().sent.clone()
    }

    /// What came after the first so many.
    pub fn sent_after(&self, known: usize) -> Vec<Call> {
        self.state.lock().unwrap().sent[known..].to_vec()
    }

    pub fn other(&self) -> Vec<Call> {
        self.state.lock().unwrap().other.clone()
    }

    /// The texts that one chat got: `chat` is part of the request's path or body.
    pub fn texts(&self, chat: &str) -> Vec<String> {
        let sent = self.sent();
        let to_chat = sent.iter().filter(|call| call.path.contains(chat) || call.body.to_string().contains(chat));
        to_chat.map(text_of).collect()
    }

    pub fn violations(&self) -> Vec<String> {
        self.state.lock().unwrap().violations.clone()
    }

    pub fn refuse(&self, refusal: Refusal) {
        self.state.lock().unwrap().refusals.push_back(refusal);
    }

    /// The next request there is delivered and never answered.
    pub fn hang(&self, path: &str) {
        self.state.lock().unwrap().hanging.push(path.to_owned());
    }

    pub fn stop_refusing(&self) {
        self.state.lock().unwrap().refusals.clear();
    }
}

pub fn text_of(call: &Call) -> String {
    let body = &call.body;
    let text = body["text"].as_str().or_else(|| body["text"]["body"].as_str()).or_else(|| body["message"].as_str());
    text.unwrap_or_default().to_owned()
}

async fn answer(request: HttpRequest, body: web::Bytes, state: web::Data<Arc<Mutex<State>>>) -> HttpResponse {
    match answered(&request, &body, &state) {
        Some(answer) => answer,
        None => std::future::pending().await,
    }
}

/// `None`: it hangs.
fn answered(request: &HttpRequest, body: &web::Bytes, state: &Mutex<State>) -> Option<HttpResponse> {
    let headers: Vec<(String, String)> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let parsed = serde_json::from_slice(body).unwrap_or(Value::Null);
    let call = Call { at: Instant::now(), path: request.path().to_owned(), headers, body: parsed };
    let mut state = state.lock().unwrap();
    state.number += 1;
    let number = state.number;
    let written = call.body.to_string();
    let concerns = |r: &Refusal| r.times > 0 && (call.path.contains(&r.path) || written.contains(&r.path));
    let refused = state.refusals.iter_mut().find(|refusal| concerns(refusal)).map(|r| {
        r.times -= 1;
        r.clone()
    });
    let judged = judge(&call, body, number);
    if let Some(at) = state.hanging.iter().position(|path| call.path.contains(path)) {
        state.hanging.remove(at);
        state.sent.push(call);
        return None;
    }
    if let Some(refusal) = refused {
        if refusal.delivered {
            state.sent.push(call);
        }
        let mut response = HttpResponse::build(StatusCode::from_u16(refusal.status).unwrap());
        for header in refusal.headers {
            response.insert_header(header);
        }
        return Some(response.json(refusal.body));
    }
    Some(match judged {
        Judged::Sent(answer) => {
            state.sent.push(call);
            HttpResponse::Ok().json(answer)
        }
        Judged::Other(answer) => {
            state.other.push(call);
            HttpResponse::Ok().json(answer)
        }
        Judged::Wrong(status, why) => {
            let violation = format!("{}: {why}", call.path);
            state.violations.push(violation);
            HttpResponse::build(StatusCode::from_u16(status).unwrap()).json(json!({ "error": why }))
        }
    })
}

enum Judged {
    Sent(Value),
    Other(Value),
    Wrong(u16, &'static str),
}

fn judge(call: &Call, raw: &[u8], number: u64) -> Judged {
    let path = call.path.clone();
    if let Some(method) = path.strip_prefix("/slack/") {
        return slack(call, method, number);
    }
    if let Some(rest) = path.strip_prefix("/telegram/bot") {
        return telegram(call, rest, number);
    }
    if let Some(rest) = path.strip_prefix("/graph/") {
        return whatsapp(call, rest, number);
    }
    if path == "/callback" {
        return callback(call, raw);
    }
    if path.starts_with("/shop/conversations/") {
        if call.header("authorization") != Some("Bearer shop-token") {
            return Judged::Wrong(401, "wrong token");
        }
        return Judged::Sent(json!({ "ok": true }));
    }
    Judged::Wrong(404, "no such address")
}

fn slack(call: &Call, method: &str, number: u64) -> Judged {
    if call.header("authorization") != Some(&format!("Bearer {}", senders::SLACK_TOKEN)) {
        return Judged::Wrong(200, "invalid_auth");
    }
    match method {
        "auth.test" => Judged::Other(
            json!({"ok":true,"team":"Example","team_id":"T00FAKE00AA","user":"bot","user_id":"U00FAKEBOT01","bot_id":"B00FAKEBOT01"}),
        ),
        "chat.postMessage" => {
            let json = call.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
            let text = call.body["text"].as_str().unwrap_or_default();
            if !json {
                Judged::Wrong(200, "not JSON")
            } else if text.trim().is_empty() {
                Judged::Wrong(200, "no_text")
            } else if text.chars().count() > 4000 {
                Judged::Wrong(200, "msg_too_long")
            } else if text.contains("<!channel>") || text.contains("<!here>") || text.contains("<!everyone>") {
                Judged::Wrong(200, "a mass mention")
            } else if call.body["channel"].as_str().is_none_or(str::is_empty) {
                Judged::Wrong(200, "channel_not_found")
            } else if !call.body["metadata"].is_null() && !is_metadata(&call.body["metadata"]) {
                Judged::Wrong(200, "invalid_metadata_format")
            } else {
                Judged::Sent(json!({"ok":true,"channel":call.body["channel"],"ts":format!("1790000000.{number:06}")}))
            }
        }
        "assistant.threads.setStatus" | "assistant.threads.setSuggestedPrompts" => {
            if !call.body["channel_id"].is_string() || !call.body["thread_ts"].is_string() {
                Judged::Wrong(200, "invalid_arguments")
            } else {
                Judged::Other(json!({ "ok": true }))
            }
        }
        _ => Judged::Wrong(200, "unknown_method"),
    }
}

/// docs.slack.dev/messaging/message-metadata
fn is_metadata(value: &Value) -> bool {
    let word = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    value["event_type"].as_str().is_some_and(word) && value["event_payload"].is_object()
}

fn telegram(call: &Call, rest: &str, number: u64) -> Judged {
    let Some(method) = rest.strip_prefix(&format!("{}/", senders::TELEGRAM_TOKEN)) else {
        return Judged::Wrong(404, "Not Found");
    };
    match method {
        "getMe" => Judged::Other(
            json!({"ok":true,"result":{"id":6111111111_i64,"is_bot":true,"first_name":"ACME help","username":"acme_help_bot"}}),
        ),
        "sendChatAction" | "getWebhookInfo" | "setWebhook" => Judged::Other(json!({"ok":true,"result":true})),
        "sendMessage" => {
            let text = call.body["text"].as_str().unwrap_or_default();
            if !call.body["chat_id"].is_i64() {
                Judged::Wrong(400, "chat_id is empty")
            } else if text.trim().is_empty() {
                Judged::Wrong(400, "message text is empty")
            } else if visible_utf16(text) > 4096 {
                Judged::Wrong(400, "message is too long")
            } else {
                Judged::Sent(
                    json!({"ok":true,"result":{"message_id":number,"chat":{"id":call.body["chat_id"]},"date":1791000100}}),
                )
            }
        }
        _ => Judged::Wrong(404, "Not Found"),
    }
}

/// Roughly what is left after entity parsing; the exact judge is Telegram's own parser, in a test of its own.
fn visible_utf16(html: &str) -> usize {
    let mut inside = false;
    let visible: String = html
        .chars()
        .filter(|c| match c {
            '<' => {
                inside = true;
                false
            }
            '>' => {
                inside = false;
                false
            }
            _ => !inside,
        })
        .collect();
    visible
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&amp;", "&")
        .encode_utf16()
        .count()
}

fn whatsapp(call: &Call, rest: &str, number: u64) -> Judged {
    if call.header("authorization") != Some(&format!("Bearer {}", senders::WHATSAPP_TOKEN)) {
        return Judged::Wrong(401, "Authentication Error");
    }
    let messages = format!("{}/messages", senders::WHATSAPP_NUMBER);
    if rest != messages {
        return Judged::Other(
            json!({ "success": true, "display_phone_number": "15550783881", "verified_name": "Example" }),
        );
    }
    if call.body["messaging_product"] != "whatsapp" {
        return Judged::Wrong(400, "messaging_product is required");
    }
    if call.body["status"] == "read" {
        return Judged::Other(json!({ "success": true }));
    }
    let text = call.body["text"]["body"].as_str().unwrap_or_default();
    if call.body["type"] != "text" || text.trim().is_empty() || text.encode_utf16().count() > 4096 {
        return Judged::Wrong(400, "text.body must be 1 to 4096 characters");
    }
    if call.body["to"].as_str().is_none() && call.body["recipient"].as_str().is_none() {
        return Judged::Wrong(400, "to or recipient is required");
    }
    Judged::Sent(
        json!({"messaging_product":"whatsapp","contacts":[],"messages":[{"id":format!("wamid.SENT{number}")}]}),
    )
}

/// The bridge's own protocol, verified by hand rather than by the code under test.
fn callback(call: &Call, raw: &[u8]) -> Judged {
    let (Some(id), Some(at), Some(signature)) =
        (call.header("webhook-id"), call.header("webhook-timestamp"), call.header("webhook-signature"))
    else {
        return Judged::Wrong(401, "a header is missing");
    };
    let key =
        base64::engine::general_purpose::STANDARD.decode(senders::BRIDGE_SECRET.trim_start_matches("whsec_")).unwrap();
    let expected = senders::hmac_sha256(&key, &[id.as_bytes(), b".", at.as_bytes(), b".", raw].concat());
    let expected = format!("v1,{}", base64::engine::general_purpose::STANDARD.encode(expected));
    if !signature.split(' ').any(|given| given == expected) {
        return Judged::Wrong(401, "wrong signature");
    }
    match call.body["type"].as_str() {
        Some("typing") => Judged::Other(json!({})),
        Some("message" | "no_reply" | "handoff" | "failed") if call.body["chat"].is_string() => Judged::Sent(json!({})),
        _ => Judged::Wrong(400, "unknown type"),
    }
}
