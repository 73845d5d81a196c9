//! What follows from a look for what became of a call: take its answer over, look again, ask again, or end the
//! turn. A call is made again ever more seldom, and not for ever.

use std::time::Duration;

use super::channel::Channel;
use super::dispatch::Held;
use super::lookup::Found;
use super::turn::{LOOK_AGAIN, Lane, Question, RETRY_FIRST, RETRY_LONGEST, Step, Turns, gave_up};
use crate::domain::clock::Timestamp;
use crate::domain::failpoint;
use crate::store::{Doubt, StoreError, Turn, TurnOutcome, TurnState};

/// Between looks, after `fini.settle`: nobody could tell so far.
const LOOK_SELDOM: Duration = Duration::from_secs(10);
/// A question that Fini failed on so often, while it answered others after each call, is the reason itself …
const MOST_ASKED: u32 = 5;
/// … or so often, where few others write, after any of them.
const MOST_ASKED_QUIETLY: u32 = 10;

impl Turns {
    pub(super) async fn look_up(&self, held: &Held, channel: &Channel, turn: Turn, now: Timestamp) -> Step {
        let store = &self.foundation.store;
        let settle = self.key(channel)?.0.settle;
        failpoint::reach("lookup.begun");
        let found = self.find(held, channel, &turn, now).await?;
        failpoint::reach("lookup.found");
        match found {
            Found::Answer(events) => self.answered(held, channel, turn.into(), &events, now).await,
            // Old as it is, it has the time in which this can be told.
            Found::NothingYet(_)
                if now.since(turn.received_at) > channel.replies.give_up_after.0
                    && since(&turn).is_some_and(|since| now.since(since) > settle) =>
            {
                let detail = "What became of its call to Fini could not be found out in replies.give_up_after.";
                let outcome = TurnOutcome::Held { reason: "outcome_unknown".to_owned(), detail: detail.to_owned() };
                self.end(held, channel, turn.into(), outcome, &[], now).await
            }
            Found::NothingYet(doubt) => {
                let after = match turn.state {
                    TurnState::Unknown { since, .. } if now.since(since) > settle => LOOK_SELDOM,
                    _ => LOOK_AGAIN,
                };
                store.unknown(&held.lease, turn.id, doubt, after, "looking").await?;
                Ok(Lane::Released)
            }
            Found::Nothing { .. } if now.since(turn.received_at) > channel.replies.give_up_after.0 => {
                self.end(held, channel, turn.into(), gave_up(), &[], now).await
            }
            Found::Nothing { .. } if rest_before_another(&turn, now) > Duration::ZERO => {
                let after = rest_before_another(&turn, now);
                store.unknown(&held.lease, turn.id, Doubt::NotLooked, after, "backing_off").await?;
                Ok(Lane::Released)
            }
            Found::Nothing { .. } if self.is_poisoned(channel, &turn, now).await? => {
                let detail = format!("Fini failed on it {} times, and answered others meanwhile.", turn.asked);
                let outcome = TurnOutcome::Failed { reason: "fini_keeps_failing".to_owned(), detail };
                self.end(held, channel, turn.into(), outcome, &[], now).await
            }
            Found::Nothing { new_conversation } => {
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
                let outcome = TurnOutcome::Held { reason: reason.to_owned(), detail: detail.to_owned() };
                self.end(held, channel, turn.into(), outcome, &events, now).await
            }
        }
    }

    /// Whether it is this question that Fini fails on: others were answered between its calls. In an outage
    /// nothing else works either, and the question waits for its end.
    async fn is_poisoned(&self, channel: &Channel, turn: &Turn, now: Timestamp) -> Result<bool, StoreError> {
        let TurnState::Unknown { asked_at, .. } = turn.state else { return Ok(false) };
        let (_, room, _) = self.key(channel)?;
        if room.gate.worked_within(now.since(asked_at)) {
            self.outlived.insert(turn.id, turn.asked).await;
        }
        Ok(is_the_reason(turn.asked, self.outlived.get(&turn.id).await.unwrap_or(0)))
    }
}

/// `outlived`: after so many of its calls others were answered.
fn is_the_reason(asked: u32, outlived: u32) -> bool {
    (asked >= MOST_ASKED && outlived == asked) || (asked >= MOST_ASKED_QUIETLY && outlived > 0)
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

    #[test]
    fn a_question_is_the_reason_when_others_were_answered_between_its_failures() {
        assert!(is_the_reason(5, 5), "after each of five");
        assert!(is_the_reason(10, 1), "where few write: after one of ten");
        for (asked, outlived) in [(4, 4), (5, 4), (9, 8), (10, 0), (1000, 0)] {
            assert!(!is_the_reason(asked, outlived), "{asked}, {outlived}: it may be an outage");
        }
    }
}
