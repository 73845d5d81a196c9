//! Through the pages of List conversations, from the newest to the oldest, without missing or repeating any.
//!
//! The list moves while it is read: it is sorted by each conversation's latest message, and a new message
//! takes its conversation to the top, or out of a window whose end lies in the past. So what was read is known
//! by its id, and at the end a second look goes to what has moved since the export began. A cursor is a
//! conversation's id, and moves with it: where one leads nowhere, the walk goes on from the time reached.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use anyhow::{anyhow, bail};
use backon::{BackoffBuilder, ExponentialBuilder};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::super::workspaces::advice;
use super::span::Span;
use crate::domain::clock::Timestamp;
use crate::fini::{Client, Conversation, Page, Query, ReadError};
use crate::pipeline::rate_limit::{CallBudget, Priority};

/// The most that List conversations gives at once.
const PAGE: u32 = 100;
/// In a row: some twenty minutes of nothing but 429.
const THROTTLED_AT_MOST: usize = 24;
/// In a row, of errors that may pass.
const FAILED_AT_MOST: usize = 5;
/// Pages in a row that bring nothing new, before the list is taken not to move on.
const FRUITLESS_AT_MOST: u32 = 1000;
/// What our clock and Fini's may be apart.
const SKEW: Duration = Duration::from_secs(5 * 60);

/// The ids that were written: 16 bytes each, whatever the conversation's size.
#[derive(Default)]
pub struct Seen(HashSet<u128>);

impl Seen {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it is new.
    fn insert(&mut self, conversation: &Conversation) -> bool {
        let id = conversation.id.as_str();
        let short = |id: &str| Sha256::digest(id).iter().take(16).fold(0, |sum, byte| sum << 8 | u128::from(*byte));
        self.0.insert(Uuid::parse_str(id).map_or_else(|_| short(id), |id| id.as_u128()))
    }
}

/// When the last thing happened in it; no earlier than the latest message, which the list is sorted by.
pub fn latest(conversation: &Conversation) -> Option<Timestamp> {
    conversation.events.iter().filter_map(|event| event.created_at).chain(conversation.created_at).max()
}

pub struct Walk {
    client: Client,
    budget: CallBudget,
    query: Query,
    span: Span,
    begun: Timestamp,
    /// Those to come.
    windows: VecDeque<Window>,
    /// Those that took more than one page: what moved may have been missed there.
    again: VecDeque<Window>,
    at: Option<Window>,
    reached: Timestamp,
    /// Pages read; of one alone nothing can have moved away.
    pages: u32,
    fruitless: u32,
    round: Round,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    All,
    /// Only what has moved since the export began.
    Moved,
}

/// What is left of a window.
#[derive(Clone, Debug)]
struct Window {
    since: Timestamp,
    /// `None`: now, by Fini's clock.
    whole_until: Option<Timestamp>,
    until: Option<Timestamp>,
    cursor: Option<String>,
    /// The oldest place known to be reached: whatever was not read yet stands there or below.
    reached: Option<Timestamp>,
    pages: u32,
}

impl Window {
    fn new(since: Timestamp, until: Option<Timestamp>) -> Self {
        Self { since, whole_until: until, until, cursor: None, reached: None, pages: 0 }
    }

    /// Goes on from the time reached, without the cursor. False: that would be no step ahead.
    fn narrow(&mut self) -> bool {
        let further = self.reached.is_some_and(|reached| self.until.is_none_or(|until| reached < until));
        if let (true, Some(reached)) = (further, self.reached) {
            // An end at the beginning would be refused.
            self.until = Some(reached.max(Timestamp::from_millis(self.since.as_millis() + 1)));
            self.cursor = None;
        }
        further
    }
}

impl Walk {
    /// `begun`: when the export began.
    pub fn new(client: Client, budget: CallBudget, query: &Query, span: &Span, begun: Timestamp) -> Self {
        Self {
            client,
            budget,
            query: Query { limit: Some(PAGE), ..query.clone() },
            span: *span,
            begun,
            windows: span.windows().map(|window| Window::new(window.since, Some(window.until))).collect(),
            again: VecDeque::new(),
            at: None,
            reached: span.until,
            pages: 0,
            fruitless: 0,
            round: Round::All,
        }
    }

    /// How far back it has come.
    pub fn reached(&self) -> Timestamp {
        self.reached
    }

