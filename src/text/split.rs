//! Blocks into messages: between blocks where that is possible, else within one. Whatever is cut is cut before
//! it is written, so markup is always closed in one message and opened again in the next.

use std::collections::VecDeque;
use std::sync::Arc;

use super::block::{Block, Body, Run};
use super::breaks::{Rank, best, most};
use super::lower::{disarmed, unlinked};
use super::plain;

pub(super) fn split(blocks: Vec<Block>, max: usize, fits: impl Fn(&[Block]) -> bool) -> Vec<Vec<Block>> {
    let mut rest = VecDeque::from(blocks);
    let mut parts = Vec::new();
    // No text longer than this can fit, whatever is counted: further on nobody has to look.
    let window = max.saturating_mul(4).saturating_add(256);
    while !rest.is_empty() {
        let left: &[Block] = rest.make_contiguous();
        let whole = most(left.len(), |count| left.get(..count).is_some_and(&fits));
        let (head, tail) = left.split_at(whole);
        let Some(next) = tail.first() else {
            parts.push(rest.drain(..).collect());
            break;
        };
        if head.is_empty() {
            if let Some((start, end)) = cut(next, window, &Rank::ALL, |start| fits(std::slice::from_ref(start))) {
                parts.push(vec![start]);
                replace(&mut rest, end);
            } else if let Some(simpler) = simpler(next) {
                replace(&mut rest, simpler);
            } else {
                parts.extend(rest.pop_front().map(|block| vec![block]));
            }
            continue;
        }
        // A block too long for any message begins in this one, if it can do so well.
        let well = [Rank::Line, Rank::Sentence];
        let begun = if fits(std::slice::from_ref(next)) {
            None
        } else {
            cut(next, window, &well, |start| fits(&[head, std::slice::from_ref(start)].concat()))
        };
        // A heading goes with what it is the heading of.
        let headings = head.iter().rev().take_while(|block| matches!(block.body, Body::Heading(..))).count();
        let whole = if begun.is_none() && headings < whole { whole - headings } else { whole };
        let mut part: Vec<Block> = rest.drain(..whole).collect();
        if let Some((start, end)) = begun {
            part.push(start);
            replace(&mut rest, end);
        }
        parts.push(part);
    }
    parts
}

fn replace(rest: &mut VecDeque<Block>, block: Block) {
    if let Some(first) = rest.front_mut() {
        *first = block;
    }
}

/// `block` in two, the first as long as `fits` allows.
fn cut(block: &Block, window: usize, ranks: &[Rank], fits: impl Fn(&Block) -> bool) -> Option<(Block, Block)> {
    if let Body::Table(table) = &block.body {
        let halves = |at: usize| {
            let (mut head, mut tail) = (table.clone(), table.clone());
            tail.rows = head.rows.split_off(at.min(head.rows.len()));
            in_two(block, Body::Table(head), Body::Table(tail))
        };
        let rows = most(table.rows.len().saturating_sub(1), |rows| fits(&halves(rows).0));
        return (rows > 0).then(|| halves(rows));
    }
    let text = match &block.body {
        Body::Paragraph(runs) | Body::Heading(_, runs) => shown(runs),
        Body::Code { text, .. } | Body::Bare(text) => text.clone(),
        Body::Table(_) | Body::Rule => return None,
    };
    let mut end = window.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let ahead = text.get(..end)?;
    let links = match &block.body {
        Body::Paragraph(runs) | Body::Heading(_, runs) => link_spans(runs),
        _ => Vec::new(),
    };
    let whole_links = |at: usize| {
        let after = links.partition_point(|(start, _)| *start < at);
        after.checked_sub(1).and_then(|n| links.get(n)).is_none_or(|(_, end)| at >= *end)
    };
    let code = matches!(block.body, Body::Code { .. });
    let ranks: Vec<Rank> = ranks.iter().copied().filter(|rank| !code || *rank != Rank::Sentence).collect();
    let halves = |at| divide(block, at);
    let (at, _) = best(ahead, &ranks, whole_links, |at| halves(at).is_some_and(|(start, _)| fits(&start)))?;
    halves(at)
}

fn in_two(block: &Block, start: Body, end: Body) -> (Block, Block) {
    let start = Block { path: block.path.clone(), spacing: block.spacing, body: start };
    let mut end = Block { path: block.path.clone(), spacing: block.spacing, body: end };
    end.carry_on();
    (start, end)
}

fn divide(block: &Block, at: usize) -> Option<(Block, Block)> {
    Some(match &block.body {
        Body::Paragraph(runs) => {
            let (start, end) = divide_runs(runs, at);
            in_two(block, Body::Paragraph(start), Body::Paragraph(end))
        }
        Body::Heading(level, runs) => {
            let (start, end) = divide_runs(runs, at);
            in_two(block, Body::Heading(*level, start), Body::Heading(*level, end))
        }
        Body::Code { language, text } => {
            let (start, end) = text.split_at_checked(at)?;
            // The line break at which it is cut is the break between the messages.
            let code = |text: &str| Body::Code { language: language.clone(), text: text.to_owned() };
            in_two(block, code(start.strip_suffix('\n').unwrap_or(start)), code(end))
        }
        Body::Bare(text) => {
            let (start, end) = text.split_at_checked(at)?;
            in_two(block, Body::Bare(start.trim_end().to_owned()), Body::Bare(end.trim_start().to_owned()))
        }
        Body::Table(_) | Body::Rule => return None,
    })
}

fn divide_runs(runs: &[Run], at: usize) -> (Vec<Run>, Vec<Run>) {
    let (mut start, mut end) = (Vec::new(), Vec::new());
    let mut passed = 0;
    for run in runs {
        let inside = at.saturating_sub(passed).min(run.text.len());
        passed += run.text.len();
        let (first, second) = run.text.split_at_checked(inside).unwrap_or((&run.text, ""));
        for (text, half) in [(first, &mut start), (second, &mut end)] {
            if !text.is_empty() {
                half.push(Run { text: text.to_owned(), ..run.clone() });
            }
        }
    }
    if let Some(last) = start.last_mut() {
        last.text.truncate(last.text.trim_end().len());
    }
    if let Some(first) = end.first_mut() {
        first.text = first.text.trim_start().to_owned();
    }
    (start, end)
}

fn shown(runs: &[Run]) -> String {
    runs.iter().map(|run| run.text.as_str()).collect()
}

fn link_spans(runs: &[Run]) -> Vec<(usize, usize)> {
    let mut spans: Vec<(usize, usize)> = Vec::new();
    let mut last: Option<&Arc<str>> = None;
    let mut at = 0;
    for run in runs {
        let end = at + run.text.len();
        match (&run.link, last, spans.last_mut()) {
            (Some(link), Some(last), Some(span)) if Arc::ptr_eq(link, last) => span.1 = end,
            (Some(_), _, _) => spans.push((at, end)),
            (None, _, _) => {}
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
