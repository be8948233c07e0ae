-- A push that is asked for to see whether it reaches the patient's phone: of each patient the last one.
-- It is no reminder: no treatment, no rule, and it never waits for a phone.
CREATE TABLE test_pushes (
    patient_id uuid NOT NULL PRIMARY KEY REFERENCES patients (id) ON DELETE CASCADE,
    clinic_id uuid NOT NULL REFERENCES clinics (id) ON DELETE CASCADE,
    -- What the phone knows it by.
    id uuid NOT NULL UNIQUE,
    state text NOT NULL CHECK (state IN ('planned', 'claimed', 'sent', 'expired', 'failed')),
    reason text,
    requested_at timestamptz NOT NULL,
    use_by timestamptz NOT NULL,
    -- When the phone has rested from all tests so far.
    rested_at timestamptz NOT NULL,
    attempt_at timestamptz,
    attempts integer NOT NULL CHECK (attempts >= 0),
    lease_id uuid,
    leased_until timestamptz,
    sent_at timestamptz,
    displayed_at timestamptz,
    acknowledged_at timestamptz,
    CHECK (state <> 'planned' OR attempt_at IS NOT NULL),
    CHECK ((state = 'claimed') = (lease_id IS NOT NULL)),
    CHECK ((lease_id IS NULL) = (leased_until IS NULL)),
    CHECK (state <> 'sent' OR sent_at IS NOT NULL)
);
CREATE INDEX test_pushes_due ON test_pushes (attempt_at, id) WHERE state = 'planned';
CREATE INDEX test_pushes_leased ON test_pushes (leased_until) WHERE state = 'claimed';
