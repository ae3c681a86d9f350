-- Software that has been registered, with what its tasks make.
CREATE TABLE software_releases (
    identifier TEXT NOT NULL,
    kind TEXT NOT NULL,
    version TEXT NOT NULL,
    date TEXT NOT NULL,
    author TEXT NOT NULL,
    digest TEXT NOT NULL,
    descriptor TEXT NOT NULL,
    registered_at TIMESTAMP NOT NULL,
    PRIMARY KEY (identifier, kind, version)
);

CREATE TABLE dataset_definitions (
    identifier TEXT NOT NULL,
    version TEXT NOT NULL,
    level TEXT NOT NULL,
    name TEXT NOT NULL,
    plugin TEXT NOT NULL,
    plugin_version TEXT NOT NULL,
    task TEXT NOT NULL,
    PRIMARY KEY (identifier, version, plugin, plugin_version)
);

CREATE TABLE plugin_revisions (
    plugin TEXT PRIMARY KEY NOT NULL,
    revision TEXT
);

-- `ended_at` is null until the run has ended; the plan is frozen when the run is made.
CREATE TABLE runs (
    id TEXT PRIMARY KEY NOT NULL,
    pipeline TEXT NOT NULL,
    plugin TEXT NOT NULL,
    version TEXT NOT NULL,
    short_name TEXT NOT NULL,
    subject TEXT,
    product_group TEXT,
    state TEXT NOT NULL,
    status TEXT NOT NULL,
    cause TEXT NOT NULL,
    plan TEXT NOT NULL,
    properties TEXT NOT NULL,
    created_at TIMESTAMP NOT NULL,
    started_at TIMESTAMP,
    ended_at TIMESTAMP
);
CREATE INDEX runs_by_creation ON runs (created_at);
CREATE INDEX runs_open ON runs (id) WHERE ended_at IS NULL;

-- One try of one task. `seq` is the order in which the planner was told of ends.
CREATE TABLE run_attempts (
    id INTEGER PRIMARY KEY NOT NULL,
    uuid TEXT NOT NULL UNIQUE,
    run_id TEXT NOT NULL,
    plugin TEXT NOT NULL,
    task TEXT NOT NULL,
    node TEXT NOT NULL,
    iteration BIGINT,
    item TEXT,
    tried BIGINT NOT NULL,
    parent TEXT,
    category TEXT NOT NULL,
    description TEXT NOT NULL,
    state TEXT NOT NULL,
    status TEXT NOT NULL,
    reason TEXT NOT NULL,
    started_at TIMESTAMP,
    ended_at TIMESTAMP,
    seq BIGINT,
    task_key TEXT NOT NULL,
    key_parts TEXT NOT NULL,
    ticket TEXT,
    properties TEXT NOT NULL
);
CREATE INDEX run_attempts_by_run ON run_attempts (run_id);
CREATE INDEX run_attempts_by_key ON run_attempts (task_key);

CREATE TABLE run_exceptions (
    id INTEGER PRIMARY KEY NOT NULL,
    attempt TEXT NOT NULL,
    kind TEXT NOT NULL,
    level TEXT NOT NULL,
    message TEXT NOT NULL
);
CREATE INDEX run_exceptions_by_attempt ON run_exceptions (attempt);

-- Files read and made; those with the role `out` and a checksum are products.
CREATE TABLE run_targets (
    id INTEGER PRIMARY KEY NOT NULL,
    attempt TEXT NOT NULL,
    run_id TEXT NOT NULL,
    role TEXT NOT NULL,
    name TEXT NOT NULL,
    label TEXT NOT NULL,
    dataset TEXT NOT NULL,
    version TEXT NOT NULL,
    level TEXT NOT NULL,
    path TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    sha256 TEXT NOT NULL,
    state TEXT NOT NULL,
    status TEXT NOT NULL,
    message TEXT NOT NULL
);
CREATE INDEX run_targets_by_run ON run_targets (run_id);
CREATE INDEX run_targets_by_label ON run_targets (label);

CREATE TABLE run_draws (
    run_id TEXT NOT NULL,
    seq BIGINT NOT NULL,
    loop_name TEXT NOT NULL,
    place BIGINT NOT NULL,
    item TEXT,
    PRIMARY KEY (run_id, seq)
);

CREATE TABLE run_log (
    run_id TEXT NOT NULL,
    line BIGINT NOT NULL,
    at TIMESTAMP NOT NULL,
    node TEXT NOT NULL,
    level TEXT NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (run_id, line)
);

-- The names that POPPy's users know.
CREATE VIEW job_log AS
SELECT a.id AS id_job_log,
       a.plugin AS job_plugin,
       a.node AS job_name,
       a.uuid AS job_uuid,
       COALESCE(a.started_at, '1900-01-01 00:00:00') AS job_starttime,
       COALESCE(a.ended_at, '1900-01-01 00:00:00') AS job_endtime,
       a.category AS job_category,
       a.description AS job_descr,
       a.state AS job_state,
       a.status AS job_status,
       a.reason AS job_status_descr,
       a.task AS job_task,
       p.id AS job_parent_id
FROM run_attempts a LEFT JOIN run_attempts p ON p.uuid = a.parent;

CREATE VIEW job_exception AS
SELECT e.id AS id_job_exception,
       a.id AS job_log_id,
       e.kind AS exception_type,
       e.level AS exception_level,
       e.message AS exception_msg
FROM run_exceptions e JOIN run_attempts a ON a.uuid = e.attempt;
