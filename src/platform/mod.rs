//! Connectors: one file a platform. A connector verifies, parses and speaks; it has no HTTP client, no
//! retry loop, no MAC comparison and no text splitting of its own, and it can't reach the store or Fini.

mod batch;
pub mod custom;
mod json;
mod sample;
pub mod slack;
pub mod telegram;
pub mod whatsapp;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use crate::domain::clock::{Clock, Timestamp};
use crate::domain::id::{DeliveryKey, PartId};
use crate::domain::message::{Address, ChatMove, DeliveryReport, Incoming, Part, Receipt, Reply};
use crate::domain::problem::Problem;
use crate::domain::span::Rate;
use crate::http::{Http, Response};
use crate::signature::{RawWebhook, Refused, Verified};

pub use batch::cut;
use batch::{Batch, fits};

/// Bytes of a body that are read for a handshake before its sender is known.
pub const HANDSHAKE_BODY: usize = 16 * 1024;

/// What a connector is given to live on.
#[derive(Clone)]
pub struct Surroundings {
    pub http: Http,
    pub clock: Arc<dyn Clock>,
}

/// An answer that a webhook gets at once, without a message behind it: a handshake, a challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Sent as `text/plain`.
    pub body: String,
}

/// What a verified webhook says.
#[derive(Debug)]
pub enum Parsed {
    /// Nothing but a challenge.
    Answer(Answer),
    /// In the webhook's own order. Empty is fine: nothing of ours in it.
    Events(Vec<Event>),
    /// Not in the form that both ends agreed on, and its sender can mend that: told so, and not kept.
    Rejected(Rejected),
}

/// What is wrong with a webhook whose sender is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    pub field: &'static str,
    /// Never quotes the value.
    pub detail: String,
}

#[derive(Debug)]
pub enum Event {
    Message(Box<Incoming>),
    /// A message of a person that holds nothing that can be read as text; its text is blank. The word is a metric label.
    Unreadable(&'static str, Box<Incoming>),
    Report(DeliveryReport),
    Moved(ChatMove),
    /// Authentic, of a kind that is not ours. The word is a metric label.
    Ignored(&'static str),
    /// Authentic, but not what the platform says it sends: kept as a failed message.
    Malformed(Malformed),
}

/// Why an authentic webhook, or one element of it, can't be read. `detail` names a field, never its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Malformed {
    /// Where the element has one; otherwise the intake makes one from the body's hash.
    pub delivery_key: Option<DeliveryKey>,
    /// A code: `malformed`, `too_many_elements`, `too_complex`.
    pub reason: &'static str,
    pub detail: String,
    /// What is kept of it, up to 64 KiB; `None`: the beginning of the body.
    pub raw: Option<String>,
}

impl Malformed {
    pub fn new(detail: impl Into<String>) -> Self {
        Self { delivery_key: None, reason: "malformed", detail: detail.into(), raw: None }
    }
}

/// A part on its way.
#[derive(Debug)]
pub struct Delivery<'a> {
    /// Stable over retries.
    pub id: PartId,
    pub address: &'a Address,
    pub part: &'a Part,
}

/// Why a part was not taken. Says what can be done about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Not taken, and may be taken later.
    #[error("{reason}; try again")]
    Retry { reason: String, after: Option<Duration> },
    /// Not taken: too much was sent. A limit of the chat alone is [`SendError::Retry`].
    #[error("{reason}: throttled")]
    Throttled { reason: String, after: Option<Duration>, scope: ThrottleScope },
    /// Never will be.
    #[error("{reason}")]
    Permanent { reason: String },
    /// The credential is broken: a person is needed, everything for this channel waits.
    #[error("{reason}: the credential is refused")]
    Credential { reason: String },
    /// May have been taken.
    #[error("{reason}: outcome unknown")]
    Unknown { reason: String },
    /// The chat lives at another address now; send there.
    #[error("the chat has moved")]
    Moved { address: Address },
}

/// Whom a platform throttles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThrottleScope {
    /// The account: nothing of the channel is taken now.
    Account,
    /// The platform gives one answer for a chat's limit and for the account's. Two chats that are throttled, and
    /// nothing taken in between, mean the account.
    ChatOrAccount,
}

