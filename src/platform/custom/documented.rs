//! What `docs/custom-channels.md` shows is run as it stands there.

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::*;
use crate::domain::id::PartId;
use crate::domain::message::{Address, Incoming, ReplyKind};
use crate::platform::Event;
use crate::signature::{Algorithm, hmac_hex, mac};

const PAGE: &str = include_str!("../../../docs/custom-channels.md");
const NOW: i64 = 1_791_000_000;

/// The channels of all TOML blocks, in the page's order. Secrets are filled in as the settings reader would.
fn documented() -> Vec<(String, Config)> {
    let blocks = PAGE.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    // A table alone takes the place of the same one in the example before it.
    let whole = blocks.filter(|block| block.contains("platform ="));
    whole
        .map(|block| {
            let filled = block
                .replace("env:SHOP_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
                .replace("env:CRISP_SIGNING_SECRET", "crisp-secret")
                .replace("env:SENDBIRD_API_TOKEN", "sendbird-token")
                .replace("env:LIVECHAT_WEBHOOK_SECRET", "livechat-secret");
            assert!(!filled.contains("env:"), "{filled}");
            let table: toml::Table = toml::from_str(&expanded(&filled)).unwrap();
            let channels = table["channels"].as_table().unwrap();
            let (name, channel) = channels.iter().next().unwrap();
            assert_eq!(channel["platform"].as_str(), Some("custom"));
            (name.clone(), channel.clone().try_into().unwrap())
        })
        .collect()
}

/// `${NAME}` with `<NAME>` as its value.
fn expanded(text: &str) -> String {
    let mut pieces = text.split("${");
    let mut all = pieces.next().unwrap().to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once('}').unwrap();
        all.push_str(&format!("<{name}>{rest}"));
    }
    all
}

fn custom(name: &str) -> Custom {
    let all = documented();
    let (_, config) = all.iter().find(|(found, _)| found == name).unwrap();
    Custom::build(config, Common::default().max_elements, None).map_err(|problems| format!("{problems:#?}")).unwrap()
}

fn webhook(body: &'static str, headers: &[(&str, String)]) -> RawWebhook {
    RawWebhook {
        method: reqwest::Method::POST,
        url: "https://bridge.example.com/webhooks/x".to_owned(),
        rest: String::new(),
        headers: headers
            .iter()
            .map(|(name, value)| (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(value).unwrap()))
            .collect::<HeaderMap>(),
        query: Vec::new(),
        body: Bytes::from_static(body.as_bytes()),
    }
}

fn messages(custom: &Custom, raw: RawWebhook) -> Vec<Incoming> {
    let verified = custom.verify(raw, Timestamp::from_secs(NOW)).unwrap();
    let Parsed::Events(events) = custom.parse(&verified).unwrap() else { panic!("an answer") };
    events
        .into_iter()
        .filter_map(|event| match event {
            Event::Message(message) => Some(*message),
            Event::Ignored(_) => None,
            other => panic!("{other:?}"),
        })
        .collect()
}

/// The request that answers a message: address, body, and the header that carries the credential.
fn answer(custom: &Custom, to: &Incoming, credential: &str) -> (String, Value, String) {
    let reply = Reply { kind: ReplyKind::Message, text: "It ships \"today\".".to_owned(), event: json!({}) };
    let parts = custom.reply.parts(&reply);
    let delivery = Delivery { id: PartId::generate(), address: &to.address, part: &parts[0] };
    let request = custom.reply.request(&delivery).unwrap();
    assert_eq!(
        (request.method.as_str(), request.headers["content-type"].to_str().unwrap()),
        ("POST", "application/json")
    );
    let credential = request.headers[credential].to_str().unwrap().to_owned();
    (request.url.to_string(), serde_json::from_str(&request.body.unwrap()).unwrap(), credential)
}

