//! `pace` and `pace_per_chat`: how fast parts and typing signs leave for a platform.
//!
//! A chat's parts are sent by one replica at a time, so that its rate is not shared; the channel's is.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::replicas::{Replicas, Share};
use super::window::SlidingWindow;
use crate::domain::id::LaneId;
use crate::domain::span::Rate;
use crate::platform::{Pace, ThrottleScope};

/// Chats are looked through for those that sent nothing lately when there are twice as many as the last time, at least
/// so many.
const CHATS: usize = 1024;

/// A platform says within this whether it takes a part, mostly. Otherwise the next one shows it.
const SHOWN_WITHIN: Duration = Duration::from_secs(1);

/// There is no token now; about this long from now there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait(pub Duration);

/// The rates of one channel.
pub struct RateLimiter {
    pace: Pace,
    state: Mutex<State>,
}

struct State {
    channel: SlidingWindow,
    chats: HashMap<LaneId, SlidingWindow>,
    /// Chats that are looked through at the next insertion beyond this.
    look_through_at: usize,
    replicas: Replicas,
    paused_until: Option<Instant>,
    suspicion: Option<Suspicion>,
}

/// A chat was throttled, and whether that is the account's limit isn't known: what is sent to others shows it, one part
/// after the other until something was taken.
struct Suspicion {
    lane: LaneId,
    until: Instant,
    next_at: Instant,
}

impl RateLimiter {
    /// `live`: how many replicas share the store, this one included.
    pub fn new(pace: Pace, live: watch::Receiver<u32>) -> Self {
        let state = State {
            channel: SlidingWindow::default(),
            chats: HashMap::new(),
            look_through_at: CHATS,
            replicas: Replicas::new(live, Instant::now()),
            paused_until: None,
            suspicion: None,
        };
        Self { pace, state: Mutex::new(state) }
    }

    /// As many as come.
    pub fn unlimited() -> Self {
        Self::new(Pace { channel: None, chat: None }, watch::channel(1).1)
    }

    /// Takes a token for a part, if there is one at this moment.
    pub fn try_acquire(&self, lane: LaneId) -> Result<(), Wait> {
        let now = Instant::now();
        let Ok(mut state) = self.state.lock() else { return Ok(()) };
        match state.blocked(self.pace, lane, now) {
            Some(until) => Err(Wait(until.saturating_duration_since(now))),
            None => {
                state.spend(self.pace, lane, now);
                Ok(())
            }
        }
    }

    /// How many tokens of the channel are left at this moment.
    pub fn available(&self) -> usize {
        let now = Instant::now();
        let Ok(mut state) = self.state.lock() else { return usize::MAX };
        if state.channel_blocked(self.pace, now).is_some() {
            return 0;
        }
        let at_most = if state.suspicion(now).is_some() { 1 } else { usize::MAX };
        match self.pace.channel.map(|rate| state.replicas.share(rate, now)) {
            None => at_most,
            Some(Share::Of(rate)) => {
                let left = rate.count.saturating_sub(state.channel.spent(rate, now));
                usize::try_from(left).unwrap_or(usize::MAX).min(at_most)
            }
            Some(Share::NotBefore(_)) => 0,
        }
    }

    /// When the channel has a token again, if it has none now.
    pub fn ready_in(&self) -> Option<Duration> {
        let now = Instant::now();
        let until = self.state.lock().ok()?.channel_blocked(self.pace, now)?;
        Some(until.saturating_duration_since(now))
    }

    /// Takes a token for a typing sign: only while half of the rate stays free for parts, of the channel and of the
    /// chat, so that no part waits for a sign.
    pub fn acquire_spare(&self, lane: LaneId) -> bool {
        let now = Instant::now();
        let Ok(mut state) = self.state.lock() else { return false };
        state.take_spare(self.pace, lane, now)
    }

    /// The platform throttled a part of this chat. Where that concerns the account, nothing leaves for so long, typing
    /// signs neither. True: so it is, and the other replicas should know.
    pub fn throttled(&self, lane: LaneId, scope: ThrottleScope, time: Duration) -> bool {
        let now = Instant::now();
        let (Ok(mut state), Some(until)) = (self.state.lock(), now.checked_add(time)) else { return false };
        let another = state.suspicion(now).is_some_and(|suspicion| suspicion.lane != lane);
        let is_new = state.paused_until.is_none_or(|paused_until| paused_until < until);
        if another || scope == ThrottleScope::Account {
            state.paused_until = state.paused_until.max(Some(until));
            state.suspicion = None;
            return is_new;
        }
        match &mut state.suspicion {
            Some(known) if known.lane == lane => known.until = known.until.max(until),
            suspicion => *suspicion = Some(Suspicion { lane, until, next_at: now }),
        }
        false
    }

    /// Another replica was told that the account is throttled.
    pub fn pause(&self, time: Duration) {
        let Ok(mut state) = self.state.lock() else { return };
        state.paused_until = state.paused_until.max(Instant::now().checked_add(time));
    }

