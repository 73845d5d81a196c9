//! The four calls, and what each of Fini's answers means for the caller.
//!
//! Generate Answer is not idempotent and has no idempotency key, so every outcome is sorted by one
//! question: may the message have been stored? This room never sends anything twice; who asks decides.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::wire::{decode_agents, decode_events, read_json};
use super::{Agent, Api, Ask, AskError, Conversation, Direction, Event, Page, Query, ReadError, Target};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::id::InteractionId;
use crate::domain::secret::Secret;
use crate::http::{self, Http, Response};

const ANSWER_PATH: &str = "/v2/hc-interactions/events/public";
const LIST_PATH: &str = "/v2/hc-interactions/public";
const AGENTS_PATH: &str = "/v2/bots/public";

/// A read comes from Fini's store at once or not at all; only an answer takes its time.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// A hundred long conversations on one page of the list reach several MiB.
const MAX_BODY: usize = 32 << 20;
/// Of an error's text, in characters.
const MAX_DETAIL: usize = 500;
/// RFC 3986, unreserved.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One workspace of Fini, by its key. Clones share everything.
#[derive(Clone)]
pub struct Client {
    workspace: Arc<Workspace>,
}

struct Workspace {
    http: Http,
    /// Without a `/` at the end.
    base_url: String,
    key: Secret,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// `timeout` is how long one answer may take, from the start of the call to the last byte.
    pub fn new(http: Http, base_url: &str, key: Secret, timeout: Duration, clock: Arc<dyn Clock>) -> Self {
        let base_url = base_url.trim_end_matches('/').to_owned();
        Self { workspace: Arc::new(Workspace { http, base_url, key, timeout, clock }) }
    }

    /// Generate Answer: the stored message and what was created while handling it, in Fini's order.
    pub async fn generate_answer(&self, ask: &Ask<'_>) -> Result<Vec<Event>, AskError> {
        let mut body = json!({
            "content": ask.content,
            "role": ask.role.as_str(),
            "metadata": { "channel": ask.channel, "user_attributes": ask.user_attributes },
        });
        let (target, id) = match ask.target {
            Target::Conversation(id) => ("interactionId", id.as_str()),
            Target::Agent(id) => ("botId", id.as_str()),
        };
        if let Some(fields) = body.as_object_mut() {
            fields.insert(target.to_owned(), Value::from(id));
        }
        let request = self.request(Method::POST, ANSWER_PATH).json(&body);
        let response =
            self.workspace.http.send(request, self.workspace.timeout, MAX_BODY).await.map_err(|error| match error {
                http::Error::NotSent(reason) => AskError::NotSent(reason),
                http::Error::Unknown(reason) => AskError::Unknown { answered: false, reason: reason.to_owned() },
            })?;
        judge_answer(&response, self.workspace.clock.now())
    }

    /// List conversations: one page.
    pub async fn list_conversations(&self, query: &Query) -> Result<Page, ReadError> {
        let request = self.request(Method::GET, LIST_PATH).query(&parameters(query));
        self.read(request, Page::decode).await
    }

    /// Get conversation. An unknown, deleted or foreign id looks like [`ReadError::Failed`] with 500.
    pub async fn get_conversation(&self, id: &InteractionId) -> Result<Conversation, ReadError> {
        // As a path segment these would name another resource, encoded or not.
        if matches!(id.as_str(), "" | "." | "..") {
            return Err(ReadError::Rejected { status: 400, detail: "not a conversation id".to_owned() });
        }
        let path = format!("/v2/hc-interactions/{}/public", utf8_percent_encode(id.as_str(), SEGMENT));
        // Another conversation than the one asked for must never be taken for it.
        self.read(self.request(Method::GET, &path), |raw| {
            Conversation::decode(raw).filter(|found| found.id.as_str().eq_ignore_ascii_case(id.as_str()))
        })
        .await
    }

