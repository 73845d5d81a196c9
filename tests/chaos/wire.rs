//! The wire between the replicas and their database, on which a commit's answer can get lost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// As the protocol writes the statement that ends a transaction.
const COMMIT: &[u8] = b"COMMIT\0";

pub struct Wire {
    pub address: SocketAddr,
    to_cut: Arc<AtomicUsize>,
}

impl Wire {
    pub async fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let to_cut = Arc::<AtomicUsize>::default();
        let shared = to_cut.clone();
        tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                tokio::spawn(carry(from, port, shared.clone()));
            }
        });
        Self { address, to_cut }
    }

    /// The answers to the next so many commits get lost, and their connections with them.
    pub fn cut(&self, commits: usize) {
        self.to_cut.fetch_add(commits, Ordering::SeqCst);
    }

    /// How many are still to come.
    pub fn to_cut(&self) -> usize {
        self.to_cut.load(Ordering::SeqCst)
    }
}

async fn carry(mut from: TcpStream, port: u16, to_cut: Arc<AtomicUsize>) {
    let Ok(mut database) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let _ = (from.set_nodelay(true), database.set_nodelay(true));
    let (mut asked, mut answered) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        tokio::select! {
            read = from.read(&mut asked) => {
                let Ok(read @ 1..) = read else { return };
                let commits = asked[..read].ends_with(COMMIT);
                let cut = commits
                    && to_cut.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
                if database.write_all(&asked[..read]).await.is_err() {
                    return;
                }
                if cut {
                    // It is committed when the database says so; nobody else hears it.
                    let _ = database.read(&mut answered).await;
                    return;
                }
            }
            read = database.read(&mut answered) => {
                let Ok(read @ 1..) = read else { return };
                if from.write_all(&answered[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}
