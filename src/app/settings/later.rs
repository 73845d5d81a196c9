//! Keys that the documentation of a later version will have. They are told apart from misspelt ones, so that nobody
//! looks for the mistake in a key that is right.

use super::reader::Reader;
use super::tree::{Node, Path, Step};

pub(super) const PROBLEM: &str = "is not built yet";
pub(super) const INSTEAD: &str = "leave it out: it is planned, and not part of this version";

const SECTIONS: [&str; 2] = ["handoff", "telemetry"];
const KEYS: [(&str, &[&str]); 3] = [
    ("admin", &["tokens", "show_text"]),
    ("fini", &["unanswered", "watch", "watch_for"]),
    ("replies", &["waiting_text", "waiting_after", "disclosure", "disclosure_again", "attachments"]),
];
/// Of a channel, beside those of `replies`.
const CHANNEL: [&str; 8] = [
    "staff",
    "other_bots",
    "handoff",
    // Other words for it.
    "hand_off",
    "hand-off",
    "escalation",
    "pause",
    "late_answers",
];

pub(super) fn is_planned(path: &Path) -> bool {
    let keys: Option<Vec<&str>> =
        path.0.iter().map(|step| if let Step::Key(key) = step { Some(&**key) } else { None }).collect();
    let of_section = |section: &str, key: &str| KEYS.iter().any(|(name, keys)| *name == section && keys.contains(&key));
    match keys.as_deref() {
        Some([section]) => SECTIONS.contains(section),
        Some(["channels", _, key]) => CHANNEL.contains(key),
        Some(["channels", _, "replies", key]) => of_section("replies", key),
        Some([section, key]) => of_section(section, key),
        _ => false,
    }
}

/// Reports them, and takes them out.
pub(super) fn refuse(reader: &mut Reader<'_>, node: &mut Node, path: &Path) {
    let Some(table) = node.table_mut() else { return };
    table.retain(|key, value| {
        let below = path.key(key);
        let planned = is_planned(&below);
        if planned {
            reader.problem(&value.place, &below, PROBLEM, INSTEAD);
        } else {
            refuse(reader, value, &below);
        }
        !planned
    });
}
