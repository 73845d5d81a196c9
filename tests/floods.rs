//! Connections without end: idle ones, heads that never end, answers that nobody reads, questions about health. All the
//! while the webhooks of others are taken. On the real process, by its own sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fini_bridge::app::sandbox::fini::Change;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::senders::{self, CHANNELS};
use support::{SOON, World, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const MIB: usize = 1024 * 1024;
const LIVEZ: &[u8] = b"GET /livez HTTP/1.1\r\nhost: bridge.example\r\n\r\n";
/// A platform's patience.
const PATIENCE: Duration = Duration::from_secs(10);

/// This process holds the other ends.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}

async fn connect(world: &World) -> TcpStream {
    TcpStream::connect(&world.process().address).await.unwrap()
}

/// One request and its answer; `None`: the connection is closed.
async fn ask(stream: &mut TcpStream) -> Option<String> {
    stream.write_all(LIVEZ).await.ok()?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !answer.ends_with(b"}") {
        match timeout(PATIENCE, stream.read(&mut buffer)).await.expect("no answer") {
            Ok(0) | Err(_) => return None,
            Ok(read) => answer.extend_from_slice(&buffer[..read]),
        }
    }
    Some(String::from_utf8(answer).unwrap())
}

/// Whether the other side has closed it.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    match timeout(Duration::from_millis(1), stream.read(&mut byte)).await {
        Err(_) => false,
        Ok(read) => matches!(read, Ok(0) | Err(_)),
    }
}

static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// A genuine small webhook, on a connection of its own.
async fn webhook(world: &World) {
    let number = NUMBER.fetch_add(1, Ordering::SeqCst);
    let signed = senders::bridge_message("chat-1", &format!("m{number}"), "hello");
    let request = world.request("bridge", signed).header("connection", "close").timeout(PATIENCE);
    let answer = request.send().await.unwrap_or_else(|error| panic!("webhook {number}: {error:?}\n{}", world.log()));
    assert_eq!(answer.status(), 200, "webhook {number}");
}

/// Everybody is served: webhooks, load balancers, operators.
async fn everybody_is_served(world: &World) {
    webhook(world).await;
    for (listener, path) in [(&world.process().address, "readyz"), (&world.process().admin, "metrics")] {
        let request = world.http.get(format!("http://{listener}/{path}")).header("connection", "close");
        let answer = request.timeout(PATIENCE).send().await.unwrap_or_else(|error| panic!("/{path}: {error:?}"));
        assert_eq!(answer.status(), 200, "/{path}");
    }
}

/// Keeps connections open, and opens another for each that is closed, until it is dropped.
struct Flood {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
    opened: Arc<AtomicUsize>,
    closed: Arc<AtomicUsize>,
}

