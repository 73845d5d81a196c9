//! Fini's Markdown in the dialects that chats understand, cut to a chat's limits. Parsed once, by a
//! library; written here. Knows no platform, only what platforms count and what they can show.

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
    /// The same without any markup, for a platform that refused the markup.
    pub plain: String,
}
