-- What was spent of the budgets that all who share the store keep: ledger is a JSON list of [until when it may be used,
-- in milliseconds, how much]. key: which, as a keyed hash. Its row is rewritten often.
CREATE TABLE fini_bridge.budgets (
    key    text PRIMARY KEY,
    ledger text NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
