//! WhatsApp: the Cloud API that Meta hosts, webhooks in, `/messages` out.
//!
//! Answers for Meta's words: batches, kinds of messages, delivery reports, what the error codes mean. One
//! webhook may carry up to a thousand things, and things of other numbers; each is judged by itself.

mod content;
mod form;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Account, Answer, Batch, Common, Delivery, Event, Idempotency, Malformed, NoSample, ONE_A_SECOND, Pace, Parsed,
    Platform, Registration, Rendering, Sample, SampleOf, SendError, SendFailure, Surroundings, json as read,
    per_second, sample,
};
use content::Content;

use crate::domain::clock::Timestamp;
use crate::domain::id::{ChatKey, DeliveryKey};
use crate::domain::message::{Address, Addressed, Incoming, Part, Receipt, Reply, ReplyKind, Role};
use crate::domain::problem::Problem;
use crate::domain::secret::{Secret, Secrets};
use crate::http::Response;
use crate::signature::{self, Algorithm, Encoding, Hmac, RawWebhook, Refused, Signed, Verified, Verifier as _};
use crate::text::{self, Dialect, Limit, Unit};

/// developers.facebook.com/docs/graph-api/changelog: v26.0 is of 29 July 2026; a version lives two years at least.
const API_BASE: &str = "https://graph.facebook.com/v26.0";
/// Messages reference: `text.body` up to 4096 characters; the known clients count UTF-16 units.
const LIMIT: Limit = Limit { max: 4096, unit: Unit::Utf16 };
/// developers.facebook.com, WhatsApp, Throughput: 80 messages a second and number, in and out together: half
/// of it is left to what comes in. One user takes bursts, but about one in 6 s over time: 131056 says so.
const PACE: Pace = Pace { channel: Some(per_second(40)), chat: Some(ONE_A_SECOND) };
const SAME_USER_PAUSE: Duration = Duration::from_secs(6);
/// 131057, maintenance: "minutes".
const MAINTENANCE_PAUSE: Duration = Duration::from_secs(60);
/// WhatsApp, Typing indicators: gone after 25 seconds, or with the reply.
const TYPING: Duration = Duration::from_secs(20);
const TIMEOUT: Duration = Duration::from_secs(15);
const MAX_ANSWER: usize = 1024 * 1024;
const SIGNATURE: &str = "x-hub-signature-256";

/// `[channels.NAME]` with `platform = "whatsapp"`.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
pub struct Config {
    /// App Settings, Basic, App Secret; a list during a rotation.
    pub app_secret: Secrets,
    /// Made up by you; Meta sends it when the webhook's address is set.
    pub verify_token: Secret,
    /// Of a system user, with `whatsapp_business_messaging`.
    pub access_token: Secret,
    /// The id of the number, not the number.
    pub phone_number_id: String,
    /// The WhatsApp Business Account; only `register` needs it.
    pub waba_id: Option<String>,
}

pub fn build(config: &Config, common: &Common, around: &Surroundings) -> Result<Arc<dyn Platform>, Vec<Problem>> {
    let mut problems = Vec::new();
    let secrets = &config.app_secret.0;
    if secrets.is_empty() || secrets.iter().any(|secret| secret.expose().is_empty()) {
        problems.push(Problem::new("app_secret", "is empty", "the app's App Secret, as \"env:NAME\""));
    }
    if config.verify_token.expose().is_empty() {
        problems.push(Problem::new("verify_token", "is empty", "a secret that Meta's app dashboard is told too"));
    }
    let token = config.access_token.expose();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        problems.push(Problem::new("access_token", "is no token", "a system user's token, as \"env:NAME\""));
    }
    if !is_id(&config.phone_number_id) {
        let instead = "the number's id (WhatsApp, API Setup), such as \"106540352242922\"";
        problems.push(Problem::new("phone_number_id", "is not a row of digits", instead));
    }
    if config.waba_id.as_deref().is_some_and(|id| !is_id(id)) {
        let instead = "the WhatsApp Business Account's id, such as \"102290129340398\"";
        problems.push(Problem::new("waba_id", "is not a row of digits", instead));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Arc::new(WhatsApp {
        signature: Hmac {
            secrets: secrets.clone(),
            algorithm: Algorithm::Sha256,
            header: SIGNATURE.to_owned(),
            field: None,
            encoding: Encoding::Hex,
            prefix: "sha256=".to_owned(),
            signed: vec![Signed::Body],
            timestamp: None,
        },
        config: config.clone(),
        api: common.api_base.as_deref().unwrap_or(API_BASE).trim_end_matches('/').to_owned(),
        max_elements: common.max_elements,
        around: around.clone(),
    }))
}

