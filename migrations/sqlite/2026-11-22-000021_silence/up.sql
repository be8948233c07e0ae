-- What FCM refused for good is heard by nobody, either.
DROP INDEX reminders_clinic_due;
CREATE INDEX reminders_clinic_due ON reminders (clinic_id, due_at, id)
    WHERE state IN ('planned', 'claimed', 'failed') OR (state = 'skipped' AND reason = 'consent');

-- The operator stops all sending, also of clinics that are made later; who is paused alone stays so.
ALTER TABLE server ADD COLUMN sending_paused INTEGER NOT NULL DEFAULT 0 CHECK (sending_paused IN (0, 1));
