-- A task may wait between two attempts, and an attempt is known by its unit's invocation and by what was enforced.
-- SQLite cannot change a CHECK: the table is made anew under a passing name, and takes the place of the old one. The
-- foreign keys of attempts are checked at the end of the transaction, when both tables are whole again.
BEGIN;
PRAGMA defer_foreign_keys = ON;

CREATE TABLE attempts_before AS SELECT * FROM attempts;
CREATE TABLE logs_before AS SELECT * FROM logs;
CREATE TABLE tasks_before AS SELECT * FROM tasks;
DROP TABLE logs;
DROP TABLE attempts;
DROP TABLE tasks;

-- A task has a row from its first change on; one without a row is pending.
CREATE TABLE tasks (
    run            INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    task           TEXT    NOT NULL,
    state          TEXT    NOT NULL CHECK (state IN ('waiting', 'starting', 'running', 'succeeded', 'failed',
        'timed_out', 'cancelled', 'upstream_failed', 'interrupted')),
    reason         TEXT,
    waits_for      TEXT    CHECK (waits_for IN ('slot', 'person')),
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

INSERT INTO tasks (run, task, state, reason, outputs, started_at_ms, finished_at_ms)
SELECT run, task, state, reason, outputs, started_at_ms, finished_at_ms FROM tasks_before;
INSERT INTO attempts (run, task, number, state, launcher, unit, boot_id, pid, pid_started_ticks, exit_code, signal,
    reason, started_at_ms, finished_at_ms, cpu_seconds, peak_memory_bytes, log_path, log_size_bytes,
    log_dropped_bytes, log_dropped_at)
SELECT run, task, number, state, launcher, unit, boot_id, pid, pid_started_ticks, exit_code, signal,
    reason, started_at_ms, finished_at_ms, cpu_seconds, peak_memory_bytes, log_path, log_size_bytes,
    log_dropped_bytes, log_dropped_at
FROM attempts_before;
INSERT INTO logs SELECT * FROM logs_before;
DROP TABLE logs_before;
DROP TABLE attempts_before;
DROP TABLE tasks_before;

-- What has ended never changes its state again, whoever asks.
CREATE TRIGGER tasks_stay_ended BEFORE UPDATE OF state ON tasks
WHEN old.state NOT IN ('waiting', 'starting', 'running') BEGIN
    SELECT RAISE(ABORT, 'a task that has ended does not change its state');
END;
CREATE TRIGGER attempts_stay_ended BEFORE UPDATE OF state ON attempts
WHEN old.state NOT IN ('starting', 'running') BEGIN
    SELECT RAISE(ABORT, 'an attempt that has ended does not change its state');
END;

PRAGMA user_version = 2;
COMMIT;
