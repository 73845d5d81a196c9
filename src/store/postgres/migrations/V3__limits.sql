-- Who wrote in a lane, as keyed hashes: the first sender, and the user attributes that came last.
-- shared: a second person has written; it never goes back.
ALTER TABLE fini_bridge.lanes
    ADD COLUMN sender_ref text,
    ADD COLUMN attributes_ref text,
    ADD COLUMN shared boolean NOT NULL DEFAULT false;

-- Longer than max_text: what is kept of its text is only the beginning.
ALTER TABLE fini_bridge.messages ADD COLUMN too_long boolean NOT NULL DEFAULT false;

-- Set where a turn counts for max_turns, max_turns_per_sender and max_turns_per_channel. sender_ref is a keyed hash.
ALTER TABLE fini_bridge.turns ADD COLUMN channel text, ADD COLUMN sender_ref text;
CREATE INDEX turns_of_lane ON fini_bridge.turns (lane, begun_at) WHERE sender_ref IS NOT NULL;
CREATE INDEX turns_of_sender ON fini_bridge.turns (sender_ref, begun_at) WHERE sender_ref IS NOT NULL;
CREATE INDEX turns_of_channel ON fini_bridge.turns (channel, begun_at) WHERE sender_ref IS NOT NULL;
-- turns_recent stays for replicas of the version before.
