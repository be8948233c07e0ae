-- The spine: tenants, patients, devices, protocols, treatments, reminders, deliveries, sign-in, audit.
-- Columns that end in _sealed hold personal text under the patient's own key (key_wrapped); columns
-- that end in _hash are keyed hashes for look-ups. Every state is text with a CHECK.

CREATE TABLE server (
    id integer PRIMARY KEY CHECK (id = 1),
    key_check bytea NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE signing_keys (
    id text PRIMARY KEY,
    private_sealed bytea NOT NULL,
    public_key bytea NOT NULL,
    created_at timestamptz NOT NULL,
    retired_at timestamptz
);

CREATE TABLE clinics (
    id uuid PRIMARY KEY,
    client_id text NOT NULL UNIQUE,
    display_name text NOT NULL,
    time_zone text NOT NULL,
    locale text NOT NULL,
    contact_phone text,
    slots jsonb NOT NULL,
    push_content text NOT NULL CHECK (push_content IN ('text', 'discreet', 'reference')),
    paused boolean NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE client_secrets (
    id uuid PRIMARY KEY,
    clinic_id uuid NOT NULL REFERENCES clinics (id) ON DELETE CASCADE,
    hash text NOT NULL,
    created_at timestamptz NOT NULL,
    revoked_at timestamptz
);
CREATE INDEX client_secrets_clinic ON client_secrets (clinic_id);

CREATE TABLE patients (
    id uuid PRIMARY KEY,
    clinic_id uuid NOT NULL REFERENCES clinics (id) ON DELETE CASCADE,
    ref_hash bytea NOT NULL,
    ref_sealed bytea NOT NULL,
    key_wrapped bytea NOT NULL,
    time_zone text,
    locale text,
    preferences jsonb NOT NULL,
    plan_version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    UNIQUE (clinic_id, ref_hash)
);

CREATE TABLE consents (
    patient_id uuid NOT NULL REFERENCES patients (id) ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('aftercare', 'recall')),
    granted boolean NOT NULL,
    notice_version text,
    at timestamptz NOT NULL,
    PRIMARY KEY (patient_id, kind)
);

CREATE TABLE sessions (
    id uuid PRIMARY KEY,
    clinic_id uuid NOT NULL REFERENCES clinics (id) ON DELETE CASCADE,
    patient_id uuid REFERENCES patients (id) ON DELETE CASCADE,
    installation_hash bytea,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX sessions_patient ON sessions (patient_id) WHERE patient_id IS NOT NULL;
CREATE INDEX sessions_expired ON sessions (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE refresh_tokens (
    id uuid PRIMARY KEY,
    session_id uuid NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    hash bytea NOT NULL UNIQUE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    spent_at timestamptz,
    successor_id uuid
);
CREATE INDEX refresh_tokens_session ON refresh_tokens (session_id);

CREATE TABLE enrolments (
    id uuid PRIMARY KEY,
    clinic_id uuid NOT NULL REFERENCES clinics (id) ON DELETE CASCADE,
    patient_id uuid NOT NULL REFERENCES patients (id) ON DELETE CASCADE,
    code_hash bytea NOT NULL UNIQUE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    redeemed_at timestamptz
);
CREATE INDEX enrolments_patient ON enrolments (patient_id);

CREATE TABLE devices (
    id uuid PRIMARY KEY,
    patient_id uuid NOT NULL REFERENCES patients (id) ON DELETE CASCADE,
    installation_hash bytea NOT NULL,
    installation_sealed bytea NOT NULL,
    address_kind text NOT NULL CHECK (address_kind IN ('token', 'fid')),
    address_hash bytea UNIQUE,
    address_sealed bytea,
    platform text NOT NULL CHECK (platform IN ('android', 'ios', 'web')),
    time_zone text NOT NULL,
    locale text NOT NULL,
    notifications_enabled boolean NOT NULL,
    delivery text NOT NULL CHECK (delivery IN ('push', 'local_fallback')),
    state text NOT NULL CHECK (state IN ('active', 'gone', 'refused', 'moved')),
    state_reason text,
    session_id uuid,
    last_seen_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    UNIQUE (patient_id, installation_hash),
    CHECK (state <> 'active' OR (address_hash IS NOT NULL AND address_sealed IS NOT NULL))
);

CREATE TABLE protocols (
    id uuid PRIMARY KEY,
    clinic_id uuid REFERENCES clinics (id) ON DELETE CASCADE,
    slug text NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    document jsonb NOT NULL,
    created_at timestamptz NOT NULL
);
-- Two indexes, because a shipped protocol has no clinic and NULLs are never equal.
CREATE UNIQUE INDEX protocols_of_clinic ON protocols (clinic_id, slug, version) WHERE clinic_id IS NOT NULL;
CREATE UNIQUE INDEX protocols_shipped ON protocols (slug, version) WHERE clinic_id IS NULL;

CREATE TABLE treatments (
    id uuid PRIMARY KEY,
    clinic_id uuid NOT NULL REFERENCES clinics (id) ON DELETE CASCADE,
    patient_id uuid NOT NULL REFERENCES patients (id) ON DELETE CASCADE,
    namespace text NOT NULL,
    event_hash bytea NOT NULL,
    event_sealed bytea NOT NULL,
    content_hash bytea NOT NULL,
    protocol_id uuid NOT NULL REFERENCES protocols (id),
    completed_at timestamptz NOT NULL,
    time_zone text NOT NULL,
    areas jsonb NOT NULL,
    state text NOT NULL CHECK (state IN ('active', 'voided')),
    next_session_at timestamptz,
    metadata_sealed bytea,
    recorded_at timestamptz NOT NULL,
    voided_at timestamptz,
    updated_at timestamptz NOT NULL,
    UNIQUE (clinic_id, namespace, event_hash),
    CHECK ((state = 'voided') = (voided_at IS NOT NULL))
);
CREATE INDEX treatments_patient ON treatments (patient_id, completed_at);
CREATE INDEX treatments_clinic ON treatments (clinic_id, recorded_at, id);

CREATE TABLE reminders (
    id uuid PRIMARY KEY,
    clinic_id uuid NOT NULL REFERENCES clinics (id) ON DELETE CASCADE,
    patient_id uuid NOT NULL REFERENCES patients (id) ON DELETE CASCADE,
    treatment_id uuid NOT NULL REFERENCES treatments (id) ON DELETE CASCADE,
    step_id text NOT NULL,
    due_at timestamptz NOT NULL,
    use_by timestamptz NOT NULL,
    state text NOT NULL CHECK (state IN (
        'planned', 'claimed', 'sent', 'expired', 'failed', 'cancelled', 'superseded', 'skipped')),
    reason text,
    members jsonb NOT NULL,
    attempt_at timestamptz,
    attempts integer NOT NULL CHECK (attempts >= 0),
    lease_id uuid,
    leased_until timestamptz,
    sent_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    UNIQUE (treatment_id, step_id),
    CHECK (state <> 'planned' OR attempt_at IS NOT NULL),
    CHECK ((state = 'claimed') = (lease_id IS NOT NULL)),
    CHECK ((lease_id IS NULL) = (leased_until IS NULL)),
    CHECK (state <> 'sent' OR sent_at IS NOT NULL)
)
-- A queue: dead rows at its head slow every claim.
WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
CREATE INDEX reminders_due ON reminders (attempt_at, id) WHERE state = 'planned';
CREATE INDEX reminders_leased ON reminders (leased_until) WHERE state = 'claimed';
CREATE INDEX reminders_patient ON reminders (patient_id);

CREATE TABLE deliveries (
    id uuid PRIMARY KEY,
    reminder_id uuid NOT NULL REFERENCES reminders (id) ON DELETE CASCADE,
    patient_id uuid NOT NULL REFERENCES patients (id) ON DELETE CASCADE,
    -- No reference: the history outlives the device.
    device_id uuid NOT NULL,
    attempt integer NOT NULL CHECK (attempt > 0),
    state text NOT NULL CHECK (state IN ('sent', 'retry', 'failed', 'gone')),
    status integer,
    code text,
    detail text,
    at timestamptz NOT NULL,
    retry_at timestamptz,
    lease_id uuid,
    leased_until timestamptz,
    CHECK (state = 'retry' OR retry_at IS NULL),
    CHECK ((lease_id IS NULL) = (leased_until IS NULL))
);
CREATE INDEX deliveries_reminder ON deliveries (reminder_id);
CREATE INDEX deliveries_patient ON deliveries (patient_id);
CREATE INDEX deliveries_retry ON deliveries (retry_at, id) WHERE state = 'retry' AND retry_at IS NOT NULL;

CREATE TABLE audit (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL,
    clinic_id uuid,
    actor text NOT NULL,
    action text NOT NULL,
    subject text,
    seq bigint UNIQUE,
    prev bytea,
    hash bytea
);
CREATE INDEX audit_clinic ON audit (clinic_id, at);
CREATE INDEX audit_unsealed ON audit (id) WHERE seq IS NULL;
