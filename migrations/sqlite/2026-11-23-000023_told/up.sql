-- As of when a clinic said where a patient is and what they speak: an event that comes late tells what was so then.
ALTER TABLE patients ADD COLUMN time_zone_as_of INTEGER;
ALTER TABLE patients ADD COLUMN locale_as_of INTEGER;
