-- Rows are forgotten some time after their receipt.

-- Whether anything of a chat is left; also what foreign keys look up when one is forgotten.
CREATE INDEX messages_lane ON fini_bridge.messages (lane) WHERE lane IS NOT NULL;
CREATE INDEX turns_lane ON fini_bridge.turns (lane, generation);
CREATE INDEX parts_lane ON fini_bridge.parts (lane);

-- What earlier versions left when they removed a text.
UPDATE fini_bridge.messages SET detail = NULL WHERE pruned AND detail IS NOT NULL;
UPDATE fini_bridge.parts AS p SET detail = NULL FROM fini_bridge.turns AS t
    WHERE t.id = p.turn AND t.pruned AND p.detail IS NOT NULL;
UPDATE fini_bridge.turns SET detail = NULL, event_kinds = '[]' WHERE pruned;
