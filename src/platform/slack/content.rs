//! What a message says, as plain text: its words, what is forwarded with it, its tables and files; and Slack's escapes.

use serde_json::Value;

use super::super::{Malformed, json as read};

/// Whose mention is the bot's.
pub struct Bot<'a> {
    pub is_own: &'a dyn Fn(&str) -> bool,
    pub name: Option<&'a str>,
}

/// All that a person reads in an event's message.
pub fn read(body: &Value, bot: &Bot<'_>) -> Result<Said, Malformed> {
    let mut said = decode(read::optional_text(body, "/event/text")?.unwrap_or_default(), bot);
    let attachments = read::optional_list(body, "/event/attachments")?;
    if said.text.trim().is_empty() && !said.names_us {
        said = decode(&source(read::optional_list(body, "/event/blocks")?), bot);
    }
    let mut add = |text: &str| said.text = read::joined(std::mem::take(&mut said.text), text);
    for attachment in attachments {
        let is_table = |block: &&Value| block.get("type").is_some_and(|kind| kind == "table");
        let tables: Vec<Value> = items(attachment.get("blocks")).filter(is_table).cloned().collect();
        add(&decode(&source(&tables), bot).text);
    }
    files(read::optional_list(body, "/event/files")?).iter().for_each(|line| add(line));
    // A link that was pasted brings its preview along: that is not what the person says.
    for share in attachments.iter().filter(|it| it.get("is_share").is_some_and(|it| it == true)) {
        add(&read::quoted(&shared(share, bot)));
    }
    Ok(said)
}

fn items(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

/// A message that is passed on, with who wrote it.
fn shared(share: &Value, bot: &Bot<'_>) -> String {
    let word = |key: &str| share.get(key).and_then(Value::as_str).filter(|word| !word.trim().is_empty());
    let text = decode(word("text").unwrap_or_default(), bot).text;
    let files = share.get("files").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let words = read::joined(text, &self::files(files).join("\n"));
    match word("author_name") {
        Some(author) if !words.is_empty() => format!("{}: {words}", unescape(author)),
        _ => words,
    }
}

/// Blocks as Slack's source of a text, with its escapes: what `text` would hold.
fn source(blocks: &[Value]) -> String {
    let mut lines = Vec::new();
    for block in blocks {
        for row in items(block.get("rows")) {
            let cells: Vec<String> = items(Some(row)).map(inline).collect();
            lines.push(cells.join(" | "));
        }
        for element in items(block.get("elements")) {
            let kind = element.get("type").and_then(Value::as_str);
            if kind == Some("rich_text_list") {
                lines.extend(items(element.get("elements")).map(inline));
            } else {
                lines.push(inline(element));
            }
        }
        if let Some(text) = block.get("text") {
            lines.push(inline(text));
        }
    }
    lines.retain(|line| !line.trim().is_empty());
    lines.join("\n")
}

/// How deep this goes is bounded by the parser of JSON.
fn inline(element: &Value) -> String {
    let word = |key: &str| element.get(key).and_then(Value::as_str);
    match (word("type"), word("text")) {
        (Some("mrkdwn"), Some(text)) => text.to_owned(),
        (Some("link"), label) => {
            let url = escape(word("url").unwrap_or_default());
            label.map_or_else(|| format!("<{url}>"), |label| format!("<{url}|{}>", escape(label)))
        }
        (Some("user"), _) => format!("<@{}>", word("user_id").unwrap_or_default()),
        (Some("channel"), _) => format!("<#{}>", word("channel_id").unwrap_or_default()),
        (Some("broadcast"), _) => format!("<!{}>", word("range").unwrap_or_default()),
        (Some("emoji"), _) => format!(":{}:", word("name").unwrap_or_default()),
        (_, Some(text)) => escape(text),
        _ => items(element.get("elements")).map(inline).collect(),
    }
}

/// A line for each, and below it what Slack has read in it: the beginning of a snippet, the words of a clip.
fn files(files: &[Value]) -> Vec<String> {
    let mut lines = Vec::new();
    for file in files {
        let word = |pointer: &str| read::at(file, pointer).and_then(Value::as_str).filter(|word| !word.is_empty());
        let mode = word("/mode");
        // A file that was deleted.
        if mode == Some("tombstone") {
            continue;
        }
        let kind = match word("/mimetype").and_then(|kind| kind.split('/').next()) {
            Some("image") => "image",
            Some("video") => "video",
            Some("audio") => "audio",
            _ => "file",
        };
        lines.push(read::placeholder(kind, word("/name").or_else(|| word("/title"))));
        lines.extend(word("/preview").filter(|_| mode == Some("snippet")).map(str::to_owned));
        lines.extend(word("/transcription/preview/content").map(str::to_owned));
    }
    lines
}

pub struct Said {
    pub text: String,
    pub names_us: bool,
}

/// Resolves `<…>` first and undoes the three escapes after: the other way round a person could write
/// tokens. A mention of the bot at the start says who is meant, not what is asked: it goes. Elsewhere it is the bot's
/// name, if that is known.
pub fn decode(text: &str, bot: &Bot<'_>) -> Said {
    let mut said = Said { text: String::with_capacity(text.len()), names_us: false };
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        said.text.push_str(&unescape(before));
        let Some((token, behind)) = after.split_once('>') else {
            rest = after;
            said.text.push('<');
            break;
        };
        rest = behind;
        let user = token.strip_prefix('@').map(|user| user.split_once('|').map_or(user, |(id, _)| id));
        if user.is_some_and(|user| (bot.is_own)(user)) {
            said.names_us = true;
            if said.text.trim().is_empty() {
                said.text.clear();
                rest = behind.trim_start_matches([' ', '\u{a0}', '\n', ',', ':']);
                continue;
            }
            if let Some(name) = bot.name {
                said.text.push('@');
                said.text.push_str(name);
                continue;
            }
        }
        said.text.push_str(&resolve(token));
    }
    said.text.push_str(&unescape(rest));
    said
}

