DROP INDEX alerts_by_received_at;
ALTER TABLE alerts DROP COLUMN event;
ALTER TABLE alerts DROP COLUMN identity;
