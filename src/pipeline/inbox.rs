//! How events enter, from whatever source: what counts is kept in one commit, and the rest is counted. Whoever
//! brings them may acknowledge them after that. Knows nothing of how they came.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use serde_json::Map;

use super::channel::{Accept, Channel, Scope};
use super::people;
use super::plan::REFERENCE_ATTRIBUTE;
use crate::domain::clock::Timestamp;
use crate::domain::failpoint;
use crate::domain::id::{ChatKey, DeliveryKey, MessageId};
use crate::domain::message::{Addressed, DeliveryReport, Incoming, Reported, Role};
use crate::platform::{Event, Malformed, cut};
use crate::store::{Accepted, NewItem, NewMessage, NewUnusable, Store, StoreError};
use crate::telemetry::Metrics;

/// Duplicates are remembered for 8 days; what was sent longer ago than that, less half a day, could be one.
const TOO_OLD: Duration = Duration::from_secs((7 * 24 + 12) * 3600);
/// Delivery reports that are written at the same time: many go into one commit, and others find room.
const REPORTS_AT_ONCE: usize = 32;

pub struct Inbox {
    pub store: Arc<dyn Store>,
    pub metrics: Arc<Metrics>,
    /// See [`Store::installation_key`].
    pub installation_key: [u8; 32],
}

/// What became of the events that were brought together.
#[derive(Debug)]
pub struct Taken {
    pub outcome: Outcome,
    /// The message whose replies are held back, where that was asked for: a new one, or one that was here before.
    pub held: Option<(MessageId, DeliveryKey)>,
}

impl Taken {
    const IGNORED: Self = Self { outcome: Outcome::Ignored, held: None };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// At least one message is new.
    Accepted,
    /// At least one was here before, and none is new.
    Duplicate,
    /// At least one event can't be worked on and is kept as a failed message.
    KeptAsFailed,
    /// There was no message in it, or none that counts.
    Ignored,
}

impl Outcome {
    /// A label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::KeptAsFailed => "kept_as_failed",
            Self::Ignored => "ignored",
        }
    }

    fn of(accepted: &[Accepted]) -> Self {
        if accepted.iter().any(|item| matches!(item, Accepted::New(_))) {
            Self::Accepted
        } else if accepted.iter().any(|item| matches!(item, Accepted::Duplicate(_))) {
            Self::Duplicate
        } else {
            Self::Ignored
        }
    }
}

impl Inbox {
    /// Keeps the messages among the events in one commit, and what the delivery reports say before that. After an
    /// error the same events may be brought again, and must be: nothing is kept twice.
    ///
    /// `hold`: somebody waits for the answer, so the replies are not delivered before this has passed. It holds only
    /// where the events are a single message. `secret`: what proved them genuine, as configured.
    pub async fn take(
        &self,
        channel: &Channel,
        events: Vec<Event>,
        now: Timestamp,
        hold: Option<Duration>,
        secret: Option<Arc<str>>,
    ) -> Result<Taken, StoreError> {
        let hold = hold.filter(|_| events.len() == 1);
        let mut items = Vec::new();
        let mut reports = Vec::new();
        let ignored = |kind| self.metrics.ignored(channel.name.as_str(), kind);
        for event in events {
            match event {
                Event::Unreadable(kind, _) if channel.replies.unreadable_text.is_empty() => ignored(kind),
                Event::Message(incoming) | Event::Unreadable(_, incoming) => {
                    match to_new_message(channel, &self.installation_key, *incoming, now, hold) {
                        Ok(item) => items.push(item),
                        Err(kind) => ignored(kind),
                    }
                }
                Event::Report(report) => reports.push(report),
                // Its lane stays where it is.
                Event::Moved(_) => ignored("moved"),
                Event::Ignored(kind) => ignored(kind),
                Event::Malformed(malformed) => items.push(NewItem::Unusable(to_unusable(channel, malformed))),
            }
        }
        self.apply_reports(channel, reports).await?;
        if items.is_empty() {
            return Ok(Taken::IGNORED);
        }
        for item in &mut items {
            match item {
                NewItem::Message(message) => message.secret.clone_from(&secret),
                NewItem::Unusable(unusable) => unusable.secret.clone_from(&secret),
            }
        }
        let held = match items.as_slice() {
            [NewItem::Message(message)] if message.wait.is_some() => Some(message.delivery_key.clone()),
            _ => None,
        };
        failpoint::reach("intake.verified");
        let failed = items.iter().any(|item| matches!(item, NewItem::Unusable(_)));
        let accepted = self.store.accept(items).await?;
        failpoint::reach("intake.kept");
        let held = match accepted.as_slice() {
            [Accepted::New(message) | Accepted::Duplicate(message)] => held.map(|key| (*message, key)),
            _ => None,
        };
        let outcome = if failed { Outcome::KeptAsFailed } else { Outcome::of(&accepted) };
        Ok(Taken { outcome, held })
    }

