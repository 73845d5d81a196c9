//! A stretch of network between a load balancer and a gateway, on which connections are counted and accidents happen.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    Clear,
    /// Webhooks arrive, and their answers are cut off before the first byte.
    AnswersAreCut,
    /// Webhooks are turned away with 503, as by a replica whose store is away.
    TurnedAway,
    /// Nothing moves: connections are taken, and that is all.
    Frozen,
}

const TURNED_AWAY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 7\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

pub struct Relay {
    pub address: SocketAddr,
    seen: Arc<Seen>,
    weather: watch::Sender<Weather>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    accidents: AtomicUsize,
}

impl Relay {
    pub async fn start(to: SocketAddr, weather: Weather) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (weather, sky) = watch::channel(weather);
        let seen = Arc::<Seen>::default();
        let shared = seen.clone();
        tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                tokio::spawn(carry(from, to, sky.clone(), shared.clone()));
            }
        });
        Self { address, seen, weather }
    }

    pub fn becomes(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Connections that carried webhooks; health checks have their own.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Webhooks that came to grief.
    pub fn accidents(&self) -> usize {
        self.seen.accidents.load(Ordering::SeqCst)
    }
}

/// Health checks pass in any weather but frost: what is tried is what happens before a check notices.
async fn carry(mut from: TcpStream, to: SocketAddr, sky: watch::Receiver<Weather>, seen: Arc<Seen>) {
    let Ok(mut gateway) = TcpStream::connect(to).await else { return };
    let (mut request, mut answer) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let (mut webhook, mut counted) = (false, false);
    loop {
        tokio::select! {
            read = from.read(&mut request) => {
                let Ok(read @ 1..) = read else { return };
                let begins = |method: &[u8]| request[..read].starts_with(method);
                webhook = begins(b"POST ") || (webhook && !begins(b"GET "));
                if webhook && !counted {
                    counted = true;
                    seen.connections.fetch_add(1, Ordering::SeqCst);
                }
                let weather = *sky.borrow();
                if weather == Weather::Frozen || (webhook && weather == Weather::TurnedAway) {
                    seen.accidents.fetch_add(usize::from(begins(b"POST ")), Ordering::SeqCst);
                    if weather == Weather::TurnedAway {
                        let _ = from.write_all(TURNED_AWAY).await;
                        let _ = from.shutdown().await;
                    }
                    // Until the other side gives up.
                    while matches!(from.read(&mut request).await, Ok(1..)) {}
                    return;
                }
                if gateway.write_all(&request[..read]).await.is_err() {
                    return;
                }
            }
            read = gateway.read(&mut answer) => {
                let Ok(read @ 1..) = read else { return };
                if webhook && *sky.borrow() == Weather::AnswersAreCut {
                    seen.accidents.fetch_add(1, Ordering::SeqCst);
                    return;
                }
                if from.write_all(&answer[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}
