//! The four routes of the public API: who may call them, what a well-formed call is, what it does.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::AUTHORIZATION;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Scopes;
use super::delivery::{self, Answer, Open};
use super::faults::{Asked, Effect, Endpoint, FaultRule, Stage, Then};
use super::listing;
use super::state::{Shared, Submission};

const MAX_BODY: usize = 1 << 20;
const ROLES: [&str; 4] = ["user", "agent", "finibot", "otherbot"];

pub(super) fn routes(config: &mut web::ServiceConfig) {
    let otherwise = || web::route().to(not_found);
    let resource = |path: &str| web::resource(path).default_service(otherwise());
    config
        .service(resource("/v2/hc-interactions/events/public").route(web::post().to(ask)))
        .service(resource("/v2/hc-interactions/public").route(web::get().to(list)))
        .service(resource("/v2/hc-interactions/{id}/public").route(web::get().to(get)))
        .service(resource("/v2/bots/public").route(web::get().to(agents)))
        .default_service(otherwise());
}

async fn not_found(request: HttpRequest, shared: web::Data<Shared>) -> HttpResponse {
    let open = begin(&request, shared, Endpoint::Any);
    delivery::whole(Answer::error(404, format!("Cannot {} {}", request.method(), request.path())), open)
}

async fn ask(request: HttpRequest, payload: web::Payload, shared: web::Data<Shared>) -> HttpResponse {
    let open = begin(&request, shared, Endpoint::Ask);
    let shared = Arc::clone(&open.shared);
    if unread_cut(&open, Endpoint::Ask) {
        return delivery::cut(&request, open);
    }
    let workspace = match authorise(&shared, &request, Needs::Write) {
        Ok(workspace) => workspace,
        Err(refusal) => return delivery::whole(refusal, open),
    };
    let Ok(body) = payload.to_bytes_limited(MAX_BODY).await else {
        return delivery::whole(Answer::error(413, "request entity too large"), open);
    };
    let submission = match body.map_err(|_| Answer::error(400, "the body broke off")).and_then(|body| read(&body)) {
        Ok(submission) => submission,
        Err(refusal) => return delivery::whole(refusal, open),
    };
    shared.record(open.n, |call| {
        call.role = Some(submission.role.clone());
        call.content = Some(submission.content.clone());
        call.bot_id = submission.bot_id.clone();
        call.interaction_id = submission.interaction_id.clone();
        call.metadata = Value::Object(submission.metadata.clone());
    });
    let rule = shared.fault(
        open.n,
        &Asked {
            at: Endpoint::Ask,
            stage: Stage::Read,
            content: Some(&submission.content),
            conversation: submission.interaction_id.as_deref(),
        },
    );
    let effect = rule.as_ref().map_or(Effect::Answered, |rule| rule.effect);
    let n = open.n;
    let work = |gate| async move { work(&shared, n, workspace, &submission, effect, gate).await };
    respond(&request, rule, open, work).await
}

async fn list(request: HttpRequest, shared: web::Data<Shared>) -> HttpResponse {
    let query = request.query_string().to_owned();
    answer_read(&request, shared, Endpoint::List, move |shared, workspace| listing::page(shared, workspace, &query))
        .await
}

async fn get(request: HttpRequest, id: web::Path<String>, shared: web::Data<Shared>) -> HttpResponse {
    answer_read(&request, shared, Endpoint::Get, move |shared, workspace| match shared.get(workspace, &id) {
        Some(conversation) => Answer::ok(conversation),
        None => Answer::error(500, "failed to load the conversation"),
    })
    .await
}

async fn agents(request: HttpRequest, shared: web::Data<Shared>) -> HttpResponse {
    answer_read(&request, shared, Endpoint::Agents, |shared, workspace| {
        let agents = shared.workspaces().get(workspace).map(|workspace| workspace.agents.as_slice());
        let shown = agents.unwrap_or_default().iter().map(|agent| json!({ "id": agent.id, "name": agent.name }));
        Answer::ok(Value::Array(shown.collect()))
    })
    .await
}

async fn answer_read(
    request: &HttpRequest,
    shared: web::Data<Shared>,
    endpoint: Endpoint,
    compute: impl FnOnce(&Shared, usize) -> Answer + Send + 'static,
) -> HttpResponse {
    let open = begin(request, shared, endpoint);
    let shared = Arc::clone(&open.shared);
    if unread_cut(&open, endpoint) {
        return delivery::cut(request, open);
    }
    let workspace = match authorise(&shared, request, Needs::Read) {
        Ok(workspace) => workspace,
        Err(refusal) => return delivery::whole(refusal, open),
    };
    let conversation = request.match_info().get("id").map(str::to_owned);
    let asked = Asked { at: endpoint, stage: Stage::Read, content: None, conversation: conversation.as_deref() };
    let rule = shared.fault(open.n, &asked);
    let work = |gate| async move {
        pass(gate).await;
        compute(&shared, workspace)
    };
    respond(request, rule, open, work).await
}

/// Shut for a call that is held.
type Gate = Option<watch::Receiver<u64>>;

async fn pass(gate: Gate) {
    if let Some(mut gate) = gate {
        // An error means that the simulator is gone, and nobody waits any more.
        let _ = gate.changed().await;
    }
}

