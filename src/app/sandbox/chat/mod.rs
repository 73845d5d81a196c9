//! The chat page and its small server. It stands where a customer's own backend would: it signs each message
//! and posts it to the gateway's webhook, and it takes and verifies the callbacks. What it knows of a message
//! beyond that it reads from the store, as `fini-bridge messages show` does; it never speaks to Fini.

mod memory;
mod steps;

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::http::header;
use actix_web::middleware::{DefaultHeaders, from_fn};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, Resource, web};
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::memory::{Article, Chats, Entry, Progress};
use self::steps::{Receipt, Sent};
use super::fini::REQUEST_WORDS;
use crate::domain::clock::Clock;
use crate::domain::id::{ChannelName, DeliveryKey};
use crate::domain::secret::Secret;
use crate::http::{Error, Http};
use crate::signature::{RawWebhook, StandardWebhooks, Verifier};
use crate::store::{JournalEntry, MessageDetails, Store, StoreError};
use crate::text::{Dialect, render};
use crate::web::only_by_a_local_name;

const HTML: &str = include_str!("page.html");
const CSS: &str = include_str!("page.css");
const JS: &str = include_str!("page.js");
const ICON: &str = include_str!("icon.svg");

/// Nothing from elsewhere, nothing inline; what is set as HTML has passed one named function.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types answers";

const MAX_BODY: usize = 256 * 1024;
const WEBHOOK_WITHIN: Duration = Duration::from_secs(15);
const TOLERANCE: Duration = Duration::from_secs(5 * 60);
/// A connection without a word for longer is taken for dead by some.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How often a message that was sent from the page is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// A message that isn't settled by then won't be watched further.
const WATCHED_FOR: Duration = Duration::from_secs(15 * 60);

/// What the page's server is given of the world.
pub struct Outlook {
    pub webhook: String,
    pub channel: ChannelName,
    /// Signs what goes in, and what comes back.
    pub secret: Secret,
    pub store: Arc<dyn Store>,
    pub http: Http,
    pub clock: Arc<dyn Clock>,
}

struct Backend {
    outlook: Outlook,
    scheme: StandardWebhooks,
    chats: Chats,
}

/// A page that is served.
pub struct Page {
    handle: ServerHandle,
    task: JoinHandle<std::io::Result<()>>,
}