#[test]
fn every_configuration_of_the_page_is_right() {
    let all = documented();
    assert_eq!(
        all.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["shop", "shop", "crisp", "sendbird", "livechat"]
    );
    for (index, (name, mut config)) in all.into_iter().enumerate() {
        // The first two share their secret's name, and one of them is no key of Standard Webhooks.
        if index == 1 {
            config.verify.as_mut().unwrap().secret = Some(toml::Value::from("shop-secret").try_into().unwrap());
        }
        let around = Surroundings {
            http: Http::new(&crate::http::Config::default()).unwrap(),
            clock: Arc::new(crate::domain::clock::SystemClock),
        };
        assert!(build(&config, &Common::default(), &around).is_ok(), "{name}");
        assert_eq!(warnings(&config), Vec::new(), "{name}");
    }
}

#[test]
fn a_header_with_fields_is_read_as_documented() {
    let block = PAGE.split("```toml\n").find(|block| block.contains("[v1]")).unwrap().split("```").next().unwrap();
    let table: toml::Table = toml::from_str(&block.replace("env:SHOP_SECRET", "shop-secret")).unwrap();
    let (_, mut config) = documented().remove(1);
    config.verify = Some(table["channels"]["shop"]["verify"].clone().try_into().unwrap());
    let custom = Custom::build(&config, Common::default().max_elements, None)
        .map_err(|problems| format!("{problems:#?}"))
        .unwrap();
    let digest = hmac_hex(b"shop-secret", &[NOW.to_string().as_bytes(), b".", b"{}"]);
    let judge =
        |header: String| custom.verify(webhook("{}", &[("x-shop-signature", header)]), Timestamp::from_secs(NOW));
    assert!(judge(format!("t={NOW},v1={digest}")).is_ok());
    assert!(judge(format!("t={NOW},v1=00,v1={digest}")).is_ok());
    assert!(judge(format!("t={NOW},t={NOW},v1={digest}")).is_err());
}

#[test]
fn values_find_their_places_as_documented() {
    let block = PAGE.split("```jinja\n").nth(1).unwrap().split("```").next().unwrap();
    let (_, mut config) = documented().remove(1);
    config.verify.as_mut().unwrap().secret = Some(toml::Value::from("shop-secret").try_into().unwrap());
    config.reply.as_mut().unwrap().body = Some(block.to_owned());
    let custom = Custom::build(&config, Common::default().max_elements, None)
        .map_err(|problems| format!("{problems:#?}"))
        .unwrap();
    assert_eq!(warnings(&config), Vec::new());
    let answer = Reply { kind: ReplyKind::Message, text: "a \"quote\"".to_owned(), event: json!({}) };
    let part = custom.reply.parts(&answer).remove(0);
    let address = Address(json!({ "chat": "42", "item": { "sender": { "name": "Zoë \"Z\"" } } }));
    let id = PartId::generate();
    let request = custom.reply.request(&Delivery { id, address: &address, part: &part }).unwrap();
    let body: Value = serde_json::from_str(&request.body.unwrap()).unwrap();
    let expected = json!({ "text": "a \"quote\"", "to": "Dear Zoë \"Z\"", "chat": 42, "id": id.to_string() });
    assert_eq!(body, expected);
}

#[test]
fn html_is_read_as_documented() {
    let (_, said) = PAGE.split_once("So `<p>").unwrap();
    let (html, said) = said.split_once("` is\n`").unwrap();
    let (text, _) = said.split_once("`.").unwrap();
    assert_eq!(crate::text::plain_text(&format!("<p>{html}")), text);
}

#[test]
fn the_filters_that_exist_are_listed() {
    let (_, listed) = PAGE.split_once("These filters exist: ").unwrap();
    let (listed, _) = listed.split_once(". Jinja's").unwrap();
    let listed: Vec<&str> = listed.split(',').map(|name| name.trim().trim_matches('`')).collect();
    assert_eq!(listed, template::FILTERS);
}

