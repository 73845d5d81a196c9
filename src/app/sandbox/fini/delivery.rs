//! How an answer reaches its caller, or fails to: whole, in part, slowly, or not at all.

use std::any::Any;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::SizedStream;
use actix_web::dev::Extensions;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, RETRY_AFTER};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use futures::stream;
use serde_json::{Value, json};

use super::faults::Then;
use super::state::Shared;

/// What one call comes to.
pub(super) struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    pub fn ok(body: Value) -> Self {
        Self { status: 200, body }
    }

    /// Fini's error envelope.
    pub fn error(status: u16, message: impl Into<String>) -> Self {
        let error = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Error");
        Self { status, body: json!({ "statusCode": status, "message": message.into(), "error": error }) }
    }
}

/// A call while its caller waits. Dropped without an end, it is the caller who left.
pub(super) struct Open {
    pub shared: Arc<Shared>,
    pub n: u64,
    ended: Option<&'static str>,
}

impl Open {
    pub fn new(shared: Arc<Shared>, n: u64) -> Self {
        Self { shared, n, ended: None }
    }

    fn end(mut self, how: &'static str) {
        self.ended = Some(how);
    }

    fn told(&self, status: u16) {
        self.shared.record(self.n, |call| call.status = Some(status));
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.end(self.n, self.ended.unwrap_or("caller left"));
    }
}

/// A second handle on the connection's socket, so that a handler can cut it.
struct Socket(TcpStream);

pub(super) fn keep_socket(connection: &dyn Any, extensions: &mut Extensions) {
    let Some(stream) = connection.downcast_ref::<actix_web::rt::net::TcpStream>() else { return };
    if let Ok(second) = stream.as_fd().try_clone_to_owned() {
        extensions.insert(Arc::new(Socket(TcpStream::from(second))));
    }
}

fn socket(request: &HttpRequest) -> Option<Arc<Socket>> {
    request.conn_data::<Arc<Socket>>().cloned()
}

/// Ends the connection without a byte of an answer.
pub(super) fn cut(request: &HttpRequest, open: Open) -> HttpResponse {
    if let Some(socket) = socket(request) {
        let _ = socket.0.shutdown(Shutdown::Both);
    }
    open.end("cut");
    HttpResponse::InternalServerError().finish()
}

/// Long enough for what was written so far to leave the process.
const FLUSH: Duration = Duration::from_millis(50);
const SLOW_PIECES: usize = 10;

pub(super) async fn deliver(request: &HttpRequest, then: &Then, answer: Answer, open: Open) -> HttpResponse {
    match then {
        Then::Answer | Then::Hold => whole(answer, open),
        Then::Status { status, retry_after } => {
            let mut response = whole(Answer::error(*status, "simulated fault"), open);
            if let Some(seconds) = retry_after {
                response.headers_mut().insert(RETRY_AFTER, (*seconds).into());
            }
            response
        }
        Then::Refuse { message } => whole(Answer::error(400, message), open),
        Then::Html { status } => {
            open.told(*status);
            open.end("answered");
            head(*status)
                .insert_header((CONTENT_TYPE, "text/html"))
                .body("<html><head><title>Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>")
        }
        Then::Truncated => {
            open.told(answer.status);
            open.end("answered");
            let mut text = text(&answer);
            text.truncate(text.len() / 2);
            head(answer.status).insert_header((CONTENT_TYPE, "application/json")).body(text)
        }
        Then::CutMidway => cut_midway(request, &answer, open),
        Then::SlowBody { over_ms } => slow(&answer, Duration::from_millis(*over_ms), open),
        Then::Cut | Then::CutUnread => cut(request, open),
        Then::Hang | Then::AfterHangUp { .. } => {
            // Kept open until actix drops this handler together with the connection.
            let _open = open;
            std::future::pending().await
        }
    }
}

pub(super) fn whole(answer: Answer, open: Open) -> HttpResponse {
    open.told(answer.status);
    open.end("answered");
    head(answer.status).insert_header((CONTENT_TYPE, "application/json; charset=utf-8")).body(text(&answer))
}

fn head(status: u16) -> actix_web::HttpResponseBuilder {
    HttpResponse::build(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
}

fn text(answer: &Answer) -> Vec<u8> {
    answer.body.to_string().into_bytes()
}

fn cut_midway(request: &HttpRequest, answer: &Answer, open: Open) -> HttpResponse {
    open.told(answer.status);
    let body = text(answer);
    let length = body.len() as u64;
    let half = Bytes::copy_from_slice(body.split_at(body.len() / 2).0);
    let socket = socket(request);
    let pieces = stream::unfold((Some(half), Some(open)), move |(half, open)| {
        let socket = socket.clone();
        async move {
            if let Some(half) = half {
                return Some((Ok::<_, std::io::Error>(half), (None, open)));
            }
            tokio::time::sleep(FLUSH).await;
            if let Some(socket) = socket {
                let _ = socket.0.shutdown(Shutdown::Both);
            }
            open?.end("cut");
            Some((Err(std::io::ErrorKind::ConnectionAborted.into()), (None, None)))
        }
    });
    head(answer.status)
        .insert_header((CONTENT_TYPE, "application/json"))
        .body(SizedStream::new(length, Box::pin(pieces)))
}

fn slow(answer: &Answer, over: Duration, open: Open) -> HttpResponse {
    open.told(answer.status);
    let body = text(answer);
    let length = body.len() as u64;
    let pieces: Vec<Bytes> = body.chunks(body.len().div_ceil(SLOW_PIECES).max(1)).map(Bytes::copy_from_slice).collect();
    let pause = over / u32::try_from(pieces.len().max(1)).unwrap_or(1);
    let pieces = stream::unfold((pieces.into_iter(), open), move |(mut pieces, open)| async move {
        tokio::time::sleep(pause).await;
        let piece = pieces.next()?;
        if pieces.len() == 0 {
            // A sized body is not asked for more once it is complete.
            open.shared.record(open.n, |call| call.ended = Some("answered".to_owned()));
        }
        Some((Ok::<_, std::io::Error>(piece), (pieces, open)))
    });
    head(answer.status)
        .insert_header((CONTENT_TYPE, "application/json"))
        .body(SizedStream::new(length, Box::pin(pieces)))
}
