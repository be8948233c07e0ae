ALTER TABLE server DROP COLUMN sending_paused;

DROP INDEX reminders_clinic_due;
CREATE INDEX reminders_clinic_due ON reminders (clinic_id, due_at, id)
    WHERE state IN ('planned', 'claimed') OR (state = 'skipped' AND reason = 'consent');
