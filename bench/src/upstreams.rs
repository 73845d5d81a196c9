//! A fake Fini that takes its time and a fake Slack that takes everything, in this process. They note when each message
//! was asked and when its reply came.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use crate::clock;
use crate::message::{WARM_UP, marker, markers};

/// How many conversations the list holds: more than are begun while somebody still looks for his.
const KEPT: usize = 20_000;

/// What came of one message.
#[derive(Clone, Copy, Default)]
pub struct Record {
    pub asked_at: u64,
    /// How long the answer really took.
    pub held: u64,
    pub replied_at: u64,
    pub replies: u32,
    pub questions: u32,
}

struct Conversation {
    number: u64,
    created: u64,
    content: String,
    attributes: Value,
    answer: Option<String>,
}

#[derive(Default)]
struct State {
    records: HashMap<u64, Record>,
    replied: u64,
    /// Newest first.
    conversations: VecDeque<Conversation>,
}

pub struct Upstreams {
    pub address: String,
    state: Mutex<State>,
    delay: Mutex<Duration>,
    numbers: AtomicU64,
}

impl Upstreams {
    /// On a thread and a runtime of their own.
    pub fn start() -> Result<Arc<Self>> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let upstreams = Arc::new(Self {
            address: listener.local_addr()?.to_string(),
            state: Mutex::default(),
            delay: Mutex::new(Duration::from_millis(200)),
            numbers: AtomicU64::new(1),
        });
        let served = upstreams.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::spawn(move || runtime.block_on(serve(served, listener)));
        Ok(upstreams)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn reset(&self, delay: Duration) {
        *self.state() = State::default();
        *self.delay.lock().unwrap_or_else(PoisonError::into_inner) = delay;
    }

    /// The warm-up is over. Its conversations go on.
    pub fn forget_messages(&self) {
        let mut state = self.state();
        state.records.clear();
        state.replied = 0;
    }

    /// How many messages have a reply.
    pub fn replied(&self) -> u64 {
        self.state().replied
    }

