//! The contract of every platform, from fixtures and vectors, against a strict stub of its server.
//! A platform is one [`Case`]; one without a case fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

mod custom;
mod recorded;
mod refusals;
mod slack;
mod stub;
mod telegram;
mod whatsapp;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fini_bridge::domain::clock::{ManualClock, Timestamp};
use fini_bridge::domain::id::{DeliveryKey, PartId};
use fini_bridge::domain::message::{Address, Part, Receipt, Reply, ReplyKind, Role};
use fini_bridge::http::Http;
use fini_bridge::platform::{
    self, Common, Config, Delivery, Event, Idempotency, Parsed, Platform, Rendering, SampleOf, SendError, SendFailure,
    Surroundings,
};
use fini_bridge::signature::{RawWebhook, Refused, Verified};
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use stub::{Answer, Request, Stub};

/// When the fixtures arrive, in Unix seconds.
pub const NOW: i64 = 1_791_000_100;

pub type Sign = fn(secret: &str, at: i64, body: &[u8]) -> Vec<(&'static str, String)>;

/// What the suite must know of a platform.
pub struct Case {
    /// The platform's word.
    pub name: &'static str,
    /// Its folder of fixtures and its file of vectors.
    pub files: &'static str,
    pub vectors: &'static str,
    /// A channel whose webhooks are signed with one of these secrets, for the platform's server there.
    pub config: fn(secrets: &[&str], server: &str) -> Config,
    pub secret: &'static str,
    /// Of the same form, and not the channel's.
    pub another_secret: &'static str,
    /// The headers of a genuine webhook.
    pub sign: Sign,
    pub signature_header: &'static str,
    /// `false`: a token, which says nothing of the body.
    pub covers_body: bool,
    /// In seconds, where the time is signed.
    pub tolerance: Option<i64>,
    /// By the fixture's name without the extension: what it parses to (see [`shown`]).
    pub fixtures: fn() -> Value,
    /// Fixtures with what the bot or the business wrote itself.
    pub own: &'static [&'static str],
    /// Where replies go.
    pub address: fn() -> Address,
    /// The platform's server: success, or what is wrong with the request.
    pub server: fn(&Request) -> Result<Value, String>,
    pub receipt: Option<&'static str>,
    pub idempotency: Idempotency,
    /// The longest part it may be sent.
    pub max_units: Option<usize>,
    /// What it is told beside messages.
    pub told: &'static [ReplyKind],
    /// Whether there is a call that shows what a credential is worth.
    pub credentials_call: bool,
    /// What a success that the platform never answers with means.
    pub nonsense: fn(&Result<Receipt, SendError>) -> bool,
    pub throttled: fn() -> (Answer, Duration),
    pub token_refused: fn() -> Answer,
    pub final_error: fn() -> Answer,
    /// Must never be seen in an error.
    pub token: &'static str,
}

fn case(name: &str) -> Case {
    match name {
        "custom" => custom::described(),
        "slack" => slack::case(),
        "telegram" => telegram::case(),
        "whatsapp" => whatsapp::case(),
        other => panic!("{other} has no case: write one, with fixtures and vectors"),
    }
}

/// Those that have one; [`every_platform_has_a_case_with_fixtures`] sees to the rest.
fn cases() -> Vec<Case> {
    vec![slack::case(), telegram::case(), whatsapp::case(), custom::described(), custom::own_protocol()]
}

fn folder(kind: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(kind)
}

impl Case {
    pub fn connector(&self, secrets: &[&str], api_base: &str) -> Arc<dyn Platform> {
        let around = Surroundings {
            http: Http::new(&Default::default()).unwrap(),
            clock: Arc::new(ManualClock::at(Timestamp::from_secs(NOW))),
        };
        let config = (self.config)(secrets, api_base);
        // A custom channel's addresses stand in its own keys.
        let api_base = (!matches!(config, Config::Custom(_))).then(|| api_base.to_owned());
        platform::build(&config, &Common { api_base, ..Common::default() }, &around)
            .unwrap_or_else(|problems| panic!("{}: {problems:?}", self.name))
    }

    /// One that is never asked to go out.
    pub fn offline(&self) -> Arc<dyn Platform> {
        self.connector(&[self.secret], "http://127.0.0.1:9")
    }

    pub fn signed(&self, body: &[u8], content_type: &str) -> RawWebhook {
        self.signed_at(NOW, body, content_type)
    }

