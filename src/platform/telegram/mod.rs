//! Telegram: the Bot API's webhook in, `sendMessage` out.
//!
//! Answers for Telegram's words: which updates are a person's message, what addresses the bot in a group,
//! what its errors mean. The token stands in the path of every call: no error here may hold an address.

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
/// In the address of a message that came before `getMe` told the bot's name: whom the message names.
const NAMES: &str = "names";

/// `[channels.NAME]` with `platform = "telegram"`.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
pub struct Config {
    /// What `setWebhook` was given as `secret_token`; a list during a rotation.
    pub secret_token: Secrets,
    /// From BotFather: `110201543:AAHdqTcv…`.
    pub bot_token: Secret,
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
                wire::refusal(&answer, response.status.as_u16(), by_status)
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
        let chat = read::integer(message, "/chat/id")?;
        let id = read::integer(message, "/message_id")?;
        let shared = match read::text(message, "/chat/type")? {
            "private" => false,
            "group" | "supergroup" => true,
            _ => return Ok(Event::Ignored("channel_post")),
        };
        if read::optional_integer(message, "/migrate_to_chat_id")?.is_some() {
            return Ok(Event::Ignored("migrated"));
        }
        if read::optional_object(message, "/from")?.is_none() {
            return Ok(Event::Ignored("channel_post"));
        }
        if read::flag(message, "/from/is_bot")? {
            return Ok(Event::Ignored("bot"));
        }
        let sender = read::integer(message, "/from/id")?;
        if read::optional_flag(message, "/is_automatic_forward")?.unwrap_or_default() {
            return Ok(Event::Ignored("channel_post"));
        }
        let Some(said) = wire::said(message)? else { return Ok(Event::Ignored("service")) };
        let topic = if read::optional_flag(message, "/is_topic_message")?.unwrap_or_default() {
            Some(read::integer(message, "/message_thread_id")?)
        } else {
            None
        };
        let mut address = json!({ "chat_id": chat });
        if let Some(topic) = topic {
            read::set(&mut address, "message_thread_id", json!(topic));
        }
        if shared {
            read::set(&mut address, "reply_to", json!(id));
        }
        let addressed = match () {
            () if !shared => Addressed::Direct,
            () if self.is_meant(message, &said)? => Addressed::Mention,
            () => {
                let names: Vec<&str> = said.names().collect();
                match self.username.get() {
                    Some(own) if names.iter().any(|name| own.eq_ignore_ascii_case(name)) => Addressed::Mention,
                    None if !names.is_empty() => {
                        read::set(&mut address, NAMES, json!(names));
                        Addressed::Mention
                    }
                    _ => Addressed::Room,
                }
            }
        };
        Ok(Event::Message(Box::new(Incoming {
            // Not `update_id`: that may begin again at any number after a week of silence.
            delivery_key: DeliveryKey::new(format!("{chat}:{id}")),
            chat: ChatKey::new(topic.map_or_else(|| chat.to_string(), |topic| format!("{chat}:{topic}"))),
            room: chat.to_string(),
            account: Some(self.bot_id.to_string()),
            sender: Some(sender.to_string()),
            shared,
            addressed,
            role: Role::User,
            text: wire::with_media(self.without_own_name(&said), message),
            user_attributes: Map::new(),
            bot_id: None,
            address: Address(address),
            sent_at: Some(Timestamp::from_secs(read::integer(message, "/date")?)),
            // One queue per chat, in order; nothing is to be sorted.
            unordered: false,
        })))
    }

    /// In a group: a reply to what the bot wrote, a mention by its id, or a command that names no bot.
    fn is_meant(&self, message: &Value, said: &wire::Said<'_>) -> Result<bool, Malformed> {
        // In a topic each message is a "reply" to the service message that opened it.
        let opening = message.pointer("/reply_to_message/forum_topic_created").is_some();
        if !opening && read::optional_integer(message, "/reply_to_message/from/id")? == Some(self.bot_id) {
            return Ok(true);
        }
        Ok(said.entities.iter().any(|entity| match entity.kind {
            "text_mention" => entity.user == Some(self.bot_id),
            "bot_command" => entity.start == 0 && !entity.text.contains('@'),
            _ => false,
        }))
    }

    /// The bot's own name at the start says who is meant, not what is asked: `@acme_bot hello` is
    /// `hello`, `/start@acme_bot` is `/start`.
    fn without_own_name(&self, said: &wire::Said<'_>) -> String {
        let known = |name: &str| self.username.get().is_some_and(|own| own.eq_ignore_ascii_case(name));
        let first = said.entities.iter().find(|entity| entity.start == 0);
        let rest = first.and_then(|entity| said.text.get(entity.text.len()..)).unwrap_or_default();
        match first {
            Some(entity) if entity.kind == "mention" && entity.text.strip_prefix('@').is_some_and(known) => {
                rest.trim_start_matches([' ', '\n', ',', ':']).to_owned()
            }
            Some(entity) if entity.kind == "bot_command" => match entity.text.split_once('@') {
                Some((command, name)) if known(name) => format!("{command}{rest}"),
                _ => said.text.to_owned(),
            },
            _ => said.text.to_owned(),
        }
    }

    async fn post(&self, address: &Address, text: &str, dialect: Dialect) -> Result<Receipt, Unsent> {
        let mut body = wire::target(address).ok_or(SendError::Permanent { reason: "no_address".to_owned() })?;
        read::set(&mut body, "text", json!(text));
        read::set(&mut body, "link_preview_options", json!({ "is_disabled": true }));
        if dialect == Dialect::Telegram {
            read::set(&mut body, "parse_mode", json!("HTML"));
        }
        if let Some(id) = address.0.get("reply_to").and_then(Value::as_i64) {
            read::set(&mut body, "reply_parameters", json!({ "message_id": id, "allow_sending_without_reply": true }));
        }
        let sent = self.judge(&self.call("sendMessage", &body).await?)?;
        Ok(Receipt(sent.get("message_id").and_then(Value::as_i64).map(|id| id.to_string())))
    }
}

