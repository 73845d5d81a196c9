//! Lanes as rows: loaded under their lock, written back where something has changed, leased when they are due.

use std::borrow::Cow;

use tokio_postgres::Row;

use super::floors::MARGIN;
use super::intake;
use super::tx::{Param, Tx, corrupt, get, ints, params, texts, work as name};

use crate::domain::clock::Timestamp;
use crate::domain::id::{BotId, ChannelName, ChatKey, ChatRef, EventId, LaneId, Owner};
use crate::store::column::{count, moment, rows};
use crate::store::lane::{Lane, Slot};
use crate::store::sql::wakeups::Wakeups;
use crate::store::sql::{self, Sql};
use crate::store::steps::HORIZON;
use crate::store::{Due, Lease, LeaseRequest, Result, StoreError, WorkKind};

/// Of whoever removes something. Any number that is only ours.
const ENFORCING: i64 = 0x0066_696e_695f_6b65;

/// A lane's row, for [`read_lane`]. Both due times stand in it: what another table says could be older than the lock.
macro_rules! columns {
    () => {
        "l.id, l.channel, l.chat_ref, l.generation, l.bot_id, l.last_turn_at, l.shared, l.sender_ref, l.attributes_ref,
         l.watermark, l.turns_owner, l.turns_fence, l.turns_woken, l.turns_due_at, l.deliveries_owner,
         l.deliveries_fence, l.deliveries_woken, l.deliveries_due_at"
    };
}
pub(super) use columns;

const LOCK: &str = concat!("SELECT now_ms(), ", columns!(), " FROM lanes AS l WHERE l.id = $1 FOR UPDATE");
/// One transaction after the other, of all that name this key; then the lane.
const LOCK_ALONE: &str = concat!(
    "SELECT now_ms(), ",
    columns!(),
    " FROM (SELECT pg_advisory_xact_lock(hashtextextended('fini_bridge.sender:' || $2, 0)) OFFSET 0) AS alone
        CROSS JOIN lanes AS l WHERE l.id = $1 FOR UPDATE OF l"
);
const LOOK: &str = concat!("SELECT now_ms(), ", columns!(), " FROM lanes AS l WHERE l.id = $1");

/// In the order of the lanes, as everybody does who locks several.
const TRY_LOCK: &str = concat!(
    "SELECT now_ms(), ",
    columns!(),
    " FROM lanes AS l WHERE l.id = ANY ($1) ORDER BY l.id FOR UPDATE SKIP LOCKED"
);

const SAVE: &str = "UPDATE lanes SET generation = $2, bot_id = $3, last_turn_at = $4, shared = $5, sender_ref = $6,
    attributes_ref = $7, watermark = $8, turns_owner = $9, turns_fence = $10, turns_woken = $11, turns_due_at = $12,
    deliveries_owner = $13, deliveries_fence = $14, deliveries_woken = $15, deliveries_due_at = $16 WHERE id = $1";

/// What a lane's row says, found by time.
const DUE: &str = "INSERT INTO due_lanes (work, lane, channel, due_at) VALUES ($1, $2, $3, $4)
    ON CONFLICT (work, lane) DO UPDATE SET due_at = excluded.due_at";
const NOT_DUE: &str = "DELETE FROM due_lanes WHERE work = $1 AND lane = $2";

/// A statement of its own, which sees what was committed until the lanes were locked. One lane after the other: this
/// table is small, but not what it has held, which a plan for all of them at once would read.
const TAKEN: &str = "DELETE FROM due_lanes WHERE ctid = ANY (ARRAY(
    SELECT d.ctid FROM unnest($2::bigint[]) AS t (lane) CROSS JOIN LATERAL (
        SELECT ctid FROM due_lanes WHERE work = $1 AND lane = t.lane OFFSET 0) AS d))";

