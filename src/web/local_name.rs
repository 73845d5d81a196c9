//! What listens on loopback without a token is for this machine alone. A page from elsewhere reaches it in two
//! ways: by a name that its owner makes lead here, and by a request that a browser sends for it unasked.

use std::net::IpAddr;

use actix_web::HttpResponse;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{HOST, HeaderMap, ORIGIN};
use actix_web::middleware::Next;

/// 403 for a request under another name than a local one, or that changes something and comes from another origin.
pub async fn only_by_a_local_name(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    match refusal(request.method(), request.headers()) {
        None => next.call(request).await.map(ServiceResponse::map_into_boxed_body),
        Some(reason) => Ok(request.into_response(HttpResponse::Forbidden().body(reason))),
    }
}

/// Why it is refused.
pub fn refusal(method: &Method, headers: &HeaderMap) -> Option<&'static str> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !is_local(host) {
        return Some("the Host header is not a local name: use http://127.0.0.1 or http://localhost\n");
    }
    let looks_only = [Method::GET, Method::HEAD].contains(method);
    let from_here = headers.get_all(ORIGIN).all(|origin| {
        let origin = origin.to_str().unwrap_or_default();
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    });
    (!looks_only && !from_here).then_some("the Origin header names another site\n")
}

fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn is_refused(method: Method, headers: &[(&str, &str)]) -> bool {
        let request = headers.iter().fold(TestRequest::default(), |request, header| request.insert_header(*header));
        refusal(&method, request.to_http_request().headers()).is_some()
    }

    #[test]
    fn only_local_names_are_answered() {
        for host in ["localhost", "LOCALHOST:9090", "127.0.0.1", "127.0.0.1:9090", "127.8.8.8:1", "[::1]", "[::1]:9090"]
        {
            assert!(!is_refused(Method::GET, &[("host", host)]), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:9090",
            "0.0.0.0",
            "[::1",
            "192.0.2.1",
        ] {
            assert!(is_refused(Method::GET, &[("host", host)]), "{host}");
        }
        assert!(is_refused(Method::GET, &[]));
    }

    #[test]
    fn a_request_that_changes_something_comes_from_here_or_from_no_page() {
        let host = ("host", "127.0.0.1:9090");
        assert!(!is_refused(Method::POST, &[host]));
        assert!(!is_refused(Method::POST, &[host, ("origin", "http://127.0.0.1:9090")]));
        for origin in
            ["null", "", "http://evil.example", "http://127.0.0.1:3000", "http://localhost:9090", "127.0.0.1:9090"]
        {
            assert!(is_refused(Method::POST, &[host, ("origin", origin)]), "{origin}");
            assert!(is_refused(Method::DELETE, &[host, ("origin", origin)]), "{origin}");
            assert!(!is_refused(Method::GET, &[host, ("origin", origin)]), "{origin}");
        }
    }
}
