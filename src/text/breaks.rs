//! Where a text may be cut, best places first.

use unicode_segmentation::UnicodeSegmentation;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Line,
    Sentence,
    Word,
    Cluster,
    /// Through a cluster: only where a single one is longer than the limit.
    Point,
}

impl Rank {
    pub const ALL: [Self; 5] = [Self::Line, Self::Sentence, Self::Word, Self::Cluster, Self::Point];
}

/// Offsets in ascending order at which `text` can be cut; neither end is one.
pub(super) fn breaks(text: &str, rank: Rank) -> Vec<usize> {
    let mut found: Vec<usize> = match rank {
        Rank::Line => text.match_indices('\n').map(|(at, _)| at + 1).collect(),
        // The rules also see an end in `?a=1`: one counts before white space, or after a full-width stop.
        Rank::Sentence => text
            .split_sentence_bound_indices()
            .map(|(at, _)| at)
            .filter(|at| {
                text.get(..*at).is_some_and(|head| head.ends_with(|c: char| c.is_whitespace() || "。！？".contains(c)))
            })
            .collect(),
        Rank::Word => {
            let spaces = text.char_indices().filter(|(_, c)| c.is_whitespace());
            let ends: Vec<usize> = spaces.map(|(at, c)| at + c.len_utf8()).collect();
            // Only the last of several.
            ends.into_iter()
                .filter(|at| !text.get(*at..).is_some_and(|tail| tail.starts_with(char::is_whitespace)))
                .collect()
        }
        Rank::Cluster => text.grapheme_indices(true).map(|(at, _)| at).collect(),
        Rank::Point => text.char_indices().map(|(at, _)| at).collect(),
    };
    found.retain(|at| *at > 0 && *at < text.len());
    found
}

/// The largest `n` up to `all` for which `holds`, if it holds for all below; looks no further than twice the
/// answer, so that a long rest costs nothing.
pub(super) fn most(all: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut sure, mut step) = (0, 1);
    while sure < all {
        let next = (sure + step).min(all);
        if holds(next) {
            sure = next;
            step *= 2;
        } else if step == 1 {
            break;
        } else {
            step = (step / 4).max(1);
        }
    }
    sure
}

/// The best place to cut among `text`'s breaks that are `allowed` and `fit`: of a rank as good as possible, but
/// not so early that a third of the room is wasted on it.
pub(super) fn best(
    text: &str,
    ranks: &[Rank],
    allowed: impl Fn(usize) -> bool,
    fits: impl Fn(usize) -> bool,
) -> Option<(usize, Rank)> {
    let places = |rank| {
        let mut places = breaks(text, rank);
        places.retain(|at| allowed(*at));
        places
    };
    let farthest_of = |places: &[usize]| {
        let at = |count: usize| count.checked_sub(1).and_then(|last| places.get(last)).copied();
        at(most(places.len(), |count| at(count).is_some_and(&fits)))
    };
    let farthest = farthest_of(&places(Rank::Cluster)).or_else(|| farthest_of(&places(Rank::Point)))?;
    let mut found = None;
    for rank in ranks {
        let places = places(*rank);
        let before = places.partition_point(|at| *at <= farthest);
        let places = places.get(..before).unwrap_or_default();
        // Nearly always: what is shorter than what fits, fits.
        let last = places.last().copied().filter(|at| fits(*at)).or_else(|| farthest_of(places));
        if let Some(at) = last {
            if at >= farthest / 3 {
                return Some((at, *rank));
            }
            found = found.or(Some((at, *rank)));
        }
    }
    found
}
