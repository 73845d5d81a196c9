//! Outbox → platform: the parts of a chat in their order, each with a receipt. A restart goes on with the part
//! that has none.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::Deps;
use super::breaker::CircuitBreaker;
use super::channel::{Channel, OnUnknown};
use super::dispatch::{ActiveLane, Worker};
use super::group::ConcurrencyGroup;
use super::rate_limit::Wait;
use super::retry::{backoff, retry_after_or, retry_until_written};
use crate::domain::clock::Timestamp;
use crate::domain::failpoint;
use crate::domain::id::PartId;
use crate::platform::{Delivery, Idempotency, SendError, SendFailure};
use crate::store::{AfterSend, Head, LaneState, Next, PendingPart, SendEnd, SendState, StoreError, WorkKind};

const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LONGEST: Duration = Duration::from_secs(300);
/// A platform that reports what it has taken does so within this, mostly within a second.
const REPORTED_WITHIN: Duration = Duration::from_secs(10);
/// A platform that sends a part on more often knows no address of the chat. A group moves once.
const MOST_MOVES: usize = 3;
/// A lane of a channel that is not configured any more.
const NO_CHANNEL: Duration = Duration::from_secs(60);
/// Chats of one channel that are delivered to at once.
pub const DELIVERIES_AT_ONCE: usize = 64;

pub struct Deliveries {
    deps: Arc<Deps>,
    groups: Vec<Arc<ConcurrencyGroup>>,
}

/// The parts of one lane on their way.
struct Outgoing<'o> {
    deps: &'o Deps,
    lane: &'o ActiveLane,
    channel: &'o Channel,
    group: &'o ConcurrencyGroup,
    /// The token that came with the lane.
    token: Option<()>,
    /// Parts that the platform sent on to another address.
    moves: Vec<PartId>,
}

#[async_trait]
impl Worker for Deliveries {
    fn work(&self) -> WorkKind {
        WorkKind::Deliveries
    }

    fn groups(&self) -> &[Arc<ConcurrencyGroup>] {
        &self.groups
    }

    async fn run(&self, lane: &ActiveLane, head: Head) -> Result<(), StoreError> {
        let channel = self.deps.channels.get(&lane.lease.channel);
        let group = self.groups.iter().find(|group| group.has(&lane.lease.channel));
        let (Some(channel), Some(group)) = (channel, group) else {
            return self.deps.store.release(&lane.lease, Next::After(NO_CHANNEL)).await;
        };
        let mut outgoing = Outgoing { deps: &self.deps, lane, channel, group, token: Some(()), moves: Vec::new() };
        let mut parts = match head {
            Head::Parts { now, parts } => Some((now, parts)),
            Head::Unread | Head::Turns(_) => None,
        };
        let mut attempt = 0;
        loop {
            match outgoing.deliver(parts.take()).await {
                Ok(LaneState::Released) => return Ok(()),
                Ok(LaneState::Kept | LaneState::Begun) => attempt = 0,
                Err(error) => {
                    attempt += 1;
                    lane.store_is_away(error, attempt).await?;
                }
            }
        }
    }
}

impl Deliveries {
    /// `wake` is told when there is room for a lane again.
    pub fn new(deps: &Arc<Deps>, wake: &Arc<Notify>) -> Self {
        let group = |channel: &Arc<Channel>| {
            let breaker = CircuitBreaker::new(channel.name.to_string(), deps.metrics.clone());
            let (channels, paced) = (vec![channel.name.clone()], Some(channel.clone()));
            ConcurrencyGroup::new(breaker, channels, DELIVERIES_AT_ONCE, paced, wake.clone())
        };
        Self { deps: deps.clone(), groups: deps.channels.values().map(group).collect() }
    }
}

