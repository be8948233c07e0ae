-- What a patient's app reports and asks for: what was seen, and what was put off.

-- Facts, apart from the states of reminders: of each kind the earliest that any phone reported.
CREATE TABLE receipts (
    reminder_id BLOB NOT NULL REFERENCES reminders (id) ON DELETE CASCADE,
    patient_id BLOB NOT NULL REFERENCES patients (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('displayed', 'acknowledged')),
    at INTEGER NOT NULL,
    reported_at INTEGER NOT NULL,
    PRIMARY KEY (reminder_id, kind)
) STRICT;
CREATE INDEX receipts_patient ON receipts (patient_id);

CREATE TABLE snoozes (
    id BLOB NOT NULL PRIMARY KEY,
    reminder_id BLOB NOT NULL REFERENCES reminders (id) ON DELETE CASCADE,
    patient_id BLOB NOT NULL REFERENCES patients (id) ON DELETE CASCADE,
    at INTEGER NOT NULL,
    until INTEGER NOT NULL,
    CHECK (until > at)
) STRICT;
CREATE INDEX snoozes_reminder ON snoozes (reminder_id);
CREATE INDEX snoozes_patient ON snoozes (patient_id);

-- Where its last snooze put it; kept when it is cancelled, in case it is wanted again.
ALTER TABLE reminders ADD COLUMN snoozed_until INTEGER;

-- For the hourly look at addresses that nobody was heard of from.
CREATE INDEX devices_last_seen ON devices (last_seen_at) WHERE state = 'active';
