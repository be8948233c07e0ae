ALTER TABLE patients DROP COLUMN locale_as_of;
ALTER TABLE patients DROP COLUMN time_zone_as_of;
