//! The listeners: webhooks for the world, the admin listener, and metrics alone where that is wanted.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{ALLOW, AUTHORIZATION, ContentType, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::middleware::{Next, from_fn};
use actix_web::web::ServiceConfig;
use actix_web::{App, HttpResponse, Resource, Route, guard, web};

use super::health::{Readiness, livez, readyz};
use super::intake::{Intake, RETRY_AFTER_SECS, webhook};
use super::local_name::refusal;
use super::serve::{Limits, Listener, serve};
use crate::domain::id::ChannelName;
use crate::domain::secret::Secret;
use crate::signature::equal;
use crate::store::Store;
use crate::telemetry::Metrics;

/// Of the admin listener, and of the metrics listener: a few people, a few scrapers.
pub const OPERATOR_CONNECTIONS: usize = 128;
const OPERATOR_KEEP_ALIVE: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub struct AdminState {
    pub store: Arc<dyn Store>,
    pub metrics: Arc<Metrics>,
    pub readiness: Readiness,
    /// `None`: the listener is on loopback.
    pub token: Option<Secret>,
}

/// The webhooks, `/livez` and `/readyz`.
pub fn public(
    listener: TcpListener,
    intake: Arc<Intake>,
    max_connections: usize,
    keep_alive: Duration,
    drain: Duration,
) -> std::io::Result<Listener> {
    let reading = intake.clone();
    let intake = web::Data::from(intake);
    let limits = Limits {
        max_connections,
        keep_alive: Some(keep_alive),
        workers: None,
        // At the end of the drain; answers that wait for a turn have been told to end before.
        stop_within: drain.min(Duration::from_secs(10)),
    };
    serve(listener, limits, Box::new(move || reading.bodies.evict_oldest()), move || {
        App::new()
            .app_data(intake.clone())
            .app_data(web::Data::new(intake.readiness.clone()))
            .service(page("/livez", web::to(livez)))
            .service(page("/readyz", web::to(readyz)))
            .service(
                web::resource("/webhooks/{channel}{rest:(/.*)?}")
                    .route(web::post().to(webhook))
                    .route(web::get().to(webhook))
                    .route(web::put().to(webhook))
                    .default_service(web::to(no_webhook)),
            )
    })
}

/// In the place of [`public`] while the store is away at the start: whoever delivers is told to come again.
pub fn waiting(listener: TcpListener, readiness: Readiness, max_connections: usize) -> std::io::Result<Listener> {
    let limits = Limits {
        max_connections,
        // Nobody keeps a connection to this one.
        keep_alive: None,
        workers: Some(1),
        stop_within: Duration::from_secs(1),
    };
    serve(listener, limits, Box::new(|| {}), move || {
        App::new()
            .app_data(web::Data::new(readiness.clone()))
            .route("/livez", web::get().to(livez))
            .route("/readyz", web::get().to(readyz))
            .default_service(web::to(async || {
                HttpResponse::ServiceUnavailable().insert_header((RETRY_AFTER, RETRY_AFTER_SECS)).finish()
            }))
    })
}

/// `/metrics`, and what operators need.
pub fn admin(listener: TcpListener, state: AdminState) -> std::io::Result<Listener> {
    for_operators(listener, state, |config| {
        config.route("/", web::to(not_built_yet)).route("/api/v1{rest:(/.*)?}", web::to(not_built_yet));
    })
}

/// `/metrics`, `/livez` and `/readyz` without a token.
pub fn listen_metrics(listener: TcpListener, state: AdminState) -> std::io::Result<Listener> {
    for_operators(listener, AdminState { token: None, ..state }, |_| {})
}

fn for_operators(listener: TcpListener, state: AdminState, more: fn(&mut ServiceConfig)) -> std::io::Result<Listener> {
    let access = match &state.token {
        Some(token) => Access::Token(token.clone()),
        None if listener.local_addr()?.ip().is_loopback() => Access::LocalName,
        None => Access::Anybody,
    };
    let limits = Limits {
        max_connections: OPERATOR_CONNECTIONS,
        keep_alive: Some(OPERATOR_KEEP_ALIVE),
        workers: Some(1),
        stop_within: Duration::from_secs(1),
    };
    serve(listener, limits, Box::new(|| {}), move || {
        App::new()
            .app_data(web::Data::new(state.clone()))
            .app_data(web::Data::new(state.readiness.clone()))
            .app_data(web::Data::new(access.clone()))
            .service(page("/livez", web::to(livez)))
            .service(page("/readyz", web::to(readyz)))
            .service(page("/metrics", web::to(metrics)))
            .configure(more)
            .wrap(from_fn(authorize))
    })
}

/// Who is answered.
#[derive(Clone)]
enum Access {
    Token(Secret),
    LocalName,
    Anybody,
}

async fn authorize(
    access: web::Data<Access>,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let refused = match access.as_ref() {
        Access::Token(token) => {
            let given = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
            let allowed = given.is_some_and(|given| is_bearer(given, token));
            (!allowed).then(|| HttpResponse::Unauthorized().insert_header((WWW_AUTHENTICATE, "Bearer")).finish())
        }
        Access::LocalName => {
            refusal(request.method(), request.headers()).map(|reason| HttpResponse::Forbidden().body(reason))
        }
        Access::Anybody => None,
    };
    match refused {
        Some(refused) => Ok(request.into_response(refused)),
        None => next.call(request).await,
    }
}

/// Whether it carries the token; the scheme's name is written as one likes.
fn is_bearer(given: &[u8], token: &Secret) -> bool {
    given.split_at_checked("Bearer ".len()).is_some_and(|(scheme, given)| {
        scheme.eq_ignore_ascii_case(b"Bearer ") && equal(given, token.expose().as_bytes())
    })
}

async fn not_built_yet() -> HttpResponse {
    HttpResponse::NotImplemented().content_type(ContentType::plaintext()).body("not built yet\n")
}

/// What is only looked at.
fn page(path: &str, shown: Route) -> Resource {
    let looking = guard::Any(guard::Get()).or(guard::Head());
    web::resource(path).route(shown.guard(looking)).default_service(web::to(async || only("GET, HEAD")))
}

async fn no_webhook(path: web::Path<(String, String)>, intake: web::Data<Intake>) -> HttpResponse {
    let (name, _) = path.into_inner();
    if intake.channels.contains_key(&ChannelName::new(name)) {
        only("GET, POST, PUT")
    } else {
        HttpResponse::NotFound().finish()
    }
}

fn only(methods: &'static str) -> HttpResponse {
    HttpResponse::MethodNotAllowed().insert_header((ALLOW, methods)).finish()
}

async fn metrics(state: web::Data<AdminState>) -> HttpResponse {
    match state.store.stats().await {
        Ok(stats) => {
            state.metrics.clear_stored();
            for (channel, message_state, number) in &stats.by_state {
                state.metrics.messages(channel.as_str(), message_state.as_str(), *number);
            }
            for (channel, number) in &stats.pending_parts {
                state.metrics.pending_parts(channel.as_str(), *number);
            }
            state.metrics.oldest_waiting(stats.oldest_waiting.unwrap_or_default());
        }
        Err(error) => tracing::warn!(%error, "the store's figures can't be read"),
    }
    HttpResponse::Ok()
        .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
        .body(state.metrics.encode())
}
