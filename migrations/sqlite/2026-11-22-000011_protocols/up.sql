-- The clinic's own codes for what it does, by which it names a protocol.
CREATE TABLE protocol_aliases (
    clinic_id BLOB NOT NULL REFERENCES clinics (id) ON DELETE CASCADE,
    code TEXT NOT NULL,
    slug TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (clinic_id, code)
) STRICT;

-- Versions that running treatments are on their way to: one row for each protocol that is being moved,
-- with the last patient who was looked at.
CREATE TABLE protocol_moves (
    clinic_id BLOB NOT NULL REFERENCES clinics (id) ON DELETE CASCADE,
    slug TEXT NOT NULL,
    protocol_id BLOB NOT NULL REFERENCES protocols (id),
    reached BLOB,
    started_at INTEGER NOT NULL,
    PRIMARY KEY (clinic_id, slug)
) STRICT;