impl SendError {
    /// What follows from an HTTP answer that is no success, where the platform says nothing more exact:
    /// 429 throttles the account, 408, 425 and 5xx come again, 401 and 403 ask for a person, the rest is final.
    pub fn from_status(response: &Response, now: Timestamp) -> Self {
        let reason = format!("http_{}", response.status.as_u16());
        match response.status.as_u16() {
            401 | 403 => Self::Credential { reason },
            429 => Self::Throttled { reason, after: response.retry_after(now), scope: ThrottleScope::Account },
            408 | 425 | 500..=599 => Self::Retry { reason, after: response.retry_after(now) },
            _ => Self::Permanent { reason },
        }
    }
}

impl From<crate::http::Error> for SendError {
    fn from(error: crate::http::Error) -> Self {
        match error {
            crate::http::Error::NotSent(why) => Self::Retry { reason: format!("not reached: {why}"), after: None },
            crate::http::Error::Unknown(why) => Self::Unknown { reason: why.to_owned() },
        }
    }
}

/// A part that was not taken, and what the other side said of it.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct SendFailure {
    pub error: SendError,
    /// The beginning of the answer, for the person who looks at the message: it may quote the text, so only the store
    /// holds it. `None`: there was no answer.
    pub detail: Option<String>,
}

/// Without what the other side said.
impl fmt::Debug for SendFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.error, f)
    }
}

impl SendError {
    /// With the answer's own words.
    pub fn answered(self, response: &Response) -> SendFailure {
        SendFailure { error: self, detail: Some(response.excerpt()) }
    }
}

impl From<SendError> for SendFailure {
    fn from(error: SendError) -> Self {
        Self { error, detail: None }
    }
}

impl From<SendFailure> for SendError {
    fn from(failure: SendFailure) -> Self {
        failure.error
    }
}

impl From<crate::http::Error> for SendFailure {
    fn from(error: crate::http::Error) -> Self {
        SendError::from(error).into()
    }
}

/// For whom a message is that came in before the connector knew who it is on the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient {
    Us,
    /// An account that the channel isn't configured for.
    OtherAccount,
    /// Another bot in the same room.
    OtherBot,
    /// [`Platform::prepare`] has not learnt it yet.
    Unknown,
}

/// How a send whose outcome is unknown may be settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idempotency {
    /// The platform knows the part's id again: sending twice does no harm.
    Key,
    /// The platform says a moment later which parts it has taken, each by its id, by way of a webhook: that is
    /// waited for, then `on_unknown` decides.
    Reported,
    /// Nothing of the kind: the channel's `on_unknown` decides.
    None,
}

/// How many parts and typing signs may go out in a time. `None`: as many as come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Of the whole channel.
    pub channel: Option<Rate>,
    /// Of each chat.
    pub chat: Option<Rate>,
}

/// Up to three a second, one a second over time: answers of several parts are common, and so are platforms that allow
/// short bursts.
const ONE_A_SECOND: Rate = Rate { count: 3, per: Duration::from_secs(3) };

const fn per_second(count: u32) -> Rate {
    Rate { count, per: Duration::from_secs(1) }
}

/// What `register` did or what is left to do by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registration {
    Done(String),
    /// Steps for a person, one a line.
    ByHand(Vec<String>),
}

/// What the credentials call says: one line for a person, such as `bot @acme_help_bot (6111111111)`.
pub type Account = String;

/// A sample webhook, signed as the platform would sign it.
pub struct Sample {
    pub method: reqwest::Method,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub delivery_key: DeliveryKey,
}

/// Why no sample can be made; shown to the person who asked.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoSample(pub String);

/// What a sample should say.
pub struct SampleOf<'a> {
    pub text: &'a str,
    /// `None`: the connector's own idea of a chat.
    pub chat: Option<&'a str>,
    pub id: &'a str,
    /// As the platform sees the webhook: `public_url` + `/webhooks/{channel}`.
    pub url: &'a str,
}

