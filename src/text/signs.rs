//! Dialects whose markup is signs in the text, without an escape: Slack's mrkdwn and WhatsApp. A sign counts
//! only at the edge of a word, so a mark within a word is written with an invisible character at its side
//! (Slack) or left out (WhatsApp); a literal sign that would be read as markup gets one as its neighbour.
//! Neither platform documents an escape for its signs; this is as near as one comes.

use super::block::{Block, Body, Marks, Run, by_link, link_words};
use super::lower::is_web_address;
use super::plain::{RULE, lines, part};
use super::{Dialect, INVISIBLE};

const STYLES: [Marks; 3] = [Marks::BOLD, Marks::ITALIC, Marks::STRIKE];

pub(super) fn write(blocks: &[Block], dialect: Dialect) -> String {
    let mut out = String::new();
    let mut before = None;
    for block in blocks {
        part(&mut out, block, before);
        match &block.body {
            Body::Paragraph(runs) => lines(&mut out, block, &paragraph(runs, dialect)),
            Body::Heading(_, runs) => {
                let bold = |run: &Run| Run { marks: run.marks.with(Marks::BOLD), ..run.clone() };
                lines(&mut out, block, &paragraph(&runs.iter().map(bold).collect::<Vec<_>>(), dialect));
            }
            // Neither platform can quote or indent a code block without changing the code.
            Body::Code { text, .. } => {
                let (first, _) = block.indents();
                if !first.trim().is_empty() {
                    out.push_str(first.trim_end());
                    out.push('\n');
                }
                let fence_free = text.replace("```", &format!("``{INVISIBLE}`"));
                out.push_str("```\n");
                escape(&mut out, &fence_free, dialect);
                out.push_str("\n```");
            }
            Body::Rule => lines(&mut out, block, RULE),
            Body::Bare(text) => escape(&mut out, text, dialect),
            Body::Table(_) => {} // lowered
        }
        before = Some(block);
    }
    out.trim_matches('\n').trim_end().to_owned()
}

