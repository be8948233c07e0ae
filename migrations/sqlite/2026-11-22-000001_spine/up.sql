-- The spine: tenants, patients, devices, protocols, treatments, reminders, deliveries, sign-in, audit.
-- Columns that end in _sealed hold personal text under the patient's own key (key_wrapped); columns
-- that end in _hash are keyed hashes for look-ups. Every state is text with a CHECK. Instants are
-- microseconds since 1970 UTC, ids the 16 bytes of a UUID.

CREATE TABLE server (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    key_check BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE signing_keys (
    id TEXT NOT NULL PRIMARY KEY,
    private_sealed BLOB NOT NULL,
    public_key BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    retired_at INTEGER
) STRICT;

CREATE TABLE clinics (
    id BLOB NOT NULL PRIMARY KEY,
    client_id TEXT NOT NULL UNIQUE,
    display_name TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    locale TEXT NOT NULL,
    contact_phone TEXT,
    slots TEXT NOT NULL,
    push_content TEXT NOT NULL CHECK (push_content IN ('text', 'discreet', 'reference')),
    paused INTEGER NOT NULL CHECK (paused IN (0, 1)),
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE client_secrets (
    id BLOB NOT NULL PRIMARY KEY,
    clinic_id BLOB NOT NULL REFERENCES clinics (id) ON DELETE CASCADE,
    hash TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT;
CREATE INDEX client_secrets_clinic ON client_secrets (clinic_id);

CREATE TABLE patients (
    id BLOB NOT NULL PRIMARY KEY,
    clinic_id BLOB NOT NULL REFERENCES clinics (id) ON DELETE CASCADE,
    ref_hash BLOB NOT NULL,
    ref_sealed BLOB NOT NULL,
    key_wrapped BLOB NOT NULL,
    time_zone TEXT,
    locale TEXT,
    preferences TEXT NOT NULL,
    plan_version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (clinic_id, ref_hash)
) STRICT;

CREATE TABLE consents (
    patient_id BLOB NOT NULL REFERENCES patients (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('aftercare', 'recall')),
    granted INTEGER NOT NULL CHECK (granted IN (0, 1)),
    notice_version TEXT,
    at INTEGER NOT NULL,
    PRIMARY KEY (patient_id, kind)
) STRICT;

CREATE TABLE sessions (
    id BLOB NOT NULL PRIMARY KEY,
    clinic_id BLOB NOT NULL REFERENCES clinics (id) ON DELETE CASCADE,
    patient_id BLOB REFERENCES patients (id) ON DELETE CASCADE,
    installation_hash BLOB,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT;
CREATE INDEX sessions_patient ON sessions (patient_id) WHERE patient_id IS NOT NULL;
CREATE INDEX sessions_expired ON sessions (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE refresh_tokens (
    id BLOB NOT NULL PRIMARY KEY,
    session_id BLOB NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    hash BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    spent_at INTEGER,
    successor_id BLOB
) STRICT;
CREATE INDEX refresh_tokens_session ON refresh_tokens (session_id);

CREATE TABLE enrolments (
    id BLOB NOT NULL PRIMARY KEY,
    clinic_id BLOB NOT NULL REFERENCES clinics (id) ON DELETE CASCADE,
    patient_id BLOB NOT NULL REFERENCES patients (id) ON DELETE CASCADE,
    code_hash BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    redeemed_at INTEGER
) STRICT;
CREATE INDEX enrolments_patient ON enrolments (patient_id);

CREATE TABLE devices (
    id BLOB NOT NULL PRIMARY KEY,
    patient_id BLOB NOT NULL REFERENCES patients (id) ON DELETE CASCADE,
    installation_hash BLOB NOT NULL,
    installation_sealed BLOB NOT NULL,
    address_kind TEXT NOT NULL CHECK (address_kind IN ('token', 'fid')),
    address_hash BLOB UNIQUE,
    address_sealed BLOB,
    platform TEXT NOT NULL CHECK (platform IN ('android', 'ios', 'web')),
    time_zone TEXT NOT NULL,
    locale TEXT NOT NULL,
    notifications_enabled INTEGER NOT NULL CHECK (notifications_enabled IN (0, 1)),
    delivery TEXT NOT NULL CHECK (delivery IN ('push', 'local_fallback')),
    state TEXT NOT NULL CHECK (state IN ('active', 'gone', 'refused', 'moved')),
    state_reason TEXT,
    session_id BLOB,
    last_seen_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (patient_id, installation_hash),
    CHECK (state <> 'active' OR (address_hash IS NOT NULL AND address_sealed IS NOT NULL))
) STRICT;

CREATE TABLE protocols (
    id BLOB NOT NULL PRIMARY KEY,
    clinic_id BLOB REFERENCES clinics (id) ON DELETE CASCADE,
    slug TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    document TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
-- Two indexes, because a shipped protocol has no clinic and NULLs are never equal.
CREATE UNIQUE INDEX protocols_of_clinic ON protocols (clinic_id, slug, version) WHERE clinic_id IS NOT NULL;
CREATE UNIQUE INDEX protocols_shipped ON protocols (slug, version) WHERE clinic_id IS NULL;

CREATE TABLE treatments (
    id BLOB NOT NULL PRIMARY KEY,
    clinic_id BLOB NOT NULL REFERENCES clinics (id) ON DELETE CASCADE,
    patient_id BLOB NOT NULL REFERENCES patients (id) ON DELETE CASCADE,
    namespace TEXT NOT NULL,
    event_hash BLOB NOT NULL,
    event_sealed BLOB NOT NULL,
    content_hash BLOB NOT NULL,
    protocol_id BLOB NOT NULL REFERENCES protocols (id),
    completed_at INTEGER NOT NULL,
    time_zone TEXT NOT NULL,
    areas TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('active', 'voided')),
    next_session_at INTEGER,
    metadata_sealed BLOB,
    recorded_at INTEGER NOT NULL,
    voided_at INTEGER,
    updated_at INTEGER NOT NULL,
    UNIQUE (clinic_id, namespace, event_hash),
    CHECK ((state = 'voided') = (voided_at IS NOT NULL))
) STRICT;
CREATE INDEX treatments_patient ON treatments (patient_id, completed_at);
CREATE INDEX treatments_clinic ON treatments (clinic_id, recorded_at, id);

CREATE TABLE reminders (
    id BLOB NOT NULL PRIMARY KEY,
    clinic_id BLOB NOT NULL REFERENCES clinics (id) ON DELETE CASCADE,
    patient_id BLOB NOT NULL REFERENCES patients (id) ON DELETE CASCADE,
    treatment_id BLOB NOT NULL REFERENCES treatments (id) ON DELETE CASCADE,
    step_id TEXT NOT NULL,
    due_at INTEGER NOT NULL,
    use_by INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN (
        'planned', 'claimed', 'sent', 'expired', 'failed', 'cancelled', 'superseded', 'skipped')),
    reason TEXT,
    members TEXT NOT NULL,
    attempt_at INTEGER,
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    lease_id BLOB,
    leased_until INTEGER,
    sent_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (treatment_id, step_id),
    CHECK (state <> 'planned' OR attempt_at IS NOT NULL),
    CHECK ((state = 'claimed') = (lease_id IS NOT NULL)),
    CHECK ((lease_id IS NULL) = (leased_until IS NULL)),
    CHECK (state <> 'sent' OR sent_at IS NOT NULL)
) STRICT;
CREATE INDEX reminders_due ON reminders (attempt_at, id) WHERE state = 'planned';
CREATE INDEX reminders_leased ON reminders (leased_until) WHERE state = 'claimed';
CREATE INDEX reminders_patient ON reminders (patient_id);

CREATE TABLE deliveries (
    id BLOB NOT NULL PRIMARY KEY,
    reminder_id BLOB NOT NULL REFERENCES reminders (id) ON DELETE CASCADE,
    patient_id BLOB NOT NULL REFERENCES patients (id) ON DELETE CASCADE,
    -- No reference: the history outlives the device.
    device_id BLOB NOT NULL,
    attempt INTEGER NOT NULL CHECK (attempt > 0),
    state TEXT NOT NULL CHECK (state IN ('sent', 'retry', 'failed', 'gone')),
    status INTEGER,
    code TEXT,
    detail TEXT,
    at INTEGER NOT NULL,
    retry_at INTEGER,
    lease_id BLOB,
    leased_until INTEGER,
    CHECK (state = 'retry' OR retry_at IS NULL),
    CHECK ((lease_id IS NULL) = (leased_until IS NULL))
) STRICT;
CREATE INDEX deliveries_reminder ON deliveries (reminder_id);
CREATE INDEX deliveries_patient ON deliveries (patient_id);
CREATE INDEX deliveries_retry ON deliveries (retry_at, id) WHERE state = 'retry' AND retry_at IS NOT NULL;

CREATE TABLE audit (
    id BLOB NOT NULL PRIMARY KEY,
    at INTEGER NOT NULL,
    clinic_id BLOB,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT,
    seq INTEGER UNIQUE,
    prev BLOB,
    hash BLOB
) STRICT;
CREATE INDEX audit_clinic ON audit (clinic_id, at);
CREATE INDEX audit_unsealed ON audit (id) WHERE seq IS NULL;
