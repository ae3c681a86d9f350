-- What a packet is known by when it comes again (hashes of its key and of its content), and the event it was put into.
ALTER TABLE alerts ADD COLUMN identity TEXT;
ALTER TABLE alerts ADD COLUMN event TEXT;
CREATE INDEX alerts_by_received_at ON alerts (received_at);
