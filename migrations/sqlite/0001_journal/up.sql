-- The append-only source of everything else: every other table can be rebuilt from it.
-- No table refers to another fact's row by foreign key: a fact is never refused because of what it mentions.
CREATE TABLE journal (
    seq INTEGER PRIMARY KEY NOT NULL,
    at TIMESTAMP NOT NULL,
    kind TEXT NOT NULL,
    entry TEXT NOT NULL
);
CREATE INDEX journal_by_kind ON journal (kind, seq);

CREATE TABLE boots (
    seq INTEGER PRIMARY KEY NOT NULL,
    at TIMESTAMP NOT NULL,
    boot INTEGER NOT NULL,
    version TEXT NOT NULL,
    site TEXT NOT NULL,
    unit TEXT NOT NULL
);
