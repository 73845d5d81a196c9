//! actix's HTTP/1 service on sockets of our own: actix-web's own server can't close a chosen connection.

use std::fmt::Debug;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, KeepAlive, Request, Response};
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, apply_fn_factory, fn_service, map_config,
};
use actix_web::body::BoxBody;
use actix_web::dev::{AppConfig, Server, ServerHandle, ServiceResponse};
use tokio::net::TcpStream;

use super::connections::{Connections, Deadlines, Reclaim, WAITING_FOR_A_SLOT, enforce_deadlines};
use super::stream::{AnswerBody, InHand, State, Stream};

/// For the head of a request; later ones are 408.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// Our own limits end what actix's leave open, and come later, so that its answers go out.
const MARGIN: Duration = Duration::from_secs(2);
/// For the peer to close after us.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// A server that is bound but not yet running.
pub struct Listener {
    pub address: SocketAddr,
    pub handle: ServerHandle,
    pub server: Server,
}

/// How a listener serves.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of all workers together.
    pub max_connections: usize,
    /// Between two requests. `None`: a connection takes one request.
    pub keep_alive: Option<Duration>,
    /// Threads; `None`: one for each core.
    pub workers: Option<usize>,
    /// For requests in hand when it is stopped. Whole seconds, at least one.
    pub stop_within: Duration,
}

/// Serves what `app` makes, once for each worker. `reclaim`: see [`Connections`].
pub fn serve<A, I, S>(listener: TcpListener, limits: Limits, reclaim: Reclaim, app: A) -> std::io::Result<Listener>
where
    A: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig, Response = ServiceResponse<BoxBody>, Error = actix_web::Error>
        + 'static,
    S::InitError: Debug,
    S::Service: 'static,
{
    let address = listener.local_addr()?;
    let idle = limits.keep_alive.unwrap_or(HEAD_WITHIN).max(HEAD_WITHIN);
    let deadlines = Deadlines { head: HEAD_WITHIN + MARGIN, idle: idle + MARGIN };
    let connections = Connections::new(limits.max_connections, deadlines, reclaim);
    let workers = limits.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(2, NonZeroUsize::get));
    let accepted = (connections.max() + WAITING_FOR_A_SLOT).div_ceil(workers);
    let builder = Server::build();
    let stopping = builder.graceful_shutdown_signal();
    let watched = Arc::downgrade(&connections);
    let server = builder
        .workers(workers)
        .max_concurrent_connections(accepted)
        .shutdown_timeout(limits.stop_within.as_secs().max(1))
        .disable_signals()
        .listen("http", listener, move || {
            let (connections, closed) = (connections.clone(), stopping.clone());
            let admitted = fn_service(move |io: TcpStream| {
                let (connections, closed) = (connections.clone(), closed.clone());
                async move {
                    let _ = io.set_nodelay(true);
                    let peer = io.peer_addr().ok();
                    let place = tokio::select! {
                        biased;
                        place = connections.admit() => place,
                        () = closed.notified() => None,
                    };
                    let place = place.ok_or(DispatchError::DisconnectTimeout)?;
                    Ok((Stream::new(io, place), peer))
                }
            });
            let stopping = stopping.clone();
            let http = HttpService::build()
                .graceful_shutdown_signal(move || {
                    let stopping = stopping.clone();
                    async move { stopping.notified().await }
                })
                .keep_alive(limits.keep_alive.map_or(KeepAlive::Disabled, KeepAlive::Timeout))
                .client_request_timeout(HEAD_WITHIN)
                .client_disconnect_timeout(CLOSE_WITHIN)
                // A caller that is gone is noticed at once: its answer goes out as a callback then.
                .h1_allow_half_closed(false)
                .local_addr(address)
                .on_connect_ext(|io: &Stream, data| {
                    data.insert(io.state());
                })
                .h1(tracked(map_config(app().into_factory(), |()| AppConfig::default())));
            admitted.and_then(http)
        })?
        .run();
    tokio::spawn(enforce_deadlines(watched));
    Ok(Listener { address, handle: server.handle(), server })
}

/// Says when a connection has a request in hand.
fn tracked<S>(
    app: S,
) -> impl ServiceFactory<
    Request,
    Config = (),
    Response = Response<AnswerBody>,
    Error = actix_web::Error,
    InitError = S::InitError,
    Service = impl Service<Request, Response = Response<AnswerBody>, Error = actix_web::Error, Future: 'static>,
>
where
    S: ServiceFactory<Request, Config = (), Response = ServiceResponse<BoxBody>, Error = actix_web::Error> + 'static,
{
    apply_fn_factory(app, |mut request: Request, app: &S::Service| {
        let state = request.conn_data::<Rc<State>>().cloned();
        let in_hand = state.map(|state| InHand::begin(&mut request, state));
        let answer = app.call(request);
        async move {
            let response = match answer.await {
                Ok(response) => Response::from(response),
                Err(error) => Response::from(error),
            };
            Ok(response.map_body(|_, body| AnswerBody::new(body, in_hand)))
        }
    })
}
