-- What a patient's app reports and asks for: what was seen, and what was put off.

-- Facts, apart from the states of reminders: of each kind the earliest that any phone reported.
CREATE TABLE receipts (
    reminder_id uuid NOT NULL REFERENCES reminders (id) ON DELETE CASCADE,
    patient_id uuid NOT NULL REFERENCES patients (id) ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('displayed', 'acknowledged')),
    at timestamptz NOT NULL,
    reported_at timestamptz NOT NULL,
    PRIMARY KEY (reminder_id, kind)
);
CREATE INDEX receipts_patient ON receipts (patient_id);

CREATE TABLE snoozes (
    id uuid PRIMARY KEY,
    reminder_id uuid NOT NULL REFERENCES reminders (id) ON DELETE CASCADE,
    patient_id uuid NOT NULL REFERENCES patients (id) ON DELETE CASCADE,
    at timestamptz NOT NULL,
    until timestamptz NOT NULL,
    CHECK (until > at)
);
CREATE INDEX snoozes_reminder ON snoozes (reminder_id);
CREATE INDEX snoozes_patient ON snoozes (patient_id);

-- Where its last snooze put it; kept when it is cancelled, in case it is wanted again.
ALTER TABLE reminders ADD COLUMN snoozed_until timestamptz;

-- For the hourly look at addresses that nobody was heard of from.
CREATE INDEX devices_last_seen ON devices (last_seen_at) WHERE state = 'active';
