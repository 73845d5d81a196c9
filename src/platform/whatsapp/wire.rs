//! Meta's own JSON and error codes.

use serde_json::{Value, json};

use super::super::{Event, Malformed, SendError, ThrottleScope, json as read};
use super::{MAINTENANCE_PAUSE, SAME_USER_PAUSE};
use crate::domain::clock::Timestamp;
use crate::domain::message::{Address, DeliveryReport, ReportOutcome, Reported};
use crate::http::Response;

/// What a message says as plain text, or the word for what it is instead.
pub fn said(message: &Value) -> Result<Result<String, &'static str>, Malformed> {
    let named = |kind: &str, pointer: &str| -> Result<String, Malformed> {
        Ok(read::placeholder(kind, read::optional_text(message, pointer)?))
    };
    let captioned = |line: String, pointer: &str| -> Result<String, Malformed> {
        Ok(match read::optional_text(message, pointer)? {
            Some(caption) if !caption.is_empty() => format!("{caption}\n{line}"),
            _ => line,
        })
    };
    Ok(Ok(match read::text(message, "/type")? {
        "text" => read::text(message, "/text/body")?.to_owned(),
        "image" => captioned(read::placeholder("image", None), "/image/caption")?,
        "video" => captioned(read::placeholder("video", None), "/video/caption")?,
        "document" => captioned(named("document", "/document/filename")?, "/document/caption")?,
        "audio" if read::optional_flag(message, "/audio/voice")? == Some(true) => {
            read::placeholder("voice message", None)
        }
        "audio" => read::placeholder("audio", None),
        "sticker" => read::placeholder("sticker", None),
        "interactive" => {
            let title = |pointer| read::optional_text(message, pointer);
            let title = match title("/interactive/button_reply/title")? {
                Some(title) => Some(title),
                None => title("/interactive/list_reply/title")?,
            };
            match title {
                Some(title) => title.to_owned(),
                None => read::placeholder("form", None),
            }
        }
        "button" => read::text(message, "/button/text")?.to_owned(),
        "location" => named("location", "/location/name")?,
        "contacts" => read::placeholder("contact", None),
        "order" => read::placeholder("order", None),
        "reaction" => return Ok(Err("reaction")),
        "edit" => return Ok(Err("edited")),
        "revoke" => return Ok(Err("deleted")),
        "system" => return Ok(Err("system")),
        "request_welcome" => return Ok(Err("request_welcome")),
        _ => return Ok(Err("unsupported")),
    }))
}

/// Unix seconds, as a string.
pub fn sent_at(message: &Value) -> Result<Timestamp, Malformed> {
    let text = read::text(message, "/timestamp")?;
    let digits = text.len() <= 11 && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = if digits { text.parse().ok() } else { None };
    seconds.map(Timestamp::from_secs).ok_or_else(|| Malformed::new("timestamp is not in seconds"))
}

/// One number may come with `+` and spaces and without.
pub fn same_number(a: Option<&str>, b: Option<&str>) -> bool {
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    matches!((a, b), (Some(a), Some(b)) if !digits(a).is_empty() && digits(a) == digits(b))
}

pub fn report(status: &Value) -> Result<Event, Malformed> {
    let outcome = match read::text(status, "/status")? {
        "sent" => ReportOutcome::Taken,
        "delivered" | "read" | "played" => ReportOutcome::Delivered,
        "failed" => {
            let code = status.pointer("/errors/0/code").and_then(Value::as_i64);
            ReportOutcome::Failed {
                reason: code.map_or_else(|| "whatsapp_failed".to_owned(), |code| format!("whatsapp_{code}")),
            }
        }
        _ => return Ok(Event::Ignored("other_status")),
    };
    let ours = read::optional_text(status, "/biz_opaque_callback_data")?.and_then(|part| part.parse().ok());
    let of = match ours {
        Some(part) => Reported::Part(part),
        None => Reported::Receipt(read::text(status, "/id")?.to_owned()),
    };
    Ok(Event::Report(DeliveryReport { of, outcome }))
}

/// A number, a user who hides theirs (business-scoped user id), or a group.
pub fn target(address: &Address) -> Option<Value> {
    let word = |key: &str| address.0.get(key).and_then(Value::as_str);
    let mut body = json!({ "messaging_product": "whatsapp", "recipient_type": "individual" });
    if let Some(group) = word("group") {
        read::set(&mut body, "recipient_type", json!("group"));
        read::set(&mut body, "to", json!(group));
    } else if let Some(phone) = word("to") {
        read::set(&mut body, "to", json!(phone));
    } else {
        read::set(&mut body, "recipient", json!(word("recipient")?));
    }
    Some(body)
}

/// What an error code means, by WhatsApp's and Graph's error references. Its texts are never passed on.
pub fn refusal(code: i64, response: &Response, now: Timestamp) -> SendError {
    let reason = format!("whatsapp_{code}");
    let after = response.retry_after(now);
    match code {
        // Limits of the app, the account, the number; then trouble on their side, the limit of one user, maintenance.
        4 | 80_007 | 130_429 => SendError::Throttled { reason, after, scope: ThrottleScope::Account },
        1 | 2 | 131_000 | 131_016 => SendError::Retry { reason, after },
        131_056 => SendError::Retry { reason, after: after.or(Some(SAME_USER_PAUSE)) },
        131_057 => SendError::Retry { reason, after: after.or(Some(MAINTENANCE_PAUSE)) },
        // Token and permissions; the account is locked, unpaid, without certificate, without a name.
        0 | 3 | 10 | 190 | 200..=299 | 368 | 130_497 | 131_031 | 131_037 | 131_042 | 131_045 => {
            SendError::Credential { reason }
        }
        _ => match SendError::from_status(response, now) {
            // An unknown code in an answer that says to come again.
            SendError::Retry { after, .. } => SendError::Retry { reason, after },
            SendError::Throttled { after, scope, .. } => SendError::Throttled { reason, after, scope },
            SendError::Credential { .. } if response.status.as_u16() == 401 => SendError::Credential { reason },
            _ => SendError::Permanent { reason },
        },
    }
}
