//! Channels that another replica, or this one before it started again, was told to pause.

use std::sync::Arc;
use std::time::Duration;

use crate::pipeline::Deps;

/// While others share the store. Within this they know of a pause; a replica that sends meanwhile is told by the
/// platform, too.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

pub async fn keep_pauses(deps: Arc<Deps>) {
    let mut replicas = deps.replicas.subscribe();
    loop {
        match deps.store.pauses().await {
            Ok(pauses) => {
                for (channel, time) in pauses {
                    if let Some(channel) = deps.channels.get(&channel) {
                        channel.limiter.pause(time);
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "whether channels are paused can't be looked up"),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        // Alone it knows of its own.
        if replicas.wait_for(|live| *live > 1).await.is_err() {
            return;
        }
    }
}
