CREATE INDEX deliveries_patient ON deliveries (patient_id);
ALTER TABLE deliveries ADD CONSTRAINT deliveries_patient_id_fkey
    FOREIGN KEY (patient_id) REFERENCES patients (id) ON DELETE CASCADE;

DROP INDEX reminders_due;
DROP INDEX reminders_clinic_due;
ALTER TABLE reminders
    DROP CONSTRAINT reminders_claimed_in_the_queue,
    DROP COLUMN queued,
    DROP COLUMN watched;
ALTER TABLE reminders RESET (fillfactor);
CREATE INDEX reminders_due ON reminders (attempt_at, id) WHERE state = 'planned' AND NOT shelved;
CREATE INDEX reminders_leased ON reminders (leased_until) WHERE state = 'claimed';
CREATE INDEX reminders_clinic_due ON reminders (clinic_id, due_at, id)
    WHERE state IN ('planned', 'claimed', 'failed') OR (state = 'skipped' AND reason = 'consent');
