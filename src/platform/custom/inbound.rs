//! From a verified webhook to messages: the expressions of `inbound`, over `body`, `headers` and `query`.
//!
//! One element that can't be read doesn't stop the others. What comes out of `id` and `chat` decides who
//! gets an answer: only a non-empty string or an integer will do.

use minijinja::Value;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::attributes::Attributes;
use super::template::{Expression, Failed, value_of};
use super::time;
use super::verify::word;
use crate::domain::clock::Timestamp;
use crate::domain::id::{BotId, ChatKey, DeliveryKey};
use crate::domain::message::{Address, Addressed, Incoming, Role};
use crate::domain::problem::Problem;
use crate::platform::{Answer, Batch, Event, Malformed, Parsed, fits};
use crate::signature::{RawWebhook, Verified};
use crate::text::plain_text;

/// What an expression about one element may name.
pub const NAMES: &[&str] = &["body", "headers", "query", "item"];
const BATCH_NAMES: &[&str] = &["body", "headers", "query"];

/// Characters of a challenge that is echoed.
const MAX_CHALLENGE: usize = 1024;
/// Characters of an id or a chat.
const MAX_ID: usize = 1024;
/// The member of an address that holds the element for the templates of the reply: as a text, since thousands of
/// elements as trees would take a hundred times their bytes.
const ITEM: &str = "item_json";
/// Of `item` as JSON, kept for the templates of the reply.
const MAX_ITEM: usize = 64 * 1024;

/// `[channels.NAME.inbound]`: Jinja expressions.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Config {
    /// A list of messages in one webhook; each is `item`. Without it, `item` is the body.
    pub each: Option<String>,
    /// Whether the element is a message for us.
    pub when: Option<String>,
    /// The same whenever the same message is delivered again.
    pub id: Option<String>,
    /// The chat it belongs to.
    pub chat: Option<String>,
    /// What was written.
    pub text: Option<String>,
    /// What `text` is: `text` (the default), or `html`, which is made plain text.
    #[schemars(with = "Option<Format>")]
    pub format: Option<String>,
    /// Who wrote it, where several people share a chat.
    pub sender: Option<String>,
    /// `user` (the default), `agent` or `otherbot`.
    pub role: Option<String>,
    /// What Fini is told about the user. Members that are undefined are left out.
    pub user_attributes: Option<String>,
    /// The Fini agent that answers; `none`: the channel's.
    pub bot_id: Option<String>,
    /// When it was written, in seconds or milliseconds since the epoch or RFC 3339; undefined: when it came.
    pub sent_at: Option<String>,
    /// What a request that only asks for an echo wants to see.
    pub challenge: Option<String>,
}

/// What the text of a message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Text,
    Html,
}

pub struct Inbound {
    each: Option<Expression>,
    when: Option<Expression>,
    id: Expression,
    chat: Expression,
    text: Expression,
    format: Format,
    sender: Option<Expression>,
    sent_at: Option<Expression>,
    role: Option<Expression>,
    attributes: Option<Attributes>,
    bot_id: Option<Expression>,
    challenge: Option<Expression>,
    keeps: Keeps,
    max_elements: usize,
}

/// Whether the templates of the reply want to see what the user sent. It is personal: not kept unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    Item,
    Nothing,
}

