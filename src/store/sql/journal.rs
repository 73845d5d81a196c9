//! The journal: every step of a message, of its turn and of the parts of its answer, in the row of each. The statement
//! that takes a step writes it, so that the two never disagree and a step costs neither a commit nor a page more.
//!
//! A row's journal has a line for each transaction: a JSON list of the time, the process, and steps with their details.
//! What may quote somebody is never in it: a reason that is no code is replaced by one.

use serde_json::{Map, Value, json};

use super::Tx;
use crate::domain::clock::Timestamp;
use crate::domain::message::ReportOutcome;
use crate::store::column::to_json;
use crate::store::retention::EXPIRED;
use crate::store::{JournalEntry, JournalStep, NewUnusable, Result, TurnEnd, TurnOutcome};
use JournalStep::{
    Adopted, Answered, Asked, Discarded, Failed, Held, LookedUp, PartFailed, PartRetried, PartSent, Received, Reported,
    Retried, Stored, Throttled, Waiting,
};

/// The row's journal with one more line. Of one that grows beyond this, in an outage of many hours, the beginning and
/// the end stay: what is cut in the middle is a line that nobody can read any more, and is passed over.
macro_rules! appended {
    ($line:literal) => {
        concat!(
            "CASE WHEN length(journal) < 8192 THEN journal
                ELSE substr(journal, 1, 2048) || '\n' || substr(journal, length(journal) - 4095) END || ",
            $line
        )
    };
}
pub(crate) use appended;

/// Reasons that are sentences of the bridge's own, by their beginnings.
const SENTENCES: [(&str, &str); 7] = [
    ("not reached", "not_reached"),
    ("no connection", "not_reached"),
    ("timed out", "timed_out"),
    ("the connection", "connection_lost"),
    ("the answer", "answer_unreadable"),
    ("a web page", "answer_unreadable"),
    ("the chat has moved", "moved"),
];

/// A reason as the journal keeps it.
pub(super) fn code(reason: &str) -> &str {
    let is_code = |c: u8| c.is_ascii_alphanumeric() || b"_.:/-".contains(&c);
    if !reason.is_empty() && reason.len() <= 64 && reason.bytes().all(is_code) {
        return reason;
    }
    SENTENCES.iter().find(|(beginning, _)| reason.starts_with(beginning)).map_or("other", |(_, code)| code)
}

fn because(reason: &str) -> Value {
    json!({ "reason": code(reason) })
}

type Line<'l> = &'l [(JournalStep, Value)];

fn line<T: Tx>(tx: &T, steps: Line<'_>) -> Result<String> {
    if steps.is_empty() {
        return Ok(String::new());
    }
    let mut line: Vec<Value> = vec![tx.now().as_millis().into(), tx.wakeups().replica().into()];
    for (step, detail) in steps {
        line.push(step.as_str().into());
        if !detail.is_null() {
            line.push(detail.clone());
        }
    }
    Ok(to_json(&line)? + "\n")
}

/// The lines of a row, in order.
pub(super) fn read(journal: &str) -> Vec<JournalEntry> {
    journal.lines().filter_map(read_line).flatten().collect()
}

/// `None`: it was cut.
fn read_line(line: &str) -> Option<Vec<JournalEntry>> {
    let mut values = serde_json::from_str::<Vec<Value>>(line).ok()?.into_iter();
    let (at, replica) = (values.next()?.as_i64()?, values.next()?.as_str()?.to_owned());
    let mut entries: Vec<JournalEntry> = Vec::new();
    for value in values {
        match value {
            Value::Object(detail) => entries.last_mut()?.detail = detail,
            step => entries.push(JournalEntry {
                at: Timestamp::from_millis(at),
                step: serde_json::from_value(step).ok()?,
                replica: replica.clone(),
                detail: Map::new(),
            }),
        }
    }
    Some(entries)
}

// ---------------------------------------------------------------------------------------------- messages

fn proven_by(secret: Option<&str>) -> Value {
    secret.map_or(Value::Null, |secret| json!({ "secret": secret }))
}

pub(crate) fn received<T: Tx>(tx: &T, secret: Option<&str>) -> Result<String> {
    line(tx, &[(Received, proven_by(secret)), (Stored, Value::Null), (Waiting, Value::Null)])
}

pub(crate) fn unusable<T: Tx>(tx: &T, unusable: &NewUnusable) -> Result<String> {
    let received = (Received, proven_by(unusable.secret.as_deref()));
    line(tx, &[received, (Stored, Value::Null), (Failed, because(&unusable.reason))])
}

/// What the parts of an answer have made of its messages, where a person has to know.
pub(super) fn verdict<T: Tx>(tx: &T, state: &str, reason: Option<&str>) -> Result<Option<String>> {
    let step = match state {
        "failed" => Failed,
        "held" => Held,
        _ => return Ok(None),
    };
    line(tx, &[(step, because(reason.unwrap_or_default()))]).map(Some)
}

/// The turn that is left behind is still a part of the message's way.
pub(super) fn asked_again<T: Tx>(tx: &T, turn: &str) -> Result<String> {
    line(tx, &[(Retried, json!({ "turn": turn })), (Waiting, Value::Null)])
}

pub(super) fn delivered_again<T: Tx>(tx: &T) -> Result<String> {
    line(tx, &[(Retried, Value::Null)])
}

