-- Since when what was told about a treatment is no longer kept: its time was over.
ALTER TABLE treatments ADD COLUMN closed_at INTEGER;
-- From when on nothing of it is worth anything, once that was looked at.
ALTER TABLE treatments ADD COLUMN over_at INTEGER;
