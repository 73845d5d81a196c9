//! Telegram: the Bot API's webhook in, `sendMessage` out.
//!
//! Answers for Telegram's words: which updates are a person's message, what addresses the bot in a group,
//! what its errors mean. The token stands in the path of every call: no error here may hold an address.

mod business;
mod content;
mod direct_messages;
mod guest;
mod mention;
mod place;
mod refusal;
mod rich;
mod wire;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Account, Common, Delivery, Event, Malformed, NoSample, ONE_A_SECOND, Pace, Parsed, Platform, Recipient,
    Registration, Rendering, Sample, SampleOf, SendError, SendFailure, Surroundings, json as read, per_second, sample,
};
use content::Content;
use mention::Bot;
use place::{Author, Place};
use refusal::{Refusal, Unsent};

use crate::domain::clock::Timestamp;
use crate::domain::id::{ChatKey, DeliveryKey};
use crate::domain::message::{Address, Addressed, Incoming, Part, Receipt, Reply, ReplyKind, Role};
use crate::domain::problem::Problem;
use crate::domain::secret::{Secret, Secrets};
use crate::http::Response;
use crate::signature::{RawWebhook, Refused, Token, TokenPlace, Verified, Verifier as _};
use crate::text::{self, Dialect, Limit, Unit};

const API_BASE: &str = "https://api.telegram.org";
/// core.telegram.org/bots/api#sendmessage: 1-4096 characters; what a character is, it does not say: UTF-16
/// units are the safe side.
const LIMIT: Limit = Limit { max: 4096, unit: Unit::Utf16 };
/// core.telegram.org/bots/faq: one message a second per chat, about 30 a second overall. The 20 a minute of
/// a group are left to its 429.
const PACE: Pace = Pace { channel: Some(per_second(30)), chat: Some(ONE_A_SECOND) };
/// core.telegram.org/bots/api#sendchataction: shown for 5 seconds or less.
const TYPING: Duration = Duration::from_secs(4);
const TIMEOUT: Duration = Duration::from_secs(15);
const MAX_ANSWER: usize = 1024 * 1024;
const SECRET_TOKEN: &str = "x-telegram-bot-api-secret-token";
/// What is read here.
const UPDATES: [&str; 3] = ["message", "business_message", "guest_message"];
/// The pictures of an album come one by one, without an end.
const ALBUM: Duration = Duration::from_secs(1);

/// `[channels.NAME]` with `platform = "telegram"`.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
pub struct Config {
    /// What `setWebhook` was given as `secret_token`; a list during a rotation.
    pub secret_token: Secrets,
    /// From BotFather: `110201543:AAHdqTcv…`.
    pub bot_token: Secret,
    /// The business connections (their ids) that are answered; empty: each that its owner makes.
    #[serde(default)]
    pub business_connections: Vec<String>,
}

pub fn build(config: &Config, common: &Common, around: &Surroundings) -> Result<Arc<dyn Platform>, Vec<Problem>> {
    let mut problems = Vec::new();
    let secrets = &config.secret_token.0;
    if secrets.is_empty() || !secrets.iter().all(|secret| is_secret_token(secret.expose())) {
        problems.push(Problem::new(
            "secret_token",
            "Telegram takes 1 to 256 characters of A-Z a-z 0-9 _ -",
            "such a secret (`fini-bridge secret new` makes one), as \"env:NAME\"",
        ));
    }
    let Some(bot_id) = bot_id(config.bot_token.expose()) else {
        problems.push(Problem::new(
            "bot_token",
            "is no bot's token",
            "BotFather's token, 110201543:AAH…, as \"env:NAME\"",
        ));
        return Err(problems);
    };
    if !problems.is_empty() {
        return Err(problems);
    }
    let base = common.api_base.as_deref().unwrap_or(API_BASE).trim_end_matches('/');
    Ok(Arc::new(Telegram {
        token: Token {
            secrets: secrets.clone(),
            place: TokenPlace::Header(SECRET_TOKEN.to_owned()),
            prefix: String::new(),
        },
        api: Secret::new(format!("{base}/bot{}", config.bot_token.expose())),
        bot_id,
        business_connections: config.business_connections.clone(),
        around: around.clone(),
        username: OnceLock::new(),
    }))
}

