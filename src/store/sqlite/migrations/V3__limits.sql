-- Who wrote in a lane, as keyed hashes: the first sender, and the user attributes that came last.
-- shared: a second person has written; it never goes back.
ALTER TABLE lanes ADD COLUMN sender_ref TEXT;
ALTER TABLE lanes ADD COLUMN attributes_ref TEXT;
ALTER TABLE lanes ADD COLUMN shared INTEGER NOT NULL DEFAULT 0;

-- Longer than max_text: what is kept of its text is only the beginning.
ALTER TABLE messages ADD COLUMN too_long INTEGER NOT NULL DEFAULT 0;

-- Set where a turn counts for max_turns, max_turns_per_sender and max_turns_per_channel. sender_ref is a keyed hash.
ALTER TABLE turns ADD COLUMN channel TEXT;
ALTER TABLE turns ADD COLUMN sender_ref TEXT;
DROP INDEX turns_recent;
CREATE INDEX turns_of_lane ON turns (lane, begun_at) WHERE sender_ref IS NOT NULL;
CREATE INDEX turns_of_sender ON turns (sender_ref, begun_at) WHERE sender_ref IS NOT NULL;
CREATE INDEX turns_of_channel ON turns (channel, begun_at) WHERE sender_ref IS NOT NULL;
