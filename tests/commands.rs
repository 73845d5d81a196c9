//! The commands, as a person runs them: the real binary, a running gateway, the simulated Fini, a strict outside.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use base64::Engine;
use fini_bridge::app::sandbox::fini::{Change, Effect, Endpoint, FaultRule, Seed, Then};
use fini_bridge::domain::clock::{Clock, SystemClock};
use fini_bridge::store::MessageState;
use serde_json::Value;
use support::outside::Refusal;
use support::senders::{self, CHANNELS};
use support::{BOT, FINI_KEY, OTHER_BOT, SOON, World, eventually, run};

const DAY: u64 = 24 * 3600 * 1000;
const SHOP_SAMPLE: &str = r#"{"messages": [{"id": "{{ id }}", "text": "{{ text }}",
    "conversation": {"id": "{{ chat }}"}, "sender": {"type": "customer", "email": "zoe@example.com"}}]}"#;

/// How a command ended and what it said; nothing it says may hold a secret.
struct Said {
    code: i32,
    out: String,
    err: String,
}

fn said(output: Output) -> Said {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let said = Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) };
    let secrets = [
        FINI_KEY,
        senders::SLACK_SECRET,
        senders::SLACK_TOKEN,
        senders::TELEGRAM_SECRET,
        senders::TELEGRAM_TOKEN,
        senders::WHATSAPP_SECRET,
        senders::WHATSAPP_TOKEN,
        "meatyhamhock",
        senders::BRIDGE_SECRET,
        senders::SHOP_SECRET,
        "shop-token",
    ];
    for secret in secrets {
        assert!(!said.out.contains(secret) && !said.err.contains(secret), "{secret} in:\n{}\n{}", said.out, said.err);
    }
    said
}

impl Said {
    #[track_caller]
    fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}\n{}", self.out, self.err);
        self.out
    }

    #[track_caller]
    fn failed(self, code: i32) -> String {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self.err
    }
}

fn command(world: &World, arguments: &[&str]) -> Said {
    said(world.command(arguments))
}

/// All channels; the shop has a sample.
fn channels() -> String {
    CHANNELS.replace("[channels.shop.verify]", "sample = \"sample.json\"\n[channels.shop.verify]")
}

async fn prepared(channels: &str) -> World {
    let world = World::prepare(channels).await;
    std::fs::write(world.folder.path().join("sample.json"), SHOP_SAMPLE).unwrap();
    world
}

async fn started(channels: &str) -> World {
    let mut world = prepared(channels).await;
    world.serve().await;
    world
}

fn gateway(world: &World) -> String {
    format!("http://{}", world.process().address)
}

#[test]
fn every_command_explains_itself_with_examples() {
    let folder = tempfile::tempdir().unwrap();
    let commands = [
        "serve",
        "check",
        "send",
        "register",
        "agents",
        "export",
        "messages",
        "messages list",
        "messages show",
        "messages retry",
        "messages discard",
        "secret new",
        "schema",
    ];
    for command in commands {
        let arguments: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let help = said(run(&arguments, folder.path())).ok();
        assert!(help.contains("Examples:") && help.contains(&format!("fini-bridge {command}")), "{help}");
    }
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let wrong: [&[&str]; 6] = [
        &[],
        &["chek"],
        &["send", "slack"],
        &["messages", "show", "not-an-id"],
        &["export", "--since", "yesterday"],
        &["export", "--format", "xml"],
    ];
    for arguments in wrong {
        let err = said(run(arguments, folder.path())).failed(2);
        assert!(!err.is_empty(), "{arguments:?}");
    }
    let err = said(run(&["check"], folder.path())).failed(2);
    assert!(err.contains("config/fini-bridge.toml") && err.contains("--config"), "{err}");
}

#[test]
fn a_secret_is_32_random_bytes_in_hex_or_as_standard_webhooks_writes_it() {
    let folder = tempfile::tempdir().unwrap();
    let make = |arguments: &[&str]| said(run(arguments, folder.path())).ok().trim_end().to_owned();
    let plain = make(&["secret", "new"]);
    assert_eq!(hex::decode(&plain).unwrap().len(), 32);
    assert_ne!(plain, make(&["secret", "new"]));
    let standard = make(&["secret", "new", "--standard-webhooks"]);
    let key = base64::engine::general_purpose::STANDARD.decode(standard.strip_prefix("whsec_").unwrap()).unwrap();
    assert_eq!(key.len(), 32);
}

