//! From an answer to the request that posts it: the templates of `reply`.

use std::collections::BTreeMap;
use std::time::Duration;

use minijinja::Value;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::address::Address;
use super::inbound::{kept_item, text_of_identifier};
use super::lint::{self, BodyType};
use super::template::{Expression, Failed, Template, value_of};
use super::time;
use super::unique_keys;
use super::verify::word;
use crate::domain::clock::Timestamp;
use crate::domain::message::{Part, Receipt, Reply as Answer, ReplyKind};
use crate::domain::problem::Problem;
use crate::domain::secret::Expanded;
use crate::http::{Http, Response};
use crate::platform::{Delivery, SendError, SendFailure};
use crate::text::{Dialect, Limit, Unit};

const NAMES: &[&str] = &["text", "chat", "id", "event", "item"];
pub const TIMEOUT: Duration = Duration::from_secs(15);
const MAX_ANSWER: usize = 1024 * 1024;

/// `[channels.NAME.reply]`: Jinja templates over `text`, `chat`, `id`, `event`, `item`.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Config {
    /// Where the reply goes. Scheme, host and port are literal; values behind them are encoded.
    pub url: Option<String>,
    /// By default `POST`.
    pub method: Option<String>,
    /// `${NAME}` comes from the environment. `content-type` is `application/json` unless given.
    pub headers: BTreeMap<String, Expanded>,
    /// What is sent. In JSON a value is escaped between quotes, and written as JSON elsewhere.
    pub body: Option<String>,
    /// How the chat writes bold, links and code; by default `markdown`: Fini's text unchanged.
    #[schemars(with = "Option<Dialect>")]
    pub format: Option<String>,
    /// Characters of one message; longer answers become several.
    #[schemars(range(min = 1))]
    pub max_length: Option<u64>,
    /// Over `response` (`status`, `headers`, `body`): true where a 2xx is a failure nevertheless.
    pub failed_when: Option<String>,
    /// Over `response`: when a request that was turned away (408, 425, 429, 5xx) may come again. Seconds from now, a
    /// time since the epoch (above 1e9 in seconds, above 1e12 in milliseconds) or RFC 3339; undefined: `Retry-After`.
    pub retry_after: Option<String>,
}

pub struct Reply {
    url: Address,
    method: Method,
    headers: HeaderMap,
    body: Option<Template>,
    body_type: BodyType,
    dialect: Dialect,
    limit: Option<Limit>,
    failed_when: Option<Expression>,
    retry_after: Option<Expression>,
}

/// A reply as it leaves.
pub struct Request {
    pub method: Method,
    pub url: url::Url,
    pub headers: HeaderMap,
    pub body: Option<String>,
}

pub fn build(config: &Config) -> Result<Reply, Vec<Problem>> {
    let mut problems = Vec::new();
    let url = match &config.url {
        Some(url) => Address::compile("reply.url", url, NAMES).map_err(|more| problems.extend(more)).ok(),
        None => {
            problems.push(Problem::new("reply.url", "is missing", "the address that a reply is posted to"));
            None
        }
    };
    let method = method(config.method.as_deref(), &mut problems);
    let mut headers = headers(&config.headers, &mut problems);
    if config.body.is_some() && !headers.contains_key(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let body_type = body_type(&headers);
    let body = config.body.as_ref().map(|source| template(source, body_type));
    let body = body.and_then(|result| result.map_err(|problem| problems.push(problem)).ok());
    if let (Some(body), Some(source)) = (body.as_ref().filter(|_| body_type == BodyType::Json), &config.body) {
        problems.extend(lint::problem(body, source));
    }
    if let Some(url) = &url
        && (config.body.is_none() || body.is_some())
        && !["text", "event"].iter().any(|name| url.uses(name) || body.as_ref().is_some_and(|body| body.uses(name)))
    {
        problems.push(Problem::new(
            "reply.body",
            "says the answer's text nowhere",
            "body = '{\"text\": {{ text|tojson }}}'",
        ));
    }
    let formats = ["markdown", "plain", "html", "slack", "telegram", "whatsapp"];
    let dialect = word("reply.format", config.format.as_deref(), &formats, &mut problems).unwrap_or_default();
    let limit = match config.max_length {
        Some(0) => {
            problems.push(Problem::new("reply.max_length", "leaves no room for text", "a number of characters"));
            None
        }
        Some(max) => Some(Limit { max: usize::try_from(max).unwrap_or(usize::MAX), unit: Unit::Chars }),
        None => None,
    };
    let mut over_response = |key: &'static str, source: &Option<String>| {
        let compiled = source.as_ref().map(|source| Expression::compile(key, source, &["response"]));
        compiled.and_then(|result| result.map_err(|problem| problems.push(problem)).ok())
    };
    let failed_when = over_response("reply.failed_when", &config.failed_when);
    let retry_after = over_response("reply.retry_after", &config.retry_after);
    match (url, method) {
        (Some(url), Some(method)) if problems.is_empty() => {
            Ok(Reply { url, method, headers, body, body_type, dialect, limit, failed_when, retry_after })
        }
        _ => Err(problems),
    }
}

