//! Custom channels: any chat by configuration alone, or the bridge's own protocol. Reads the webhook with
//! Jinja expressions and writes the reply with Jinja templates; it knows no platform by name.

mod address;
mod attributes;
mod coverage;
mod hmac;
mod inbound;
mod lint;
mod placement;
mod probe;
mod protocol;
mod reply;
mod sample;
mod template;
mod time;
mod unique_keys;
mod verify;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;

use super::{
    Account, Answer, Common, Delivery, Malformed, NoSample, Pace, Parsed, Platform, Registration, Rendering, Sample,
    SampleOf, SendError, SendFailure, Surroundings, per_second,
};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::message::{Part, Receipt, Reply};
use crate::domain::problem::Problem;
use crate::domain::secret::Secrets;
use crate::http::Http;
use crate::signature::{RawWebhook, Refused, Verified};

pub use sample::try_sample;

const NAME: &str = "custom";
/// Nobody said how fast is too fast; a 429 will.
const PACE: Pace = Pace { channel: Some(per_second(50)), chat: None };

/// `[channels.NAME]` with `platform = "custom"`: `verify`, `inbound` and `reply`; or `secret` and
/// `callback_url` for the bridge's own protocol.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Config {
    /// How a webhook proves that it is genuine.
    pub verify: Option<verify::Config>,
    /// How a webhook is read.
    pub inbound: Option<inbound::Config>,
    /// How a reply is posted.
    pub reply: Option<reply::Config>,
    /// The bridge's own protocol: `whsec_…`, for both directions; a list during rotation.
    pub secret: Option<Secrets>,
    /// The bridge's own protocol: where answers go.
    pub callback_url: Option<String>,
    /// The bridge's own protocol: whether `typing` is called back.
    pub typing: Option<bool>,
    /// The bridge's own protocol: whether answers bring the `articles` they rest on.
    pub citations: Option<bool>,
    /// A file with a webhook's body, tried by `check` and sent by `send`, with `{{ text }}`, `{{ id }}` and
    /// `{{ chat }}` in it. Relative to the configuration file.
    pub sample: Option<PathBuf>,
    /// What that file holds; the settings reader puts it here.
    #[serde(skip)]
    pub sample_text: Option<String>,
}

pub fn build(config: &Config, common: &Common, around: &Surroundings) -> Result<Arc<dyn Platform>, Vec<Problem>> {
    let mut problems = Vec::new();
    if common.api_base.is_some() {
        problems.push(Problem::new("api_base", "means nothing to a custom channel", "`reply.url` or `callback_url`"));
    }
    let built = if config.is_protocol() {
        only_protocol_keys(config, &mut problems);
        protocol::build(config, around)
    } else {
        Custom::build(config, common.max_elements, Some(around)).map(|custom| Arc::new(custom) as Arc<dyn Platform>)
    };
    match built {
        Ok(platform) if problems.is_empty() => Ok(platform),
        Ok(_) => Err(problems),
        Err(more) => {
            problems.extend(more);
            Err(problems)
        }
    }
}

/// What works and deserves a word.
pub fn warnings(config: &Config) -> Vec<Problem> {
    let mut all = config.verify.as_ref().map(verify::warnings).unwrap_or_default();
    all.extend(coverage::warnings(config));
    if let Some(url) = config.reply.as_ref().and_then(|reply| reply.url.as_ref()) {
        all.extend(address::warnings("reply.url", url));
    }
    if let Some(url) = &config.callback_url {
        all.extend(address::warnings("callback_url", url));
    }
    if let Some(reply) = &config.reply {
        all.extend(reply::warnings(reply));
        all.extend(reply.headers.iter().filter(|(_, value)| value.0.expose().contains("{{")).map(|(name, _)| {
            Problem::new(format!("reply.headers.{name}"), "is sent as it stands, with its {{", "${NAME} for a variable")
        }));
    }
    all
}

impl Config {
    /// Whether a webhook's signature covers the address that it was sent to.
    pub fn signs_url(&self) -> bool {
        self.verify.as_ref().and_then(hmac::covered).is_some_and(|covered| covered.query)
    }

    /// Whether this is the bridge's own protocol.
    fn is_protocol(&self) -> bool {
        let own = [self.secret.is_some(), self.callback_url.is_some(), self.typing.is_some(), self.citations.is_some()];
        own.contains(&true)
    }
}

