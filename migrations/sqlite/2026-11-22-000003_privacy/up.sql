-- Who was erased, so that a restored backup can be made to forget them again; nothing refers to
-- anything, because that is all that is left of them.
CREATE TABLE erasures (
    patient_id BLOB NOT NULL PRIMARY KEY,
    clinic_id BLOB NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX erasures_at ON erasures (at);

-- What was done to a patient's records, for their export.
CREATE INDEX audit_subject ON audit (subject) WHERE subject IS NOT NULL;

-- Keys that must outlive the master key, wrapped by it; empty until this release has opened the
-- database once. master_key is the id of the key that wraps from now on.
ALTER TABLE server ADD COLUMN master_key INTEGER NOT NULL DEFAULT 1 CHECK (master_key BETWEEN 1 AND 255);
ALTER TABLE server ADD COLUMN index_key_wrapped BLOB;
ALTER TABLE server ADD COLUMN audit_key_wrapped BLOB;
-- When some scheduler last wrote the head of the audit trail to its log.
ALTER TABLE server ADD COLUMN audit_head_logged_at INTEGER;