impl Page {
    pub fn serve(listener: TcpListener, outlook: Outlook) -> std::io::Result<Self> {
        let scheme = StandardWebhooks { secrets: vec![outlook.secret.clone()], tolerance: TOLERANCE };
        let backend = web::Data::new(Backend { outlook, scheme, chats: Chats::default() });
        let server = HttpServer::new(move || {
            App::new()
                .app_data(backend.clone())
                .app_data(web::JsonConfig::default().limit(MAX_BODY))
                .app_data(web::PayloadConfig::new(MAX_BODY))
                .wrap(
                    DefaultHeaders::new()
                        .add((header::CONTENT_SECURITY_POLICY, POLICY))
                        .add((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
                        .add((header::REFERRER_POLICY, "no-referrer"))
                        .add((header::CACHE_CONTROL, "no-store")),
                )
                .wrap(from_fn(only_by_a_local_name))
                .service(file("/", "text/html; charset=utf-8", HTML))
                .service(file("/page.css", "text/css; charset=utf-8", CSS))
                .service(file("/page.js", "text/javascript; charset=utf-8", JS))
                .service(file("/icon.svg", "image/svg+xml", ICON))
                .route("/api/about", web::get().to(about))
                .route("/api/chats/{chat}/messages", web::post().to(say))
                .route("/api/chats/{chat}/events", web::get().to(events))
                .route("/callback", web::post().to(callback))
        })
        .workers(1)
        .listen(listener)?
        .disable_signals()
        .run();
        Ok(Self { handle: server.handle(), task: tokio::spawn(server) })
    }

    pub async fn stop(self) {
        self.handle.stop(false).await;
        let _ = self.task.await;
    }
}

/// For GET and HEAD.
fn file(path: &str, content_type: &'static str, content: &'static str) -> Resource {
    let answer = move || async move { HttpResponse::Ok().content_type(content_type).body(content) };
    web::resource(path).route(web::get().to(answer)).route(web::head().to(answer))
}

async fn about(backend: web::Data<Backend>) -> HttpResponse {
    let words: Vec<Value> =
        REQUEST_WORDS.iter().map(|(word, brings)| json!({ "word": word, "brings": brings })).collect();
    let version = env!("CARGO_PKG_VERSION");
    HttpResponse::Ok().json(json!({ "version": version, "webhook": backend.outlook.webhook, "words": words }))
}

#[derive(Deserialize)]
struct Said {
    text: String,
}

/// A browser says something in its chat. Must be JSON: what a page elsewhere may send unasked is not.
async fn say(chat: web::Path<String>, said: web::Json<Said>, backend: web::Data<Backend>) -> HttpResponse {
    let (chat, text) = (chat.into_inner(), said.into_inner().text);
    if !is_chat(&chat) || text.trim().is_empty() {
        return HttpResponse::BadRequest().finish();
    }
    let id = uuid::Uuid::now_v7().to_string();
    backend.chats.said(&chat, &id, text.clone(), backend.outlook.clock.now());
    let answer = HttpResponse::Accepted().json(json!({ "id": id }));
    tokio::spawn(async move { backend.submit(&chat, &id, &text).await });
    answer
}

/// Random names that browsers give themselves.
fn is_chat(chat: &str) -> bool {
    (8..=64).contains(&chat.len()) && chat.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// The chat as it stands, then all that happens in it.
async fn events(chat: web::Path<String>, backend: web::Data<Backend>) -> HttpResponse {
    let chat = chat.into_inner();
    if !is_chat(&chat) {
        return HttpResponse::BadRequest().finish();
    }
    let (snapshot, receiver) = backend.chats.watch(&chat);
    let begin = Watching { backend, chat, receiver, first: Some(snapshot) };
    let stream = futures::stream::unfold(begin, |mut watching| async {
        let frame = watching.next().await?;
        Some((Ok::<_, Infallible>(frame), watching))
    });
    HttpResponse::Ok().content_type("text/event-stream").streaming(stream)
}

struct Watching {
    backend: web::Data<Backend>,
    chat: String,
    receiver: broadcast::Receiver<Bytes>,
    first: Option<Bytes>,
}

impl Watching {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        match tokio::time::timeout(KEEP_ALIVE, self.receiver.recv()).await {
            Ok(Ok(frame)) => Some(frame),
            Ok(Err(RecvError::Lagged(_))) => {
                let (snapshot, receiver) = self.backend.chats.watch(&self.chat);
                self.receiver = receiver;
                Some(snapshot)
            }
            // The chat was forgotten: the browser comes back, and begins anew.
            Ok(Err(RecvError::Closed)) => None,
            Err(_) => Some(Bytes::from_static(b": still here\n\n")),
        }
    }
}

#[derive(Deserialize)]
struct Callback {
    #[serde(rename = "type")]
    kind: String,
    id: String,
    chat: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    in_reply_to: Vec<String>,
    #[serde(default)]
    articles: Vec<Article>,
}

/// What the gateway says.
async fn callback(request: HttpRequest, body: Bytes, backend: web::Data<Backend>) -> HttpResponse {
    let now = backend.outlook.clock.now();
    let verified = raw(&request, body).map(|raw| backend.scheme.verify(raw, now));
    let Some(Ok(verified)) = verified else {
        return HttpResponse::Unauthorized().finish();
    };
    let Ok(callback) = serde_json::from_slice::<Callback>(verified.body()) else {
        return HttpResponse::BadRequest().finish();
    };
    let chats = &backend.chats;
    match callback.kind.as_str() {
        "typing" => chats.typing(&callback.chat),
        "message" => {
            let pieces = render(&callback.text, Dialect::Html, None);
            let html = pieces.into_iter().map(|piece| piece.text).collect::<Vec<_>>().join("\n");
            let entry = Entry::Fini { id: callback.id.clone(), html, at: now, articles: callback.articles };
            chats.answered(&callback.chat, &callback.id, &callback.in_reply_to, Some(entry));
        }
        _ => chats.answered(&callback.chat, &callback.id, &callback.in_reply_to, None),
    }
    HttpResponse::NoContent().finish()
}

fn raw(request: &HttpRequest, body: Bytes) -> Option<RawWebhook> {
    let mut headers = HeaderMap::with_capacity(request.headers().len());
    for (name, value) in request.headers() {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).ok()?);
    }
    let (rest, query) = (String::new(), Vec::new());
    Some(RawWebhook { method: Method::POST, url: request.uri().to_string(), rest, headers, query, body })
}