/// Why Telegram did not do it.
enum Refusal {
    Error(SendError),
    /// The markup does not please it; the plain text will.
    Markup,
    Moved {
        chat_id: i64,
    },
}

impl Refusal {
    fn into_error(self) -> SendError {
        match self {
            Self::Error(error) => error,
            Self::Markup => SendError::Permanent { reason: "telegram_markup".to_owned() },
            Self::Moved { chat_id } => SendError::Moved { address: Address(json!({ "chat_id": chat_id })) },
        }
    }
}

/// A refusal in Telegram's own words. `None`: there was no answer.
struct Unsent {
    why: Refusal,
    detail: Option<String>,
}

impl Unsent {
    fn into_failure(self) -> SendFailure {
        SendFailure { error: self.why.into_error(), detail: self.detail }
    }
}

impl From<SendError> for Unsent {
    fn from(error: SendError) -> Self {
        Self { why: Refusal::Error(error), detail: None }
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
        let event = match read::optional_object(&update, "/message")? {
            Some(message) => self.message(message)?,
            None => Event::Ignored(wire::kind(&update)),
        };
        Ok(Parsed::Events(vec![event]))
    }

    async fn prepare(&self) {
        if self.username.get().is_none() {
            let _ = self.learn().await;
        }
    }

    fn recipient(&self, address: &Address) -> Recipient {
        let Some(names) = address.0.get(NAMES).and_then(Value::as_array) else { return Recipient::Us };
        match self.username.get() {
            None => Recipient::Unknown,
            Some(own) if names.iter().filter_map(Value::as_str).any(|name| own.eq_ignore_ascii_case(name)) => {
                Recipient::Us
            }
            Some(_) => Recipient::OtherBot,
        }
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
        match self.post(delivery.address, word("html")?, Dialect::Telegram).await {
            Err(Unsent { why: Refusal::Markup, .. }) => {
                self.post(delivery.address, word("plain")?, Dialect::Plain).await
            }
            outcome => outcome,
        }
        .map_err(Unsent::into_failure)
    }

    fn pace(&self) -> Pace {
        PACE
    }

    async fn typing(&self, address: &Address) -> Result<(), SendError> {
        let Some(mut body) = wire::target(address) else { return Ok(()) };
        read::set(&mut body, "action", json!("typing"));
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
        let body = json!({ "url": url, "secret_token": secret, "allowed_updates": ["message"] });
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
