//! What a message costs, by counts: they are the same on a slow machine, so they may fail a build. `make bench` has the
//! figures that depend on the machine.
//!
//! Each bound is what was counted, with some room for what a slow machine adds (housekeeping goes by the clock). Who
//! makes a message cheaper lowers it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods)]

#[path = "../support/database.rs"]
#[allow(dead_code)]
mod database;
#[path = "../support/mod.rs"]
mod support;

mod instructions;
mod postgres;
mod sqlite;

use std::time::Duration;

use support::senders::{self, CHANNELS};
use support::{SOON, World, eventually};

const MESSAGES: u32 = 20;

/// Each in a chat of its own, one after the other.
async fn answer(world: &World) {
    for number in 1..=MESSAGES {
        let message = senders::bridge_message(&format!("chat-{number}"), &format!("m{number}"), "where is my parcel?");
        world.deliver("bridge", message).await;
        eventually("the answer is delivered", SOON, async || {
            (world.outside.sent().len() >= usize::try_from(number).unwrap()).then_some(())
        })
        .await;
    }
}

/// Until nothing was added for a while: what follows an answer is part of its cost.
async fn settled<T: PartialEq>(mut count: impl AsyncFnMut() -> T) -> T {
    let mut last = count().await;
    eventually("nothing is written any more", Duration::from_secs(60), async || {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = std::mem::replace(&mut last, count().await);
        (before == last).then_some(())
    })
    .await;
    last
}

#[allow(clippy::cast_precision_loss)]
fn per_message(count: u64) -> f64 {
    count as f64 / f64::from(MESSAGES)
}
