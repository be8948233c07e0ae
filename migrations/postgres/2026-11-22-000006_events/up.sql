-- What was said of sessions after they were recorded. What comes before its session waits for it here,
-- without a patient. The row of kind 'recorded' is the session as it was before the first amendment.
CREATE TABLE amendments (
    id uuid PRIMARY KEY,
    clinic_id uuid NOT NULL REFERENCES clinics (id) ON DELETE CASCADE,
    patient_id uuid REFERENCES patients (id) ON DELETE CASCADE,
    treatment_id uuid REFERENCES treatments (id) ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('recorded', 'amended', 'voided')),
    namespace text NOT NULL,
    -- None of what came as no event.
    event_hash bytea,
    supersedes_hash bytea,
    content_hash bytea,
    -- When it was true: of two, the later one wins.
    at timestamptz NOT NULL,
    content_sealed bytea NOT NULL,
    received_at timestamptz NOT NULL,
    UNIQUE (clinic_id, namespace, event_hash),
    CHECK ((patient_id IS NULL) = (treatment_id IS NULL)),
    CHECK ((event_hash IS NULL) = (content_hash IS NULL))
);
CREATE INDEX amendments_treatment ON amendments (treatment_id) WHERE treatment_id IS NOT NULL;
CREATE INDEX amendments_patient ON amendments (patient_id) WHERE patient_id IS NOT NULL;
CREATE INDEX amendments_supersedes ON amendments (clinic_id, namespace, supersedes_hash)
    WHERE supersedes_hash IS NOT NULL;
CREATE INDEX amendments_waiting ON amendments (received_at) WHERE treatment_id IS NULL;

-- The secrets that sign a clinic's events.
CREATE TABLE signing_secrets (
    id uuid PRIMARY KEY,
    clinic_id uuid NOT NULL REFERENCES clinics (id) ON DELETE CASCADE,
    secret_sealed bytea NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX signing_secrets_clinic ON signing_secrets (clinic_id);

-- What signed messages were answered, so that a repeat gets the same answer.
CREATE TABLE webhook_answers (
    clinic_id uuid NOT NULL REFERENCES clinics (id) ON DELETE CASCADE,
    message_hash bytea NOT NULL,
    status integer NOT NULL,
    body_sealed bytea NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (clinic_id, message_hash)
);
CREATE INDEX webhook_answers_age ON webhook_answers (received_at);

-- What a reminder said when it was sent.
ALTER TABLE reminders ADD COLUMN said jsonb;
