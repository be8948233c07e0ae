ALTER TABLE reminders DROP COLUMN said;
DROP TABLE webhook_answers;
DROP TABLE signing_secrets;
DROP TABLE amendments;
