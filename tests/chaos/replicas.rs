//! Replicas that come, go, and sleep behind a load balancer; how soon others take over.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use fini_bridge::app::sandbox::fini::Change;

use super::cluster::{Cluster, Kind, Plan};
use super::database::server;
use super::load::{Chat, Load};
use super::support::balancer;
use super::support::{FINI_KEYS, senders};
use super::verdict::Verdict;
use super::{Dice, Form};

/// Sleeps through its leases, a minute in the long form, and wakes up.
pub async fn frozen(kind: Kind, form: Form, dice: &mut Dice) -> Verdict {
    let mut cluster = Cluster::start(kind, Plan::behind_haproxy()).await;
    cluster.world.fini.change(Change { answer_delay_ms: Some(300), ..Change::default() });
    let load = Load::default();
    let talk = load.talk(&cluster.front, Chat::some(40), 30.0);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let victim = dice.below(cluster.size());
    cluster.freeze(victim, Duration::from_secs(form.pick(15, 60))).await;
    let awake = senders::now() * 1000;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut verdict = Verdict::when_settled(&cluster, &load, talk).await;
    // What others have asked in its sleep it must not ask again; new questions are its good right.
    let ledger = cluster.world.fini.ledger();
    let mut asked: HashMap<&str, &str> = HashMap::new();
    let mut again = 0;
    for ask in ledger.asks() {
        let (content, key) = (ask.content.as_deref().unwrap_or_default(), ask.key.as_deref().unwrap_or_default());
        let known = asked.insert(content, key).is_some();
        again += usize::from(known && key == FINI_KEYS[victim] && ask.at >= awake);
    }
    verdict.demand(again == 0, format!("the sleeper asked {again} questions that others had asked"));
    let lost = cluster.process(victim).log().matches("a lane was lost to another holder").count();
    verdict.figures.push(format!("lanes that it found lost when it woke up: {lost}"));
    verdict
}

/// Each lane once for each kind of work: which it is, whose it is, and whether nothing is to be done in it.
const LANES: &str = "
    SELECT id, 'turns' AS work, turns_fence AS fence, turns_owner AS owner,
        NOT EXISTS (SELECT 1 FROM fini_bridge.due_lanes WHERE lane = id AND work = 'turns') AS idle
    FROM fini_bridge.lanes
    UNION ALL
    SELECT id, 'deliveries', deliveries_fence, deliveries_owner,
        NOT EXISTS (SELECT 1 FROM fini_bridge.due_lanes WHERE lane = id AND work = 'deliveries')
    FROM fini_bridge.lanes";

/// What a replica has in hand, by lane and kind of work.
type Held = HashMap<(i64, String), i64>;

async fn held(client: &tokio_postgres::Client, replica: &str) -> Held {
    let held = format!("SELECT id, work, fence FROM ({LANES}) AS lanes WHERE owner = $1");
    client.query(&held, &[&replica]).await.unwrap().iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect()
}

