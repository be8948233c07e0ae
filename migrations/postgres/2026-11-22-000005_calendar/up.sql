-- Calendar feeds: one for each patient who asked. Whoever has the token may read the feed, so it is
-- looked up by its hash, and sealed for its owner to be shown again.

CREATE TABLE calendars (
    patient_id uuid PRIMARY KEY REFERENCES patients (id) ON DELETE CASCADE,
    token_hash bytea NOT NULL UNIQUE,
    token_sealed bytea NOT NULL,
    created_at timestamptz NOT NULL
);
