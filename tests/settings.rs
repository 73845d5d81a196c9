//! The configuration, from real files: what is wrong is told with key, place and remedy, all at once; what is
//! right is read; secrets are shown nowhere.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fini_bridge::app::sandbox::fini::SimulatorConfig;
use fini_bridge::app::settings::{Environment, Finding, Loaded, Place, Problems, load, schema, table};
use fini_bridge::domain::clock::SystemClock;
use serde_json::Value;

const WRONG: &str = "tests/data/config/wrong";
const WARNED: &str = "tests/data/config/warned";
const SAMPLE: &str = "config/fini-bridge.toml";

fn environment(more: &[(&str, &str)]) -> Environment {
    let usual = [
        ("FINI_API_KEY", "canary-fini-key-00"),
        ("FINI_API_KEY_SUPPORT", "canary-other-fini-key"),
        ("FINI_BRIDGE_ADMIN_TOKEN", "canary-admin-token"),
        ("SLACK_SIGNING_SECRET", "canary0slack0signing0secret00000"),
        ("SLACK_BOT_TOKEN", "xoxb-0000000000-canary"),
        ("TELEGRAM_SECRET_TOKEN", "canary_telegram_secret"),
        ("TELEGRAM_BOT_TOKEN", "110201543:AAcanaryCanaryCanaryCanaryCanary000"),
        ("WHATSAPP_APP_SECRET", "canary-whatsapp-app-secret"),
        ("WHATSAPP_VERIFY_TOKEN", "canary-whatsapp-verify-token"),
        ("WHATSAPP_ACCESS_TOKEN", "canary-whatsapp-access-token"),
        ("SHOP_SECRET", "canary-shop-secret"),
        ("SHOP_TOKEN", "canary-shop-token"),
        ("INTRANET_TOKEN", "canary-intranet-token"),
        ("SHORT", "canary"),
        ("SHORT_WHSEC", "whsec_Y2FuYXJ5"),
        ("REMOTE_STORE", "postgres://bridge:canary@db.example.com/bridge?sslmode=require"),
        ("OWN_APP_SECRET", "whsec_Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5"),
    ];
    usual.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn read(path: &Path, more: &[(&str, &str)]) -> Result<Loaded, Problems> {
    load(path, &environment(more), Arc::new(SystemClock))
}

/// A configuration of this text, in a folder of its own.
struct Written {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn written(text: &str) -> Written {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fini-bridge.toml");
    std::fs::write(&path, text).unwrap();
    Written { _folder: folder, path }
}

fn problems(text: &str, more: &[(&str, &str)]) -> Vec<Finding> {
    match read(&written(text).path, more) {
        Ok(_) => Vec::new(),
        Err(Problems(all)) => all,
    }
}

fn place(finding: &Finding) -> String {
    match &finding.place {
        Place::File { line, .. } => line.to_string(),
        Place::Environment(name) => name.to_string(),
    }
}

/// Each expected line: place | key | part of the problem | part of the remedy.
fn assert_found(case: &str, expected: &str, found: &[Finding]) {
    let expected: Vec<Vec<&str>> =
        expected.lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>()).collect();
    let shown = found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for line in &expected {
        let [at, key, problem, instead] = line[..] else { panic!("{case}: four columns") };
        let fits = |one: &&Finding| place(one) == at && one.key == key;
        let one =
            found.iter().find(fits).unwrap_or_else(|| panic!("{case}: {key} in {at} is found, not only:\n{shown}"));
        assert!(one.problem.to_lowercase().contains(&problem.to_lowercase()), "{case}: says {problem:?}: {one}");
        assert!(
            one.instead.to_lowercase().contains(&instead.to_lowercase()),
            "{case}: says to write {instead:?}: {one}"
        );
    }
    assert_eq!(found.len(), expected.len(), "{case}: nothing else is found:\n{shown}");
    assert!(!shown.contains("canary"), "{case}: no secret is told");
}

fn cases(folder: &str) -> Vec<(String, PathBuf, String)> {
    let mut all: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let expected = std::fs::read_to_string(path.with_extension("expected")).unwrap();
            (name, path, expected)
        })
        .collect();
    all.sort();
    all
}

/// Cases that the connectors judge.
const BY_CONNECTORS: [&str; 6] =
    ["channel-keys", "trap-timestamp", "trap-host", "broken-expression", "trap-one-header", "trap-place"];

