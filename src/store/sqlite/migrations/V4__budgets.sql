-- What was spent of the budgets that all who share the store keep: ledger is a JSON list of [until when it may be used,
-- in milliseconds, how much]. key: which, as a keyed hash.
CREATE TABLE budgets (
    key    TEXT PRIMARY KEY,
    ledger TEXT NOT NULL
) WITHOUT ROWID;
