//! Blocks into messages: between blocks where that is possible, else within one. Whatever is cut is cut before
//! it is written, so markup is always closed in one message and opened again in the next.

use std::collections::VecDeque;
use std::sync::Arc;

use super::block::{Block, Body, Run, Table};
use super::breaks::{Rank, best, most};
use super::lower::{disarmed, unlinked};
use super::plain;

pub(super) fn split(blocks: Vec<Block>, max: usize, fits: impl Fn(&[Block]) -> bool) -> Vec<Vec<Block>> {
    let mut rest = VecDeque::from(blocks);
    let mut parts = Vec::new();
    // No text longer than this can fit, whatever is counted: further on nobody has to look.
    let window = max.saturating_mul(4).saturating_add(256);
    let fits = |blocks: &[Block]| blocks.iter().all(|block| size(block) <= window) && fits(blocks);
    while !rest.is_empty() {
        let left: &[Block] = rest.make_contiguous();
        let whole = most(left.len(), |count| left.get(..count).is_some_and(&fits));
        let (head, tail) = left.split_at(whole);
        let Some(next) = tail.first() else {
            parts.push(rest.drain(..).collect());
            break;
        };
        if head.is_empty() {
            if let Some(at) = place(next, window, &Rank::ALL, |start| fits(std::slice::from_ref(start))) {
                parts.push(start(next, at).into_iter().collect());
                drop_start(&mut rest, at);
            } else if let Some(simpler) = simpler(next) {
                rest.pop_front();
                rest.push_front(simpler);
            } else {
                // Not even one character fits. It goes alone.
                let alone = match &next.body {
                    Body::Bare(text) => text.chars().next().map_or(0, char::len_utf8),
                    _ => 0,
                };
                parts.extend(start(next, alone).map(|start| vec![start]));
                drop_start(&mut rest, alone);
                if alone == 0 || matches!(rest.front(), Some(Block { body: Body::Bare(text), .. }) if text.is_empty()) {
                    rest.pop_front();
                }
            }
            continue;
        }
        // A block too long for any message begins in this one, if it can do so well.
        let well = [Rank::Line, Rank::Sentence];
        let begun = if fits(std::slice::from_ref(next)) {
            None
        } else {
            place(next, window, &well, |start| fits(&[head, std::slice::from_ref(start)].concat()))
        };
        let begun = begun.and_then(|at| Some((start(next, at)?, at)));
        // A heading goes with what it is the heading of.
        let headings = head.iter().rev().take_while(|block| matches!(block.body, Body::Heading(..))).count();
        let whole = if begun.is_none() && headings < whole { whole - headings } else { whole };
        let mut part: Vec<Block> = rest.drain(..whole).collect();
        if let Some((start, at)) = begun {
            part.push(start);
            drop_start(&mut rest, at);
        }
        parts.push(part);
    }
    parts
}

/// In bytes, without what the markup adds.
fn size(block: &Block) -> usize {
    let of = |runs: &[Run]| runs.iter().map(|run| run.text.trim().len()).sum();
    match &block.body {
        Body::Paragraph(runs) | Body::Heading(_, runs) => of(runs),
        Body::Code { text, .. } | Body::Bare(text) => text.trim().len(),
        Body::Table(table) => table.rows.iter().flatten().map(|cell| of(cell)).sum(),
        Body::Rule => 0,
    }
}

/// Where to cut `block` so that its start is as long as `fits` allows; in rows of a table, else in bytes.
fn place(block: &Block, window: usize, ranks: &[Rank], fits: impl Fn(&Block) -> bool) -> Option<usize> {
    let fits_until = |at: usize| start(block, at).is_some_and(|start| fits(&start));
    let (ahead, links) = match &block.body {
        Body::Table(table) => {
            let rows = most(table.rows.len().saturating_sub(1), fits_until);
            return (rows > 0).then_some(rows);
        }
        Body::Paragraph(runs) | Body::Heading(_, runs) => (shown(runs, window), link_spans(runs, window)),
        Body::Code { text, .. } | Body::Bare(text) => (until(text, window).to_owned(), Vec::new()),
        Body::Rule => return None,
    };
    let between_links = |at: usize| {
        let before = links.partition_point(|(start, _)| *start < at);
        before.checked_sub(1).and_then(|n| links.get(n)).is_none_or(|(_, end)| at >= *end)
    };
    let code = matches!(block.body, Body::Code { .. });
    let ranks: Vec<Rank> = ranks.iter().copied().filter(|rank| !code || *rank != Rank::Sentence).collect();
    best(&ahead, &ranks, between_links, fits_until).map(|(at, _)| at)
}

