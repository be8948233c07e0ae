ALTER TABLE treatments DROP COLUMN over_at;
ALTER TABLE treatments DROP COLUMN closed_at;
