DROP INDEX clinics_paused;
DROP INDEX reminders_shelved;
DROP INDEX reminders_due;
CREATE INDEX reminders_due ON reminders (attempt_at, id) WHERE state = 'planned';
ALTER TABLE reminders DROP COLUMN shelved;