    fn signed_at(&self, at: i64, body: &[u8], content_type: &str) -> RawWebhook {
        let mut headers = headers((self.sign)(self.secret, at, body).into_iter());
        headers.insert("content-type", HeaderValue::from_str(content_type).unwrap());
        RawWebhook {
            method: Method::POST,
            url: "https://bridge.example.com/webhooks/it".to_owned(),
            rest: String::new(),
            headers,
            query: Vec::new(),
            body: Bytes::copy_from_slice(body),
        }
    }

    pub fn believed(&self, connector: &dyn Platform, body: &[u8], content_type: &str) -> Verified {
        connector.verify(self.signed(body, content_type), now()).unwrap()
    }

    /// Name, body, content type.
    fn files(&self) -> BTreeMap<String, (Vec<u8>, String)> {
        std::fs::read_dir(folder("fixtures").join(self.files))
            .unwrap()
            .map(|file| {
                let path = file.unwrap().path();
                let bytes = std::fs::read(&path).unwrap();
                let form = serde_json::from_slice::<Value>(&bytes).ok().filter(|it| it.get("raw").is_some());
                let it = match form {
                    Some(form) => (
                        form["raw"].as_str().unwrap().as_bytes().to_vec(),
                        form["content_type"].as_str().unwrap().to_owned(),
                    ),
                    None => (bytes, "application/json".to_owned()),
                };
                (path.file_stem().unwrap().to_str().unwrap().to_owned(), it)
            })
            .collect()
    }

    pub fn fixture(&self, name: &str) -> Vec<u8> {
        self.files().remove(name).unwrap().0
    }

    pub fn parse(&self, connector: &dyn Platform, body: &[u8]) -> Value {
        shown(connector.parse(&self.believed(connector, body, "application/json")))
    }
}

/// Somebody answered 200 with what the platform never says: taken, perhaps.
pub fn perhaps_taken(sent: &Result<Receipt, SendError>) -> bool {
    matches!(sent, Err(SendError::Unknown { .. }))
}

pub fn now() -> Timestamp {
    Timestamp::from_secs(NOW)
}

fn headers<N: AsRef<str>, V: AsRef<str>>(pairs: impl Iterator<Item = (N, V)>) -> HeaderMap {
    pairs
        .map(|(name, value)| {
            (HeaderName::from_bytes(name.as_ref().as_bytes()).unwrap(), HeaderValue::from_str(value.as_ref()).unwrap())
        })
        .collect()
}

/// A verdict in a form that can be written down. What every message must be is asserted on the way.
pub fn shown(parsed: Result<Parsed, platform::Malformed>) -> Value {
    match parsed {
        Err(malformed) => json!({ "malformed": malformed.detail }),
        Ok(Parsed::Answer(answer)) => json!({ "answer": answer.body, "status": answer.status }),
        Ok(Parsed::Events(events)) => events.into_iter().map(event).collect(),
        Ok(Parsed::Rejected(rejected)) => json!({ "rejected": rejected.detail, "field": rejected.field }),
    }
}

fn event(event: Event) -> Value {
    match event {
        Event::Ignored(word) => json!({ "ignored": word }),
        Event::Malformed(malformed) => match malformed.delivery_key {
            None => json!({ "malformed": malformed.detail }),
            Some(key) => json!({ "malformed": malformed.detail, "key": key }),
        },
        Event::Moved(moved) => json!({ "moved": moved.from, "to": moved.to, "address": moved.address }),
        Event::Report(report) => json!({ "report": format!("{report:?}") }),
        Event::Unreadable(word, message) => {
            assert!(message.text.is_empty(), "{word}");
            let mut shown = self::event(Event::Message(message));
            shown["unreadable"] = json!(word);
            shown.as_object_mut().unwrap().remove("text");
            shown
        }
        Event::Message(message) => {
            assert!(!message.delivery_key.as_str().is_empty() && !message.chat.as_str().is_empty());
            let mut shown = json!({
                "key": message.delivery_key,
                "chat": message.chat,
                "room": message.room,
                "account": message.account,
                "sender": message.sender,
                "shared": message.shared,
                "addressed": format!("{:?}", message.addressed),
                "text": message.text,
                "address": message.address,
                "sent_at": message.sent_at.map(Timestamp::as_millis),
                "unordered": message.unordered,
            });
            // Nothing personal goes along unasked: what is not expected here fails its fixture.
            if !message.user_attributes.is_empty() {
                shown["user_attributes"] = Value::Object(message.user_attributes);
            }
            if let Some(more_within) = message.more_within {
                shown["more_within"] = json!(more_within.as_millis() as u64);
            }
            if message.role != Role::User {
                shown["role"] = json!(message.role);
            }
            if let Some(bot_id) = message.bot_id {
                shown["bot_id"] = json!(bot_id);
            }
            shown
        }
    }
}