/// $1: owner. $2, $3: channels, and to which request each belongs. $4: what each request may have. $5: lanes that
/// another replica had. $6: since when something can be due in each channel; $7: how far before now each walk begins
/// at the latest, as the clock may have been set back.
///
/// It chooses the lanes before it locks any, and leaves those that another replica takes at the same time. It returns
/// the time, when the next lane is due that was not taken, and which lanes were left.
macro_rules! take {
    ($work:literal, $owner:literal, $fence:literal, $woken:literal, $due_at:literal) => {
        concat!(
            "WITH clock AS MATERIALIZED (SELECT now_ms() AS now),
             wanted AS MATERIALIZED (
                SELECT w.channel, w.request, ($4::bigint[])[w.request] AS most,
                    least(w.since, (SELECT now FROM clock) - $7) AS since
                FROM unnest($2::text[], $3::bigint[], $6::bigint[]) AS w (channel, request, since)),
             found AS MATERIALIZED (
                SELECT w.request, w.most, d.lane, d.due_at FROM wanted AS w CROSS JOIN LATERAL (
                    SELECT lane, due_at FROM due_lanes
                    WHERE work = '", $work, "' AND channel = w.channel AND due_at >= w.since
                        AND due_at <= (SELECT now FROM clock)
                        AND lane <> ALL ($5)
                    ORDER BY due_at LIMIT w.most) AS d),
             picked AS MATERIALIZED (
                SELECT request, lane, due_at FROM (
                    SELECT *, row_number() OVER (PARTITION BY request ORDER BY due_at, lane) AS place FROM found) AS f
                WHERE f.place <= f.most),
             free AS MATERIALIZED (
                SELECT l.id FROM lanes AS l
                WHERE l.id = ANY (ARRAY(SELECT lane FROM picked)) AND l.", $owner, " IS NULL
                    AND l.", $due_at, " <= (SELECT now FROM clock)
                    AND CASE WHEN EXISTS (SELECT 1 FROM picked) THEN NOT EXISTS (
                        SELECT 1 FROM replicas WHERE id = $1 AND dead_since IS NOT NULL) END
                ORDER BY l.id FOR UPDATE SKIP LOCKED),
             taken AS (
                UPDATE lanes AS l
                SET ", $owner, " = $1, ", $fence, " = ", $fence, " + 1, ", $woken, " = false, ", $due_at, " = NULL
                WHERE l.id = ANY (ARRAY(SELECT id FROM free))
                RETURNING l.id, l.", $fence, " AS fence, l.channel, l.chat_ref)
             SELECT (SELECT now FROM clock),
                (SELECT min(d.due_at) FROM wanted AS w CROSS JOIN LATERAL (
                    SELECT due_at FROM due_lanes
                    WHERE work = '", $work, "' AND channel = w.channel AND due_at >= w.since
                        AND lane <> ALL (ARRAY(SELECT id FROM free))
                    ORDER BY due_at LIMIT 1) AS d),
                ARRAY(SELECT lane FROM picked WHERE lane <> ALL (ARRAY(SELECT id FROM free))),
                t.id, t.fence, t.channel, t.chat_ref, p.due_at, p.request
             FROM (SELECT 1) AS one LEFT JOIN (taken AS t JOIN picked AS p ON p.lane = t.id) ON true"
        )
    };
}
const TAKE_TURNS: &str = take!("turns", "turns_owner", "turns_fence", "turns_woken", "turns_due_at");
const TAKE_DELIVERIES: &str =
    take!("deliveries", "deliveries_owner", "deliveries_fence", "deliveries_woken", "deliveries_due_at");

/// What is due later than that is due then. Rows of lanes first, as whoever writes in one.
const DUE_AHEAD: [&str; 3] = [
    "UPDATE lanes SET turns_due_at = CASE WHEN turns_due_at > $1 THEN $1 ELSE turns_due_at END,
        deliveries_due_at = CASE WHEN deliveries_due_at > $1 THEN $1 ELSE deliveries_due_at END
     WHERE id IN (SELECT lane FROM due_lanes WHERE due_at > $1)",
    "UPDATE due_lanes AS d SET due_at = $1 FROM lanes AS l WHERE d.due_at > $1 AND l.id = d.lane
        AND CASE d.work WHEN 'turns' THEN l.turns_due_at ELSE l.deliveries_due_at END <= $1",
    "UPDATE replicas SET alive_until = $1 WHERE alive_until > $1",
];

/// From this column on: [`columns`].
pub(super) fn read_lane(row: &Row, first: usize) -> Result<Lane> {
    let slot = |first: usize| -> Result<Slot> {
        Ok(Slot {
            owner: get::<Option<String>>(row, first)?.map(Owner::new),
            fence: get(row, first + 1)?,
            woken: get(row, first + 2)?,
            due_at: moment(get(row, first + 3)?),
        })
    };
    Ok(Lane {
        id: LaneId(get(row, first)?),
        channel: ChannelName::new(get::<String>(row, first + 1)?),
        chat_ref: ChatRef::new(get::<String>(row, first + 2)?),
        generation: count(get(row, first + 3)?),
        bot_id: get::<Option<String>>(row, first + 4)?.map(BotId::new),
        last_turn_at: moment(get(row, first + 5)?),
        shared: get(row, first + 6)?,
        sender_ref: get(row, first + 7)?,
        attributes_ref: get(row, first + 8)?,
        watermark: get::<Option<String>>(row, first + 9)?.map(EventId::new),
        turns: slot(first + 10)?,
        deliveries: slot(first + 14)?,
    })
}

impl Tx<'_> {
    async fn read(&self, sql: &str, of: &[Param<'_>]) -> Result<Option<Lane>> {
        self.one(sql, of, |row| {
            self.tell(get(row, 0)?);
            read_lane(row, 1)
        })
        .await
    }
}

