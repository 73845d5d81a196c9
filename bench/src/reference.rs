//! What the product is compared with: the same job without what makes it a product, on the same libraries.
//!
//! - `memory`: signature, JSON, duplicates in memory, the two calls. A crash loses everything.
//! - `durable`: signature, JSON, one row in SQLite by group commit before the 200. Nothing is done with it.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Mutex, mpsc};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use anyhow::{Result, bail};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::oneshot;

use crate::clock;
use crate::message::SIGNING_SECRET;

type Row = (String, Vec<u8>, oneshot::Sender<bool>);

enum Work {
    Memory { seen: Mutex<HashSet<String>>, http: reqwest::Client, upstreams: String },
    Durable(mpsc::SyncSender<Row>),
}

/// `memory URL` or `durable FILE`; prints where it listens.
pub fn main(mut arguments: impl Iterator<Item = String>) -> Result<()> {
    let work = match (arguments.next().as_deref(), arguments.next()) {
        (Some("memory"), Some(upstreams)) => Work::Memory {
            seen: Mutex::default(),
            http: reqwest::Client::builder().no_proxy().pool_max_idle_per_host(1024).tcp_nodelay(true).build()?,
            upstreams,
        },
        (Some("durable"), Some(file)) => Work::Durable(writer(file.into())?),
        _ => bail!("reference memory URL | reference durable FILE"),
    };
    let work = web::Data::new(work);
    actix_web::rt::System::new().block_on(async move {
        let server = HttpServer::new(move || {
            App::new().app_data(work.clone()).route("/webhooks/slack", web::post().to(receive))
        })
        .workers(1)
        .backlog(4096)
        .bind(("127.0.0.1", 0))?;
        for address in server.addrs() {
            eprintln!("{}", json!({"message": "serving", "listen": address.to_string()}));
        }
        server.run().await
    })?;
    Ok(())
}

async fn receive(work: web::Data<Work>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    if !is_genuine(&request, &body) {
        return HttpResponse::Unauthorized().finish();
    }
    let Ok(webhook) = serde_json::from_slice::<Value>(&body) else { return HttpResponse::BadRequest().finish() };
    let Some(id) = webhook["event_id"].as_str().map(str::to_owned) else { return HttpResponse::BadRequest().finish() };
    match work.get_ref() {
        Work::Durable(rows) => {
            let (sender, written) = oneshot::channel();
            if rows.try_send((id, body.to_vec(), sender)).is_err() {
                return HttpResponse::ServiceUnavailable().finish();
            }
            match written.await {
                Ok(true) => HttpResponse::Ok().finish(),
                _ => HttpResponse::InternalServerError().finish(),
            }
        }
        Work::Memory { seen, http, upstreams } => {
            if seen.lock().is_ok_and(|mut seen| seen.insert(id)) {
                let (http, upstreams) = (http.clone(), upstreams.clone());
                actix_web::rt::spawn(async move {
                    if let Err(error) = answer(&http, &upstreams, &webhook).await {
                        eprintln!("{error}");
                    }
                });
            }
            HttpResponse::Ok().finish()
        }
    }
}

fn is_genuine(request: &HttpRequest, body: &[u8]) -> bool {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let (Some(at), Some(given)) = (header("x-slack-request-timestamp"), header("x-slack-signature")) else {
        return false;
    };
    if at.parse().map_or(true, |at: u64| at.abs_diff(clock::unix_seconds()) > 300) {
        return false;
    }
    let Some(Ok(given)) = given.strip_prefix("v0=").map(hex::decode) else { return false };
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(SIGNING_SECRET.as_bytes()) else { return false };
    mac.update(b"v0:");
    mac.update(at.as_bytes());
    mac.update(b":");
    mac.update(body);
    mac.verify_slice(&given).is_ok()
}

async fn answer(http: &reqwest::Client, upstreams: &str, webhook: &Value) -> reqwest::Result<()> {
    let event = &webhook["event"];
    let question = json!({"content": event["text"], "botId": "bot_1",
        "metadata": {"channel": "chat", "user_attributes": {"slack_user": event["user"]}}});
    let call = http.post(format!("{upstreams}/v2/hc-interactions/events/public")).bearer_auth("fini_bench");
    let events: Value = call.json(&question).send().await?.json().await?;
    let said = events.as_array().and_then(|events| events.iter().find(|event| event["role"] == "finibot"));
    let reply = json!({"channel": event["channel"], "thread_ts": event["ts"],
        "text": said.map_or(Value::Null, |event| event["message"].clone())});
    let call = http.post(format!("{upstreams}/api/chat.postMessage")).bearer_auth("xoxb-bench");
    call.json(&reply).send().await?.bytes().await?;
    Ok(())
}

/// One thread: everything that waits is written in one transaction, then all are answered.
fn writer(file: PathBuf) -> Result<mpsc::SyncSender<Row>> {
    let (sender, rows) = mpsc::sync_channel::<Row>(8192);
    let mut database = rusqlite::Connection::open(file)?;
    database.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000;
         CREATE TABLE inbox (event_id TEXT PRIMARY KEY, body BLOB NOT NULL, state INTEGER NOT NULL DEFAULT 0)
         WITHOUT ROWID;",
    )?;
    std::thread::spawn(move || {
        while let Ok(first) = rows.recv() {
            let mut batch = vec![first];
            batch.extend(rows.try_iter().take(255));
            let written = write(&mut database, &batch).is_ok();
            for (_, _, sender) in batch {
                let _ = sender.send(written);
            }
        }
    });
    Ok(sender)
}

fn write(database: &mut rusqlite::Connection, batch: &[Row]) -> rusqlite::Result<()> {
    let transaction = database.transaction()?;
    {
        let mut insert = transaction.prepare_cached("INSERT OR IGNORE INTO inbox (event_id, body) VALUES (?1, ?2)")?;
        for (id, body, _) in batch {
            insert.execute((id, body))?;
        }
    }
    transaction.commit()
}
