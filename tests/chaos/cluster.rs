//! The processes under test, and those who talk to them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::support::senders::{self, CHANNELS, Signed};
use super::support::{Process, World};

const SHORT_TIMES: &str =
    "[conversations]\nburst = \"queue\"\nmax_turns = \"100000/1m\"\n[fini]\ntimeout = \"3s\"\nsettle = \"3s\"\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Chat {
    /// Replies carry an id: the receiver can tell a repeated one.
    Bridge(u32),
    /// Nothing tells a repeated reply.
    Telegram(u32),
}

impl Chat {
    pub fn text(self, number: u32) -> String {
        match self {
            Self::Bridge(chat) => format!("message {number} of bridge chat {chat}."),
            Self::Telegram(chat) => format!("message {number} of telegram chat {chat}."),
        }
    }

    pub fn id(self, number: u32) -> String {
        match self {
            Self::Bridge(chat) => format!("b{chat}-{number}"),
            Self::Telegram(chat) => format!("t{chat}-{number}"),
        }
    }

    fn webhook(self, number: u32) -> (&'static str, Signed) {
        match self {
            Self::Bridge(chat) => {
                ("bridge", senders::bridge_message(&format!("chat-{chat}."), &self.id(number), &self.text(number)))
            }
            Self::Telegram(chat) => {
                ("telegram", senders::telegram_message(900_000 + i64::from(chat), number, &self.text(number)))
            }
        }
    }
}

/// What was said, and what of it was acknowledged.
#[derive(Default)]
pub struct Load {
    said: BTreeMap<Chat, u32>,
    /// Not acknowledged yet: tried until it is.
    open: BTreeSet<(Chat, u32)>,
    pub refused: u64,
}

impl Load {
    /// The next message of a chat; its sender tries until it is acknowledged.
    pub async fn say(&mut self, cluster: &Cluster, chat: Chat) {
        let number = self.begin(chat);
        while !self.try_one(cluster, chat, number).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn begin(&mut self, chat: Chat) -> u32 {
        let said = self.said.entry(chat).or_default();
        *said += 1;
        self.open.insert((chat, *said));
        *said
    }

    async fn try_one(&mut self, cluster: &Cluster, chat: Chat, number: u32) -> bool {
        let (channel, signed) = chat.webhook(number);
        let taken = cluster.post(channel, signed).await;
        match taken {
            Some(200) => {
                self.open.remove(&(chat, number));
                return true;
            }
            Some(503) | None => {}
            Some(status) => panic!("a webhook got {status}"),
        }
        self.refused += 1;
        false
    }

    pub fn acknowledged(&self) -> u32 {
        self.said.values().sum()
    }

    pub fn all(&self) -> impl Iterator<Item = (Chat, u32)> + '_ {
        self.said.iter().flat_map(|(chat, said)| (1..=*said).map(|number| (*chat, number)))
    }
}

pub struct Cluster {
    pub world: World,
    replicas: Vec<Option<Process>>,
    ports: Vec<u16>,
}

impl Cluster {
    pub async fn start(replicas: usize) -> Self {
        let world = World::prepare(&format!("{SHORT_TIMES}{CHANNELS}")).await;
        let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let ports = (0..replicas).map(|_| free()).collect();
        let mut cluster = Self { world, replicas: (0..replicas).map(|_| None).collect(), ports };
        for replica in 0..replicas {
            cluster.start_replica(replica, &[]).await;
        }
        cluster
    }

    pub async fn start_replica(&mut self, replica: usize, environment: &[(&str, &str)]) {
        let listen = format!("127.0.0.1:{}", self.ports[replica]);
        let environment = [environment, &[("FINI_BRIDGE__SERVER__LISTEN", listen.as_str())]].concat();
        self.replicas[replica] = Some(Process::start_with(&self.world.config_path(), "info", &environment).await);
    }

    pub fn kill(&mut self, replica: usize) {
        if let Some(mut process) = self.replicas[replica].take() {
            process.kill();
        }
    }

    /// The status, or none where there was no answer.
    async fn post(&self, channel: &str, signed: Signed) -> Option<u16> {
        for port in &self.ports {
            let mut request =
                self.world.http.post(format!("http://127.0.0.1:{port}/webhooks/{channel}")).body(signed.body.clone());
            for (name, value) in &signed.headers {
                request = request.header(name, value);
            }
            if let Ok(answer) = request.timeout(Duration::from_secs(5)).send().await {
                return Some(answer.status().as_u16());
            }
        }
        None
    }

    /// Tries what is open until it is acknowledged, and starts again whatever dies meanwhile. True: something died.
    pub async fn push(&mut self, load: &mut Load, within: Duration) -> bool {
        let until = Instant::now() + within;
        let mut died = false;
        while Instant::now() < until && (!died || !load.open.is_empty()) {
            for (chat, number) in load.open.clone() {
                load.try_one(self, chat, number).await;
            }
            for replica in 0..self.replicas.len() {
                if self.replicas[replica].as_mut().is_some_and(Process::has_ended) {
                    died = true;
                    self.start_replica(replica, &[]).await;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        died
    }

    /// Waits until every acknowledged message is answered in its chat, or nothing has moved for long.
    pub async fn settled(&self, load: &Load) {
        let mut quiet_since = Instant::now();
        let mut before = 0;
        loop {
            let sent = self.world.outside.sent();
            let texts: String = sent.iter().map(|call| call.body.to_string()).collect();
            if load.all().all(|(chat, number)| texts.contains(&chat.text(number))) {
                return;
            }
            if sent.len() != before {
                (before, quiet_since) = (sent.len(), Instant::now());
            }
            if quiet_since.elapsed() > Duration::from_secs(25) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    pub fn logs(&self) -> String {
        self.replicas.iter().flatten().map(Process::log).collect()
    }
}
