//! Typing signs: that somebody is writing, for as long as an answer takes.

use std::convert::Infallible;
use std::time::Duration;

use super::channel::Channel;
use crate::domain::id::LaneId;
use crate::domain::message::Role;
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
async fn keep_typing(channel: &Channel, lane: LaneId, turn: &Turn, lasts: Duration) -> Infallible {
    loop {
        if channel.limiter.acquire_spare(lane) {
            channel.platform.typing(&turn.address).await;
            tokio::time::sleep(lasts).await;
        } else {
            tokio::time::sleep(lasts / 4).await;
        }
    }
}
