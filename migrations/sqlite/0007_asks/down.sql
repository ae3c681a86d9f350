ALTER TABLE schedule_sequences DROP COLUMN chance;
ALTER TABLE schedule_sequences DROP COLUMN excluded;
ALTER TABLE schedule_sequences DROP COLUMN detail;
ALTER TABLE schedule_sequences DROP COLUMN setup_s;
ALTER TABLE schedule_sequences DROP COLUMN earliest;
ALTER TABLE sequences DROP COLUMN timing;
ALTER TABLE sequences DROP COLUMN constraints;
