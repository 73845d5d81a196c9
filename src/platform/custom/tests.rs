//! The connector from outside: what a configuration does to a webhook and to a reply.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::*;
use crate::domain::clock::ManualClock;
use crate::domain::id::{DeliveryKey, PartId};
use crate::domain::message::{Incoming, ReplyKind, Role};
use crate::domain::problem::Problem;
use crate::platform::{Event, Idempotency};
use crate::signature::{Algorithm, Encoding, mac};

const NOW: i64 = 1_791_000_000;

fn around() -> Surroundings {
    let http = Http::new(&crate::http::Config::default()).unwrap();
    Surroundings { http, clock: Arc::new(ManualClock::at(Timestamp::from_secs(NOW))) }
}

fn now() -> Timestamp {
    Timestamp::from_secs(NOW)
}

fn config(toml: &str) -> Config {
    toml::from_str(toml).unwrap()
}

fn built(toml: &str) -> Arc<dyn Platform> {
    build(&config(toml), &Common::default(), &around()).map_err(|problems| format!("{problems:#?}")).unwrap()
}

fn problems(toml: &str) -> Vec<Problem> {
    build(&config(toml), &Common::default(), &around()).err().expect("problems")
}

/// The one problem under a key.
fn problem(toml: &str, key: &str) -> String {
    let all = problems(toml);
    let found = all.iter().find(|problem| problem.key == key);
    found.unwrap_or_else(|| panic!("no problem with {key} in {all:#?}")).problem.clone()
}

const VERIFY: &str = r#"
    [verify]
    scheme = "hmac"
    secret = "shop-secret"
    header = "X-Shop-Signature"
    prefix = "sha256="
    signed = "{timestamp}.{body}"
    timestamp = "x-shop-timestamp"
"#;
const INBOUND: &str = r#"
    [inbound]
    each = "body.messages"
    when = "item.sender.type != 'bot'"
    id   = "item.id"
    chat = "item.conversation.id"
    text = "item.text"
    role = "'agent' if item.sender.type == 'staff' else 'user'"
    user_attributes = "{'email': item.sender.email, 'plan': item.sender.plan}"
    bot_id = "'german' if item.lang == 'de' else none"
    challenge = "query.challenge"
"#;
const REPLY: &str = r#"
    [reply]
    url = "https://api.shop.example/conversations/{{ chat }}/messages"
    headers = { authorization = "Bearer token" }
    body = '{"text": {{ text|tojson }}, "client_id": {{ id|tojson }}}'
"#;
const OPEN: &str = "[verify]\nscheme = 'none'\n";
const PLAIN: &str = "[inbound]\nid = 'body.id'\nchat = 'body.chat'\ntext = 'body.text'\n";

fn raw(headers: &[(&str, &str)], body: impl Into<Bytes>) -> RawWebhook {
    RawWebhook {
        method: Method::POST,
        url: "https://bridge.example.com/webhooks/shop".to_owned(),
        rest: String::new(),
        headers: headers
            .iter()
            .map(|(n, v)| (HeaderName::try_from(*n).unwrap(), HeaderValue::try_from(*v).unwrap()))
            .collect::<HeaderMap>(),
        query: Vec::new(),
        body: body.into(),
    }
}

fn json_webhook(body: &Value) -> RawWebhook {
    raw(&[("content-type", "application/json")], body.to_string())
}

fn events(platform: &dyn Platform, raw: RawWebhook) -> Vec<Event> {
    let verified = platform.verify(raw, now()).unwrap();
    match platform.parse(&verified).unwrap() {
        Parsed::Events(events) => events,
        Parsed::Answer(answer) => panic!("an answer: {answer:?}"),
    }
}

/// What an event is, in a word or by its detail.
fn said(event: &Event) -> String {
    match event {
        Event::Message(message) => format!("{} {}", message.delivery_key.as_str(), message.text),
        Event::Malformed(malformed) => malformed.detail.clone(),
        Event::Ignored(word) => (*word).to_owned(),
        Event::Report(_) => "report".to_owned(),
    }
}

fn message(platform: &dyn Platform, body: &Value) -> Incoming {
    match events(platform, json_webhook(body)).into_iter().next() {
        Some(Event::Message(message)) => *message,
        other => panic!("no message: {:?}", other.map(|event| said(&event))),
    }
}

// ------------------------------------------------------------------------------------------ configuration

#[test]
fn the_documented_example_is_right_as_it_stands() {
    built(&format!(
        "{VERIFY}{INBOUND}{REPLY} failed_when = 'not response.body.ok'\n max_length = 4000\n format = 'slack'"
    ));
}

#[test]
fn a_channel_without_a_verifier_does_not_start() {
    assert!(problem(&format!("{INBOUND}{REPLY}"), "verify.scheme").contains("missing"));
    assert!(problem("[verify]\nscheme = 'token'\nsecret = 's'", "inbound").contains("missing"));
    assert!(problem("", "verify.scheme").contains("missing"));
}