    /// The next page's conversations that were not read before; `None` at the end. `tell` hears of waits.
    pub async fn next(
        &mut self,
        seen: &mut Seen,
        tell: &mut (dyn FnMut(&str) + Send),
    ) -> anyhow::Result<Option<Vec<Conversation>>> {
        let Some(mut window) = self.at.take().or_else(|| self.next_window()) else { return Ok(None) };
        let page = match self.page(&window, tell).await {
            Ok(page) => page,
            // The cursor's conversation has gone, or left the window.
            Err(ReadError::Rejected { .. } | ReadError::Failed { .. })
                if window.cursor.is_some() && window.narrow() =>
            {
                self.at = Some(window);
                return Ok(Some(Vec::new()));
            }
            Err(error) => return Err(anyhow!("{error}; {}", advice(&error))),
        };
        (self.pages, window.pages) = (self.pages + 1, window.pages + 1);
        let oldest = page.conversations.iter().map(latest).min().flatten();
        window.reached = oldest.into_iter().chain(window.reached).min();
        self.reached = window.reached.into_iter().chain([self.reached]).min().unwrap_or(self.reached);
        let last = page.conversations.last().map(|conversation| conversation.id.as_str().to_owned());
        let Page { conversations, has_more, next_cursor, .. } = page;
        let fresh: Vec<Conversation> = conversations
            .into_iter()
            .filter(|one| self.round == Round::All || self.has_moved(one))
            .filter(|one| seen.insert(one))
            .collect();
        self.fruitless = if fresh.is_empty() { self.fruitless + 1 } else { 0 };
        let passed = self.round == Round::Moved && oldest.is_some_and(|oldest| oldest < self.begun.minus(SKEW));
        if has_more && !passed {
            if self.fruitless > FRUITLESS_AT_MOST {
                bail!("Fini's list doesn't move on: page after page brings the same conversations");
            }
            let cursor = next_cursor.or(last);
            let stands = cursor.is_none() || cursor == window.cursor;
            // A cursor that moved to the top leads through all of it again.
            let again = fresh.is_empty() && self.round == Round::All;
            if !((stands || again) && window.narrow()) {
                if stands {
                    bail!("Fini's list doesn't move on: it promises more and gives no cursor to it");
                }
                window.cursor = cursor;
            }
            self.at = Some(window);
        } else {
            self.reached = self.reached.min(window.since);
            if window.pages > 1 {
                self.again.push_back(Window::new(window.since, window.whole_until));
            }
        }
        Ok(Some(fresh))
    }

    fn next_window(&mut self) -> Option<Window> {
        let next = self.windows.pop_front();
        if next.is_none() && self.round == Round::All && self.pages > 1 {
            self.round = Round::Moved;
            // Whether a window holds what was written to in it, or what began in it, is not documented: in the first
            // case what moved stands behind the span by now, in the second at the top of its window.
            self.windows = std::mem::take(&mut self.again);
            return Some(Window::new(self.begun.minus(SKEW), None));
        }
        next
    }

    /// It has moved since the export began, and stood in the span before.
    fn has_moved(&self, conversation: &Conversation) -> bool {
        let times = conversation.events.iter().filter_map(|event| event.created_at).chain(conversation.created_at);
        times.filter(|at| *at <= self.begun).max().is_some_and(|before| self.span.contains(before))
    }

