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
/// A question that Fini failed on so often, while it answered others, is the reason itself.
const MOST_ASKED: u32 = 5;

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
                self.end(held, channel, turn.into(), outcome, now).await
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
                self.end(held, channel, turn.into(), gave_up(), now).await
            }
            Found::Nothing { .. } if rest_before_another(&turn, now) > Duration::ZERO => {
                let after = rest_before_another(&turn, now);
                store.unknown(&held.lease, turn.id, Doubt::NotLooked, after, "backing_off").await?;
                Ok(Lane::Released)
            }
            Found::Nothing { .. } if self.is_poisoned(channel, &turn, now)? => {
                let detail = format!("Fini failed on it {} times, and answered others meanwhile.", turn.asked);
                let outcome = TurnOutcome::Failed { reason: "fini_keeps_failing".to_owned(), detail };
                self.end(held, channel, turn.into(), outcome, now).await
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
            Found::Undecidable { reason, detail } => {
                let outcome = TurnOutcome::Held { reason: reason.to_owned(), detail: detail.to_owned() };
                self.end(held, channel, turn.into(), outcome, now).await
            }
        }
    }

    /// Whether it is this question that Fini fails on: others were answered before its last call and after
    /// it. In an outage nothing else works either, and the question waits for its end.
    fn is_poisoned(&self, channel: &Channel, turn: &Turn, now: Timestamp) -> Result<bool, StoreError> {
        let TurnState::Unknown { asked_at, .. } = turn.state else { return Ok(false) };
        let (_, room, _) = self.key(channel)?;
        let others_work = room.gate.worked_within(now.since(asked_at));
        let Ok(mut last_calls) = self.last_calls.lock() else { return Ok(false) };
        if turn.asked + 1 < MOST_ASKED || !others_work {
            last_calls.remove(&turn.id);
            return Ok(false);
        }
        Ok(!last_calls.insert(turn.id))
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
