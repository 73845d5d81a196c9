//! What becomes of a reply, and of a sample.

use std::time::Duration;

use super::*;
use crate::platform::ThrottleScope;

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
    platform.render(reply, &Rendering { address: &Address(json!({ "chat": "c" })), in_reply_to: &key }).unwrap()
}

/// The address of a reply to a chat, or why there is none.
fn url_for(template: &str, chat: Value) -> Result<String, String> {
    let toml = format!("url = \"{template}\"\nbody = '{{{{ text|tojson }}}}'");
    let reply =
        crate::platform::custom::reply::build(&toml::from_str(&toml).unwrap()).map_err(|p| format!("{p:?}")).unwrap();
    let part = reply.parts(&answer("hi")).remove(0);
    let address = Address(json!({ "chat": chat }));
    let delivery = Delivery { id: PartId::generate(), address: &address, part: &part };
    reply.request(&delivery).map(|request| request.url.to_string()).map_err(|failed| failed.to_string())
}

#[test]
fn a_chat_stays_in_its_place_in_the_address() {
    let plain = "https://api.example.com/c/{{ chat }}/messages";
    for (chat, path) in [
        (json!("team/room"), "team%2Froom"),
        (json!("a/b?c=d#e"), "a%2Fb%3Fc%3Dd%23e"),
        (json!("..a/.b/c..d"), "..a%2F.b%2Fc..d"),
        (json!("50%/2%25"), "50%25%2F2%2525"),
        (json!("a b\r\nhost: x"), "a%20b%0D%0Ahost%3A%20x"),
        (json!("zoë@x"), "zo%C3%AB%40x"),
        (json!(u64::MAX), "18446744073709551615"),
        (json!("{{ 7 * 7 }}"), "%7B%7B%207%20%2A%207%20%7D%7D"),
    ] {
        assert_eq!(url_for(plain, chat), Ok(format!("https://api.example.com/c/{path}/messages")));
    }
    let query = "https://api.example.com/send?to={{ chat }}&x=1";
    assert_eq!(url_for(query, json!("a&b=c#d")), Ok("https://api.example.com/send?to=a%26b%3Dc%23d&x=1".to_owned()));
    // A query is no path.
    assert_eq!(url_for(query, json!("see ../x")), Ok("https://api.example.com/send?to=see%20..%2Fx&x=1".to_owned()));
}

#[test]
fn a_dot_segment_in_any_disguise_sends_nothing() {
    let disguises = [
        ".",
        "..",
        "../../admin",
        "a/..",
        "a/./b",
        "..\\admin",
        "a\\..\\b",
        "%2e%2e/x",
        "%2E.",
        ".%2e",
        "%252e%252e%252fadmin",
        "%25252e%25252e",
        "..%2fadmin",
        "..%5cadmin",
        "..;/admin",
        "..;jsessionid=1/admin",
        "a/..%3b/admin",
        "..?x",
        "..#x",
        ".. ",
        ".\t.",
        ".%09.",
        ".\u{200b}.",
        "%c0%ae%c0%ae/x",
        "%e0%80%ae.",
        "\u{ff0e}\u{ff0e}\u{ff0f}admin",
        "\u{2025}",
        "%252525252525252525252525252e",
    ];
    let templates = [
        "https://api.example.com/c/{{ chat }}/messages",
        "https://api.example.com/c/{{ chat|safe }}/messages",
        "https://api.example.com/c/x{{ chat }}",
        "https://api.example.com/{% if chat %}{% set x %}{{ chat }}{% endset %}{{ x }}{% endif %}",
    ];
    for template in templates {
        for chat in disguises {
            assert_eq!(
                url_for(template, json!(chat)),
                Err("reply.url: has a dot segment in it".to_owned()),
                "{chat:?}"
            );
        }
    }
    // Two values that make one together, and one with the template's help.
    for (template, chat) in [
        ("https://api.example.com/x/{{ chat }}{{ chat }}/x", "."),
        ("https://api.example.com/x/%2{{ chat }}", "e"),
        ("https://api.example.com/x/{{ chat }};a=b/x", ".."),
    ] {
        assert!(url_for(template, json!(chat)).is_err(), "{template}");
    }
}

#[test]
fn safe_leaves_slashes_alone_and_nothing_else() {
    let safe = "https://api.example.com/c/{{ chat|safe }}/messages";
    let ok = |path: &str| Ok(format!("https://api.example.com/c/{path}/messages"));
    assert_eq!(url_for(safe, json!("team/room")), ok("team/room"));
    assert_eq!(url_for(safe, json!("a?b#c d")), ok("a%3Fb%23c%20d"));
    let literal = "https://api.example.com/{{ chat|safe }}";
    assert_eq!(url_for(literal, json!("//evil.example/x")), Ok("https://api.example.com///evil.example/x".to_owned()));
}

#[test]
fn a_template_in_a_chat_or_a_text_is_only_text() {
    let toml = format!("{OPEN}{PLAIN}{REPLY}");
    let reply = crate::platform::custom::reply::build(config(&toml).reply.as_ref().unwrap()).map_err(|_| ()).unwrap();
    let part = reply.parts(&answer("{{ chat }} \"; drop {% raw %}")).remove(0);
    let address = Address(json!({ "chat": "{{ text }}" }));
    let id = PartId::generate();
    let request = reply.request(&Delivery { id, address: &address, part: &part }).unwrap();
    let body: Value = serde_json::from_str(&request.body.unwrap()).unwrap();
    assert_eq!(body, json!({ "text": "{{ chat }} \"; drop {% raw %}", "client_id": id.to_string() }));
    assert_eq!(request.url.path(), "/conversations/%7B%7B%20text%20%7D%7D/messages");
}

