//! The documents keep their word: what they name is there, what they show works.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use fini_bridge::app::settings;
use fini_bridge::domain::clock::SystemClock;
use serde_json::Value;
use support::{SOON, World, eventually};

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Every page, with its text.
fn pages() -> Vec<(PathBuf, String)> {
    let mut paths = vec![PathBuf::from("README.md"), PathBuf::from("CONTRIBUTING.md")];
    paths.extend(files(Path::new("docs"), "md"));
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

fn page(path: &str) -> String {
    fs::read_to_string(path).unwrap()
}

/// The fenced blocks of a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let (mut found, mut open) = (Vec::new(), None::<String>);
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(of)) => open = Some(format!("{of}\n")),
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(block), None) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, None) => {}
        }
    }
    found.iter().filter_map(|block| block.strip_prefix(&format!("{language}\n")).map(str::to_owned)).collect()
}

/// What stands between back-ticks in a line's prose.
fn codes(text: &str) -> BTreeSet<String> {
    let prose: Vec<&str> = {
        let mut fenced = false;
        text.lines()
            .filter(|line| {
                let fence = line.starts_with("```");
                fenced ^= fence;
                !fenced && !fence
            })
            .collect()
    };
    prose.join("\n").split('`').skip(1).step_by(2).map(|code| code.replace('\n', " ")).collect()
}

fn words(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).collect()
}

fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>();
    kept.replace(' ', "-")
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    let mut broken = Vec::new();
    for (path, text) in pages() {
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (file, heading) =
                target.split_once('#').map_or((target, None), |(file, heading)| (file, Some(heading)));
            let file = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            let there = match (file.exists(), heading) {
                (true, Some(heading)) => {
                    let text = fs::read_to_string(&file).unwrap();
                    let headings = text.lines().filter(|line| line.starts_with('#'));
                    headings.map(|line| anchor(line.trim_start_matches('#').trim())).any(|it| it == heading)
                }
                (there, _) => there,
            };
            if !there {
                broken.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert_eq!(broken, Vec::<String>::new());
}

/// The commands in the lines of shell and in the code of the prose.
fn commands(text: &str) -> BTreeSet<Vec<String>> {
    let mut lines: Vec<String> = codes(text).into_iter().collect();
    lines.extend(blocks(text, "sh").iter().flat_map(|block| block.lines()).map(str::to_owned));
    let named = lines.iter().flat_map(|line| line.split("fini-bridge ").skip(1));
    let named = named.map(|rest| {
        let is_word = |word: &&str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase());
        let mut words = rest.split([' ', ')', '"', ',']).take_while(is_word).map(str::to_owned);
        let first = words.next();
        let below = words.next().filter(|_| matches!(first.as_deref(), Some("messages" | "secret")));
        first.into_iter().chain(below).collect::<Vec<_>>()
    });
    named.filter(|words| !words.is_empty()).collect()
}