fn is_id(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

struct WhatsApp {
    signature: Hmac,
    config: Config,
    api: String,
    max_elements: usize,
    around: Surroundings,
}

impl WhatsApp {
    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, SendFailure> {
        let mut request = self
            .around
            .http
            .request(method, &format!("{}/{path}", self.api))
            .bearer_auth(self.config.access_token.expose());
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = self.around.http.send(request, TIMEOUT, MAX_ANSWER).await?;
        self.judge(&response)
    }

    async fn post_message(&self, body: &Value) -> Result<Value, SendFailure> {
        self.call(Method::POST, &format!("{}/messages", self.config.phone_number_id), Some(body)).await
    }

    fn judge(&self, response: &Response) -> Result<Value, SendFailure> {
        let now = self.around.clock.now();
        let answer: Option<Value> = response.json();
        let code = answer.as_ref().and_then(|answer| answer.pointer("/error/code")).and_then(Value::as_i64);
        let error = match (code, answer) {
            (Some(code), _) => wire::refusal(code, response, now),
            (None, _) if !response.status.is_success() => SendError::from_status(response, now),
            (None, Some(answer)) => return Ok(answer),
            (None, None) => SendError::Unknown { reason: "the answer is not JSON".to_owned() },
        };
        Err(error.answered(response))
    }

    fn change(&self, change: &Value, batch: &mut Batch) -> Result<(), Malformed> {
        let field = read::text(change, "/field")?;
        if field != "messages" && field != "smb_message_echoes" {
            batch.ignore("other_field");
            return Ok(());
        }
        if read::text(change, "/value/metadata/phone_number_id")? != self.config.phone_number_id {
            batch.ignore("other_account");
            return Ok(());
        }
        let own_number = read::optional_text(change, "/value/metadata/display_phone_number")?;
        let contacts = read::optional_list(change, "/value/contacts")?;
        let keyed = |message: &Value, malformed| Malformed {
            delivery_key: read::text(message, "/id").ok().map(DeliveryKey::new),
            ..malformed
        };
        for message in read::optional_list(change, "/value/messages")? {
            let read = |message: &Value| self.message(message, own_number, contacts);
            batch.read(message, |message| read(message).map_err(|malformed| keyed(message, malformed)));
        }
        for echo in read::optional_list(change, "/value/message_echoes")? {
            batch.read(echo, |echo| self.echo(echo, contacts).map_err(|malformed| keyed(echo, malformed)));
        }
        for status in read::optional_list(change, "/value/statuses")? {
            batch.read(status, wire::report);
        }
        if !read::optional_list(change, "/value/errors")?.is_empty() {
            batch.ignore("account_error");
        }
        Ok(())
    }

    fn message(&self, message: &Value, own_number: Option<&str>, contacts: &[Value]) -> Result<Event, Malformed> {
        if let Some(moved) = wire::moved(message, &self.config.phone_number_id)? {
            return Ok(Event::Moved(moved));
        }
        let text = match content::read(message)? {
            Content::Text(text) => read::with_quote(content::context(message).as_deref(), text),
            Content::Other(word) => return Ok(Event::Ignored(word)),
            Content::Unreadable => {
                return Ok(match self.written(message, own_number, contacts) {
                    Ok(Ok(incoming)) => Event::Unreadable("unsupported", Box::new(incoming)),
                    _ => Event::Ignored("unsupported"),
                });
            }
        };
        Ok(match self.written(message, own_number, contacts)? {
            Ok(incoming) => Event::Message(Box::new(Incoming { text, ..incoming })),
            Err(word) => Event::Ignored(word),
        })
    }

    /// By whom, and where, without the text.
    fn written(
        &self,
        message: &Value,
        own_number: Option<&str>,
        contacts: &[Value],
    ) -> Result<Result<Incoming, &'static str>, Malformed> {
        let person = wire::person(message, "/from", "/from_user_id", contacts)?;
        let sender = person.id().ok_or_else(|| Malformed::new("from and from_user_id are both missing"))?;
        if wire::same_number(person.phone(), own_number) {
            return Ok(Err("own"));
        }
        let group = read::optional_text(message, "/group_id")?.filter(|group| !group.is_empty());
        let answers_us = wire::same_number(read::optional_text(message, "/context/from")?, own_number);
        let addressed = match group {
            None => Addressed::Direct,
            Some(_) if answers_us => Addressed::Mention,
            Some(_) => Addressed::Room,
        };
        Ok(Ok(Incoming { addressed, ..self.incoming(message, sender, group, person.address())? }))
    }

    /// What a colleague wrote from the WhatsApp Business app. What goes out by this connector is not echoed.
    fn echo(&self, echo: &Value, contacts: &[Value]) -> Result<Event, Malformed> {
        let Content::Text(text) = content::read(echo)? else { return Ok(Event::Ignored("echo")) };
        let customer = wire::person(echo, "/to", "/to_user_id", contacts)?;
        let id = customer.id().ok_or_else(|| Malformed::new("to and to_user_id are both missing"))?;
        Ok(Event::Message(Box::new(Incoming {
            text,
            role: Role::Agent,
            sender: read::optional_text(echo, "/from")?.map(str::to_owned),
            addressed: Addressed::Known,
            ..self.incoming(echo, id, None, customer.address())?
        })))
    }

    /// A message in the chat with this person or in this group, without its text.
    fn incoming(&self, message: &Value, person: &str, group: Option<&str>, to: Value) -> Result<Incoming, Malformed> {
        let id = read::text(message, "/id")?;
        let number = &self.config.phone_number_id;
        let (chat, mut address) = match group {
            Some(group) => (format!("{number}:group:{group}"), json!({ "group": group })),
            None => (format!("{number}:{person}"), to),
        };
        read::set(&mut address, "message_id", json!(id));
        Ok(Incoming {
            delivery_key: DeliveryKey::new(id),
            chat: ChatKey::new(chat),
            room: group.unwrap_or(person).to_owned(),
            account: Some(number.clone()),
            sender: Some(person.to_owned()),
            shared: group.is_some(),
            addressed: Addressed::Direct,
            role: Role::User,
            text: String::new(),
            user_attributes: Map::new(),
            bot_id: None,
            address: Address(address),
            sent_at: Some(wire::sent_at(message)?),
            unordered: true,
            more_within: None,
        })
    }
}

