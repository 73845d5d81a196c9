//! How long a webhook waits for the store while 100,000 messages lose their text and, in a second round, their rows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fini_bridge::domain::clock::{Clock, SystemClock};
use fini_bridge::domain::id::{AttributesRef, BotId, ChannelName, ChatKey, ChatRef, DeliveryKey, MessageId};
use fini_bridge::domain::message::{Address, Role};
use fini_bridge::domain::secret::Secret;
use fini_bridge::store::postgres::Postgres;
use fini_bridge::store::sqlite::{Mode, Sqlite};
use fini_bridge::store::{NewItem, NewMessage, Retention, Store};
use serde_json::json;

use crate::{Sample, database, variable};

const MESSAGES: u64 = 100_000;
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Between two webhooks.
const PAUSE: Duration = Duration::from_millis(5);

pub async fn measure() -> bool {
    let wanted = variable("MEASURE_STORES");
    for name in ["sqlite", "postgres"] {
        if wanted.as_ref().is_none_or(|wanted| wanted.contains(name)) {
            on(name).await;
        }
    }
    true
}

async fn on(name: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bridge.db");
    let old = SystemClock.now().minus(DAY * 40).as_millis();
    let store: Arc<dyn Store> = if name == "sqlite" {
        let store = Sqlite::open(&file, Mode::Serve, Arc::new(SystemClock)).await.unwrap();
        rusqlite::Connection::open(&file).unwrap().execute_batch(&rows_in_sqlite(old)).unwrap();
        store
    } else {
        let database = database::server().database().await;
        let url = Secret::new(database::server().url(&database));
        let store = Postgres::open(Arc::new(move || url.clone()), Mode::Serve).await.unwrap();
        database::server().connect(&database).await.batch_execute(&rows_in_postgres(old)).await.unwrap();
        store
    };
    let without = webhooks(&store, tokio::time::sleep(Duration::from_secs(10))).await;
    println!("{name}: a webhook alone {}", without.0);
    let policy = |keep, forget| Retention { keep, forget, give_up_after: DAY * 365, overrides: vec![], active: vec![] };
    for (what, policy) in [("text", policy(DAY * 30, DAY * 90)), ("rows", policy(DAY * 9, DAY * 30))] {
        let begun = Instant::now();
        let (with, removed) = webhooks(&store, store.enforce_retention(&policy)).await;
        let worst = with.quantile(1.0);
        println!(
            "{name}: while {what} go {with}, worst {worst:.0?}; {:?} in {:.1?}",
            removed.unwrap(),
            begun.elapsed()
        );
    }
}

/// One after the other until that has ended.
async fn webhooks<T>(store: &Arc<dyn Store>, meanwhile: impl Future<Output = T>) -> (Sample, T) {
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let store = store.clone();
    let sending = tokio::spawn(async move {
        let mut took = Vec::new();
        while stopped.try_recv().is_err() {
            let begun = Instant::now();
            store.accept(vec![message()]).await.unwrap();
            took.push(begun.elapsed());
            tokio::time::sleep(PAUSE).await;
        }
        Sample(took)
    });
    let value = meanwhile.await;
    let _ = stop.send(());
    (sending.await.unwrap(), value)
}

fn message() -> NewItem {
    let id = MessageId::generate();
    NewItem::Message(Box::new(NewMessage {
        id,
        channel: ChannelName::new("shop"),
        delivery_key: DeliveryKey::new(id.to_string()),
        chat: ChatKey::new("chat-now"),
        chat_ref: ChatRef::new("ref"),
        sender: None,
        sender_ref: None,
        role: Role::User,
        text: "where is my order?".to_owned(),
        too_long: false,
        user_attributes: serde_json::Map::new(),
        attributes_ref: AttributesRef::new("none"),
        bot_id: BotId::new("bot"),
        address: Address(json!({})),
        sort_at: None,
        only_if_known: false,
        secret: None,
        merge_window: Duration::ZERO,
        wait: None,
        dormant: true,
    }))
}

/// A chat for every ten messages, each with its turn and its reply; every hundredth is long.
fn rows_in_sqlite(at: i64) -> String {
    let text = "iif(n % 100 = 0, hex(zeroblob(20000)), hex(zeroblob(150)))";
    let numbers = |most| format!("WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {most})");
    format!(
        "BEGIN;
         {} INSERT INTO lanes (id, channel, chat, chat_ref, last_turn_at)
            SELECT n, 'shop', 'chat-' || n, 'ref', {at} FROM c;
         INSERT INTO schedule (lane, work, channel) SELECT id, 'turns', 'shop' FROM lanes
            UNION ALL SELECT id, 'deliveries', 'shop' FROM lanes;
         {all} INSERT INTO turns (id, lane, generation, bot_id, role, content, received_at, begun_at, state, ended_at)
            SELECT 't' || n, (n - 1) / 10 + 1, 1, 'bot', 'user', {text}, {at}, {at}, 'answered', {at} FROM c;
         {all} INSERT INTO messages (seq, id, channel, delivery_key, lane, role, text, received_at, waiting_since, state,
                turn, ended_at)
            SELECT n, 'm' || n, 'shop', 'key-' || n, (n - 1) / 10 + 1, 'user', {text}, {at}, {at}, 'done', 't' || n, {at}
            FROM c;
         {all} INSERT INTO parts (seq, id, channel, lane, turn, reply, kind, part, answered_at, state)
            SELECT n, 'p' || n, 'shop', (n - 1) / 10 + 1, 't' || n, 0, 'message', {text}, {at}, 'sent' FROM c;
         UPDATE sequences SET last = {MESSAGES};
         COMMIT",
        numbers(MESSAGES / 10),
        all = numbers(MESSAGES),
    )
}

fn rows_in_postgres(at: i64) -> String {
    let text = "CASE WHEN n % 100 = 0 THEN repeat('0', 40000) ELSE repeat('0', 300) END";
    let lane = "(n - 1) / 10 + 1";
    format!(
        "SET search_path = fini_bridge;
         INSERT INTO lanes (channel, chat, chat_ref, last_turn_at)
            SELECT 'shop', 'chat-' || n, 'ref', {at} FROM generate_series(1, {MESSAGES} / 10) AS n ORDER BY n;
         INSERT INTO schedule (lane, work, channel)
            SELECT id, work, 'shop' FROM lanes, unnest(ARRAY['turns', 'deliveries']) AS work;
         INSERT INTO turns (id, lane, generation, bot_id, role, content, received_at, begun_at, state, ended_at)
            SELECT 't' || n, {lane}, 1, 'bot', 'user', {text}, {at}, {at}, 'answered', {at}
            FROM generate_series(1, {MESSAGES}) AS n;
         INSERT INTO messages (id, channel, delivery_key, key_digest, lane, role, text, received_at, waiting_since, state,
                turn, ended_at)
            SELECT 'm' || n, 'shop', 'key-' || n, sha256(('key-' || n)::bytea), {lane}, 'user', {text}, {at}, {at},
                'done', 't' || n, {at} FROM generate_series(1, {MESSAGES}) AS n ORDER BY n;
         INSERT INTO parts (id, channel, lane, turn, reply, kind, part, answered_at, state)
            SELECT 'p' || n, 'shop', {lane}, 't' || n, 0, 'message', {text}, {at}, 'sent'
            FROM generate_series(1, {MESSAGES}) AS n;
         ANALYZE"
    )
}