impl sql::Tx for Tx<'_> {
    fn now(&self) -> Timestamp {
        Tx::now(self)
    }

    async fn tell_time(&self) -> Result<()> {
        let now = self.one("SELECT now_ms()", params![], |row| get(row, 0)).await?;
        self.tell(now.ok_or_else(|| corrupt("the database tells no time"))?);
        Ok(())
    }

    async fn run(&self, sql: &Sql, params: &[sql::Param<'_>]) -> Result<u64> {
        let params: Vec<Param<'_>> = params.iter().map(Param::from).collect();
        Tx::run(self, sql.postgres(), &params).await
    }

    async fn run_later(&self, sql: &Sql, params: &[sql::Param<'_>]) -> Result<()> {
        Tx::run_later(self, sql.postgres(), params.iter().map(Param::owned).collect()).await
    }

    async fn all<T: Send>(&self, sql: &Sql, params: &[sql::Param<'_>], read: sql::Read<T>) -> Result<Vec<T>> {
        let params: Vec<Param<'_>> = params.iter().map(Param::from).collect();
        Tx::all(self, sql.postgres(), &params, |row| read(row)).await
    }

    async fn lock(&self, lane: LaneId) -> Result<Option<Lane>> {
        let lane = match self.serialized() {
            None => self.read(LOCK, params![lane.0]).await?,
            Some(key) => self.read(LOCK_ALONE, params![lane.0, &key]).await?,
        };
        if let Some(lane) = &lane {
            self.remember(lane);
        }
        Ok(lane)
    }

    async fn hold(&self, lease: &Lease) -> Result<Lane> {
        let lane = sql::Tx::lock(self, lease.lane).await?.ok_or(StoreError::Fenced)?;
        lane.check(lease)?;
        Ok(lane)
    }

    async fn check(&self, lease: &Lease) -> Result<Lane> {
        let lane = self.read(LOOK, params![lease.lane.0]).await?.ok_or(StoreError::Fenced)?;
        lane.check(lease)?;
        Ok(lane)
    }

    async fn try_lock(&self, lanes: &[LaneId]) -> Result<Vec<Lane>> {
        if lanes.is_empty() {
            return Ok(Vec::new());
        }
        let read = |row: &Row| {
            self.tell(get(row, 0)?);
            read_lane(row, 1)
        };
        let locked = Tx::all(self, TRY_LOCK, params![ints(lanes.iter().map(|lane| lane.0))], read).await?;
        for lane in &locked {
            self.remember(lane);
        }
        Ok(locked)
    }

    async fn is_alone(&self) -> Result<bool> {
        let lock = "SELECT pg_try_advisory_xact_lock($1)";
        Ok(Tx::one(self, lock, params![ENFORCING], |row| get(row, 0)).await?.unwrap_or_default())
    }

    fn chat<'k>(&self, chat: &'k ChatKey) -> Cow<'k, str> {
        intake::chat(chat)
    }

    async fn serialize(&self, key: &str) -> Result<()> {
        Tx::serialize(self, key);
        Ok(())
    }

    async fn save(&self, lane: &Lane) -> Result<()> {
        let known = self.remembered(lane)?;
        if known == *lane {
            return Ok(());
        }
        let text = |text: Option<&str>| Param::from(text.map(ToOwned::to_owned));
        let owner = |slot: &Slot| text(slot.owner.as_ref().map(Owner::as_str));
        let written = vec![
            lane.id.0.into(),
            lane.generation.into(),
            text(lane.bot_id.as_ref().map(BotId::as_str)),
            lane.last_turn_at.into(),
            lane.shared.into(),
            text(lane.sender_ref.as_deref()),
            text(lane.attributes_ref.as_deref()),
            text(lane.watermark.as_ref().map(EventId::as_str)),
            owner(&lane.turns),
            lane.turns.fence.into(),
            lane.turns.woken.into(),
            lane.turns.due_at.into(),
            owner(&lane.deliveries),
            lane.deliveries.fence.into(),
            lane.deliveries.woken.into(),
            lane.deliveries.due_at.into(),
        ];
        Tx::run_later(self, SAVE, written).await?;
        for work in [WorkKind::Turns, WorkKind::Deliveries] {
            let due_at = lane.slot(work).due_at;
            if due_at == known.slot(work).due_at {
                continue;
            }
            let found = vec![name(work).to_owned().into(), lane.id.0.into()];
            match due_at {
                None => Tx::run_later(self, NOT_DUE, found).await?,
                Some(_) => {
                    let due = found.into_iter().chain([lane.channel.as_str().to_owned().into(), due_at.into()]);
                    Tx::run_later(self, DUE, due.collect()).await?;
                }
            }
        }
        self.remember(lane);
        Ok(())
    }

    /// The database numbers them by itself.
    async fn next_part(&self) -> Result<i64> {
        Ok(0)
    }

    fn wakeups(&self) -> &Wakeups {
        Tx::wakeups(self)
    }
}