fn says_something(parsed: &Value) -> bool {
    parsed.as_array().is_some_and(|events| events.iter().any(|event| event.get("text").is_some()))
}

pub fn message(text: &str) -> Reply {
    Reply { kind: ReplyKind::Message, text: text.to_owned(), event: Value::Null }
}

/// Renders and sends the first part.
pub async fn send(case: &Case, connector: &dyn Platform, text: &str) -> Result<Receipt, SendError> {
    send_to(connector, &(case.address)(), text).await
}

pub async fn send_to(connector: &dyn Platform, address: &Address, text: &str) -> Result<Receipt, SendError> {
    let parts = connector.render(&message(text), &Rendering { address, in_reply_to: &[] }).unwrap();
    send_part(connector, address, &parts[0]).await.map_err(SendError::from)
}

async fn send_part(connector: &dyn Platform, address: &Address, part: &Part) -> Result<Receipt, SendFailure> {
    connector.send(Delivery { id: PartId::generate(), address, part }).await
}

/// The platform itself, strict.
pub fn strict(server: fn(&Request) -> Result<Value, String>) -> Stub {
    Stub::answering(move |request| match server(request) {
        Ok(answer) => Answer::json(200, answer),
        Err(why) => Answer::json(400, json!({ "not_what_the_platform_takes": why })),
    })
}

pub fn always(answer: Answer) -> Stub {
    Stub::answering(move |_| answer.clone())
}