fn method(given: Option<&str>, problems: &mut Vec<Problem>) -> Option<Method> {
    match given.unwrap_or("POST") {
        "POST" => Some(Method::POST),
        "PUT" => Some(Method::PUT),
        "PATCH" => Some(Method::PATCH),
        "GET" => Some(Method::GET),
        _ => {
            problems.push(Problem::new("reply.method", "is not known", "POST, PUT, PATCH or GET"));
            None
        }
    }
}

fn headers(given: &BTreeMap<String, Expanded>, problems: &mut Vec<Problem>) -> HeaderMap {
    let mut all = HeaderMap::new();
    for (name, value) in given {
        let key = format!("reply.headers.{name}");
        let Ok(name) = HeaderName::try_from(name.as_str()) else {
            problems.push(Problem::new(key, "is not the name of a header", "a name such as authorization"));
            continue;
        };
        if matches!(name.as_str(), "host" | "content-length" | "transfer-encoding" | "connection") {
            problems.push(Problem::new(key, "is set by the bridge itself", "nothing: take the key away"));
            continue;
        }
        let Ok(mut value) = HeaderValue::try_from(value.0.expose()) else {
            problems.push(Problem::new(key, "holds a character that no header can carry", "one line of ASCII"));
            continue;
        };
        value.set_sensitive(true);
        if all.insert(name, value).is_some() {
            problems.push(Problem::new(key, "is given twice", "one of them"));
        }
    }
    all
}

fn body_type(headers: &HeaderMap) -> BodyType {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map_or(BodyType::Other, BodyType::of)
}

fn template(source: &str, body_type: BodyType) -> Result<Template, Problem> {
    match body_type {
        BodyType::Json => Template::json("reply.body", source, NAMES),
        BodyType::Form | BodyType::Other => Template::text("reply.body", source, NAMES),
    }
}

/// What works and deserves a word.
pub fn warnings(config: &Config) -> Vec<Problem> {
    let given = config.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let body_type = given.map_or(BodyType::Json, |(_, value)| BodyType::of(value.0.expose()));
    let body = config.body.as_ref().and_then(|source| template(source, body_type).ok());
    let mut all: Vec<Problem> = body.as_ref().and_then(|body| lint::warning(body, body_type)).into_iter().collect();
    if let Some(Ok(url)) = config.url.as_ref().map(|url| Address::compile("reply.url", url, NAMES))
        && (config.body.is_none() || body.is_some())
        && !["chat", "item", "event"]
            .iter()
            .any(|name| url.uses(name) || body.as_ref().is_some_and(|body| body.uses(name)))
    {
        all.push(Problem::new(
            "reply.url",
            "names the chat neither here nor in the body: the answers of all chats go to one place",
            "{{ chat }} where the chat's id belongs",
        ));
    }
    all
}