#[test]
fn all_mistakes_are_told_at_once() {
    let keys: Vec<String> = problems(
        r#"
        [verify]
        scheme = "hmac"
        secret = "whsec_c2VjcmV0"
        algorithm = "md5"
        encoding = "base32"
        timestamp = "x-time"
        query = "token"
        [inbound]
        id = "item."
        chat = "items.chat"
        role = "item.role|lowr"
        [reply]
        url = "https://{{ chat }}.example.com/"
        method = "BREW"
        headers = { "bad name" = "x", host = "elsewhere" }
        body = "{{ text"
        format = "bbcode"
        max_length = 0
        failed_when = "response.body.ok =="
        "#,
    )
    .into_iter()
    .map(|problem| problem.key)
    .collect();
    for key in [
        "verify.secret",
        "verify.algorithm",
        "verify.encoding",
        "verify.timestamp",
        "verify.query",
        "verify.header",
        "inbound.id",
        "inbound.chat",
        "inbound.text",
        "inbound.role",
        "reply.url",
        "reply.method",
        "reply.headers.bad name",
        "reply.headers.host",
        "reply.body",
        "reply.format",
        "reply.max_length",
        "reply.failed_when",
    ] {
        assert!(keys.iter().any(|found| found == key), "{key} is not among {keys:?}");
    }
}

#[test]
fn a_signature_must_cover_the_body_and_the_time() {
    let verify = |signed: &str, more: &str| {
        format!(
            "[verify]\nscheme = 'hmac'\nsecret = 's'\nheader = 'x-s'\nsigned = '{signed}'\n{more}\n{INBOUND}{REPLY}"
        )
    };
    let time = "timestamp = 'X-Time'";
    assert!(problem(&verify("{body}", time), "verify.timestamp").contains("not covered"));
    assert!(problem(&verify("{header:x-other}{body}", time), "verify.timestamp").contains("not covered"));
    assert!(problem(&verify("{timestamp}", time), "verify.signed").contains("body"));
    assert!(problem(&verify("{timestamp}{body}", ""), "verify.timestamp").contains("missing"));
    assert!(problem(&verify("{body}{nonce}", ""), "verify.signed").contains("nonce"));
    assert!(problem(&verify("{body", ""), "verify.signed").contains("closed"));
    assert!(problem(&verify("{body}", "tolerance = '1m'"), "verify.tolerance").contains("without a time"));
    assert!(
        problem(&verify("{timestamp}{body}", "timestamp = 'x-t'\ntolerance = '0s'"), "verify.tolerance")
            .contains("no time")
    );
    built(&verify("{header:X-Time}:{body}", time));
    built(&verify("v0:{timestamp}:{method}:{url}:{body}", time));
}

#[test]
fn schemes_that_are_not_built_yet_say_so() {
    for scheme in ["ed25519", "jwt"] {
        let toml = format!("[verify]\nscheme = '{scheme}'\n{INBOUND}{REPLY}");
        assert!(problem(&toml, "verify.scheme").contains("not built yet"));
    }
    assert!(problem(&format!("[verify]\nscheme = 'hmca'\n{INBOUND}{REPLY}"), "verify.scheme").contains("hmca"));
}

#[test]
fn a_token_names_exactly_one_place() {
    let token = |more: &str| format!("[verify]\nscheme = 'token'\nsecret = 's'\n{more}\n{PLAIN}{REPLY}");
    assert!(problem(&token(""), "verify").contains("where"));
    assert!(problem(&token("header = 'x-t'\nquery = 't'"), "verify").contains("more than one"));
    assert!(problem(&token("field = 'token'"), "verify.field").contains("path"));
    for place in ["header = 'x-t'", "query = 't'", "field = 'body.meta.token'"] {
        built(&token(place));
    }
    let warned = warnings(&config(&token("query = 't'")));
    assert!(warned.iter().any(|warning| warning.key == "verify.query"));
}

#[test]
fn the_two_ways_to_describe_a_channel_do_not_mix() {
    let toml = format!("secret = 'whsec_c2VjcmV0'\ncallback_url = 'https://a.example/'\n{VERIFY}{INBOUND}{REPLY}");
    assert_eq!(problems(&toml).iter().map(|p| p.key.as_str()).collect::<Vec<_>>(), ["verify", "inbound", "reply"]);
    assert!(problem("callback_url = 'https://a.example/'", "secret").contains("missing"));
    assert!(problem("secret = 'whsec_c2VjcmV0'", "callback_url").contains("missing"));
    assert!(problem("secret = 'not base64!'\ncallback_url = 'https://a.example/'", "secret").contains("Standard"));
    assert!(problem("typing = true", "secret").contains("missing"));
}

