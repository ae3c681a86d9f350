-- Where a frame is on the sky (ICRS degrees) and what its magnitudes are worth; the journal told it before there was this
-- table.
CREATE TABLE frame_solutions (
    exposure_id TEXT PRIMARY KEY NOT NULL,
    seq BIGINT NOT NULL,
    ra_deg DOUBLE,
    dec_deg DOUBLE,
    matched BIGINT NOT NULL,
    zero_point DOUBLE,
    limiting_mag DOUBLE
);
INSERT INTO frame_solutions
SELECT json_extract(entry, '$.exposure'), max(seq), json_extract(entry, '$.ra_deg'), json_extract(entry, '$.dec_deg'),
    json_extract(entry, '$.matched'), json_extract(entry, '$.zero_point'), json_extract(entry, '$.limiting_mag')
FROM journal WHERE kind = 'frame_solved' GROUP BY json_extract(entry, '$.exposure');
