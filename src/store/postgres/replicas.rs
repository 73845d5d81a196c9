//! The processes that share the store: each says every second that it lives. Whoever has been silent for [`LEASE`] is
//! declared dead, once and for ever, and its lanes are everybody's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio::time::{Instant, timeout};

use super::core::Core;
use super::tx::{Tx, corrupt, get, params, texts};
use super::{notify, open};
use crate::domain::clock::Timestamp;
use crate::domain::id::Owner;
use crate::store::sql::Tx as _;
use crate::store::sql::wakeups::Joined;
use crate::store::{Heartbeat, LEASE, Result, WorkKind};

/// Lanes that one transaction moves.
const CHUNK: u64 = 500;
/// A transaction that leased lanes to a process and was committed after its death shows itself by then.
const DEAD_FOR: Duration = Duration::from_secs(60);
/// Every so many heartbeats.
const LOOK_FOR_STRANGERS: u64 = 60;
/// A process that ends waits no longer for its last words.
const SHUTDOWN_WITHIN: Duration = Duration::from_secs(2);

/// $1: owner; $2: for how long it lives from now on. Then the time, whether that was written, how many others live,
/// and who doesn't.
const BEAT: &str = "
    WITH clock AS MATERIALIZED (SELECT now_ms() AS now),
    own AS (
        UPDATE replicas SET alive_until = (SELECT now FROM clock) + $2
        WHERE id = $1 AND dead_since IS NULL RETURNING 1)
    SELECT (SELECT now FROM clock), EXISTS (SELECT 1 FROM own),
        count(*) FILTER (WHERE dead_since IS NULL AND alive_until > (SELECT now FROM clock)),
        coalesce(array_agg(id) FILTER (WHERE dead_since IS NULL AND alive_until <= (SELECT now FROM clock)), '{}'),
        coalesce(array_agg(id) FILTER (WHERE dead_since IS NOT NULL), '{}')
    FROM replicas WHERE id <> $1";
const JOIN: &str = "
    INSERT INTO replicas (id, schema_version, joined_at, alive_until) VALUES ($1, $2, $3, $3 + $4)
    ON CONFLICT (id) DO UPDATE SET schema_version = excluded.schema_version, joined_at = excluded.joined_at,
        alive_until = excluded.alive_until
    WHERE replicas.dead_since IS NULL";
const DECLARE_DEAD: &str = "
    UPDATE replicas SET dead_since = now_ms() WHERE id = ANY ($1) AND dead_since IS NULL AND alive_until <= now_ms()
    RETURNING id";
const LEAVE: &str = "
    UPDATE replicas SET dead_since = now_ms(), alive_until = least(alive_until, now_ms())
    WHERE id = $1 AND dead_since IS NULL";
const FORGET: &str = "DELETE FROM replicas WHERE id = $1 AND dead_since <= now_ms() - $2
    AND NOT EXISTS (SELECT 1 FROM lanes WHERE turns_owner = $1)
    AND NOT EXISTS (SELECT 1 FROM lanes WHERE deliveries_owner = $1)";
/// Owners of lanes that no row tells of, such as a process that died before its first heartbeat. They count as alive
/// until they would have said so.
const STRANGERS: &str = "
    WITH RECURSIVE turns AS (
        SELECT min(turns_owner) AS owner FROM lanes WHERE turns_owner IS NOT NULL
        UNION ALL
        SELECT (SELECT min(turns_owner) FROM lanes WHERE turns_owner > t.owner) FROM turns AS t WHERE t.owner IS NOT NULL),
    deliveries AS (
        SELECT min(deliveries_owner) AS owner FROM lanes WHERE deliveries_owner IS NOT NULL
        UNION ALL
        SELECT (SELECT min(deliveries_owner) FROM lanes WHERE deliveries_owner > d.owner)
        FROM deliveries AS d WHERE d.owner IS NOT NULL)
    INSERT INTO replicas (id, schema_version, joined_at, alive_until)
        SELECT owner, $1, now_ms(), now_ms() + $2
        FROM (SELECT owner FROM turns UNION SELECT owner FROM deliveries) AS o WHERE owner IS NOT NULL
        ON CONFLICT (id) DO NOTHING";