    /// List agents: all of the workspace.
    pub async fn list_agents(&self) -> Result<Vec<Agent>, ReadError> {
        self.read(self.request(Method::GET, AGENTS_PATH), decode_agents).await
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.workspace.base_url);
        self.workspace.http.request(method, &url).bearer_auth(self.workspace.key.expose())
    }

    async fn read<T>(
        &self,
        request: reqwest::RequestBuilder,
        decode: impl FnOnce(Value) -> Option<T>,
    ) -> Result<T, ReadError> {
        let response =
            self.workspace.http.send(request, READ_TIMEOUT, MAX_BODY).await.map_err(|error| match error {
                http::Error::NotSent(reason) | http::Error::Unknown(reason) => ReadError::NoAnswer(reason.to_owned()),
            })?;
        judge_read(&response, self.workspace.clock.now())?;
        let read = read_json(&response.body).and_then(decode);
        read.ok_or_else(|| ReadError::NoAnswer(unreadable(&response.body).to_owned()))
    }
}

#[async_trait]
impl Api for Client {
    async fn generate_answer(&self, ask: &Ask<'_>) -> Result<Vec<Event>, AskError> {
        Self::generate_answer(self, ask).await
    }

    async fn list_conversations(&self, query: &Query) -> Result<Page, ReadError> {
        Self::list_conversations(self, query).await
    }

    async fn get_conversation(&self, id: &InteractionId) -> Result<Conversation, ReadError> {
        Self::get_conversation(self, id).await
    }
}

fn parameters(query: &Query) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    let mut put = |name, value: Option<String>| all.extend(value.map(|value| (name, value)));
    put("since", query.since.map(|at| at.as_millis().to_string()));
    put("until", query.until.map(|at| at.as_millis().to_string()));
    put("limit", query.limit.map(|limit| limit.to_string()));
    if query.cursor.is_some() {
        let direction = match query.direction {
            Direction::Next => "next",
            Direction::Previous => "previous",
        };
        put("direction", Some(direction.to_owned()));
    }
    put("cursor", query.cursor.clone());
    put("agentId", query.agent.as_ref().map(|id| id.as_str().to_owned()));
    put("source", (!query.source.is_empty()).then(|| query.source.join(",")));
    put("channel", (!query.channel.is_empty()).then(|| query.channel.join(",")));
    all
}

fn judge_answer(response: &Response, now: Timestamp) -> Result<Vec<Event>, AskError> {
    let status = response.status;
    if status.is_success() {
        return read_json(&response.body)
            .and_then(decode_events)
            .ok_or_else(|| AskError::Unknown { answered: true, reason: unreadable(&response.body).to_owned() });
    }
    let envelope = Envelope::read(response);
    let detail = || envelope.detail(status);
    Err(match status.as_u16() {
        429 => AskError::Throttled { retry_after: response.retry_after(now) },
        401 | 403 => AskError::Key { status: status.as_u16(), detail: detail() },
        // A request time-out is told by whoever waited; the work behind it may go on.
        408 => AskError::Unknown { answered: envelope.is_finis(), reason: code(status) },
        // A redirect was not followed, and whoever redirects has processed nothing: no use in repeating it.
        300..=499 => AskError::Rejected { status: status.as_u16(), detail: detail() },
        _ => AskError::Unknown { answered: envelope.is_finis(), reason: code(status) },
    })
}

fn judge_read(response: &Response, now: Timestamp) -> Result<(), ReadError> {
    let status = response.status;
    if status.is_success() {
        return Ok(());
    }
    let envelope = Envelope::read(response);
    Err(match status.as_u16() {
        429 => ReadError::Throttled { retry_after: response.retry_after(now) },
        401 => ReadError::Key { status: 401, detail: envelope.detail(status) },
        403 if envelope.is_finis() => ReadError::Key { status: 403, detail: envelope.detail(status) },
        // Somebody in between: it says nothing of the key.
        403 => ReadError::NoAnswer(code(status)),
        408 => ReadError::NoAnswer(code(status)),
        300..=499 => ReadError::Rejected { status: status.as_u16(), detail: envelope.detail(status) },
        _ if envelope.is_finis() => ReadError::Failed { status: status.as_u16() },
        _ => ReadError::NoAnswer(code(status)),
    })
}

/// Why a success can't be read. Web pages come from a wrong address.
fn unreadable(body: &[u8]) -> &'static str {
    match body.trim_ascii_start().first() {
        Some(b'<') => "a web page: fini.base_url is not Fini's address",
        _ => "unreadable",
    }
}