pub fn build(config: &Config, keeps: Keeps, max_elements: usize) -> Result<Inbound, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut optional = |key: &'static str, source: &Option<String>, names: &[&str]| {
        let compiled = source.as_ref().map(|source| Expression::compile(key, source, names));
        compiled.and_then(|result| result.map_err(|problem| problems.push(problem)).ok())
    };
    let each = optional("inbound.each", &config.each, BATCH_NAMES);
    let when = optional("inbound.when", &config.when, NAMES);
    let role = optional("inbound.role", &config.role, NAMES);
    let bot_id = optional("inbound.bot_id", &config.bot_id, NAMES);
    let challenge = optional("inbound.challenge", &config.challenge, BATCH_NAMES);
    let id = optional("inbound.id", &config.id, NAMES);
    let chat = optional("inbound.chat", &config.chat, NAMES);
    let text = optional("inbound.text", &config.text, NAMES);
    let sender = optional("inbound.sender", &config.sender, NAMES);
    let sent_at = optional("inbound.sent_at", &config.sent_at, NAMES);
    let format = word("inbound.format", config.format.as_deref(), &["text", "html"], &mut problems);
    let format = format.unwrap_or_default();
    for (key, given) in [("id", &config.id), ("chat", &config.chat), ("text", &config.text)] {
        if given.is_none() {
            problems.push(Problem::new(
                format!("inbound.{key}"),
                "is missing",
                format!("an expression over the webhook, such as {key} = \"body.{key}\""),
            ));
        }
    }
    let attributes = config.user_attributes.as_ref().map(|source| Attributes::compile(source));
    let attributes = attributes.and_then(|result| result.map_err(|problem| problems.push(problem)).ok());
    match (id, chat, text) {
        (Some(id), Some(chat), Some(text)) if problems.is_empty() => Ok(Inbound {
            each,
            when,
            id,
            chat,
            text,
            format,
            sender,
            sent_at,
            role,
            attributes,
            bot_id,
            challenge,
            keeps,
            max_elements,
        }),
        _ => Err(problems),
    }
}

impl Inbound {
    /// The echo that a GET asks for. Nobody is verified yet, so it says nothing but what came, and nothing is parsed
    /// that the expression doesn't name.
    pub fn handshake(&self, raw: &RawWebhook) -> Option<Answer> {
        let challenge = self.challenge.as_ref().filter(|_| raw.method == reqwest::Method::GET)?;
        let request = if challenge.uses("body") { Request::read(raw).ok()? } else { Request::head(raw) };
        self.challenge(&request, raw)
    }

    /// Whether a GET with this head may bring its challenge in a body.
    pub fn challenge_in_body(&self, head: &RawWebhook) -> bool {
        head.method == reqwest::Method::GET && self.challenge.as_ref().is_some_and(|challenge| challenge.uses("body"))
    }

    fn challenge(&self, request: &Request, raw: &RawWebhook) -> Option<Answer> {
        let challenge = self.challenge.as_ref()?;
        // A challenge that comes twice is none.
        let query = value_of(&Json::Object(only_once(&raw.query)));
        let value = challenge.eval(&Request { query, ..request.clone() }.variables(None)).ok()?;
        let body = match value.as_str() {
            Some(text) => text.to_owned(),
            None if value.is_integer() => value.to_string(),
            None => return None,
        };
        let short = !body.is_empty() && body.chars().count() <= MAX_CHALLENGE;
        (short && !body.chars().any(char::is_control)).then_some(Answer { status: 200, body })
    }

    pub fn parse(&self, webhook: &Verified) -> Result<Parsed, Malformed> {
        let request = Request::read(webhook.raw()).map_err(Malformed::new)?;
        if let Some(answer) = self.challenge(&request, webhook.raw()) {
            return Ok(Parsed::Answer(answer));
        }
        let unreadable = |failed: Failed| Malformed::new(failed.to_string());
        let Some(each) = &self.each else {
            let event = self.element(&request, request.body.clone());
            return Ok(Parsed::Events(vec![event.unwrap_or_else(|failed| Event::Malformed(unreadable(failed)))]));
        };
        let list = each.eval(&request.variables(None)).map_err(unreadable)?;
        use minijinja::value::ValueKind;
        if !matches!(list.kind(), ValueKind::Seq | ValueKind::Iterable) {
            return Err(unreadable(Failed::new(each.key(), named(&list))));
        }
        let mut batch = Batch::new(self.max_elements);
        for item in list.try_iter().map_err(|_| Malformed::new("inbound.each: not a list"))? {
            batch.read(&item, |item| self.element(&request, item.clone()).map_err(unreadable));
        }
        Ok(batch.finish())
    }

