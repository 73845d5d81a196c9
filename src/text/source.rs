//! `Markdown`, which stays Fini's own text: cut in its source, where no markup is cut through if that can be
//! avoided.

use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};

use super::breaks::{Rank, best};
use super::{Limit, Piece, count, is_blank, parse, plain};

pub(super) fn pieces(markdown: &str, limit: Option<Limit>) -> Vec<Piece> {
    let whole = |text: &str| vec![Piece { text: text.to_owned(), plain: plain(text) }];
    let Some(limit) = limit else { return whole(markdown) };
    if count(markdown, limit.unit) <= limit.max {
        return whole(markdown);
    }
    let plan = Plan::new(markdown);
    let mut pieces = Vec::new();
    let mut at = 0;
    while let Some(rest) = markdown.get(at..).filter(|rest| !rest.is_empty()) {
        let end = plan.end(markdown, at, limit).max(at + rest.chars().next().map_or(1, char::len_utf8));
        let text = plan.piece(markdown, at..end, limit);
        if !is_blank(&text) {
            pieces.push(Piece { plain: plain(&text), text });
        }
        at = end;
    }
    pieces
}

/// What in the source must not be cut through, and what has to be closed when it is.
struct Plan {
    /// Where the outermost blocks end.
    paragraphs: Vec<usize>,
    /// Links, code, emphasis, entities; in order, none within another.
    solid: Vec<Range<usize>>,
    fences: Vec<Fence>,
}

struct Fence {
    block: Range<usize>,
    /// Its lines of code, without the fence lines.
    code: Range<usize>,
    opener: String,
    closer: String,
}

impl Plan {
    fn new(markdown: &str) -> Self {
        let mut plan = Self { paragraphs: Vec::new(), solid: Vec::new(), fences: Vec::new() };
        let mut depth = 0_usize;
        for (event, range) in Parser::new_ext(markdown, parse::options()).into_offset_iter() {
            let source = markdown.get(range.clone()).unwrap_or_default();
            match event {
                Event::Start(tag) => {
                    depth += 1;
                    match tag {
                        Tag::CodeBlock(CodeBlockKind::Fenced(_)) => plan.fences.extend(fence(markdown, range)),
                        Tag::Emphasis | Tag::Strong | Tag::Strikethrough | Tag::Link { .. } | Tag::Image { .. } => {
                            plan.keep_whole(range);
                        }
                        _ => {}
                    }
                }
                Event::End(tag) => {
                    depth = depth.saturating_sub(1);
                    // A heading goes with what it is the heading of.
                    if depth == 0 && !matches!(tag, TagEnd::Heading(_)) {
                        plan.paragraphs.push(range.end);
                    }
                }
                Event::Code(_) => plan.keep_whole(range),
                // An entity: what it says is not what stands there.
                Event::Text(text) if source.starts_with('&') && *text != *source => plan.keep_whole(range),
                _ => {}
            }
        }
        plan
    }

    fn keep_whole(&mut self, range: Range<usize>) {
        if self.solid.last().is_none_or(|last| range.start >= last.end) {
            self.solid.push(range);
        }
    }

