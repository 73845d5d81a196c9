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
mod html;
mod lower;
mod parse;
mod plain;
#[cfg(test)]
mod properties;
mod signs;
mod source;
mod split;
mod tags;

pub use html::plain_text;

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
    let said = pieces(lower::lower(parse::parse(markdown), dialect), dialect, limit);
    if !said.is_empty() {
        return said;
    }
    // Nothing but markup: better shown as it is than an answer that never comes.
    pieces(lower::lower(vec![Block::bare(parse::clean(markdown))], dialect), dialect, limit)
}

fn pieces(blocks: Vec<Block>, dialect: Dialect, limit: Option<Limit>) -> Vec<Piece> {
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

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &str = include_str!("../../tests/data/answers/long.md");

    fn one(markdown: &str, dialect: Dialect) -> String {
        let pieces = render(markdown, dialect, None);
        assert_eq!(pieces.len(), 1);
        pieces[0].text.clone()
    }

    fn cut(markdown: &str, dialect: Dialect, max: usize) -> Vec<String> {
        let limit = Limit { max, unit: Unit::Chars };
        render(markdown, dialect, Some(limit)).into_iter().map(|piece| piece.text).collect()
    }

    fn arrives_whole(dialect: Dialect, max: usize, unit: Unit) -> Vec<Piece> {
        assert!(LONG.chars().count() >= 15_000);
        let whole = render(LONG, dialect, None);
        let pieces = render(LONG, dialect, Some(Limit { max, unit }));
        assert!(pieces.len() > 3);
        let solid = |pieces: &[Piece]| -> String {
            pieces.iter().flat_map(|piece| piece.plain.chars()).filter(|c| !c.is_whitespace()).collect()
        };
        assert_eq!(solid(&pieces), solid(&whole));
        for piece in &pieces {
            assert!(count(&piece.text, unit) <= max || dialect == Dialect::Telegram);
            assert!(dialect == Dialect::Markdown || count(&piece.plain, unit) <= max);
            assert_eq!(piece.text.matches("```").count() % 2, 0, "a code block is open: {}", piece.text);
        }
        // No family is parted: each begins and ends in one piece.
        for family in ["👨‍👩‍👧‍👦", "👩‍❤️‍💋‍👨", "🏳️‍🌈", "🧑🏿‍🤝‍🧑🏻"]
        {
            let of = |pieces: &[Piece]| pieces.iter().map(|piece| piece.text.matches(family).count()).sum::<usize>();
            assert_eq!(of(&pieces), of(&whole));
        }
        pieces
    }

    #[test]
    fn the_long_answer_arrives_whole_on_slack() {
        for piece in arrives_whole(Dialect::Slack, 4000, Unit::Chars) {
            for (at, _) in piece.text.match_indices('<') {
                let end = piece.text[at..].find('>').expect("a link ends where it begins");
                assert!(
                    ["<http", "<mail", "<tel:"].contains(&&piece.text[at..at + 5]),
                    "{}",
                    &piece.text[at..at + end]
                );
            }
        }
    }

    #[test]
    fn the_long_answer_arrives_whole_on_telegram() {
        arrives_whole(Dialect::Telegram, 4096, Unit::Utf16);
    }

    #[test]
    fn the_long_answer_arrives_whole_on_whatsapp() {
        arrives_whole(Dialect::Whatsapp, 4096, Unit::Utf16);
    }

    #[test]
    fn the_long_answer_arrives_whole_as_html() {
        for piece in arrives_whole(Dialect::Html, 4000, Unit::Bytes) {
            for tag in ["b", "i", "code", "pre", "p", "ul", "ol", "li", "blockquote", "table", "a"] {
                let opened =
                    piece.text.matches(&format!("<{tag}>")).count() + piece.text.matches(&format!("<{tag} ")).count();
                assert_eq!(opened, piece.text.matches(&format!("</{tag}>")).count(), "<{tag}>");
            }
        }
    }

    #[test]
    fn the_long_answer_arrives_whole_as_plain_text() {
        for piece in arrives_whole(Dialect::Plain, 1000, Unit::Chars) {
            assert_eq!(piece.text, piece.plain);
        }
    }

    #[test]
    fn the_long_answer_arrives_whole_as_markdown() {
        let pieces = arrives_whole(Dialect::Markdown, 4000, Unit::Chars);
        assert!(
            pieces.iter().all(|piece| piece.text.lines().all(|line| line.starts_with("```") || LONG.contains(line)))
        );
    }

    #[test]
    fn markdown_without_a_limit_is_unchanged() {
        let text = "  **a**\n\n\n<b>b</b> @everyone  \n";
        assert_eq!(one(text, Dialect::Markdown), text);
    }

    #[test]
    fn blank_text_makes_no_message() {
        for text in ["", " \n\t ", "\u{200b}", "\u{2060}\u{feff}\n"] {
            assert_eq!(render(text, Dialect::Slack, None), []);
        }
    }

    #[test]
    fn an_answer_of_nothing_but_markup_is_shown_as_it_is() {
        assert_eq!(one("```", Dialect::Telegram), "```");
        assert_eq!(one("[a]: https://a.example", Dialect::Plain), "[a]: https://a.example");
    }

    #[test]
    fn each_dialect_writes_its_own_signs() {
        let text = "# Title\n**bold** *italic* ~~gone~~ `code` [label](https://a.example/?b=1&c=2)";
        assert_eq!(
            one(text, Dialect::Slack),
            "*Title*\n\n*bold* _italic_ ~gone~ `code` <https://a.example/?b=1&amp;c=2|label>"
        );
        assert_eq!(
            one(text, Dialect::Whatsapp),
            "*Title*\n\n*bold* _italic_ ~gone~ `code` label (https://a.example/?b=1&c=2)"
        );
        assert_eq!(
            one(text, Dialect::Telegram),
            "<b>Title</b>\n\n<b>bold</b> <i>italic</i> <s>gone</s> <code>code</code> \
             <a href=\"https://a.example/?b=1&amp;c=2\">label</a>"
        );
        assert_eq!(
            one(text, Dialect::Html),
            "<h1>Title</h1>\n<p><b>bold</b> <i>italic</i> <s>gone</s> <code>code</code> \
             <a href=\"https://a.example/?b=1&amp;c=2\">label</a></p>"
        );
        assert_eq!(one(text, Dialect::Plain), "Title\n\nbold italic gone code label (https://a.example/?b=1&c=2)");
    }

    #[test]
    fn raw_html_is_text() {
        let text = "a <b>b</b> &amp; <script>alert(1)</script>\n\n<div onclick=\"x\">c</div>";
        for dialect in [Dialect::Telegram, Dialect::Html] {
            let written = one(text, dialect);
            assert!(written.contains("&lt;script&gt;") && !written.contains("<script") && !written.contains("<div"));
        }
        assert!(one(text, Dialect::Slack).contains("&lt;b&gt;b&lt;/b&gt; &amp; &lt;script"));
        assert!(plain(text).contains("<script>alert(1)</script>"));
    }

    #[test]
    fn only_web_mail_and_telephone_addresses_are_links() {
        for url in [
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "/relative",
            "tg://user?id=1",
        ] {
            for dialect in [Dialect::Slack, Dialect::Telegram, Dialect::Html] {
                let written = one(&format!("[label]({url})"), dialect);
                assert!(written.contains(&format!("label ({})", url.replace('&', "&amp;"))), "{written}");
                assert!(!written.contains("href") && !written.contains('|'), "{written}");
            }
        }
        assert_eq!(one("[us](tel:+49221)", Dialect::Slack), "<tel:+49221|us>");
        assert_eq!(one("<me@a.example>", Dialect::Telegram), "me@a.example");
        assert_eq!(one("[intranet](http://wiki/x)", Dialect::Telegram), "intranet (http://wiki/x)");
    }

    #[test]
    fn nothing_in_a_link_breaks_out_of_it() {
        assert_eq!(
            one("[a](<https://a.example/|x> y>)", Dialect::Slack),
            "[a](https://a.example/|x (<https://a.example/%7Cx>) y&gt;)"
        );
        assert_eq!(one("[a > b](https://a.example/|x)", Dialect::Slack), "<https://a.example/%7Cx|a &gt; b>");
        assert_eq!(
            one("[a|<!channel>](https://a.example/)", Dialect::Slack),
            "a|&lt;!channel&gt; (<https://a.example/>)"
        );
        let written = one("[a](<https://a.example/\"onclick=\"x>)", Dialect::Html);
        assert_eq!(written, "<p><a href=\"https://a.example/%22onclick=%22x\">a</a></p>");
    }

    #[test]
    fn mentions_of_everybody_are_words() {
        for text in [
            "@everyone",
            "hi @Here!",
            "@**channel**",
            "(@all)",
            "&#64;everyone",
            "<!channel> <!here|here>",
            "| @all |\n|---|",
        ] {
            for dialect in [Dialect::Slack, Dialect::Telegram, Dialect::Whatsapp, Dialect::Plain, Dialect::Html] {
                let written = one(text, dialect).replace(['*', '_'], "").replace("<b>", "").to_lowercase();
                for word in ["everyone", "here", "channel", "all"] {
                    assert!(!written.contains(&format!("@{word}")), "{dialect:?}: {written}");
                }
                assert!(dialect != Dialect::Slack || !written.contains('<'), "{written}");
            }
        }
        assert!(plain("```\n@everyone\n```").contains("@\u{200b}everyone"));
        for text in ["me@all.example", "@allison", "https://a.example/@alla"] {
            assert_eq!(plain(text), text);
        }
        assert_eq!(
            plain("[a](https://a.example/@all) https://@everyone"),
            "a (https://a.example/%40all) https://%40everyone"
        );
    }

    #[test]
    fn an_image_is_a_link_to_it() {
        assert_eq!(one("![a cat](https://a.example/c.png)", Dialect::Slack), "<https://a.example/c.png|a cat>");
        assert_eq!(one("![](https://a.example/c.png)", Dialect::Whatsapp), "image (https://a.example/c.png)");
        assert_eq!(
            one("[![a cat](https://a.example/c.png)](https://a.example)", Dialect::Slack),
            "<https://a.example|a cat>"
        );
    }

    #[test]
    fn signs_in_the_text_are_not_read_as_markup() {
        assert_eq!(one("5 * 3 * 2, snake_case_name", Dialect::Whatsapp), "5 * 3 * 2, snake_case_name");
        assert_eq!(one("\\*not bold\\*", Dialect::Whatsapp), "*\u{200b}not bold\u{200b}*");
        assert_eq!(one("https://a.example/_x_/", Dialect::Slack), "https://a.example/_x_/");
        assert_eq!(one("\\> no quote", Dialect::Slack), "\u{200b}&gt; no quote");
        assert_eq!(one("un**bold**able", Dialect::Whatsapp), "unboldable");
        assert_eq!(one("2*3*4 = 24", Dialect::Whatsapp), "2*3*4 = 24");
        assert_eq!(one("un**bold**able", Dialect::Slack), "un\u{200b}*bold*\u{200b}able");
        assert_eq!(one("**two\nlines**", Dialect::Slack), "*two*\n*lines*");
        assert_eq!(one("~~~\na ``` b\n~~~", Dialect::Slack), "```\na ``\u{200b}` b\n```");
    }

    #[test]
    fn lists_are_indented_and_tasks_have_boxes() {
        let text = "1. a\n   - b\n     > c\n2. d\n\n- [ ] e\n- [x] f";
        assert_eq!(one(text, Dialect::Telegram), "1. a\n   • b\n<blockquote>     c</blockquote>\n2. d\n\n☐ e\n☑ f");
        assert_eq!(one("- a\n- b", Dialect::Html), "<ul><li>a\n</li><li>b\n</li></ul>");
    }

    #[test]
    fn a_table_is_columns_or_lines() {
        let text = "| plan | price |\n|---|---|\n| small | 5 € |\n| family 👨‍👩‍👧‍👦 | 9 € |";
        assert_eq!(
            one(text, Dialect::Slack),
            "```\nplan      | price\n----------+------\nsmall     | 5 €\nfamily 👨‍👩‍👧‍👦 | 9 €\n```"
        );
        assert_eq!(plain(text), "plan: small\nprice: 5 €\n\nplan: family 👨‍👩‍👧‍👦\nprice: 9 €");
    }

    #[test]
    fn a_text_is_cut_between_paragraphs_then_sentences_then_words() {
        assert_eq!(cut("One two three.\n\nFour five six.", Dialect::Plain, 20), ["One two three.", "Four five six."]);
        assert_eq!(cut("One two three. Four five six.", Dialect::Plain, 20), ["One two three.", "Four five six."]);
        assert_eq!(cut("onetwo threefour fivesix", Dialect::Plain, 18), ["onetwo threefour", "fivesix"]);
        assert_eq!(cut("👨‍👩‍👧‍👦👨‍👩‍👧‍👦👨‍👩‍👧‍👦", Dialect::Plain, 15), ["👨‍👩‍👧‍👦👨‍👩‍👧‍👦", "👨‍👩‍👧‍👦"]);
        assert_eq!(
            cut("# Head\n\nBody of it.\n\n# Head\n\nMore of it.", Dialect::Plain, 25),
            ["Head\n\nBody of it.", "Head\n\nMore of it."]
        );
    }

    #[test]
    fn markup_that_is_cut_is_closed_and_opened_again() {
        assert_eq!(cut("**one two three**", Dialect::Slack, 12), ["*one two*", "*three*"]);
        assert_eq!(cut("```rust\nlet a;\nlet b;\n```", Dialect::Slack, 18), ["```\nlet a;\n```", "```\nlet b;\n```"]);
        assert_eq!(
            cut("```rust\nlet a;\nlet b;\n```", Dialect::Telegram, 8),
            [
                "<pre><code class=\"language-rust\">let a;</code></pre>",
                "<pre><code class=\"language-rust\">let b;</code></pre>"
            ]
        );
        let fenced = "```rust\nlet a = 1;\nlet b = 2;\n```";
        assert_eq!(cut(fenced, Dialect::Markdown, 30), ["```rust\nlet a = 1;\n```", "```rust\nlet b = 2;\n```"]);
        assert_eq!(
            cut("1. one two three four\n2. five", Dialect::Plain, 12),
            ["1. one two", "   three", "   four", "2. five"]
        );
    }

    #[test]
    fn entities_and_links_are_not_cut_through() {
        assert_eq!(cut("a&b&c&d", Dialect::Slack, 7), ["a&amp;b", "&amp;c", "&amp;d"]);
        let text = "See [the guide](https://a.example/guide) now";
        for piece in cut(text, Dialect::Slack, 40).iter().chain(&cut(text, Dialect::Markdown, 40)) {
            assert_eq!(piece.contains("the guide"), piece.contains("https://a.example/guide"), "{piece}");
        }
        // Too long for any message: its text arrives all the same.
        let pieces = cut("[the guide](https://a.example/guide)", Dialect::Slack, 15);
        assert_eq!(pieces.concat().replace(' ', ""), "theguide(https://a.example/guide)");
    }

    #[test]
    fn each_platform_counts_in_its_own_way() {
        assert_eq!(count("aé👍", Unit::Chars), 3);
        assert_eq!(count("aé👍", Unit::Utf16), 4);
        assert_eq!(count("aé👍", Unit::Bytes), 7);
        // Telegram counts what is left when the tags are parsed.
        let limit = Limit { max: 4, unit: Unit::Utf16 };
        assert_eq!(render("**a&b**", Dialect::Telegram, Some(limit))[0].text, "<b>a&amp;b</b>");
    }

    #[test]
    fn telegram_gets_no_more_entities_than_it_keeps() {
        for piece in render(&"**a** b ".repeat(250), Dialect::Telegram, Some(Limit { max: 4096, unit: Unit::Utf16 })) {
            assert!(piece.text.matches("<b>").count() <= 100);
        }
    }
}
