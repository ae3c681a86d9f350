-- Named by the evening's date, e.g. 2026-03-14; `seq` is where the night begins in the journal.
CREATE TABLE nights (
    night TEXT PRIMARY KEY NOT NULL,
    seq BIGINT NOT NULL,
    began_at TIMESTAMP NOT NULL,
    sunset TIMESTAMP,
    dusk TIMESTAMP,
    dawn TIMESTAMP,
    sunrise TIMESTAMP,
    state TEXT,
    cause TEXT,
    report_path TEXT
);
CREATE INDEX nights_by_seq ON nights (seq);

-- `quantity` carries its unit as a suffix; either `value` or `reason` is present.
CREATE TABLE weather_samples (
    at TIMESTAMP NOT NULL,
    quantity TEXT NOT NULL,
    value DOUBLE,
    reason TEXT,
    PRIMARY KEY (at, quantity)
);

CREATE TABLE logs (
    seq INTEGER PRIMARY KEY NOT NULL,
    at TIMESTAMP NOT NULL,
    severity TEXT NOT NULL,
    source TEXT NOT NULL,
    message TEXT NOT NULL
);
