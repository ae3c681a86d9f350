-- Where a frame is on the sky (ICRS degrees) and what its magnitudes are worth; the journal told it before there was this
-- table.
CREATE TABLE frame_solutions (
    exposure_id TEXT PRIMARY KEY NOT NULL,
    seq BIGINT NOT NULL,
    ra_deg DOUBLE PRECISION,
    dec_deg DOUBLE PRECISION,
    matched BIGINT NOT NULL,
    zero_point DOUBLE PRECISION,
    limiting_mag DOUBLE PRECISION
);
INSERT INTO frame_solutions
SELECT DISTINCT ON (told ->> 'exposure') told ->> 'exposure', seq, CAST(told ->> 'ra_deg' AS DOUBLE PRECISION),
    CAST(told ->> 'dec_deg' AS DOUBLE PRECISION), CAST(told ->> 'matched' AS BIGINT),
    CAST(told ->> 'zero_point' AS DOUBLE PRECISION), CAST(told ->> 'limiting_mag' AS DOUBLE PRECISION)
FROM (SELECT seq, CAST(entry AS JSON) AS told FROM journal WHERE kind = 'frame_solved') AS solved
ORDER BY told ->> 'exposure', seq DESC;
