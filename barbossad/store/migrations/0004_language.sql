-- The whole language: runs that are paused, that others called, that go on from others, that have an outcome while their
-- hooks run; tasks that are skipped, that wait for an instant, that are loops. SQLite cannot change a CHECK: the tables
-- are made anew, as in 0002.
BEGIN;
PRAGMA defer_foreign_keys = ON;

CREATE TABLE runs_before AS SELECT * FROM runs;
CREATE TABLE tasks_before AS SELECT * FROM tasks;
CREATE TABLE attempts_before AS SELECT * FROM attempts;
CREATE TABLE logs_before AS SELECT * FROM logs;
DROP TABLE logs;
DROP TABLE attempts;
DROP TABLE tasks;
DROP TABLE runs;

-- id is the number that a run id spells: the millisecond of creation, so rows stand in order of creation.
CREATE TABLE runs (
    id              INTEGER NOT NULL PRIMARY KEY,
    workflow        TEXT    NOT NULL,
    version         TEXT    NOT NULL,
    state           TEXT    NOT NULL CHECK (state IN
        ('queued', 'running', 'paused', 'succeeded', 'failed', 'timed_out', 'cancelled', 'interrupted')),
    trigger         TEXT    NOT NULL,
    params          TEXT    NOT NULL,
    requested_by    TEXT    NOT NULL,
    idempotency_key TEXT,
    reason          TEXT,
    stop_cause      TEXT,
    stop_reason     TEXT,
    created_at_ms   INTEGER NOT NULL,
    started_at_ms   INTEGER,
    finished_at_ms  INTEGER,
    outcome         TEXT    CHECK (outcome IN ('succeeded', 'failed', 'timed_out', 'cancelled', 'interrupted')),
    outcome_reason  TEXT,
    priority        INTEGER NOT NULL DEFAULT 0,
    parent_run      INTEGER,
    parent_task     TEXT,
    retry_of        INTEGER,
    warnings        INTEGER NOT NULL DEFAULT 0,
    outputs         TEXT,
    paused_at_ms    INTEGER,
    paused_ms       INTEGER NOT NULL DEFAULT 0,
    late_at_ms      INTEGER
) STRICT;
CREATE INDEX runs_by_workflow ON runs (workflow, id);
CREATE INDEX runs_by_state ON runs (state, id);
CREATE INDEX runs_by_workflow_and_state ON runs (workflow, state, id);
CREATE UNIQUE INDEX runs_by_key ON runs (workflow, idempotency_key) WHERE idempotency_key IS NOT NULL;

-- A task has a row from its first change on; one without a row is pending.
CREATE TABLE tasks (
    run            INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    task           TEXT    NOT NULL,
    state          TEXT    NOT NULL CHECK (state IN ('waiting', 'starting', 'running', 'succeeded', 'skipped',
        'failed', 'timed_out', 'cancelled', 'upstream_failed', 'interrupted')),
    reason         TEXT,
    waits_for      TEXT    CHECK (waits_for IN ('slot', 'delay', 'person')),
    waits_until_ms INTEGER,
    outputs        TEXT,
    stdout         TEXT,
    items          TEXT,
    late_at_ms     INTEGER,
    started_at_ms  INTEGER,
    finished_at_ms INTEGER,
    PRIMARY KEY (run, task)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempts (
    run               INTEGER NOT NULL,
    task              TEXT    NOT NULL,
    number            INTEGER NOT NULL CHECK (number >= 1),
    state             TEXT    NOT NULL CHECK (state IN
        ('starting', 'running', 'succeeded', 'skipped', 'failed', 'timed_out', 'cancelled', 'interrupted')),
    launcher          TEXT    NOT NULL,
    unit              TEXT,
    invocation_id     TEXT,
    boot_id           TEXT    NOT NULL,
    pid               INTEGER,
    pid_started_ticks INTEGER,
    exit_code         INTEGER,
    signal            INTEGER,
    reason            TEXT,
    started_at_ms     INTEGER,
    finished_at_ms    INTEGER,
    cpu_seconds       REAL,
    peak_memory_bytes INTEGER,
    io_read_bytes     INTEGER,
    io_write_bytes    INTEGER,
    in_force          TEXT,
    log_path          TEXT,
    log_size_bytes    INTEGER NOT NULL DEFAULT 0,
    log_dropped_bytes INTEGER NOT NULL DEFAULT 0,
    log_dropped_at    INTEGER,
    PRIMARY KEY (run, task, number),
    FOREIGN KEY (run, task) REFERENCES tasks (run, task) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- The output of attempts that printed little; more stands in the file attempts.log_path.
CREATE TABLE logs (
    run    INTEGER NOT NULL,
    task   TEXT    NOT NULL,
    number INTEGER NOT NULL,
    text   BLOB    NOT NULL,
    UNIQUE (run, task, number),
    FOREIGN KEY (run, task, number) REFERENCES attempts (run, task, number) ON DELETE CASCADE
) STRICT;

INSERT INTO runs (id, workflow, version, state, trigger, params, requested_by, idempotency_key, reason, stop_cause, stop_reason,
    created_at_ms, started_at_ms, finished_at_ms)
SELECT id, workflow, version, state, trigger, params, requested_by, idempotency_key, reason, stop_cause, stop_reason,
    created_at_ms, started_at_ms, finished_at_ms FROM runs_before;
INSERT INTO tasks (run, task, state, reason, waits_for, outputs, started_at_ms, finished_at_ms)
SELECT run, task, state, reason, waits_for, outputs, started_at_ms, finished_at_ms FROM tasks_before;
INSERT INTO attempts SELECT * FROM attempts_before;
INSERT INTO logs SELECT * FROM logs_before;
DROP TABLE logs_before;
DROP TABLE attempts_before;
DROP TABLE tasks_before;
DROP TABLE runs_before;

-- What has ended never changes its state again, whoever asks.
CREATE TRIGGER runs_stay_ended BEFORE UPDATE OF state ON runs
WHEN old.state NOT IN ('queued', 'running', 'paused') BEGIN
    SELECT RAISE(ABORT, 'a run that has ended does not change its state');
END;
CREATE TRIGGER tasks_stay_ended BEFORE UPDATE OF state ON tasks
WHEN old.state NOT IN ('waiting', 'starting', 'running') BEGIN
    SELECT RAISE(ABORT, 'a task that has ended does not change its state');
END;
CREATE TRIGGER attempts_stay_ended BEFORE UPDATE OF state ON attempts
WHEN old.state NOT IN ('starting', 'running') BEGIN
    SELECT RAISE(ABORT, 'an attempt that has ended does not change its state');
END;

PRAGMA user_version = 4;
COMMIT;
