//! Log lines about webhooks that are turned away. Anybody can cause these: of each channel and reason the first few of
//! a while are written, and then one line with the number of the rest. Counters count each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::domain::id::ChannelName;

/// Lines of a channel and a reason …
const LINES: u64 = 5;
/// … within this time.
const WINDOW: Duration = Duration::from_secs(10);

type Key = (ChannelName, &'static str);

#[derive(Clone)]
pub struct RefusalLog {
    window: Duration,
    windows: Arc<Mutex<HashMap<Key, u64>>>,
}

impl Default for RefusalLog {
    fn default() -> Self {
        Self { window: WINDOW, windows: Arc::default() }
    }
}

impl RefusalLog {
    /// Whether this one may be written. The first of a window sees to the line at its end.
    pub fn admits(&self, channel: &ChannelName, reason: &'static str) -> bool {
        let key = (channel.clone(), reason);
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let number = windows.entry(key.clone()).or_default();
        *number += 1;
        if *number == 1 {
            tokio::spawn(self.clone().close(key));
        }
        *number <= LINES
    }

    async fn close(self, key: Key) {
        tokio::time::sleep(self.window).await;
        let number = self.windows.lock().unwrap_or_else(PoisonError::into_inner).remove(&key).unwrap_or_default();
        let (channel, reason) = key;
        if let Some(more) = number.checked_sub(LINES).filter(|more| *more > 0) {
            let seconds = self.window.as_secs();
            tracing::warn!(%channel, reason, more, seconds, "more webhooks were turned away");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn of_a_flood_a_few_lines_are_written_in_each_window() {
        let log = RefusalLog { window: Duration::from_millis(200), ..RefusalLog::default() };
        let channel = ChannelName::new("shop");
        let admitted = || (0..1000).filter(|_| log.admits(&channel, "wrong")).count();
        assert_eq!(admitted(), 5);
        assert!(log.admits(&channel, "missing") && log.admits(&ChannelName::new("other"), "wrong"));
        while !log.windows.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(admitted(), 5);
    }
}
