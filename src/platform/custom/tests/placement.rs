//! A value stays in its place, whatever it says.

use super::*;
use crate::platform::custom::reply;

/// The body of a reply, or why nothing is sent.
fn body_of(template: &str, item: Value) -> Result<String, String> {
    let toml = format!("url = 'https://a.example/'\nbody = '''{template}'''");
    let built = reply::build(&toml::from_str(&toml).unwrap()).map_err(|p| format!("{p:?}")).unwrap();
    let event = json!({ "id": "e-1" });
    let answer = Reply { kind: ReplyKind::Message, text: "It \"ships\"\n\\today\\".to_owned(), event };
    let part = built.parts(&answer).remove(0);
    let address = Address(json!({ "chat": 42, "item": item }));
    let delivery = Delivery { id: PartId::generate(), address: &address, part: &part };
    built.request(&delivery).map(|request| request.body.unwrap()).map_err(|failed| failed.to_string())
}

fn json_of(template: &str, item: Value) -> Value {
    let body = body_of(template, item).unwrap();
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
}

const NAMES: [&str; 8] = [
    r#"zoe", "chat": "other-chat", "admin": true, "x": ""#,
    r#"zoe\"#,
    r#"zoe\", "admin": true, "x": "\"#,
    "\"",
    "a\u{0}\u{1f}\u{2028}\r\n\t",
    r#"{{ chat }}{% raw %}"#,
    r#"1, "admin": true"#,
    "\\u0022",
];

#[test]
fn a_display_name_arrives_as_a_name() {
    for name in NAMES {
        let item = json!({ "sender": { "name": name } });
        for template in [
            r#"{"to": "{{ item.sender.name }}", "chat": {{ chat|tojson }}, "text": {{ text|tojson }}}"#,
            r#"{"chat": {{ chat|tojson }}, "to": "{{ item.sender.name }}", "text": {{ text|tojson }}}"#,
            r#"{"to": {{ item.sender.name }}, "chat": "{{ chat }}", "text": "{{ text }}"}"#,
            r#"{"chat": {{ chat }}, "text": {{ text }}, "to": {{ item.sender.name }}}"#,
            r#"{"chat": {{ chat }}, "text": {{ text }}, "to": "{% for c in [item.sender.name] %}{% if c %}{{ c }}{% endif %}{% endfor %}"}"#,
            r#"{"chat": {{ chat }}, "text": {{ text }}{% if item.sender %}, "to": {% if true %}"{{ item.sender.name }}{% endif %}"{% endif %}}"#,
            r#"{"chat": {{ chat }}, "text": {{ text }}, "to": {{ item.sender.name|tojson }}}"#,
            r#"{% set n = item.sender.name|tojson %}{"chat": {{ chat }}, "text": {{ text }}, "to": {{ n }}}"#,
        ] {
            let expected = json!({ "to": name, "chat": "42", "text": "It \"ships\"\n\\today\\" });
            assert_eq!(json_of(template, item.clone()), expected, "{template}");
        }
    }
}

#[test]
fn a_captured_block_is_a_text_and_is_escaped_once() {
    for name in NAMES {
        let item = json!({ "name": name });
        for template in [
            r#"{% set x %}<{{ item.name }}>{% endset %}{"text": {{ text }}, "to": "{{ x }}"}"#,
            r#"{% set x %}<{{ item.name }}>{% endset %}{"text": {{ text }}, "to": {{ x }}}"#,
            r#"{% macro m(x) %}<{{ x }}>{% endmacro %}{"text": {{ text }}, "to": "{{ m(item.name) }}"}"#,
            r#"{"text": {{ text }}, "to": "{% filter trim %}<{{ item.name }}>{% endfilter %}"}"#,
        ] {
            assert_eq!(json_of(template, item.clone())["to"], json!(format!("<{name}>")), "{template}");
        }
    }
}

#[test]
fn outside_of_quotes_a_value_is_written_as_json() {
    let item = json!({ "n": 9_007_199_254_740_993_u64, "f": 1.5, "b": true, "none": null, "list": [1, "a\""], "map": { "a\"": {} } });
    let template = r#"{"text": "{{ text }}", "a": [{{ item.n }}, {{ item.f }}, {{ item.b }}, {{ item.none }}, {{ item.list }}, {{ item.map }}, {{ chat }}, {{ chat|int }}], "s": "{{ item.n }} {{ item.b }}"}"#;
    let body = json_of(template, item.clone());
    assert_eq!(body["a"], json!([item["n"], 1.5, true, null, [1, "a\""], { "a\"": {} }, "42", 42]));
    assert_eq!(body["s"], "9007199254740993 True");
    let long = body_of(r#"{"text": {{ text }}, "n": {{ item|int }}}"#, json!("123456789012345678901234567890"));
    assert!(long.unwrap().ends_with("\"n\": 123456789012345678901234567890}"), "no digit is lost");
}

#[test]
fn what_safe_lets_out_is_not_sent_unless_it_is_json_without_a_key_given_twice() {
    let template = r#"{"chat": {{ chat }}, "text": {{ text }}, "to": "{{ item.name|safe }}"}"#;
    assert_eq!(json_of(template, json!({ "name": "zoe" }))["to"], "zoe");
    assert_eq!(json_of(template, json!({ "name": "\\u00e9" }))["to"], "é");
    for (name, why) in [
        (NAMES[0], "reply.body: gives a key twice"),
        (r#"", "a": {"b": [{"c": 1, "c": 2}]}, "x": ""#, "reply.body: gives a key twice"),
        (r#"", "\u0063hat": "x"#, "reply.body: gives a key twice"),
        ("\"", "reply.body: is not JSON"),
    ] {
        assert_eq!(body_of(template, json!({ "name": name })), Err(why.to_owned()), "{name}");
    }
}

proptest::proptest! {
    #[test]
    fn no_value_leaves_its_place(name in ".{0,40}", quoted in proptest::prelude::any::<bool>()) {
        let place = if quoted { r#""{{ item.name }}""# } else { "{{ item.name }}" };
        let template = format!(r#"{{"text": {{{{ text }}}}, "to": {place}, "chat": {{{{ chat }}}}}}"#);
        let expected = json!({ "text": "It \"ships\"\n\\today\\", "to": name, "chat": "42" });
        proptest::prop_assert_eq!(json_of(&template, json!({ "name": name })), expected);
    }
}