    fn element(&self, request: &Request, item: Value) -> Result<Event, Failed> {
        let variables = request.variables(Some(item.clone()));
        if let Some(when) = &self.when
            && !when.eval(&variables)?.is_true()
        {
            return Ok(Event::Ignored("when"));
        }
        let (id, id_json) = identifier(&self.id, &variables)?;
        let (chat, chat_json) = identifier(&self.chat, &variables)?;
        let text = self.text.eval(&variables)?;
        let text = match text.as_str() {
            // PostgreSQL has no NUL in its texts.
            Some(text) => match self.format {
                Format::Text => text.replace('\0', ""),
                Format::Html => plain_text(text),
            },
            None if text.is_none() => String::new(),
            None => return Err(Failed::new(self.text.key(), named(&text))),
        };
        let sender = match &self.sender {
            Some(sender) => Some(identifier(sender, &variables)?.0),
            None => None,
        };
        let sent_at = match &self.sent_at {
            Some(sent_at) => sent_at_of(sent_at, &variables)?,
            None => None,
        };
        let role = match &self.role {
            Some(role) => role_of(role.key(), &role.eval(&variables)?)?,
            None => Role::User,
        };
        let user_attributes = match &self.attributes {
            Some(attributes) => attributes.eval(&variables)?,
            None => Map::new(),
        };
        let bot_id = match &self.bot_id {
            Some(expression) => bot_of(expression.key(), &expression.eval(&variables)?)?,
            None => None,
        };
        let mut address = json!({ "chat": chat_json, "id": id_json });
        if self.keeps == Keeps::Item
            && fits(&item, MAX_ITEM)
            && let Some(item) = json_of(&item)
            && let Some(address) = address.as_object_mut()
        {
            address.insert(ITEM.to_owned(), Json::String(item.to_string()));
        }
        Ok(Event::Message(Box::new(Incoming {
            delivery_key: DeliveryKey::new(id),
            room: chat.clone(),
            chat: ChatKey::new(chat),
            account: None,
            shared: sender.is_some(),
            sender,
            addressed: Addressed::Direct,
            role,
            text,
            user_attributes,
            bot_id,
            address: Address(address),
            sent_at,
            // It says how old a message is, not which came first.
            unordered: false,
            more_within: None,
        })))
    }
}

/// A webhook as the expressions see it.
#[derive(Clone)]
struct Request {
    body: Value,
    headers: Value,
    query: Value,
}

impl Request {
    fn read(raw: &RawWebhook) -> Result<Self, &'static str> {
        Ok(Self { body: body_of(raw)?, ..Self::head(raw) })
    }

    /// With an undefined body.
    fn head(raw: &RawWebhook) -> Self {
        let names: std::collections::BTreeSet<&str> = raw.headers.keys().map(|name| name.as_str()).collect();
        let headers = names.into_iter().filter_map(|name| {
            let values: Option<Vec<&str>> = raw.headers.get_all(name).iter().map(|value| value.to_str().ok()).collect();
            // RFC 9110, 5.3: one header given several times is a list.
            Some((name.to_owned(), Json::String(values?.join(", "))))
        });
        Self {
            body: Value::UNDEFINED,
            headers: value_of(&Json::Object(headers.collect())),
            query: value_of(&Json::Object(first_of_each(raw.query.iter().cloned()))),
        }
    }

    fn variables(&self, item: Option<Value>) -> Value {
        let shared = [("body", self.body.clone()), ("headers", self.headers.clone()), ("query", self.query.clone())];
        Value::from_pairs(shared.into_iter().chain(item.map(|item| ("item", item))))
    }
}

/// JSON, or the fields of a form; undefined where there is none (a GET).
fn body_of(raw: &RawWebhook) -> Result<Value, &'static str> {
    if raw.body.is_empty() {
        return Ok(Value::UNDEFINED);
    }
    if raw.is_form() {
        let fields = url::form_urlencoded::parse(&raw.body).map(|(key, value)| (key.into_owned(), value.into_owned()));
        return Ok(value_of(&Json::Object(first_of_each(fields))));
    }
    // Straight into the expressions' own values: what a large body becomes stands in memory once.
    serde_json::from_slice(&raw.body).map_err(|_| "body: neither JSON nor a form")
}

/// Of a key that is given several times the first counts.
fn first_of_each(pairs: impl Iterator<Item = (String, String)>) -> Map<String, Json> {
    let mut map = Map::new();
    for (key, value) in pairs {
        map.entry(key).or_insert(Json::String(value));
    }
    map
}