impl Outgoing<'_> {
    /// Sends the lane's parts, until it is given back or they have to be read again. `None`: they have to be read.
    async fn deliver(&mut self, parts: Option<(Timestamp, Vec<PendingPart>)>) -> Result<LaneState, StoreError> {
        let (now, parts) = match parts {
            Some(parts) => parts,
            None => self.deps.store.pending_parts(&self.lane.lease).await?,
        };
        if parts.is_empty() {
            return self.release(Next::WhenNeeded { merge_window: Duration::ZERO }).await;
        }
        let mut parts = VecDeque::from(parts);
        while let Some(part) = parts.pop_front() {
            match self.one(&part, parts.front(), now).await? {
                // Its next part is being sent.
                LaneState::Begun => {
                    if let Some(next) = parts.front_mut() {
                        next.state = SendState::Begun;
                        next.attempts = next.attempts.saturating_add(1);
                    }
                }
                LaneState::Kept => return Ok(LaneState::Kept),
                LaneState::Released => return Ok(LaneState::Released),
            }
        }
        Ok(LaneState::Kept)
    }

    async fn release(&self, next: Next) -> Result<LaneState, StoreError> {
        self.deps.store.release(&self.lane.lease, next).await.map(|()| LaneState::Released)
    }

    fn take_token(&mut self) -> Result<(), Wait> {
        match self.token.take() {
            Some(()) => Ok(()),
            None => self.group.take_token(self.lane.lease.lane),
        }
    }

    async fn one(
        &mut self,
        part: &PendingPart,
        next: Option<&PendingPart>,
        now: Timestamp,
    ) -> Result<LaneState, StoreError> {
        let channel = self.channel;
        if let Some(end) = stale(channel, part, now) {
            return self.finish(part, end, AfterSend::Release).await;
        }
        if let SendState::Sending { since } = part.state {
            // The process died between the send and its receipt, or the send ended without telling.
            let rest = REPORTED_WITHIN.saturating_sub(now.since(since));
            if channel.platform.idempotency() == Idempotency::Reported && rest > Duration::ZERO {
                return self.release(Next::After(rest)).await;
            }
            if let Some(end) = self.settle_unknown("no receipt came") {
                return self.finish(part, end, AfterSend::Release).await;
            }
        }
        if part.state == SendState::Begun {
            self.token = None;
        } else {
            if let Err(Wait(wait)) = self.take_token() {
                return self.release(Next::After(wait)).await;
            }
            self.deps.store.begin_send(&self.lane.lease, part.id).await?;
        }
        failpoint::reach("delivery.sending");
        self.lane.fresh().await;
        let delivery = Delivery { id: part.id, address: &part.address, part: &part.part };
        match channel.platform.send(delivery).await {
            Ok(receipt) => {
                failpoint::reach("delivery.taken");
                self.group.breaker.on_success();
                channel.limiter.taken();
                self.sent(part, SendEnd::Sent(receipt), next, now).await
            }
            Err(failure) => self.not_sent(part, failure).await,
        }
    }

    /// The next part follows at once, if there is a token for it and nothing else to be done about it.
    async fn sent(
        &mut self,
        part: &PendingPart,
        end: SendEnd,
        next: Option<&PendingPart>,
        now: Timestamp,
    ) -> Result<LaneState, StoreError> {
        let Some(next) = next else { return self.finish(part, end, AfterSend::Release).await };
        if next.state != SendState::Pending || stale(self.channel, next, now).is_some() {
            return self.finish(part, end, AfterSend::Keep).await;
        }
        match self.take_token() {
            Ok(()) => {
                let state = self.finish(part, end, AfterSend::Begin(next.id)).await?;
                if state != LaneState::Begun {
                    self.token = Some(());
                }
                Ok(state)
            }
            Err(Wait(wait)) => {
                self.finish(part, end, AfterSend::Keep).await?;
                self.release(Next::After(wait)).await
            }
        }
    }

    async fn not_sent(&mut self, part: &PendingPart, failure: SendFailure) -> Result<LaneState, StoreError> {
        let SendFailure { error, detail } = failure;
        let (lease, channel, breaker) = (&self.lane.lease, self.channel, &self.group.breaker);
        tracing::info!(chat = %lease.chat_ref, channel = %channel.name, part = %part.id, %error, "not delivered");
        let attempt = part.attempts.saturating_add(u32::from(part.state != SendState::Begun));
        let end = match error {
            SendError::Retry { reason, after } => {
                SendEnd::Deferred { after: retry_after_or(after, RETRY_FIRST, RETRY_LONGEST, attempt), reason, detail }
            }
            SendError::Throttled { reason, after, scope } => {
                let after = retry_after_or(after, RETRY_FIRST, RETRY_LONGEST, attempt);
                if channel.limiter.throttled(lease.lane, scope, after)
                    && let Err(error) = self.deps.store.pause(&channel.name, after).await
                {
                    tracing::debug!(channel = %channel.name, %error, "other replicas were not told of the pause");
                }
                SendEnd::Deferred { after, reason, detail }
            }
            SendError::Credential { reason } => {
                breaker.on_auth_failure();
                SendEnd::Deferred { after: Duration::ZERO, reason, detail }
            }
            SendError::Permanent { reason } => {
                breaker.on_success();
                let detail = detail.unwrap_or_else(|| format!("The bridge did not send it: {reason}."));
                SendEnd::Failed { reason, detail }
            }
            // It stays as a send that was begun, for the platform's own word to settle.
            SendError::Unknown { .. } if channel.platform.idempotency() == Idempotency::Reported => {
                self.deps.metrics.delivery(channel.name.as_str(), "deferred");
                let wait = REPORTED_WITHIN.max(backoff(RETRY_FIRST, RETRY_LONGEST, attempt));
                return self.release(Next::After(wait)).await;
            }
            SendError::Unknown { reason } => self.settle_unknown(&reason).unwrap_or_else(|| SendEnd::Deferred {
                after: backoff(RETRY_FIRST, RETRY_LONGEST, attempt),
                reason,
                detail,
            }),
            SendError::Moved { address } => {
                self.moves.push(part.id);
                let is_lost = self.moves.iter().filter(|id| **id == part.id).count() > MOST_MOVES;
                if address != part.address && !is_lost {
                    retry_until_written(|| self.deps.store.moved(lease, part.id, &address)).await?;
                    // The platform took nothing of it.
                    self.token = Some(());
                    return Ok(LaneState::Kept);
                }
                breaker.on_success();
                let detail = "The platform says again and again that the chat has moved.".to_owned();
                SendEnd::Failed { reason: "moved_again".to_owned(), detail }
            }
        };
        self.finish(part, end, AfterSend::Release).await
    }

    /// `None`: it may be sent again. Counted, case by case.
    fn settle_unknown(&self, reason: &str) -> Option<SendEnd> {
        let (metrics, channel) = (&self.deps.metrics, self.channel);
        if channel.platform.idempotency() == Idempotency::Key {
            metrics.unknown_send(channel.name.as_str(), "resent_with_key");
            return None;
        }
        match channel.replies.on_unknown {
            OnUnknown::Resend => {
                metrics.unknown_send(channel.name.as_str(), "resent");
                None
            }
            OnUnknown::Hold => {
                metrics.unknown_send(channel.name.as_str(), "held");
                let detail = format!("It may have been delivered: {reason}.");
                Some(SendEnd::Held { reason: "send_unknown".to_owned(), detail })
            }
        }
    }

    async fn finish(&self, part: &PendingPart, end: SendEnd, after: AfterSend) -> Result<LaneState, StoreError> {
        let label = match &end {
            SendEnd::Sent(_) => "sent",
            SendEnd::Failed { .. } => "failed",
            SendEnd::Held { .. } => "held",
            SendEnd::Deferred { .. } => "deferred",
        };
        let store = &self.deps.store;
        let state = retry_until_written(|| store.finish_send(&self.lane.lease, part.id, &end, after)).await?;
        failpoint::reach("delivery.sent");
        self.deps.metrics.delivery(self.channel.name.as_str(), label);
        if let SendEnd::Failed { reason, .. } | SendEnd::Held { reason, .. } = &end {
            let (chat, channel) = (&self.lane.lease.chat_ref, &self.channel.name);
            tracing::warn!(%chat, %channel, part = %part.id, reason, "a part failed for good");
        }
        Ok(state)
    }
}

/// An answer that nobody should get any more: the chat has moved on.
fn stale(channel: &Channel, part: &PendingPart, now: Timestamp) -> Option<SendEnd> {
    let age = now.since(part.answered_at);
    let (reason, key) = if age > channel.replies.max_age.0 {
        ("too_old", "max_age")
    } else if age > channel.replies.give_up_after.0 {
        ("gave_up", "give_up_after")
    } else {
        return None;
    };
    Some(SendEnd::Failed { reason: reason.to_owned(), detail: format!("The answer is older than replies.{key}.") })
}
