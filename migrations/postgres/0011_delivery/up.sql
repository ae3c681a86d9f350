-- Observation-unit sets as the state service of the delivery writes them; every change is a row of unit_events.
CREATE TABLE units (
    uid TEXT PRIMARY KEY NOT NULL,
    program TEXT NOT NULL,
    recipe TEXT,
    executive TEXT,
    state TEXT NOT NULL,
    step TEXT,
    created_at TIMESTAMP NOT NULL,
    changed_at TIMESTAMP NOT NULL
);
CREATE INDEX units_by_state ON units (state, changed_at);

CREATE TABLE unit_events (
    uid TEXT NOT NULL,
    number BIGINT NOT NULL,
    at TIMESTAMP NOT NULL,
    what TEXT NOT NULL,
    from_value TEXT,
    to_value TEXT,
    author TEXT NOT NULL,
    cause TEXT NOT NULL,
    PRIMARY KEY (uid, number)
);

-- The message bus: outbox, inbox and what became of each message. `id` is the same at every site.
CREATE TABLE bus_messages (
    id TEXT PRIMARY KEY NOT NULL,
    number BIGINT NOT NULL,
    from_site TEXT NOT NULL,
    to_site TEXT NOT NULL,
    selector TEXT NOT NULL,
    body TEXT NOT NULL,
    reply_to TEXT,
    answers TEXT,
    author TEXT NOT NULL,
    created_at TIMESTAMP NOT NULL,
    expires_at TIMESTAMP,
    state TEXT NOT NULL,
    token TEXT,
    lease_until TIMESTAMP,
    attempts INTEGER NOT NULL,
    reason TEXT
);
CREATE INDEX bus_messages_open ON bus_messages (to_site, number) WHERE state = 'Sent' OR state = 'Received';
CREATE INDEX bus_messages_by_number ON bus_messages (number);

CREATE TABLE bus_groups (
    name TEXT NOT NULL,
    member TEXT NOT NULL,
    PRIMARY KEY (name, member)
);

-- One row: numbers of messages, and what tells this database from another that had its place before.
CREATE TABLE bus_counter (
    id INTEGER PRIMARY KEY NOT NULL,
    next BIGINT NOT NULL,
    epoch TEXT NOT NULL
);

-- Documents: pipeline reports, reviews, jobs, replicas, archive files, delivery statuses; `body` is JSON.
CREATE TABLE delivery_records (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    unit TEXT NOT NULL,
    state TEXT NOT NULL,
    at TIMESTAMP NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (kind, id)
);
CREATE INDEX delivery_records_by_state ON delivery_records (kind, state, at);
CREATE INDEX delivery_records_by_unit ON delivery_records (kind, unit);

CREATE TABLE delivery_log (
    number BIGINT PRIMARY KEY NOT NULL,
    at TIMESTAMP NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    author TEXT NOT NULL,
    text TEXT NOT NULL
);

-- Metadata of archived products: what varies of ObsCore's columns (degrees, MJD, metres, seconds, kilobytes).
CREATE TABLE product_metadata (
    obs_publisher_did TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    unit TEXT NOT NULL,
    program TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    recorded_at TIMESTAMP NOT NULL,
    dataproduct_type TEXT,
    calib_level INTEGER NOT NULL,
    obs_collection TEXT NOT NULL,
    obs_id TEXT NOT NULL,
    access_url TEXT NOT NULL,
    access_format TEXT NOT NULL,
    access_estsize BIGINT NOT NULL,
    target_name TEXT,
    s_ra DOUBLE PRECISION,
    s_dec DOUBLE PRECISION,
    s_fov DOUBLE PRECISION,
    s_region TEXT,
    s_resolution DOUBLE PRECISION,
    s_xel1 BIGINT,
    s_xel2 BIGINT,
    t_min DOUBLE PRECISION,
    t_max DOUBLE PRECISION,
    t_exptime DOUBLE PRECISION,
    em_min DOUBLE PRECISION,
    em_max DOUBLE PRECISION,
    o_ucd TEXT,
    facility_name TEXT,
    instrument_name TEXT,
    filter TEXT
);
CREATE INDEX product_metadata_by_unit ON product_metadata (unit);

-- ObsCore 1.1: its thirty columns, for whoever asks the database directly.
CREATE VIEW obscore AS SELECT
    dataproduct_type, calib_level, obs_collection, obs_id, obs_publisher_did, access_url, access_format, access_estsize,
    target_name, s_ra, s_dec, s_fov, s_region, s_resolution, s_xel1, s_xel2, t_min, t_max, t_exptime,
    t_exptime AS t_resolution, CAST(1 AS BIGINT) AS t_xel, em_min, em_max, em_min / (em_max - em_min) AS em_res_power,
    CAST(1 AS BIGINT) AS em_xel, o_ucd, CAST(NULL AS TEXT) AS pol_states, CAST(NULL AS BIGINT) AS pol_xel,
    facility_name, instrument_name
FROM product_metadata;
