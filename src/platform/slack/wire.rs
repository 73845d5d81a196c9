//! Slack's own JSON and words.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::{Malformed, SampleOf, SendError, ThrottleScope, json as read, sample};
use super::content;
use crate::domain::clock::Timestamp;
use crate::domain::id::PartId;

/// A person's message. Borrowed from the webhook.
pub struct Message<'a> {
    pub channel: &'a str,
    pub user: &'a str,
    pub ts: &'a str,
    pub sent_at: Timestamp,
    pub thread_ts: Option<&'a str>,
    pub direct: bool,
    pub app_mention: bool,
}

/// The event as a message, or the word for what it is instead.
pub fn message(body: &Value) -> Result<Result<Message<'_>, &'static str>, Malformed> {
    let kind = read::text(body, "/event/type")?;
    match kind {
        "message" | "app_mention" => {}
        "tokens_revoked" => return Ok(Err("tokens_revoked")),
        "app_uninstalled" => return Ok(Err("app_uninstalled")),
        _ => return Ok(Err("other_event")),
    }
    match read::optional_text(body, "/event/subtype")? {
        None | Some("file_share" | "thread_broadcast" | "me_message") => {}
        Some("message_changed") => return Ok(Err("edited")),
        Some("message_deleted") => return Ok(Err("deleted")),
        Some("bot_message") => return Ok(Err("bot")),
        Some(_) => return Ok(Err("subtype")),
    }
    // The app's own posts come back as plain messages without a subtype.
    let app = read::optional_text(body, "/event/app_id")?;
    if read::optional_text(body, "/event/bot_id")?.is_some()
        || (app.is_some() && app == read::optional_text(body, "/api_app_id")?)
    {
        return Ok(Err("bot"));
    }
    let channel = read::text(body, "/event/channel")?;
    let ts = read::text(body, "/event/ts")?;
    let thread_ts = read::optional_text(body, "/event/thread_ts")?;
    if thread_ts.is_some_and(|root| moment(root).is_none()) {
        return Err(Malformed::new("event.thread_ts is not a timestamp"));
    }
    Ok(Ok(Message {
        channel,
        user: read::text(body, "/event/user")?,
        ts,
        sent_at: moment(ts).ok_or_else(|| Malformed::new("event.ts is not a timestamp"))?,
        thread_ts,
        direct: match read::optional_text(body, "/event/channel_type")? {
            Some(kind) => matches!(kind, "im" | "app_home"),
            None => looks_direct(channel),
        },
        app_mention: kind == "app_mention",
    }))
}

/// docs.slack.dev/messaging/message-metadata: letters, digits and `_`.
const MARK: &str = "fini_bridge_part";

/// Goes along with a post and comes back with its echo: which part it is.
pub fn mark(part: PartId) -> Value {
    json!({ "event_type": MARK, "event_payload": { "part": part } })
}

/// The part that an event is the echo of: a post of this very app that bears our mark. Other apps can read
/// marks and write the like.
pub fn echo_of(body: &Value) -> Option<PartId> {
    let text = |pointer: &str| read::at(body, pointer).and_then(Value::as_str);
    let ours = text("/event/type") == Some("message")
        && matches!(text("/event/subtype"), None | Some("thread_broadcast"))
        && text("/event/app_id").is_some_and(|app| text("/api_app_id") == Some(app))
        && text("/event/metadata/event_type") == Some(MARK);
    text("/event/metadata/event_payload/part").filter(|_| ours)?.parse().ok()
}

/// The id of a chat between one person and the bot.
pub fn looks_direct(channel: &str) -> bool {
    channel.starts_with('D')
}

/// The workspaces and organisations through which the event reached us; the token belongs to one of them, or the
/// event is not ours. In a channel shared with another workspace `team_id` may be theirs; for an installation in a
/// whole organisation `auth.test` tells the organisation.
pub fn accounts<'b>(body: &'b Value, team: &'b str) -> impl Iterator<Item = &'b str> {
    let of = |authorization: &'b Value| {
        ["/team_id", "/enterprise_id"].into_iter().filter_map(|id| read::at(authorization, id)?.as_str())
    };
    std::iter::once(team).chain(authorizations(body).flat_map(of))
}

