//! PgBouncer in transaction mode: every transaction may meet another session of the server.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fini_bridge::store::{MessageState, Store};

use crate::actors::*;
use crate::database::{as_postgres, folder, free_port, server};
use crate::{open, soon};

struct Bouncer {
    process: Child,
    port: u16,
    folder: PathBuf,
}

impl Bouncer {
    fn start() -> Self {
        let (folder, port) = (folder("pgbouncer"), free_port());
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             auth_type = trust\nauth_file = {}/users\npool_mode = transaction\ndefault_pool_size = 3\nunix_socket_dir =\n\
             ignore_startup_parameters = extra_float_digits\n",
            server().port,
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
        Self { process, port, folder }
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_through_pgbouncer_in_transaction_mode() {
    let (name, bouncer) = (server().database().await, Bouncer::start());
    let port = bouncer.port;
    soon("PgBouncer", Duration::from_secs(10), async || {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
    })
    .await;
    let url = format!("postgres://postgres@127.0.0.1:{port}/{name}?pgbouncer=true&sslmode=disable");
    let stores = futures::future::join_all((0..3).map(|_| open(&url))).await;
    let work = futures::future::join_all((0..30).map(|number| {
        let store = stores[number % 3].clone();
        async move {
            let mut ids = Vec::new();
            for message in 0..5 {
                ids.push(say(store.as_ref(), &format!("chat-{number}"), &message.to_string()).await);
            }
            ids
        }
    }));
    let ids: Vec<_> = work.await.into_iter().flatten().collect();
    for lease in lease_all(stores[0].as_ref(), fini_bridge::store::Work::Turns).await {
        let store = stores[1].as_ref();
        let turn = ask(store, &lease).await;
        store.end(&lease, &answered(turn, vec![])).await.unwrap();
        store.release(&lease, AT_ONCE).await.unwrap();
    }
    for id in ids {
        assert_eq!(state(stores[2].as_ref(), id).await.0, MessageState::Done);
    }
    stores[0].probe().await.unwrap();
}