fn start(block: &Block, at: usize) -> Option<Block> {
    let body = match &block.body {
        Body::Paragraph(runs) => Body::Paragraph(runs_until(runs, at)),
        Body::Heading(level, runs) => Body::Heading(*level, runs_until(runs, at)),
        Body::Code { language, text } => {
            let text = text.get(..at)?;
            // The line break at which it is cut is the break between the messages.
            let text = text.strip_suffix('\n').unwrap_or(text).to_owned();
            Body::Code { language: language.clone(), text }
        }
        Body::Bare(text) => Body::Bare(text.get(..at)?.trim().to_owned()),
        Body::Table(table) => Body::Table(Table { head: table.head.clone(), rows: table.rows.get(..at)?.to_vec() }),
        Body::Rule => return None,
    };
    Some(Block { path: block.path.clone(), spacing: block.spacing, body })
}

fn runs_until(runs: &[Run], end: usize) -> Vec<Run> {
    let mut taken = Vec::new();
    let mut at = 0;
    for run in runs.iter() {
        if at >= end {
            break;
        }
        let part = until(&run.text, end - at);
        taken.push(Run { text: part.to_owned(), ..run.clone() });
        at += run.text.len();
    }
    if let Some(last) = taken.last_mut() {
        last.text.truncate(last.text.trim_end().len());
    }
    taken
}

/// What stays of the first block when its start has gone. In place: a long block is cut many times.
fn drop_start(rest: &mut VecDeque<Block>, at: usize) {
    let Some(block) = rest.front_mut() else { return };
    block.carry_on();
    match &mut block.body {
        Body::Paragraph(runs) | Body::Heading(_, runs) => {
            let (mut gone, mut passed) = (0, 0);
            while let Some(run) = runs.get(gone).filter(|run| passed + run.text.len() <= at) {
                passed += run.text.len();
                gone += 1;
            }
            runs.drain(..gone);
            if let Some(first) = runs.first_mut() {
                first.text = first.text.get(at - passed..).unwrap_or_default().trim_start().to_owned();
            }
        }
        Body::Code { text, .. } => drop(text.drain(..at.min(text.len()))),
        Body::Bare(text) => *text = text.get(at..).unwrap_or_default().trim_start().to_owned(),
        Body::Table(table) => drop(table.rows.drain(..at.min(table.rows.len()))),
        Body::Rule => {}
    }
}

fn until(text: &str, mut end: usize) -> &str {
    while !text.is_char_boundary(end.min(text.len())) {
        end -= 1;
    }
    text.get(..end.min(text.len())).unwrap_or_default()
}

fn shown(runs: &[Run], window: usize) -> String {
    let mut shown = String::new();
    for run in runs {
        if shown.len() >= window {
            break;
        }
        shown.push_str(until(&run.text, window - shown.len()));
    }
    shown
}

fn link_spans(runs: &[Run], window: usize) -> Vec<(usize, usize)> {
    let mut spans: Vec<(usize, usize)> = Vec::new();
    let mut last: Option<&Arc<str>> = None;
    let mut at = 0;
    for run in runs.iter() {
        let end = at + run.text.len();
        match (&run.link, last, spans.last_mut()) {
            (Some(link), Some(last), Some(span)) if Arc::ptr_eq(link, last) => span.1 = end,
            (Some(_), _, _) => spans.push((at, end)),
            (None, _, _) => {}
        }
        if end >= window && run.link.is_none() {
            break;
        }
        last = run.link.as_ref();
        at = end;
    }
    spans
}

/// Less markup, for a block of which not even the beginning fits: first the link with which it begins becomes
/// words, then everything.
fn simpler(block: &Block) -> Option<Block> {
    if let Body::Paragraph(runs) | Body::Heading(_, runs) = &block.body {
        let first = runs.iter().take_while(|run| runs.first().is_some_and(|first| run.same_link(first))).count();
        let (link, others) = runs.split_at(first);
        if let Some(url) = link.first().and_then(|run| run.link.as_deref()) {
            let runs = [unlinked(link, url), others.to_vec()].concat();
            return Some(Block { path: block.path.clone(), spacing: block.spacing, body: Body::Paragraph(runs) });
        }
    }
    let bare = Body::Bare(disarmed(&plain::write(std::slice::from_ref(block))));
    (!matches!(block.body, Body::Bare(_))).then(|| Block { path: Vec::new(), spacing: block.spacing, body: bare })
}
