//! Whatever comes in the headers: a verdict, never a panic, and never a pass without the secret.
#![no_main]

use std::time::Duration;

use fini_bridge::domain::clock::Timestamp;
use fini_bridge::domain::secret::Secret;
use fini_bridge::signature::{
    Algorithm, Encoding, Hmac, RawWebhook, Signed, StandardWebhooks, TimestampHeader, Token, TokenPlace, Verifier,
};
use libfuzzer_sys::fuzz_target;
use reqwest::header::{HeaderMap, HeaderValue};

fuzz_target!(|input: (&[u8], &[u8], &[u8], &[u8])| {
    let (signature, timestamp, id, body) = input;
    let mut headers = HeaderMap::new();
    for (name, value) in [("x-signature", signature), ("x-timestamp", timestamp), ("webhook-id", id), ("webhook-signature", signature), ("webhook-timestamp", timestamp)] {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    let raw = RawWebhook {
        method: reqwest::Method::POST,
        url: "https://bridge.example.com/webhooks/x".to_owned(),
        rest: String::new(),
        headers,
        query: vec![("token".to_owned(), String::from_utf8_lossy(signature).into_owned())],
        body: bytes::Bytes::copy_from_slice(body),
    };
    // 32 bytes that the fuzzer doesn't know.
    let secrets = vec![Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=")];
    let tolerance = Duration::from_secs(300);
    let now = Timestamp::from_secs(1_791_000_000);
    for (encoding, algorithm) in [(Encoding::Hex, Algorithm::Sha1), (Encoding::Base64, Algorithm::Sha512)] {
        let hmac = Hmac {
            secrets: secrets.clone(),
            algorithm,
            header: "x-signature".to_owned(),
            field: None,
            encoding,
            prefix: String::new(),
            signed: vec![Signed::Timestamp, Signed::Literal(".".to_owned()), Signed::Url, Signed::Method, Signed::Body],
            timestamp: Some(TimestampHeader { name: "x-timestamp".to_owned(), field: None, tolerance }),
        };
        assert!(hmac.judge(&raw, now).is_err());
    }
    for place in [TokenPlace::Header("x-signature".to_owned()), TokenPlace::Query("token".to_owned()), TokenPlace::Field(vec!["token".to_owned()])] {
        assert!(Token { secrets: secrets.clone(), place, prefix: String::new() }.judge(&raw, now).is_err());
    }
    assert!(StandardWebhooks { secrets, tolerance }.judge(&raw, now).is_err());
});
