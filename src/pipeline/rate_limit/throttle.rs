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

/// A 429 costs so much of the rate. Where several replicas share a limit, one of them sees it: it gives up this much for
/// each of them, at most half.
const DECREASE: f64 = 0.05;
/// The rate rises by this times its root each second, by all replicas together: less than in proportion, so that a
/// replica with little catches up with one that has much. Small rates rise in proportion ([`SMALL`]).
const INCREASE: f64 = 0.05;
const SMALL: f64 = 10.0;
/// After so many seconds without a 429 the rate doubles every [`DOUBLES_IN`], up to [`LIFTED`], which is as good as none.
const QUIET: f64 = 10.0;
const DOUBLES_IN: f64 = 10.0;
const LIFTED: f64 = 1000.0;
/// What the first 429 leaves at least, and a later one as long as it halves nothing.
const CAREFUL: f64 = 1.0;
const LEAST: f64 = 1.0 / 60.0;
/// A rate that was measured over less is no measure of a smaller one.
const MEASURED_WITHIN: f64 = 2.0;
/// The pause after a 429 that doesn't say how long, while calls work.
const PAUSE: Duration = Duration::from_millis(100);
/// Pauses after one while nothing works.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_LONGEST: Duration = Duration::from_secs(60);
/// After a pause in which nothing worked, one call shows whether something does by now. A 429 comes within this.
const PROBE: Duration = Duration::from_secs(1);
/// Calls that are late by this much are made up for at once.
const LATE: Duration = Duration::from_millis(20);

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
    /// One after the other, before which nothing worked. The next one is longer.
    pauses: u32,
    next_at: Instant,
    is_probing: bool,
    /// What the rate was made of. It becomes less by those whose 429 comes late.
    measured: Measured,
}

