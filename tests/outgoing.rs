//! What goes out: through a proxy or past it, over TLS with one's own authorities, and never further than asked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods)]

mod support;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fini_bridge::http::{BuildError, Config, Error, Http, Response};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::Method;
use support::senders::{self, CHANNELS};
use support::{Process, SOON, World, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

const WITHIN: Duration = Duration::from_secs(10);
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nhere";

async fn get(http: &Http, url: &str) -> Result<Response, Error> {
    http.send(http.request(Method::GET, url).bearer_auth("secret-of-the-target"), WITHIN, 1024).await
}

async fn head(stream: &mut (impl AsyncReadExt + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// Answers each request with the same bytes, and remembers the requests' heads.
#[derive(Clone)]
struct Stub {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Stub {
    async fn start(answer: impl Into<Vec<u8>>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stub = Self { address: listener.local_addr().unwrap(), requests: Arc::default() };
        let (requests, answer) = (stub.requests.clone(), answer.into());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, requests, answer) = (tls.clone(), requests.clone(), answer.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &requests, &answer).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, &requests, &answer).await;
                            }
                        }
                    }
                });
            }
        });
        stub
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, requests: &Mutex<Vec<String>>, answer: &[u8]) {
    if let Some(head) = head(&mut stream).await {
        requests.lock().unwrap().push(head);
        let _ = stream.write_all(answer).await;
        let _ = stream.shutdown().await;
    }
}

/// A forward proxy that knows where every name leads: to one address.
#[derive(Clone)]
struct Proxy {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    async fn start(leads_to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self { address: listener.local_addr().unwrap(), requests: Arc::default() };
        let requests = proxy.requests.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let requests = requests.clone();
                tokio::spawn(async move {
                    let asked = head(&mut stream).await?;
                    requests.lock().unwrap().push(asked.clone());
                    let mut target = TcpStream::connect(leads_to).await.ok()?;
                    if asked.starts_with("CONNECT ") {
                        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.ok()?;
                    } else {
                        // The next hop gets the path alone; one request a connection, so that none is missed here.
                        let (method, rest) = asked.split_once(' ')?;
                        let path = &rest[rest.find("//")? + 2..];
                        let path = &path[path.find('/')?..];
                        target
                            .write_all(
                                format!("{method} {path}").replacen("\r\n", "\r\nconnection: close\r\n", 1).as_bytes(),
                            )
                            .await
                            .ok()?;
                    }
                    copy_bidirectional(&mut stream, &mut target).await.ok()
                });
            }
        });
        proxy
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// An authority of one's own, and a server that it vouches for under this name.
fn vouched_for(name: &str) -> (tempfile::NamedTempFile, TlsAcceptor) {
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, "Our own authority");
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut server = CertificateParams::new([name.to_owned()]).unwrap();
    server.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let server = server.signed_by(&key, &authority).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), authority.pem()).unwrap();
    // Chooses the process's crypto provider.
    let _ = Http::new(&Config::default()).unwrap();
    let chain = vec![CertificateDer::from(server.der().to_vec())];
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    (file, TlsAcceptor::from(Arc::new(config)))
}

