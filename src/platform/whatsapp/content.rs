//! What a message says, as plain text: each kind by its words, or as one readable line.

use serde_json::Value;

use super::super::{Malformed, json as read};
use super::form;

/// What is read in a message.
pub enum Content {
    Text(String),
    /// A person wrote it, and nothing of it can be read.
    Unreadable,
    /// Not a message of a person: the word for what it is.
    Other(&'static str),
}

pub fn read(message: &Value) -> Result<Content, Malformed> {
    let named = |kind: &str, pointer: &str| -> Result<String, Malformed> {
        Ok(read::placeholder(kind, read::optional_text(message, pointer)?))
    };
    let captioned = |line: String, pointer: &str| -> Result<String, Malformed> {
        Ok(match read::optional_text(message, pointer)? {
            Some(caption) if !caption.is_empty() => format!("{caption}\n{line}"),
            _ => line,
        })
    };
    Ok(Content::Text(match read::text(message, "/type")? {
        "text" => read::text(message, "/text/body")?.to_owned(),
        "image" => captioned(read::placeholder("image", None), "/image/caption")?,
        "video" => captioned(read::placeholder("video", None), "/video/caption")?,
        "document" => captioned(named("document", "/document/filename")?, "/document/caption")?,
        "audio" if read::optional_flag(message, "/audio/voice")? != Some(true) => read::placeholder("audio", None),
        "audio" | "voice" => read::placeholder("voice message", None),
        "sticker" => read::placeholder("sticker", None),
        "interactive" => match interactive(message)? {
            Some(text) => text,
            None => return Ok(Content::Other("interactive")),
        },
        "button" => read::text(message, "/button/text")?.to_owned(),
        "location" => {
            let location = message.get("location").unwrap_or(&Value::Null);
            read::details("location", ["name", "address", "latitude", "longitude"].map(|key| location.get(key)))
        }
        "contacts" => contacts(read::optional_list(message, "/contacts")?),
        "order" => captioned(order(read::optional_list(message, "/order/product_items")?), "/order/text")?,
        "reaction" => return Ok(Content::Other("reaction")),
        "edit" => return Ok(Content::Other("edited")),
        "revoke" => return Ok(Content::Other("deleted")),
        "system" => return Ok(Content::Other("system")),
        "request_welcome" => return Ok(Content::Other("request_welcome")),
        _ => return Ok(Content::Unreadable),
    }))
}

/// A button, a choice of a list, a form. `None` for what asks for no answer, such as a permission to call.
fn interactive(message: &Value) -> Result<Option<String>, Malformed> {
    for title in ["/interactive/button_reply/title", "/interactive/list_reply/title"] {
        if let Some(title) = read::optional_text(message, title)? {
            return Ok(Some(title.to_owned()));
        }
    }
    if read::optional_object(message, "/interactive/nfm_reply")?.is_none() {
        return Ok(None);
    }
    let written = read::optional_text(message, "/interactive/nfm_reply/response_json")?.unwrap_or_default();
    Ok(Some(read::placeholder("form", Some(&form::answers(written).join(", ")))))
}

fn contacts(contacts: &[Value]) -> String {
    let line = |contact: &Value| {
        let name = contact.pointer("/name/formatted_name");
        read::details("contact", [name, contact.pointer("/phones/0/phone"), contact.pointer("/emails/0/email")])
    };
    match contacts {
        [] => read::placeholder("contact", None),
        contacts => contacts.iter().map(line).collect::<Vec<_>>().join("\n"),
    }
}

/// `[order: 2 × SKU1 (9.99 EUR), 1 × SKU2]`
fn order(items: &[Value]) -> String {
    let item = |item: &Value| {
        let word = |key| item.get(key).map(read::shown).filter(|word| !word.is_empty());
        let product = format!("{} × {}", word("quantity").unwrap_or("1".to_owned()), word("product_retailer_id")?);
        Some(match (word("item_price"), word("currency")) {
            (Some(price), Some(currency)) => format!("{product} ({price} {currency})"),
            _ => product,
        })
    };
    read::placeholder("order", Some(&items.iter().filter_map(item).collect::<Vec<_>>().join(", ")))
}

/// What a message is about, as a quoted line: the advertisement that led to it, the product whose page it came from.
/// The words of a message that it replies to are not in the webhook.
pub fn context(message: &Value) -> Option<String> {
    let word = |pointer: &str| read::at(message, pointer).and_then(Value::as_str).filter(|word| !word.is_empty());
    let words = match (word("/referral/headline"), word("/referral/body")) {
        (Some(headline), Some(body)) => Some(format!("{headline}: {body}")),
        (headline, body) => headline.or(body).map(str::to_owned),
    };
    match (words, word("/referral/source_url")) {
        (Some(words), Some(url)) => Some(format!("{words} ({url})")),
        (None, Some(url)) => Some(url.to_owned()),
        (words, None) => words.or(word("/context/referred_product/product_retailer_id").map(str::to_owned)),
    }
}