    pub fn records(&self) -> HashMap<u64, Record> {
        self.state().records.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn route(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let Ok(body) = body.collect().await.map(http_body_util::Collected::to_bytes) else {
            return fini_error(400, "unreadable body");
        };
        let path = head.uri.path();
        if let Some(method) = path.strip_prefix("/api/") {
            return self.slack(method, &body);
        }
        match (&head.method, path) {
            (&Method::POST, "/v2/hc-interactions/events/public") => self.answer(&body).await,
            (&Method::GET, "/v2/hc-interactions/public") => self.list(head.uri.query().unwrap_or_default()),
            (&Method::GET, "/v2/bots/public") => {
                reply(200, &json!([{"id": "bot_1", "name": "Bench agent", "createdAt": 1_700_000_000_000_u64}]))
            }
            _ => fini_error(404, "Not found"),
        }
    }

    async fn answer(&self, body: &[u8]) -> Response<Full<Bytes>> {
        let at = clock::now();
        let Ok(call) = serde_json::from_slice::<Value>(body) else { return fini_error(400, "malformed JSON") };
        let Some(content) = call["content"].as_str() else { return fini_error(400, "content is required") };
        let asked = markers(content.as_bytes());
        let number = self.numbers.fetch_add(2, Ordering::Relaxed);
        let recorded = || asked.iter().filter(|asked| **asked < WARM_UP);
        {
            let mut state = self.state();
            for message in recorded() {
                let record = state.records.entry(*message).or_default();
                record.questions += 1;
                record.asked_at = at;
            }
            if call["interactionId"].is_null() {
                state.conversations.push_front(Conversation {
                    number,
                    created: clock::unix_millis(),
                    content: content.to_owned(),
                    attributes: call["metadata"]["user_attributes"].clone(),
                    answer: None,
                });
                state.conversations.truncate(KEPT);
            }
        }
        let delay = *self.delay.lock().unwrap_or_else(PoisonError::into_inner);
        tokio::time::sleep(delay).await;
        let tags: String = asked.iter().map(|number| format!(" {}", marker(*number))).collect();
        let text = format!(
            "Hi! You can change the billing address of an order that has not shipped yet in **Settings > Billing**. \
             Open the order, choose *Edit address* and save. Reference{tags}."
        );
        let answer = event(number + 1, "finibot", &text);
        let events = reply(201, &json!([event(number, "user", content), answer]));
        let mut state = self.state();
        if let Some(conversation) = state.find(number) {
            conversation.answer = Some(text);
        }
        let held = clock::now() - at;
        for message in recorded() {
            state.records.entry(*message).or_default().held = held;
        }
        events
    }

    fn list(&self, query: &str) -> Response<Full<Bytes>> {
        let query: HashMap<&str, &str> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let number = |key: &str, default: u64| query.get(key).and_then(|value| value.parse().ok()).unwrap_or(default);
        let (since, until) = (number("since", 0), number("until", u64::MAX));
        let limit = usize::try_from(number("limit", 50)).unwrap_or(50).clamp(1, 100);
        let before = query.get("cursor").and_then(|cursor| cursor.strip_prefix("conv_")?.parse().ok());
        let state = self.state();
        let start = before.map_or(0, |before: u64| state.conversations.partition_point(|it| it.number >= before));
        let mut listed = state
            .conversations
            .iter()
            .skip(start)
            .filter(|conversation| (since..=until).contains(&conversation.created));
        let page: Vec<&Conversation> = listed.by_ref().take(limit).collect();
        let more = listed.next().is_some();
        let next = if more { page.last().map(|last| format!("conv_{:012}", last.number)) } else { None };
        let page: Vec<Value> = page.into_iter().map(Conversation::shown).collect();
        reply(200, &json!({"interactions": page, "hasMore": more, "nextCursor": next, "prevCursor": null}))
    }

    fn slack(&self, method: &str, body: &[u8]) -> Response<Full<Bytes>> {
        let at = clock::now();
        match method {
            "chat.postMessage" => {
                let mut state = self.state();
                for number in markers(body).into_iter().filter(|number| *number < WARM_UP) {
                    let record = state.records.entry(number).or_default();
                    record.replies += 1;
                    if record.replies == 1 {
                        record.replied_at = at;
                        state.replied += 1;
                    }
                }
                drop(state);
                let number = self.numbers.fetch_add(1, Ordering::Relaxed);
                let ts = format!("{}.{:06}", clock::unix_seconds(), number % 1_000_000);
                reply(
                    200,
                    &json!({"ok": true, "channel": "D0CHAN0000", "ts": ts, "message": {
                    "user": "U0BOT00001", "type": "message", "ts": ts, "bot_id": "B0BOT00001",
                    "app_id": "A0APP00001", "text": "ok", "team": "T0TEAM001"}}),
                )
            }
            "auth.test" => reply(
                200,
                &json!({"ok": true, "url": "https://example.invalid/", "team": "Bench",
                "user": "finibot", "team_id": "T0TEAM001", "user_id": "U0BOT00001", "bot_id": "B0BOT00001",
                "is_enterprise_install": false}),
            ),
            _ => reply(200, &json!({"ok": true})),
        }
    }
}

impl State {
    fn find(&mut self, number: u64) -> Option<&mut Conversation> {
        let at = self.conversations.partition_point(|conversation| conversation.number > number);
        self.conversations.get_mut(at).filter(|conversation| conversation.number == number)
    }
}

impl Conversation {
    fn shown(&self) -> Value {
        let id = format!("conv_{:012}", self.number);
        let mut events = vec![event(self.number, "user", &self.content)];
        events.extend(self.answer.as_ref().map(|answer| event(self.number + 1, "finibot", answer)));
        json!({"id": id, "createdAt": self.created, "source": "api", "channel": "chat", "status": "Open",
            "externalId": null, "url": format!("https://example.invalid/c/{id}"),
            "subjectPreview": self.content.chars().take(80).collect::<String>(), "hasFeedback": false,
            "resolved": false, "userAttributes": self.attributes, "usedArticles": [], "usedSubfolders": [],
            "events": events})
    }
}

async fn serve(upstreams: Arc<Upstreams>, listener: std::net::TcpListener) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let upstreams = upstreams.clone();
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| {
                let upstreams = upstreams.clone();
                async move { Ok::<_, Infallible>(upstreams.route(request).await) }
            });
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn event(number: u64, role: &str, message: &str) -> Value {
    let articles = if role == "finibot" {
        json!([{"id": "art_1", "title": "Changing your billing address", "documentUrl": "https://example.invalid/kb/1"}])
    } else {
        json!([])
    };
    json!({"id": format!("evt_{number:012}"), "createdAt": clock::unix_millis(), "role": role, "type": "message",
        "message": message, "externalId": null, "externalCreatedAt": null, "csatRating": null, "feedback": null,
        "approved": null, "resolved": null, "attachments": [], "tags": [], "usedArticles": articles})
}

fn fini_error(status: u16, message: &str) -> Response<Full<Bytes>> {
    reply(status, &json!({"statusCode": status, "message": message, "error": message}))
}

fn reply(status: u16, value: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    response
}
