//! What holds for every text and every limit.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Dialect, Limit, Piece, Unit, count, is_blank, render};

const DIALECTS: [Dialect; 6] =
    [Dialect::Markdown, Dialect::Plain, Dialect::Html, Dialect::Slack, Dialect::Telegram, Dialect::Whatsapp];

/// Letters and digits, in order: what must survive whatever is done with markup and white space.
fn letters(text: &str) -> String {
    let mut letters: String = text.chars().filter(|c| c.is_alphanumeric()).collect();
    // Whether an `@` within an address becomes `%40` depends on where the text is cut, which may be within these signs.
    while letters.contains("40") {
        letters = letters.replace("40", "");
    }
    letters
}

fn without_tags(text: &str) -> String {
    let mut visible = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['<', '&']) {
        visible.push_str(&rest[..at]);
        let end = if rest[at..].starts_with('<') { '>' } else { ';' };
        let length = rest[at..].find(end).expect("an open tag or entity") + 1;
        match &rest[at..at + length] {
            "&amp;" => visible.push('&'),
            "&lt;" => visible.push('<'),
            "&gt;" => visible.push('>'),
            "&quot;" => visible.push('"'),
            "<br>" => visible.push('\n'),
            tag => assert!(tag.starts_with('<'), "no entity: {tag}"),
        }
        rest = &rest[at + length..];
    }
    visible + rest
}

fn counted(piece: &Piece, dialect: Dialect, unit: Unit) -> usize {
    match dialect {
        Dialect::Telegram => count(&without_tags(&piece.text), unit),
        _ => count(&piece.text, unit),
    }
}

/// A piece of one character is as short as it gets.
fn single(piece: &Piece) -> bool {
    piece.plain.trim().chars().filter(|c| *c != super::INVISIBLE).count() <= 1
}

fn check(markdown: &str, max: usize, unit: Unit) -> Result<(), TestCaseError> {
    for dialect in DIALECTS {
        let whole = render(markdown, dialect, None);
        prop_assert!(whole.is_empty() == is_blank(markdown), "{dialect:?}: {} pieces", whole.len());
        let pieces = render(markdown, dialect, Some(Limit { max, unit }));
        for piece in &pieces {
            prop_assert!(!is_blank(&piece.text), "{dialect:?}: a blank piece");
            let length = counted(piece, dialect, unit);
            let source_single = dialect == Dialect::Markdown && piece.text.chars().count() <= 1;
            prop_assert!(length <= max || single(piece) || source_single, "{dialect:?}: {length} > {max}: {piece:?}");
            if dialect != Dialect::Markdown {
                let length = count(&piece.plain, unit);
                prop_assert!(length <= max || single(piece), "{dialect:?}, plain: {length} > {max}: {piece:?}");
            }
        }
        let joined = |text: fn(&Piece) -> &str| letters(&pieces.iter().map(text).collect::<String>());
        if dialect == Dialect::Markdown {
            let fences = markdown.contains("```") || markdown.contains("~~~");
            if !fences {
                prop_assert_eq!(joined(|piece| &piece.text), letters(markdown));
            }
        } else {
            let said = whole.first().map(|piece| letters(&piece.plain)).unwrap_or_default();
            prop_assert_eq!(joined(|piece| &piece.plain), said, "{:?}", dialect);
        }
        if dialect == Dialect::Telegram && !markdown.contains("](") && !markdown.contains("://") {
            let visible: String = pieces.iter().map(|piece| without_tags(&piece.text)).collect();
            prop_assert_eq!(letters(&visible), joined(|piece| &piece.plain));
        }
    }
    Ok(())
}

fn units() -> impl Strategy<Value = Unit> {
    prop_oneof![Just(Unit::Chars), Just(Unit::Utf16), Just(Unit::Bytes)]
}

