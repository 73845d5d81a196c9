//! What is left of a key after a 429 of Fini, where nobody knows how much Fini allows: additive increase, multiplicative
//! decrease (AIMD).
//!
//! Without a 429 nothing is limited. The first one sets a rate a little below what Fini took in the time before; from
//! there on the rate rises slowly until the next. Calls leave evenly, so that no pause is followed by a burst. Calls in
//! flight fall and rise with the rate, as each takes its time.
//!
//! Each replica learns its own rate from its own calls: independent AIMD senders come to even shares of a limit that
//! none of them knows, and a replica that has nothing to ask takes nothing away from the others.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::pipeline::retry::retry_after_or;

/// A 429 leaves so much of what was taken.
const DECREASE: f64 = 0.93;
/// The rate rises by this times its root each second, by all replicas together. That is less than in proportion, so that
/// a replica with little catches up with one that has much.
const INCREASE: f64 = 0.05;
/// After so many seconds without a 429 the rate doubles every [`DOUBLES_IN`], up to [`LIFTED`], which is as good as none.
const QUIET: f64 = 30.0;
const DOUBLES_IN: f64 = 5.0;
const LIFTED: f64 = 1000.0;
/// What the first 429 leaves at least, and a later one as long as it halves nothing.
const CAREFUL: f64 = 1.0;
const LEAST: f64 = 1.0 / 60.0;
/// A rate that was measured over less is no measure of a smaller one.
const MEASURED_WITHIN: f64 = 2.0;
/// Pauses after a 429 that doesn't say how long.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
const PAUSE_LONGEST: Duration = Duration::from_secs(60);
/// After a pause in which nothing worked, one call shows whether something does by now. A 429 comes within this.
const PROBE: Duration = Duration::from_secs(1);
/// Calls that are late by this much are made up for at once.
const LATE: Duration = Duration::from_millis(100);

/// The calls of one kind to one key, by this process.
pub struct Throttle {
    /// Replicas that share the store, this one included.
    live: watch::Receiver<u32>,
    taken: Taken,
    limit: Option<Limit>,
}

/// Calls that were begun and not throttled, as far as that is known.
struct Taken {
    /// Under a limit: the last 429 that was a surprise. Otherwise this second.
    since: Instant,
    number: u32,
    /// In the second before.
    before: u32,
}

struct Limit {
    /// Calls a second at the end of the pause.
    rate: f64,
    throttled_at: Instant,
    paused_until: Instant,
    /// One after the other, in which nothing worked. The next one is longer.
    pauses: u32,
    next_at: Instant,
    is_probing: bool,
    /// What the rate was made of. It becomes less by those whose 429 comes late.
    measured: Measured,
}

struct Measured {
    taken: u32,
    seconds: f64,
    pauses_before: u32,
}

impl Throttle {
    pub fn new(live: watch::Receiver<u32>, now: Instant) -> Self {
        Self { live, taken: Taken { since: now, number: 0, before: 0 }, limit: None }
    }

    /// How many calls may begin now.
    pub fn slots(&mut self, now: Instant) -> u32 {
        let Some(rate) = self.rate(now) else { return u32::MAX };
        let Some(limit) = &self.limit else { return u32::MAX };
        if now < limit.next_at {
            return 0;
        }
        if limit.is_probing {
            return 1;
        }
        let late = now.saturating_duration_since(limit.next_at).min(LATE);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small, and not negative")]
        let made_up_for = (late.as_secs_f64() * rate) as u32;
        made_up_for.saturating_add(1)
    }

    /// When the next call may begin, where that isn't now.
    pub fn opens_at(&self) -> Option<Instant> {
        self.limit.as_ref().map(|limit| limit.next_at)
    }

    /// A call may begin: it has one of the slots.
    pub fn take(&mut self, now: Instant) {
        let Some(rate) = self.rate(now) else { return };
        let Some(limit) = &mut self.limit else { return };
        let mut gap = Duration::from_secs_f64(1.0 / rate.max(LEAST));
        if std::mem::take(&mut limit.is_probing) {
            gap = gap.max(PROBE);
        }
        limit.next_at = limit.next_at.max(now.checked_sub(LATE).unwrap_or(now)) + gap;
    }

    /// A call leaves.
    pub fn begun(&mut self, now: Instant) {
        let Taken { since, number, before } = &mut self.taken;
        let second = now.saturating_duration_since(*since).as_secs();
        if self.limit.is_none() && second > 0 {
            *before = if second == 1 { *number } else { 0 };
            (*since, *number) = (now, 0);
        }
        *number = number.saturating_add(1);
    }

    /// 429 for a call that began then.
    pub fn throttled(&mut self, began: Instant, retry_after: Option<Duration>, now: Instant) {
        match &mut self.limit {
            Some(limit) if began <= limit.throttled_at => limit.late(retry_after, now),
            _ => self.cut(retry_after, now),
        }
    }

    fn cut(&mut self, retry_after: Option<Duration>, now: Instant) {
        let rate = self.rate(now);
        let taken = self.taken.number.saturating_sub(1);
        let pauses_before = self.limit.as_ref().map_or(0, |limit| limit.pauses);
        let (pauses, taken, seconds) = match &self.limit {
            Some(_) if taken == 0 => (pauses_before.saturating_add(1), 0, 0.0),
            Some(_) => (1, taken, now.saturating_duration_since(self.taken.since).as_secs_f64().max(0.1)),
            None => (1, taken.max(self.taken.before), 1.0),
        };
        let measured = f64::from(taken) / seconds.max(0.1);
        let rate = match rate {
            None => (DECREASE * measured).max(CAREFUL),
            // Nothing is learned from a pause that was too short, but that.
            Some(rate) if pauses > 1 => rate,
            Some(rate) => {
                let least = if seconds < MEASURED_WITHIN { rate / 2.0 } else { CAREFUL.min(rate / 2.0) };
                (DECREASE * measured.min(rate)).max(least).max(LEAST)
            }
        };
        if pauses == 1 {
            self.taken = Taken { since: now, number: 0, before: 0 };
        } else {
            self.taken.number = 0;
        }
        let paused_until = now + pause(retry_after, pauses);
        self.limit = Some(Limit {
            rate,
            throttled_at: now,
            paused_until,
            pauses,
            next_at: paused_until,
            is_probing: pauses > 1,
            measured: Measured { taken, seconds, pauses_before },
        });
    }