#[test]
fn the_host_of_a_reply_is_literal() {
    let url = |url: &str| format!("{VERIFY}{INBOUND}[reply]\nurl = \"{url}\"\nbody = '{{{{ text|tojson }}}}'");
    for bad in [
        "{{ item.url }}",
        "https://{{ chat }}/x",
        "https://api.example.com{{ chat }}/x",
        "https://api.example.com:{{ chat }}/x",
        "{{ 'https' }}://api.example.com/",
        "https://user:pass@api.example.com/",
        "https://user@api.example.com/{{ chat }}",
        "https://api.example.com/${SECRET}/{{ chat }}",
        "ftp://api.example.com/{{ chat }}",
        "api.example.com/{{ chat }}",
        "https://api.example.com/#{{ chat }}",
        "https://api.example.com/a/../{{ chat }}",
        "https:///{{ chat }}",
    ] {
        assert!(!problem(&url(bad), "reply.url").is_empty(), "{bad}");
    }
    built(&url("https://api.example.com/{{ chat }}"));
    built(&url("https://api.example.com?chat={{ chat }}"));
    built(&url("https://api.example.com"));
}

#[test]
fn what_is_allowed_and_risky_is_mentioned() {
    let keys = |toml: &str| {
        warnings(&config(toml)).into_iter().map(|w| format!("{} {}", w.key, w.problem)).collect::<Vec<_>>()
    };
    for private in [
        "10.0.0.1",
        "127.0.0.1",
        "169.254.1.1",
        "100.64.0.1",
        "[::1]",
        "[fd00::1]",
        "[::ffff:10.0.0.1]",
        "crm",
        "crm.local",
    ] {
        let toml = format!("{VERIFY}{PLAIN}[reply]\nurl = 'https://{private}/{{{{ chat }}}}'");
        assert!(keys(&toml).iter().any(|w| w.contains("private network")), "{private}");
    }
    assert!(
        keys("secret = 's'\ncallback_url = 'http://api.example.com/'")
            .iter()
            .any(|w| w.starts_with("callback_url is plain http"))
    );
    assert!(keys(&format!("{OPEN}{PLAIN}{REPLY}")).iter().any(|w| w.starts_with("verify.scheme NOBODY")));
    assert_eq!(keys(&format!("{VERIFY}{PLAIN}{REPLY}")), Vec::<String>::new());
}