    /// A batch may bring thousands, mostly about what somebody else sent by the same account. What comes of several
    /// about one part doesn't depend on their order.
    async fn apply_reports(&self, channel: &Channel, mut reports: Vec<DeliveryReport>) -> Result<(), StoreError> {
        let count = |known| self.metrics.report(channel.name.as_str(), if known { "known" } else { "unknown" });
        if reports.len() > 1 {
            let of: Vec<Reported> = reports.iter().map(|report| report.of.clone()).collect();
            let mut known = self.store.known_parts(&channel.name, &of).await?.into_iter();
            reports.retain(|_| {
                let known = known.next().unwrap_or(true);
                if !known {
                    count(false);
                }
                known
            });
        }
        let report =
            async |report: DeliveryReport| self.store.apply_report(&channel.name, &report.of, &report.outcome).await;
        let mut known = futures::stream::iter(reports).map(report).buffer_unordered(REPORTS_AT_ONCE);
        while let Some(known) = known.try_next().await? {
            count(known);
        }
        Ok(())
    }
}

/// What is to be kept of a message, or the kind under which it is ignored.
fn to_new_message(
    channel: &Channel,
    installation_key: &[u8; 32],
    incoming: Incoming,
    now: Timestamp,
    hold: Option<Duration>,
) -> Result<NewItem, &'static str> {
    let accepts = |kind| channel.accept.contains(&kind) || channel.accept.contains(&Accept::All);
    let only_if_known = match incoming.addressed {
        Addressed::Direct if accepts(Accept::Direct) => false,
        Addressed::Mention if accepts(Accept::Mention) => false,
        Addressed::Room if accepts(Accept::All) => false,
        Addressed::Thread if accepts(Accept::All) => false,
        Addressed::Thread if accepts(Accept::Mention) => true,
        Addressed::Known => true,
        _ => return Err("not_addressed"),
    };
    // A clock that is ahead of ours must not put a message behind those that are still to come.
    let sent_at = incoming.sent_at.map(|at| at.min(now));
    if sent_at.is_some_and(|at| now.since(at) > TOO_OLD) {
        return Ok(NewItem::Unusable(NewUnusable {
            id: MessageId::generate(),
            channel: channel.name.clone(),
            delivery_key: incoming.delivery_key,
            secret: None,
            reason: "too_old".to_owned(),
            detail: "It was sent longer ago than duplicates are remembered.".to_owned(),
            raw: cut(incoming.text.as_bytes()),
        }));
    }
    let bot_id = channel.bot_for(&incoming);
    let per_user = incoming.shared && channel.conversations.scope == Scope::User;
    let chat = match &incoming.sender {
        Some(sender) if per_user => ChatKey::new(format!("{}\0{sender}", incoming.chat.as_str())),
        _ => incoming.chat,
    };
    let account = incoming.account.as_deref().unwrap_or_default();
    let chat_ref = people::chat_ref(installation_key, &channel.name, account, &chat);
    // What an agent or a bot brings along is not the customer's.
    let mut user_attributes = if incoming.role == Role::User { incoming.user_attributes } else { Map::new() };
    user_attributes.remove(REFERENCE_ATTRIBUTE);
    let sender = incoming.sender.as_deref();
    let max_text = channel.conversations.max_text.0;
    Ok(NewItem::Message(Box::new(NewMessage {
        id: MessageId::generate(),
        channel: channel.name.clone(),
        delivery_key: incoming.delivery_key,
        chat,
        chat_ref,
        sender_ref: sender.map(|sender| people::sender_ref(installation_key, &channel.name, sender)),
        sender: incoming.sender,
        role: incoming.role,
        too_long: incoming.text.len() > max_text,
        text: truncated(incoming.text, max_text),
        attributes_ref: people::attributes_ref(installation_key, &channel.name, &user_attributes),
        user_attributes,
        bot_id,
        address: incoming.address,
        sort_at: sent_at.filter(|_| incoming.unordered),
        only_if_known,
        secret: None,
        merge_window: channel.conversations.merge_window.0.max(incoming.more_within.unwrap_or_default()),
        wait: hold,
        dormant: !channel.enabled,
    })))
}

/// One without a key can't be recognised when it comes again: whoever brings events makes one where it can.
fn to_unusable(channel: &Channel, malformed: Malformed) -> NewUnusable {
    let id = MessageId::generate();
    NewUnusable {
        id,
        channel: channel.name.clone(),
        delivery_key: malformed.delivery_key.unwrap_or_else(|| DeliveryKey::new(id.to_string())),
        secret: None,
        reason: malformed.reason.to_owned(),
        detail: malformed.detail,
        raw: malformed.raw.unwrap_or_default(),
    }
}

/// The beginning of a text, at most so many bytes of it.
fn truncated(mut text: String, at_most: usize) -> String {
    if text.len() > at_most {
        text.truncate(text.floor_char_boundary(at_most));
        text.shrink_to_fit();
    }
    text
}

#[cfg(test)]
mod tests;