impl Backend {
    /// Posts a message to the gateway, and watches what becomes of it.
    async fn submit(&self, chat: &str, id: &str, text: &str) {
        let mut sent = Sent { at: self.outlook.clock.now(), receipt: Receipt::Waiting };
        self.tell(chat, id, &sent, None, &[]);
        sent.receipt = match self.post(chat, id, text).await {
            Ok(status) => Receipt::Status(status),
            Err(Error::NotSent(why) | Error::Unknown(why)) => Receipt::NotReached(why),
        };
        self.tell(chat, id, &sent, None, &[]);
        if !sent.is_refused() {
            self.follow(chat, id, &sent).await;
        }
    }

    async fn post(&self, chat: &str, id: &str, text: &str) -> Result<u16, Error> {
        let Outlook { http, clock, webhook, .. } = &self.outlook;
        let body = json!({ "id": id, "chat": chat, "text": text, "user": { "source": "sandbox page" } }).to_string();
        let signed = self.scheme.sign(id, clock.now(), body.as_bytes());
        let signed = signed.ok_or(Error::NotSent("the request can't be signed"))?;
        let mut request = http.request(Method::POST, webhook).header("content-type", "application/json");
        for (name, value) in signed {
            request = request.header(name, value);
        }
        let response = http.send(request.body(body), WEBHOOK_WITHIN, MAX_BODY).await?;
        Ok(response.status.as_u16())
    }

    async fn follow(&self, chat: &str, id: &str, sent: &Sent) {
        let until = Instant::now() + WATCHED_FOR;
        loop {
            let (details, timeline) = self.details(id).await.unzip();
            self.tell(chat, id, sent, details.as_ref(), timeline.as_deref().unwrap_or_default());
            if details.as_ref().is_some_and(steps::is_settled) || Instant::now() > until {
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn details(&self, id: &str) -> Option<(MessageDetails, Vec<JournalEntry>)> {
        let Outlook { store, channel, .. } = &self.outlook;
        let look = async {
            let Some(message) = store.find(channel, &DeliveryKey::new(id)).await? else { return Ok(None) };
            let details = store.details(message).await?;
            let timeline = store.timeline(message).await?;
            Ok(details.map(|details| (details, timeline)))
        };
        look.await.unwrap_or_else(|error: StoreError| {
            tracing::warn!(%error, "a message's story can't be read");
            None
        })
    }

    fn tell(&self, chat: &str, id: &str, sent: &Sent, story: Option<&MessageDetails>, timeline: &[JournalEntry]) {
        let progress = Progress {
            message: id.to_owned(),
            steps: steps::steps(sent, story, timeline),
            chat_ref: story.and_then(|story| story.chat_ref.clone()),
            interaction_id: story.and_then(|story| story.turn.as_ref()?.interaction_id.clone()),
        };
        self.chats.progressed(chat, progress);
    }
}