fn only_protocol_keys(config: &Config, problems: &mut Vec<Problem>) {
    let other =
        [("verify", config.verify.is_some()), ("inbound", config.inbound.is_some()), ("reply", config.reply.is_some())];
    for (key, _) in other.into_iter().filter(|(_, given)| *given) {
        problems.push(Problem::new(
            key,
            "doesn't go with the bridge's own protocol (`secret`, `callback_url`, `typing`, `citations`)",
            "one or the other; the secret of a chat that you describe stands in `verify`",
        ));
    }
}

/// A chat that the configuration describes.
struct Custom {
    scheme: verify::Scheme,
    inbound: inbound::Inbound,
    reply: reply::Reply,
    sample_text: Option<String>,
    /// None where only a sample is tried.
    around: Option<(Http, Arc<dyn Clock>)>,
}

impl Custom {
    fn build(config: &Config, max_elements: usize, around: Option<&Surroundings>) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut missing = |key: &str, given: bool| {
            if !given {
                problems.push(Problem::new(
                    key,
                    "is missing",
                    "verify, inbound and reply; or secret and callback_url for the bridge's own protocol",
                ));
            }
        };
        missing("inbound", config.inbound.is_some());
        missing("reply", config.reply.is_some());
        let mut collect = |more: Vec<Problem>| problems.extend(more);
        // Without `verify` this says what is missing: the scheme.
        let scheme = verify::build(&config.verify.clone().unwrap_or_default()).map_err(&mut collect).ok();
        let reply = config.reply.as_ref().and_then(|reply| reply::build(reply).map_err(&mut collect).ok());
        let keeps = match &reply {
            Some(reply) if reply.uses_item() => inbound::Keeps::Item,
            _ => inbound::Keeps::Nothing,
        };
        let inbound = config.inbound.as_ref();
        let inbound =
            inbound.and_then(|inbound| inbound::build(inbound, keeps, max_elements).map_err(&mut collect).ok());
        match (scheme, inbound, reply) {
            (Some(scheme), Some(inbound), Some(reply)) if problems.is_empty() => Ok(Self {
                scheme,
                inbound,
                reply,
                sample_text: config.sample_text.clone(),
                around: around.map(|around| (around.http.clone(), Arc::clone(&around.clock))),
            }),
            _ => Err(problems),
        }
    }
}

#[async_trait]
impl Platform for Custom {
    fn name(&self) -> &'static str {
        NAME
    }

    fn handshake(&self, raw: &RawWebhook) -> Option<Answer> {
        self.inbound.handshake(raw)
    }

    fn handshake_in_body(&self, head: &RawWebhook) -> bool {
        self.inbound.challenge_in_body(head)
    }

    fn precheck(&self, head: &RawWebhook, now: Timestamp) -> Result<(), Refused> {
        self.scheme.precheck(head, now)
    }

    fn verify(&self, raw: RawWebhook, now: Timestamp) -> Result<Verified, Refused> {
        self.scheme.verify(raw, now)
    }

    fn parse(&self, webhook: &Verified) -> Result<Parsed, Malformed> {
        self.inbound.parse(webhook)
    }

    fn render(&self, reply: &Reply, _: &Rendering<'_>) -> Result<Vec<Part>, Malformed> {
        Ok(self.reply.parts(reply))
    }

    async fn send(&self, delivery: Delivery<'_>) -> Result<Receipt, SendFailure> {
        let Some((http, clock)) = &self.around else {
            return Err(SendError::Permanent { reason: "only a sample is tried".to_owned() }.into());
        };
        self.reply.send(http, &delivery, clock.now()).await
    }

    fn pace(&self) -> Pace {
        PACE
    }

    async fn check(&self) -> Result<Option<Account>, SendError> {
        Ok(None)
    }

    async fn register(&self, url: &str) -> Result<Registration, SendError> {
        Ok(Registration::ByHand(vec![format!("in your chat's settings, set the webhook's address to {url}")]))
    }

    fn sample(&self, of: &SampleOf<'_>, now: Timestamp) -> Result<Sample, NoSample> {
        sample::make(self, of, now)
    }
}

#[cfg(test)]
mod documented;
#[cfg(test)]
mod tests;
