//! Keeps the floors of `src/lib.rs`: a room imports only from the floors below, never sideways or up.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Room → floor, as `src/lib.rs` lists them.
fn floors() -> BTreeMap<String, u32> {
    let mut floors = BTreeMap::new();
    let mut floor = 0;
    for line in fs::read_to_string("src/lib.rs").unwrap().lines() {
        if let Some(number) = line.strip_prefix("// floor ") {
            floor = number.trim().parse().unwrap();
        } else if let Some(room) = line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';')) {
            floors.insert(room.to_owned(), floor);
        }
    }
    floors
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// The rooms that a file names: `crate::room`, also inside `use crate::{…}`.
fn imports(text: &str, floors: &BTreeMap<String, u32>) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("//") {
            continue;
        }
        for part in line.split("crate::").skip(1) {
            let names = part.strip_prefix('{').map_or_else(|| vec![part], |list| list.split(',').collect());
            for name in names {
                let room: String = name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if floors.contains_key(&room) {
                    found.push((number + 1, room));
                }
            }
        }
    }
    found
}

#[test]
fn every_room_stands_on_a_floor() {
    let floors = floors();
    for entry in fs::read_dir("src").unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if !["lib", "main"].contains(&name.as_str()) {
            assert!(floors.contains_key(&name), "src/{name} is on no floor in src/lib.rs");
        }
    }
    assert!(floors.len() >= 12, "{floors:?}");
}

#[test]
fn no_import_runs_up_or_sideways() {
    let floors = floors();
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    let mut wrong = Vec::new();
    for file in &files {
        let Some(room) = file.components().nth(1).map(|part| part.as_os_str().to_string_lossy().into_owned()) else {
            continue;
        };
        let Some(own) = floors.get(room.trim_end_matches(".rs")) else { continue };
        for (line, imported) in imports(&fs::read_to_string(file).unwrap(), &floors) {
            if imported != room && floors[&imported] >= *own {
                wrong.push(format!(
                    "{}:{line}: {room} (floor {own}) imports {imported} (floor {})",
                    file.display(),
                    floors[&imported]
                ));
            }
        }
    }
    assert!(files.len() > 20 && wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_check_sees_what_it_must() {
    let floors = floors();
    let text = "use crate::{store, fini::Client};\nlet x = crate::web::Server;\n// crate::cli in a comment\nuse crate::domain::id;";
    let rooms: Vec<String> = imports(text, &floors).into_iter().map(|(_, room)| room).collect();
    assert_eq!(rooms, ["store", "fini", "web", "domain"]);
}