/// core.telegram.org/bots/api#setwebhook
fn is_secret_token(text: &str) -> bool {
    (1..=256).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// A token is the bot's id, a colon, and a secret.
fn bot_id(token: &str) -> Option<i64> {
    let (id, secret) = token.split_once(':')?;
    let fits = !secret.is_empty() && secret.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    id.bytes().all(|b| b.is_ascii_digit()).then(|| id.parse().ok()).flatten().filter(|_| fits)
}

struct Telegram {
    token: Token,
    /// The address of every call, token included.
    api: Secret,
    bot_id: i64,
    business_connections: Vec<String>,
    around: Surroundings,
    /// Without the `@`; once `getMe` has told.
    username: OnceLock<String>,
}

impl Telegram {
    async fn call(&self, method: &str, body: &Value) -> Result<Response, SendError> {
        let url = format!("{}/{method}", self.api.expose());
        let request = self.around.http.request(Method::POST, &url).json(body);
        Ok(self.around.http.send(request, TIMEOUT, MAX_ANSWER).await?)
    }

    /// `result`, if Telegram says `ok`.
    fn judge(&self, response: &Response) -> Result<Value, Unsent> {
        let answer: Option<Value> = response.json();
        let why = match answer {
            Some(mut answer) if answer.get("ok").is_some_and(|ok| ok == true) => {
                return Ok(answer.get_mut("result").map(Value::take).unwrap_or_default());
            }
            answer if !response.status.is_success() => {
                let answer = answer.unwrap_or_default();
                let by_status = SendError::from_status(response, self.around.clock.now());
                refusal::of(&answer, response.status.as_u16(), by_status)
            }
            _ => Refusal::Error(SendError::Unknown { reason: "the answer can't be read".to_owned() }),
        };
        Err(Unsent { why, detail: Some(response.excerpt()) })
    }

    async fn ask(&self, method: &str, body: &Value) -> Result<Value, SendError> {
        self.judge(&self.call(method, body).await?).map_err(|unsent| unsent.why.into_error())
    }

    async fn learn(&self) -> Result<String, SendError> {
        let me = self.ask("getMe", &json!({})).await?;
        let username = read::text(&me, "/username")
            .map_err(|_| SendError::Unknown { reason: "getMe answers without a name".to_owned() })?;
        Ok(self.username.get_or_init(|| username.to_owned()).clone())
    }

    fn message(&self, message: &Value) -> Result<Event, Malformed> {
        if !business::is_allowed(&self.business_connections, message) {
            return Ok(Event::Ignored("other_account"));
        }
        if let Some(moved) = place::moved(message)? {
            return Ok(Event::Moved(moved));
        }
        match place::of(message)? {
            Ok(place) => self.written(message, place),
            Err(word) => Ok(Event::Ignored(word)),
        }
    }

    fn written(&self, message: &Value, place: Place) -> Result<Event, Malformed> {
        let sender = match wire::sender(message)? {
            Ok(sender) => sender,
            Err(word) => return Ok(Event::Ignored(word)),
        };
        if read::optional_flag(message, "/is_automatic_forward")?.unwrap_or_default() {
            return Ok(Event::Ignored("channel_post"));
        }
        let said = match content::read(message)? {
            Content::Said(said) => Some(said),
            Content::Service => return Ok(Event::Ignored("service")),
            Content::Unknown => None,
        };
        let mut address = place.address;
        let bot = Bot { id: self.bot_id, name: self.username.get().map(String::as_str) };
        let is_group = read::text(message, "/chat/type")? != "private";
        let (addressed, role) = match (place.written_by, &said) {
            (Author::Staff, _) => (Addressed::Known, Role::Agent),
            (_, said) if place.shared => (bot.addressed(message, said.as_ref(), &mut address)?, Role::User),
            // Only what names the bot reaches it from there.
            _ if is_group && address.get("direct_messages_topic_id").is_none() => (Addressed::Mention, Role::User),
            _ => (Addressed::Direct, Role::User),
        };
        let text = said.as_ref().map(|said| {
            let text = content::with_media(bot.without_own_name(said), message);
            // A command stays the first word.
            let quote = content::quote(message, self.bot_id).filter(|_| !text.starts_with('/'));
            read::with_quote(quote, text)
        });
        let incoming = Box::new(Incoming {
            delivery_key: DeliveryKey::new(place.delivery_key),
            chat: ChatKey::new(place.chat),
            room: read::integer(message, "/chat/id")?.to_string(),
            account: Some(place.account.unwrap_or_else(|| self.bot_id.to_string())),
            sender: Some(sender.to_string()),
            shared: place.shared,
            addressed,
            role,
            text: text.unwrap_or_default(),
            user_attributes: Map::new(),
            bot_id: None,
            address: Address(address),
            sent_at: Some(Timestamp::from_secs(read::integer(message, "/date")?)),
            // One queue per chat, in order; nothing is to be sorted.
            unordered: false,
            more_within: message.get("media_group_id").map(|_| ALBUM),
        });
        Ok(if said.is_some() { Event::Message(incoming) } else { Event::Unreadable("unknown_content", incoming) })
    }

    async fn post(&self, address: &Address, text: &str, dialect: Dialect) -> Result<Receipt, Unsent> {
        let mut content = json!({ "text": text, "link_preview_options": { "is_disabled": true } });
        if dialect == Dialect::Telegram {
            read::set(&mut content, "parse_mode", json!("HTML"));
        }
        let response = match guest::answer(address, &content) {
            Some(body) => self.call("answerGuestQuery", &body).await?,
            None => {
                let mut body = wire::target(address).ok_or(SendError::Permanent { reason: "no_address".to_owned() })?;
                if let (Some(body), Value::Object(content)) = (body.as_object_mut(), content) {
                    body.extend(content);
                }
                self.call("sendMessage", &body).await?
            }
        };
        let sent = self.judge(&response)?;
        let id =
            ["message_id", "ephemeral_message_id"].iter().find_map(|key| sent.get(key)?.as_i64().filter(|id| *id != 0));
        Ok(Receipt(id.map(|id| id.to_string())))
    }

    /// Without its markup where Telegram refuses that.
    async fn deliver(&self, address: &Address, html: &str, plain: &str) -> Result<Receipt, Unsent> {
        match self.post(address, html, Dialect::Telegram).await {
            Err(Unsent { why: Refusal::Markup, .. }) => self.post(address, plain, Dialect::Plain).await,
            outcome => outcome,
        }
    }
}

#[async_trait]
impl Platform for Telegram {
    fn name(&self) -> &'static str {
        "telegram"
    }

    fn precheck(&self, head: &RawWebhook, now: Timestamp) -> Result<(), Refused> {
        self.token.precheck(head, now)
    }

    fn verify(&self, raw: RawWebhook, now: Timestamp) -> Result<Verified, Refused> {
        self.token.verify(raw, now)
    }

    fn parse(&self, webhook: &Verified) -> Result<Parsed, Malformed> {
        let update = read::object(webhook.body())?;
        read::integer(&update, "/update_id")?;
        let field = |pointer| read::optional_object(&update, pointer);
        let event = match (field("/message")?.or(field("/business_message")?), field("/guest_message")?) {
            (Some(message), _) => self.message(message)?,
            (None, Some(message)) => self.written(message, guest::place(message)?)?,
            (None, None) => Event::Ignored(wire::kind(&update)),
        };
        Ok(Parsed::Events(vec![event]))
    }

    async fn prepare(&self) {
        if self.username.get().is_none() {
            let _ = self.learn().await;
        }
    }

    fn recipient(&self, address: &Address) -> Recipient {
        mention::recipient(address, self.username.get().map(String::as_str))
    }

    fn render(&self, reply: &Reply, _: &Rendering<'_>) -> Result<Vec<Part>, Malformed> {
        Ok(match reply.kind {
            ReplyKind::Message => text::render(&reply.text, Dialect::Telegram, Some(LIMIT)),
            ReplyKind::NoReply | ReplyKind::Handoff | ReplyKind::Failed => Vec::new(),
        }
        .into_iter()
        .map(|piece| Part(json!({ "html": piece.text, "plain": piece.plain })))
        .collect())
    }

    async fn send(&self, delivery: Delivery<'_>) -> Result<Receipt, SendFailure> {
        let word = |key| {
            let none = || SendError::Permanent { reason: "no_text".to_owned() };
            delivery.part.0.get(key).and_then(Value::as_str).ok_or_else(none)
        };
        let (html, plain) = (word("html")?, word("plain")?);
        match (self.deliver(delivery.address, html, plain).await, wire::without_topic(delivery.address)) {
            (Err(Unsent { why: Refusal::Topic, .. }), Some(address)) => self.deliver(&address, html, plain).await,
            (outcome, _) => outcome,
        }
        .map_err(Unsent::into_failure)
    }

    fn pace(&self) -> Pace {
        PACE
    }

    async fn typing(&self, address: &Address) -> Result<(), SendError> {
        let Some(body) = wire::typing(address) else { return Ok(()) };
        self.ask("sendChatAction", &body).await.map(drop)
    }

    fn typing_lasts(&self) -> Option<Duration> {
        Some(TYPING)
    }

    async fn check(&self) -> Result<Option<Account>, SendError> {
        let username = self.learn().await?;
        let webhook = self.ask("getWebhookInfo", &json!({})).await?;
        let state = match webhook.get("url").and_then(Value::as_str) {
            None | Some("") => "no webhook is set".to_owned(),
            Some(_) => {
                let waiting = webhook.get("pending_update_count").and_then(Value::as_i64).unwrap_or_default();
                let trouble = webhook.get("last_error_message").and_then(Value::as_str);
                let trouble = trouble.map(|trouble| format!(", last error: {trouble}")).unwrap_or_default();
                format!("webhook set, {waiting} waiting{trouble}")
            }
        };
        Ok(Some(format!("bot @{username} ({}), {state}", self.bot_id)))
    }

    async fn register(&self, url: &str) -> Result<Registration, SendError> {
        let secret = self.token.secrets.first().map(Secret::expose);
        // Explicit: without it the previous setting stays.
        let body = json!({ "url": url, "secret_token": secret, "allowed_updates": UPDATES });
        self.ask("setWebhook", &body).await?;
        Ok(Registration::Done(format!("Telegram sends the messages of bot {} to {url}", self.bot_id)))
    }

    fn sample(&self, of: &SampleOf<'_>, now: Timestamp) -> Result<Sample, NoSample> {
        let chat = match of.chat {
            Some(chat) => chat.parse().map_err(|_| NoSample("a chat of Telegram is a number".to_owned()))?,
            None => 7_700_112_233_i64,
        };
        let (id, group) = (sample::number(of.id), chat < 0);
        let mut message = json!({
            "message_id": id,
            "from": { "id": 7_700_112_233_i64, "is_bot": false, "first_name": "Sample" },
            "chat": { "id": chat, "type": if group { "supergroup" } else { "private" } },
            "date": now.as_secs(),
            "text": of.text,
        });
        if group {
            read::set(
                &mut message,
                "reply_to_message",
                json!({ "message_id": 1, "from": { "id": self.bot_id, "is_bot": true } }),
            );
        }
        let mut raw = sample::unsigned(of.url, &json!({ "update_id": id, "message": message }));
        let secret = self.token.secrets.first().map(Secret::expose).unwrap_or_default();
        sample::add_header(&mut raw, SECRET_TOKEN, secret)?;
        Ok(sample::finish(raw, DeliveryKey::new(format!("{chat}:{id}"))))
    }
}
