//! `fini-bridge send`

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use tokio::time::{Instant, sleep, timeout};

use super::story::{clean, state, steps, with_reason};
use super::{ConfigPath, Failure, Loaded, Outcome, channel, load_quietly};
use crate::app::gateway::open_store;
use crate::app::settings::Settings;
use crate::domain::id::{ChannelName, MessageId};
use crate::domain::secret::{Secret, Secrets};
use crate::http::{self, Http};
use crate::platform::{self, Sample, SampleOf};

use crate::store::{MessageState, Mode, Store};

/// How long the connector may take to learn who we are on the platform.
const PREPARE_WITHIN: Duration = Duration::from_secs(5);
const POST_WITHIN: Duration = Duration::from_secs(30);
/// The gateway keeps a message before it answers, so it is there at once.
const KEPT_WITHIN: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Beyond Fini's time: waiting in line, delivery and a few retries.
const GRACE: Duration = Duration::from_secs(60);

/// Send a sample message through a running gateway, and watch it up to the reply
#[derive(clap::Args)]
#[command(after_help = "Examples:
  fini-bridge send support-slack \"Where is my order?\"
  fini-bridge send support-telegram \"Hello\" --chat 7700112233
  fini-bridge send shop \"Hello\" --dry-run

Signs a webhook as the platform would. The reply goes out for real, to --chat or to an invented chat. Run it where
the gateway runs: what becomes of the message is read from the store.")]
pub struct Arguments {
    /// A channel of the configuration
    channel: String,
    /// What the sample says
    text: String,
    /// The chat it comes from, as the platform names it; default: an invented one
    #[arg(long)]
    chat: Option<String>,
    /// Only print the request
    #[arg(long)]
    dry_run: bool,
    /// The gateway's address, such as http://127.0.0.1:8080; default: server.listen
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    #[command(flatten)]
    config: ConfigPath,
}

pub async fn run(arguments: Arguments) -> Outcome {
    let loaded = load_quietly(&arguments.config)?;
    let (name, channel, connector) = channel(&loaded, &arguments.channel)?;
    let gateway = match &arguments.url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => local(&loaded.settings)?,
    };
    let target = format!("{gateway}/webhooks/{name}");
    let public = loaded.settings.server.public_url.as_deref().unwrap_or(&gateway).trim_end_matches('/');
    // Slack's sample has to come from our own workspace.
    let _ = timeout(PREPARE_WITHIN, connector.prepare()).await;
    let id = uuid::Uuid::new_v4().simple().to_string();
    let of = SampleOf {
        text: &arguments.text,
        chat: arguments.chat.as_deref(),
        id: &id,
        url: &format!("{public}/webhooks/{name}"),
    };
    let sample = connector.sample(&of, loaded.clock.now());
    let sample = sample.map_err(|why| Failure::Usage(format!("channels.{name}: no sample can be sent: {why}")))?;
    if arguments.dry_run {
        print!("{}", shown(&target, &sample, &secrets(&channel.platform)));
        return Ok(());
    }
    post(&loaded, &target, &sample).await?;
    println!("posted    {} {target}", sample.method);
    if !channel.enabled {
        println!("          channels.{name} is not enabled: the message is stored, and not answered");
    }
    let store = open_store(&loaded.settings, Mode::Tool, loaded.clock.clone()).await?;
    let message = kept(&store, name, &sample).await?;
    let within = loaded.settings.fini.timeout.0 + channel.conversations.merge_window.0 + GRACE;
    Ok(watch(&store, message, if channel.enabled { within } else { Duration::ZERO }).await?)
}

/// Where the gateway listens, as this machine reaches it.
fn local(settings: &Settings) -> Result<String, Failure> {
    let listen = &settings.server.listen;
    let no_port =
        || Failure::Usage(format!("server.listen = {listen:?} has no fixed port: name the gateway with --url"));
    match listen.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => Err(no_port()),
        Ok(SocketAddr::V4(address)) if address.ip().is_unspecified() => {
            Ok(format!("http://127.0.0.1:{}", address.port()))
        }
        Ok(SocketAddr::V6(address)) if address.ip().is_unspecified() => Ok(format!("http://[::1]:{}", address.port())),
        Ok(address) => Ok(format!("http://{address}")),
        Err(_) if listen.ends_with(":0") => Err(no_port()),
        Err(_) => Ok(format!("http://{listen}")),
    }
}