impl Flood {
    /// Each sends `first` and then nothing more.
    fn start(world: &World, connections: usize, first: Vec<u8>) -> Self {
        raise_open_files();
        let first = Arc::new(first);
        let (stop, opened, closed): (Arc<AtomicBool>, Arc<AtomicUsize>, Arc<AtomicUsize>) = Default::default();
        let tasks = (0..connections).map(|index| {
            let (first, address) = (first.clone(), world.process().address.clone());
            let (stop, opened, closed) = (stop.clone(), opened.clone(), closed.clone());
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(2) * u32::try_from(index).unwrap()).await;
                while !stop.load(Ordering::SeqCst) {
                    if let Ok(mut stream) = TcpStream::connect(&address).await {
                        let sent = stream.write_all(&first).await;
                        opened.fetch_add(1, Ordering::SeqCst);
                        let mut buffer = [0; 1024];
                        while sent.is_ok() && matches!(stream.read(&mut buffer).await, Ok(read) if read > 0) {}
                        closed.fetch_add(1, Ordering::SeqCst);
                    }
                    tokio::time::sleep(Duration::from_secs(3)).await;
                }
            })
        });
        let tasks = tasks.collect();
        Self { stop, tasks, opened, closed }
    }

    async fn opened(&self, number: usize) {
        let what = format!("{number} connections are open");
        let opened = async || (self.opened.load(Ordering::SeqCst) >= number).then_some(());
        eventually(&what, Duration::from_secs(120), opened).await;
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_1100_idle_connections_at_1024_open_files_everybody_is_served() {
    let mut world = World::prepare(CHANNELS).await;
    world.serve_by(&["prlimit", "--nofile=1024:1024"]).await;
    let flood = Flood::start(&world, 1100, LIVEZ.to_vec());
    for _ in 0..5 {
        everybody_is_served(&world).await;
    }
    flood.opened(1100).await;
    for _ in 0..20 {
        everybody_is_served(&world).await;
    }
    let files = std::fs::read_dir(format!("/proc/{}/fd", world.process().id())).unwrap().count();
    let closed = flood.closed.load(Ordering::SeqCst);
    eprintln!("{files} open files, {closed} idle connections closed to make room");
    assert!(closed > 0);
    assert!(files < 900, "{files} open files: too few are left");
    let log = world.log();
    assert!(!log.contains("accepting connection"), "{log}");
    assert_eq!(log.matches("server.max_connections is lowered").count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_3000_heads_of_120_kb_that_never_end_everybody_is_served_and_memory_is_bounded() {
    let mut world = World::prepare(CHANNELS).await;
    world.serve_at("info").await;
    everybody_is_served(&world).await;
    let before = world.process().memory();
    let mut head = b"GET /livez HTTP/1.1\r\nhost: bridge.example\r\nx-long: ".to_vec();
    head.resize(120_000, b'x');
    let flood = Flood::start(&world, 3000, head);
    let mut most = before;
    while flood.opened.load(Ordering::SeqCst) < 3000 {
        everybody_is_served(&world).await;
        most = most.max(world.process().memory());
    }
    for _ in 0..20 {
        everybody_is_served(&world).await;
        most = most.max(world.process().memory());
    }
    let (opened, closed) = (flood.opened.load(Ordering::SeqCst), flood.closed.load(Ordering::SeqCst));
    eprintln!("{} MiB more at most; {opened} connections opened, {closed} closed", (most - before) / MIB);
    assert!(most - before < 128 * MIB, "{} MiB more", (most - before) / MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_end_is_given_up_behind_a_complete_request_too() {
    let mut world = World::prepare(CHANNELS).await;
    world.serve_at("info").await;
    let mut stream = connect(&world).await;
    assert!(ask(&mut stream).await.is_some());
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: ").await.unwrap();
    let mut buffer = [0; 1024];
    let read = timeout(Duration::from_secs(30), stream.read(&mut buffer)).await.expect("it is not closed");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_come_together_are_answered_one_after_the_other() {
    let world = World::start(CHANNELS).await;
    let post = |body: &str| {
        format!("POST /webhooks/bridge HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    let chunked = "POST /webhooks/bridge HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\n\n\r\n0\r\n\r\n";
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
    let parts = [
        get("/livez"),
        get("/nowhere"),
        post(r#"{"id":"1"}"#),
        post("\r\n\r\nGET /livez HTTP/1.1\r\nhost: a\r\n\r\n"),
        get("/livez"),
        "\r\n".to_owned(),
        post(&"x".repeat(20_000)),
        post("x"),
        // actix closes behind a chunked body if the beginning of another came with its end.
        chunked.to_owned(),
        get("/nowhere"),
        get("/livez"),
    ];
    let expected = ["200", "404", "401", "401", "200", "401", "401", "401", "404", "200"];
    let text = parts.concat();
    for piece in [text.len(), 7000, 1000, 41] {
        let mut stream = connect(&world).await;
        stream.set_nodelay(true).unwrap();
        let (mut from, mut to) = stream.split();
        let writing = async {
            for bytes in text.as_bytes().chunks(piece) {
                to.write_all(bytes).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let reading = async {
            let mut answers = String::new();
            let mut buffer = [0; 4096];
            while answers.matches("HTTP/1.1 ").count() < expected.len() {
                match timeout(PATIENCE, from.read(&mut buffer)).await.unwrap_or_else(|_| panic!("only {answers}")) {
                    Ok(0) | Err(_) => panic!("closed behind {answers}"),
                    Ok(read) => answers.push_str(&String::from_utf8_lossy(&buffer[..read])),
                }
            }
            answers
        };
        let ((), answers) = tokio::join!(writing, reading);
        let statuses: Vec<_> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
        assert_eq!(statuses, expected, "in pieces of {piece}: {answers}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_and_does_not_read_the_answers_is_not_read_any_further() {
    let mut world = World::prepare(CHANNELS).await;
    world.serve_at("info").await;
    everybody_is_served(&world).await;
    let before = world.process().memory();
    let requests = Arc::new(b"GET /livez HTTP/1.1\r\nhost:a\r\n\r\n".repeat(4000));
    let sent = Arc::new(AtomicU64::new(0));
    let senders: Vec<_> = (0..100)
        .map(|_| {
            let (requests, sent, address) = (requests.clone(), sent.clone(), world.process().address.clone());
            tokio::spawn(async move {
                let socket = tokio::net::TcpSocket::new_v4().unwrap();
                socket.set_recv_buffer_size(4096).unwrap();
                let mut stream = socket.connect(address.parse().unwrap()).await.unwrap();
                while let Ok(Ok(())) = timeout(Duration::from_secs(3), stream.write_all(&requests)).await {
                    sent.fetch_add(4000, Ordering::SeqCst);
                }
                // It stalls, or was closed; nothing was read of the answers.
                tokio::time::sleep(Duration::from_secs(1)).await;
            })
        })
        .collect();
    let mut most = before;
    while !senders.iter().all(JoinHandle::is_finished) {
        everybody_is_served(&world).await;
        most = most.max(world.process().memory());
    }
    eprintln!("{} MiB more for {} requests", (most - before) / MIB, sent.load(Ordering::SeqCst));
    assert!(most - before < 32 * MIB, "{} MiB more", (most - before) / MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_connection_takes_the_place_of_the_longest_idle_and_never_that_of_a_busy_one() {
    let world = World::start(&format!("[server]\nmax_connections = 50\n{CHANNELS}")).await;
    let mut streams = Vec::new();
    for _ in 0..50 {
        let mut stream = connect(&world).await;
        assert!(ask(&mut stream).await.is_some());
        streams.push(stream);
    }
    for stream in &mut streams {
        assert!(!is_closed(stream).await, "50 fit");
    }
    // The oldest gets a request in hand; the second is used once more.
    let head = "POST /webhooks/bridge HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 60\r\n\r\n";
    streams[0].write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 25];
    timeout(PATIENCE, streams[0].read_exact(&mut answer)).await.expect("it is not in hand").unwrap();
    eventually("the second is used", SOON, async || ask(&mut streams[1]).await).await;
    let mut newcomers = Vec::new();
    for number in 0..10 {
        let mut newcomer = connect(&world).await;
        assert!(ask(&mut newcomer).await.is_some(), "newcomer {number}");
        newcomers.push(newcomer);
    }
    for (number, stream) in streams.iter_mut().enumerate() {
        // Those behind the first two are the longest idle.
        let expected = (2..12).contains(&number);
        let state = async || (is_closed(stream).await == expected).then_some(());
        eventually(&format!("connection {number} closed: {expected}"), SOON, state).await;
    }
    for newcomer in &mut newcomers {
        assert!(!is_closed(newcomer).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_connections_are_busy_a_new_one_waits_until_one_is_not() {
    let mut world = World::prepare(&format!("[server]\nmax_connections = 8\n{CHANNELS}")).await;
    world.fini.change(Change { answer_delay_ms: Some(60_000), ..Change::default() });
    world.serve_at("info").await;
    let mut callers = Vec::new();
    for number in 0..8 {
        let signed = senders::bridge_message(&format!("c{number}"), &format!("w{number}"), "hello");
        let asking = world.request("bridge", signed).header("prefer", "wait=3").send();
        callers.push(tokio::spawn(asking));
    }
    eventually("all are kept", SOON, async || (world.stories(&[]).await.len() == 8).then_some(())).await;
    let mut newcomer = connect(&world).await;
    newcomer.write_all(LIVEZ).await.unwrap();
    let mut first = [0];
    assert!(timeout(Duration::from_millis(500), newcomer.read(&mut first)).await.is_err(), "there is no room");
    let read = timeout(SOON, newcomer.read(&mut first)).await.expect("nobody made room");
    assert_eq!(read.unwrap(), 1);
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap().status(), 202, "none was closed for room");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_connections_wait_for_the_rest_of_a_body_the_slowest_goes_for_a_genuine_webhook() {
    let world = World::start(&format!("[server]\nmax_connections = 8\n{CHANNELS}")).await;
    let forged = format!("sha256={}", "0".repeat(64));
    let mut slow = Vec::new();
    for number in 0..8 {
        // With a signature that may be right, and without any: the rest of the body is waited for in both cases.
        let signature = if number % 2 == 0 { format!("x-hub-signature-256: {forged}\r\n") } else { String::new() };
        let head = format!(
            "POST /webhooks/whatsapp HTTP/1.1\r\nhost: a\r\n{signature}expect: 100-continue\r\ncontent-length: 9\r\n\r\n"
        );
        let mut stream = connect(&world).await;
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 25];
        timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("it is not in hand").unwrap();
        assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
        slow.push(stream);
    }
    let begun = Instant::now();
    webhook(&world).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "before the slow ones are given up anyway");
    let mut answer = [0; 12];
    slow[0].read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 503");
    slow[7].write_all(b"xxxxxxxxx").await.unwrap();
    timeout(PATIENCE, slow[7].read_exact(&mut answer)).await.expect("no answer").unwrap();
    assert_eq!(&answer, b"HTTP/1.1 401");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_in_use_is_not_closed_in_a_flood_of_idle_ones() {
    let world = World::start(&format!("[server]\nmax_connections = 100\n{CHANNELS}")).await;
    let mut regular = connect(&world).await;
    let flood = Flood::start(&world, 300, LIVEZ.to_vec());
    // Behind a proxy: one request after the other on one connection.
    for number in 0..2000 {
        assert!(ask(&mut regular).await.is_some(), "request {number}");
    }
    flood.opened(300).await;
    assert!(flood.closed.load(Ordering::SeqCst) >= 200);
}

/// Of all threads of the gateway; the system counts in hundredths of a second.
fn processor_time(world: &World) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", world.process().id())).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks: u64 = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

/// Each of these was once parsed byte by byte: seconds of a processor for one connection.
#[tokio::test(flavor = "multi_thread")]
async fn empty_lines_cost_no_more_than_other_bytes() {
    let mut world = World::prepare(CHANNELS).await;
    world.serve_at("info").await;
    everybody_is_served(&world).await;
    let chunk = |content: &str| format!("{:x}\r\n{content}\r\n", content.len());
    let refused = |more: &str| format!("POST /webhooks/nobodys HTTP/1.1\r\nhost: a\r\n{more}\r\n\r\n");
    let chunked = refused("transfer-encoding: chunked");
    for (what, bytes) in [
        ("before a head", "\n".repeat(131_000)),
        ("before a head, with returns", "\r\n".repeat(65_500)),
        ("in a body that is refused", refused("content-length: 4000000") + &"\n".repeat(4_000_000)),
        ("behind a body that is refused", refused("content-length: 10") + &"a\n\n".repeat(1_300_000)),
        ("in chunks that are refused", chunked + &chunk(&"a\n\n".repeat(1_300_000)) + "0\r\n\r\n"),
    ] {
        let before = processor_time(&world);
        let mut stream = connect(&world).await;
        let _ = timeout(Duration::from_secs(3), stream.write_all(bytes.as_bytes())).await;
        let _ = timeout(Duration::from_secs(1), stream.read_to_end(&mut Vec::new())).await;
        drop(stream);
        webhook(&world).await;
        let spent = processor_time(&world) - before;
        eprintln!("{what}: {} ms for {} bytes", spent.as_millis(), bytes.len());
        assert!(spent < Duration::from_millis(500), "{what}: {spent:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_too_large_get_431_and_late_ones_408() {
    let world = World::start(CHANNELS).await;
    let many = "x: y\r\n".repeat(2000);
    for (head, statuses) in [
        (format!("GET /livez HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(200_000)), ["431", "431"]),
        (format!("GET /livez HTTP/1.1\r\nhost: a\r\n{many}\r\n"), ["431", "431"]),
        (format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(100_000)), ["400", "414"]),
        ("GET /livez HTTP/1.1\r\nhost:".to_owned(), ["408", "408"]),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), ["400", "400"]),
    ] {
        let mut stream = connect(&world).await;
        let _ = stream.write_all(head.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await.expect("no answer");
        let answer = String::from_utf8_lossy(&answer);
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(statuses.contains(&status), "{statuses:?}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_open_files_is_raised_as_far_as_it_may() {
    let mut world = World::prepare(CHANNELS).await;
    world.serve_by(&["prlimit", "--nofile=256:4096"]).await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", world.process().id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(line.split_whitespace().nth(3), Some("4096"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn however_often_readiness_is_asked_for_the_disk_is_probed_once_a_second() {
    let mut world = World::prepare(CHANNELS).await;
    world.serve_at("info").await;
    let begun = Instant::now();
    let asking = (0..50).map(|_| {
        let (http, url) = (world.http.clone(), format!("http://{}/readyz", world.process().address));
        tokio::spawn(async move {
            for _ in 0..200 {
                assert_eq!(http.get(&url).send().await.unwrap().status(), 200);
            }
        })
    });
    for task in asking.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let elapsed = begun.elapsed();
    let file = rusqlite::Connection::open(world.folder.path().join("bridge.db")).unwrap();
    let probes: i64 = file.query_row("SELECT value FROM meta WHERE key = 'probe'", [], |row| row.get(0)).unwrap();
    eprintln!("10,000 times in {elapsed:?}: {probes} probes");
    // One at the start of the gateway, one that begins at once, and one a second.
    assert!(u64::try_from(probes).unwrap() <= elapsed.as_secs() + 2, "{probes} probes in {elapsed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_operators_are_served_by_a_local_name_only() {
    let world = World::start(&format!("[metrics]\nlisten = \"127.0.0.1:0\"\n{CHANNELS}")).await;
    let admin = &world.process().admin;
    for path in ["/metrics", "/livez", "/", "/api/v1/status"] {
        let ask = async |host: &str| {
            let request = world.http.get(format!("http://{admin}{path}")).header("host", host);
            request.send().await.unwrap().status().as_u16()
        };
        for host in ["evil.example", "127.0.0.1.evil.example", "evil.example:9090"] {
            assert_eq!(ask(host).await, 403, "{path} {host}");
        }
        for host in [admin.as_str(), "localhost", "localhost:9090", "[::1]:9090"] {
            assert_ne!(ask(host).await, 403, "{path} {host}");
        }
    }
    for (origin, is_refused) in [("null", true), ("https://evil.example", true), ("", false)] {
        let mut request = world.http.post(format!("http://{admin}/api/v1/messages/retry"));
        if !origin.is_empty() {
            request = request.header("origin", origin);
        }
        assert_eq!(request.send().await.unwrap().status() == 403, is_refused, "{origin:?}");
    }
}
