-- What is due, and only that. A lane that somebody works in has no row here: the one process that has this file open
-- knows its own leases by heart.
CREATE TABLE due_lanes (
    work    TEXT NOT NULL, -- turns, deliveries
    lane    INTEGER NOT NULL,
    channel TEXT NOT NULL,
    due_at  INTEGER NOT NULL,
    PRIMARY KEY (work, lane)
) WITHOUT ROWID;
INSERT INTO due_lanes (work, lane, channel, due_at)
    SELECT work, lane, channel, CASE WHEN owner IS NULL THEN due_at ELSE 0 END FROM schedule WHERE due_at IS NOT NULL;
CREATE INDEX due_lanes_next ON due_lanes (work, channel, due_at);
DROP TABLE schedule;

-- The last event known of the lane's current conversation.
ALTER TABLE lanes ADD COLUMN watermark TEXT;
UPDATE lanes SET watermark =
    (SELECT watermark FROM conversations c WHERE c.lane = lanes.id AND c.generation = lanes.generation);
ALTER TABLE conversations DROP COLUMN watermark;

-- References between tables are not checked any more, so these indices serve nobody. Every statement names the lane
-- of what it changes.
DROP INDEX messages_lane;
DROP INDEX parts_lane;
DROP INDEX turns_lane;
DROP INDEX turns_of_lane;
CREATE INDEX turns_of_lane ON turns (lane, begun_at);

-- With all columns that are asked for, so that no row is read.
DROP INDEX messages_waiting;
CREATE INDEX messages_waiting ON messages (lane, seq, dormant, state) WHERE state = 'received';
-- What has ended is as much as there ever was.
DROP INDEX messages_undone;
CREATE INDEX messages_unfinished ON messages (state, channel, seq, dormant, ended_at) WHERE ended_at IS NULL;
CREATE INDEX messages_failed ON messages (state, channel, seq) WHERE state IN ('failed', 'held');

-- What was spent of the budgets that all who share the store keep: ledger is a JSON list of [until when it may be used,
-- in milliseconds, how much]. key: which, as a keyed hash. Or pause/ and a channel, and until when it is paused.
CREATE TABLE budgets (
    key    TEXT PRIMARY KEY,
    ledger TEXT NOT NULL
) WITHOUT ROWID;

-- Each step of a message, turn or part, in its own row: the statement that takes the step writes it, so that it costs
-- no page more. A line for each transaction, in JSON: the time, the process, and steps with their details. Codes and
-- ids only, never text.
ALTER TABLE messages ADD COLUMN journal TEXT NOT NULL DEFAULT '';
ALTER TABLE turns ADD COLUMN journal TEXT NOT NULL DEFAULT '';
ALTER TABLE parts ADD COLUMN journal TEXT NOT NULL DEFAULT '';

-- For what comes next; nothing is written here yet.
ALTER TABLE messages ADD COLUMN traceparent TEXT;
-- A chat that is silent until then, or handed to people, or lives in another lane now.
ALTER TABLE lanes ADD COLUMN paused_until INTEGER;
ALTER TABLE lanes ADD COLUMN handoff TEXT;
ALTER TABLE lanes ADD COLUMN moved_to INTEGER;
-- An event that a chat has seen, whichever way it came.
CREATE TABLE shown_events (
    interaction_id TEXT NOT NULL,
    event_id       TEXT NOT NULL,
    shown_at       INTEGER NOT NULL,
    PRIMARY KEY (interaction_id, event_id)
) WITHOUT ROWID;
CREATE TABLE channel_pauses (
    channel   TEXT PRIMARY KEY,
    paused_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE credential_states (
    fingerprint TEXT PRIMARY KEY,
    state       TEXT NOT NULL,
    since       INTEGER NOT NULL,
    reason      TEXT
) WITHOUT ROWID;
