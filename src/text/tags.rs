//! Dialects with tags: the few that Telegram knows, and HTML for everyone else.

use std::sync::Arc;

use super::Written;
use super::block::{Block, Body, Frame, Marker, Marks, Run, Table};
use super::plain::RULE;

struct Tags {
    out: String,
    /// The text once the tags are parsed.
    visible: String,
    opened: usize,
    line_break: &'static str,
}

#[derive(Clone, PartialEq)]
enum Mark {
    Link(Arc<str>),
    Style(Marks),
}

impl Tags {
    fn new(line_break: &'static str) -> Self {
        Self { out: String::new(), visible: String::new(), opened: 0, line_break }
    }

    /// Only the four named entities that every parser knows.
    fn text(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '&' => self.out.push_str("&amp;"),
                '<' => self.out.push_str("&lt;"),
                '>' => self.out.push_str("&gt;"),
                '"' => self.out.push_str("&quot;"),
                c => self.out.push(c),
            }
        }
        self.visible.push_str(text);
    }

    fn open(&mut self, tag: &str) {
        self.opened += 1;
        self.out.push('<');
        self.out.push_str(tag);
        self.out.push('>');
    }

    fn close(&mut self, tag: &str) {
        self.out.push_str("</");
        self.out.push_str(tag);
        self.out.push('>');
    }

    fn open_mark(&mut self, mark: &Mark) {
        match mark {
            Mark::Link(url) => self.open(&format!("a href=\"{}\"", url.replace('&', "&amp;"))),
            Mark::Style(style) => self.open(style_tag(*style)),
        }
    }

    fn runs(&mut self, runs: &[Run], indent: &str) {
        let mut open: Vec<Mark> = Vec::new();
        for run in runs {
            let link = run.link.clone().map(Mark::Link);
            let styles = Marks::ALL.into_iter().filter(|mark| run.marks.has(*mark)).map(Mark::Style);
            let wanted: Vec<Mark> = link.into_iter().chain(styles).collect();
            let kept = open.iter().zip(&wanted).take_while(|(a, b)| a == b).count();
            self.close_marks(&mut open, kept);
            for mark in wanted.into_iter().skip(kept) {
                self.open_mark(&mark);
                open.push(mark);
            }
            for (index, line) in run.text.split('\n').enumerate() {
                if index > 0 {
                    self.out.push_str(self.line_break);
                    self.visible.push('\n');
                    self.text(indent);
                }
                self.text(line);
            }
        }
        self.close_marks(&mut open, 0);
    }

    fn close_marks(&mut self, open: &mut Vec<Mark>, kept: usize) {
        while open.len() > kept {
            match open.pop() {
                Some(Mark::Link(_)) => self.close("a"),
                Some(Mark::Style(style)) => self.close(style_tag(style)),
                None => {}
            }
        }
    }

    fn code(&mut self, language: Option<&str>, text: &str) {
        self.open("pre");
        if let Some(language) = language {
            self.out.push_str(&format!("<code class=\"language-{language}\">"));
        }
        self.text(text);
        if language.is_some() {
            self.close("code");
        }
        self.close("pre");
    }
}

fn style_tag(style: Marks) -> &'static str {
    match style {
        Marks::BOLD => "b",
        Marks::ITALIC => "i",
        Marks::STRIKE => "s",
        _ => "code",
    }
}

fn bold(runs: &[Run]) -> Vec<Run> {
    runs.iter().map(|run| Run { marks: run.marks.with(Marks::BOLD), ..run.clone() }).collect()
}

