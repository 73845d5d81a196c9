//! What the simulator remembers: conversations, settings, faults, calls.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use super::control::{Change, Seed};
use super::conversation::{Attributes, Conversation, Settings};
use super::faults::{Asked, Endpoint, FaultRule, pick};
use super::ledger::{Call, Ledger};
use super::reply::{self, EventSpec, Question, Reply};
use super::{SimulatedAgent, SimulatorConfig, Workspace};

const REMEMBERED_CALLS: usize = 100_000;

type Program = Box<dyn FnMut(&Question) -> Vec<EventSpec> + Send>;

pub(super) struct Shared {
    workspaces: Vec<Workspace>,
    clock: std::sync::Arc<dyn crate::domain::clock::Clock>,
    state: Mutex<State>,
    /// Of its own, so that a program may look into the ledger.
    program: Mutex<Option<Program>>,
    /// Changes whenever the faults are cleared.
    cleared: watch::Sender<u64>,
}

struct State {
    settings: Settings,
    conversations: Vec<Conversation>,
    places: HashMap<String, usize>,
    faults: Vec<FaultRule>,
    replies: VecDeque<Vec<EventSpec>>,
    calls: VecDeque<Call>,
    calls_begun: u64,
    list_calls: u64,
    ask_calls: u64,
    running: u64,
    max_concurrent: u64,
    overlaps: u64,
    asks_within: HashMap<String, usize>,
}

/// A question that passed the checks of its form.
#[derive(Clone)]
pub(super) struct Submission {
    pub content: String,
    pub role: String,
    pub interaction_id: Option<String>,
    pub bot_id: Option<String>,
    pub metadata: Map<String, Value>,
}

