-- What starts runs by itself: schedules and triggers, each fire of them, and what is held.
BEGIN;

-- Of the file of a workflow, or added beside it. definition is JSON; timing is a digest of what decides the instants:
-- when that changes, the schedule begins anew. watermark: what lies up to there is decided.
CREATE TABLE schedules (
    id              TEXT    NOT NULL PRIMARY KEY,
    workflow        TEXT    NOT NULL,
    name            TEXT    NOT NULL,
    source          TEXT    NOT NULL CHECK (source IN ('file', 'added')),
    definition      TEXT    NOT NULL,
    timing          TEXT    NOT NULL,
    labels          TEXT    NOT NULL,
    is_enabled      INTEGER NOT NULL CHECK (is_enabled IN (0, 1)),
    disabled_reason TEXT,
    watermark       INTEGER NOT NULL,
    mark            TEXT,
    failures        INTEGER NOT NULL DEFAULT 0,
    added_at_ms     INTEGER NOT NULL,
    added_by        TEXT    NOT NULL,
    UNIQUE (workflow, name)
) STRICT, WITHOUT ROWID;

-- One fire, or a stretch of fires that were let pass for one reason. A fire that has a run was written in one
-- transaction with it; that a schedule has each key once is what keeps a fire from being made twice.
CREATE TABLE fires (
    seq           INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    schedule      TEXT    NOT NULL,
    key           TEXT    NOT NULL,
    nominal_ms    INTEGER NOT NULL,
    due_ms        INTEGER NOT NULL,
    decided_at_ms INTEGER NOT NULL,
    state         TEXT    NOT NULL CHECK (state IN
        ('queued', 'started', 'retrying', 'succeeded', 'failed', 'skipped', 'missed', 'refused')),
    reason        TEXT,
    run           INTEGER,
    tries         INTEGER NOT NULL DEFAULT 0,
    retry_at_ms   INTEGER,
    count         INTEGER NOT NULL DEFAULT 1,
    until_ms      INTEGER,
    params        TEXT,
    workflow      TEXT    GENERATED ALWAYS AS (substr(schedule, 1, instr(schedule, '/') - 1)) VIRTUAL,
    UNIQUE (schedule, key)
) STRICT;
CREATE INDEX fires_by_schedule ON fires (schedule, seq);
CREATE INDEX fires_by_workflow ON fires (workflow, seq);
CREATE INDEX fires_by_state ON fires (schedule, state, seq);
CREATE INDEX fires_in_state ON fires (state, seq);
CREATE INDEX fires_active ON fires (seq) WHERE state IN ('queued', 'started', 'retrying');

CREATE TABLE holds (
    label    TEXT    NOT NULL PRIMARY KEY,
    reason   TEXT    NOT NULL,
    until_ms INTEGER,
    at_ms    INTEGER NOT NULL,
    by       TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- The schedule that asked for a run, and the nominal instant that it stands for.
ALTER TABLE runs ADD COLUMN schedule TEXT;
ALTER TABLE runs ADD COLUMN scheduled_for_ms INTEGER;

CREATE TRIGGER fires_stay_over BEFORE UPDATE OF state ON fires
WHEN old.state NOT IN ('queued', 'started', 'retrying') BEGIN
    SELECT RAISE(ABORT, 'a fire that is over does not change its state');
END;

PRAGMA user_version = 5;
COMMIT;
