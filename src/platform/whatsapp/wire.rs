//! Meta's own JSON and error codes.

use serde_json::{Value, json};

use super::super::{Event, Malformed, SendError, ThrottleScope, json as read};
use super::{MAINTENANCE_PAUSE, SAME_USER_PAUSE};
use crate::domain::clock::Timestamp;
use crate::domain::id::ChatKey;
use crate::domain::message::{Address, ChatMove, DeliveryReport, ReportOutcome, Reported};
use crate::http::Response;

/// Unix seconds, as a string; some senders write a number.
pub fn sent_at(message: &Value) -> Result<Timestamp, Malformed> {
    let seconds = match message.get("timestamp") {
        Some(Value::Number(seconds)) => seconds.as_i64().filter(|seconds| (0..100_000_000_000).contains(seconds)),
        _ => {
            let text = read::text(message, "/timestamp")?;
            let digits = text.len() <= 11 && text.bytes().all(|byte| byte.is_ascii_digit());
            if digits { text.parse().ok() } else { None }
        }
    };
    seconds.map(Timestamp::from_secs).ok_or_else(|| Malformed::new("timestamp is not in seconds"))
}

/// A person, by number and by business-scoped user id: either may be missing.
#[derive(Clone, Copy, Default)]
pub struct Person<'a> {
    phone: Option<&'a str>,
    user_id: Option<&'a str>,
}

impl<'a> Person<'a> {
    /// The user id goes before the number: a number may be hidden later, and may pass to somebody else.
    pub fn id(&self) -> Option<&'a str> {
        self.user_id.or(self.phone)
    }

    pub fn phone(&self) -> Option<&'a str> {
        self.phone
    }

    pub fn address(&self) -> Value {
        match (self.phone, self.user_id) {
            (Some(phone), _) => json!({ "to": phone }),
            (None, user_id) => json!({ "recipient": user_id }),
        }
    }
}

/// Who stands in these two fields. `contacts` names the person too: it counts where they are alone in it.
pub fn person<'a>(
    message: &'a Value,
    number: &str,
    user_id: &str,
    contacts: &'a [Value],
) -> Result<Person<'a>, Malformed> {
    let field = |value: &'a Value, pointer: &str| {
        Ok::<_, Malformed>(read::optional_text(value, pointer)?.filter(|text| !text.is_empty()))
    };
    let mut person = Person { phone: field(message, number)?, user_id: field(message, user_id)? };
    if person.user_id.is_none() && person.phone.is_some_and(is_user_id) {
        person = Person { phone: None, user_id: person.phone };
    }
    if let [contact] = contacts {
        let (phone, user_id) = (field(contact, "/wa_id")?, field(contact, "/user_id")?);
        if person.user_id.is_none() && (person.phone.is_none() || same_number(person.phone, phone)) {
            person.user_id = user_id;
        }
        if person.id().is_none() {
            person.phone = phone;
        }
    }
    Ok(person)
}

/// A person whose number or user id changes. Older notices hold the former id in words only: those say nothing.
pub fn moved(message: &Value, number: &str) -> Result<Option<ChatMove>, Malformed> {
    let kind = read::optional_text(message, "/system/type")?;
    if !matches!(kind, Some("user_changed_number" | "user_changed_user_id")) {
        return Ok(None);
    }
    let now = person(message, "/system/wa_id", "/system/user_id", &[])?;
    let before = read::optional_text(message, "/system/previous_user_id")?.filter(|id| !id.is_empty());
    let (Some(before), Some(id)) = (before, now.id()) else { return Ok(None) };
    let key = |person: &str| ChatKey::new(format!("{number}:{person}"));
    Ok(Some(ChatMove { from: key(before), to: key(id), address: Address(now.address()) }))
}

/// A business-scoped user id, `US.13491208655302741918`: the country, a dot, up to 128 letters and digits.
fn is_user_id(text: &str) -> bool {
    text.split_once('.').is_some_and(|(country, id)| {
        country.len() == 2
            && country.bytes().all(|b| b.is_ascii_uppercase())
            && (1..=128).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric())
    })
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
        // One member of a group did not get what the others have.
        "failed" if read::optional_text(status, "/recipient_participant_id")?.is_some() => {
            return Ok(Event::Ignored("participant_failed"));
        }
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

/// A text from this number, as Meta would send it.
pub fn sample(waba: &str, number: &str, from: &str, id: &str, text: &str, now: Timestamp) -> Value {
    let value = json!({
        "messaging_product": "whatsapp",
        "metadata": { "display_phone_number": "15550783881", "phone_number_id": number },
        "contacts": [{ "profile": { "name": "Sample" }, "wa_id": from }],
        "messages": [{
            "from": from, "id": id, "timestamp": now.as_secs().to_string(),
            "type": "text", "text": { "body": text },
        }],
    });
    json!({
        "object": "whatsapp_business_account",
        "entry": [{ "id": waba, "changes": [{ "field": "messages", "value": value }] }],
    })
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
        1 | 2 | 131_000 | 131_016 | 133_004 => SendError::Retry { reason, after },
        // "Calls to this api have exceeded the rate limit", of one kind of call.
        613 => SendError::Retry { reason, after },
        131_056 => SendError::Retry { reason, after: after.or(Some(SAME_USER_PAUSE)) },
        131_057 => SendError::Retry { reason, after: after.or(Some(MAINTENANCE_PAUSE)) },
        // Token and permissions; the account is locked, unpaid, without certificate, without a name.
        0 | 3 | 10 | 190 | 200..=299 | 368 | 130_497 | 131_031 | 131_037 | 131_042 | 131_045 => {
            SendError::Credential { reason }
        }
        // A permission is missing; the number is deleted, not registered, not verified.
        33 | 131_005 | 133_005 | 133_006 | 133_010 => SendError::Credential { reason },
        _ => match SendError::from_status(response, now) {
            // An unknown code in an answer that says to come again.
            SendError::Retry { after, .. } => SendError::Retry { reason, after },
            SendError::Throttled { after, scope, .. } => SendError::Throttled { reason, after, scope },
            SendError::Credential { .. } if response.status.as_u16() == 401 => SendError::Credential { reason },
            _ => SendError::Permanent { reason },
        },
    }
}