/// So often another look of the same moment may have been faster, before this one leaves the rest to it.
const ROUNDS: usize = 10;

/// A look, and where it goes on.
pub(super) struct Look<'l> {
    pub(super) work: WorkKind,
    pub(super) owner: &'l Owner,
    pub(super) requests: &'l [LeaseRequest],
    /// Where it begins in each channel of each request, in their order.
    pub(super) from: Vec<(ChannelName, Option<Timestamp>)>,
}

/// What a look has found.
pub(super) struct Seen {
    pub(super) due: Due,
    /// Nothing is due before this.
    pub(super) first: Timestamp,
}

/// One statement that finds, for all requests, and one for what it took; again where others look at the same moment.
pub(super) async fn lease(tx: &Tx<'_>, look: &Look<'_>) -> Result<Seen> {
    let mut limits: Vec<i64> = look.requests.iter().map(|request| rows(request.limit)).collect();
    let (mut leases, mut lost) = (Vec::new(), Vec::new());
    let mut round = take(tx, look, &limits, &lost).await?;
    for _ in 1..ROUNDS {
        for taken in &round.taken {
            if let Some(limit) = usize::try_from(taken.request - 1).ok().and_then(|place| limits.get_mut(place)) {
                *limit -= 1;
            }
        }
        leases.append(&mut round.taken);
        if round.lost.is_empty() {
            break;
        }
        lost.append(&mut round.lost);
        round = take(tx, look, &limits, &lost).await?;
    }
    leases.append(&mut round.taken);
    leases.sort_unstable_by_key(|taken| (taken.due_at, taken.lease.lane.0));
    let leases: Vec<Lease> = leases.into_iter().map(|taken| taken.lease).collect();
    tx.took(leases.iter().cloned());
    let next = round.next.map(Timestamp::from_millis);
    let first = next.map_or(tx.now(), |next| next.min(tx.now()));
    Ok(Seen { due: Due { leases, next: next.map(|due_at| due_at.since(tx.now())) }, first })
}

struct Taken {
    due_at: i64,
    request: i64,
    lease: Lease,
}

struct Round {
    taken: Vec<Taken>,
    next: Option<i64>,
    lost: Vec<i64>,
}

async fn take(tx: &Tx<'_>, look: &Look<'_>, limits: &[i64], lost: &[i64]) -> Result<Round> {
    let requests = (1..).zip(look.requests).flat_map(|(number, request)| request.channels.iter().map(move |_| number));
    let sql = match look.work {
        WorkKind::Turns => TAKE_TURNS,
        WorkKind::Deliveries => TAKE_DELIVERIES,
    };
    let values = params![
        look.owner.as_str(),
        texts(look.from.iter().map(|(channel, _)| channel.as_str())),
        ints(requests),
        ints(limits.iter().copied()),
        ints(lost.iter().copied()),
        ints(look.from.iter().map(|(_, from)| from.map_or(i64::MIN, Timestamp::as_millis))),
        i64::try_from(MARGIN.as_millis()).unwrap_or(i64::MAX),
    ];
    let mut round = Round { taken: Vec::new(), next: None, lost: Vec::new() };
    let taken = tx
        .all(sql, values, |row| {
            tx.tell(get(row, 0)?);
            (round.next, round.lost) = (get(row, 1)?, get(row, 2)?);
            let Some(lane) = get::<Option<i64>>(row, 3)? else { return Ok(None) };
            let lease = Lease {
                lane: LaneId(lane),
                work: look.work,
                fence: get(row, 4)?,
                channel: ChannelName::new(get::<String>(row, 5)?),
                chat_ref: ChatRef::new(get::<String>(row, 6)?),
            };
            Ok(Some(Taken { due_at: get(row, 7)?, request: get(row, 8)?, lease }))
        })
        .await?;
    round.taken = taken.into_iter().flatten().collect();
    if !round.taken.is_empty() {
        let lanes = ints(round.taken.iter().map(|taken| taken.lease.lane.0));
        tx.run(TAKEN, params![name(look.work), lanes]).await?;
    }
    Ok(round)
}

/// The clock was set back: what was scheduled by the old time is due soon, and nothing lies ahead for long. As
/// several replicas notice it, it must do no harm to do this twice.
pub(super) async fn clock_stepped_back(tx: &Tx<'_>) -> Result<()> {
    sql::Tx::tell_time(tx).await?;
    let soon = tx.now().plus(HORIZON);
    for due in DUE_AHEAD {
        tx.run(due, params![soon]).await?;
    }
    sql::clock::clamp(tx).await?;
    for work in [WorkKind::Turns, WorkKind::Deliveries] {
        tx.wakeups().due(work, tx.now());
    }
    Ok(())
}
