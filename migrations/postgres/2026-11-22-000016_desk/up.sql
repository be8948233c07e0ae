-- The people of a clinic who sign in at the desk. Their names are the clinic's, as its own is.
CREATE TABLE staff (
    id uuid PRIMARY KEY,
    clinic_id uuid NOT NULL REFERENCES clinics (id) ON DELETE CASCADE,
    name text NOT NULL,
    -- The name in small letters: nobody else on the server signs in with it.
    sign_in text NOT NULL UNIQUE,
    -- None until the invitation was used, and no invitation from then on.
    password_hash text,
    invitation_hash bytea UNIQUE,
    invitation_ends_at timestamptz,
    created_at timestamptz NOT NULL,
    CHECK ((invitation_hash IS NULL) = (invitation_ends_at IS NULL)),
    CHECK ((password_hash IS NULL) = (invitation_hash IS NOT NULL))
);
CREATE INDEX staff_clinic ON staff (clinic_id);

CREATE TABLE staff_sessions (
    id uuid PRIMARY KEY,
    staff_id uuid NOT NULL REFERENCES staff (id) ON DELETE CASCADE,
    token_hash bytea NOT NULL UNIQUE,
    created_at timestamptz NOT NULL,
    used_at timestamptz NOT NULL
);
CREATE INDEX staff_sessions_staff ON staff_sessions (staff_id);
CREATE INDEX staff_sessions_used ON staff_sessions (used_at);
