//! What follows from a look for what became of a call: take its answer over, look again, ask again, or end the
//! turn. A call is made again ever more seldom, and not for ever.

use std::time::Duration;

use super::channel::Channel;
use super::dispatch::Held;
use super::lookup::Found;
use super::plan::{self, Age, Ending};
use super::turn::{LOOK_AGAIN, Lane, Question, RETRY_FIRST, RETRY_LONGEST, Step, Turns};
use crate::domain::clock::Timestamp;
use crate::domain::failpoint;
use crate::store::{Doubt, StoreError, Turn, TurnState};

/// Between looks, after `fini.settle`: nobody could tell so far.
const LOOK_SELDOM: Duration = Duration::from_secs(10);
/// A question that Fini failed on so often is the reason itself …
const MOST_FAILED: u32 = 5;
/// … if others were answered after so many of these calls. After one of them proves nothing: an outage ended.
const OUTLIVED: u32 = 2;

/// The calls of one turn whose outcome was unknown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Failures {
    calls: u32,
    /// So many of them were followed by an answer to somebody else, before the next.
    outlived: u32,
    /// Which call was counted last.
    last: u32,
}

impl Failures {
    fn with(self, call: u32, is_outlived: bool) -> Self {
        if call == self.last {
            return self;
        }
        Self { calls: self.calls + 1, outlived: self.outlived + u32::from(is_outlived), last: call }
    }

    fn are_the_questions_own(self) -> bool {
        self.calls >= MOST_FAILED && self.outlived >= OUTLIVED
    }
}

impl Turns {
    pub(super) async fn look_up(&self, held: &Held, channel: &Channel, turn: Turn, now: Timestamp) -> Step {
        let store = &self.foundation.store;
        let settle = self.key(channel)?.0.settle;
        failpoint::reach("lookup.begun");
        let found = self.find(held, channel, &turn, now).await?;
        failpoint::reach("lookup.found");
        let age = plan::age(turn.received_at, turn.dormant, channel, now);
        match found {
            Found::Answer(events) | Found::Undecidable { events, .. } if age == Age::Expired => {
                self.end(held, channel, turn.into(), Ending::expired(), &events, now).await
            }
            Found::Answer(events) => self.answered(held, channel, turn.into(), &events, now).await,
            // Old as it is, it has the time in which this can be told.
            Found::NothingYet(_)
                if age != Age::Young && since(&turn).is_some_and(|since| now.since(since) > settle) =>
            {
                let detail = "What became of its call to Fini could not be found out in replies.give_up_after.";
                let ending = match age {
                    Age::Expired => Ending::expired(),
                    Age::Young | Age::Old => Ending::held(channel, turn.role, "outcome_unknown", detail),
                };
                self.end(held, channel, turn.into(), ending, &[], now).await
            }
            Found::NothingYet(doubt) => {
                let after = match turn.state {
                    TurnState::Unknown { since, .. } if now.since(since) > settle => LOOK_SELDOM,
                    _ => LOOK_AGAIN,
                };
                store.unknown(&held.lease, turn.id, doubt, after, "looking").await?;
                Ok(Lane::Released)
            }
            Found::Nothing { .. } if age != Age::Young => {
                let ending = Ending::too_old(age, channel, turn.role);
                self.end(held, channel, turn.into(), ending, &[], now).await
            }
            Found::Nothing { .. } if rest_before_another(&turn, now) > Duration::ZERO => {
                let after = rest_before_another(&turn, now);
                store.unknown(&held.lease, turn.id, Doubt::NotLooked, after, "backing_off").await?;
                Ok(Lane::Released)
            }
            Found::Nothing { new_conversation } => {
                if let Some(Failures { calls, .. }) = self.poisoned(channel, &turn, now).await? {
                    let detail = format!("Fini failed on it {calls} times, and answered others meanwhile.");
                    let ending = Ending::failed(channel, turn.role, "fini_keeps_failing", &detail);
                    return self.end(held, channel, turn.into(), ending, &[], now).await;
                }
                if let TurnState::Unknown { answered, .. } = turn.state {
                    // After a call without an answer Fini may still come to store it, beyond `settle`.
                    let after = if answered { "failed" } else { "unanswered" };
                    self.foundation.metrics.repeated_call(channel.name.as_str(), after);
                }
                let mut question = Question::from(turn);
                if new_conversation {
                    self.foundation.metrics.conversation(channel.name.as_str(), "replaced");
                    question.generation += 1;
                }
                self.ask(held, channel, question, now).await
            }
            Found::Undecidable { reason, detail, events } => {
                let ending = Ending::held(channel, turn.role, reason, detail);
                self.end(held, channel, turn.into(), ending, &events, now).await
            }
        }
    }

    /// Its calls so far that failed, if it is this question that Fini fails on: others were answered between them. In an
    /// outage nothing else works either, and the question waits for its end.
    async fn poisoned(&self, channel: &Channel, turn: &Turn, now: Timestamp) -> Result<Option<Failures>, StoreError> {
        let TurnState::Unknown { asked_at, .. } = turn.state else { return Ok(None) };
        let (_, room, _) = self.key(channel)?;
        let is_outlived = room.gate.worked_within(now.since(asked_at));
        let failures = self.failures.get(&turn.id).await.unwrap_or_default().with(turn.asked, is_outlived);
        self.failures.insert(turn.id, failures).await;
        Ok(Some(failures).filter(|failures| failures.are_the_questions_own()))
    }
}

/// When its last call ended without telling what became of it.
fn since(turn: &Turn) -> Option<Timestamp> {
    match turn.state {
        TurnState::Unknown { since, .. } => Some(since),
        TurnState::Open | TurnState::Asking { .. } => None,
    }
}

/// What is left of the pause between two calls whose outcomes were unknown; it doubles with each.
fn rest_before_another(turn: &Turn, now: Timestamp) -> Duration {
    let Some(since) = since(turn) else { return Duration::ZERO };
    let pause = RETRY_FIRST.saturating_mul(1 << turn.asked.saturating_sub(1).min(6)).min(RETRY_LONGEST);
    pause.saturating_sub(now.since(since))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(outlived: &[bool]) -> Failures {
        (1..).zip(outlived).fold(Failures::default(), |failures, (call, outlived)| failures.with(call, *outlived))
    }

    #[test]
    fn a_question_is_the_reason_when_others_were_answered_between_its_failures() {
        assert!(failed(&[true; 5]).are_the_questions_own());
        assert!(failed(&[true, false, false, false, true]).are_the_questions_own(), "few others write");
        assert!(!failed(&[true; 4]).are_the_questions_own());
    }

    #[test]
    fn an_outage_and_its_end_leave_a_question_another_call() {
        assert!(!failed(&[false; 1000]).are_the_questions_own());
        assert!(!failed(&[false, false, false, false, false, false, true]).are_the_questions_own());
    }

    #[test]
    fn a_call_counts_once_however_often_it_is_looked_at() {
        let failures = (0..10).fold(Failures::default(), |failures, _| failures.with(5, true));
        assert!(!failures.are_the_questions_own());
    }
}
