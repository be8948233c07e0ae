DROP INDEX devices_last_seen;
ALTER TABLE reminders DROP COLUMN snoozed_until;
DROP TABLE snoozes;
DROP TABLE receipts;
