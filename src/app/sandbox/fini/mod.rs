//! A simulated Fini: the public API as its documents describe it, served on this machine. It serves the
//! sandbox and the tests. Strict about what it is sent, and it says in each answer that it is a simulation.
//!
//! It must not use the types of [`crate::fini`]: it is a second, independent reading of the documents, or
//! a misreading would agree with itself. Where they leave something open it takes the harsher reading:
//! `since` alone defaults to seven days before now, both ends of the span belong to it, a cursor's place
//! is where its conversation stands *now*.
//!
//! # Beside the API
//!
//! It answers to a local Host name only ([`Names`]), and takes changes as `application/json` and not from pages of
//! other sites.
//!
//! `GET /__simulator/ledger`: every call, what it stored, how it ended ([`Ledger`]). Calls beyond the
//! last 100,000 are forgotten, the counts are not.
//!
//! ```json
//! {"calls":[{"n":1,"at":1749640953000,"endpoint":"ask","method":"POST","path":"/v2/hc-interactions/events/public",
//!   "key":"fini_sandbox_key","role":"user","content":"hi","botId":"…","interactionId":null,"metadata":{},
//!   "conversation":"…","stored":["event id"],"answered":["event id"],"fault":null,"status":200,
//!   "ended":"answered","endedAt":1749640955000}],
//!  "listCalls":0,"askCalls":1,"maxConcurrent":1,"overlaps":0,
//!  "conversations":[{"id":"…","agentId":"…","workspace":0,"vanished":false,"events":[…],…PublicConversation…}]}
//! ```
//! `status` is null while the call runs and where none was given; `ended` is null, `answered`, `cut` or
//! `caller left`. `overlaps` counts asks that began while another ran in the same conversation.
//!
//! `POST /__simulator/faults`: one rule or a list of them ([`FaultRule`]), added behind those that stand;
//! the first that fits a call is used. `DELETE` clears them all: calls that are held go on, those that hang stay so.
//!
//! ```json
//! {"at":"ask","contains":"refund","conversation":null,"skip":0,"times":1,"wait_ms":0,
//!  "effect":"nothing","then":{"kind":"status","status":429,"retry_after":2}}
//! ```
//! `at`: `ask`, `list`, `get`, `agents`, `any`. `skip`: fitting calls that pass before it (default 0).
//! `times`: how often it is used; null or missing: until cleared. `effect`: `nothing`, `stored` (the message,
//! no answer), `answered` (both; the default). `then`: `{"kind":"answer"}`, `status` (with Fini's envelope),
//! `html` (with `status`), `hold` (the question is stored, its answer waits until the faults are cleared), `hang`, `cut` (no byte of an answer), `cut_unread` (before the body is read;
//! `contains`, `conversation` and `effect` don't apply), `cut_midway`, `truncated` (half the JSON, whole as
//! HTTP), `slow_body` (`over_ms`), `after_hang_up` (`after_ms`: the effect comes so long after the caller left).
//!
//! `POST /__simulator/config`: each key is optional ([`Change`]).
//!
//! ```json
//! {"answer_delay_ms":0,"list_lag_ms":0,"read_lag_ms":0,"late_answer_ms":3000,"echo_user_attributes":true,
//!  "replies":[[{"role":"finibot","type":"message","message":"the next answer"}]],
//!  "append":[{"conversation":"…","event":{"role":"agent","type":"message","message":"a person here"}}],
//!  "seed":{"count":300,"text":"Where is my order?","every_ms":0},"vanish":["conversation id"],
//!  "restore":[{"id":"…","agentId":"…","workspace":0,…as in a ledger's conversations…}]}
//! ```

mod api;
mod control;
mod conversation;
mod delivery;
mod faults;
mod ledger;
mod listing;
mod reply;
mod state;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::middleware::{Condition, from_fn};
use actix_web::{App, HttpServer, web};

pub use control::{Change, Seed};
pub use faults::{Effect, Endpoint, FaultRule, Then};
pub use ledger::{Call, Ledger};
pub use reply::{EventSpec, Question, REQUEST_WORDS};
use state::Shared;

use crate::domain::clock::{Clock, SystemClock};
use crate::web::only_by_a_local_name;

/// What the simulator begins with.
#[derive(Clone)]
pub struct SimulatorConfig {
    /// A loopback address; port 0: any free one.
    pub address: SocketAddr,
    pub workspaces: Vec<Workspace>,
    pub names: Names,
    /// From the storing of a question to its answer.
    pub answer_delay: Duration,
    /// A new conversation stands in the list only so long after it began.
    pub list_lag: Duration,
    /// What the dates of events are told by. Delays run by tokio's time.
    pub clock: Arc<dyn Clock>,
}

/// By which Host names it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Those of this machine: a page elsewhere can't read along.
    Local,
    /// Any, such as those that a proxy knows.
    Any,
}

#[derive(Clone, Debug)]
pub struct Workspace {
    pub keys: Vec<ApiKey>,
    /// Newest first.
    pub agents: Vec<SimulatedAgent>,
}

