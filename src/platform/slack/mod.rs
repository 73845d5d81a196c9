//! Slack: the Events API over HTTP in, `chat.postMessage` out.
//!
//! Answers for Slack's words: which events are a person's message, which thread they belong to, how Slack
//! escapes text, what its error words mean. Knows nothing of lanes, retries and splitting.

mod agent_view;
mod content;
mod wire;

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Account, Answer, Common, Delivery, Event, Idempotency, Malformed, NoSample, ONE_A_SECOND, Pace, Parsed, Platform,
    Recipient, Registration, Rendering, Sample, SampleOf, SendError, SendFailure, Surroundings, ThrottleScope,
    json as read, per_second, sample,
};
use agent_view::AgentView;
use content::Bot;

use crate::domain::clock::Timestamp;
use crate::domain::id::{ChatKey, DeliveryKey};
use crate::domain::message::{
    Address, Addressed, DeliveryReport, Incoming, Part, Receipt, Reply, ReplyKind, ReportOutcome, Reported, Role,
};
use crate::domain::problem::Problem;
use crate::domain::secret::{Secret, Secrets};
use crate::http::Response;
use crate::signature::{
    Algorithm, Encoding, Hmac, RawWebhook, Refused, Signed, TimestampHeader, Verified, Verifier as _,
};
use crate::text::{self, Dialect, Limit, Unit};

const API_BASE: &str = "https://slack.com/api";
/// docs.slack.dev/authentication/verifying-requests-from-slack: five minutes, either side (as slack_sdk does).
const TOLERANCE: Duration = Duration::from_secs(300);
/// chat.postMessage: "limit to 4,000 characters"; truncated only above 40,000.
const LIMIT: Limit = Limit { max: 4000, unit: Unit::Chars };
/// docs.slack.dev/apis/web-api/rate-limits: about one message a second per channel, several hundred a minute.
const PACE: Pace = Pace { channel: Some(per_second(5)), chat: Some(ONE_A_SECOND) };
const TIMEOUT: Duration = Duration::from_secs(15);
/// `chat.postMessage` sends the message back, blocks and all.
const MAX_ANSWER: usize = 1024 * 1024;
const SIGNATURE: &str = "x-slack-signature";
const TIMESTAMP: &str = "x-slack-request-timestamp";
/// Slack's own voices: its bot, and the notes that it writes in direct chats.
const SLACKS_OWN: [&str; 2] = ["USLACKBOT", "USLACK"];
/// assistant.threads.setStatus: "a two minute timeout applies".
const STATUS: Duration = Duration::from_secs(100);
/// In the address of a message that came before `auth.test` told whose token it is: whose the message may be.
const ACCOUNTS: &str = "accounts";

/// `[channels.NAME]` with `platform = "slack"`.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
pub struct Config {
    /// Basic Information, App Credentials, Signing Secret; a list during a rotation.
    pub signing_secret: Secrets,
    /// OAuth & Permissions, Bot User OAuth Token: `xoxb-…`.
    pub bot_token: Secret,
    /// The app has Slack's surface for agents: each thread in the direct chat is a chat of its own.
    pub agent_view: Option<AgentView>,
}

pub fn build(config: &Config, common: &Common, around: &Surroundings) -> Result<Arc<dyn Platform>, Vec<Problem>> {
    let mut problems = Vec::new();
    if config.signing_secret.0.is_empty() || config.signing_secret.0.iter().any(|secret| secret.expose().is_empty()) {
        problems.push(Problem::new("signing_secret", "is empty", "the app's Signing Secret, as \"env:NAME\""));
    }
    if !is_token(config.bot_token.expose()) {
        problems.push(Problem::new(
            "bot_token",
            "is no token for a bot",
            "the Bot User OAuth Token (xoxb-…), as \"env:NAME\"",
        ));
    }
    problems.extend(config.agent_view.as_ref().and_then(AgentView::problems));
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Arc::new(Slack {
        signature: Hmac {
            secrets: config.signing_secret.0.clone(),
            algorithm: Algorithm::Sha256,
            header: SIGNATURE.to_owned(),
            field: None,
            encoding: Encoding::Hex,
            prefix: "v0=".to_owned(),
            signed: vec![
                Signed::Literal("v0:".to_owned()),
                Signed::Timestamp,
                Signed::Literal(":".to_owned()),
                Signed::Body,
            ],
            timestamp: Some(TimestampHeader { name: TIMESTAMP.to_owned(), field: None, tolerance: TOLERANCE }),
        },
        bot_token: config.bot_token.clone(),
        agent_view: config.agent_view.clone(),
        api: common.api_base.as_deref().unwrap_or(API_BASE).trim_end_matches('/').to_owned(),
        around: around.clone(),
        me: OnceLock::new(),
    }))
}

