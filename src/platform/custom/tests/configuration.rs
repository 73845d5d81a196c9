//! What is a mistake, what deserves a warning, and whom a channel believes.

use super::*;

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
    assert_eq!(
        keys("secret = 's'\ncallback_url = 'http://127.0.0.1:9000/'"),
        ["callback_url leads into a private network"],
        "nobody reads along within the machine"
    );
    let fixed = "[reply]\nurl = 'https://a.example/tickets/chat'\nbody = '{\"text\": {{ text }}}'";
    assert_eq!(
        keys(&format!("{VERIFY}{PLAIN}{fixed}")),
        ["reply.url names the chat neither here nor in the body: the answers of all chats go to one place"]
    );
    for named in ["{{ chat }}", "{{ item.ticket }}"] {
        let toml = format!("{VERIFY}{PLAIN}{}", fixed.replace("tickets/chat", named));
        assert_eq!(keys(&toml), Vec::<String>::new());
        let toml =
            format!("{VERIFY}{PLAIN}{}", fixed.replace("{\"text\"", &format!("{{\"to\": \"{named}\", \"text\"")));
        assert_eq!(keys(&toml), Vec::<String>::new());
    }
    assert!(keys(&format!("{OPEN}{PLAIN}{REPLY}")).iter().any(|w| w.starts_with("verify.scheme NOBODY")));
    assert_eq!(keys(&format!("{VERIFY}{PLAIN}{REPLY}")), Vec::<String>::new());
}

fn body(body: &str) -> String {
    format!("{VERIFY}{PLAIN}[reply]\nurl = 'https://a.example/'\nbody = '''{body}'''")
}

