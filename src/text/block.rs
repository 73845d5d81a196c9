//! What a Markdown text consists of, flat: a list of blocks, each with the quotes and lists it stands in.
//! Flat, so that no depth of nesting needs a stack, and a text is cut by cutting the list.

use std::sync::Arc;

/// So many quotes, lists and items are kept within each other (a list and its item are two, so sixteen
/// lists); what is nested deeper stands at this depth.
pub(super) const DEEPEST: usize = 32;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Block {
    /// Outermost first.
    pub path: Vec<Frame>,
    pub spacing: Spacing,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Frame {
    Quote { id: u32 },
    List { id: u32, ordered: bool },
    Item { id: u32, number: Option<u64>, task: Option<bool>, marker: Marker },
}

/// Whether a block is the one beside which its item's bullet or number is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Marker {
    Due,
    Written,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Spacing {
    /// An item of a list that was written without blank lines.
    Tight,
    Loose,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Body {
    Paragraph(Vec<Run>),
    Heading(u8, Vec<Run>),
    Code {
        language: Option<String>,
        text: String,
    },
    Table(Table),
    Rule,
    /// Text without markup, where the limit leaves no room for any.
    Bare(String),
}

pub(super) type Cell = Vec<Run>;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Table {
    pub head: Vec<Cell>,
    pub rows: Vec<Vec<Cell>>,
}

/// A stretch of text that looks the same all along.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Run {
    pub text: String,
    pub marks: Marks,
    /// Checked and encoded. Runs of one link share it.
    pub link: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks(u8);

impl Marks {
    pub const NONE: Self = Self(0);
    pub const BOLD: Self = Self(1);
    pub const ITALIC: Self = Self(2);
    pub const STRIKE: Self = Self(4);
    pub const CODE: Self = Self(8);
    /// In the order in which they enclose each other.
    pub const ALL: [Self; 4] = [Self::BOLD, Self::ITALIC, Self::STRIKE, Self::CODE];

    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
    pub fn shared(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Run {
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), marks: Marks::NONE, link: None }
    }

    pub fn same_link(&self, other: &Self) -> bool {
        match (&self.link, &other.link) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        }
    }
}

impl Frame {
    pub fn id(&self) -> u32 {
        match self {
            Self::Quote { id } | Self::List { id, .. } | Self::Item { id, .. } => *id,
        }
    }
}

impl Block {
    pub fn bare(text: String) -> Self {
        Self { path: Vec::new(), spacing: Spacing::Loose, body: Body::Bare(text) }
    }

    /// The outermost quote around it.
    pub fn quote(&self) -> Option<u32> {
        self.path.iter().find_map(|frame| match frame {
            Frame::Quote { id } => Some(*id),
            _ => None,
        })
    }

    /// What stands after a cut carries on: its item's bullet was written before it.
    pub fn carry_on(&mut self) {
        marker_written(&mut self.path);
    }

    /// How the block begins its first line and the others, where lists are signs and spaces.
    pub fn indents(&self) -> (String, String) {
        let (mut first, mut rest) = (String::new(), String::new());
        for frame in &self.path {
            let Frame::Item { number, task, marker, .. } = frame else { continue };
            let sign = match (number, task) {
                (Some(number), None) => format!("{number}. "),
                (Some(number), Some(task)) => format!("{number}. {} ", checkbox(*task)),
                (None, Some(task)) => format!("{} ", checkbox(*task)),
                (None, None) => "• ".to_owned(),
            };
            let blank = " ".repeat(sign.chars().count());
            first.push_str(if *marker == Marker::Due { &sign } else { &blank });
            rest.push_str(&blank);
        }
        (first, rest)
    }

    /// Whether a blank line parts the block from the one before it.
    pub fn stands_apart(&self, before: &Self) -> bool {
        let shares = |wanted: fn(&Frame) -> bool| {
            let common = self.path.iter().zip(&before.path).take_while(|(a, b)| a.id() == b.id());
            common.into_iter().any(|(frame, _)| wanted(frame))
        };
        let in_item = shares(|frame| matches!(frame, Frame::Item { .. }));
        let in_list = shares(|frame| matches!(frame, Frame::List { .. }));
        let prose = |block: &Self| matches!(block.body, Body::Paragraph(_)) && block.spacing == Spacing::Loose;
        match self.spacing {
            Spacing::Tight => !in_list,
            Spacing::Loose => !in_item || (prose(self) && prose(before)),
        }
    }
}

pub(super) fn marker_written(path: &mut [Frame]) {
    for frame in path {
        if let Frame::Item { marker, .. } = frame {
            *marker = Marker::Written;
        }
    }
}

fn checkbox(done: bool) -> char {
    if done { '☑' } else { '☐' }
}

/// A link without markup: its label, then its address unless the label says it already.
pub(super) fn link_words(label: &str, url: &str) -> String {
    let label = label.trim();
    let bare = |text: &str| {
        let text = text.trim_end_matches('/');
        let cut = ["https://", "http://", "mailto:", "tel:"].iter().find_map(|scheme| text.strip_prefix(scheme));
        cut.unwrap_or(text).to_owned()
    };
    if label.is_empty() || label == url {
        url.to_owned()
    } else if bare(label) == bare(url) {
        // Of the two the one that a chat makes a link of by itself.
        if url.starts_with("http") { url.to_owned() } else { label.to_owned() }
    } else {
        format!("{label} ({url})")
    }
}

/// Runs of one link as one group each, everything else run by run.
pub(super) fn by_link(runs: &[Run]) -> impl Iterator<Item = &[Run]> {
    runs.chunk_by(|a, b| a.link.is_some() && a.same_link(b))
}

pub(super) fn words(runs: &[Run]) -> String {
    by_link(runs)
        .map(|group| {
            let text: String = group.iter().map(|run| run.text.as_str()).collect();
            match group.first().and_then(|run| run.link.as_deref()) {
                Some(url) => link_words(&text, url),
                None => text,
            }
        })
        .collect()
}
