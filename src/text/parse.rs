//! Markdown → blocks. Everything that decides what a link, a tag or a control character may be is decided
//! here, so that no writer has to ask again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use pulldown_cmark::{CodeBlockKind, Event, LinkType, Options, Parser, Tag, TagEnd};

use super::block::{Block, Body, Cell, DEEPEST, Frame, Marker, Marks, Run, Spacing, Table, link_words, marker_written};
use super::lower::disarmed;

pub(super) fn options() -> Options {
    Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS
}

pub(super) fn parse(markdown: &str) -> Vec<Block> {
    // An answer on which the library fails must not come again and again: it arrives as it is.
    catch_unwind(AssertUnwindSafe(|| {
        let mut builder = Builder::default();
        for event in Parser::new_ext(markdown, options()) {
            builder.take(event);
        }
        builder.finish()
    }))
    .unwrap_or_else(|_| vec![Block::bare(clean(markdown))])
}

#[derive(Default)]
struct Builder {
    blocks: Vec<Block>,
    path: Vec<Frame>,
    /// For every open quote, list and item whether it is in `path`, or too deep.
    kept: Vec<bool>,
    /// The next number of every open list.
    numbers: Vec<Option<u64>>,
    ids: u32,
    runs: Vec<Run>,
    bold: usize,
    italic: usize,
    strike: usize,
    links: Vec<OpenLink>,
    heading: Option<u8>,
    code: Option<(Option<String>, String)>,
    table: Option<Table>,
    row: Vec<Cell>,
}

struct OpenLink {
    raw: String,
    allowed: bool,
    /// An image in a link leads where the link leads.
    leads_to: Option<Arc<str>>,
    /// How many runs there were before the label, and how long the last of them was.
    label: (usize, usize),
    empty_label: &'static str,
}

