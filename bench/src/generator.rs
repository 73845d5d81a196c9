//! Sends webhooks. The closed loop has each connection send the next message when the last is acknowledged; the open
//! loop sends at a rate, whatever comes back, and counts latency from the moment a message was due, so that a process
//! that stalls cannot hide it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::clock;
use crate::message::Plan;

#[derive(Clone, Copy, Debug)]
pub enum Loop {
    /// For so long.
    Closed(Duration),
    /// So many a second.
    Open(f64),
}

pub struct Load {
    pub plan: Plan,
    /// Messages take turns through them.
    pub addresses: Vec<String>,
    pub connections: usize,
    pub kind: Loop,
}

/// What became of one message.
#[derive(Clone, Copy)]
pub struct Sent {
    pub number: u64,
    pub due: u64,
    pub start: u64,
    pub end: u64,
    /// None: no answer.
    pub status: Option<u16>,
}

impl Sent {
    pub fn is_acknowledged(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4096) })
    }

    /// The status, and whether the connection stays open. The references and the product give lengths.
    async fn exchange(&mut self, request: &[u8]) -> Result<(u16, bool)> {
        self.buffer.clear();
        self.stream.write_all(request).await?;
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the connection ended");
            }
            let mut headers = [httparse::EMPTY_HEADER; 48];
            let mut response = httparse::Response::new(&mut headers);
            if let httparse::Status::Complete(head) = response.parse(&self.buffer)? {
                let value = |name: &str| {
                    let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
                    std::str::from_utf8(header.value).ok()
                };
                let length: usize = value("content-length").map_or(Ok(0), str::parse)?;
                let closes = value("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
                let status = response.code.unwrap_or_default();
                while self.buffer.len() < head + length {
                    if self.stream.read_buf(&mut self.buffer).await? == 0 {
                        bail!("the connection ended");
                    }
                }
                return Ok((status, !closes));
            }
        }
    }
}

struct Shared {
    requests: Vec<Vec<u8>>,
    next: AtomicUsize,
    stop: AtomicBool,
    permits: Semaphore,
}

impl Load {
    /// Sends, and tells of each message in the order in which they were due.
    pub async fn run(self) -> Result<Vec<Sent>> {
        let requests = self.plan.requests();
        let shared = Arc::new(Shared {
            requests,
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            permits: Semaphore::new(0),
        });
        // Time for the connections to open.
        let start = clock::now() + 300_000_000;
        let mut tasks = Vec::new();
        for connection in 0..self.connections {
            let address = self.addresses[connection % self.addresses.len()].clone();
            tasks.push(tokio::spawn(send(shared.clone(), address, self.plan.first, start, self.kind)));
        }
        let pace = match self.kind {
            Loop::Open(rate) => {
                let shared = shared.clone();
                Some(std::thread::spawn(move || release(&shared, start, rate)))
            }
            Loop::Closed(time) => {
                let wait = Duration::from_nanos(start.saturating_sub(clock::now())) + time;
                let shared = shared.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(wait).await;
                    shared.stop.store(true, Ordering::Relaxed);
                });
                None
            }
        };
        let mut sent = Vec::with_capacity(shared.requests.len());
        for task in tasks {
            sent.append(&mut task.await?);
        }
        if let Some(pace) = pace {
            let _ = pace.join();
        }
        sent.sort_by_key(|sent| sent.number);
        if matches!(self.kind, Loop::Closed(_)) && sent.len() == shared.requests.len() {
            bail!("all {} messages were sent before the time was over: more have to be made", sent.len());
        }
        Ok(sent)
    }
}

async fn send(shared: Arc<Shared>, address: String, first: u64, start: u64, kind: Loop) -> Vec<Sent> {
    let mut connection = Connection::open(&address).await.ok();
    let mut sent = Vec::new();
    if matches!(kind, Loop::Closed(_)) {
        tokio::time::sleep(Duration::from_nanos(start.saturating_sub(clock::now()))).await;
    }
    loop {
        if let Loop::Open(_) = kind {
            match shared.permits.acquire().await {
                Ok(permit) => permit.forget(),
                Err(_) => break,
            }
        }
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        let index = shared.next.fetch_add(1, Ordering::Relaxed);
        let Some(request) = shared.requests.get(index) else { break };
        let began = clock::now();
        let status = exchange(&mut connection, &address, request).await;
        let due = match kind {
            Loop::Open(rate) => start + (index as f64 * 1e9 / rate) as u64,
            Loop::Closed(_) => began,
        };
        sent.push(Sent { number: first + index as u64, due, start: began, end: clock::now(), status });
    }
    sent
}

/// A kept-alive connection that was closed while it was idle is opened again, once.
async fn exchange(connection: &mut Option<Connection>, address: &str, request: &[u8]) -> Option<u16> {
    for _ in 0..2 {
        let is_fresh = connection.is_none();
        if is_fresh {
            *connection = Connection::open(address).await.ok();
        }
        match connection.as_mut()?.exchange(request).await {
            Ok((status, stays)) => {
                if !stays {
                    *connection = None;
                }
                return Some(status);
            }
            Err(_) => *connection = None,
        }
        if is_fresh {
            return None;
        }
    }
    None
}

/// On a thread of its own: it wakes more precisely than the runtime's timer of one millisecond.
fn release(shared: &Shared, start: u64, rate: f64) {
    let interval = 1e9 / rate;
    let mut released = 0;
    while released < shared.requests.len() {
        let now = clock::now();
        let due = now.checked_sub(start).map_or(0, |since| (since as f64 / interval) as usize + 1);
        let due = due.min(shared.requests.len());
        if due > released {
            shared.permits.add_permits(due - released);
            released = due;
            continue;
        }
        let next = start + (released as f64 * interval) as u64;
        std::thread::sleep(Duration::from_nanos(next.saturating_sub(now).max(20_000)));
    }
    // Each connection sees the end.
    shared.permits.add_permits(100_000);
}