macro_rules! free {
    ($work:literal, $owner:literal, $woken:literal, $due_at:literal) => {
        concat!(
            "WITH clock AS MATERIALIZED (SELECT now_ms() AS now),
             found AS MATERIALIZED (
                SELECT id FROM lanes WHERE ",
            $owner,
            " = $1 LIMIT $2 FOR UPDATE SKIP LOCKED),
             freed AS (
                UPDATE lanes SET ",
            $owner,
            " = NULL, ",
            $woken,
            " = false, ",
            $due_at,
            " = (SELECT now FROM clock)
                WHERE id = ANY (ARRAY(SELECT id FROM found)) RETURNING id, channel)
             INSERT INTO due_lanes (work, lane, channel, due_at)
                SELECT '",
            $work,
            "', id, channel, (SELECT now FROM clock) FROM freed
                ON CONFLICT (work, lane) DO UPDATE SET due_at = excluded.due_at"
        )
    };
}
const FREE_TURNS: &str = free!("turns", "turns_owner", "turns_woken", "turns_due_at");
const FREE_DELIVERIES: &str = free!("deliveries", "deliveries_owner", "deliveries_woken", "deliveries_due_at");

/// This process among those that share the store.
#[derive(Default)]
pub(super) struct Membership(Mutex<State>);

#[derive(Default)]
struct State {
    joined: Option<Arc<Joined>>,
    beats: HashMap<Owner, Beats>,
}

/// What was said, and when.
#[derive(Clone, Copy)]
struct Beats {
    last: Instant,
    /// By the store's clock.
    last_at: Timestamp,
    /// Since when none was late.
    in_time_since: Timestamp,
    number: u64,
    is_lost: bool,
}

impl Membership {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn join(&self, joined: Joined) {
        self.with(|state| state.joined = Some(Arc::new(joined)));
    }

    /// Whom to tell.
    pub(super) fn joined(&self) -> Option<Arc<Joined>> {
        self.with(|state| state.joined.clone())
    }

    /// For whom commits may lease lanes: not for a process that others may have declared dead.
    pub(super) fn alive(&self) -> Option<Arc<Joined>> {
        self.with(|state| {
            let joined = state.joined.as_ref()?;
            let beats = state.beats.get(&joined.owner);
            beats.is_none_or(|beats| !beats.is_lost && beats.last.elapsed() < LEASE).then(|| Arc::clone(joined))
        })
    }

    fn beats(&self, owner: &Owner) -> Option<Beats> {
        self.with(|state| state.beats.get(owner).copied())
    }

    fn lose(&self, owner: &Owner) {
        self.with(|state| {
            if let Some(beats) = state.beats.get_mut(owner) {
                beats.is_lost = true;
            }
        });
    }

    fn beat(&self, owner: &Owner, last: Instant, now: Timestamp) -> Beats {
        self.with(|state| {
            let before = state.beats.get(owner).copied();
            // A pause of the database or a step of its clock is not the others' fault.
            let in_time = before.filter(|before| now >= before.last_at && now.since(before.last_at) <= LEASE / 2);
            let beats = Beats {
                last,
                last_at: now,
                in_time_since: in_time.map_or(now, |before| before.in_time_since),
                number: before.map_or(0, |before| before.number + 1),
                is_lost: false,
            };
            state.beats.insert(owner.clone(), beats);
            beats
        })
    }
}

struct Pulse {
    now: Timestamp,
    is_alive: bool,
    others: i64,
    silent: Vec<String>,
    dead: Vec<String>,
}

pub(super) async fn heartbeat(core: &Core, owner: &Owner) -> Result<Heartbeat> {
    let (began, before) = (Instant::now(), core.membership.beats(owner));
    if before.is_some_and(|before| before.is_lost) {
        return Ok(Heartbeat::Lost);
    }
    let is_known = before.is_some();
    let pulse = core.write_first(|tx| beat(tx, owner, is_known).boxed()).await?;
    if !pulse.is_alive {
        core.membership.lose(owner);
        return Ok(Heartbeat::Lost);
    }
    let beats = core.membership.beat(owner, began, pulse.now);
    let replicas = u32::try_from(pulse.others.saturating_add(1)).unwrap_or(u32::MAX);
    if let Err(error) = tidy(core, pulse, beats).await {
        tracing::debug!(%error, "chats that nobody works in were not all taken over; the next heartbeat goes on");
    }
    Ok(Heartbeat::Alive { replicas })
}

/// Takes over what others have left.
async fn tidy(core: &Core, pulse: Pulse, beats: Beats) -> Result<()> {
    core.settle().await?;
    if beats.number.is_multiple_of(LOOK_FOR_STRANGERS) {
        core.write_first(|tx| find_strangers(tx).boxed()).await?;
    }
    let mut dead = pulse.dead;
    if !pulse.silent.is_empty() && pulse.now.since(beats.in_time_since) >= LEASE {
        let silent = pulse.silent.as_slice();
        let declared = core.write_first(|tx| declare_dead(tx, silent).boxed()).await?;
        for replica in &declared {
            tracing::warn!(%replica, "a replica has been silent for too long; its chats are taken over");
        }
        dead.extend(declared);
    }
    for owner in &dead {
        free_lanes(core, owner).await?;
        core.write_first(|tx| forget(tx, owner).boxed()).await?;
    }
    Ok(())
}

/// Nobody else hears of what this process still has unless it says so.
pub(super) async fn announce_shutdown(core: &Core, owner: &Owner) {
    core.membership.lose(owner);
    let leaving = async {
        core.write_first(|tx| leave(tx, owner).boxed()).await?;
        free_lanes(core, owner.as_str()).await
    };
    match timeout(SHUTDOWN_WITHIN, leaving).await {
        Ok(Ok(())) => notify::notify_all(core).await,
        Ok(Err(error)) => tracing::debug!(%error, "other replicas were not told; they will notice"),
        Err(_) => tracing::debug!("other replicas were not told in time; they will notice"),
    }
}

async fn beat(tx: &Tx<'_>, owner: &Owner, is_known: bool) -> Result<Pulse> {
    let pulse = tx
        .one(BEAT, params![owner.as_str(), millis(LEASE)], |row| {
            Ok(Pulse {
                now: Timestamp::from_millis(get(row, 0)?),
                is_alive: get(row, 1)?,
                others: get(row, 2)?,
                silent: get(row, 3)?,
                dead: get(row, 4)?,
            })
        })
        .await?;
    let mut pulse = pulse.ok_or_else(|| corrupt("a heartbeat without an answer"))?;
    tx.tell(pulse.now.as_millis());
    if !pulse.is_alive && !is_known {
        let joined = params![owner.as_str(), open::newest(), pulse.now, millis(LEASE)];
        pulse.is_alive = tx.run(JOIN, joined).await? == 1;
    }
    Ok(pulse)
}

async fn find_strangers(tx: &Tx<'_>) -> Result<()> {
    tx.run(STRANGERS, params![open::newest(), millis(LEASE)]).await.map(drop)
}

async fn declare_dead(tx: &Tx<'_>, silent: &[String]) -> Result<Vec<String>> {
    tx.all(DECLARE_DEAD, params![texts(silent.iter().map(String::as_str))], |row| get(row, 0)).await
}

async fn leave(tx: &Tx<'_>, owner: &Owner) -> Result<()> {
    tx.run(LEAVE, params![owner.as_str()]).await.map(drop)
}

/// Lanes that somebody writes in at this moment are left for the next time.
async fn free_lanes(core: &Core, owner: &str) -> Result<()> {
    for (work, sql) in [(WorkKind::Turns, FREE_TURNS), (WorkKind::Deliveries, FREE_DELIVERIES)] {
        while core.write_first(|tx| free(tx, owner, work, sql).boxed()).await? == CHUNK {}
    }
    Ok(())
}

async fn free(tx: &Tx<'_>, owner: &str, work: WorkKind, sql: &str) -> Result<u64> {
    tx.tell_time().await?;
    let freed = tx.run(sql, params![owner, i64::try_from(CHUNK).unwrap_or(i64::MAX)]).await?;
    if freed > 0 {
        tx.wakeups().due(work, tx.now());
    }
    Ok(freed)
}

async fn forget(tx: &Tx<'_>, owner: &str) -> Result<()> {
    tx.run(FORGET, params![owner, millis(DEAD_FOR)]).await.map(drop)
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