#[test]
fn a_value_in_json_without_tojson_is_a_mistake() {
    let body = |body: &str| format!("{VERIFY}{INBOUND}[reply]\nurl = 'https://a.example/'\nbody = '''{body}'''");
    assert!(problem(&body(r#"{"text": "{{ text }}"}"#), "reply.body").contains("escaping"));
    assert!(problem(&body(r#"{"text": {{ text|tojson }}, "to": "{{ chat }}"}"#), "reply.body").contains("escaping"));
    assert!(problem(&body(r#"{"chat": {{ chat|tojson }}}"#), "reply.body").contains("nowhere"));
    built(&body(r#"{"text": {{ text|tojson }}, "event": {{ event.id|tojson }}, "to": {{ item.a.b|tojson }}}"#));
    let form = "headers = { content-type = 'application/x-www-form-urlencoded' }\nurl = 'https://a.example/'\nbody = 'text={{ text|urlencode }}'";
    built(&format!("{VERIFY}{INBOUND}[reply]\n{form}"));
}

// ------------------------------------------------------------------------------------------ verification

fn signed_headers(body: &str, at: i64, secret: &str) -> Vec<(String, String)> {
    let digest = mac(Algorithm::Sha256, secret.as_bytes(), &[at.to_string().as_bytes(), b".", body.as_bytes()]);
    vec![
        ("x-shop-timestamp".to_owned(), at.to_string()),
        ("x-shop-signature".to_owned(), format!("sha256={}", Encoding::Hex.encode(&digest))),
    ]
}

#[test]
fn a_signed_webhook_is_believed_and_a_changed_one_is_not() {
    let platform = built(&format!("{VERIFY}{INBOUND}{REPLY}"));
    let judge = |body: &str, headers: &[(String, String)]| {
        let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        platform.verify(raw(&headers, body.to_owned()), now()).map(|_| ())
    };
    let body = r#"{"messages":[]}"#;
    let signed = |at| signed_headers(body, at, "shop-secret");
    assert_eq!(judge(body, &signed(NOW)), Ok(()));
    assert_eq!(judge(body, &signed(NOW - 300)), Ok(()));
    assert_eq!(judge(body, &signed(NOW - 301)), Err(Refused::Stale));
    assert_eq!(judge(body, &signed(NOW + 301)), Err(Refused::Stale));
    assert_eq!(judge(r#"{"messages":[1]}"#, &signed(NOW)), Err(Refused::Wrong));
    assert_eq!(judge(body, &signed_headers(body, NOW, "other")), Err(Refused::Wrong));
    assert_eq!(judge(body, &signed(NOW)[..1]), Err(Refused::Missing));
    let mut twice = raw(&[], body);
    for (name, value) in [signed(NOW), signed(NOW)].concat() {
        twice.headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
    }
    assert_eq!(platform.verify(twice, now()).map(|_| ()), Err(Refused::Missing));
}

#[test]
fn either_secret_is_good_during_rotation() {
    let toml = format!("{VERIFY}{INBOUND}{REPLY}").replace("\"shop-secret\"", "[\"new\", \"shop-secret\"]");
    let platform = built(&toml);
    for secret in ["new", "shop-secret"] {
        let headers = signed_headers("{}", NOW, secret);
        let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert!(platform.verify(raw(&headers, "{}"), now()).is_ok(), "{secret}");
    }
}

#[test]
fn tokens_and_passwords_are_found_in_their_places() {
    let with =
        |verify: &str| built(&format!("[verify]\nsecret = 'ä s3cret'\n{verify}\n{PLAIN}{REPLY}").replace("ä ", ""));
    let ok = |platform: &dyn Platform, raw: RawWebhook| platform.verify(raw, now()).is_ok();

    let header = with("scheme = 'token'\nheader = 'authorization'\nprefix = 'Bearer '");
    assert!(ok(&*header, raw(&[("authorization", "Bearer s3cret")], "{}")));
    assert!(!ok(&*header, raw(&[("authorization", "s3cret")], "{}")));
    let query = with("scheme = 'token'\nquery = 'key'");
    let mut asked = raw(&[], "{}");
    asked.query = vec![("key".to_owned(), "s3cret".to_owned())];
    assert!(ok(&*query, asked));
    assert!(!ok(&*query, raw(&[], "{}")));
    let field = with("scheme = 'token'\nfield = 'body.meta.token'");
    assert!(ok(&*field, raw(&[], r#"{"meta":{"token":"s3cret"}}"#)));
    assert!(!ok(&*field, raw(&[], r#"{"token":"s3cret"}"#)));
    let basic = with("scheme = 'basic'\nusername = 'shop'");
    assert!(ok(&*basic, raw(&[("authorization", "Basic c2hvcDpzM2NyZXQ=")], "{}")));
    assert!(!ok(&*basic, raw(&[("authorization", "Basic c2hvcDp3cm9uZw==")], "{}")));
}

fn vector(vector: &Value) -> (RawWebhook, Timestamp) {
    let headers: Vec<_> =
        vector["headers"].as_object().unwrap().iter().map(|(n, v)| (n.as_str(), v.as_str().unwrap())).collect();
    let raw = raw(&headers, vector["body"].as_str().unwrap().to_owned());
    (raw, Timestamp::from_secs(vector["now"].as_i64().unwrap()))
}

#[test]
fn every_vector_of_standard_webhooks_is_judged_right() {
    let vectors: Vec<Value> =
        serde_json::from_str(include_str!("../../../tests/data/vectors/standard_webhooks.json")).unwrap();
    assert!(vectors.len() > 10);
    for case in &vectors {
        let secret = case["secret"].as_str().unwrap();
        let described = format!("[verify]\nscheme = 'standard-webhooks'\nsecret = '{secret}'\n{PLAIN}{REPLY}");
        let own = format!("secret = '{secret}'\ncallback_url = 'https://a.example/'");
        for toml in [described, own] {
            let (raw, at) = vector(case);
            assert_eq!(built(&toml).verify(raw, at).is_ok(), case["valid"].as_bool().unwrap(), "{}", case["name"]);
        }
    }
}

// ------------------------------------------------------------------------------------------ inbound

fn item(id: &str, more: Value) -> Value {
    let mut item = json!({
        "id": id, "conversation": { "id": "c-1" }, "text": "hi", "lang": "en", "sender": { "type": "customer" }
    });
    for (key, value) in more.as_object().unwrap() {
        item[key] = value.clone();
    }
    item
}

fn shop() -> Arc<dyn Platform> {
    built(&format!("{OPEN}{INBOUND}{REPLY}"))
}

#[test]
fn each_element_of_a_batch_is_a_message_of_its_own() {
    let body = json!({ "messages": [
        item("m-1", json!({ "sender": { "type": "customer", "email": "a@example.com" } })),
        item("m-2", json!({ "sender": { "type": "bot" } })),
        item("m-3", json!({ "conversation": {} })),
        item("m-4", json!({ "sender": { "type": "staff" }, "lang": "de" })),
        "nonsense",
        item("m-5", json!({ "text": null })),
    ] });
    let events = events(&*shop(), json_webhook(&body));
    let all: Vec<String> = events.iter().map(said).collect();
    assert_eq!(all, ["m-1 hi", "when", "inbound.chat: undefined", "m-4 hi", "inbound.when: undefined", "m-5 "]);
    let [Event::Message(first), _, Event::Malformed(a), Event::Message(fourth), Event::Malformed(b), _] = &events[..]
    else {
        panic!("other events")
    };
    assert_eq!((first.role, fourth.role), (Role::User, Role::Agent));
    assert_eq!(fourth.bot_id.as_ref().map(|id| id.as_str()), Some("german"));
    assert_eq!(first.bot_id, None);
    assert_eq!(Value::Object(first.user_attributes.clone()), json!({ "email": "a@example.com" }));
    assert!(fourth.user_attributes.is_empty());
    assert_ne!(a.delivery_key, b.delivery_key, "both are kept");
}

#[test]
fn an_undefined_attribute_takes_no_other_one_with_it() {
    let attributes = |source: &str, body: Value| {
        let toml = format!("{OPEN}{PLAIN}user_attributes = \"\"\"{source}\"\"\"\n{REPLY}");
        let mut all = json!({ "id": 1, "chat": 1, "text": "" });
        all["user"] = body;
        Value::Object(message(&*built(&toml), &all).user_attributes)
    };
    let source = "{'name': body.user.name|title, 'city': body.user.address.city, 'a:b,c}': '{' ~ body.user.tier[0:1], 'nested': {'x': body.user.x, 'y': 1}}";
    assert_eq!(attributes(source, json!({})), json!({ "nested": { "y": 1 } }));
    assert_eq!(
        attributes(source, json!({ "name": "zoë", "address": { "city": null }, "tier": "gold", "x": 2 })),
        json!({ "name": "Zoë", "city": null, "a:b,c}": "{g", "nested": { "x": 2, "y": 1 } })
    );
    assert_eq!(attributes("body.user", json!({ "a": 1 })), json!({ "a": 1 }));
    assert_eq!(attributes("body.other", json!({ "a": 1 })), json!({}));
}

#[test]
fn only_a_string_or_an_integer_is_a_chat() {
    let platform = built(&format!("{OPEN}{PLAIN}{REPLY}"));
    for bad in [
        json!(null),
        json!(""),
        json!("  "),
        json!([]),
        json!(["a"]),
        json!({}),
        json!({ "id": 1 }),
        json!(1.5),
        json!(1.0),
        json!(true),
        json!(false),
        json!("a\u{0}b"),
        json!("x".repeat(1025)),
    ] {
        for key in ["chat", "id"] {
            let mut body = json!({ "id": "m", "chat": "c", "text": "t" });
            body[key] = bad.clone();
            let events = events(&*platform, json_webhook(&body));
            assert!(matches!(events[..], [Event::Malformed(_)]), "{key} = {bad}");
            assert!(said(&events[0]).starts_with(&format!("inbound.{key}: ")), "{}", said(&events[0]));
        }
    }
    let missing = events(&*platform, json_webhook(&json!({ "id": "m", "text": "t" })));
    assert_eq!(said(&missing[0]), "inbound.chat: undefined");
    let huge = raw(&[], r#"{"id":"m","chat":123456789012345678901234567890,"text":"t"}"#);
    assert_eq!(said(&events(&*platform, huge)[0]), "inbound.chat: a number that is no integer");
    for (good, key) in [(json!("c"), "c"), (json!(-7), "-7"), (json!(u64::MAX), "18446744073709551615")] {
        let incoming = message(&*platform, &json!({ "id": "m", "chat": good, "text": "t" }));
        assert_eq!(incoming.chat.as_str(), key);
        assert_eq!(incoming.address["chat"], good);
    }
}

#[test]
fn a_role_is_one_of_three() {
    let platform = built(&format!("{OPEN}{PLAIN}role = 'body.role'\n{REPLY}"));
    let role = |role: Value| {
        said(&events(&*platform, json_webhook(&json!({"id": 1, "chat": 1, "text": "t", "role": role})))[0])
    };
    assert_eq!(role(json!("otherbot")), "1 t");
    assert_eq!(role(json!("admin")), "inbound.role: neither user, agent nor otherbot");
    assert_eq!(role(json!(null)), "inbound.role: neither user, agent nor otherbot");
}

#[test]
fn a_form_is_read_by_its_content_type() {
    let platform = built(&format!("{OPEN}{PLAIN}{REPLY}"));
    let form =
        raw(&[("content-type", "application/x-www-form-urlencoded; charset=utf-8")], "id=7&chat=%2B49&text=a+b&text=c");
    let [Event::Message(message)] = &events(&*platform, form)[..] else { panic!("no message") };
    assert_eq!((message.delivery_key.as_str(), message.chat.as_str(), message.text.as_str()), ("7", "+49", "a b"));
}

#[test]
fn headers_and_query_can_be_read_too() {
    let toml =
        format!("{OPEN}[inbound]\nid = \"headers['x-message-id']\"\nchat = 'query.chat'\ntext = 'body'\n{REPLY}");
    let mut webhook = raw(&[("X-Message-Id", "9")], "\"hello\"");
    webhook.query = vec![("chat".to_owned(), "c".to_owned()), ("chat".to_owned(), "d".to_owned())];
    let [Event::Message(message)] = &events(&*built(&toml), webhook)[..] else { panic!("no message") };
    assert_eq!((message.delivery_key.as_str(), message.chat.as_str(), message.text.as_str()), ("9", "c", "hello"));
}

#[test]
fn a_challenge_is_echoed_and_nothing_else_is() {
    let platform = built(&format!("{VERIFY}{INBOUND}{REPLY}"));
    let asked = |value: &str| {
        let mut get = raw(&[], "");
        get.method = Method::GET;
        get.query = vec![("challenge".to_owned(), value.to_owned())];
        platform.handshake(&get).map(|answer| (answer.status, answer.body))
    };
    assert_eq!(asked("abc"), Some((200, "abc".to_owned())));
    assert_eq!(asked(&"x".repeat(1025)), None);
    assert_eq!(asked("a\r\nb"), None);
    assert_eq!(asked(""), None);
    let mut get = raw(&[], "");
    get.method = Method::GET;
    assert_eq!(platform.handshake(&get), None);
    assert!(platform.verify(get, now()).is_err());
    let mut post = raw(&[], "{}");
    post.query = vec![("challenge".to_owned(), "abc".to_owned())];
    assert_eq!(platform.handshake(&post), None, "a POST is verified first");

    let body = built(&format!("{OPEN}{PLAIN}challenge = 'body.challenge'\n{REPLY}"));
    let verified = body.verify(json_webhook(&json!({ "challenge": 42 })), now()).unwrap();
    assert!(matches!(body.parse(&verified).unwrap(), Parsed::Answer(answer) if answer.body == "42"));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn no_body_makes_the_connector_panic(body in arbitrary_json(), text in ".{0,64}") {
        for platform in [shop(), built(&format!("{OPEN}{PLAIN}{REPLY}"))] {
            for raw in [json_webhook(&body), json_webhook(&json!({ "messages": [body.clone()] })), raw(&[], text.clone())] {
                let _ = platform.parse(&platform.verify(raw, now()).unwrap());
            }
        }
        let _ = super::protocol::tests::read(body.to_string().as_bytes());
    }
}

fn arbitrary_json() -> impl proptest::strategy::Strategy<Value = Value> {
    use proptest::prelude::*;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    let key = prop_oneof![
        Just("id"),
        Just("chat"),
        Just("text"),
        Just("sender"),
        Just("conversation"),
        Just("user"),
        Just("role")
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..6)
                .prop_map(|map| map.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    })
}

// ------------------------------------------------------------------------------------------ replies

/// A server for one request: what it was asked, and what it answers.
fn server(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut seen = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let text = String::from_utf8_lossy(&seen).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                    stream.write_all(answer.as_bytes()).unwrap();
                    return text;
                }
            }
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0, "the request broke off");
            seen.extend_from_slice(&buffer[..read]);
        }
    });
    (base, asked)
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 11\r\nconnection: close\r\n\r\n{\"ok\":true}";

fn answer(text: &str) -> Reply {
    Reply { kind: ReplyKind::Message, text: text.to_owned(), event: json!({ "id": "e-1" }) }
}

fn parts(platform: &dyn Platform, reply: &Reply) -> Vec<Part> {
    let key = [DeliveryKey::new("m-1")];
    platform.render(reply, &Rendering { address: &json!({ "chat": "c" }), in_reply_to: &key }).unwrap()
}

/// The address of a reply to a chat, or why there is none.
fn url_for(template: &str, chat: Value) -> Result<String, String> {
    let toml = format!("url = \"{template}\"\nbody = '{{{{ text|tojson }}}}'");
    let reply = super::reply::build(&toml::from_str(&toml).unwrap()).map_err(|p| format!("{p:?}")).unwrap();
    let part = reply.parts(&answer("hi")).remove(0);
    let address = json!({ "chat": chat });
    let delivery = Delivery { id: PartId::generate(), address: &address, part: &part };
    reply.request(&delivery).map(|request| request.url.to_string()).map_err(|failed| failed.to_string())
}

#[test]
fn a_chat_stays_in_its_place_in_the_address() {
    let plain = "https://api.example.com/c/{{ chat }}/messages";
    for (chat, path) in [
        (json!("../../admin"), "..%2F..%2Fadmin"),
        (json!("a/b?c=d#e"), "a%2Fb%3Fc%3Dd%23e"),
        (json!("%2e%2e/x"), "%252e%252e%2Fx"),
        (json!("..\\admin"), "..%5Cadmin"),
        (json!("a b\r\nhost: x"), "a%20b%0D%0Ahost%3A%20x"),
        (json!("zoë@x"), "zo%C3%AB%40x"),
        (json!(u64::MAX), "18446744073709551615"),
        (json!("{{ 7 * 7 }}"), "%7B%7B%207%20%2A%207%20%7D%7D"),
    ] {
        assert_eq!(url_for(plain, chat), Ok(format!("https://api.example.com/c/{path}/messages")));
    }
    for chat in ["..", "."] {
        assert_eq!(url_for(plain, json!(chat)), Err("reply.url: has a dot segment in it".to_owned()));
    }
    let query = "https://api.example.com/send?to={{ chat }}&x=1";
    assert_eq!(url_for(query, json!("a&b=c#d")), Ok("https://api.example.com/send?to=a%26b%3Dc%23d&x=1".to_owned()));
}

#[test]
fn safe_leaves_slashes_alone_and_nothing_else() {
    let safe = "https://api.example.com/c/{{ chat|safe }}/messages";
    let ok = |path: &str| Ok(format!("https://api.example.com/c/{path}/messages"));
    assert_eq!(url_for(safe, json!("team/room")), ok("team/room"));
    assert_eq!(url_for(safe, json!("a?b#c d")), ok("a%3Fb%23c%20d"));
    assert_eq!(url_for(safe, json!("%2e%2e/x")), ok("%252e%252e/x"));
    for chat in ["../../admin", "a/../b", "a/./b", ".."] {
        assert_eq!(url_for(safe, json!(chat)), Err("reply.url: has a dot segment in it".to_owned()), "{chat}");
    }
    let literal = "https://api.example.com/{{ chat|safe }}";
    assert_eq!(url_for(literal, json!("//evil.example/x")), Ok("https://api.example.com///evil.example/x".to_owned()));
    assert_eq!(
        url_for("https://api.example.com/%2e{{ chat }}/x", json!(".")),
        Err("reply.url: has a dot segment in it".to_owned())
    );
}

#[test]
fn a_template_in_a_chat_or_a_text_is_only_text() {
    let toml = format!("{OPEN}{PLAIN}{REPLY}");
    let reply = super::reply::build(config(&toml).reply.as_ref().unwrap()).map_err(|_| ()).unwrap();
    let part = reply.parts(&answer("{{ chat }} \"; drop {% raw %}")).remove(0);
    let address = json!({ "chat": "{{ text }}" });
    let id = PartId::generate();
    let request = reply.request(&Delivery { id, address: &address, part: &part }).unwrap();
    let body: Value = serde_json::from_str(&request.body.unwrap()).unwrap();
    assert_eq!(body, json!({ "text": "{{ chat }} \"; drop {% raw %}", "client_id": id.to_string() }));
    assert_eq!(request.url.path(), "/conversations/%7B%7B%20text%20%7D%7D/messages");
}

#[test]
fn what_the_user_sent_is_kept_only_where_a_template_asks_for_it() {
    let body = json!({ "id": "m", "chat": "c", "text": "secret" });
    assert!(!message(&*built(&format!("{OPEN}{PLAIN}{REPLY}")), &body).address.to_string().contains("secret"));
    let quoting = "[reply]\nurl = 'https://a.example/{{ item.chat }}'\nbody = '{{ text|tojson }}'";
    let platform = built(&format!("{OPEN}{PLAIN}{quoting}"));
    assert_eq!(message(&*platform, &body).address["item"], body);
    let huge = json!({ "id": "m", "chat": "c", "text": "x".repeat(65 * 1024) });
    assert_eq!(message(&*platform, &huge).address.get("item"), None);
}

#[test]
fn a_long_answer_is_several_messages() {
    let platform = built(&format!("{OPEN}{PLAIN}{REPLY}max_length = 20"));
    let all = parts(&*platform, &answer("One sentence is here. Another one is there."));
    assert!(all.len() > 1);
    assert!(all.iter().all(|part| part.0["text"].as_str().unwrap().chars().count() <= 20));
    for kind in [ReplyKind::NoReply, ReplyKind::Handoff, ReplyKind::Failed] {
        assert!(parts(&*platform, &Reply { kind, ..answer("") }).is_empty());
    }
}

async fn send(toml: &str, answered: &'static str) -> (Result<Receipt, SendError>, String) {
    let (base, asked) = server(answered);
    let platform = built(&toml.replace("https://api.shop.example", &base));
    let part = parts(&*platform, &answer("It ships **today**.")).remove(0);
    let address = json!({ "chat": "c/1" });
    let sent = platform.send(Delivery { id: PartId::generate(), address: &address, part: &part }).await;
    (sent, asked.join().unwrap())
}

#[tokio::test]
async fn a_reply_is_posted_as_the_templates_say() {
    let (sent, asked) = send(&format!("{OPEN}{PLAIN}{REPLY}failed_when = 'not response.body.ok'"), OK).await;
    assert_eq!(sent, Ok(Receipt(None)));
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /conversations/c%2F1/messages HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("authorization: Bearer token\r\n") && head.contains("content-type: application/json\r\n"));
    assert_eq!(serde_json::from_str::<Value>(body).unwrap()["text"], "It ships **today**.");
}

#[tokio::test]
async fn the_answer_decides_what_comes_next() {
    let toml = format!("{OPEN}{PLAIN}{REPLY}failed_when = 'not response.body.ok'");
    let permanent = |reason: &str| Err(SendError::Permanent { reason: reason.to_owned() });
    let refused = "HTTP/1.1 200 OK\r\ncontent-length: 12\r\nconnection: close\r\n\r\n{\"ok\":false}";
    assert_eq!(send(&toml, refused).await.0, permanent("failed_when"));
    let unexpected = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
    assert_eq!(send(&toml, unexpected).await.0, permanent("reply.failed_when: undefined"));
    let missing = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    assert_eq!(send(&toml, missing).await.0, permanent("http_404"));
    let moved = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    assert_eq!(send(&toml, moved).await.0, permanent("http_302"));
    let unauthorized = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    assert!(matches!(send(&toml, unauthorized).await.0, Err(SendError::Credential { .. })));
    let busy = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let after = Some(Duration::from_secs(7));
    assert_eq!(send(&toml, busy).await.0, Err(SendError::Retry { reason: "http_429".to_owned(), after }));
}

#[tokio::test]
async fn a_template_that_does_not_fit_sends_nothing() {
    let toml = format!(
        "{OPEN}{PLAIN}[reply]\nurl = 'https://127.0.0.1:1/'\nbody = '{{{{ item.thread|tojson }}}} {{{{ text }}}}'"
    );
    let platform = built(&toml);
    let part = parts(&*platform, &answer("hi")).remove(0);
    let sent = platform.send(Delivery { id: PartId::generate(), address: &json!({ "chat": "c" }), part: &part }).await;
    assert_eq!(sent, Err(SendError::Permanent { reason: "reply.body: undefined".to_owned() }));
}

// ------------------------------------------------------------------------------------------ samples

const SAMPLE: &str = r#"{"id": "{{ id }}", "chat": "{{ chat }}", "text": "{{ text }}", "meta": {}}"#;

#[test]
fn a_sample_is_signed_so_that_the_channel_believes_it() {
    let schemes = [
        VERIFY,
        "[verify]\nscheme = 'hmac'\nsecret = 's'\nheader = 'x-s'\nencoding = 'base64'\nsigned = '{url}{header:x-id}{body}'",
        "[verify]\nscheme = 'token'\nsecret = 's'\nheader = 'x-t'",
        "[verify]\nscheme = 'token'\nsecret = 's'\nfield = 'body.meta.token'",
        "[verify]\nscheme = 'basic'\nsecret = 's'\nusername = 'u'",
        "[verify]\nscheme = 'standard-webhooks'\nsecret = 'whsec_c2VjcmV0'",
        OPEN,
    ];
    let described = schemes.map(|verify| format!("{verify}\n{PLAIN}{REPLY}"));
    let own = "secret = 'whsec_c2VjcmV0'\ncallback_url = 'https://a.example/'".to_owned();
    for toml in described.into_iter().chain([own]) {
        let config = Config { sample_text: Some(SAMPLE.to_owned()), ..config(&toml) };
        let platform = build(&config, &Common::default(), &around()).map_err(|p| format!("{p:?}")).unwrap();
        let url = "https://bridge.example.com/webhooks/shop";
        let of = SampleOf { text: "say \"hi\" \\ \n", chat: Some("c-9"), id: "i-1", url };
        let sample = platform.sample(&of, now()).map_err(|no| no.to_string()).unwrap();
        let headers: Vec<_> = sample.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let [Event::Message(message)] = &events(&*platform, raw(&headers, sample.body.clone()))[..] else {
            panic!("none")
        };
        assert_eq!((message.text.as_str(), message.chat.as_str()), ("say \"hi\" \\ \n", "c-9"));
        assert_eq!(message.delivery_key, sample.delivery_key);
    }
}

#[test]
fn without_a_sample_none_is_made() {
    let of = SampleOf { text: "t", chat: None, id: "i", url: "" };
    let no = built(&format!("{VERIFY}{PLAIN}{REPLY}")).sample(&of, now()).err().unwrap();
    assert!(no.to_string().contains("sample"));
}

#[test]
fn a_sample_is_tried_before_the_first_message_comes() {
    let good = config(&format!("{VERIFY}{PLAIN}{REPLY}"));
    let lines = try_sample(&good, SAMPLE).map_err(|p| format!("{p:?}")).unwrap();
    assert!(lines[0].contains("POST https://api.shop.example/conversations/sample/messages"), "{lines:?}");
    let keys = |config: &Config, sample: &str| {
        try_sample(config, sample).unwrap_err().into_iter().map(|p| p.key).collect::<Vec<_>>()
    };
    assert_eq!(keys(&good, r#"{"id": 1, "text": "t"}"#), ["inbound.chat"]);
    assert_eq!(keys(&good, r#"{"id": 1,"#), ["sample"]);
    let batch = config(&format!("{VERIFY}{INBOUND}{REPLY}"));
    assert_eq!(keys(&batch, r#"{"messages": [{}, {"sender": {"type": "x"}}]}"#), ["inbound.when", "inbound.id"]);
}

#[test]
fn settings_that_hold_nothing_secret_can_be_shown() {
    let shown = format!("{:?}", config(&format!("{VERIFY}{PLAIN}{REPLY}")));
    assert!(!shown.contains("shop-secret") && !shown.contains("Bearer token"));
}

#[test]
fn sending_twice_is_harmless_only_in_our_own_protocol() {
    assert_eq!(built(&format!("{VERIFY}{PLAIN}{REPLY}")).idempotency(), Idempotency::None);
    assert_eq!(built("secret = 'whsec_c2VjcmV0'\ncallback_url = 'https://a.example/'").idempotency(), Idempotency::Key);
}