/// `xoxb-…`, and `xoxe.xoxb-…` where tokens rotate.
fn is_token(token: &str) -> bool {
    token.contains("xoxb-") && token.bytes().all(|byte| byte.is_ascii_graphic())
}

struct Slack {
    signature: Hmac,
    bot_token: Secret,
    agent_view: Option<AgentView>,
    api: String,
    around: Surroundings,
    /// Once `auth.test` has told.
    me: OnceLock<Me>,
}

/// Who the token belongs to.
struct Me {
    team_id: String,
    user_id: String,
    name: Option<String>,
    line: String,
}

impl Slack {
    async fn call(&self, method: &str, body: &Value) -> Result<Response, SendError> {
        let request = self
            .around
            .http
            .request(Method::POST, &format!("{}/{method}", self.api))
            .bearer_auth(self.bot_token.expose())
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .body(body.to_string());
        Ok(self.around.http.send(request, TIMEOUT, MAX_ANSWER).await?)
    }

    /// The answer's JSON, if Slack says `ok`.
    fn judge(&self, response: &Response) -> Result<Value, SendFailure> {
        let now = self.around.clock.now();
        let unknown = |reason: &str| SendError::Unknown { reason: reason.to_owned() };
        let error = match response.json::<Value>() {
            _ if !response.status.is_success() => match SendError::from_status(response, now) {
                SendError::Throttled { reason, after, .. } => {
                    SendError::Throttled { reason, after, scope: ThrottleScope::ChatOrAccount }
                }
                error => error,
            },
            None => unknown("the answer is not JSON"),
            Some(answer) => match answer.get("ok").and_then(Value::as_bool) {
                Some(true) => return Ok(answer),
                Some(false) => {
                    let word = answer.get("error").and_then(Value::as_str).unwrap_or_default();
                    wire::refusal(word, response.retry_after(now))
                }
                None => unknown("the answer does not say ok"),
            },
        };
        Err(error.answered(response))
    }

    async fn learn(&self) -> Result<&Me, SendError> {
        let answer = self.judge(&self.call("auth.test", &json!({})).await?)?;
        let field = |pointer| read::text(&answer, pointer).map(str::to_owned);
        let unreadable = |_| SendError::Unknown { reason: "auth.test answers without ids".to_owned() };
        let (team_id, user_id) = (field("/team_id").map_err(unreadable)?, field("/user_id").map_err(unreadable)?);
        let name = |pointer| read::optional_text(&answer, pointer).ok().flatten().unwrap_or("?");
        let line = format!("bot @{} ({user_id}) in {} ({team_id})", name("/user"), name("/team"));
        let name = read::optional_text(&answer, "/user").ok().flatten().map(str::to_owned);
        Ok(self.me.get_or_init(|| Me { team_id, user_id, name, line }))
    }

