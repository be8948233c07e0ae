-- Where clinics want to hear of what happens.
CREATE TABLE webhooks (
    id BLOB NOT NULL PRIMARY KEY,
    clinic_id BLOB NOT NULL REFERENCES clinics (id) ON DELETE CASCADE,
    -- The address, which may be a secret itself, and the secret that signs.
    target_sealed BLOB NOT NULL,
    types TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    -- The receiver said that it is gone for good.
    disabled_at INTEGER
) STRICT;
CREATE INDEX webhooks_clinic ON webhooks (clinic_id);

-- What is told to them, in the order in which it happened. Opaque ids only.
CREATE TABLE webhook_events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    webhook_id BLOB NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    -- Whose events follow each other.
    subject BLOB NOT NULL,
    -- None in the word of an erasure, which outlives the patient.
    patient_id BLOB REFERENCES patients (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    data TEXT NOT NULL,
    -- What is told once and no more.
    once TEXT,
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'failed')),
    created_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    -- While it is claimed, the end of the lease.
    attempt_at INTEGER,
    lease_id BLOB,
    give_up_at INTEGER NOT NULL,
    settled_at INTEGER,
    trouble TEXT,
    CHECK ((state = 'pending') = (attempt_at IS NOT NULL)),
    CHECK ((state = 'pending') = (settled_at IS NULL)),
    UNIQUE (webhook_id, once)
) STRICT;
CREATE INDEX webhook_events_due ON webhook_events (webhook_id, attempt_at, seq) WHERE state = 'pending';
CREATE INDEX webhook_events_order ON webhook_events (webhook_id, subject, seq) WHERE state = 'pending';
CREATE INDEX webhook_events_failed ON webhook_events (webhook_id, settled_at, id) WHERE state = 'failed';
CREATE INDEX webhook_events_settled ON webhook_events (settled_at) WHERE settled_at IS NOT NULL;
CREATE INDEX webhook_events_patient ON webhook_events (patient_id) WHERE patient_id IS NOT NULL;

-- Of the last session of a course that goes on: from when on the next one is due, and when that was told.
ALTER TABLE treatments ADD COLUMN session_due_at INTEGER;
ALTER TABLE treatments ADD COLUMN session_told_at INTEGER;
CREATE INDEX treatments_session_due ON treatments (session_due_at) WHERE session_due_at IS NOT NULL;
