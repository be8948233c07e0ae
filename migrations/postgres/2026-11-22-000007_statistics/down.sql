ALTER TABLE webhook_answers
    ALTER COLUMN body_sealed SET STATISTICS -1;
ALTER TABLE treatments
    ALTER COLUMN event_sealed SET STATISTICS -1,
    ALTER COLUMN metadata_sealed SET STATISTICS -1;
ALTER TABLE signing_secrets
    ALTER COLUMN secret_sealed SET STATISTICS -1;
ALTER TABLE signing_keys
    ALTER COLUMN private_sealed SET STATISTICS -1;
ALTER TABLE server
    ALTER COLUMN audit_key_wrapped SET STATISTICS -1,
    ALTER COLUMN index_key_wrapped SET STATISTICS -1;
ALTER TABLE patients
    ALTER COLUMN key_wrapped SET STATISTICS -1,
    ALTER COLUMN ref_sealed SET STATISTICS -1;
ALTER TABLE devices
    ALTER COLUMN address_sealed SET STATISTICS -1,
    ALTER COLUMN installation_sealed SET STATISTICS -1;
ALTER TABLE calendars
    ALTER COLUMN token_sealed SET STATISTICS -1;
ALTER TABLE amendments
    ALTER COLUMN content_sealed SET STATISTICS -1;