    fn event(&self, body: &Value) -> Result<Event, Malformed> {
        // What concerns an organisation has no team.
        let team = read::optional_text(body, "/team_id")?;
        let me = self.me.get();
        if let (Some(me), Some(team)) = (me, team)
            && wire::accounts(body, team).all(|account| account != me.team_id)
        {
            return Ok(Event::Ignored("other_account"));
        }
        if let Some(part) = wire::echo_of(body) {
            let of = Reported::Part(part);
            return Ok(Event::Report(DeliveryReport { of, outcome: ReportOutcome::Taken }));
        }
        if let Some(view) = &self.agent_view
            && let Some(event) = view.started(body)?
        {
            return Ok(event);
        }
        let message = match wire::message(body)? {
            Ok(message) => message,
            Err(word) => return Ok(Event::Ignored(word)),
        };
        let team = read::text(body, "/team_id")?;
        let is_own = |user: &str| me.is_some_and(|me| me.user_id == user) || wire::is_installed(body, user);
        if SLACKS_OWN.contains(&message.user) || is_own(message.user) {
            return Ok(Event::Ignored("bot"));
        }
        let said = content::read(body, &Bot { is_own: &is_own, name: me.and_then(|me| me.name.as_deref()) })?;
        let thread = message.thread_ts.filter(|root| *root != message.ts);
        let addressed = match () {
            () if message.direct => Addressed::Direct,
            () if message.app_mention || said.names_us => Addressed::Mention,
            () if thread.is_some() => Addressed::Thread,
            () => Addressed::Room,
        };
        let root = thread.unwrap_or(message.ts);
        let (chat, thread_ts) = match thread {
            _ if !message.direct => (format!("{team}:{}:{root}", message.channel), Some(root)),
            Some(root) if self.agent_view.is_some() => (format!("{team}:{}:{root}", message.channel), thread),
            _ => (format!("{team}:{}", message.channel), thread),
        };
        let mut address = json!({ "channel": message.channel, "thread_ts": thread_ts });
        if me.is_none() {
            read::set(&mut address, ACCOUNTS, json!(wire::accounts(body, team).collect::<BTreeSet<_>>()));
        }
        Ok(Event::Message(Box::new(Incoming {
            // Not `event_id`: a message that mentions the bot comes twice, as `message` and as
            // `app_mention`, under two event ids.
            delivery_key: DeliveryKey::new(format!("{team}:{}:{}", message.channel, message.ts)),
            chat: ChatKey::new(chat),
            room: message.channel.to_owned(),
            account: Some(team.to_owned()),
            sender: Some(message.user.to_owned()),
            shared: !message.direct,
            addressed,
            role: Role::User,
            text: said.text,
            user_attributes: Map::new(),
            bot_id: None,
            address: Address(address),
            sent_at: Some(message.sent_at),
            unordered: true,
            more_within: None,
        })))
    }
}

