-- A claim changes nothing that an index hangs on, so that PostgreSQL writes it into the row's own page (HOT) and
-- into no index. Room for it is left on each page.
DROP INDEX reminders_due;
DROP INDEX reminders_leased;
DROP INDEX reminders_clinic_due;
ALTER TABLE reminders SET (fillfactor = 80);
ALTER TABLE reminders
    ADD COLUMN queued boolean NOT NULL GENERATED ALWAYS AS (state IN ('planned', 'claimed')) STORED,
    ADD COLUMN watched boolean NOT NULL GENERATED ALWAYS AS (
        state IN ('planned', 'claimed', 'failed') OR (state = 'skipped' AND reason IS NOT DISTINCT FROM 'consent'))
        STORED,
    -- Whose leases have run out is looked for in the queue.
    ADD CONSTRAINT reminders_claimed_in_the_queue CHECK (
        state <> 'claimed' OR (attempt_at IS NOT NULL AND NOT shelved));
CREATE INDEX reminders_due ON reminders (attempt_at, id) WHERE queued AND NOT shelved;
CREATE INDEX reminders_clinic_due ON reminders (clinic_id, due_at, id) WHERE watched;

-- Whose a delivery is, its reminder says: the patient's row is not locked for each message.
ALTER TABLE deliveries DROP CONSTRAINT deliveries_patient_id_fkey;
DROP INDEX deliveries_patient;