/// The name of an outcome, as stored and counted.
fn code(status: StatusCode) -> String {
    format!("fini_{}", status.as_u16())
}

/// `{"statusCode":403,"message":"…","error":"Forbidden"}`, or something a proxy on the way wrote.
enum Envelope {
    Finis { message: Option<String> },
    Foreign,
}

impl Envelope {
    fn read(response: &Response) -> Self {
        let Some(Value::Object(fields)) = read_json(&response.body) else { return Self::Foreign };
        // Gateways write `{"message":"Endpoint request timed out"}` under their own 503 and 504 while
        // the server behind them is still at work: only the whole envelope counts there.
        let whole = fields.get("statusCode").and_then(Value::as_u64) == Some(u64::from(response.status.as_u16()));
        let gateway = matches!(response.status.as_u16(), 408 | 502..=504 | 520..);
        if !whole && (gateway || !(fields.contains_key("message") || fields.contains_key("error"))) {
            return Self::Foreign;
        }
        let message = match fields.get("message").or_else(|| fields.get("error")) {
            Some(Value::String(text)) => Some(text.clone()),
            // One line for each rule that failed.
            Some(Value::Array(lines)) => Some(lines.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; ")),
            _ => None,
        };
        Self::Finis { message: message.filter(|text| !text.trim().is_empty()) }
    }

    fn is_finis(&self) -> bool {
        matches!(self, Self::Finis { .. })
    }

    fn detail(&self, status: StatusCode) -> String {
        match self {
            Self::Finis { message: Some(message) } => message.chars().take(MAX_DETAIL).collect(),
            Self::Finis { message: None } => "Fini gave no reason".to_owned(),
            Self::Foreign if status.is_redirection() => {
                "a redirect, which is not followed: fini.base_url may be wrong".to_owned()
            }
            Self::Foreign => "not Fini's form of an error: fini.base_url may be wrong, or a proxy answered".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};

    use super::*;
    use crate::domain::id::BotId;

    fn response(status: u16, body: &str) -> Response {
        let status = StatusCode::from_u16(status).unwrap();
        Response { status, headers: HeaderMap::new(), body: bytes::Bytes::copy_from_slice(body.as_bytes()) }
    }

    fn asked(status: u16, body: &str) -> AskError {
        judge_answer(&response(status, body), Timestamp::default()).unwrap_err()
    }

    fn envelope(status: u16) -> String {
        format!(r#"{{"statusCode":{status},"message":"quoted","error":"E"}}"#)
    }

    #[test]
    fn any_2xx_with_an_array_is_an_answer() {
        for status in [200, 201, 202] {
            let body = r#"[{"id":"e","role":"finibot","type":"message","message":"hi"}]"#;
            assert_eq!(judge_answer(&response(status, body), Timestamp::default()).unwrap().len(), 1);
        }
        assert_eq!(judge_answer(&response(200, "[]"), Timestamp::default()), Ok(vec![]));
    }

    #[test]
    fn a_web_page_points_at_the_base_url() {
        let reason = "a web page: fini.base_url is not Fini's address".to_owned();
        for page in ["<!doctype html><title>Welcome</title>", " \n<html>"] {
            assert_eq!(asked(200, page), AskError::Unknown { answered: true, reason: reason.clone() });
        }
    }

    #[test]
    fn an_unreadable_answer_is_an_unknown_outcome() {
        for body in ["", "{}", "null", r#"[{"id":"e"#, r#"{"interactions":[]}"#] {
            assert_eq!(asked(200, body), AskError::Unknown { answered: true, reason: "unreadable".to_owned() });
        }
    }

    #[test]
    fn whether_fini_is_done_with_a_failed_call_is_told_by_its_envelope() {
        let unknown = |status: u16, answered| AskError::Unknown { answered, reason: format!("fini_{status}") };
        for status in [408, 500, 502, 503, 504] {
            assert_eq!(asked(status, &envelope(status)), unknown(status, true));
            assert_eq!(asked(status, "<html>Bad gateway</html>"), unknown(status, false));
            assert_eq!(asked(status, ""), unknown(status, false));
        }
        assert_eq!(asked(500, r#"{"message":"Internal server error"}"#), unknown(500, true));
        assert_eq!(asked(504, r#"{"message":"Endpoint request timed out"}"#), unknown(504, false));
        assert_eq!(asked(599, "?"), unknown(599, false));
    }

    #[test]
    fn a_refusal_says_whether_it_is_the_key_or_the_message() {
        for status in [401, 403] {
            assert_eq!(asked(status, &envelope(status)), AskError::Key { status, detail: "quoted".to_owned() });
        }
        for status in [400, 404, 413, 422] {
            assert_eq!(asked(status, &envelope(status)), AskError::Rejected { status, detail: "quoted".to_owned() });
        }
        let lines = r#"{"statusCode":400,"message":["content is empty","botId is no UUID"],"error":"Bad Request"}"#;
        let detail = "content is empty; botId is no UUID".to_owned();
        assert_eq!(asked(400, lines), AskError::Rejected { status: 400, detail });
    }

    #[test]
    fn a_redirect_and_a_foreign_404_point_at_the_base_url() {
        for (status, body) in [(301, ""), (307, "<html>"), (404, "<html>"), (405, "")] {
            let AskError::Rejected { status: told, detail } = asked(status, body) else { panic!() };
            assert!(told == status && detail.contains("fini.base_url"), "{detail}");
        }
    }

    #[test]
    fn an_overlong_detail_is_cut() {
        let body = format!(r#"{{"statusCode":400,"message":"{}"}}"#, "é".repeat(9000));
        let AskError::Rejected { detail, .. } = asked(400, &body) else { panic!() };
        assert_eq!(detail.chars().count(), MAX_DETAIL);
    }

    #[test]
    fn a_429_carries_its_retry_after_where_there_is_one() {
        let mut throttled = response(429, &envelope(429));
        let judged = |response: &Response| judge_answer(response, Timestamp::default()).unwrap_err();
        assert_eq!(judged(&throttled), AskError::Throttled { retry_after: None });
        throttled.headers.insert(RETRY_AFTER, HeaderValue::from_static("7"));
        assert_eq!(judged(&throttled), AskError::Throttled { retry_after: Some(Duration::from_secs(7)) });
        let read = judge_read(&throttled, Timestamp::default());
        assert_eq!(read, Err(ReadError::Throttled { retry_after: Some(Duration::from_secs(7)) }));
    }

    #[test]
    fn a_failed_read_tells_finis_own_error_from_a_proxys() {
        let read = |status: u16, body: &str| judge_read(&response(status, body), Timestamp::default()).unwrap_err();
        assert_eq!(read(500, &envelope(500)), ReadError::Failed { status: 500 });
        assert_eq!(read(502, "<html>"), ReadError::NoAnswer("fini_502".to_owned()));
        assert_eq!(read(408, ""), ReadError::NoAnswer("fini_408".to_owned()));
        assert_eq!(read(400, &envelope(400)), ReadError::Rejected { status: 400, detail: "quoted".to_owned() });
        assert_eq!(read(403, &envelope(403)), ReadError::Key { status: 403, detail: "quoted".to_owned() });
        assert_eq!(read(403, "<html>"), ReadError::NoAnswer("fini_403".to_owned()), "not Fini's word on the key");
    }

    #[test]
    fn a_query_names_only_what_was_asked_for() {
        assert_eq!(parameters(&Query::default()), []);
        let query = Query {
            since: Some(Timestamp::from_millis(1)),
            until: Some(Timestamp::from_millis(2)),
            limit: Some(100),
            cursor: Some("c&d".to_owned()),
            direction: Direction::Previous,
            agent: Some(BotId::new("b")),
            source: vec!["api".to_owned(), "slack".to_owned()],
            channel: vec!["chat".to_owned()],
        };
        let expected = [
            ("since", "1"),
            ("until", "2"),
            ("limit", "100"),
            ("direction", "previous"),
            ("cursor", "c&d"),
            ("agentId", "b"),
            ("source", "api,slack"),
            ("channel", "chat"),
        ];
        assert_eq!(parameters(&query), expected.map(|(name, value)| (name, value.to_owned())));
    }
}
