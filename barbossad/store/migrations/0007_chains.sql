-- How many ends of runs led to a run, one after another, by triggers on workflows.
BEGIN;
ALTER TABLE runs ADD COLUMN chain INTEGER NOT NULL DEFAULT 0;
PRAGMA user_version = 7;
COMMIT;
