//! What goes wrong on purpose, and for which calls.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    Ask,
    List,
    Get,
    Agents,
    Any,
}

/// What has happened inside Fini before the caller learns anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    Nothing,
    /// The message is stored, nothing follows.
    Stored,
    #[default]
    Answered,
}

/// What the caller gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Then {
    Answer,
    /// With Fini's error envelope. `retry_after` in seconds.
    Status {
        status: u16,
        #[serde(default)]
        retry_after: Option<u64>,
    },
    /// A 400 in these words, which may quote the message.
    Refuse {
        message: String,
    },
    /// A proxy's page.
    Html {
        status: u16,
    },
    /// Nothing, until the caller leaves.
    Hang,
    /// The answer, once the faults are cleared.
    Hold,
    Cut,
    CutUnread,
    CutMidway,
    Truncated,
    SlowBody {
        over_ms: u64,
    },
    /// Hangs; the effect comes so long after the caller left.
    AfterHangUp {
        after_ms: u64,
    },
}

/// One rule; the module's documentation says what each field does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    pub at: Endpoint,
    /// Part of the question's text.
    #[serde(default)]
    pub contains: Option<String>,
    #[serde(default)]
    pub conversation: Option<String>,
    #[serde(default)]
    pub skip: u32,
    #[serde(default)]
    pub times: Option<u32>,
    /// Before anything else happens.
    #[serde(default)]
    pub wait_ms: u64,
    #[serde(default)]
    pub effect: Effect,
    pub then: Then,
}

impl FaultRule {
    /// Until cleared, for every call there.
    pub fn at(at: Endpoint, effect: Effect, then: Then) -> Self {
        Self { at, contains: None, conversation: None, skip: 0, times: None, wait_ms: 0, effect, then }
    }

    /// An error with Fini's envelope before anything has happened.
    pub fn status(at: Endpoint, status: u16) -> Self {
        Self::at(at, Effect::Nothing, Then::Status { status, retry_after: None })
    }

    #[must_use]
    pub fn containing(mut self, text: &str) -> Self {
        self.contains = Some(text.to_owned());
        self
    }

    #[must_use]
    pub fn skipping(mut self, calls: u32) -> Self {
        self.skip = calls;
        self
    }

    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    fn fits(&self, call: &Asked<'_>) -> bool {
        let same = |wanted: &Option<String>, found: Option<&str>| match wanted {
            Some(wanted) => found == Some(wanted),
            None => true,
        };
        (self.at == call.at || self.at == Endpoint::Any)
            && (self.then == Then::CutUnread) == (call.stage == Stage::Unread)
            && (call.stage == Stage::Unread
                || same(&self.conversation, call.conversation)
                    && self.contains.as_deref().is_none_or(|part| call.content.is_some_and(|all| all.contains(part))))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Unread,
    Read,
}

/// A call, as far as rules look at it.
pub(super) struct Asked<'a> {
    pub at: Endpoint,
    pub stage: Stage,
    pub content: Option<&'a str>,
    pub conversation: Option<&'a str>,
}

/// Uses up one use of the first rule that fits.
pub(super) fn pick(rules: &mut [FaultRule], call: &Asked<'_>) -> Option<FaultRule> {
    for rule in rules.iter_mut().filter(|rule| rule.fits(call) && rule.times != Some(0)) {
        if rule.skip > 0 {
            rule.skip -= 1;
            continue;
        }
        if let Some(times) = &mut rule.times {
            *times -= 1;
        }
        return Some(rule.clone());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_passes_over_the_calls_it_skips_and_is_used_as_often_as_it_says() {
        let mut rules = vec![FaultRule::status(Endpoint::Ask, 500).containing("refund").skipping(1).times(2)];
        let mut used = |content| {
            let call = Asked { at: Endpoint::Ask, stage: Stage::Read, content: Some(content), conversation: None };
            pick(&mut rules, &call).is_some()
        };
        let calls = ["a refund", "hello", "a refund", "refund", "refund"];
        assert_eq!(calls.map(&mut used), [false, false, true, true, false]);
    }

    #[test]
    fn a_rule_needs_no_more_json_than_where_and_what() {
        let rule: FaultRule = serde_json::from_str(r#"{"at":"any","then":{"kind":"hang"}}"#).unwrap();
        assert_eq!(rule, FaultRule::at(Endpoint::Any, Effect::Answered, Then::Hang));
        assert!(serde_json::from_str::<FaultRule>(r#"{"at":"ask","then":{"kind":"hang"},"tmies":1}"#).is_err());
    }
}
