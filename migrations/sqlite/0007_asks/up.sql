-- What a sequence may ask beyond three numbers, as JSON documents; NULL where it asks nothing more.
ALTER TABLE sequences ADD COLUMN constraints TEXT;
ALTER TABLE sequences ADD COLUMN timing TEXT;

-- Why a sequence got no place, as data: the numbers of the reason, and the excluded stretches of the night.
ALTER TABLE schedule_sequences ADD COLUMN earliest TIMESTAMP;
ALTER TABLE schedule_sequences ADD COLUMN setup_s DOUBLE;
ALTER TABLE schedule_sequences ADD COLUMN detail TEXT;
ALTER TABLE schedule_sequences ADD COLUMN excluded TEXT;
ALTER TABLE schedule_sequences ADD COLUMN chance TEXT;