    /// A page, through throttling and errors that pass.
    async fn page(&self, window: &Window, tell: &mut (dyn FnMut(&str) + Send)) -> Result<Page, ReadError> {
        let query = Query {
            since: Some(window.since),
            until: window.until,
            cursor: window.cursor.clone(),
            ..self.query.clone()
        };
        let backoff = |first: u64, longest: u64, times: usize| {
            ExponentialBuilder::default()
                .with_min_delay(Duration::from_millis(first))
                .with_max_delay(Duration::from_millis(longest))
                .with_max_times(times)
                .with_jitter()
                .build()
        };
        let mut throttled = backoff(1000, 60_000, THROTTLED_AT_MOST);
        let mut failed = backoff(500, 10_000, FAILED_AT_MOST);
        loop {
            let _permit = self.budget.acquire(Priority::Export).await;
            let error = match self.client.list_conversations(&query).await {
                Ok(page) => return Ok(page),
                Err(error) => error,
            };
            let wait = match &error {
                ReadError::Throttled { retry_after } => throttled.next().map(|wait| retry_after.unwrap_or(wait)),
                ReadError::Failed { .. } | ReadError::NoAnswer(_) => failed.next(),
                ReadError::Key { .. } | ReadError::Rejected { .. } => None,
            };
            let Some(wait) = wait else { return Err(error) };
            tell(&format!("{error}: again in {} s", wait.as_secs().max(1)));
            tokio::time::sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::app::sandbox::fini::{
        Change, Effect, Endpoint, EventSpec, FaultRule, Running, Seed, SimulatedFini, SimulatorConfig, Then,
    };
    use crate::domain::clock::{Clock, SystemClock};
    use crate::domain::secret::Secret;
    use crate::http::{Config, Http};

    const DAY: u64 = 24 * 3600 * 1000;

    async fn simulator(count: usize, every_ms: u64) -> Running {
        let fini = SimulatedFini::start(SimulatorConfig::default()).await.unwrap();
        fini.change(Change { seed: Some(Seed { count, text: "hello".to_owned(), every_ms }), ..Change::default() });
        fini
    }

    fn ids(fini: &Running) -> Vec<String> {
        let all = fini.ledger().conversations;
        all.iter().map(|conversation| conversation["id"].as_str().unwrap().to_owned()).collect()
    }

    fn client(fini: &Running) -> Client {
        let http = Http::new(&Config::default()).unwrap();
        let key = Secret::new(SimulatorConfig::KEY);
        Client::new(http, &fini.url(), key, Duration::from_secs(10), Arc::new(SystemClock))
    }

    fn walk(fini: &Running, days: u32) -> Walk {
        let until = SystemClock.now();
        let span = Span { since: until.minus(Duration::from_secs(u64::from(days) * 24 * 3600)), until };
        Walk::new(client(fini), CallBudget::unlimited(), &Query::default(), &span, until)
    }

    /// What the walk finds, with `between` run after each page.
    async fn all(walk: &mut Walk, mut between: impl FnMut(usize)) -> Vec<String> {
        let (mut seen, mut found, mut pages) = (Seen::default(), Vec::new(), 0);
        while let Some(page) = walk.next(&mut seen, &mut |_| {}).await.unwrap() {
            found.extend(page.iter().map(|one| one.id.as_str().to_owned()));
            pages += 1;
            between(pages);
        }
        found
    }

    fn sorted(mut ids: Vec<String>) -> Vec<String> {
        ids.sort();
        ids
    }

    fn written() -> EventSpec {
        EventSpec::new("user", "message", Some("one more thing"))
    }

    #[tokio::test]
    async fn each_conversation_of_several_windows_and_pages_comes_once() {
        let fini = simulator(450, DAY).await;
        let found = all(&mut walk(&fini, 460), |_| {}).await;
        assert_eq!(found.len(), 450);
        assert_eq!(sorted(found), sorted(ids(&fini)));
    }

    #[tokio::test]
    async fn a_single_page_is_a_single_call() {
        let fini = simulator(20, 1000).await;
        assert_eq!(all(&mut walk(&fini, 7), |_| {}).await.len(), 20);
        assert_eq!(fini.ledger().list_calls, 1);
    }

    #[tokio::test]
    async fn many_conversations_of_one_moment_do_not_stop_the_walk() {
        let fini = simulator(350, 0).await;
        assert_eq!(sorted(all(&mut walk(&fini, 1), |_| {}).await), sorted(ids(&fini)));
    }

    #[tokio::test]
    async fn a_conversation_that_moves_while_the_list_is_read_comes_once_and_a_new_one_does_not() {
        let fini = simulator(300, 60_000).await;
        let every = ids(&fini);
        let newest_first = all(&mut walk(&fini, 1), |_| {}).await;
        let found = all(&mut walk(&fini, 1), |page| match page {
            // Not reached yet; read before; and the one that the cursor names.
            1 => [250, 5, 99].iter().for_each(|at| fini.append(&newest_first[*at], written())),
            2 => fini.change(Change {
                seed: Some(Seed { count: 3, text: "new".to_owned(), every_ms: 0 }),
                ..Change::default()
            }),
            _ => {}
        })
        .await;
        assert_eq!(found.len(), 300);
        assert_eq!(sorted(found), sorted(every));
    }

    #[tokio::test]
    async fn a_cursor_whose_conversation_is_gone_does_not_end_the_export() {
        let fini = simulator(300, 60_000).await;
        let newest_first = all(&mut walk(&fini, 1), |_| {}).await;
        let gone = &newest_first[99];
        let found = all(&mut walk(&fini, 1), |page| {
            if page == 1 {
                fini.vanish(gone);
            }
        })
        .await;
        assert_eq!(sorted(found), sorted(newest_first.clone()));
    }

    #[tokio::test]
    async fn a_429_is_waited_out_as_long_as_fini_says() {
        let fini = simulator(250, 60_000).await;
        let throttled = Then::Status { status: 429, retry_after: Some(1) };
        fini.faults().add(FaultRule::at(Endpoint::List, Effect::Nothing, throttled).skipping(1).times(2));
        let mut waits = Vec::new();
        let (mut walk, mut seen) = (walk(&fini, 1), Seen::default());
        let began = tokio::time::Instant::now();
        while walk.next(&mut seen, &mut |wait| waits.push(wait.to_owned())).await.unwrap().is_some() {}
        assert_eq!(seen.len(), 250);
        assert_eq!(waits.len(), 2);
        assert!(waits[0].contains("429") && began.elapsed() >= Duration::from_secs(2), "{waits:?}");
    }

    #[tokio::test]
    async fn errors_that_pass_are_waited_out_and_a_refused_key_is_not() {
        let fini = simulator(150, 60_000).await;
        fini.faults().add(FaultRule::status(Endpoint::List, 500).times(1));
        fini.faults().add(FaultRule::at(Endpoint::List, Effect::Nothing, Then::Html { status: 502 }).times(1));
        fini.faults().add(FaultRule::at(Endpoint::List, Effect::Nothing, Then::Truncated).times(1));
        assert_eq!(all(&mut walk(&fini, 1), |_| {}).await.len(), 150);
        fini.faults().add(FaultRule::status(Endpoint::List, 401));
        let error = walk(&fini, 1).next(&mut Seen::default(), &mut |_| {}).await.unwrap_err().to_string();
        assert!(error.contains("401") && error.contains("make a new one"), "{error}");
    }
}
