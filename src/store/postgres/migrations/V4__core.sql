-- Who works in a lane, and when it is due, stands in the lane's own row: its row lock is what every write in a lane
-- takes first. For each kind of work: idle; due at a time; or leased to a replica, which is not due until it is given
-- back. woken: something that the holder may have missed came while it held the lane.
ALTER TABLE fini_bridge.lanes
    ADD COLUMN watermark text, -- the last event known of its current conversation
    ADD COLUMN turns_owner text,
    ADD COLUMN turns_fence bigint NOT NULL DEFAULT 0,
    ADD COLUMN turns_woken boolean NOT NULL DEFAULT false,
    ADD COLUMN turns_due_at bigint,
    ADD COLUMN deliveries_owner text,
    ADD COLUMN deliveries_fence bigint NOT NULL DEFAULT 0,
    ADD COLUMN deliveries_woken boolean NOT NULL DEFAULT false,
    ADD COLUMN deliveries_due_at bigint,
    -- For what comes next: a chat that is silent until then, or handed to people, or lives in another lane now.
    ADD COLUMN paused_until bigint,
    ADD COLUMN handoff text,
    ADD COLUMN moved_to bigint;
-- Whoever held a lane is gone: what it left is due now.
UPDATE fini_bridge.lanes AS l SET
    turns_fence = t.fence,
    turns_due_at = CASE WHEN t.owner IS NULL THEN t.due_at ELSE fini_bridge.now_ms() END,
    deliveries_fence = d.fence,
    deliveries_due_at = CASE WHEN d.owner IS NULL THEN d.due_at ELSE fini_bridge.now_ms() END,
    watermark = (SELECT c.watermark FROM fini_bridge.conversations AS c
        WHERE c.lane = l.id AND c.generation = l.generation)
FROM fini_bridge.schedule AS t, fini_bridge.schedule AS d
WHERE t.lane = l.id AND t.work = 'turns' AND d.lane = l.id AND d.work = 'deliveries';
ALTER TABLE fini_bridge.conversations DROP COLUMN watermark;
DROP TABLE fini_bridge.schedule;
-- What a replica that died has left.
CREATE INDEX lanes_turns_owner ON fini_bridge.lanes (turns_owner) WHERE turns_owner IS NOT NULL;
CREATE INDEX lanes_deliveries_owner ON fini_bridge.lanes (deliveries_owner) WHERE deliveries_owner IS NOT NULL;
ALTER TABLE fini_bridge.lanes SET (autovacuum_vacuum_scale_factor = 0.02);

-- The lanes that are due, found by time: what their rows say, once more. A lane that somebody works in has no row.
CREATE TABLE fini_bridge.due_lanes (
    work    text NOT NULL,
    lane    bigint NOT NULL,
    channel text NOT NULL,
    due_at  bigint NOT NULL,
    PRIMARY KEY (work, lane)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0);
INSERT INTO fini_bridge.due_lanes (work, lane, channel, due_at)
    SELECT 'turns', id, channel, turns_due_at FROM fini_bridge.lanes WHERE turns_due_at IS NOT NULL
    UNION ALL
    SELECT 'deliveries', id, channel, deliveries_due_at FROM fini_bridge.lanes WHERE deliveries_due_at IS NOT NULL;
CREATE INDEX due_lanes_next ON fini_bridge.due_lanes (work, channel, due_at);

-- Each process that shares the store, as long as it says every second that it lives. One that was declared dead stays
-- so: its lanes are others' from then on.
CREATE TABLE fini_bridge.replicas (
    id             text PRIMARY KEY,
    schema_version bigint NOT NULL, -- the newest migration that it knows
    joined_at      bigint NOT NULL,
    alive_until    bigint NOT NULL,
    dead_since     bigint
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200,
    autovacuum_vacuum_cost_delay = 0);

-- Every statement names the lane of what it changes, under its lock: references cost a lookup and a lock each.
ALTER TABLE fini_bridge.messages DROP CONSTRAINT messages_lane_fkey;
ALTER TABLE fini_bridge.turns DROP CONSTRAINT turns_lane_fkey;
ALTER TABLE fini_bridge.conversations DROP CONSTRAINT conversations_lane_fkey;
ALTER TABLE fini_bridge.parts DROP CONSTRAINT parts_lane_fkey, DROP CONSTRAINT parts_turn_fkey;

DROP INDEX fini_bridge.messages_lane;
DROP INDEX fini_bridge.parts_lane;
DROP INDEX fini_bridge.turns_lane;
DROP INDEX fini_bridge.turns_recent;
DROP INDEX fini_bridge.turns_of_lane;
CREATE INDEX turns_of_lane ON fini_bridge.turns (lane, begun_at);
-- What has ended is as much as there ever was.
DROP INDEX fini_bridge.messages_undone;
CREATE INDEX messages_unfinished ON fini_bridge.messages (state, channel, seq, dormant) WHERE ended_at IS NULL;
CREATE INDEX messages_failed ON fini_bridge.messages (state, channel, seq) WHERE state IN ('failed', 'held');

-- What was spent of the budgets that all who share the store keep: ledger is a JSON list of [until when it may be used,
-- in milliseconds, how much]. key: which, as a keyed hash. Its row is rewritten often.
-- Or pause/ and a channel, and until when it is paused.
CREATE TABLE fini_bridge.budgets (
    key    text PRIMARY KEY,
    ledger text NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);

-- Each step of a message, turn or part, in its own row: the statement that takes the step writes it. A line for each
-- transaction, in JSON: the time, the process, and steps with their details. Codes and ids only, never text.
ALTER TABLE fini_bridge.messages ADD COLUMN journal text NOT NULL DEFAULT '';
ALTER TABLE fini_bridge.turns ADD COLUMN journal text NOT NULL DEFAULT '';
ALTER TABLE fini_bridge.parts ADD COLUMN journal text NOT NULL DEFAULT '';

-- For what comes next; nothing is written here yet.
ALTER TABLE fini_bridge.messages ADD COLUMN traceparent text;
-- An event that a chat has seen, whichever way it came.
CREATE TABLE fini_bridge.shown_events (
    interaction_id text NOT NULL,
    event_id       text NOT NULL,
    shown_at       bigint NOT NULL,
    PRIMARY KEY (interaction_id, event_id)
);
CREATE TABLE fini_bridge.channel_pauses (
    channel   text PRIMARY KEY,
    paused_at bigint NOT NULL
);
CREATE TABLE fini_bridge.credential_states (
    fingerprint text PRIMARY KEY,
    state       text NOT NULL,
    since       bigint NOT NULL,
    reason      text
);