/// Slack: exactly these three (docs.slack.dev, formatting message text); it also disarms `<!channel>`.
fn escape(out: &mut String, text: &str, dialect: Dialect) {
    for c in text.chars() {
        match c {
            '&' if dialect == Dialect::Slack => out.push_str("&amp;"),
            '<' if dialect == Dialect::Slack => out.push_str("&lt;"),
            '>' if dialect == Dialect::Slack => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
}

struct Segment {
    text: String,
    marks: Marks,
    link: Option<String>,
}

fn paragraph(runs: &[Run], dialect: Dialect) -> String {
    let mut written = String::new();
    for (index, mut line) in segments(runs, dialect).into_iter().enumerate() {
        if index > 0 {
            written.push('\n');
        }
        settle_spaces(&mut line);
        if dialect == Dialect::Whatsapp {
            write_out_marks_within_words(&mut line);
        }
        write_line(&mut written, &line, dialect);
    }
    written
}

/// The lines of a paragraph, white space apart from words: no sign may stand beside white space, and none
/// reaches over a line break.
fn segments(runs: &[Run], dialect: Dialect) -> Vec<Vec<Segment>> {
    let mut lines = vec![Vec::new()];
    for group in by_link(runs) {
        let Some(url) = group.first().and_then(|run| run.link.as_deref()) else {
            group.iter().for_each(|run| push_run(&mut lines, &run.text, run.marks));
            continue;
        };
        let label: String = group.iter().map(|run| run.text.as_str()).collect();
        let label = label.trim().replace('\n', " ");
        if dialect == Dialect::Slack && !label.contains('|') && !label.is_empty() {
            let marks = group.iter().map(|run| run.marks).reduce(Marks::shared).unwrap_or_default();
            if let Some(line) = lines.last_mut() {
                line.push(Segment { text: label, marks: marks.without(Marks::CODE), link: Some(url.to_owned()) });
            }
            continue;
        }
        let words = link_words(&label, url);
        if words.len() > label.len() && words.starts_with(&label) {
            group.iter().for_each(|run| push_run(&mut lines, &run.text.replace('\n', " "), run.marks));
            if dialect == Dialect::Slack {
                // A `|` in a label is one too many in `<url|label>`.
                push_run(&mut lines, " (", Marks::NONE);
                if let Some(line) = lines.last_mut() {
                    line.push(Segment { text: url.to_owned(), marks: Marks::NONE, link: Some(url.to_owned()) });
                }
                push_run(&mut lines, ")", Marks::NONE);
                continue;
            }
            push_run(&mut lines, &format!(" ({url})"), Marks::NONE);
        } else {
            push_run(&mut lines, &words, Marks::NONE);
        }
    }
    lines
}

fn push_run(lines: &mut Vec<Vec<Segment>>, text: &str, marks: Marks) {
    let code = marks.has(Marks::CODE) && !text.contains('`') && !text.trim().is_empty();
    let marks = if code { marks } else { marks.without(Marks::CODE) };
    for (index, part) in text.split('\n').enumerate() {
        if index > 0 {
            lines.push(Vec::new());
        }
        let core = part.trim();
        let lead = part.len() - part.trim_start().len();
        let (before, after) = (part.get(..lead).unwrap_or_default(), part.get(lead + core.len()..).unwrap_or_default());
        let Some(line) = lines.last_mut() else { continue };
        for (text, marks) in [(before, Marks::NONE), (core, marks), (after, Marks::NONE)] {
            if !text.is_empty() {
                line.push(Segment { text: text.to_owned(), marks, link: None });
            }
        }
    }
}

fn is_space(segment: &Segment) -> bool {
    segment.text.trim().is_empty()
}

/// White space between two words looks like what they share.
fn settle_spaces(line: &mut [Segment]) {
    let mut after = Marks::NONE;
    let mut following = Vec::with_capacity(line.len());
    for segment in line.iter().rev() {
        if !is_space(segment) {
            after = segment.marks;
        }
        following.push(after);
    }
    let mut before = Marks::NONE;
    for (segment, after) in line.iter_mut().zip(following.into_iter().rev()) {
        if is_space(segment) {
            segment.marks = before.shared(after).without(Marks::CODE);
        } else {
            before = segment.marks;
        }
    }
}

/// A mark within a word is none there. Of a single `*` nobody knows whether it was meant as one, as in `2*3*4`: it is
/// written out.
fn write_out_marks_within_words(line: &mut [Segment]) {
    for mark in STYLES {
        let mut before: Option<char> = None;
        let mut rest = &mut *line;
        while !rest.is_empty() {
            let marked = rest.iter().take_while(|segment| segment.marks.has(mark)).count();
            let (now, later) = rest.split_at_mut(marked.max(1).min(rest.len()));
            let after = later.first().and_then(|segment| segment.text.chars().next());
            let last = now.last().and_then(|segment| segment.text.chars().last());
            if marked > 0 && [before, after].into_iter().flatten().any(char::is_alphanumeric) {
                now.iter_mut().for_each(|segment| segment.marks = segment.marks.without(mark));
                if mark == Marks::ITALIC && now.iter().all(|segment| segment.link.is_none()) {
                    now.first_mut().iter_mut().for_each(|segment| segment.text.insert(0, '*'));
                    now.last_mut().iter_mut().for_each(|segment| segment.text.push('*'));
                }
            }
            before = last;
            rest = later;
        }
    }
}

fn sign(mark: Marks) -> char {
    match mark {
        Marks::BOLD => '*',
        Marks::ITALIC => '_',
        Marks::STRIKE => '~',
        _ => '`',
    }
}

fn write_line(out: &mut String, line: &[Segment], dialect: Dialect) {
    let visible: Vec<char> = line.iter().flat_map(|segment| segment.text.chars()).collect();
    let ambiguous = ambiguous_signs(line);
    let mut open: Vec<Marks> = Vec::new();
    let mut at = 0;
    let mut address = false;
    for (index, segment) in line.iter().enumerate() {
        let wanted: Vec<Marks> = Marks::ALL.into_iter().filter(|mark| segment.marks.has(*mark)).collect();
        let kept = open.iter().zip(&wanted).take_while(|(a, b)| a == b).count();
        let changes = open.len() > kept || wanted.len() > kept;
        while open.len() > kept {
            out.extend(open.pop().map(sign));
        }
        let within_word = at > 0
            && visible.get(at - 1).is_some_and(|c| c.is_alphanumeric())
            && visible.get(at).is_some_and(|c| c.is_alphanumeric());
        // On which side of the invisible character the signs stand: outside the word that they mark.
        if changes && within_word && dialect == Dialect::Slack {
            out.push(INVISIBLE);
        }
        for mark in wanted.iter().skip(kept) {
            out.push(sign(*mark));
            open.push(*mark);
        }
        if index == 0 && segment.text.starts_with('>') {
            // Slack takes even `&gt;` at the beginning of a line for a quote.
            out.push(INVISIBLE);
        }
        if let Some(url) = &segment.link {
            out.push('<');
            escape(out, url, dialect);
            if *url != segment.text {
                out.push('|');
            }
        }
        if segment.link.as_deref() != Some(&segment.text) {
            for (offset, c) in segment.text.char_indices() {
                let before = at.checked_sub(1).and_then(|before| visible.get(before)).copied();
                if before.is_none_or(|c| c.is_whitespace() || c == '(') {
                    address = segment.text.get(offset..).is_some_and(is_web_address);
                }
                let mut one = [0; 4];
                let literal = c.encode_utf8(&mut one);
                if segment.marks.has(Marks::CODE) || address || !ambiguous.contains(&c) {
                    escape(out, literal, dialect);
                } else {
                    literal_sign(out, c, before, visible.get(at + 1).copied());
                }
                at += 1;
            }
        } else {
            at += segment.text.chars().count();
        }
        if segment.link.is_some() {
            out.push('>');
        }
    }
    while let Some(mark) = open.pop() {
        out.push(sign(mark));
    }
}

/// The signs that stand in the text of a line often enough to be read as a pair.
fn ambiguous_signs(line: &[Segment]) -> Vec<char> {
    Marks::ALL
        .into_iter()
        .filter(|mark| {
            let used = line.iter().any(|segment| segment.marks.has(*mark));
            let texts = line.iter().filter(|segment| !segment.marks.has(Marks::CODE));
            let literal = texts.flat_map(|segment| segment.text.chars()).filter(|c| *c == sign(*mark)).take(2).count();
            literal > 1 || (literal == 1 && used)
        })
        .map(sign)
        .collect()
}

fn literal_sign(out: &mut String, c: char, before: Option<char>, after: Option<char>) {
    let word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let solid = |c: Option<char>| c.is_some_and(|c| !c.is_whitespace());
    let closes = solid(before) && !word(after);
    let opens = !word(before) && solid(after);
    if closes && c != '`' {
        out.push(INVISIBLE);
    }
    out.push(c);
    if opens || c == '`' {
        out.push(INVISIBLE);
    }
}