pub(super) fn discarded<T: Tx>(tx: &T) -> Result<String> {
    line(tx, &[(Discarded, Value::Null)])
}

// ---------------------------------------------------------------------------------------------- turns

pub(super) fn asked<T: Tx>(tx: &T) -> Result<String> {
    line(tx, &[(Asked, Value::Null)])
}

/// Nothing came of the call before.
pub(super) fn asked_after_looking<T: Tx>(tx: &T) -> Result<String> {
    line(tx, &[found("nothing"), (Asked, Value::Null)])
}

fn found(what: &str) -> (JournalStep, Value) {
    (LookedUp, json!({ "found": what }))
}

pub(super) fn looked_up<T: Tx>(tx: &T) -> Result<String> {
    line(tx, &[found("nothing")])
}

/// A call without an answer.
pub(super) fn not_answered<T: Tx>(tx: &T, reason: &str) -> Result<String> {
    let step = if reason == "fini_429" { Throttled } else { Waiting };
    line(tx, &[(step, because(reason))])
}

fn ending(end: &TurnEnd) -> Option<(JournalStep, Value)> {
    match &end.outcome {
        TurnOutcome::Answered => Some((Answered, json!({ "parts": end.parts.len() }))),
        // Its state says why.
        TurnOutcome::Dropped { .. } => None,
        TurnOutcome::Failed { reason, .. } => Some((Failed, because(reason))),
        TurnOutcome::Held { reason, .. } => Some((Held, because(reason))),
        TurnOutcome::Expired => Some((Failed, because(EXPIRED))),
    }
}

pub(super) fn ended<T: Tx>(tx: &T, end: &TurnEnd) -> Result<String> {
    line(tx, ending(end).as_slice())
}

/// Likewise, of a turn whose call had an unknown outcome.
pub(super) fn ended_after_looking<T: Tx>(tx: &T, end: &TurnEnd) -> Result<String> {
    let mut steps = match end.outcome {
        TurnOutcome::Answered => vec![found("answer"), (Adopted, Value::Null)],
        // Nobody looked any more.
        TurnOutcome::Expired => Vec::new(),
        _ if end.events.is_empty() => vec![found("nothing")],
        _ => vec![found("question")],
    };
    steps.extend(ending(end));
    line(tx, &steps)
}

// ---------------------------------------------------------------------------------------------- parts

pub(super) fn part_sent<T: Tx>(tx: &T) -> Result<String> {
    line(tx, &[(PartSent, Value::Null)])
}

pub(super) fn part_sent_in_response<T: Tx>(tx: &T) -> Result<String> {
    line(tx, &[(PartSent, json!({ "by": "response" }))])
}

pub(super) fn part_retried<T: Tx>(tx: &T, reason: &str) -> Result<String> {
    line(tx, &[(PartRetried, because(reason))])
}

pub(super) fn part_failed<T: Tx>(tx: &T, reason: &str) -> Result<String> {
    line(tx, &[(PartFailed, because(reason))])
}

fn report(outcome: &ReportOutcome) -> (JournalStep, Value) {
    let detail = match outcome {
        ReportOutcome::Taken => json!({ "outcome": "taken" }),
        ReportOutcome::Delivered => json!({ "outcome": "delivered" }),
        ReportOutcome::Failed { reason } => json!({ "outcome": "failed", "reason": code(reason) }),
    };
    (Reported, detail)
}

pub(super) fn reported<T: Tx>(tx: &T, outcome: &ReportOutcome) -> Result<String> {
    line(tx, &[report(outcome)])
}

/// The report says of a part that it was sent, which nothing else has said. That it was delivered is written already.
pub(super) fn sent_by_report<T: Tx>(tx: &T, outcome: &ReportOutcome) -> Result<String> {
    let sent = (PartSent, json!({ "by": "report" }));
    match outcome {
        ReportOutcome::Delivered => line(tx, &[sent]),
        ReportOutcome::Taken | ReportOutcome::Failed { .. } => line(tx, &[report(outcome), sent]),
    }
}

pub(super) fn failed_by_report<T: Tx>(tx: &T, outcome: &ReportOutcome, reason: &str) -> Result<String> {
    line(tx, &[report(outcome), (PartFailed, because(reason))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_that_may_quote_somebody_is_replaced() {
        for (reason, kept) in [
            ("http_503", "http_503"),
            ("fini_400", "fini_400"),
            ("channel_not_found", "channel_not_found"),
            ("not reached: no connection", "not_reached"),
            ("timed out", "timed_out"),
            ("my parcel is lost", "other"),
            ("<b>", "other"),
            ("ä", "other"),
            ("", "other"),
        ] {
            assert_eq!(code(reason), kept, "{reason}");
        }
        assert_eq!(code(&"x".repeat(65)), "other");
    }

    #[test]
    fn lines_that_were_cut_are_passed_over() {
        let journal =
            "[1,\"a\",\"received\",{\"secret\":\"env:KEY\"},\"stored\"]\n[2,\"a\",\"wai\nked\"]\n[3,\"b\",\"asked\"]\n";
        let read: Vec<(i64, JournalStep, String)> =
            read(journal).into_iter().map(|entry| (entry.at.as_millis(), entry.step, entry.replica)).collect();
        let a = || "a".to_owned();
        assert_eq!(read, [(1, Received, a()), (1, Stored, a()), (3, Asked, "b".to_owned())]);
    }
}
