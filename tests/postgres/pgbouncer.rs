//! PgBouncer in transaction mode: every transaction may meet another session of the server.

use fini_bridge::store::{Leases, MessageState, Replica};

use crate::actors::*;
use crate::database::{Pooler, server};
use crate::open;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_through_pgbouncer_in_transaction_mode() {
    let (name, pooler) = (server().database().await, Pooler::start(server(), 3).await);
    let url = format!("postgres://postgres@127.0.0.1:{}/{name}?pgbouncer=true&sslmode=disable", pooler.port);
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
    for lease in lease_all(stores[0].as_ref(), fini_bridge::store::WorkKind::Turns).await {
        let store = stores[1].as_ref();
        let turn = ask(store, &lease).await;
        finish(store, &lease, &answered(turn, vec![])).await.unwrap();
        store.release(&lease, AT_ONCE).await.unwrap();
    }
    for id in ids {
        assert_eq!(state(stores[2].as_ref(), id).await.0, MessageState::Done);
    }
    stores[0].probe().await.unwrap();
}
