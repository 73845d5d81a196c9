//! A sliding window: what was spent in the time up to now.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::span::Rate;

/// Times that are kept one by one. Of a larger rate, those that lie close together are kept as one.
const ENTRIES: u32 = 64;

struct Entry {
    first: Instant,
    /// The entry counts until a window's length after this.
    last: Instant,
    number: u32,
}

/// In no span of `rate.per` more than `rate.count`, wherever the span begins. The rate is an argument, as a share of it
/// changes with the number of replicas.
#[derive(Default)]
pub struct SlidingWindow {
    entries: VecDeque<Entry>,
    total: u32,
}

impl SlidingWindow {
    /// How long until one more fits; zero: it fits now.
    pub fn wait(&mut self, rate: Rate, now: Instant) -> Duration {
        self.expire(rate, now);
        let mut left = self.total;
        for entry in &self.entries {
            if left < rate.count {
                break;
            }
            left = left.saturating_sub(entry.number);
            if left < rate.count {
                return (entry.last + rate.per).saturating_duration_since(now);
            }
        }
        Duration::ZERO
    }

    /// What was spent within the window up to now.
    pub fn spent(&mut self, rate: Rate, now: Instant) -> u32 {
        self.expire(rate, now);
        self.total
    }

    pub fn spend(&mut self, rate: Rate, now: Instant) {
        self.total = self.total.saturating_add(1);
        let close = rate.per / ENTRIES;
        match self.entries.back_mut() {
            Some(entry) if rate.count > ENTRIES && now.saturating_duration_since(entry.first) < close => {
                entry.last = now;
                entry.number = entry.number.saturating_add(1);
            }
            _ => self.entries.push_back(Entry { first: now, last: now, number: 1 }),
        }
    }

    /// Spends one if it fits now.
    pub fn try_spend(&mut self, rate: Rate, now: Instant) -> bool {
        let fits = self.wait(rate, now).is_zero();
        if fits {
            self.spend(rate, now);
        }
        fits
    }

    fn expire(&mut self, rate: Rate, now: Instant) {
        while let Some(entry) = self.entries.front()
            && now.saturating_duration_since(entry.last) >= rate.per
        {
            self.total = self.total.saturating_sub(entry.number);
            self.entries.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn per_second(count: u32) -> Rate {
        Rate { count, per: SECOND }
    }

    /// Spends whenever something fits, for so long, and returns when.
    fn spend_for(window: &mut SlidingWindow, rate: Rate, from: Instant, time: Duration) -> Vec<Instant> {
        let (mut now, mut spent) = (from, Vec::new());
        loop {
            let wait = window.wait(rate, now);
            now += wait;
            if now >= from + time {
                return spent;
            }
            if wait.is_zero() {
                window.spend(rate, now);
                spent.push(now);
            }
        }
    }

    fn most_in_a_window(times: &[Instant], per: Duration) -> usize {
        times.iter().map(|from| times.iter().filter(|at| *at >= from && **at < *from + per).count()).max().unwrap_or(0)
    }

    #[test]
    fn no_window_holds_more_than_the_rate_wherever_it_begins() {
        let from = Instant::now();
        for rate in [per_second(1), per_second(30), Rate { count: 3, per: 3 * SECOND }, per_second(500)] {
            let times = spend_for(&mut SlidingWindow::default(), rate, from, 12 * SECOND);
            assert_eq!(most_in_a_window(&times, rate.per), rate.count as usize, "{rate}");
            let full = (12 * SECOND).as_secs() * u64::from(rate.count) / rate.per.as_secs();
            assert!(times.len() as u64 * 100 >= full * 97, "{rate}: {} of {full}", times.len());
        }
    }

    #[test]
    fn a_large_rate_costs_no_more_memory_than_a_small_one() {
        let (mut window, from) = (SlidingWindow::default(), Instant::now());
        for number in 0..100_000 {
            window.spend(per_second(1_000_000), from + Duration::from_micros(5 * number));
        }
        assert_eq!(window.total, 100_000);
        assert!(window.entries.len() <= 65, "{}", window.entries.len());
    }

    #[test]
    fn a_rate_that_becomes_smaller_counts_what_was_spent_before() {
        let (mut window, now) = (SlidingWindow::default(), Instant::now());
        for _ in 0..30 {
            window.spend(per_second(30), now);
        }
        assert_eq!(window.wait(per_second(10), now + SECOND / 2), SECOND / 2);
        assert_eq!(window.wait(per_second(10), now + SECOND), Duration::ZERO);
    }
}
