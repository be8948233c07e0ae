ALTER TABLE sessions DROP COLUMN client_secret_id;

CREATE TABLE signing_keys_old (
    id TEXT NOT NULL PRIMARY KEY,
    private_sealed BLOB NOT NULL,
    public_key BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    retired_at INTEGER
) STRICT;
INSERT INTO signing_keys_old (id, private_sealed, public_key, created_at, retired_at)
    SELECT id, private_sealed, public_key, created_at, retired_at FROM signing_keys
    WHERE private_sealed IS NOT NULL;
DROP TABLE signing_keys;
ALTER TABLE signing_keys_old RENAME TO signing_keys;
