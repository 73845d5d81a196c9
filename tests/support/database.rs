//! A real PostgreSQL of the test process's own, from the system's binaries: on a port that is free, in a
//! folder that goes away with the process, a fresh database for whoever asks.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls};

/// The server ends when nobody holds the other end of its shell's input any more, however this process ends.
const LIFE: &str = r#"
set -e
"$BIN/initdb" -D "$DIR/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync >"$DIR/initdb.log" 2>&1
"$BIN/postgres" -D "$DIR/data" -p "$PORT" -k "$DIR" -c listen_addresses=127.0.0.1 -c fsync=off \
    -c max_connections=300 -c shared_buffers=64MB -c log_min_messages=warning >"$DIR/server.log" 2>&1 &
server=$!
read -r _ || true
kill -INT $server
wait $server || true
rm -rf "$DIR"
"#;

pub struct Server {
    pub port: u16,
    folder: PathBuf,
    _life: ChildStdin,
    _shell: Child,
}

pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// PostgreSQL and PgBouncer refuse to run as root.
pub fn as_postgres(program: impl AsRef<std::ffi::OsStr>) -> Command {
    if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A folder that the server's user may write in.
pub fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("fini-bridge-{name}-{}-{}", std::process::id(), free_port()));
    std::fs::create_dir_all(&folder).unwrap();
    if is_root() {
        assert!(Command::new("chown").arg("postgres").arg(&folder).status().unwrap().success());
    }
    folder
}

/// Newest first.
fn binaries() -> PathBuf {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = installed
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| bin.join("initdb").exists())
        .collect();
    versions.sort();
    versions.pop().expect("no PostgreSQL in /usr/lib/postgresql: `make setup` installs it (Debian: postgresql)").1
}

impl Server {
    pub fn start() -> Self {
        Self::start_on(free_port())
    }

    pub fn start_on(port: u16) -> Self {
        let (bin, folder) = (binaries(), folder("postgres"));
        let mut shell = as_postgres("sh")
            .args(["-c", LIFE, "server"])
            .env("BIN", bin)
            .env("DIR", &folder)
            .env("PORT", port.to_string())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let life = shell.stdin.take().unwrap();
        let server = Self { port, folder, _life: life, _shell: shell };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !server.folder.join("data/postmaster.pid").exists() || !server.accepts() {
            assert!(Instant::now() < deadline, "PostgreSQL didn't start: see {}", server.folder.display());
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    fn accepts(&self) -> bool {
        std::fs::read_to_string(self.folder.join("data/postmaster.pid"))
            .is_ok_and(|pid| pid.lines().nth(7).is_some_and(|state| state.trim() == "ready"))
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    pub async fn connect(&self, database: &str) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url(database), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Stops it as a crash would, or lets it go.
    pub fn signal(&self, signal: &str) {
        let pid = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap();
        let pid = pid.lines().next().unwrap();
        assert!(Command::new("kill").args([signal, pid]).status().unwrap().success());
    }

    pub async fn database(&self) -> String {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!("bridge_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let client = self.connect("postgres").await;
        client.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE template0")).await.unwrap();
        name
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self._life.write_all(b"\n");
    }
}

/// The one of this process.
pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::start)
}