/// Lists are signs and spaces; quotes can't be nested.
pub(super) fn telegram(blocks: &[Block]) -> Written {
    let mut tags = Tags::new("\n");
    let mut before: Option<&Block> = None;
    for block in blocks {
        let quote = before.and_then(Block::quote);
        if quote.is_some() && quote != block.quote() {
            tags.close("blockquote");
        }
        if let Some(before) = before {
            tags.text(if block.stands_apart(before) { "\n\n" } else { "\n" });
        }
        if block.quote().is_some() && quote != block.quote() {
            tags.open("blockquote");
        }
        let (first, rest) = block.indents();
        if matches!(block.body, Body::Code { .. }) {
            // The code itself is not indented: people copy it.
            if !first.trim().is_empty() {
                tags.text(first.trim_end());
                tags.text("\n");
            }
        } else {
            tags.text(&first);
        }
        match &block.body {
            Body::Paragraph(runs) => tags.runs(runs, &rest),
            Body::Heading(_, runs) => tags.runs(&bold(runs), &rest),
            Body::Code { language, text } => tags.code(language.as_deref(), text),
            Body::Rule => tags.text(RULE),
            Body::Bare(text) => tags.text(text),
            Body::Table(_) => {} // lowered
        }
        before = Some(block);
    }
    if before.and_then(Block::quote).is_some() {
        tags.close("blockquote");
    }
    Written { text: tags.out, visible: Some(tags.visible), tags: tags.opened }
}

pub(super) fn html(blocks: &[Block]) -> Written {
    let mut tags = Tags::new("<br>");
    let mut open: Vec<Frame> = Vec::new();
    for block in blocks {
        let kept = open.iter().zip(&block.path).take_while(|(a, b)| a.id() == b.id()).count();
        close_frames(&mut tags, &mut open, kept);
        for (index, frame) in block.path.iter().enumerate().skip(kept) {
            match frame {
                Frame::Quote { .. } => tags.open("blockquote"),
                Frame::List { ordered: false, .. } => tags.open("ul"),
                Frame::List { ordered: true, .. } => match block.path.get(index + 1) {
                    Some(Frame::Item { number: Some(number), .. }) if *number != 1 => {
                        tags.open(&format!("ol start=\"{number}\""));
                    }
                    _ => tags.open("ol"),
                },
                Frame::Item { task, marker, .. } => {
                    tags.open("li");
                    if let (Some(done), Marker::Due) = (task, marker) {
                        tags.text(if *done { "☑ " } else { "☐ " });
                    }
                }
            }
            open.push(frame.clone());
        }
        let tight = block.spacing == super::block::Spacing::Tight;
        match &block.body {
            Body::Paragraph(runs) if tight => tags.runs(runs, ""),
            Body::Paragraph(runs) => {
                tags.open("p");
                tags.runs(runs, "");
                tags.close("p");
            }
            Body::Heading(level, runs) => {
                let tag = format!("h{}", level.clamp(&1, &6));
                tags.open(&tag);
                tags.runs(runs, "");
                tags.close(&tag);
            }
            Body::Code { language, text } => {
                tags.open("pre");
                match language {
                    Some(language) => tags.open(&format!("code class=\"language-{language}\"")),
                    None => tags.open("code"),
                }
                tags.text(text);
                tags.close("code");
                tags.close("pre");
            }
            Body::Table(table) => html_table(&mut tags, table),
            Body::Rule => tags.open("hr"),
            Body::Bare(text) => tags.text(text),
        }
        tags.out.push('\n');
    }
    close_frames(&mut tags, &mut open, 0);
    tags.out.truncate(tags.out.trim_end().len());
    Written { text: tags.out, ..Written::default() }
}

fn close_frames(tags: &mut Tags, open: &mut Vec<Frame>, kept: usize) {
    while open.len() > kept {
        match open.pop() {
            Some(Frame::Quote { .. }) => tags.close("blockquote"),
            Some(Frame::List { ordered: false, .. }) => tags.close("ul"),
            Some(Frame::List { ordered: true, .. }) => tags.close("ol"),
            Some(Frame::Item { .. }) => tags.close("li"),
            None => {}
        }
    }
}

fn html_table(tags: &mut Tags, table: &Table) {
    tags.open("table");
    for (row, tag) in std::iter::once((&table.head, "th")).chain(table.rows.iter().map(|row| (row, "td"))) {
        tags.open("tr");
        for cell in row {
            tags.open(tag);
            tags.runs(cell, "");
            tags.close(tag);
        }
        tags.close("tr");
    }
    tags.close("table");
}
