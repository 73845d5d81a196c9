//! What becomes of a webhook.

use super::*;

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
    assert!(a.raw.as_ref().is_some_and(|raw| raw.contains("m-3")));
    assert_eq!(b.raw.as_deref(), Some("\"nonsense\""), "of each that element is kept");
}

/// A sender after the recommendations of Standard Webhooks.
const EVENTS: &str = r#"
    [inbound]
    when = "body.type == 'message.created' and body.data.author.kind == 'user'"
    id = "headers['webhook-id']"
    chat = "body.data.conversation_id"
    text = "body.data.text"
"#;

#[test]
fn the_fixtures_of_standard_webhooks_are_read() {
    let platform = built(&format!("{OPEN}{EVENTS}{REPLY}"));
    let read = |body: &'static str| {
        let verified = platform.verify(raw(&[("webhook-id", "msg_1")], body), now()).unwrap();
        match platform.parse(&verified) {
            Ok(Parsed::Events(events)) => said(&events[0]),
            Ok(other) => format!("{other:?}"),
            Err(malformed) => malformed.detail,
        }
    };
    macro_rules! fixture {
        ($name:literal) => {
            read(include_str!(concat!("../../../../tests/data/fixtures/standard_webhooks/", $name)))
        };
    }
    assert_eq!(fixture!("message_created.json"), "msg_1 Where is my order? 📦");
    assert_eq!(fixture!("message_created_by_bot_echo.json"), "when");
    assert_eq!(fixture!("message_created_group.json"), "msg_1 @bot hi");
    assert_eq!(fixture!("message_delivered.json"), "when");
    assert_eq!(fixture!("message_with_attachment.json"), "msg_1 ");
    assert_eq!(fixture!("thin_payload.json"), "inbound.when: undefined");
    assert_eq!(fixture!("malformed_not_json.txt"), "body: neither JSON nor a form");
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
        assert_eq!(incoming.address.0["chat"], good);
    }
}

#[test]
fn a_sender_is_named_like_a_chat() {
    let platform = built(&format!("{OPEN}{PLAIN}sender = 'body.from.id'\n{REPLY}"));
    let sender =
        |from: Value| events(&*platform, json_webhook(&json!({ "id": 1, "chat": 1, "text": "t", "from": from })));
    for (id, name) in [(json!("u-1"), "u-1"), (json!(42), "42")] {
        let [Event::Message(message)] = &sender(json!({ "id": id }))[..] else { panic!("no message") };
        assert_eq!((message.sender.as_deref(), message.chat.as_str()), (Some(name), "1"));
    }
    for (from, why) in [
        (json!({}), "undefined"),
        (json!({ "id": null }), "null"),
        (json!({ "id": "" }), "an empty string"),
        (json!({ "id": 1.5 }), "a number that is no integer"),
    ] {
        assert_eq!(said(&sender(from)[0]), format!("inbound.sender: {why}"));
    }
    assert_eq!(
        message(&*built(&format!("{OPEN}{PLAIN}{REPLY}")), &json!({ "id": 1, "chat": 1, "text": "t" })).sender,
        None
    );
}

#[test]
fn the_time_of_sending_is_read_where_the_platform_says_it() {
    let platform = built(&format!("{OPEN}{PLAIN}sent_at = 'body.at'\n{REPLY}"));
    let read = |more: Value| {
        let mut body = json!({ "id": 1, "chat": 1, "text": "t" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        events(&*platform, json_webhook(&body)).remove(0)
    };
    for at in [json!(NOW), json!(NOW * 1000), json!(NOW.to_string()), json!("2026-10-03T04:00:00Z")] {
        let Event::Message(message) = read(json!({ "at": at })) else { panic!("{at}") };
        assert_eq!((message.sent_at, message.unordered), (Some(now()), false), "{at}");
    }
    for none in [json!({}), json!({ "at": null })] {
        let Event::Message(message) = read(none) else { panic!("no message") };
        assert_eq!(message.sent_at, None);
    }
    for bad in [json!("yesterday"), json!(true), json!([NOW])] {
        assert!(said(&read(json!({ "at": bad }))).starts_with("inbound.sent_at: neither seconds"), "{bad}");
    }
}

#[test]
fn a_text_in_html_is_made_plain() {
    let platform = built(&format!("{OPEN}{PLAIN}format = 'html'\n{REPLY}"));
    let html = "<p>Where is <a href='https://shop.example/o/17'>my order</a>?</p><ul><li>a pen</li></ul>";
    let read = message(&*platform, &json!({ "id": 1, "chat": 1, "text": html }));
    assert_eq!(read.text, "Where is my order (https://shop.example/o/17)?\n\n- a pen");
    assert!(problem(&format!("{OPEN}{PLAIN}format = 'xml'\n{REPLY}"), "inbound.format").contains("xml"));
}

#[test]
fn a_comparison_with_what_is_not_there_is_a_failed_message_unless_a_default_is_given() {
    let read = |when: &str| {
        let platform = built(&format!("{OPEN}{PLAIN}when = \"{when}\"\n{REPLY}"));
        said(&events(&*platform, json_webhook(&json!({"id": 1, "chat": 1, "text": "t"})))[0])
    };
    assert_eq!(read("item.kind == 'bot'"), "inbound.when: undefined");
    assert_eq!(read("item.kind != 'bot'"), "inbound.when: undefined");
    assert_eq!(read("item.kind|default('') == 'bot'"), "when");
    assert_eq!(read("item.kind|default('') != 'bot'"), "1 t");
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
        let _ = crate::platform::custom::protocol::tests::read(body.to_string().as_bytes());
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
