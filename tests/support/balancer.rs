//! nginx and HAProxy themselves, with the samples of `config/deploy` but for addresses and paths.

use std::fmt::Write as _;
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::eventually;
use super::fleet::free_address;
use super::senders::Signed;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    Haproxy,
}

/// The samples' name; the client knows where it is.
pub const HOST: &str = "bridge.example.com";

pub struct Balancer {
    pub kind: Kind,
    pub http: reqwest::Client,
    address: SocketAddr,
    child: Child,
    folder: tempfile::TempDir,
}

impl Balancer {
    /// In front of at most three replicas, which need not be there.
    pub async fn start(kind: Kind, replicas: &[SocketAddr]) -> Self {
        Self::start_edited(kind, replicas, &[]).await
    }

    /// With other words in the sample: what stands there once, and what instead.
    pub async fn start_edited(kind: Kind, replicas: &[SocketAddr], edits: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = free_address(2);
        let certificate = certify(folder.path());
        let mut config = match kind {
            Kind::Nginx => nginx(folder.path(), address, replicas),
            Kind::Haproxy => haproxy(folder.path(), address, replicas),
        };
        edits.iter().for_each(|(what, instead)| put(&mut config, what, instead));
        let path = folder.path().join("balancer.conf");
        std::fs::write(&path, config).unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let mut command = match kind {
            Kind::Nginx => program("nginx"),
            Kind::Haproxy => program("haproxy"),
        };
        match kind {
            Kind::Nginx => command.arg("-p").arg(folder.path()).arg("-c").arg(&path),
            // A warning is a mistake in the sample.
            Kind::Haproxy => command.args(["-db", "-dW", "-f"]).arg(&path),
        };
        let child = command.stdout(Stdio::from(log.try_clone().unwrap())).stderr(Stdio::from(log)).spawn();
        let child = child.expect("nginx and haproxy are here: tests/setup installs them");
        let http = reqwest::Client::builder()
            .resolve(HOST, address)
            // What a sender sees is not to be mended by its client.
            .retry(reqwest::retry::never())
            .tls_certs_only([reqwest::Certificate::from_pem(certificate.as_bytes()).unwrap()])
            .build()
            .unwrap();
        let mut balancer = Self { kind, http, address, child, folder };
        eventually("the load balancer listens", Duration::from_secs(20), async || {
            if let Some(status) = balancer.child.try_wait().unwrap() {
                panic!("{kind:?} ended with {status}");
            }
            std::net::TcpStream::connect(address).ok()
        })
        .await;
        balancer
    }

    /// As the senders see it.
    pub fn base(&self) -> String {
        format!("https://{HOST}:{}", self.address.port())
    }

    pub fn request(&self, channel: &str, signed: Signed) -> reqwest::RequestBuilder {
        self.request_to(&format!("/webhooks/{channel}"), signed)
    }

    pub fn request_to(&self, path: &str, signed: Signed) -> reqwest::RequestBuilder {
        let mut request = self.http.post(format!("{}{path}", self.base())).body(signed.body);
        for (name, value) in signed.headers {
            request = request.header(name, value);
        }
        request
    }

    pub fn log(&self) -> String {
        let read = |name| std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        read("log") + &read("access.log")
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // SIGKILL would leave nginx's workers behind.
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {:?}'s log ---\n{}", self.kind, self.log());
        }
    }
}

/// Debian's place for daemons is not on every user's path.
pub fn program(name: &str) -> Command {
    let daemon = Path::new("/usr/sbin").join(name);
    Command::new(if daemon.exists() { daemon } else { name.into() })
}

/// `bridge.crt`, `bridge.key` and both as `bridge.pem`; returns the certificate.
fn certify(folder: &Path) -> String {
    let made = rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    std::fs::write(folder.join("bridge.crt"), &certificate).unwrap();
    std::fs::write(folder.join("bridge.key"), &key).unwrap();
    std::fs::write(folder.join("bridge.pem"), format!("{certificate}{key}")).unwrap();
    certificate
}

fn nginx(folder: &Path, address: SocketAddr, replicas: &[SocketAddr]) -> String {
    let folder = folder.display();
    let mut site = sample("nginx.conf", replicas);
    put(&mut site, "listen 443 ssl;", &format!("listen {address} ssl;"));
    put(&mut site, "/etc/nginx/certs/bridge.crt", &format!("{folder}/bridge.crt"));
    put(&mut site, "/etc/nginx/certs/bridge.key", &format!("{folder}/bridge.key"));
    put(&mut site, "/var/log/nginx/fini-bridge.log", &format!("{folder}/access.log"));
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("{what}_temp_path {folder}/{what};\n"))
        .concat();
    // `user` counts for root only, who otherwise hands the workers to somebody who can't read the folder.
    let user = if folder_owner_is_root() { "user root;\n" } else { "" };
    format!(
        "{user}daemon off;\nworker_processes 2;\npid {folder}/pid;\nerror_log stderr notice;\n\
         events {{ worker_connections 1024; }}\nhttp {{\n{temporary}{site}\n}}\n"
    )
}

fn folder_owner_is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

fn haproxy(folder: &Path, address: SocketAddr, replicas: &[SocketAddr]) -> String {
    let mut config = sample("haproxy.cfg", replicas);
    put(&mut config, "bind :443 ssl", &format!("bind {address} ssl"));
    put(&mut config, "/etc/haproxy/certs/bridge.pem", &format!("{}/bridge.pem", folder.display()));
    config
}

/// With these replicas instead of the sample's three.
fn sample(name: &str, replicas: &[SocketAddr]) -> String {
    let text = std::fs::read_to_string(Path::new("config/deploy").join(name)).unwrap();
    let mut replicas = replicas.iter();
    let (mut found, mut filled) = (0, String::new());
    for line in text.lines() {
        match (1..=3).map(|number| format!("bridge-{number}:8080")).find(|server| line.contains(server)) {
            None => writeln!(filled, "{line}").unwrap(),
            Some(server) => {
                found += 1;
                if let Some(replica) = replicas.next() {
                    writeln!(filled, "{}", line.replace(&server, &replica.to_string())).unwrap();
                }
            }
        }
    }
    assert_eq!((found, replicas.next()), (3, None), "{name} has three servers");
    filled
}

fn put(text: &mut String, what: &str, instead: &str) {
    assert_eq!(text.matches(what).count(), 1, "the sample says once: {what}");
    *text = text.replace(what, instead);
}