pub fn expect(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

#[test]
fn every_platform_has_a_case_with_fixtures() {
    for name in platform::NAMES {
        let case = case(name);
        assert_eq!(case.name, name);
        assert_eq!(case.offline().name(), name);
        assert!(!case.files().is_empty(), "{name} has no fixtures");
        assert!(cases().iter().any(|case| case.name == name), "{name} is missing in cases()");
    }
}

#[test]
fn every_vector_is_judged_right() {
    for case in cases() {
        let file = folder("vectors").join(format!("{}.json", case.vectors));
        let vectors: Vec<Value> = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        for vector in vectors {
            let text = |key: &str| vector[key].as_str().unwrap_or_default();
            let what = format!("{} {}: {}", case.name, text("name"), text("note"));
            let connector = case.connector(&[text("secret")], "http://127.0.0.1:9");
            let pairs = vector["headers"].as_object().unwrap().iter();
            let url = url::Url::parse(if text("url").is_empty() { "https://a.example/" } else { text("url") }).unwrap();
            let raw = RawWebhook {
                method: text("method").parse().unwrap(),
                url: text("url").to_owned(),
                rest: String::new(),
                headers: headers(pairs.map(|(name, value)| (name, value.as_str().unwrap()))),
                query: url.query_pairs().into_owned().collect(),
                body: Bytes::copy_from_slice(text("body").as_bytes()),
            };
            if text("kind") == "handshake" {
                let answer = connector.handshake(&raw).expect(&what);
                assert_eq!(json!(answer.status), vector["expect_status"], "{what}");
                assert_eq!(answer.body, text("expect_body"), "{what}");
                continue;
            }
            assert!(connector.handshake(&raw).is_none(), "{what}");
            let at = Timestamp::from_secs(vector["now"].as_i64().unwrap_or(NOW));
            let genuine = connector.verify(raw, at).is_ok();
            assert!(genuine == (vector["valid"] == true) || vector["lenient_ok"] == true, "{what}");
        }
    }
}

#[test]
fn only_a_webhook_as_it_was_signed_is_believed() {
    for case in cases() {
        let connector = case.offline();
        for (name, (body, kind)) in case.files() {
            let what = format!("{} {name}", case.name);
            let judge = |raw: RawWebhook| connector.verify(raw, now()).map(|_| ());
            let genuine = case.signed(&body, &kind);
            assert_eq!(judge(genuine.clone()), Ok(()), "{what}");
            // What the head tells is told before the body is read.
            let by_head =
                |raw: &RawWebhook| connector.precheck(&RawWebhook { body: Bytes::new(), ..raw.clone() }, now());
            assert_eq!(by_head(&genuine), Ok(()), "{what}");

            let mut missing = genuine.clone();
            missing.headers.remove(case.signature_header);
            assert_eq!(by_head(&missing), Err(Refused::Missing), "{what}");
            assert_eq!(judge(missing), Err(Refused::Missing), "{what}");

            let mut doubled = genuine.clone();
            let value = doubled.headers[case.signature_header].clone();
            doubled.headers.append(case.signature_header, value);
            assert_eq!(by_head(&doubled), Err(Refused::Missing), "{what}: a signature that comes twice");
            assert_eq!(judge(doubled), Err(Refused::Missing), "{what}: a signature that comes twice");

            let mut other = genuine.clone();
            for (header, value) in (case.sign)(case.another_secret, NOW, &body) {
                other.headers.insert(header, HeaderValue::from_str(&value).unwrap());
            }
            assert_eq!(judge(other), Err(Refused::Wrong), "{what}: another secret");

            let mut changed = genuine;
            changed.body = [&body[..], b" "].concat().into();
            assert_eq!(judge(changed).is_err(), case.covers_body, "{what}: a changed body");
        }
    }
}

#[test]
fn both_secrets_are_good_during_a_rotation() {
    for case in cases() {
        let connector = case.connector(&[case.another_secret, case.secret], "http://127.0.0.1:9");
        let (body, kind) = case.files().into_values().next().unwrap();
        assert!(connector.verify(case.signed(&body, &kind), now()).is_ok(), "{}", case.name);
    }
}

#[test]
fn a_time_beyond_the_tolerance_is_refused_past_and_future() {
    for case in cases() {
        let Some(tolerance) = case.tolerance else { continue };
        let connector = case.offline();
        let judge = |at| connector.verify(case.signed_at(at, b"{}", "application/json"), now()).map(|_| ());
        assert_eq!(judge(NOW - tolerance), Ok(()), "{}", case.name);
        assert_eq!(judge(NOW + tolerance), Ok(()), "{}", case.name);
        assert_eq!(judge(NOW - tolerance - 1), Err(Refused::Stale), "{}", case.name);
        assert_eq!(judge(NOW + tolerance + 1), Err(Refused::Stale), "{}", case.name);
    }
}

#[tokio::test]
async fn each_fixture_means_exactly_this() {
    for case in cases() {
        let stub = strict(case.server);
        let connector = case.connector(&[case.secret], &stub.url);
        connector.prepare().await;
        let expected = (case.fixtures)();
        let files = case.files();
        let names: Vec<_> = expected.as_object().unwrap().keys().collect();
        assert!(files.keys().eq(names), "{}: fixtures and expectations differ", case.name);
        for (name, (body, kind)) in files {
            let webhook = case.believed(&*connector, &body, &kind);
            let parsed = shown(connector.parse(&webhook));
            assert_eq!(parsed, expected[&name], "{} {name}", case.name);
            // Delivered again, it is the same.
            assert_eq!(shown(connector.parse(&webhook)), parsed, "{} {name}", case.name);
        }
    }
}

#[test]
fn what_the_bot_wrote_itself_is_never_a_message() {
    for case in cases() {
        let connector = case.offline();
        for name in case.own {
            let parsed = case.parse(&*connector, &case.fixture(name));
            assert!(!says_something(&parsed), "{} {name}: {parsed}", case.name);
        }
    }
}

#[test]
fn a_webhook_cut_off_anywhere_is_no_message_and_no_panic() {
    for case in cases() {
        let connector = case.offline();
        for (name, (body, kind)) in case.files() {
            for end in 0..body.trim_ascii_end().len() {
                let parsed = shown(connector.parse(&case.believed(&*connector, &body[..end], &kind)));
                assert!(!says_something(&parsed), "{} {name} up to {end}", case.name);
            }
        }
    }
}

#[test]
fn a_value_of_the_wrong_type_anywhere_is_no_panic_and_never_an_empty_chat() {
    fn paths(value: &Value, at: String, all: &mut Vec<String>) {
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| paths(value, format!("{at}/{key}"), all)),
            Value::Array(list) => list.iter().enumerate().for_each(|(i, value)| paths(value, format!("{at}/{i}"), all)),
            _ => {}
        }
        all.push(at);
    }
    let others =
        [json!(null), json!(7), json!(-1.5), json!("x"), json!(""), json!([]), json!([{}]), json!({}), json!(true)];
    for case in cases() {
        let connector = case.offline();
        for (body, _) in case.files().into_values() {
            let Ok(genuine) = serde_json::from_slice::<Value>(&body) else { continue };
            let mut all = Vec::new();
            paths(&genuine, String::new(), &mut all);
            for path in all {
                for other in &others {
                    let mut changed = genuine.clone();
                    *changed.pointer_mut(&path).unwrap() = other.clone();
                    // `shown` looks at what comes of it.
                    case.parse(&*connector, changed.to_string().as_bytes());
                }
            }
        }
    }
}