async fn post(loaded: &Loaded, target: &str, sample: &Sample) -> anyhow::Result<()> {
    // The gateway is near: not through the proxy, which stands between us and the platforms.
    let http = http::Config { proxy: String::new(), ..loaded.settings.http.clone() };
    let http = Http::new(&http)?;
    let mut request = http.request(sample.method.clone(), target).body(sample.body.clone());
    for (name, value) in &sample.headers {
        request = request.header(name, value);
    }
    let response = http.send(request, POST_WITHIN, 1 << 20).await.map_err(|error| match error {
        http::Error::NotSent(_) => {
            anyhow!("no gateway at {target}: run `fini-bridge serve`, or name its address with --url")
        }
        http::Error::Unknown(why) => anyhow!("the gateway at {target} gave no answer: {why}"),
    })?;
    match response.status.as_u16() {
        200..=299 => Ok(()),
        401 => bail!(
            "the gateway refused the signature (401): does it run with this configuration? Where the address is part \
             of what is signed, server.public_url must be the same"
        ),
        404 => bail!("the gateway at {target} doesn't know this channel (404): restart it with this configuration"),
        503 => bail!("the gateway can't keep messages now (503): see its log and /readyz"),
        status => bail!("the gateway answered {status}"),
    }
}

/// The sample's message in the store.
async fn kept(store: &Arc<dyn Store>, channel: &ChannelName, sample: &Sample) -> anyhow::Result<MessageId> {
    let until = Instant::now() + KEPT_WITHIN;
    loop {
        if let Some(message) = store.find(channel, &sample.delivery_key).await? {
            return Ok(message);
        }
        if Instant::now() > until {
            bail!(
                "the gateway took the webhook, and this store has no message of it: it was ignored (accept, another \
                 account, a chat that nobody mentioned the bot in), or the gateway uses another store"
            );
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Prints each step as it comes, until the message has come to its end.
async fn watch(store: &Arc<dyn Store>, message: MessageId, within: Duration) -> anyhow::Result<()> {
    println!("kept      message {message}");
    let until = Instant::now() + within;
    let mut told = HashSet::new();
    loop {
        let story = with_reason(store.details(message).await?.context("the message is gone from the store")?);
        let timeline = store.timeline(message).await?;
        for step in steps(&story, &timeline) {
            if told.insert(step.what.clone()) {
                println!("          {}", step.what);
                step.text.iter().for_each(|line| println!("          | {line}"));
            }
        }
        if !story.state.is_waiting() {
            println!("{:<8}  {}", story.state.as_str(), story.reason.as_deref().map(clean).unwrap_or_default());
            return match story.state {
                MessageState::Done => Ok(()),
                _ => bail!("{}; more: fini-bridge messages show {message}", state(&story)),
            };
        }
        if let Some(reason) = &story.reason
            && told.insert(reason.clone())
        {
            println!("          waits: {}", clean(reason));
        }
        if within.is_zero() {
            return Ok(());
        }
        if Instant::now() > until {
            bail!("not answered within {} s; more: fini-bridge messages show {message}", within.as_secs());
        }
        sleep(LOOK_EVERY).await;
    }
}

/// What a sample of this platform carries as it is, instead of signing with it.
fn secrets(platform: &platform::Config) -> Vec<&Secret> {
    let secrets: Option<&Secrets> = match platform {
        platform::Config::Slack(config) => Some(&config.signing_secret),
        platform::Config::Telegram(config) => Some(&config.secret_token),
        platform::Config::Whatsapp(config) => Some(&config.app_secret),
        platform::Config::Custom(config) => {
            config.verify.as_ref().and_then(|verify| verify.secret.as_ref()).or(config.secret.as_ref())
        }
    };
    secrets.map(|secrets| secrets.0.iter().collect()).unwrap_or_default()
}

/// The request as text, without the secrets in it. Signatures are none: they fit this body alone.
fn shown(target: &str, sample: &Sample, secrets: &[&Secret]) -> String {
    let mask = |text: &str| {
        secrets.iter().filter(|secret| !secret.expose().is_empty()).fold(text.to_owned(), |text, secret| {
            let quoted = serde_json::to_string(secret.expose()).unwrap_or_default();
            text.replace(secret.expose(), "***").replace(quoted.trim_matches('"'), "***")
        })
    };
    let mut text = format!("{} {target}\n", sample.method);
    for (name, value) in &sample.headers {
        // Basic hides the password in base64.
        let value = if name.eq_ignore_ascii_case("authorization") { "***".to_owned() } else { mask(value) };
        text.push_str(&format!("{name}: {value}\n"));
    }
    text.push_str(&format!("\n{}\n", mask(&String::from_utf8_lossy(&sample.body))));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::DeliveryKey;

    #[test]
    fn a_request_is_shown_with_its_signature_and_without_its_tokens() {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let sample = Sample {
            method: reqwest::Method::POST,
            headers: vec![
                header("x-signature", "sha256=abc"),
                header("x-token", "Bearer tok\"en"),
                header("Authorization", "Basic dTpw"),
            ],
            body: br#"{"token":"tok\"en","text":"hi"}"#.to_vec(),
            delivery_key: DeliveryKey::new("1"),
        };
        assert_eq!(
            shown("http://127.0.0.1:8080/webhooks/shop", &sample, &[&Secret::new("tok\"en")]),
            "POST http://127.0.0.1:8080/webhooks/shop\nx-signature: sha256=abc\nx-token: Bearer ***\n\
             Authorization: ***\n\n{\"token\":\"***\",\"text\":\"hi\"}\n"
        );
    }
}