#[test]
fn every_command_that_a_page_names_exists() {
    let help = |words: &[String]| {
        let arguments: Vec<&str> = words.iter().map(String::as_str).chain(["--help"]).collect();
        let output = support::run(&arguments, Path::new("."));
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let named: BTreeSet<Vec<String>> = pages().iter().flat_map(|(_, text)| commands(text)).collect();
    let unknown: Vec<_> = named.iter().filter(|words| !help(words).0).collect();
    assert_eq!(unknown, Vec::<&Vec<String>>::new());
    let (_, all) = help(&[]);
    let listed = all.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let listed: Vec<&str> =
        listed.filter_map(|line| line.split_whitespace().next()).filter(|it| *it != "help").collect();
    assert!(listed.len() >= 10, "{listed:?}");
    let readme = commands(&page("README.md"));
    for command in listed {
        assert!(readme.iter().any(|words| words[0] == command), "the README says nothing of {command}");
    }
}

#[test]
fn every_test_that_a_page_names_exists() {
    let mut sources = files(Path::new("tests"), "rs");
    sources.extend(files(Path::new("src"), "rs"));
    let sources: String = sources.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let mut missing = Vec::new();
    let mut settings_keys = BTreeSet::new();
    keys(&settings::schema(), &mut settings_keys);
    // Decisions name other people's settings.
    for (path, text) in pages().into_iter().filter(|(path, _)| !path.starts_with("docs/decisions")) {
        for code in codes(&text) {
            let sentence = code.matches('_').count() >= 3
                && code.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            let platforms_word =
                ["fini_bridge", "slack_", "telegram_", "whatsapp_"].iter().any(|it| code.starts_with(it));
            if sentence
                && !platforms_word
                && !settings_keys.contains(&code)
                && !sources.contains(&format!("fn {code}("))
            {
                missing.push(format!("{}: {code}", path.display()));
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

/// Every key of the schema, by its own name.
fn keys(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Object(properties)) = map.get("properties") {
                found.extend(properties.keys().cloned());
            }
            map.values().for_each(|value| keys(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

#[test]
fn every_key_of_the_configuration_is_explained() {
    let mut all = BTreeSet::new();
    keys(&settings::schema(), &mut all);
    let explained = codes(&page("docs/configuration.md"));
    let is_explained = |key: &String| {
        explained.iter().any(|code| {
            code == key
                || code.trim_matches(['[', ']']).split('.').next_back() == Some(key)
                || code.contains(&format!("`{key}`"))
        })
    };
    let missing: Vec<&String> = all.iter().filter(|key| *key != "channels" && !is_explained(key)).collect();
    assert!(all.len() > 50 && missing.is_empty(), "{missing:?}");
}

#[test]
fn every_metric_is_explained() {
    let source = page("src/telemetry/mod.rs");
    let operations = page("docs/operations.md");
    let names: Vec<&str> = source.split("all.register(").skip(1).filter_map(|rest| rest.split('"').nth(1)).collect();
    assert!(names.len() > 10);
    for name in names {
        assert!(
            words(&operations)
                .iter()
                .any(|word| word.strip_prefix("fini_bridge_").is_some_and(|word| word.starts_with(name))),
            "{name}"
        );
    }
}

/// The words that stand in the source behind `before`.
fn literals(before: &str) -> BTreeSet<String> {
    let rooms = ["src/pipeline", "src/platform", "src/web"];
    let sources = rooms.iter().flat_map(|room| files(Path::new(room), "rs"));
    let mut found = BTreeSet::new();
    for text in sources.map(|path| fs::read_to_string(path).unwrap()) {
        let text = text.split("#[cfg(test)]").next().unwrap().to_owned();
        let rest = text.split(before).skip(1).filter_map(|rest| rest.strip_prefix('"')?.split('"').next());
        found.extend(rest.filter(|it| it.chars().all(|c| c.is_ascii_lowercase() || c == '_')).map(str::to_owned));
    }
    found
}

#[test]
fn every_reason_that_a_message_can_fail_for_is_explained() {
    let operations = codes(&page("docs/operations.md"));
    let mut reasons = literals("reason: ");
    reasons.extend(literals("dropped("));
    reasons.retain(|reason| !["looking", "backing_off"].contains(&reason.as_str()));
    assert!(reasons.len() >= 8, "{reasons:?}");
    for reason in reasons {
        assert!(operations.contains(&reason), "{reason}");
    }
}

#[test]
fn the_numbers_of_vectors_and_fixtures_are_right() {
    let readme = page("README.md");
    let row = |name: &str| {
        let row = readme.lines().find(|line| line.starts_with(&format!("| {name}"))).unwrap().to_owned();
        row.split('|').skip(2).map(|cell| cell.trim().to_owned()).collect::<Vec<_>>()
    };
    let vectors = |name: &str| {
        let text = page(&format!("tests/data/vectors/{name}.json"));
        serde_json::from_str::<Vec<Value>>(&text).unwrap().len().to_string()
    };
    let fixtures = |name: &str| fs::read_dir(format!("tests/data/fixtures/{name}")).unwrap().count().to_string();
    for (at, name) in ["slack", "telegram", "whatsapp"].into_iter().enumerate() {
        assert_eq!(row("signature vectors")[at], vectors(name), "{name}");
        assert_eq!(row("payload fixtures")[at], fixtures(name), "{name}");
        let recorded: Vec<Value> = serde_json::from_str(&page(&format!("tests/data/recorded/{name}.json"))).unwrap();
        assert_eq!(row("further kinds")[at], recorded.len().to_string(), "{name}");
    }
    assert!(row("signature vectors")[4].starts_with(&vectors("standard_webhooks")));
}

/// Something of the right shape for each variable and each file that a page names.
fn value_of(name: &str) -> String {
    match name {
        "TELEGRAM_BOT_TOKEN" | "telegram.token" => "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw".to_owned(),
        _ if name.starts_with("SLACK") && name.ends_with("TOKEN") => "xoxb-1-2-a".to_owned(),
        "OWN_APP_SECRET" | "own-app.secret" => support::senders::BRIDGE_SECRET.to_owned(),
        _ => "0123456789abcdef0123456789abcdef".to_owned(),
    }
}

#[test]
fn every_configuration_on_a_page_is_right() {
    let mut tried = 0;
    for (path, text) in pages() {
        // Its examples have a test of their own, with their samples.
        if path.ends_with("custom-channels.md") {
            continue;
        }
        for block in blocks(&text, "toml").into_iter().filter(|block| block.contains("platform = ")) {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("fini-bridge.toml");
            let fini = if block.contains("[fini]") { "" } else { "[fini]\napi_key = \"env:FINI_API_KEY\"\n" };
            fs::write(&file, format!("{fini}{block}")).unwrap();
            for name in block.split("\"file:").skip(1).filter_map(|rest| rest.split('"').next()) {
                fs::write(folder.path().join(name), value_of(name)).unwrap();
            }
            let variables = block.split("env:").skip(1).filter_map(|rest| rest.split('"').next());
            let environment: BTreeMap<String, String> =
                variables.chain(["FINI_API_KEY"]).map(|name| (name.to_owned(), value_of(name))).collect();
            if let Err(problems) = settings::load(&file, &environment, Arc::new(SystemClock)) {
                panic!("{}:\n{block}\n{problems}", path.display());
            }
            tried += 1;
        }
    }
    assert!(tried >= 8, "{tried}");
}

/// A program of a page, by its name in its first lines.
fn program(folder: &Path, name: &str) -> PathBuf {
    let text = page("docs/connect/own-app.md");
    let all: Vec<String> = ["bash", "python", "js"].iter().flat_map(|language| blocks(&text, language)).collect();
    let is_it = |block: &&String| block.lines().take(2).any(|line| line.contains(&format!(" {name}:")));
    let path = folder.join(name);
    fs::write(&path, all.iter().find(is_it).unwrap_or_else(|| panic!("{name} is not on the page"))).unwrap();
    path
}

fn interpreter(program: &Path) -> Command {
    let language = match program.extension().unwrap().to_str().unwrap() {
        "sh" => "bash",
        "py" => "python3",
        _ => "node",
    };
    let mut command = Command::new(language);
    command.arg(program).env("OWN_APP_SECRET", support::senders::BRIDGE_SECRET);
    command
}

/// A receiver that runs, and what it prints.
struct Receiver {
    child: Child,
    said: Arc<Mutex<String>>,
    port: u16,
}

impl Receiver {
    fn start(program: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut child = interpreter(program)
            .env("PORT", port.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said: Arc<Mutex<String>> = Arc::default();
        let (lines, into) = (BufReader::new(child.stdout.take().unwrap()).lines(), said.clone());
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                into.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        Self { child, said, port }
    }

    async fn heard(&self, text: &str) {
        eventually(text, SOON, async || self.said.lock().unwrap().contains(text).then_some(())).await;
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_for_an_app_of_ones_own_work_in_every_language() {
    let folder = tempfile::tempdir().unwrap();
    let receivers = ["receive.py", "receive.mjs"].map(|name| Receiver::start(&program(folder.path(), name)));
    let channels: String = receivers
        .iter()
        .map(|receiver| {
            let Receiver { port, .. } = receiver;
            format!(
                "[channels.to-{port}]\nplatform = \"custom\"\nbot_id = \"{}\"\nsecret = \"{}\"\n\
                 callback_url = \"http://127.0.0.1:{port}/fini\"\n",
                support::BOT,
                support::senders::BRIDGE_SECRET
            )
        })
        .collect();
    let world = World::start(&channels).await;
    for receiver in &receivers {
        let forged =
            async || world.http.post(format!("http://127.0.0.1:{}/fini", receiver.port)).body("{}").send().await.ok();
        assert_eq!(eventually("the receiver runs", SOON, forged).await.status(), 401, "it believes nobody");
        for name in ["ask.sh", "ask.py", "ask.mjs"] {
            let ask = |chat: &str, more: &[&str]| {
                let mut command = interpreter(&program(folder.path(), name));
                command.env("BRIDGE_URL", world.url(&format!("to-{}", receiver.port)));
                let output = command.args([chat, "Where's my \"order\"? ☂"]).args(more).output().unwrap();
                assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
                String::from_utf8(output.stdout).unwrap()
            };
            let (called, waited) = (format!("{name}-called"), format!("{name}-waited"));
            ask(&called, &[]);
            receiver.heard(&format!("{called} message This is a simulated Fini")).await;
            let answer: Value = serde_json::from_str(&ask(&waited, &["30"])).unwrap();
            let text = answer["messages"][0]["text"].as_str().unwrap();
            assert!(text.contains("Where's my \"order\"? ☂"), "{answer}");
            assert_eq!(answer["messages"][0]["in_reply_to"], serde_json::json!([answer["id"]]));
            assert!(!receiver.said.lock().unwrap().contains(&waited), "an answer comes once");
        }
    }
}
