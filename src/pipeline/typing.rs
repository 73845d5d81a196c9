//! Typing signs: that somebody is writing, for as long as an answer takes.

use std::convert::Infallible;
use std::time::Duration;

use super::channel::Channel;
use crate::domain::id::LaneId;
use crate::domain::message::Role;
use crate::platform::SendError;
use crate::store::Turn;

pub async fn with_typing<T>(channel: &Channel, lane: LaneId, turn: &Turn, answer: impl Future<Output = T>) -> T {
    let Some(lasts) = channel.platform.typing_lasts().filter(|_| turn.role == Role::User) else {
        return answer.await;
    };
    tokio::select! {
        answer = answer => answer,
        never = keep_typing(channel, lane, turn, lasts) => match never {},
    }
}

/// Signs take only what the channel's pace leaves over: one that finds nothing is tried again before long.
/// A 429 for one counts as one for a reply does.
async fn keep_typing(channel: &Channel, lane: LaneId, turn: &Turn, lasts: Duration) -> Infallible {
    loop {
        let pause = if !channel.limiter.acquire_spare(lane) {
            lasts / 4
        } else if let Err(SendError::Throttled { after, scope, .. }) = channel.platform.typing(&turn.address).await {
            // The other replicas hear of it from the first reply that is throttled, or find out likewise.
            let after = after.unwrap_or(lasts);
            channel.limiter.throttled(lane, scope, after);
            after.max(lasts)
        } else {
            lasts
        };
        tokio::time::sleep(pause).await;
    }
}