/// What answers are made of, whole and in pieces, in any order.
fn markdown() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "word",
        "Straße",
        "東京都。",
        "👨‍👩‍👧‍👦",
        "🏳️‍🌈",
        "e\u{301}\u{301}",
        " ",
        " ",
        " ",
        "\n",
        "\n",
        "\n\n",
        "\n\n",
        "  \n",
        "**",
        "*",
        "_",
        "__",
        "~~",
        "~",
        "`",
        "``",
        "```\n",
        "```rust\n",
        "~~~\n",
        "# ",
        "### ",
        "- ",
        "  - ",
        "    - ",
        "1. ",
        "7) ",
        "- [ ] ",
        "- [x] ",
        "> ",
        "> > ",
        "---\n",
        "| a | b |\n",
        "|---|---|\n",
        "| 1 | *2* |\n",
        "|",
        "[",
        "](",
        ")",
        "[label](https://a.example/b?c=1&d=2)",
        "[x](javascript:alert(1))",
        "![alt](https://a.example/i.png)",
        "<https://a.example>",
        "<me@a.example>",
        "<b>",
        "</b>",
        "<script>",
        "<!-- c -->",
        "<!channel>",
        "&amp;",
        "&lt;",
        "&copy;",
        "&",
        "<",
        ">",
        "\\*",
        "\\",
        "@everyone",
        "@here",
        "@",
        "everyone",
        "5 * 3 * 2",
        "snake_case_name",
        "https://a.example/_x_/*y*",
        "\u{200b}",
        "\u{202e}",
        "\u{0}",
        "\t",
        "A sentence. ",
        "Another one! ",
        "$5",
        "[^1]",
        "[a]: https://a.example\n",
        ":",
        "\r\n",
        "&nbsp;",
        "<br>",
        "<div>\n",
        "\u{a0}",
    ]);
    prop::collection::vec(part, 0..60).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_markdown_arrives_whole_within_any_limit(text in markdown(), max in 1_usize..200, unit in units()) {
        check(&text, max, unit)?;
    }

    #[test]
    fn any_string_arrives_whole_within_any_limit(text in "\\PC{0,120}", max in 1_usize..200, unit in units()) {
        check(&text, max, unit)?;
    }

    #[test]
    fn any_characters_at_all_arrive_whole(text in any::<String>(), max in 1_usize..200) {
        check(&text, max, Unit::Utf16)?;
    }
}

#[test]
fn an_address_that_is_cut_within_a_disarmed_mention_arrives_whole() {
    check("- https://a.example/_x_/*y*&amp;@everyone~~wordword", 60, Unit::Chars).unwrap();
}

#[test]
fn no_depth_of_nesting_and_no_repetition_is_too_much() {
    let parts = [
        ">",
        "> - ",
        "[",
        "![",
        "- ",
        "1. ",
        "*a",
        "**a ",
        "_a*",
        "`",
        "``` ",
        "<",
        "<a ",
        "<!--",
        "| a ",
        "[a](",
        "](x)",
        "a@all-",
        "&",
        "~",
        "[^a]",
        "![](",
        "[![a](b)",
        "\\",
        "\u{301}",
        "👨\u{200d}",
    ];
    let nested_list: String = (0..300).map(|depth| format!("{}- x\n", "  ".repeat(depth))).collect();
    let table = format!("| {} |\n|--|\n{}", "h".repeat(5000), "|a|\n".repeat(5000));
    let texts = parts.iter().map(|part| part.repeat(10_000)).chain([nested_list, table]);
    for text in texts {
        for dialect in [Dialect::Telegram, Dialect::Slack] {
            let begun = Instant::now();
            let pieces = render(&text, dialect, Some(Limit { max: 4096, unit: Unit::Utf16 }));
            assert!(!pieces.is_empty(), "{:.20} says nothing", text);
            // Linear is well below a second; quadratic is minutes.
            assert!(begun.elapsed() < Duration::from_secs(20), "{:.20} took {:?}", text, begun.elapsed());
        }
    }
}