#[async_trait]
pub trait Platform: Send + Sync + 'static {
    /// The platform's word: configuration tag, metric label, `metadata.channel`.
    fn name(&self) -> &'static str;

    /// A request that carries no message and is authenticated in a way of its own: a GET handshake.
    /// `None`: not one, go on with `verify`. Asked with the head alone, then with a body of at most
    /// [`HANDSHAKE_BODY`].
    fn handshake(&self, _raw: &RawWebhook) -> Option<Answer> {
        None
    }

    /// Whether a handshake may stand in the body of a request with this head.
    fn handshake_in_body(&self, _head: &RawWebhook) -> bool {
        false
    }

    /// Whether a request with this head can be genuine. Where it can't, its body is not read.
    fn precheck(&self, head: &RawWebhook, now: Timestamp) -> Result<(), Refused>;

    fn verify(&self, raw: RawWebhook, now: Timestamp) -> Result<Verified, Refused>;

    /// Pure: looks at nothing but the webhook and what [`Platform::prepare`] has learnt.
    fn parse(&self, webhook: &Verified) -> Result<Parsed, Malformed>;

    /// Learns who we are on the platform, where parsing is better for knowing it. Cheap once it is known.
    async fn prepare(&self) {}

    /// For whom the message with this address is. Asked before it is worked on: a message that came in while the
    /// platform could not be reached is kept and not answered until this is known. Pure, like [`Platform::parse`].
    fn recipient(&self, _address: &Address) -> Recipient {
        Recipient::Us
    }

    /// What is said to the blank message with this address: an event that asks for words of the bridge's own, such as
    /// a greeting. Pure.
    fn greeting(&self, _address: &Address) -> Option<&str> {
        None
    }

    /// The parts of a reply, within the platform's limits. None for a kind that the platform has no use for.
    fn render(&self, reply: &Reply, chat: &Rendering<'_>) -> Result<Vec<Part>, Malformed>;

    async fn send(&self, delivery: Delivery<'_>) -> Result<Receipt, SendFailure>;

    fn idempotency(&self) -> Idempotency {
        Idempotency::None
    }

    /// What the platform documents; a channel may have its own.
    fn pace(&self) -> Pace;

    /// Shows that somebody is writing. Of its failures only [`SendError::Throttled`] matters.
    async fn typing(&self, _address: &Address) -> Result<(), SendError> {
        Ok(())
    }

    /// How long a typing sign stays; `None` where there is none.
    fn typing_lasts(&self) -> Option<Duration> {
        None
    }

    /// The credentials call; `None` where there is none.
    async fn check(&self) -> Result<Option<Account>, SendError>;

    /// Sets the webhook, where the platform has a call for it.
    async fn register(&self, url: &str) -> Result<Registration, SendError>;

    fn sample(&self, of: &SampleOf<'_>, now: Timestamp) -> Result<Sample, NoSample>;

    /// Whether a caller may have the answer in the response (`Prefer: wait`).
    fn answers_in_response(&self) -> bool {
        false
    }

    /// A part as it stands in such a response: the same as it would be delivered.
    fn answer_in_response(&self, _part: &Part, _id: PartId, _address: &Address) -> Option<Value> {
        None
    }
}

/// What a connector may know of the turn that a reply belongs to.
pub struct Rendering<'a> {
    pub address: &'a Address,
    /// The delivery keys of the messages that are answered.
    pub in_reply_to: &'a [DeliveryKey],
}

/// The table `[channels.NAME]` without the keys that every channel has: one variant a platform.
#[derive(Clone, Debug)]
pub enum Config {
    Slack(slack::Config),
    Telegram(telegram::Config),
    Whatsapp(whatsapp::Config),
    Custom(Box<custom::Config>),
}

/// The platforms that there are, as `platform = "…"` names them.
pub const NAMES: [&str; 4] = ["slack", "telegram", "whatsapp", "custom"];

/// What the application gives a channel's connector besides its own keys.
#[derive(Clone, Debug)]
pub struct Common {
    /// Replaces the platform's documented base address. Without a `/` at the end.
    pub api_base: Option<String>,
    /// How many elements of one webhook are read.
    pub max_elements: usize,
}

impl Default for Common {
    fn default() -> Self {
        Self { api_base: None, max_elements: 2000 }
    }
}

/// Makes the connector of a channel, or says everything that is wrong with its keys.
pub fn build(config: &Config, common: &Common, around: &Surroundings) -> Result<Arc<dyn Platform>, Vec<Problem>> {
    Ok(match config {
        Config::Slack(config) => slack::build(config, common, around)?,
        Config::Telegram(config) => telegram::build(config, common, around)?,
        Config::Whatsapp(config) => whatsapp::build(config, common, around)?,
        Config::Custom(config) => custom::build(config, common, around)?,
    })
}

/// Things that are allowed but deserve a word in `check` and at the start (a token in a query, no
/// verification, plain `http`, a private address).
pub fn warnings(config: &Config) -> Vec<Problem> {
    match config {
        Config::Slack(_) | Config::Telegram(_) | Config::Whatsapp(_) => Vec::new(),
        Config::Custom(config) => custom::warnings(config),
    }
}