    /// Calls a second by now.
    fn rate(&mut self, now: Instant) -> Option<f64> {
        let limit = self.limit.as_ref()?;
        let risen_for = now.saturating_duration_since(limit.paused_until).as_secs_f64();
        let step = INCREASE * limit.rate.sqrt() / f64::from((*self.live.borrow()).max(1));
        let rate = limit.rate + step * risen_for.min(QUIET);
        let rate = rate * ((risen_for - QUIET).max(0.0) / DOUBLES_IN).exp2();
        if rate < LIFTED {
            return Some(rate);
        }
        self.limit = None;
        self.taken = Taken { since: now, number: 0, before: 0 };
        None
    }
}

impl Limit {
    /// 429 for a call that left before the last one was known: Fini took one less than that was made of.
    fn late(&mut self, retry_after: Option<Duration>, now: Instant) {
        let Measured { taken, seconds, pauses_before } = &mut self.measured;
        if *taken > 0 {
            *taken -= 1;
            self.rate = (self.rate - DECREASE / *seconds).max(CAREFUL.min(self.rate));
            if *taken == 0 && *pauses_before > 0 {
                self.pauses = pauses_before.saturating_add(1);
                self.is_probing = true;
                self.paused_until = self.paused_until.max(self.throttled_at + pause(None, self.pauses));
            }
        }
        let until = retry_after.map(|_| now + pause(retry_after, self.pauses));
        self.paused_until = self.paused_until.max(until.unwrap_or(self.paused_until));
        self.next_at = self.next_at.max(self.paused_until);
    }
}

fn pause(retry_after: Option<Duration>, pauses: u32) -> Duration {
    retry_after_or(retry_after, PAUSE_FIRST, PAUSE_LONGEST, pauses)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A limit of Fini that nobody is told of.
    struct Bucket {
        per_second: f64,
        burst: f64,
        tokens: f64,
        at: Instant,
    }

    impl Bucket {
        fn new(per_second: f64, burst: f64, at: Instant) -> Self {
            Self { per_second, burst, tokens: burst, at }
        }

        fn takes(&mut self, now: Instant) -> bool {
            let since = now.duration_since(self.at).as_secs_f64();
            (self.tokens, self.at) = ((self.tokens + since * self.per_second).min(self.burst), now);
            let takes = self.tokens >= 1.0;
            if takes {
                self.tokens -= 1.0;
            }
            takes
        }
    }

    /// Replicas that always have something to ask. When each of their calls was made, and whether it was taken.
    fn calls(bucket: &mut Bucket, replicas: u32, round_trip: Duration, from: Instant, time: Duration) -> Vec<(f64, bool)> {
        let live = watch::channel(replicas).1;
        let mut throttles: Vec<Throttle> = (0..replicas).map(|_| Throttle::new(live.clone(), from)).collect();
        let mut told: Vec<(Instant, usize, Instant)> = Vec::new();
        let (mut calls, mut now) = (Vec::new(), from);
        let mut crowd = 300;
        while now < from + time {
            told.retain(|(at, replica, began)| {
                if *at <= now {
                    throttles[*replica].throttled(*began, None, now);
                }
                *at > now
            });
            for (replica, throttle) in throttles.iter_mut().enumerate() {
                for _ in 0..throttle.slots(now).min(crowd) {
                    throttle.take(now);
                    throttle.begun(now);
                    let takes = bucket.takes(now);
                    if !takes {
                        told.push((now + round_trip, replica, now));
                    }
                    calls.push((now.duration_since(from).as_secs_f64(), takes));
                }
            }
            crowd = if throttles.iter().any(|throttle| throttle.limit.is_none()) { 10 } else { 300 };
            now += Duration::from_millis(5);
        }
        calls
    }

    fn between(calls: &[(f64, bool)], from: f64, to: f64) -> (f64, f64) {
        let within = calls.iter().filter(|(at, _)| (from..to).contains(at));
        let (taken, all) = within.fold((0.0, 0.0), |(taken, all), (_, is)| (taken + f64::from(u8::from(*is)), all + 1.0));
        (taken / (to - from), 1.0 - taken / all)
    }

    #[test]
    fn most_of_what_fini_takes_is_asked_and_few_calls_are_throttled() {
        for replicas in [1, 2, 4, 8] {
            for (rate, burst) in [(1.0, 5.0), (10.0, 1.0), (10.0, 10.0), (10.0, 100.0), (100.0, 100.0)] {
                for round_trip in [Duration::from_millis(5), Duration::from_millis(150)] {
                    let from = Instant::now();
                    let calls = calls(&mut Bucket::new(rate, burst, from), replicas, round_trip, from, 190 * SECOND);
                    let (taken, throttled) = between(&calls, 30.0, 90.0);
                    let (later, late) = between(&calls, 90.0, 190.0);
                    println!("{replicas} x {rate}/s, {burst}, {round_trip:?}: {taken:.2} {throttled:.3} | {later:.2} {late:.3}");
                }
            }
        }
    }
}