#[test]
fn a_body_that_can_never_be_right_is_a_mistake() {
    for (template, wrong) in [
        (r#"{"text": "{{ text|tojson }}"}"#, "between quotation marks"),
        (r#"{"text": {{ text }}, "to": "{{ item.a.b()[0]|tojson }}"}"#, "between quotation marks"),
        (
            r#"{"text": {{ text }}{% if not item.plain %}, "to": "{{ chat|tojson }}"{% endif %}}"#,
            "between quotation marks",
        ),
        (
            r#"{"text": [{% for x in item.list %}"{{ x.name|tojson }}"{% endfor %} {{ text }}]}"#,
            "between quotation marks",
        ),
        (r#"{"text": "\{{ text }}"}"#, "behind a backslash"),
        (r#"{"text": {% autoescape true %}{{ text }}{% endautoescape %}}"#, "autoescape"),
        (r#"{"text": {{ text }}"#, "is not JSON"),
        (r#"{"text": {{ text }}, "id": 1, "\u0069d": {{ id }}}"#, "gives a key twice"),
        (r#"{"chat": {{ chat }}}"#, "nowhere"),
    ] {
        assert!(problem(&body(template), "reply.body").contains(wrong), "{template}");
    }
    for good in [
        r#"{"text": "{{ text }}", "event": {{ event.id|tojson }}, "to": {{ item.a.b }}, "n": {{ chat|int }}}"#,
        r#"{"text": "{% if item.name %}{{ item.name }}: {% endif %}{{ text }}", "{{ id }}": {"a": [{{ event }}]}}"#,
        r#"{ {{ item.members|safe }} "text": {{ text|tojson(indent=2) }} }"#,
        r#"{{ {"text": text, "chat": chat} }}"#,
        "{{ text }}",
    ] {
        built(&body(good));
    }
    let form = "headers = { content-type = 'application/x-www-form-urlencoded' }\nurl = 'https://a.example/'\nbody = 'text={{ text|urlencode }}'";
    built(&format!("{VERIFY}{INBOUND}[reply]\n{form}"));
}

#[test]
fn a_value_that_can_leave_its_place_is_warned_about() {
    let warned = |toml: &str| {
        let all = warnings(&config(toml)).into_iter().filter(|warning| warning.key == "reply.body");
        all.map(|warning| warning.problem).collect::<Vec<_>>().join("; ")
    };
    let sent_as =
        |kind: &str, template: &str| warned(&format!("{}\nheaders = {{ Content-Type = '{kind}' }}", body(template)));
    for escapes in [
        r#"{"text": {{ text }}, "name": "{{ item.sender.name|safe }}"}"#,
        r#"{"text": {{ text }}, "name": {{ item.sender.name|safe }}}"#,
        r#"{"text": {{ text }}, "all": [{% for x in event.parts %}"{{ x.a|upper|safe }}"{% endfor %}]}"#,
        r#"{"text": {{ text }}{% if not item.name %}, "name": "{{ item.id|safe }}"{% endif %}}"#,
        r#"{"text": "{{ text|e|safe }}"}"#,
    ] {
        assert!(warned(&body(escapes)).contains("|safe"), "{escapes}");
        assert!(sent_as("application/problem+json; charset=utf-8", escapes).contains("|safe"), "{escapes}");
    }
    for stays in [
        r#"{"text": "{{ text }}", "name": "{{ item.sender.name }}", "all": {{ item }}}"#,
        r#"{"text": {{ text|tojson }}, "name": {{ item.sender.name|tojson }}, "e": "{{ text|e }}"}"#,
        r#"{% set x %}{{ text }}{% endset %}{"text": {{ x }}, "again": "{{ x }}"}"#,
        r#"{% macro m(x) %}<{{ x }}>{% endmacro %}{"text": "{{ m(text) }}", "f": "{% filter upper %}{{ text }}{% endfilter %}"}"#,
    ] {
        assert_eq!(warned(&body(stays)), "", "{stays}");
    }
    assert!(sent_as("text/plain", r#"{"text": "{{ text }}"}"#).contains("Content-Type"));
    assert_eq!(sent_as("text/plain", r#"{"text": {{ text|tojson }}}"#), "");
    assert_eq!(sent_as("text/plain", "{{ text }}"), "");
    assert!(sent_as("application/x-www-form-urlencoded", "a=1&text={{ text }}").contains("fields of its own"));
    assert_eq!(sent_as("application/x-www-form-urlencoded", "text={{ text|urlencode }}"), "");
}

#[test]
fn an_expression_that_rests_on_what_is_not_signed_is_warned_about() {
    let inbound = "[inbound]\nid = \"headers['x-delivery']\"\nchat = 'query.chat'\ntext = 'body.text'\nrole = \"query.role|default('user')\"\nchallenge = 'query.challenge'\n";
    let warned = |verify: &str| {
        let all = warnings(&config(&format!("{verify}\n{inbound}{REPLY}"))).into_iter();
        all.map(|warning| format!("{} {}", warning.key, warning.problem)).collect::<Vec<_>>()
    };
    let hmac = |signed: &str| format!("[verify]\nscheme = 'hmac'\nsecret = 's'\nheader = 'x-s'\nsigned = '{signed}'");
    let found = warned(&hmac("{body}"));
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].starts_with("inbound.id rests on the header x-delivery"), "{found:?}");
    assert!(found[1].starts_with("inbound.chat rests on the query"), "{found:?}");
    assert!(found[2].starts_with("inbound.role rests on the query"), "{found:?}");
    assert_eq!(warned(&hmac("{header:X-Delivery}{body}")).len(), 2);
    assert_eq!(warned(&hmac("{url}{header:x-delivery}{body}")), Vec::<String>::new());
    assert_eq!(warned("[verify]\nscheme = 'standard-webhooks'\nsecret = 'whsec_c2VjcmV0'").len(), 3);
    assert_eq!(warned("[verify]\nscheme = 'token'\nsecret = 's'\nheader = 'x-t'"), Vec::<String>::new());
}

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

const FIELDS: &str = "[verify]\nscheme = 'hmac'\nsecret = 'shop-secret'\nheader = 'X-Shop-Signature[v1]'\ntimestamp = 'x-shop-signature[t]'\nsigned = '{timestamp}.{body}'\n";

#[test]
fn signature_and_time_may_be_fields_of_one_header() {
    let platform = built(&format!("{FIELDS}{PLAIN}{REPLY}"));
    let digest = |at: i64| mac(Algorithm::Sha256, b"shop-secret", &[at.to_string().as_bytes(), b".{}"]);
    let v1 = |at| Encoding::Hex.encode(&digest(at));
    let judge = |header: String| platform.verify(raw(&[("x-shop-signature", &header)], "{}"), now()).map(|_| ());
    assert_eq!(judge(format!("t={NOW},v1={}", v1(NOW))), Ok(()));
    assert_eq!(judge(format!("v0=x, v1={} , t={NOW}", v1(NOW))), Ok(()));
    // Any of several signatures may fit, whatever the others are.
    assert_eq!(judge(format!("t={NOW},v1={},v1=nonsense,v1={}", v1(NOW - 1), v1(NOW))), Ok(()));
    assert_eq!(judge(format!("t={NOW},v1={}", v1(NOW - 1))), Err(Refused::Wrong));
    assert_eq!(judge(format!("t={},v1={}", NOW - 301, v1(NOW - 301))), Err(Refused::Stale));
    assert_eq!(judge(format!("t={NOW},t={NOW},v1={}", v1(NOW))), Err(Refused::Malformed));
    assert_eq!(judge(format!("v1={}", v1(NOW))), Err(Refused::Missing));
    assert_eq!(judge(format!("t={NOW},v2={}", v1(NOW))), Err(Refused::Missing));
    assert_eq!(judge(format!("t={NOW},v1=nonsense")), Err(Refused::Malformed));
    assert_eq!(judge(v1(NOW)), Err(Refused::Missing));
    let mut twice = raw(&[], "{}");
    for _ in 0..2 {
        let value = HeaderValue::try_from(format!("t={NOW},v1={}", v1(NOW))).unwrap();
        twice.headers.append("x-shop-signature", value);
    }
    assert_eq!(platform.verify(twice, now()).map(|_| ()), Err(Refused::Missing));
}

#[test]
fn signature_and_time_can_not_be_one_and_the_same_place() {
    let with = |header: &str, timestamp: &str, signed: &str| {
        format!(
            "[verify]\nscheme = 'hmac'\nsecret = 's'\nheader = '{header}'\ntimestamp = '{timestamp}'\nsigned = '{signed}'\n{PLAIN}{REPLY}"
        )
    };
    let usual = "{timestamp}.{body}";
    for (header, timestamp) in [("x-s", "X-S"), ("x-s[v1]", "x-s"), ("x-s", "x-s[t]"), ("x-s[t]", "x-s[t]")] {
        assert!(problem(&with(header, timestamp, usual), "verify.timestamp").contains("header of the signature"));
    }
    for bad in ["x-s[", "x-s[]", "x-s[a]b", "x-s[a b]", "x-s[a=b]", "x-s[a][b]"] {
        assert!(problem(&with(bad, "x-t", usual), "verify.header").contains("field"), "{bad}");
    }
    assert!(problem(&with("x-s[v1]", "x-s[t]", "{body}"), "verify.timestamp").contains("not covered"));
    assert!(problem(&with("x-s[v1]", "x-s[t]", "{header:x-s}.{body}"), "verify.signed").contains("no signature can"));
    built(&with("x-s[v1]", "x-t[t]", usual));
    built(&with("x-s[v1]", "x-t", "{header:x-t}.{body}"));
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
        serde_json::from_str(include_str!("../../../../tests/data/vectors/standard_webhooks.json")).unwrap();
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
