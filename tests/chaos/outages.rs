//! What the gateway stands on gives way: its database, its network, its disk, its clock.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fini_bridge::app::sandbox::fini::Change;

use super::cluster::{Cluster, Kind, Plan};
use super::database::Server;
use super::load::{Chat, Load};
use super::support::balancer;
use super::support::eventually;
use super::support::relay::Weather;
use super::verdict::Verdict;
use super::{Dice, Form};

/// What is promised of a store that is back.
const BACK_WITHIN: Duration = Duration::from_secs(5);

async fn sleep(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}

/// How long until a webhook is taken.
async fn taken_again(load: &Load) -> Duration {
    let (begun, before) = (Instant::now(), load.taken());
    eventually("webhooks are taken again", Duration::from_secs(60), async || (load.taken() > before).then_some(()))
        .await;
    begun.elapsed()
}

/// The database commits, and the connection is lost before it can say so.
pub async fn commits_cut(kind: Kind, form: Form, dice: &mut Dice) -> Verdict {
    let mut cluster = Cluster::start(kind, Plan::behind_haproxy()).await;
    let load = Load::default();
    let talk = load.talk(&cluster.front, Chat::some(40), 20.0);
    let cuts = form.pick(30, 500);
    for _ in 0..cuts {
        sleep(dice.below(200) as f64 / 1000.0).await;
        cluster.accidents.push(Instant::now());
        cluster.wire.as_ref().unwrap().cut(1);
        cluster.accidents.push(Instant::now());
    }
    let to_cut = cluster.wire.as_ref().unwrap().to_cut();
    let mut verdict = Verdict::when_settled(&cluster, &load, talk).await;
    verdict.demand(to_cut <= 1, format!("{to_cut} of {cuts} commits were not cut"));
    verdict.figures.push(format!("{cuts} answers to COMMIT lost"));
    verdict
}

/// Answers to webhooks are lost between a replica and the load balancer.
pub async fn answers_cut(kind: Kind, behind: balancer::Kind, form: Form, dice: &mut Dice) -> Verdict {
    let cluster = Cluster::start(kind, Plan { behind: Some(behind), ..Plan::default() }).await;
    let load = Load::default();
    let talk = load.talk(&cluster.front, Chat::some(40), 40.0);
    for _ in 0..form.pick(10, 100) {
        // One road at a time: with all cut at once there is no replica that could answer.
        let road = &cluster.roads[dice.below(cluster.size())];
        road.becomes(Weather::AnswersAreCut);
        sleep(0.1 + dice.below(300) as f64 / 1000.0).await;
        road.becomes(Weather::Clear);
        sleep(dice.below(300) as f64 / 1000.0).await;
    }
    let cut: usize = cluster.roads.iter().map(|road| road.accidents()).sum();
    let mut verdict = Verdict::when_settled(&cluster, &load, talk).await;
    verdict.demand(cut > 0, "no answer was cut");
    verdict.figures.push(format!("{cut} answers to webhooks cut"));
    verdict
}

/// The database crashes and stays away, 60 s in the long form.
pub async fn database_away(kind: Kind, form: Form) -> Verdict {
    let server = Arc::new(tokio::task::block_in_place(Server::start));
    let plan = Plan { servers: vec![server.clone()], ..Plan::behind_haproxy() };
    let mut cluster = Cluster::start(kind, plan).await;
    let load = Load::default();
    let talk = load.talk(&cluster.front, Chat::some(40), 40.0);
    sleep(3.0).await;
    cluster.accidents.push(Instant::now());
    tokio::task::block_in_place(|| server.crash());
    sleep(1.0).await;
    // What was being sent when it went away.
    cluster.accidents.push(Instant::now());
    let (taken, put_off) = (load.taken(), load.put_off());
    sleep(form.pick(6.0, 59.0)).await;
    let taken_meanwhile = load.taken() - taken;
    let put_off_meanwhile = load.put_off() - put_off;
    tokio::task::block_in_place(|| server.start_again());
    let back = taken_again(&load).await;
    sleep(3.0).await;
    let mut verdict = Verdict::when_settled(&cluster, &load, talk).await;
    verdict.demand(taken_meanwhile == 0, format!("{taken_meanwhile} webhooks taken without a database"));
    verdict.demand(put_off_meanwhile > 0, "nobody was put off");
    verdict.demand(back <= BACK_WITHIN, format!("webhooks are taken only {back:?} after it is back"));
    verdict.figures.push(format!("503 meanwhile: {put_off_meanwhile}; webhooks taken {back:?} after it was back"));
    verdict
}

/// The primary dies; its synchronous standby is promoted.
pub async fn standby_promoted(kind: Kind) -> Verdict {
    let primary = Arc::new(tokio::task::block_in_place(Server::start));
    let standby = Arc::new(tokio::task::block_in_place(|| primary.standby()));
    let client = primary.connect("postgres").await;
    client.batch_execute("ALTER SYSTEM SET synchronous_standby_names = '*'").await.unwrap();
    client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let plan = Plan { servers: vec![primary.clone(), standby.clone()], ..Plan::behind_haproxy() };
    let mut cluster = Cluster::start(kind, plan).await;
    let load = Load::default();
    let talk = load.talk(&cluster.front, Chat::some(40), 40.0);
    sleep(3.0).await;
    cluster.accidents.push(Instant::now());
    tokio::task::block_in_place(|| primary.crash());
    sleep(1.0).await;
    cluster.accidents.push(Instant::now());
    sleep(1.0).await;
    standby.connect("postgres").await.batch_execute("SELECT pg_promote()").await.unwrap();
    let back = taken_again(&load).await;
    sleep(3.0).await;
    let mut verdict = Verdict::when_settled(&cluster, &load, talk).await;
    verdict.demand(back <= BACK_WITHIN, format!("webhooks are taken only {back:?} after the promotion"));
    verdict.figures.push(format!("webhooks taken {back:?} after the promotion"));
    verdict
}