fn judge_wrong(wanted: impl Fn(&str) -> bool) {
    for (case, path, expected) in cases(WRONG).into_iter().filter(|(case, ..)| wanted(case)) {
        let text = std::fs::read_to_string(&path).unwrap();
        // Two secrets may come from their own variables: only where the case means them.
        let own = ["FINI_API_KEY", "FINI_BRIDGE_ADMIN_TOKEN"];
        let unset: Vec<_> =
            own.into_iter().filter(|name| !text.contains(&format!("env:{name}\""))).map(|name| (name, "")).collect();
        let Err(Problems(found)) = read(&path, &unset) else { panic!("{case}: is refused") };
        assert_found(&case, &expected, &found);
    }
}

#[test]
fn each_wrong_configuration_is_told_with_key_place_and_remedy_all_at_once() {
    judge_wrong(|case| !BY_CONNECTORS.contains(&case));
}

#[test]
fn wrong_channels_and_the_traps_are_told_with_key_place_and_remedy() {
    judge_wrong(|case| BY_CONNECTORS.contains(&case));
}

#[test]
fn what_is_allowed_but_dangerous_is_warned_about() {
    for (case, path, expected) in cases(WARNED) {
        let loaded = read(&path, &[]).unwrap_or_else(|problems| panic!("{case}: is taken: {problems}"));
        assert_found(&case, &expected, &loaded.warnings);
    }
}

#[test]
fn the_key_and_the_admin_token_may_come_from_their_own_variables() {
    let file = written("[server]\nlisten = \"127.0.0.1:0\"\n");
    let loaded = read(&file.path, &[("FINI_API_KEY", "fini_canary")]).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.settings.fini.api_key.unwrap().expose(), "fini_canary");
    assert_eq!(loaded.settings.admin.token.unwrap().expose(), "canary-admin-token");
    let missing = read(&file.path, &[("FINI_API_KEY", "")]).err().unwrap().to_string();
    assert!(missing.contains("fini.api_key: is missing") && missing.contains("FINI_API_KEY"), "{missing}");
}

const LEAST: &str = "[fini]\napi_key = \"env:FINI_API_KEY\"\n";

#[test]
fn the_sample_configuration_is_right_and_states_every_default() {
    let sample = read(Path::new(SAMPLE), &[]).unwrap_or_else(|problems| panic!("{problems}"));
    let least = read(&written(LEAST).path, &[]).unwrap_or_else(|problems| panic!("{problems}"));
    // Without the first line, which is the file, and the last column, which says where a value was written.
    let values = |loaded: &Loaded| {
        let shown = table(&loaded.settings);
        let row = |line: &str| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        shown.lines().skip(1).map(row).collect::<Vec<_>>()
    };
    assert_eq!(values(&sample), values(&least));
    assert!(values(&sample).contains(&"api_key ***".to_owned()));
}

/// The sample with its examples filled in.
fn whole_sample() -> String {
    let example =
        |line: &str| line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c != ' ')).map(str::to_owned);
    let text = std::fs::read_to_string(SAMPLE).unwrap();
    text.lines().map(|line| example(line).unwrap_or_else(|| line.to_owned())).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_sample_with_all_its_channels_is_right() {
    let sample = written(&whole_sample());
    let webhook = r#"{"messages": [{"id": "1", "conversation": {"id": "c"}, "text": "{{ text }}", "sender": {"type": "user", "plan": "pro"}, "lang": "en"}]}"#;
    std::fs::write(sample.path.with_file_name("shop-sample.json"), webhook).unwrap();
    std::fs::write(sample.path.with_file_name("desk-password.txt"), "canary-desk-password\n").unwrap();
    let loaded = read(&sample.path, &[]).unwrap_or_else(|problems| panic!("{problems}"));
    let platforms: BTreeSet<&str> = loaded.settings.channels.values().map(|channel| channel.platform_name()).collect();
    assert_eq!(platforms, fini_bridge::platform::NAMES.into_iter().collect());
    assert_eq!(loaded.connectors.len(), loaded.settings.channels.len());
    let slack = &loaded.settings.channels[&fini_bridge::domain::id::ChannelName::new("support-slack")];
    assert_eq!(slack.conversations.idle_timeout.to_string(), "12h");
    assert_eq!(slack.bots.len(), 1);
    let shown = table(&loaded.settings);
    assert!(!shown.contains("canary"), "{shown}");
    assert!(shown.contains("from SLACK_BOT_TOKEN"), "{shown}");
}