#[derive(Clone, Debug)]
pub struct ApiKey {
    /// Begins with `fini_`.
    pub key: String,
    pub scopes: Scopes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scopes {
    Read,
    Write,
    ReadAndWrite,
}

#[derive(Clone, Debug)]
pub struct SimulatedAgent {
    /// A UUID: List refuses others as `agentId`.
    pub id: String,
    pub name: String,
}

impl SimulatorConfig {
    /// The key of the workspace that [`Default`] brings.
    pub const KEY: &'static str = "fini_sandbox_key";
    /// Its agents.
    pub const SUPPORT: &'static str = "4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3";
    pub const BILLING: &'static str = "9d2f7f0e-5b1c-4a53-9a55-0c1d9c7e6a10";
}

impl Default for SimulatorConfig {
    fn default() -> Self {
        let agent = |id: &str, name: &str| SimulatedAgent { id: id.to_owned(), name: name.to_owned() };
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            names: Names::Local,
            workspaces: vec![Workspace {
                keys: vec![ApiKey { key: Self::KEY.to_owned(), scopes: Scopes::ReadAndWrite }],
                agents: vec![agent(Self::BILLING, "Billing"), agent(Self::SUPPORT, "Support")],
            }],
            answer_delay: Duration::ZERO,
            list_lag: Duration::ZERO,
            clock: Arc::new(SystemClock),
        }
    }
}

#[derive(Debug)]
pub struct SimulatedFini;

impl SimulatedFini {
    /// Must be called within a tokio runtime.
    pub async fn start(config: SimulatorConfig) -> std::io::Result<Running> {
        let (address, names) = (config.address, config.names);
        let shared = Arc::new(Shared::new(config));
        let (address, server) = listen(&shared, address, names)?;
        Ok(Running { address, names, shared, server: Mutex::new(Some(server)) })
    }
}

/// A simulator that serves. Stops listening when dropped only together with its runtime: call [`Running::stop`].
pub struct Running {
    pub address: SocketAddr,
    names: Names,
    shared: Arc<Shared>,
    server: Mutex<Option<ServerHandle>>,
}

impl Running {
    /// `fini.base_url`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn ledger(&self) -> Ledger {
        self.shared.ledger()
    }

    pub fn faults(&self) -> Faults<'_> {
        Faults { shared: &self.shared }
    }

    /// Applies what `POST /__simulator/config` takes.
    pub fn change(&self, change: Change) {
        self.shared.change(change);
    }

    /// From now on this says what follows a question, where no queued reply does. A request word no
    /// longer counts.
    pub fn reply_with(&self, program: impl FnMut(&Question) -> Vec<EventSpec> + Send + 'static) {
        self.shared.program(Box::new(program));
    }

    /// What follows the next question that has no reply queued before it.
    pub fn queue_reply(&self, events: Vec<EventSpec>) {
        self.change(Change { replies: vec![events], ..Change::default() });
    }

    /// An event that comes into a conversation by itself, such as a human agent's. Unknown ids are ignored.
    pub fn append(&self, conversation: &str, event: EventSpec) {
        self.shared.append(conversation, &event);
    }

    /// From now on the conversation is gone: not listed, and its id gives 500.
    pub fn vanish(&self, conversation: &str) {
        self.change(Change { vanish: vec![conversation.to_owned()], ..Change::default() });
    }

    /// Drops every connection and stops listening; keeps what is stored.
    pub async fn stop(&self) {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(server) = server {
            server.stop(false).await;
        }
    }

    /// Listens again, on the same port, with what is stored.
    pub fn resume(&self) -> std::io::Result<()> {
        let (_, handle) = listen(&self.shared, self.address, self.names)?;
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle);
        Ok(())
    }
}

/// The rules of [`Running::faults`].
#[derive(Clone, Copy)]
pub struct Faults<'a> {
    shared: &'a Shared,
}

impl Faults<'_> {
    pub fn add(self, rule: FaultRule) {
        self.shared.add_fault(rule);
    }

    /// Calls that are held go on; those that hang stay so.
    pub fn clear(self) {
        self.shared.clear_faults();
    }
}

fn listen(shared: &Arc<Shared>, address: SocketAddr, names: Names) -> std::io::Result<(SocketAddr, ServerHandle)> {
    let shared = web::Data::from(Arc::clone(shared));
    let server = HttpServer::new(move || {
        App::new()
            .app_data(shared.clone())
            .configure(control::routes)
            .configure(api::routes)
            .wrap(Condition::new(names == Names::Local, from_fn(only_by_a_local_name)))
    })
    .on_connect(delivery::keep_socket)
    // A caller who hangs up ends its handler, which is how the simulator learns of it.
    .h1_allow_half_closed(false)
    .keep_alive(Duration::from_secs(75))
    .workers(2)
    .backlog(4096)
    .disable_signals()
    .bind(address)?;
    let address = server.addrs().first().copied().ok_or(std::io::ErrorKind::AddrNotAvailable)?;
    let server = server.run();
    let handle = server.handle();
    tokio::spawn(server);
    Ok((address, handle))
}
