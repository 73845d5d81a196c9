-- Times are milliseconds since the epoch, by the gateway's clock. Ids are text as the gateway writes them.
-- A row of `messages` is never deleted: its delivery key is what makes a redelivery recognisable.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE lanes (
    id           INTEGER PRIMARY KEY,
    channel      TEXT NOT NULL,
    chat         TEXT NOT NULL,
    chat_ref     TEXT NOT NULL,
    generation   INTEGER NOT NULL DEFAULT 0,
    bot_id       TEXT,
    last_turn_at INTEGER,
    UNIQUE (channel, chat)
);

-- One row per lane and kind of work ('turns', 'deliveries').
-- due_at: when the lane is looked at next; NULL: when something comes. While the lane is held it is the
-- end of the lease, so that one index finds what is due and what its holder left behind.
-- woken: something that the holder may have missed came while it held the lane.
CREATE TABLE schedule (
    lane    INTEGER NOT NULL REFERENCES lanes (id),
    work    TEXT NOT NULL,
    channel TEXT NOT NULL,
    due_at  INTEGER,
    owner   TEXT,
    fence   INTEGER NOT NULL DEFAULT 0,
    woken   INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (lane, work)
) WITHOUT ROWID;
CREATE INDEX schedule_due ON schedule (work, channel, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX schedule_held ON schedule (owner) WHERE owner IS NOT NULL;

-- seq is the order of acknowledgement. waiting_since is received_at, or when a person said "again".
-- A message without a lane is one that could not be read: its text is what came.
CREATE TABLE messages (
    seq             INTEGER PRIMARY KEY,
    id              TEXT NOT NULL UNIQUE,
    channel         TEXT NOT NULL,
    delivery_key    TEXT NOT NULL,
    lane            INTEGER REFERENCES lanes (id),
    role            TEXT NOT NULL,
    sender          TEXT,
    text            TEXT,
    user_attributes TEXT,
    bot_id          TEXT,
    address         TEXT,
    dormant         INTEGER NOT NULL DEFAULT 0,
    sort_at         INTEGER,
    received_at     INTEGER NOT NULL,
    waiting_since   INTEGER NOT NULL,
    wait_until      INTEGER,
    state           TEXT NOT NULL,
    reason          TEXT,
    detail          TEXT,
    turn            TEXT,
    place           INTEGER,
    ended_at        INTEGER,
    pruned          INTEGER NOT NULL DEFAULT 0,
    UNIQUE (channel, delivery_key)
);
CREATE INDEX messages_waiting ON messages (lane, seq) WHERE state = 'received';
CREATE INDEX messages_undone ON messages (state, channel, seq, dormant) WHERE state <> 'done';
CREATE INDEX messages_turn ON messages (turn, place) WHERE turn IS NOT NULL;
CREATE INDEX messages_to_prune ON messages (ended_at) WHERE ended_at IS NOT NULL AND pruned = 0;

-- state: open, asking, unknown; then answered, dropped, failed, held. asked: calls that were begun.
CREATE TABLE turns (
    id              TEXT PRIMARY KEY,
    lane            INTEGER NOT NULL REFERENCES lanes (id),
    generation      INTEGER NOT NULL,
    bot_id          TEXT NOT NULL,
    role            TEXT NOT NULL,
    content         TEXT,
    user_attributes TEXT,
    address         TEXT,
    received_at     INTEGER NOT NULL,
    begun_at        INTEGER NOT NULL,
    state           TEXT NOT NULL,
    asked           INTEGER NOT NULL DEFAULT 0,
    asked_at        INTEGER,
    unknown_since   INTEGER,
    answered        INTEGER NOT NULL DEFAULT 0,
    looks           INTEGER NOT NULL DEFAULT 0,
    reason          TEXT,
    detail          TEXT,
    ended_at        INTEGER,
    event_kinds     TEXT NOT NULL DEFAULT '[]',
    pruned          INTEGER NOT NULL DEFAULT 0
);
-- One turn per chat at a time.
CREATE UNIQUE INDEX turns_current ON turns (lane) WHERE ended_at IS NULL;
CREATE INDEX turns_recent ON turns (lane, begun_at) WHERE role = 'user';
CREATE INDEX turns_to_prune ON turns (ended_at) WHERE ended_at IS NOT NULL AND pruned = 0;

CREATE TABLE conversations (
    lane           INTEGER NOT NULL REFERENCES lanes (id),
    generation     INTEGER NOT NULL,
    channel        TEXT NOT NULL,
    bot_id         TEXT NOT NULL,
    reference      TEXT NOT NULL,
    interaction_id TEXT UNIQUE, -- belongs to one chat, for ever
    asked_at       INTEGER,
    first_events   TEXT NOT NULL DEFAULT '[]',
    first_event_at INTEGER,
    watermark      TEXT,
    answered_at    INTEGER,
    PRIMARY KEY (lane, generation)
) WITHOUT ROWID;

-- The outbox. seq is the order of delivery in a lane. state: pending, sending, sent, failed, held.
CREATE TABLE parts (
    seq           INTEGER PRIMARY KEY,
    id            TEXT NOT NULL UNIQUE,
    channel       TEXT NOT NULL,
    lane          INTEGER NOT NULL REFERENCES lanes (id),
    turn          TEXT NOT NULL REFERENCES turns (id),
    reply         INTEGER NOT NULL,
    kind          TEXT NOT NULL,
    part          TEXT,
    address       TEXT,
    answered_at   INTEGER NOT NULL,
    hold_until    INTEGER,
    state         TEXT NOT NULL,
    attempts      INTEGER NOT NULL DEFAULT 0,
    sending_since INTEGER,
    receipt       TEXT,
    reason        TEXT,
    detail        TEXT,
    sent_at       INTEGER,
    delivered_at  INTEGER
);
CREATE INDEX parts_waiting ON parts (lane, seq, channel, state) WHERE state IN ('pending', 'sending');
CREATE INDEX parts_turn ON parts (turn, seq);
CREATE INDEX parts_receipt ON parts (channel, receipt) WHERE receipt IS NOT NULL;
