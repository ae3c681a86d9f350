-- Runs of packages. `record` is the whole run as JSON; the other columns are for asking. `state` in the words of the
-- life-cycle table; outputs are written in the transaction that says done.
CREATE TABLE package_runs (
    id TEXT PRIMARY KEY NOT NULL,
    package TEXT NOT NULL,
    state TEXT NOT NULL,
    created_at TIMESTAMP NOT NULL,
    record TEXT NOT NULL
);
CREATE INDEX package_runs_by_package ON package_runs (package);

CREATE TABLE package_outputs (
    run TEXT NOT NULL REFERENCES package_runs (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    size BIGINT NOT NULL,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (run, name)
);
