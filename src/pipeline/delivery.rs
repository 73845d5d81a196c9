//! Outbox → platform: the parts of a chat in their order, each with a receipt. A restart goes on with the part
//! that has none.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::Foundation;
use super::channel::{Channel, OnUnknown};
use super::dispatch::{Held, Worker};
use super::gate::{Gate, Room};
use super::rate_limit::Wait;
use super::retry::{backoff, insist, told_or};
use crate::domain::clock::Timestamp;
use crate::domain::failpoint;
use crate::domain::id::PartId;
use crate::platform::{Delivery, Idempotency, SendError, SendFailure};
use crate::store::{Next, Outgoing, OutgoingState, SendEnd, StoreError, Work};

const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LONGEST: Duration = Duration::from_secs(300);
/// A platform that reports what it has taken does so within this, mostly within a second.
const REPORTED_WITHIN: Duration = Duration::from_secs(10);
/// A platform that sends a part on more often knows no address of the chat. A group moves once.
const MOST_MOVES: usize = 3;
/// Chats of one channel that are delivered to at once.
pub const DELIVERIES_AT_ONCE: usize = 64;
/// A lane that has to wait longer for its rate gives its place to another.
const WAIT_IN_PLACE: Duration = Duration::from_secs(2);

pub struct Deliveries {
    foundation: Arc<Foundation>,
    rooms: Vec<Room>,
    stop: CancellationToken,
}

/// Whether the lane's next part may follow at once.
enum Lane {
    Kept,
    /// Its parts have to be read again.
    Changed,
    Released,
}

#[async_trait]
impl Worker for Deliveries {
    fn work(&self) -> Work {
        Work::Deliveries
    }

    fn rooms(&self) -> &[Room] {
        &self.rooms
    }

    async fn run(&self, held: Held) {
        match self.deliver(&held).await {
            Ok(()) => {}
            Err(StoreError::Fenced) => tracing::warn!(chat = %held.lease.chat_ref, "a lane was lost to another holder"),
            Err(error) => tracing::warn!(chat = %held.lease.chat_ref, %error, "a delivery can't go on now"),
        }
    }
}

impl Deliveries {
    pub fn new(foundation: Arc<Foundation>, stop: CancellationToken) -> Self {
        let room = |channel: &Arc<Channel>| {
            let gate = Gate::new(channel.name.to_string(), foundation.metrics.clone());
            Room::new(gate, vec![channel.name.clone()], DELIVERIES_AT_ONCE)
        };
        let rooms = foundation.channels.values().map(room).collect();
        Self { foundation, rooms, stop }
    }

