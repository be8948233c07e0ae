ALTER TABLE server DROP COLUMN audit_head_logged_at;
ALTER TABLE server DROP COLUMN audit_key_wrapped;
ALTER TABLE server DROP COLUMN index_key_wrapped;
ALTER TABLE server DROP COLUMN master_key;
DROP INDEX audit_subject;
DROP TABLE erasures;
