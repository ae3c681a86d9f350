-- People who log in. `users` stays what the ledger knows: who has ever had a quota.
CREATE TABLE accounts (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    email TEXT NOT NULL UNIQUE,
    institute TEXT NOT NULL,
    role TEXT NOT NULL,
    state TEXT NOT NULL,
    password TEXT,
    created_at TIMESTAMP NOT NULL
);

-- Of secrets only the digests are kept.
CREATE TABLE sessions (
    digest TEXT PRIMARY KEY NOT NULL,
    account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    created_at TIMESTAMP NOT NULL,
    seen_at TIMESTAMP NOT NULL,
    address TEXT NOT NULL,
    agent TEXT NOT NULL
);
CREATE INDEX sessions_by_account ON sessions (account_id);

CREATE TABLE api_tokens (
    digest TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    scopes TEXT NOT NULL,
    created_at TIMESTAMP NOT NULL,
    expires_at TIMESTAMP NOT NULL,
    used_at TIMESTAMP,
    UNIQUE (account_id, name)
);

CREATE TABLE one_time_codes (
    digest TEXT PRIMARY KEY NOT NULL,
    purpose TEXT NOT NULL,
    account_id TEXT NOT NULL,
    expires_at TIMESTAMP NOT NULL
);

-- Append-only; each digest is that of the line before and of this one.
CREATE TABLE audit (
    seq BIGINT PRIMARY KEY NOT NULL,
    at TIMESTAMP NOT NULL,
    who TEXT NOT NULL,
    address TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    outcome TEXT NOT NULL,
    digest TEXT NOT NULL
);

ALTER TABLE users DROP COLUMN role;
ALTER TABLE users DROP COLUMN disabled;