impl Shared {
    pub fn new(config: SimulatorConfig) -> Self {
        let settings = Settings {
            answer_delay: config.answer_delay,
            list_lag: config.list_lag,
            read_lag: Duration::ZERO,
            late_answer: Duration::from_secs(3),
            attributes: Attributes::Echoed,
        };
        Self {
            workspaces: config.workspaces,
            clock: config.clock,
            state: Mutex::new(State {
                settings,
                conversations: Vec::new(),
                places: HashMap::new(),
                faults: Vec::new(),
                replies: VecDeque::new(),
                calls: VecDeque::new(),
                calls_begun: 0,
                list_calls: 0,
                ask_calls: 0,
                running: 0,
                max_concurrent: 0,
                overlaps: 0,
                asks_within: HashMap::new(),
            }),
            program: Mutex::new(None),
            cleared: watch::Sender::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn now(&self) -> i64 {
        self.clock.now().as_millis()
    }

    pub fn workspaces(&self) -> &[Workspace] {
        &self.workspaces
    }

    fn agent(&self, workspace: usize, id: &str) -> Option<&SimulatedAgent> {
        self.workspaces.get(workspace)?.agents.iter().find(|agent| agent.id == id)
    }

    pub fn settings(&self) -> Settings {
        self.state().settings
    }

    pub fn change(&self, change: Change) {
        {
            let state = &mut *self.state();
            let set = |place: &mut Duration, millis: Option<u64>| {
                if let Some(millis) = millis {
                    *place = Duration::from_millis(millis);
                }
            };
            set(&mut state.settings.answer_delay, change.answer_delay_ms);
            set(&mut state.settings.list_lag, change.list_lag_ms);
            set(&mut state.settings.read_lag, change.read_lag_ms);
            set(&mut state.settings.late_answer, change.late_answer_ms);
            match change.echo_user_attributes {
                Some(true) => state.settings.attributes = Attributes::Echoed,
                Some(false) => state.settings.attributes = Attributes::Swallowed,
                None => {}
            }
            state.replies.extend(change.replies);
            for conversation in change.restore.iter().filter_map(Conversation::from_ledger) {
                state.add(conversation);
            }
            for id in change.vanish {
                if let Some(conversation) = state.conversation_mut(&id) {
                    conversation.vanished = true;
                }
            }
        }
        if let Some(seed) = change.seed {
            self.seed(&seed);
        }
        for append in change.append {
            self.append(&append.conversation, &append.event);
        }
    }

    pub fn program(&self, program: Program) {
        *self.program.lock().unwrap_or_else(PoisonError::into_inner) = Some(program);
    }

    fn seed(&self, seed: &Seed) {
        let now = self.now();
        let Some(agent) = self.workspaces.first().and_then(|workspace| workspace.agents.first()) else { return };
        let state = &mut *self.state();
        for earlier in (0..seed.count).rev() {
            let before = seed.every_ms.saturating_mul(earlier as u64);
            let at = now.saturating_sub(i64::try_from(before).unwrap_or(i64::MAX));
            let id = state.begin(0, &agent.id, at, None);
            for event in [EventSpec::new("user", "message", Some(&seed.text)), EventSpec::message("Somebody else's.")] {
                state.store(&id, &event, at, None);
            }
        }
    }

    /// An event that comes by itself.
    pub fn append(&self, conversation: &str, event: &EventSpec) {
        let now = self.now();
        self.state().store(conversation, event, now, Some(Instant::now()));
    }

    /// Stores the question; None where Fini fails with 500: an unknown or foreign id.
    pub fn submit(&self, workspace: usize, submission: &Submission) -> Option<(Question, Value)> {
        let now = self.now();
        let state = &mut *self.state();
        let id = match (&submission.interaction_id, &submission.bot_id) {
            (Some(id), _) => {
                let known = state.conversation_mut(id)?;
                (known.workspace == workspace && !known.vanished).then(|| known.id.clone())?
            }
            (None, Some(agent)) => {
                let agent = self.agent(workspace, agent)?;
                state.begin(workspace, &agent.id, now, Some(Instant::now()))
            }
            (None, None) => return None,
        };
        let conversation = state.conversation_mut(&id)?;
        if let Some(channel) = submission.metadata.get("channel").and_then(Value::as_str) {
            conversation.channel = Some(channel.to_owned());
        }
        if let Some(attributes) = submission.metadata.get("user_attributes").and_then(Value::as_object) {
            conversation.attributes.extend(attributes.clone());
        }
        let asked = EventSpec::new(&submission.role, "message", Some(&submission.content));
        let event = state.store(&id, &asked, now, Some(Instant::now()))?;
        let conversation = state.conversation_mut(&id)?;
        let turn = conversation.turns();
        let question = Question {
            content: submission.content.clone(),
            agent: conversation.agent.clone(),
            conversation: id,
            turn,
            metadata: Value::Object(submission.metadata.clone()),
        };
        Some((question, event))
    }

    /// What follows a question: what is queued, else the program's, else the simulator's own.
    pub fn reply(&self, question: &Question) -> Reply {
        if let Some(events) = self.state().replies.pop_front() {
            return Reply::of(events);
        }
        match &mut *self.program.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(program) => Reply::of(program(question)),
            None => reply::to(question),
        }
    }

    pub fn store(&self, conversation: &str, events: &[EventSpec]) -> Vec<Value> {
        let now = self.now();
        let state = &mut *self.state();
        events.iter().filter_map(|event| state.store(conversation, event, now, Some(Instant::now()))).collect()
    }

    /// Counts an ask as running in its conversation for as long as the guard lives.
    pub fn running_within(&self, conversation: &str) -> RunningAsk<'_> {
        let state = &mut *self.state();
        let running = state.asks_within.entry(conversation.to_owned()).or_default();
        *running += 1;
        if *running > 1 {
            state.overlaps += 1;
        }
        RunningAsk { shared: self, conversation: conversation.to_owned() }
    }

    /// A look at all conversations, in the order of their beginning.
    pub fn look<T>(&self, look: impl FnOnce(&[Conversation], Settings) -> T) -> T {
        let state = self.state();
        look(&state.conversations, state.settings)
    }

    /// Get conversation; None where Fini fails with 500.
    pub fn get(&self, workspace: usize, id: &str) -> Option<Value> {
        let state = self.state();
        let known = state.conversations.get(*state.places.get(id)?)?;
        (known.workspace == workspace && !known.vanished).then(|| known.public(state.settings))
    }

    pub fn add_fault(&self, rule: FaultRule) {
        self.state().faults.push(rule);
    }

    pub fn clear_faults(&self) {
        self.state().faults.clear();
        self.cleared.send_modify(|times| *times += 1);
    }

    /// Ends when the faults are cleared next.
    pub fn gate(&self) -> watch::Receiver<u64> {
        self.cleared.subscribe()
    }