#[async_trait]
impl Platform for WhatsApp {
    fn name(&self) -> &'static str {
        "whatsapp"
    }

    fn handshake(&self, raw: &RawWebhook) -> Option<Answer> {
        if raw.method != Method::GET {
            return None;
        }
        let token = raw.query("hub.verify_token").unwrap_or_default();
        let genuine = signature::equal(self.config.verify_token.expose().as_bytes(), token.as_bytes())
            && raw.query("hub.mode") == Some("subscribe");
        Some(match raw.query("hub.challenge") {
            Some(challenge) if genuine => Answer { status: 200, body: challenge.to_owned() },
            _ => Answer { status: 403, body: String::new() },
        })
    }

    fn precheck(&self, head: &RawWebhook, now: Timestamp) -> Result<(), Refused> {
        self.signature.precheck(head, now)
    }

    fn verify(&self, raw: RawWebhook, now: Timestamp) -> Result<Verified, Refused> {
        self.signature.verify(raw, now)
    }

    fn parse(&self, webhook: &Verified) -> Result<Parsed, Malformed> {
        let body = read::object(webhook.body())?;
        if read::text(&body, "/object")? != "whatsapp_business_account" {
            return Ok(Parsed::Events(vec![Event::Ignored("other_object")]));
        }
        let mut batch = Batch::new(self.max_elements);
        for entry in read::list(&body, "/entry")? {
            match read::list(entry, "/changes") {
                Err(malformed) => batch.read(entry, |_| Err(malformed)),
                Ok(changes) => {
                    for change in changes {
                        if let Err(malformed) = self.change(change, &mut batch) {
                            batch.read(change, |_| Err(malformed));
                        }
                    }
                }
            }
        }
        Ok(batch.finish())
    }

    fn render(&self, reply: &Reply, _: &Rendering<'_>) -> Result<Vec<Part>, Malformed> {
        Ok(match reply.kind {
            ReplyKind::Message => text::render(&reply.text, Dialect::Whatsapp, Some(LIMIT)),
            ReplyKind::NoReply | ReplyKind::Handoff | ReplyKind::Failed => Vec::new(),
        }
        .into_iter()
        .map(|piece| Part(Value::String(piece.text)))
        .collect())
    }

    async fn send(&self, delivery: Delivery<'_>) -> Result<Receipt, SendFailure> {
        let mut body =
            wire::target(delivery.address).ok_or_else(|| SendError::Permanent { reason: "no_address".to_owned() })?;
        read::set(&mut body, "type", json!("text"));
        read::set(&mut body, "text", json!({ "body": delivery.part.0, "preview_url": false }));
        // Comes back in every report about this message. It does not keep it from being sent twice.
        read::set(&mut body, "biz_opaque_callback_data", json!(delivery.id.to_string()));
        let answer = self.post_message(&body).await?;
        Ok(Receipt(answer.pointer("/messages/0/id").and_then(Value::as_str).map(str::to_owned)))
    }

    /// Statuses bring the part's id back, as `biz_opaque_callback_data`.
    fn idempotency(&self) -> Idempotency {
        Idempotency::Reported
    }

    fn pace(&self) -> Pace {
        PACE
    }

    /// Also marks the message as read: the call does both or neither.
    async fn typing(&self, address: &Address) -> Result<(), SendError> {
        let Some(id) = address.0.get("message_id").and_then(Value::as_str) else { return Ok(()) };
        let body = json!({
            "messaging_product": "whatsapp",
            "status": "read",
            "message_id": id,
            "typing_indicator": { "type": "text" },
        });
        self.post_message(&body).await.map(drop).map_err(|failure| failure.error)
    }

    fn typing_lasts(&self) -> Option<Duration> {
        Some(TYPING)
    }

    async fn check(&self) -> Result<Option<Account>, SendError> {
        let path = format!("{}?fields=display_phone_number,verified_name", self.config.phone_number_id);
        let number = self.call(Method::GET, &path, None).await?;
        let word = |key: &str| number.get(key).and_then(Value::as_str).unwrap_or("?").to_owned();
        Ok(Some(format!("{} ({})", word("verified_name"), word("display_phone_number"))))
    }

    async fn register(&self, url: &str) -> Result<Registration, SendError> {
        let Some(waba) = &self.config.waba_id else {
            return Ok(Registration::ByHand(vec![
                "Open https://developers.facebook.com/apps, choose the app, then WhatsApp, Configuration.".to_owned(),
                format!("Callback URL: {url}"),
                "Verify token: the value of verify_token. Verify and save; the gateway must be running.".to_owned(),
                "Webhook fields: subscribe to messages.".to_owned(),
                "Or set waba_id in the configuration, and run this command again.".to_owned(),
            ]));
        };
        let body = json!({
            "override_callback_uri": url,
            "verify_token": self.config.verify_token.expose(),
        });
        self.call(Method::POST, &format!("{waba}/subscribed_apps"), Some(&body)).await?;
        Ok(Registration::Done(format!("Meta sends the webhooks of account {waba} to {url}")))
    }

    fn sample(&self, of: &SampleOf<'_>, now: Timestamp) -> Result<Sample, NoSample> {
        let number = &self.config.phone_number_id;
        let from = of.chat.unwrap_or("16505551234");
        let id = format!("wamid.{}", of.id);
        let waba = self.config.waba_id.as_deref().unwrap_or("102290129340398");
        let mut raw = sample::unsigned(of.url, &wire::sample(waba, number, from, &id, of.text, now));
        let signature = self.signature.sign(&raw).ok_or_else(|| NoSample("there is no app secret".to_owned()))?;
        sample::add_header(&mut raw, SIGNATURE, &signature)?;
        Ok(sample::finish(raw, DeliveryKey::new(id)))
    }
}