#[async_trait]
impl Platform for Slack {
    fn name(&self) -> &'static str {
        "slack"
    }

    /// `ssl_check=1` comes without a signature, to probe the certificate. It gets its 200 and nothing else,
    /// whatever it carries besides.
    fn handshake(&self, raw: &RawWebhook) -> Option<Answer> {
        let probe = raw.is_form()
            && url::form_urlencoded::parse(&raw.body).any(|(key, value)| key == "ssl_check" && value == "1");
        probe.then(|| Answer { status: 200, body: String::new() })
    }

    fn handshake_in_body(&self, head: &RawWebhook) -> bool {
        head.is_form()
    }

    fn precheck(&self, head: &RawWebhook, now: Timestamp) -> Result<(), Refused> {
        self.signature.precheck(head, now)
    }

    fn verify(&self, raw: RawWebhook, now: Timestamp) -> Result<Verified, Refused> {
        self.signature.verify(raw, now)
    }

    fn parse(&self, webhook: &Verified) -> Result<Parsed, Malformed> {
        if webhook.raw().is_form() {
            return Ok(Parsed::Events(vec![Event::Ignored(wire::form_kind(webhook.body()))]));
        }
        let body = read::object(webhook.body())?;
        Ok(match read::text(&body, "/type")? {
            "url_verification" => {
                Parsed::Answer(Answer { status: 200, body: read::text(&body, "/challenge")?.to_owned() })
            }
            "event_callback" => Parsed::Events(vec![self.event(&body)?]),
            "app_rate_limited" => Parsed::Events(vec![Event::Ignored("rate_limited")]),
            _ => Parsed::Events(vec![Event::Ignored("other_type")]),
        })
    }

    async fn prepare(&self) {
        if self.me.get().is_none() {
            let _ = self.learn().await;
        }
    }

    fn recipient(&self, address: &Address) -> Recipient {
        let Some(accounts) = address.0.get(ACCOUNTS).and_then(Value::as_array) else { return Recipient::Us };
        match self.me.get() {
            None => Recipient::Unknown,
            Some(me) if accounts.iter().any(|account| *account == me.team_id) => Recipient::Us,
            Some(_) => Recipient::OtherAccount,
        }
    }

    fn greeting(&self, address: &Address) -> Option<&str> {
        self.agent_view.as_ref()?.greeting(address)
    }

    fn render(&self, reply: &Reply, chat: &Rendering<'_>) -> Result<Vec<Part>, Malformed> {
        let prompts = self.agent_view.as_ref().and_then(|view| view.prompts(chat.address));
        Ok(match reply.kind {
            ReplyKind::Message => text::render(&reply.text, Dialect::Slack, Some(LIMIT)),
            ReplyKind::NoReply | ReplyKind::Handoff | ReplyKind::Failed => Vec::new(),
        }
        .into_iter()
        .map(|piece| Part(Value::String(piece.text)))
        .chain(prompts.filter(|_| reply.kind == ReplyKind::Message))
        .collect())
    }

    async fn send(&self, delivery: Delivery<'_>) -> Result<Receipt, SendFailure> {
        if let Some(body) = agent_view::set_prompts(delivery.part, delivery.address) {
            // A decoration: without its scope the answers go out all the same.
            return match self.judge(&self.call("assistant.threads.setSuggestedPrompts", &body).await?) {
                Err(failure) if matches!(failure.error, SendError::Retry { .. } | SendError::Throttled { .. }) => {
                    Err(failure)
                }
                _ => Ok(Receipt(None)),
            };
        }
        let unusable = |_| SendError::Permanent { reason: "no_address".to_owned() };
        let mut body = json!({
            "channel": read::text(&delivery.address.0, "/channel").map_err(unusable)?,
            "text": delivery.part.0,
            "unfurl_links": false,
            "unfurl_media": false,
            "metadata": wire::mark(delivery.id),
        });
        if let Some(root) = read::optional_text(&delivery.address.0, "/thread_ts").map_err(unusable)? {
            read::set(&mut body, "thread_ts", json!(root));
        }
        let answer = self.judge(&self.call("chat.postMessage", &body).await?)?;
        Ok(Receipt(read::optional_text(&answer, "/ts").ok().flatten().map(str::to_owned)))
    }

    /// What the app posts comes back to it as an event, with the metadata that it was posted with.
    fn idempotency(&self) -> Idempotency {
        Idempotency::Reported
    }

    fn pace(&self) -> Pace {
        PACE
    }

    /// In a thread. A direct chat without one has no such sign.
    /// Slack limits each method by itself: a 429 here says nothing of replies.
    async fn typing(&self, address: &Address) -> Result<(), SendError> {
        if let Some(body) = agent_view::status(address) {
            let _ = self.call("assistant.threads.setStatus", &body).await;
        }
        Ok(())
    }

    fn typing_lasts(&self) -> Option<Duration> {
        Some(STATUS)
    }

    async fn check(&self) -> Result<Option<Account>, SendError> {
        Ok(Some(self.learn().await?.line.clone()))
    }

    async fn register(&self, url: &str) -> Result<Registration, SendError> {
        Ok(Registration::ByHand(vec![
            "Open https://api.slack.com/apps and choose the app.".to_owned(),
            "OAuth & Permissions, Bot Token Scopes: add chat:write, app_mentions:read, im:history, and \
             channels:history, groups:history, mpim:history where the bot shall follow threads."
                .to_owned(),
            format!("Event Subscriptions: switch on, Request URL: {url} (must turn to Verified)."),
            "Subscribe to bot events: app_mention, message.im, and message.channels, message.groups, message.mpim \
             for threads. Save."
                .to_owned(),
            "Install the app in the workspace again, and invite the bot to its channels.".to_owned(),
        ]))
    }

    fn sample(&self, of: &SampleOf<'_>, now: Timestamp) -> Result<Sample, NoSample> {
        let (team, bot) = match self.me.get() {
            Some(me) => (me.team_id.as_str(), me.user_id.as_str()),
            None => ("T00SAMPLE", "U00SAMPLEBOT"),
        };
        let channel = of.chat.unwrap_or("D00SAMPLE");
        let ts = format!("{}.{:06}", now.as_secs(), sample::number(of.id) % 1_000_000);
        let body = wire::sample(of, team, bot, channel, &ts);
        let mut raw = sample::unsigned(of.url, &body);
        sample::add_header(&mut raw, TIMESTAMP, &now.as_secs().to_string())?;
        let signature = self.signature.sign(&raw).ok_or_else(|| NoSample("there is no signing secret".to_owned()))?;
        sample::add_header(&mut raw, SIGNATURE, &signature)?;
        Ok(sample::finish(raw, DeliveryKey::new(format!("{team}:{channel}:{ts}"))))
    }
}
