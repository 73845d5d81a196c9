//! A real PostgreSQL of the test process's own, from the system's binaries: on a port that is free, in a
//! folder that goes away with the process, a fresh database for whoever asks.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls};

/// A line of input starts the server again; it ends when nobody holds the other end of its shell's input any
/// more, however this process ends.
const LIFE: &str = r#"
set -e
if [ -n "$PRIMARY" ]; then
    "$BIN/pg_basebackup" -D "$DIR/data" -h 127.0.0.1 -p "$PRIMARY" -U postgres -R -c fast --no-sync >"$DIR/initdb.log" 2>&1
else
    "$BIN/initdb" -D "$DIR/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync >"$DIR/initdb.log" 2>&1
fi
serve() {
    "$BIN/postgres" -D "$DIR/data" -p "$PORT" -k "$DIR" -c listen_addresses=127.0.0.1 -c fsync=off \
        -c max_connections=300 -c shared_buffers=64MB -c log_min_messages=warning >>"$DIR/server.log" 2>&1 &
    server=$!
}
serve
while read -r _; do serve; done
kill -INT $server || true
wait || true
rm -rf "$DIR"
"#;

pub struct Server {
    pub port: u16,
    folder: PathBuf,
    life: Mutex<ChildStdin>,
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

/// Where the newest PostgreSQL's programs are.
pub fn binaries() -> PathBuf {
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
        Self::make(port, None)
    }

    /// A hot standby of this one.
    pub fn standby(&self) -> Self {
        Self::make(free_port(), Some(self.port))
    }

    fn make(port: u16, primary: Option<u16>) -> Self {
        let (bin, folder) = (binaries(), folder("postgres"));
        let mut shell = as_postgres("sh")
            .args(["-c", LIFE, "server"])
            .env("BIN", bin)
            .env("DIR", &folder)
            .env("PORT", port.to_string())
            .env("PRIMARY", primary.map_or_else(String::new, |primary| primary.to_string()))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let life = Mutex::new(shell.stdin.take().unwrap());
        let server = Self { port, folder, life, _shell: shell };
        server.wait_until("starts", Self::accepts);
        server
    }

    fn accepts(&self) -> bool {
        std::fs::read_to_string(self.folder.join("data/postmaster.pid"))
            .is_ok_and(|pid| pid.lines().nth(7).is_some_and(|state| ["ready", "standby"].contains(&state.trim())))
    }

    fn wait_until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_so(self) {
            assert!(Instant::now() < deadline, "PostgreSQL never {what}: see {}", self.folder.display());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// As in a crash: without a word to anybody.
    pub fn crash(&self) {
        self.signal("-QUIT");
        self.wait_until("ends", |server| !server.folder.join("data/postmaster.pid").exists());
    }

    pub fn start_again(&self) {
        self.life.lock().unwrap().write_all(b"\n").unwrap();
        self.wait_until("starts again", Self::accepts);
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

/// The one of this process.
pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::start)
}

/// A PgBouncer in transaction mode: every transaction may meet another session of the server.
pub struct Pooler {
    pub port: u16,
    process: Child,
    folder: PathBuf,
}

impl Pooler {
    pub async fn start(server: &Server, connections: usize) -> Self {
        let (folder, port) = (folder("pgbouncer"), free_port());
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             auth_type = trust\nauth_file = {}/users\npool_mode = transaction\ndefault_pool_size = {connections}\n\
             unix_socket_dir =\nignore_startup_parameters = extra_float_digits\n",
            server.port,
            folder.display(),
        );
        std::fs::write(folder.join("users"), "\"postgres\" \"\"\n").unwrap();
        std::fs::write(folder.join("pgbouncer.ini"), settings).unwrap();
        let process = as_postgres("/usr/sbin/pgbouncer")
            .args(["-q"])
            .arg(folder.join("pgbouncer.ini"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("no pgbouncer: `make setup` installs it (Debian: pgbouncer)");
        let pooler = Self { port, process, folder };
        let deadline = Instant::now() + Duration::from_secs(10);
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(Instant::now() < deadline, "PgBouncer didn't start");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        pooler
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
