//! What a dialect can't show becomes what it can: tables become columns or `key: value` lines, links that a
//! platform wouldn't take become words, mentions of everybody become words.

use super::block::{Block, Body, Cell, Marks, Run, Table, by_link, link_words, words};
use super::{Dialect, columns};

/// The width to which a table is drawn in monospaced columns; a wider one wraps into a puzzle.
const WIDEST: usize = 80;

/// Words that call everybody in some chat, after an `@`.
const EVERYBODY: [&str; 5] = ["channel", "here", "everyone", "all", "room"];

/// With `super::INVISIBLE` behind it.
const DISARMED_AT: &str = "@\u{200b}";

pub(super) fn lower(blocks: Vec<Block>, dialect: Dialect) -> Vec<Block> {
    let mut lowered = Vec::with_capacity(blocks.len());
    for block in blocks {
        match &block.body {
            Body::Table(table) if dialect != Dialect::Html => lower_table(&mut lowered, &block, table.clone(), dialect),
            _ => lowered.push(block),
        }
    }
    for block in &mut lowered {
        match &mut block.body {
            Body::Paragraph(runs) | Body::Heading(_, runs) => lower_runs(runs, dialect),
            Body::Table(table) => {
                table.head.iter_mut().chain(table.rows.iter_mut().flatten()).for_each(|cell| lower_runs(cell, dialect));
            }
            Body::Bare(text) => *text = disarmed(text),
            Body::Code { .. } | Body::Rule => {}
        }
    }
    lowered
}

fn lower_runs(runs: &mut Vec<Run>, dialect: Dialect) {
    if dialect == Dialect::Telegram {
        *runs = by_link(runs)
            .flat_map(|group| match group.first().and_then(|run| run.link.as_deref()) {
                Some(url) if !telegram_links(url) => unlinked(group, url),
                _ => group.to_vec(),
            })
            .collect();
    }
    disarm(runs);
}

/// A link as words, in the looks of its label.
pub(super) fn unlinked(group: &[Run], url: &str) -> Vec<Run> {
    let label: String = group.iter().map(|run| run.text.as_str()).collect();
    let marks = group.iter().map(|run| run.marks).reduce(Marks::shared).unwrap_or_default();
    vec![Run { text: link_words(&label, url), marks, link: None }]
}

/// Telegram's parser drops other links without a word and keeps their labels (asked: `parseTextEntities`).
fn telegram_links(url: &str) -> bool {
    url::Url::parse(url).is_ok_and(|url| {
        let dotted = match url.host() {
            Some(url::Host::Domain(name)) => name.trim_matches('.').contains('.'),
            Some(_) => true,
            None => false,
        };
        matches!(url.scheme(), "http" | "https") && dotted
    })
}

fn lower_table(lowered: &mut Vec<Block>, block: &Block, mut table: Table, dialect: Dialect) {
    let like = |body| Block { path: block.path.clone(), spacing: block.spacing, body };
    let linked = table.head.iter().chain(table.rows.iter().flatten()).flatten().any(|run| run.link.is_some());
    // Links are dead in a code block.
    if matches!(dialect, Dialect::Slack | Dialect::Telegram) && !linked {
        for cell in table.head.iter_mut().chain(table.rows.iter_mut().flatten()) {
            disarm(cell);
        }
        if let Some(drawn) = draw(&table) {
            lowered.push(like(Body::Code { language: None, text: drawn }));
            return;
        }
    }
    for (index, row) in key_values(&table).into_iter().enumerate() {
        let mut block = like(Body::Paragraph(row));
        if index > 0 {
            block.carry_on();
        }
        lowered.push(block);
    }
}

/// Nothing if it would be too wide.
fn draw(table: &Table) -> Option<String> {
    let rows: Vec<Vec<String>> = std::iter::once(&table.head)
        .chain(&table.rows)
        .map(|row| row.iter().map(|cell| words(cell).replace('\n', " ")).collect())
        .collect();
    let mut widths: Vec<usize> = Vec::new();
    for row in &rows {
        for (index, cell) in row.iter().enumerate() {
            match widths.get_mut(index) {
                Some(width) => *width = columns(cell).max(*width),
                None => widths.push(columns(cell)),
            }
        }
    }
    if widths.iter().sum::<usize>() + 3 * widths.len().saturating_sub(1) > WIDEST {
        return None;
    }
    let mut lines = Vec::with_capacity(rows.len() + 1);
    for (index, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(&widths).map(|(cell, width)| {
            let missing = width.saturating_sub(columns(cell));
            format!("{cell}{}", " ".repeat(missing))
        });
        lines.push(cells.collect::<Vec<_>>().join(" | ").trim_end().to_owned());
        if index == 0 {
            let dashes = widths.iter().map(|width| "-".repeat(*width));
            lines.push(dashes.collect::<Vec<_>>().join("-+-"));
        }
    }
    Some(lines.join("\n"))
}

