-- Since when what was told about a treatment is no longer kept: its time was over.
ALTER TABLE treatments ADD COLUMN closed_at timestamptz;
-- From when on nothing of it is of use; null until that is reckoned.
ALTER TABLE treatments ADD COLUMN over_at timestamptz;