impl Builder {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.open(tag),
            Event::End(tag) => self.close(tag),
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => self.text(&text, Marks::NONE),
            Event::Code(text) | Event::InlineMath(text) | Event::DisplayMath(text) => self.text(&text, Marks::CODE),
            // Chats show a line break where one was written, and answers are written for chats.
            Event::SoftBreak | Event::HardBreak => self.text("\n", Marks::NONE),
            Event::FootnoteReference(label) => self.text(&format!("[{label}]"), Marks::NONE),
            Event::Rule => {
                self.flush(Spacing::Tight);
                self.push(Spacing::Loose, Body::Rule);
            }
            Event::TaskListMarker(done) => {
                if let (Some(true), Some(Frame::Item { task, .. })) = (self.kept.last(), self.path.last_mut()) {
                    *task = Some(done);
                }
            }
        }
    }

    fn open(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Emphasis => self.italic += 1,
            Tag::Strong => self.bold += 1,
            Tag::Strikethrough => self.strike += 1,
            Tag::Link { link_type, dest_url, .. } => {
                let email = link_type == LinkType::Email && !dest_url.starts_with("mailto:");
                let raw = if email { format!("mailto:{dest_url}") } else { clean(&dest_url) };
                self.open_link(raw, "");
            }
            Tag::Image { dest_url, .. } => self.open_link(clean(&dest_url), "image"),
            Tag::TableHead | Tag::TableRow => self.row.clear(),
            Tag::TableCell | Tag::HtmlBlock => self.runs.clear(),
            // A block begins: what an item said so far without a paragraph of its own is one.
            _ => {
                self.flush(Spacing::Tight);
                self.open_block(tag);
            }
        }
    }

    fn open_block(&mut self, tag: Tag<'_>) {
        self.ids += 1;
        let id = self.ids;
        match tag {
            Tag::Heading { level, .. } => self.heading = Some(level as u8),
            Tag::CodeBlock(kind) => {
                let language = match kind {
                    CodeBlockKind::Fenced(info) => language(&info),
                    CodeBlockKind::Indented => None,
                };
                self.code = Some((language, String::new()));
            }
            Tag::Table(_) => self.table = Some(Table::default()),
            Tag::BlockQuote(_) => self.enter(Frame::Quote { id }),
            Tag::List(first) => {
                self.numbers.push(first);
                self.enter(Frame::List { id, ordered: first.is_some() });
            }
            Tag::Item => {
                let number = self.numbers.last().copied().flatten();
                if let Some(Some(next)) = self.numbers.last_mut() {
                    *next = next.saturating_add(1);
                }
                self.enter(Frame::Item { id, number, task: None, marker: Marker::Due });
            }
            _ => {}
        }
    }

    fn close(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Emphasis => self.italic = self.italic.saturating_sub(1),
            TagEnd::Strong => self.bold = self.bold.saturating_sub(1),
            TagEnd::Strikethrough => self.strike = self.strike.saturating_sub(1),
            TagEnd::Link | TagEnd::Image => self.close_link(),
            TagEnd::Heading(_) => {
                let (level, runs) = (self.heading.take().unwrap_or(1), std::mem::take(&mut self.runs));
                self.push(Spacing::Loose, Body::Heading(level, runs));
            }
            TagEnd::CodeBlock => {
                if let Some((language, text)) = self.code.take() {
                    self.push(Spacing::Loose, Body::Code { language, text: text.trim_end_matches('\n').to_owned() });
                }
            }
            TagEnd::TableCell => self.row.push(std::mem::take(&mut self.runs)),
            TagEnd::TableHead | TagEnd::TableRow => {
                let row = std::mem::take(&mut self.row);
                if let Some(table) = &mut self.table {
                    if tag == TagEnd::TableHead { table.head = row } else { table.rows.push(row) }
                }
            }
            TagEnd::Table => {
                if let Some(table) = self.table.take() {
                    self.push(Spacing::Loose, Body::Table(table));
                }
            }
            TagEnd::Paragraph | TagEnd::HtmlBlock => self.flush(Spacing::Loose),
            TagEnd::Item => {
                self.flush(Spacing::Tight);
                // An item that says nothing still is one.
                if self.kept.last() == Some(&true)
                    && matches!(self.path.last(), Some(Frame::Item { marker: Marker::Due, .. }))
                {
                    self.push(Spacing::Tight, Body::Paragraph(Vec::new()));
                }
                self.leave();
            }
            TagEnd::List(_) => {
                self.numbers.pop();
                self.leave();
            }
            TagEnd::BlockQuote(_) => {
                self.flush(Spacing::Loose);
                self.leave();
            }
            _ => {}
        }
    }

    fn enter(&mut self, frame: Frame) {
        let room = match frame {
            // A list is kept only if its items can be.
            Frame::List { .. } => self.path.len() + 2 <= DEEPEST,
            Frame::Item { .. } => self.kept.last() == Some(&true),
            Frame::Quote { .. } => self.path.len() < DEEPEST,
        };
        self.kept.push(room);
        if room {
            self.path.push(frame);
        }
    }

    fn leave(&mut self) {
        if self.kept.pop() == Some(true) {
            self.path.pop();
        }
    }

    fn push(&mut self, spacing: Spacing, body: Body) {
        self.blocks.push(Block { path: self.path.clone(), spacing, body });
        marker_written(&mut self.path);
    }

    fn flush(&mut self, spacing: Spacing) {
        let mut runs = std::mem::take(&mut self.runs);
        while let Some(last) = runs.last_mut() {
            last.text.truncate(last.text.trim_end().len());
            if !last.text.is_empty() {
                break;
            }
            runs.pop();
        }
        if !runs.is_empty() {
            self.push(spacing, Body::Paragraph(runs));
        }
    }

    fn text(&mut self, text: &str, extra: Marks) {
        let text = clean(text);
        if let Some((_, code)) = &mut self.code {
            code.push_str(&text);
            return;
        }
        let marks = [(self.bold, Marks::BOLD), (self.italic, Marks::ITALIC), (self.strike, Marks::STRIKE)]
            .into_iter()
            .filter(|(depth, _)| *depth > 0)
            .fold(extra, |marks, (_, mark)| marks.with(mark));
        let link = self.links.last().and_then(|link| link.leads_to.clone());
        let run = Run { text, marks, link };
        match self.runs.last_mut() {
            Some(last) if last.marks == run.marks && last.same_link(&run) => last.text.push_str(&run.text),
            _ => self.runs.push(run),
        }
    }

    fn open_link(&mut self, raw: String, empty_label: &'static str) {
        let url = checked(&raw).map(Arc::from);
        let outer = self.links.last().and_then(|link| link.leads_to.clone());
        let inside = self.runs.last().map_or(0, |run| run.text.len());
        self.links.push(OpenLink {
            raw,
            allowed: url.is_some(),
            leads_to: outer.or(url),
            label: (self.runs.len(), inside),
            empty_label,
        });
    }

    fn close_link(&mut self) {
        let Some(open) = self.links.last() else { return };
        let (runs_before, inside) = open.label;
        let parts = || {
            let joined = runs_before.checked_sub(1).and_then(|last| self.runs.get(last)?.text.get(inside..));
            let own = self.runs.get(runs_before..).unwrap_or_default().iter().map(|run| run.text.as_str());
            joined.into_iter().chain(own)
        };
        let unlabelled = parts().all(|part| part.trim().is_empty());
        let mut unsaid = Some(open.raw.as_str());
        for part in parts() {
            unsaid = unsaid.and_then(|raw| raw.strip_prefix(part));
        }
        let missing = match (unlabelled, open.allowed) {
            (true, true) if !open.empty_label.is_empty() => open.empty_label.to_owned(),
            (true, _) => link_words(open.empty_label, &open.raw),
            (false, true) => String::new(),
            (false, false) if open.raw.is_empty() || unsaid == Some("") => String::new(),
            (false, false) => format!(" ({})", open.raw),
        };
        if !missing.is_empty() {
            self.text(&missing, Marks::NONE);
        }
        self.links.pop();
    }

    fn finish(mut self) -> Vec<Block> {
        self.flush(Spacing::Loose);
        self.blocks
    }
}

/// Without carriage returns and the control characters that some platform or markup forbids.
pub(super) fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

/// The first word of a code block's info string, if it can stand in an attribute.
fn language(info: &str) -> Option<String> {
    let word = info.split([' ', ',', '{', '\t']).next().unwrap_or_default();
    let sound = word.chars().all(|c| c.is_ascii_alphanumeric() || "+-#._".contains(c));
    (!word.is_empty() && word.len() <= 32 && sound).then(|| word.to_owned())
}

/// `raw` as an address that may be a link, with everything encoded that could end it; else it is text.
fn checked(raw: &str) -> Option<String> {
    let (scheme, rest) = raw.split_once(':')?;
    if rest.trim_matches('/').is_empty() {
        return None;
    }
    let web = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    if !web && !["mailto", "tel"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return None;
    }
    let mut address = String::with_capacity(raw.len());
    for c in raw.chars() {
        let invisible =
            matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        if c.is_control() || c.is_whitespace() || invisible || "<>\"'|\\`{}^".contains(c) {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                address.push_str(&format!("%{byte:02X}"));
            }
        } else {
            address.push(c);
        }
    }
    if web {
        address = disarmed(&address);
    }
    let sound = !web || url::Url::parse(&address).is_ok_and(|url| url.has_host());
    sound.then_some(address)
}
