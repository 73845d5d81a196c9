//! A conversation as a line of JSON or a row of CSV.

use std::io::Write;

use anyhow::anyhow;
use serde_json::Value;

use super::walk::latest;
use crate::fini::{Conversation, EventKind, EventRole};

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Ndjson,
    Csv,
}

/// Fini's own names; the help text explains those that are ours.
const COLUMNS: [&str; 18] = [
    "id",
    "createdAt",
    "lastEventAt",
    "source",
    "channel",
    "status",
    "externalId",
    "url",
    "subjectPreview",
    "resolved",
    "hasFeedback",
    "messages",
    "userMessages",
    "csatRating",
    "userAttributes",
    "usedArticles",
    "usedSubfolders",
    "events",
];

pub enum Rows<W: Write> {
    Ndjson(W),
    Csv(Box<csv::Writer<W>>),
}

impl<W: Write> Rows<W> {
    pub fn new(sink: W, format: Format) -> anyhow::Result<Self> {
        Ok(match format {
            Format::Ndjson => Self::Ndjson(sink),
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(sink);
                writer.write_record(COLUMNS)?;
                Self::Csv(Box::new(writer))
            }
        })
    }

    pub fn write(&mut self, conversation: &Conversation) -> anyhow::Result<()> {
        match self {
            Self::Ndjson(sink) => {
                serde_json::to_writer(&mut *sink, &conversation.raw)?;
                sink.write_all(b"\n")?;
            }
            Self::Csv(writer) => writer.write_record(COLUMNS.map(|column| harmless(cell(conversation, column))))?,
        }
        Ok(())
    }

    pub fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Ndjson(sink) => sink.flush(),
            Self::Csv(writer) => writer.flush(),
        }
    }

    pub fn into_inner(self) -> anyhow::Result<W> {
        match self {
            Self::Ndjson(sink) => Ok(sink),
            Self::Csv(writer) => writer.into_inner().map_err(|error| anyhow!("{}", error.error())),
        }
    }
}

fn cell(conversation: &Conversation, column: &str) -> String {
    let messages = || conversation.events.iter().filter(|event| event.kind == EventKind::Message);
    match column {
        "createdAt" => conversation.created_at.map(|at| at.to_string()).unwrap_or_default(),
        "lastEventAt" => latest(conversation).map(|at| at.to_string()).unwrap_or_default(),
        "messages" => messages().count().to_string(),
        "userMessages" => messages().filter(|event| event.role == EventRole::User).count().to_string(),
        "csatRating" => {
            // 0 is a rating.
            let mut ratings = conversation.events.iter().filter_map(|event| event.raw.get(column));
            ratings.rfind(|rating| !rating.is_null()).map(plain).unwrap_or_default()
        }
        _ => conversation.raw.get(column).map(plain).unwrap_or_default(),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A spreadsheet takes a cell that begins like this for a formula, and a customer chooses what stands in it.
fn harmless(cell: String) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { format!("'{cell}") } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_never_a_formula() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert_eq!(harmless(formula.to_owned()), format!("'{formula}"));
        }
        assert_eq!(harmless("a=1".to_owned()), "a=1");
        assert_eq!(harmless(String::new()), "");
    }
}