fn through(proxy: &Proxy, no_proxy: &str) -> Config {
    Config { proxy: proxy.url(), no_proxy: no_proxy.to_owned(), ca_file: String::new() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_is_told_the_name_and_finds_the_address_itself() {
    let (ca, tls) = vouched_for("api.fini.invalid");
    let target = Stub::start(OK, Some(tls)).await;
    let proxy = Proxy::start(target.address).await;
    let config = Config { ca_file: ca.path().display().to_string(), ..through(&proxy, "") };
    let answer = get(&Http::new(&config).unwrap(), "https://api.fini.invalid/v2/bots?page=1").await.unwrap();
    assert_eq!(answer.body, "here");
    let asked = proxy.requests();
    assert_eq!(asked.len(), 1);
    assert!(asked[0].starts_with("CONNECT api.fini.invalid:443 HTTP/1.1\r\n"), "{asked:?}");
    assert!(!asked[0].contains("secret-of-the-target"), "the credential is for the target alone");
    let arrived = target.requests();
    assert!(arrived[0].starts_with("GET /v2/bots?page=1 HTTP/1.1\r\n"), "{arrived:?}");
    assert!(arrived[0].contains("Bearer secret-of-the-target"));
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_goes_through_the_proxy_by_name_too() {
    let target = Stub::start(OK, None).await;
    let proxy = Proxy::start(target.address).await;
    let http = Http::new(&through(&proxy, "")).unwrap();
    assert_eq!(get(&http, "http://desk.invalid/tickets/1").await.unwrap().body, "here");
    assert!(
        proxy.requests()[0].starts_with("GET http://desk.invalid/tickets/1 HTTP/1.1\r\n"),
        "{:?}",
        proxy.requests()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxys_own_credentials_go_to_the_proxy_alone() {
    let target = Stub::start(OK, None).await;
    let proxy = Proxy::start(target.address).await;
    let config = Config { proxy: proxy.url().replace("http://", "http://user:pass@"), ..Config::default() };
    let (ca, tls) = vouched_for("api.fini.invalid");
    let secured = Stub::start(OK, Some(tls)).await;
    let proxy_to_secured = Proxy::start(secured.address).await;
    assert_eq!(get(&Http::new(&config).unwrap(), "http://desk.invalid/").await.unwrap().status, 200);
    assert!(proxy.requests()[0].to_lowercase().contains("proxy-authorization: basic dxnlcjpwyxnz"));
    let config = Config {
        proxy: proxy_to_secured.url().replace("http://", "http://user:pass@"),
        ca_file: ca.path().display().to_string(),
        ..Config::default()
    };
    assert_eq!(get(&Http::new(&config).unwrap(), "https://api.fini.invalid/").await.unwrap().status, 200);
    assert!(proxy_to_secured.requests()[0].to_lowercase().contains("proxy-authorization: basic dxnlcjpwyxnz"));
    assert!(!secured.requests()[0].to_lowercase().contains("proxy-authorization"));
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_of_no_proxy_are_reached_without_it() {
    let near = Stub::start(OK, None).await;
    let far = Stub::start(OK.replace("here", "far!"), None).await;
    let proxy = Proxy::start(far.address).await;
    let port = near.address.port();
    for (no_proxy, url, body) in [
        ("", format!("http://127.0.0.1:{port}/"), "far!"),
        ("127.0.0.1", format!("http://127.0.0.1:{port}/"), "here"),
        ("10.0.0.0/8, 127.0.0.0/8", format!("http://127.0.0.1:{port}/"), "here"),
        ("example.com,localhost", format!("http://localhost:{port}/"), "here"),
        ("example.com", format!("http://localhost:{port}/"), "far!"),
        ("*", format!("http://localhost:{port}/"), "here"),
        // By name, as it stands in the URL: what it resolves to is not asked.
        ("127.0.0.1", format!("http://localhost:{port}/"), "far!"),
        (".example.com", "http://api.example.com.invalid/".to_owned(), "far!"),
    ] {
        let http = Http::new(&through(&proxy, no_proxy)).unwrap();
        assert_eq!(get(&http, &url).await.unwrap().body, body, "{no_proxy:?} {url}");
    }
    // A suffix: reached directly, and there is no such host.
    for no_proxy in ["fini.invalid", ".fini.invalid"] {
        let http = Http::new(&through(&proxy, no_proxy)).unwrap();
        assert!(matches!(get(&http, "http://api.fini.invalid/").await, Err(Error::NotSent(_))), "{no_proxy}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_away_or_refuses_means_that_nothing_was_sent() {
    let closed = support::fleet::free_address(30);
    let http = Http::new(&Config { proxy: format!("http://{closed}"), ..Config::default() }).unwrap();
    assert!(matches!(get(&http, "https://api.fini.invalid/").await, Err(Error::NotSent(_))));
    let refusing = Stub::start("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", None).await;
    let http = Http::new(&Config { proxy: format!("http://{}", refusing.address), ..Config::default() }).unwrap();
    assert!(matches!(get(&http, "https://api.fini.invalid/").await, Err(Error::NotSent(_))));
    assert_eq!(refusing.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_of_ones_own_counts_when_ca_file_names_it_and_only_then() {
    let (ca, tls) = vouched_for("localhost");
    let target = Stub::start(OK, Some(tls)).await;
    let url = format!("https://localhost:{}/", target.address.port());
    let ours = Http::new(&Config { ca_file: ca.path().display().to_string(), ..Config::default() }).unwrap();
    assert_eq!(get(&ours, &url).await.unwrap().body, "here");
    // Another name is refused still.
    let by_address = format!("https://127.0.0.1:{}/", target.address.port());
    assert!(matches!(get(&ours, &by_address).await, Err(Error::NotSent(_))));
    let (other, _) = vouched_for("localhost");
    for config in [Config::default(), Config { ca_file: other.path().display().to_string(), ..Config::default() }] {
        assert!(matches!(get(&Http::new(&config).unwrap(), &url).await, Err(Error::NotSent(_))));
    }
    assert_eq!(target.requests().len(), 1, "nobody else's request arrived");
}

#[test]
fn a_ca_file_without_certificates_is_a_mistake_that_is_told() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let config = |path: &str| Config { ca_file: path.to_owned(), ..Config::default() };
    assert!(matches!(Http::new(&config("/nowhere/ca.pem")), Err(BuildError::CaFile(_))));
    for text in ["", "no certificate\n"] {
        std::fs::write(file.path(), text).unwrap();
        assert!(matches!(Http::new(&config(file.path().to_str().unwrap())), Err(BuildError::Certificate)), "{text:?}");
    }
}

#[test]
fn a_proxy_that_the_client_cannot_speak_to_is_a_mistake_that_is_told() {
    let with = |proxy: &str| Http::new(&Config { proxy: proxy.to_owned(), ..Config::default() });
    for proxy in
        ["http://", "::", "socks5://proxy.invalid:1080", "ftp://proxy.invalid", "proxy.invalid:port", "a proxy"]
    {
        assert!(matches!(with(proxy), Err(BuildError::Proxy)), "{proxy}");
    }
    for proxy in ["http://proxy.invalid:3128", "https://u:p@proxy.invalid/", "proxy.invalid:3128", "[::1]:3128"] {
        assert!(with(proxy).is_ok(), "{proxy}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_needs_no_scheme() {
    let target = Stub::start(OK, None).await;
    let proxy = Proxy::start(target.address).await;
    let http = Http::new(&Config { proxy: proxy.url().replace("http://", ""), ..Config::default() }).unwrap();
    assert_eq!(get(&http, "http://desk.invalid/").await.unwrap().body, "here");
    assert_eq!(proxy.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_an_answer_and_nobody_follows_it() {
    let elsewhere = Stub::start(OK, None).await;
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let location = format!("http://{}/stolen", elsewhere.address);
        let redirect =
            format!("HTTP/1.1 {status}\r\nlocation: {location}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        let target = Stub::start(redirect, None).await;
        let http = Http::new(&Config::default()).unwrap();
        let answer = get(&http, &format!("http://{}/", target.address)).await.unwrap();
        assert_eq!(answer.status.as_str(), &status[..3]);
    }
    assert_eq!(elsewhere.requests(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_larger_than_its_bound_is_refused_however_it_comes() {
    let of = |size: usize| {
        format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {size}\r\n\r\n{}", "x".repeat(size))
    };
    let chunks = |number: usize| {
        let chunks = format!("200\r\n{}\r\n", "x".repeat(512)).repeat(number);
        format!("HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
    };
    let http = Http::new(&Config::default()).unwrap();
    for (answer, expected) in [
        (of(1024), Ok(1024)),
        (of(1025), Err(Error::Unknown("the answer is too large"))),
        (chunks(2), Ok(1024)),
        (chunks(20_000), Err(Error::Unknown("the answer is too large"))),
    ] {
        let target = Stub::start(answer, None).await;
        let got = get(&http, &format!("http://{}/", target.address)).await;
        assert_eq!(got.map(|answer| answer.body.len()), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_or_never_ends_leaves_the_outcome_unknown() {
    let http = Http::new(&Config::default()).unwrap();
    let broken = Stub::start("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf", None).await;
    let got = get(&http, &format!("http://{}/", broken.address)).await;
    assert!(matches!(got, Err(Error::Unknown(_))), "{got:?}");
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let begun = Instant::now();
    let request = http.request(Method::GET, &format!("http://{}/", silent.local_addr().unwrap()));
    let got = http.send(request, Duration::from_millis(300), 1024).await;
    assert!(matches!(got, Err(Error::Unknown("timed out"))), "{got:?}");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

/// Fini and the platforms under names that only the proxy can resolve.
#[tokio::test(flavor = "multi_thread")]
async fn the_whole_gateway_lives_behind_a_proxy_and_ignores_the_environments() {
    let world = World::prepare(CHANNELS).await;
    let fini = Proxy::start(world.fini.url().trim_start_matches("http://").parse().unwrap()).await;
    let outside = world.outside.url();
    let outside = outside.trim_start_matches("http://");
    let text = std::fs::read_to_string(world.config_path()).unwrap();
    let text = text.replace(&world.fini.url(), "http://api.fini.invalid");
    let (host, _) = outside.split_once(':').unwrap();
    let text = format!("{text}\n[http]\nproxy = \"{}\"\nno_proxy = \"{host}\"\n", fini.url());
    std::fs::write(world.config_path(), text).unwrap();
    let nobody = format!("http://{}", support::fleet::free_address(31));
    let environment = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"].map(|name| (name, nobody.clone()));
    let gateway = Process::start_with(&world.config_path(), "info", &environment).await;
    let signed = senders::bridge_message("c", "1", "Hello there");
    let mut request = world.http.post(format!("http://{}/webhooks/bridge", gateway.address)).body(signed.body);
    for (name, value) in signed.headers {
        request = request.header(name, value);
    }
    assert_eq!(request.send().await.unwrap().status(), 200);
    eventually("it is answered", SOON, async || (world.outside.sent().len() == 1).then_some(())).await;
    assert_eq!(world.fini.ledger().stored("Hello there"), 1);
    assert!(fini.requests().iter().all(|asked| asked.contains(" http://api.fini.invalid/")), "{:?}", fini.requests());
}

/// A server's workers have runtimes of their own, which end before the drain does: a connection that one of them
/// opened must not end with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_outlives_the_runtime_that_first_asked_for_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (arrived, mut second_arrived) = tokio::sync::mpsc::channel(1);
    let (go_on, may_answer) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        let requests = Arc::new(AtomicUsize::new(0));
        while let Ok((mut stream, _)) = listener.accept().await {
            let (requests, arrived, mut may_answer) = (requests.clone(), arrived.clone(), may_answer.clone());
            tokio::spawn(async move {
                while head(&mut stream).await.is_some() {
                    if requests.fetch_add(1, Ordering::SeqCst) == 1 {
                        arrived.send(()).await.unwrap();
                        may_answer.wait_for(|may| *may).await.unwrap();
                    }
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhere").await.unwrap();
                }
            });
        }
    });
    let http = Http::new(&Config::default()).unwrap();
    let (ended, end) = std::sync::mpsc::channel::<()>();
    let (answered, first_is_answered) = std::sync::mpsc::channel::<()>();
    let worker = std::thread::spawn({
        let (http, url) = (http.clone(), url.clone());
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            assert_eq!(runtime.block_on(get(&http, &url)).unwrap().status, 200);
            answered.send(()).unwrap();
            runtime.block_on(async { tokio::task::spawn_blocking(move || end.recv().unwrap_err()).await.unwrap() });
        }
    });
    first_is_answered.recv().unwrap();
    let second = tokio::spawn(async move { get(&http, &url).await });
    second_arrived.recv().await.unwrap();
    drop(ended);
    tokio::task::block_in_place(|| worker.join().unwrap());
    go_on.send(true).unwrap();
    assert_eq!(second.await.unwrap().unwrap().status, 200);
}