struct Measured {
    taken: u32,
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
        let (taken, seconds) = match &self.limit {
            Some(_) => (taken, now.saturating_duration_since(self.taken.since).as_secs_f64().max(0.1)),
            None => (taken.max(self.taken.before), 1.0),
        };
        let pauses = if taken > 0 { 0 } else { pauses_before.saturating_add(1) };
        let measured = f64::from(taken) / seconds;
        let rate = match rate {
            None => ((1.0 - DECREASE) * measured).max(CAREFUL),
            // A pause in which nothing worked says nothing of the rate.
            Some(rate) if pauses > 0 => rate,
            Some(rate) => {
                let decreased = rate * (1.0 - DECREASE * f64::from(self.replicas())).max(0.5);
                let rate = match seconds < MEASURED_WITHIN {
                    true if measured > rate / 2.0 => decreased,
                    true => rate / 2.0,
                    false => measured.min(decreased).max(CAREFUL.min(rate / 2.0)),
                };
                rate.max(LEAST)
            }
        };
        if pauses == 0 || self.limit.is_none() {
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
            is_probing: pauses > 0,
            measured: Measured { taken, pauses_before },
        });
    }

    fn replicas(&self) -> u32 {
        (*self.live.borrow()).max(1)
    }

    /// Calls a second by now.
    fn rate(&mut self, now: Instant) -> Option<f64> {
        let limit = self.limit.as_ref()?;
        let risen_for = now.saturating_duration_since(limit.paused_until).as_secs_f64();
        let slowly = limit.rate.sqrt().min(limit.rate / SMALL.sqrt());
        let step = INCREASE * slowly / f64::from(self.replicas());
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
        let Measured { taken, pauses_before } = &mut self.measured;
        if *taken > 0 {
            let less = self.rate * f64::from(*taken - 1) / f64::from(*taken);
            self.rate = less.max(CAREFUL.min(self.rate));
            *taken -= 1;
            if *taken == 0 {
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
    match pauses {
        0 => retry_after_or(retry_after, PAUSE, PAUSE, 1),
        _ => retry_after_or(retry_after, PAUSE_FIRST, PAUSE_LONGEST, pauses),
    }
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
    fn calls(
        bucket: &mut Bucket,
        replicas: u32,
        round_trip: Duration,
        from: Instant,
        time: Duration,
    ) -> Vec<(f64, bool)> {
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
        let (taken, all) =
            within.fold((0.0, 0.0), |(taken, all), (_, is)| (taken + f64::from(u8::from(*is)), all + 1.0));
        (taken / (to - from), 1.0 - taken / all)
    }

    #[test]
    fn nearly_all_that_fini_takes_is_asked_and_few_calls_are_throttled() {
        for (replicas, rate, burst) in
            [(1, 10.0, 10.0), (1, 10.0, 100.0), (1, 100.0, 100.0), (4, 10.0, 10.0), (4, 100.0, 100.0)]
        {
            for round_trip in [Duration::from_millis(5), Duration::from_millis(150)] {
                let from = Instant::now();
                let calls = calls(&mut Bucket::new(rate, burst, from), replicas, round_trip, from, 90 * SECOND);
                let (taken, throttled) = between(&calls, 30.0, 90.0);
                println!("{replicas} replicas, {rate}/s, burst {burst}: {taken:.2}/s, {throttled:.3} throttled");
                assert!(taken >= 0.9 * rate, "{replicas} replicas, {rate}/s, burst {burst}: {taken}/s");
                assert!(throttled <= 0.1, "{replicas} replicas, {rate}/s, burst {burst}: {throttled}");
            }
        }
    }

    /// When calls begin, each as soon as it may, from `from` for so long.
    fn begin(throttle: &mut Throttle, from: Instant, time: Duration) -> Vec<Duration> {
        let step = Duration::from_millis(5);
        let times = (0..time.as_millis() / 5).map(|number| step * u32::try_from(number).unwrap());
        let mut begun = Vec::new();
        for at in times {
            for _ in 0..throttle.slots(from + at).min(1000) {
                throttle.take(from + at);
                throttle.begun(from + at);
                begun.push(at);
            }
        }
        begun
    }

    #[test]
    fn a_retry_after_is_kept_and_no_burst_follows_it() {
        let from = Instant::now();
        let mut throttle = Throttle::new(watch::channel(1).1, from);
        (0..300).for_each(|_| throttle.begun(from));
        for _ in 0..290 {
            throttle.throttled(from, Some(20 * SECOND), from + SECOND / 10);
        }
        let begun = begin(&mut throttle, from + SECOND / 10, 30 * SECOND);
        assert!(begun[0] >= 20 * SECOND, "{:?}", begun[0]);
        let most =
            begun.iter().map(|from| begun.iter().filter(|at| *at >= from && **at < *from + SECOND).count()).max();
        assert!(most.is_some_and(|most| (9..=12).contains(&most)), "{most:?} in a second");
    }

    #[test]
    fn pauses_grow_only_while_nothing_works() {
        let mut now = Instant::now();
        let mut throttle = Throttle::new(watch::channel(1).1, now);
        (0..20).for_each(|_| throttle.begun(now));
        let mut pause = |works: bool| {
            while throttle.slots(now) == 0 {
                now += Duration::from_millis(5);
            }
            for _ in 0..if works { 2 } else { 1 } {
                throttle.take(now);
                throttle.begun(now);
                now += Duration::from_millis(1);
            }
            throttle.throttled(now, None, now);
            throttle.opens_at().unwrap() - now
        };
        let outage: Vec<Duration> = (0..12).map(|_| pause(false)).collect();
        assert!(outage[11] >= PAUSE_LONGEST && outage[11] <= 2 * PAUSE_LONGEST, "{outage:?}");
        assert!(outage.windows(2).take(8).all(|two| two[1] > two[0] / 2), "{outage:?}");
        for _ in 0..10 {
            let pause = pause(true);
            assert!(pause <= 2 * PAUSE, "{pause:?}");
        }
    }

    #[test]
    fn without_a_429_for_minutes_nothing_is_limited_any_more() {
        let from = Instant::now();
        let mut throttle = Throttle::new(watch::channel(1).1, from);
        throttle.begun(from);
        throttle.throttled(from, None, from);
        assert_eq!(throttle.slots(from), 0);
        assert_eq!(throttle.slots(from + 180 * SECOND), u32::MAX);
    }
}
