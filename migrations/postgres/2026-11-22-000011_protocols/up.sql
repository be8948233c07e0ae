-- The clinic's own codes for what it does, by which it names a protocol.
CREATE TABLE protocol_aliases (
    clinic_id uuid NOT NULL REFERENCES clinics (id) ON DELETE CASCADE,
    code text NOT NULL,
    slug text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (clinic_id, code)
);

-- Versions that running treatments are on their way to: one row for each protocol that is being moved,
-- with the last patient who was looked at.
CREATE TABLE protocol_moves (
    clinic_id uuid NOT NULL REFERENCES clinics (id) ON DELETE CASCADE,
    slug text NOT NULL,
    protocol_id uuid NOT NULL REFERENCES protocols (id),
    reached uuid,
    started_at timestamptz NOT NULL,
    PRIMARY KEY (clinic_id, slug)
);