    /// How far the piece that begins at `start` reaches.
    fn end(&self, markdown: &str, start: usize, limit: Limit) -> usize {
        let fits = |end: usize| count(&self.piece(markdown, start..end, limit), limit.unit) <= limit.max;
        let mut ahead = start.saturating_add(limit.max.saturating_mul(4).saturating_add(256)).min(markdown.len());
        if ahead == markdown.len() && fits(ahead) {
            return ahead;
        }
        while !markdown.is_char_boundary(ahead) {
            ahead -= 1;
        }
        let text = markdown.get(start..ahead).unwrap_or_default();
        let whole = |at: usize| self.solid_at(at).is_none();
        let in_fence = |at: usize| self.fence_at(at).is_some();
        let free = |at: usize| whole(start + at) && !self.in_fence_line(start + at);

        let first = self.paragraphs.partition_point(|end| *end <= start);
        let ends = self.paragraphs.get(first..).unwrap_or_default().iter().take_while(|end| **end < ahead);
        let paragraph = ends.copied().filter(|end| fits(*end)).last();
        let inner = best(text, &Rank::ALL, free, |at| fits(start + at)).map(|(at, rank)| (start + at, rank));
        match (paragraph, inner) {
            (Some(end), Some((at, _))) if end - start >= (at - start) / 3 || in_fence(at) => end,
            (_, Some((at, _))) => at,
            (Some(end), None) => end,
            // A link longer than the limit, or markup that leaves no room.
            (None, None) => best(text, &[Rank::Word, Rank::Cluster, Rank::Point], |_| true, |at| fits(start + at))
                .map_or(start, |(at, _)| start + at),
        }
    }

    /// The source in `range`, a code block that it cuts closed at its end and opened again at its beginning, if
    /// there is room for that.
    fn piece(&self, markdown: &str, range: Range<usize>, limit: Limit) -> String {
        let source = markdown.get(range.clone()).unwrap_or_default();
        let opener = self.fence_at(range.start).map(|fence| fence.opener.as_str()).unwrap_or_default();
        let closer = self.fence_at(range.end).map(|fence| fence.closer.as_str()).unwrap_or_default();
        let room = |fences: &str| count(fences, limit.unit).saturating_mul(2) < limit.max;
        let (opener, closer) = if room(opener) && room(closer) { (opener, closer) } else { ("", "") };
        let source = if opener.is_empty() { source.trim_start_matches(['\n', '\r']) } else { source };
        let source = if closer.is_empty() { source.trim_end() } else { source.strip_suffix('\n').unwrap_or(source) };
        format!("{opener}{source}{closer}")
    }

    fn solid_at(&self, at: usize) -> Option<&Range<usize>> {
        let before = self.solid.partition_point(|range| range.start < at).checked_sub(1)?;
        self.solid.get(before).filter(|range| at < range.end)
    }

    fn fence_at(&self, at: usize) -> Option<&Fence> {
        let before = self.fences.partition_point(|fence| fence.code.start < at).checked_sub(1)?;
        self.fences.get(before).filter(|fence| at < fence.code.end)
    }

    /// In a line that opens or closes a code block, or between one and the code.
    fn in_fence_line(&self, at: usize) -> bool {
        let before = self.fences.partition_point(|fence| fence.block.start < at).checked_sub(1);
        before
            .and_then(|n| self.fences.get(n))
            .is_some_and(|fence| at < fence.block.end && (at <= fence.code.start || at >= fence.code.end))
    }
}

/// A fenced block whose source is `range`; what stands before the fence in its line (a quote's sign, a list's
/// indent) begins the lines that are added as well.
fn fence(markdown: &str, range: Range<usize>) -> Option<Fence> {
    let line_start = markdown.get(..range.start)?.rfind('\n').map_or(0, |at| at + 1);
    let lead: String =
        markdown.get(line_start..range.start)?.chars().map(|c| if c == '>' { '>' } else { ' ' }).collect();
    let source = markdown.get(range.clone())?;
    let opening = source.lines().next()?;
    let sign = opening.chars().next()?;
    let fence: String = opening.chars().take_while(|c| *c == sign).collect();
    let code_start = range.start + source.find('\n')? + 1;
    let last = source.trim_end().rfind('\n').map(|at| range.start + at + 1)?;
    let closed = markdown.get(last..range.end)?.trim_start_matches(['>', ' ']).starts_with(&fence);
    let code_end = if closed { last } else { range.end };
    (code_start < code_end).then(|| Fence {
        block: range.start..range.start + source.trim_end().len(),
        code: code_start..code_end,
        opener: format!("{lead}{opening}\n"),
        closer: format!("\n{lead}{fence}"),
    })
}
