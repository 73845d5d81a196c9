//! Blocks without any markup, and how blocks follow each other where there are only lines.

use super::block::{Block, Body, words};
use super::lower::{disarmed, key_values};

pub(super) const RULE: &str = "———";

pub(super) fn write(blocks: &[Block]) -> String {
    let mut out = String::new();
    let mut before = None;
    for block in blocks {
        part(&mut out, block, before);
        lines(&mut out, block, &text(&block.body));
        before = Some(block);
    }
    // Nothing here says any more what was code, so a mention in code is one as well.
    disarmed(out.trim_matches('\n').trim_end())
}

fn text(body: &Body) -> String {
    match body {
        Body::Paragraph(runs) | Body::Heading(_, runs) => words(runs),
        Body::Code { text, .. } | Body::Bare(text) => text.clone(),
        Body::Table(table) => key_values(table).iter().map(|row| words(row)).collect::<Vec<_>>().join("\n\n"),
        Body::Rule => RULE.to_owned(),
    }
}

/// The line break or the blank line before `block`.
pub(super) fn part(out: &mut String, block: &Block, before: Option<&Block>) {
    let Some(before) = before else { return };
    out.push('\n');
    if block.stands_apart(before) {
        if block.quote().is_some() && block.quote() == before.quote() {
            out.push_str("> ");
        }
        out.push('\n');
    }
}

/// `text` with the block's quote sign, indent and bullet.
pub(super) fn lines(out: &mut String, block: &Block, text: &str) {
    let (first, rest) = block.indents();
    let quote = if block.quote().is_some() { "> " } else { "" };
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            out.push('\n');
        }
        out.push_str(quote);
        out.push_str(if index == 0 { &first } else { &rest });
        out.push_str(line);
    }
}
