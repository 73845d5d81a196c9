//! Since when something can be due at all. Lanes that were due and are not any more leave dead entries at the beginning
//! of the index that looks read. Under a transaction that somebody leaves open they stay there for hours, and each look
//! would read them all: it begins behind them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::clock::Timestamp;
use crate::domain::id::ChannelName;
use crate::store::WorkKind;

/// Nothing is made due for a time that is longer past: no transaction takes so long.
pub(super) const MARGIN: Duration = Duration::from_secs(30);
/// A look begins at the very beginning once in so long: if that is ever wrong, a chat waits no longer.
const WHOLE_EVERY: Duration = Duration::from_secs(60);

/// For each kind of work and channel.
#[derive(Default)]
pub(super) struct Floors(Mutex<HashMap<(WorkKind, ChannelName), Floor>>);

#[derive(Clone, Copy)]
struct Floor {
    /// Nothing is due before this.
    at: Timestamp,
    /// When a look last began at the very beginning.
    whole_at: Instant,
}

impl Floors {
    fn with<T>(&self, change: impl FnOnce(&mut HashMap<(WorkKind, ChannelName), Floor>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where a look begins; `None`: at the very beginning.
    pub(super) fn of(&self, work: WorkKind, channel: &ChannelName) -> Option<Timestamp> {
        let known = self.with(|floors| floors.get(&(work, channel.clone())).copied());
        known.filter(|floor| floor.whole_at.elapsed() < WHOLE_EVERY).map(|floor| floor.at)
    }

    /// What a look that is committed has seen. `next`: the first that is still due in one of these channels.
    pub(super) fn looked(&self, work: WorkKind, from: &[(ChannelName, Option<Timestamp>)], next: Timestamp) {
        let at = next.minus(MARGIN);
        self.with(|floors| {
            for (channel, floor) in from {
                let known = floors.entry((work, channel.clone())).or_insert(Floor { at, whole_at: Instant::now() });
                known.at = at;
                if floor.is_none() {
                    known.whole_at = Instant::now();
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_look_begins_where_nothing_can_be_due_before_and_at_the_very_beginning_once_a_minute() {
        let (floors, channel) = (Floors::default(), ChannelName::new("shop"));
        let floor = || floors.of(WorkKind::Turns, &channel);
        let looked = |second: i64| {
            let from = [(channel.clone(), floor())];
            floors.looked(WorkKind::Turns, &from, Timestamp::from_secs(second));
        };
        assert_eq!(floor(), None);
        looked(1000);
        assert_eq!(floor(), Some(Timestamp::from_secs(970)));
        assert_eq!(floors.of(WorkKind::Deliveries, &channel), None);
        for second in 1..60 {
            tokio::time::advance(Duration::from_secs(1)).await;
            looked(1000 + second);
        }
        assert_eq!(floor(), Some(Timestamp::from_secs(1029)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(floor(), None);
        looked(1060);
        assert_eq!(floor(), Some(Timestamp::from_secs(1030)));
    }
}
