ALTER TABLE sessions DROP COLUMN client_secret_id;

DELETE FROM signing_keys WHERE private_sealed IS NULL;
ALTER TABLE signing_keys ALTER COLUMN private_sealed SET NOT NULL;
ALTER TABLE signing_keys DROP COLUMN signs_from;
