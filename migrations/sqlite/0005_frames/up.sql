-- `ended_at` is null while the shutter is open, and after a crash until the exposure's end is recorded.
CREATE TABLE exposures (
    id TEXT PRIMARY KEY NOT NULL,
    seq BIGINT NOT NULL,
    sequence_id TEXT,
    channel TEXT NOT NULL,
    kind TEXT NOT NULL,
    filter TEXT NOT NULL,
    exposure_s DOUBLE NOT NULL,
    binning BIGINT NOT NULL,
    started_at TIMESTAMP NOT NULL,
    ended_at TIMESTAMP,
    outcome TEXT,
    product_id TEXT,
    cause TEXT
);
CREATE INDEX exposures_by_sequence ON exposures (sequence_id);
CREATE INDEX exposures_open ON exposures (seq) WHERE ended_at IS NULL;

CREATE TABLE products (
    id TEXT PRIMARY KEY NOT NULL,
    seq BIGINT NOT NULL,
    kind TEXT NOT NULL,
    exposure_id TEXT,
    sequence_id TEXT,
    path TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    sha256 TEXT NOT NULL,
    made_at TIMESTAMP NOT NULL
);
CREATE INDEX products_by_sequence ON products (sequence_id);
CREATE INDEX products_by_seq ON products (seq);

CREATE TABLE frame_reductions (
    exposure_id TEXT PRIMARY KEY NOT NULL,
    seq BIGINT NOT NULL,
    reduced_at TIMESTAMP NOT NULL,
    sources BIGINT NOT NULL,
    fwhm_px DOUBLE,
    background DOUBLE,
    rms DOUBLE,
    degradations TEXT NOT NULL
);

CREATE TABLE pipeline_runs (
    id TEXT PRIMARY KEY NOT NULL,
    seq BIGINT NOT NULL,
    pipeline TEXT NOT NULL,
    state TEXT NOT NULL,
    cause TEXT NOT NULL,
    created_at TIMESTAMP NOT NULL,
    moved_at TIMESTAMP NOT NULL
);

CREATE TABLE observation_unit_sets (
    id TEXT PRIMARY KEY NOT NULL,
    seq BIGINT NOT NULL,
    program TEXT NOT NULL,
    state TEXT NOT NULL,
    author TEXT NOT NULL,
    cause TEXT NOT NULL,
    created_at TIMESTAMP NOT NULL,
    moved_at TIMESTAMP NOT NULL
);