/// Beyond this the names of the columns are not repeated for every row: a short text can make a table with
/// one very long name and very many rows.
const MOST_KEYS: usize = 64 * 1024;

/// Each row as `column: cell` lines.
pub(super) fn key_values(table: &Table) -> Vec<Vec<Run>> {
    if table.rows.is_empty() {
        return vec![joined(&table.head)];
    }
    let header: usize = table.head.iter().flatten().map(|run| run.text.len()).sum();
    if header.saturating_mul(table.rows.len()) > MOST_KEYS {
        return std::iter::once(&table.head)
            .chain(&table.rows)
            .map(|row| joined(row))
            .filter(|row| !row.is_empty())
            .collect();
    }
    let row = |cells: &Vec<Cell>| {
        let mut line: Vec<Run> = Vec::new();
        for (index, cell) in cells.iter().enumerate() {
            let key = table.head.get(index).filter(|key| !words(key).trim().is_empty());
            if cell.is_empty() {
                continue;
            }
            if !line.is_empty() {
                line.push(Run::plain("\n"));
            }
            if let Some(key) = key {
                line.extend(key.iter().cloned());
                line.push(Run::plain(": "));
            }
            line.extend(cell.iter().cloned());
        }
        line
    };
    let rows: Vec<Vec<Run>> = table.rows.iter().map(row).filter(|line| !line.is_empty()).collect();
    if rows.is_empty() { vec![joined(&table.head)] } else { rows }
}

fn joined(cells: &[Cell]) -> Vec<Run> {
    let mut line: Vec<Run> = Vec::new();
    for cell in cells.iter().filter(|cell| !cell.is_empty()) {
        if !line.is_empty() {
            line.push(Run::plain(" | "));
        }
        line.extend(cell.iter().cloned());
    }
    line
}

/// Mentions of everybody in a passage, wherever its runs begin and end. Code is left as it is: chats don't
/// look for mentions there, and people copy it.
fn disarm(runs: &mut [Run]) {
    let whole: String = runs.iter().map(|run| run.text.as_str()).collect();
    let mut mentions = mentions(&whole).into_iter().peekable();
    let mut start = 0;
    for run in runs {
        let end = start + run.text.len();
        let mut text = String::new();
        let mut done = start;
        while let Some((at, instead)) = mentions.next_if(|(at, _)| *at < end) {
            if !run.marks.has(Marks::CODE) {
                text.push_str(whole.get(done..at).unwrap_or_default());
                text.push_str(instead);
                done = at + 1;
            }
        }
        if done > start {
            run.text = text + whole.get(done..end).unwrap_or_default();
        }
        start = end;
    }
}

pub(super) fn disarmed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for (at, instead) in mentions(text) {
        out.push_str(text.get(done..at).unwrap_or_default());
        out.push_str(instead);
        done = at + 1;
    }
    out.push_str(text.get(done..).unwrap_or_default());
    out
}

/// The `@`s that call everybody, in ascending order, and what to write instead of each.
fn mentions(text: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    let (mut before, mut token) = (None, 0);
    for (at, c) in text.char_indices() {
        if c.is_whitespace() || matches!(c, '(' | '<' | ')' | '>') {
            token = at + c.len_utf8();
        }
        // After a letter it is an e-mail address.
        if c == '@' && !before.is_some_and(char::is_alphanumeric) {
            let rest = text.get(at + 1..).unwrap_or_default();
            let calls = EVERYBODY.iter().any(|word| {
                let same = rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
                let goes_on = |rest: &str| rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
                same && !rest.get(word.len()..).is_some_and(goes_on)
            });
            if calls {
                // An address of the web must still lead where it led.
                let web = text.get(token..).is_some_and(is_web_address);
                found.push((at, if web { "%40" } else { DISARMED_AT }));
            }
        }
        before = Some(c);
    }
    found
}

pub(super) fn is_web_address(text: &str) -> bool {
    ["http://", "https://"]
        .iter()
        .any(|scheme| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
}
