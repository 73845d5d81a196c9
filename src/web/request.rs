//! From an actix request to a [`RawWebhook`]: the bytes as they came, within the limits.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::{HttpRequest, web};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::proxies::TrustedProxies;
use crate::signature::RawWebhook;

/// From the head of a request to the end of its body.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// Reads the body: 413 beyond `max` bytes, 408 when it takes too long, 400 when it breaks off.
pub async fn body(request: &HttpRequest, mut payload: web::Payload, max: usize) -> Result<Bytes, StatusCode> {
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > max) {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let read = async {
        let mut body = BytesMut::with_capacity(announced.unwrap_or(0).min(max));
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_| StatusCode::BAD_REQUEST)?;
            if body.len() + chunk.len() > max {
                return Err(StatusCode::PAYLOAD_TOO_LARGE);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    };
    tokio::time::timeout(BODY_WITHIN, read).await.unwrap_or(Err(StatusCode::REQUEST_TIMEOUT))
}

/// `None` where the request has headers that can't be carried over; no platform sends such.
pub fn raw(
    request: &HttpRequest,
    rest: &str,
    body: Bytes,
    public_url: Option<&str>,
    trusted: &TrustedProxies,
) -> Option<RawWebhook> {
    let mut headers = HeaderMap::with_capacity(request.headers().len());
    for (name, value) in request.headers() {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).ok()?);
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let base = public_url.map_or_else(|| seen_base(request, trusted), |url| url.trim_end_matches('/').to_owned());
    Some(RawWebhook {
        method: reqwest::Method::from_bytes(request.method().as_str().as_bytes()).ok()?,
        url: format!("{base}{path}"),
        rest: rest.to_owned(),
        headers,
        query: url::form_urlencoded::parse(request.query_string().as_bytes()).into_owned().collect(),
        body,
    })
}

/// Scheme and host as the sender saw them, as far as this can be told without `public_url`.
fn seen_base(request: &HttpRequest, trusted: &TrustedProxies) -> String {
    let forwarded = request.peer_addr().is_some_and(|peer| trusted.trusts(peer.ip()));
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let first = |name: &str| header(name).filter(|_| forwarded).and_then(|list| list.split(',').next()).map(str::trim);
    let scheme = first("x-forwarded-proto").filter(|scheme| ["http", "https"].contains(scheme)).unwrap_or("http");
    let host = first("x-forwarded-host").or_else(|| header("host")).unwrap_or("localhost");
    format!("{scheme}://{host}")
}