#[test]
fn a_sample_is_a_genuine_webhook_with_that_text() {
    for case in cases() {
        let connector = case.offline();
        let of =
            SampleOf { text: "Is it <open> & free? ü", chat: None, id: "s-1", url: "https://a.example/webhooks/it" };
        let sample = connector.sample(&of, now()).unwrap();
        let raw = RawWebhook {
            method: sample.method,
            url: of.url.to_owned(),
            rest: String::new(),
            headers: headers(sample.headers.iter().map(|(name, value)| (name, value))),
            query: Vec::new(),
            body: sample.body.into(),
        };
        let parsed = shown(connector.parse(&connector.verify(raw, now()).unwrap()));
        assert_eq!(parsed[0]["text"], of.text, "{}", case.name);
        assert_eq!(parsed[0]["addressed"], "Direct", "{}", case.name);
        assert_eq!(parsed[0]["key"], json!(sample.delivery_key), "{}", case.name);
        let next = connector.sample(&SampleOf { id: "s-2", ..of }, now()).unwrap();
        assert_ne!(next.delivery_key, sample.delivery_key, "{}: another id is another message", case.name);
    }
}

#[test]
fn a_platform_is_told_only_what_it_has_a_use_for_and_parts_keep_to_the_limit() {
    for case in cases() {
        let connector = case.offline();
        let address = (case.address)();
        let in_reply_to = [DeliveryKey::new("k")];
        let chat = Rendering { address: &address, in_reply_to: &in_reply_to };
        for kind in [ReplyKind::NoReply, ReplyKind::Handoff, ReplyKind::Failed] {
            let reply = Reply { kind, text: String::new(), event: Value::Null };
            let parts = connector.render(&reply, &chat).unwrap();
            assert_eq!(parts.len(), usize::from(case.told.contains(&kind)), "{} {kind:?}", case.name);
        }
        let long = "word ".repeat(case.max_units.unwrap_or(100_000) / 5 * 2);
        let parts = connector.render(&message(&long), &chat).unwrap();
        assert_eq!(parts.len() == 1, case.max_units.is_none(), "{}", case.name);
        let length = |form: &Value| form.as_str().map_or(0, str::len);
        for part in parts {
            let longest = match &part.0 {
                Value::Object(forms) => forms.values().map(length).max().unwrap(),
                form => length(form),
            };
            assert!((1..=case.max_units.unwrap_or(long.len())).contains(&longest), "{}: {longest}", case.name);
        }
    }
}

#[tokio::test]
async fn a_part_arrives_as_the_platform_documents_it() {
    for case in cases() {
        let stub = strict(case.server);
        let connector = case.connector(&[case.secret], &stub.url);
        let sent = send(&case, &*connector, "Hello, it ships today.").await;
        assert_eq!(sent, Ok(Receipt(case.receipt.map(str::to_owned))), "{}", case.name);
        assert_eq!(connector.idempotency(), case.idempotency, "{}", case.name);
    }
}

#[tokio::test]
async fn throttling_is_deferred_for_as_long_as_the_platform_says() {
    for case in cases() {
        let (answer, wait) = (case.throttled)();
        let stub = always(answer);
        match send(&case, &*case.connector(&[case.secret], &stub.url), "Hello").await {
            Err(SendError::Throttled { after, .. }) => assert_eq!(after, Some(wait), "{}", case.name),
            other => panic!("{}: {other:?}", case.name),
        }
    }
}

