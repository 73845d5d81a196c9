//! From an actix request to a [`RawWebhook`]: the bytes as they came, within the limits.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::{HttpRequest, web};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::proxies::TrustedProxies;
use crate::signature::RawWebhook;

/// From the head of a request to the end of its body.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// All bodies that are in hand at once: whoever opens connections must not fill the memory.
const IN_HAND: usize = 256 * 1024 * 1024;
const UNIT: usize = 1024;

/// The limits of bodies, one by one and together.
pub struct Bodies {
    max: usize,
    free: Arc<Semaphore>,
}

/// A body in hand; it counts for as long as this lives.
pub struct Body {
    pub bytes: Bytes,
    _place: Option<OwnedSemaphorePermit>,
}

impl Bodies {
    pub fn new(max: usize) -> Self {
        Self::within(max, IN_HAND.max(max.saturating_mul(2)))
    }

    fn within(max: usize, together: usize) -> Self {
        Self { max, free: Arc::new(Semaphore::new((together / UNIT).min(Semaphore::MAX_PERMITS))) }
    }

    /// 413 beyond the maximum, 408 when it takes too long, 400 when it breaks off, 503 when too many others are
    /// in hand.
    pub async fn read(&self, request: &HttpRequest, mut payload: web::Payload) -> Result<Body, StatusCode> {
        let announced = request.headers().get(CONTENT_LENGTH);
        let announced = announced.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|length| length > self.max) {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        let read = async {
            let mut place: Option<OwnedSemaphorePermit> = None;
            // Grows with what comes, not with what is announced.
            let mut body = BytesMut::new();
            while let Some(chunk) = payload.next().await {
                let chunk = chunk.map_err(|_| StatusCode::BAD_REQUEST)?;
                if body.len() + chunk.len() > self.max {
                    return Err(StatusCode::PAYLOAD_TOO_LARGE);
                }
                self.grow(&mut place, body.len() + chunk.len())?;
                body.extend_from_slice(&chunk);
            }
            Ok(Body { bytes: body.freeze(), _place: place })
        };
        tokio::time::timeout(BODY_WITHIN, read).await.unwrap_or(Err(StatusCode::REQUEST_TIMEOUT))
    }

    fn grow(&self, place: &mut Option<OwnedSemaphorePermit>, to: usize) -> Result<(), StatusCode> {
        let has = place.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = u32::try_from(to.div_ceil(UNIT).saturating_sub(has)).map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
        if more == 0 {
            return Ok(());
        }
        let more = self.free.clone().try_acquire_many_owned(more).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
        match place {
            Some(place) => place.merge(more),
            None => *place = Some(more),
        }
        Ok(())
    }
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
    let first = |name: &str| {
        let value = header(name).filter(|_| forwarded)?.split(',').next()?.trim();
        Some(value).filter(|value| !value.is_empty())
    };
    let scheme = first("x-forwarded-proto").filter(|scheme| ["http", "https"].contains(scheme)).unwrap_or("http");
    let host = first("x-forwarded-host").or_else(|| header("host")).unwrap_or("localhost");
    let has_port = host.rsplit(']').next().is_some_and(|behind| behind.contains(':'));
    let usual = if scheme == "https" { 443 } else { 80 };
    match first("x-forwarded-port").and_then(port).filter(|port| *port != usual && !has_port) {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    }
}

fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port != 0 && text.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use actix_web::FromRequest;
    use actix_web::test::TestRequest;

    use super::*;

    async fn read(bodies: &Bodies, length: usize) -> Result<Body, StatusCode> {
        let (request, mut payload) = TestRequest::post().set_payload(vec![b'x'; length]).to_http_parts();
        let payload = web::Payload::from_request(&request, &mut payload).await.unwrap();
        bodies.read(&request, payload).await
    }

    #[actix_web::test]
    async fn bodies_beyond_what_fits_together_are_turned_away_until_there_is_room() {
        let bodies = Bodies::within(10 * UNIT, 20 * UNIT);
        let first = read(&bodies, 10 * UNIT).await.unwrap();
        let second = read(&bodies, 10 * UNIT).await.unwrap();
        assert_eq!(read(&bodies, 1).await.err(), Some(StatusCode::SERVICE_UNAVAILABLE));
        drop(first);
        assert_eq!(read(&bodies, 5 * UNIT).await.unwrap().bytes.len(), 5 * UNIT);
        assert_eq!(second.bytes.len(), 10 * UNIT);
        assert_eq!(read(&bodies, 10 * UNIT + 1).await.err(), Some(StatusCode::PAYLOAD_TOO_LARGE));
    }

    fn seen(peer: &str, headers: &[(&str, &str)]) -> String {
        let trusted = TrustedProxies::parse(&["10.0.0.0/8".to_owned()]).unwrap();
        let request = TestRequest::post().peer_addr(format!("{peer}:5000").parse().unwrap());
        let request = headers.iter().fold(request, |request, header| request.insert_header(*header));
        seen_base(&request.to_http_request(), &trusted)
    }

    #[test]
    fn a_trusted_proxy_says_the_port_where_the_host_has_none_and_the_scheme_means_another() {
        for (scheme, host, port, expected) in [
            ("https", "a.example", "8443", "https://a.example:8443"),
            ("https", "a.example", " 8443 , 80", "https://a.example:8443"),
            ("https", "a.example", "443", "https://a.example"),
            ("http", "a.example", "80", "http://a.example"),
            ("http", "a.example", "443", "http://a.example:443"),
            ("https", "a.example:9443", "8443", "https://a.example:9443"),
            ("https", "[2001:db8::1]", "8443", "https://[2001:db8::1]:8443"),
            ("https", "[2001:db8::1]:9443", "8443", "https://[2001:db8::1]:9443"),
            ("https", "", "8443", "https://own.example:8443"),
        ] {
            let headers = [
                ("host", "own.example"),
                ("x-forwarded-proto", scheme),
                ("x-forwarded-host", host),
                ("x-forwarded-port", port),
            ];
            assert_eq!(seen("10.1.2.3", &headers), expected, "{scheme} {host} {port}");
            assert_eq!(seen("192.0.2.1", &headers), "http://own.example", "nobody else is believed");
        }
    }

    #[test]
    fn a_port_that_is_none_is_ignored() {
        for port in ["", "0", "65536", "+8443", "-1", "84 43", "https", "8443/x", "8443@elsewhere.example"] {
            let headers = [("x-forwarded-host", "a.example"), ("x-forwarded-port", port)];
            assert_eq!(seen("10.1.2.3", &headers), "http://a.example", "{port:?}");
        }
    }
}
