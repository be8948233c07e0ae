-- ANALYZE copies samples of every column into pg_statistic, where an erased patient's wrapped key would
-- outlive the patient. Nobody plans by sealed values, so of them it is to take none.
-- That alone keeps the samples that are there; giving a column the type it has drops them, and writes
-- no row anew.

ALTER TABLE amendments
    ALTER COLUMN content_sealed SET STATISTICS 0, ALTER COLUMN content_sealed TYPE bytea;

ALTER TABLE calendars
    ALTER COLUMN token_sealed SET STATISTICS 0, ALTER COLUMN token_sealed TYPE bytea;

ALTER TABLE devices
    ALTER COLUMN address_sealed SET STATISTICS 0, ALTER COLUMN address_sealed TYPE bytea,
    ALTER COLUMN installation_sealed SET STATISTICS 0, ALTER COLUMN installation_sealed TYPE bytea;

ALTER TABLE patients
    ALTER COLUMN key_wrapped SET STATISTICS 0, ALTER COLUMN key_wrapped TYPE bytea,
    ALTER COLUMN ref_sealed SET STATISTICS 0, ALTER COLUMN ref_sealed TYPE bytea;

ALTER TABLE server
    ALTER COLUMN audit_key_wrapped SET STATISTICS 0, ALTER COLUMN audit_key_wrapped TYPE bytea,
    ALTER COLUMN index_key_wrapped SET STATISTICS 0, ALTER COLUMN index_key_wrapped TYPE bytea;

ALTER TABLE signing_keys
    ALTER COLUMN private_sealed SET STATISTICS 0, ALTER COLUMN private_sealed TYPE bytea;

ALTER TABLE signing_secrets
    ALTER COLUMN secret_sealed SET STATISTICS 0, ALTER COLUMN secret_sealed TYPE bytea;

ALTER TABLE treatments
    ALTER COLUMN event_sealed SET STATISTICS 0, ALTER COLUMN event_sealed TYPE bytea,
    ALTER COLUMN metadata_sealed SET STATISTICS 0, ALTER COLUMN metadata_sealed TYPE bytea;

ALTER TABLE webhook_answers
    ALTER COLUMN body_sealed SET STATISTICS 0, ALTER COLUMN body_sealed TYPE bytea;