/// When each of these lanes was in other hands, or free with nothing to do.
async fn taken_over(client: &tokio_postgres::Client, replica: &str, mut lanes: Held) -> Vec<Duration> {
    let begun = Instant::now();
    let mut times = Vec::new();
    while !lanes.is_empty() && begun.elapsed() < Duration::from_secs(40) {
        let rows = client.query(LANES, &[]).await.unwrap();
        for row in &rows {
            let key: (i64, String) = (row.get(0), row.get(1));
            let (fence, owner, idle): (i64, Option<String>, bool) = (row.get(2), row.get(3), row.get(4));
            if lanes.get(&key).is_some_and(|before| {
                let is_anothers = owner.as_deref().is_some_and(|owner| owner != replica);
                (fence > *before && is_anothers) || (owner.is_none() && idle)
            }) {
                lanes.remove(&key);
                times.push(begun.elapsed());
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    times.extend(lanes.iter().map(|_| Duration::MAX));
    times
}

fn summary(what: &str, times: &mut [Duration]) -> (String, Duration) {
    times.sort_unstable();
    let at =
        |share: f64| times.get((times.len() as f64 * share) as usize).or(times.last()).copied().unwrap_or_default();
    let (half, p99) = (at(0.5), at(0.99));
    (format!("{what}: {} lanes, median {half:.1?}, p99 {p99:.1?}, longest {:.1?}", times.len(), at(1.0)), p99)
}

/// From the death of a replica, and from the word that it shall end, to the first write of another one in a lane
/// that it had in hand.
pub async fn takeover(kind: Kind, form: Form, dice: &mut Dice) -> Verdict {
    let mut cluster = Cluster::start(kind, Plan::behind_haproxy()).await;
    cluster.world.fini.change(Change { answer_delay_ms: Some(300), ..Change::default() });
    let client = server().connect(cluster.database.as_ref().unwrap()).await;
    let load = Load::default();
    let talk = load.talk(&cluster.front, Chat::some(60), 40.0);
    let (mut after_kill, mut after_term) = (Vec::new(), Vec::new());
    for round in 0..form.pick(2, 20) {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let victim = dice.below(cluster.size());
        let replica = cluster.process(victim).replica.clone();
        if round % 2 == 0 {
            cluster.kill(victim);
            let lanes = held(&client, &replica).await;
            after_kill.extend(taken_over(&client, &replica, lanes).await);
        } else {
            let lanes = held(&client, &replica).await;
            cluster.process(victim).signal("-TERM");
            after_term.extend(taken_over(&client, &replica, lanes).await);
            cluster.ended(victim).await;
        }
        cluster.serve(victim, &[]).await;
    }
    let mut verdict = Verdict::when_settled(&cluster, &load, talk).await;
    let (killed, killed_p99) = summary("after SIGKILL", &mut after_kill);
    let (ended, ended_p99) = summary("after SIGTERM, calls of 300 ms open", &mut after_term);
    verdict.demand(killed_p99 <= Duration::from_secs(15), "a dead replica's lanes were left for more than 15 s");
    verdict.demand(ended_p99 <= Duration::from_secs(1), "a leaving replica's lanes were left for more than 1 s");
    verdict.figures.extend([killed, ended]);
    verdict
}

/// A hundred messages a second, a rolling restart every 20 s and a SIGKILL a minute, for five minutes.
pub async fn rolling_restarts(kind: Kind, behind: balancer::Kind, form: Form, dice: &mut Dice) -> Verdict {
    let environment = vec![("FINI_BRIDGE__SERVER__LAME_DUCK", "5s".to_owned())];
    let mut cluster = Cluster::start(kind, Plan { behind: Some(behind), environment, ..Plan::default() }).await;
    cluster.world.fini.change(Change { answer_delay_ms: Some(100), ..Change::default() });
    let load = Load::default();
    let begun = Instant::now();
    let (minute, length) = form.pick((15, 45), (60, 300));
    let talk = load.talk(&cluster.front, Chat::some(100), 100.0);
    let (mut restarts, mut kills) = (0, 0);
    while begun.elapsed() < Duration::from_secs(length) {
        let round = Instant::now();
        for replica in 0..cluster.size() {
            cluster.terminate(replica).await;
            cluster.serve(replica, &[]).await;
            // In the middle of each minute.
            if begun.elapsed() >= Duration::from_secs(minute * kills + minute / 2) {
                let victim = dice.below(cluster.size());
                cluster.kill(victim);
                cluster.serve(victim, &[]).await;
                kills += 1;
            }
        }
        restarts += 1;
        tokio::time::sleep(Duration::from_secs(20).saturating_sub(round.elapsed())).await;
    }
    let asked = f64::from(load.len()) / begun.elapsed().as_secs_f64();
    let mut verdict = Verdict::when_settled(&cluster, &load, talk).await;
    verdict.figures.push(format!("{restarts} rolling restarts, {kills} kills, {asked:.0} messages a second"));
    verdict
}
