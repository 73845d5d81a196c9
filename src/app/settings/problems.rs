//! What a person reads when the configuration is wrong: the place, the key, what is wrong, what to write instead.
//! Knows no rule and no value.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::domain::problem::Problem;

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Line and column count from 1; line 0 is the file as a whole.
    File { path: Arc<Path>, line: usize, column: usize },
    /// The variable that overrides the file.
    Environment(Arc<str>),
}

impl Place {
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::File { line, .. } if *line > 0 => Some(*line),
            _ => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line: 0, .. } => write!(f, "{}", path.display()),
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// A problem or a warning, with its place. Never holds the value of a secret or of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub place: Place,
    /// Dotted, from the top of the file: `channels.shop.reply.url`. Empty: the file.
    pub key: String,
    pub problem: String,
    pub instead: String,
}

impl Finding {
    pub fn new(place: Place, problem: Problem) -> Self {
        Self { place, key: problem.key, problem: problem.problem, instead: problem.instead }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.problem)?;
        if self.instead.is_empty() { Ok(()) } else { write!(f, "\n    → {}", self.instead) }
    }
}

/// Everything that is wrong with a configuration, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Finding>);

impl Problems {
    pub(super) fn in_order(mut all: Vec<Finding>) -> Self {
        all.sort_by(|a, b| a.place.cmp(&b.place));
        all.dedup();
        Self(all)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.0 {
            writeln!(f, "{finding}")?;
        }
        match self.0.len() {
            1 => f.write_str("1 problem in the configuration"),
            count => write!(f, "{count} problems in the configuration"),
        }
    }
}

/// The one of `known` that was probably meant.
pub(super) fn nearest<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let written = plain(written);
    known
        .into_iter()
        .map(|candidate| {
            let other = plain(candidate);
            let begun = written.len() >= 3 && (other.starts_with(&written) || written.starts_with(&other));
            (if begun { 1 } else { strsim::damerau_levenshtein(&written, &other) }, candidate)
        })
        .filter(|(distance, candidate)| {
            *distance <= (candidate.chars().count().max(written.chars().count()) / 3).max(1)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// One after the other, with commas.
pub(super) fn list<'k>(known: impl IntoIterator<Item = &'k str>) -> String {
    known.into_iter().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        assert_eq!(nearest("listn", ["listen", "token"]), Some("listen"));
        assert_eq!(nearest("public-url", ["listen", "public_url"]), Some("public_url"));
        assert_eq!(nearest("telegramm", ["slack", "telegram"]), Some("telegram"));
        assert_eq!(nearest("bot", ["chat", "bot_id"]), Some("bot_id"));
        assert_eq!(nearest("colour", ["listen", "public_url"]), None);
    }

    #[test]
    fn problems_stand_in_the_order_of_the_file_and_say_place_key_problem_and_fix() {
        let at = |line, key: &str| {
            let place = Place::File { path: Path::new("a.toml").into(), line, column: 1 };
            Finding::new(place, Problem::new(key, "is wrong", "write 1"))
        };
        let shown = Problems::in_order(vec![at(10, "b"), at(9, "a")]).to_string();
        assert_eq!(
            shown,
            "a.toml:9:1: a: is wrong\n    → write 1\na.toml:10:1: b: is wrong\n    → write 1\n2 problems in the configuration"
        );
    }
}
