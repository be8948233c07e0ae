-- A push that is asked for to see whether it reaches the patient's phone: of each patient the last one.
-- It is no reminder: no treatment, no rule, and it never waits for a phone.
CREATE TABLE test_pushes (
    patient_id BLOB NOT NULL PRIMARY KEY REFERENCES patients (id) ON DELETE CASCADE,
    clinic_id BLOB NOT NULL REFERENCES clinics (id) ON DELETE CASCADE,
    -- What the phone knows it by.
    id BLOB NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('planned', 'claimed', 'sent', 'expired', 'failed')),
    reason TEXT,
    requested_at INTEGER NOT NULL,
    use_by INTEGER NOT NULL,
    -- When the phone has rested from all tests so far.
    rested_at INTEGER NOT NULL,
    attempt_at INTEGER,
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    lease_id BLOB,
    leased_until INTEGER,
    sent_at INTEGER,
    displayed_at INTEGER,
    acknowledged_at INTEGER,
    CHECK (state <> 'planned' OR attempt_at IS NOT NULL),
    CHECK ((state = 'claimed') = (lease_id IS NOT NULL)),
    CHECK ((lease_id IS NULL) = (leased_until IS NULL)),
    CHECK (state <> 'sent' OR sent_at IS NOT NULL)
) STRICT;
CREATE INDEX test_pushes_due ON test_pushes (attempt_at, id) WHERE state = 'planned';
CREATE INDEX test_pushes_leased ON test_pushes (leased_until) WHERE state = 'claimed';
