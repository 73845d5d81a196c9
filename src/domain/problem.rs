//! What is wrong with a configuration, said so that a person can mend it.

/// One thing wrong, or worth a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The dotted key, relative to the section whose code found it: `reply.url`, `verify.signed`.
    pub key: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to write instead.
    pub instead: String,
}

impl Problem {
    pub fn new(key: impl Into<String>, problem: impl Into<String>, instead: impl Into<String>) -> Self {
        Self { key: key.into(), problem: problem.into(), instead: instead.into() }
    }
}
