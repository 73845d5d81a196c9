//! Telegram's own parser (TDLib, from PyPI) judges what is sent to Telegram: every piece must be accepted, fit,
//! and say what was to be said. `tests/judge/setup` installs it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use fini_bridge::text::{Dialect, Limit, Piece, Unit, render};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde::Deserialize;

const MAX: usize = 4096;

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Verdict {
    Taken { utf16: usize, text: String, entities: Vec<String> },
    Refused { error: String },
}

fn judge(texts: &[String]) -> Vec<Verdict> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    #[allow(clippy::disallowed_methods)] // tells where the tests' own tool is, no setting of the gateway
    let python = std::env::var_os("FINI_BRIDGE_JUDGE_PYTHON")
        .map_or_else(|| root.join("target/judge/bin/python"), PathBuf::from);
    let mut child = Command::new(&python)
        .arg(root.join("tests/judge/telegram.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("Telegram's parser is not installed ({}: {error}). Run: tests/judge/setup", python.display())
        });
    let mut stdin = child.stdin.take().unwrap();
    let input: String = texts.iter().map(|text| serde_json::to_string(text).unwrap() + "\n").collect();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the judge failed. Run: tests/judge/setup");
    writer.join().unwrap().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let verdicts: Vec<Verdict> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(verdicts.len(), texts.len());
    verdicts
}

fn solid(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// What the tags leave of `html`, by the rules that the Bot API documents.
fn visible(html: &str) -> String {
    let mut text = String::new();
    let mut rest = html;
    while let Some((before, tag)) = rest.split_once('<') {
        text.push_str(before);
        rest = tag.split_once('>').expect("a tag ends").1;
    }
    text.push_str(rest);
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

/// Renders, has every piece judged, and gives the pieces with the entities found in them.
fn judged(markdown: &str, max: usize) -> Vec<(Piece, Vec<String>)> {
    let limit = Limit { max, unit: Unit::Utf16 };
    let pieces = render(markdown, Dialect::Telegram, Some(limit));
    let whole = render(markdown, Dialect::Telegram, None);
    let texts: Vec<String> = pieces.iter().map(|piece| piece.text.clone()).collect();
    let mut said = String::new();
    let mut found = Vec::new();
    for (piece, verdict) in pieces.into_iter().zip(judge(&texts)) {
        match verdict {
            Verdict::Taken { utf16, text, entities } => {
                assert!(utf16 <= max, "{utf16} > {max}");
                assert!(!text.trim().is_empty());
                said.push_str(&text);
                found.push((piece, entities));
            }
            Verdict::Refused { error } => panic!("refused: {error}\n{}", piece.text),
        }
    }
    assert_eq!(solid(&said), whole.iter().map(|piece| solid(&visible(&piece.text))).collect::<String>());
    found
}

#[test]
fn telegram_takes_the_whole_long_answer() {
    let markdown = include_str!("data/answers/long.md");
    assert!(markdown.chars().count() >= 15_000);
    let pieces = judged(markdown, MAX);
    assert!(pieces.len() > 3);
    let kinds: Vec<&str> = pieces.iter().flat_map(|(_, kinds)| kinds.iter().map(String::as_str)).collect();
    for kind in ["Bold", "Italic", "Strikethrough", "Code", "Pre", "PreCode", "TextUrl", "BlockQuote"] {
        assert!(kinds.contains(&kind), "no {kind}");
    }
    // A link that Telegram's parser doesn't like disappears in silence: as many as were written must be found.
    for (piece, kinds) in &pieces {
        let links = kinds.iter().filter(|kind| *kind == "TextUrl").count();
        assert_eq!(links, piece.text.matches("<a href=").count(), "{}", piece.text);
    }
}

#[test]
fn telegram_takes_the_long_answer_in_small_pieces_too() {
    assert!(judged(include_str!("data/answers/long.md"), 300).len() > 50);
}

#[test]
fn telegram_takes_generated_answers() {
    let mut runner = TestRunner::deterministic();
    let mut texts = Vec::new();
    let mut expected = Vec::new();
    for _ in 0..250 {
        let markdown = answers().new_tree(&mut runner).unwrap().current();
        for max in [60, MAX] {
            let pieces = render(&markdown, Dialect::Telegram, Some(Limit { max, unit: Unit::Utf16 }));
            for piece in pieces {
                expected.push((max, visible(&piece.text)));
                texts.push(piece.text);
            }
        }
    }
    assert!(texts.len() > 500);
    for ((text, (max, visible)), verdict) in texts.iter().zip(&expected).zip(judge(&texts)) {
        match verdict {
            Verdict::Taken { utf16, text: taken, .. } => {
                assert!(utf16 <= *max, "{utf16} > {max}: {text}");
                assert_eq!(taken, *visible);
            }
            Verdict::Refused { error } => panic!("refused: {error}\n{text}"),
        }
    }
}

#[test]
fn the_judge_refuses_what_telegram_refuses() {
    let wrong = ["<b>open", "<div>unknown</div>", "a < b", "<b><i>crossed</b></i>"].map(str::to_owned);
    for (text, verdict) in wrong.iter().zip(judge(&wrong)) {
        assert!(matches!(verdict, Verdict::Refused { .. }), "taken: {text}");
    }
}

fn answers() -> impl Strategy<Value = String> {
    let inline = prop::sample::select(vec![
        "word ",
        "Straße ",
        "東京都。",
        "👨‍👩‍👧‍👦",
        "**bold** ",
        "*italic ",
        "*",
        "_",
        "~~gone~~ ",
        "`code <&>` ",
        "``a`b`` ",
        "[link](https://a.example/?b=1&c=\"2\") ",
        "[**bold** link](http://a.example) ",
        "[`code`](https://a.example/x) ",
        "[mail](mailto:me@a.example) ",
        "[call](tel:+49221) ",
        "[bad](javascript:alert(1)) ",
        "[intranet](http://wiki/page) ",
        "![image](https://a.example/i.png) ",
        "<https://a.example> ",
        "<b>raw</b> ",
        "<script>",
        "</a>",
        "&amp;",
        "&copy; ",
        "& ",
        "<",
        ">",
        "\"",
        "\\*",
        "@everyone ",
        "***both*** ",
        "~",
        "e\u{301}",
        "\u{0}",
        "[",
        "](",
        "Sentence. ",
    ]);
    let line = prop::collection::vec(inline, 1..12).prop_map(|parts| parts.concat());
    let block = (
        prop::sample::select(vec![
            "",
            "# ",
            "## ",
            "- ",
            "1. ",
            "  - ",
            "   1. ",
            "- [x] ",
            "> ",
            "> > ",
            "> - ",
            "> ```\n> ",
            "```rust\n",
            "```\n",
            "    ",
            "| a | b |\n|---|---|\n| ",
        ]),
        line,
        prop::sample::select(vec!["\n", "\n\n", "\n```\n\n", "\n---\n", " | x |\n\n"]),
    );
    prop::collection::vec(block.prop_map(|(start, line, end)| format!("{start}{line}{end}")), 1..8)
        .prop_map(|blocks| blocks.concat())
}