    /// The platform took a part: who was throttled before was so alone.
    pub fn taken(&self) {
        let Ok(mut state) = self.state.lock() else { return };
        state.suspicion = None;
    }
}

impl State {
    fn suspicion(&self, now: Instant) -> Option<&Suspicion> {
        self.suspicion.as_ref().filter(|suspicion| now < suspicion.until)
    }

    /// Until when no part of this chat leaves, if that is so.
    fn blocked(&mut self, pace: Pace, lane: LaneId, now: Instant) -> Option<Instant> {
        if let Some(rate) = pace.chat
            && let Some(chat) = self.chats.get_mut(&lane)
        {
            let wait = chat.wait(rate, now);
            if !wait.is_zero() {
                return Some(now + wait);
            }
        }
        self.channel_blocked(pace, now)
    }

    /// Until when nothing leaves in the whole channel, if that is so.
    fn channel_blocked(&mut self, pace: Pace, now: Instant) -> Option<Instant> {
        let shown_at = self.suspicion(now).map(|suspicion| suspicion.next_at);
        if let Some(until) = self.paused_until.max(shown_at).filter(|until| now < *until) {
            return Some(until);
        }
        let until = match self.replicas.share(pace.channel?, now) {
            Share::NotBefore(until) => until,
            Share::Of(rate) => now + self.channel.wait(rate, now),
        };
        let until = until.min(self.replicas.changes_at().filter(|at| now < *at).unwrap_or(until));
        (now < until).then_some(until)
    }

    fn take_spare(&mut self, pace: Pace, lane: LaneId, now: Instant) -> bool {
        if self.suspicion(now).is_some() || self.blocked(pace, lane, now).is_some() {
            return false;
        }
        let is_spare = |window: &mut SlidingWindow, rate: Rate| window.spent(rate, now) < rate.count / 2;
        let channel = match pace.channel.map(|rate| self.replicas.share(rate, now)) {
            None => true,
            Some(Share::Of(rate)) => is_spare(&mut self.channel, rate),
            Some(Share::NotBefore(_)) => false,
        };
        let chat = match (pace.chat, self.chats.get_mut(&lane)) {
            (Some(rate), Some(chat)) => is_spare(chat, rate),
            (Some(rate), None) => rate.count / 2 > 0,
            (None, _) => true,
        };
        if channel && chat {
            self.spend(pace, lane, now);
        }
        channel && chat
    }