/// Whether `user` is the bot that the event is delivered for.
pub fn is_installed(body: &Value, user: &str) -> bool {
    authorizations(body)
        .any(|a| a.get("is_bot").is_some_and(|it| it == true) && a.get("user_id").is_some_and(|id| id == user))
}

fn authorizations(body: &Value) -> impl Iterator<Item = &Value> {
    body.get("authorizations").and_then(Value::as_array).into_iter().flatten()
}

/// `1766458026.240809`. Never a float: it is an id, and doubles don't hold it.
pub fn moment(ts: &str) -> Option<Timestamp> {
    let (seconds, fraction) = ts.split_once('.')?;
    let digits = |text: &str, max| !text.is_empty() && text.len() <= max && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(seconds, 11) || !digits(fraction, 6) {
        return None;
    }
    let millis: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    Some(Timestamp::from_millis(seconds.parse::<i64>().ok()? * 1000 + millis))
}

/// A message to the bot, as Slack would send it: direct, or a mention in a channel.
pub fn sample(of: &SampleOf<'_>, team: &str, bot: &str, channel: &str, ts: &str) -> Value {
    let mut event = json!({
        "type": "app_mention", "user": "U00SAMPLEUSER", "ts": ts, "text": content::escape(of.text), "team": team,
        "channel": channel, "event_ts": ts,
    });
    if looks_direct(channel) {
        read::set(&mut event, "type", json!("message"));
        read::set(&mut event, "channel_type", json!("im"));
    }
    json!({
        "type": "event_callback", "team_id": team, "api_app_id": "A00SAMPLE", "event": event,
        "event_id": format!("Ev{}", sample::number(of.id)),
        "event_time": moment(ts).map(Timestamp::as_secs),
        "authorizations": [{ "team_id": team, "user_id": bot, "is_bot": true }],
    })
}

pub fn form_kind(body: &[u8]) -> &'static str {
    let has = |name: &str| url::form_urlencoded::parse(body).any(|(key, _)| key == name);
    match () {
        () if has("payload") => "interactivity",
        () if has("command") => "slash_command",
        () => "form",
    }
}

/// What `"error"` means, by docs.slack.dev/reference/methods/chat.postMessage.
pub fn refusal(word: &str, after: Option<Duration>) -> SendError {
    let known = !word.is_empty() && word.len() <= 64 && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let reason = if known { format!("slack_{word}") } else { "slack_error".to_owned() };
    match word {
        // Of a channel or of the workspace: docs.slack.dev/apis/web-api/rate-limits has both.
        "ratelimited" | "rate_limited" => SendError::Throttled { reason, after, scope: ThrottleScope::ChatOrAccount },
        "message_limit_exceeded" => SendError::Throttled { reason, after, scope: ThrottleScope::Account },
        // Nothing was done: the service is away, the request came truncated, the workspace is on the move.
        "service_unavailable" | "request_timeout" | "team_added_to_org" | "external_channel_migrating" => {
            SendError::Retry { reason, after }
        }
        // "It's possible some aspect of the operation succeeded before the error was raised."
        "internal_error" | "fatal_error" => SendError::Unknown { reason },
        "invalid_auth"
        | "not_authed"
        | "account_inactive"
        | "token_revoked"
        | "token_expired"
        | "missing_scope"
        | "no_permission"
        | "access_denied"
        | "org_login_required"
        | "not_allowed_token_type"
        | "accesslimited"
        | "ekm_access_denied" => SendError::Credential { reason },
        // The whole workspace or organisation shuts the app out.
        "team_access_not_granted" | "two_factor_setup_required" | "enterprise_is_restricted" => {
            SendError::Credential { reason }
        }
        _ => SendError::Permanent { reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_exact_to_the_millisecond() {
        assert_eq!(moment("1766458026.240809"), Some(Timestamp::from_millis(1_766_458_026_240)));
        assert_eq!(moment("1766458026.5"), Some(Timestamp::from_millis(1_766_458_026_500)));
        assert_eq!(moment("1766458026.2408091"), None);
    }
}