#[test]
fn crisp_works_as_documented() {
    let custom = custom("crisp");
    let body = include_str!("../../../tests/data/custom/crisp/message_send.json").trim_end();
    let at = (NOW * 1000 + 120).to_string();
    let signature = hmac_hex(b"crisp-secret", &[b"[", at.as_bytes(), b";", body.as_bytes(), b"]"]);
    let raw = webhook(body, &[("x-crisp-request-timestamp", at.clone()), ("x-crisp-signature", signature)]);
    let [message] = &messages(&custom, raw)[..] else { panic!("one message") };
    assert_eq!(message.delivery_key.as_str(), "179100000012017");
    assert_eq!(message.chat.as_str(), "session_36ba3566-9651-4790-afc8-ffedbccc317f");
    assert_eq!(message.text, "Where is my order? 📦");
    assert_eq!(Value::Object(message.user_attributes.clone()), json!({ "nickname": "visitor493603" }));
    let (url, body, credential) = answer(&custom, message, "authorization");
    assert_eq!(
        url,
        "https://api.crisp.chat/v1/website/42286ab3-b29a-4fde-8538-da0ae501d825/conversation/session_36ba3566-9651-4790-afc8-ffedbccc317f/message"
    );
    assert_eq!(body, json!({ "type": "text", "from": "operator", "origin": "chat", "content": "It ships \"today\"." }));
    assert_eq!(credential, "Basic <CRISP_BASIC>");
}

#[test]
fn the_sample_of_crisp_is_tried_and_signed() {
    let (_, config) = documented().into_iter().find(|(name, _)| name == "crisp").unwrap();
    let sample = include_str!("../../../tests/data/custom/crisp/sample.json");
    let lines = try_sample(&config, sample).map_err(|problems| format!("{problems:?}")).unwrap();
    assert!(lines.len() == 1 && lines[0].contains("nickname"), "{lines:?}");
}

#[test]
fn sendbird_works_as_documented() {
    let custom = custom("sendbird");
    let body = include_str!("../../../tests/data/custom/sendbird/message_send.json").trim_end();
    let signature = hex::encode(mac(Algorithm::Sha256, b"sendbird-token", &[body.as_bytes()]));
    let [message] = &messages(&custom, webhook(body, &[("x-sendbird-signature", signature)]))[..] else {
        panic!("one message")
    };
    assert_eq!((message.delivery_key.as_str(), message.text.as_str()), ("238303376", "Where is my order?"));
    assert_eq!(Value::Object(message.user_attributes.clone()), json!({ "nickname": "Jeff", "plan": "gold" }));
    let (url, body, credential) = answer(&custom, message, "api-token");
    assert_eq!(
        url,
        "https://api-12345678-0000-4000-8000-000000000000.sendbird.com/v3/group_channels/sendbird_group_channel_47226288_21c0d617/messages"
    );
    assert_eq!(body, json!({ "message_type": "MESG", "user_id": "fini_bot", "message": "It ships \"today\"." }));
    assert_eq!(credential, "<SENDBIRD_API_TOKEN>");
}

#[test]
fn livechat_works_as_documented() {
    let custom = custom("livechat");
    let first = include_str!("../../../tests/data/custom/livechat/incoming_chat.json").trim_end();
    let later = include_str!("../../../tests/data/custom/livechat/incoming_event.json").trim_end();
    let [first] = &messages(&custom, webhook(first, &[]))[..] else { panic!("only what the customer wrote") };
    let [later] = &messages(&custom, webhook(later, &[]))[..] else { panic!("one message") };
    assert_eq!((first.delivery_key.as_str(), first.text.as_str()), ("Q20163UAHO_1", "Hi!"));
    assert_eq!((later.delivery_key.as_str(), later.text.as_str()), ("Q20163UAHO_2", "Where is my order?"));
    assert_eq!((first.chat.as_str(), later.chat.as_str()), ("PJ0MRSHTDG", "PJ0MRSHTDG"));
    let (url, body, credential) = answer(&custom, later, "authorization");
    assert_eq!(url, "https://api.livechatinc.com/v3.6/agent/action/send_event");
    let event = json!({ "type": "message", "text": "It ships \"today\".", "visibility": "all" });
    assert_eq!(body, json!({ "chat_id": "PJ0MRSHTDG", "event": event }));
    assert_eq!(credential, "Basic <LIVECHAT_TOKEN>");
    let forged = webhook(r#"{"action":"incoming_event","secret_key":"guess"}"#, &[]);
    assert!(custom.verify(forged, Timestamp::from_secs(NOW)).is_err());
}