fn at<'s>(root: &'s Value, mut schema: &'s Value) -> &'s Value {
    loop {
        schema = if let Some(reference) = schema["$ref"].as_str() {
            root.pointer(reference.trim_start_matches('#')).unwrap()
        } else if let Some([one, _]) = schema["anyOf"].as_array().map(Vec::as_slice) {
            one
        } else {
            return schema;
        };
    }
}

/// The keys of the schema that the configuration hasn't, by their dotted names.
fn absent(root: &Value, schema: &Value, written: &[&toml::Value], path: &str) -> Vec<String> {
    let Some(properties) = at(root, schema)["properties"].as_object() else { return Vec::new() };
    let mut absent = Vec::new();
    for (key, shape) in properties {
        let path = format!("{path}.{key}");
        let values: Vec<&toml::Value> = written.iter().filter_map(|table| table.get(key)).collect();
        match values.is_empty() {
            true => absent.push(path),
            // The sections that a channel may override stand in full at the top.
            false if path.ends_with(".conversations") || path.ends_with(".replies") => {}
            false => absent.extend(self::absent(root, shape, &values, &path)),
        }
    }
    absent
}

#[test]
fn every_key_of_the_sections_stands_in_the_sample() {
    let root = schema();
    let sample: toml::Value = toml::from_str(&whole_sample()).unwrap();
    for (section, shape) in root["properties"].as_object().unwrap() {
        assert_eq!(absent(&root, shape, &[&sample[section.as_str()]], section), Vec::<String>::new());
    }
}

/// A token in a query: the sample has a word about it and no example of it.
const NOT_SHOWN: &str = "channel-custom.verify.query";

#[test]
fn every_key_of_each_platform_stands_in_the_sample() {
    let root = schema();
    let sample: toml::Value = toml::from_str(&whole_sample()).unwrap();
    let shared = absent_of(&root, &sample, None);
    assert_eq!(shared, Vec::<String>::new());
    for platform in fini_bridge::platform::NAMES {
        let of_all = root["$defs"]["channel"]["properties"].as_object().unwrap();
        let own = |key: &String| key != NOT_SHOWN && !of_all.keys().any(|shared| key.ends_with(&format!(".{shared}")));
        let absent: Vec<String> = absent_of(&root, &sample, Some(platform)).into_iter().filter(own).collect();
        assert_eq!(absent, Vec::<String>::new());
    }
}

fn absent_of(root: &Value, sample: &toml::Value, platform: Option<&str>) -> Vec<String> {
    let channels = sample["channels"].as_table().unwrap().values();
    let of = |table: &&toml::Value| platform.is_none_or(|name| table["platform"].as_str() == Some(name));
    let name = platform.map_or("channel".to_owned(), |name| format!("channel-{name}"));
    absent(root, &root["$defs"][&name], &channels.filter(of).collect::<Vec<_>>(), &name)
}

#[test]
fn the_environment_overrides_keys_of_every_type() {
    let overrides = [
        ("FINI_BRIDGE__SERVER__LISTEN", "127.0.0.1:7070"),
        ("FINI_BRIDGE__SERVER__TRUSTED_PROXIES", "[\"10.0.0.0/8\", '::1']"),
        ("FINI_BRIDGE__FINI__MAX_IN_FLIGHT", "7"),
        ("FINI_BRIDGE__CONVERSATIONS", "{ burst = \"queue\", merge_window = \"2s\" }"),
        ("FINI_BRIDGE__CONVERSATIONS__MERGE_WINDOW", "3s"),
        ("FINI_BRIDGE__REPLIES__FAILURE_TEXT", "7"),
        ("FINI_BRIDGE__ADMIN__TOKEN", "env:FINI_BRIDGE_ADMIN_TOKEN"),
    ];
    let Loaded { settings, .. } =
        read(&written(LEAST).path, &overrides).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(settings.server.listen, "127.0.0.1:7070");
    assert_eq!(settings.server.trusted_proxies, ["10.0.0.0/8", "::1"]);
    assert_eq!(settings.fini.max_in_flight, 7);
    assert_eq!(settings.conversations.burst, fini_bridge::pipeline::channel::Burst::Queue);
    assert_eq!(settings.conversations.merge_window.to_string(), "3s");
    assert_eq!(settings.replies.failure_text, "7");
    assert_eq!(settings.admin.token.as_ref().unwrap().expose(), "canary-admin-token");
    let shown = table(&settings);
    assert!(shown.contains("FINI_BRIDGE__SERVER__LISTEN"), "{shown}");
    assert!(!shown.contains("canary"), "{shown}");
}

