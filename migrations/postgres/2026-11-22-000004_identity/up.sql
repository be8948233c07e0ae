-- Signing keys take turns: a new one is published before it signs, an old one is accepted after it has
-- signed its last, and by then its private half is gone.

ALTER TABLE signing_keys ADD COLUMN signs_from timestamptz;
UPDATE signing_keys SET signs_from = created_at;
ALTER TABLE signing_keys ALTER COLUMN signs_from SET NOT NULL;
ALTER TABLE signing_keys ALTER COLUMN private_sealed DROP NOT NULL;

-- Which of its clinic's secrets opened a session: revoking the one ends the other.
ALTER TABLE sessions ADD COLUMN client_secret_id uuid;
