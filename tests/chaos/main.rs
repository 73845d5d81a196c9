//! Chaos: real processes that die at named places and at random moments, stores and networks that go away, and a
//! verdict read from the ledgers of Fini and of the outside: what was lost, doubled, out of order, split, or sent to
//! the wrong chat.
//!
//! `make chaos` runs the long form; without variables it is short. A run prints its seed; `CHAOS_SEED` replays it.
//!
//! | variable | meaning | short form | long form |
//! |---|---|---|---|
//! | `CHAOS_FORM` | `short` or `long` | | |
//! | `CHAOS_SEED` | decides who dies when | random | random |
//! | `CHAOS_ONLY` | words, comma-separated: only scenarios whose names contain one | all of the form | all |
//! | `CHAOS_KILLS` | random deaths under load, per store | 5 | 1000 |

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
mod deaths;
mod load;
mod outages;
mod replicas;
mod verdict;
mod wire;

use std::time::{Duration, Instant};

use fini_bridge::domain::failpoint;

use cluster::Kind;
use support::{balancer, variable};
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

    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() % bound as u64).unwrap()
    }
}

/// How much of everything.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Short,
    Long,
}

impl Form {
    pub fn pick<T>(self, short: T, long: T) -> T {
        if self == Self::Short { short } else { long }
    }
}

#[derive(Clone, Copy, Debug)]
enum Scenario {
    DiesAt { name: &'static str, later: bool },
    Deaths,
    CommitsCut,
    AnswersCut(balancer::Kind),
    DatabaseAway,
    StandbyPromoted,
    DiskFull,
    ClockSteps,
    Frozen,
    Takeover,
    RollingRestarts(balancer::Kind),
}

impl Scenario {
    async fn run(self, kind: Kind, form: Form, dice: &mut Dice) -> Verdict {
        match self {
            Self::DiesAt { name, later } => deaths::at(kind, name, later).await,
            Self::Deaths => deaths::at_random(kind, variable("CHAOS_KILLS"), form, dice).await,
            Self::CommitsCut => outages::commits_cut(kind, form, dice).await,
            Self::AnswersCut(behind) => outages::answers_cut(kind, behind, form, dice).await,
            Self::DatabaseAway => outages::database_away(kind, form).await,
            Self::StandbyPromoted => outages::standby_promoted(kind).await,
            Self::DiskFull => outages::disk_full(kind).await,
            Self::ClockSteps => outages::clock_steps(kind).await,
            Self::Frozen => replicas::frozen(kind, form, dice).await,
            Self::Takeover => replicas::takeover(kind, form, dice).await,
            Self::RollingRestarts(behind) => replicas::rolling_restarts(kind, behind, form, dice).await,
        }
    }
}

/// With the forms in which it runs.
fn scenarios() -> Vec<(Scenario, Kind, &'static [Form])> {
    use balancer::Kind::{Haproxy, Nginx};
    const BOTH: &[Form] = &[Form::Short, Form::Long];
    const LONG: &[Form] = &[Form::Long];
    let mut all = Vec::new();
    for kind in [Kind::Sqlite, Kind::Postgres] {
        for name in failpoint::ALL {
            for later in [false, true] {
                // A conversation is discovered after its first turn only.
                if (name, later) != ("discovery.found", true) {
                    let in_short = ["turn.answered", "delivery.taken"].contains(&name) && later;
                    all.push((Scenario::DiesAt { name, later }, kind, if in_short { BOTH } else { LONG }));
                }
            }
        }
    }
    all.extend([
        (Scenario::Deaths, Kind::Sqlite, BOTH),
        (Scenario::Deaths, Kind::Postgres, BOTH),
        (Scenario::Deaths, Kind::Pgbouncer, LONG),
        (Scenario::CommitsCut, Kind::Postgres, BOTH),
        (Scenario::CommitsCut, Kind::Pgbouncer, LONG),
        (Scenario::AnswersCut(Haproxy), Kind::Postgres, LONG),
        (Scenario::AnswersCut(Nginx), Kind::Postgres, LONG),
        (Scenario::DatabaseAway, Kind::Postgres, BOTH),
        (Scenario::StandbyPromoted, Kind::Postgres, BOTH),
        (Scenario::DiskFull, Kind::Sqlite, LONG),
        (Scenario::ClockSteps, Kind::Sqlite, LONG),
        (Scenario::ClockSteps, Kind::Postgres, LONG),
        (Scenario::Frozen, Kind::Postgres, LONG),
        (Scenario::Takeover, Kind::Postgres, LONG),
        (Scenario::RollingRestarts(Haproxy), Kind::Postgres, LONG),
        (Scenario::RollingRestarts(Nginx), Kind::Postgres, LONG),
    ]);
    all
}

fn main() {
    let form = match variable("CHAOS_FORM").as_deref() {
        None | Some("short") => Form::Short,
        Some("long") => Form::Long,
        Some(other) => panic!("CHAOS_FORM is short or long, not {other}"),
    };
    let only: Vec<String> = variable("CHAOS_ONLY").unwrap_or_default().split(',').map(str::to_lowercase).collect();
    let seed = variable("CHAOS_SEED").map_or_else(|| u64::from(std::process::id()), |seed| seed.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (mut passed, mut failed) = (0, 0);
    println!("chaos: CHAOS_SEED={seed} replays this run");
    for (scenario, kind, forms) in scenarios() {
        let name = format!("{kind:?}: {scenario:?}");
        // Somebody who names a scenario wants it in any form.
        let named = only.iter().any(|word| !word.is_empty() && name.to_lowercase().contains(word));
        if !(named || (only == [""] && forms.contains(&form))) {
            continue;
        }
        let begun = Instant::now();
        let mut dice = Dice(seed);
        let verdict = runtime.block_on(scenario.run(kind, form, &mut dice));
        let seconds = begun.elapsed().as_secs();
        if verdict.is_clean() {
            passed += 1;
            println!("ok     {name} ({seconds} s): {verdict}");
        } else {
            failed += 1;
            println!("FAILED {name} ({seconds} s): {verdict}");
            let log = std::env::temp_dir().join(format!("fini-bridge-chaos-{seed}-{failed}.log"));
            std::fs::write(&log, &verdict.logs).unwrap();
            println!("       its processes' logs: {}", log.display());
        }
    }
    runtime.shutdown_timeout(Duration::from_secs(5));
    println!("chaos: {passed} passed, {failed} failed");
    if failed > 0 || passed == 0 {
        println!("chaos: run again with CHAOS_SEED={seed}");
        std::process::exit(1);
    }
}