fn resolve(token: &str) -> String {
    let (target, label) = match token.split_once('|') {
        Some((target, label)) => (unescape(target), Some(unescape(label)).filter(|label| !label.is_empty())),
        None => (unescape(token), None),
    };
    let sigil = target.chars().next();
    let id = target.get(1..).unwrap_or_default();
    match (sigil, label) {
        (Some('@'), label) => format!("@{}", label.as_deref().unwrap_or(id).trim_start_matches('@')),
        (Some('#'), label) => format!("#{}", label.as_deref().unwrap_or(id).trim_start_matches('#')),
        // `<!date^…|fallback>`, `<!subteam^S…|@group>`, `<!here|here>`
        (Some('!'), Some(label)) if id.contains('^') => label,
        (Some('!'), _) => format!("@{}", id.strip_prefix("subteam^").unwrap_or(id)),
        (_, Some(label)) if is_label_of(&label, &target) => label,
        (_, Some(label)) => format!("{label} ({target})"),
        (_, None) => target.strip_prefix("mailto:").unwrap_or(&target).to_owned(),
    }
}

/// Slack makes links of bare addresses and keeps what was typed as the label.
fn is_label_of(label: &str, target: &str) -> bool {
    ["", "https://", "http://", "mailto:", "tel:"].iter().any(|scheme| target.strip_prefix(scheme) == Some(label))
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> (String, bool) {
        let said = decode(text, &Bot { is_own: &|user| user == "U0BOT", name: None });
        (said.text, said.names_us)
    }

    #[test]
    fn tokens_are_resolved_before_escapes_are_undone() {
        for (raw, plain) in [
            ("a &lt;@U0BOT&gt; b", "a <@U0BOT> b"),
            ("&amp;lt; stays &lt;", "&lt; stays <"),
            ("<@U1|zoe> and <@U1>", "@zoe and @U1"),
            ("<#C1|general> <#C1> <#C1|>", "#general #C1 #C1"),
            ("<!here> <!channel|channel> <!everyone>", "@here @channel @everyone"),
            ("<!subteam^S1|@ops> <!subteam^S1>", "@ops @S1"),
            ("due <!date^1392734382^{date_short}|Feb 18>", "due Feb 18"),
            ("<https://a.example/?x=1&amp;y=2|the doc>", "the doc (https://a.example/?x=1&y=2)"),
            ("<https://a.example> <http://a.example|a.example>", "https://a.example a.example"),
            ("<mailto:a@b.example|a@b.example> <tel:+15550100|+15550100>", "a@b.example +15550100"),
            ("an open < end, <", "an open < end, <"),
            ("<> <|> <@> <!>", "  @ @"),
        ] {
            assert_eq!(decoded(raw).0, plain, "{raw}");
        }
    }

    #[test]
    fn only_a_mention_at_the_start_is_dropped_but_each_counts() {
        assert_eq!(decoded("<@U0BOT> hi"), ("hi".to_owned(), true));
        assert_eq!(decoded(" <@U0BOT|bot>: hi"), ("hi".to_owned(), true));
        assert_eq!(decoded("<@U0BOT>"), (String::new(), true));
        assert_eq!(decoded("hi <@U0BOT>"), ("hi @U0BOT".to_owned(), true));
        assert_eq!(decoded("<@U0OTHER> hi"), ("@U0OTHER hi".to_owned(), false));
        assert_eq!(decoded("&lt;@U0BOT&gt; hi"), ("<@U0BOT> hi".to_owned(), false));
    }
}
