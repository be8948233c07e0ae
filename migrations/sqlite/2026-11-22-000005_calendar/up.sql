-- Calendar feeds: one for each patient who asked. Whoever has the token may read the feed, so it is
-- looked up by its hash, and sealed for its owner to be shown again.

CREATE TABLE calendars (
    patient_id BLOB NOT NULL PRIMARY KEY REFERENCES patients (id) ON DELETE CASCADE,
    token_hash BLOB NOT NULL UNIQUE,
    token_sealed BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
