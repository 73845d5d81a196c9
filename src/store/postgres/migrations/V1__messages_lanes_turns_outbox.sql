-- The tables of the embedded store, for several writers. Times are milliseconds since the epoch, by the
-- database's clock. Ids are text as the gateway writes them. JSON is kept as text: jsonb refuses \u0000.
-- Free text loses its NULs, which PostgreSQL can't hold.
-- A row of `messages` is never deleted: its delivery key is what makes a redelivery recognisable.
--
-- Migrations expand first and contract in a later version: replicas of the version before run beside them.

-- The one clock. Tests replace it.
CREATE FUNCTION fini_bridge.now_ms() RETURNS bigint LANGUAGE sql VOLATILE AS
    $$ SELECT (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000)::bigint $$;

CREATE TABLE fini_bridge.meta (
    key   text PRIMARY KEY,
    value bytea NOT NULL
);

-- chat: as the platform names it, or a digest where that would not fit an index.
CREATE TABLE fini_bridge.lanes (
    id           bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    channel      text NOT NULL,
    chat         text NOT NULL,
    chat_ref     text NOT NULL,
    generation   bigint NOT NULL DEFAULT 0,
    bot_id       text,
    last_turn_at bigint,
    UNIQUE (channel, chat)
) WITH (fillfactor = 70);

-- One row per lane and kind of work ('turns', 'deliveries'); its row lock is what every write in a lane
-- takes first, 'turns' before 'deliveries'.
-- due_at: when the lane is looked at next; NULL: when something comes. While the lane is held it is the
-- end of the lease, so that one index finds what is due and what its holder left behind.
-- woken: something that the holder may have missed came while it held the lane.
CREATE TABLE fini_bridge.schedule (
    lane    bigint NOT NULL REFERENCES fini_bridge.lanes (id),
    work    text NOT NULL,
    channel text NOT NULL,
    due_at  bigint,
    owner   text,
    fence   bigint NOT NULL DEFAULT 0,
    woken   boolean NOT NULL DEFAULT false,
    PRIMARY KEY (lane, work)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX schedule_due ON fini_bridge.schedule (work, channel, due_at) WHERE due_at IS NOT NULL;

-- seq is the order of acknowledgement within a lane: it is drawn under the lane's lock.
-- waiting_since is received_at, or when a person said "again".
-- A message without a lane is one that could not be read: its text is what came.
-- key_digest: SHA-256 of the delivery key, which may be longer than an index takes.
CREATE TABLE fini_bridge.messages (
    seq             bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    id              text NOT NULL UNIQUE,
    channel         text NOT NULL,
    delivery_key    text NOT NULL,
    key_digest      bytea NOT NULL,
    lane            bigint REFERENCES fini_bridge.lanes (id),
    role            text NOT NULL,
    sender          text,
    text            text,
    user_attributes text,
    bot_id          text,
    address         text,
    dormant         boolean NOT NULL DEFAULT false,
    sort_at         bigint,
    received_at     bigint NOT NULL,
    waiting_since   bigint NOT NULL,
    wait_until      bigint,
    state           text NOT NULL,
    reason          text,
    detail          text,
    turn            text,
    place           bigint,
    ended_at        bigint,
    pruned          boolean NOT NULL DEFAULT false,
    UNIQUE (channel, key_digest)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX messages_waiting ON fini_bridge.messages (lane, seq) WHERE state = 'received';
CREATE INDEX messages_undone ON fini_bridge.messages (state, channel, seq, dormant) WHERE state <> 'done';
CREATE INDEX messages_turn ON fini_bridge.messages (turn, place) WHERE turn IS NOT NULL;
CREATE INDEX messages_to_prune ON fini_bridge.messages (ended_at) WHERE ended_at IS NOT NULL AND NOT pruned;

-- state: open, asking, unknown; then answered, dropped, failed, held. asked: calls that were begun.
CREATE TABLE fini_bridge.turns (
    id              text PRIMARY KEY,
    lane            bigint NOT NULL REFERENCES fini_bridge.lanes (id),
    generation      bigint NOT NULL,
    bot_id          text NOT NULL,
    role            text NOT NULL,
    content         text,
    user_attributes text,
    address         text,
    received_at     bigint NOT NULL,
    begun_at        bigint NOT NULL,
    state           text NOT NULL,
    asked           bigint NOT NULL DEFAULT 0,
    asked_at        bigint,
    unknown_since   bigint,
    answered        boolean NOT NULL DEFAULT false,
    looks           bigint NOT NULL DEFAULT 0,
    reason          text,
    detail          text,
    ended_at        bigint,
    event_kinds     text NOT NULL DEFAULT '[]',
    pruned          boolean NOT NULL DEFAULT false
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
-- One turn per chat at a time.
CREATE UNIQUE INDEX turns_current ON fini_bridge.turns (lane) WHERE ended_at IS NULL;
CREATE INDEX turns_recent ON fini_bridge.turns (lane, begun_at) WHERE role = 'user';
CREATE INDEX turns_to_prune ON fini_bridge.turns (ended_at) WHERE ended_at IS NOT NULL AND NOT pruned;

CREATE TABLE fini_bridge.conversations (
    lane           bigint NOT NULL REFERENCES fini_bridge.lanes (id),
    generation     bigint NOT NULL,
    channel        text NOT NULL,
    bot_id         text NOT NULL,
    reference      text NOT NULL,
    interaction_id text UNIQUE, -- belongs to one chat, for ever
    asked_at       bigint,
    first_events   text NOT NULL DEFAULT '[]',
    first_event_at bigint,
    watermark      text,
    answered_at    bigint,
    PRIMARY KEY (lane, generation)
) WITH (fillfactor = 80);

-- The outbox. seq is the order of delivery in a lane. state: pending, sending, sent, failed, held.
CREATE TABLE fini_bridge.parts (
    seq           bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    id            text NOT NULL UNIQUE,
    channel       text NOT NULL,
    lane          bigint NOT NULL REFERENCES fini_bridge.lanes (id),
    turn          text NOT NULL REFERENCES fini_bridge.turns (id),
    reply         bigint NOT NULL,
    kind          text NOT NULL,
    part          text,
    address       text,
    answered_at   bigint NOT NULL,
    hold_until    bigint,
    state         text NOT NULL,
    attempts      bigint NOT NULL DEFAULT 0,
    sending_since bigint,
    receipt       text,
    reason        text,
    detail        text,
    sent_at       bigint,
    delivered_at  bigint
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX parts_waiting ON fini_bridge.parts (lane, seq) WHERE state IN ('pending', 'sending');
CREATE INDEX parts_pending ON fini_bridge.parts (channel) WHERE state IN ('pending', 'sending');
CREATE INDEX parts_turn ON fini_bridge.parts (turn, seq);
-- Receipts are as long as a platform likes; a hash index takes any length.
CREATE INDEX parts_receipt ON fini_bridge.parts USING hash (receipt) WHERE receipt IS NOT NULL;
