//! Fini's Markdown in the dialects that chats understand, cut to a chat's limits. Parsed once, by a
//! library; written here. Knows no platform, only what platforms count and what they can show.
//!
//! Markdown → [`parse`] → a flat list of blocks → [`lower`] (what the dialect can't show becomes what it
//! can) → [`split`] → one writer a dialect: [`tags`] (Telegram, HTML), [`signs`] (Slack, WhatsApp), [`plain`].
//! Blocks are cut before they are written, so that a cut can't fall into a tag, an entity or a link.
//! [`Dialect::Markdown`] alone is cut in its source ([`source`]): it has to stay Fini's own text.
//!
//! What always holds: raw HTML is text; links are http(s), mailto, tel; mass mentions are disarmed (but in
//! `Markdown`, which is not ours to change); all text arrives, in order; nothing recurses over the input.

mod block;
mod breaks;
mod lower;
mod parse;
mod plain;
mod signs;
mod source;
mod split;
mod tags;

use block::Block;
use unicode_segmentation::UnicodeSegmentation;

/// How a chat writes bold, links and code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// Fini's text unchanged.
    #[default]
    Markdown,
    Plain,
    Html,
    /// Slack's mrkdwn.
    Slack,
    /// The tags that Telegram's `parse_mode: HTML` knows.
    Telegram,
    Whatsapp,
}

/// What a platform counts when it says how long a message may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Unicode code points.
    Chars,
    Utf16,
    Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub max: usize,
    pub unit: Unit,
}

/// One message's worth of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// In the dialect.
    pub text: String,
    /// The same without any markup, for a platform that refused the markup. Within the limit as well,
    /// except in `Markdown`.
    pub plain: String,
}

/// How long `text` is, as the platform counts.
pub fn count(text: &str, unit: Unit) -> usize {
    match unit {
        Unit::Chars => text.chars().count(),
        Unit::Utf16 => text.chars().map(char::len_utf16).sum(),
        Unit::Bytes => text.len(),
    }
}

/// The messages that say `markdown` in `dialect`, none longer than `limit` and none blank; none at all for
/// blank text. What counts is the string sent, in `Telegram` what is left of it once the tags are parsed.
///
/// A limit too small for the markup of a passage gives that passage up to plain text, one too small for a
/// single character gives a piece of one character.
pub fn render(markdown: &str, dialect: Dialect, limit: Option<Limit>) -> Vec<Piece> {
    if is_blank(markdown) {
        return Vec::new();
    }
    if dialect == Dialect::Markdown {
        return source::pieces(markdown, limit);
    }
    let blocks = lower::lower(parse::parse(markdown), dialect);
    let parts = match limit {
        None => vec![blocks],
        Some(limit) => split::split(blocks, limit.max, |blocks| fits(blocks, dialect, limit)),
    };
    parts
        .into_iter()
        .map(|part| Piece { text: write(&part, dialect).text, plain: plain::write(&part) })
        .filter(|piece| !is_blank(&piece.plain))
        .collect()
}

/// `markdown` as text without any markup; addresses of links follow their labels.
pub fn plain(markdown: &str) -> String {
    plain::write(&lower::lower(parse::parse(markdown), Dialect::Plain))
}

/// What a writer has written.
#[derive(Default)]
struct Written {
    text: String,
    /// What is left when the platform has parsed the tags, where that is what the platform counts.
    visible: Option<String>,
    tags: usize,
}

/// Telegram forgets the formatting entities of a message beyond the hundredth, and with them the addresses
/// of links (limits published by the clients, not by the Bot API).
const TELEGRAM_ENTITIES: usize = 100;

fn write(blocks: &[Block], dialect: Dialect) -> Written {
    match dialect {
        Dialect::Telegram => tags::telegram(blocks),
        Dialect::Html => tags::html(blocks),
        Dialect::Slack | Dialect::Whatsapp => Written { text: signs::write(blocks, dialect), ..Written::default() },
        Dialect::Plain | Dialect::Markdown => Written { text: plain::write(blocks), ..Written::default() },
    }
}

fn fits(blocks: &[Block], dialect: Dialect, limit: Limit) -> bool {
    let written = write(blocks, dialect);
    let counted = written.visible.as_deref().unwrap_or(&written.text);
    count(counted, limit.unit) <= limit.max
        && written.tags <= TELEGRAM_ENTITIES
        && (dialect == Dialect::Plain || count(&plain::write(blocks), limit.unit) <= limit.max)
}

/// Whether a platform would call `text` empty: nothing in it that can be seen.
fn is_blank(text: &str) -> bool {
    text.chars().all(|c| {
        c.is_whitespace()
            || c.is_control()
            || matches!(c, '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
                | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
    })
}

/// Invisible, no white space, no part of a word: between two characters it keeps a chat from reading them
/// as one sign.
const INVISIBLE: char = '\u{200b}';

/// The columns that `text` takes in a monospaced font, near enough: East Asian signs and emoji take two.
fn columns(text: &str) -> usize {
    text.graphemes(true)
        .map(|cluster| match cluster.chars().next() {
            Some('\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}') => 2,
            Some('\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}') => 2,
            Some('\u{1f300}'..='\u{1faff}' | '\u{20000}'..='\u{3fffd}') => 2,
            _ => 1,
        })
        .sum()
}
