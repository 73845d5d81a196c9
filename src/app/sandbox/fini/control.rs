//! What lies beside the API: the ledger, the faults and the settings, for other processes. The module's
//! documentation shows the JSON.

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::{Next, from_fn};
use actix_web::{HttpMessage, HttpResponse, web};
use serde::Deserialize;
use serde_json::Value;

use super::faults::FaultRule;
use super::reply::EventSpec;
use super::state::Shared;

/// What changes while the simulator runs; what is missing stays as it is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Change {
    pub answer_delay_ms: Option<u64>,
    /// A new conversation stands in the list only so long after it began.
    pub list_lag_ms: Option<u64>,
    /// Get and List show an event only so long after it was stored.
    pub read_lag_ms: Option<u64>,
    /// After `debounce`, the answer comes so much later.
    pub late_answer_ms: Option<u64>,
    pub echo_user_attributes: Option<bool>,
    /// What follows the next questions, one each.
    pub replies: Vec<Vec<EventSpec>>,
    pub append: Vec<Append>,
    pub seed: Option<Seed>,
    pub vanish: Vec<String>,
    /// Conversations of an earlier simulator, as its ledger showed them.
    pub restore: Vec<Value>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Append {
    pub conversation: String,
    pub event: EventSpec,
}

/// Conversations of other people: each with this question and an answer, in the first agent of the
/// first workspace, listed at once.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seed {
    pub count: usize,
    pub text: String,
    /// Each began so much earlier than the one before; 0: all at the same moment, now.
    #[serde(default)]
    pub every_ms: u64,
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    let faults = web::resource("/faults").route(web::post().to(add_faults)).route(web::delete().to(clear_faults));
    config.service(
        web::scope("/__simulator")
            .service(web::resource("/ledger").route(web::get().to(ledger)))
            .service(faults)
            .service(web::resource("/config").route(web::post().to(change)))
            .wrap(from_fn(only_json)),
    );
}

/// What a page elsewhere may send without asking first is not JSON.
async fn only_json(request: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    if request.method() == Method::POST && request.content_type() != "application/json" {
        return Ok(request.into_response(HttpResponse::UnsupportedMediaType().body("must be application/json\n")));
    }
    next.call(request).await
}

async fn ledger(shared: web::Data<Shared>) -> HttpResponse {
    HttpResponse::Ok().json(shared.ledger())
}

async fn add_faults(shared: web::Data<Shared>, body: web::Bytes) -> HttpResponse {
    let rules = match serde_json::from_slice(&body) {
        Ok(Value::Array(rules)) => rules,
        Ok(rule) => vec![rule],
        Err(error) => return HttpResponse::BadRequest().body(error.to_string()),
    };
    match rules.into_iter().map(serde_json::from_value::<FaultRule>).collect::<Result<Vec<_>, _>>() {
        Ok(rules) => rules.into_iter().for_each(|rule| shared.add_fault(rule)),
        Err(error) => return HttpResponse::BadRequest().body(error.to_string()),
    }
    HttpResponse::NoContent().finish()
}

async fn clear_faults(shared: web::Data<Shared>) -> HttpResponse {
    shared.clear_faults();
    HttpResponse::NoContent().finish()
}

async fn change(shared: web::Data<Shared>, body: web::Bytes) -> HttpResponse {
    match serde_json::from_slice(&body) {
        Ok(change) => {
            shared.change(change);
            HttpResponse::NoContent().finish()
        }
        Err(error) => HttpResponse::BadRequest().body(error.to_string()),
    }
}