impl Reply {
    /// Whether a template looks at what the user sent.
    pub fn uses_item(&self) -> bool {
        self.uses("item")
    }

    fn uses(&self, name: &str) -> bool {
        self.url.uses(name) || self.body.as_ref().is_some_and(|body| body.uses(name))
    }

    pub fn parts(&self, reply: &Answer) -> Vec<Part> {
        if reply.kind != ReplyKind::Message {
            return Vec::new();
        }
        let pieces = crate::text::render(&reply.text, self.dialect, self.limit);
        let event = self.uses("event").then_some(&reply.event);
        let part = |text: String| match event {
            Some(event) => Part(json!({ "text": text, "event": event })),
            None => Part(json!({ "text": text })),
        };
        pieces.into_iter().map(|piece| part(piece.text)).collect()
    }

    pub fn request(&self, delivery: &Delivery<'_>) -> Result<Request, Failed> {
        let member = |of: &Json, name: &str| of.get(name).map(value_of);
        // A text, whatever it came as: `{{ chat|int }}` makes a number of it.
        let chat = delivery.address.0.get("chat").and_then(|chat| text_of_identifier(chat).ok()).map(Value::from);
        let variables = Value::from_pairs(
            [
                ("text", member(&delivery.part.0, "text")),
                ("event", member(&delivery.part.0, "event")),
                ("chat", chat),
                ("item", kept_item(&delivery.address.0)),
                ("id", Some(Value::from(delivery.id.to_string()))),
            ]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?))),
        );
        let url = self.url.render(&variables)?;
        let body = self.body.as_ref().map(|body| body.render(&variables)).transpose()?;
        if let Some(body) = body.as_ref().filter(|_| self.body_type == BodyType::Json) {
            unique_keys::check(body).map_err(|why| Failed::new("reply.body", why))?;
        }
        Ok(Request { method: self.method.clone(), url, headers: self.headers.clone(), body })
    }

    pub async fn send(&self, http: &Http, delivery: &Delivery<'_>, now: Timestamp) -> Result<Receipt, SendFailure> {
        let request = self.request(delivery).map_err(permanent)?;
        let mut builder = http.request(request.method, request.url.as_str()).headers(request.headers);
        if let Some(body) = request.body {
            builder = builder.body(body);
        }
        let response = http.send(builder, TIMEOUT, MAX_ANSWER).await?;
        if !response.status.is_success() {
            return Err(self.turned_away(&response, now).answered(&response));
        }
        match &self.failed_when {
            Some(failed_when) if failed_when.eval(&seen(&response)).map_err(permanent)?.is_true() => {
                Err(SendError::Permanent { reason: "failed_when".to_owned() }.answered(&response))
            }
            _ => Ok(Receipt(None)),
        }
    }

    fn turned_away(&self, response: &Response, now: Timestamp) -> SendError {
        let mut error = SendError::from_status(response, now);
        if let (SendError::Retry { after, .. } | SendError::Throttled { after, .. }, Some(told)) =
            (&mut error, &self.retry_after)
        {
            // Where it says nothing that can be read, `Retry-After` counts.
            let told = told.eval(&seen(response)).ok().and_then(|value| time::wait_of(&value, now));
            *after = told.or(*after);
        }
        error
    }
}

/// The configuration doesn't fit this message; another try would end the same.
fn permanent(failed: Failed) -> SendError {
    SendError::Permanent { reason: failed.to_string() }
}

/// A response as `failed_when` sees it.
fn seen(response: &Response) -> Value {
    let headers = response
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), Json::String(value.to_str().ok()?.to_owned()))));
    let body = response.json::<Json>();
    let body = body.unwrap_or_else(|| Json::String(String::from_utf8_lossy(&response.body).into_owned()));
    let response = json!({
        "status": response.status.as_u16(),
        "headers": Json::Object(headers.collect()),
        "body": body,
    });
    value_of(&json!({ "response": response }))
}
