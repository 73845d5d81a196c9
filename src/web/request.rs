//! From an actix request to the head of a [`RawWebhook`], as it came.

use actix_web::HttpRequest;
use actix_web::http::header::CONTENT_LENGTH;
use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::proxies::TrustedProxies;
use crate::signature::RawWebhook;

/// How long the body is said to be.
pub fn announced(request: &HttpRequest) -> Option<usize> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Without its body. `None` where the request has headers that can't be carried over; no platform sends such.
pub fn head(
    request: &HttpRequest,
    rest: &str,
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
        body: Bytes::new(),
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
    use actix_web::test::TestRequest;

    use super::*;

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
