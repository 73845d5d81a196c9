//! What follows from a look for what became of a call: take its answer over, look again, ask again, or end the
//! turn. A call is made again ever more seldom, and not for ever.

use std::time::Duration;

use moka::future::Cache;

use super::channel::Channel;
use super::lookup::Found;
use super::plan::{Age, Ending};
use crate::domain::clock::Timestamp;
use crate::domain::id::TurnId;
use crate::fini::Event;
use crate::store::{LookupNote, Turn, TurnState};

/// Between looks for what became of a call.
pub const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Between looks, after `fini.settle`: nobody could tell so far.
const LOOK_SELDOM: Duration = Duration::from_secs(10);
/// Between two calls whose outcomes were unknown.
const REPEAT_FIRST: Duration = Duration::from_secs(1);
const REPEAT_LONGEST: Duration = Duration::from_secs(60);
/// A question that Fini failed on so often is the reason itself …
const POISON_CALLS: u32 = 5;
/// … if others succeeded after so many of these calls. After one of them proves nothing: an outage ended.
const POISON_OTHERS_SUCCEEDED: u32 = 2;
/// Turns at most that are watched for being the reason why Fini fails.
const POISON_TURNS: u64 = 10_000;
/// Longer than any pause between two calls; a turn that went to another replica is forgotten.
const POISON_IDLE: Duration = Duration::from_secs(3600);

/// What is done about a call whose outcome was unknown.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// It was answered.
    Answered(Vec<Event>),
    /// The turn ends; with what is known to stand in the conversation.
    End(Ending, Vec<Event>),
    /// It is looked at again after this, for this reason.
    LookAgain { note: LookupNote, after: Duration, reason: &'static str },
    /// Nothing came of it: it is made again, unless Fini fails on this question by itself.
    AskAgain { new_conversation: bool },
}

/// `age` is the turn's, `settle` the key's.
pub fn resolve(found: Found, turn: &Turn, age: Age, now: Timestamp, settle: Duration, channel: &Channel) -> Verdict {
    let unknown_for = match turn.state {
        TurnState::Unknown { since, .. } => Some(now.since(since)),
        TurnState::New | TurnState::Open | TurnState::Asking { .. } => None,
    };
    let is_settled = unknown_for.is_some_and(|time| time > settle);
    match found {
        Found::Answer(events) | Found::Undecidable { events, .. } if age == Age::Expired => {
            Verdict::End(Ending::expired(), events)
        }
        Found::Answer(events) => Verdict::Answered(events),
        // Old as it is, it has the time in which this can be told.
        Found::NothingYet(_) if age != Age::Young && is_settled => {
            let detail = "What became of its call to Fini could not be found out in replies.give_up_after.";
            let ending = match age {
                Age::Expired => Ending::expired(),
                Age::Young | Age::Old => Ending::held(channel, turn.role, "outcome_unknown", detail),
            };
            Verdict::End(ending, Vec::new())
        }
        Found::NothingYet(note) => {
            let after = if is_settled { LOOK_SELDOM } else { LOOK_AGAIN };
            Verdict::LookAgain { note, after, reason: "looking" }
        }
        Found::Nothing { .. } if age != Age::Young => {
            Verdict::End(Ending::too_old(age, channel, turn.role), Vec::new())
        }
        Found::Nothing { new_conversation } => {
            let pause = unknown_for.map_or(Duration::ZERO, |time| pause_after(turn.asked).saturating_sub(time));
            if pause > Duration::ZERO {
                return Verdict::LookAgain { note: LookupNote::Unchanged, after: pause, reason: "backing_off" };
            }
            Verdict::AskAgain { new_conversation }
        }
        Found::Undecidable { reason, detail, events } => {
            Verdict::End(Ending::held(channel, turn.role, reason, detail), events)
        }
    }
}

/// The pause after so many calls whose outcomes were unknown; it doubles with each.
fn pause_after(calls: u32) -> Duration {
    REPEAT_FIRST.saturating_mul(1 << calls.saturating_sub(1).min(6)).min(REPEAT_LONGEST)
}

/// The calls of one turn whose outcome was unknown.
#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    calls: u32,
    /// So many of them were followed by an answer to somebody else, before the next.
    others_succeeded: u32,
    /// Which call was counted last.
    last: u32,
}

impl Failures {
    fn with(self, call: u32, others_succeeded: bool) -> Self {
        if call == self.last {
            return self;
        }
        let others_succeeded = self.others_succeeded + u32::from(others_succeeded);
        Self { calls: self.calls + 1, others_succeeded, last: call }
    }

    fn is_poison(self) -> bool {
        self.calls >= POISON_CALLS && self.others_succeeded >= POISON_OTHERS_SUCCEEDED
    }
}

/// Finds the questions that Fini fails on by themselves: others were answered between their calls. In an outage nothing
/// else works either, and the question waits for its end.
pub struct PoisonTracker(Cache<TurnId, Failures>);

impl PoisonTracker {
    pub fn new() -> Self {
        Self(Cache::builder().max_capacity(POISON_TURNS).time_to_idle(POISON_IDLE).build())
    }

    /// Counts the turn's last call, once. `Some`: Fini failed on it so often.
    pub async fn failed(&self, turn: &Turn, others_succeeded: bool) -> Option<u32> {
        let failures = self.0.get(&turn.id).await.unwrap_or_default().with(turn.asked, others_succeeded);
        self.0.insert(turn.id, failures).await;
        failures.is_poison().then_some(failures.calls)
    }

    pub async fn ended(&self, turn: TurnId) {
        self.0.invalidate(&turn).await;
    }
}

#[cfg(test)]
mod tests;