/// A small disk of its own, mounted in memory.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn mount() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=24m", "none"]).arg(folder.path());
        let mounted = mount.status();
        assert!(mounted.is_ok_and(|status| status.success()), "a small disk can be mounted: this scenario needs root");
        Self { folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("bridge.db")
    }

    fn filler(&self) -> PathBuf {
        self.folder.path().join("filler")
    }

    fn fill(&self) {
        let filled = std::fs::write(self.filler(), vec![0; 24 << 20]);
        assert!(filled.is_err(), "the disk is larger than it should be");
    }

    fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}

pub async fn disk_full(kind: Kind) -> Verdict {
    let disk = Disk::mount();
    let url = format!("sqlite:{}", disk.file().display());
    let environment = vec![("FINI_BRIDGE__STORE__URL", url)];
    let mut cluster = Cluster::start(kind, Plan { environment, ..Plan::default() }).await;
    cluster.world.fini.change(Change { answer_delay_ms: Some(300), ..Change::default() });
    let load = Load::default();
    let talk = load.talk(&cluster.front, Chat::some(40), 60.0);
    sleep(2.0).await;
    cluster.accidents.push(Instant::now());
    disk.fill();
    let before = load.put_off();
    let full = eventually("senders are put off", Duration::from_secs(30), async || {
        (load.put_off() > before + 50).then_some(())
    });
    full.await;
    let readyz = format!("http://{}/readyz", cluster.process(0).address);
    let mut ready = Vec::new();
    for _ in 0..50 {
        ready.push(cluster.world.http.get(&readyz).send().await.unwrap().status().as_u16());
        sleep(0.1).await;
    }
    disk.free();
    cluster.accidents.push(Instant::now());
    let back = taken_again(&load).await;
    sleep(3.0).await;
    let mut verdict = Verdict::when_settled(&cluster, &load, talk).await;
    let green = ready.iter().filter(|status| **status != 503).count();
    verdict.demand(green == 0, format!("/readyz is green {green} times of {} on a full disk", ready.len()));
    verdict.demand(back <= BACK_WITHIN, format!("webhooks are taken only {back:?} after there is space"));
    cluster.kill(0);
    let whole = integrity(&disk.file());
    verdict.demand(whole == "ok", format!("integrity_check: {whole}"));
    verdict.figures.push(format!("webhooks taken {back:?} after there was space; integrity_check: {whole}"));
    verdict
}

fn integrity(file: &Path) -> String {
    let connection = rusqlite::Connection::open(file).unwrap();
    connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
}

/// A clock that is set: the gateway's, and the database's where there is one.
pub async fn clock_steps(kind: Kind) -> Verdict {
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    let set = |seconds: i32| std::fs::write(&clock, format!("{seconds:+}\n")).unwrap();
    set(0);
    let environment = vec![
        ("LD_PRELOAD", faketime().display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()),
        ("FAKETIME_CACHE_DURATION", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    let mut cluster = Cluster::start(kind, Plan { environment, ..Plan::default() }).await;
    cluster.world.fini.change(Change { answer_delay_ms: Some(300), ..Change::default() });
    let load = Load::default();
    let talk = load.talk(&cluster.front, Chat::some(40), 30.0);
    let (mut longest, mut stepped) = (Duration::ZERO, 0);
    // Within the five minutes that signatures may be old.
    for seconds in [120, 0, -120, 0, 150, -100, 0] {
        cluster.accidents.push(Instant::now());
        set(seconds);
        if let Some(name) = &cluster.database {
            let client = super::database::server().connect(name).await;
            let now = format!(
                "CREATE OR REPLACE FUNCTION fini_bridge.now_ms() RETURNS bigint LANGUAGE sql VOLATILE AS
                 $$ SELECT (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000)::bigint + {seconds} * 1000 $$"
            );
            client.batch_execute(&now).await.unwrap();
        }
        stepped += 1;
        sleep(3.0).await;
        longest = longest.max(answered_again(&cluster).await);
        cluster.accidents.push(Instant::now());
    }
    let mut verdict = Verdict::when_settled(&cluster, &load, talk).await;
    verdict.demand(verdict.logs.contains("clock was set back"), "the gateway's clock could not be set");
    verdict.figures.push(format!("{stepped} steps; after each an answer within {longest:?}"));
    verdict
}

async fn answered_again(cluster: &Cluster) -> Duration {
    let (begun, before) = (Instant::now(), cluster.world.outside.sent_after(0).len());
    let outside = &cluster.world.outside;
    eventually("chats are answered again", Duration::from_secs(60), async || {
        (!outside.sent_after(before).is_empty()).then_some(())
    })
    .await;
    begun.elapsed()
}

fn faketime() -> PathBuf {
    let places = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut found = places.map(|place| place.path().join("faketime/libfaketime.so.1")).filter(|path| path.exists());
    found.next().expect("no libfaketime: `make setup` installs it (Debian: libfaketime)")
}
