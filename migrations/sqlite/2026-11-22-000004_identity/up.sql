-- Signing keys take turns: a new one is published before it signs, an old one is accepted after it has
-- signed its last, and by then its private half is gone.

CREATE TABLE signing_keys_new (
    id TEXT NOT NULL PRIMARY KEY,
    private_sealed BLOB,
    public_key BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    signs_from INTEGER NOT NULL,
    retired_at INTEGER
) STRICT;
INSERT INTO signing_keys_new (id, private_sealed, public_key, created_at, signs_from, retired_at)
    SELECT id, private_sealed, public_key, created_at, created_at, retired_at FROM signing_keys;
DROP TABLE signing_keys;
ALTER TABLE signing_keys_new RENAME TO signing_keys;

-- Which of its clinic's secrets opened a session: revoking the one ends the other.
ALTER TABLE sessions ADD COLUMN client_secret_id BLOB;