    fn spend(&mut self, pace: Pace, lane: LaneId, now: Instant) {
        if let Some(suspicion) = &mut self.suspicion {
            suspicion.next_at = now + SHOWN_WITHIN;
        }
        if let Some(rate) = pace.channel {
            self.channel.spend(rate, now);
        }
        let Some(rate) = pace.chat else { return };
        self.chats.entry(lane).or_default().spend(rate, now);
        if self.chats.len() > self.look_through_at {
            self.chats.retain(|_, chat| chat.spent(rate, now) > 0);
            self.look_through_at = CHATS.max(2 * self.chats.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const A: LaneId = LaneId(1);
    const B: LaneId = LaneId(2);

    fn rate(count: u32, seconds: u64) -> Option<Rate> {
        Some(Rate { count, per: Duration::from_secs(seconds) })
    }

    fn limiter(channel: Option<Rate>, chat: Option<Rate>) -> RateLimiter {
        RateLimiter::new(Pace { channel, chat }, watch::channel(1).1)
    }

    async fn acquire(limiter: &RateLimiter, lane: LaneId) {
        while let Err(Wait(wait)) = limiter.try_acquire(lane) {
            tokio::time::sleep(wait).await;
        }
    }

    /// When so many parts leave, each in a chat of its own, that are all ready at once.
    async fn crowd(limiters: &[Arc<RateLimiter>], parts: i64) -> Vec<Instant> {
        let sends = (0..parts).zip(limiters.iter().cycle()).map(|(number, limiter)| {
            let limiter = limiter.clone();
            tokio::spawn(async move {
                acquire(&limiter, LaneId(number)).await;
                Instant::now()
            })
        });
        let mut sent: Vec<Instant> = futures::future::join_all(sends).await.into_iter().map(Result::unwrap).collect();
        sent.sort();
        sent
    }

    fn most_in_a_window(times: &[Instant], per: Duration) -> usize {
        times.iter().map(|from| times.iter().filter(|at| *at >= from && **at < *from + per).count()).max().unwrap_or(0)
    }

    #[tokio::test(start_paused = true)]
    async fn a_channel_sends_as_fast_as_its_rate_and_no_faster() {
        let begun = Instant::now();
        let sent = crowd(&[Arc::new(limiter(rate(30, 1), None))], 300).await;
        assert_eq!(most_in_a_window(&sent, SECOND), 30);
        assert_eq!(sent.last().unwrap().duration_since(begun), 9 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn replicas_keep_the_rate_together_while_one_joins_and_one_leaves() {
        let (live, watched) = watch::channel(1);
        let pace = Pace { channel: rate(30, 1), chat: None };
        let replica = || Arc::new(RateLimiter::new(pace, watched.clone()));
        let first = replica();
        let alone = tokio::spawn(async move { crowd(&[first], 600).await });
        tokio::time::sleep(5 * SECOND).await;
        // It has joined, and the others learn of it two seconds later.
        let (joined, known) = watch::channel(2);
        let second = Arc::new(RateLimiter::new(pace, known));
        let beside = tokio::spawn(async move { crowd(&[second], 150).await });
        tokio::time::sleep(2 * SECOND).await;
        live.send_replace(2);
        let beside = beside.await.unwrap();
        let at_once = Instant::now();
        live.send_replace(1);
        joined.send_replace(1);
        let alone = alone.await.unwrap();
        let mut all = [alone.clone(), beside.clone()].concat();
        all.sort();
        assert_eq!(most_in_a_window(&all, SECOND), 30);
        assert!(beside.len() == 150 && beside[149].duration_since(beside[0]) <= 10 * SECOND);
        let after: Vec<Instant> = alone.into_iter().filter(|at| *at > at_once + 3 * SECOND).collect();
        assert_eq!(most_in_a_window(&after, SECOND), 30, "who is alone again has all of it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_chat_that_waits_for_its_own_rate_stands_in_nobodys_way() {
        let limiter = limiter(rate(100, 1), rate(1, 1));
        let begun = Instant::now();
        for _ in 0..3 {
            acquire(&limiter, A).await;
        }
        assert_eq!(begun.elapsed(), 2 * SECOND);
        assert_eq!(limiter.try_acquire(A), Err(Wait(SECOND)));
        assert_eq!(limiter.try_acquire(B), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn typing_signs_leave_half_of_the_rate_to_replies() {
        let limiter = limiter(rate(30, 1), rate(3, 3));
        let signs = (0..300).filter(|chat| limiter.acquire_spare(LaneId(*chat))).count();
        assert_eq!(signs, 15);
        assert_eq!((1000..2000).filter(|chat| limiter.try_acquire(LaneId(*chat)).is_ok()).count(), 15);
        tokio::time::advance(SECOND).await;
        assert!(limiter.acquire_spare(LaneId(5000)));
        assert!(!limiter.acquire_spare(LaneId(5000)), "one sign a chat, so that two parts may follow at once");
        assert_eq!([(); 3].map(|()| limiter.try_acquire(LaneId(5000)).is_ok()), [true, true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_chat_that_may_have_one_message_at_a_time_has_it_for_the_reply() {
        let limiter = limiter(None, rate(1, 1));
        assert!(!limiter.acquire_spare(A));
        assert_eq!(limiter.try_acquire(A), Ok(()));
        assert!(!limiter.acquire_spare(A));
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttled_account_pauses_the_channel_with_its_signs() {
        let limiter = limiter(rate(30, 1), None);
        limiter.throttled(A, ThrottleScope::Account, 6 * SECOND);
        assert!(!limiter.acquire_spare(B));
        assert_eq!(limiter.try_acquire(B), Err(Wait(6 * SECOND)));
        let begun = Instant::now();
        acquire(&limiter, B).await;
        assert_eq!(begun.elapsed(), 6 * SECOND);
        assert!(limiter.acquire_spare(B));
    }

    #[tokio::test(start_paused = true)]
    async fn one_throttled_chat_holds_up_nobody_where_the_platform_does_not_say_whom_it_means() {
        let limiter = limiter(rate(30, 1), None);
        let throttled = |lane| {
            let _ = limiter.throttled(lane, ThrottleScope::ChatOrAccount, 6 * SECOND);
        };
        throttled(A);
        throttled(A);
        assert_eq!(limiter.try_acquire(B), Ok(()));
        assert_eq!(limiter.try_acquire(LaneId(3)), Err(Wait(SHOWN_WITHIN)), "one shows whether the account is meant");
        assert!(!limiter.acquire_spare(LaneId(3)));
        limiter.taken();
        assert!(limiter.acquire_spare(LaneId(3)));
        throttled(B);
        assert_eq!(limiter.try_acquire(LaneId(3)), Ok(()), "something was taken in between");
        throttled(A);
        assert_eq!(limiter.try_acquire(LaneId(3)), Err(Wait(6 * SECOND)));
    }

    #[tokio::test(start_paused = true)]
    async fn chats_that_sent_nothing_lately_cost_no_memory() {
        let limiter = limiter(None, rate(1, 1));
        for chat in 0..100_000 {
            acquire(&limiter, LaneId(chat)).await;
            if chat % 100 == 0 {
                tokio::time::advance(SECOND / 10).await;
            }
        }
        let known = limiter.state.lock().unwrap().chats.len();
        assert!(known <= 2 * CHATS, "{known}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_everything_leaves_at_once() {
        let (limiter, begun) = (Arc::new(RateLimiter::unlimited()), Instant::now());
        let sent = crowd(std::slice::from_ref(&limiter), 1000).await;
        assert!(sent.len() == 1000 && begun.elapsed().is_zero() && limiter.acquire_spare(A));
    }
}