#[tokio::test]
async fn a_refused_token_asks_for_a_person() {
    for case in cases() {
        for answer in [(case.token_refused)(), Answer { status: 401, headers: vec![], body: "<html>".to_owned() }] {
            let stub = always(answer);
            let connector = case.connector(&[case.secret], &stub.url);
            let error = send(&case, &*connector, "Hello").await.unwrap_err();
            assert!(matches!(error, SendError::Credential { .. }), "{}: {error:?}", case.name);
            let checked = connector.check().await;
            let refused = matches!(checked, Err(SendError::Credential { .. }));
            assert!(refused == case.credentials_call, "{}: {checked:?}", case.name);
        }
    }
}

#[tokio::test]
async fn a_permanent_error_is_final_and_trouble_on_their_side_is_not() {
    for case in cases() {
        let stub = always((case.final_error)());
        let error = send(&case, &*case.connector(&[case.secret], &stub.url), "Hello").await.unwrap_err();
        assert!(matches!(error, SendError::Permanent { .. }), "{}: {error:?}", case.name);

        let stub = always(Answer { status: 503, headers: vec![("retry-after", "7")], body: "away".to_owned() });
        let error = send(&case, &*case.connector(&[case.secret], &stub.url), "Hello").await.unwrap_err();
        let after = Some(Duration::from_secs(7));
        assert_eq!(error, SendError::Retry { reason: "http_503".to_owned(), after }, "{}", case.name);

        let stub = always(Answer { status: 200, headers: vec![], body: "<html>welcome".to_owned() });
        let sent = send(&case, &*case.connector(&[case.secret], &stub.url), "Hello").await;
        assert!((case.nonsense)(&sent), "{}: {sent:?}", case.name);
    }
}

#[tokio::test]
async fn what_the_other_side_says_when_it_refuses_is_kept_for_a_person_and_stands_in_no_error() {
    for case in cases() {
        let mut refusals = vec![(case.token_refused)(), (case.final_error)(), (case.throttled)().0];
        let long = format!("because\u{1b}[2J\nof {}", "☂".repeat(1000));
        refusals.push(Answer { status: 422, headers: vec![], body: long });
        for answer in refusals {
            let stub = always(answer.clone());
            let connector = case.connector(&[case.secret], &stub.url);
            let address = (case.address)();
            let parts =
                connector.render(&message("Hello"), &Rendering { address: &address, in_reply_to: &[] }).unwrap();
            let failure = send_part(&*connector, &address, &parts[0]).await.unwrap_err();
            let detail = failure.detail.clone().unwrap_or_else(|| panic!("{}: {answer:?}", case.name));
            assert!(!detail.chars().any(char::is_control) && detail.len() <= 1024, "{}: {detail}", case.name);
            let beginning: String = answer.body.split_whitespace().next().unwrap().chars().take(7).collect();
            assert!(detail.starts_with(&beginning), "{}: {detail}", case.name);
            let told = format!("{failure} {failure:?}");
            assert!(!told.contains(&beginning) || beginning.len() < 7, "{}: {told}", case.name);
        }
        let failure = send_part(&*case.offline(), &(case.address)(), &Part(json!({}))).await.unwrap_err();
        assert_eq!(failure.detail, None, "{}: nobody was there to say something", case.name);
    }
}

#[tokio::test]
async fn errors_hold_neither_token_nor_address_nor_text() {
    for case in cases() {
        let refusals = [(case.token_refused)(), (case.final_error)(), (case.throttled)().0];
        let mut errors = vec![send(&case, &*case.offline(), "A-TEXT").await.unwrap_err()];
        assert!(matches!(errors[0], SendError::Retry { .. }), "{}: nobody listens there", case.name);
        for answer in refusals {
            let stub = always(answer);
            let connector = case.connector(&[case.secret], &stub.url);
            errors.push(send(&case, &*connector, "A-TEXT").await.unwrap_err());
            errors.extend(connector.register("https://bridge.example.com/webhooks/it").await.err());
        }
        for error in errors {
            let said = format!("{error} {error:?}");
            for private in [case.token, case.secret, "127.0.0.1", "A-TEXT", "http://"] {
                assert!(!said.contains(private), "{}: {said}", case.name);
            }
        }
    }
}

#[tokio::test]
async fn an_address_that_the_connector_did_not_write_is_final() {
    for case in cases() {
        for address in [json!(null), json!({}), json!({ "channel": 7, "chat_id": "x", "to": 7 })] {
            let error = send_to(&*case.offline(), &Address(address.clone()), "Hello").await.unwrap_err();
            assert!(matches!(error, SendError::Permanent { .. }), "{} {address}: {error:?}", case.name);
        }
    }
}
