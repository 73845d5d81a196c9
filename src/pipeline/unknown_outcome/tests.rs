use serde_json::{Map, json};

use super::*;
use crate::domain::id::BotId;
use crate::domain::message::{Address, Role};
use crate::pipeline::plan::tests::{NOW, channel};
use crate::store::TurnOutcome;

const SETTLE: Duration = Duration::from_secs(30);
const ASKING: TurnState = TurnState::Asking { since: Timestamp::from_secs(NOW) };

/// Of a call that ended so many seconds ago.
fn unknown(seconds: i64) -> TurnState {
    let since = Timestamp::from_secs(NOW - seconds);
    TurnState::Unknown { asked_at: since, since, answered: false, looks: 0 }
}

fn turn(state: TurnState, asked: u32) -> Turn {
    Turn {
        id: TurnId::generate(),
        members: Vec::new(),
        in_reply_to: Vec::new(),
        sender: None,
        role: Role::User,
        content: "x".to_owned(),
        user_attributes: Map::new(),
        address: Address(json!({})),
        bot_id: BotId::new("bot"),
        generation: 1,
        received_at: Timestamp::from_secs(NOW - 60),
        state,
        asked,
        dormant: false,
    }
}

fn resolved(found: Found, turn: &Turn, age: Age) -> Verdict {
    resolve(found, turn, age, Timestamp::from_secs(NOW), SETTLE, &channel(""))
}

/// The reason for which the turn ends, and whether the user is told.
fn ending(verdict: Verdict) -> (String, bool) {
    match verdict {
        Verdict::End(Ending { outcome, text, .. }, _) => match outcome {
            TurnOutcome::Failed { reason, .. } | TurnOutcome::Held { reason, .. } => (reason, !text.is_empty()),
            TurnOutcome::Expired => ("expired".to_owned(), !text.is_empty()),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn undecidable() -> Found {
    Found::Undecidable { reason: "stored_not_answered", detail: "", events: Vec::new() }
}

#[test]
fn an_answer_is_taken_over_however_late_unless_nobody_knows_any_more_what_was_asked() {
    for age in [Age::Young, Age::Old] {
        assert_eq!(resolved(Found::Answer(Vec::new()), &turn(unknown(5), 1), age), Verdict::Answered(Vec::new()));
    }
    assert_eq!(ending(resolved(Found::Answer(Vec::new()), &turn(unknown(5), 1), Age::Expired)).0, "expired");
}

#[test]
fn while_nobody_can_tell_the_call_is_looked_up_again_and_more_seldom_after_settle() {
    let note = LookupNote::Missed;
    for (state, seconds) in [(ASKING, 1), (unknown(0), 1), (unknown(30), 1), (unknown(31), 10), (unknown(3600), 10)] {
        let expected = Verdict::LookAgain { note, after: Duration::from_secs(seconds), reason: "looking" };
        assert_eq!(resolved(Found::NothingYet(note), &turn(state, 1), Age::Young), expected, "{state:?}");
    }
}

#[test]
fn what_is_too_old_is_held_once_settle_has_passed_and_not_before() {
    let nothing_yet = || Found::NothingYet(LookupNote::Unchanged);
    for state in [ASKING, unknown(30)] {
        let verdict = resolved(nothing_yet(), &turn(state, 1), Age::Old);
        assert!(matches!(verdict, Verdict::LookAgain { .. }), "{state:?}: {verdict:?}");
    }
    let ended = |age| ending(resolved(nothing_yet(), &turn(unknown(31), 1), age));
    assert_eq!(ended(Age::Old), ("outcome_unknown".to_owned(), true));
    assert_eq!(ended(Age::Expired), ("expired".to_owned(), false));
}

#[test]
fn what_came_to_nothing_is_asked_again_after_a_pause_that_doubles_up_to_a_minute() {
    let nothing = |new_conversation| Found::Nothing { new_conversation };
    for (calls, pause) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 32), (7, 60), (8, 60), (4_000_000_000, 60)] {
        let again = resolved(nothing(false), &turn(unknown(pause), calls), Age::Young);
        assert_eq!(again, Verdict::AskAgain { new_conversation: false }, "{calls}");
        let rest = Duration::from_secs(1);
        let waits = Verdict::LookAgain { note: LookupNote::Unchanged, after: rest, reason: "backing_off" };
        assert_eq!(resolved(nothing(true), &turn(unknown(pause - 1), calls), Age::Young), waits, "{calls}");
    }
    let at_once = resolved(nothing(true), &turn(TurnState::Open, 3), Age::Young);
    assert_eq!(at_once, Verdict::AskAgain { new_conversation: true });
}

#[test]
fn what_came_to_nothing_is_not_asked_again_when_it_is_too_old() {
    let ended = |age| ending(resolved(Found::Nothing { new_conversation: false }, &turn(unknown(5), 1), age));
    assert_eq!(ended(Age::Old), ("gave_up".to_owned(), true));
    assert_eq!(ended(Age::Expired), ("expired".to_owned(), false));
}

#[test]
fn what_cannot_be_decided_is_held_for_a_person() {
    for age in [Age::Young, Age::Old] {
        let ended = ending(resolved(undecidable(), &turn(unknown(31), 1), age));
        assert_eq!(ended, ("stored_not_answered".to_owned(), true), "{age:?}");
    }
    assert_eq!(ending(resolved(undecidable(), &turn(unknown(31), 1), Age::Expired)).0, "expired");
}

fn failed(others_succeeded: &[bool]) -> Failures {
    let count = |failures: Failures, (call, succeeded): (u32, &bool)| failures.with(call, *succeeded);
    (1..).zip(others_succeeded).fold(Failures::default(), count)
}

#[test]
fn a_question_is_the_reason_when_others_were_answered_between_its_failures() {
    assert!(failed(&[true; 5]).is_poison());
    assert!(failed(&[true, false, false, false, true]).is_poison(), "few others write");
    assert!(!failed(&[true; 4]).is_poison());
}

#[test]
fn an_outage_and_its_end_leave_a_question_another_call() {
    assert!(!failed(&[false; 1000]).is_poison());
    assert!(!failed(&[false, false, false, false, false, false, true]).is_poison());
}

#[test]
fn a_call_counts_once_however_often_it_is_looked_at() {
    let failures = (0..10).fold(Failures::default(), |failures, _| failures.with(5, true));
    assert!(!failures.is_poison());
}
