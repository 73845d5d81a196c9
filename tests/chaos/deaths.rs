//! Processes that die: at each named place, and at random moments under load.

use std::time::Duration;

use fini_bridge::app::sandbox::fini::{Change, Endpoint, FaultRule};

use super::cluster::{Cluster, Kind, Plan};
use super::load::{Chat, Load};
use super::support::balancer;
use super::verdict::Verdict;
use super::{Dice, Form};

/// Dies once at a failpoint, in whichever replica comes by first; the others take over.
pub async fn at(kind: Kind, name: &str, later: bool) -> Verdict {
    let mut cluster = Cluster::start(kind, Plan::default()).await;
    let load = Load::default();
    let chats = [Chat::Bridge(1), Chat::Telegram(1)];
    if later {
        for chat in chats {
            load.say(&cluster.front, chat).await;
        }
        cluster.settled(&load).await;
    }
    if name.starts_with("lookup") {
        cluster.world.fini.faults().add(FaultRule::status(Endpoint::Ask, 500).times(1));
    }
    for replica in 0..cluster.size() {
        cluster.kill(replica);
        cluster.serve(replica, &[("FAILPOINTS", format!("{name}=1*return"))]).await;
    }
    // The senders try until they are acknowledged; meanwhile replicas die and come back.
    let front = cluster.front.clone();
    let senders = chats.map(|chat| {
        let (load, front) = (load.clone(), front.clone());
        tokio::spawn(async move { load.say(&front, chat).await })
    });
    let until = tokio::time::Instant::now() + Duration::from_secs(90);
    let mut died = false;
    while tokio::time::Instant::now() < until {
        died |= cluster.revive().await;
        if !(died && senders.iter().all(|sender| sender.is_finished())) {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        }
        // One replica after the other may come to the place.
        if tokio::time::timeout(Duration::from_millis(300), cluster.settled(&load)).await.is_ok() {
            break;
        }
    }
    let mut verdict = Verdict::of(&cluster, &load);
    verdict.demand(died, format!("{name} was never reached"));
    verdict
}

/// Deaths at random moments while forty chats talk; with several replicas also freezes one through its leases and
/// cuts all off from their database.
pub async fn at_random(kind: Kind, deaths: Option<String>, form: Form, dice: &mut Dice) -> Verdict {
    let deaths = deaths.map_or(form.pick(5, 1000), |deaths| deaths.parse().unwrap());
    let behind = (kind != Kind::Sqlite).then_some(balancer::Kind::Haproxy);
    let mut cluster = Cluster::start(kind, Plan { behind, ..Plan::default() }).await;
    cluster.world.fini.change(Change { answer_delay_ms: Some(40), ..Change::default() });
    let load = Load::default();
    let talk = load.talk(&cluster.front, Chat::some(40), if kind == Kind::Sqlite { 60.0 } else { 20.0 });
    for death in 1..=deaths {
        let victim = dice.below(cluster.size());
        tokio::time::sleep(Duration::from_millis(200 + dice.below(800) as u64)).await;
        match dice.below(20) {
            0 if kind != Kind::Sqlite => cluster.freeze(victim, Duration::from_secs(12)).await,
            1 if kind != Kind::Sqlite => cluster.cut_off_database().await,
            _ => {
                cluster.kill(victim);
                cluster.serve(victim, &[]).await;
            }
        }
        if death % 50 == 0 {
            println!("       {kind:?}: {death} of {deaths} deaths, {} messages", load.len());
        }
    }
    Verdict::when_settled(&cluster, &load, talk).await
}
