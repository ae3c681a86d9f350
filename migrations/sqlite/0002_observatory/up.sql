CREATE TABLE users (
    id TEXT PRIMARY KEY NOT NULL,
    institute TEXT NOT NULL,
    role TEXT NOT NULL,
    disabled BOOLEAN NOT NULL,
    created_at TIMESTAMP NOT NULL
);

-- One row per telescope with its mount and enclosure (a PYROS unit).
CREATE TABLE telescopes (
    unit TEXT PRIMARY KEY NOT NULL,
    site TEXT NOT NULL,
    lat_deg DOUBLE,
    lon_deg DOUBLE,
    alt_m DOUBLE,
    described_at TIMESTAMP NOT NULL
);

-- One row per channel: a camera with its filters (JSON list of names).
CREATE TABLE instruments (
    unit TEXT NOT NULL REFERENCES telescopes (unit),
    channel TEXT NOT NULL,
    camera TEXT NOT NULL,
    filters TEXT NOT NULL,
    described_at TIMESTAMP NOT NULL,
    PRIMARY KEY (unit, channel)
);

CREATE TABLE devices (
    id TEXT PRIMARY KEY NOT NULL,
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    link_up BOOLEAN NOT NULL,
    link_cause TEXT NOT NULL,
    garbage_total BIGINT NOT NULL,
    changed_at TIMESTAMP NOT NULL
);
