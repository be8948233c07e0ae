-- The line of a Firebase project, from which all schedulers take their turns to send: a rate is the project's,
-- not a scheduler's.
CREATE TABLE fcm_lines (
    project TEXT NOT NULL PRIMARY KEY,
    -- What the clocks of those who took turns said last.
    seen_at INTEGER NOT NULL,
    -- The first turn that nobody has yet.
    next_at INTEGER NOT NULL,
    -- Since when the rate has been rising.
    ramp_began_at INTEGER NOT NULL
) STRICT;