    pub fn fault(&self, n: u64, call: &Asked<'_>) -> Option<FaultRule> {
        let rule = pick(&mut self.state().faults, call)?;
        self.record(n, |call| call.fault = serde_json::to_value(&rule).ok());
        Some(rule)
    }

    /// Writes a call into the ledger, and gives its number.
    pub fn begin_call(&self, endpoint: Endpoint, method: &str, path: &str, key: Option<String>) -> u64 {
        let at = self.now();
        let state = &mut *self.state();
        state.calls_begun += 1;
        state.running += 1;
        state.max_concurrent = state.max_concurrent.max(state.running);
        match endpoint {
            Endpoint::Ask => state.ask_calls += 1,
            Endpoint::List => state.list_calls += 1,
            Endpoint::Get | Endpoint::Agents | Endpoint::Any => {}
        }
        if state.calls.len() == REMEMBERED_CALLS {
            state.calls.pop_front();
        }
        state.calls.push_back(Call {
            n: state.calls_begun,
            at,
            endpoint,
            method: method.to_owned(),
            path: path.to_owned(),
            key,
            role: None,
            content: None,
            bot_id: None,
            interaction_id: None,
            metadata: Value::Null,
            conversation: None,
            stored: Vec::new(),
            answered: Vec::new(),
            fault: None,
            status: None,
            ended: None,
            ended_at: None,
        });
        state.calls_begun
    }

    pub fn record(&self, n: u64, write: impl FnOnce(&mut Call)) {
        if let Some(call) = self.state().call_mut(n) {
            write(call);
        }
    }

    /// What was recorded as its end before stands.
    pub fn end(&self, n: u64, how: &str) {
        let at = self.now();
        let state = &mut *self.state();
        state.running = state.running.saturating_sub(1);
        if let Some(call) = state.call_mut(n) {
            call.ended.get_or_insert_with(|| how.to_owned());
            call.ended_at = Some(at);
        }
    }

    pub fn ledger(&self) -> Ledger {
        let state = self.state();
        let everything = Settings { read_lag: Duration::ZERO, attributes: Attributes::Echoed, ..state.settings };
        let conversations = state.conversations.iter().map(|conversation| {
            let mut shown = conversation.public(everything);
            if let Some(fields) = shown.as_object_mut() {
                fields.insert("agentId".to_owned(), json!(conversation.agent));
                fields.insert("workspace".to_owned(), json!(conversation.workspace));
                fields.insert("vanished".to_owned(), json!(conversation.vanished));
            }
            shown
        });
        Ledger {
            conversations: conversations.collect(),
            calls: state.calls.iter().cloned().collect(),
            list_calls: state.list_calls,
            ask_calls: state.ask_calls,
            max_concurrent: state.max_concurrent,
            overlaps: state.overlaps,
        }
    }
}

impl State {
    fn conversation_mut(&mut self, id: &str) -> Option<&mut Conversation> {
        self.conversations.get_mut(*self.places.get(id)?)
    }

    fn call_mut(&mut self, n: u64) -> Option<&mut Call> {
        let forgotten = self.calls_begun.checked_sub(self.calls.len() as u64)?;
        self.calls.get_mut(usize::try_from(n.checked_sub(forgotten + 1)?).ok()?)
    }

    fn begin(&mut self, workspace: usize, agent: &str, at: i64, begun: Option<Instant>) -> String {
        let id = Uuid::new_v4().to_string();
        self.add(Conversation::new(id.clone(), workspace, agent, at, begun));
        id
    }

    fn add(&mut self, conversation: Conversation) {
        self.places.insert(conversation.id.clone(), self.conversations.len());
        self.conversations.push(conversation);
    }

    /// Gives the PublicEvent that was made of it.
    fn store(&mut self, conversation: &str, event: &EventSpec, at: i64, since: Option<Instant>) -> Option<Value> {
        let conversation = self.conversation_mut(conversation)?;
        Some(conversation.store(event, at, since))
    }
}

pub(super) struct RunningAsk<'a> {
    shared: &'a Shared,
    conversation: String,
}

impl Drop for RunningAsk<'_> {
    fn drop(&mut self) {
        let state = &mut *self.shared.state();
        if let Some(running) = state.asks_within.get_mut(&self.conversation) {
            *running -= 1;
            if *running == 0 {
                state.asks_within.remove(&self.conversation);
            }
        }
    }
}
