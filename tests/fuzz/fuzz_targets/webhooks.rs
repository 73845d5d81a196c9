//! Authentic nonsense to every connector: parsing never panics.
#![no_main]

use std::sync::{Arc, LazyLock};

use fini_bridge::domain::clock::{Clock, SystemClock};
use fini_bridge::http::Http;
use fini_bridge::platform::{Common, Config, Platform, Surroundings, build};
use fini_bridge::signature::{NoVerification, RawWebhook, Verifier};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fn connectors() -> Vec<Arc<dyn Platform>> {
    fn config<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).expect("a configuration")
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let around = Surroundings { http: Http::new(&Default::default()).expect("a client"), clock };
    let configs = [
        Config::Slack(config(json!({"signing_secret": "s", "bot_token": "xoxb-1"}))),
        Config::Telegram(config(json!({"secret_token": "s", "bot_token": "6111111111:AAtesttokentesttokentesttokentest00"}))),
        Config::Whatsapp(config(json!({"app_secret": "s", "verify_token": "v", "access_token": "t", "phone_number_id": "106540352242922"}))),
        Config::Custom(config(json!({"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "callback_url": "https://example.com/c"}))),
        Config::Custom(config(json!({
            "verify": {"scheme": "none"},
            "inbound": {"each": "body.messages", "when": "item.kind != 'bot'", "id": "item.id", "chat": "item.chat", "text": "item.text", "format": "html",
                "role": "'agent' if item.staff else 'user'", "user_attributes": "{'email': item.email}"},
            "reply": {"url": "https://example.com/{{ chat }}", "body": "{{ text|tojson }}"}
        }))),
    ];
    configs.iter().map(|config| build(config, &Common::default(), &around).expect("a connector")).collect()
}

static CONNECTORS: LazyLock<Vec<Arc<dyn Platform>>> = LazyLock::new(connectors);

fuzz_target!(|body: &[u8]| {
    for connector in CONNECTORS.iter() {
        let mut raw = RawWebhook {
            method: reqwest::Method::POST,
            url: "https://bridge.example.com/webhooks/x".to_owned(),
            rest: String::new(),
            headers: Default::default(),
            query: Vec::new(),
            body: bytes::Bytes::copy_from_slice(body),
        };
        raw.headers.insert("content-type", reqwest::header::HeaderValue::from_static("application/json"));
        let _ = connector.handshake(&raw);
        if let Ok(verified) = NoVerification.verify(raw, SystemClock.now()) {
            let _ = connector.parse(&verified);
        }
    }
});