#[test]
fn a_wrong_variable_is_told_by_its_name_and_never_with_its_value() {
    let overrides = [
        ("FINI_BRIDGE__SERVER__LISTN", "canary"),
        ("FINI_BRIDGE__SERVER__MAX_BODY", "canary"),
        ("FINI_BRIDGE__CONVERSATIONS__BURST", "canary"),
        ("FINI_BRIDGE__SERVER__TRUSTED_PROXIES", "[canary"),
        ("FINI_BRIDGE__FINI__MAX_IN_FLIGHT", "canary"),
        ("FINI_BRIDGE__METRICS__LISTEN", "canary"),
        ("FINI_BRIDGE__FINI__RATE", "canary"),
    ];
    let found = problems(LEAST, &overrides);
    let expected = "\
        FINI_BRIDGE__SERVER__LISTN | server.listn | no key | FINI_BRIDGE__SERVER__LISTEN
        FINI_BRIDGE__SERVER__MAX_BODY | server.max_body | not one that it takes | 4MiB
        FINI_BRIDGE__CONVERSATIONS__BURST | conversations.burst | not one | \"merge\"
        FINI_BRIDGE__SERVER__TRUSTED_PROXIES | server.trusted_proxies | not TOML | a list
        FINI_BRIDGE__FINI__MAX_IN_FLIGHT | fini.max_in_flight | is a text | a whole number
        FINI_BRIDGE__METRICS__LISTEN | metrics.listen | not an address | 0.0.0.0:9464
        FINI_BRIDGE__FINI__RATE | fini.rate | not one that it takes | \"none\"";
    assert_found("variables", expected, &found);
}

#[test]
fn a_secret_in_a_file_is_found_beside_the_configuration_without_its_line_end() {
    let config = written("[fini]\napi_key = \"file:key.txt\"\n");
    std::fs::write(config.path.with_file_name("key.txt"), "canary-key\n").unwrap();
    let loaded = read(&config.path, &[]).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.settings.fini.api_key.unwrap().expose(), "canary-key");
}

#[cfg(unix)]
#[test]
fn the_address_of_the_store_is_read_again_from_its_file() {
    let config = written("[store]\nurl = \"file:store-url\"\n[fini]\napi_key = \"env:FINI_API_KEY\"\n");
    let file = config.path.with_file_name("store-url");
    std::fs::write(&file, "postgres://bridge:before@db.example.com/bridge\n").unwrap();
    let url = read(&config.path, &[]).unwrap_or_else(|problems| panic!("{problems}")).settings.store_url();
    assert_eq!(url().expose(), "postgres://bridge:before@db.example.com/bridge");
    std::fs::write(&file, "postgres://bridge:after@db.example.com/bridge\n").unwrap();
    assert_eq!(url().expose(), "postgres://bridge:after@db.example.com/bridge");
    // In the moment in which it is written anew.
    std::fs::remove_file(&file).unwrap();
    assert_eq!(url().expose(), "postgres://bridge:before@db.example.com/bridge");
}

#[test]
fn a_secret_file_that_others_can_read_is_warned_about() {
    use std::os::unix::fs::PermissionsExt;
    let config = written("[fini]\napi_key = \"file:key.txt\"\n");
    let key = config.path.with_file_name("key.txt");
    std::fs::write(&key, "canary-key\n").unwrap();
    let warned = |mode| {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
        let loaded = read(&config.path, &[]).unwrap_or_else(|problems| panic!("{problems}"));
        loaded.warnings.iter().any(|warning| warning.key == "fini.api_key" && warning.instead.contains("chmod 600"))
    };
    assert!(warned(0o644));
    assert!(!warned(0o600));
}

#[test]
fn a_literal_secret_works_and_is_warned_about_without_being_told() {
    let loaded = read(&written("[fini]\napi_key = \"canary-literal\"\n").path, &[]).unwrap_or_else(|p| panic!("{p}"));
    assert_eq!(loaded.settings.fini.api_key.as_ref().unwrap().expose(), "canary-literal");
    let literal = loaded.warnings.iter().find(|warning| warning.key == "fini.api_key").expect("a warning");
    assert_eq!(literal.place.line(), Some(2));
    assert!(literal.instead.contains("env:NAME"));
    let shown = loaded.warnings.iter().map(ToString::to_string).collect::<String>() + &table(&loaded.settings);
    assert!(!shown.contains("canary"), "{shown}");
}

