BEGIN;

-- A workflow and which of its versions is in force; versions are named by their content.
CREATE TABLE workflows (
    name          TEXT    NOT NULL PRIMARY KEY,
    version       TEXT    NOT NULL,
    is_enabled    INTEGER NOT NULL CHECK (is_enabled IN (0, 1)),
    applied_at_ms INTEGER NOT NULL,
    applied_by    TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- Every version that was ever applied. Deleting a workflow leaves them: runs are pinned to them.
CREATE TABLE versions (
    seq           INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    workflow      TEXT    NOT NULL,
    version       TEXT    NOT NULL,
    text          TEXT    NOT NULL,
    applied_at_ms INTEGER NOT NULL,
    applied_by    TEXT    NOT NULL,
    UNIQUE (workflow, version)
) STRICT;
CREATE INDEX versions_by_time ON versions (workflow, applied_at_ms, seq);

-- id is the number that a run id spells: the millisecond of creation, so rows stand in order of creation.
CREATE TABLE runs (
    id              INTEGER NOT NULL PRIMARY KEY,
    workflow        TEXT    NOT NULL,
    version         TEXT    NOT NULL,
    state           TEXT    NOT NULL CHECK (state IN
        ('queued', 'running', 'succeeded', 'failed', 'timed_out', 'cancelled', 'interrupted')),
    trigger         TEXT    NOT NULL,
    params          TEXT    NOT NULL,
    requested_by    TEXT    NOT NULL,
    idempotency_key TEXT,
    reason          TEXT,
    stop_cause      TEXT,
    stop_reason     TEXT,
    created_at_ms   INTEGER NOT NULL,
    started_at_ms   INTEGER,
    finished_at_ms  INTEGER
) STRICT;
CREATE INDEX runs_by_workflow ON runs (workflow, id);
CREATE INDEX runs_by_state ON runs (state, id);
CREATE INDEX runs_by_workflow_and_state ON runs (workflow, state, id);
CREATE UNIQUE INDEX runs_by_key ON runs (workflow, idempotency_key) WHERE idempotency_key IS NOT NULL;

-- A task has a row from its first change on; one without a row is pending.
CREATE TABLE tasks (
    run            INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    task           TEXT    NOT NULL,
    state          TEXT    NOT NULL CHECK (state IN ('starting', 'running', 'succeeded', 'failed', 'timed_out',
        'cancelled', 'upstream_failed', 'interrupted')),
    reason         TEXT,
    outputs        TEXT,
    started_at_ms  INTEGER,
    finished_at_ms INTEGER,
    PRIMARY KEY (run, task)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempts (
    run               INTEGER NOT NULL,
    task              TEXT    NOT NULL,
    number            INTEGER NOT NULL CHECK (number >= 1),
    state             TEXT    NOT NULL CHECK (state IN
        ('starting', 'running', 'succeeded', 'failed', 'timed_out', 'cancelled', 'interrupted')),
    launcher          TEXT    NOT NULL,
    unit              TEXT,
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

-- What happened, in the order of commits; a change and its event are one transaction.
CREATE TABLE events (
    seq   INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    kind  TEXT    NOT NULL,
    run   INTEGER,
    task  TEXT,
    data  TEXT    NOT NULL
) STRICT;
CREATE INDEX events_by_run ON events (run, seq) WHERE run IS NOT NULL;

-- What has ended never changes its state again, whoever asks.
CREATE TRIGGER runs_stay_ended BEFORE UPDATE OF state ON runs
WHEN old.state NOT IN ('queued', 'running') BEGIN
    SELECT RAISE(ABORT, 'a run that has ended does not change its state');
END;
CREATE TRIGGER tasks_stay_ended BEFORE UPDATE OF state ON tasks
WHEN old.state NOT IN ('starting', 'running') BEGIN
    SELECT RAISE(ABORT, 'a task that has ended does not change its state');
END;
CREATE TRIGGER attempts_stay_ended BEFORE UPDATE OF state ON attempts
WHEN old.state NOT IN ('starting', 'running') BEGIN
    SELECT RAISE(ABORT, 'an attempt that has ended does not change its state');
END;

PRAGMA application_id = 1111577170;
PRAGMA user_version = 1;
COMMIT;
