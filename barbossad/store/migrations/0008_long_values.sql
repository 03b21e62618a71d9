-- What of a task is too long to stand in its row: there, every change of the row and every search that comes by would
-- read and write it. In parts, so that it can be deleted in small transactions. What stands in rows already stays there.
BEGIN;

CREATE TABLE long_values (
    run  INTEGER NOT NULL,
    task TEXT    NOT NULL,
    name TEXT    NOT NULL CHECK (name IN ('outputs', 'stdout', 'items')),
    part INTEGER NOT NULL,
    text BLOB    NOT NULL,
    UNIQUE (run, task, name, part),
    FOREIGN KEY (run, task) REFERENCES tasks (run, task) ON DELETE CASCADE
) STRICT;

-- How many bytes it has there; NULL where it stands in the row itself, or is not.
ALTER TABLE tasks ADD COLUMN outputs_bytes INTEGER;
ALTER TABLE tasks ADD COLUMN stdout_bytes INTEGER;
ALTER TABLE tasks ADD COLUMN items_bytes INTEGER;

-- A value that takes the place of a long one is inserted after the row has changed.
CREATE TRIGGER tasks_drop_long_outputs AFTER UPDATE OF outputs_bytes ON tasks WHEN old.outputs_bytes IS NOT NULL BEGIN
    DELETE FROM long_values WHERE run = old.run AND task = old.task AND name = 'outputs';
END;
CREATE TRIGGER tasks_drop_long_stdout AFTER UPDATE OF stdout_bytes ON tasks WHEN old.stdout_bytes IS NOT NULL BEGIN
    DELETE FROM long_values WHERE run = old.run AND task = old.task AND name = 'stdout';
END;

PRAGMA user_version = 8;
COMMIT;
