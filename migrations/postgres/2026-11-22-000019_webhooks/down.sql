DROP TABLE webhook_events;
DROP TABLE webhooks;
DROP INDEX treatments_session_due;
ALTER TABLE treatments DROP COLUMN session_told_at;
ALTER TABLE treatments DROP COLUMN session_due_at;
