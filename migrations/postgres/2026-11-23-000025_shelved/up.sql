-- What a paused clinic has in the queue leaves it for as long: at its head it would be in everybody's way.
ALTER TABLE reminders ADD COLUMN shelved boolean NOT NULL DEFAULT false;
DROP INDEX reminders_due;
CREATE INDEX reminders_due ON reminders (attempt_at, id) WHERE state = 'planned' AND NOT shelved;
CREATE INDEX reminders_shelved ON reminders (clinic_id, attempt_at) WHERE shelved;
CREATE INDEX clinics_paused ON clinics (id) WHERE paused;