#[test]
fn the_schema_is_json_schema_and_knows_each_platforms_keys() {
    let folder = tempfile::tempdir().unwrap();
    let schema: Value = serde_json::from_str(&said(run(&["schema"], folder.path())).ok()).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let slack = &schema["$defs"]["channel-slack"]["properties"];
    for key in ["platform", "bot_id", "signing_secret", "bot_token", "enabled", "accept"] {
        assert!(slack[key].is_object(), "{key}: {slack}");
    }
    let channels = schema["properties"]["channels"].to_string();
    assert!(channels.contains("#/$defs/channel-slack"), "{channels}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_configuration_is_shown_as_a_table_with_its_secrets_masked() {
    let world = prepared(&channels()).await;
    let out = command(&world, &["check"]).ok();
    for shown in
        ["[server]", "[channels.slack]", "[channels.shop]", "***", BOT, "[samples]", "the configuration is good"]
    {
        assert!(out.contains(shown), "{shown} is not in:\n{out}");
    }
    assert_eq!(world.fini.ledger().calls.len(), 0, "nobody is asked without --live");
}

#[test]
fn each_wrong_configuration_ends_with_2_and_names_its_place() {
    let folder = Path::new("tests/data/config/wrong").canonicalize().unwrap();
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let arguments = ["check", "--config", path.to_str().unwrap()];
            let err = said(run(&arguments, &folder)).failed(2);
            assert!(err.contains(path.file_name().unwrap().to_str().unwrap()) && err.contains("problem"), "{err}");
            seen += 1;
        }
    }
    assert!(seen >= 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_that_fails_on_the_sample_is_a_wrong_configuration() {
    let world = prepared(&channels().replace("\"item.conversation.id\"", "\"item.room.id\"")).await;
    let err = command(&world, &["check"]).failed(2);
    let line = std::fs::read_to_string(world.config_path()).unwrap();
    let line = 1 + line.lines().position(|line| line.contains("item.room.id")).unwrap();
    assert!(err.contains(&format!("fini-bridge.toml:{line}: channels.shop.inbound.chat: ")), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn live_the_key_every_bot_id_and_every_platform_are_asked() {
    let world = prepared(&channels()).await;
    let out = command(&world, &["check", "--live"]).ok();
    let lines: Vec<&str> = out.lines().filter(|line| line.starts_with("ok ")).collect();
    assert_eq!(lines.len(), 2 + 3, "{out}");
    let not_asked: Vec<&str> = out.lines().filter(|line| line.starts_with("not asked ")).collect();
    assert!(not_asked.len() == 2 && not_asked.iter().any(|line| line.contains("channels.shop")), "{out}");
    assert!(out.contains("can't be asked without sending"), "{out}");
    assert!(out.contains("acme_help_bot"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn live_what_is_refused_is_named_and_ends_with_1() {
    let wrong_bots = channels().replacen(BOT, "00000000-0000-4000-8000-000000000001", 1).replace(
        "[channels.telegram]\n",
        "bots = [{ chat = \"C0BILLING\", bot_id = \"00000000-0000-4000-8000-000000000002\" }]\n[channels.telegram]\n",
    );
    let world = prepared(&wrong_bots).await;
    let refused = command(&world, &["check", "--live"]);
    let failed: Vec<&str> = refused.out.lines().filter(|line| line.starts_with("failed ")).collect();
    assert_eq!((refused.code, failed.len()), (1, 2), "{}", refused.out);
    assert!(failed[0].contains("channels.slack.bot_id") && failed[0].contains("000000000001"), "{failed:?}");
    assert!(failed[1].contains("channels.slack.bots[0].bot_id"), "{failed:?}");

    let wrong_token = channels().replace(senders::SLACK_TOKEN, "xoxb-another-token");
    world.configure(&wrong_token);
    let refused = command(&world, &["check", "--live"]);
    let failed: Vec<&str> = refused.out.lines().filter(|line| line.starts_with("failed ")).collect();
    assert_eq!((refused.code, failed.len()), (1, 1), "{}", refused.out);
    assert!(failed[0].contains("channels.slack"), "{failed:?}");

    world.fini.faults().add(FaultRule::status(Endpoint::Agents, 403));
    world.configure(&channels());
    let refused = command(&world, &["check", "--live"]);
    assert_eq!(refused.code, 1);
    assert!(refused.out.contains("403") && refused.out.contains("scope \"read\""), "{}", refused.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn live_a_channels_own_key_is_asked_for_its_own_agents() {
    let own = channels().replacen("[channels.telegram]\n", "fini_api_key = \"fini_unknown\"\n[channels.telegram]\n", 1);
    let world = prepared(&own).await;
    let refused = command(&world, &["check", "--live"]);
    assert_eq!(refused.code, 1);
    let failed: Vec<&str> = refused.out.lines().filter(|line| line.starts_with("failed ")).collect();
    assert_eq!(failed.len(), 1, "{}", refused.out);
    assert!(failed[0].contains("channels.slack.fini_api_key") && failed[0].contains("401"), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_goes_through_the_running_gateway_up_to_the_reply_on_every_platform() {
    let world = started(&channels()).await;
    for channel in ["slack", "telegram", "whatsapp", "bridge", "shop"] {
        let text = format!("hello from {channel}");
        let out = command(&world, &["send", channel, &text, "--url", &gateway(&world)]).ok();
        let steps = ["posted", "kept", "received", "asked agent", "answered: ", "part 1 (message) sent", "done"];
        let places: Vec<_> =
            steps.iter().map(|step| out.find(step).unwrap_or_else(|| panic!("{step}:\n{out}"))).collect();
        assert!(places.is_sorted(), "{out}");
        assert!(out.contains("| ") && out.contains(&text), "the reply is shown:\n{out}");
        assert_eq!(world.fini.ledger().stored(&text), 1, "{channel}");
    }
    assert_eq!(world.outside.violations(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_of_a_chat_comes_from_that_chat() {
    let world = started(&channels()).await;
    command(&world, &["send", "telegram", "hi", "--chat", "4711", "--url", &gateway(&world)]).ok();
    command(&world, &["send", "shop", "hi", "--chat", "a \"b\"", "--url", &gateway(&world)]).ok();
    assert_eq!(world.outside.texts("4711").len(), 1);
    assert_eq!(world.outside.texts("/shop/conversations/a%20%22b%22/messages").len(), 1);
    let err = command(&world, &["send", "telegram", "hi", "--chat", "x", "--url", &gateway(&world)]).failed(2);
    assert!(err.contains("number"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_that_fails_ends_with_1_and_its_reason() {
    let world = started(&channels()).await;
    world.fini.faults().add(FaultRule::status(Endpoint::Ask, 400));
    let failed = command(&world, &["send", "slack", "hi", "--url", &gateway(&world)]);
    assert_eq!(failed.code, 1);
    assert!(failed.err.contains("fini_400") && failed.err.contains("messages show"), "{}", failed.err);

    let url = gateway(&world);
    let other = channels().replace(senders::SLACK_SECRET, "another-signing-secret-000000000");
    world.configure(&other);
    let refused = command(&world, &["send", "slack", "hi", "--url", &url]).failed(1);
    assert!(refused.contains("401") && refused.contains("signature"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_gateway_send_says_how_to_get_one() {
    let world = prepared(&channels()).await;
    let err = command(&world, &["send", "slack", "hi", "--url", "http://127.0.0.1:1"]).failed(1);
    assert!(err.contains("no gateway") && err.contains("fini-bridge serve"), "{err}");
    let err = command(&world, &["send", "slack", "hi"]).failed(2);
    assert!(err.contains("--url"), "{err}");
    let err = command(&world, &["send", "slakc", "hi"]).failed(2);
    assert!(err.contains("did you mean slack?"), "{err}");
    world.configure(CHANNELS);
    let err = command(&world, &["send", "shop", "hi", "--url", "http://127.0.0.1:1"]).failed(2);
    assert!(err.contains("sample"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_prints_the_signed_request_without_tokens_and_sends_nothing() {
    let world = started(&channels()).await;
    for (channel, header) in [
        ("slack", "x-slack-signature: v0="),
        ("telegram", "x-telegram-bot-api-secret-token: ***"),
        ("whatsapp", "x-hub-signature-256: sha256="),
        ("bridge", "webhook-signature: v1,"),
        ("shop", "x-shop-signature: sha256="),
    ] {
        let out = command(&world, &["send", channel, "hi there", "--dry-run", "--url", &gateway(&world)]).ok();
        assert!(out.starts_with(&format!("POST {}/webhooks/{channel}\n", gateway(&world))), "{out}");
        assert!(out.contains(header) && out.contains("hi there"), "{out}");
    }
    assert_eq!(world.stories(&[]).await.len(), 0);
}

/// Runs `export` and reads the ids that came, in order.
fn exported(world: &World, arguments: &[&str]) -> Vec<String> {
    let out = command(world, &[&["export"], arguments].concat()).ok();
    out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned()).collect()
}

fn seed(world: &World, count: usize, text: &str, every_ms: u64) {
    world.fini.change(Change { seed: Some(Seed { count, text: text.to_owned(), every_ms }), ..Change::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_over_two_windows_with_throttling_in_the_middle_has_each_conversation_once() {
    let world = prepared(CHANNELS).await;
    seed(&world, 250, "Where is my order?", 120 * DAY / 250);
    let throttled = Then::Status { status: 429, retry_after: Some(1) };
    world.fini.faults().add(FaultRule::at(Endpoint::List, Effect::Nothing, throttled).skipping(2).times(1));
    let since = days_ago(130);
    let ids = exported(&world, &["--since", &since]);
    assert_eq!(ids.len(), 250);
    let expected: BTreeSet<String> =
        world.fini.ledger().conversations.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.into_iter().collect::<BTreeSet<_>>(), expected);
    let calls = world.fini.ledger().calls;
    assert!(calls.iter().any(|call| call.status == Some(429)));

    // The last seven days, where nothing is said.
    let week = exported(&world, &[]).len();
    assert!((14..=15).contains(&week), "{week}");
    assert_eq!(exported(&world, &["--since", &since, "--channel", "slack"]).len(), 0);
    assert_eq!(exported(&world, &["--since", &since, "--agent", OTHER_BOT]).len(), 0);
    assert_eq!(exported(&world, &["--since", &since, "--agent", BOT, "--source", "api,widget"]).len(), 250);
    let err = command(&world, &["export", "--since", "2999-01-01"]).failed(2);
    assert!(err.contains("--since"), "{err}");
}

fn days_ago(days: u64) -> String {
    SystemClock.now().minus(Duration::from_secs(days * 24 * 3600)).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_the_export_is_the_conversation_as_fini_has_it() {
    let world = prepared(CHANNELS).await;
    seed(&world, 1, "Grüße, \"quoted\"\nand a line", 0);
    let out = command(&world, &["export"]).ok();
    let line: Value = serde_json::from_str(out.trim_end()).unwrap();
    let mut expected = world.fini.ledger().conversations[0].clone();
    for beside in ["agentId", "workspace", "vanished"] {
        expected.as_object_mut().unwrap().remove(beside);
    }
    assert_eq!(line, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_csv_export_has_a_row_for_each_conversation_and_its_file_appears_only_when_it_is_complete() {
    let world = prepared(CHANNELS).await;
    seed(&world, 150, "=HYPERLINK(\"http://evil\")", 60_000);
    let path = world.folder.path().join("out.csv");
    let arguments = ["export", "--format", "csv", "--out", path.to_str().unwrap()];
    world.fini.faults().add(FaultRule::status(Endpoint::List, 401).skipping(1));
    let err = command(&world, &arguments).failed(1);
    assert!(err.contains("401"), "{err}");
    assert!(!path.exists() && !world.folder.path().join("out.csv.part").exists());

    world.fini.faults().clear();
    assert_eq!(command(&world, &arguments).ok(), "");
    assert!(!world.folder.path().join("out.csv.part").exists());
    let mut reader = csv::Reader::from_path(&path).unwrap();
    let headers: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let column = |name: &str| headers.iter().position(|header| header == name).unwrap();
    let (id, created, preview) = (column("id"), column("createdAt"), column("subjectPreview"));
    let (messages, events) = (column("messages"), column("events"));
    let mut ids = BTreeSet::new();
    for row in reader.records() {
        let row = row.unwrap();
        ids.insert(row[id].to_owned());
        row[created].parse::<jiff::Timestamp>().unwrap();
        assert_eq!(&row[messages], "2");
        let events: Value = serde_json::from_str(&row[events]).unwrap();
        assert_eq!(events[0]["message"], "=HYPERLINK(\"http://evil\")");
        assert!(row[preview].is_empty() || row[preview].starts_with("'="), "{}", &row[preview]);
        assert!(row.iter().all(|cell| !cell.starts_with(['=', '+', '-', '@'])));
    }
    assert_eq!(ids.len(), 150);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_takes_no_file_that_somebody_else_made() {
    let world = prepared(CHANNELS).await;
    seed(&world, 3, "a secret", 60_000);
    let folder = world.folder.path();
    let (out, elsewhere) = (folder.join("out.csv"), folder.join("elsewhere"));
    let arguments = ["export", "--format", "csv", "--out", out.to_str().unwrap()];
    let part = folder.join("out.csv.part");
    std::fs::write(&part, "somebody's").unwrap();
    let err = command(&world, &arguments).failed(1);
    assert!(err.contains("out.csv.part exists already") && err.contains("Remove it"), "{err}");
    assert_eq!(std::fs::read_to_string(&part).unwrap(), "somebody's");

    std::fs::remove_file(&part).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &part).unwrap();
    command(&world, &arguments).failed(1);
    assert!(!elsewhere.exists(), "a link is not followed");

    std::fs::remove_file(&part).unwrap();
    command(&world, &arguments).ok();
    assert_eq!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_reader_has_gone_ends_quietly() {
    let world = started(&format!("[server]\npublic_url = \"https://bridge.example.com\"\n{}", channels())).await;
    world.deliver("slack", senders::slack_message("D1", 1, "hello")).await;
    world.until(1, MessageState::Done).await;
    let chatty: [&[&str]; 11] = [
        &["schema"],
        &["secret", "new"],
        &["check"],
        &["check", "--live"],
        &["agents"],
        &["export"],
        &["send", "slack", "hello", "--dry-run", "--url", "http://127.0.0.1:1"],
        &["register", "slack"],
        &["messages", "list", "--state", "all"],
        &["messages", "list", "--state", "all", "--json"],
        &["health", "--url", &format!("{}/readyz", gateway(&world))],
    ];
    for arguments in chatty {
        // A pipe that nobody reads, from the first byte on.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_fini-bridge"));
        command.args(arguments).current_dir(world.folder.path());
        if !matches!(arguments[0], "schema" | "secret") {
            command.arg("--config").arg(world.config_path());
        }
        let output = command.stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        let without_warnings: Vec<&str> =
            err.lines().filter(|line| !line.starts_with("warning: ") && !line.starts_with(' ')).collect();
        assert_eq!((output.status.code(), without_warnings), (Some(141), vec![]), "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_more_conversations_needs_no_more_memory() {
    let world = prepared(CHANNELS).await;
    let text = "x".repeat(20_000);
    let peak = |count: usize| {
        seed(&world, count, &text, 1000);
        let mut child = Command::new(env!("CARGO_BIN_EXE_fini-bridge"))
            .args(["export", "--config", world.config_path().to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut peak = 0_u64;
        while child.try_wait().unwrap().is_none() {
            let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
            let high = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let high = high.and_then(|high| high.trim().trim_end_matches(" kB").parse().ok());
            peak = peak.max(high.unwrap_or(0));
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(child.wait().unwrap().success());
        peak
    };
    let few = peak(300);
    let many = peak(1200);
    // 900 more conversations of at least 40 kB.
    assert!(few > 0 && many < few + 16 * 1024, "{few} kB for 300, {many} kB for 1500");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_message_is_listed_shown_and_tried_again_beside_the_running_gateway() {
    let world = started(&channels()).await;
    assert!(command(&world, &["messages", "list"]).ok().is_empty());
    world.fini.faults().add(FaultRule::status(Endpoint::Ask, 400).times(1));
    world.deliver("slack", senders::slack_message("D1", 1, "a poisoned\u{1b}[2J question")).await;
    let id = world.until(1, MessageState::Failed).await[0].id.to_string();
    world.deliver("telegram", senders::telegram_message(7, 1, "a good question")).await;
    world.until(1, MessageState::Done).await;

    let listed = command(&world, &["messages", "list"]).ok();
    assert!(listed.contains(&id) && listed.contains("failed: fini_400"), "{listed}");
    assert_eq!(listed.lines().count(), 2, "only what needs a person:\n{listed}");
    assert!(!listed.contains("poisoned"), "{listed}");
    assert!(command(&world, &["messages", "list", "--state", "held,stuck"]).ok().is_empty());
    assert!(command(&world, &["messages", "list", "--channel", "telegram"]).ok().is_empty());
    let json = |arguments: &[&str]| -> Vec<Value> {
        let out = command(&world, &[&["messages", "list", "--json"], arguments].concat()).ok();
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    assert_eq!(json(&["--state", "all"]).len(), 2);
    let of_7 = json(&["--state", "all", "--chat", "7", "--since", "1h"]);
    assert_eq!((of_7.len(), &of_7[0]["channel"], &of_7[0]["chat"]), (1, &"telegram".into(), &"7".into()));
    assert_eq!(json(&["--state", "done", "--since", "2100-01-01"]).len(), 0);
    let failed = json(&["--state", "failed"]).remove(0);
    for name in ["id", "channel", "chat", "chat_ref", "state", "reason", "detail", "received_at"] {
        assert!(failed[name].is_string(), "{name}: {failed}");
    }
    assert!(listed.contains(failed["chat"].as_str().unwrap()), "{listed}");
    let one = command(&world, &["messages", "list", "--state", "all", "--limit", "1"]);
    assert!(one.out.lines().count() == 2 && one.err.contains("--limit"), "{}", one.out);

    let shown = command(&world, &["messages", "show", &id]).ok();
    let steps = ["received, verified with channels.slack.signing_secret", "stored", "waits", "failed: fini_400"];
    for part in steps {
        assert!(shown.contains(part), "{part:?} is not in:\n{shown}");
    }
    for part in ["channel       slack", "failed: fini_400", "received", "| a poisoned\u{fffd}[2J question"] {
        assert!(shown.contains(part), "{part:?} is not in:\n{shown}");
    }
    let json: Value = serde_json::from_str(&command(&world, &["messages", "show", &id, "--json"]).ok()).unwrap();
    assert_eq!((json["id"].as_str(), json["state"].as_str()), (Some(id.as_str()), Some("failed")));

    let again = command(&world, &["messages", "retry", &id]).ok();
    assert!(again.contains("waits for its turn again"), "{again}");
    world.until(2, MessageState::Done).await;
    assert_eq!(world.outside.texts("\"D1\"").len(), 1);
    let shown = command(&world, &["messages", "show", &id]).ok();
    assert!(shown.contains("part 1 (message) sent") && shown.contains(BOT), "{shown}");
    assert!(shown.contains("failed: fini_400") && shown.contains("tried again by a person"), "{shown}");
    let json: Value = serde_json::from_str(&command(&world, &["messages", "show", &id, "--json"]).ok()).unwrap();
    let steps: Vec<&str> =
        json["timeline"].as_array().unwrap().iter().map(|entry| entry["step"].as_str().unwrap()).collect();
    let expected =
        ["received", "stored", "waiting", "asked", "failed", "retried", "waiting", "asked", "answered", "part_sent"];
    assert_eq!(steps.iter().filter(|step| **step != "part_retried").copied().collect::<Vec<_>>(), expected, "{json:#}");

    let twice = command(&world, &["messages", "retry", &id]);
    assert!(twice.code == 1 && twice.err.contains("not tried again"), "{}", twice.err);
    let late = command(&world, &["messages", "discard", &id]);
    assert!(late.code == 1 && late.err.contains("it is done"), "{}", late.err);
    let nobody = "00000000-0000-7000-8000-000000000000";
    assert!(command(&world, &["messages", "show", nobody]).failed(1).contains("no such message"));
    assert!(command(&world, &["messages", "retry", nobody]).failed(1).contains("no such message"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_refused_token_is_told_at_once_with_all_that_is_behind_it() {
    let world = started(&channels()).await;
    let path = "/conversations".to_owned();
    let body = serde_json::json!({ "error": "token revoked" });
    world.outside.refuse(Refusal { path, times: 1000, status: 401, headers: vec![], body, delivered: false });
    let chats = ["ticket-1", "ticket-2", "ticket-3"];
    for (number, chat) in chats.iter().enumerate() {
        let message = senders::shop_message(&serde_json::json!(chat), &format!("m-{number}"), "hello");
        world.deliver("shop", message).await;
    }
    world.until(chats.len(), MessageState::Answered).await;
    eventually("they are told of", SOON, async || {
        let listed = command(&world, &["messages", "list"]);
        assert!(listed.out.is_empty(), "nothing has failed: {}", listed.out);
        listed.err.contains("3 more wait (http_401): --state received,asking,answered").then_some(())
    })
    .await;
    let listed = command(&world, &["messages", "list", "--state", "answered"]).ok();
    let states = listed.lines().skip(1).map(|line| line.contains(", not delivered yet") || line.contains("http_401"));
    assert_eq!(states.collect::<Vec<_>>(), [true; 3], "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_platform_said_when_it_refused_is_shown_and_in_no_log() {
    let world = started(&channels()).await;
    let refuse = |status, times, words: &str| {
        let body = serde_json::json!({ "error": format!("{words}: the ticket 812\u{1b}[2J is closed") });
        let path = "/conversations".to_owned();
        world.outside.refuse(Refusal { path, times, status, headers: vec![], body, delivered: false });
    };
    refuse(422, 1, "for good");
    let chat = serde_json::json!("ticket-812");
    world.deliver("shop", senders::shop_message(&chat, "m-1", "hello")).await;
    let failed = world.until(1, MessageState::Failed).await.remove(0);
    let id = failed.id.to_string();
    let shown = command(&world, &["messages", "show", &id]).ok();
    for part in ["ticket-812", "failed: http_422", "for good: the ticket 812"] {
        assert!(shown.contains(part), "{part:?} is not in:\n{shown}");
    }
    assert!(command(&world, &["messages", "list", "--chat", "ticket-812"]).ok().contains("for good: the ticket"));
    assert!(command(&world, &["messages", "discard", &id]).ok().contains("discarded"));
    assert!(command(&world, &["messages", "list"]).ok().is_empty());

    refuse(503, 1000, "for now");
    world.deliver("shop", senders::shop_message(&chat, "m-2", "again")).await;
    let listed = || command(&world, &["messages", "list", "--state", "answered", "--json"]).ok();
    let line = eventually("it waits for another try", SOON, async || {
        let line: Value = serde_json::from_str(listed().lines().next()?).unwrap();
        (line["reason"] == "http_503").then_some(line)
    });
    assert!(line.await["detail"].as_str().unwrap().contains("for now: the ticket 812"));
    let listed = command(&world, &["messages", "list"]);
    let hint = "1 more waits (http_503): --state received,asking,answered";
    assert!(listed.out.is_empty() && listed.err.contains(hint), "{}{}", listed.out, listed.err);
    assert!(!world.log().contains("the ticket") && !world.admin("/metrics").await.contains("the ticket"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhook_is_set_where_the_platform_has_a_call_for_it_and_explained_where_it_has_none() {
    let public = format!("[server]\npublic_url = \"https://bridge.example.com\"\n{}", channels());
    let world = prepared(&public).await;
    let out = command(&world, &["register", "telegram"]).ok();
    assert!(out.contains("https://bridge.example.com/webhooks/telegram"), "{out}");
    let call = world.outside.other().into_iter().find(|call| call.path.ends_with("/setWebhook")).unwrap();
    assert_eq!(call.body["url"], "https://bridge.example.com/webhooks/telegram");
    assert_eq!(call.body["secret_token"], senders::TELEGRAM_SECRET);

    let out = command(&world, &["register", "whatsapp"]).ok();
    assert!(out.contains("https://bridge.example.com/webhooks/whatsapp"), "{out}");
    let call = world.outside.other().into_iter().find(|call| call.path.ends_with("/subscribed_apps")).unwrap();
    assert_eq!(call.body["override_callback_uri"], "https://bridge.example.com/webhooks/whatsapp");

    let steps = command(&world, &["register", "slack"]).ok();
    assert!(steps.contains(" 1. ") && steps.contains("https://bridge.example.com/webhooks/slack"), "{steps}");

    world.configure(&channels());
    let err = command(&world, &["register", "telegram"]).failed(2);
    assert!(err.contains("server.public_url"), "{err}");
    world.configure(&public.replace(senders::TELEGRAM_TOKEN, "6111111111:AAanothertokenanothertokenanothertok"));
    let err = command(&world, &["register", "telegram"]).failed(1);
    assert!(!err.contains("AAanother"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_are_listed_with_their_bot_ids() {
    let world = prepared(CHANNELS).await;
    let out = command(&world, &["agents"]).ok();
    assert!(out.contains(&format!("{BOT}  Support")) && out.contains(&format!("{OTHER_BOT}  Billing")), "{out}");
    let json: Value = serde_json::from_str(&command(&world, &["agents", "--json"]).ok()).unwrap();
    assert!(json.as_array().unwrap().iter().any(|agent| agent["id"] == BOT && agent["name"] == "Support"));
    world.fini.faults().add(FaultRule::status(Endpoint::Agents, 401));
    let err = command(&world, &["agents"]).failed(1);
    assert!(err.contains("fini.api_key") && err.contains("401"), "{err}");
}
