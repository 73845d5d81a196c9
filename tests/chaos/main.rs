//! Chaos: real processes that die at named places and at random moments, and a verdict read from the ledgers of
//! Fini and of the outside: what was lost, doubled, out of order, split, or sent to the wrong chat.
//!
//! `make chaos` runs the long form; without variables it is short. A run prints its seed; `CHAOS_SEED` replays it.
//!
//! | variable | meaning | short form |
//! |---|---|---|
//! | `CHAOS_SEED` | decides who dies when | random |
//! | `CHAOS_STORES` | `sqlite`, `postgres` (three replicas), or both | both |
//! | `CHAOS_KILLS` | random deaths under load, per store | 6 |
//! | `CHAOS_FAILPOINTS` | `all`, or how many of them per store, chosen by the seed | 4 |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods
)]

#[allow(dead_code)]
#[path = "../support/database.rs"]
mod database;
#[path = "../support/mod.rs"]
mod support;

mod cluster;
mod verdict;

use std::time::Duration;

use fini_bridge::app::sandbox::fini::{Change, FaultRule};
use fini_bridge::domain::failpoint;

use cluster::{Chat, Cluster, Kind, Load};
use verdict::Verdict;

/// A small generator whose whole state is its seed, so that a run can be replayed.
pub struct Dice(u64);

impl Dice {
    /// SplitMix64.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let seed = variable("CHAOS_SEED").map_or_else(|| u64::from(std::process::id()), |seed| seed.parse().unwrap());
    println!("chaos: CHAOS_SEED={seed} replays this run");
    let mut dice = Dice(seed);
    let (passed, failed) = runtime.block_on(async {
        let mut results = Vec::new();
        for kind in [Kind::Sqlite, Kind::Postgres] {
            if variable("CHAOS_STORES").is_none_or(|stores| stores.contains(&format!("{kind:?}").to_lowercase())) {
                failpoints(kind, &mut dice, &mut results).await;
                results.push((format!("{kind:?}: deaths under load"), deaths(kind, &mut dice).await));
            }
        }
        let failed = results.iter().filter(|(_, verdict)| !verdict.is_clean()).count();
        for (name, verdict) in &results {
            println!("{} {name}: {verdict}", if verdict.is_clean() { "ok    " } else { "FAILED" });
        }
        (results.len() - failed, failed)
    });
    println!("chaos: {passed} passed, {failed} failed");
    if failed > 0 {
        println!("chaos: run again with CHAOS_SEED={seed}");
        std::process::exit(1);
    }
}

/// Dies once at each failpoint, on the first turn of a chat and on a later one.
async fn failpoints(kind: Kind, dice: &mut Dice, results: &mut Vec<(String, Verdict)>) {
    let mut cases: Vec<(&str, bool)> = failpoint::ALL.iter().flat_map(|name| [(*name, false), (*name, true)]).collect();
    // A conversation is discovered after its first turn only.
    cases.retain(|case| *case != ("discovery.found", true));
    if variable("CHAOS_FAILPOINTS").as_deref() != Some("all") {
        let wanted = variable("CHAOS_FAILPOINTS").map_or(4, |number| number.parse().unwrap());
        while cases.len() > wanted {
            let out = dice.below(cases.len() as u64);
            cases.remove(usize::try_from(out).unwrap());
        }
    }
    for (name, later) in cases {
        let turn = if later { "a later" } else { "the first" };
        results.push((format!("{kind:?}: dies at {name}, {turn} turn"), dies_at(kind, name, later).await));
    }
}

async fn dies_at(kind: Kind, name: &str, later: bool) -> Verdict {
    let mut cluster = Cluster::start(kind).await;
    let mut load = Load::default();
    for chat in [Chat::Bridge(1), Chat::Telegram(1)] {
        if later {
            load.say(&cluster, chat).await;
        }
    }
    cluster.settled(&load).await;
    if name.starts_with("lookup") {
        let once = FaultRule::status(fini_bridge::app::sandbox::fini::Endpoint::Ask, 500).times(1);
        cluster.world.fini.faults().add(once);
    }
    for replica in 0..cluster.size() {
        cluster.kill(replica);
    }
    // Whichever does the step first dies; the others take over.
    for replica in 0..cluster.size() {
        cluster.start_replica(replica, &[("FAILPOINTS", &format!("{name}=1*return"))]).await;
    }
    // The sender tries until it is acknowledged; meanwhile the process dies and comes back.
    let died = {
        let (cluster, load) = (&mut cluster, &mut load);
        for chat in [Chat::Bridge(1), Chat::Telegram(1)] {
            load.begin(chat);
        }
        cluster.push(load, Duration::from_secs(30)).await
    };
    assert!(died, "{name} was never reached");
    cluster.settled(&load).await;
    Verdict::of(&cluster, &load)
}

/// Kills at random moments while twenty chats talk; with several replicas also freezes one through its leases
/// and cuts all off from their database.
async fn deaths(kind: Kind, dice: &mut Dice) -> Verdict {
    let deaths = variable("CHAOS_KILLS").map_or(6, |kills| kills.parse().unwrap());
    let mut cluster = Cluster::start(kind).await;
    cluster.world.fini.change(Change { answer_delay_ms: Some(40), ..Change::default() });
    let mut load = Load::default();
    for death in 0..deaths {
        let victim = usize::try_from(dice.below(cluster.size() as u64)).unwrap();
        let pause = Duration::from_millis(200 + dice.below(800));
        talk(&cluster, &mut load, dice, pause).await;
        match dice.below(10) {
            0 | 1 if kind == Kind::Postgres => {
                cluster.signal(victim, "-STOP");
                talk(&cluster, &mut load, dice, Duration::from_secs(12)).await;
                cluster.signal(victim, "-CONT");
            }
            2 if kind == Kind::Postgres => cluster.cut_off_database().await,
            _ => {
                cluster.kill(victim);
                cluster.start_replica(victim, &[]).await;
            }
        }
        if death % 50 == 49 {
            println!("chaos: {kind:?}: {} deaths, {} messages", death + 1, load.acknowledged());
        }
    }
    cluster.settled(&load).await;
    Verdict::of(&cluster, &load)
}

async fn talk(cluster: &Cluster, load: &mut Load, dice: &mut Dice, how_long: Duration) {
    let until = tokio::time::Instant::now() + how_long;
    while tokio::time::Instant::now() < until {
        let chat = u32::try_from(dice.below(20)).unwrap();
        let chat = if chat < 10 { Chat::Bridge(chat) } else { Chat::Telegram(chat) };
        load.say(cluster, chat).await;
    }
}
