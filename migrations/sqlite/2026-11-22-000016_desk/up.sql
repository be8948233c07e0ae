-- The people of a clinic who sign in at the desk. Their names are the clinic's, as its own is.
CREATE TABLE staff (
    id BLOB NOT NULL PRIMARY KEY,
    clinic_id BLOB NOT NULL REFERENCES clinics (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    -- The name in small letters: nobody else on the server signs in with it.
    sign_in TEXT NOT NULL UNIQUE,
    -- None until the invitation was used, and no invitation from then on.
    password_hash TEXT,
    invitation_hash BLOB UNIQUE,
    invitation_ends_at INTEGER,
    created_at INTEGER NOT NULL,
    CHECK ((invitation_hash IS NULL) = (invitation_ends_at IS NULL)),
    CHECK ((password_hash IS NULL) = (invitation_hash IS NOT NULL))
) STRICT;
CREATE INDEX staff_clinic ON staff (clinic_id);

CREATE TABLE staff_sessions (
    id BLOB NOT NULL PRIMARY KEY,
    staff_id BLOB NOT NULL REFERENCES staff (id) ON DELETE CASCADE,
    token_hash BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    used_at INTEGER NOT NULL
) STRICT;
CREATE INDEX staff_sessions_staff ON staff_sessions (staff_id);
CREATE INDEX staff_sessions_used ON staff_sessions (used_at);
