-- Every packet as it came in, refused ones and duplicates too.
CREATE TABLE alerts (
    seq BIGINT PRIMARY KEY NOT NULL,
    received_at TIMESTAMP NOT NULL,
    packet TEXT NOT NULL,
    channel TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    verdict TEXT NOT NULL,
    reason TEXT NOT NULL,
    body BYTEA NOT NULL
);
CREATE INDEX alerts_by_packet ON alerts (packet);

CREATE TABLE alert_events (
    id TEXT PRIMARY KEY NOT NULL,
    seq BIGINT NOT NULL,
    state TEXT NOT NULL,
    name TEXT NOT NULL,
    ra_deg DOUBLE PRECISION,
    dec_deg DOUBLE PRECISION,
    r90_deg DOUBLE PRECISION,
    cause TEXT NOT NULL,
    first_at TIMESTAMP NOT NULL,
    moved_at TIMESTAMP NOT NULL,
    followed BOOLEAN,
    strategy TEXT,
    decision TEXT,
    request_id TEXT,
    decided_at TIMESTAMP
);
CREATE INDEX alert_events_by_seq ON alert_events (seq);

CREATE TABLE alert_event_packets (
    event_id TEXT NOT NULL,
    packet TEXT NOT NULL,
    seq BIGINT NOT NULL,
    PRIMARY KEY (event_id, packet)
);

CREATE TABLE alert_timings (
    event_id TEXT NOT NULL,
    stage TEXT NOT NULL,
    at TIMESTAMP NOT NULL,
    PRIMARY KEY (event_id, stage)
);

CREATE TABLE strategies (
    id TEXT PRIMARY KEY NOT NULL,
    body TEXT NOT NULL,
    enabled BOOLEAN NOT NULL,
    changed_at TIMESTAMP NOT NULL
);