#[test]
fn nobody_is_warned_about_the_key_that_the_sandbox_prints() {
    let key = [("FINI_API_KEY", SimulatorConfig::KEY)];
    let loaded = read(&written(LEAST).path, &key).unwrap_or_else(|problems| panic!("{problems}"));
    let keys: Vec<&str> = loaded.warnings.iter().map(|warning| warning.key.as_str()).collect();
    assert_eq!(keys, ["channels"]);
}

#[test]
fn a_database_file_is_no_literal_secret_and_no_channels_are_worth_a_warning() {
    let text = format!("{LEAST}[store]\nurl = \"sqlite:other.db\"\n[server]\npublic_url = \"http://a.example/\"\n");
    let loaded = read(&written(&text).path, &[]).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.settings.server.public_url.as_deref(), Some("http://a.example"));
    let keys: Vec<&str> = loaded.warnings.iter().map(|warning| warning.key.as_str()).collect();
    assert_eq!(keys, ["channels", "server.public_url"]);
    assert!(table(&loaded.settings).contains("sqlite:other.db"));
}

#[test]
fn an_address_of_the_store_that_nothing_could_open_is_told_with_its_place_and_never_shown() {
    for (url, problem, instead) in [
        ("mysql://canary@db.example.com/bridge", "names no store", "\"sqlite:PATH\" or \"postgres://…\""),
        ("postgres://", "names no host", "postgres://USER"),
        ("postgresql:///bridge", "names no host", "postgres://USER"),
        ("postgres://u:canary@db.example.com/bridge?canary=1", "an option in it, can't be read", "postgres://USER"),
        ("postgres://u:7?canary@db.example.com/bridge", "can't be read", "%3F"),
        ("postgres://u:canary@db.example.com:port/bridge", "can't be read", "postgres://USER"),
        ("postgres://u:canary@db.example.com/bridge?sslmode=canary", "sslmode must be", "postgres://USER"),
    ] {
        let expected = format!("4 | store.url | {problem} | {instead}");
        assert_found(url, &expected, &problems(&format!("{LEAST}[store]\nurl = \"{url}\"\n"), &[]));
        let own = [("STORE_URL", url)];
        assert_found(url, &expected, &problems(&format!("{LEAST}[store]\nurl = \"env:STORE_URL\"\n"), &own));
    }
    let fine = "postgres://u:p%3F@db1,db2.example.com:5433/bridge?sslmode=verify-full&pgbouncer=true";
    assert_eq!(problems(&format!("{LEAST}[store]\nurl = \"{fine}\"\n"), &[]), []);
}

#[test]
fn a_missing_file_says_how_to_begin() {
    let Err(Problems(found)) = read(Path::new("config/absent.toml"), &[]) else { panic!("there is none") };
    assert_found("absent", "0 | | no such file | --config", &found);
    // What it shows can be taken as it stands.
    let shown = found[0].instead.lines().filter_map(|line| line.strip_prefix("        "));
    let begun = written(&shown.collect::<Vec<_>>().join("\n"));
    let loaded = read(&begun.path, &[]).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.connectors.len(), 1);
}

#[test]
fn a_channels_pace_is_its_own_or_the_platforms() {
    let channels = "[channels.quick]\nplatform = \"telegram\"\nbot_id = \"4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3\"\n\
        secret_token = \"env:TELEGRAM_SECRET_TOKEN\"\nbot_token = \"env:TELEGRAM_BOT_TOKEN\"\n\
        pace = \"1000/1s\"\npace_per_chat = \"none\"\n\
        [channels.usual]\nplatform = \"slack\"\nbot_id = \"4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3\"\n\
        signing_secret = \"env:SLACK_SIGNING_SECRET\"\nbot_token = \"env:SLACK_BOT_TOKEN\"\n";
    let text = format!("[server]\npublic_url = \"https://bridge.example.com\"\n{LEAST}{channels}");
    let loaded = read(&written(&text).path, &[]).unwrap_or_else(|problems| panic!("{problems}"));
    let shown = table(&loaded.settings);
    let row = |key: &str| {
        let rows = shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        rows.filter(|row| row[..].first() == Some(&key)).map(|row| row[1..].join(" ")).collect::<Vec<_>>()
    };
    assert_eq!(row("pace"), ["1000/1s line 10", "5/1s default"]);
    assert_eq!(row("pace_per_chat"), ["none line 11", "3/3s default"]);
    assert_eq!(row("rate"), ["none default"]);
    assert_eq!(row("connections"), ["8 default"]);
}