    async fn deliver(&self, held: &Held) -> Result<(), StoreError> {
        let store = &self.foundation.store;
        let channel = self.foundation.channels.get(&held.lease.channel);
        let room = self.rooms.iter().find(|room| room.has(&held.lease));
        let (Some(channel), Some(room)) = (channel, room) else {
            return store.release(&held.lease, Next::After(Duration::from_secs(60))).await;
        };
        let mut moves = Vec::new();
        'look: loop {
            let (now, parts) = store.outgoing(&held.lease).await?;
            if parts.is_empty() {
                return self.hand_back(held).await.map(drop);
            }
            for part in parts {
                if self.stop.is_cancelled() {
                    return self.hand_back(held).await.map(drop);
                }
                match self.one(held, channel, room, &part, now, &mut moves).await? {
                    Lane::Kept => {}
                    Lane::Changed => continue 'look,
                    Lane::Released => return Ok(()),
                }
            }
        }
    }

    async fn hand_back(&self, held: &Held) -> Result<Lane, StoreError> {
        self.foundation.store.release(&held.lease, Next::WhenNeeded { merge_window: Duration::ZERO }).await?;
        Ok(Lane::Released)
    }

    async fn one(
        &self,
        held: &Held,
        channel: &Channel,
        room: &Room,
        part: &Outgoing,
        now: Timestamp,
        moves: &mut Vec<PartId>,
    ) -> Result<Lane, StoreError> {
        if let Some(end) = stale(channel, part, now) {
            return self.finish(held, channel, part, end).await;
        }
        if let OutgoingState::Sending { since } = part.state {
            // The process died between the send and its receipt, or the send ended without telling.
            let rest = REPORTED_WITHIN.saturating_sub(now.since(since));
            if channel.platform.idempotency() == Idempotency::Reported && rest > Duration::ZERO {
                self.foundation.store.release(&held.lease, Next::After(rest)).await?;
                return Ok(Lane::Released);
            }
            if let Some(end) = self.settle_unknown(channel, "no receipt came") {
                return self.finish(held, channel, part, end).await;
            }
        }
        let lane = held.lease.lane;
        match channel.limiter.try_acquire(lane) {
            Ok(()) => {}
            // Moves are counted as long as the lane is held.
            Err(Wait(wait)) if wait > WAIT_IN_PLACE && moves.is_empty() => {
                self.foundation.store.release(&held.lease, Next::After(wait)).await?;
                return Ok(Lane::Released);
            }
            Err(Wait(_)) => tokio::select! {
                () = channel.limiter.acquire(lane) => {}
                // No call is open: another replica may wait here just as well.
                () = self.stop.cancelled() => return self.hand_back(held).await,
            },
        }
        self.foundation.store.sending(&held.lease, part.id).await?;
        failpoint::reach("delivery.sending");
        if !held.is_fresh() {
            return Err(StoreError::Fenced);
        }
        let delivery = Delivery { id: part.id, address: &part.address, part: &part.part };
        let SendFailure { error, detail } = match channel.platform.send(delivery).await {
            Ok(receipt) => {
                failpoint::reach("delivery.taken");
                room.gate.worked();
                channel.limiter.taken();
                return self.finish(held, channel, part, SendEnd::Sent(receipt)).await;
            }
            Err(failure) => failure,
        };
        tracing::info!(chat = %held.lease.chat_ref, channel = %channel.name, part = %part.id, %error, "not delivered");
        let attempt = part.attempts.saturating_add(1);
        let end = match error {
            SendError::Retry { reason, after } => {
                SendEnd::Deferred { after: told_or(after, RETRY_FIRST, RETRY_LONGEST, attempt), reason, detail }
            }
            SendError::Throttled { reason, after, scope } => {
                let after = told_or(after, RETRY_FIRST, RETRY_LONGEST, attempt);
                channel.limiter.throttled(lane, scope, after);
                SendEnd::Deferred { after, reason, detail }
            }
            SendError::Credential { reason } => {
                room.gate.refused();
                SendEnd::Deferred { after: Duration::ZERO, reason, detail }
            }
            SendError::Permanent { reason } => {
                room.gate.worked();
                let detail = detail.unwrap_or_else(|| format!("The bridge did not send it: {reason}."));
                SendEnd::Failed { reason, detail }
            }
            // It stays as a send that was begun, for the platform's own word to settle.
            SendError::Unknown { .. } if channel.platform.idempotency() == Idempotency::Reported => {
                self.foundation.metrics.delivery(channel.name.as_str(), "deferred");
                let wait = REPORTED_WITHIN.max(backoff(RETRY_FIRST, RETRY_LONGEST, attempt));
                self.foundation.store.release(&held.lease, Next::After(wait)).await?;
                return Ok(Lane::Released);
            }
            SendError::Unknown { reason } => self.settle_unknown(channel, &reason).unwrap_or_else(|| {
                SendEnd::Deferred { after: backoff(RETRY_FIRST, RETRY_LONGEST, attempt), reason, detail }
            }),
            SendError::Moved { address } => {
                moves.push(part.id);
                let is_lost = moves.iter().filter(|id| **id == part.id).count() > MOST_MOVES;
                if address != part.address && !is_lost {
                    insist(|| self.foundation.store.moved(&held.lease, part.id, &address)).await?;
                    return Ok(Lane::Changed);
                }
                room.gate.worked();
                let detail = "The platform says again and again that the chat has moved.".to_owned();
                SendEnd::Failed { reason: "moved_again".to_owned(), detail }
            }
        };
        self.finish(held, channel, part, end).await
    }

    /// `None`: it may be sent again. Counted, case by case.
    fn settle_unknown(&self, channel: &Channel, reason: &str) -> Option<SendEnd> {
        let metrics = &self.foundation.metrics;
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

    async fn finish(&self, held: &Held, channel: &Channel, part: &Outgoing, end: SendEnd) -> Result<Lane, StoreError> {
        let (label, lane) = match &end {
            SendEnd::Sent(_) => ("sent", Lane::Kept),
            SendEnd::Failed { .. } => ("failed", Lane::Changed),
            SendEnd::Held { .. } => ("held", Lane::Changed),
            SendEnd::Deferred { .. } => ("deferred", Lane::Released),
        };
        insist(|| self.foundation.store.sent(&held.lease, part.id, &end)).await?;
        failpoint::reach("delivery.sent");
        self.foundation.metrics.delivery(channel.name.as_str(), label);
        if let SendEnd::Failed { reason, .. } | SendEnd::Held { reason, .. } = &end {
            tracing::warn!(chat = %held.lease.chat_ref, channel = %channel.name, part = %part.id, reason, "a part failed for good");
        }
        Ok(lane)
    }
}

/// An answer that nobody should get any more: the chat has moved on.
fn stale(channel: &Channel, part: &Outgoing, now: Timestamp) -> Option<SendEnd> {
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
