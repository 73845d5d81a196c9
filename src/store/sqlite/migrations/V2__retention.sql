-- Rows are forgotten some time after their receipt. What SQLite would number by the highest row there is counts on
-- here: the number of a forgotten chat never becomes another chat's.
CREATE TABLE sequences (
    name TEXT PRIMARY KEY,
    last INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO sequences (name, last)
    SELECT 'lanes', coalesce(max(id), 0) FROM lanes
    UNION ALL SELECT 'messages', coalesce(max(seq), 0) FROM messages
    UNION ALL SELECT 'parts', coalesce(max(seq), 0) FROM parts;

-- Whether anything of a chat is left; also what foreign keys look up when one is forgotten.
CREATE INDEX messages_lane ON messages (lane) WHERE lane IS NOT NULL;
CREATE INDEX turns_lane ON turns (lane, generation);
CREATE INDEX parts_lane ON parts (lane);

-- What earlier versions left when they removed a text.
UPDATE messages SET detail = NULL WHERE pruned = 1 AND detail IS NOT NULL;
UPDATE parts SET detail = NULL
    WHERE detail IS NOT NULL AND turn IN (SELECT id FROM turns WHERE pruned = 1);
UPDATE turns SET detail = NULL, event_kinds = '[]' WHERE pruned = 1;

-- Earlier versions did not overwrite all that they removed: the file is written anew, once.
INSERT INTO meta (key, value) SELECT 'vacuum_due', 1 WHERE EXISTS (SELECT 1 FROM messages);
