CREATE TABLE requests (
    id TEXT PRIMARY KEY NOT NULL,
    seq BIGINT NOT NULL,
    title TEXT NOT NULL,
    user_id TEXT NOT NULL,
    origin TEXT NOT NULL,
    event_id TEXT,
    strategy TEXT,
    submitted_at TIMESTAMP NOT NULL
);
CREATE INDEX requests_by_seq ON requests (seq);

-- `progress` is JSON: channel to the number of exposures on disk. `why` is the cause of the last move.
CREATE TABLE sequences (
    id TEXT PRIMARY KEY NOT NULL,
    request_id TEXT NOT NULL REFERENCES requests (id),
    position INTEGER NOT NULL,
    user_id TEXT NOT NULL,
    target_name TEXT NOT NULL,
    ra_deg DOUBLE NOT NULL,
    dec_deg DOUBLE NOT NULL,
    priority DOUBLE NOT NULL,
    window_start TIMESTAMP,
    window_end TIMESTAMP,
    t_prefered TIMESTAMP,
    min_alt_deg DOUBLE NOT NULL,
    moon_sep_deg DOUBLE NOT NULL,
    sun_max_alt_deg DOUBLE NOT NULL,
    state TEXT NOT NULL,
    why TEXT,
    moved_at TIMESTAMP NOT NULL,
    progress TEXT NOT NULL
);
CREATE INDEX sequences_by_request ON sequences (request_id, position);
CREATE INDEX sequences_by_state ON sequences (state);

CREATE TABLE albums (
    sequence_id TEXT NOT NULL REFERENCES sequences (id),
    position INTEGER NOT NULL,
    channel TEXT NOT NULL,
    PRIMARY KEY (sequence_id, position)
);

CREATE TABLE plans (
    sequence_id TEXT NOT NULL,
    album INTEGER NOT NULL,
    position INTEGER NOT NULL,
    filter TEXT NOT NULL,
    exposure_s DOUBLE NOT NULL,
    frames BIGINT NOT NULL,
    binning BIGINT NOT NULL,
    dither_arcsec DOUBLE NOT NULL,
    PRIMARY KEY (sequence_id, album, position),
    FOREIGN KEY (sequence_id, album) REFERENCES albums (sequence_id, position)
);

CREATE TABLE schedules (
    seq INTEGER PRIMARY KEY NOT NULL,
    id TEXT NOT NULL,
    made_at TIMESTAMP NOT NULL,
    cause TEXT NOT NULL,
    is_first BOOLEAN NOT NULL,
    objective DOUBLE,
    upper_bound DOUBLE
);
CREATE INDEX schedules_by_id ON schedules (id);

-- One row per sequence that was considered: placed rows have tsp to delta_tr_s, the others reason and sentence.
CREATE TABLE schedule_sequences (
    schedule_seq BIGINT NOT NULL REFERENCES schedules (seq),
    position INTEGER NOT NULL,
    sequence_id TEXT NOT NULL,
    placed BOOLEAN NOT NULL,
    tsp TIMESTAMP,
    tep TIMESTAMP,
    delta_tl_s DOUBLE,
    delta_tr_s DOUBLE,
    reason TEXT,
    sentence TEXT,
    PRIMARY KEY (schedule_seq, position)
);
CREATE INDEX schedule_sequences_by_sequence ON schedule_sequences (sequence_id, schedule_seq);

CREATE TABLE quota_postings (
    seq INTEGER PRIMARY KEY NOT NULL,
    at TIMESTAMP NOT NULL,
    account TEXT NOT NULL,
    from_book TEXT NOT NULL,
    to_book TEXT NOT NULL,
    amount_us BIGINT NOT NULL,
    sequence_id TEXT,
    cause TEXT NOT NULL
);
CREATE INDEX quota_postings_by_account ON quota_postings (account, seq);

-- A view, so that a balance can never disagree with its postings.
CREATE VIEW quota_balances AS
SELECT
    account,
    CAST(SUM(CASE WHEN to_book = 'granted' THEN amount_us ELSE 0 END)
       - SUM(CASE WHEN from_book = 'granted' THEN amount_us ELSE 0 END) AS BIGINT) AS granted_us,
    CAST(SUM(CASE WHEN to_book = 'free' THEN amount_us ELSE 0 END)
       - SUM(CASE WHEN from_book = 'free' THEN amount_us ELSE 0 END) AS BIGINT) AS free_us,
    CAST(SUM(CASE WHEN to_book = 'reserved' THEN amount_us ELSE 0 END)
       - SUM(CASE WHEN from_book = 'reserved' THEN amount_us ELSE 0 END) AS BIGINT) AS reserved_us,
    CAST(SUM(CASE WHEN to_book = 'spent' THEN amount_us ELSE 0 END)
       - SUM(CASE WHEN from_book = 'spent' THEN amount_us ELSE 0 END) AS BIGINT) AS spent_us
FROM quota_postings
GROUP BY account;
