//! Figures and logs for those who run it. Nothing here ever holds message text, names, addresses, platform
//! ids or URLs: labels are channel names and codes, a chat is its [`crate::domain::id::ChatRef`].

use std::sync::Mutex;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ChannelResult {
    channel: String,
    result: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ChannelState {
    channel: String,
    state: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ChannelOnly {
    channel: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Call {
    call: String,
    outcome: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Step {
    step: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CallOnly {
    call: String,
}

type PerChannel = Family<ChannelResult, Counter>;

/// From a local commit to a slow AI answer.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0];

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

type Seconds = Family<ChannelOnly, Histogram, fn() -> Histogram>;

/// The process's counters; `/metrics` shows them.
pub struct Metrics {
    registry: Mutex<Registry>,
    webhooks: PerChannel,
    ignored: PerChannel,
    turns: PerChannel,
    deliveries: PerChannel,
    unknown_sends: PerChannel,
    retention: Family<Step, Counter>,
    repeated_calls: PerChannel,
    conversations: PerChannel,
    reports: PerChannel,
    fini_calls: Family<Call, Counter>,
    fini_seconds: Family<CallOnly, Histogram, fn() -> Histogram>,
    fini_in_flight: Gauge,
    webhook_seconds: Seconds,
    answer_seconds: Seconds,
    broken: Family<ChannelOnly, Gauge>,
    messages: Family<ChannelState, Gauge>,
    pending_parts: Family<ChannelOnly, Gauge>,
    oldest_waiting: Gauge<f64, std::sync::atomic::AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Mutex::default(),
            webhooks: Family::default(),
            ignored: Family::default(),
            turns: Family::default(),
            deliveries: Family::default(),
            unknown_sends: Family::default(),
            retention: Family::default(),
            repeated_calls: Family::default(),
            conversations: Family::default(),
            reports: Family::default(),
            fini_calls: Family::default(),
            fini_seconds: Family::new_with_constructor(seconds),
            fini_in_flight: Gauge::default(),
            webhook_seconds: Family::new_with_constructor(seconds),
            answer_seconds: Family::new_with_constructor(seconds),
            broken: Family::default(),
            messages: Family::default(),
            pending_parts: Family::default(),
            oldest_waiting: Gauge::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&self) {
        let Ok(mut registry) = self.registry.lock() else { return };
        let mut all = Registry::with_prefix("fini_bridge");
        all.register("webhooks", "Webhooks by channel and what they got", self.webhooks.clone());
        all.register("ignored", "Authentic events that are not ours, by kind", self.ignored.clone());
        all.register("turns", "Turns that ended, by outcome", self.turns.clone());
        all.register("deliveries", "Sends to the platform, by outcome", self.deliveries.clone());
        all.register(
            "unknown_sends",
            "Sends whose outcome is unknown, by what was decided",
            self.unknown_sends.clone(),
        );
        all.register(
            "repeated_calls",
            "Calls to Fini made again after looks that found nothing, by how the one before had ended",
            self.repeated_calls.clone(),
        );
        all.register(
            "retention",
            "Messages that ended because nobody could work on them, lost their text, or were forgotten, by this step",
            self.retention.clone(),
        );
        all.register("conversations", "Fini conversations, by what happened to them", self.conversations.clone());
        all.register("delivery_reports", "What platforms said later about parts", self.reports.clone());
        all.register("fini_calls", "Calls to Fini, by outcome", self.fini_calls.clone());
        all.register("fini_call_seconds", "How long calls to Fini took", self.fini_seconds.clone());
        all.register("fini_calls_in_flight", "Calls to Generate Answer that are open", self.fini_in_flight.clone());
        all.register("webhook_seconds", "From a webhook's head to its answer", self.webhook_seconds.clone());
        all.register(
            "answer_seconds",
            "From the acknowledgement of a turn's oldest message to its end",
            self.answer_seconds.clone(),
        );
        all.register("credential_broken", "1 while Fini's key or a platform's token is refused", self.broken.clone());
        all.register("messages", "Messages that have not ended, by state", self.messages.clone());
        all.register("pending_parts", "Parts of replies that are not delivered yet", self.pending_parts.clone());
        all.register(
            "oldest_waiting_seconds",
            "Age of the oldest message that has not ended",
            self.oldest_waiting.clone(),
        );
        *registry = all;
    }

    pub fn webhook(&self, channel: &str, result: &str, took: Duration) {
        count(&self.webhooks, channel, result);
        self.webhook_seconds.get_or_create(&ChannelOnly { channel: channel.into() }).observe(took.as_secs_f64());
    }

    pub fn ignored(&self, channel: &str, kind: &str) {
        count(&self.ignored, channel, kind);
    }

    pub fn turn(&self, channel: &str, outcome: &str, since_received: Duration) {
        count(&self.turns, channel, outcome);
        self.answer_seconds
            .get_or_create(&ChannelOnly { channel: channel.into() })
            .observe(since_received.as_secs_f64());
    }

    pub fn delivery(&self, channel: &str, outcome: &str) {
        count(&self.deliveries, channel, outcome);
    }

    pub fn unknown_send(&self, channel: &str, decision: &str) {
        count(&self.unknown_sends, channel, decision);
    }

    pub fn retention(&self, step: &str, number: u64) {
        self.retention.get_or_create(&Step { step: step.into() }).inc_by(number);
    }

    pub fn repeated_call(&self, channel: &str, after: &str) {
        count(&self.repeated_calls, channel, after);
    }

    pub fn conversation(&self, channel: &str, what: &str) {
        count(&self.conversations, channel, what);
    }

    pub fn report(&self, channel: &str, outcome: &str) {
        count(&self.reports, channel, outcome);
    }

    pub fn fini_call(&self, call: &str, outcome: &str, took: Duration) {
        self.fini_calls.get_or_create(&Call { call: call.into(), outcome: outcome.into() }).inc();
        self.fini_seconds.get_or_create(&CallOnly { call: call.into() }).observe(took.as_secs_f64());
    }

    /// Counts one open call for as long as what it returns lives.
    pub fn fini_in_flight(&self) -> InFlight {
        self.fini_in_flight.inc();
        InFlight(self.fini_in_flight.clone())
    }

    /// `what` is a channel's name, or `fini` with the number of the key.
    pub fn credential(&self, what: &str, state: Credential) {
        let broken = self.broken.get_or_create(&ChannelOnly { channel: what.into() });
        broken.set(i64::from(state == Credential::Broken));
    }

    pub fn messages(&self, channel: &str, state: &str, number: u64) {
        let label = ChannelState { channel: channel.into(), state: state.into() };
        self.messages.get_or_create(&label).set(i64::try_from(number).unwrap_or(i64::MAX));
    }

    /// Forgets the figures that are read from the store, so that a state with no message left shows none.
    pub fn clear_stored(&self) {
        self.messages.clear();
        self.pending_parts.clear();
        self.oldest_waiting.set(0.0);
    }

    pub fn pending_parts(&self, channel: &str, number: u64) {
        let label = ChannelOnly { channel: channel.into() };
        self.pending_parts.get_or_create(&label).set(i64::try_from(number).unwrap_or(i64::MAX));
    }

    pub fn oldest_waiting(&self, age: Duration) {
        self.oldest_waiting.set(age.as_secs_f64());
    }

    /// The text of `/metrics`, in the OpenMetrics format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        if let Ok(registry) = self.registry.lock() {
            // Writing into a string does not fail.
            let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        }
        text
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    Works,
    Broken,
}

pub struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn count(family: &PerChannel, channel: &str, result: &str) {
    family.get_or_create(&ChannelResult { channel: channel.into(), result: result.into() }).inc();
}