/// Lets the work run to its end whether or not the caller stays, as Fini does.
async fn respond<F: Future<Output = Answer> + Send + 'static>(
    request: &HttpRequest,
    rule: Option<FaultRule>,
    open: Open,
    work: impl FnOnce(Gate) -> F,
) -> HttpResponse {
    let (wait, then) = rule.map_or((0, Then::Answer), |rule| (rule.wait_ms, rule.then));
    let work = work((then == Then::Hold).then(|| open.shared.gate()));
    let left = CancellationToken::new();
    let _leaves = left.clone().drop_guard();
    let after_hang_up = match then {
        Then::AfterHangUp { after_ms } => Some(Duration::from_millis(after_ms)),
        _ => None,
    };
    let task = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(wait)).await;
        if let Some(after) = after_hang_up {
            left.cancelled().await;
            tokio::time::sleep(after).await;
        }
        work.await
    });
    let answer = match task.await {
        Ok(answer) => answer,
        Err(_) => Answer::error(500, "the simulator's own program failed"),
    };
    delivery::deliver(request, &then, answer, open).await
}

/// What happens inside Fini to a question.
async fn work(
    shared: &Arc<Shared>,
    n: u64,
    workspace: usize,
    submission: &Submission,
    effect: Effect,
    gate: Gate,
) -> Answer {
    if effect == Effect::Nothing {
        return Answer::error(500, "simulated fault");
    }
    let Some((question, event)) = shared.submit(workspace, submission) else {
        return Answer::error(500, "failed to resolve the bot or to load the conversation");
    };
    let _running = shared.running_within(&question.conversation);
    shared.record(n, |call| {
        call.conversation = Some(question.conversation.clone());
        call.stored.extend(event_id(&event));
    });
    if effect == Effect::Stored || submission.role != "user" {
        return Answer::ok(json!([event]));
    }
    let reply = shared.reply(&question);
    pass(gate).await;
    tokio::time::sleep(shared.settings().answer_delay + reply.takes).await;
    let answered = shared.store(&question.conversation, &reply.events);
    shared.record(n, |call| call.answered.extend(answered.iter().filter_map(event_id)));
    if !reply.late.is_empty() {
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            tokio::time::sleep(shared.settings().late_answer).await;
            shared.store(&question.conversation, &reply.late);
        });
    }
    Answer::ok(std::iter::once(event).chain(answered).collect())
}

fn event_id(event: &Value) -> Option<String> {
    event.get("id").and_then(Value::as_str).map(str::to_owned)
}

fn begin(request: &HttpRequest, shared: web::Data<Shared>, endpoint: Endpoint) -> Open {
    let path = request.uri().path_and_query().map_or_else(|| request.path(), |path| path.as_str());
    let n = shared.begin_call(endpoint, request.method().as_str(), path, key(request).map(str::to_owned));
    Open::new(shared.into_inner(), n)
}

fn unread_cut(open: &Open, at: Endpoint) -> bool {
    let asked = Asked { at, stage: Stage::Unread, content: None, conversation: None };
    open.shared.fault(open.n, &asked).is_some()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Read,
    Write,
}

fn key(request: &HttpRequest) -> Option<&str> {
    request.headers().get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

/// The workspace of the key.
fn authorise(shared: &Shared, request: &HttpRequest, needs: Needs) -> Result<usize, Answer> {
    let key = key(request).filter(|key| key.starts_with("fini_"));
    let found = shared.workspaces().iter().enumerate().find_map(|(at, workspace)| {
        let known = workspace.keys.iter().find(|known| Some(known.key.as_str()) == key)?;
        Some((at, known.scopes))
    });
    let Some((workspace, scopes)) = found else { return Err(Answer::error(401, "Unauthorized")) };
    match (needs, scopes) {
        (Needs::Read, Scopes::Write) => Err(Answer::error(403, "The API key does not include the read scope")),
        (Needs::Write, Scopes::Read) => Err(Answer::error(403, "The API key does not include the write scope")),
        _ => Ok(workspace),
    }
}

/// Checks the form of a question. Fields that are not documented are tolerated.
fn read(body: &[u8]) -> Result<Submission, Answer> {
    let refuse = |message: &str| Answer::error(400, message);
    let body: Value = serde_json::from_slice(body).map_err(|_| refuse("the body is not JSON"))?;
    let fields = body.as_object().ok_or_else(|| refuse("the body is not an object"))?;
    let text = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(Some(text.clone())),
        Some(_) => Err(refuse(&format!("{name} must be a non-empty string"))),
    };
    let content = text("content")?.ok_or_else(|| refuse("content is required"))?;
    let role = text("role")?.unwrap_or_else(|| "user".to_owned());
    if !ROLES.contains(&role.as_str()) {
        return Err(refuse("role must be one of user, agent, finibot, otherbot"));
    }
    let (interaction_id, bot_id) = (text("interactionId")?, text("botId")?);
    if interaction_id.is_none() && bot_id.is_none() {
        return Err(refuse("botId is required when interactionId is omitted"));
    }
    let metadata = match fields.get("metadata") {
        None | Some(Value::Null) => serde_json::Map::new(),
        Some(Value::Object(metadata)) => metadata.clone(),
        Some(_) => return Err(refuse("metadata must be an object")),
    };
    if metadata.get("user_attributes").is_some_and(|attributes| !attributes.is_object()) {
        return Err(refuse("metadata.user_attributes must be an object"));
    }
    Ok(Submission { content, role, interaction_id, bot_id, metadata })
}