/// Without the keys that are given several times.
fn only_once(pairs: &[(String, String)]) -> Map<String, Json> {
    let mut values: std::collections::BTreeMap<&str, Option<&str>> = Default::default();
    for (key, value) in pairs {
        values.entry(key).and_modify(|value| *value = None).or_insert(Some(value));
    }
    values.into_iter().filter_map(|(key, value)| Some((key.to_owned(), Json::from(value?)))).collect()
}

/// The element that an address holds. Older addresses hold it as it is.
pub fn kept_item(address: &Json) -> Option<Value> {
    match address.get(ITEM) {
        Some(item) => serde_json::from_str(item.as_str()?).ok(),
        None => address.get("item").map(value_of),
    }
}

/// What names a message or a chat, as text and as it came.
fn identifier(expression: &Expression, variables: &Value) -> Result<(String, Json), Failed> {
    let value = expression.eval(variables)?;
    let json = json_of(&value).unwrap_or(Json::Null);
    match text_of_identifier(&json) {
        Ok(text) => Ok((text, json)),
        Err("") => Err(Failed::new(expression.key(), named(&value))),
        Err(why) => Err(Failed::new(expression.key(), why)),
    }
}

/// The text of a non-empty string or an integer; otherwise what is wrong, empty where it is the type.
pub fn text_of_identifier(json: &Json) -> Result<String, &'static str> {
    match json {
        Json::String(text) if text.trim().is_empty() => Err("an empty string"),
        Json::String(text) if text.chars().count() > MAX_ID => Err("longer than 1024 characters"),
        Json::String(text) if text.contains('\0') => Err("a string with a NUL in it"),
        Json::String(text) => Ok(text.clone()),
        Json::Number(number) if number.is_i64() || number.is_u64() => Ok(number.to_string()),
        _ => Err(""),
    }
}

/// `None` where the platform didn't say.
fn sent_at_of(expression: &Expression, variables: &Value) -> Result<Option<Timestamp>, Failed> {
    let value = match expression.eval(variables) {
        Ok(value) if value.is_none() => return Ok(None),
        Ok(value) => value,
        Err(failed) if failed.is_undefined() => return Ok(None),
        Err(failed) => return Err(failed),
    };
    let why = "neither seconds or milliseconds since the epoch nor RFC 3339";
    time::moment_of(&value).map(Some).ok_or_else(|| Failed::new(expression.key(), why))
}

fn role_of(key: &'static str, value: &Value) -> Result<Role, Failed> {
    match value.as_str() {
        Some("user") => Ok(Role::User),
        Some("agent") => Ok(Role::Agent),
        Some("otherbot") => Ok(Role::OtherBot),
        _ => Err(Failed::new(key, "neither user, agent nor otherbot")),
    }
}

fn bot_of(key: &'static str, value: &Value) -> Result<Option<BotId>, Failed> {
    match value.as_str() {
        Some(id) if !id.trim().is_empty() => Ok(Some(BotId::new(id))),
        None if value.is_none() => Ok(None),
        _ => Err(Failed::new(key, "neither a bot id nor none")),
    }
}

/// The type of a value, for a person.
pub fn named(value: &Value) -> &'static str {
    use minijinja::value::ValueKind;
    match value.kind() {
        ValueKind::Undefined => "undefined",
        ValueKind::None => "null",
        ValueKind::Bool => "a boolean",
        ValueKind::Number if value.is_integer() => "an integer",
        ValueKind::Number => "a number that is no integer",
        ValueKind::String => "a string",
        ValueKind::Seq => "a list",
        ValueKind::Map => "an object",
        _ => "not JSON",
    }
}

/// As JSON, without what is undefined in it.
pub fn json_of(value: &Value) -> Option<Json> {
    use minijinja::value::ValueKind;
    match value.kind() {
        ValueKind::Undefined => None,
        ValueKind::Map => {
            let members = value.try_iter().ok()?.filter_map(|key| {
                let member = json_of(&value.get_item(&key).ok()?)?;
                Some((key.as_str().map_or_else(|| key.to_string(), str::to_owned), member))
            });
            Some(Json::Object(members.collect()))
        }
        ValueKind::Seq => Some(Json::Array(value.try_iter().ok()?.filter_map(|value| json_of(&value)).collect())),
        _ => serde_json::to_value(value).ok(),
    }
}