#[test]
fn what_the_user_sent_is_kept_only_where_a_template_asks_for_it() {
    let body = json!({ "id": "m", "chat": "c", "text": "secret" });
    assert!(!message(&*built(&format!("{OPEN}{PLAIN}{REPLY}")), &body).address.0.to_string().contains("secret"));
    let quoting = "[reply]\nurl = 'https://a.example/{{ item.chat }}'\nbody = '{{ text|tojson }}'";
    let platform = built(&format!("{OPEN}{PLAIN}{quoting}"));
    let kept = message(&*platform, &body).address.0["item_json"].as_str().map(str::to_owned);
    assert_eq!(kept.and_then(|kept| serde_json::from_str::<Value>(&kept).ok()), Some(body));
    let huge = json!({ "id": "m", "chat": "c", "text": "x".repeat(65 * 1024) });
    assert_eq!(message(&*platform, &huge).address.0.get("item_json"), None);
    for kept in [json!({ "item": { "chat": "c" } }), json!({ "item_json": "{\"chat\":\"c\"}" })] {
        let item = crate::platform::custom::inbound::kept_item(&kept).unwrap();
        assert_eq!(item.get_attr("chat").unwrap().as_str(), Some("c"));
    }
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
    let address = Address(json!({ "chat": "c/1" }));
    let sent = platform.send(Delivery { id: PartId::generate(), address: &address, part: &part }).await;
    let sent = sent.map_err(SendError::from);
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
async fn a_callback_is_signed_and_keeps_its_id_over_retries() {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let id = PartId::generate();
    let mut bodies = Vec::new();
    let busy = "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    for answered in [busy, OK] {
        let (base, asked) = server(answered);
        let platform = built(&format!("secret = '{secret}'\ncallback_url = '{base}/fini'"));
        let part = parts(&*platform, &answer("hi")).remove(0);
        let sent = platform.send(Delivery { id, address: &Address(json!({ "chat": "c" })), part: &part }).await;
        assert_eq!(sent.is_ok(), answered == OK);
        let asked = asked.join().unwrap();
        let (head, body) = asked.split_once("\r\n\r\n").unwrap();
        let headers: Vec<_> = head.lines().skip(1).filter_map(|line| line.split_once(": ")).collect();
        assert!(headers.contains(&("webhook-id", &id.to_string())), "{head}");
        assert!(platform.verify(raw(&headers, body.to_owned()), now()).is_ok(), "verifies with the same secret");
        bodies.push(body.to_owned());
    }
    assert_eq!(bodies[0], bodies[1]);
    assert_eq!(
        serde_json::from_str::<Value>(&bodies[0]).unwrap(),
        json!({ "type": "message", "id": id.to_string(), "chat": "c", "text": "hi", "in_reply_to": ["m-1"] })
    );
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
    let throttled =
        |after| SendError::Throttled { reason: "http_429".to_owned(), after, scope: ThrottleScope::Account };
    let told = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\nx-reset: 1791000020\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    for (expression, seconds) in [
        ("response.headers['x-reset']", 20),
        ("response.headers['x-other']", 7),
        ("response.body", 7),
        ("'2026-10-03T04:00:30Z'", 30),
    ] {
        let toml = format!("{toml}\nretry_after = \"{expression}\"");
        let after = Some(Duration::from_secs(seconds));
        assert_eq!(send(&toml, told).await.0, Err(throttled(after)));
    }
    let busy = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let after = Some(Duration::from_secs(7));
    assert_eq!(send(&toml, busy).await.0, Err(throttled(after)));
}

#[tokio::test]
async fn a_template_that_does_not_fit_sends_nothing() {
    let toml = format!(
        "{OPEN}{PLAIN}[reply]\nurl = 'https://127.0.0.1:1/'\nbody = '[{{{{ item.thread|tojson }}}}, {{{{ text }}}}]'"
    );
    let platform = built(&toml);
    let part = parts(&*platform, &answer("hi")).remove(0);
    let sent = platform
        .send(Delivery { id: PartId::generate(), address: &Address(json!({ "chat": "c" })), part: &part })
        .await;
    let refused = SendError::Permanent { reason: "reply.body: undefined".to_owned() };
    assert_eq!(sent, Err(refused.into()), "without anybody's words: nobody was asked");
}

const SAMPLE: &str = r#"{"id": "{{ id }}", "chat": "{{ chat }}", "text": "{{ text }}", "meta": {}}"#;

#[test]
fn a_sample_is_signed_so_that_the_channel_believes_it() {
    let schemes = [
        VERIFY,
        "[verify]\nscheme = 'hmac'\nsecret = 's'\nheader = 'x-s'\nencoding = 'base64'\nsigned = '{url}{header:x-id}{body}'",
        "[verify]\nscheme = 'hmac'\nsecret = 's'\nheader = 'x-s[v1]'\ntimestamp = 'x-s[t]'\nsigned = '{timestamp}.{body}'",
        "[verify]\nscheme = 'hmac'\nsecret = 's'\nheader = 'x-s[v1]'\ntimestamp = 'x-t[t]'\nsigned = '{timestamp}.{body}'",
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
