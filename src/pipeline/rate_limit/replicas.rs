//! A replica's share of a rate that all live replicas keep together.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::domain::span::Rate;

/// Replicas see each other come and go within this.
const NOTICED_WITHIN: Duration = Duration::from_secs(2);

/// How many replicas share a rate. The number goes up at once and down a window later, when nothing of what the others
/// spent counts any more. A replica that joins others spends nothing until they know of it and a window has passed.
pub struct Replicas {
    live: watch::Receiver<u32>,
    started: Instant,
    counted: u32,
    /// Fewer by then.
    fewer: Option<(Instant, u32)>,
}

/// What a replica may spend now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    Of(Rate),
    /// Nothing before this.
    NotBefore(Instant),
}

impl Replicas {
    pub fn new(live: watch::Receiver<u32>, now: Instant) -> Self {
        let counted = (*live.borrow()).max(1);
        Self { live, started: now, counted, fewer: None }
    }

    pub fn share(&mut self, rate: Rate, now: Instant) -> Share {
        self.count(rate.per, now);
        let joined = self.started + NOTICED_WITHIN + rate.per;
        if self.counted > 1 && now < joined {
            return Share::NotBefore(joined);
        }
        Share::Of(share(rate, self.counted))
    }

    /// When the share changes next without anybody's coming or going.
    pub fn changes_at(&self) -> Option<Instant> {
        self.fewer.map(|(at, _)| at)
    }

    fn count(&mut self, window: Duration, now: Instant) {
        let live = (*self.live.borrow()).max(1);
        if live >= self.counted {
            (self.counted, self.fewer) = (live, None);
            return;
        }
        match self.fewer {
            Some((at, fewer)) if fewer == live => {
                if now >= at {
                    (self.counted, self.fewer) = (live, None);
                }
            }
            _ => self.fewer = Some((now + window, live)),
        }
    }
}

/// Rounded down, so that the sum of all shares is within the rate. Where there are more replicas than tokens, each has
/// one in a time that is longer by as much.
fn share(rate: Rate, replicas: u32) -> Rate {
    match rate.count / replicas {
        0 => Rate { count: 1, per: rate.per.saturating_mul(replicas) / rate.count.max(1) },
        count => Rate { count, per: rate.per },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const RATE: Rate = Rate { count: 30, per: SECOND };

    fn of(count: u32) -> Share {
        Share::Of(Rate { count, per: SECOND })
    }

    #[test]
    fn the_shares_of_all_replicas_are_at_most_the_rate() {
        for (count, replicas) in [(30, 1), (30, 2), (30, 4), (30, 7), (5, 2), (1, 1)] {
            let share = share(Rate { count, per: SECOND }, replicas);
            assert!(share.count * replicas <= count && share.per == SECOND, "{count} by {replicas}: {share}");
        }
        assert_eq!(share(Rate { count: 5, per: SECOND }, 50), Rate { count: 1, per: 10 * SECOND });
    }

    #[test]
    fn one_replica_alone_has_all_of_it_from_the_start() {
        let (_live, watched) = watch::channel(1);
        let now = Instant::now();
        assert_eq!(Replicas::new(watched, now).share(RATE, now), of(30));
    }

    #[test]
    fn a_replica_that_joins_waits_until_the_others_have_made_room() {
        let (live, watched) = watch::channel(2);
        let now = Instant::now();
        let (mut joins, mut first) = (Replicas::new(watched.clone(), now), Replicas::new(watched, now - 60 * SECOND));
        drop(live);
        assert_eq!(joins.share(RATE, now), Share::NotBefore(now + 3 * SECOND));
        assert_eq!(joins.share(RATE, now + 3 * SECOND), of(15));
        assert_eq!(first.share(RATE, now), of(15), "who was there before makes room at once");
    }

    #[test]
    fn what_a_replica_leaves_is_taken_a_window_later() {
        let (live, watched) = watch::channel(3);
        let now = Instant::now();
        let mut replicas = Replicas::new(watched, now - 60 * SECOND);
        assert_eq!(replicas.share(RATE, now), of(10));
        live.send_replace(1);
        assert_eq!(replicas.share(RATE, now), of(10));
        assert_eq!(replicas.changes_at(), Some(now + SECOND));
        assert_eq!(replicas.share(RATE, now + SECOND / 2), of(10));
        assert_eq!(replicas.share(RATE, now + SECOND), of(30));
        live.send_replace(2);
        assert_eq!(replicas.share(RATE, now + SECOND), of(15), "who joins is counted at once");
    }
}
